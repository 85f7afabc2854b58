"""What a review costs and gives, on what `default` finds in procedural recordings: two tables.

    python -m experiments.review [answers|asked] [key=value ...]

The recordings are made and searched once; a second call only reviews.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from experiments.common import hardware, markdown, run_as_command
from experiments.review.answers import ReviewedTable, by_sample, tables, uniform
from experiments.review.asked import ANSWERS, WANTED, got
from experiments.review.detections import detected
from g5.common.errors import UserError
from g5.common.progress import track

SIMULATIONS, SEED, REPEATS = 1000, 0, 10


def answers_table(found: pd.DataFrame) -> str:
    """Answers until precision is known to 5 points."""
    made = track(
        tables(found, SIMULATIONS, SEED), total=SIMULATIONS, label="reviews", unit="tables"
    )
    pairs = [
        (by_sample(logit_N, truth_N, seed), uniform(truth_N, seed))
        for seed, (logit_N, truth_N) in enumerate(made)
    ]
    rows = []
    for name, outcomes in zip(("g5 review", "uniform"), zip(*pairs, strict=True), strict=True):
        needed = np.array([one.answers for one in outcomes])
        rows.append((
            name, f"{needed.mean():.0f}", f"{np.median(needed):.0f}",
            f"{100 * np.mean([one.covered for one in outcomes]):.1f} %",
            f"{100 * np.mean([one.share - one.true for one in outcomes]):+.2f}",
        ))  # fmt: skip
    ratio = np.array([ours.answers / theirs.answers for ours, theirs in pairs])
    head = (
        "answers until ± 5 points",
        "mean",
        "median",
        "interval holds the truth",
        "bias, points",
    )
    low, middle, high = np.percentile(ratio, [10, 50, 90])
    return (
        f"{markdown(head, rows)}\n\nOurs over uniform: {_total(pairs, 0) / _total(pairs, 1):.2f} "
        f"of all answers; by table {middle:.2f} (10-90 %: {low:.2f} to {high:.2f})"
    )


def _total(pairs: Sequence[tuple[ReviewedTable, ReviewedTable]], side: int) -> int:
    return sum(pair[side].answers for pair in pairs)


def asked_table(found: pd.DataFrame) -> str:
    """The precision that a threshold asked for by precision gives elsewhere."""
    results = got(found, REPEATS)
    given = results.dropna(subset=["threshold"])
    inside = given.loc[~given["whole"].astype(bool)]
    each = [share for shares in given["per_recording"] for share in shares]
    rows = [
        (
            name,
            *(f"{x:.2f}" for x in np.nanpercentile(np.asarray(values, float), [50, 10, 90])),
            f"{np.nanmean(np.asarray(values, float)):.2f}",
        )
        for name, values in (
            ("all recordings of a species", given["precision"]), ("per recording", each),
            ("... where not all that is found has it", inside["precision"]),
        )
    ]  # fmt: skip
    what = f"precision got, asked {WANTED:g} after {ANSWERS} answers"
    head = (what, "median", "10 %", "90 %", "mean")
    none, whole = 1 - len(given) / len(results), given["whole"].mean()
    return (
        f"{markdown(head, rows)}\n\nNo threshold gives it: {100 * none:.0f} % of the reviews; all "
        f"that is found has it: {100 * whole:.0f} % of the others"
    )


TABLES: dict[str, Callable[[pd.DataFrame], str]] = {"answers": answers_table, "asked": asked_table}


def main(arguments: Sequence[str]) -> None:
    """Print the table that the first argument names, both where it names none."""
    chosen = [word for word in arguments if "=" not in word]
    if unknown := sorted(set(chosen) - TABLES.keys()):
        raise UserError(f"{unknown[0]}: there is no such table; choose one of {', '.join(TABLES)}")
    candidates = detected([word for word in arguments if "=" in word])
    found = candidates.loc[candidates["score"] >= 0.5]
    print(hardware())
    for name in chosen or TABLES:
        print(f"\n{TABLES[name](found)}", flush=True)


if __name__ == "__main__":
    run_as_command(main)
