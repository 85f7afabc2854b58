"""How many labels active learning saves on FSDD, and who is speaking: equal error rates.

    python -m experiments.transfer.active path.real_dir=DIR [encoder=CKPT] [key=value ...]

What is looked at FSDD with, the embedding and the strategy, is chosen on procedural individuals
first, by the fewest labels; then FSDD is looked at once. See README.md beside this file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.common import markdown, note_look, percent_ends_cell, real_dir, run_as_command
from experiments.transfer.encoders import (
    EmbeddedSet,
    embedded_set,
    encoders_of,
    side_by_side,
    split,
)
from experiments.v2_vs_v1.worlds import settings_of_training, voices, write
from g5.config.schema import SimulateSettings
from g5.config.settings import load, load_transfer
from g5.embeddings.whitening import Whitening, unit_vectors
from g5.transfer.explore.verification import Pairs, verification, verification_pairs
from g5.transfer.labelling.comparison import curve_text
from g5.transfer.labelling.simulate import (
    LabelledVectors,
    curve_table,
    labels_needed,
    seed_interval,
    simulate,
)

ROUNDS = range(60, 601, 30)
# Two sets as large as FSDD: 60 individuals with some 50 calls each, of species no training has.
INDIVIDUALS = {
    "test_species": 30, "recordings_per_species": 2, "species_per_recording": 10,
    "calls_per_recording": 50, "recording_s": 600.0,
}  # fmt: skip
SEEDS = (777, 778)
CHOOSING_SEEDS = 2
PAIRS = 5000


def main(arguments: Sequence[str]) -> None:
    """Choose on procedural individuals, print FSDD's curve and shares, and error rates."""
    settings = load(split(arguments)[1])
    folder, place = real_dir(settings) / "fsdd", settings.path.root / "outputs" / "transfer"
    kinds = {name: found[0] for name, found in encoders_of(arguments).items()}
    encoder = "v2" if "v2" in kinds else "given"
    asked = ((encoder,), (encoder, "raw", "handcrafted"))
    settings = load_transfer(reads=()).simulate
    worlds = [
        {name: embedded_set(kinds[name], world, place) for name in asked[1]}
        for world in made(place)
    ]
    names, strategy = chosen(worlds, asked, settings)
    note_look(place / "looks.csv", what=f"{' + '.join(names)}, {strategy}")
    sets = {name: embedded_set(one, folder, place) for name, one in kinds.items()}
    print(f"\nFSDD, {' + '.join(names)}, {strategy}")
    results = played(sets, names, [strategy], settings, settings.seeds)
    print(curve_text(curve_table(results), list(ROUNDS)))
    print(f"labels that reach random's accuracy at {ROUNDS[-1]}, {settings.seeds} seeds")
    for name in ("random", strategy):
        share = seed_interval(shares(results, name))
        print(f"  {name:<17} {share.mean * ROUNDS[-1]:5.0f} = {percent_ends_cell(share)}")
    speakers({**sets, "side by side": None}, asked[1], settings.components)


def made(place: Path) -> list[Path]:
    """The sets of procedural individuals, made where they are missing."""
    folders = []
    for seed in SEEDS:
        folders.append(place / f"individuals-{seed}")
        if not (folders[-1] / "clips.csv").is_file():
            settings = replace(settings_of_training(), seed=seed, **INDIVIDUALS)
            write(folders[-1] / "clips.csv", voices(settings), settings)
    return folders


def chosen(
    worlds: Sequence[Mapping[str, EmbeddedSet]],
    asked: Sequence[tuple[str, ...]],
    settings: SimulateSettings,
) -> tuple[tuple[str, ...], str]:
    """The encoders and the strategy that need the smallest share of labels; prints all."""
    strategies = [name for name in settings.strategies if name != "random"]
    print(f"procedural individuals, share of {ROUNDS[-1]} labels, {CHOOSING_SEEDS} seeds each")
    print(f"{'':<25}" + "".join(name.rjust(17) for name in strategies))
    needed: dict[tuple[tuple[str, ...], str], float] = {}
    for names in asked:
        for sets in worlds:
            results = played(sets, names, strategies, settings, CHOOSING_SEEDS)
            for name in strategies:
                part = float(shares(results, name).mean()) / len(worlds)
                needed[names, name] = needed.get((names, name), 0.0) + part
        cells = "".join(f"{needed[names, name]:17.1%}" for name in strategies)
        print(f"{' + '.join(names):<25}{cells}", flush=True)
    return min(needed, key=lambda key: needed[key])


def played(
    sets: Mapping[str, EmbeddedSet], names: Sequence[str], strategies: Sequence[str],
    settings: SimulateSettings, seeds: int,
) -> pd.DataFrame:  # fmt: skip
    """Random and the strategies from 60 to 600 labels."""
    table = sets[names[0]].table
    files = table["file"].to_numpy().astype(str)
    z_ND = side_by_side(sets, names, settings.components)
    return simulate(
        LabelledVectors(z_ND, table["label"].to_numpy().astype(str), files),
        replace(settings, strategies=["random", *strategies], seeds=seeds),
        rounds=list(ROUNDS),
    )  # fmt: skip


def shares(results: pd.DataFrame, strategy: str) -> np.ndarray:
    """Of each seed, the share of labels that reaches random's accuracy with all; 1 where never."""
    last = results[(results["strategy"] == "random") & (results["labels"] == ROUNDS[-1])]
    aims = last.set_index("seed")["accuracy"].to_dict()
    needed = np.array(list(labels_needed(results, strategy, aims.__getitem__).values()))
    return np.minimum(needed / ROUNDS[-1], 1.0)


def speakers(
    sets: Mapping[str, EmbeddedSet | None], together: Sequence[str], components: int
) -> None:
    """Equal error rates of pairs of one speaker against pairs of two."""
    known = {name: one for name, one in sets.items() if one is not None}
    table = next(iter(known.values())).table
    both = (verification_pairs(
        table["speaker"].tolist(), n=PAIRS, seed=0, sources=table["file"].tolist()
    ), same_digit(table))  # fmt: skip
    print(f"\nspeaker verification, {PAIRS:,} + {PAIRS:,} pairs, equal error rate (chance 50 %)\n")
    rows = []
    for name, one in sets.items():
        if one is None:
            white = side_by_side(known, together, components)
            plain = white
        else:
            white = Whitening(one.examples.x_ND, components)(one.examples.x_ND)
            plain = unit_vectors(one.examples.x_ND)
        rates = [verification(z, pairs, seed=0) for pairs in both for z in (plain, white)]
        rows.append([name, *map(percent_ends_cell, rates)])
    print(markdown(["embedding", "any digits", "whitened", "one digit", "whitened"], rows))


def same_digit(table: pd.DataFrame) -> Pairs:
    """As many pairs, but both recordings of a pair say the same digit."""
    digits = table["digit"].to_numpy()
    parts = []
    for number, digit in enumerate(np.unique(digits)):
        rows = np.flatnonzero(digits == digit)
        names = table["speaker"].iloc[rows].tolist()
        pairs = verification_pairs(names, n=PAIRS // len(np.unique(digits)), seed=number)
        parts.append((rows[pairs.first_P], rows[pairs.second_P], pairs.same_P))
    return Pairs(*(np.concatenate(part) for part in zip(*parts, strict=True)))


if __name__ == "__main__":
    run_as_command(main)
