"""Telling individuals apart: pairs of clips, same or not, and the equal error rate.

Shapes: N clips, D embedding width, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.intervals import Interval
from preprocessing.errors import UserError


@dataclass(frozen=True)
class Pairs:
    """Pairs of clips (rows) and whether they are of one individual."""

    first_P: np.ndarray
    second_P: np.ndarray
    same_P: np.ndarray


def verification_pairs(
    individuals: Sequence[str],
    *,
    n: int,
    seed: int,
    sources: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
) -> Pairs:
    """``n`` pairs of the same individual and ``n`` of two, drawn evenly over individuals.

    Args:
        individuals: of each clip.
        n: pairs of each sort; a pair may come twice, but never a clip with itself.
        seed: of the drawing.
        sources: recordings; given, both clips of a pair are of different ones.
        kinds: species; given, both clips of a pair are of one, and an individual's name is one
            within its kind only.

    Raises:
        UserError: fewer than two individuals (of one kind), or none with two clips (of two
            sources).
    """
    if kinds is None:
        kinds = [""] * len(individuals)
    who_N = _numbered([f"{kind}\n{who}" for kind, who in zip(kinds, individuals, strict=True)])
    kind_N = _numbered(kinds)
    where_N = np.arange(len(who_N)) if sources is None else _numbered(sources)
    rows = [np.flatnonzero(who_N == who) for who in range(who_N.max(initial=-1) + 1)]
    twice = [group for group in rows if len(np.unique(where_N[group])) > 1]
    peers: list[np.ndarray] = []
    for kind in range(kind_N.max(initial=-1) + 1):
        members = np.unique(who_N[kind_N == kind])
        # Of two individuals in two sources, two clips of different ones can always be found.
        if len(members) > 1 and len(np.unique(where_N[kind_N == kind])) > 1:
            peers += [members] * len(members)  # as likely as it has individuals
    if not peers or not twice:
        raise UserError(
            "verification needs two individuals of one kind, and two recordings of one of them"
        )
    rng = np.random.default_rng(seed)
    pairs: list[tuple[int, int]] = []
    while len(pairs) < n:
        group = twice[rng.integers(len(twice))]
        a, b = rng.choice(group, 2, replace=False)
        while where_N[a] == where_N[b]:
            a, b = rng.choice(group, 2, replace=False)
        pairs.append((a, b))
    while len(pairs) < 2 * n:
        several = len(peers) > len(peers[0])
        members = peers[rng.integers(len(peers)) if several else 0]
        one, other = rng.choice(members, 2, replace=False)
        a, b = rng.choice(rows[one]), rng.choice(rows[other])
        if where_N[a] != where_N[b]:
            pairs.append((a, b))
    first_P, second_P = np.array(pairs).T
    return Pairs(first_P, second_P, np.arange(2 * n) < n)


def _numbered(names: Sequence[str]) -> np.ndarray:
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1]


def equal_error_rate(score_P: np.ndarray, same_P: np.ndarray) -> tuple[float, float]:
    """The rate at which false accepts and false rejects are equal, and the threshold there.

    Between two thresholds the rates are interpolated (ISO/IEC 19795-1).

    Args:
        score_P: higher means more alike.
        same_P: bool.

    Raises:
        UserError: only one kind of pair, or a score that is not finite.
    """
    score_P, same_P = np.asarray(score_P, np.float64), np.asarray(same_P, bool)
    if not np.isfinite(score_P).all():
        raise UserError("an equal error rate needs finite scores")
    n_same, n_other = int(same_P.sum()), int((~same_P).sum())
    if not n_same or not n_other:
        raise UserError("an equal error rate needs pairs of both kinds, same and different")
    threshold_T = np.unique(score_P)
    same, other = np.sort(score_P[same_P]), np.sort(score_P[~same_P])
    # A pair is accepted at its threshold and above; behind the last, none is.
    reject_T = np.append(np.searchsorted(same, threshold_T, side="left") / n_same, 1.0)
    accept_T = np.append(1 - np.searchsorted(other, threshold_T, side="left") / n_other, 0.0)
    at = int(np.argmax(reject_T >= accept_T))
    if at == 0:
        return float(reject_T[0] + accept_T[0]) / 2, float(threshold_T[0])
    gap = accept_T - reject_T
    share = gap[at - 1] / (gap[at - 1] - gap[at])
    rate = reject_T[at - 1] + share * (reject_T[at] - reject_T[at - 1])
    return float(rate), float(threshold_T[min(at, len(threshold_T) - 1)])


def verification(
    z_ND: np.ndarray,
    pairs: Pairs,
    *,
    seed: int,
    resamples: int = 200,
    individuals: Sequence[str] | None = None,
) -> Interval:
    """Equal error rate of the cosine similarity of unit vectors, with a bootstrap.

    Args:
        z_ND: unit vectors.
        pairs: of their rows.
        seed: of the bootstrap.
        resamples: of it.
        individuals: of each clip; given, these are drawn again, and a pair comes as often as both
            of its individuals (after the subsets bootstrap of Bolle, Ratha and Pankanti, CVIU
            2004); else pairs are, and the interval is narrower than over other individuals.
    """
    score_P = similarities(z_ND, pairs)
    rate, _ = equal_error_rate(score_P, pairs.same_P)
    rng, n = np.random.default_rng(seed), len(score_P)
    who_N = None if individuals is None else _numbered(individuals)
    rates = []
    for _ in range(resamples):
        if who_N is None:
            drawn = rng.integers(n, size=n)
        else:
            total = int(who_N.max()) + 1
            times = np.bincount(rng.integers(total, size=total), minlength=total)
            first_P, second_P = times[who_N[pairs.first_P]], times[who_N[pairs.second_P]]
            drawn = np.repeat(np.arange(n), np.where(pairs.same_P, first_P, first_P * second_P))
        if 0 < pairs.same_P[drawn].sum() < len(drawn):
            rates.append(equal_error_rate(score_P[drawn], pairs.same_P[drawn])[0])
    low, high = np.quantile(rates, (0.025, 0.975)) if rates else (np.nan, np.nan)
    return Interval(rate, float(low), float(high), n)


def similarities(z_ND: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Cosine similarity (P,) of the pairs of unit vectors."""
    return (z_ND[pairs.first_P] * z_ND[pairs.second_P]).sum(axis=1)
