"""What the strategies against class imbalance do to each class, on the same folds.

Shapes: N examples, D embedding width.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from g5.common.progress import track
from g5.config.settings import load_node
from g5.evaluation.report.per_class import recall_table
from g5.transfer.heads.saved import fit_head, is_own, make_head
from g5.transfer.labels import Examples

SAMPLINGS = {"oversampling": "over", "undersampling": "under", "both samplings": "both"}
NONE = "none"


def imbalance_strategies(head: str) -> dict[str, list[str]]:
    """The overrides of every strategy that a head has, ``none`` first, which is without any."""
    node = load_node("head", "linear" if is_own(head) else head).values
    off = ["head.sampling=none"]
    weighted: dict[str, list[str]] = {}
    if "beta" in node:
        off.append("head.weights=none")
        weighted = {
            "inverse frequency": ["head.weights=inverse_frequency"],
            "effective number": ["head.weights=effective_number"],
        }
    elif "class_weight" in node:
        off.append("head.class_weight=null")
        weighted = {"class weights": ["head.class_weight=balanced"]}
    sampled = {name: [f"head.sampling={how}"] for name, how in SAMPLINGS.items()}
    return {name: off + more for name, more in ({NONE: []} | weighted | sampled).items()}


def effect_of_strategies(
    head: str,
    one: Examples,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    overrides: Sequence[str] = (),
    *,
    seed: int,
) -> pd.DataFrame:
    """The recall of every class under each strategy, the rarest class first.

    Every example is answered once, by a head that was not trained on its source.

    Returns:
        As `g5.evaluation.report.per_class.recall_table`.
    """
    models = {
        name: make_head(head, "single", seed=seed, overrides=[*overrides, *more])
        for name, more in imbalance_strategies(head).items()
    }
    answers = {}
    for name, model in track(
        models.items(), total=len(models), label="imbalance", unit="strategies"
    ):
        predicted = np.empty_like(one.y)
        for train, val in folds:
            predicted[val] = fit_head(model, one.x_ND[train], one.y[train]).predict(one.x_ND[val])
        answers[name] = (one.y, predicted)
    labels, counts = np.unique(one.y, return_counts=True)
    return recall_table(answers, trained_on=dict(zip(labels, counts.tolist(), strict=True)))
