"""`g5 label --simulate`: which strategy needs the fewest labels, as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from g5.config.schema import SimulateSettings
from g5.embeddings.vectors import VectorStore
from g5.embeddings.whitening import Whitening
from g5.transfer.label_table import read_labels
from g5.transfer.labelling.simulate import LabelledVectors, curve_table, labels_needed, simulate
from g5.transfer.labels import examples


def compare_strategies(
    path: Path, labels: Path, out: Path | None, settings: SimulateSettings,
    columns: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Play the strategies through with known labels; a table, and a CSV of every run."""
    store = VectorStore.open(path)
    table = read_labels(labels, "single", columns)
    known = examples(store, table, "single", where=str(labels))
    for note in known.notes:
        print(note)
    whiten = Whitening(known.x_ND, settings.components)
    clips = LabelledVectors(whiten(known.x_ND), known.y, known.groups)
    rounds = _rounds(len(clips.labels), settings)
    results: Any = simulate(clips, settings, rounds=rounds)
    # Recordings are held back whole, so that a seed may leave fewer clips than the share says.
    runs = results.groupby("labels").size()
    rounds = [n for n in rounds if runs.get(n, 0) == runs.max()]
    if not rounds:
        raise UserError(
            f"too few clips are left to label; lower simulate.first, now {settings.first}"
        )
    results = results[results["labels"].isin(rounds)]
    print(
        f"{counted(len(clips.labels), 'clip')}, "
        f"{counted(len(set(clips.labels)), 'class', 'classes')}, accuracy on "
        f"held-back recordings, mean of {counted(settings.seeds, 'seed')} [95 % interval]"
    )
    print(curve_text(curve_table(results), rounds))
    if "random" in settings.strategies:
        _print_needed(results, settings.strategies, rounds[-1])
    if out is not None:
        write_csv(results, out)
        print(f"every run in {out}")


def _rounds(clips: int, settings: SimulateSettings) -> list[int]:
    """Numbers of labels at which the strategies are measured."""
    first, step = settings.first, settings.step
    most = int((1 - settings.test_share) * clips)
    rounds = [n for n in range(first, settings.last + 1, step) if n <= most]
    if len(rounds) < 2:
        raise UserError(
            f"{clips} labelled clips are too few for rounds of {first}, {first + step}, ...; "
            "lower first and step"
        )
    return rounds


def _print_needed(results: Any, strategies: Sequence[str], last: int) -> None:
    """How many labels each strategy needs for what random reaches with ``last``."""
    final = results[(results["strategy"] == "random") & (results["labels"] == last)]
    targets = final.set_index("seed")["accuracy"].to_dict()
    print(f"labels that reach random's accuracy at {last}:")
    for name in strategies:
        mean = float(np.mean(list(labels_needed(results, name, targets.__getitem__).values())))
        reach = f"{mean:.0f} ({mean / last:.0%})" if np.isfinite(mean) else "not in all"
        print(f"  {name:<17} {reach}")


def curve_text(curves: Any, rounds: Sequence[int]) -> str:
    """Accuracy by strategy at about six numbers of labels."""
    shown = [rounds[round(i)] for i in _evenly(len(rounds), 6)]
    minutes = curves.set_index("labels")["minutes"].to_dict()
    lines = ["labels (min)".ljust(18) + "".join(f"{n} ({minutes[n]:.0f})".rjust(19) for n in shown)]
    for name, part in curves.groupby("strategy", sort=False):
        at = part.set_index("labels")
        cells = [
            f"{at.accuracy[n]:.1%} [{100 * at.low[n]:.0f}, {100 * at.high[n]:.0f}]" for n in shown
        ]
        lines.append(str(name).ljust(18) + "".join(cell.rjust(19) for cell in cells))
    return "\n".join(lines)


def _evenly(n: int, most: int) -> list[float]:
    if n <= most:
        return [float(i) for i in range(n)]
    return [i * (n - 1) / (most - 1) for i in range(most)]
