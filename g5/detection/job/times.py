"""When and where a job's recordings were made: what is left out, and columns beside events."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from g5.config.schema import DetectionSettings
from preprocessing.recorders.hours import Choice
from preprocessing.recorders.starts import Clues, odd_starts
from preprocessing.recorders.written import texts_of, utc_texts


class RecordingTimes:
    """Starts, recorders and sites of recordings.

    Args:
        files: all of the job.
        clues: what the user says beside.
        detection: hours and dates that are asked for.

    Attributes:
        left_out: of recordings that are not asked for, by path, why.
        notes: what is odd about those that say when they begin, a line each.

    Raises:
        UserError: a clue, the hours or the dates cannot be read.
    """

    def __init__(self, files: Sequence[Path], clues: Clues, detection: DetectionSettings) -> None:
        choice = Choice(detection.hours, detection.dates)
        # A name that is no text is told of where the file is opened.
        named = [f for f in files if str(f).encode("utf-8", "ignore") == os.fsencode(f)]
        self._table = clues.reader().read(named).set_index("file", drop=False)
        self.left_out = choice.why_not(self._table)
        self.notes = odd_starts(self._table.loc[self._table["note"] != ""])

    def duration_s(self, file: str) -> float:
        """Of a recording, as its header has it; 0 if that does not say."""
        known = self._table["duration_s"].to_numpy(float)[self._table.index.get_loc(file)]
        return float(np.nan_to_num(known))

    def beside(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with `file`, perhaps ``start_s``, and columns that say what is known of its rows.

        They are ``start_utc``, ``start_local``, ``recorder`` and ``site``; where no recording has a
        start or a site there are none, and a recorder alone, which may be any folder, is not told.
        """
        dated = self._table["start_local"].notna().to_numpy(bool).any()
        sited = (self._table["site"] != "").to_numpy(bool).any()
        if not dated and not sited:
            return table
        of_file = self._table.reindex(table["file"]).reset_index(drop=True)
        into_s = table["start_s"].to_numpy(float).round(3) if "start_s" in table else 0.0
        after, columns = pd.to_timedelta(into_s, unit="s"), {}
        if dated:
            for name, texts in (("start_utc", utc_texts), ("start_local", texts_of)):
                columns[name] = texts(pd.Series(of_file[name] + after)).to_numpy(object)
        columns["recorder"] = of_file["recorder"].to_numpy(object)
        if sited:
            columns["site"] = of_file["site"].to_numpy(object)
        return table.assign(**columns)
