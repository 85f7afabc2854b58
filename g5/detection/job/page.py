"""The page of a run: its species, their support, most and least certain events, recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.words import counted, length
from g5.detection.job.diagnose import Diagnosis
from g5.detection.job.manifest import DONE
from g5.detection.support import Target
from g5.evaluation.events.ground_truth import LEDGER
from g5.web.axis import FrequencyAxis
from g5.web.page import (
    ROWS,
    Budget,
    Html,
    bullets,
    card,
    details,
    facts,
    figure,
    grid,
    heading,
    long_table,
    page,
    paragraph,
    sound_tile,
    table,
    write_page,
)
from g5.web.tiles import Mark, audible_slow_down, audio_snippet, spectrogram_tile
from preprocessing.audio import info
from preprocessing.audio_rules import AudioRules


@dataclass(frozen=True)
class DetectionPage:
    """What a job's page is made of.

    Attributes:
        title: of the page.
        events: of all recordings: ``file, start_s, end_s, label, score, distance, nearest,
            support``.
        manifest: what became of every file.
        targets: the species and their shots.
        diagnoses: of the support, by species.
        notes: what else the user was told.
        pictures: of the recordings.
        snippets: most and least certain events of each species, so many of each.
    """

    title: str
    events: pd.DataFrame
    manifest: pd.DataFrame
    targets: Sequence[Target]
    diagnoses: dict[str, Diagnosis]
    notes: Sequence[str]
    pictures: Sequence[Path]
    snippets: int

    @property
    def _found(self) -> pd.DataFrame:
        """What the user has not marked herself."""
        return self.events.loc[~self.events["support"].astype(bool)]

    def write(self, path: Path) -> Path:
        """Write the page."""
        budget, status = Budget(), self.manifest["status"]
        parts: list[str] = [
            facts({
                "events": f"{len(self._found):,}",
                "species": str(len(self.targets)),
                "recordings": f"{(status == DONE).sum()} of {len(status)}",
                "of sound": length(float(self.manifest["duration_s"].to_numpy().sum())),
            })
        ]  # fmt: skip
        if self.notes:
            parts += [heading("Notes"), bullets(self.notes)]
        parts += self._timelines(budget)
        for number, target in enumerate(self.targets):
            part = budget.part(len(self.targets) - number)
            parts += self._of_species(target, part)
            budget.left += part.left
        files = long_table(self.manifest, LEDGER, {"duration_s": ".1f"})
        parts.append(details("Every file", files))
        return write_page(path, page(self.title, *parts))

    def _of_species(self, target: Target, budget: Budget) -> list[Html]:
        events = self._found.loc[self._found["label"] == target.label]
        parts = [heading(f"{target.label}: {counted(len(events), 'event')}{self._rate(events)}")]
        parts.append(heading("Support", 3))
        shots = [
            _card(shot.sound.path, shot.sound.rules, (shot.start_s, shot.end_s),
                  (shot.low_hz, shot.high_hz),
                  f"{shot.start_s:.2f} s of {shot.sound.path.name}", budget)
            for shot in target.shots[:20]
        ]  # fmt: skip
        parts.append(grid(*filter(None, shots)))
        diagnosis = self.diagnoses.get(target.label)
        if diagnosis is not None and diagnosis.left_out:
            frame = pd.DataFrame(
                diagnosis.left_out,
                columns=["shot", "score by what the others say", "threshold without it"],
            )
            parts.append(details("What leaving each shot out would do", table(frame)))
        if events.empty:
            parts.append(paragraph("Nothing was found.", "soft"))
            return parts
        ranked = events.sort_values("score", ascending=False, kind="stable")
        groups = {"Most certain": ranked.head(self.snippets)}
        rest = ranked.iloc[self.snippets :]
        if len(rest):
            groups["Least certain"] = rest.tail(self.snippets).iloc[::-1]
        for name, rows in groups.items():
            cards = [_event_card(row, target, budget) for row in rows.to_dict("records")]
            parts += [heading(name, 3), grid(*filter(None, cards))]
        columns = ["file", "start_s", "end_s", "score", "distance", "nearest"]
        first = ranked.head(ROWS // len(self.targets))
        shown = first.loc[:, columns].assign(file=[Path(file).name for file in first["file"]])
        formats = {"start_s": ".3f", "end_s": ".3f", "score": ".2f"}
        parts.append(
            details(f"The first {counted(len(shown), 'event')} by score", table(shown, formats))
        )
        return parts

    def _rate(self, events: pd.DataFrame) -> str:
        """How often in the sound that was searched."""
        minutes = float(self.manifest["duration_s"].to_numpy().sum()) / 60
        return f", {len(events) / minutes:.2g} a minute" if minutes else ""

    def _timelines(self, budget: Budget) -> list[Html]:
        """The first pictures; half of the page is kept for support and events."""
        parts, half = [heading("Recordings")], budget.part(2)
        for number, path in enumerate(self.pictures):
            png = path.read_bytes()
            if not half.take(png):
                more = len(self.pictures) - number
                told = f"The pictures of {counted(more, 'recording')} more lie beside this page."
                parts.append(paragraph(told, "soft"))
                break
            parts.append(figure(png, path.stem.rpartition(".")[0] or path.stem))
        budget.left += half.left
        return parts


def _event_card(row: dict, target: Target, budget: Budget) -> Html | None:
    file = Path(row["file"])
    caption = f"{row['score']:.2f}: {row['start_s']:.2f} s of {file.name}"
    band_hz = row.get("low_hz", np.nan), row.get("high_hz", np.nan)
    rules = target.shots[0].sound.rules
    return _card(file, rules, (row["start_s"], row["end_s"]), band_hz, caption, budget)


def _card(
    path: Path, rules: AudioRules, span_s: tuple[float, float], band_hz: tuple[float, float],
    caption: str, budget: Budget,
) -> Html | None:  # fmt: skip
    """A tile with its sound; None where the page has no room, or the sound cannot be read."""
    start_s, end_s = span_s
    margin = max(0.15, 0.75 * (end_s - start_s))
    bounds = [None if np.isnan(hz) else float(hz) for hz in band_hz]
    try:
        rate_hz = info(path).rate_hz
        png = spectrogram_tile(
            path, rules, start_s - margin, end_s + margin, bent=True,
            marks=[Mark(start_s, end_s, bounds[0], bounds[1])],
        )  # fmt: skip
        slow = float(audible_slow_down(bounds[1] or 0.0))
        sound = audio_snippet(path, rules, start_s - margin, end_s + margin, slow_down=slow)
    except UserError as error:
        return card(paragraph(f"{caption} ({error})", "soft"))
    if not budget.take(png, sound):
        return None
    seconds = end_s - start_s + 2 * margin
    axis = FrequencyAxis(0.0, rate_hz / 2, bent=True)
    return card(sound_tile(png, caption, sound, (axis, seconds)))
