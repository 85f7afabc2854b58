"""Losses and class weights for whatever is trained on labels rather than episodes: pure functions.

Sources: label smoothing, Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016;
effective number, Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019.

Everything is computed in fp32 with autocast off and comes out as one number, the mean.

Shapes: B examples, C classes.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ClassWeights = Literal["none", "inverse_frequency", "effective_number"]


def cross_entropy(
    logits_BC: Tensor,
    target_B: Tensor,
    *,
    weights_C: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax cross-entropy, for one class an example.

    Args:
        logits_BC: scores before the softmax.
        target_B: class ids, int64.
        weights_C: of the classes (`class_weights`); the mean is weighted by them.
        label_smoothing: share of the target that is spread evenly over all classes, 0 to below 1.
    """
    assert logits_BC.ndim == 2, logits_BC.shape
    assert target_B.shape == logits_BC.shape[:1], (target_B.shape, logits_BC.shape)
    _check_smoothing(label_smoothing)
    with torch.autocast(logits_BC.device.type, enabled=False):
        weights = None if weights_C is None else weights_C.to(logits_BC.device, torch.float32)
        return F.cross_entropy(
            logits_BC.float(), target_B, weight=weights, label_smoothing=label_smoothing
        )


def bce_with_logits(
    logits_BC: Tensor,
    target_BC: Tensor,
    *,
    positive_weights_C: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Binary cross-entropy of each class on its own, for any number of classes an example.

    Args:
        logits_BC: scores before the sigmoid; ``(B,)`` for a single class will do.
        target_BC: 0 or 1, or between, of the same shape.
        positive_weights_C: factor on what positives cost, typically negatives / positives.
        label_smoothing: targets are drawn towards one half by this share, 0 to below 1.
    """
    assert logits_BC.shape == target_BC.shape, (logits_BC.shape, target_BC.shape)
    _check_smoothing(label_smoothing)
    with torch.autocast(logits_BC.device.type, enabled=False):
        target_BC = target_BC.float() * (1 - label_smoothing) + label_smoothing / 2
        weights = positive_weights_C
        if weights is not None:
            weights = weights.to(logits_BC.device, torch.float32)
        return F.binary_cross_entropy_with_logits(logits_BC.float(), target_BC, pos_weight=weights)


def mse(predicted_B: Tensor, target_B: Tensor) -> Tensor:
    """Mean squared error of a rating; shapes must be equal, or one would spread over another."""
    assert predicted_B.shape == target_B.shape, (predicted_B.shape, target_B.shape)
    return (predicted_B.float() - target_B.float()).square().mean()


def mae(predicted_B: Tensor, target_B: Tensor) -> Tensor:
    """Mean absolute error of a rating, which single odd ratings sway less than `mse`."""
    assert predicted_B.shape == target_B.shape, (predicted_B.shape, target_B.shape)
    return (predicted_B.float() - target_B.float()).abs().mean()


# --- class weights ----------------------------------------------------------------------------


def class_weights(kind: ClassWeights, counts_C: Tensor, *, beta: float) -> Tensor | None:
    """The weights of ``kind`` for classes with so many examples; None for ``"none"``.

    Args:
        kind: ``"none"``, ``"inverse_frequency"`` or ``"effective_number"``.
        counts_C: training examples of each class.
        beta: of the effective number; the others ignore it.
    Raises:
        ValueError: another kind, or counts that cannot be.
    """
    if kind == "none":
        return None
    if kind == "inverse_frequency":
        return inverse_frequency(counts_C)
    if kind == "effective_number":
        return effective_number(counts_C, beta=beta)
    raise ValueError(f"{kind!r} is none of none, inverse_frequency, effective_number")


def inverse_frequency(counts_C: Tensor) -> Tensor:
    """``n / (C n_c)``: every class weighs the same in all, and an example 1 on average.

    That is scikit-learn's ``class_weight="balanced"``. A class without examples has weight 0, and
    C counts the others.
    """
    counts_C = _counts(counts_C)
    present_C = counts_C > 0
    weights_C = counts_C.sum() / (present_C.sum() * counts_C.clamp(min=1))
    return torch.where(present_C, weights_C, 0.0).float()


def effective_number(counts_C: Tensor, *, beta: float) -> Tensor:
    """``(1 - beta) / (1 - beta^n_c)``, scaled to a mean of 1 over classes (Cui et al. 2019, eq. 4).

    ``beta`` near 0 weighs classes alike, near 1 by inverse frequency: of n examples about
    ``1 / (1 - beta)`` at most count as different. A class without examples has weight 0.

    Raises:
        ValueError: ``beta`` is not in [0, 1).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta={beta}: must be at least 0 and below 1")
    counts_C = _counts(counts_C)
    present_C = counts_C > 0
    effective_C = (1 - beta ** counts_C.clamp(min=1)) / (1 - beta)
    weights_C = torch.where(present_C, 1 / effective_C, 0.0)
    return (weights_C * present_C.sum() / weights_C.sum()).float()


def _counts(counts_C: Tensor) -> Tensor:
    # In double precision: a beta near 1 leaves little of 1 - beta^n.
    counts_C = torch.as_tensor(counts_C, dtype=torch.float64)
    if counts_C.ndim != 1 or not torch.isfinite(counts_C).all() or (counts_C < 0).any():
        raise ValueError("class weights need one count for each class, none below 0")
    if counts_C.sum() == 0:
        raise ValueError("class weights need examples: every class has none")
    return counts_C


def _check_smoothing(share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"label_smoothing={share}: must be at least 0 and below 1")
