"""What was found, to look at and to listen to: a picture per recording, a page per job.

Shapes: W columns of pixels, M mel bands, N points of a curve.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.detection.detector import Detections
from g5.detection.embedding.sound import Sound
from g5.detection.job.diagnose import Diagnosis
from g5.detection.job.manifest import DONE
from g5.detection.support import Target, mel_centres
from g5.web.page import (
    Budget,
    Html,
    bullets,
    card,
    details,
    facts,
    figure,
    grid,
    heading,
    page,
    paragraph,
    sound_tile,
    table,
    write_page,
)
from g5.web.tiles import Mark, audible_slow_down, audio_snippet, spectrogram_tile
from preprocessing.frontend import FrontEnd

COLUMNS = 1600
PAGE_MB = 20.0
# Pictures that a page shows; the others lie beside it.
PICTURES_SHOWN = 20
SHOT_COLOUR, EVENT_COLOUR, TRUTH_COLOUR = "#56b4e9", "#e69f00", "#009e73"


def draw(
    sound: Sound, found: Sequence[Detections], events: pd.DataFrame, front_end: FrontEnd,
    path: Path, truth: pd.DataFrame | None = None,
) -> Path:  # fmt: skip
    """Draw a recording's spectrogram with support, detections, scores and, where known, truth.

    Args:
        sound: the recording.
        found: of every species.
        events: what of it stays, rivals left out: ``start_s, end_s``.
        front_end: whose bands the spectrogram shows.
        path: the PNG.
        truth: ``start_s, end_s`` of the calls that there are.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [
        (SHOT_COLOUR, "support", _shots_in(sound, found)),
        (EVENT_COLOUR, "found", _spans(events)),
    ]
    if truth is not None:
        rows.append((TRUTH_COLOUR, "truth", _spans(truth)))
    ratios = [0.18 * len(rows), 3.0] + [1.0] * len(found)
    canvas = Figure(figsize=(13, 1.4 * sum(ratios)), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(len(ratios), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    _bars(axes[0], sound.duration_s, rows)
    _spectrogram(axes[1], sound, front_end)
    for axis, one in zip(axes[2:], found, strict=True):
        _curve(axis, one)
    axes[-1].set_xlabel("time (s)")
    canvas.suptitle(sound.path.name, fontsize=10, parse_math=False)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # Names are in all the world's scripts; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph")
        canvas.savefig(temporary, dpi=110)
    return path


def _spectrogram(axis, sound: Sound, front_end: FrontEnd) -> None:
    edges = np.linspace(0, sound.n_frames, min(COLUMNS, sound.n_frames) + 1).astype(int)
    columns = [sound.features_TM[a : max(b, a + 1)].amax(dim=0).numpy() for a, b in pairwise(edges)]
    image_MW = np.stack(columns, axis=1).astype(np.float32)
    low, high = np.percentile(image_MW, [20, 99.8])
    axis.imshow(
        image_MW, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high,
        extent=(0, sound.duration_s, 0, len(image_MW)), interpolation="nearest",
    )  # fmt: skip
    centre_M = mel_centres(front_end) * sound.slow / 1000
    ticks = np.linspace(0, len(centre_M) - 1, 6).round().astype(int)
    axis.set_yticks(ticks + 0.5, [f"{centre_M[t]:.2g}" for t in ticks])
    axis.set_ylabel("kHz")


def _bars(axis, duration_s: float, rows: Sequence[tuple[str, str, np.ndarray]]) -> None:
    """A row of bars each, from the top, at least so wide that they are seen."""
    least = 0.001 * duration_s
    for height, (colour, _, spans_E2) in enumerate(reversed(rows)):
        bars = [(a, max(b - a, least)) for a, b in spans_E2]
        axis.broken_barh(bars, (height + 0.15, 0.7), facecolors=colour)
    names = [f"{name} ({len(spans_E2)})" for _, name, spans_E2 in reversed(rows)]
    axis.set_yticks(np.arange(len(rows)) + 0.5, names, fontsize=8)
    axis.set_ylim(0, len(rows))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _spans(events: pd.DataFrame) -> np.ndarray:
    return events[["start_s", "end_s"]].to_numpy(float).reshape(-1, 2)


def _shots_in(sound: Sound, found: Sequence[Detections]) -> np.ndarray:
    spans = [
        (shot.start_s, shot.end_s)
        for one in found
        for shot in one.target.shots
        if shot.sound.key == sound.key
    ]
    return np.array(spans, dtype=float).reshape(-1, 2)


def _curve(axis, one: Detections) -> None:
    probability_N = one.calibration.probability(one.curve.score_N)
    time_N = one.curve.time_N
    step = max(1, len(time_N) // (2 * COLUMNS))
    starts = np.arange(0, len(time_N), step)
    axis.fill_between(
        time_N[starts], np.maximum.reduceat(probability_N, starts), color="#777777", linewidth=0
    )
    axis.axhline(0.5, color=EVENT_COLOUR, linewidth=1)
    axis.set_ylim(0, 1)
    axis.set_ylabel(one.target.label[:24], fontsize=8, parse_math=False)


@dataclass(frozen=True)
class DetectionPage:
    """What a job's page is made of.

    Attributes:
        title: of the page.
        events: of all recordings: ``file, start_s, end_s, label, score, distance, nearest``.
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

    def write(self, path: Path) -> Path:
        """Write the page."""
        budget, status = Budget(PAGE_MB), self.manifest["status"]
        parts: list[str] = [
            facts({
                "events": f"{len(self.events):,}",
                "species": str(len(self.targets)),
                "recordings": f"{(status == DONE).sum()} of {len(status)}",
                "hours": f"{self.manifest['duration_s'].sum() / 3600:.2f}",
            })
        ]  # fmt: skip
        if self.notes:
            parts += [heading("Notes"), bullets(self.notes)]
        for target in self.targets:
            parts += self._of_species(target, budget)
        parts += self._recordings(budget)
        return write_page(path, page(self.title, *parts))

    def _of_species(self, target: Target, budget: Budget) -> list[Html]:
        events = self.events.loc[self.events["label"] == target.label]
        count = f"{len(events):,} event{'' if len(events) == 1 else 's'}"
        parts = [heading(f"{target.label}: {count}"), heading("Support", 3)]
        shots = [
            _card(shot.sound.path, shot.start_s, shot.end_s, shot.low_hz, shot.high_hz,
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
        shown = (
            ranked.head(1000)
            .loc[:, columns]
            .assign(file=[Path(file).name for file in ranked["file"].head(1000)])
        )
        formats = {"start_s": ".3f", "end_s": ".3f", "score": ".2f"}
        parts.append(details(f"The first {len(shown):,} events by score", table(shown, formats)))
        return parts

    def _recordings(self, budget: Budget) -> list[Html]:
        parts = [heading("Recordings")]
        for path in self.pictures[:PICTURES_SHOWN]:
            png = path.read_bytes()
            if budget.take(png):
                parts.append(figure(png, path.stem))
        more = len(self.pictures) - PICTURES_SHOWN
        if more > 0:
            parts.append(paragraph(f"The pictures of {more} more lie beside this page.", "soft"))
        parts.append(details("Every file", table(self.manifest, {"duration_s": ".1f"})))
        return parts


def _event_card(row: dict, target: Target, budget: Budget) -> Html | None:
    file = Path(row["file"])
    caption = f"{row['score']:.2f}: {row['start_s']:.2f} s of {file.name}"
    low, high = row.get("low_hz", np.nan), row.get("high_hz", np.nan)
    return _card(file, row["start_s"], row["end_s"], low, high, caption, budget)


def _card(
    path: Path, start_s: float, end_s: float, low_hz: float, high_hz: float, caption: str,
    budget: Budget,
) -> Html | None:  # fmt: skip
    """A tile with its sound; None where the page has no room, or the sound cannot be read."""
    margin = max(0.15, 0.75 * (end_s - start_s))
    bounds = [None if np.isnan(hz) else float(hz) for hz in (low_hz, high_hz)]
    try:
        png = spectrogram_tile(
            path, start_s - margin, end_s + margin,
            marks=[Mark(start_s, end_s, bounds[0], bounds[1])],
        )  # fmt: skip
        slow = float(audible_slow_down(bounds[1] or 0.0))
        sound = audio_snippet(path, start_s - margin, end_s + margin, slow_down=slow)
    except UserError as error:
        return card(paragraph(f"{caption} ({error})", "soft"))
    if not budget.take(png, sound):
        return None
    return card(sound_tile(png, caption, sound))
