"""Labelled batches: every class as often as any other, drawn from seed, epoch and index alone."""

from collections import Counter

import pytest
import torch

from g5.common.errors import UserError
from preprocessing.episodes.labelled import LabelledDataset
from tests.preprocessing.test_episodes import reader, table

EVENTS = table([40], [3], [2], [5], [1])  # one common class among rare ones


def dataset(**changes) -> LabelledDataset:
    settings = {"batch_size": 4, "seed": 0, "split": "train", "shift": 0.0, "sampling": "over"}
    settings |= changes
    return LabelledDataset(EVENTS, reader(EVENTS), **settings)


def test_rare_classes_come_as_often_as_common_ones():
    batches = [dataset()[epoch, index] for epoch in range(2) for index in range(200)]
    seen = Counter(int(c) for batch in batches for c in batch.class_ids)
    assert set(seen) == {0, 1, 2, 3, 4}
    assert max(seen.values()) < 1.25 * min(seen.values())
    assert all(len(set(batch.class_ids.tolist())) == 4 for batch in batches)


def test_without_sampling_classes_come_as_often_as_they_are():
    seen = Counter(
        int(c) for i in range(300) for c in dataset(sampling="none")[0, i].class_ids
    )  # of 51 calls 40 are of class 0
    assert 0.7 < seen[0] / sum(seen.values()) < 0.87


@pytest.mark.parametrize(("sampling", "calls"), [("over", 40), ("under", 1), ("both", 10)])
def test_an_epoch_has_only_so_many_calls_of_a_common_class(sampling, calls, monkeypatch):
    data, rows = dataset(sampling=sampling), []
    gather = data.clips.gather
    monkeypatch.setattr(data.clips, "gather", lambda r, *more: rows.extend(r) or gather(r, *more))

    def drawn(epoch: int) -> set[int]:
        rows.clear()
        batches = [data[epoch, i] for i in range(400)]
        assert {len(set(b.class_ids.tolist())) for b in batches} == {4}  # classes alike
        return {row for row in rows if EVENTS.class_id[row] == 0}

    first, second = drawn(0), drawn(1)
    assert len(first) == len(second) == calls
    assert (first == second) == (sampling == "over")


def test_more_clips_than_classes_repeat_classes_evenly():
    counts = Counter(dataset(batch_size=12)[0, 0].class_ids.tolist())
    assert sum(counts.values()) == 12
    assert set(counts.values()) == {2, 3}


def test_a_batch_depends_on_seed_epoch_and_index_alone():
    def drawn(seed: int, epoch: int, index: int) -> tuple:
        batch = dataset(seed=seed, shift=0.5)[epoch, index]
        return tuple(batch.class_ids.tolist()), float(batch.x.sum())

    assert drawn(0, 1, 2) == drawn(0, 1, 2)
    assert len({drawn(0, 1, 2), drawn(1, 1, 2), drawn(0, 2, 2), drawn(0, 1, 3)}) == 4


def test_clips_belong_to_their_classes_and_are_shifted():
    plain, moved = dataset()[0, 0], dataset(shift=0.5)[0, 0]
    assert plain.x.shape[0] == len(plain.class_ids) == len(plain.stats) == 4
    assert plain.class_ids.dtype == torch.int64
    assert torch.equal(plain.class_ids, moved.class_ids)
    assert not torch.equal(plain.x, moved.x)
    of_class = {int(c): {str(s) for s in EVENTS.source[EVENTS.class_id == c]} for c in range(5)}
    for x_1MT, class_id in zip(plain.x, plain.class_ids.tolist(), strict=True):
        assert f"r{int(x_1MT[0, 0, 0])}" in of_class[class_id]


def test_an_impossible_shift_is_named():
    with pytest.raises(UserError, match=r"^arch\.episodes\.shift=2"):
        dataset(shift=2)
