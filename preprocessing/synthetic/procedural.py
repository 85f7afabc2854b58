"""Procedural recordings: WAV and DCASE CSV files of invented species, made when first asked for."""

import hashlib
import io
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile

from g5.common.atomic import atomic_path, write_text
from g5.common.errors import UserError
from g5.common.machine import cores, need_room
from g5.common.progress import track
from preprocessing.audio_rules import READ_ALL, AudioRules
from preprocessing.events import ANCHORS, INDIFFERENT, Corpus, DataSet
from preprocessing.store.settings import changed_keys
from preprocessing.synthetic.scenes import SPLITS, SceneSettings, check, make_recording

# Part of the settings' hash: raise it when the same settings come to sound different.
VERSION = 1
SETS = {"train": "Training_Set", "val": "Validation_Set", "test": "Evaluation_Set"}
SUBSET = "PROC"
DIR_KEYS = {"train": "train_dir", "val": "eval_dir", "test": "test_dir"}
WAV_HEADER_BYTES = 44
# A worker takes about a second to start, which one core would use for 300 s of sound.
WORTH_A_PROCESS_S = 900.0


class ProceduralData(DataSet):
    """Data group of invented species: makes the recordings that are missing, then reads them.

    Args:
        root_dir: the sets are made under ``outputs/procedural/<hash of the settings>/``.
        train_dir: make the training set here instead, in an empty folder or an earlier set's.
        eval_dir: likewise the validation set.
        test_dir: likewise the evaluation set.
        workers: processes that make recordings, or "auto": one per core.
        anchor: where a clip of a longer call is cut, kept for the clip reader.

    The other arguments decide how the recordings sound; conf/data/procedural.yaml says how.

    Raises:
        UserError: a value is impossible (named by its key), a folder holds something else, or
            the disk is too full.
    """

    def __init__(
        self,
        *,
        root_dir: Annotated[str, INDIFFERENT],
        train_dir: str | None,
        eval_dir: str | None,
        test_dir: str | None,
        seed: int,
        sr: int,
        train_species: int,
        val_species: int,
        test_species: int,
        kinds: list[str],
        recording_s: float,
        recordings_per_species: int,
        species_per_recording: int,
        calls_per_recording: int,
        distractors: float,
        snr_db: list[float],
        distractor_snr_db: list[float],
        call_s: list[float],
        f0_hz: list[float],
        jitter: float,
        individual: float,
        distance: float,
        reverb: float,
        reverb_s: list[float],
        eq_db: float,
        wind: float,
        rain: float,
        hum: float,
        background_db: list[float],
        workers: Annotated[int | str, INDIFFERENT],
        anchor: str,
    ) -> None:
        self.settings = SceneSettings.of(locals())
        check(self.settings)
        if anchor not in ANCHORS:
            raise UserError(f"data.anchor: {anchor!r} is none of {', '.join(ANCHORS)}")
        if workers != "auto" and (not isinstance(workers, int) or workers < 1):
            raise UserError(f"data.workers: {workers!r} is neither auto nor a number from 1 up")
        self.anchor = anchor
        self.workers = cores(workers)
        self.folder = Path(root_dir) / "outputs" / "procedural" / folder_name(self.settings)
        self._given: dict[str, str | None] = dict(
            zip(SPLITS, (train_dir, eval_dir, test_dir), strict=True)
        )
        self.dirs = {
            split: Path(given) if given else self.folder / SETS[split]
            for split, given in self._given.items()
        }
        if len({path.resolve() for path in self.dirs.values()}) < len(self.dirs):
            raise UserError("path.train_dir, eval_dir, test_dir: two of them are one folder")

    def load(self, rules: AudioRules = READ_ALL) -> Corpus:
        """Make what is missing of the sets, then read them.

        Raises:
            UserError: see the class.
        """
        from preprocessing.datasets.folders import DcaseData

        self.make()
        return DcaseData(
            train_dir=str(self.dirs["train"]),
            eval_dir=str(self.dirs["val"]),
            test_dir=str(self.dirs["test"]),
            q_class="recording",
            anchor=self.anchor,
            cache_dir=str(self.folder),
        ).load(rules)

    def make(self) -> int:
        """Make the recordings that are missing; how many were made."""
        for split in SPLITS:
            self._claim(split)
        missing = [split for split in SPLITS if not _is_complete(self.dirs[split])]
        todo = [job for split in missing for job in self._jobs(split) if not _is_made(job)]
        if todo:
            _check_disk(todo)
            made = _made(todo, self.workers)
            for _ in track(made, total=len(todo), label="procedural recordings", unit="recordings"):
                pass
        for split in missing:
            _write_manifest(self.dirs[split], self._jobs(split))
        return len(todo)

    def _claim(self, split: str) -> None:
        """See that the set's folder is empty or of these settings; write the settings there."""
        given = self._given[split]
        key = DIR_KEYS[split]
        path = (Path(given) if given else self.folder) / "settings.json"
        if path.is_file():
            differ = _changed_keys(path, self.settings)
            if differ:
                raise UserError(
                    f"{path}: made with other settings ({', '.join(differ)}); "
                    f"name another folder for path.{key}, or delete this one"
                )
            return
        if given and Path(given).exists() and _holds_something(Path(given)):
            raise UserError(
                f"path.{key}: {given} holds something else than procedural recordings; "
                "choose data=dcase (or clips, raven) to read it, or name an empty folder"
            )
        write_text(path, _as_json(self.settings))

    def _jobs(self, split: str) -> list["RecordingJob"]:
        folder = self.dirs[split] / SUBSET
        count = self.settings.recordings(split)
        return [
            RecordingJob(self.settings, split, i, folder / f"{split}_{i:05d}.wav")
            for i in range(count)
        ]


@dataclass(frozen=True)
class RecordingJob:
    """One recording to make."""

    settings: SceneSettings
    split: str
    index: int
    wav: Path

    @property
    def csv(self) -> Path:
        return self.wav.with_suffix(".csv")

    @property
    def wav_bytes(self) -> int:
        return WAV_HEADER_BYTES + 2 * round(self.settings.recording_s * self.settings.sr)


def folder_name(settings: SceneSettings) -> str:
    """12 hex digits that no other settings, or version of this generator, share."""
    return hashlib.sha256(_as_json(settings).encode()).hexdigest()[:12]


def _as_json(settings: SceneSettings) -> str:
    return json.dumps({"version": VERSION, **asdict(settings)}, indent=1, sort_keys=True)


# --- making -------------------------------------------------------------------------------------


def write_wav(path: Path, samples: np.ndarray, sr: int) -> None:
    """A 16-bit WAV, whole or not at all.

    Of a full disk libsndfile says only that there is an error, so the bytes are written by us.
    """
    content = io.BytesIO()
    soundfile.write(content, samples, sr, subtype="PCM_16", format="WAV")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getvalue())


def write_recording(job: RecordingJob) -> None:
    """Make one recording: the WAV, then the CSV that says it is whole."""
    samples, events = make_recording(job.settings, job.split, job.index)
    write_wav(job.wav, samples, job.settings.sr)
    table = pd.DataFrame({"Audiofilename": job.wav.name, "Starttime": events.start_s})
    table["Endtime"] = events.end_s
    for label in sorted(set(events.label)):
        table[label] = (events.label == label).map({True: "POS", False: "NEG"})
    with atomic_path(job.csv) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f")


def _made(todo: list[RecordingJob], workers: int) -> Iterator[None]:
    """Write the recordings, yielding after each; in this process where few are to be made."""
    sound_s = sum(job.settings.recording_s for job in todo)
    workers = min(workers, len(todo), int(sound_s / WORTH_A_PROCESS_S))
    if workers <= 1:
        yield from map(write_recording, todo)
        return
    # Fresh interpreters: forking a process that runs threads (PyTorch's) can hang.
    executor = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupt
    )
    try:
        for future in as_completed([executor.submit(write_recording, job) for job in todo]):
            yield future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "data.workers: a worker that made recordings was killed (is memory short?); "
            "start again with fewer workers, what is made is kept"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Ctrl-C is for the main process; workers finish the recording in hand."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# --- what is there ------------------------------------------------------------------------------


def _changed_keys(path: Path, settings: SceneSettings) -> list[str]:
    """Keys in which the settings in a file differ from these."""
    try:
        there = json.loads(path.read_text("utf-8"))
    except ValueError:
        there = {}
    return changed_keys(there, json.loads(_as_json(settings)))


def _holds_something(path: Path) -> bool:
    return path.is_file() or any(not entry.name.startswith(".") for entry in path.iterdir())


def _is_made(job: RecordingJob) -> bool:
    # The CSV is written last; a WAV cut short by something else is made again.
    return job.csv.is_file() and job.wav.is_file() and job.wav.stat().st_size == job.wav_bytes


def _is_complete(folder: Path) -> bool:
    """The manifest is there, and every file it names with its size."""
    try:
        sizes = json.loads((folder / "manifest.json").read_text("utf-8"))
        with os.scandir(folder / SUBSET) as entries:
            there = {entry.name: entry.stat().st_size for entry in entries}
    except (OSError, ValueError):
        return False
    return all(there.get(name) == size for name, size in sizes.items())


def _write_manifest(folder: Path, jobs: list[RecordingJob]) -> None:
    files = [path for job in jobs for path in (job.wav, job.csv)]
    sizes = {path.name: path.stat().st_size for path in files}
    write_text(folder / "manifest.json", json.dumps(sizes, indent=0))


def _check_disk(todo: list[RecordingJob]) -> None:
    """Say before the work that the disk is too full for it."""
    needed: dict[Path, int] = {}
    for job in todo:
        home = next(folder for folder in job.wav.parents if folder.exists())
        needed[home] = needed.get(home, 0) + job.wav_bytes
    advice = "free some space, name another path.root_dir, or lower data.train_species"
    for home, size in needed.items():
        need_room(home, size, "procedural sound", advice=advice)
