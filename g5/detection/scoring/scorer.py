"""What every way to score has in common: a recording and a species in, a score curve out.

Shapes: N points of a curve, K shots, G points of the gaps, P negative peaks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.sound import Sound
from g5.detection.embedding.windows import Scale
from g5.detection.events.curve import keep_apart
from g5.detection.support import Target

# Log-odds from nothing to a threshold that is no support's.
STEEPNESS = 4.0
# Seconds between gaps on the axis of the negatives: more than any recording lasts.
GAP_APART = 1e7


@dataclass(frozen=True)
class Curve:
    """How much a recording sounds like a species, over time.

    Attributes:
        time_N: seconds of the recording, ascending.
        score_N: raw scores, the higher the more alike.
        positive_K: the shots' scores, each with what the others say of it.
        negative_G: scores of what lies between the shots, as positives are scored.
        negative_at_G: when that is: seconds, `GAP_APART` from one gap to the next.
        reach_s: negatives nearer than this count once.
        distance_N: to the nearest shot.
        nearest_N: which shot is the nearest.
        rival_C: scores of what is marked as something else.
        threshold: where scores are to be cut; None: that is for the support to say.
        length_N: how long the event at a point would be, seconds; None: the curve tells.
        notes: what the user should know.
        second_kind: which shots are of another kind than the others.
    """

    time_N: np.ndarray
    score_N: np.ndarray
    positive_K: np.ndarray
    negative_G: np.ndarray
    negative_at_G: np.ndarray
    reach_s: float
    distance_N: np.ndarray
    nearest_N: np.ndarray
    rival_C: np.ndarray = field(default_factory=lambda: np.zeros(0))
    threshold: float | None = None
    length_N: np.ndarray | None = None
    notes: tuple[str, ...] = field(default=())
    second_kind: tuple[int, ...] = field(default=())

    @property
    def negative_P(self) -> np.ndarray:
        """The peaks of the negatives, and the rivals."""
        return np.concatenate([self.negative_peaks[1], self.rival_C])

    @property
    def negative_peaks(self) -> tuple[np.ndarray, np.ndarray]:
        """When what lies between the shots is most alike, as `negative_at_G`, and its scores."""
        at = peaks(self.negative_G, self.negative_at_G, self.reach_s)
        return self.negative_at_G[at], self.negative_G[at]


class CurveScorer(ABC):
    """A way to score, built from its node of `conf/detection/`."""

    # Whether an encoder is needed at all, and whether events' ends are looked for in the frames.
    needs_encoder: bool = True
    refines: bool = True
    # Whether it has a threshold of its own, in which the support has no say.
    cuts_itself: bool = False
    # An event goes on while its log-odds are above this; where it refines, its frames tell.
    low_logit: float = 0.0

    def scales(self, sound: Sound, target: Target, stride: int) -> list[Scale]:
        """The windows that are embedded of a recording; the sound is only asked for its rate."""
        return []

    @abstractmethod
    def curve(self, sound: Sound, target: Target, embedder: WindowEmbedder) -> Curve:
        """Score a recording; everything of the support comes with ``target``."""


def peaks(score_N: np.ndarray, at_N: np.ndarray, reach: float) -> np.ndarray:
    """Which are the greatest scores that lie at least ``reach`` apart, (P,), greatest first."""
    padded = np.concatenate([[-np.inf], score_N, [-np.inf]])
    local = np.flatnonzero((padded[1:-1] >= padded[:-2]) & (padded[1:-1] >= padded[2:]))
    order = local[np.argsort(-score_N[local], kind="stable")]
    return np.array(keep_apart(order, at_N, np.broadcast_to(reach, score_N.shape)), dtype=int)


def halves(count: int, parts: int = 6) -> np.ndarray:
    """0 or 1 for each of a sequence, in a few alternating stretches: folds of neighbours."""
    if count == 0:
        return np.zeros(0, dtype=int)
    return (np.arange(count) * min(parts, count) // count) % 2


FoldScorer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cross_scored(count: int, score: FoldScorer) -> np.ndarray:
    """Scores of a sequence's members by models that have not seen them: ``score(train, test)``."""
    fold = halves(count)
    scores = np.zeros(count)
    for part in (0, 1):
        test, train = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        if len(test):
            scores[test] = score(train if len(train) else test, test)
    return scores
