"""Which head on which embeddings: the same folds for all, train and validation side by side.

Shapes: N examples, D embedding width, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, r2_score

from g5.common.errors import UserError
from g5.common.progress import track
from g5.common.words import counted, some
from g5.config.schema import ClassifySettings
from g5.transfer.heads.estimator import NETWORKS, ZERO
from g5.transfer.heads.folds import Fold, folds_by_source
from g5.transfer.heads.saved import fit_head, is_own, make_head
from g5.transfer.labels import Examples

Verdict = Literal["best", "as good", "overfits", "underfits", "worse"]


# Said below the table.
MEANINGS = {
    "as good": "its difference to the best, over the same folds, may be chance: take the simplest",
    "overfits": "much better on its training labels: more labels or a simpler head may help",
    "underfits": "poor even on its training labels: a stronger head or another encoder may help",
}


@dataclass(frozen=True)
class HeadScore:
    """A head on a store's embeddings, over the folds.

    ``train`` and ``val`` are balanced accuracy (single), macro F1 (multi) or R2 (rating); ``half``
    is the half-width of the 95 % interval of ``val`` over the folds, ``val_F`` its values there.
    """

    store: str
    head: str
    train: float
    val: float
    half: float
    verdict: Verdict
    val_F: tuple[float, ...] = ()
    skill: float = 0.0


def folds_of(examples: Examples, settings: ClassifySettings) -> list[Fold]:
    """Training and validation rows of each fold; a source is never in both.

    Raises:
        UserError: nothing can be validated on another source.
    """
    return folds_by_source(
        examples.y, examples.groups, settings.folds,
        by_class=settings.task == "single", seed=settings.seed,
    )  # fmt: skip


def compare(
    sets: Sequence[tuple[str, Examples]],
    folds: Sequence[Fold],
    settings: ClassifySettings,
    overrides: Sequence[str] = (),
) -> list[HeadScore]:
    """A row for every store and head, best validation score first."""
    heads = [name for name in settings.heads if settings.task == "single" or _is_network(name)]
    if not heads:
        raise UserError(f"classify.heads: none of them can do task={settings.task}")
    pairs = [(name, one, head) for name, one in sets for head in heads]
    rows = []
    for store, one, head in track(pairs, total=len(pairs), label="comparing", unit="heads"):
        model = make_head(head, settings.task, seed=settings.seed, overrides=overrides)
        rows.append(_row(store, head, model, one, folds, settings))
    rows.sort(key=lambda row: -row.val)
    return [replace(row, verdict=judged(row, rows[0], settings)) for row in rows]


def _row(
    store: str,
    head: str,
    model: Any,
    one: Examples,
    folds: Sequence[Fold],
    settings: ClassifySettings,
) -> HeadScore:
    train_scores, val_scores = [], []
    for train, val in folds:
        if settings.task == "single" and len(np.unique(one.y[train])) < 2:
            raise UserError(
                "with these sources a fold would train on a single class; label more recordings"
            )
        fitted = fit_head(model, one.x_ND[train], one.y[train])
        train_scores.append(score(fitted, one.x_ND[train], one.y[train], settings.task))
        val_scores.append(score(fitted, one.x_ND[val], one.y[val], settings.task))
    train_mean, val_mean = float(np.mean(train_scores)), float(np.mean(val_scores))
    spread = float(np.std(val_scores, ddof=1)) if len(val_scores) > 1 else np.nan
    half = 1.96 * spread / np.sqrt(len(val_scores))
    chance = 1 / max(len(one.classes), 1) if settings.task == "single" else 0.0
    skill = (train_mean - chance) / (1 - chance) if chance < 1 else 0.0
    return HeadScore(
        store, head, train_mean, val_mean, float(half), "best", tuple(val_scores), skill
    )


def score(model: Any, x_ND: np.ndarray, y: np.ndarray, task: str) -> float:
    """Balanced accuracy over the classes present, macro F1, or R2."""
    predicted = model.predict(x_ND)
    if task == "rating":
        return float(r2_score(y, predicted)) if len(y) > 1 else 0.0
    if task == "multi":
        return float(f1_score(y, predicted, average="macro", zero_division=ZERO))
    present = np.unique(y)
    return float(np.mean([accuracy_score(y[y == c], predicted[y == c]) for c in present]))


def judged(row: HeadScore, best: HeadScore, settings: ClassifySettings) -> Verdict:
    """What choosing a head wants to know: is it as good as the best one, and if not, why.

    As good: over the same folds its mean difference to the best is within its 95 % interval. Of
    the others those underfit that are poor where they were trained, and those overfit whose score
    is much better there than elsewhere.
    """
    if row is best:
        return "best"
    behind_F = np.subtract(best.val_F, row.val_F)
    spread = float(np.std(behind_F, ddof=1)) if len(behind_F) > 1 else 0.0
    if behind_F.mean() <= 1.96 * spread / np.sqrt(len(behind_F)):
        return "as good"
    if row.skill < settings.low:
        return "underfits"
    return "overfits" if row.train - row.val > settings.gap else "worse"


def notes(
    sets: Sequence[tuple[str, Examples]], onnx: Sequence[str], settings: ClassifySettings
) -> list[str]:
    """What the user should know beside the table."""
    one = sets[0][1]
    lines = list(dict.fromkeys(note for _, each in sets for note in each.notes))
    count = len(one.y)
    if count < settings.few_labels:
        lines.append(
            f"{counted(count, 'label')}: under {settings.few_labels:,}, fine-tuning the encoder is "
            "unlikely to pay; label more first"
        )
    if settings.task == "single":
        names, counts = np.unique(one.y, return_counts=True)
        alone = [str(name) for name, n in zip(names, counts, strict=True) if n == 1]
        if alone:
            lines.append(
                f"{counted(len(alone), 'class', 'classes')} with a single label "
                f"({some(alone, 5)}): never validated, or never trained on; label one more of each"
            )
    for name, each in sets:
        if len(each.classes) > each.x_ND.shape[1]:
            lines.append(
                f"{name}: {counted(len(each.classes), 'class', 'classes')} in "
                f"{counted(each.x_ND.shape[1], 'dimension')}; a linear "
                "head cannot tell them all apart, a wider encoder may"
            )
    lines += [f"{name}: its encoder is an ONNX file and cannot be fine-tuned" for name in onnx]
    return lines


def table(rows: Sequence[HeadScore], settings: ClassifySettings) -> str:
    """The rows as text."""
    measure = {"single": "balanced accuracy", "multi": "macro F1", "rating": "R2"}[settings.task]
    width = max(len(row.store) for row in rows)
    head = max(len(row.head) for row in rows)
    lines = [f"{'store':<{width}}  {'head':<{head}}  train  validation     {measure}"]
    for row in rows:
        lines.append(
            f"{row.store:<{width}}  {row.head:<{head}}  {row.train:5.3f}  "
            f"{row.val:5.3f} ± {row.half:5.3f}  {row.verdict}"
        )
    lines += [f"{word:<9}  {meaning}" for word, meaning in MEANINGS.items() if _has(rows, word)]
    return "\n".join(lines)


def _has(rows: Sequence[HeadScore], verdict: str) -> bool:
    return any(row.verdict == verdict for row in rows)


def _is_network(name: str) -> bool:
    return name in NETWORKS or is_own(name)
