"""Searches one recording after another, and enters into the manifest what became of each."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.atomic import disk_errors
from g5.common.errors import DiskError, UserError
from g5.common.progress import track
from g5.common.words import some
from g5.config.earlier import first_name
from g5.config.schema import DetectionSettings, EngineSettings
from g5.config.settings import marked, plain_of
from g5.detection.detector import Detections, Detector, without_rivals
from g5.detection.embedding.sound import SilentRecording, Sound
from g5.detection.job.asked import take_reviewed
from g5.detection.job.diagnose import Diagnoses, Diagnosis
from g5.detection.job.encoder import weigh
from g5.detection.job.manifest import CORRUPT, SKIPPED, Manifest, ManifestEntry, key_of
from g5.detection.job.notes import Notes
from g5.detection.job.picture import draw
from g5.detection.job.reader import RecordingReader
from g5.detection.job.request import DetectionRequest
from g5.detection.job.results import picture_of, pictures_of, rows_of, write_results, write_support
from g5.detection.job.support_table import read_targets
from g5.detection.job.times import RecordingTimes
from g5.detection.support import Target
from g5.engine.jobs import Job, Work, done
from g5.evaluation.events.ground_truth import CALL
from preprocessing.audio import content_hash


class RecordingSearch:
    """Looks for the species of a support in recordings.

    Args:
        request: what the user asks for.
        files: all recordings.
        detector: finds one species in one recording; what the support says is told it.
        reader: opens recordings.
        manifest: of the results' folder.
        notes: told what is odd about the support.
        times: when recordings were made, and which are left out.
        alone: no other process searches for the same job.

    Attributes:
        targets: the species.
        support: their rows, as they are kept.
        diagnoses: of the species' support.

    Raises:
        UserError: the support cannot be used.
    """

    def __init__(
        self, request: DetectionRequest, files: Sequence[Path], detector: Detector,
        reader: RecordingReader, manifest: Manifest, notes: Notes, times: RecordingTimes, *,
        alone: bool = True,
    ) -> None:  # fmt: skip
        self.files, self.detector, self.reader = files, detector, reader
        self.manifest, self.times = manifest, times
        front_end, settings = detector.embedder.front_end, detector.settings
        targets, self.support = read_targets(request, files, reader, front_end, settings, notes.add)
        self.targets = targets
        weigh(detector.embedder, targets)
        take_reviewed(detector, request.support, [target.label for target in targets])
        self.job_key = _job_key(request, detector, targets)
        self.known_calls = request.known_calls()
        for line in self._strange_truth(request):
            notes.add(line)
        with disk_errors(manifest.folder):
            manifest.parts.mkdir(parents=True, exist_ok=True)
        kept = manifest.parts / f"{self.job_key}.diagnoses"
        self.diagnoses = Diagnoses(kept, detector.settings, notes.add, detector.least, alone=alone)

    def over(
        self, broken: Mapping[str, str], formats: Sequence[str], engine: EngineSettings,
        elsewhere: Work,
    ) -> tuple[pd.DataFrame, list[Path]]:  # fmt: skip
        """Search the recordings and write the results, also when it is stopped.

        Args:
            broken: why some of them cannot be read, by path.
            formats: of the tables.
            engine: where the recordings are searched.
            elsewhere: makes another search like this one, in another process.

        Returns:
            As `write_results`.
        """
        for file, reason in broken.items():
            status = SKIPPED if file in self.reader.skipped else CORRUPT
            self.manifest.failed(Path(file), "", status, reason)
        files, left_out = self.files, self.times.left_out
        for file, reason in left_out.items():
            self.manifest.left_out(file, reason, self.times.duration_s(file))
        good = [f for f in files if str(f) in self.reader.hashes and str(f) not in left_out]
        if self.detector.settings.pictures:
            self.manifest.will_write(pictures_of(self.manifest.folder, good))
        todo = [file for file in good if self.manifest.earlier(file, self._key(file)) is None]
        jobs = [Job(file, str(file), self.reader.seconds[str(file)]) for file in todo]
        work = (lambda: self.work) if engine.where == "local" else elsewhere
        found = done(engine, jobs, work)
        try:
            for job, one in track(found, total=len(jobs), label="detection", unit="recordings"):
                self._keep(job.what, one)
        finally:
            # Ctrl-C, too: what is done is told.
            results = write_results(self.manifest, formats, self.targets, files, self.times)
            # Not before: until now the folder holds what another support found.
            write_support(self.manifest, self.support)
        return results

    def work(self, jobs: Iterable[Job[Path]]) -> Iterator[tuple[Job[Path], Any]]:
        """Search recordings one after another: what `g5.engine` shares out."""
        for job in jobs:
            yield job, self.take(job.what)

    def _key(self, file: Path) -> str:
        return key_of(self.job_key, self.reader.hashes[str(file)])

    def _keep(self, file: Path, found: "UserError | tuple[ManifestEntry, list[Diagnosis]]") -> None:
        """Enter what became of a recording, here or elsewhere."""
        if isinstance(found, UserError):
            self.manifest.failed(file, self._key(file), CORRUPT, _reason(file, found))
            return
        entry, diagnoses = found
        self.manifest.entries[entry.file] = entry
        for diagnosis in diagnoses:
            self.diagnoses.add(diagnosis)

    def take(self, file: Path) -> tuple[ManifestEntry, list[Diagnosis]]:
        """Search a recording; its entry, which is on the disk, and what it says of the support."""
        manifest, key = self.manifest, self._key(file)
        try:
            sound = self.reader.open(file)
            found = [self.detector.detect(sound, target) for target in self.targets]
        except DiskError:
            raise
        except UserError as error:
            status = SKIPPED if isinstance(error, SilentRecording) else CORRUPT
            return manifest.failed(file, key, status, _reason(file, error)), []
        overlap = self.detector.settings.overlap
        events = without_rivals(found, overlap=overlap)
        told = (text for one in found for text in one.curve.notes)
        diagnoses = [said for one in found if (said := self.diagnoses.of(one)) is not None]
        for diagnosis in diagnoses:
            self.diagnoses.add(diagnosis)
        if self.detector.settings.pictures:
            self._draw(file, sound, found, events)
        low = without_rivals(
            [replace(one, events=self.detector.candidates(sound, one)) for one in found],
            overlap=overlap,
        )
        entry = manifest.done(
            file, key, rows_of(events, file, self.targets), rows_of(low, file, self.targets),
            duration_s=sound.duration_s, reason="; ".join([*sound.notes, *dict.fromkeys(told)]),
        )  # fmt: skip
        return entry, diagnoses

    def _strange_truth(self, request: DetectionRequest) -> Iterator[str]:
        """What is odd about --truth, of which pictures would show nothing."""
        calls = self.known_calls
        if calls is None:
            return
        here = calls.loc[calls["name"].isin([file.stem for file in self.files])]
        if here.empty:
            names = some(sorted(set(calls["name"])), 3)
            yield f"{request.truth}: has no calls of what is searched, but of {names}"
        elif not self._looked_for(here).any():
            labels = some(sorted(set(here["label"])), 3)
            yield f"{request.truth}: has no calls of a class that is looked for, but of {labels}"

    def _looked_for(self, calls: pd.DataFrame) -> np.ndarray:
        """Which known calls are of the species; of one that has no name, too."""
        labels = [target.label for target in self.targets]
        # A table of one class without a name is of what is looked for.
        return calls["label"].isin([*labels, CALL]).to_numpy(bool) | (len(labels) == 1)

    def _draw(
        self, file: Path, sound: Sound, found: Sequence[Detections], events: pd.DataFrame
    ) -> None:
        truth, calls = None, self.known_calls
        if calls is not None and file.stem in set(calls["name"]):
            here = calls["name"] == file.stem
            truth = calls.loc[here & (calls["status"] == "POS") & self._looked_for(calls)]
        picture = picture_of(self.manifest.folder, file)
        draw(sound, found, events, self.detector.embedder.front_end, picture, truth)


def _reason(file: Path, error: UserError) -> str:
    return str(error).removeprefix(f"{file}: ")


def _job_key(request: DetectionRequest, detector: Detector, targets: Sequence[Target]) -> str:
    """What finished work depends on: encoder, support and settings.

    The truth, too: pictures show it beside what is found.
    """
    embedder = detector.embedder
    shown = marked(DetectionSettings, "no_event")
    decides = {k: v for k, v in plain_of(detector.settings).items() if k not in shown}
    decides["_target_"] = first_name(decides["_target_"])
    recordings = sorted({shot.sound.key for target in targets for shot in target.shots})
    content = b"".join(path.read_bytes() for path in request.support_files())
    support = hashlib.sha256(content).hexdigest()
    facts = (embedder.identity, embedder.front_end.settings(), support, recordings, decides)
    return key_of(3, *facts, [content_hash(table) for table in request.truth_tables()])
