"""Reads the support's table: which recordings its rows mean, and the species it marks."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from g5.common.errors import UserError
from g5.common.files import is_audio, walk
from g5.config.schema import DetectionSettings
from g5.detection.embedding.sound import Sound
from g5.detection.job.diagnose import of_sound
from g5.detection.job.reader import RecordingReader
from g5.detection.job.request import DetectionRequest
from g5.detection.review.answers import learned_support
from g5.detection.review.table import FoundEvents
from g5.detection.support import Target, targets_of
from g5.evaluation.events.ground_truth import SUPPORT_CSV
from preprocessing.annotations import read_events
from preprocessing.events import Problem
from preprocessing.frontend import FrontEnd
from preprocessing.naming import Listing


def read_targets(
    request: DetectionRequest,
    files: Sequence[Path],
    reader: RecordingReader,
    front_end: FrontEnd,
    settings: DetectionSettings,
    note: Callable[[str], None],
) -> tuple[list[Target], pd.DataFrame]:
    """The species that the support marks, in order of their names, and its rows.

    Args:
        request: says where the support is.
        files: the recordings that are searched.
        reader: opens recordings.
        front_end: must see the bands of the boxes.
        settings: how many shots, and what is no call.
        note: told what is odd about the support.

    Returns:
        The targets; and the support as an events table, with full paths where a recording is found.

    Raises:
        UserError: no call is marked, or none can be used.
    """
    events, problems = _read(request)
    for problem in problems:
        if problem.fatal:
            # A shot that is lost changes everything that is found.
            raise UserError(str(problem))
        note(str(problem))
    if events.empty:
        raise UserError(f"{request.support}: marks no call; mark at least one of each species")
    recordings = _SupportRecordings(request, files, reader)
    targets = targets_of(
        events, recordings.open, shots=settings.shots, negatives=settings.negatives, problem=note
    )
    for target in targets:
        target.band(front_end)  # raises, and better now than at every recording
        for text in of_sound(target):
            note(text)
    paths = {name: recordings.named(name) for name in dict.fromkeys(events["file"].astype(str))}
    return targets, events.assign(file=[paths[str(name)] for name in events["file"]])


def _read(request: DetectionRequest) -> tuple[pd.DataFrame, list[Problem]]:
    """The rows of the support: a table, or what a detection has written and the answers to it."""
    if not request.support.is_dir():
        return read_events(request.support, columns=request.columns)
    events, line = learned_support(request.support)
    print(line)
    if changed := FoundEvents.read(request.support).changed:
        note = f"{changed}; what is learnt is in {SUPPORT_CSV} and the answers, not in this table"
        print(f"note: {note}", file=sys.stderr)
    return events, []


class _SupportRecordings:
    """Finds the recordings that a support names: among those searched, then beside its table."""

    def __init__(
        self, request: DetectionRequest, files: Sequence[Path], reader: RecordingReader
    ) -> None:
        folder = request.support.absolute()
        folder = folder if folder.is_dir() else folder.parent
        beside = [f for f in walk(folder) if is_audio(f)]
        self._listings = Listing(files), Listing(beside)
        self._alone = (
            files[0].absolute() if request.recordings.is_file() and len(files) == 1 else None
        )
        self._request, self._reader = request, reader
        self._opened: dict[str, Sound] = {}

    def open(self, name: str) -> Sound:
        """The recording of a row.

        Raises:
            UserError: it is not there, cannot be read, or is silent.
        """
        if name not in self._opened:
            self._opened[name] = self._reader.open(self._path(name))
            self._reader.hear_like(self._opened[name])
        self._opened[name].refuse_silence()
        return self._opened[name]

    def named(self, name: str) -> str:
        """The full path of a row's recording; its name where there is none."""
        try:
            return str(self._path(name))
        except UserError:
            return name

    def _path(self, name: str) -> Path:
        support = self._request.support
        if Path(name).is_absolute() and Path(name).is_file():
            return Path(name)
        for listing in self._listings:
            matches = listing.find(name)
            if len(matches) > 1:
                raise UserError(
                    f"{name}: may be {matches[0]} or {matches[1]}; write its path in {support}"
                )
            if matches:
                return matches[0].absolute()
        if self._alone is not None and name in (support.stem, support.name.split(".")[0]):
            # A table that names no recording belongs to the one it is given with.
            return self._alone
        raise UserError(f"there is no recording {name} beside {support} or among those given")
