"""Cuts the events of any table out of their recordings, each into a WAV of its own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from g5.common.atomic import atomic_path
from g5.common.errors import DiskError, UserError
from g5.common.files import sounds_at
from g5.common.progress import track
from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from g5.config.schema import ClipSettings
from g5.evaluation.events.ground_truth import PREDICTIONS
from g5.field.picking import best, sampled, site_of
from preprocessing import audio
from preprocessing.annotations import read_events, write_events
from preprocessing.audio_rules import AudioRules
from preprocessing.events import EVENT_COLUMNS, Problem, at_rows
from preprocessing.naming import Listing, finder

CLIPS_CSV, RAVEN, LABELS = "clips.csv", "clips.selections.txt", "labels"
# Names of files that every system takes: longer labels are cut.
_MOST_NAME = 60
# What the comment in a clip begins with.
_MADE_BY = "g5 clips:"


@dataclass(frozen=True)
class ClipsRequest:
    """One call of `g5 clips`.

    Attributes:
        table: of events, or the folder of a `g5 detect`.
        out: folder of the clips.
        audio_root: where the recordings lie; None: where the table says, or below its folder.
        top: only so many of each label, those with the highest score; None: all.
        sample: only so many of each label, spread over score and site; None: all.
        columns: the table's names for our columns, where it is of no known format.
    """

    table: Path
    out: Path
    audio_root: Path | None = None
    top: int | None = None
    sample: int | None = None
    columns: Mapping[str, str] | None = None


def cut_clips(request: ClipsRequest, settings: ClipSettings, rules: AudioRules) -> int:
    """Cut the clips that are not there yet, and write the tables beside them.

    Returns:
        How many events could not be cut; each is told.

    Raises:
        UserError: the table cannot be read, has no events, or no scores where they are needed.
    """
    events = _picked(request, _events(request), settings)
    events = events.assign(recording=_recordings(request, events), clip=_names(events))
    lost = events["recording"] == ""
    for file, rows in events.loc[lost].groupby("file"):
        where = at_rows(str(request.table), rows["row"])
        print(f"{where}: no one recording {file} is there; give its folder, --audio-root DIR")
    rows, problems, new = _cut(request.out, events.loc[~lost], settings.margin, rules)
    for problem in problems:
        print(f"{request.table}, {problem}")
    if not rows:
        raise UserError(f"{request.table}: no event can be cut (see above)")
    clips = events.loc[[index for index, *_ in rows]].assign(
        clip_start_s=[start for _, start, _ in rows], clip_s=[length for *_, length in rows]
    )
    _write_tables(request.out, clips)
    failed = len(events) - len(clips)
    there = f", {len(clips) - new} were there" if new < len(clips) else ""
    print(
        f"{request.out}: {counted(len(clips), 'clip')} ({new} cut{there}); {failed} could not be "
        "cut"
    )
    return failed


def _events(request: ClipsRequest) -> pd.DataFrame:
    table = request.table / PREDICTIONS if request.table.is_dir() else request.table
    events, problems = read_events(table, columns=request.columns)
    for problem in problems:
        print(f"note: {problem}")
    events = events.loc[events["status"] == "POS"].reset_index(drop=True)
    if events.empty:
        raise UserError(f"{table}: has no events")
    return events


def _picked(request: ClipsRequest, events: pd.DataFrame, settings: ClipSettings) -> pd.DataFrame:
    if request.top is not None:
        if "score" not in events:
            raise UserError(f"{request.table}: has no column of scores, by which --top chooses")
        return best(events, request.top)
    if request.sample is not None:
        return sampled(events, request.sample, bins=settings.bins, seed=settings.seed)
    return events


def _recordings(request: ClipsRequest, events: pd.DataFrame) -> list[str]:
    """The path of each event's recording; "" where there is none, or several may be meant."""
    home = request.table if request.table.is_dir() else request.table.absolute().parent
    root = request.audio_root
    find = finder(home.absolute()) if root is None else Listing(sounds_at(root)).find
    paths: dict[str, str] = {}
    for name in dict.fromkeys(events["file"].astype(str)):
        found = find(name)
        paths[name] = str(found[0].absolute()) if len(found) == 1 else ""
    return [paths[str(name)] for name in events["file"]]


def _names(events: pd.DataFrame) -> list[str]:
    """``label_score_site_utc.wav``, without what is not known; equal ones are numbered."""
    scores = events["score"] if "score" in events else pd.Series(np.nan, events.index)
    utc = events["start_utc"].astype(str) if "start_utc" in events else [""] * len(events)
    names, taken = [], set()
    for label, score, site, at in zip(events["label"], scores, site_of(events), utc, strict=True):
        parts = (
            _safe(str(label)) or "call",
            "" if np.isnan(score) else f"{score:.3f}",
            _safe(site),
        )
        stem = "_".join(filter(None, (*parts, re.sub(r"[^\dTZ]", "", at.split(".")[0]))))
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.casefold())
        names.append(f"{name}.wav")
    return names


def _safe(text: str) -> str:
    """Text as a part of a file's name: letters, digits, dots inside and ``-`` for all else."""
    return re.sub(r"[^\w.]+|_+", "-", text).strip("-.")[:_MOST_NAME]


def _cut(
    out: Path, events: pd.DataFrame, margin: float, rules: AudioRules
) -> tuple[list[tuple[int, float, float]], list[Problem], int]:
    """Of every clip that is there the event's index, where it starts and its length, s."""
    rows: list[tuple[int, float, float]] = []
    problems, new = [], 0
    order = events.sort_values(["recording", "start_s"], kind="stable")
    columns = (order[name] for name in ("recording", "start_s", "end_s", "clip", "row"))
    facts = zip(order.index, *columns, strict=True)
    rate_of = lru_cache(1)(
        lambda file: audio.info(file).rate_hz
    )  # of a file come one after another
    for index, file, start_s, end_s, clip, row in track(
        facts, total=len(order), label="clips", unit="clips"
    ):
        first_s, path = max(0.0, start_s - margin), out / clip
        about = f"{_MADE_BY} {file} {first_s:.6f}-{end_s + margin:.6f} s"
        length_s = _length_of(path, about)
        if length_s is None:
            try:
                x_T = audio.read(file, rules, start_s=first_s, end_s=end_s + margin)
                length_s = len(x_T) / rate_of(file)
                if first_s + length_s <= start_s:
                    raise UserError(f"{file}: ends before {start_s:g} s, where the event starts")
                _write(path, x_T, rate_of(file), about)
            except DiskError:
                raise
            except UserError as error:
                message = f"cannot be cut: {error}"
                problems.append(Problem("no-clip", f"row {row}", message, False))
                continue
            new += 1
        rows.append((index, first_s, length_s))
    return sorted(rows), problems, new


def _write(path: Path, x_T: np.ndarray, rate_hz: int, about: str) -> None:
    subtype = "PCM_16" if np.abs(x_T).max() <= 1 else "FLOAT"  # which has no limits
    with (
        atomic_path(path) as temporary,
        soundfile.SoundFile(temporary, "w", rate_hz, 1, subtype, format="WAV") as sound,
    ):
        sound.comment = about
        sound.write(x_T)


def _length_of(path: Path, about: str) -> float | None:
    """The length of a clip that is there, s; None if there is none of this event."""
    try:
        with soundfile.SoundFile(path) as sound:
            return sound.frames / sound.samplerate if sound.comment == about else None
    except (OSError, soundfile.LibsndfileError):
        return None


def _write_tables(out: Path, clips: pd.DataFrame) -> None:
    """All that is known of each in one CSV, a Raven table of all, and a label track of each."""
    first = ["clip", "label", "recording", "start_s", "end_s", "clip_start_s", "clip_s"]
    rest = [name for name in clips if name not in (*first, "file", "status", "row")]
    write_csv(clips.loc[:, [*first, *rest]], out / CLIPS_CSV)
    inside = clips.assign(
        file=clips["clip"], start_s=clips["start_s"] - clips["clip_start_s"],
        end_s=np.minimum(clips["end_s"] - clips["clip_start_s"], clips["clip_s"]),
    )  # fmt: skip
    kept = [name for name in ("low_hz", "high_hz", "score") if name in inside]
    inside = inside.loc[:, [*EVENT_COLUMNS, *kept]]
    write_events(inside, out / RAVEN, "raven")
    for at, clip in enumerate(inside["file"]):
        track_of = out / LABELS / f"{Path(clip).stem}.txt"
        write_events(inside.iloc[at : at + 1], track_of, "audacity")
