"""The experiment v2_vs_v1: paired differences, answers that are kept."""

import numpy as np
import pytest

from experiments import common
from experiments.rivals.__main__ import PROCEDURAL
from experiments.v2_vs_v1 import __main__ as command
from experiments.v2_vs_v1 import runs, sets, tables
from g5.common.errors import UserError

A = 4 * sets.EPISODES


def answers(share: float, seed: int, episodes_hash: str = "same") -> sets.Answers:
    rng = np.random.default_rng(seed)
    class_A = np.tile(np.arange(4), sets.EPISODES)
    return sets.Answers(
        hit_A=rng.random(A) < share, raw={"plain": rng.random(A) < 0.2, "better": class_A < 2},
        class_A=class_A, source_A=rng.integers(10, size=A), episodes_hash=episodes_hash,
    )  # fmt: skip


def test_a_difference_is_paired_and_in_points():
    a = tables.SeedAnswers([answers(0.8, 1), answers(0.82, 2)])
    b = tables.SeedAnswers([answers(0.6, 3), answers(0.58, 4)])
    found = tables.paired_gap(a, b)
    expected = 100 * np.mean(
        [a.answers[i].hit_A.mean() - b.answers[i].hit_A.mean() for i in (0, 1)]
    )
    assert found.mean == pytest.approx(expected)
    assert found.episodes[0] < found.mean < found.episodes[1]
    assert found.resampled[0] < found.mean < found.resampled[1]
    assert found.seeds == pytest.approx(
        [100 * (x - y) for x, y in zip(a.seeds, b.seeds, strict=True)]
    )
    nothing = tables.paired_gap(a, a)
    assert nothing.mean == 0
    assert nothing.resampled == (0, 0)
    assert nothing.seeds == [0, 0]


def test_only_equal_episodes_are_paired():
    a, b = tables.SeedAnswers([answers(0.8, 1)]), tables.SeedAnswers([answers(0.6, 2, "others")])
    with pytest.raises(AssertionError, match="equal episodes"):
        tables.paired_gap(a, b)


def test_the_tables_say_what_the_rows_hold():
    row = tables.SeedAnswers([answers(0.8, 1)])
    name, hit_A = row.raw()
    assert name == "better"
    assert hit_A.mean() == 0.5
    rows = {"v2": {s.key: row for s in sets.REAL}}
    text = tables.accuracy_table(rows, sets.REAL)
    assert text.count("\n") == 4
    assert "50.0 ± " in text
    assert "| chance | 20.0% | 20.0% | 1.7% | 5.0% |" in text
    pairs = {"v2 - raw": {s.key: tables.paired_gap(row, hit_A) for s in sets.REAL}}
    assert tables.paired_gap_table(pairs, sets.REAL).count("| v2 - raw |") == 4


def test_looks_at_real_sets_are_counted(tmp_path, monkeypatch):
    kept = {name: getattr(answers(0.8, 1), name) for name in ("hit_A", "class_A", "source_A")}
    monkeypatch.setattr(sets, "fingerprint", lambda restored: "weights")
    monkeypatch.setattr(sets.AnswerStore, "_test", lambda *_: None)
    monkeypatch.setattr(
        sets, "_content", lambda result, weights: kept | {"weights": weights, "episodes_hash": "x"}
    )
    scores = sets.AnswerStore(tmp_path, tmp_path)
    assert scores.looks() == 0
    for test_set in (*sets.REAL[:2], sets.REAL[0], *PROCEDURAL):
        scores.of("v2_seed1", None, test_set)  # type: ignore[arg-type]
    assert scores.looks() == 2, "invented sounds and what is kept are no look"
    common.note_look(tmp_path / "looks.csv", model="v2_seed1", set=PROCEDURAL[0].name)
    assert scores.looks() == 2, "as an earlier version noted them, too"


def test_a_recipe_is_a_valid_configuration():
    from g5.config.settings import check_settings

    variants = (runs.V1, runs.V1_LONG, runs.V2, runs.V2_LONGER)
    for variant in variants:
        check_settings(runs.config_of(variant, 1, ()))
    assert len({variant.name for variant in variants}) == len(variants)


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(common.ENVIRONMENT, raising=False)
    with pytest.raises(UserError, match=r"path\.real_dir: say where"):
        command.main([])
