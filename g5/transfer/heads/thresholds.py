"""How well a head knows each class, and from which probability on it is believed: by the folds.

Shapes: N labels, C classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.metrics import average_precision_score

from g5.common.words import counted
from g5.transfer.heads.folds import Fold
from g5.transfer.heads.saved import fit_head
from g5.transfer.labels import Examples

# What a class is believed from where its examples are fewer than decide anything.
DEFAULT = 0.5
FEWEST = 5
COLUMNS = ["label", "labels", "AP", "F1", "threshold"]
SHOWN = 20


def probabilities(model: Any, x_ND: np.ndarray) -> np.ndarray:
    """(N, C); of an SVM, which has none, its margins through a softmax."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(x_ND)
    scores_NC = model.decision_function(x_ND)
    if scores_NC.ndim == 1:
        scores_NC = np.stack([-scores_NC, scores_NC], axis=1) / 2
    return softmax(scores_NC, axis=1)


def class_table(model: Any, one: Examples, folds: Sequence[Fold]) -> pd.DataFrame:
    """What an unfitted head knows of each class, on folds that it was not trained on.

    Returns:
        `COLUMNS`: examples that were validated, average precision, F1, and the threshold that
        makes F1 the highest. F1 is at thresholds of the other folds, so that it does not flatter.
        NaN where a class was never validated.
    """
    several = one.y.ndim == 2
    names = np.array(one.classes)
    true_NC = one.y.astype(bool) if several else np.asarray(one.y)[:, None] == names
    p_NC, fold_N = np.zeros(true_NC.shape), np.full(len(true_NC), -1)
    for number, (train, val) in enumerate(folds):
        fitted = fit_head(model, one.x_ND[train], one.y[train])
        at = slice(None) if several else np.searchsorted(names, fitted.classes_)
        p_NC[np.ix_(val, np.arange(len(names))[at])] = probabilities(fitted, one.x_ND[val])
        fold_N[val] = number
    asked_N = fold_N >= 0
    rows = [
        _row(str(name), true_NC[asked_N, c], p_NC[asked_N, c], fold_N[asked_N])
        for c, name in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def best_threshold(true_N: np.ndarray, p_N: np.ndarray) -> float:
    """The probability from which on F1 is highest, half-way to the next lower one."""
    if true_N.sum() < FEWEST:
        return DEFAULT
    order = np.argsort(-p_N, kind="stable")
    p_N, hits_N = p_N[order], np.cumsum(true_N[order])
    f1_N = 2 * hits_N / (np.arange(1, len(p_N) + 1) + true_N.sum())
    f1_N[:-1][p_N[:-1] == p_N[1:]] = -1  # no threshold parts equal ones
    at = int(f1_N.argmax())
    below = p_N[at + 1] if at + 1 < len(p_N) else 0.0
    return float((p_N[at] + below) / 2)


def told(table: pd.DataFrame) -> str:
    """The table as text, the least known classes first."""
    shown = table.sort_values("AP", kind="stable", na_position="first").head(SHOWN)
    width = max(len("class"), *shown["label"].str.len())
    lines = [f"{'class':<{width}}  labels     AP     F1  threshold"]
    for name, labels, *numbers in shown.itertuples(index=False, name=None):
        ap, f1, threshold = (f"{x:.3f}" if np.isfinite(x) else "-" for x in numbers)
        lines.append(f"{name:<{width}}  {labels:6d}  {ap:>5}  {f1:>5}  {threshold:>9}")
    if len(table) > SHOWN:
        lines.append(f"and {counted(len(table) - SHOWN, 'class', 'classes')} known better")
    return "\n".join(lines)


def _row(name: str, true_N: np.ndarray, p_N: np.ndarray, fold_N: np.ndarray) -> tuple[Any, ...]:
    count = int(true_N.sum())
    if not count:
        return name, 0, np.nan, np.nan, DEFAULT
    said_N = np.zeros(len(true_N), bool)
    for fold in np.unique(fold_N):
        here = fold_N == fold
        said_N[here] = p_N[here] >= best_threshold(true_N[~here], p_N[~here])
    f1 = 2 * (said_N & true_N).sum() / (said_N.sum() + count)
    ap = float(average_precision_score(true_N, p_N))
    return name, count, ap, float(f1), best_threshold(true_N, p_N)
