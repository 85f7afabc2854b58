"""`g5 verify`: how well the embeddings of a store tell individuals apart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.atomic import write_json
from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from g5.config.schema import VerifySettings
from g5.embeddings.vectors import VectorStore
from g5.embeddings.whitening import Whitening, unit_vectors
from g5.transfer.explore.clips import beside
from g5.transfer.explore.verification import (
    Pairs,
    equal_error_rate,
    error_rate,
    similarities,
    verification_pairs,
)
from g5.transfer.label_table import read_labels
from g5.transfer.labels import examples

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Fewer individuals with pairs of their own, drawn again, are the same few in every resample.
FEWEST = 5


def verify(
    path: Path, labels: Path, out: Path | None, json_path: Path | None, settings: VerifySettings,
    columns: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Print equal error rate, threshold and the distribution of similarities; a CSV of the pairs.

    Raises:
        UserError: there are no two individuals, or none has two clips.
    """
    store = VectorStore.open(path)
    table = read_labels(labels, "individual", columns)
    named: Any = table[table["label"] != ""]
    if not len(named):
        raise UserError(f"{labels}: no row names an individual")
    found = examples(store, named, "single", where=str(labels))
    for note in found.notes:
        print(note)
    if len(named) < len(table):
        rows = counted(len(table) - len(named), "row")
        print(f"{labels}: {rows} without an individual left out")
    # A recording has one name, however the table spells it.
    clips = named.loc[found.rows].reset_index(drop=True).assign(file=found.files)
    number_N = clips.groupby(["file", "start_s", "end_s"], dropna=False).ngroup().tolist()
    who = (clips["kind"] + "\n" + clips["label"]).tolist()
    apart, sources = _apart(who, found.groups.tolist(), found.files.tolist(), number_N)
    try:
        pairs = verification_pairs(
            clips["label"].tolist(), n=settings.pairs, seed=settings.seed, sources=sources,
            kinds=clips["kind"].tolist(),
        )  # fmt: skip
    except UserError as error:
        raise UserError(f"{labels}: {error}") from error
    components = settings.components
    z_ND = Whitening(found.x_ND, components)(found.x_ND) if components else unit_vectors(found.x_ND)
    score_P = similarities(z_ND, pairs)
    _print(clips, who, sources, apart)
    rates = _rates(score_P, pairs, who, seed=settings.seed, resamples=settings.resamples)
    out = out or beside(store, "verify.csv")
    write_csv(_pair_table(clips, pairs, score_P), out, float_format="%.6g")
    print(f"pairs  {out}")
    if json_path is not None:
        facts: dict[str, Any] = {
            "encoder": store.facts.encoder, "labels": str(labels), "clips": len(clips),
            "individuals": len(set(who)), "apart": apart or None, **asdict(settings), **rates,
        }  # fmt: skip
        print(f"rates  {write_json(json_path, facts)}")


def _rates(
    score_P: np.ndarray, pairs: Pairs, who: Sequence[str], *, seed: int, resamples: int
) -> dict[str, Any]:
    """Print the equal error rate and how alike pairs are; the same for scripts."""
    rate = error_rate(score_P, pairs, seed=seed, resamples=resamples, individuals=who)
    threshold = equal_error_rate(score_P, pairs.same_P)[1]
    quantiles = _quantiles(score_P, pairs.same_P)
    paired = len({who[row] for row in pairs.first_P[pairs.same_P]})
    few = paired < FEWEST
    within = "" if few else f" [{rate.low:.1%}, {rate.high:.1%}]"
    print(
        f"\nequal error rate {rate.mean:.1%}{within} (chance 50 %), at a similarity of "
        f"{threshold:.3f}\n\nsimilarity of {pairs.same_P.sum():,} pairs of one individual and as "
        f"many of two\n{quantiles.to_string(float_format=lambda x: f'{x:.3f}')}\n"
    )
    if few:
        print(
            f"note: no interval, which takes {FEWEST} individuals with pairs of their own "
            f"(here {paired})"
        )
    print("note: the threshold is of these very pairs; on other recordings errors will be more")
    return {
        "equal_error_rate": rate.mean, "low": None if few else rate.low,
        "high": None if few else rate.high, "threshold": threshold,
        "similarity": {
            "one": quantiles.iloc[0].tolist(), "two": quantiles.iloc[1].tolist(),
            "quantiles": list(QUANTILES),
        },
    }  # fmt: skip


def _apart(
    who: Sequence[str], groups: Sequence[str], files: Sequence[str], clips: Sequence[int]
) -> tuple[str, Sequence[str]]:
    """What both clips of a pair differ in, and that of each: sources, else recordings, else ""
    and the clips themselves, which a table may hold twice.

    Sources may be sites where each individual stays at its own: then most would have no pair.
    """
    several = _in_several(who, clips)
    for name, where in (("sources", groups), ("recordings", files)):
        if 0 < several <= 2 * _in_several(who, where):
            return name, where
    return "", [str(clip) for clip in clips]


def _in_several(who: Sequence[str], where: Sequence[Any]) -> int:
    """How many individuals are in more than one place."""
    places: dict[str, set[Any]] = {}
    for name, place in zip(who, where, strict=True):
        places.setdefault(name, set()).add(place)
    return sum(len(found) > 1 for found in places.values())


def _print(clips: pd.DataFrame, who: Sequence[str], sources: Sequence[str], apart: str) -> None:
    """What is compared, and what to be wary of."""
    kinds = len(set(clips["kind"]))
    within = f" of {kinds} labels, pairs are of one label" if kinds > 1 else ""
    print(f"{counted(len(clips), 'clip')} of {counted(len(set(who)), 'individual')}{within}")
    if not apart:
        print(
            "note: no individual has clips in two recordings: those of a pair share theirs, and "
            "its channel and noise may be all that is recognised"
        )
        return
    print(f"both clips of a pair are from different {apart}")
    once = len(set(who)) - _in_several(who, sources)
    if once:
        print(
            f"note: {once} individuals are in one of the {apart} only, and in pairs of two "
            "individuals alone"
        )


def _quantiles(score_P: np.ndarray, same_P: np.ndarray) -> pd.DataFrame:
    rows = [np.quantile(score_P[mine], QUANTILES) for mine in (same_P, ~same_P)]
    names = [f"{q:.0%}" if q != 0.5 else "median" for q in QUANTILES]
    return pd.DataFrame(rows, index=["one individual", "two"], columns=names)


def _pair_table(clips: pd.DataFrame, pairs: Pairs, score_P: np.ndarray) -> pd.DataFrame:
    """A row for each pair, the most alike first."""
    columns: dict[str, Any] = {}
    for side, rows in (("first", pairs.first_P), ("second", pairs.second_P)):
        part = clips.iloc[rows]
        columns[f"{side}_individual"] = part["label"].to_numpy()
        for name in ("file", "start_s", "end_s"):
            columns[f"{side}_{name}"] = part[name].to_numpy()
    if any(clips["kind"]):
        columns["label"] = clips["kind"].to_numpy()[pairs.first_P]
    columns |= {"same": pairs.same_P, "similarity": score_P}
    return pd.DataFrame(columns).sort_values("similarity", ascending=False, kind="stable")
