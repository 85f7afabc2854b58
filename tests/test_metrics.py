"""Class scores against scikit-learn and against a case worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.metrics import class_scores


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


@settings(max_examples=60, deadline=None)
@given(
    n_classes=st.integers(2, 12),
    n_answers=st.integers(1, 200),
    bias=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_equal_to_scikit_learn(n_classes, n_answers, bias, seed):
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    rng = np.random.default_rng(seed)
    true = rng.integers(n_classes, size=n_answers)
    predicted = np.where(
        rng.random(n_answers) < bias, true, rng.integers(n_classes, size=n_answers)
    )
    ours = class_scores(true, predicted, n_classes)
    precision, recall, f1, _ = precision_recall_fscore_support(
        true,
        predicted,
        average="macro",
        zero_division=0,  # type: ignore[arg-type]
    )
    got = [ours.accuracy, ours.macro_precision, ours.macro_recall, ours.macro_f1]
    np.testing.assert_allclose(
        got, [accuracy_score(true, predicted), precision, recall, f1], atol=1e-6
    )
    np.testing.assert_array_equal(
        ours.confusion_CC, confusion_matrix(true, predicted, labels=range(n_classes))
    )


def test_no_answers_is_an_error():
    with pytest.raises(ValueError, match="no answers"):
        class_scores(np.array([], int), np.array([], int), 3)
