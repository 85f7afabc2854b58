"""What gives access is neither stored nor told: passwords and tokens in the text of addresses."""

import re
from collections.abc import Mapping
from typing import Any

# `//user:password@host`; passwords that databases take may hold `/` and `@`.
_USER = re.compile(r"(?<=://)(?:[^:/?#@\s]*:(?!\d+(?:[/?]|$))\S*|[^/?#\s]*)@")
_OPTION = re.compile(
    r"([?&;][\w.-]*(?:pass|pwd|token|secret|key|credential|sig|auth)[\w.-]*=)[^&;#\s]+", re.I
)


def redacted(text: str) -> str:
    """``text`` without the user names, passwords and tokens of the addresses in it."""
    return _OPTION.sub(r"\1***", _USER.sub("", text))


def all_redacted(value: Any) -> Any:
    """Plain containers with every text in them `redacted`."""
    if isinstance(value, Mapping):
        return {key: all_redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(all_redacted(item) for item in value)
    return redacted(value) if isinstance(value, str) else value
