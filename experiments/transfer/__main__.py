"""Shallow heads on 10 labels a class of ESC-10 and FSDD, for several encoders; prints the tables.

    python -m experiments.transfer path.real_dir=DIR [encoder=CKPT] [key=value ...]

See README.md beside this file. Embeddings are kept under outputs/transfer/, so a second call only
trains heads.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from experiments.common import markdown, percent_cell, real_dir, run_as_command
from experiments.transfer.encoders import EmbeddedSet, embedded_set, encoders_of, split
from g5.common.progress import track
from g5.config.settings import load
from g5.evaluation.intervals import mean_interval
from g5.transfer.heads.saved import fit_head, make_head

LABELS_PER_CLASS = 10
DRAWS = range(5)
HEADS = ("linear", "mlp", "prototype", "knn", "logistic", "svm", "forest")
SETS = {"ESC-10": "esc10", "FSDD": "fsdd"}


def splits(one: EmbeddedSet) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Number of a draw, its training rows (some of every class) and test rows, fold by fold.

    Without folds everything that was not drawn is the test set.
    """
    folds, y = np.unique(one.fold_N), one.examples.y
    for draw in DRAWS:
        for fold in folds:
            held = one.fold_N == fold if len(folds) > 1 else np.zeros(len(y), bool)
            rng = np.random.default_rng([draw, int(fold)])
            drawn = [
                rng.choice(np.flatnonzero((y == label) & ~held), LABELS_PER_CLASS, replace=False)
                for label in np.unique(y)
            ]
            train = np.concatenate(drawn)
            test = held if held.any() else ~np.isin(np.arange(len(y)), train)
            yield draw, train, np.flatnonzero(test)


def accuracies(sets: Sequence[EmbeddedSet], head: str) -> np.ndarray:
    """Test accuracy of a head on every split; the draws take turns with the training seeds."""
    scores = []
    for draw, train, test in splits(sets[0]):
        one = sets[draw % len(sets)].examples
        model = fit_head(make_head(head, "single", seed=0), one.x_ND[train], one.y[train])
        scores.append(float(np.mean(model.predict(one.x_ND[test]) == one.y[test])))
    return np.array(scores)


def main(arguments: Sequence[str]) -> None:
    """Train what is not trained yet, embed, train heads, print Markdown tables."""
    settings = load(split(arguments)[1])
    real, place = real_dir(settings), settings.path.root / "outputs" / "transfer"
    kinds = encoders_of(arguments)
    for name, folder in SETS.items():
        sets = {
            kind: [embedded_set(e, real / folder, place) for e in kinds[kind]] for kind in kinds
        }
        cells = [(kind, head) for kind in kinds for head in HEADS]
        scores = {
            (kind, head): accuracies(sets[kind], head)
            for kind, head in track(cells, total=len(cells), label=name, unit="heads")
        }
        draws = len(next(iter(scores.values())))
        print(f"\n{name}: {LABELS_PER_CLASS} labels a class, accuracy over {draws} draws\n")
        rows = (
            [kind, *(percent_cell(mean_interval(scores[kind, head])) for head in HEADS)]
            for kind in kinds
        )
        print(markdown(["encoder", *HEADS], rows), flush=True)


if __name__ == "__main__":
    run_as_command(main)
