"""Pictures of recordings: spectrogram, support, what was found, scores and, where known, truth.

Shapes: W columns of pixels, N points of a curve, M mel bands, E spans.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from g5.detection.detector import Detections
from g5.detection.embedding.sound import Sound
from g5.detection.support import mel_centres
from g5.evaluation.figures.style import save
from g5.web.axis import round_numbers
from preprocessing.frontend import FrontEnd

COLUMNS = 1600
DPI = 110
SHOT_COLOUR, TRUTH_COLOUR = "#56b4e9", "#009e73"
# Of species, in turns.
EVENT_COLOURS = ("#e69f00", "#cc79a7", "#0072b2", "#d55e00", "#000000")


def draw(
    sound: Sound, found: Sequence[Detections], events: pd.DataFrame, front_end: FrontEnd,
    path: Path, truth: pd.DataFrame | None = None,
) -> Path:  # fmt: skip
    """Draw a recording's spectrogram with support, detections, scores and, where known, truth.

    Args:
        sound: the recording.
        found: of every species.
        events: what of it stays, rivals left out: ``start_s, end_s, label, score, peak_s``, and
            ``support`` where it is one of the shots.
        front_end: whose bands the spectrogram shows.
        path: the PNG.
        truth: ``start_s, end_s`` of the calls that there are.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shots_E2 = _shots_in(sound, found)
    new = events.loc[~events["support"].astype(bool)]
    rows = [(SHOT_COLOUR, "support", shots_E2)]
    of_species = []
    for number, one in enumerate(found):
        colour = EVENT_COLOURS[number % len(EVENT_COLOURS)]
        own = new.loc[new["label"] == one.target.label]
        of_species.append((one, own, colour))
        name = f"found: {one.target.label[:20]}" if len(found) > 1 else "found"
        rows.append((colour, name, _spans(own)))
    if truth is not None:
        rows.append((TRUTH_COLOUR, "truth", _spans(truth)))
    ratios = [0.18 * len(rows), 3.0] + [1.0] * len(found)
    canvas = Figure(figsize=(13, 1.4 * sum(ratios)), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(len(ratios), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    _bars(axes[0], sound.duration_s, rows)
    _spectrogram(axes[1], sound, front_end)
    _marks(axes[1], shots_E2)
    for axis, (one, own, colour) in zip(axes[2:], of_species, strict=True):
        _curve(axis, one, own, colour)
        _marks(axis, _shots_in(sound, [one]))
    axes[-1].set_xlabel("time (s)")
    canvas.suptitle(sound.path.name, fontsize=10, parse_math=False)
    save(canvas, path, DPI)
    return path


def _spectrogram(axis, sound: Sound, front_end: FrontEnd) -> None:
    edges = np.linspace(0, sound.n_frames, min(COLUMNS, sound.n_frames) + 1).astype(int)
    columns = [sound.first_TM[a : max(b, a + 1)].amax(dim=0).numpy() for a, b in pairwise(edges)]
    image_MW = np.stack(columns, axis=1).astype(np.float32)
    low, high = np.percentile(image_MW, [20, 99.8])
    axis.imshow(
        image_MW, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high,
        extent=(0, sound.duration_s, 0, len(image_MW)), interpolation="nearest",
    )  # fmt: skip
    centre_M = mel_centres(front_end) * sound.slow / 1000
    ticks = [khz for khz in round_numbers(0, centre_M[-1]) if khz >= centre_M[0]]
    places = np.interp(ticks, centre_M, np.arange(len(centre_M)) + 0.5)
    apart = np.diff(places, prepend=-np.inf) > 0.05 * len(centre_M)
    axis.set_yticks(places[apart], [f"{khz:g}" for khz in np.array(ticks)[apart]])
    axis.set_ylabel("kHz")


def _marks(axis, shots_E2: np.ndarray) -> None:
    """A triangle at the top for each shot."""
    if not len(shots_E2):  # what is empty and not clipped leaves no room for the rest
        return
    top = np.full(len(shots_E2), axis.get_ylim()[1])
    axis.plot(shots_E2.mean(1), top, "v", color=SHOT_COLOUR, markersize=6, clip_on=False, zorder=3)


def _bars(axis, duration_s: float, rows: Sequence[tuple[str, str, np.ndarray]]) -> None:
    """A row of bars each, from the top, at least so wide that they are seen."""
    least = 0.001 * duration_s
    for height, (colour, _, spans_E2) in enumerate(reversed(rows)):
        bars = [(a, max(b - a, least)) for a, b in spans_E2]
        axis.broken_barh(bars, (height + 0.15, 0.7), facecolors=colour)
    names = [f"{name} ({len(spans_E2)})" for _, name, spans_E2 in reversed(rows)]
    axis.set_yticks(np.arange(len(rows)) + 0.5, names, fontsize=8, parse_math=False)
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


def _curve(axis, one: Detections, events: pd.DataFrame, colour: str) -> None:
    """How sure it is at every moment, from which on that is an event, and the events' scores."""
    probability_N = one.calibration.probability(one.curve.score_N)
    time_N = one.curve.time_N
    step = max(1, len(time_N) // (2 * COLUMNS))
    starts = np.arange(0, len(time_N), step)
    axis.fill_between(
        time_N[starts], np.maximum.reduceat(probability_N, starts), color="#999999", linewidth=0
    )
    axis.axhline(float(expit(one.calibration.least)), color=colour, linewidth=1)
    axis.plot(events["peak_s"], events["score"], "o", color=colour, markersize=3.5)
    axis.set_ylim(0, 1.03)
    axis.set_ylabel(f"score: {one.target.label[:24]}", fontsize=8, parse_math=False)
