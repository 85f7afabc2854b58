"""What a user types as overrides, made readable for Hydra's grammar."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

# Keys of a user's own class, which may be anything.
_FREE = re.compile(r"(\+{0,2}(?:encoder|head)\.[\w.]+)=(.*)", re.DOTALL)
# Keys whose values are names and paths.
_TEXT = re.compile(
    r"(\+{0,2}(?:name|exp_name|path\.\w+|data\.(?:root|\w+_dir)|logger\.tracking_uri"
    r"|arch\.training\.load_weight_from))=(.*)",
    re.DOTALL,
)


def readable(overrides: Sequence[str]) -> list[str]:
    """``overrides`` with names and paths in quotes where the grammar would not take them for text.

    It refuses umlauts, spaces before brackets, ``=`` and ``~``, and takes ``2024`` for a number;
    folders have all of these. Sweeps, interpolations, ``null`` and what is quoted stay as they are.
    """
    return [_quoted(override) for override in overrides]


def _quoted(override: str) -> str:
    text_match = _TEXT.fullmatch(override)
    match = text_match or _FREE.fullmatch(override)
    if match is None:
        return override
    key, text = match.groups()
    try:
        parsed = OverridesParser.create().parse_override(override)
        if text_match is None:
            plain = not parsed.is_sweep_override()
        else:
            plain = parsed.is_sweep_override() or isinstance(parsed.value(), str | None)
    except HydraException:
        plain = False
    return override if plain else f"{key}={QuotedString(text, Quote.single).with_quotes()}"
