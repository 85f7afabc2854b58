"""Few-shot bioacoustics: from five marked calls to every call.

`g5.detect`, `g5.embed` and `g5.evaluate` are what notebooks need. They are imported when they are
first asked for, so that ``import g5`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from g5.common.errors import UserError as UserError
    from g5.notebook import detect, embed, evaluate

__version__ = "0.2.0"
__all__ = ["UserError", "detect", "embed", "evaluate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "g5.common.errors" if name == "UserError" else "g5.notebook"
    return getattr(import_module(home), name)
