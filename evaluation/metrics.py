"""Classification metrics over the queries of all episodes, by torchmetrics.

Shapes: A answers (queries of all episodes), C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch


@dataclass(frozen=True)
class ClassScores:
    """How each class and the average class fared; ids count the split's sorted labels.

    Attributes:
        confusion_CC: queries of true class (row) that were given a class (column).
        accuracy_C: share of a class's queries that were right; NaN for a class never asked.
        support_C: queries of a class.
        accuracy: share of all queries that were right.
        macro_precision, macro_recall, macro_f1: means over the classes that occur (as a true or a
            predicted one), each class weighing the same; a ratio 0/0 counts as 0. These are
            scikit-learn's ``average="macro", zero_division=0``.
    """

    confusion_CC: np.ndarray
    accuracy_C: np.ndarray
    support_C: np.ndarray
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float


def class_scores(true_A: np.ndarray, predicted_A: np.ndarray, n_classes: int) -> ClassScores:
    """Score answers that are class ids below ``n_classes``.

    Raises:
        ValueError: there are no answers.
    """
    # Late: torchmetrics brings matplotlib along.
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_confusion_matrix,
        multiclass_f1_score,
        multiclass_precision,
        multiclass_recall,
    )

    if len(true_A) == 0:
        raise ValueError("there are no answers to score")
    true = torch.from_numpy(np.ascontiguousarray(true_A, dtype=np.int64))
    predicted = torch.from_numpy(np.ascontiguousarray(predicted_A, dtype=np.int64))
    confusion_CC = multiclass_confusion_matrix(predicted, true, n_classes).numpy()
    support_C = confusion_CC.sum(1)
    # 0/0 is NaN on purpose: a class that was never asked has no accuracy.
    with np.errstate(invalid="ignore"):
        accuracy_C = confusion_CC.diagonal() / support_C

    def macro(score) -> float:
        return float(score(predicted, true, n_classes, average="macro"))

    return ClassScores(
        confusion_CC=confusion_CC,
        accuracy_C=accuracy_C,
        support_C=support_C,
        accuracy=float(multiclass_accuracy(predicted, true, n_classes, average="micro")),
        macro_precision=macro(multiclass_precision),
        macro_recall=macro(multiclass_recall),
        macro_f1=macro(multiclass_f1_score),
    )


def per_class_change(
    before: ClassScores, after: ClassScores, labels: Sequence[str], *, trained_on: Sequence[int]
) -> pd.DataFrame:
    """What a remedy for imbalance did to each class, the rarest in training first.

    Args:
        before, after: scores of the same questions without and with the remedy.
        labels: C names.
        trained_on: (C,) training examples of each class.
    Returns:
        ``label, trained_on, queries, before, after, change``; accuracies are the classes' recalls,
        NaN for a class that was not asked. The mean of ``change`` is that of balanced accuracy.
    """
    table = pd.DataFrame(
        {
            "label": list(labels),
            "trained_on": list(trained_on),
            "queries": after.support_C,
            "before": before.accuracy_C,
            "after": after.accuracy_C,
            "change": after.accuracy_C - before.accuracy_C,
        }
    )
    return table.sort_values("trained_on", kind="stable", ignore_index=True)
