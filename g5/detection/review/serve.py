"""`g5 review`: the page, served until Ctrl-C or written as a file; the answers of such a file."""

import sys
from collections.abc import Mapping
from pathlib import Path

from g5.config.schema import ReviewSettings
from g5.detection.review.answers import REVIEWED, take_answers
from g5.detection.review.calibration import ScoreCurve, write_curves
from g5.detection.review.mail import write_mailed
from g5.detection.review.server import ReviewServer
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import COMMAND, REVIEWS, FoundEvents
from g5.web.journal import Journal
from preprocessing.audio_rules import AudioRules


def review(
    folder: Path, settings: ReviewSettings, rules: AudioRules, *, page: Path | None,
    answers: Path | None, port: int, browser: bool,
) -> None:  # fmt: skip
    """Review the events of a folder: in a page, or write one to be mailed, or read its answers."""
    found = FoundEvents.read(folder, settings.events)
    if changed := found.changed:
        print(f"note: {changed}; the events of now are reviewed", file=sys.stderr)
    if page is not None:
        session = ReviewSession(found, settings, rules)
        print(write_mailed(session, page))
        print(summary(session, session.curves()))
        return
    with Journal(folder, REVIEWS, COMMAND).alone():
        session = ReviewSession(found, settings, rules)
        if session.journal.damaged:
            print(
                f"{session.journal.path}: {session.journal.damaged} damaged lines are passed over; "
                "the answers in all other lines are there"
            )
        if answers is not None:
            print(take_answers(session.found, session.journal, answers))
        else:
            _serve(session, port, browser)
        print(summary(session, curves := session.curves()))
        if curves:
            print("precision and recall against threshold:", *write_curves(curves, folder))


def _serve(session: ReviewSession, port: int, browser: bool) -> None:
    session.begin()
    state = session.state()
    with ReviewServer(session, port=port) as server:
        print(f"{state['done']} of {state['total']} events are answered")
        print(f"Review at {server.url}", flush=True)
        print(
            f"Answers go to {session.journal.path} and {REVIEWED}. Ctrl-C stops; the same command "
            "goes on."
        )
        server.until_stopped(browser=browser)


def summary(session: ReviewSession, curves: Mapping[str, ScoreCurve]) -> str:
    """What the answers amount to, a line for each species; with its curve, a threshold beside."""
    lines = []
    for one in session.state()["species"]:
        line = f"{one['name']}: {one['done']} of {one['total']} answered"
        if "share" in one:
            low, high = (f"{100 * one[key]:.0f}" for key in ("low", "high"))
            line += f"; precision {100 * one['share']:.0f} % ({low} to {high})"
            if one["hourly"]:
                rates = [one["hourly"] * one[key] for key in ("share", "low", "high")]
                at, low, high = (f"{x:.3g}" if x < 100 else f"{x:,.0f}" for x in rates)
                line += f", {at} calls an hour ({low} to {high})"
            if one["to_halve"]:
                line += f"; {one['to_halve']} more answers halve the interval"
        lines.append(line)
        if curve := curves.get(one["name"]):
            lines += _thresholds(curve, session.settings)
    return "\n".join(lines)


def _thresholds(curve: ScoreCurve, settings: ReviewSettings) -> list[str]:
    """The thresholds that give what was asked for, each in a line."""
    lines = []
    for name, wanted, found in (
        ("precision", settings.precision, curve.for_precision),
        ("recall", settings.recall, curve.for_recall),
    ):
        if wanted is None:
            continue
        threshold = found(wanted)
        if threshold is None:
            lines.append(f"    {name} {wanted:g}: no threshold gives it")
            continue
        values = curve.at(threshold)
        shares = [
            f"{what} {middle:.2f} ({low:.2f} to {high:.2f})"
            for what, (middle, low, high) in (("precision", values[:3]), ("recall", values[3:]))
        ]
        lines.append(
            f"    {name} {wanted:g}: detection.threshold={threshold:.4g} with the same support; "
            f"{', '.join(shares)} of what was reviewed"
        )
    return lines
