"""Score curves to events: smoothing, hysteresis, merging, durations, boundaries between samples.

Shapes: N points of a curve, E events.
"""

from bisect import bisect, insort
from dataclasses import dataclass

import numpy as np

# What rounding may add to a length.
SLACK_S = 1e-9


@dataclass(frozen=True)
class EventShape:
    """What a class's events look like in time, from its shots.

    Attributes:
        min_s: shorter events are dropped.
        max_s: longer ones are parted at their lowest point.
        merge_s: shorter gaps are closed.
    """

    min_s: float
    max_s: float
    merge_s: float


def smoothed(score_N: np.ndarray, width: int) -> np.ndarray:
    """Moving average over ``width`` points (made odd); ends are repeated."""
    width = max(1, width) | 1
    if width == 1 or len(score_N) < 2:
        return score_N.astype(np.float64)
    padded = np.pad(score_N.astype(np.float64), width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def runs(above_N: np.ndarray) -> np.ndarray:
    """First and one-past-last index of every stretch of True, (E, 2)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above_N, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2)


def hysteresis(score_N: np.ndarray, high: float, low: float) -> np.ndarray:
    """Stretches above ``low`` that somewhere exceed ``high``, (E, 2) indices."""
    found = runs(score_N >= min(low, high))
    return np.array([r for r in found if score_N[r[0] : r[1]].max() >= high], int).reshape(-1, 2)


def crossing(time_N: np.ndarray, score_N: np.ndarray, inside: int, outside: int, level: float):
    """When the curve crosses ``level`` between two neighbouring points, by interpolation."""
    if not 0 <= outside < len(score_N):
        return float(time_N[inside])
    a, b = float(score_N[inside]), float(score_N[outside])
    share = (a - level) / (a - b) if a != b else 0.5
    return float(time_N[inside] + np.clip(share, 0, 1) * (time_N[outside] - time_N[inside]))


def maxima(
    time_N: np.ndarray, score_N: np.ndarray, apart_s: np.ndarray | float, least: float
) -> np.ndarray:
    """Indices of local maxima of at least ``least``; of those nearer than ``apart_s`` the highest.

    Times ascend.
    """
    padded = np.concatenate([[-np.inf], score_N, [-np.inf]])
    local = np.flatnonzero(
        (padded[1:-1] >= padded[:-2]) & (padded[1:-1] > padded[2:]) & (score_N >= least)
    )
    apart_N = np.broadcast_to(apart_s, score_N.shape)
    order = local[np.argsort(-score_N[local], kind="stable")]
    return np.array(sorted(keep_apart(order, time_N, apart_N)), dtype=int)


def keep_apart(order: np.ndarray, at_N: np.ndarray, apart_N: np.ndarray) -> list[int]:
    """Of the points in this order, those at least ``apart_N`` away from all taken before them."""
    taken: list[int] = []
    places: list[float] = []  # of the taken, sorted: only the neighbours on either side can be near
    for index in order.tolist():
        at, apart = float(at_N[index]), float(apart_N[index])
        place = bisect(places, at)
        if all(abs(at - near) >= apart for near in places[max(place - 1, 0) : place + 1]):
            insort(places, at)
            taken.append(index)
    return taken


def joined(events_E3: np.ndarray, shape: EventShape) -> np.ndarray:
    """Events that overlap or lie close together made one, while that is no longer than `max_s`.

    Of those that would be, each gets its half of what they share. What is too short is dropped.

    Args:
        events_E3: start, end and score of each, (E, 3).
        shape: durations and gaps.

    Returns:
        (E', 4): start, end, score and number of the highest of the events that were joined.
    """
    order = np.lexsort((events_E3[:, 1], events_E3[:, 0])) if len(events_E3) else []
    found: list[list[float]] = []
    for number in order:
        start, end, score = events_E3[number].tolist()
        last = found[-1] if found else [-np.inf, -np.inf, 0.0, 0.0]
        whole = max(end, last[1]) - last[0] <= shape.max_s + SLACK_S
        if whole and start - last[1] < shape.merge_s:
            last[1] = max(last[1], end)
            if score > last[2]:
                last[2], last[3] = score, float(number)
            continue
        if start < last[1]:
            last[1] = start = (start + min(last[1], end)) / 2
        found.append([start, end, score, float(number)])
    result = np.array(found, dtype=float).reshape(-1, 4)
    return result[result[:, 1] - result[:, 0] >= shape.min_s]


def parted(region: tuple[int, int], score_N: np.ndarray, most: int) -> list[tuple[int, int]]:
    """A stretch of points in parts of at most ``most``, each cut where its curve is lowest."""
    first, last = region
    if last - first <= most or most < 1:
        return [(first, last)]
    # Not at the very ends: nothing would be left of one side.
    room = max(1, min(most, last - first) // 4)
    cut = first + room + int(np.argmin(score_N[first + room : last - room + 1]))
    return [*parted((first, cut), score_N, most), *parted((cut, last), score_N, most)]
