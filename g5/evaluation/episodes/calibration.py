"""Temperature scaling: one number that makes a model's probabilities honest.

Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.

Fitted on validation episodes, never on the test set, and stored with the checkpoint; probabilities
are then ``softmax(logits / temperature)``. No answer changes, only how sure it is said to be.

Shapes: A answers, N ways.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from archs.protonet import ProtoNet
from g5.evaluation.episodes.scoring import embed_plan, evaluate_episodes
from g5.evaluation.metrics import probability_scores
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan
from preprocessing.normalize import Normalize

# Squared distances of wide embeddings reach thousands, so temperatures do as well.
SMALLEST, LARGEST = 1e-3, 1e6


@dataclass(frozen=True)
class Calibration:
    """A fitted temperature, and what it did to the validation episodes.

    Attributes:
        temperature: logits are divided by it.
        n_way, k_shot, episodes: of the validation it was fitted on.
        nll_before, nll_after, ece_before, ece_after: at temperature 1 and at the kept one.
        refused: a fitted temperature whose calibration error was larger than that of 1, which is
            kept instead; None where there was none.
        ece_refused: its calibration error.
    """

    temperature: float
    n_way: int
    k_shot: int
    episodes: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    refused: float | None = None
    ece_refused: float | None = None

    @property
    def told(self) -> str:
        """What was fitted, on how much, and what it did, as one line."""
        of = f"{self.episodes} validation episodes"
        if self.ece_refused is not None:
            return (
                f"not calibrated: temperature {self.refused:.3g}, fitted on {of}, would raise the "
                f"calibration error, {self.ece_before:.1%} -> {self.ece_refused:.1%}; 1 is kept"
            )
        return (
            f"calibrated on {of}: temperature {self.temperature:.3g}, calibration error "
            f"{self.ece_before:.1%} -> {self.ece_after:.1%}"
        )

    def plain(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return asdict(self)


def fit_temperature(logits_AN: np.ndarray, way_A: np.ndarray) -> float:
    """The temperature with the least negative log-likelihood.

    The likelihood has one optimum, for it is convex in 1 / temperature. Where every answer is
    right it has none (the colder the better), which says nothing of how sure to be: then it is 1.

    Args:
        logits_AN: of validation queries.
        way_A: the true column of each.
    """
    from scipy.optimize import minimize_scalar

    logits_AN = np.asarray(logits_AN, dtype=np.float64)
    if (logits_AN.argmax(1) == way_A).all():
        return 1.0
    rows = np.arange(len(way_A))
    above_AN = logits_AN - logits_AN[rows, way_A][:, None]
    largest_A1 = above_AN.max(1, keepdims=True)

    def nll(log_temperature: float) -> float:
        cold = np.exp(-log_temperature)
        sums_A = np.exp((above_AN - largest_A1) * cold).sum(1)
        return float((np.log(sums_A) + largest_A1[:, 0] * cold).mean())

    bounds = (np.log(SMALLEST), np.log(LARGEST))
    found = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def calibrate(
    model: ProtoNet,
    normalize: Normalize,
    plan: ClipPlan,
    reader: ClipReader,
    labels: list[str],
    *,
    batch_size: int,
    device: Any,
) -> Calibration:
    """Fit the temperature of a model on a plan of validation episodes, each clip embedded once.

    A temperature that makes the calibration error larger is not kept.
    """
    z_PD = embed_plan(model, normalize, plan, reader, batch_size=batch_size, device=device)
    scores = evaluate_episodes(model, z_PD, plan, labels)
    temperature = fit_temperature(scores.logits_AN, scores.way_A)
    before, after = (
        probability_scores(
            softmax((scores.logits_AN / t).astype(np.float64), axis=1), scores.way_A,
            class_AN=scores.class_AN, n_classes=len(labels),
        )
        for t in (1.0, temperature)
    )  # fmt: skip
    n_way, k_shot = plan.episodes[0].support.shape
    refused, ece_refused = None, None
    if after.ece > before.ece:
        refused, ece_refused, temperature, after = temperature, after.ece, 1.0, before
    return Calibration(
        temperature=temperature, n_way=n_way, k_shot=k_shot, episodes=len(plan.episodes),
        nll_before=before.nll, nll_after=after.nll, ece_before=before.ece, ece_after=after.ece,
        refused=refused, ece_refused=ece_refused,
    )  # fmt: skip
