"""The frequency axis of a spectrogram tile, and the round numbers that are written along axes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Of the band: where a bent axis turns from linear to logarithmic, as mel does at 700 Hz of 11 kHz.
BEND = 1 / 16


@dataclass(frozen=True)
class FrequencyAxis:
    """From ``low_hz`` below to ``high_hz`` above; linear, or bent like mel, at any sample rate."""

    low_hz: float
    high_hz: float
    bent: bool

    def share(self, hz: float) -> float:
        """How high a frequency stands: 0 at the bottom, 1 at the top."""
        unit = (hz - self.low_hz) / (self.high_hz - self.low_hz)
        return float(np.log1p(unit / BEND) / np.log1p(1 / BEND)) if self.bent else unit

    def edges_hz(self, n: int) -> np.ndarray:
        """(n + 1,) the frequencies between ``n`` equally high rows."""
        unit = np.linspace(0, 1, n + 1)
        if self.bent:
            unit = np.expm1(unit * np.log1p(1 / BEND)) * BEND
        return self.low_hz + unit * (self.high_hz - self.low_hz)

    def ticks_hz(self, apart: float = 0.12) -> list[float]:
        """Round frequencies from the top down, so much of the height apart and from the bottom."""
        return spaced_ticks_hz(self.low_hz, self.high_hz, self.share, apart)


def spaced_ticks_hz(
    low_hz: float, high_hz: float, share: Callable[[float], float], apart: float
) -> list[float]:
    """Round frequencies from the top down, ``apart`` of the height from each other and the bottom.

    Args:
        share: how high a frequency stands, from 0 to 1.
    """
    chosen: list[float] = []
    for hz in reversed(round_numbers(low_hz, high_hz)):
        below = (share(chosen[-1]) if chosen else 1 + apart) - share(hz)
        if below >= apart and share(hz) >= apart:
            chosen.append(hz)
    return chosen


def round_numbers(low: float, high: float) -> list[float]:
    """All of 1, 2, 5, 10, 20 ... above ``low`` and up to ``high``, to a hundredth of it."""
    exponents = range(int(np.floor(np.log10(high))) - 2, int(np.ceil(np.log10(high))) + 1)
    numbers = [float(digit * 10.0**e) for e in exponents for digit in (1, 2, 5)]
    return [number for number in numbers if low < number <= high]


def ticks_s(seconds: float) -> list[float]:
    """Two to four round times from the start of a tile that lasts so long, without its start."""
    step = next(n for n in round_numbers(0, seconds) if seconds / n < 5)
    return [round(step * i, 9) for i in range(1, int(seconds / step + 1e-9) + 1)]
