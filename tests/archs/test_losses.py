"""Losses by hand and against scikit-learn, class weights, balancing, and what both do per class."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archs import losses
from g5.evaluation.report.per_class import recall_table
from preprocessing.episodes.balance import balanced_rows

COUNTS = torch.tensor([900, 90, 10])


def test_cross_entropy_by_hand():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    target = torch.tensor([0, 2])
    log_p = (logits - logits.exp().sum(1, keepdim=True).log()).numpy()
    plain = -(log_p[0, 0] + log_p[1, 2]) / 2
    assert losses.cross_entropy(logits, target).item() == pytest.approx(plain, rel=1e-6)
    weights = torch.tensor([1.0, 5.0, 3.0])
    weighted = -(log_p[0, 0] + 3 * log_p[1, 2]) / 4
    got = losses.cross_entropy(logits, target, weights_C=weights)
    assert got.item() == pytest.approx(weighted, rel=1e-6)
    smooth = -(0.9 * (log_p[0, 0] + log_p[1, 2]) + 0.1 * log_p.mean(1).sum()) / 2
    got = losses.cross_entropy(logits, target, label_smoothing=0.1)
    assert got.item() == pytest.approx(smooth, rel=1e-6)


def test_binary_cross_entropy_by_hand():
    logits, target = torch.tensor([[1.0, -2.0]]), torch.tensor([[1, 0]])
    p = 1 / (1 + np.exp(-logits.numpy()))
    plain = -(np.log(p[0, 0]) + np.log(1 - p[0, 1])) / 2
    assert losses.bce_with_logits(logits, target).item() == pytest.approx(plain, rel=1e-6)
    got = losses.bce_with_logits(logits, target, positive_weights_C=torch.tensor([4.0, 1.0]))
    assert got.item() == pytest.approx(-(4 * np.log(p[0, 0]) + np.log(1 - p[0, 1])) / 2, rel=1e-6)
    soft = torch.tensor([[0.9, 0.1]])
    got = losses.bce_with_logits(logits, target, label_smoothing=0.2)
    assert got.item() == pytest.approx(losses.bce_with_logits(logits, soft).item())


def test_losses_of_a_rating():
    predicted, target = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1, 4, 3])
    assert losses.mse(predicted, target).item() == pytest.approx(5 / 3)
    assert losses.mae(predicted, target).item() == pytest.approx(1.0)
    with pytest.raises(AssertionError):
        losses.mse(predicted[:, None], target)


def test_half_precision_logits_are_scored_in_fp32():
    logits, target = 30 * torch.randn(64, 9), torch.arange(64) % 9
    with torch.autocast("cpu", torch.bfloat16):
        loss = losses.cross_entropy(logits, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, losses.cross_entropy(logits, target))


def test_inverse_frequency_is_scikit_learns_balanced():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1, 2], COUNTS.numpy())
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(losses.inverse_frequency(COUNTS), theirs, rtol=1e-6)


def test_effective_number():
    beta = 0.9999
    unscaled = (1 - beta) / (1 - beta ** COUNTS.double().numpy())
    expected = unscaled * 3 / unscaled.sum()
    np.testing.assert_allclose(losses.effective_number(COUNTS, beta=beta), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.effective_number(COUNTS, beta=0.0), 1.0)
    near_one = losses.effective_number(COUNTS, beta=1 - 1e-9)
    inverse = losses.inverse_frequency(COUNTS)
    np.testing.assert_allclose(near_one / near_one.sum(), inverse / inverse.sum(), rtol=1e-4)


def test_an_absent_class_weighs_nothing():
    counts = torch.tensor([5, 0, 5])
    for kind in ("inverse_frequency", "effective_number"):
        assert losses.class_weights(kind, counts, beta=0.9).tolist() == [1, 0, 1]  # pyright: ignore
    assert losses.class_weights("none", counts, beta=0.9) is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: losses.class_weights("balanced", COUNTS, beta=0.9), "none of none"),  # type: ignore[arg-type]
        (lambda: losses.effective_number(COUNTS, beta=1.0), "below 1"),
        (lambda: losses.inverse_frequency(torch.tensor([1.0, np.nan])), "none below 0"),
        (lambda: losses.inverse_frequency(torch.zeros(3)), "every class has none"),
        (lambda: losses.cross_entropy(torch.zeros(1, 2), torch.zeros(1).long(),
                                      label_smoothing=1.0), "label_smoothing=1.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# --- balancing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "sizes"),
    [("none", [9, 5, 1]), ("over", [9, 9, 9]), ("under", [1, 1, 1]), ("both", [5, 5, 5])],
)
def test_balanced_rows(how, sizes):
    labels = np.array(["a"] * 9 + ["b"] * 5 + ["c"])
    rows = balanced_rows(labels, how, seed=3)
    assert [int((labels[rows] == name).sum()) for name in "abc"] == sizes
    assert np.array_equal(rows, balanced_rows(labels, how, seed=3))
    times = np.bincount(rows, minlength=15)
    for name, size in zip("abc", sizes, strict=True):
        # Every row as often as the others of its class, but for a rest of one.
        of_class = times[labels == name]
        assert of_class.max() - of_class.min() <= 1
        assert of_class.sum() == size
    if how != "none":
        assert not np.array_equal(rows, balanced_rows(labels, how, seed=4))


def test_nothing_to_balance():
    with pytest.raises(ValueError, match="no labelled rows"):
        balanced_rows([], "over", seed=0)
    with pytest.raises(ValueError, match="none of"):
        balanced_rows(["a"], "up", seed=0)  # type: ignore[arg-type]


# --- what they do, class by class ---------------------------------------------------------------


def blobs(counts: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Three overlapping classes in the plane."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(3).repeat_interleave(torch.tensor(counts))
    centre = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    return centre[target] + torch.randn(len(target), 2, generator=generator), target


def trained_predictions(rows: np.ndarray, weights: Tensor | None) -> np.ndarray:
    x, target = blobs(COUNTS.tolist(), seed=0)
    torch.manual_seed(0)
    model = nn.Linear(2, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100)

    def closure() -> float:
        optimizer.zero_grad()
        loss = losses.cross_entropy(model(x[rows]), target[rows], weights_C=weights)
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return model(blobs([300, 300, 300], seed=1)[0]).argmax(1).detach().numpy()


@pytest.mark.parametrize(
    "remedy", ["inverse_frequency", "effective_number", "over", "under", "both"]
)
def test_each_remedy_helps_the_rare_class_at_the_common_ones_cost(remedy):
    labels = np.repeat([0, 1, 2], COUNTS.numpy())
    true = np.repeat([0, 1, 2], 300)
    plain = trained_predictions(balanced_rows(labels, "none", seed=0), None)
    if remedy in ("over", "under", "both"):
        after = trained_predictions(balanced_rows(labels, remedy, seed=0), None)
    else:
        rows = balanced_rows(labels, "none", seed=0)
        weights = losses.class_weights(remedy, COUNTS, beta=0.999)
        after = trained_predictions(rows, weights)
    table = recall_table(
        {"before": (true, plain), "after": (true, after)},
        trained_on=dict(enumerate(COUNTS.tolist())),
    )
    assert table["label"].tolist() == [2, 1, 0]  # by examples trained on
    change = dict(zip(("rare", "some", "common"), table["after"] - table["before"], strict=True))
    assert change["rare"] > 0.3
    assert change["common"] < 0
    assert sum(change.values()) > 0.15  # balanced accuracy gains
