"""From a `_target_` node to the object it names; the constructor's signature is its schema."""

import ast
import importlib
import inspect
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from g5.common.errors import ILL_TYPED, UserError, one_line
from g5.config.check import check_mapping, check_value, unknown_key
from g5.config.node import Node

Thing = TypeVar("Thing")
# Modules that a class named in a file may be from.
OURS = ("archs.", "preprocessing.", "g5.")
HOME = Path(__file__).parent.parent.parent
PLAIN: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "str": str, "list[int]": list[int],
}  # fmt: skip


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


def signature_hints(cls: type) -> dict[str, Any]:
    """Keyword names and their types, as the constructor of ``cls`` declares them.

    Those that it hands on as ``**others: Unpack[Others]`` are the keys of the `TypedDict`.
    """
    hints = typing.get_type_hints(cls.__init__, include_extras=True)
    found: dict[str, Any] = {}
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        hint = hints.get(parameter.name, Any)
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            found[parameter.name] = hint
        elif typing.get_origin(hint) is typing.Unpack:
            found |= typing.get_type_hints(typing.get_args(hint)[0], include_extras=True)
    return found


def build(node: Node, *, expect: type[Thing], where: str) -> Thing:
    """Construct what a node names.

    Args:
        node: its values are exactly the constructor's keywords.
        expect: the class it must be a subclass of.
        where: the node's key, for error messages.

    Raises:
        UserError: as `check_node`; or the constructor cannot do with these values.
    """
    make = check_node(node, where, expect=expect)
    try:
        return make(**node.values)
    except UserError:
        raise
    except ILL_TYPED as error:
        raise UserError(f"{where}: cannot be made with these values ({one_line(error)})") from error


def check_node(
    node: Node, where: str, *, expect: type[Thing] = object, beside: Collection[str] = ()
) -> type[Thing]:
    """The class of a node, whose values fit the constructor.

    Args:
        node: what is checked.
        where: its key, for error messages.
        expect: the class it must be a subclass of.
        beside: further keys of its group, of which a mistyped one may be meant.

    Raises:
        UserError: naming the key, for an unknown, missing or ill-typed one, or for a class of
            another kind. A class that a file names, and that is neither g5's nor named by the
            user, is refused before anything of it is imported.
    """
    refuse_unknown(node, where)
    cls = locate(node.target, where)
    if not issubclass(cls, expect):
        raise UserError(f"{where}._target_: {node.target} is not a {expect.__name__}")
    hints = signature_hints(cls)
    for key in node.values:
        if key not in hints:
            raise unknown_key(key, [*hints, *beside], where)
    check_mapping(node.values, hints, where)
    return cls


def indifferent_keywords(node: Node) -> list[str]:
    """Keywords that decide nothing, as the class marks them; none of a class that is refused."""
    from preprocessing.events import INDIFFERENT  # late: it brings pandas along

    if not _is_known(node):
        return []
    hints = signature_hints(locate(node.target, "_target_"))
    return [key for key in hints if INDIFFERENT in getattr(hints[key], "__metadata__", ())]


def _is_known(node: Node) -> bool:
    return node.known is None or str(node.target).startswith(OURS) or node.target in node.known


def check_written(node: Node, where: str) -> None:
    """Raise `UserError` for a value that cannot be; of one of g5's modules that is only read.

    What its source says of plain types is known before PyTorch, which it may import, is there.
    """
    module, _, name = str(node.target).rpartition(".")
    file = HOME.joinpath(*module.split(".")).with_suffix(".py")
    if not node.target.startswith(OURS) or not file.is_file():
        return
    body = ast.parse(file.read_text(encoding="utf-8")).body
    classes = {one.name: one.body for one in body if isinstance(one, ast.ClassDef)}
    for key, hint in _written_hints(classes, name):
        if hint in PLAIN and key in node.values:
            check_value(node.values[key], PLAIN[hint], f"{where}.{key}")


def _written_hints(classes: Mapping[str, list[ast.stmt]], name: str) -> Iterator[tuple[str, str]]:
    """Keywords of a class's constructor and their types, as its source has them."""
    for member in classes.get(name, ()):
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            for one in member.args.kwonlyargs:
                yield one.arg, ast.unparse(one.annotation) if one.annotation else ""
            others = member.args.kwarg
            if others and others.annotation:
                spread = ast.unparse(others.annotation).removeprefix("Unpack[").removesuffix("]")
                for one in classes.get(spread, ()):
                    if isinstance(one, ast.AnnAssign):
                        yield ast.unparse(one.target), ast.unparse(one.annotation)


def refuse_unknown(node: Node, where: str) -> None:
    """Raise `UserError` for a class that a file names, unless it is g5's or the user named it."""
    if _is_known(node):
        return
    raise UserError(
        f"{where}._target_: the file names {node.target}, which is not g5's, and nothing of it is "
        f"imported; if you trust it, say {where}._target_={node.target}"
    )
