"""What `g5 convert` does: a table of one program becomes that of another."""

from collections.abc import Mapping
from pathlib import Path

from g5.common.errors import UserError
from g5.common.words import counted
from preprocessing.annotations import read_events, write_tables


def convert(table: Path, out: Path, format: str, columns: Mapping[str, str] | None) -> int:
    """Write a table's events in another format; what is odd about it is told.

    Returns:
        How many kinds of rows could not be read; the others are written.

    Raises:
        UserError: the table cannot be read, or no row of it.
    """
    events, problems = read_events(table, boxes=False, columns=columns)
    for problem in problems:
        print(problem if problem.fatal else f"note: {problem}")
    failed = sum(problem.fatal for problem in problems)
    if failed and events.empty:
        raise UserError(f"{table}: no row can be read (see above)")
    written = write_tables(events, out, format)
    count = f"{counted(len(events), 'event')} of {counted(events['file'].nunique(), 'recording')}"
    where = written[0] if len(written) == 1 else f"{len(written)} tables in {written[0].parent}/"
    print(f"{count}: {where}")
    return failed
