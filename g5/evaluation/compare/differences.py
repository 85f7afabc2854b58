"""Is the difference between groups of runs real? Paired over the same test episodes.

Sources: Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006;
Benavoli et al., "Should We Really Use Post-Hoc Tests Based on Mean-Ranks?", JMLR 2016 (no: pairs
are tested by themselves); Holm, Scandinavian Journal of Statistics 1979.

Shapes: E episodes, Q queries, R resamples, G groups of runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.words import counted
from g5.evaluation.compare.groups import CLASS_RESAMPLES, Group, paired
from g5.evaluation.intervals import Interval, mean_interval, resampled_interval

RESAMPLES = 10_000  # of the bootstrap and of the permutation test
ENOUGH_SEEDS = 3  # for a claim about architectures
ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """How much better ``first`` is than ``second`` on the same episodes.

    Attributes:
        episodes: mean difference and its 95 % interval by a paired bootstrap over episodes.
        classes: the same by resampling test classes and sources, which is the wider one.
        p_bootstrap, p_permutation: of no difference, two-sided.
        p_holm: ``p_permutation`` corrected for the number of pairs that are compared.
        by_seed: the mean difference of each training seed.
    """

    first: str
    second: str
    episodes: Interval
    classes: Interval
    p_bootstrap: float
    p_permutation: float
    p_holm: float
    by_seed: Mapping[int, float]

    @property
    def real(self) -> bool:
        """Both intervals clear of zero, significant, and the same sign in every training seed."""
        clear = all(part.low > 0 or part.high < 0 for part in (self.episodes, self.classes))
        signs = {np.sign(value) for value in self.by_seed.values()}
        return clear and len(signs) == 1 and self.p_holm < ALPHA

    @property
    def reason(self) -> str:
        """Why it is called real, or not."""
        doubts = []
        if self.episodes.low <= 0 <= self.episodes.high:
            doubts.append("the interval over episodes holds zero")
        elif self.p_holm >= ALPHA:
            doubts.append(f"p is {self.p_holm:.3f} after Holm's correction")
        if self.classes.low <= 0 <= self.classes.high:
            doubts.append("the interval over classes and sources holds zero")
        if len({np.sign(value) for value in self.by_seed.values()}) > 1:
            doubts.append("its sign depends on the training seed")
        if doubts:
            return "not shown to be real: " + ", ".join(doubts)
        n = len(self.by_seed)
        more = "" if n >= ENOUGH_SEEDS else f", but only {counted(n, 'training seed')}: take 3"
        return f"real: clear of zero over episodes and over classes{more}"


def difference(first: Group, second: Group, *, seed: int = 0) -> Difference:
    """Compare two groups; ``p_holm`` is not corrected yet (`compare_all` does)."""
    pairs = paired(first, second)
    gap_E = np.concatenate([a.accuracy_E - b.accuracy_E for a, b in pairs])
    answers = pd.concat([a.answers.assign(gap=a.hit_A * 1.0 - b.hit_A) for a, b in pairs])
    by_seed: dict[int, list[np.ndarray]] = {}
    for a, b in pairs:
        by_seed.setdefault(a.seed, []).append(a.accuracy_E - b.accuracy_E)
    interval, p_bootstrap = bootstrap(gap_E, seed=seed)
    p = float(sign_flip_p(gap_E[:, None], seed=seed)[0])
    return Difference(
        first=first.name,
        second=second.name,
        episodes=interval,
        classes=resampled_interval(
            answers["gap"].to_numpy(), answers["label"].to_numpy(str),
            answers["source"].to_numpy(str), seed=seed, resamples=CLASS_RESAMPLES,
            bounds=(-1.0, 1.0),
        ),
        p_bootstrap=p_bootstrap,
        p_permutation=p,
        p_holm=p,
        by_seed={key: float(np.concatenate(parts).mean()) for key, parts in by_seed.items()},
    )  # fmt: skip


def compare_all(groups: Sequence[Group], *, seed: int = 0) -> list[Difference]:
    """Every pair of groups, their permutation p-values corrected together."""
    found = [
        difference(groups[i], groups[j], seed=seed)
        for i in range(len(groups))
        for j in range(i + 1, len(groups))
    ]
    corrected = holm(np.array([item.p_permutation for item in found]))
    return [replace(item, p_holm=float(p)) for item, p in zip(found, corrected, strict=True)]


def bootstrap(gap_E: np.ndarray, *, seed: int) -> tuple[Interval, float]:
    """Mean difference with its percentile interval over resampled episodes, and the p-value.

    The p-value is twice the share of resampled means on the other side of zero (never below what
    so many resamples can tell). Equal episodes throughout give the interval of the rule of three.
    """
    if np.ptp(gap_E) == 0:
        return mean_interval(gap_E, bounds=(-1.0, 1.0)), float(gap_E[0] == 0) or 1 / RESAMPLES
    rng = np.random.default_rng(seed)
    means_R = np.empty(RESAMPLES)
    step = max(1, 5_000_000 // len(gap_E))
    for start in range(0, RESAMPLES, step):
        n = min(step, RESAMPLES - start)
        rows = rng.integers(len(gap_E), size=(n, len(gap_E)), dtype=np.int32)
        means_R[start : start + n] = gap_E[rows].mean(1)
    low, high = np.quantile(means_R, (0.025, 0.975))
    beyond = min((means_R <= 0).mean(), (means_R >= 0).mean())
    p = min(1.0, 2 * max(float(beyond), 1 / RESAMPLES))
    return Interval(float(gap_E.mean()), float(low), float(high), len(gap_E)), p


def sign_flip_p(gap_ER: np.ndarray, *, seed: int, flips: int = RESAMPLES) -> np.ndarray:
    """Permutation p-values, two-sided: were the two runs exchanged in an episode, would it matter?

    Args:
        gap_ER: paired differences, a column each comparison.
    Returns:
        (R,) ``(1 + as extreme) / (1 + flips)``.
    """
    rng = np.random.default_rng(seed)
    gap_ER = gap_ER.astype(np.float32)
    # Sums of the same numbers in another order differ in the last bits.
    observed_R = np.abs(gap_ER.sum(0)) * (1 - 1e-5)
    extreme_R = np.zeros(gap_ER.shape[1])
    step = max(1, 10_000_000 // len(gap_ER))
    for start in range(0, flips, step):
        size = (min(step, flips - start), len(gap_ER))
        signs = rng.integers(2, size=size, dtype=np.int8).astype(np.float32) * 2 - 1
        extreme_R += (np.abs(signs @ gap_ER) >= observed_R).sum(0)
    return (1 + extreme_R) / (1 + flips)


def holm(p_P: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: adjusted p-values in the order given."""
    order = np.argsort(p_P, kind="stable")
    factors = len(p_P) - np.arange(len(p_P))
    adjusted = np.maximum.accumulate(np.minimum(1.0, p_P[order] * factors))
    result = np.empty(len(p_P))
    result[order] = adjusted
    return result


def mean_ranks(groups: Sequence[Group]) -> np.ndarray:
    """(G,) mean rank of every group over the episodes all of them saw; 1 is best, ties share."""
    from scipy.stats import rankdata

    units = [unit for unit in groups[0].runs if all(unit in group.runs for group in groups)]
    if not units:
        raise UserError("the runs share no seed: there are no common episodes to rank them by")
    accuracy_GE = np.stack(
        [np.concatenate([group.runs[unit].accuracy_E for unit in units]) for group in groups]
    )
    return rankdata(-accuracy_GE, axis=0).mean(1)


def plain(difference: Difference) -> dict[str, Any]:
    """As JSON has it."""
    return {**asdict(difference), "real": difference.real, "reason": difference.reason}
