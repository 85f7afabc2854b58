"""Is v2 better than v1 on real sound? Trains, tests and prints; what is done is not done again.

python -m experiments.v2_vs_v1 path.real_dir=DIR [key=value ...]
"""

from collections.abc import Mapping, Sequence

from experiments.common import hardware, real_dir, run_as_command
from experiments.v2_vs_v1.runs import (
    SEEDS,
    V1,
    V1_LONG,
    V2,
    V2_EUCLIDEAN,
    V2_LONGER,
    Variant,
    euclidean,
    trained,
    untrained_model,
)
from experiments.v2_vs_v1.sets import REAL, AnswerStore
from experiments.v2_vs_v1.tables import (
    PairedGap,
    Rows,
    SeedAnswers,
    accuracy_table,
    paired_gap,
    paired_gap_table,
)
from g5.config.settings import load
from g5.tracking.restore import Restored, restore

READ_EUCLIDEAN = "v2, read by Euclidean distance"


def main(arguments: Sequence[str]) -> None:
    """Real sounds: raw features, untrained and trained models, and their paired differences."""
    settings, seed = load(["experiment=v2_vs_v1", *arguments]), SEEDS[0]
    answers = AnswerStore(settings.path.root / "outputs" / settings.name, real_dir(settings))

    def restored(variant: Variant, seeds: Sequence[int] = SEEDS) -> dict[str, Restored]:
        """The variant's models by run name, trained where they are not yet."""
        return {
            f"{variant.name}_seed{s}": restore(trained(variant, s, arguments).best) for s in seeds
        }

    def row(models: Mapping[str, Restored]) -> dict[str, SeedAnswers]:
        """A model's answers on every set; ``models`` has one per training seed, by run name."""
        return {
            s.key: SeedAnswers([answers.of(name, model, s) for name, model in models.items()])
            for s in REAL
        }

    v1, v1_long, v2 = (restored(variant) for variant in (V1, V1_LONG, V2))
    models = {
        "untrained v1": {"v1_untrained": untrained_model(v1[f"v1_seed{seed}"], seed)},
        "untrained v2": {"v2_untrained": untrained_model(v2[f"v2_seed{seed}"], seed)},
        V1.says: v1,
        V1_LONG.says: v1_long,
        READ_EUCLIDEAN: {f"{n}_read": euclidean(m) for n, m in v2.items()},
        V2_EUCLIDEAN.says: restored(V2_EUCLIDEAN),
        V2.says: v2,
        V2_LONGER.says: restored(V2_LONGER, SEEDS[:1]),
    }
    rows = {name: row(of_seeds) for name, of_seeds in models.items()}
    minutes = "; ".join(
        f"{one.says} {', '.join(f'{trained(one, s, arguments).cpu_min:.1f}' for s in SEEDS)}"
        for one in (V1, V1_LONG, V2)
    )
    batches = settings.arch.episodes.episodes_per_epoch
    print(
        f"\n{hardware()}; {settings.arch.training.max_epochs} epochs of {batches} batches of 100 "
        f"clips\n\nCPU minutes of each training: {minutes}. Looks at a real set: "
        f"{answers.looks()}\n\n{accuracy_table(rows, REAL)}\n\n"
        f"{paired_gap_table(differences(rows), REAL)}"
    )


def differences(rows: Rows) -> dict[str, dict[str, PairedGap]]:
    """The differences that are shown."""
    v2 = rows[V2.says]
    others = (V1.says, V1_LONG.says, READ_EUCLIDEAN, V2_EUCLIDEAN.says)
    found = {f"v2 - {o}": {k: paired_gap(v2[k], rows[o][k]) for k in v2} for o in others}
    for name in (V2.says, V1.says):
        of_sets = rows[name]
        found[f"{name} - best raw features"] = {
            key: paired_gap(row, row.raw()[1]) for key, row in of_sets.items()
        }
    return found


if __name__ == "__main__":
    run_as_command(main)
