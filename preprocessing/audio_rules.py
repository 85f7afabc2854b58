"""How sound files are read: one choice for all that a process reads, made where it starts."""

from dataclasses import dataclass
from typing import Protocol


class AudioRules(Protocol):
    """What is read of `g5.config.schema.AudioSettings`.

    Attributes:
        broken: repair | skip | stop.
        channel: auto | mix | left | right, or a number, of which 1 is the first.
        min_rate_hz: a file that says it has fewer samples per second is refused.
        max_rate_hz: ... or more.
    """

    @property
    def broken(self) -> str: ...

    @property
    def channel(self) -> str | int: ...

    @property
    def min_rate_hz(self) -> int: ...

    @property
    def max_rate_hz(self) -> int: ...


@dataclass(frozen=True)
class ReadAll:
    """What holds where nobody has said anything, as in a Python session: all is read."""

    broken: str = "repair"
    channel: str | int = "auto"
    min_rate_hz: int = 1
    max_rate_hz: int = 2**32


_rules: AudioRules = ReadAll()


def use(rules: AudioRules) -> None:
    """From now on, read sound files so."""
    global _rules
    _rules = rules


def rules() -> AudioRules:
    """How sound files are read."""
    return _rules
