"""The page of a season: how much was heard, and of each species when and where it called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from g5.common.words import counted, length
from g5.detection.review.estimate import Precision
from g5.field.season import Season
from g5.web.page import (
    Budget,
    Html,
    bullets,
    details,
    facts,
    figure,
    heading,
    long_table,
    page,
    paragraph,
    write_page,
)

CAPTIONS = {
    "hours": "Calls per analysed hour, hour of day by date. Grey: nothing was analysed. "
    "Orange: sunrise and sunset.",
    "season": "Calls per analysed hour of each day; from two weeks on the mean of seven days.",
    "map": "Sites; dots grow with the calls per analysed hour, hollow where nothing called.",
}


@dataclass(frozen=True)
class SummaryPage:
    """What the page is made of.

    Attributes:
        found: the folder of the detection.
        season: recordings and events.
        recorders: of `g5.field.tables.of_recorders`.
        precisions: of the labels that were reviewed.
        drawn: pictures by label.
        notes: what else the user was told.
    """

    found: Path
    season: Season
    recorders: pd.DataFrame
    precisions: Mapping[str, Precision]
    drawn: Mapping[str, Sequence[Path]]
    notes: Sequence[str]

    def write(self, path: Path) -> Path:
        """Write the page."""
        whole, budget = self.recorders.drop_duplicates(["site", "recorder"]), Budget()
        local = self.season.recordings["start_local"]
        minutes = whole[["recorded_min", "analysed_min"]].to_numpy(float)
        recorded, analysed = 60 * minutes.sum(axis=0)
        parts: list[str] = [
            facts({
                "calls": f"{len(self.season.events):,}", "sites": f"{whole['site'].nunique():,}",
                "recorders": f"{len(whole):,}", "recordings": f"{len(self.season.recordings):,}",
                "recorded": length(recorded), "analysed": length(analysed),
                "from": f"{local.min():%Y-%m-%d}", "to": f"{local.max():%Y-%m-%d}",
            })
        ]  # fmt: skip
        if self.notes:
            parts += [heading("Notes"), bullets(self.notes)]
        for label, pictures in self.drawn.items():
            parts += self._of_label(label, pictures, budget)
        more = [label for label in self.season.labels if label not in self.drawn]
        if more:
            parts.append(paragraph(f"Only in the tables: {', '.join(more)}.", "soft"))
        parts += [heading("Recorders"), self._effort(whole)]
        return write_page(path, page(f"A season: {self.found.resolve().name}", *parts))

    def _of_label(self, label: str, pictures: Sequence[Path], budget: Budget) -> list[Html]:
        rows = self.recorders.loc[self.recorders["label"] == label]
        calls = int(rows["calls"].sum())
        parts = [heading(f"{label}: {counted(calls, 'call')}")]
        precision = self.precisions.get(label)
        if precision is not None:
            low, high = rows["true_low"].sum(), rows["true_high"].sum()
            some = rows["true_calls"].sum()
            interval = f"{precision.low:.0%} to {precision.high:.0%}"
            parts.append(paragraph(
                f"{counted(precision.answers, 'answer')} say that {precision.share:.0%} of what "
                "was found are "
                f"calls ({interval}): {some:,.0f}, from {low:,.0f} to "
                f"{high:,.0f}. The share is taken to hold at every site and hour."
            ))  # fmt: skip
        elif calls:
            parts.append(
                paragraph("Not reviewed yet; g5 review says how many of them are calls.", "soft")
            )
        for path in pictures:
            png = path.read_bytes()
            if budget.take(png):
                parts.append(figure(png, CAPTIONS[path.stem.partition("_")[0]]))
            else:
                parts.append(paragraph(f"{path.name} lies beside this page.", "soft"))
        columns = ["site", "recorder", "calls", "calls_per_hour", "first_call", "last_call"]
        shown = rows.loc[:, columns].sort_values("calls", ascending=False, kind="stable")
        for name in ("first_call", "last_call"):
            shown[name] = shown[name].dt.strftime("%Y-%m-%d %H:%M").fillna("")
        parts.append(details("Calls of each recorder", long_table(shown, "recorders.csv")))
        return parts

    def _effort(self, whole: pd.DataFrame) -> Html:
        columns = ["site", "recorder", "recordings", "undated"]
        shown = whole.loc[:, columns].assign(
            recorded_h=whole["recorded_min"] / 60, analysed_h=whole["analysed_min"] / 60
        )
        return long_table(shown, "recorders.csv", {"recorded_h": ",.1f", "analysed_h": ",.1f"})
