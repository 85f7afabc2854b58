"""`g5 summarise`: when and where it calls, how often, with effort, and how sure that is."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.words import counted, length
from g5.config.schema import ReviewSettings
from g5.detection.review.answers import REVIEWED
from g5.detection.review.estimate import Precision
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import FoundEvents
from g5.evaluation.events.ground_truth import LEDGER, SUPPORT_CSV
from g5.field import pictures
from g5.field.histories import matrices, write_matrix
from g5.field.page import SummaryPage
from g5.field.season import Season, read_season
from g5.field.tables import by, of_recorders, write_both
from preprocessing.recorders.light import with_light
from preprocessing.recorders.starts import Clues

# Labels with pictures, those with most calls; tables have all.
PICTURED = 6
PAGE = "summary.html"


def summarise(
    found: Path, out: Path, clues: Clues, review: ReviewSettings, *, occasion: int
) -> list[Path]:
    """Write tables, pictures and the page of a season; the files.

    Args:
        found: what `g5 detect` wrote.
        out: folder of the summary.
        clues: what the user says of when and where.
        review: settings of the answers, by which calls are corrected.
        occasion: days of an occasion of detection histories.

    Raises:
        UserError: it is no such folder, or no recording has a start, or nothing was looked for.
    """
    if out.resolve() == found.resolve():
        raise UserError(f"{out}: holds the detection; set another -o")
    season = read_season(found, clues)
    if season.recordings["start_local"].isna().to_numpy(bool).all():
        raise UserError(
            f"{found}: no recording has a start; g5 data when says what there is, and --times, "
            "--pattern tell more"
        )
    if not season.labels:
        raise UserError(f"{found}: has no events, and no {SUPPORT_CSV} with what was looked for")
    precisions = _precisions(found, review)
    effort, counts = season.effort(), season.counts()
    hours = by(["site", "recorder", "date", "hour"], effort, counts, season.labels, precisions)
    days = by(["site", "recorder", "date"], effort, counts, season.labels, precisions)
    weekly, called = (table.assign(week=_monday(table)) for table in (effort, counts))
    recorders = of_recorders(season, precisions)
    tables = {
        "recordings": _recordings(season),
        "recorders": recorders,
        "hours": hours,
        "hours_of_day": by(["site", "recorder", "hour"], effort, counts, season.labels, precisions),
        "days": days,
        "weeks": by(["site", "recorder", "week"], weekly, called, season.labels, precisions),
    }
    written = [path for name, table in tables.items() for path in write_both(table, out, name)]
    places = pictures.site_places(season.recordings)
    written += _histories(days, season.labels, places, out, occasion)
    drawn = _pictures(season, hours, days, places, out / "pictures")
    page = SummaryPage(found, season, recorders, precisions, drawn, notes_of(season, clues))
    written.append(page.write(out / PAGE))
    _tell(season, recorders, precisions, page.notes, out)
    return written


def _precisions(found: Path, review: ReviewSettings) -> dict[str, Precision]:
    """Of the labels that somebody has reviewed."""
    if not (found / REVIEWED).is_file():
        return {}
    session = ReviewSession(FoundEvents.read(found), review)
    each = {name: session.precision(name) for name in session.rows}
    return {name: one for name, one in each.items() if one is not None and one.answers}


def _monday(table: pd.DataFrame) -> pd.Series:
    return table["date"] - pd.to_timedelta(table["date"].dt.day_of_week, unit="D")


def _recordings(season: Season) -> pd.DataFrame:
    """Every recording, with its calls."""
    calls = season.events["recording"].value_counts()
    table = with_light(season.recordings.drop(columns="serial"))
    return table.assign(calls=calls.reindex(range(len(table)), fill_value=0).to_numpy())


def _histories(
    days: pd.DataFrame, labels: list[str], places: pd.DataFrame, out: Path, occasion: int
) -> list[Path]:
    effort, calls = matrices(days, labels, occasion)
    at = places.loc[:, ["lat", "lon"]]
    written = [write_matrix(effort, at, out / "effort.csv", whole=False)]
    for label, name in file_names(labels).items():
        counted = calls[label]
        seen = counted.where(counted.isna(), (counted > 0).astype(float))
        written.append(write_matrix(seen, at, out / f"history_{name}.csv", whole=True))
        written.append(write_matrix(counted, at, out / f"counts_{name}.csv", whole=True))
    return written


def _pictures(
    season: Season, hours: pd.DataFrame, days: pd.DataFrame, places: pd.DataFrame, folder: Path
) -> dict[str, list[Path]]:
    """By label, its pictures; those of an earlier summary are removed."""
    for kind in ("hours", "season", "map"):
        for path in folder.glob(f"{kind}_*.png"):
            path.unlink()
    most = season.events["label"].value_counts().index.tolist()
    chosen = [*most, *(label for label in season.labels if label not in most)][:PICTURED]
    names, drawn = file_names(season.labels), {}
    for label in chosen:
        name = names[label]
        drawn[label] = pictures.heat_maps(hours, label, places, folder / f"hours_{name}.png")
        drawn[label].append(pictures.season_curves(days, label, folder / f"season_{name}.png"))
        own = days.loc[days["label"] == label].groupby("site")[["calls", "analysed_min"]].sum()
        own["calls_per_hour"] = own["calls"] / own["analysed_min"] * 60
        sited = own.join(places).dropna(subset=["lat", "lon"])
        if len(sited):
            drawn[label].append(pictures.site_map(sited, label, folder / f"map_{name}.png"))
    return drawn


def file_names(labels: Sequence[str]) -> dict[str, str]:
    """Labels as parts of file names, told apart where they would be alike."""
    names: dict[str, str] = {}
    for label in labels:
        name = re.sub(r"[^\w-]+", "_", label).strip("_")[:60] or "label"
        taken = {other.casefold() for other in names.values()}
        options = (name, *(f"{name}{number}" for number in range(2, len(labels) + 2)))
        names[label] = next(one for one in options if one.casefold() not in taken)
    return names


def notes_of(season: Season, clues: Clues) -> list[str]:
    """What a reader of the numbers should know."""
    table, notes = season.recordings, []
    undated = table["start_local"].isna().to_numpy(bool)
    if undated.any():
        minutes = float(np.nansum(table["duration_s"].to_numpy(float)[undated])) / 60
        told = table["note"].to_numpy(object)[undated]
        why = next((note for note in told if note), "nothing says when")
        notes.append(
            f"without a start: {undated.sum():,} of {len(table):,} recordings, {minutes:,.0f} min "
            f"({why}); they count by recorder, and in no hour, day or history"
        )
    left = table.loc[table["status"] != "done", "status"].value_counts()
    for status, count in left.items():
        notes.append(
            f"{status} in {LEDGER}: {count:,} of {len(table):,} recordings; recorded, not analysed"
        )
    if clues.deployments is not None:
        lost = table["note"].str.contains(clues.deployments.name, regex=False)
        for name, rows in table.loc[lost].groupby("recorder"):
            count = f"{counted(len(rows), 'recording')} of {name}"
            notes.append(f"{clues.deployments.name} does not cover {count}")
    unknown = table["start_local"].notna() & table["start_utc"].isna()
    if unknown.to_numpy(bool).any():
        notes.append(
            f"of {int(unknown.to_numpy().sum()):,} recordings the time zone is not known: hours "
            "are those of the recorder's clock (--clock, --zone)"
        )
    return notes


def _tell(
    season: Season, recorders: pd.DataFrame, precisions: Mapping[str, Precision],
    notes: Sequence[str], out: Path,
) -> None:  # fmt: skip
    whole = recorders.drop_duplicates(["site", "recorder"])
    minutes = whole[["recorded_min", "analysed_min"]].to_numpy(float)
    recorded, analysed = 60 * minutes.sum(axis=0)
    for note in notes:
        print(f"note: {note}")
    print(
        f"{counted(len(season.recordings), 'recording')} of "
        f"{counted(whole['recorder'].nunique(), 'recorder')} at "
        f"{counted(whole['site'].nunique(), 'site')}: {length(recorded)}, "
        f"{length(analysed) if analysed else 'none'} of it analysed"
    )
    for label, rows in recorders.groupby("label"):
        calls, places = rows["calls"].to_numpy(int), rows["site"].to_numpy(object)
        sites = counted(len(set(places[calls > 0])), "site")
        line = f"{label}: {counted(calls.sum(), 'call')} at {sites}"
        if (one := precisions.get(str(label))) is not None:
            line += f", of which {one.share:.0%} are some ({one.low:.0%} to {one.high:.0%})"
        if len(dated := rows.dropna(subset=["first_call"])):
            first, last = dated["first_call"].min(), dated["last_call"].max()
            line += f", {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
        print(line)
    print(f"summary {out / PAGE}; recorders, hours, days, weeks, history_* are tables beside it")
