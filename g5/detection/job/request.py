"""What the user asks of `g5 detect`, as typed, and what of it there is to read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from g5.common.elsewhere.places import place_of
from g5.common.errors import UserError
from g5.common.files import is_audio, is_table, sounds_at, walk
from g5.config.settings import Settings, load, marked
from g5.detection.review.answers import files_of, is_found
from g5.evaluation.events.ground_truth import SUPPORT_CSV, recording_name
from preprocessing.annotations import SUFFIXES, format_of, read_events
from preprocessing.recorders.starts import Clues

# What may be set; the encoder says the rest.
FREE = marked(Settings, "detection")


@dataclass(frozen=True)
class DetectionRequest:
    """One call of `g5 detect`.

    Attributes:
        encoder: as `load_encoder` takes it.
        recordings: one, a folder, a pattern or a list of them.
        support: a table of marked calls, or the folder of a detection whose events are reviewed.
        out: folder of the results.
        formats: names of formats, with commas; None: that of the support.
        truth: a table of the calls there are, or a folder of tables, to draw beside what is found.
        overrides: the encoder's, ``encoder.key=value``, and the classes that the user names.
        clues: what the user says of when and where the recordings were made.
        columns: the support's names for our columns, where it is of no known format.
    """

    encoder: str
    recordings: Path
    support: Path
    out: Path
    formats: str | None = None
    truth: Path | None = None
    overrides: tuple[str, ...] = ()
    clues: Clues = field(default_factory=Clues)
    columns: Mapping[str, str] | None = None

    def check(self) -> None:
        """What can be wrong with paths, tables and clues, before a network is loaded.

        Raises:
            UserError: the first of it.
        """
        self.files()
        self.format_names()
        self.clues.reader()
        self.support_files()
        if not self.support.is_dir():
            for problem in read_events(self.support, columns=self.columns)[1]:
                if problem.fatal:
                    raise UserError(str(problem))

    def format_names(self) -> list[str]:
        """The formats to write.

        Raises:
            UserError: there is no such format, or the support's cannot be told.
        """
        own = "csv" if self.support.is_dir() or self.columns else format_of(self.support)
        if self.formats is None:
            names = [own if own in SUFFIXES else "csv"]
        else:
            names = [name.strip() for name in self.formats.split(",")]
        for name in names:
            if name not in SUFFIXES:
                options = ", ".join(SUFFIXES)
                raise UserError(f"--format: there is no {name!r}; choose from {options}")
        return names

    def files(self) -> list[Path]:
        """The recordings, absolute."""
        files = sounds_at(place_of(self.recordings).absolute())
        if not files:
            raise UserError(f"{self.recordings}: holds no recordings")
        return files

    def support_files(self) -> list[Path]:
        """What is read of the support.

        Raises:
            UserError: a folder that no detection has written.
        """
        if not self.support.is_dir():
            return [self.support]
        if not is_found(self.support):
            raise UserError(
                f"{self.support}: is a folder without {SUPPORT_CSV}; give a table of marked calls, "
                "or what g5 detect -o wrote"
            )
        return files_of(self.support)

    def truth_tables(self) -> list[Path]:
        """What is read of --truth: the table, or all tables of the folder."""
        if self.truth is None or not self.truth.is_dir():
            return [] if self.truth is None else [self.truth]
        return [file for file in walk(self.truth) if is_table(file)]

    def known_calls(self) -> pd.DataFrame | None:
        """All calls that --truth tells of, with the recordings' ``name``; None without one."""
        if self.truth is None:
            return None
        parts = [read_events(table)[0] for table in self.truth_tables()]
        if self.truth.is_file() and is_audio(self.recordings):
            # A table that names no recording belongs to the one it is given with.
            own = parts[0]["file"].isin([self.truth.stem, self.truth.name.split(".")[0]])
            parts[0].loc[own, "file"] = self.recordings.name
        if not sum(map(len, parts)):
            raise UserError(f"{self.truth}: --truth has no annotations in it")
        calls = pd.concat(parts, ignore_index=True)
        return calls.assign(name=[recording_name(str(file)) for file in calls["file"]])


def detection_settings(overrides: Sequence[str]) -> Settings:
    """The settings of a detection.

    Raises:
        UserError: an override is of what the encoder says, or cannot be read.
    """
    own = []
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if override == "features.sr=native":
            # How the front end is told to follow the recording.
            own.append("detection.sr=native")
        elif any(key == free or key.startswith(f"{free}.") for free in FREE):
            own.append(override)
        elif not key.startswith("encoder.") and not key.endswith("._target_"):
            raise UserError(
                f"{key}: the checkpoint says it; a detection takes {', '.join(FREE)}, encoder.* of "
                "an encoder that is no checkpoint, and features.sr=native"
            )
    return load(own)
