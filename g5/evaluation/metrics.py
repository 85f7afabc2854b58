"""Classification metrics over the answers of all episodes, or of any classifier, by torchmetrics.

Shapes: A answers (queries of all episodes), C classes, N ways (columns of a probability matrix),
E episodes, U queries of unknown classes, B bins.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

TOP_K = (2, 3, 5)  # of these, those below the number of ways
BINS = 15  # of the calibration error and the reliability diagram (Guo et al. 2017)


@dataclass(frozen=True)
class ClassScores:
    """How each class and the average class fared; ids count the split's sorted labels.

    Attributes:
        confusion_CC: queries of true class (row) that were given a class (column).
        accuracy_C: share of a class's queries that were right; NaN for a class never asked.
        support_C: queries of a class.
        accuracy: share of all queries that were right.
        balanced_accuracy: mean of ``accuracy_C`` over the classes that were asked.
        macro_precision, macro_recall, macro_f1: means over the classes that occur (as a true or a
            predicted one), each class weighing the same; a ratio 0/0 counts as 0. These are
            scikit-learn's ``average="macro", zero_division=0``.
        micro_precision, micro_recall, micro_f1: over all answers alike; with one answer to every
            query all three are the accuracy.
    """

    confusion_CC: np.ndarray
    accuracy_C: np.ndarray
    support_C: np.ndarray
    accuracy: float
    balanced_accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    micro_precision: float
    micro_recall: float
    micro_f1: float


@dataclass(frozen=True)
class ProbabilityScores:
    """How good the probabilities are.

    Attributes:
        nll: mean of ``-log p(true class)``.
        brier: mean of ``sum over ways (p - [way is true])^2`` (Brier 1950), 0 to 2.
        ece: expected calibration error of the prediction's probability, `BINS` equal bins.
        top_k: share of queries whose class is among the k most probable, for each k of `TOP_K`
            below the number of ways.
        roc_auc, average_precision: means over classes of the class against the rest, over the
            queries of all episodes in which the class was a candidate; NaN where no class has
            both sorts of queries.
        roc_auc_C, average_precision_C: of each class, NaN likewise.
        confidence_correct_C: mean probability of a class's right answers; NaN without one.
    """

    nll: float
    brier: float
    ece: float
    top_k: dict[int, float]
    roc_auc: float
    average_precision: float
    roc_auc_C: np.ndarray
    average_precision_C: np.ndarray
    confidence_correct_C: np.ndarray


def class_scores(true_A: np.ndarray, predicted_A: np.ndarray, n_classes: int) -> ClassScores:
    """Score answers that are class ids below ``n_classes``.

    Raises:
        ValueError: there are no answers.
    """
    # Late: torchmetrics brings matplotlib along.
    from torchmetrics.functional import classification as tm

    if len(true_A) == 0:
        raise ValueError("there are no answers to score")
    true = torch.from_numpy(np.ascontiguousarray(true_A, dtype=np.int64))
    predicted = torch.from_numpy(np.ascontiguousarray(predicted_A, dtype=np.int64))
    confusion_CC = tm.multiclass_confusion_matrix(predicted, true, n_classes).numpy()
    support_C = confusion_CC.sum(1)
    # 0/0 is NaN on purpose: a class that was never asked has no accuracy.
    with np.errstate(invalid="ignore"):
        accuracy_C = confusion_CC.diagonal() / support_C
    kinds = {
        "precision": tm.multiclass_precision,
        "recall": tm.multiclass_recall,
        "f1": tm.multiclass_f1_score,
    }
    averages = {
        f"{average}_{name}": float(score(predicted, true, n_classes, average=average))
        for average in ("macro", "micro")
        for name, score in kinds.items()
    }
    return ClassScores(
        confusion_CC=confusion_CC,
        accuracy_C=accuracy_C,
        support_C=support_C,
        accuracy=float(tm.multiclass_accuracy(predicted, true, n_classes, average="micro")),
        balanced_accuracy=float(np.nanmean(accuracy_C)),
        **averages,
    )


def probability_scores(
    probability_AN: np.ndarray,
    way_A: np.ndarray,
    *,
    n_classes: int,
    class_AN: np.ndarray | None = None,
) -> ProbabilityScores:
    """Score probabilities over an episode's ways, or over all classes.

    Args:
        probability_AN: rows sum to 1.
        way_A: the true column of each row.
        n_classes: C.
        class_AN: which class each column of a row stands for; None: column c is class c.
    Raises:
        ValueError: there are no answers, or a probability is no number.
    """
    from torchmetrics.functional import classification as tm

    probability_AN = np.asarray(probability_AN, dtype=np.float64)
    if probability_AN.ndim != 2 or probability_AN.size == 0:
        raise ValueError("there are no answers to score")
    if not np.isfinite(probability_AN).all():
        raise ValueError("a probability is NaN or infinite")
    n_answers, n_way = probability_AN.shape
    rows, way_A = np.arange(n_answers), np.asarray(way_A, dtype=np.int64)
    if class_AN is None:
        class_AN = np.broadcast_to(np.arange(n_way), probability_AN.shape)
    p, way = torch.from_numpy(probability_AN), torch.from_numpy(way_A)
    target_AN = np.zeros(probability_AN.shape, dtype=bool)
    target_AN[rows, way_A] = True
    smallest = np.finfo(np.float64).eps  # as scikit-learn's log_loss does with a probability of 0
    auc_C, precision_C = _one_against_rest(probability_AN, target_AN, class_AN, n_classes)
    return ProbabilityScores(
        nll=float(-np.log(np.maximum(probability_AN[rows, way_A], smallest)).mean()),
        brier=float(((probability_AN - target_AN) ** 2).sum(1).mean()),
        ece=float(tm.multiclass_calibration_error(p, way, n_way, n_bins=BINS, norm="l1")),
        top_k={
            k: float(tm.multiclass_accuracy(p, way, n_way, top_k=k, average="micro"))
            for k in TOP_K
            if k < n_way
        },
        roc_auc=_mean(auc_C),
        average_precision=_mean(precision_C),
        roc_auc_C=auc_C,
        average_precision_C=precision_C,
        confidence_correct_C=_confidence_correct(probability_AN, way_A, class_AN, n_classes),
    )


def _one_against_rest(
    probability_AN: np.ndarray, target_AN: np.ndarray, class_AN: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """ROC-AUC and average precision of every class, over the pairs of a query and a candidate."""
    from torchmetrics.functional import classification as tm

    auc_C, precision_C = np.full(n_classes, np.nan), np.full(n_classes, np.nan)
    class_P = class_AN.ravel()
    order_P = np.argsort(class_P, kind="stable")
    p, target = torch.from_numpy(probability_AN.ravel()), torch.from_numpy(target_AN.ravel())
    present, first = np.unique(class_P[order_P], return_index=True)
    for class_id, pairs in zip(present, np.split(order_P, first[1:]), strict=True):
        chosen = torch.from_numpy(pairs)
        of_class = target[chosen]
        if of_class.all() or not of_class.any():
            continue
        scores, of_class = p[chosen], of_class.long()
        auc_C[class_id] = float(tm.binary_auroc(scores, of_class))
        precision_C[class_id] = float(tm.binary_average_precision(scores, of_class))
    return auc_C, precision_C


def _confidence_correct(
    probability_AN: np.ndarray, way_A: np.ndarray, class_AN: np.ndarray, n_classes: int
) -> np.ndarray:
    """Mean probability of each class's right answers."""
    rows = np.flatnonzero(probability_AN.argmax(1) == way_A)
    class_R = class_AN[rows, way_A[rows]]
    total_C = np.bincount(class_R, probability_AN[rows, way_A[rows]], minlength=n_classes)
    with np.errstate(invalid="ignore"):
        return total_C / np.bincount(class_R, minlength=n_classes)


def _mean(values_C: np.ndarray) -> float:
    return float(np.nanmean(values_C)) if np.isfinite(values_C).any() else float("nan")


def reliability(confidence_A: np.ndarray, hit_A: np.ndarray, *, bins: int = BINS) -> pd.DataFrame:
    """How often predictions of a certain confidence are right.

    Returns:
        One row for every bin that holds an answer: ``low, high, answers, confidence, accuracy``
        (the latter two are means). ``ece`` is the mean of ``|confidence - accuracy|`` weighted by
        ``answers``.
    """
    edges = np.linspace(0, 1, bins + 1)
    bin_A = np.clip(np.searchsorted(edges, confidence_A, side="right") - 1, 0, bins - 1)
    count_B = np.bincount(bin_A, minlength=bins)
    with np.errstate(invalid="ignore"):
        table = pd.DataFrame(
            {
                "low": edges[:-1],
                "high": edges[1:],
                "answers": count_B,
                "confidence": np.bincount(bin_A, confidence_A, minlength=bins) / count_B,
                "accuracy": np.bincount(bin_A, hit_A, minlength=bins) / count_B,
            }
        )
    return table.loc[count_B > 0].reset_index(drop=True)


def open_set_auroc(known_EA: Tensor, unknown_EU: Tensor) -> np.ndarray:
    """How well a score tells queries of the episode's classes from those of others, (E,).

    The area under the ROC curve of each episode, by its other definition: the share of pairs of a
    known and an unknown query in which the known one scores higher, a tie counting one half.
    """
    gap_EAU = known_EA[:, :, None] - unknown_EU[:, None, :]
    return ((gap_EAU > 0).double() + 0.5 * (gap_EAU == 0).double()).mean((1, 2)).numpy()
