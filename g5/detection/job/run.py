"""`g5 detect`: five calls in, every call in some recordings out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from g5.common.atomic import disk_errors
from g5.common.errors import DiskError, UserError
from g5.common.progress import track
from g5.config.settings import Settings, plain_of
from g5.config.stored import first_name
from g5.detection.corpus import detector_of
from g5.detection.detector import Detections, Detector, without_rivals
from g5.detection.embedding.sound import SilentRecording, Sound
from g5.detection.job.diagnose import Diagnoses
from g5.detection.job.manifest import CORRUPT, SKIPPED, Manifest, key_of
from g5.detection.job.notes import Notes
from g5.detection.job.picture import draw
from g5.detection.job.reader import RecordingReader
from g5.detection.job.request import DetectionRequest
from g5.detection.job.results import (
    picture_of,
    pictures_of,
    refuse_to_overwrite,
    results_of,
    rows_of,
    write_results,
)
from g5.detection.job.summary import print_summary, write_summary_page
from g5.detection.job.support_table import read_targets
from g5.detection.support import Target
from g5.evaluation.events.ground_truth import CALL
from g5.tracking.checkpoints import find
from g5.tracking.restore import restore
from g5.training.setup import device_of, prepare_torch, set_matmul_precision
from preprocessing.audio import content_hash

# Settings that no event depends on.
NOT_OF_EVENTS = ("workers", "pictures", "snippets")


def detect(request: DetectionRequest, settings: Settings) -> int:
    """Find the calls of the support's species; the exit code, 1 if any recording failed."""
    path, message = find(request.checkpoint)
    if message:
        print(message)
    formats = request.format_names()
    config = settings.plain()
    prepare_torch(config)
    set_matmul_precision(config)
    restored = restore(path, known=request.known)
    detector, sounds = detector_of(
        restored, settings.detection, settings.path.store, device=device_of(config),
        block_s=restored.settings.features.block_s,
    )  # fmt: skip
    files, manifest, notes = request.files(), Manifest(request.out), Notes()
    pictures, truth_tables = settings.detection.pictures, request.truth_tables()
    refuse_to_overwrite(
        manifest,
        results_of(request.out, formats, files, pictures=pictures),
        [request.support, *truth_tables, *files],
    )
    reader = RecordingReader(sounds, settings.path.store)
    broken = reader.look_at(files)
    targets = read_targets(
        request, files, reader, restored.front_end, settings.detection, notes.add
    )
    truth_key = [content_hash(table) for table in truth_tables]
    job_key = _job_key(detector, targets, request.support, truth_key)
    known_calls = request.known_calls()
    with disk_errors(request.out):
        manifest.parts.mkdir(parents=True, exist_ok=True)
    diagnoses = Diagnoses(manifest.parts / f"{job_key}.diagnoses", settings.detection, notes.add)
    for file, reason in broken.items():
        manifest.failed(Path(file), "", CORRUPT, reason)
    good = [file for file in files if str(file) in reader.hashes]
    if pictures:
        manifest.will_write(pictures_of(request.out, good))
    search = Search(detector, targets, reader, manifest, diagnoses, job_key, known_calls)
    try:
        for file in track(good, total=len(good), label="detection", unit="recordings"):
            search.take(file)
    finally:
        # Ctrl-C, too: what is done is told.
        events, written = write_results(manifest, formats, targets, files)
    if pictures:
        write_summary_page(
            manifest, events, targets, diagnoses, notes,
            searched=request.recordings.name, snippets=settings.detection.snippets,
        )  # fmt: skip
    print_summary(manifest, targets, written, page=pictures)
    return int(any(entry.status == CORRUPT for entry in manifest.entries.values()))


def _job_key(
    detector: Detector, targets: Sequence[Target], support: Path, truth_key: Sequence[str]
) -> str:
    """What finished work depends on: encoder, support and settings.

    The truth, too: pictures show it beside what is found.
    """
    embedder = detector.embedder
    settings = {k: v for k, v in plain_of(detector.settings).items() if k not in NOT_OF_EVENTS}
    settings["_target_"] = first_name(settings["_target_"])
    recordings = sorted({shot.sound.key for target in targets for shot in target.shots})
    support_key = hashlib.sha256(support.read_bytes()).hexdigest()
    facts = (embedder.identity, embedder.front_end.settings(), support_key, recordings, settings)
    return key_of(2, *facts, truth_key)


@dataclass(frozen=True)
class Search:
    """Looks for the species in one recording after another, and enters what became of each.

    Attributes:
        known_calls: of --truth, for the pictures.
    """

    detector: Detector
    targets: Sequence[Target]
    reader: RecordingReader
    manifest: Manifest
    diagnoses: Diagnoses
    job_key: str
    known_calls: pd.DataFrame | None

    def take(self, file: Path) -> None:
        """Search a recording, or take what an earlier run of the job found in it."""
        manifest, key = self.manifest, key_of(self.job_key, self.reader.hashes[str(file)])
        if manifest.earlier(file, key) is not None:
            return
        try:
            sound = self.reader.open(file)
            found = [self.detector.detect(sound, target) for target in self.targets]
        except DiskError:
            raise
        except UserError as error:
            status = SKIPPED if isinstance(error, SilentRecording) else CORRUPT
            manifest.failed(file, key, status, str(error).removeprefix(f"{file}: "))
            return
        events = without_rivals(found)
        told = (text for one in found for text in (*one.curve.cut, *one.curve.notes))
        for one in found:
            self.diagnoses.add(one)
        if self.detector.settings.pictures:
            self._draw(file, sound, found, events)
        low = without_rivals(
            [replace(one, events=self.detector.candidates(sound, one)) for one in found]
        )
        manifest.done(
            file, key, rows_of(events, file, self.targets), rows_of(low, file, self.targets),
            duration_s=sound.duration_s, reason="; ".join([*sound.notes, *dict.fromkeys(told)]),
        )  # fmt: skip

    def _draw(
        self, file: Path, sound: Sound, found: Sequence[Detections], events: pd.DataFrame
    ) -> None:
        truth, calls = None, self.known_calls
        if calls is not None:
            labels = [one.target.label for one in found]
            # A table of one class without a name is of what is looked for.
            wanted = calls["label"].isin([*labels, CALL]) | (len(labels) == 1)
            truth = calls.loc[(calls["name"] == file.stem) & wanted & (calls["status"] == "POS")]
        picture = picture_of(self.manifest.folder, file)
        draw(sound, found, events, self.detector.embedder.front_end, picture, truth)
