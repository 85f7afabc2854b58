"""The composed configuration against its schema, before any work starts."""

from collections.abc import Mapping
from typing import Any

from g5.config.settings import checked


def validate(config: Mapping[str, Any]) -> None:
    """Check every key of a resolved configuration."""
    checked(config)
