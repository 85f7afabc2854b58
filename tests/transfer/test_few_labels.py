"""experiments/transfer: who is trained and tested on."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from experiments.transfer.__main__ import DRAWS, LABELS_PER_CLASS, splits
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


def test_a_checkpoint_is_told_from_overrides():
    assert split(["encoder=a.ckpt", "seed=3"]) == ("a.ckpt", ["seed=3"])
    assert split(["seed=3"]) == (None, ["seed=3"])
