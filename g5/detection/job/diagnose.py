"""Is the support fit for its purpose? Shots that disagree, repeat, clip or are silent."""

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import expit

from g5.common import sealed
from g5.common.words import counted, length
from g5.config.schema import DetectionSettings
from g5.detection.detector import Detections
from g5.detection.embedding.sound import CLIPPED_SHARE, FULL_SCALE
from g5.detection.events.threshold import CalibratedThreshold, calibrate
from g5.detection.scoring.scorer import GAP_APART, Curve
from g5.detection.support import Shot, Target

# A shot is unlike the others where its score lies so many of their deviations below theirs.
ODD = 3.0
# Longer or shorter than the median by more than this factor.
ODD_DURATION = 4.0
SILENT_DB = -90.0
# Expected F from which on shots are clear.
GOOD_F = 0.7
# Places that a note names.
TOLD = 3
NOTES = "diagnoses.json"  # in what is kept


@dataclass(frozen=True)
class Diagnosis:
    """What there is to say of one species' support.

    Attributes:
        notes: a line for each oddity.
        left_out: per shot: its name, its score by what the others say, and the threshold that
            there would be without it.
    """

    label: str
    notes: tuple[str, ...]
    left_out: tuple[tuple[str, float, float], ...]


def of_sound(target: Target) -> list[str]:
    """What the shots alone tell: repeats, overlaps, clipping, silence, durations."""
    notes = []
    shots = target.shots
    for i, a in enumerate(shots):
        for b in shots[:i]:
            if a.sound.key != b.sound.key:
                continue
            overlap = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
            if overlap > 0.9 * max(a.duration_s, b.duration_s):
                notes.append(f"{a.name}: is the same call as {b.name}; it counts twice")
            elif overlap > 0:
                notes.append(f"{a.name}: overlaps {b.name}")
    median = float(np.median(target.duration_K))
    usual = length(median)
    for shot in shots:
        if not median / ODD_DURATION <= shot.duration_s <= median * ODD_DURATION:
            notes.append(
                f"{shot.name}: lasts {length(shot.duration_s)}, where the median is {usual}"
            )
        notes += _of_samples(shot)
    return notes


def _of_samples(shot: Shot) -> list[str]:
    x_T = shot.sound.read(shot.start_s, shot.end_s)
    if not len(x_T):
        return []
    notes = []
    peak = float(np.abs(x_T).max())
    if float((np.abs(x_T) >= FULL_SCALE).mean()) > CLIPPED_SHARE:
        notes.append(f"{shot.name}: is clipped")
    level_db = 20 * np.log10(max(float(np.std(x_T)), 1e-12))
    if level_db < SILENT_DB:
        notes.append(f"{shot.name}: is silent ({level_db:.0f} dB)")
    mean = float(x_T.mean())
    if peak > 0 and abs(mean) > 0.5 * peak:
        notes.append(f"{shot.name}: has a DC offset of {mean:.2g}")
    return notes


def of_scores(
    target: Target,
    curve: Curve,
    calibration: CalibratedThreshold,
    *,
    prior_spread: float,
    lean: float,
) -> Diagnosis:
    """What the shots say of each other, and what leaving each out would do."""
    notes = []
    positive_K = curve.positive_K
    left_out = []
    for k, shot in enumerate(target.shots):
        others = np.delete(positive_K, k)
        if len(others) >= 2:
            spread = max(float(others.std()), 0.05 * abs(float(others.mean())), 1e-6)
            odd = positive_K[k] < calibration.threshold
            if positive_K[k] < others.mean() - ODD * spread and odd:
                notes.append(f"{shot.name}: sounds unlike the other shots")
        settings = {"prior_spread": prior_spread, "lean": lean}
        without = np.nan
        if len(others):
            without = calibrate(others, curve.negative_P, **settings).threshold
        left_out.append((shot.name, float(positive_K[k]), float(without)))
    if np.isfinite(calibration.expected_f) and calibration.expected_f < GOOD_F:
        settings = {"prior_spread": prior_spread, "lean": lean}
        notes.append(_why_mixed_up(target, curve, calibration.expected_f, settings))
    if curve.second_kind:
        names = ", ".join(target.shots[k].name for k in curve.second_kind)
        notes.append(
            f"{target.label}: its shots are of two kinds, of which the second is {names}; both are "
            f"looked for, each by its own shots. To tell them apart label these {target.label} 2"
        )
    return Diagnosis(target.label, tuple(notes), tuple(left_out))


def _why_mixed_up(
    target: Target, curve: Curve, expected_f: float, settings: dict[str, float]
) -> str:
    """Do unmarked calls seem to be among the negatives, or are the shots not clear?"""
    at_P, score_P = curve.negative_peaks
    like_P = score_P >= curve.positive_K.min()
    rest = calibrate(curve.positive_K, score_P[~like_P], **settings)
    if like_P.any() and (~like_P).any() and rest.expected_f >= GOOD_F:
        gaps, at = target.gaps(), sorted(at_P[like_P].tolist())
        places = [f"at {when % GAP_APART:.2f} s" for when in at]
        if gaps:
            files = [gaps[int(when // GAP_APART)][0].path.name for when in at]
            places = [f"{place} of {file}" for place, file in zip(places, files, strict=True)]
        return (
            f"{target.label}: where nothing is marked it sounds like its shots "
            f"{counted(len(at), 'time')} "
            f"({', '.join(places[:TOLD])}{', ...' if len(at) > TOLD else ''}); mark these, "
            "POS or NEG"
        )
    return (
        f"{target.label}: its shots can hardly be told from what lies between them (expected F "
        f"{expected_f:.2f}); mark clearer or more calls"
    )


def _extrapolated(found: Detections, name: str, share: float) -> str:
    label, curve = found.target.label, found.curve
    score = expit(found.calibration.least)
    return (
        f"{label}: for a {name} of {share:g} events need a score of {score:.3g}; extrapolated from "
        f"{counted(len(curve.positive_K), 'shot')} and {len(curve.negative_P)} sounds that are "
        "none; after "
        "g5 review, --support FOUND goes by the answers"
    )


class Diagnoses:
    """The diagnosis of each species' support, kept for when the same job goes on.

    Args:
        file: what an earlier run of the job has kept, and this one keeps.
        settings: of the threshold.
        note: told of every oddity.
        told: species whose threshold somebody else tells.
        alone: no other process searches for it. Else every recording is diagnosed: whoever gathers
            the results keeps that of the first.

    Attributes:
        by_label: species to diagnosis.
    """

    def __init__(
        self,
        file: Path,
        settings: DetectionSettings,
        note: Callable[[str], None],
        told: Collection[str] = (),
        *,
        alone: bool = True,
    ) -> None:
        self.by_label: dict[str, Diagnosis] = {}
        self._file, self._settings, self._note, self._alone = file, settings, note, alone
        self._told = told
        try:
            kept = json.loads(sealed.unpack(file)[NOTES])
        except (FileNotFoundError, ValueError, KeyError):
            kept = {}  # made again by the first recording that is searched
        for label, values in kept.items():
            left_out = tuple(tuple(row) for row in values["left_out"])
            self._add(Diagnosis(label, tuple(values["notes"]), left_out))

    def _add(self, diagnosis: Diagnosis) -> None:
        self.by_label[diagnosis.label] = diagnosis
        for text in diagnosis.notes:
            self._note(text)

    def of(self, found: Detections) -> Diagnosis | None:
        """What a species' scores in a recording say of its support; None if that is known."""
        known = self._alone and found.target.label in self.by_label
        if known or found.curve.threshold is not None:
            return None
        diagnosis = of_scores(
            found.target, found.curve, found.calibration,
            prior_spread=self._settings.prior_spread, lean=self._settings.lean,
        )  # fmt: skip
        if self._settings.asks and found.target.label not in self._told:
            extrapolated = _extrapolated(found, *self._settings.asks)
            diagnosis = replace(diagnosis, notes=(*diagnosis.notes, extrapolated))
        return diagnosis

    def add(self, diagnosis: Diagnosis) -> None:
        """Keep a diagnosis by the first recording that a species is looked for in."""
        if diagnosis.label in self.by_label:
            return
        self._add(diagnosis)
        if self._alone or not self._file.exists():
            kept = {label: asdict(one) for label, one in self.by_label.items()}
            sealed.pack(self._file, {NOTES: json.dumps(kept).encode()})
