"""The report of a test: one HTML file that tells a reader what was found, under what rules, and
lets them listen to the mistakes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from g5.common.errors import UserError
from g5.common.words import counted
from g5.evaluation.episodes.mistakes import Mistake
from g5.evaluation.episodes.result import TestResult
from g5.evaluation.intervals import mean_text
from g5.evaluation.report.about import (
    About,
    accuracy_table,
    class_table,
    number_rows,
    origin_rows,
    protocol_rows,
    trained_rows,
)
from g5.evaluation.report.gallery import Drawn
from g5.evaluation.report.summary import verdict_line
from g5.web import page
from g5.web.axis import FrequencyAxis
from g5.web.page import Html
from g5.web.tiles import Mark, audible_slow_down, audio_snippet, spectrogram_tile
from preprocessing.audio import info
from preprocessing.audio_rules import AudioRules

SHORTEST_S, LONGEST_S = 1.0, 6.0  # of a mistake's tile and sound
CONTEXT = 0.2  # of a call's length, on either side
ULTRASOUND_HZ = 96_000  # recordings of a higher rate are slowed down to be heard


def write_report(
    path: Path, result: TestResult, about: About, figures: Mapping[str, Drawn]
) -> Path:
    """Write the report; a mistake whose recording cannot be read says so, and the rest stands."""
    budget = page.Budget()
    facts = result.protocol
    drawn = {name: _figure(figure, budget) for name, figure in figures.items()}
    first = ("training", "per_class", "confusion")
    content = page.page(
        f"{about.run}: test of {about.arch}",
        _subtitle(result),
        _headline(result),
        page.paragraph(verdict_line(result, about.arch)),
        _checks(result),
        *(page.paragraph(f"Note: {note}", "bad") for note in result.notes),
        page.heading("What was trained, on what"),
        page.table(pd.DataFrame(trained_rows(about), columns=["", " "])),
        *[part for name, part in drawn.items() if name == "training"],
        page.heading("How it was tested"),
        page.table(pd.DataFrame(protocol_rows(result), columns=["", " "])),
        page.heading("Numbers"),
        page.table(accuracy_table(result), {"accuracy": ".1%"}),
        page.table(pd.DataFrame(number_rows(result), columns=["", "value", "what it says"])),
        page.details(f"Each of the {facts.n_classes} classes", page.table(class_table(result), {
            "accuracy": ".1%", "queries": ",d", "confidence when right": ".1%", "ROC-AUC": ".3f",
            "average precision": ".3f",
        })),
        drawn["per_class"],
        drawn["confusion"],
        page.heading("Mistakes to listen to"),
        *_mistakes(result, about, budget),
        *[part for name, part in drawn.items() if name not in first],
        page.heading("Do it again"),
        page.element("pre", about.command),
        page.table(pd.DataFrame(origin_rows(result, about), columns=["", " "])),
    )  # fmt: skip
    return page.write_page(path, content)


def _subtitle(result: TestResult) -> Html:
    facts = result.protocol
    return page.paragraph(
        f"{facts.n_way}-way {facts.k_shot}-shot, {counted(facts.episodes, 'episode')} of "
        f"{counted(facts.n_classes, 'class', 'classes')} ({facts.split} split)",
        "soft",
    )


def _headline(result: TestResult) -> Html:
    ours, other, raw = result.interval, result.resampled, result.raw_best.interval
    return page.facts(
        {
            "accuracy, 95 % over episodes": mean_text(ours),
            "for other classes and sources": f"{other.low:.0%} – {other.high:.0%}",
            "best raw features": f"{raw.mean:.1%}",
            "chance": f"{result.chance:.1%}",
            "calibration error": f"{result.quality()['ece']:.1%}",
        }
    )  # fmt: skip


def _checks(result: TestResult) -> Html:
    return page.paragraph("Checked: " + "  ".join(f"✓ {name}" for name in result.checks), "good")


def _figure(figure: Drawn, budget: page.Budget) -> Html:
    png = figure.path.read_bytes()
    shown = (
        page.figure(png, figure.caption, alt=figure.title)
        if budget.take(png)
        else page.paragraph(f"Left out to keep this page light: {figure.path.name}", "soft")
    )
    return page.join(page.heading(figure.title), shown)


def _mistakes(result: TestResult, about: About, budget: page.Budget) -> list[Html]:
    if not result.mistakes:
        return [page.paragraph("There were none.")]
    events = about.events(result)
    top_hz = float(about.restored.header["front_end"]["fmax"])
    wrong = int((~result.scores.hit_A).sum())
    rules = about.corpus.rules
    cards = [_mistake(mistake, events, top_hz, rules, budget) for mistake in result.mistakes]
    return [
        page.paragraph(
            f"The {len(cards)} most confident of {wrong:,} wrong answers: the query on top, below "
            "it the support call it lay nearest to, of the class it was taken for, and the nearest "
            "call of that class from another recording: where that is far less alike, it may be "
            "the recording that was recognised. Is it a wrong label, a second animal, or really "
            "alike?"
        ),
        page.grid(*cards),
    ]


def _mistake(
    mistake: Mistake, events: pd.DataFrame, top_hz: float, rules: AudioRules, budget: page.Budget
) -> Html:
    title = (
        f"{mistake.label} taken for {mistake.predicted}: {mistake.probability:.0%} sure, "
        f"wrong (of the truth {mistake.own_probability:.0%})"
    )
    query = _event(events, mistake.row)
    support = _event(events, mistake.support_row)
    same = support["source"] == query["source"]
    shown = [
        ("query", query, mistake.label),
        (f"nearest, of {'the same' if same else 'another'} recording", support, mistake.predicted),
    ]
    if mistake.elsewhere_row is not None:
        told = "nearest of another recording" if same else "nearest that was not in this episode"
        shown.append((told, _event(events, mistake.elsewhere_row), mistake.predicted))
    tiles = [_call(e, f"{what}: {of}", top_hz, rules, budget) for what, e, of in shown]
    return page.card(page.heading(title, 3), page.abreast(*tiles))


def _event(events: pd.DataFrame, row: int) -> dict[str, Any]:
    return events.iloc[row][["file", "start_s", "end_s", "source"]].to_dict()


def _call(
    event: dict[str, Any], label: str, top_hz: float, rules: AudioRules, budget: page.Budget
) -> Html:
    """A call with a little of what is around it, to see and to hear."""
    file, start_s, end_s = event["file"], event["start_s"], event["end_s"]
    where = f"{label}, {Path(file).name}, {start_s:.2f}–{end_s:.2f} s"
    length = min(max((end_s - start_s) * (1 + 2 * CONTEXT), SHORTEST_S), LONGEST_S)
    middle = (start_s + end_s) / 2
    try:
        header = info(file)
        top_hz = min(top_hz, header.rate_hz / 2)
        left = max(0.0, min(middle - length / 2, header.duration_s - length))
        span = left, min(left + length, header.duration_s)
        marks = [Mark(start_s, end_s)] if end_s - start_s < 0.95 * (span[1] - span[0]) else []
        slow = audible_slow_down(top_hz) if header.rate_hz > ULTRASOUND_HZ else 1
        png = spectrogram_tile(file, rules, *span, high_hz=top_hz, bent=True, marks=marks)
        sound = audio_snippet(file, rules, *span, slow_down=slow)
    except UserError as error:
        return page.paragraph(f"{where}: {error}", "bad")
    where += f"; {slow} times slower" if slow > 1 else ""
    if not budget.take(png, sound):
        return page.paragraph(f"{where} (left out to keep this page light)", "soft")
    axis = FrequencyAxis(0.0, top_hz, bent=True)
    return page.sound_tile(png, where, sound, (axis, span[1] - span[0]))
