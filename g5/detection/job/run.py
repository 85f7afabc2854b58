"""`g5 detect`: five calls in, every call in some recordings out."""

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd

from g5.common.atomic import atomic_path, disk_errors
from g5.common.errors import DiskError, UserError
from g5.common.files import base_name, is_audio, is_table, walk
from g5.common.progress import track
from g5.config.compose import composed, resolve
from g5.config.parts import root_of
from g5.config.stored import first_name
from g5.config.validate import validate
from g5.detection.corpus import detector_of
from g5.detection.detector import Detections, without_rivals
from g5.detection.embedding.sound import SilentRecording, Sound
from g5.detection.job.diagnose import Diagnosis, of_scores, of_sound
from g5.detection.job.manifest import CORRUPT, DONE, LEDGER, SKIPPED, Manifest, key_of
from g5.detection.job.picture import DetectionPage, draw
from g5.detection.job.results import (
    REPORT,
    picture_of,
    pictures_of,
    refuse_to_overwrite,
    results_of,
    rows_of,
    write_results,
)
from g5.detection.support import targets_of
from g5.evaluation.events.ground_truth import CALL, PREDICTIONS, recording_name
from g5.tracking.checkpoints import find
from g5.tracking.restore import restore
from g5.training.setup import device_of, prepare_torch, set_matmul_precision
from preprocessing.annotations import SUFFIXES, format_of, read_events
from preprocessing.audio import content_hash, info
from preprocessing.recordings import Listing, scan

# What may be set beside `detection`; the checkpoint says the rest.
FREE = ("detection", "trainer", "path.root_dir", "seed", "deterministic")
# Settings that no event depends on.
NOT_OF_EVENTS = ("workers", "pictures", "snippets")
# Written by their reader's name, but not by ours.
LIKE = {"birdnet": "csv"}


def detect(
    checkpoint: Path,
    target: Path,
    support: Path,
    out: Path,
    formats: str | None,
    overrides: Sequence[str],
    truth: Path | None = None,
) -> int:
    """Find the calls of the support's species; the exit code, 1 if any recording failed."""
    job = Job(checkpoint, target, support, out, formats, overrides, truth)
    return job.run()


@dataclass
class Job:
    """One call of `g5 detect`; arguments as on the command line."""

    checkpoint: Path
    target: Path
    support: Path
    out: Path
    formats: str | None
    overrides: Sequence[str]
    truth: Path | None = None
    notes: list[str] = field(default_factory=list)
    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)

    def run(self) -> int:
        """Everything, from the checkpoint to the page."""
        self._prepare()
        files = self._recordings()
        manifest, pictures = Manifest(self.out), self.config["detection"]["pictures"]
        results = results_of(self.out, self.formats_, files, pictures=pictures)
        refuse_to_overwrite(manifest, results, [self.support, *self._truth_tables(), *files])
        hashes, broken = self._hashes(files)
        self._open_support(files, hashes)
        self.known = self._annotations()
        with disk_errors(self.out):
            manifest.parts.mkdir(parents=True, exist_ok=True)
        self._recall_diagnoses()
        for file, message in broken.items():
            manifest.failed(Path(file), "", CORRUPT, message)
        good = [file for file in files if str(file) in hashes]
        if pictures:
            manifest.will_write(pictures_of(self.out, good))
        try:
            for file in track(good, total=len(good), label="detection", unit="recordings"):
                self._one(file, hashes[str(file)], manifest)
        finally:
            # Ctrl-C, too: what is done is told.
            events, written = write_results(manifest, self.formats_, self.targets, files)
        self._page(manifest, events)
        self._tell(manifest, written)
        return int(any(entry.status == CORRUPT for entry in manifest.entries.values()))

    # --- before any work ----------------------------------------------------------------------

    def _prepare(self) -> None:
        path, message = find(self.checkpoint)
        if message:
            print(message)
        config = resolve(composed(_checked(self.overrides)))
        validate(config)
        self.formats_ = _formats(self.formats, self.support)
        prepare_torch(config)
        set_matmul_precision(config)
        self.config = config
        self.restored = restore(path)
        self.detector, self.sounds = detector_of(
            self.restored,
            config["detection"],
            root_of(config) / "outputs" / "store",
            device=device_of(config),
            block_s=self.restored.config["features"]["block_s"],
        )

    def _recordings(self) -> list[Path]:
        """The recording, or all of the folder."""
        target = self.target.absolute()
        if not target.exists():
            raise UserError(f"{self.target}: there is no such recording or folder")
        files = [f for f in walk(target) if is_audio(f)] if target.is_dir() else [target]
        if not files:
            raise UserError(f"{self.target}: holds no recordings")
        return files

    def _hashes(self, files: Sequence[Path]) -> tuple[dict[str, str], dict[str, str]]:
        """Content hashes of the files that can be read, and why others cannot."""
        table, problems = scan(files, root_of(self.config) / "outputs" / "store")
        hashes = dict(zip(table["file"], table["sha256"], strict=True))
        broken = {}
        for problem in problems:
            try:
                # A WAV with a wrong length is read to its end.
                info(problem.where, to_end=True)
                hashes[problem.where] = content_hash(problem.where)
            except (UserError, OSError):
                broken[problem.where] = problem.message
        return hashes, broken

    def _open_support(self, files: Iterable[Path], hashes: dict[str, str]) -> None:
        """Read the support, find its recordings, and say what is odd about it."""
        events, problems = read_events(self.support)
        for problem in problems:
            self._note(str(problem))
        if events.empty:
            raise UserError(f"{self.support}: marks no call; mark at least one of each species")
        beside = [f for f in walk(self.support.absolute().parent) if is_audio(f)]
        own, near = Listing(files), Listing(beside)
        single = self.target.absolute() if self.target.is_file() else None
        opened: dict[str, Sound] = {}

        def sound_of(name: str) -> Sound:
            if name not in opened:
                path = _found(name, own, near, single, self.support)
                opened[name] = self._sound(path, hashes)
            opened[name].refuse_silence()
            return opened[name]

        settings = self.config["detection"]
        self.targets = targets_of(
            events, sound_of, shots=settings["shots"], negatives=settings["negatives"],
            problem=self._note,
        )  # fmt: skip
        for target in self.targets:
            target.band(self.restored.front_end)  # raises, and better now than at every recording
            for note in of_sound(target):
                self._note(note)
        self.support_key = hashlib.sha256(self.support.read_bytes()).hexdigest()
        supports = sorted({s.sound.key for t in self.targets for s in t.shots})
        lasting = {key: value for key, value in settings.items() if key not in NOT_OF_EVENTS}
        lasting["_target_"] = first_name(lasting["_target_"])
        encoder = self.detector.embedder.identity, self.restored.front_end.settings()
        self.job_key = key_of(2, *encoder, self.support_key, supports, lasting, self._truth_key())

    def _truth_key(self) -> list[str]:
        """What pictures show beside what is found: another truth, another picture."""
        return [content_hash(file) for file in self._truth_tables()]

    def _truth_tables(self) -> list[Path]:
        """What is read of --truth: the table, or all tables of the folder."""
        if self.truth is None or not self.truth.is_dir():
            return [] if self.truth is None else [self.truth]
        return [file for file in walk(self.truth) if is_table(file)]

    def _sound(self, path: Path, hashes: dict[str, str]) -> Sound:
        if str(path) not in hashes:
            more, broken = self._hashes([path])
            for message in broken.values():
                raise UserError(f"{path}: {message}")
            hashes.update(more)
        return self.sounds.open(path, hashes[str(path)])

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            print(f"note: {text}", file=sys.stderr)

    # --- one recording ------------------------------------------------------------------------

    def _one(self, file: Path, sha256: str, manifest: Manifest) -> None:
        """Detect in one recording, or take what an earlier job found; enter what became of it."""
        key = key_of(self.job_key, sha256)
        if manifest.earlier(file, key) is not None:
            return
        try:
            sound = self.sounds.open(file, sha256)
            found = [self.detector.detect(sound, target) for target in self.targets]
        except DiskError:
            raise
        except UserError as error:
            status = SKIPPED if isinstance(error, SilentRecording) else CORRUPT
            manifest.failed(file, key, status, str(error).removeprefix(f"{file}: "))
            return
        events = without_rivals(found)
        told = (n for f in found for n in (*f.curve.cut, *f.curve.notes))
        notes = [*sound.notes, *dict.fromkeys(told)]
        for one in found:
            self._diagnose(one)
        if self.config["detection"]["pictures"]:
            self._draw(file, sound, found, events)
        low = without_rivals(
            [replace(one, events=self.detector.candidates(sound, one)) for one in found]
        )
        manifest.done(
            file, key, rows_of(events, file, self.targets), rows_of(low, file, self.targets),
            duration_s=sound.duration_s, reason="; ".join(notes),
        )  # fmt: skip

    def _draw(
        self, file: Path, sound: Sound, found: Sequence[Detections], events: pd.DataFrame
    ) -> None:
        truth = None
        if self.known is not None:
            labels = [one.target.label for one in found]
            # A table of one class without a name is of what is looked for.
            wanted = self.known["label"].isin([*labels, CALL]) | (len(labels) == 1)
            here = self.known["name"] == file.stem
            truth = self.known.loc[here & wanted & (self.known["status"] == "POS")]
        draw(sound, found, events, self.restored.front_end, picture_of(self.out, file), truth)

    def _annotations(self) -> pd.DataFrame | None:
        """All calls that --truth tells of, with the recordings' names; None without one."""
        if self.truth is None:
            return None
        parts = [read_events(table)[0] for table in self._truth_tables()]
        if not sum(map(len, parts)):
            raise UserError(f"{self.truth}: --truth has no annotations in it")
        known = pd.concat(parts, ignore_index=True)
        return known.assign(name=[recording_name(str(file)) for file in known["file"]])

    def _page(self, manifest: Manifest, events: pd.DataFrame) -> None:
        if not self.config["detection"]["pictures"]:
            return
        done = [e for e in manifest.entries.values() if e.status == DONE]
        pictures = [
            picture_of(self.out, Path(e.file)) for e in sorted(done, key=lambda e: -e.events)
        ]
        DetectionPage(
            title=f"{', '.join(t.label for t in self.targets)} in {self.target.name}",
            events=events,
            manifest=manifest.table(),
            targets=self.targets,
            diagnoses=self.diagnoses,
            notes=self.notes,
            pictures=[path for path in pictures if path.is_file()],
            snippets=int(self.config["detection"]["snippets"]),
        ).write(self.out / REPORT)

    def _diagnose(self, found: Detections) -> None:
        label = found.target.label
        if label in self.diagnoses or found.curve.threshold is not None:
            return
        settings = self.config["detection"]
        self.diagnoses[label] = of_scores(
            found.target, found.curve, found.calibration,
            prior_spread=settings["prior_spread"], lean=settings["lean"],
        )  # fmt: skip
        for note in self.diagnoses[label].notes:
            self._note(note)
        facts = {name: asdict(diagnosis) for name, diagnosis in self.diagnoses.items()}
        with atomic_path(self._diagnoses_file) as temporary:
            temporary.write_text(json.dumps(facts), encoding="utf-8")

    @property
    def _diagnoses_file(self) -> Path:
        return self.out / ".parts" / f"{self.job_key}.diagnoses"

    def _recall_diagnoses(self) -> None:
        """What an earlier job with this key has found out about the support."""
        if not self._diagnoses_file.is_file():
            return
        facts = json.loads(self._diagnoses_file.read_text(encoding="utf-8"))
        for label, values in facts.items():
            left_out = tuple(tuple(row) for row in values["left_out"])
            self.diagnoses[label] = Diagnosis(label, tuple(values["notes"]), left_out)
            for note in values["notes"]:
                self._note(note)

    # --- results ------------------------------------------------------------------------------

    def _tell(self, manifest: Manifest, written: list[Path]) -> None:
        table = manifest.table()
        for row in table.loc[table["status"] != DONE].to_dict("records"):
            print(f"{row['status']}: {row['file']}: {row['reason']}", file=sys.stderr)
        counts = table["status"].value_counts()
        told = ", ".join(f"{counts.get(s, 0)} {s}" for s in (DONE, SKIPPED, CORRUPT))
        hours = table["duration_s"].sum() / 3600
        print(f"recordings {told} ({hours:.2f} h)")
        labels = ", ".join(target.label for target in self.targets)
        print(f"events     {sum(e.events for e in manifest.entries.values()):,} of {labels}")
        page = f", {REPORT}" if self.config["detection"]["pictures"] else ""
        print(f"results    {self.out / PREDICTIONS}, {LEDGER}{page}")
        more = [path.name for path in written[2:]]
        if more:
            shown = ", ".join(more[:3]) + (f" and {len(more) - 3} more" if len(more) > 3 else "")
            print(f"           {shown}")


def _checked(overrides: Sequence[str]) -> list[str]:
    """The overrides, if all are of what a detection may set."""
    result = []
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if override == "features.sr=native":
            # How the front end is told to follow the recording.
            result.append("detection.sr=native")
            continue
        if not any(key == free or key.startswith(f"{free}.") for free in FREE):
            raise UserError(
                f"{key}: the checkpoint says it; a detection takes {', '.join(FREE)} "
                "and features.sr=native"
            )
        result.append(override)
    return result


def _formats(formats: str | None, support: Path) -> list[str]:
    """The names of the formats to write; by default that of the support."""
    own = format_of(support)
    names = [LIKE.get(own, own)] if formats is None else [n.strip() for n in formats.split(",")]
    for name in names:
        if name not in SUFFIXES:
            raise UserError(f"--format: there is no {name!r}; choose from {', '.join(SUFFIXES)}")
    return names


def _found(name: str, own: Listing, near: Listing, single: Path | None, support: Path) -> Path:
    """The recording that a support's row means."""
    if Path(name).is_absolute() and Path(name).is_file():
        return Path(name)
    for listing in (own, near):
        matches = listing.find(base_name(name))
        end = "/" + name.replace("\\", "/").lstrip("./")
        matches = [path for path in matches if path.as_posix().endswith(end)] or matches
        if len(matches) > 1:
            raise UserError(
                f"{name}: may be {matches[0]} or {matches[1]}; write its path in {support}"
            )
        if matches:
            return matches[0].absolute()
    if single is not None and name in (support.stem, support.name.split(".")[0]):
        # A table that names no recording belongs to the one it is given with.
        return single
    raise UserError(f"there is no recording {name} beside {support} or among those given")
