"""Class scores against scikit-learn and against a case worked by hand."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from g5.evaluation.metrics import (
    class_scores,
    open_set_auroc,
    probability_scores,
    reliability,
)


def test_a_case_worked_by_hand():
    true = np.array([0, 0, 0, 0, 1, 1, 3])
    predicted = np.array([0, 0, 0, 1, 1, 0, 1])
    scores = class_scores(true, predicted, 5)
    np.testing.assert_array_equal(scores.support_C, [4, 2, 0, 1, 0])
    np.testing.assert_array_equal(scores.accuracy_C, [0.75, 0.5, np.nan, 0.0, np.nan])
    assert scores.confusion_CC[0].tolist() == [3, 1, 0, 0, 0]
    assert scores.confusion_CC[:, 1].tolist() == [1, 1, 0, 1, 0]
    assert scores.accuracy == pytest.approx(4 / 7)
    # Classes 2 and 4 never occur and count for nothing: precision (3/4 + 1/3 + 0/0 as 0) / 3.
    assert scores.macro_precision == pytest.approx((3 / 4 + 1 / 3 + 0) / 3)
    assert scores.macro_recall == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    assert scores.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)


@settings(max_examples=60, deadline=None)
@given(
    n_classes=st.integers(2, 12),
    n_answers=st.integers(1, 200),
    bias=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_equal_to_scikit_learn(n_classes, n_answers, bias, seed):
    from sklearn.metrics import (
        accuracy_score,
        balanced_accuracy_score,
        confusion_matrix,
        precision_recall_fscore_support,
    )

    rng = np.random.default_rng(seed)
    true = rng.integers(n_classes, size=n_answers)
    predicted = np.where(
        rng.random(n_answers) < bias, true, rng.integers(n_classes, size=n_answers)
    )
    ours = class_scores(true, predicted, n_classes)
    for average in ("macro", "micro"):
        theirs = precision_recall_fscore_support(true, predicted, average=average, zero_division=0)  # type: ignore[arg-type]
        got = [getattr(ours, f"{average}_{name}") for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(got, theirs[:3], atol=1e-6)  # type: ignore[arg-type]
    assert ours.accuracy == pytest.approx(accuracy_score(true, predicted), abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predicted classes never asked
        balanced = balanced_accuracy_score(true, predicted)
    assert ours.balanced_accuracy == pytest.approx(balanced, abs=1e-6)
    np.testing.assert_array_equal(
        ours.confusion_CC, confusion_matrix(true, predicted, labels=range(n_classes))
    )


def test_no_answers_is_an_error():
    with pytest.raises(ValueError, match="no answers"):
        class_scores(np.array([], int), np.array([], int), 3)


# --- probabilities ----------------------------------------------------------------------------


def random_probabilities(rng, n_answers, n_way, grain):
    """Rows that sum to 1; ``grain`` makes ties."""
    p = rng.dirichlet(np.full(n_way, 0.7), size=n_answers)
    if grain:
        p = np.floor(p * grain) + 1
        p = p / p.sum(1, keepdims=True)
    return p


@settings(max_examples=60, deadline=None)
@given(
    n_way=st.integers(3, 9),
    n_answers=st.integers(2, 120),
    grain=st.sampled_from([0, 4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_probabilities_of_a_classifier_equal_scikit_learn(n_way, n_answers, grain, seed):
    from sklearn import metrics as sk

    rng = np.random.default_rng(seed)
    p = random_probabilities(rng, n_answers, n_way, grain)
    way = rng.integers(n_way, size=n_answers)
    way[:2] = 0, 1
    ours = probability_scores(p, way, n_classes=n_way)
    labels = np.arange(n_way)
    assert ours.nll == pytest.approx(sk.log_loss(way, p, labels=labels), abs=1e-6)
    one_hot = np.eye(n_way)[way]
    assert ours.brier == pytest.approx(
        sk.brier_score_loss(way, p, labels=labels, scale_by_half=False),  # type: ignore[arg-type]
        abs=1e-6,
    )
    aucs, precisions = [], []
    for c in labels:
        if 0 < one_hot[:, c].sum() < n_answers:
            aucs.append(sk.roc_auc_score(one_hot[:, c], p[:, c]))
            precisions.append(sk.average_precision_score(one_hot[:, c], p[:, c]))
            assert ours.roc_auc_C[c] == pytest.approx(aucs[-1], abs=1e-6)
            assert ours.average_precision_C[c] == pytest.approx(precisions[-1], abs=1e-6)
        else:
            assert np.isnan(ours.roc_auc_C[c])
    assert ours.roc_auc == pytest.approx(np.mean(aucs), abs=1e-6)
    assert ours.average_precision == pytest.approx(np.mean(precisions), abs=1e-6)
    if not grain:  # ties are another matter: which of two equals is among the first k
        for k, share in ours.top_k.items():
            theirs = sk.top_k_accuracy_score(way, p, k=k, labels=labels)
            assert share == pytest.approx(theirs, abs=1e-6)
    assert set(ours.top_k) == {k for k in (2, 3, 5) if k < n_way}


@settings(max_examples=30, deadline=None)
@given(
    n_way=st.integers(2, 5), spare=st.integers(0, 4), episodes=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_classes_of_episodes_are_ranked_where_they_were_candidates(n_way, spare, episodes, seed):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    n_classes = n_way + spare
    class_AN = np.repeat([rng.permutation(n_classes)[:n_way] for _ in range(episodes)], 3, axis=0)
    p = random_probabilities(rng, len(class_AN), n_way, 0)
    way = rng.integers(n_way, size=len(p))
    ours = probability_scores(p, way, class_AN=class_AN, n_classes=n_classes)
    for c in range(n_classes):
        row, column = np.nonzero(class_AN == c)
        asked = way[row] == column
        if asked.any() and not asked.all():
            expected = roc_auc_score(asked, p[row, column])
            assert ours.roc_auc_C[c] == pytest.approx(expected, abs=1e-6)
        right = asked & (p[row].argmax(1) == column)
        if right.any():
            mean = p[row, column][right].mean()
            assert ours.confidence_correct_C[c] == pytest.approx(mean)
        else:
            assert np.isnan(ours.confidence_correct_C[c])


@settings(max_examples=40, deadline=None)
@given(n_answers=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_reliability_adds_up_to_the_calibration_error_and_equals_scikit_learn(n_answers, seed):
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(seed)
    p = random_probabilities(rng, n_answers, 3, 0)
    way = rng.integers(3, size=n_answers)
    confidence, hit = p.max(1), p.argmax(1) == way
    table = reliability(confidence, hit)
    assert table["answers"].sum() == n_answers
    gap = (table["confidence"] - table["accuracy"]).abs()
    ece = (gap * table["answers"]).sum() / n_answers
    assert probability_scores(p, way, n_classes=3).ece == pytest.approx(ece, abs=1e-6)
    true, predicted = calibration_curve(hit, confidence, n_bins=15)
    np.testing.assert_allclose(table["accuracy"], true, atol=1e-6)
    np.testing.assert_allclose(table["confidence"], predicted, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(known=st.integers(1, 20), unknown=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_open_set_auroc_equals_scikit_learn(known, unknown, seed):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    known_EA = torch.from_numpy(rng.integers(0, 6, size=(4, known)) + 1.0)
    unknown_EU = torch.from_numpy(rng.integers(0, 6, size=(4, unknown)) * 1.0)
    ours = open_set_auroc(known_EA, unknown_EU)
    target = np.repeat([1, 0], [known, unknown])
    for e in range(4):
        scores = torch.cat([known_EA[e], unknown_EU[e]]).numpy()
        assert ours[e] == pytest.approx(roc_auc_score(target, scores), abs=1e-6)


def test_probabilities_that_cannot_be_are_errors():
    with pytest.raises(ValueError, match="no answers"):
        probability_scores(np.zeros((0, 3)), np.zeros(0), n_classes=3)
    with pytest.raises(ValueError, match="NaN"):
        probability_scores(np.array([[np.nan, 1.0]]), np.array([0]), n_classes=2)


def test_certain_mistakes_cost_much_but_not_infinity():
    ours = probability_scores(np.array([[1.0, 0.0]]), np.array([1]), n_classes=2)
    assert np.isfinite(ours.nll)
    assert ours.brier == 2
