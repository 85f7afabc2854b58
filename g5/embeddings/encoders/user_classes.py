"""Classes of the user's, encoders and heads, by their import path."""

import inspect
import os
import sys
from typing import Any

from torch import nn

from g5.common.errors import UserError, one_line
from g5.config.build import class_in

# Of a head's widths and outputs, as others call them.
INPUT_NAMES = ("input_dim", "embedding_dim", "in_features", "in_dim")
OUTPUT_NAMES = ("n_outputs", "num_classes", "n_classes", "out_features", "output_dim")


def build_head(dotted: str, input_dim: int, n_outputs: int) -> nn.Module:
    """A head of the user's by import path ``pkg.mod.Class`` or ``pkg.mod:Class``.

    Its constructor takes the width of the embeddings under one of `INPUT_NAMES`, and may take the
    number of outputs under one of `OUTPUT_NAMES`.

    Raises:
        UserError: there is none, or its constructor takes no width.
    """
    cls = import_class(dotted, "head")
    names = list(inspect.signature(cls).parameters)
    width = next((name for name in INPUT_NAMES if name in names), None)
    if width is None:
        raise UserError(
            f"{dotted}: its constructor takes ({', '.join(names)}); the width of the embeddings "
            f"must be among them, as {' or '.join(INPUT_NAMES[:2])}"
        )
    outputs = next((name for name in OUTPUT_NAMES if name in names), None)
    values = {width: input_dim} | ({outputs: n_outputs} if outputs else {})
    try:
        module = cls(**values)
    except Exception as error:
        raise UserError(f"{dotted}: cannot be made: {one_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"{dotted}: is no nn.Module")
    return module


def import_class(dotted: str, what: str) -> type[Any]:
    """The class at ``pkg.mod.Class`` or ``pkg.mod:Class``; the current directory is importable.

    Raises:
        UserError: there is no such module or class, or importing it fails.
    """
    module_name, _, name = dotted.rpartition(":" if ":" in dotted else ".")
    if not module_name or not name:
        raise UserError(f"{what} {dotted!r}: no import path like my_pkg.models.MyClass")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last: a folder of theirs shadows nothing
    return class_in(module_name, name, f"{what} {dotted}", f" (looked in {here}, too)")
