"""experiments/transfer: who is trained and tested on, and which pairs are compared."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from experiments.transfer.__main__ import DRAWS, LABELS_PER_CLASS, splits
from experiments.transfer.active import ROUNDS, same_digit, shares
from experiments.transfer.encoders import split


def clips(n_folds: int) -> Any:
    y = np.repeat(["a", "b", "c"], 50)
    return SimpleNamespace(
        examples=SimpleNamespace(y=y), fold_N=np.arange(150) % n_folds if n_folds else np.zeros(150)
    )


def test_ten_of_every_class_are_drawn_and_none_of_them_tested():
    for n_folds in (0, 5):
        one = clips(n_folds)
        found = list(splits(one))
        assert len(found) == len(DRAWS) * max(n_folds, 1)
        for _, train, test in found:
            assert np.unique(one.examples.y[train], return_counts=True)[1].tolist() == [10] * 3
            assert not set(train) & set(test)
            assert not set(one.fold_N[train]) & set(one.fold_N[test]) or not n_folds
            assert len(test) == (30 if n_folds else 150 - 3 * LABELS_PER_CLASS)


def test_pairs_of_one_digit():
    table = pd.DataFrame({"digit": np.arange(80) % 2, "speaker": np.arange(80) // 20})
    table["speaker"] = "s" + table["speaker"].astype(str)
    pairs = same_digit(table)
    digit, speaker = table["digit"].to_numpy(), table["speaker"].to_numpy()
    assert (digit[pairs.first_P] == digit[pairs.second_P]).all()
    assert ((speaker[pairs.first_P] == speaker[pairs.second_P]) == pairs.same_P).all()
    assert 0.4 < pairs.same_P.mean() < 0.6


def test_shares_are_of_the_labels_that_random_had():
    rows = [("random", 0, n, n / 1000, 0.0) for n in ROUNDS]
    rows += [("batch", 0, n, n / 500, 0.0) for n in ROUNDS]
    rows += [("margin", 0, n, n / 2000, 0.0) for n in ROUNDS]
    results = pd.DataFrame(rows, columns=["strategy", "seed", "labels", "accuracy", "minutes"])
    assert [shares(results, name)[0] for name in ("random", "batch", "margin")] == [1.0, 0.5, 1.0]


def test_a_checkpoint_is_told_from_overrides():
    assert split(["encoder=a.ckpt", "seed=3"]) == ("a.ckpt", ["seed=3"])
    assert split(["seed=3"]) == (None, ["seed=3"])
