"""Draws episodes from a table of calls.

An episode is drawn from (seed, split, epoch, index) and from nothing else, so that the episodes
of an epoch are the same on any number of workers and devices.

Shape suffixes: N ways, K shots, Q queries, C classes, S sources (recordings), E calls or episodes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from g5.common.errors import UserError
from g5.common.words import counted, some
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.draws import distinct, generator
from preprocessing.episodes.episode import Episode
from preprocessing.events import SPLITS

# Episodes that are drawn together, because drawing one costs nearly as much as drawing many. Part
# of what an episode's index means: another number gives other episodes.
EPISODES_PER_DRAW = 64
# Labels that a note spells out before it counts the rest.
LABELS_SHOWN = 8


class EpisodeSampler:
    """Draws N-way K-shot Q-query episodes from a table of calls.

    Support and query never share a call. With ``cross_source`` they do not share a source
    either, in every class where that can be: where some of its sources hold at least K calls and
    the others at least Q.

    Args:
        events: a split's table with ``class_id``, ``label`` and ``source``.
        n_way: classes of an episode.
        k_shot: support calls of a class.
        n_query: query calls of a class.
        seed: of all draws; 0 or more.
        split: ``"train"``, ``"val"`` or ``"test"``.
        cross_source: keep support and query in different sources.
        clips: says how long an episode's clips are; None where no clips are gathered.

    Attributes:
        notes: what could not be kept, a line each: classes that are left out because they have
            fewer than K + Q calls, and classes whose support and query may share a source.
        left_out: labels of the former.
        shared_source: labels of the latter; empty unless ``cross_source``.

    Raises:
        UserError: fewer than ``n_way`` classes have K + Q calls.
    """

    def __init__(
        self,
        events: pd.DataFrame,
        *,
        n_way: int,
        k_shot: int,
        n_query: int,
        seed: int,
        split: str,
        cross_source: bool,
        clips: ClipReader | None,
    ) -> None:
        assert min(n_way, k_shot, n_query) >= 1, (n_way, k_shot, n_query)
        assert seed >= 0, seed
        self.n_way, self.k_shot, self.n_query = n_way, k_shot, n_query
        self.seed, self.split = seed, split
        self._split_id = SPLITS.index(split)
        self._clips = clips
        self._last: tuple[tuple[int, int], Any] = ((-1, -1), None)
        self._index(events, cross_source)
        self._check()
        self.notes = tuple(self._notes())

    def _index(self, events: pd.DataFrame, cross_source: bool) -> None:
        """Lay the calls out by class and source, and sort out what each class allows."""
        need = self.k_shot + self.n_query
        class_E = events["class_id"].to_numpy(np.int64)
        source_E = pd.factorize(events["source"])[0].astype(np.int64)
        calls_of_id = np.bincount(class_E, minlength=1)
        self._n_all, self._most = np.count_nonzero(calls_of_id), int(calls_of_id.max())
        kept_E = np.flatnonzero(calls_of_id[class_E] >= need)
        order = np.lexsort((source_E[kept_E], class_E[kept_E]))
        # Rows of the table, class by class and, in a class, source by source.
        self._rows = kept_E[order]
        class_R, source_R = class_E[self._rows], source_E[self._rows]
        self._class_C, self._first_call_C, self._n_calls_C = np.unique(
            class_R, return_index=True, return_counts=True
        )
        new_source = np.ones(len(self._rows), dtype=bool)
        new_source[1:] = (np.diff(class_R) != 0) | (np.diff(source_R) != 0)
        self._first_call_S = np.flatnonzero(new_source)
        self._n_calls_S = np.diff(self._first_call_S, append=len(self._rows))
        self._first_source_C = np.searchsorted(self._first_call_S, self._first_call_C)
        self._n_sources_C = np.diff(self._first_source_C, append=len(self._first_call_S))
        apart_C = np.array([self._separable(c) for c in range(len(self._class_C))], dtype=bool)
        # Where every source is a single call, different calls are different sources.
        singles_C = self._n_sources_C == self._n_calls_C
        self._by_source_C = apart_C & ~singles_C & cross_source
        shared_C = ~apart_C & cross_source
        labels = dict(zip(class_E.tolist(), events["label"].tolist(), strict=True))
        self.left_out = sorted(labels[c] for c in labels.keys() - set(self._class_C.tolist()))
        self.shared_source = sorted(labels[c] for c in self._class_C[shared_C].tolist())

    def _separable(self, c: int) -> bool:
        first = self._first_source_C[c]
        counts = self._n_calls_S[first : first + self._n_sources_C[c]]
        return separable(counts, self.k_shot, self.n_query)

    def _check(self) -> None:
        """Raise if there are too few classes."""
        need, n_kept = self.k_shot + self.n_query, len(self._class_C)
        if self._n_all == 0:
            raise UserError(f"the {self.split} split has no calls; run g5 data check")
        lower = "arch.episodes.k_shot or arch.episodes.n_query"
        if n_kept == 0:
            raise UserError(
                f"arch.episodes.k_shot={self.k_shot} and arch.episodes.n_query={self.n_query}: no "
                f"class of the {self.split} split has {counted(need, 'call')} (the largest has "
                f"{self._most}); "
                f"lower {lower}, or add recordings"
            )
        if n_kept < self.n_way:
            few = n_kept < self._n_all
            raise UserError(
                f"arch.episodes.n_way={self.n_way}: the {self.split} split has only {n_kept} "
                f"{'class' if n_kept == 1 else 'classes'}"
                f"{f' of {need} calls (k_shot + n_query) or more' if few else ''}; "
                f"lower arch.episodes.n_way to {n_kept}"
                f"{f', lower {lower}' if few else ''}, or add recordings"
            )

    def _notes(self) -> Iterator[str]:
        need, n_kept = self.k_shot + self.n_query, len(self._class_C)
        if self.left_out:
            yield (
                f"{self.split}: {len(self.left_out)} of {self._n_all} classes have fewer than "
                f"{need} calls (k_shot + n_query) and are left out: "
                f"{some(self.left_out, LABELS_SHOWN)}"
            )
        if self.shared_source:
            yield (
                f"{self.split}: in {len(self.shared_source)} of {n_kept} classes support and "
                "query may come from one recording, because the others have too few calls: "
                f"{some(self.shared_source, LABELS_SHOWN)}"
            )

    def sample(self, epoch: int, index: int) -> Episode:
        """Episode ``index`` of ``epoch``; equal arguments give the equal episode."""
        class_ids, support, query = self._drawn(epoch, index // EPISODES_PER_DRAW)
        at = index % EPISODES_PER_DRAW
        return Episode(
            class_ids=torch.from_numpy(class_ids[at].copy()),
            support=torch.from_numpy(support[at].copy()),
            query=torch.from_numpy(query[at].copy()),
            n_frames=self._clips.episode_frames(support[at]) if self._clips else 0,
            epoch=epoch,
            index=index,
        )

    def episodes(
        self, epoch: int, count: int, *, rank: int = 0, world_size: int = 1
    ) -> list[Episode]:
        """The episodes of an epoch that rank ``rank`` of ``world_size`` takes, none twice."""
        return [self.sample(epoch, index) for index in range(rank, count, world_size)]

    def _drawn(self, epoch: int, draw: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Class ids (E, N), support (E, N, K) and query (E, N, Q) of `EPISODES_PER_DRAW` episodes.

        The last draw is kept: an epoch's episodes are asked for in order.
        """
        if self._last[0] != (epoch, draw):
            rng = generator(self.seed, self._split_id, epoch, draw)
            n_classes = np.full(EPISODES_PER_DRAW, len(self._class_C))
            chosen = rng.permuted(distinct(rng, n_classes, self.n_way), axis=1)
            rows = self._calls(rng, chosen.ravel()).reshape(*chosen.shape, -1)
            support, query = rows[..., : self.k_shot], rows[..., self.k_shot :]
            self._last = (epoch, draw), (self._class_C[chosen], support, query)
        return self._last[1]

    def _calls(self, rng: np.random.Generator, chosen: np.ndarray) -> np.ndarray:
        """K support and then Q query calls of each class: rows of the table, (n, K + Q)."""
        by_source = self._by_source_C[chosen]
        rows = np.empty((len(chosen), self.k_shot + self.n_query), dtype=np.int64)
        if by_source.any():
            rows[by_source] = self._across_sources(rng, chosen[by_source])
        if not by_source.all():
            rows[~by_source] = self._across_calls(rng, chosen[~by_source])
        return rows

    def _across_calls(self, rng: np.random.Generator, chosen: np.ndarray) -> np.ndarray:
        """K + Q different calls of each class in random order."""
        calls = distinct(rng, self._n_calls_C[chosen], self.k_shot + self.n_query)
        return self._rows[self._first_call_C[chosen, None] + rng.permuted(calls, axis=1)]

    def _across_sources(self, rng: np.random.Generator, chosen: np.ndarray) -> np.ndarray:
        """K calls of some sources of each class and Q calls of the others.

        The sources of a class are put in random order and cut in two at a random place that
        leaves K calls or more before it and Q or more behind it. Every partition that allows
        both is the two sides of some order, so each can be drawn; an order without such a place
        is drawn again.
        """
        n_sources, total = self._n_sources_C[chosen], self._n_calls_C[chosen]
        slot = np.repeat(np.arange(len(chosen)), n_sources)
        begin = np.cumsum(n_sources) - n_sources
        base = np.cumsum(total) - total
        source = np.arange(len(slot)) + np.repeat(self._first_source_C[chosen] - begin, n_sources)
        # Below 1/2, so that no sum is rounded up to the next slot.
        key = rng.random(len(slot)) / 2
        while True:
            order = source[np.argsort(slot + key)]
            end = np.cumsum(self._n_calls_S[order])
            before = end - base[slot]
            too_early = before < self.k_shot
            n_early = np.bincount(slot[too_early], minlength=len(chosen))
            fits = ~too_early & (before <= (total - self.n_query)[slot])
            n_cuts = np.bincount(slot[fits], minlength=len(chosen))
            if n_cuts.all():
                break
            again = (n_cuts == 0)[slot]
            key[again] = rng.random(np.count_nonzero(again)) / 2
        cut = begin + n_early + (rng.random(len(chosen)) * n_cuts).astype(np.int64)
        n_support = before[cut]
        place = np.concatenate(
            [
                distinct(rng, n_support, self.k_shot),
                distinct(rng, total - n_support, self.n_query) + n_support[:, None],
            ],
            axis=1,
        )
        place += base[:, None]
        at = np.searchsorted(end, place, side="right")
        # From the end of a source backwards: `end` is what is at hand.
        return self._rows[(self._first_call_S + self._n_calls_S)[order[at]] - (end[at] - place)]


def separable(counts: Iterable[int], k_shot: int, n_query: int) -> bool:
    """Whether some sources hold ``k_shot`` calls or more and the others ``n_query`` or more.

    Args:
        counts: calls of each source.

    The calls on one side must number k_shot to total - n_query. If no source is larger than
    that range is long, adding sources one by one cannot step over it; else the sums that
    subsets can have are worked out, as bits of an integer.
    """
    counts = [int(count) for count in counts]
    admissible = sum(counts) - k_shot - n_query + 1
    if admissible < 1:
        return False
    if max(counts) <= admissible:
        return True
    sums = 1
    for count in counts:
        sums |= sums << count
    return (sums >> k_shot) & ((1 << admissible) - 1) != 0
