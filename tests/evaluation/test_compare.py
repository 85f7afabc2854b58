"""Comparing runs: by hand, how often it is wrong, what it refuses, and the command on real runs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import g5.evaluation.compare.differences as compare
from g5.common.errors import UserError
from g5.evaluation.compare.compared_runs import ComparedRun
from g5.evaluation.compare.differences import (
    bootstrap,
    compare_all,
    difference,
    holm,
    mean_ranks,
    sign_flip_p,
)
from g5.evaluation.compare.figures import critical_difference
from g5.evaluation.compare.groups import Group, config_differences, grouped
from tests.conftest import run_g5, run_train

OUTPUTS = "outputs/protonet_baseline"
PROCEDURAL = "preprocessing.synthetic.procedural.ProceduralData"


def make_run(name="a", *, skill=0.7, seed=1, noise=0, classes=12, episodes=300, lr=0.1, **protocol):
    """A run on made-up episodes of 5 queries; what is asked depends on the seed alone."""
    asked = np.random.default_rng(seed)
    label_EQ = asked.integers(classes, size=(episodes, 5))
    source_EQ = asked.integers(6, size=(episodes, 5))
    hit_EQ = np.random.default_rng((seed, noise)).random((episodes, 5)) < skill
    wrong = (label_EQ + 1) % classes
    answers = pd.DataFrame(
        {
            "episode": np.arange(episodes).repeat(5),
            "row": np.arange(episodes * 5),
            "label": [f"c{c}" for c in label_EQ.ravel()],
            "predicted": [f"c{c}" for c in np.where(hit_EQ, label_EQ, wrong).ravel()],
            "source": [f"s{c}_{s}" for c, s in zip(label_EQ.flat, source_EQ.flat, strict=True)],
        }
    )
    facts = {"split": "test", "n_way": 5, "seed": seed, "split_hash": "x", "episodes_hash": "y"}
    config = {
        "seed": seed, "exp_name": name, "engine": {"where": name},
        "data": {"_target_": PROCEDURAL, "fold": None, "root_dir": name},
        "arch": {"name": "v1", "training": {"learning_rate": lr, "load_weight_from": None}},
    }  # fmt: skip
    return ComparedRun(name, config, {**facts, **protocol}, hit_EQ.mean(1), answers, None)


def group(name, **settings):
    seeds = settings.pop("seeds", (1, 2, 3))
    return Group(name, {(seed, None): make_run(name, seed=seed, **settings) for seed in seeds})


# --- numbers ----------------------------------------------------------------------------------


def test_a_large_difference_is_real_and_a_small_one_is_not():
    good, bad, same = group("good", skill=0.8), group("bad", skill=0.6), group("same", skill=0.8,
                                                                               noise=1)  # fmt: skip
    found = difference(good, bad)
    assert found.episodes.mean == pytest.approx(0.2, abs=0.03)
    assert found.episodes.low < 0.2 < found.episodes.high
    assert found.classes.half_width > found.episodes.half_width * 0.8
    assert found.p_permutation < 0.001
    assert found.real
    assert found.reason.startswith("real")
    assert set(found.by_seed) == {1, 2, 3}
    backwards = difference(bad, good)
    assert backwards.episodes.mean == pytest.approx(-found.episodes.mean)
    assert backwards.real
    assert not difference(good, same).real
    few = difference(group("good", skill=0.8, seeds=(1,)), group("bad", skill=0.6, seeds=(1,)))
    assert "only 1 training seed" in few.reason


def test_a_sign_that_depends_on_the_seed_is_not_real():
    first = Group(
        "a", {(s, None): make_run("a", seed=s, skill=k) for s, k in ((1, 0.95), (2, 0.6))}
    )
    second = Group(
        "b", {(s, None): make_run("b", seed=s, skill=k) for s, k in ((1, 0.5), (2, 0.7))}
    )
    found = difference(first, second)
    assert found.episodes.low > 0
    assert not found.real
    assert "sign depends on the training seed" in found.reason


def test_few_classes_forbid_what_many_episodes_suggest():
    """One class of three makes the whole difference: episodes are sure, classes are not."""
    a, b = make_run("a", classes=3, skill=0.7), make_run("b", classes=3, skill=0.7)
    easy = (a.answers["label"] == "c0").to_numpy()
    a.answers.loc[easy, "predicted"] = "c0"
    a.accuracy_E[:] = a.hit_A.reshape(-1, 5).mean(1)
    found = difference(Group("a", {(1, None): a}), Group("b", {(1, None): b}))
    assert found.episodes.low > 0
    assert found.classes.low <= 0
    assert "classes and sources holds zero" in found.reason


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm(np.array([0.5, 0.9])), [1.0, 1.0])


def test_sign_flips_by_hand():
    """Of 2^3 exchanges of three positive differences two are as extreme: p is a quarter."""
    p = sign_flip_p(np.array([[0.1], [0.2], [0.3]]), seed=0, flips=100_000)
    assert p[0] == pytest.approx(0.25, abs=0.01)
    assert sign_flip_p(np.zeros((5, 1)), seed=0)[0] == 1.0


def test_equal_runs():
    interval, p = bootstrap(np.zeros(50), seed=0)
    assert (interval.mean, p) == (0, 1)
    assert interval.low < 0 < interval.high
    assert bootstrap(np.full(50, 0.1), seed=0)[1] < 0.01


def test_two_equally_good_classifiers_differ_in_one_of_twenty_comparisons(monkeypatch):
    """2,000 times two classifiers of equal accuracy that err independently, 200 episodes each."""
    rng = np.random.default_rng(7)
    gap_ER = (rng.binomial(25, 0.7, (200, 2000)) - rng.binomial(25, 0.7, (200, 2000))) / 25
    significant = sign_flip_p(gap_ER, seed=1, flips=4000) < 0.05
    assert 0.03 <= significant.mean() <= 0.07
    monkeypatch.setattr(compare, "RESAMPLES", 1000)
    found = [bootstrap(gap_E, seed=i) for i, gap_E in enumerate(gap_ER.T[:1500])]
    outside = [interval.low > 0 or interval.high < 0 for interval, _ in found]
    assert 0.03 <= np.mean(outside) <= 0.07
    assert 0.03 <= np.mean([p < 0.05 for _, p in found]) <= 0.07


# --- groups and refusals ------------------------------------------------------------------------


def test_runs_that_differ_in_the_seed_are_one_group():
    runs = [make_run("x", seed=1), make_run("x", seed=2), make_run("y", seed=1, lr=0.2)]
    groups = grouped(runs, folds=False)
    assert [len(g.runs) for g in groups] == [2, 1]
    table = config_differences(groups, folds=False)
    assert table.index.tolist() == ["arch.training.learning_rate"]
    assert table.iloc[0].tolist() == ["0.1", "0.2"]
    with pytest.raises(UserError, match="same configuration with seed 1"):
        grouped([make_run("x", seed=1), make_run("again", seed=1)], folds=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_way": 10}, "n_way is 5 and 10; test both alike"),
        ({"split_hash": "z"}, "split_hash is x and z; the classes and recordings"),
        ({"episodes_hash": "z"}, "the episodes differ"),
        ({"seed": 2}, "share no seed"),
        ({"episodes": 200}, "other queries"),
    ],
)
def test_what_cannot_be_paired_is_refused(change, words):
    other = make_run("b", **change)
    with pytest.raises(UserError, match=words):
        difference(Group("a", {(1, None): make_run("a")}), Group("b", {(other.seed, None): other}))


@pytest.mark.usefixtures("drawn_figures")
def test_ranks_and_their_picture(tmp_path):
    skills = {"best": 0.9, "second": 0.7, "third": 0.7, "worst": 0.4}
    groups = [group(n, skill=s, noise=i, seeds=(1,)) for i, (n, s) in enumerate(skills.items())]
    ranks = mean_ranks(groups)
    assert ranks.argmin() == 0
    assert ranks.argmax() == 3
    assert ranks.sum() == pytest.approx(10)
    found = compare_all(groups)
    assert len(found) == 6
    assert all(item.p_holm >= item.p_permutation for item in found)
    path = critical_difference(groups, ranks, found, tmp_path / "ranks.png")
    assert path.stat().st_size > 1000


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def runs(place):
    """Two configurations with two seeds each, the first in MLflow."""
    size = ["arch=v1", "debug=fast", "arch.episodes.test_episodes=60"]
    run_train([*size, "exp_name=one", "logger.log_checkpoints=false"])
    for name, lr, seed in (("one2", 0.001, 2), ("two", 0.02, 1234), ("two2", 0.02, 2)):
        more = [f"exp_name={name}", f"seed={seed}", f"arch.training.learning_rate={lr}"]
        run_train([*size, *more, "logger=none"])
    return place


def test_the_command(runs, capsys):
    capsys.readouterr()
    names = ["one", "one2", f"{OUTPUTS}/two", "two2"]
    assert run_g5(["compare", *names, "-o", "made"]) == 0
    out = capsys.readouterr().out
    for words in ("120 paired episodes", "by training seed", "learning_rate", "after Holm"):
        assert words in out
    made = {path.name for path in (runs / "made").iterdir()}
    assert made == {"curves.png", "compare.json", "classes.csv", "classes.png", "report.html"}
    page = (runs / "made" / "report.html").read_text("utf-8")
    for words in (
        "On the validation episodes",
        "points above",
        "after Holm",
        "Cite the interval over",
    ):
        assert words in page
    assert "recall of the classes that differ most" in out
    assert "MLflow   experiment compare in mlflow.db" in out
    check_recorded(runs, made)
    found = json.loads((runs / "made" / "compare.json").read_text())
    (item,) = found["differences"]
    means = [entry["accuracy"]["mean"] for entry in found["runs"].values()]
    assert item["episodes"]["mean"] == pytest.approx(means[0] - means[1])

    # The same run read back from MLflow is the same run.
    (runs / OUTPUTS / "one").rename(runs / "moved")
    assert run_g5(["compare", "one", "two", "-o", "mlflow", "--no-mlflow"]) == 0
    assert "60 paired episodes" in (out := capsys.readouterr().out)
    assert "experiment compare" not in out
    assert (runs / "mlflow" / "curves.png").exists()

    check_refusals(runs, capsys)


def check_recorded(place, files):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    experiment = client.get_experiment_by_name("compare")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert any(key.startswith("p_holm/") for key in run.data.metrics)
    there = {item.path for item in client.list_artifacts(run.info.run_id)}
    there |= {Path(i.path).name for i in client.list_artifacts(run.info.run_id, "figures")}
    assert there == {*files, "figures", "images"}


def check_refusals(place, capsys):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    empty = client.create_run("0", run_name="empty").info.run_id
    (place / "untested" / "checkpoints").mkdir(parents=True)
    (place / "broken").mkdir()
    for name in ("test_scores.json", "test_episodes.parquet", "test_predictions.parquet"):
        (place / "broken" / name).write_text("{")
    (place / "broken" / "config.yaml").write_text("seed: 1\n")
    for arguments, words in (
        ([empty, "two"], "has no artifacts: it was not tested"),
        (["empty", "two"], "has no artifacts: it was not tested"),
        (["nowhere", "two"], "no such folder, no run of that name"),
        (["0" * 32, "two"], "says:"),
        (["untested", "two"], "g5 test untested"),
        (["broken", "two"], "cannot be read"),
        (["mlflow.db", "two"], "a file; give a run's folder"),
        (["two", "two2"], "2 runs of one configuration"),
        (["one2", "two"], "share no seed"),
        (["--folds", "two"], "not a fold of a cross-validation"),
    ):
        assert run_g5(["compare", *arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: "), error
        assert words in error, (words, error)
