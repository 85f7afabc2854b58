"""How sound files are read: a choice that goes to wherever one is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AudioRules:
    """What `conf/audio` says.

    Attributes:
        broken: repair | skip | stop.
        channel: auto | mix | left | right, or a number, of which 1 is the first.
        min_rate_hz: a file that says it has fewer samples per second is refused.
        max_rate_hz: ... or more.
    """

    broken: str
    channel: str | int
    min_rate_hz: int
    max_rate_hz: int


# Where nobody has said anything, as in a Python session, all is read.
READ_ALL = AudioRules(broken="repair", channel="auto", min_rate_hz=1, max_rate_hz=10**7)
