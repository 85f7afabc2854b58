"""Nothing is an event where nothing happens: how loud it is in what tells the shots from the gaps.

A frame's loudness is its weight in the `Outline` (1 in shots, 0 between them, in the shots' own
bands) above the quiet moments around it, so that a background that drifts is no event.

Shapes: T frames, E events.
"""

from dataclasses import dataclass

import numpy as np

from g5.detection.embedding.sound import Sound
from g5.detection.events.boundaries import Outline
from g5.detection.support import Target

# How far around an event its background is listened to, and which share of it is quiet.
NEAR_S, QUIET = 2.0, 0.2
# Share of an event's frames that say how loud it is: calls have pauses.
LOUD = 1 / 3


@dataclass(frozen=True)
class Gate:
    """What opens for an event that is loud enough.

    Attributes:
        outline: weighs frames.
        least: the loudness from which on something happens.
    """

    outline: Outline
    least: float

    @classmethod
    def of(cls, target: Target, outline: Outline, share: float) -> "Gate":
        """The gate that opens at a share of the quietest shot's loudness."""
        loud_K = [loudness(outline, shot.sound, shot.start_s, shot.end_s) for shot in target.shots]
        quietest = min(loud_K)
        return cls(outline, quietest - (1 - share) * abs(quietest))

    def opens(self, sound: Sound, bounds_E2: np.ndarray) -> np.ndarray:
        """Which events are loud enough, (E,)."""
        loud_E = [loudness(self.outline, sound, a, b) for a, b in bounds_E2.tolist()]
        return np.array(loud_E) >= self.least


def loudness(outline: Outline, sound: Sound, start_s: float, end_s: float) -> float:
    """The mean of an event's loudest frames above the quiet ones around it."""
    time_T, weight_T = outline.weights(sound, start_s - NEAR_S, end_s + NEAR_S)
    half = 0.5 / sound.frame_rate_hz
    inside_T = weight_T[(time_T >= start_s - half) & (time_T <= end_s + half)]
    if not len(inside_T):
        return 0.0
    loudest_T = np.sort(inside_T)[-max(1, round(LOUD * len(inside_T))) :]
    return float(loudest_T.mean() - np.quantile(weight_T, QUIET))
