"""Episodes: disjoint, across sources where that can be, the same on any number of processes."""

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.utils.data import DataLoader

from g5.common.errors import UserError
from preprocessing.episodes.batches import EpisodeDataset, EpisodeIndexSampler
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.draws import distinct
from preprocessing.episodes.plans import clip_batches, plan_clips
from preprocessing.episodes.sampling import EPISODES_PER_DRAW, EpisodeSampler, separable

RATE_HZ = 100.0


class Recordings:
    """A store in memory: frame t of recording i is (i, t)."""

    def __init__(self, count: int, rows: int):
        self.meta = pd.DataFrame(
            {"key": [f"r{i}" for i in range(count)], "mean": np.arange(count) * 1.0, "std": 1.0}
        )
        self.rows = rows

    def get(self, key: str) -> torch.Tensor:
        i = float(key[1:])
        return torch.stack([torch.full((self.rows,), i), torch.arange(self.rows) * 1.0], 1).half()


def table(*counts_of_class: list[int], order_seed: int | None = 0) -> pd.DataFrame:
    """Calls of classes a, b, ...: for each class the number of calls in each of its sources."""
    rng = np.random.default_rng(order_seed)
    rows = []
    for class_id, counts in enumerate(counts_of_class):
        for source, count in enumerate(counts):
            for _ in range(count):
                start_s = rng.uniform(0, 3)
                rows.append(
                    (start_s, start_s + rng.uniform(0.05, 0.6), f"{class_id:03d}", f"r{source}")
                )
    events = pd.DataFrame(rows, columns=["start_s", "end_s", "label", "source"])
    events["class_id"] = events["label"].astype(int)
    events["sha256"] = events["file"] = events["source"]
    return events.sample(frac=1, random_state=order_seed, ignore_index=True)


def sampler(events: pd.DataFrame, **settings) -> EpisodeSampler:
    defaults = {
        "n_way": 3,
        "k_shot": 2,
        "n_query": 2,
        "seed": 7,
        "split": "train",
        "cross_source": True,
        "clips": None,
    }
    return EpisodeSampler(events, **(defaults | settings))


def reader(events: pd.DataFrame, **settings) -> ClipReader:
    defaults = {
        "frame_rate_hz": RATE_HZ,
        "clip": "fixed",
        "clip_s": 0.2,
        "min_clip_s": 0.1,
        "max_clip_s": 0.4,
        "anchor": "centre",
    }
    return ClipReader(Recordings(6, 400), events, **(defaults | settings))


def plain(episode) -> tuple:
    return (
        episode.class_ids.tolist(), episode.support.tolist(), episode.query.tolist(),
        episode.n_frames, episode.epoch, episode.index,
    )  # fmt: skip


def divisible(counts: list[int], k_shot: int, n_query: int) -> bool:
    """`separable` by trying every set of sources."""
    sets = (s for size in range(len(counts) + 1) for s in combinations(counts, size))
    return any(sum(s) >= k_shot and sum(counts) - sum(s) >= n_query for s in sets)


RAGGED = st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=6), min_size=3, max_size=8)


@settings(max_examples=80, deadline=None)
@given(RAGGED, st.integers(1, 4), st.integers(1, 4), st.booleans(), st.integers(0, 2**31))
def test_episodes_keep_their_promises(counts, k_shot, n_query, cross_source, seed):
    events = table(*counts)
    enough = [c for c, sources in enumerate(counts) if sum(sources) >= k_shot + n_query]
    settings = {"k_shot": k_shot, "n_query": n_query, "cross_source": cross_source, "seed": seed}
    if len(enough) < 2:
        with pytest.raises(UserError):
            sampler(events, n_way=2, **settings)
        return
    drawn = sampler(events, n_way=2, **settings)
    apart = [c for c in enough if divisible(counts[c], k_shot, n_query)]
    assert drawn.left_out == [f"{c:03d}" for c in range(len(counts)) if c not in enough]
    shared = [f"{c:03d}" for c in enough if c not in apart]
    assert drawn.shared_source == (shared if cross_source else [])
    label, source = events["class_id"].to_numpy(), events["source"].to_numpy()
    for episode in drawn.episodes(0, 20):
        assert episode.support.shape == (2, k_shot)
        assert episode.query.shape == (2, n_query)
        assert len(set(episode.class_ids.tolist())) == 2
        assert set(episode.class_ids.tolist()) <= set(enough)
        for c, support, query in zip(
            episode.class_ids.tolist(), episode.support, episode.query, strict=True
        ):
            rows = support.tolist() + query.tolist()
            assert (label[rows] == c).all()
            assert len(set(rows)) == k_shot + n_query
            if cross_source and c in apart:
                assert not set(source[support.numpy()]) & set(source[query.numpy()])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 12), st.integers(1, 12))
def test_separable_is_exact(counts, k_shot, n_query):
    assert separable(counts, k_shot, n_query) == divisible(counts, k_shot, n_query)


def test_separable_where_adding_sources_up_does_not_tell():
    assert separable([3, 3, 4], 4, 6)  # 4 | 3 + 3, though 3 + 3 and 3 + 4 overshoot
    assert not separable([5, 5], 4, 6)
    assert not separable([4, 4, 4], 6, 6)
    assert separable([100_000, 5], 5, 5)
    assert not separable([100_000, 4], 5, 5)
    assert separable([1] * 10, 5, 5)
    assert not separable([10], 5, 5)
    assert separable([11, 9, 5, 10, 8, 7], 25, 25)  # one way only
    assert not separable([11, 11, 5, 8, 8, 7], 25, 25)


@pytest.mark.parametrize("counts", [[2, 1, 1, 2], [3, 1, 1], [4, 2], [1, 1, 1, 1, 2]])
def test_every_partition_that_can_be_is_drawn(counts):
    events = table(counts, [5], [5])
    source = events["source"].to_numpy()
    calls = np.flatnonzero(events["class_id"] == 0).tolist()
    possible = {
        (support, query)
        for support in combinations(calls, 2)
        for query in combinations(calls, 2)
        if not set(source[list(support)]) & set(source[list(query)])
    }
    drawn = Counter()
    for episode in sampler(events, n_way=3).episodes(0, 2500):
        at = episode.class_ids.tolist().index(0)
        drawn[
            tuple(sorted(episode.support[at].tolist())), tuple(sorted(episode.query[at].tolist()))
        ] += 1
    assert set(drawn) == possible


def test_a_class_that_can_be_divided_one_way_is():
    counts = [11, 9, 5, 10, 8, 7]
    events = table(counts, counts)
    for episode in sampler(events, n_way=2, k_shot=25, n_query=25).episodes(0, 200):
        for support in episode.support:
            held = {int(s[1:]) for s in events["source"].to_numpy()[support.numpy()]}
            assert sorted(counts[i] for i in held) in ([5, 9, 11], [7, 8, 10])


def test_calls_are_drawn_uniformly_where_sources_do_not_matter():
    for cross_source, counts in ((False, [3, 2]), (True, [5]), (True, [1, 1, 1, 1, 1])):
        events = table(counts, [4], [4])
        drawn = sampler(events, n_way=1, k_shot=2, n_query=1, cross_source=cross_source)
        seen = Counter()
        for episode in drawn.episodes(0, 9000):
            if episode.class_ids[0] == 0:
                seen[tuple(sorted(episode.support[0].tolist())), episode.query[0, 0].item()] += 1
        assert len(seen) == 30  # 10 supports, each with 3 queries left
        assert chisquare(list(seen.values())).pvalue > 1e-3


def test_classes_are_drawn_uniformly_and_in_any_order():
    drawn = sampler(table(*[[4, 4]] * 5), n_way=2)
    seen = Counter(tuple(e.class_ids.tolist()) for e in drawn.episodes(0, 4000))
    assert len(seen) == 20
    assert chisquare(list(seen.values())).pvalue > 1e-3


def test_distinct_draws_every_set_equally_often():
    rng = np.random.default_rng(0)
    limit = np.tile([3, 6, 40], 6000)
    drawn = distinct(rng, limit, 3)
    assert ((drawn >= 0) & (drawn < limit[:, None])).all()
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    assert {frozenset(row) for row in drawn[limit == 3].tolist()} == {frozenset(range(3))}
    sets = Counter(frozenset(row) for row in drawn[limit == 6].tolist())
    assert len(sets) == 20
    assert chisquare(list(sets.values())).pvalue > 1e-3
    numbers = np.bincount(drawn[limit == 40].ravel(), minlength=40)
    assert chisquare(numbers).pvalue > 1e-3


EVENTS = table(*[[4, 3, 2]] * 6, [9], [2, 1], [8, 1])


def test_an_episode_depends_on_seed_split_epoch_and_index_alone():
    drawn = sampler(EVENTS)
    forward = [plain(drawn.sample(3, i)) for i in range(2 * EPISODES_PER_DRAW)]
    other = sampler(EVENTS)
    other.sample(0, 500)
    backward = [plain(other.sample(3, i)) for i in reversed(range(2 * EPISODES_PER_DRAW))]
    assert forward == backward[::-1]
    picked = [plain(drawn.sample(3, 5))[:3]]
    picked += [plain(drawn.sample(3, 6))[:3], plain(drawn.sample(4, 5))[:3]]
    picked += [plain(sampler(EVENTS, seed=8).sample(3, 5))[:3]]
    picked += [plain(sampler(EVENTS, split=split).sample(3, 5))[:3] for split in ("val", "test")]
    assert len({str(p) for p in picked}) == len(picked)


def test_the_episodes_of_a_seed_stay_what_they_are():
    """Golden: whoever changes these changes every published run."""
    episode = sampler(EVENTS).sample(2, 70)
    assert episode.class_ids.tolist() == [6, 2, 3]
    assert episode.support.tolist() == [[36, 11], [5, 46], [8, 45]]
    assert episode.query.tolist() == [[18, 28], [2, 61], [38, 34]]


def test_an_episode_can_be_changed_without_changing_the_next():
    drawn = sampler(EVENTS)
    before = plain(drawn.sample(0, 1))
    episode = drawn.sample(0, 1)
    for tensor in (episode.class_ids, episode.support, episode.query):
        tensor.zero_()
    assert plain(drawn.sample(0, 1)) == before


@pytest.mark.parametrize("count", [1, 7, 64])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_ranks_share_the_indices_out(count, world_size):
    ranks = []
    for rank in range(world_size):
        indices = EpisodeIndexSampler(count, rank=rank, world_size=world_size)
        indices.set_epoch(5)
        taken = list(indices)
        assert len(taken) == len(indices) == -(-count // world_size)
        assert {epoch for epoch, _ in taken} == {5}
        ranks.append([index for _, index in taken])
    together = [index for step in zip(*ranks, strict=True) for index in step]
    # Every episode once and in order; where the ranks do not come out even, the first again.
    assert together == [i % count for i in range(len(together))]
    assert set(together) == set(range(count))


def test_evaluation_takes_no_episode_twice():
    drawn = sampler(EVENTS)
    everything = [plain(e) for e in drawn.episodes(0, 7)]
    ranks = [drawn.episodes(0, 7, rank=rank, world_size=3) for rank in range(3)]
    assert [[e.index for e in episodes] for episodes in ranks] == [[0, 3, 6], [1, 4], [2, 5]]
    shared_out = sorted((plain(e) for episodes in ranks for e in episodes), key=lambda e: e[-1])
    assert shared_out == everything


def batches(events, clips, *, shift=0.0, workers=0, rank=0, world_size=1, epochs=(0,), count=6):
    dataset = EpisodeDataset(sampler(events, clips=clips), clips, shift=shift)
    indices = EpisodeIndexSampler(count, rank=rank, world_size=world_size)
    loader = DataLoader(dataset, batch_size=None, sampler=indices, num_workers=workers)
    for epoch in epochs:
        indices.set_epoch(epoch)
        yield from loader


@pytest.mark.parametrize("clip", ["fixed", "adaptive"])
def test_batches_are_the_same_on_any_number_of_workers_and_ranks(clip):
    clips = reader(EVENTS, clip=clip)
    alone = {(b.epoch, b.index): b for b in batches(EVENTS, clips, shift=0.5, epochs=(0, 1))}
    assert list(alone) == [(epoch, index) for epoch in (0, 1) for index in range(6)]
    shapes = {b.x.shape for b in alone.values()}
    assert len(shapes) == (1 if clip == "fixed" else len({s[-1] for s in shapes}))
    assert clip == "fixed" or len(shapes) > 1
    for rank, world_size, workers in ((0, 1, 2), (0, 2, 0), (1, 2, 0), (2, 4, 1)):
        split = {"rank": rank, "world_size": world_size, "workers": workers}
        for batch in batches(EVENTS, clips, shift=0.5, epochs=(0, 1), **split):
            same = alone[batch.epoch, batch.index]
            assert torch.equal(batch.x, same.x)
            assert torch.equal(batch.stats, same.stats)
            assert torch.equal(batch.class_ids, same.class_ids)


def test_a_batch_is_its_episode():
    clips = reader(EVENTS, clip="adaptive")
    drawn = sampler(EVENTS, clips=clips, n_query=3)
    dataset = EpisodeDataset(drawn, clips, shift=0.0)
    for index in range(4):
        episode, batch = drawn.sample(1, index), dataset[1, index]
        assert (batch.n_way, batch.k_shot, batch.n_query) == (3, 2, 3)
        assert (batch.epoch, batch.index) == (1, index)
        assert batch.class_ids.tolist() == episode.class_ids.tolist()
        rows = episode.support.flatten().tolist() + episode.query.flatten().tolist()
        assert batch.x.shape == (15, 1, 2, episode.n_frames)
        x, stats = clips.gather(np.array(rows), episode.n_frames)
        assert torch.equal(batch.x, x)
        assert torch.equal(batch.stats, stats)
        sources = [int(s[1:]) for s in EVENTS["source"].to_numpy()[rows]]
        assert batch.x[:, 0, 0, 0].tolist() == sources
        assert batch.stats[:, 0].tolist() == sources


def test_clips_are_shifted_by_up_to_a_share_of_their_length():
    clips = reader(EVENTS)
    still = EpisodeDataset(sampler(EVENTS, clips=clips), clips, shift=0.0)
    moved = EpisodeDataset(sampler(EVENTS, clips=clips), clips, shift=0.25)
    shifts = []
    for index in range(60):
        first = still[0, index].x[:, 0, 1, 0]
        inside = (first > 5) & (first < 375)  # the others are held at the recording's edge
        shifts += (moved[0, index].x[:, 0, 1, 0] - first)[inside].int().tolist()
    assert set(shifts) == set(range(-5, 6))
    assert torch.equal(moved[0, 3].x, moved[0, 3].x)
    assert not torch.equal(moved[0, 3].x, moved[1, 3].x)
    with pytest.raises(UserError, match=r"arch\.episodes\.shift"):
        EpisodeDataset(sampler(EVENTS), clips, shift=1.5)


def test_adaptive_episodes_have_the_length_of_their_support():
    clips = reader(EVENTS, clip="adaptive")
    lengths = {e.n_frames for e in sampler(EVENTS, clips=clips).episodes(0, 100)}
    assert lengths <= set(clips.lengths)
    assert len(lengths) > 1
    assert {e.n_frames for e in sampler(EVENTS).episodes(0, 5)} == {0}


@pytest.mark.parametrize("clip", ["fixed", "adaptive"])
def test_a_plan_reads_every_clip_once(clip):
    clips = reader(EVENTS, clip=clip)
    episodes = sampler(EVENTS, clips=clips).episodes(0, 40)
    plan = plan_clips(episodes)
    pairs = list(zip(plan.rows.tolist(), plan.n_frames.tolist(), strict=True))
    wanted = {
        (row, e.n_frames) for e in episodes for row in (*e.support.flatten(), *e.query.flatten())
    }
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(int(row), n) for row, n in wanted}
    for episode, planned in zip(episodes, plan.episodes, strict=True):
        assert torch.equal(plan.rows[planned.support], episode.support)
        assert torch.equal(plan.rows[planned.query], episode.query)
        assert (plan.n_frames[planned.support] == episode.n_frames).all()
        assert (plan.n_frames[planned.query] == episode.n_frames).all()
        assert planned.class_ids.tolist() == episode.class_ids.tolist()
        assert (planned.epoch, planned.index) == (episode.epoch, episode.index)

    seen = []
    for positions, x, stats in clip_batches(plan, clips, 7):
        assert 1 <= len(positions) <= 7
        (n_frames,) = set(plan.n_frames[positions].tolist())
        expected, expected_stats = clips.gather(plan.rows[positions], n_frames)
        assert torch.equal(x, expected)
        assert torch.equal(stats, expected_stats)
        seen += positions.tolist()
    assert seen == list(range(len(pairs)))


def test_no_episodes_are_no_clips():
    plan = plan_clips([])
    assert len(plan.rows) == len(plan.n_frames) == len(plan.episodes) == 0
    assert list(clip_batches(plan, reader(EVENTS), 4)) == []


def test_what_could_not_be_kept_is_said():
    drawn = sampler(EVENTS)
    assert drawn.left_out == ["007"]
    assert drawn.shared_source == ["006", "008"]
    left_out, shared = drawn.notes
    assert "train: 1 of 9 classes have fewer than 4 calls" in left_out
    assert left_out.endswith(": 007")
    assert "2 of 8 classes" in shared
    assert shared.endswith(": 006, 008")
    assert sampler(EVENTS, cross_source=False).notes == (left_out,)
    assert sampler(table(*[[2, 2]] * 3)).notes == ()
    assert sampler(table(*[[4]] * 12)).notes[0].endswith("006, 007 and 4 more")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"n_way": 9}, r"arch\.episodes\.n_way=9: .*train split has only 8 classes of 4 calls"),
        ({"n_way": 9}, r"lower arch\.episodes\.n_way to 8"),
        ({"k_shot": 9}, r"arch\.episodes\.k_shot=9 .*11 calls \(the largest has 9\)"),
        ({"n_query": 99}, r"arch\.episodes\.n_query=99"),
    ],
)
def test_too_few_classes_or_calls_is_an_error_that_names_the_key(settings, says):
    with pytest.raises(UserError, match=says):
        sampler(EVENTS, **settings)


def test_an_empty_split_is_an_error():
    with pytest.raises(UserError, match="train split has no calls"):
        sampler(EVENTS.iloc[:0])
    with pytest.raises(UserError, match=r"only 2 classes; lower arch\.episodes\.n_way to 2, or"):
        sampler(table([4], [4]))


def test_batches_and_episodes_move_under_lightning():
    from lightning_fabric.utilities import move_data_to_device

    clips = reader(EVENTS)
    drawn = sampler(EVENTS, clips=clips)
    batch = EpisodeDataset(drawn, clips, shift=0.0)[0, 0]
    moved = move_data_to_device(batch, torch.device("meta"))
    assert {moved.x.device.type, moved.stats.device.type, moved.class_ids.device.type} == {"meta"}
    assert (moved.x.shape, moved.n_way, moved.index) == (batch.x.shape, 3, 0)
    assert batch.x.device.type == "cpu"
    episode = move_data_to_device(drawn.sample(0, 1), torch.device("meta"))
    assert {episode.support.device.type, episode.query.device.type} == {"meta"}


def test_lightning_sets_the_epoch_and_leaves_the_sampler_alone(tmp_path):
    import pytorch_lightning as pl
    from pytorch_lightning.strategies import DDPStrategy
    from pytorch_lightning.trainer.connectors.data_connector import _DataConnector

    seen = []

    class Watcher(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch, batch_idx):
            seen.append((batch.epoch, batch.index))
            return self.weight * batch.x.mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    clips = reader(EVENTS)
    dataset = EpisodeDataset(sampler(EVENTS, clips=clips), clips, shift=0.0)
    indices = EpisodeIndexSampler(3, rank=0, world_size=1)
    loader = DataLoader(dataset, batch_size=None, sampler=indices)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Watcher(), loader)
    assert seen == [(epoch, index) for epoch in (0, 1) for index in range(3)]
    # Under DDP Lightning wraps samplers that do not share out by themselves.
    trainer._accelerator_connector.strategy = DDPStrategy()
    assert trainer._accelerator_connector.is_distributed
    connector = _DataConnector(trainer)
    assert not connector._requires_distributed_sampler(loader)
    assert connector._requires_distributed_sampler(
        DataLoader(dataset, batch_size=None, sampler=[0])
    )
