"""Every call of some species in a recording: curve, threshold, events.

Shapes: N points of a curve, E events.
"""

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from g5.config.schema import DetectionSettings
from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.sound import Sound
from g5.detection.events.boundaries import Outline
from g5.detection.events.curve import EventShape, hysteresis, joined, maxima, parted
from g5.detection.events.gate import Gate
from g5.detection.events.threshold import CalibratedThreshold, asked_for, calibrate
from g5.detection.scoring.scorer import STEEPNESS, Curve, CurveScorer
from g5.detection.scoring.second_look import PROPOSED, SecondLook, best_apart, negatives_of
from g5.detection.support import Target

FOUND_COLUMNS = ["start_s", "end_s", "label", "score", "distance", "nearest", "peak_s", "support"]


@dataclass(frozen=True)
class Detections:
    """What was found of one species in one recording.

    Attributes:
        events: `FOUND_COLUMNS`, sorted by start.
        curve: how much the recording sounds like the species.
        calibration: of the curve.
    """

    target: Target
    events: pd.DataFrame
    curve: Curve
    calibration: CalibratedThreshold


class Detector:
    """Finds the calls of targets in recordings.

    Args:
        scorer: how windows are scored.
        embedder: embeds them.
        settings: of detection.

    Attributes:
        least: by species, the score that an event reaches somewhere, where a review says it.
    """

    def __init__(
        self, scorer: CurveScorer, embedder: WindowEmbedder, settings: DetectionSettings
    ) -> None:
        self.scorer = scorer
        self.embedder = embedder
        self.settings = settings
        self.least: dict[str, float] = {}
        self._gates: WeakKeyDictionary[Target, Gate] = WeakKeyDictionary()
        self._looked: tuple[Curve, tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None
        self._looks: WeakKeyDictionary[Target, SecondLook | None] = WeakKeyDictionary()

    def detect(self, sound: Sound, target: Target) -> Detections:
        """One species in one recording.

        Raises:
            SilentRecording: it is silent from end to end.
        """
        sound.refuse_silence()
        curve = self.scorer.curve(sound, target, self.embedder)
        calibration = self.calibration(curve, target)
        return Detections(
            target, self.events(sound, target, curve, calibration), curve, calibration
        )

    def calibration(self, curve: Curve, target: Target) -> CalibratedThreshold:
        """The curve's threshold: from the support, unless the scorer has one of its own."""
        settings = self.settings
        asks = None if target.label in self.least else settings.asks
        least = float(logit(self.least.get(target.label, settings.threshold)))
        if curve.threshold is not None:
            return CalibratedThreshold(
                curve.threshold, max(abs(curve.threshold) / STEEPNESS, 1e-6), float("nan"), least
            )
        found = calibrate(
            curve.positive_K, curve.negative_P,
            prior_spread=settings.prior_spread, lean=settings.lean,
        )  # fmt: skip
        if asks:
            look = self.look(target.shots[0].sound, target, curve, found)
            curves = found.logit(curve.positive_K), found.logit(curve.negative_P)
            least = asked_for(
                *((look.own_K, look.other_P) if look else curves),
                prior_spread=settings.prior_spread,
                precision=settings.precision, recall=settings.recall,
            )  # fmt: skip
        return replace(found, least=least)

    def candidates(self, sound: Sound, found: Detections) -> pd.DataFrame:
        """The events there would be with a threshold that lies lower, as `candidates` says.

        Their scores are the calibrated ones: for an oracle, which looks at other thresholds.
        """
        below = self.settings.candidates
        return self.events(sound, found.target, found.curve, found.calibration, below)

    def events(
        self, sound: Sound, target: Target, curve: Curve, calibration: CalibratedThreshold,
        below: float = 0.0,
    ) -> pd.DataFrame:  # fmt: skip
        """Events of a curve up to ``below`` log-odds under the threshold, `FOUND_COLUMNS`."""
        logit_N = calibration.logit(curve.score_N)
        look = self.look(sound, target, curve, calibration)
        if look is None:
            least = calibration.least - below
            peak_E, bounds_E2 = self._raw(sound, target, curve, logit_N, least)
            odds_E = logit_N[peak_E]
        else:
            peak_E, bounds_E2, traits_EX = self.looked(sound, target, curve, calibration, look)
            odds_E = look.log_odds(traits_EX)
            kept = np.flatnonzero(odds_E >= calibration.least - below)
            kept = kept[best_apart(bounds_E2[kept], odds_E[kept])]
            peak_E, bounds_E2, odds_E = peak_E[kept], bounds_E2[kept], odds_E[kept]
        kept_E4 = joined(np.column_stack([bounds_E2, odds_E]), self._shape(target))
        kept_E4 = kept_E4[~lies_on(kept_E4[:, :2], target.refused.get(sound.key))]
        peak_E = peak_E[kept_E4[:, 3].astype(int)]
        return pd.DataFrame({
            "start_s": kept_E4[:, 0],
            "end_s": kept_E4[:, 1],
            "label": target.label,
            "score": expit(kept_E4[:, 2]),
            "distance": curve.distance_N[peak_E],
            "nearest": [target.shots[k].name for k in curve.nearest_N[peak_E]],
            "peak_s": curve.time_N[peak_E],
            "support": lies_on(kept_E4[:, :2], target.stretches(sound)),
        }).astype({"label": "str", "nearest": "str"})  # fmt: skip

    def _shape(self, target: Target) -> EventShape:
        settings, duration_K = self.settings, target.duration_K
        return EventShape(
            min_s=settings.min_duration * float(duration_K.min()),
            max_s=settings.max_duration * float(duration_K.max()),
            merge_s=settings.merge * float(np.median(duration_K)),
        )

    def _raw(
        self, sound: Sound, target: Target, curve: Curve, logit_N: np.ndarray, least: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Peaks (E,) of a curve, and begin and end of what is there (E, 2), not yet joined."""
        time_N = curve.time_N
        if curve.length_N is not None:
            peak_E = maxima(time_N, logit_N, curve.length_N / 2, least)
            half_E = curve.length_N[peak_E] / 2
            return peak_E, np.column_stack([time_N[peak_E] - half_E, time_N[peak_E] + half_E])
        regions = hysteresis(logit_N, least, least + self.scorer.low_logit)
        if not self.scorer.refines:
            step = float(time_N[1] - time_N[0]) / 2 if len(time_N) > 1 else 0.0
            most = int(self._shape(target).max_s / (2 * step)) if step else len(time_N)
            regions = [part for a, b in regions for part in parted((a, b), logit_N, most)]
            kept = [(a, b) for a, b in regions if logit_N[a:b].max() >= least]
            peak_E = np.array([a + int(np.argmax(logit_N[a:b])) for a, b in kept], dtype=int)
            ends = [(time_N[a] - step, time_N[b - 1] + step) for a, b in kept]
            return peak_E, np.array(ends).reshape(-1, 2)
        return self._refined(sound, target, time_N, logit_N, regions, least)

    def _refined(
        self, sound: Sound, target: Target, time_N: np.ndarray, logit_N: np.ndarray,
        regions: np.ndarray, least: float,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Every peak's call, its ends looked for in the frames around it."""
        gate = self._gate(target)
        middle_s = float(np.median(target.duration_K))
        longest_s = self.settings.max_duration * float(target.duration_K.max())
        step_s = float(time_N[1] - time_N[0]) if len(time_N) > 1 else middle_s
        core_s = self._core_s(sound, target, step_s)
        peaks, ends = [], []
        for a, b in regions:
            apart_s = max(0.8 * middle_s, 2 * step_s)
            for peak in a + maxima(time_N[a:b], logit_N[a:b], apart_s, least):
                at = float(time_N[peak])
                peaks.append(peak)
                stretch = (at - core_s, at + core_s, longest_s)
                ends.append(gate.outline.ends(sound, *stretch, step_s=step_s))
        bounds_E2 = np.array(ends).reshape(-1, 2)
        open_E = gate.opens(sound, bounds_E2)
        return np.array(peaks, dtype=int)[open_E], bounds_E2[open_E]

    def looked(
        self, sound: Sound, target: Target, curve: Curve, calibration: CalibratedThreshold,
        look: SecondLook,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """What may be events: their peaks (E,), begins and ends (E, 2), traits (E, X).

        The last curve's are kept: thresholds are tried on them.
        """
        if self._looked is None or self._looked[0] is not curve:
            logit_N = calibration.logit(curve.score_N)
            least = PROPOSED + min(calibration.least, 0.0)
            peak_E, bounds_E2 = self._raw(sound, target, curve, logit_N, least)
            traits_EX = look.looked(sound, bounds_E2, curve.score_N[peak_E], calibration)
            self._looked = curve, (peak_E, bounds_E2, traits_EX)
        return self._looked[1]

    def look(
        self, sound: Sound, target: Target, curve: Curve, calibration: CalibratedThreshold
    ) -> SecondLook | None:
        """Learnt once of each species; None where there is no encoder, or too little support."""
        if not (self.scorer.needs_encoder and self.scorer.refines):
            return None
        if target not in self._looks:
            gate = self._gate(target)
            longest_s = self.settings.max_duration * float(target.duration_K.max())
            scale = self.scorer.scales(sound, target, self.embedder.stride)[-1]
            negatives = []
            for other, at, score in negatives_of(target, curve, calibration):
                step_s = scale.hop / other.frame_rate_hz
                core_s = self._core_s(other, target, step_s)
                stretch = (at - core_s, at + core_s, longest_s)
                ends = gate.outline.ends(other, *stretch, step_s=step_s)
                negatives.append(((other, *ends), score))
            self._looks[target] = SecondLook.of(
                target, self.embedder, scale.width, gate.outline, curve, calibration, negatives,
                self.settings.look,
            )  # fmt: skip
        return self._looks[target]

    def _core_s(self, sound: Sound, target: Target, step_s: float) -> float:
        """How far from a window's middle the loudest frame of its call may lie, seconds.

        A call that is shorter than the window lies anywhere in it.
        """
        middle_s = float(np.median(target.duration_K))
        scales = self.scorer.scales(sound, target, self.embedder.stride)
        window_s = scales[-1].width / sound.frame_rate_hz if scales else 0.0
        return max(middle_s, step_s, window_s - middle_s) / 2

    def _gate(self, target: Target) -> Gate:
        """Learnt once of each species."""
        if target not in self._gates:
            outline = Outline.of(target, self.embedder.front_end, self.settings.level)
            self._gates[target] = Gate.of(target, outline, self.settings.gate)
        return self._gates[target]


def lies_on(events_E2: np.ndarray, marks_M2: np.ndarray | None) -> np.ndarray:
    """Which events share more than half of the shorter one with a mark, (E,)."""
    if marks_M2 is None or not len(events_E2):
        return np.zeros(len(events_E2), dtype=bool)
    (start_E, end_E), (start_M, end_M) = events_E2.T[..., None], marks_M2.T
    shared_EM = np.minimum(end_E, end_M) - np.maximum(start_E, start_M)
    return (shared_EM > np.minimum(end_E - start_E, end_M - start_M) / 2).any(axis=1)


def without_rivals(found: list[Detections], *, overlap: bool = False) -> pd.DataFrame:
    """The events of all species; where two lie on each other, the more certain one stays.

    Two events are rivals where they overlap by more than half of the shorter one. With ``overlap``
    both stay.
    """
    parts = [one.events for one in found if len(one.events)]
    if not parts:
        return found[0].events if found else pd.DataFrame(columns=FOUND_COLUMNS)
    table = pd.concat(parts, ignore_index=True).sort_values(
        ["start_s", "end_s"], kind="stable", ignore_index=True
    )
    if len(found) < 2 or overlap:
        return table
    start, end = table["start_s"].to_numpy(), table["end_s"].to_numpy()
    label, score = table["label"].to_numpy(), table["score"].to_numpy()
    keep = np.ones(len(table), dtype=bool)
    for i in range(len(table)):
        j = i + 1
        while keep[i] and j < len(table) and start[j] < end[i]:
            shared = min(end[i], end[j]) - start[j]
            shorter = min(end[i] - start[i], end[j] - start[j])
            if keep[j] and label[i] != label[j] and shared > shorter / 2:
                keep[j if score[j] <= score[i] else i] = False
            j += 1
    return table.loc[keep].reset_index(drop=True)
