"""Is v2 better than v1 on real sound? One command per table; what is done is not done again.

    python -m experiments.v2_vs_v1 TABLE path.real_dir=DIR [key=value ...]

TABLE is one of main (the default), course, ablation, generator, candidates, sizes; README.md beside
this file says what each is. Only main and generator need real recordings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.common import (
    FinishedTraining,
    hardware,
    markdown,
    percent_cell,
    print_table,
    real_dir,
    run_as_command,
)
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
from experiments.v2_vs_v1.runs import (
    SEEDS,
    V1,
    V1_LONG,
    V2,
    Recipe,
    euclidean,
    trained,
    untrained_model,
)
from experiments.v2_vs_v1.sets import ABLATION_SETS, AT_TEST, PROCEDURAL, REAL, AnswerStore, TestSet
from experiments.v2_vs_v1.tables import (
    PairedGap,
    Rows,
    SeedAnswers,
    ablation_gap_table,
    accuracy_table,
    paired_gap,
    paired_gap_table,
)
from experiments.v2_vs_v1.worlds import make_worlds
from g5.common.errors import UserError
from g5.config.settings import Settings, load
from g5.tracking.history import read_history
from g5.tracking.restore import Restored, restore

COURSE = (3, 6, 9, 12)  # epochs whose checkpoints are looked at


@dataclass(frozen=True)
class Workbench:
    """What all tables work with.

    Attributes:
        arguments: overrides of the command line, for every training.
        settings: of the experiment.
        answers: those of earlier tests, kept.
    """

    arguments: Sequence[str]
    settings: Settings
    answers: AnswerStore

    def trained(self, recipe: Recipe, seed: int) -> FinishedTraining:
        return trained(recipe, seed, self.arguments)

    def models(self, recipe: Recipe, seeds: Sequence[int]) -> dict[str, Restored]:
        """The recipe's models by run name, trained where they are not yet."""
        return {f"{recipe.name}_seed{s}": restore(self.trained(recipe, s).best) for s in seeds}

    def row(
        self, models: Mapping[str, Restored], sets: Sequence[TestSet]
    ) -> dict[str, SeedAnswers]:
        """A model's answers on every set; ``models`` has one per training seed, by run name."""
        return {
            s.key: SeedAnswers([self.answers.of(name, model, s) for name, model in models.items()])
            for s in sets
        }

    def header(self, epochs: int | None = None) -> str:
        """When, where and how much; ``epochs`` where it is not what the configuration says."""
        batches = self.settings.arch.episodes.episodes_per_epoch
        epochs = epochs or self.settings.arch.training.max_epochs
        return f"{hardware()}; {epochs} epochs of {batches} batches of 100 clips"


def workbench(arguments: Sequence[str], *, real: bool) -> Workbench:
    """Find the real sets (if needed) and make the procedural ones."""
    settings = load(["experiment=v2_vs_v1", *arguments])
    home = real_dir(settings) if real else None
    folder = settings.path.root / "outputs" / settings.name
    worlds = folder / "worlds"
    make_worlds(worlds)
    return Workbench(arguments, settings, AnswerStore(folder, {True: home, False: worlds}))


# --- tables -------------------------------------------------------------------------------------


def main_table(arguments: Sequence[str]) -> str:
    """Real sounds: raw features, untrained and trained models, and their paired differences."""
    work, seed = workbench(arguments, real=True), SEEDS[0]
    v1, v1_long, v2 = (work.models(recipe, SEEDS) for recipe in (V1, V1_LONG, V2))
    first_v1, first_v2 = v1[f"v1_seed{seed}"], v2[f"v2_seed{seed}"]
    models = {
        "untrained v1": {"v1_untrained": untrained_model(first_v1, seed)},
        "untrained v2": {"v2_untrained": untrained_model(first_v2, seed)},
        "easyfsl's ProtoNet, v1's encoder": {
            f"easyfsl_seed{seed}": easyfsl_v1(seed, arguments, first_v1)
        },
        V1.says: v1,
        V1_LONG.says: v1_long,
        "v2 without its learned correction": {
            f"{n}_euclidean": euclidean(m) for n, m in v2.items()
        },
        V2.says: v2,
        LONGER[0].says: work.models(LONGER[0], SEEDS[:1]),
    }
    rows = {name: work.row(of_seeds, REAL) for name, of_seeds in models.items()}
    minutes = "; ".join(
        f"{recipe.says} {', '.join(f'{work.trained(recipe, s).cpu_min:.1f}' for s in SEEDS)}"
        for recipe in (V1, V1_LONG, V2)
    )
    notes = f"CPU minutes of each training: {minutes}. Looks at a real set: {work.answers.looks()}"
    tables = accuracy_table(rows, REAL), paired_gap_table(main_pairs(rows), REAL)
    return "\n\n".join([work.header(), notes, *tables])


def main_pairs(rows: Rows) -> dict[str, dict[str, PairedGap]]:
    """The differences that the main table shows."""
    v2 = rows[V2.says]
    others = (V1.says, V1_LONG.says, "v2 without its learned correction")
    found = {f"v2 - {o}": {k: paired_gap(v2[k], rows[o][k]) for k in v2} for o in others}
    for name in (V2.says, V1.says):
        of_sets = rows[name]
        found[f"{name} - best raw features"] = {
            key: paired_gap(row, row.raw()[1]) for key, row in of_sets.items()
        }
    return found


def course_table(arguments: Sequence[str]) -> str:
    """Accuracy against training episodes and CPU minutes, on procedural sets."""
    work = workbench(arguments, real=False)
    sets, seed = PROCEDURAL, SEEDS[0]
    head = ["", "batches of 100 clips", "CPU min", "validation, 10-way 5-shot"]
    lines, kept = [], []
    for recipe in (V1, V2):
        run = work.trained(recipe, seed)
        history = read_history(run.folder / "history.csv")
        epochs = work.settings.arch.training.max_epochs
        for epoch in (e for e in COURSE if e <= epochs):
            name = f"{recipe.name}_seed{seed}_epoch{epoch}"
            row = work.row({name: restore(run.epoch(epoch))}, sets)
            batches = epoch * work.settings.arch.episodes.episodes_per_epoch
            lines.append([
                recipe.says, f"{batches:,}", f"{run.cpu_min * epoch / epochs:.1f}",
                f"{100 * history['val/acc'].iloc[epoch - 1]:.1f}",
                *(f"{100 * row[s.key].interval.mean:.1f}" for s in sets),
            ])  # fmt: skip
        best, last = 100 * history["val/acc"].max(), 100 * history["val/acc"].iloc[-1]
        kept.append(f"{recipe.says} {last:.1f} after the last epoch, {best:.1f} at best")
    said = f"Procedural validation, seed {seed}: {'; '.join(kept)}."
    return "\n\n".join([work.header(), markdown([*head, *(s.name for s in sets)], lines), said])


def ablation_table(arguments: Sequence[str]) -> str:
    """What each part is worth, on procedural sets: one seed, beside three of the full recipe.

    Words without ``=`` among the arguments are names of rows; without any there are all.
    """
    chosen = rows_named([word for word in arguments if "=" not in word])
    work = workbench([word for word in arguments if "=" in word], real=False)
    return gaps(work, chosen, ABLATION_SETS, AT_TEST)


def generator_table(arguments: Sequence[str]) -> str:
    """The ablation's rows of the generator on real sound: which of its parts moves what counts.

    Nothing is chosen by it.
    """
    chosen = [recipe for recipe in ABLATION if recipe.says.startswith(GENERATOR)]
    return gaps(workbench(arguments, real=True), chosen, REAL, {})


def gaps(
    work: Workbench, chosen: Sequence[Recipe], sets: Sequence[TestSet],
    at_test: Mapping[str, Mapping[str, int]],
) -> str:  # fmt: skip
    """Recipes of the ablation beside the full one, which is tested as ``at_test`` says, too."""
    models = work.models(FULL, SEEDS)
    rows = {FULL.says: work.row(models, sets)}
    for says, changes in at_test.items():
        rows[says] = work.row(models, [replace(s, **changes) for s in sets])
    for recipe in chosen:
        rows[recipe.says] = work.row(work.models(recipe, SEEDS[:1]), sets)
    return "\n\n".join([work.header(EPOCHS), ablation_gap_table(rows, FULL.says, sets)])


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
    work, sets = workbench(arguments, real=False), ABLATION_SETS
    trainings = [(recipe, SEEDS) for recipe in (V2, *CANDIDATES)]
    trainings += [(recipe, SEEDS[:1]) for recipe in LONGER]
    rows = {recipe.says: work.row(work.models(recipe, seeds), sets) for recipe, seeds in trainings}
    pairs = {
        f"{other.says} - {one.says}": {
            s.key: paired_gap(rows[other.says][s.key], rows[one.says][s.key]) for s in sets
        }
        for one, other in [*((V2, recipe) for recipe in CANDIDATES), LONGER]
    }
    tables = accuracy_table(rows, sets), paired_gap_table(pairs, sets)
    return "\n\n".join([work.header(), *tables])


def sizes_table(arguments: Sequence[str]) -> str:
    """Whether recipes rank alike at the size of `main` and at the default one."""
    work, sets = workbench(arguments, real=False), ABLATION_SETS
    lines = []
    for size, recipes in SIZES.items():
        for recipe in recipes:
            row = work.row(work.models(recipe, SEEDS[:1]), sets)
            cpu_min = work.trained(recipe, SEEDS[0]).cpu_min
            cells = (percent_cell(row[s.key].interval) for s in sets)
            lines.append([size, recipe.says, f"{cpu_min:.1f}", *cells])
    head = ["bands x frames", "", "CPU min", *(s.name for s in sets)]
    return "\n\n".join([work.header(FEW_EPOCHS), markdown(head, lines, text_columns=2)])


TABLES: dict[str, Callable[[Sequence[str]], str]] = {
    "main": main_table,
    "course": course_table,
    "ablation": ablation_table,
    "generator": generator_table,
    "candidates": candidates_table,
    "sizes": sizes_table,
}


def main(arguments: Sequence[str]) -> None:
    """Print the table that the first argument names."""
    print_table(TABLES, arguments)


if __name__ == "__main__":
    run_as_command(main)
