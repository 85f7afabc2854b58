"""Search, novelty, strategies, clusters, the journal and verification against worked cases."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from g5.common.errors import UserError
from g5.config.schema import ClusterSettings
from g5.config.settings import load_transfer
from g5.embeddings.projection import frame
from g5.embeddings.search import novelty, search
from g5.embeddings.vectors import EncoderFacts, VectorStore
from g5.embeddings.whitening import Whitening, unit_vectors
from g5.transfer.explore.clusters import cluster_vectors
from g5.transfer.explore.map_page import outside
from g5.transfer.explore.verification import equal_error_rate, verification, verification_pairs
from g5.transfer.labelling.strategies import STRATEGIES, ClipPool, choose
from g5.web.journal import Journal, JournalEntry, clip_of
from tests.conftest import run_g5
from tests.labelled_store import RATE_HZ, kind_of, make_store

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
    command = ["search", "birds.store", "--unusual", "-k", "60", "-o", "u.html"]
    assert run_g5([*command, "--labels", "labels.csv"]) == 0
    assert "20 of 60 clips are known by their labels and left out" in capsys.readouterr().out
    found = pd.read_csv("u.csv")
    assert set(found["row"]) == set(range(60)) - set(highs)
    assert found["distance"].is_monotonic_decreasing

    journal, one = Journal(store.path), index.iloc[7]
    clip = clip_of(one["file"], one["start_s"], one["end_s"])
    journal.add(
        JournalEntry("1", clip_of(*index.iloc[9][["file", "start_s", "end_s"]]), "unsure", "", 1)
    )
    journal.add(JournalEntry("2", clip, "label", "low", 1.0))
    assert run_g5(command) == 0
    assert "1 of 60 clips are known by their labels" in capsys.readouterr().out
    assert set(pd.read_csv("u.csv")["row"]) == set(range(60)) - {7}

    index.assign(label="x")[["file", "label"]].to_csv("all.csv", index=False)
    assert run_g5([*command, "--labels", "all.csv"]) == 1
    assert "all of its 60 clips are known" in capsys.readouterr().err
    Path("empty.csv").write_text("file,label\nrec00.wav,\n")
    assert run_g5([*command, "--labels", "empty.csv"]) == 1
    assert "empty.csv: no label falls on a clip" in capsys.readouterr().err


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_pick_distinct_clips(strategy):
    z = unit_vectors(X)
    p = RNG.dirichlet(np.ones(4), 250)
    pool = ClipPool(z[:250], z[250:], p, [str(i // 10) for i in range(250)])
    picks = choose(strategy, pool, size=20, rng=np.random.default_rng(0))
    assert len(set(picks.tolist())) == 20
    assert choose(strategy, pool, size=999, rng=np.random.default_rng(0)).shape == (250,)
    first = ClipPool(z[:250], z[:0], None)
    assert len(set(choose(strategy, first, size=20, rng=np.random.default_rng(0)).tolist())) == 20


def test_the_first_labels_are_typical_ones():
    """Three heaps and an outlier: one of each heap, the largest first."""
    rng = np.random.default_rng(0)
    heaps = np.repeat(np.eye(3, 8), [30, 20, 10], axis=0) + 0.02 * rng.standard_normal((60, 8))
    z = unit_vectors(np.concatenate([heaps, np.full((1, 8), 0.5)]))
    picks = choose("batch", ClipPool(z, z[:0], None), size=3, rng=np.random.default_rng(1))
    assert [int(np.searchsorted([30, 50, 60], pick, side="right")) for pick in picks] == [0, 1, 2]


def clustering(**changes: Any) -> ClusterSettings:
    small = replace(load_transfer(reads=()).cluster, max_k=5, components=8, most=1000)
    return replace(small, **changes)


def test_clusters_are_found(tmp_path):
    store = make_store(tmp_path)
    for result in cluster_vectors(store.vectors, clustering(method="both", min_cluster_size=5)):
        assert sorted(np.bincount(result.cluster_N[result.cluster_N >= 0])) == [20, 20, 20]


def test_no_clusters_are_said_plainly():
    """Noise that HDBSCAN groups nothing of."""
    settings = clustering(method="hdbscan", min_cluster_size=12)
    (result,) = cluster_vectors(X[:20], settings)
    assert result.text() == "hdbscan: no clusters; 20 in none"


def test_a_journal_survives_a_line_cut_short_and_keeps_the_first_word(tmp_path):
    journal = Journal(tmp_path)
    clip = ("a.wav", 0.0, 1.0)
    assert journal.add(JournalEntry("1", clip, "label", "owl", 1.0)) is None
    assert journal.add(JournalEntry("1", clip, "label", "owl", 1.0)) is None
    before = journal.add(JournalEntry("2", clip, "label", "wren", 1.0))
    assert before is not None
    assert before.label == "owl"
    with open(journal.path, "ab") as handle:
        handle.write(b'{"kind": "label", "cl')
    again = Journal(tmp_path)
    assert again.damaged == 1
    again.add(JournalEntry("3", ("b.wav", 0.0, 1.0), "unsure", "", 1.0))
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


def test_pairs_are_of_one_kind_and_of_two_sources():
    """Two species, whose individuals have the same names, each in three recordings."""
    rows = [(k, i, s) for k in "ab" for i in "123" for s in "xyz" for _ in range(2)]
    kinds, names, sources = (np.array(column) for column in zip(*rows, strict=True))
    pairs = verification_pairs(names.tolist(), n=300, seed=0, sources=sources.tolist(),
                               kinds=kinds.tolist())  # fmt: skip
    one, other = pairs.first_P, pairs.second_P
    assert (kinds[one] == kinds[other]).all()
    assert (sources[one] != sources[other]).all()
    assert ((names[one] == names[other]) == pairs.same_P).all()
    assert pairs.same_P.sum() == 300
    with pytest.raises(UserError, match="two individuals of one kind"):
        verification_pairs(["1", "2"], n=5, seed=0, kinds=["a", "b"])
    with pytest.raises(UserError, match="two recordings of one"):
        verification_pairs(["1", "1", "2"], n=5, seed=0, sources=["x", "x", "y"])


def test_pairs_are_drawn_evenly_over_individuals_and_at_once():
    """A recording of 3,000 clips, another of one, and individuals of a clip or two."""
    names = np.array(["a"] * 3001 + ["b", "b", "c", "d"])
    sources = np.array(["x"] * 3000 + ["y", "x", "y", "x", "x"])
    pairs = verification_pairs(names.tolist(), n=2000, seed=0, sources=sources.tolist())
    one, other, same_P = pairs.first_P, pairs.second_P, pairs.same_P
    assert (sources[one] != sources[other]).all()
    assert ((names[one] == names[other]) == same_P).all()
    assert set(names[one[same_P]]) == {"a", "b"}
    assert abs((names[one[same_P]] == "a").mean() - 0.5) < 0.05
    assert len(set(one[same_P])) > 400  # of many clips of the one recording
    # c and d are in x alone: they make no pair.
    met = set(zip(names[one[~same_P]], names[other[~same_P]], strict=True))
    assert met == {(p, q) for p in "abcd" for q in "abcd" if p != q} - {("c", "d"), ("d", "c")}
    for name in "abcd":
        assert abs((names[one[~same_P]] == name).mean() - 0.25) < 0.05
    # A thousand individuals of a clip each, all but one in one place.
    many = [str(number) for number in range(1000)]
    pairs = verification_pairs([*many, "0"], n=50, seed=0, sources=["x"] * 1000 + ["y"])
    assert (np.minimum(pairs.first_P, pairs.second_P) < 1000).all()
    assert (np.maximum(pairs.first_P, pairs.second_P) == 1000).all()


def test_an_individual_drawn_twice_counts_its_pairs_twice():
    """All mistakes are one individual's: resampled individuals are less sure than pairs."""
    rng = np.random.default_rng(0)
    names = [str(row // 20) for row in range(200)]
    z_ND = np.repeat(np.eye(10), 20, axis=0)
    z_ND[:20] = rng.standard_normal((20, 10))
    z_ND /= np.linalg.norm(z_ND, axis=1, keepdims=True)
    pairs = verification_pairs(names, n=1000, seed=0)
    by_pair = verification(z_ND, pairs, seed=0)
    by_individual = verification(z_ND, pairs, seed=0, individuals=names)
    assert by_pair.mean == by_individual.mean
    assert by_individual.low < by_pair.low < by_pair.high < by_individual.high


def make_individuals(folder: Path) -> pd.DataFrame:
    """`birds.store`, and its calls as those of six individuals of two species at four sites."""
    index = make_store(folder).index
    kinds = [kind_of(row) for row in range(len(index))]
    table = index[["file", "start_s", "end_s"]].assign(
        label=["thrush" if kind == "high" else "wren" for kind in kinds],
        individual=[f"{kind}{row // 5 % 2}" for row, kind in enumerate(kinds)],
    )
    table.to_csv(folder / "individuals.csv", index=False)
    return table


def test_individuals_are_verified(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = make_individuals(tmp_path)
    command = ["verify", "birds.store", "--labels", "individuals.csv", "verify.pairs=100"]
    assert run_g5([*command, "--json", "rates.json"]) == 0
    out = capsys.readouterr().out
    assert "60 clips of 6 individuals of 2 labels, pairs are of one label" in out
    assert "both clips of a pair are from different sources" in out
    pairs = pd.read_csv("birds_verify.csv")
    assert len(pairs) == 200
    assert pairs["similarity"].is_monotonic_decreasing
    assert set(pairs["label"]) == {"thrush", "wren"}
    same_P = pairs["same"].to_numpy()
    alike_P = pairs["first_individual"].to_numpy() == pairs["second_individual"].to_numpy()
    assert (alike_P == same_P).all()
    rates = json.loads(Path("rates.json").read_text())
    assert rates["low"] <= rates["equal_error_rate"] <= rates["high"]
    accepted_P = pairs["similarity"].to_numpy() >= rates["threshold"]
    errors = [accepted_P[~same_P].mean(), (~accepted_P)[same_P].mean()]
    np.testing.assert_allclose(errors, rates["equal_error_rate"], atol=0.02)
    assert run_g5([*command, "--json", "again.json"]) == 0
    assert json.loads(Path("again.json").read_text()) == rates

    # Each individual at a site of its own: then pairs are of two recordings.
    table.assign(source=table["individual"]).to_csv("individuals.csv", index=False)
    assert run_g5(command) == 0
    assert "from different recordings" in capsys.readouterr().out
    table.assign(individual=table["file"]).to_csv("individuals.csv", index=False)
    assert run_g5(command) == 0
    assert "its channel and noise may be all that is recognised" in capsys.readouterr().out
    few: pd.DataFrame = table.loc[(table["label"] == "wren") & (table.index < 20)]
    few.assign(individual=["", *few["individual"].tolist()[1:]]).to_csv(
        "individuals.csv", index=False
    )
    assert run_g5(command) == 0
    out = capsys.readouterr().out
    assert "1 row without an individual left out" in out
    assert "no interval, which takes 5 individuals with pairs of their own (here 4)" in out

    # Six individuals, but clips of one alone are from two recordings.
    once = table.drop_duplicates("individual")
    pd.concat([once, table[table["individual"] == "low0"]]).to_csv("individuals.csv", index=False)
    assert run_g5(command) == 0
    assert "with pairs of their own (here 1)" in capsys.readouterr().out


def test_a_recording_is_one_however_it_is_spelt_and_a_clip_is_no_pair(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    store = VectorStore.create(
        "s.store", EncoderFacts("e", "e", 2, 8000, 1.0), audio_root=tmp_path / "rec"
    )
    index = pd.DataFrame({"file": ["a.wav"] * 2 + ["b.wav"] * 2, "start_s": [0.0, 1, 0, 1]})
    store.ingest(RNG.random((4, 2)), index.assign(end_s=index["start_s"] + 1))
    Path("individuals.csv").write_text(
        "file,start_s,end_s,individual\na.wav,0,1,p\nrec/a.wav,1,2,p\nrec/a.wav,0,1,p\n"
        "b.wav,0,1,q\nb.wav,1,2,q\nb.wav,1,2,q\n"
    )
    command = ["verify", "s.store", "--labels", "individuals.csv", "verify.pairs=50"]
    assert run_g5([*command, "--json", "rates.json"]) == 0
    assert "no individual has clips in two recordings" in capsys.readouterr().out
    assert json.loads(Path("rates.json").read_text())["apart"] is None
    pairs = pd.read_csv("s_verify.csv")
    assert set(pairs["first_file"]) | set(pairs["second_file"]) == {"a.wav", "b.wav"}
    same: Any = pairs[pairs["same"]]
    assert (same["first_start_s"] != same["second_start_s"]).all()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("file,individual\nrec00.wav,\n", "no row names an individual"),
        ("file,individual\nrec00.wav,a\nrec01.wav,a\n", "two different ones are needed"),
        ("file,individual\nrec00.wav,a\nrec01.wav,b\n", "two recordings of one of them"),
        ("file,rating\nrec00.wav,1\n", "it needs `file` and `individual` or `label`"),
        ("file,individual\nx.wav,a\n", "no label has an embedding"),
    ],
)
def test_individuals_that_cannot_be_verified(rows, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path)
    Path("individuals.csv").write_text(rows)
    assert run_g5(["verify", "birds.store", "--labels", "individuals.csv"]) == 1
    assert words in capsys.readouterr().err


def test_a_map_is_framed_by_what_most_points_take():
    rng = np.random.default_rng(0)
    place_NP = rng.standard_normal((500, 3))
    np.testing.assert_array_equal(frame(place_NP), (place_NP.min(axis=0), place_NP.max(axis=0)))
    assert not len(outside(place_NP))
    far_NP = np.concatenate([place_NP, [[1000.0, 0, 0], [0, -500.0, 0]]])
    low, high = frame(far_NP)
    assert np.abs([low, high]).max() < 7
    assert outside(far_NP).tolist() == [500, 501]
    # Too few points to say which are far; all but one in one place; an axis that nothing varies on.
    for all_NP in (far_NP[-9:], np.eye(50, 2)[::-1], np.zeros((50, 3))):
        np.testing.assert_array_equal(frame(all_NP), (all_NP.min(axis=0), all_NP.max(axis=0)))
        assert not len(outside(all_NP))


@pytest.mark.parametrize("dims", [2, 3])
def test_one_clip_far_from_all_does_not_squeeze_the_map(dims, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store = make_store(tmp_path)
    far = pd.DataFrame({"file": ["rec00.wav"], "start_s": [0.3], "end_s": [0.4]})
    store.ingest(np.full((1, 16), 300.0), far)
    assert run_g5(["map", "birds.store", f"map.dims={dims}", "map.method=pca", "-o", "m.html"]) == 0
    said = "Rings at the edge lie farther out than they are drawn: 1."
    assert f"birds.store (test): {said}" in capsys.readouterr().out
    page = Path("m.html").read_text()
    assert said in page
    assert "by PCA" in page
    drawn = json.loads(re.search(r"const DATA = (.*?);\n", page)[1])["maps"][0]  # type: ignore
    at_NP = np.array(drawn["at"]).reshape(61, dims)
    assert drawn["out"] == [60]
    assert 4095 in at_NP[60] or 0 in at_NP[60]
    assert np.ptp(at_NP[:60], axis=0).max() > 2000


def test_what_is_looked_for_is_no_find(tmp_path, monkeypatch, capsys):
    """The query's own clips, under whatever name, are shown as the query and not counted."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(3 * RATE_HZ), RATE_HZ)
    assert run_g5(["embed", "handcrafted", "a.wav", "b.wav", "-o", "two.store"]) == 0
    Path("a.wav").rename("copy.wav")
    capsys.readouterr()
    assert run_g5(["search", "two.store", "--like", "copy.wav:0.5-1", "-k", "9"]) == 0
    printed = capsys.readouterr().out
    assert "query copy.wav:0.5-1 (its own clips in the store, 1, are no finds)" in printed
    found = pd.read_csv("two_search.csv")
    assert len(found) == 5
    own = zip(found["file"].tolist(), found["start_s"].tolist(), strict=True)
    assert all(file == "b.wav" or start_s >= 1 for file, start_s in own)
    page = Path("two_search.html").read_text()
    assert page.count("<figcaption>Query: copy.wav:0.5-1") == page.count('class="card asked"') == 1
    assert run_g5(["search", "two.store", "--like", "copy.wav", "--like", "b.wav"]) == 0
    found = pd.read_csv("two_search.csv")
    assert len(found) == 6
    pairs = zip(found["query"].tolist(), found["file"].tolist(), strict=True)
    assert set(pairs) == {("copy.wav", "b.wav"), ("b.wav", "a.wav")}


def test_a_query_outside_of_the_store_is_heard(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("mine", "elsewhere"):
        Path(folder).mkdir()
        soundfile.write(f"{folder}/a.wav", 0.1 * rng.standard_normal(2 * RATE_HZ), RATE_HZ)
    assert run_g5(["embed", "handcrafted", "mine", "-o", "one.store"]) == 0
    assert run_g5(["search", "one.store", "--like", "elsewhere/a.wav:0-1"]) == 0
    page = Path("one_search.html").read_text()
    assert "no sound found" not in page
    assert page.count("<audio") == 1 + 2


def test_a_map_names_its_encoders_and_is_more_than_pca(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path)
    assert run_g5(["map", "birds.store", "--beside", "birds.store", "map.tiles=1"]) == 0
    page = Path("birds_map.html").read_text()
    assert "<h1>Map of birds.store (test) beside birds.store (test)</h1>" in page
    assert "by UMAP" in page or "by t-SNE" in page
    assert "map.tiles and map.page_mb draw more" in page
