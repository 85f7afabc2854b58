"""What a run tells at its end: the page, and some lines on the terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from g5.common.words import length, on_one_line
from g5.detection.job.diagnose import Diagnoses
from g5.detection.job.manifest import CORRUPT, DONE, SKIPPED, Manifest
from g5.detection.job.notes import Notes
from g5.detection.job.page import DetectionPage
from g5.detection.job.results import REPORT, picture_of
from g5.detection.support import Target
from g5.evaluation.events.ground_truth import LEDGER, PREDICTIONS

# Files of which one and the same is to be said, so many are named.
ALIKE = 3


def write_summary_page(
    manifest: Manifest, events: pd.DataFrame, targets: Sequence[Target], diagnoses: Diagnoses,
    notes: Notes, *, searched: str, snippets: int,
) -> Path:  # fmt: skip
    """Write the page, the pictures with most events first; ``searched`` is what it is about."""
    most_first = sorted(manifest.done_entries(), key=lambda entry: -entry.events)
    pictures = [picture_of(manifest.folder, Path(entry.file)) for entry in most_first]
    return DetectionPage(
        title=f"{', '.join(target.label for target in targets)} in {searched}",
        events=events,
        manifest=manifest.table(),
        targets=targets,
        diagnoses=diagnoses.by_label,
        notes=notes.lines,
        pictures=[path for path in pictures if path.is_file()],
        snippets=snippets,
    ).write(manifest.folder / REPORT)


def print_summary(
    manifest: Manifest, targets: Sequence[Target], written: Sequence[Path], *, page: bool
) -> None:
    """What was not done on stderr; on stdout how much was found, and where the results lie."""
    table = manifest.table()
    for (status, reason), rows in table.loc[table["status"] != DONE].groupby(["status", "reason"]):
        files = rows["file"].tolist()
        for file in files[:ALIKE]:
            print(on_one_line(f"{status}: {file}: {reason}"), file=sys.stderr)
        if len(files) > ALIKE:
            more = f"{status}: {len(files) - ALIKE:,} more, {reason}"
            print(on_one_line(more), file=sys.stderr)
    counts = table["status"].value_counts()
    told = ", ".join(f"{counts.get(s, 0)} {s}" for s in (DONE, SKIPPED, CORRUPT))
    print(f"recordings {told} ({length(table['duration_s'].to_numpy(float).sum())})")
    labels = on_one_line(", ".join(target.label for target in targets))
    found = table["events"].sum() - table["support"].sum()
    print(f"events     {found:,} of {labels}, the support's own aside")
    print(f"results    {manifest.folder / PREDICTIONS}, {LEDGER}{f', {REPORT}' if page else ''}")
    more = [path.name for path in written[2:]]
    if more:
        shown = ", ".join(more[:3]) + (f" and {len(more) - 3} more" if len(more) > 3 else "")
        print(f"           {shown}")
