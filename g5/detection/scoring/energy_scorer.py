"""The energy detector: what is loud in a band, whoever it is; a rival for experiments.

Shapes: T frames, M mel bands.
"""

import numpy as np

from g5.config.check import NotNegative, Positive, Share
from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.sound import Sound
from g5.detection.events.curve import smoothed
from g5.detection.scoring.scorer import STEEPNESS, Curve, CurveScorer
from g5.detection.support import Target, mel_centres

BLOCK = 1 << 15


class EnergyScorer(CurveScorer):
    """Mean level in a band above the recording's median, in its deviations.

    Where it cuts is a setting, chosen on validation recordings; the support only tells how long
    events are.

    Args:
        low_hz, high_hz: the band, as the front end hears it.
        smooth_s: seconds that the level is averaged over.
        deviations: median absolute deviations above the median from which on something is loud.
        low: an event goes on while the level is above this share of that.
    """

    needs_encoder = False
    refines = False
    cuts_itself = True

    def __init__(
        self,
        *,
        low_hz: NotNegative,
        high_hz: Positive,
        smooth_s: NotNegative,
        deviations: Positive,
        low: Share,
    ) -> None:
        self.low_hz, self.high_hz = low_hz, high_hz
        self.smooth_s, self.deviations = smooth_s, deviations
        self.low_logit = STEEPNESS * (low - 1)

    def curve(self, sound: Sound, target: Target, embedder: WindowEmbedder) -> Curve:
        level_T = self.level(sound, mel_centres(embedder.front_end))
        count = len(target.shots)
        return Curve(
            time_N=np.arange(len(level_T)) / sound.frame_rate_hz,
            score_N=level_T,
            positive_K=np.full(count, self.deviations),
            negative_G=np.zeros(0),
            negative_at_G=np.zeros(0),
            reach_s=1.0,
            distance_N=-level_T,
            nearest_N=np.zeros(len(level_T), dtype=int),
            threshold=self.deviations,
        )

    def level(self, sound: Sound, centre_M: np.ndarray) -> np.ndarray:
        """The band's level over time, median 0, in median absolute deviations, (T,)."""
        inside_M = (centre_M >= self.low_hz) & (centre_M <= self.high_hz)
        parts = [
            sound.normalised(first, min(first + BLOCK, sound.n_frames))[:, inside_M].mean(axis=1)
            for first in range(0, sound.n_frames, BLOCK)
        ]
        heard_hz = sound.frame_rate_hz / sound.slow
        level_T = smoothed(np.concatenate(parts), round(self.smooth_s * heard_hz))
        level_T = level_T - np.median(level_T)
        return level_T / max(float(np.median(np.abs(level_T))), 1e-6)
