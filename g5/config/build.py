"""From a `_target_` node to the object it names; the constructor's signature is its schema."""

import importlib
import inspect
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from g5.common.errors import UserError
from g5.config.check import check_mapping

Thing = TypeVar("Thing")


def locate(dotted: Any, where: str) -> type:
    """The class at the dotted path ``dotted``; `UserError` naming the key ``where`` if none."""
    if not isinstance(dotted, str) or "." not in dotted:
        raise UserError(f"{where}._target_: must be a dotted path like archs.v2.arch.ProtoNetV2")
    module_name, _, name = dotted.rpartition(".")
    return class_in(module_name, name, f"{where}._target_")


def class_in(module_name: str, name: str, where: str, looked: str = "") -> type:
    """A class of a module, which is imported.

    Args:
        module_name: dotted.
        name: of the class.
        where: what names it, for error messages.
        looked: said beside a module that is not there.

    Raises:
        UserError: there is no such module or class, or importing it fails.
    """
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that is there but lacks a library of its own is another fault.
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise UserError(f"{where}: there is no module {error.name}{looked}") from error
        raise UserError(f"{where}: {module_name} needs {error.name}: install it") from error
    except Exception as error:  # it runs the code of whoever wrote it
        raise UserError(f"{where}: importing {module_name} fails: {one_line(error)}") from error
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise UserError(f"{where}: {module_name} has no class {name}")
    return found


def one_line(error: BaseException) -> str:
    """An error of somebody else's code as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


def signature_hints(cls: type) -> dict[str, Any]:
    """Keyword names and their types, as the constructor of ``cls`` declares them."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    hints = typing.get_type_hints(cls.__init__, include_extras=True)
    return {
        parameter.name: hints.get(parameter.name, Any)
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def build(node: Mapping[str, Any], *, expect: type[Thing], where: str) -> Thing:
    """Construct what a `_target_` node names.

    Args:
        node: plain values; ``_target_`` and exactly the constructor's keywords.
        expect: the class it must be a subclass of. Configurations travel in checkpoints, and a
            checkpoint from a stranger must not be able to name any callable it likes.
        where: the node's key, for error messages.

    Raises:
        UserError: naming the key, for an unknown, missing or ill-typed one.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise UserError(f"{where}: must be a group with a _target_")
    cls = locate(node["_target_"], where)
    if not issubclass(cls, expect):
        raise UserError(f"{where}._target_: {node['_target_']} is not a {expect.__name__}")
    values = {key: value for key, value in node.items() if key != "_target_"}
    check_mapping(values, signature_hints(cls), where)
    return cls(**values)
