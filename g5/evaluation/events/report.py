"""What `g5 evaluate` tells: a few lines for the terminal, and a page with tables and figures."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.words import counted
from g5.evaluation.events.errors import CALL_KINDS, PREDICTION_KINDS, Errors, errors
from g5.evaluation.events.ground_truth import Truth
from g5.evaluation.events.matching import FAIR, MODES, OFFICIAL
from g5.evaluation.events.psds import psds, why_not
from g5.evaluation.events.scores import EventScores, f_interval, oracle, score_events
from g5.evaluation.figures.style import BLUE, GREEN, GREY, ORANGE, RED, drawing, short_names
from g5.web import page

MEANING = {
    OFFICIAL: "as the published DCASE Task 5 evaluator counts: predictions inside the support are "
    "false positives, and where there are no predictions the shots are missed too",
    FAIR: "predictions that end inside the support are ignored, and shots are never missed",
}
ABOVE_ONLY = (
    "the oracle looks only above the threshold of the predictions; with g5 detect's "
    "candidates.csv beside them it looks below, too"
)
# Recordings in the figure; the table has all.
RECORDINGS_DRAWN = 40
_COLORS = {CALL_KINDS[0]: GREEN, CALL_KINDS[1]: BLUE, CALL_KINDS[2]: "#56B4E9",
           CALL_KINDS[3]: ORANGE, CALL_KINDS[4]: RED}  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """Both modes, the one that was asked for, and what is shown beside them.

    Attributes:
        mode: the one asked for.
        scores: of each mode.
        interval: 95 % of F over other recordings, by mode; None where nothing can be said.
        oracle: F of the best threshold, by mode; None without scores.
        psds: None where there is none, for the reason ``no_psds``.
        looks_below: whether the oracle saw what thresholds below the own one would find.
    """

    mode: str
    scores: Mapping[str, EventScores]
    interval: Mapping[str, tuple[float, float] | None]
    oracle: Mapping[str, float | None]
    errors: Errors
    psds: float | None
    no_psds: str
    looks_below: bool

    @property
    def chosen(self) -> EventScores:
        """The scores of the mode that was asked for."""
        return self.scores[self.mode]

    def mode_table(self) -> pd.DataFrame:
        """One row per mode, the one asked for first."""
        rows = []
        for mode in (self.mode, *(mode for mode in MODES if mode != self.mode)):
            total, best = self.scores[mode].overall, self.oracle[mode]
            rows.append(
                {
                    "mode": mode,
                    "precision": total.precision,
                    "recall": total.recall,
                    "F": total.fmeasure,
                    "95 % of F": _span(self.interval[mode]),
                    "oracle gap": np.nan if best is None else best - total.fmeasure,
                }
            )
        return pd.DataFrame(rows)

    def metrics(self) -> dict[str, float]:
        """The few numbers that MLflow lists runs by, ``test/event_...``; of the mode asked for."""
        total = self.chosen.overall
        numbers = {"f": total.fmeasure, "precision": total.precision, "recall": total.recall}
        return {f"test/event_{name}": float(value) for name, value in numbers.items()}


def evaluate_events(
    predictions: pd.DataFrame, truth: Truth, *, mode: str, candidates: pd.DataFrame | None = None
) -> Evaluation:
    """Score predictions in both modes, with all that is shown beside the scores.

    Args:
        predictions, truth: as `g5.evaluation.events.scores.score_events` takes them.
        mode: "official" or "fair": the one that is reported.
        candidates: what lower thresholds would have found, for the oracle; None: it can only
            look above the threshold of the predictions.
    """
    found = {one: score_events(predictions, truth, mode=one) for one in MODES}
    tables = [predictions] if candidates is None else [predictions, candidates]
    best = {
        one: max(filter(None, (oracle(table, truth, mode=one) for table in tables)), default=None)
        for one in MODES
    }
    reason = why_not(predictions, truth)
    return Evaluation(
        mode=mode,
        scores=found,
        interval={one: f_interval(found[one]) for one in MODES},
        oracle={one: None if pair is None else pair[0] for one, pair in best.items()},
        errors=errors(found[mode].units),
        psds=None if reason else psds(predictions, truth),
        no_psds=reason,
        looks_below=candidates is not None,
    )


def event_summary(result: Evaluation) -> str:
    """The numbers of both modes, F of the subsets, and what went wrong, in a few lines."""
    chosen, found = result.chosen, result.errors
    n = len(chosen.subset_of)
    lines = [
        f"events in {counted(n, 'recording')} of "
        f"{counted(len(chosen.subsets), 'subset')}, mode {result.mode}:",
        *textwrap.wrap(MEANING[result.mode], 90),
        "",
    ]
    table = result.mode_table()
    head = ["mode", "precision", "recall", "F", "95 % of F", "oracle gap"]
    rows = [head, *([_told(value) for value in row] for row in table.itertuples(False, None))]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines += [
        "  " + "  ".join(f"{cell:<{w}}" if k in (0, 4) else f"{cell:>{w}}"
                         for k, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
    if len(chosen.subsets) > 1:
        each = (f"{name} {score.fmeasure:.2%}" for name, score in chosen.subsets.items())
        lines += ["", f"  F of the subsets: {', '.join(each)}"]
    if not result.looks_below and result.oracle[result.mode] is not None:
        lines += ["", *textwrap.wrap(f"  {ABOVE_ONLY}", 90, subsequent_indent="  ")]
    calls, false = found.calls, found.false
    lines += [
        "",
        f"  calls        {', '.join(f'{calls[kind]} {kind}' for kind in CALL_KINDS)}",
        f"  false calls  {', '.join(f'{false[kind]} {kind}' for kind in PREDICTION_KINDS)}",
    ]
    if len(found.onset_s):
        lines.append(f"  hits are off by {_shift(found.onset_s)} at the onset and "
                     f"{_shift(found.offset_s)} at the offset (median)")  # fmt: skip
    lines.append(
        f"  PSDS         {result.no_psds if result.psds is None else format(result.psds, '.3f')}"
    )
    return "\n".join(lines)


def _shift(seconds: np.ndarray) -> str:
    return f"{1e3 * float(np.median(np.abs(seconds))):.0f} ms"


def _told(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.2%}"
    return str(value)


def _span(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.2%} – {interval[1]:.2%}"


# --- the page -----------------------------------------------------------------------------------


def write_event_report(
    result: Evaluation, folder: Path, *, title: str, notes: Sequence[str]
) -> Path:
    """Write ``index.html`` and its two figures into ``folder``; returns the page's path."""
    figures = [
        recordings_figure(result.chosen, folder / "recordings.png"),
        errors_figure(result.errors, folder / "errors.png"),
    ]
    share = {"precision": ".1%", "recall": ".1%", "F": ".2%"}
    total = result.chosen.overall
    numbers = {
        f"F, {result.mode}": f"{total.fmeasure:.2%}",
        "95 % of F": _span(result.interval[result.mode]) or "one recording",
        "precision": f"{total.precision:.1%}",
        "recall": f"{total.recall:.1%}",
    }
    if result.psds is not None:
        numbers["PSDS"] = f"{result.psds:.3f}"
    parts = [
        page.facts(numbers),
        page.heading("Both modes"),
        page.table(result.mode_table(), share | {"oracle gap": ".2%"}),
        page.bullets(f"{mode}: {meaning}." for mode, meaning in MEANING.items()),
        page.paragraph(
            "Precision, recall and F are harmonic means over the subsets. The interval resamples "
            "recordings within subsets. The oracle gap is what the best threshold, chosen with "
            "the answers in hand, would add to F."
            + ("" if result.looks_below else f" Here {ABOVE_ONLY}."),
            "soft",
        ),
        page.heading("Subsets"),
        page.table(result.chosen.subset_table(), share),
        page.heading("Recordings"),
        page.figure(figures[0], "F of each recording, the worst first."),
        page.table(result.chosen.file_table(), share),
        page.heading("Classes"),
        page.table(result.chosen.class_table(), share),
        page.heading("What went wrong"),
        page.figure(figures[1], "Calls by what became of them; times of hits against the truth."),
        page.bullets(f"{n} false positives {kind}" for kind, n in result.errors.false.items()),
    ]
    if result.psds is None:
        parts.append(page.paragraph(f"PSDS {result.no_psds}.", "soft"))
    if notes:
        parts += [page.heading("Notes on the input"), page.bullets(notes)]
    return page.write_page(folder / "index.html", page.page(title, *parts))


def recordings_figure(result: EventScores, path: Path) -> Path:
    """F of each recording as bars, the worst first, coloured by subset."""
    table = result.file_table().sort_values("F", kind="stable").head(RECORDINGS_DRAWN)
    names = short_names([str(name) for name in table["recording"]])
    place = np.arange(len(table))
    with drawing(path, 8, max(2.2, 0.26 * len(table) + 1.2)) as figure:
        axes = figure.subplots()
        axes.barh(place, table["F"], color=BLUE, height=0.7, zorder=2)
        axes.axvline(result.overall.fmeasure, color=RED, linewidth=1.5, zorder=1, label="overall")
        axes.set_yticks(place, names)
        axes.set_ylim(len(table) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xlabel("F")
        axes.grid(axis="y", visible=False)
        for y, (f, tp, fp, fn) in enumerate(
            table[["F", "tp", "fp", "fn"]].itertuples(index=False, name=None)
        ):
            text = f"{f:.0%}: {tp} found, {fn} missed, {fp} false"
            inside = f > 0.6
            axes.text(
                f - 0.01 if inside else f + 0.01, y, text, va="center", fontsize=8,
                ha="right" if inside else "left", color="white" if inside else "#333333",
            )  # fmt: skip
        more = f", the worst {len(table)} of {len(result.files)}" * (len(result.files) > len(table))
        figure.suptitle(f"F of each recording ({result.mode}){more}", x=0.01, ha="left",
                        weight="bold", fontsize=12)  # fmt: skip
        figure.legend(loc="outside lower right")
    return path


def errors_figure(found: Errors, path: Path) -> Path:
    """What became of the calls, and how far onsets and offsets of hits are off."""
    with drawing(path, 9, 3.2) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
        kinds = list(CALL_KINDS)
        place = np.arange(len(kinds))
        counts = [found.calls[kind] for kind in kinds]
        left.barh(place, counts, color=[_COLORS[kind] for kind in kinds], height=0.7)
        left.set_yticks(place, kinds)
        left.set_ylim(len(kinds) - 0.4, -0.6)
        left.set_xlim(0, 1.15 * max(*counts, 1))
        left.grid(axis="y", visible=False)
        left.set_title("Calls")
        for y, n in enumerate(counts):
            left.text(n, y, f" {n}", va="center", fontsize=9)
        right.set_title("Hits: prediction minus truth")
        right.set_xlabel("ms")
        if len(found.onset_s):
            both = 1e3 * np.concatenate([found.onset_s, found.offset_s])
            reach = max(1.0, float(np.quantile(np.abs(both), 0.98)))
            edges = np.linspace(-reach, reach, 32)
            for times_s, color, name in (
                (found.onset_s, BLUE, "onset"), (found.offset_s, ORANGE, "offset"),
            ):  # fmt: skip
                right.hist(
                    np.clip(1e3 * times_s, -reach, reach), edges, color=color, alpha=0.6, label=name
                )
            right.legend(loc="upper right")
        else:
            right.text(0.5, 0.5, "no hits", ha="center", transform=right.transAxes, color=GREY)
            right.set_xticks([])
        right.set_yticks([])
    return path
