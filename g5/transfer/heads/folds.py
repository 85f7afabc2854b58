"""Folds of labels that keep sources apart, as many as the smallest class allows.

Shapes: N labels.
"""

import warnings

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from g5.common.errors import UserError

Fold = tuple[np.ndarray, np.ndarray]


def folds_by_source(
    y_N: np.ndarray,
    source_N: np.ndarray,
    most: int,
    *,
    by_class: bool,
    seed: int,
    every_class: bool = True,
) -> list[Fold]:
    """Training and validation rows of each fold; a source is never in both.

    Args:
        y_N: labels.
        source_N: where each comes from.
        most: folds; fewer where there are fewer sources, or fewer of the smallest class. A class
            that is all in one source is not asked: it is in no two folds, however many there are.
        by_class: spread every class over the folds; ``y_N`` has one class for each label.
        seed: of the draw.
        every_class: as many folds as the smallest class allows; false: as the largest does, where a
            smaller share to validate on matters more than every class in it.

    Raises:
        UserError: nothing can be validated on another source.
    """
    sources = np.unique(source_N)
    if len(sources) < 2:
        raise UserError(
            f"all labels come from one source ({sources[0]}), so nothing can be validated on "
            "another; label a second recording, or give the labels a `source` column"
        )
    n_folds = max(2, min(most, len(sources)))
    nothing = np.zeros(len(source_N))
    if not by_class:
        splitter = GroupKFold(n_folds, shuffle=True, random_state=seed)
        return list(splitter.split(nothing, groups=source_N))
    sources_C = [len(np.unique(source_N[y_N == label])) for label in np.unique(y_N)]
    several = [count for count in sources_C if count > 1]
    if not several:
        raise UserError(
            "no class has labels from two sources, so nothing can be validated on another; label "
            "one more recording of each class, or give the labels a `source` column"
        )
    allowed = min(several) if every_class else max(several)
    splitter = StratifiedGroupKFold(min(n_folds, allowed), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Of classes with few labels, which the command says in other words.
        warnings.simplefilter("ignore", UserWarning)
        folds = list(splitter.split(nothing, y_N, source_N))
    # Of sources that share several classes it can leave a fold without any.
    return [(train, val) for train, val in folds if len(train) and len(val)]
