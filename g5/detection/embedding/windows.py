"""Windows that slide over a recording: how long they are, how far apart, and when each is.

Frames are those of the front end; a window of W frames that starts at frame f is centred on
frame ``f + (W - 1) / 2``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log2

import numpy as np

# Lengths are half an octave apart, so that supports of like durations share their embeddings.
LENGTHS_PER_OCTAVE = 2


@dataclass(frozen=True, order=True)
class Scale:
    """One length of windows: ``width`` frames, ``hop`` frames from one to the next."""

    width: int
    hop: int

    def count(self, n_frames: int) -> int:
        """Windows in a recording of that many frames; a shorter one is repeated to fill one."""
        return max(1, (n_frames - self.width) // self.hop + 1)

    def centres(self, n_frames: int) -> np.ndarray:
        """The windows' centres in frames, (count,)."""
        return np.arange(self.count(n_frames)) * self.hop + (self.width - 1) / 2

    @property
    def ideal_gain(self) -> float:
        """How much work the windows share, at best."""
        return self.width / self.hop


def scales_of(
    duration_K: Sequence[float] | np.ndarray,
    *,
    min_frames: float,
    max_frames: float,
    hop: float,
    stride: int,
    max_scales: int,
) -> list[Scale]:
    """Window lengths that follow the shots' durations.

    The median duration has a window, and durations beyond half an octave around it have theirs,
    the farthest first, up to ``max_scales``.

    Args:
        duration_K: of the shots, in frames.
        min_frames: shortest window.
        max_frames: longest window; longer calls are seen through several.
        hop: from window to window, as a share of the window.
        stride: of an encoder that shares work (0: none); windows are then multiples of it,
            unless they would be shorter than four of them.
        max_scales: how many at most.
    """
    ladder = [_rung(d, min_frames, max_frames) for d in np.asarray(duration_K, dtype=float)]
    middle = int(np.median(ladder))
    chosen = [middle]
    for rung in sorted(set(ladder), key=lambda rung: (-abs(rung - middle), rung)):
        near = any(abs(rung - other) <= LENGTHS_PER_OCTAVE for other in chosen)
        if len(chosen) < max_scales and not near:
            chosen.append(rung)
    widths = (min_frames * 2 ** (rung / LENGTHS_PER_OCTAVE) for rung in chosen)
    return sorted({_scale(min(width, max_frames), hop, stride) for width in widths})


def _rung(duration: float, shortest: float, longest: float) -> int:
    """Number of the ladder's rung nearest above the duration."""
    wanted = min(max(duration, shortest), longest)
    return ceil(LENGTHS_PER_OCTAVE * log2(wanted / shortest) - 1e-9)


def _scale(width: float, hop: float, stride: int) -> Scale:
    frames = max(1, floor(width + 0.5))
    if stride and frames >= 4 * stride:
        frames = max(1, floor(frames / stride + 0.5)) * stride
        return Scale(frames, max(1, floor(frames * hop / stride + 0.5)) * stride)
    return Scale(frames, max(1, floor(frames * hop + 0.5)))
