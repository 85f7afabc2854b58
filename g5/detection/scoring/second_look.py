"""A second look at what may be a call: its own sound, alone, against the shots'.

A window of the curve sees a call off its middle, and whatever is around it. Here each event is
embedded by itself with its surroundings silenced, and compared with the shots and with what
between them is most like them; so are its spectrum, its loudness and its length. How much each
counts was learnt once, of recordings of invented species (`experiments/second_look`).

Shapes: E events, K shots, P negatives, D embedding width, M mel bands, T frames.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from g5.config.schema import LookSettings
from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.sound import Sound
from g5.detection.events.boundaries import Outline, frames_of
from g5.detection.events.gate import NEAR_S, QUIET, loudness
from g5.detection.events.threshold import CalibratedThreshold
from g5.detection.scoring.scorer import GAP_APART, Curve
from g5.detection.support import Target

# What is looked at; each has a weight in `detection.look`.
TRAITS = (
    "score", "margin", "nearest", "usual", "others", "spectrum", "loudness", "length",
)  # fmt: skip
# From this log-odds of the curve on something is looked at.
PROPOSED = -4.0
# Negatives that are embedded, those most like the shots.
NEGATIVES = 32
# Frames, and share of an event, that are heard on either side of it.
MARGIN_FRAMES, MARGIN = 2, 0.1
# A band is as loud as it is this share of the time at most: calls have pauses.
PEAK = 0.9
# Squared distances are told in those between two shots. Shots that are all alike say little of what
# their kind may be: the unit is at least this share of the distance to what is none.
LEAST, ALIKE = 1e-3, 0.3
# Traits beyond are as odd, in log-odds of the curve, and as logarithms.
ODD_SCORE, ODD_MARGIN, ODD = (-6.0, 8.0), 10.0, 4.0

Stretch = tuple[Sound, float, float]


@dataclass(frozen=True)
class SecondLook:
    """What events of a species are compared with.

    Attributes:
        embedder: of stretches.
        width: of the windows they are embedded in, frames.
        outline: how frames stand out, and how long calls are.
        weights: of `TRAITS`, and ``bias``.
        shots_KD: the shots.
        negative_PD: what is none.
        shots, negatives: where these are.
        between: mean squared distance of two shots.
        spectrum_KM: what the shots' bands have above what is around them.
        loud: of the median shot.
        highest: the curve's highest negative.
        own_K, other_P: log-odds of the shots, each by the others, and of what is none.
    """

    embedder: WindowEmbedder
    width: int
    outline: Outline
    weights: LookSettings
    shots_KD: Tensor
    negative_PD: Tensor
    shots: Sequence[Stretch]
    negatives: Sequence[Stretch]
    between: float
    spectrum_KM: np.ndarray
    loud: float
    highest: float
    own_K: np.ndarray
    other_P: np.ndarray

    @classmethod
    def of(
        cls, target: Target, embedder: WindowEmbedder, width: int, outline: Outline, curve: Curve,
        calibration: CalibratedThreshold, negatives: Sequence[tuple[Stretch, float]],
        weights: LookSettings,
    ) -> "SecondLook | None":  # fmt: skip
        """Learn it from the support; None where shots are too few, or one, to know how they differ.

        Args:
            negatives: stretches between the shots, and the curve's score there.
        """
        if len(target.shots) < 2:
            return None
        shots = [(shot.sound, shot.start_s, shot.end_s) for shot in target.shots]
        rivals = [(shot.sound, shot.start_s, shot.end_s) for shot in target.rivals]
        others = [*rivals, *(stretch for stretch, _ in negatives)]
        z_ND = embedded(embedder, [*shots, *others], width)
        shots_KD, negative_PD = z_ND[: len(shots)], z_ND[len(shots) :]
        between = apart(shots_KD, negative_PD)
        if between < LEAST:
            return None
        score_P = curve.negative_P
        low = float(np.median(curve.positive_K)) - 6 * calibration.scale
        loud_K = [loudness(outline, *shot) for shot in shots]
        look = cls(
            embedder, width, outline, weights, shots_KD, negative_PD, shots, others, between,
            np.array([spectrum(*shot) for shot in shots]),
            max(float(np.median(loud_K)), LEAST),
            float(score_P.max()) if len(score_P) else low, np.zeros(0), np.zeros(0),
        )  # fmt: skip
        scores = [*curve.positive_K, *curve.rival_C, *(score for _, score in negatives)]
        odds_N = look.log_odds(look.of_support(z_ND, np.array(scores), calibration))
        return replace(look, own_K=odds_N[: len(shots)], other_P=odds_N[len(shots) :])

    def log_odds(self, traits_EX: np.ndarray) -> np.ndarray:
        """Of events with such `traits` to be calls, (E,): 0 where F is best."""
        weight_X = np.array([getattr(self.weights, trait) for trait in TRAITS])
        return traits_EX @ weight_X + self.weights.bias

    def of_support(
        self, z_ND: Tensor, score_N: np.ndarray, calibration: CalibratedThreshold
    ) -> np.ndarray:
        """`TRAITS` of the shots, each by the others, and of what is none, (N, X)."""
        stretches = [*self.shots, *self.negatives]
        traits_NX = np.zeros((len(stretches), len(TRAITS)))
        for key, sound in {sound.key: sound for sound, _, _ in stretches}.items():
            here = [i for i, (other, _, _) in enumerate(stretches) if other.key == key]
            bounds_E2 = np.array([stretches[i][1:] for i in here])
            parts = z_ND[here], score_N[here], calibration
            traits_NX[here] = self.traits(sound, bounds_E2, *parts, left_out=True)
        return traits_NX

    def looked(
        self, sound: Sound, bounds_E2: np.ndarray, score_E: np.ndarray,
        calibration: CalibratedThreshold,
    ) -> np.ndarray:  # fmt: skip
        """`TRAITS` of events of a recording, (E, X).

        Args:
            sound: the recording.
            bounds_E2: begin and end, seconds.
            score_E: of the curve.
            calibration: of the curve.
        """
        if not len(bounds_E2):
            return np.zeros((0, len(TRAITS)))
        stretches = [(sound, a, b) for a, b in bounds_E2.tolist()]
        z_ED = embedded(self.embedder, stretches, self.width)
        return self.traits(sound, bounds_E2, z_ED, score_E, calibration)

    def traits(
        self, sound: Sound, bounds_E2: np.ndarray, z_ED: Tensor, score_E: np.ndarray,
        calibration: CalibratedThreshold, *, left_out: bool = False,
    ) -> np.ndarray:  # fmt: skip
        """`TRAITS` of what is embedded, (E, X); ``left_out``: no shot is compared with itself."""
        stretches = [(sound, a, b) for a, b in bounds_E2.tolist()]
        shots_EK = (torch.cdist(z_ED, self.shots_KD).square() / self.between).numpy()
        spectrum_EM = np.array([spectrum(*stretch) for stretch in stretches])
        alike_EK = alike(spectrum_EM, self.spectrum_KM)
        if left_out:
            own_EK = _lies_on(sound, bounds_E2, self.shots)
            own_EK &= ~own_EK.all(axis=1, keepdims=True)
            shots_EK[own_EK] = alike_EK[own_EK] = np.nan
        loud_E = np.array([loudness(self.outline, *one) for one in stretches]) / self.loud
        length_E = np.diff(bounds_E2, axis=1)[:, 0]
        return np.column_stack([
            np.clip(calibration.logit(score_E), *ODD_SCORE),
            np.clip((score_E - self.highest) / calibration.scale, -ODD_MARGIN, ODD_MARGIN),
            _log(np.nanmin(shots_EK, axis=1)),
            _log(np.nanmean(shots_EK, axis=1)),
            self._others(sound, bounds_E2, z_ED),
            np.nanmax(alike_EK, axis=1),
            np.log(np.clip(loud_E, 0.05, 1.0)),
            np.maximum(self.outline.durations.log_odds(length_E), -ODD),
        ])  # fmt: skip

    def _others(self, sound: Sound, bounds_E2: np.ndarray, z_ED: Tensor) -> np.ndarray:
        """How much nearer than the shots to what is no call, (E,); an event is not its own.

        Where little lies between the shots everything is far from it: farther than the shots says
        nothing.
        """
        if not self.negatives:
            return np.zeros(len(z_ED))
        away_EP = torch.cdist(z_ED, self.negative_PD).square().numpy() / self.between
        away_EP[_lies_on(sound, bounds_E2, self.negatives)] = np.inf
        away_KP = torch.cdist(self.shots_KD, self.negative_PD).square().numpy() / self.between
        usual = float(np.median(_log(away_KP.min(axis=1))))
        return np.minimum(_log(away_EP.min(axis=1)) - usual, 0.0)


def apart(shots_KD: Tensor, negative_PD: Tensor) -> float:
    """The unit of distances: the mean squared one of two shots, unless they are nearly alike."""
    apart_KK, count = torch.cdist(shots_KD, shots_KD).square(), len(shots_KD)
    between = float(apart_KK.sum()) / max(count * (count - 1), 1)
    if not len(negative_PD):
        return between
    return max(between, ALIKE * float(torch.cdist(shots_KD, negative_PD).square().mean()))


def negatives_of(
    target: Target, curve: Curve, calibration: CalibratedThreshold
) -> list[tuple[Sound, float, float]]:
    """Where between the shots it is most like them, at most `NEGATIVES`: when, and its score."""
    at_P, score_P = curve.negative_peaks
    like_P = np.flatnonzero(calibration.logit(score_P) >= PROPOSED)[:NEGATIVES]
    like_P = like_P[np.argsort(at_P[like_P])]
    gaps = target.gaps()
    places = [(int(at // GAP_APART), float(at % GAP_APART)) for at in at_P[like_P].tolist()]
    return [
        (gaps[number][0], at, score)
        for (number, at), score in zip(places, score_P[like_P].tolist(), strict=True)
        if number < len(gaps)
    ]


def embedded(embedder: WindowEmbedder, stretches: Sequence[Stretch], width: int) -> Tensor:
    """Stretches alone, each in the middle of a window, (N, D)."""
    pieces, heard = [], []
    for sound, start_s, end_s in stretches:
        rate_hz = sound.frame_rate_hz
        margin = max(MARGIN_FRAMES, MARGIN * (end_s - start_s) * rate_hz)
        start = round((start_s + end_s) / 2 * rate_hz - (width - 1) / 2)
        pieces.append((sound, np.array([start])))
        first, last = np.floor(start_s * rate_hz - margin), np.ceil(end_s * rate_hz + margin)
        heard.append(np.array([[first, last]], dtype=np.int64))
    return torch.cat(embedder.cut(pieces, width, None, heard))


def spectrum(sound: Sound, start_s: float, end_s: float) -> np.ndarray:
    """What each band of a stretch has above the quiet around it, (M,)."""
    first, last = frames_of(start_s, end_s, sound)
    around = round(NEAR_S * sound.frame_rate_hz)
    low = max(first - around, 0)
    x_TM = sound.normalised(low, min(last + around, sound.n_frames))
    inside_TM = x_TM[first - low : last - low]
    return np.quantile(inside_TM, PEAK, axis=0) - np.quantile(x_TM, QUIET, axis=0)


def alike(a_EM: np.ndarray, b_KM: np.ndarray) -> np.ndarray:
    """Correlations of spectra, (E, K)."""
    a_EM, b_KM = (x - x.mean(axis=1, keepdims=True) for x in (a_EM, b_KM))
    return a_EM @ b_KM.T / np.sqrt((a_EM**2).sum(axis=1)[:, None] * (b_KM**2).sum(axis=1) + 1e-9)


def best_apart(bounds_E2: np.ndarray, odds_E: np.ndarray) -> np.ndarray:
    """Which events stay where several overlap, the likelier first, ascending."""
    kept: list[int] = []
    starts: list[float] = []
    for event in np.argsort(-odds_E, kind="stable").tolist():
        start, end = bounds_E2[event].tolist()
        place = bisect(starts, start)
        near = [bounds_E2[kept[i]] for i in (place - 1, place) if 0 <= i < len(kept)]
        if all(end <= a or start >= b for a, b in near):
            starts.insert(place, start)
            kept.insert(place, event)
    return np.array(kept, dtype=int)


def _lies_on(sound: Sound, bounds_E2: np.ndarray, stretches: Sequence[Stretch]) -> np.ndarray:
    """Which events of a recording overlap which stretches, (E, N)."""
    (start_E1, end_E1) = bounds_E2.T[..., None]
    here_N = np.array([other.key == sound.key for other, _, _ in stretches])
    start_N, end_N = np.array([stretch[1:] for stretch in stretches], dtype=float).T
    return here_N & (start_E1 < end_N) & (end_E1 > start_N)


def _log(distance_E: np.ndarray) -> np.ndarray:
    return np.clip(np.log(np.maximum(distance_E, LEAST)), -ODD, ODD)
