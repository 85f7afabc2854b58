"""Episodes: which calls are support and which are query, and the clips that go with them.

An episode is drawn from (seed, split, epoch, index) and from nothing else, so that the episodes
of an epoch are the same on any number of workers and devices.

Shape suffixes: N ways, K shots, Q queries, B = N * K + N * Q clips, M mel bands, T frames,
C classes, S sources (recordings), P clips of a plan.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from g5.common.errors import UserError
from preprocessing.episodes.clips import ClipReader
from preprocessing.events import SPLITS

# Episodes that are drawn together, because drawing one costs nearly as much as drawing many. Part
# of what an episode's index means: another number gives other episodes.
EPISODES_PER_DRAW = 64

# The streams of an episode's random numbers that move its clips and choose its background; 2 is
# that of labelled batches.
SHIFTS, BACKGROUND = 1, 3

# Labels that a note spells out before it counts the rest.
LABELS_SHOWN = 8


Item = TypeVar("Item", "Episode", "EpisodeBatch")


@dataclass(frozen=True, eq=False)
class Episode:
    """Which calls an episode is made of.

    Attributes:
        class_ids: ``(N,)`` int64.
        support: ``(N, K)`` int64 rows of the split's table (or positions in a `ClipPlan`).
        query: ``(N, Q)`` int64, likewise; no call is in both.
        n_frames: frames of its clips; 0 where nothing is to be gathered.
        epoch: which epoch it was drawn for.
        index: which episode of the epoch it is.
    """

    class_ids: Tensor
    support: Tensor
    query: Tensor
    n_frames: int
    epoch: int
    index: int

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Episode":
        """The same episode with its tensors on ``device``."""
        return _moved(self, device, non_blocking)


@dataclass(frozen=True, eq=False)
class EpisodeBatch:
    """An episode's clips: one batch of training.

    Attributes:
        x: ``(B, 1, M, T)`` fp32, all support clips and then all query clips, class by class.
        stats: ``(B, 2)`` fp32, mean and standard deviation of each clip's recording.
        class_ids: ``(N,)`` int64; -1 is background.
        n_way, k_shot, n_query: N, K and Q.
        epoch, index: which episode it is.
    """

    x: Tensor
    stats: Tensor
    class_ids: Tensor
    n_way: int
    k_shot: int
    n_query: int
    epoch: int
    index: int

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "EpisodeBatch":
        """The same batch with its tensors on ``device``; Lightning calls this."""
        return _moved(self, device, non_blocking)

    def pin_memory(self) -> "EpisodeBatch":
        """The same batch in page-locked memory; a DataLoader calls this."""
        return replace(
            self,
            x=self.x.pin_memory(),
            stats=self.stats.pin_memory(),
            class_ids=self.class_ids.pin_memory(),
        )


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
                f"class of the {self.split} split has {need} calls (the largest has {self._most}); "
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
                f"{need} calls (k_shot + n_query) and are left out: {_listed(self.left_out)}"
            )
        if self.shared_source:
            yield (
                f"{self.split}: in {len(self.shared_source)} of {n_kept} classes support and "
                "query may come from one recording, because the others have too few calls: "
                f"{_listed(self.shared_source)}"
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


class EpisodeIndexSampler(DistributedSampler):
    """Hands out (epoch, index) for the indices ``rank, rank + world_size, ...`` of an epoch.

    Every rank gets equally many, because ranks that step together must step equally often:
    where ``world_size`` does not divide the episodes, the last ranks take the epoch's first
    episodes a second time. The set of episodes stays the same whatever ``world_size`` is.

    It is a `DistributedSampler` so that Lightning does not wrap it in one of its own, and calls
    `set_epoch` before each epoch.

    Args:
        count: episodes in an epoch, over all ranks.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, count: int, *, rank: int, world_size: int) -> None:
        super().__init__(range(count), num_replicas=world_size, rank=rank, shuffle=False)  # type: ignore[arg-type]
        assert count >= 1, count
        self.count, self.rank, self.world_size = count, rank, world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        for step in range(len(self)):
            yield self.epoch, (self.rank + step * self.world_size) % self.count

    def __len__(self) -> int:
        return -(-self.count // self.world_size)


class EpisodeDataset(Dataset[EpisodeBatch]):
    """Gathers the clips of training episodes: ``dataset[epoch, index]`` is an `EpisodeBatch`.

    To be used with ``DataLoader(batch_size=None, sampler=EpisodeIndexSampler(...))``; workers do
    not pay, because a clip is a copy out of the page cache.

    Args:
        sampler: draws the episodes.
        clips: reads the clips.
        shift: each clip's window is moved at random by up to this share of its length, drawn
            from the episode's seed; 0 for none.
        negatives: a last class of every episode is background, from the recordings of its calls.

    Raises:
        UserError: an impossible shift, or negatives where a recording is all calls.
    """

    def __init__(
        self, sampler: EpisodeSampler, clips: ClipReader, *, shift: float, negatives: bool
    ) -> None:
        if not 0 <= shift <= 1:
            raise UserError(f"arch.episodes.shift={shift}: must be between 0 and 1")
        self.sampler, self.clips, self.shift, self.negatives = sampler, clips, shift, negatives
        if negatives:
            clips.check_pauses()

    def __getitem__(self, at: tuple[int, int]) -> EpisodeBatch:
        epoch, index = at
        episode = self.sampler.sample(epoch, index)
        n_way, k_shot = episode.support.shape
        rows = np.concatenate([episode.support.numpy().ravel(), episode.query.numpy().ravel()])
        x, stats = self.clips.gather(rows, episode.n_frames, self._shifts(episode, len(rows)))
        class_ids = episode.class_ids
        if self.negatives:
            x, stats = self._with_background(episode, rows, x, stats)
            class_ids, n_way = torch.cat([class_ids, torch.tensor([-1])]), n_way + 1
        return EpisodeBatch(
            x=x,
            stats=stats,
            class_ids=class_ids,
            n_way=n_way,
            k_shot=k_shot,
            n_query=episode.query.shape[1],
            epoch=epoch,
            index=index,
        )

    def _with_background(
        self, episode: Episode, rows: np.ndarray, x: Tensor, stats: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One class more: K clips after the support, Q after the queries."""
        n_support, k_shot = episode.support.numel(), episode.support.shape[1]
        rng = self._generator(episode, BACKGROUND)
        chosen = rng.choice(rows, k_shot + episode.query.shape[1])
        parts = zip((x, stats), self.clips.background(rng, chosen, episode.n_frames), strict=True)
        x, stats = (
            torch.cat([own[:n_support], more[:k_shot], own[n_support:], more[k_shot:]])
            for own, more in parts
        )
        return x, stats

    def _shifts(self, episode: Episode, count: int) -> np.ndarray | None:
        most = int(self.shift * episode.n_frames)
        if most == 0:
            return None
        return self._generator(episode, SHIFTS).integers(-most, most, count, endpoint=True)

    def _generator(self, episode: Episode, stream: int) -> np.random.Generator:
        sampler = self.sampler
        split = SPLITS.index(sampler.split)
        return generator(sampler.seed, split, episode.epoch, episode.index, stream=stream)


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """The clips of many episodes, each once.

    Attributes:
        rows: ``(P,)`` int64 rows of the split's table.
        n_frames: ``(P,)`` int64, ascending: frames of each clip.
        episodes: the episodes, with positions ``0..P-1`` for support and query.
    """

    rows: Tensor
    n_frames: Tensor
    episodes: list[Episode]


def plan_clips(episodes: Sequence[Episode]) -> ClipPlan:
    """Find the different clips of ``episodes``: a row in two lengths is two clips."""
    if not episodes:
        return ClipPlan(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), [])
    rows = [torch.cat([e.support.flatten(), e.query.flatten()]).numpy() for e in episodes]
    span = max(int(r.max()) for r in rows) + 1
    wanted = np.concatenate([r + e.n_frames * span for r, e in zip(rows, episodes, strict=True)])
    clips, position = np.unique(wanted, return_inverse=True)
    parts = torch.from_numpy(position).split([len(r) for r in rows])
    planned = [
        replace(
            episode,
            support=part[: episode.support.numel()].reshape(episode.support.shape),
            query=part[episode.support.numel() :].reshape(episode.query.shape),
        )
        for episode, part in zip(episodes, parts, strict=True)
    ]
    return ClipPlan(torch.from_numpy(clips % span), torch.from_numpy(clips // span), planned)


class ClipBatches(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A plan's clips in batches of one length and at most ``batch_size``.

    A batch is positions ``(B,)`` int64 in the plan, clips ``(B, 1, M, T)`` fp32, and the
    recordings' statistics ``(B, 2)`` fp32.
    """

    def __init__(self, plan: ClipPlan, reader: ClipReader, batch_size: int) -> None:
        self.plan = plan
        self.reader = reader
        self.batch_size = batch_size
        self.batches = [
            (positions, n_frames)
            for n_frames in plan.n_frames.unique().tolist()
            for positions in (plan.n_frames == n_frames).nonzero().flatten().split(batch_size)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        positions, n_frames = self.batches[index]
        x_B1MT, stats_B2 = self.reader.gather(self.plan.rows[positions], n_frames)
        return positions, x_B1MT, stats_B2


def clip_batches(
    plan: ClipPlan, reader: ClipReader, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Read a plan's clips, one batch of `ClipBatches` after the other."""
    batches = ClipBatches(plan, reader, batch_size)
    for index in range(len(batches)):
        yield batches[index]


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


def distinct(rng: np.random.Generator, limit_R: np.ndarray, count: int) -> np.ndarray:
    """In each row ``count`` different integers of ``0..limit - 1``, every set equally likely.

    Floyd's algorithm (Bentley and Floyd, "Programming pearls: a sample of brilliance", CACM
    1987), all rows at once; the order within a row is not random.

    Args:
        limit_R: ``(R,)`` integers, each at least ``count``.

    Returns:
        ``(R, count)`` int64.
    """
    last = limit_R - count + np.arange(count)[:, None]
    drawn = (rng.random(last.shape) * (last + 1)).astype(np.int64)
    for i in range(1, count):
        taken = (drawn[:i] == drawn[i]).any(axis=0)
        drawn[i, taken] = last[i, taken]
    return drawn.T


def generator(*entropy: int, stream: int = 0) -> np.random.Generator:
    """A counter-based generator of its own for ``entropy`` and ``stream``."""
    return np.random.Generator(
        np.random.Philox(np.random.SeedSequence(entropy, spawn_key=(stream,) if stream else ()))
    )


def _moved(item: Item, device: torch.device | str, non_blocking: bool) -> Item:
    tensors = {name: value for name, value in vars(item).items() if isinstance(value, Tensor)}
    moved = {name: t.to(device, non_blocking=non_blocking) for name, t in tensors.items()}
    return replace(item, **moved)


def _listed(labels: Sequence[str]) -> str:
    rest = len(labels) - LABELS_SHOWN
    return ", ".join(labels[:LABELS_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
