"""Patches of a synthesizer: the test set of another generator."""

import numpy as np
import pytest

from preprocessing.synthetic.patches import (
    CLIP_S,
    RHYTHMS,
    SOURCES,
    draw_patch,
    patch_clips,
    play,
)

SR = 16000


def first(count: int, seed: int = 5) -> list[tuple[str, np.ndarray, str, str]]:
    made = patch_clips(seed, SR)
    return [next(made) for _ in range(count)]


def test_clips_follow_from_the_seed():
    ours, again = first(3), first(3)
    assert [row[0] for row in ours] == ["000_00", "000_01", "000_02"]
    assert {row[2] for row in ours} == {"patch_000"}
    assert len({row[3] for row in ours}) == 3
    for (_, x, _, _), (_, y, _, _) in zip(ours, again, strict=True):
        assert x.dtype == np.int16
        assert len(x) == round(CLIP_S * SR)
        assert np.array_equal(x, y)
        assert np.abs(x).max() > 1000
    assert not np.array_equal(ours[0][1], first(1, seed=6)[0][1])


def test_some_clips_are_cut_from_silence():
    zeros = [np.mean(first(1, seed)[0][1] == 0) for seed in range(24)]
    assert sum(share > 0.2 for share in zeros) > 2
    assert sum(share < 0.1 for share in zeros) > 2


@pytest.mark.parametrize("seed", range(12))
def test_every_patch_plays(seed):
    patch = draw_patch(np.random.default_rng(seed))
    assert patch.source in SOURCES
    assert patch.rhythm in RHYTHMS
    x = play(patch, np.random.default_rng(0), SR)
    assert np.isfinite(x).all()
    assert np.abs(x).max() == pytest.approx(1.0)
    assert 0 < len(x) <= CLIP_S * SR
