"""Figures appear whole and legible; the verdict on a training run is the one its curves deserve."""

import subprocess
import sys
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.embeddings.projection import has_umap
from g5.evaluation.figures.answers import confidence_histogram, reliability_diagram
from g5.evaluation.figures.classes import (
    confusion_matrix,
    per_class_accuracy,
    similarity_order,
    worst_confusions,
)
from g5.evaluation.figures.curves import capacity_curve, capacity_told, shot_curve, training_curves
from g5.evaluation.figures.maps import embedding_map
from g5.evaluation.figures.style import drawing, short_names
from g5.evaluation.intervals import mean_interval
from g5.evaluation.verdict import verdict
from g5.tracking.history import COLUMNS, best_epoch, read_history

pytestmark = pytest.mark.usefixtures("drawn_figures")

INTERVAL = mean_interval(np.linspace(0.4, 0.8, 1000))


def make_history(epochs, *, train_loss, val_loss, train_acc, val_acc):
    e = np.arange(1, epochs + 1, dtype=float)
    curves = [f(e) for f in (train_loss, val_loss, train_acc, val_acc)]
    return pd.DataFrame(dict(zip(COLUMNS, [e.astype(int), *curves, 1e-3 / e], strict=True)))


def good(epochs):
    return make_history(
        epochs,
        train_loss=lambda e: 0.2 + 2 * np.exp(-e / 5),
        val_loss=lambda e: 0.6 + 2 * np.exp(-e / 5),
        train_acc=lambda e: 0.9 - 0.6 * np.exp(-e / 5),
        val_acc=lambda e: 0.8 - 0.6 * np.exp(-e / 5),
    )


def overfit(epochs):
    return make_history(
        epochs,
        train_loss=lambda e: 2 * np.exp(-e / 10),
        val_loss=lambda e: 1 + 0.02 * np.abs(e - 15),
        train_acc=lambda e: 1 - 0.5 * np.exp(-e / 10),
        val_acc=lambda e: 0.7 - 0.004 * np.abs(e - 15),
    )


def underfit(epochs):
    return make_history(
        epochs,
        train_loss=lambda e: 2.3 - 0.01 * np.log(e),
        val_loss=lambda e: 2.3 - 0.01 * np.log(e),
        train_acc=lambda e: 0.2 + 0.001 * np.log(e),
        val_acc=lambda e: 0.2 + 0.001 * np.log(e),
    )


# --- the verdict ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "kind", "reason"),
    [
        (good(50), "converging", "levelled off near 80.0%"),
        (good(8), "converging", "still rises"),
        (overfit(40), "overfitting", "since epoch 15 train/loss fell by 92% while val/loss rose"),
        (overfit(16), "converging", ""),
        (underfit(50), "underfitting", "no longer rising"),
        (good(50).assign(**{"train/acc": np.linspace(0.1, 0.3, 50)}), "underfitting", "only 29"),
        (good(2), "too short to judge", "2 epochs"),
    ],
)
def test_verdict(history, kind, reason):
    judged = verdict(history, chance=0.1)
    assert judged.kind == kind
    assert reason in judged.reason


def test_a_gap_between_training_and_unseen_species_is_no_overfitting():
    history = good(50).assign(**{"val/acc": lambda h: h["train/acc"] - 0.4})
    assert verdict(history, chance=0.1).kind == "converging"


def test_one_bad_last_epoch_is_no_trend():
    history = good(50)
    history.loc[49, "val/loss"] *= 1.15
    assert verdict(history, chance=0.1).kind == "converging"


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_divergence_is_named_with_its_epoch(lost):
    history = good(9)
    history.loc[5:, "train/loss"] = lost
    judged = verdict(history, chance=0.1)
    assert judged.kind == "diverged"
    assert "from epoch 6 on" in judged.reason


# --- history ----------------------------------------------------------------------------------


def test_history_is_read_with_gaps_and_repeats(tmp_path):
    path = tmp_path / "history.csv"
    rows = ["2,1.5,1.4,0.4,0.3,0.001", "1,2.0,,0.2,,0.001", "2,1.6,1.5,0.4,0.6,0.001"]
    path.write_text("\n".join([",".join(COLUMNS), *rows, "3,1.2,1.3,0.5,0.6,0.001"]) + "\n")
    history = read_history(path)
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["train/loss"].tolist() == [2.0, 1.6, 1.2]
    assert np.isnan(history["val/acc"][0])
    assert best_epoch(history) == 2  # the first of the best
    assert best_epoch(history.assign(**{"val/acc": np.nan})) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", "not a training history"),
        ("epoch,loss\n1,2\n", "no column train/loss"),
        (",".join(COLUMNS) + "\n", "no epoch"),
    ],
)
def test_a_bad_history_is_an_error_naming_the_file(tmp_path, text, message):
    path = tmp_path / "history.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"history\.csv.*{message}"):
        read_history(path)


# --- names ------------------------------------------------------------------------------------


def test_short_names_fit_and_differ():
    names = [
        f"Phylloscopus trochiloides viridanus call {i:02d} (northern population)" for i in range(30)
    ]
    short = short_names([*names, "dog", "x" * 31])
    assert short[-2] == "dog"
    assert max(map(len, short)) <= 31
    assert len(set(short)) == 32
    assert all(f"{i:02d}" in name for i, name in enumerate(short[:30]))


def test_names_that_cannot_be_cut_apart_stay_whole():
    # They differ in two places, and no cut of 31 characters shows both.
    names = [f"{'a' * 12}{i}{'b' * 40}{j}{'c' * 20}" for i in "12" for j in "34"]
    short = short_names(names)
    assert len(set(short)) == 4


# --- the figures ------------------------------------------------------------------------------


def make_confusion(n, seed=0):
    rng = np.random.default_rng(seed)
    confusion_CC = rng.poisson(2, size=(n, n)) + np.diag(rng.integers(20, 200, n))
    return confusion_CC, [f"species {i:03d}" for i in rng.permutation(n)]


def size_of(path):
    from matplotlib.image import imread

    return imread(path).shape


@pytest.mark.parametrize("n", [2, 5, 30, 101])
def test_figures_of_classes_are_drawn(tmp_path, n):
    confusion_CC, labels = make_confusion(n)
    confusion_CC[-1] = 0  # never asked
    support_C = confusion_CC.sum(1)
    accuracy_C = confusion_CC.diagonal() / np.maximum(support_C, 1)
    path = confusion_matrix(confusion_CC, labels, tmp_path / "confusion.png")
    assert min(size_of(path)[:2]) > 400
    path = per_class_accuracy(
        accuracy_C, support_C, labels, tmp_path / "per_class.png", interval=INTERVAL, chance=0.2
    )
    assert min(size_of(path)[:2]) > 300
    assert sorted(p.name for p in tmp_path.iterdir()) == ["confusion.png", "per_class.png"]


def test_every_name_of_a_hundred_classes_stands_beside_its_row(tmp_path, monkeypatch):
    """Names are at least 7 points high, do not touch, and lie inside the figure."""
    seen = []

    @contextmanager
    def spy(*place):
        with drawing(*place) as figure:
            seen.append(figure)
            yield figure

    monkeypatch.setattr("g5.evaluation.figures.classes.drawing", spy)
    confusion_CC, labels = make_confusion(100)
    confusion_matrix(confusion_CC, labels, tmp_path / "confusion.png")
    figure = seen[0]
    axes = figure.axes[0]
    names = axes.get_yticklabels()
    assert sorted(name.get_text() for name in names) == sorted(labels)
    assert all(name.get_fontsize() >= 7 for name in names)
    boxes = sorted((name.get_window_extent() for name in names), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0


UNVALIDATED = {"val/acc": np.nan, "val/loss": np.nan}
DIVERGED = {"train/loss": np.nan}


@pytest.mark.parametrize(
    "history",
    [good(1), good(50), overfit(40), good(12).assign(**UNVALIDATED), good(9).assign(**DIVERGED)],
)
def test_training_curves_are_drawn(tmp_path, history):
    path = training_curves(history, tmp_path / "curves.png", chance=0.1)
    assert size_of(path)[1] > 1500


def test_confused_classes_become_neighbours():
    share_CC = np.eye(6) * 0.6
    for i, j in ((0, 3), (1, 4), (2, 5)):
        share_CC[i, j] = share_CC[j, i] = 0.4
    order = similarity_order(share_CC).tolist()
    for i, j in ((0, 3), (1, 4), (2, 5)):
        assert abs(order.index(i) - order.index(j)) == 1


def test_worst_confusions_in_words():
    share_CC = np.array([[0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.3, 0.0, 0.7]])
    text = worst_confusions(share_CC, ["ape", "bat", "cow"])
    assert text.splitlines()[1:] == ["cow → ape 30%", "ape → bat 10%"]
    assert worst_confusions(np.eye(2), ["ape", "bat"]) == "No class is ever confused."


# --- answers ----------------------------------------------------------------------------------


def titles(monkeypatch, module):
    """The figures' main titles, as they are drawn."""
    seen = []

    @contextmanager
    def spy(*place):
        with drawing(*place) as figure:
            yield figure
            seen.append(figure.get_suptitle())

    monkeypatch.setattr(f"g5.evaluation.figures.{module}.drawing", spy)
    return seen


@pytest.mark.parametrize(
    ("shift", "kind"), [(0.0, "well calibrated"), (0.2, "too sure"), (-0.2, "not sure enough")]
)
def test_reliability_says_whether_confidence_can_be_believed(tmp_path, monkeypatch, shift, kind):
    seen = titles(monkeypatch, "answers")
    rng = np.random.default_rng(0)
    confidence_A = rng.uniform(0.3, 0.7, 20_000)
    hit_A = rng.random(20_000) < confidence_A - shift
    path = tmp_path / "reliability.png"
    reliability_diagram(confidence_A, hit_A, path, chance=0.2, error=0.2)
    assert min(size_of(path)[:2]) > 800
    assert seen == [f"On the whole {kind}, expected calibration error 20.0%"]


def test_confident_mistakes_are_counted(tmp_path, monkeypatch):
    seen = titles(monkeypatch, "answers")
    confidence_A = np.array([0.95, 0.99, 0.97, 0.92, 0.5, 0.6, 0.4, 0.3])
    hit_A = np.array([1, 1, 1, 0, 1, 0, 0, 0], dtype=bool)
    confidence_histogram(confidence_A, hit_A, tmp_path / "a.png", chance=0.2)
    confidence_histogram(confidence_A[4:], hit_A[4:], tmp_path / "b.png", chance=0.2)
    confidence_histogram(confidence_A[:3], hit_A[:3], tmp_path / "c.png", chance=0.2)
    assert seen[:2] == [
        "50% of answers are 90% confident or more; 25.0% of those are wrong",
        "No answer is 90% confident or more",
    ]


@pytest.mark.parametrize("draw", [reliability_diagram, confidence_histogram])
def test_answers_that_cannot_be_drawn_are_one_clear_line(tmp_path, draw):
    path = tmp_path / "figure.png"
    with pytest.raises(UserError, match="there are no answers to draw"):
        draw(np.array([]), np.array([], dtype=bool), path, chance=0.2)
    with pytest.raises(UserError, match="1 of 2 confidences are NaN"):
        draw(np.array([0.5, np.nan]), np.array([True, False]), path, chance=0.2)
    assert not path.exists()


# --- maps -------------------------------------------------------------------------------------


def make_clips(n_classes, n_clips=60):
    rng = np.random.default_rng(0)
    class_P = rng.integers(n_classes, size=n_clips)
    z_PD = rng.normal(size=(n_classes, 8))[class_P] * 5 + rng.normal(size=(n_clips, 8))
    sources = [f"Aufnahme {i} am Großen Müggelsee, Nordufer" for i in rng.integers(6, size=n_clips)]
    return z_PD, [f"Grünspecht {i}" for i in class_P], sources


METHODS = [
    "pca",
    "tsne",
    pytest.param("umap", marks=pytest.mark.skipif(not has_umap(), reason="an optional package")),
]


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_drawn_and_are_the_same_again(tmp_path, method):
    clips = make_clips(5)
    first, again, other = tmp_path / "1.png", tmp_path / "2.png", tmp_path / "3.png"
    embedding_map(*clips, first, method=method, seed=0)
    embedding_map(*clips, again, method=method, seed=0)
    assert first.read_bytes() == again.read_bytes()
    embedding_map(*clips, other, method=method, seed=0, most=30)
    assert other.read_bytes() != first.read_bytes()


@pytest.mark.parametrize(
    ("n_classes", "n_clips"), [(100, 300), (1, 3), (5, 5)], ids=["many", "three clips", "five"]
)
def test_maps_of_many_classes_and_of_few_clips(tmp_path, n_classes, n_clips):
    z_PD, labels, _ = make_clips(n_classes, n_clips)
    alone = [f"{i}.wav" for i in range(n_clips)]
    for method in ("pca", "tsne"):
        path = embedding_map(z_PD, labels, alone, tmp_path / "map.png", method=method, seed=0)
        assert min(size_of(path)[:2]) > 800


def test_maps_of_what_cannot_be_mapped(tmp_path):
    z_PD, labels, sources = make_clips(3)
    path = tmp_path / "map.png"
    # An encoder that collapsed: one point.
    embedding_map(np.ones_like(z_PD), labels, sources, path, method="tsne", seed=0)
    z_PD[3, 2] = np.nan
    with pytest.raises(UserError, match="1 of 60 embeddings are NaN or infinite"):
        embedding_map(z_PD, labels, sources, path, method="pca", seed=0)
    with pytest.raises(UserError, match="at least 3 clips, here: 2"):
        embedding_map(z_PD[:2], labels[:2], sources[:2], path, method="pca", seed=0)
    if not has_umap():
        with pytest.raises(UserError, match="pip install"):
            embedding_map(z_PD[4:], labels[4:], sources[4:], path, method="umap", seed=0)


# --- shots and capacity -----------------------------------------------------------------------


def test_shot_curves_are_drawn(tmp_path):
    table = pd.DataFrame({"k_shot": [10, 1, 5], "accuracy": [0.7, 0.4, 0.6]})
    table = table.assign(low=table["accuracy"] - 0.02, high=table["accuracy"] + 0.02)
    both = pd.concat([table.assign(name="v2"), table.assign(name="raw features")])
    for number, rows in enumerate((table, both, table.head(1))):
        path = shot_curve(rows, tmp_path / f"{number}.png", chance=0.1, title="v2")
        assert min(size_of(path)[:2]) > 500


@pytest.mark.parametrize(
    ("test_error", "told"),
    [
        ([0.6, 0.4, 0.5], "least test error 40.0% at width 16, 20.0 points above training; wider "
                          "is worse"),
        ([0.6, 0.5, 0.4], "wider may still help"),
        ([0.6, 0.5, 0.505], "wider makes no clear difference"),
        ([0.6], "at width 8, 20.0 points above training"),
    ],
)  # fmt: skip
def test_capacity_says_whether_wider_helps(tmp_path, test_error, told):
    error = np.array(test_error)
    table = pd.DataFrame(
        {
            "width": [8, 16, 32][: len(error)], "parameters": [1200, 50_000, 2e6][: len(error)],
            "train_error": error - 0.2, "train_low": error - 0.21, "train_high": error - 0.19,
            "test_error": error, "test_low": error - 0.01, "test_high": error + 0.01,
        }
    )  # fmt: skip
    assert capacity_told(table).endswith(told)
    path = capacity_curve(
        table.sort_values("width", ascending=False), tmp_path / "capacity.png", title="v1"
    )
    assert min(size_of(path)[:2]) > 500


def test_a_figure_that_fails_leaves_nothing(tmp_path):
    def draw():
        with drawing(tmp_path / "figure.png", 3, 3):
            raise RuntimeError("while drawing")

    with pytest.raises(RuntimeError):
        draw()
    assert list(tmp_path.iterdir()) == []


def test_matplotlib_is_imported_late_and_pyplot_never(tmp_path):
    code = f"""
import pathlib, sys
import numpy as np
from g5.evaluation.figures.classes import confusion_matrix
for heavy in ("matplotlib", "torch", "sklearn", "scipy"):
    assert heavy not in sys.modules, heavy
confusion_matrix(np.eye(3) * 5, list("abc"), pathlib.Path({str(tmp_path)!r}) / "c.png")
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
