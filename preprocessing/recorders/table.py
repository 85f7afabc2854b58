"""A table of the user's that says when recordings begin."""

from collections.abc import Sequence
from datetime import timezone
from pathlib import Path

from g5.common.errors import UserError
from preprocessing.annotations import read_texts
from preprocessing.annotations.columns import ours, plain
from preprocessing.naming import Listing
from preprocessing.recorders.stamp import UTC, Stamp, moment_of

TABLE = "table"
# Columns of the start; the first that has a value in a row counts. What is of UTC comes first.
_UTC = ("start_utc", "utc", "datetime_utc")
_LOCAL = (
    "start_local",
    "start",
    "datetime",
    "timestamp",
    "start_time",
    "begin_date_time",
    "date_time",
)


class TimesTable:
    """Starts by recording; columns ``file`` and ``start`` (or ``start_utc``), perhaps ``recorder``.

    Args:
        path: of the table.

    Raises:
        UserError: a column is missing, or a cell is no moment; with the row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        table = read_texts(path, short=True)
        known = {plain(name): name for name in reversed(table.names)}
        file = ours(table.names, ["file"]).get("file")
        starts = [name for name in (*_UTC, *_LOCAL) if name in known]
        if file is None or not starts:
            raise UserError(
                f"{path}: has the columns {', '.join(table.names)}; a table of times has file and "
                "start (or start_utc), e.g. 2024-05-31 22:39:11"
            )
        recorders = table.text(known.get("recorder", "recorder"))
        self._stamps: dict[str, Stamp] = {}
        cells = {name: table.text(known[name]) for name in starts}
        for i, name in enumerate(table.text(file)):
            column = next((column for column in starts if cells[column][i]), None)
            if column is None:
                continue
            found = moment_of(cells[column][i])
            if found is None:
                raise UserError(
                    f"{path}, row {table.rows[i]}: {column} is {cells[column][i]!r}, which is no "
                    "moment; write it as 2024-05-31 22:39:11, perhaps with +02:00"
                )
            zone = found[1] or (UTC if column in _UTC else None)
            assert zone is None or isinstance(zone, timezone)
            if name in self._stamps:
                raise UserError(f"{path}, row {table.rows[i]}: {name} is there twice")
            self._stamps[name] = Stamp(TABLE, found[0], zone, recorders[i])
        self._of_file: dict[Path, Stamp] = {}

    def look_among(self, files: Sequence[Path]) -> None:
        """Settle which recordings the rows mean.

        Raises:
            UserError: a row may mean several, or none of them means any.
        """
        listing = Listing(files)
        for name, stamp in self._stamps.items():
            found = listing.find(name)
            if len(found) > 1:
                raise UserError(
                    f"{self.path}: {name} may be {found[0]} or {found[1]}; write its folder"
                )
            if found:
                self._of_file[found[0]] = stamp
        if not self._of_file:
            raise UserError(f"{self.path}: names none of these recordings ({files[0]} is one)")

    def of(self, file: Path) -> Stamp | None:
        """What the table says of a recording."""
        return self._of_file.get(file)
