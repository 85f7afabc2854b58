"""The support: which calls were marked, of which species, and the stretches around them.

Shapes: M mel bands.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from g5.common.errors import DiskError, UserError
from g5.common.words import counted
from g5.detection.embedding.sound import Sound
from preprocessing.frontend import FrontEnd

# Boxes are drawn by eye: the band that is listened to is wider by a third of an octave.
BAND_MARGIN = 2 ** (1 / 3)
# Of a shot's length, what is left alone around it: marks are rarely tight.
SHOT_MARGIN = 0.25
# Names that are this much alike may be one, with a slip of the pen (brak, Bark: 0.75).
ALIKE = 0.7
NEGATIVES = ("gaps", "head", "everything")


@dataclass(frozen=True)
class Shot:
    """One marked call.

    Attributes:
        sound: the recording it is in.
        start_s, end_s: of the recording.
        low_hz, high_hz: the box's band; NaN where there is none.
        name: what the user can find it by.
    """

    sound: Sound
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    name: str

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def middle_frame(self) -> float:
        return (self.start_s + self.end_s) / 2 * self.sound.frame_rate_hz


@dataclass(frozen=True, eq=False)
class Target:
    """One species that is looked for.

    Attributes:
        label: its name.
        shots: its marked calls.
        rivals: what surely is something else: rows marked NEG, and the other species' calls.
        marked: per recording (its key), every stretch that is marked as anything, seconds.
        refused: per recording, the stretches that are marked NEG.
        negatives: which of the rest of the shots' recordings counts as something else.
    """

    label: str
    shots: tuple[Shot, ...]
    rivals: tuple[Shot, ...]
    marked: dict[str, np.ndarray]
    refused: dict[str, np.ndarray]
    negatives: str

    @property
    def duration_K(self) -> np.ndarray:
        """Durations of the shots, seconds."""
        return np.array([shot.duration_s for shot in self.shots])

    def stretches(self, sound: Sound) -> np.ndarray:
        """Begin and end of the shots in a recording, (K', 2) seconds."""
        own = [(shot.start_s, shot.end_s) for shot in self.shots if shot.sound.key == sound.key]
        return np.array(own).reshape(-1, 2)

    def gaps(self) -> list[tuple[Sound, float, float]]:
        """Stretches that hold none of the species, seconds of their recordings.

        `gaps`: between the first shot and the last of each recording; `head`: from the head of
        the recording to its last shot; `everything`: the whole recording.
        """
        found = []
        sounds = {shot.sound.key: shot.sound for shot in self.shots}
        for key, sound in sounds.items():
            own = [shot for shot in self.shots if shot.sound.key == key]
            start = 0.0 if self.negatives != "gaps" else min(shot.start_s for shot in own)
            end = max(shot.end_s for shot in own)
            if self.negatives == "everything":
                end = sound.duration_s
            for a, b in free(self.marked[key], start, end):
                found += [(sound, c, d) for c, d in sound.sounding(a, b)]
        return found

    def band(self, front_end: FrontEnd) -> tuple[int, int] | None:
        """First mel band of the boxes and the one after their last; None: no limits."""
        low = np.array([shot.low_hz / shot.sound.slow for shot in self.shots])
        high = np.array([shot.high_hz / shot.sound.slow for shot in self.shots])
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            return None
        centre_M = mel_centres(front_end)
        inside = (centre_M >= low.min() / BAND_MARGIN) & (centre_M <= high.max() * BAND_MARGIN)
        if inside.all():
            return None
        if not inside.any():
            raise UserError(
                f"{self.shots[0].name}: its band, {low.min():g} to {high.max():g} Hz as the "
                "encoder hears it, lies outside of what the front end sees; correct the boxes, "
                "or set detection.sr=native"
            )
        seen = np.flatnonzero(inside)
        return int(seen[0]), int(seen[-1]) + 1


def mel_centres(front_end: FrontEnd) -> np.ndarray:
    """Centre of every mel band, Hz (M,)."""
    # Real and imaginary parts of a bin lie side by side.
    bins_M = front_end.basis_FM.argmax(dim=0).cpu().numpy() // 2
    return bins_M * front_end.sr / front_end.n_fft


def free(marked_E2: np.ndarray, start: float, end: float) -> list[tuple[float, float]]:
    """What of ``start`` to ``end`` is not marked, with a margin around the marks."""
    found, at = [], start
    for a, b in sorted(map(tuple, np.asarray(marked_E2, dtype=float).reshape(-1, 2))):
        margin = SHOT_MARGIN * (b - a)
        if a - margin > at:
            found.append((at, min(a - margin, end)))
        at = max(at, b + margin)
        if at >= end:
            break
    if at < end:
        found.append((at, end))
    return [(a, b) for a, b in found if b > a]


def targets_of(
    events: pd.DataFrame,
    sound_of: Callable[[str], Sound],
    *,
    shots: int | None,
    negatives: str,
    problem: Callable[[str], None],
) -> list[Target]:
    """The species of a support table, in order of their names.

    Args:
        events: the table: ``file, start_s, end_s, label, status``, perhaps bands and ``row``.
        sound_of: opens the recording of a ``file``; raises `UserError`.
        shots: how many calls of a species are used, the first ones; None: all.
        negatives: one of `NEGATIVES`.
        problem: told what is wrong with single shots, which are then left out.
    """
    lost: dict[str, list[str]] = {}
    usable = [
        shot
        for row in events.to_dict("records")
        if (shot := _shot(row, sound_of, problem, lost)) is not None
    ]
    for reason, names in lost.items():
        more = f", and {len(names) - 1} more" if len(names) > 1 else ""
        problem(f"{names[0]}{more}: left out: {reason}")
    by_label: dict[str, list[Shot]] = {}
    refused: dict[str, list[Shot]] = {}
    for row, shot in usable:
        if row["status"] != "UNK":
            side = by_label if row["status"] == "POS" else refused
            side.setdefault(str(row["label"]), []).append(shot)
    if not by_label:
        raise UserError(
            "the support marks what is no call (NEG) and not one call (POS); mark at least one "
            "call of a species"
            if refused
            else "the support has no usable call; mark at least one call of a species"
        )
    calls = {label: sorted(own, key=_place) for label, own in sorted(by_label.items())}
    for label, own in calls.items():
        if shots is not None and len(own) < shots:
            problem(f"{label}: has {len(own)} of the {shots} calls asked for; they are used")
        calls[label] = own[:shots]
    _suspect_names(calls, problem)
    marked = _stretches(shot for _, shot in usable)
    return [
        Target(label, tuple(own), rivals, marked, no, negatives)
        for label, own in calls.items()
        for rivals, no in [_others(label, calls, refused)]
    ]


def _others(
    label: str, calls: dict[str, list[Shot]], refused: dict[str, list[Shot]]
) -> tuple[tuple[Shot, ...], dict[str, np.ndarray]]:
    """What is none of a species, and of it what is marked NEG, by recording.

    A NEG of a name that no call has (rain) is none of any species; one of another species says
    only that it is none of that.
    """
    own = [
        s
        for name, theirs in sorted(refused.items())
        if name == label or name not in calls
        for s in theirs
    ]
    others = [s for name, theirs in calls.items() if name != label for s in theirs]
    # Tables with a column for each species mark a call of one as NEG of the others.
    rivals = {(s.sound.key, s.start_s, s.end_s): s for s in (*others, *own)}
    return tuple(sorted(rivals.values(), key=_place)), _stretches(own)


def _suspect_names(calls: dict[str, list[Shot]], problem: Callable[[str], None]) -> None:
    """Tell of a species with one call that is named nearly as one with more."""
    more = {label.casefold(): label for label, own in calls.items() if len(own) > 1}
    for label, own in calls.items():
        near = difflib.get_close_matches(label.casefold(), list(more), n=1, cutoff=ALIKE)
        if len(own) == 1 and near:
            other = more[near[0]]
            problem(
                f"{own[0].name}: {label} is looked for as a species of its own; did you mean "
                f"{other}, which has {counted(len(calls[other]), 'call')}?"
            )


def _place(shot: Shot) -> tuple[str, float]:
    return str(shot.sound.path), shot.start_s


def _stretches(shots: Iterable[Shot]) -> dict[str, np.ndarray]:
    """Begin and end of marks, (E, 2) by recording."""
    found: dict[str, list[tuple[float, float]]] = {}
    for shot in shots:
        found.setdefault(shot.sound.key, []).append((shot.start_s, shot.end_s))
    return {key: np.array(sorted(values)) for key, values in found.items()}


def _shot(
    row: dict, sound_of: Callable[[str], Sound], problem: Callable[[str], None],
    lost: dict[str, list[str]],
) -> tuple[dict, Shot] | None:  # fmt: skip
    """A row as (row, shot); None, and a problem told, where it cannot be used.

    Where it is the recording that cannot, ``lost`` gathers the rows: they are told of together.
    """
    name = f"{row['label']}, {row['start_s']:.3f} to {row['end_s']:.3f} s of {row['file']}"
    if row.get("row"):
        name = f"row {row['row']} ({name})"
    try:
        sound = sound_of(str(row["file"]))
    except DiskError:
        raise
    except UserError as error:
        lost.setdefault(str(error), []).append(name)
        return None
    if row["start_s"] >= sound.duration_s or row["end_s"] <= 0:
        problem(
            f"{name}: left out: it lies outside the recording, which has {sound.duration_s:.3f} s"
        )
        return None
    start, end = max(0.0, row["start_s"]), min(float(row["end_s"]), sound.duration_s)
    if (start, end) != (row["start_s"], row["end_s"]):
        problem(f"{name}: cut to the recording's {sound.duration_s:.3f} s")
    if not end > start:
        problem(f"{name}: left out: it has no length")
        return None
    low, high = (float(row.get(key, np.nan)) for key in ("low_hz", "high_hz"))
    return row, Shot(sound, float(start), float(end), low, high, name)
