"""`g5 detect`: five calls in, every call in some recordings out."""

from g5.config.settings import Settings
from g5.detection.job.asked import take_reviewed
from g5.detection.job.encoder import chosen, detector_named, told_time, weigh
from g5.detection.job.manifest import CORRUPT, Manifest
from g5.detection.job.notes import Notes
from g5.detection.job.reader import RecordingReader
from g5.detection.job.request import DetectionRequest
from g5.detection.job.results import refuse_to_overwrite, results_of, write_support
from g5.detection.job.search import RecordingSearch
from g5.detection.job.summary import print_summary, write_summary_page
from g5.detection.job.support_table import read_targets
from g5.detection.job.times import RecordingTimes
from g5.detection.review.answers import changes
from g5.evaluation.events.ground_truth import PREDICTIONS
from g5.training.setup import prepare_torch, set_matmul_precision
from preprocessing.annotations import read_events
from preprocessing.audio_rules import use


def detect(request: DetectionRequest, settings: Settings) -> int:
    """Find the calls of the support's species; the exit code, 1 if any recording failed."""
    use(settings.audio)
    formats, detection = request.format_names(), settings.detection
    prepare_torch(settings)
    set_matmul_precision(settings)
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
    targets, support = read_targets(request, files, reader, sounds.front_end, detection, notes.add)
    weigh(detector.embedder, targets)
    take_reviewed(detector, request.support, [target.label for target in targets])
    slow = told_time(detector, targets, [file for file in asked if str(file) in reader.hashes])
    if slow:
        notes.add(slow)
    search = RecordingSearch(request, detector, targets, reader, manifest, notes, times)
    write_support(manifest, support)
    events, written = search.over(files, broken, formats)
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
