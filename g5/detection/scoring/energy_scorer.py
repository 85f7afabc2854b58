"""The energy detector: what is loud where the shots are, whoever it is; a rival for experiments.

Shapes: T frames, B blocks of frames, K shots.
"""

import numpy as np
from scipy.ndimage import percentile_filter

from g5.config.check import NotNegative, Positive
from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.sound import Sound
from g5.detection.events.boundaries import Outline, frames_of
from g5.detection.events.curve import smoothed
from g5.detection.scoring.scorer import GAP_APART, Curve, CurveScorer
from g5.detection.support import Target

BLOCK = 1 << 15
# The floor is taken of blocks this long, and is so low a part of them.
FLOOR_BLOCK_S, QUIET_PERCENT = 0.1, 30


class EnergyScorer(CurveScorer):
    """The level in the bands that tell the shots from what is between them, above what is quiet.

    Bands and lengths are the shots', the ends are looked for in the frames: everything of ours but
    the encoder.

    Args:
        smooth: share of the median shot that the level is averaged over.
        floor_s: seconds around, whose quiet part is the floor; 0: the whole recording's.
        least: level from which on something is loud, where 0 is between the shots and 1 in them;
            None: that is for the support to say.
    """

    needs_encoder = False

    def __init__(
        self, *, smooth: NotNegative, floor_s: NotNegative, least: Positive | None
    ) -> None:
        self.smooth, self.floor_s, self.least = smooth, floor_s, least
        self.cuts_itself = least is not None

    def curve(self, sound: Sound, target: Target, embedder: WindowEmbedder) -> Curve:
        outline = Outline.of(target, embedder.front_end, 0.0)
        sounds = {one.key: one for one in (sound, *(shot.sound for shot in target.shots))}
        level_T = {key: self.level(one, outline) for key, one in sounds.items()}
        positive_K = [
            level_T[shot.sound.key][slice(*frames_of(shot.start_s, shot.end_s, shot.sound))].max()
            for shot in target.shots
        ]
        negative, at = [np.zeros(0)], [np.zeros(0)]
        for number, (other, a, b) in enumerate(target.gaps()):
            first, last = frames_of(a, b, other)
            negative.append(level_T[other.key][first:last])
            at.append(GAP_APART * number + np.arange(first, last) / other.frame_rate_hz)
        score_N = level_T[sound.key]
        return Curve(
            time_N=np.arange(len(score_N)) / sound.frame_rate_hz,
            score_N=score_N,
            positive_K=np.array(positive_K),
            negative_G=np.concatenate(negative),
            negative_at_G=np.concatenate(at),
            reach_s=float(np.median(target.duration_K)),
            distance_N=-score_N,
            nearest_N=np.zeros(len(score_N), dtype=int),
            threshold=self.least,
        )

    def level(self, sound: Sound, outline: Outline) -> np.ndarray:
        """How loud it is over time above the floor, about 1 in a shot and 0 between them, (T,)."""
        parts = [
            sound.normalised(first, min(first + BLOCK, sound.n_frames)) @ outline.weight_M
            for first in range(0, sound.n_frames, BLOCK)
        ]
        level_T, rate_hz = np.concatenate(parts), sound.frame_rate_hz
        wide = round(self.smooth * outline.durations.median_s * rate_hz)
        return smoothed(level_T, wide) - self._floor(level_T, rate_hz)

    def _floor(self, level_T: np.ndarray, rate_hz: float) -> np.ndarray:
        """What is quiet around each frame, (T,) or one number."""
        if not self.floor_s:
            return np.percentile(level_T, QUIET_PERCENT, keepdims=True)
        size = max(1, round(FLOOR_BLOCK_S * rate_hz))
        edges = np.arange(0, len(level_T), size)
        level_B = np.add.reduceat(level_T, edges) / np.diff(edges, append=len(level_T))
        around = max(1, round(self.floor_s * rate_hz / size)) | 1
        floor_B = percentile_filter(level_B, QUIET_PERCENT, size=around, mode="nearest")
        return np.interp(np.arange(len(level_T)), edges + size / 2, floor_B)
