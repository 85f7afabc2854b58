"""A few labels a class: folds follow the smallest class, and what cannot be validated is said."""

import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.transfer.heads.folds import folds_by_source
from tests.conftest import run_g5
from tests.labelled_store import CLASSES, kind_of, make_store
from tests.transfer.test_finetune import ENCODER, SHORT


@pytest.fixture
def birds(tmp_path, monkeypatch) -> pd.DataFrame:
    """A store, and labels of all its clips, each its own source; in the current directory."""
    monkeypatch.chdir(tmp_path)
    index = make_store(tmp_path).index[["file", "start_s", "end_s"]]
    labels = [kind_of(row) for row in range(len(index))]
    return index.assign(label=labels, source=[f"s{row}" for row in range(len(index))])


def few(table: pd.DataFrame, *counts: int) -> pd.DataFrame:
    """So many labels of each class."""
    parts = [table.query("label == @c").head(n) for c, n in zip(CLASSES, counts, strict=True)]
    return pd.concat(parts)


@pytest.mark.parametrize(("counts", "folds"), [((3, 3, 3), 3), ((2, 2, 2), 2), ((9, 4, 1), 4)])
def test_all_heads_are_compared_on_a_few_labels_a_class(birds, capsys, counts, folds):
    few(birds, *counts).to_csv("few.csv", index=False)
    assert run_g5(["classify", "birds.store", "--labels", "few.csv", "-o", "x.head"]) == 0
    out = capsys.readouterr()
    assert f"{folds} folds" in out.out
    assert "Traceback" not in out.err
    assert run_g5(["predict", "x.head", "birds.store", "-o", "p.csv"]) == 0


@pytest.mark.parametrize("task", ["single", "multi"])
def test_one_label_a_class_is_trained_or_refused_in_a_line(birds, capsys, task):
    few(birds, 1, 1, 1).to_csv("one.csv", index=False)
    command = ["classify", "birds.store", "--labels", "one.csv", "-o", "x.head"]
    code = run_g5([*command, f"classify.task={task}"])
    err = capsys.readouterr().err
    if task == "single":
        assert code == 1
        assert err.splitlines()[-1].startswith("error: no class has labels from two sources")
    else:
        assert code == 0, err


@pytest.mark.parametrize(("counts", "code"), [((3, 3, 3), 0), ((2, 2, 2), 0), ((1, 1, 1), 1)])
def test_an_encoder_is_tuned_on_a_few_labels_a_class(birds, capsys, counts, code):
    few(birds, *counts).to_csv("few.csv", index=False)
    command = ["finetune", ENCODER, "--labels", "few.csv", "--audio-root", "audio"]
    assert run_g5([*command, *SHORT, "logger=none"]) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert (code == 0) == ("error: " not in err)


def test_folds_of_any_few_labels_keep_sources_apart():
    rng = np.random.default_rng(0)
    for seed in range(300):
        n, classes, sources = (int(rng.integers(*span)) for span in ((2, 14), (1, 5), (1, 10)))
        y_N, source_N = rng.integers(0, classes, n), rng.integers(0, sources, n)
        try:
            folds = folds_by_source(
                y_N, source_N, int(rng.integers(1, 9)), by_class=True, seed=seed
            )
        except UserError:
            assert all(len(np.unique(source_N[y_N == c])) < 2 for c in np.unique(y_N))
            continue
        assert folds
        for train, val in folds:
            assert min(len(train), len(val)) > 0
            assert not set(source_N[train]) & set(source_N[val])


def test_a_head_onto_a_full_disk_is_a_line_and_leaves_the_old_one(birds, capsys, monkeypatch):
    few(birds, 3, 3, 3).to_csv("few.csv", index=False)
    command = ["classify", "birds.store", "--labels", "few.csv", "-o", "x.head"]
    assert run_g5([*command, "classify.heads=[linear]"]) == 0
    before = Path("x.head").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert run_g5([*command, "classify.heads=[knn]"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: x.head: the disk is full")
    assert Path("x.head").read_bytes() == before
