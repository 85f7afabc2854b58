"""Telling individuals apart: pairs of clips, same or not, and the equal error rate.

Shapes: N clips, D embedding width, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from g5.common.errors import UserError
from g5.evaluation.intervals import Interval


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

    First individuals are drawn, then a source of each (two of one individual), then a clip from
    each source: neither a recording of many clips nor an individual of many counts more. Of two
    individuals the second is drawn from those that can be in another source than the first.

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
    clips = _by_source(who_N, where_N)
    twice = [who for who, places in enumerate(clips) if len(places) > 1]
    others = _others(clips, np.array([kind_N[next(iter(places.values()))[0]] for places in clips]))
    if not others or not twice:
        raise UserError(
            "verification needs two individuals of one kind, and two recordings of one of them"
        )
    rng = np.random.default_rng(seed)
    sources_of = [np.array(list(places)) for places in clips]
    able = list(others)
    pairs: list[tuple[int, int]] = []
    for number in range(2 * n):
        if number < n:
            one = other = twice[rng.integers(len(twice))]
            here, there = rng.choice(sources_of[one], 2, replace=False)
        else:
            one = able[rng.integers(len(able))]
            members, first, stop = others[one]
            at = rng.integers(len(members) - (stop - first))
            other = members[at if at < first else at + stop - first]
            here = there = -1
            while here == there:  # at most every second time: one of them has another source
                here, there = rng.choice(sources_of[one]), rng.choice(sources_of[other])
        pairs.append((rng.choice(clips[one][here]), rng.choice(clips[other][there])))
    first_P, second_P = np.array(pairs).T
    return Pairs(first_P, second_P, np.arange(2 * n) < n)


def _by_source(who_N: np.ndarray, where_N: np.ndarray) -> list[dict[int, np.ndarray]]:
    """Clips (rows) of each individual by their source."""
    order = np.lexsort([where_N, who_N])
    who, where = who_N[order], where_N[order]
    cuts = np.flatnonzero((np.diff(who) != 0) | (np.diff(where) != 0)) + 1
    out: list[dict[int, np.ndarray]] = [{} for _ in range(who_N.max(initial=-1) + 1)]
    for rows in np.split(order, cuts) if len(order) else []:
        out[who_N[rows[0]]][int(where_N[rows[0]])] = rows
    return out


def _others(
    clips: Sequence[dict[int, np.ndarray]], kinds: np.ndarray
) -> dict[int, tuple[np.ndarray, int, int]]:
    """Whom each individual makes a pair with: members of its kind, but those from one place up to
    another. Who makes none is left out.

    All can but those in the same, single source: members are sorted by it, so these (or the
    individual itself, where it has several) are one stretch.
    """
    alone = np.array(
        [next(iter(places)) if len(places) == 1 else -1 - who for who, places in enumerate(clips)]
    )
    out = {}
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        members = members[np.argsort(alone[members], kind="stable")]
        first = np.searchsorted(alone[members], alone[members], side="left")
        stop = np.searchsorted(alone[members], alone[members], side="right")
        for who, begin, end in zip(members.tolist(), first.tolist(), stop.tolist(), strict=True):
            if end - begin < len(members):
                out[who] = (members, begin, end)
    return out


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
    """`error_rate` of the cosine similarities of unit vectors ``z_ND``, whose rows are paired."""
    return error_rate(
        similarities(z_ND, pairs), pairs, seed=seed, resamples=resamples, individuals=individuals
    )


def error_rate(
    score_P: np.ndarray,
    pairs: Pairs,
    *,
    seed: int,
    resamples: int,
    individuals: Sequence[str] | None,
) -> Interval:
    """Equal error rate of scores of pairs, with a bootstrap.

    Args:
        score_P: higher means more alike.
        pairs: that were scored.
        seed: of the bootstrap.
        resamples: of it; one without pairs of both sorts is drawn again.
        individuals: of each clip; given, these are drawn again, and a pair comes as often as both
            of its individuals (after the subsets bootstrap of Bolle, Ratha and Pankanti, CVIU
            2004); else pairs are, and the interval is narrower than over other individuals.
    """
    rate, _ = equal_error_rate(score_P, pairs.same_P)
    rng, n = np.random.default_rng(seed), len(score_P)
    who_N = None if individuals is None else _numbered(individuals)
    rates: list[float] = []
    while len(rates) < resamples:
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
