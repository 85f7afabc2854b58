"""Template matching: normalised cross-correlation of each shot's features with a recording's.

Source: Lewis, "Fast normalized cross-correlation", 1995, as in the DCASE Task 5 baseline. The
correlation is that of `skimage.feature.match_template` without padding, along time only.

Shapes: T frames, M mel bands (of the shot's own band), W frames of a template, N positions.
"""

import numpy as np
from scipy.signal import fftconvolve

from g5.config.check import Count, Positive, Share
from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.sound import Sound
from g5.detection.events.boundaries import frames_of
from g5.detection.scoring.scorer import GAP_APART, Curve, CurveScorer
from g5.detection.support import Shot, Target

# Frames of a recording that are correlated at once.
BLOCK = 1 << 14


class TemplateScorer(CurveScorer):
    """The best correlation with any of the shots.

    Args:
        max_template_s: longer shots are cut to this around their middle, seconds as heard.
        min_template_frames: shorter shots get so many frames.
        correlation: correlation from which on it is a call; None: that is for the support to say.
    """

    needs_encoder = False
    refines = False

    def __init__(
        self, *, max_template_s: Positive, min_template_frames: Count, correlation: Share | None
    ) -> None:
        self.max_template_s = max_template_s
        self.correlation = correlation
        self.cuts_itself = correlation is not None
        self.min_template_frames = min_template_frames

    def curve(self, sound: Sound, target: Target, embedder: WindowEmbedder) -> Curve:
        band = target.band(embedder.front_end) or (0, embedder.front_end.n_mels)
        templates = [self._template(shot, band) for shot in target.shots]
        score_N = correlated(sound, templates[0], band)
        nearest_N = np.zeros(len(score_N), dtype=np.int32)
        for k, t_WM in enumerate(templates[1:], start=1):
            other_N = correlated(sound, t_WM, band)
            nearest_N[other_N > score_N] = k
            np.maximum(score_N, other_N, out=score_N)
        length_K = target.duration_K
        negative_G, at_G = self._negatives(target, templates, band)
        return Curve(
            time_N=np.arange(sound.n_frames) / sound.frame_rate_hz,
            score_N=score_N,
            positive_K=np.array(
                [self._left_out(k, target, templates, band) for k in range(len(templates))]
            ),
            negative_G=negative_G,
            negative_at_G=at_G,
            reach_s=float(np.median(length_K)),
            distance_N=1 - score_N,
            nearest_N=nearest_N,
            threshold=self.correlation,
            length_N=length_K[nearest_N],
        )

    def _template(self, shot: Shot, band: tuple[int, int]) -> np.ndarray:
        first, last = frames_of(shot.start_s, shot.end_s, shot.sound)
        heard_hz = shot.sound.frame_rate_hz / shot.sound.slow
        width = min(
            max(last - first, self.min_template_frames), round(self.max_template_s * heard_hz)
        )
        width = min(max(width, 1), shot.sound.n_frames)
        first = min(max(round(shot.middle_frame - (width - 1) / 2), 0), shot.sound.n_frames - width)
        return shot.sound.normalised(first, first + width)[:, band[0] : band[1]]

    def _left_out(
        self, shot: int, target: Target, templates: list[np.ndarray], band: tuple[int, int]
    ) -> float:
        """The best correlation of the other shots with one."""
        others = [k for k in range(len(templates)) if k != shot] or [shot]
        own = target.shots[shot]
        reach = max(len(templates[k]) for k in others)
        centre = own.middle_frame
        first = max(0, int(centre - reach))
        last = min(own.sound.n_frames, int(centre + reach) + 1)
        near = max(1, round(own.duration_s * own.sound.frame_rate_hz / 2))
        best = -1.0
        for k in others:
            score_N = correlated(own.sound, templates[k], band, first, last)
            middle = round(centre) - first
            best = max(
                best, float(score_N[max(0, middle - near) : middle + near + 1].max(initial=-1))
            )
        return best

    def _negatives(
        self, target: Target, templates: list[np.ndarray], band: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Correlations in the gaps, and when they are."""
        found, at = [np.zeros(0)], [np.zeros(0)]
        for number, (sound, a, b) in enumerate(target.gaps()):
            first, last = frames_of(a, b, sound)
            widest = max(len(t) for t in templates)
            if last - first <= widest:
                continue
            score_N = np.max([correlated(sound, t, band, first, last) for t in templates], axis=0)[
                widest // 2 : last - first - widest // 2
            ]
            found.append(score_N)
            middle_N = np.arange(first, last)[widest // 2 : last - first - widest // 2]
            at.append(GAP_APART * number + middle_N / sound.frame_rate_hz)
        return np.concatenate(found), np.concatenate(at)


def correlated(
    sound: Sound, template_WM: np.ndarray, band: tuple[int, int], first: int = 0,
    last: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Correlation of a template centred on each frame from ``first`` to ``last``, in [-1, 1].

    Where the template would leave the recording it is -1.
    """
    last = sound.n_frames if last is None else last
    width = len(template_WM)
    zero_WM = template_WM - template_WM.mean()
    norm = float(np.sqrt((zero_WM**2).sum()))
    score_N = np.full(last - first, -1.0)
    before = (width - 1) // 2
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        low, high = max(begin - before, 0), min(end - before + width - 1, sound.n_frames)
        if high - low < width or norm == 0:
            continue
        x_TM = sound.normalised(low, high)[:, band[0] : band[1]].astype(np.float64)
        product_N = fftconvolve(x_TM, zero_WM[::-1, ::-1], mode="valid")[:, 0]
        size = width * x_TM.shape[1]
        total_N = _sliding(x_TM.sum(axis=1), width)
        square_N = _sliding((x_TM**2).sum(axis=1), width)
        spread_N = np.sqrt(np.maximum(square_N - total_N**2 / size, 1e-9))
        start = low + before - first
        score_N[start : start + len(product_N)] = np.clip(product_N / (norm * spread_N), -1, 1)
    return score_N


def _sliding(x_T: np.ndarray, width: int) -> np.ndarray:
    total = np.concatenate([[0.0], np.cumsum(x_T)])
    return total[width:] - total[:-width]
