"""`g5 detect`: five calls in, every call in some recordings out."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from g5.common.errors import UserError
from g5.config.settings import Settings
from g5.detection.job.encoder import chosen, detector_named, prepare, told_time
from g5.detection.job.manifest import CORRUPT, Manifest
from g5.detection.job.notes import Notes
from g5.detection.job.reader import RecordingReader
from g5.detection.job.request import DetectionRequest
from g5.detection.job.results import refuse_to_overwrite, results_of
from g5.detection.job.search import RecordingSearch
from g5.detection.job.summary import print_summary, write_summary_page
from g5.detection.job.times import RecordingTimes
from g5.detection.review.answers import changes
from g5.engine.jobs import Worker
from g5.evaluation.events.ground_truth import PREDICTIONS
from preprocessing.annotations import read_events


def detect(request: DetectionRequest, settings: Settings) -> int:
    """Find the calls of the support's species; the exit code, 1 if any recording failed."""
    formats, detection = request.format_names(), settings.detection
    prepare(settings)
    files, manifest, notes = request.files(), Manifest(request.out), Notes()
    times = RecordingTimes(files, request.clues, detection)
    asked = [file for file in files if str(file) not in times.left_out]
    request = chosen(request, settings, asked)
    detector, sounds = detector_named(request, settings)
    refuse_to_overwrite(
        manifest,
        results_of(request.out, formats, files, pictures=detection.pictures),
        [*request.support_files(), *request.truth_tables(), *files],
    )
    manifest.refuse_others(files)
    reader = RecordingReader(sounds, settings.path.store)
    broken = reader.look_at(asked)
    search = RecordingSearch(request, files, detector, reader, manifest, notes, times)
    targets = search.targets
    slow = told_time(detector, targets, [file for file in asked if str(file) in reader.hashes])
    for line in filter(None, (*times.notes, slow, reader.narrow())):
        notes.add(line)
    elsewhere = SearchElsewhere(request, settings, files, times, reader.hashes, search.job_key)
    events, written = search.over(broken, formats, settings.engine, elsewhere)
    if detection.pictures:
        write_summary_page(
            manifest, events, targets, search.diagnoses, notes,
            searched=request.recordings.name, snippets=detection.snippets,
        )  # fmt: skip
    print_summary(manifest, targets, written, page=detection.pictures)
    if request.support.is_dir():
        before, _ = read_events(request.support / PREDICTIONS, boxes=False)
        print(changes(before, events))
    return int(any(entry.status == CORRUPT for entry in manifest.entries.values()))


@dataclass(frozen=True)
class SearchElsewhere:
    """Makes the same search in another process, from what the user has said (`g5.engine`).

    Attributes:
        request: with the encoder that was chosen.
        settings: of the detection.
        files: all recordings.
        times: when they were made.
        hashes: of their content.
        job_key: what the search must have there, too.
    """

    request: DetectionRequest
    settings: Settings
    files: Sequence[Path]
    times: RecordingTimes
    hashes: dict[str, str]
    job_key: str

    def __call__(self) -> Worker:
        prepare(self.settings)
        manifest, notes = Manifest(self.request.out), Notes()
        # What there is to say has been said where it began.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            detector, sounds = detector_named(self.request, self.settings)
            reader = RecordingReader(sounds, self.settings.path.store)
            reader.hashes.update(self.hashes)
            search = RecordingSearch(
                self.request, self.files, detector, reader, manifest, notes, self.times,
                alone=False,
            )  # fmt: skip
        if search.job_key != self.job_key:
            raise UserError(f"{self.request.encoder}: is another encoder on the workers than here")
        return search.work
