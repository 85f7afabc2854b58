"""Is v2 better than v1 on real sound? One command per table; what is done is not done again.

    python -m experiments.v2_vs_v1 TABLE path.real_dir=DIR [key=value ...]

TABLE is one of main (the default), course, ablation, generator, candidates, sizes; README.md beside
this file says what each is. Only main and generator need real recordings.
"""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from archs.protonet import ProtoNet
from experiments import run_as_command
from experiments.v2_vs_v1.ablation import (
    ABLATION,
    CANDIDATES,
    EPOCHS,
    FEW_EPOCHS,
    FULL,
    GENERATOR,
    LONGER,
    PREFIX,
    SIZES,
)
from experiments.v2_vs_v1.easy import easyfsl_v1
from experiments.v2_vs_v1.runs import SEEDS, V1, V1_LONG, V2, Recipe, Run, trained
from experiments.v2_vs_v1.sets import ABLATION_SETS, AT_TEST, PROCEDURAL, REAL, Scores, TestSet
from experiments.v2_vs_v1.tables import (
    Difference,
    Row,
    accuracy_table,
    difference,
    difference_table,
    gap_table,
    percent,
)
from experiments.v2_vs_v1.worlds import make_worlds
from g5.common.errors import UserError
from g5.config.build import build
from g5.config.compose import composed, resolve
from g5.config.node import Node
from g5.config.parts import root_of
from g5.evaluation.history import read_history
from g5.tracking.restore import Restored, restore
from g5.training.setup import prepare_torch

ENVIRONMENT = "G5_REAL_DATA"
COURSE = (3, 6, 9, 12)  # epochs whose checkpoints are looked at


@dataclass(frozen=True)
class Bench:
    """What all tables work with.

    Attributes:
        arguments: overrides of the command line, for every training.
        config: of the experiment.
        scores: answers, kept.
    """

    arguments: Sequence[str]
    config: dict[str, Any]
    scores: Scores

    def trained(self, recipe: Recipe, seed: int) -> Run:
        return trained(recipe, seed, self.arguments)

    def row(self, models: Mapping[str, Restored], sets: Sequence[TestSet]) -> dict[str, Row]:
        """A model's answers on every set; ``models`` has one per training seed, by run name."""
        return {
            s.key: Row([self.scores.of(name, model, s) for name, model in models.items()])
            for s in sets
        }


def bench(arguments: Sequence[str], *, real: bool) -> Bench:
    """Find the real sets (if needed) and make the procedural ones."""
    config = resolve(composed(["experiment=v2_vs_v1", *arguments]))
    home = real_dir(config) if real else None
    folder = root_of(config) / "outputs" / config["name"]
    worlds = folder / "worlds"
    make_worlds(worlds)
    return Bench(arguments, config, Scores(folder, {True: home, False: worlds}))


def real_dir(config: Mapping[str, Any]) -> Path:
    """Where the real recordings lie: `path.real_dir`, else the environment's."""
    given = config["path"]["real_dir"] or os.environ.get(ENVIRONMENT)
    if not given:
        raise UserError(
            f"path.real_dir: say where ESC-10 and FSDD lie, or set {ENVIRONMENT}; "
            "experiments/real_clips/README.md says where to get them"
        )
    missing = sorted({s.table for s in REAL if not (Path(given) / s.table).is_file()})
    if missing:
        raise UserError(f"path.real_dir={given}: has no {' and no '.join(missing)}")
    return Path(given)


def untrained(restored: Restored, seed: int) -> Restored:
    """The same model as it was before training."""
    prepare_torch({**restored.config, "seed": seed})
    model = build(Node.of(restored.config["arch"]["model"]), expect=ProtoNet, where="arch.model")
    return replace(restored, model=model.eval())


def euclidean(restored: Restored) -> Restored:
    """The same encoder, compared without the learned correction."""
    node = {**restored.config["arch"]["model"], "distance": "euclidean"}
    model = build(Node.of(node), expect=ProtoNet, where="arch.model")
    own = model.state_dict()
    model.load_state_dict({k: v for k, v in restored.model.state_dict().items() if k in own})
    return replace(restored, model=model.eval())


# --- tables -------------------------------------------------------------------------------------


def main_table(arguments: Sequence[str]) -> str:
    """Real sounds: raw features, untrained and trained models, and their paired differences."""
    work = bench(arguments, real=True)
    recipes = (V1, V1_LONG, V2)
    runs = {recipe: [work.trained(recipe, seed) for seed in SEEDS] for recipe in recipes}
    v1, v1_long, v2 = (
        {f"{r.name}_seed{s}": restore(run.best) for s, run in zip(SEEDS, runs[r], strict=True)}
        for r in recipes
    )
    seed = SEEDS[0]
    first_v1, first_v2 = v1[f"v1_seed{seed}"], v2[f"v2_seed{seed}"]
    models = {
        "untrained v1": {"v1_untrained": untrained(first_v1, seed)},
        "untrained v2": {"v2_untrained": untrained(first_v2, seed)},
        "easyfsl's ProtoNet, v1's encoder": {
            f"easyfsl_seed{seed}": easyfsl_v1(seed, arguments, first_v1)
        },
        V1.says: v1,
        V1_LONG.says: v1_long,
        "v2 without its learned correction": {
            f"{n}_euclidean": euclidean(m) for n, m in v2.items()
        },
        V2.says: v2,
        LONGER[0].says: {
            f"{LONGER[0].name}_seed{seed}": restore(work.trained(LONGER[0], seed).best)
        },
    }
    rows = {name: work.row(of_seeds, REAL) for name, of_seeds in models.items()}
    minutes = "; ".join(
        f"{recipe.says} {', '.join(f'{run.cpu_min:.1f}' for run in runs[recipe])}"
        for recipe in recipes
    )
    notes = f"CPU minutes of each training: {minutes}. Looks at a real set: {work.scores.looks()}"
    return "\n\n".join(
        [header(work), notes, accuracy_table(rows, REAL), difference_table(pairs(rows), REAL)]
    )


def pairs(rows: Mapping[str, Mapping[str, Row]]) -> dict[str, dict[str, Difference]]:
    """The differences that the main table shows."""
    v2 = rows[V2.says]
    others = (V1.says, V1_LONG.says, "v2 without its learned correction")
    found = {f"v2 - {o}": {k: difference(v2[k], rows[o][k]) for k in v2} for o in others}
    for name in (V2.says, V1.says):
        of_sets = rows[name]
        found[f"{name} - best raw features"] = {
            key: difference(row, row.raw()[1]) for key, row in of_sets.items()
        }
    return found


def course_table(arguments: Sequence[str]) -> str:
    """Accuracy against training episodes and CPU minutes, on procedural sets."""
    work = bench(arguments, real=False)
    sets, seed = PROCEDURAL, SEEDS[0]
    names = " | ".join(s.name for s in sets)
    lines = [
        f"| | batches of 100 clips | CPU min | validation, 10-way 5-shot | {names} |",
        f"| --- | ---: | ---: | ---: | {' | '.join('---:' for _ in sets)} |",
    ]
    kept = []
    for recipe in (V1, V2):
        run = work.trained(recipe, seed)
        history = read_history(run.folder / "history.csv")
        epochs = work.config["arch"]["training"]["max_epochs"]
        for epoch in (e for e in COURSE if e <= epochs):
            name = f"{recipe.name}_seed{seed}_epoch{epoch}"
            row = work.row({name: restore(run.epoch(epoch))}, sets)
            batches = epoch * work.config["arch"]["episodes"]["episodes_per_epoch"]
            cells = " | ".join(f"{100 * row[s.key].interval.mean:.1f}" for s in sets)
            lines.append(
                f"| {recipe.says} | {batches:,} | {run.cpu_min * epoch / epochs:.1f} "
                f"| {100 * history['val/acc'].iloc[epoch - 1]:.1f} | {cells} |"
            )
        best, last = 100 * history["val/acc"].max(), 100 * history["val/acc"].iloc[-1]
        kept.append(f"{recipe.says} {last:.1f} after the last epoch, {best:.1f} at best")
    said = f"Procedural validation, seed {seed}: {'; '.join(kept)}."
    return "\n\n".join([header(work), "\n".join(lines), said])


def ablation_table(arguments: Sequence[str]) -> str:
    """What each part is worth, on procedural sets: one seed, beside three of the full recipe.

    Words without ``=`` among the arguments are names of rows; without any there are all.
    """
    chosen = rows_named([word for word in arguments if "=" not in word])
    work = bench([word for word in arguments if "=" in word], real=False)
    return gaps(work, chosen, ABLATION_SETS, AT_TEST)


def generator_table(arguments: Sequence[str]) -> str:
    """The ablation's rows of the generator on real sound: which of its parts moves what counts.

    Nothing is chosen by it.
    """
    chosen = [recipe for recipe in ABLATION if recipe.says.startswith(GENERATOR)]
    return gaps(bench(arguments, real=True), chosen, REAL, {})


def gaps(
    work: Bench, chosen: Sequence[Recipe], sets: Sequence[TestSet],
    at_test: Mapping[str, Mapping[str, int]],
) -> str:  # fmt: skip
    """Recipes of the ablation beside the full one, which is tested as ``at_test`` says, too."""
    models = {f"{FULL.name}_seed{s}": restore(work.trained(FULL, s).best) for s in SEEDS}
    rows = {FULL.says: work.row(models, sets)}
    for says, changes in at_test.items():
        rows[says] = work.row(models, [replace(s, **changes) for s in sets])
    for recipe in chosen:
        name, run = f"{recipe.name}_seed{SEEDS[0]}", work.trained(recipe, SEEDS[0])
        rows[recipe.says] = work.row({name: restore(run.best)}, sets)
    return "\n\n".join([header(work, EPOCHS), gap_table(rows, FULL.says, sets)])


def rows_named(names: Sequence[str]) -> list[Recipe]:
    """The rows of the ablation of these names, in the table's order; all for none."""
    known = {recipe.name.removeprefix(PREFIX): recipe for recipe in ABLATION}
    if unknown := sorted(set(names) - set(known)):
        raise UserError(f"{unknown[0]}: the ablation has no such row; choose of {', '.join(known)}")
    return [recipe for name, recipe in known.items() if not names or name in names]


def candidates_table(arguments: Sequence[str]) -> str:
    """Recipes that may become the default, beside it, on procedural sets.

    600 batches with every seed, and four times as many with the first.
    """
    work = bench(arguments, real=False)
    trainings = [(recipe, SEEDS) for recipe in (V2, *CANDIDATES)]
    trainings += [(recipe, SEEDS[:1]) for recipe in LONGER]
    rows = {
        recipe.says: work.row(
            {f"{recipe.name}_seed{s}": restore(work.trained(recipe, s).best) for s in seeds},
            ABLATION_SETS,
        )
        for recipe, seeds in trainings
    }
    pairs = {
        f"{other.says} - {one.says}": {
            s.key: difference(rows[other.says][s.key], rows[one.says][s.key]) for s in ABLATION_SETS
        }
        for one, other in [*((V2, recipe) for recipe in CANDIDATES), LONGER]
    }
    tables = accuracy_table(rows, ABLATION_SETS), difference_table(pairs, ABLATION_SETS)
    return "\n\n".join([header(work), *tables])


def sizes_table(arguments: Sequence[str]) -> str:
    """Whether recipes rank alike at the size of `main` and at the default one."""
    work = bench(arguments, real=False)
    names = " | ".join(s.name for s in ABLATION_SETS)
    lines = [
        f"| bands x frames | | CPU min | {names} |",
        f"| --- | --- | ---: | {' | '.join('---:' for _ in ABLATION_SETS)} |",
    ]
    for size, recipes in SIZES.items():
        for recipe in recipes:
            run = work.trained(recipe, SEEDS[0])
            row = work.row({f"{recipe.name}_seed{SEEDS[0]}": restore(run.best)}, ABLATION_SETS)
            cells = " | ".join(percent(row[s.key].interval) for s in ABLATION_SETS)
            lines.append(f"| {size} | {recipe.says} | {run.cpu_min:.1f} | {cells} |")
    return "\n\n".join([header(work, FEW_EPOCHS), "\n".join(lines)])


TABLES: dict[str, Callable[[Sequence[str]], str]] = {
    "main": main_table,
    "course": course_table,
    "ablation": ablation_table,
    "generator": generator_table,
    "candidates": candidates_table,
    "sizes": sizes_table,
}


def header(work: Bench, epochs: int | None = None) -> str:
    """When, where and how much; ``epochs`` where it is not what the configuration says."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    batches = work.config["arch"]["episodes"]["episodes_per_epoch"]
    epochs = epochs or work.config["arch"]["training"]["max_epochs"]
    return (
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {device}; "
        f"{epochs} epochs of {batches} batches of 100 clips"
    )


def main(arguments: Sequence[str]) -> None:
    """Print the table that the first argument names."""
    table, rest = "main", list(arguments)
    if rest and "=" not in rest[0]:
        table = rest.pop(0)
    if table not in TABLES:
        raise UserError(f"{table}: there is no such table; choose one of {', '.join(TABLES)}")
    text = TABLES[table](rest)
    print(f"\n{text}")


if __name__ == "__main__":
    run_as_command(main)
