"""Search, novelty, strategies, clusters, the journal and verification against worked cases."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from preprocessing.errors import UserError
from tests.conftest import run_g5
from tests.labelled_store import kind_of, make_store
from transfer.clusters import cluster_vectors
from transfer.journal import Entry, Journal, clip_of
from transfer.search import novelty, search
from transfer.strategies import STRATEGIES, Pool, choose, unit
from transfer.verification import equal_error_rate
from transfer.whitening import Whitening

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 16)).astype(np.float16)
Q = RNG.standard_normal((3, 16)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_search_equals_a_float64_loop(metric):
    x, q = X.astype(np.float64), Q.astype(np.float64)
    if metric == "euclidean":
        key = -np.linalg.norm(x[None] - q[:, None], axis=2)
    else:
        key = q @ x.T
        if metric == "cosine":
            key /= np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    score, row = search(X, Q, k=7, metric=metric)
    np.testing.assert_array_equal(row, np.argsort(-key, axis=1)[:, :7])
    expected = np.sort(-key, axis=1)[:, :7]
    np.testing.assert_allclose(score, expected if metric == "euclidean" else -expected, atol=1e-5)


def test_search_refuses_another_width_and_nan():
    for query, words in ((Q[:, :8], "8 dimensions"), (Q * np.nan, "NaN")):
        with pytest.raises(UserError, match=words):
            search(X, query, k=1, metric="dot")


def test_what_is_far_is_unusual():
    known = np.tile([1.0, 0.0], (5, 1)).astype(np.float32)
    away = novelty(np.array([[1, 0], [0, 1], [-1, 0]], np.float16), known, k=1)
    np.testing.assert_allclose(away, [0, 1, 2], atol=1e-3)


def test_what_is_known_is_not_among_the_unusual(tmp_path, monkeypatch, capsys):
    """A table, and where there is none what the labelling page or the store say."""
    monkeypatch.chdir(tmp_path)
    store = make_store(tmp_path)
    index = store.index
    highs = [row for row in range(len(index)) if kind_of(row) == "high"]
    known = index.iloc[highs].assign(label="high")
    known[["file", "start_s", "end_s", "label"]].to_csv("labels.csv", index=False)
    verb = ["search", "birds.store", "--unusual", "-k", "60", "-o", "u.html"]
    assert run_g5([*verb, "--labels", "labels.csv"]) == 0
    assert "20 of 60 clips are known by their labels and left out" in capsys.readouterr().out
    found = pd.read_csv("u.csv")
    assert set(found["row"]) == set(range(60)) - set(highs)
    assert found["distance"].is_monotonic_decreasing

    journal, one = Journal(store.path), index.iloc[7]
    clip = clip_of(one["file"], one["start_s"], one["end_s"])
    journal.add(Entry("1", clip_of(*index.iloc[9][["file", "start_s", "end_s"]]), "unsure", "", 1))
    journal.add(Entry("2", clip, "label", "low", 1.0))
    assert run_g5(verb) == 0
    assert "1 of 60 clips are known by their labels" in capsys.readouterr().out
    assert set(pd.read_csv("u.csv")["row"]) == set(range(60)) - {7}

    index.assign(label="x")[["file", "label"]].to_csv("all.csv", index=False)
    assert run_g5([*verb, "--labels", "all.csv"]) == 1
    assert "all of its 60 clips are known" in capsys.readouterr().err
    Path("empty.csv").write_text("file,label\nrec00.wav,\n")
    assert run_g5([*verb, "--labels", "empty.csv"]) == 1
    assert "empty.csv: no label falls on a clip" in capsys.readouterr().err


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_pick_distinct_clips(strategy):
    z = unit(X)
    p = RNG.dirichlet(np.ones(4), 250)
    pool = Pool(z[:250], z[250:], p, [str(i // 10) for i in range(250)])
    picks = choose(strategy, pool, size=20, rng=np.random.default_rng(0))
    assert len(set(picks.tolist())) == 20
    assert choose(strategy, pool, size=999, rng=np.random.default_rng(0)).shape == (250,)
    first = Pool(z[:250], z[:0], None)
    assert len(set(choose(strategy, first, size=20, rng=np.random.default_rng(0)).tolist())) == 20


def test_the_first_labels_are_typical_ones():
    """Three heaps and an outlier: one of each heap, the largest first."""
    rng = np.random.default_rng(0)
    heaps = np.repeat(np.eye(3, 8), [30, 20, 10], axis=0) + 0.02 * rng.standard_normal((60, 8))
    z = unit(np.concatenate([heaps, np.full((1, 8), 0.5)]))
    picks = choose("batch", Pool(z, z[:0], None), size=3, rng=np.random.default_rng(1))
    assert [int(np.searchsorted([30, 50, 60], pick, side="right")) for pick in picks] == [0, 1, 2]


def test_clusters_are_found(tmp_path):
    store = make_store(tmp_path)
    for result in cluster_vectors(
        store.vectors, method="both", k=None, max_k=5, min_cluster_size=5, components=8,
        most=1000, seed=0,
    ):  # fmt: skip
        assert sorted(np.bincount(result.cluster_N[result.cluster_N >= 0])) == [20, 20, 20]


def test_a_journal_survives_a_line_cut_short_and_keeps_the_first_word(tmp_path):
    journal = Journal(tmp_path)
    clip = ("a.wav", 0.0, 1.0)
    assert journal.add(Entry("1", clip, "label", "owl", 1.0)) is None
    assert journal.add(Entry("1", clip, "label", "owl", 1.0)) is None
    before = journal.add(Entry("2", clip, "label", "wren", 1.0))
    assert before is not None
    assert before.label == "owl"
    with open(journal.path, "ab") as handle:
        handle.write(b'{"kind": "label", "cl')
    again = Journal(tmp_path)
    assert again.damaged == 1
    again.add(Entry("3", ("b.wav", 0.0, 1.0), "unsure", "", 1.0))
    assert [e.label for e in Journal(tmp_path).entries.values()] == ["owl", ""]


def test_equal_error_rate_of_worked_cases():
    same = np.array([True] * 4 + [False] * 4)
    assert equal_error_rate(np.array([9, 8, 7, 6, 1, 2, 3, 4.0]), same)[0] == 0
    assert equal_error_rate(np.array([9, 8, 7, 2, 1, 3, 0, 4.0]), same)[0] == pytest.approx(0.25)


def test_few_clips_are_whitened_to_few_components():
    """As many components as clips would make every clip as far from every other."""
    assert Whitening(X, 100)(X).shape == (300, 16)
    assert Whitening(X[:60], 100)(X).shape == (300, 6)
    assert Whitening(X[:5], 100)(X).shape == (300, 2)
