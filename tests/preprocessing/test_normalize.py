"""Normalisation against sums written out."""

import numpy as np
import pytest
import torch

from g5.common.errors import UserError
from preprocessing.features import Moments
from preprocessing.normalize import SMALLEST_STD, Normalize, recording_stats, scalar_stats


def clips() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return 20 * torch.randn(3, 1, 4, 7, generator=generator) - 60


STATS = torch.tensor([[-60.0, 10.0], [-50.0, 5.0], [-100.0, 0.0]])


def test_none_is_the_identity():
    x = clips()
    assert torch.equal(Normalize(mode="none", n_mels=4)(x, STATS), x)


def test_recording_uses_one_mean_and_deviation_of_each_clips_recording():
    x = clips()
    out = Normalize(mode="recording", n_mels=4)(x, STATS)
    for clip, (mean, std), result in zip(x, STATS.tolist(), out, strict=True):
        torch.testing.assert_close(result, (clip - mean) / max(std, 1e-3))


def test_sample_uses_one_mean_and_deviation_of_each_clip():
    x = clips()
    out = Normalize(mode="sample", n_mels=4)(x, STATS)
    for clip, result in zip(x.numpy(), out.numpy(), strict=True):
        np.testing.assert_allclose(result, (clip - clip.mean()) / clip.std(), rtol=1e-4)
    # A query does not see its neighbours.
    alone = Normalize(mode="sample", n_mels=4)(x[1:2], STATS[1:2])
    torch.testing.assert_close(alone, out[1:2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["sample", "recording"])
def test_the_shape_of_the_spectrum_is_kept(mode):
    """Differences between bands keep their proportions: one scale for all of them."""
    x = clips()
    out = Normalize(mode=mode, n_mels=4)(x, STATS)
    before, after = x[0, 0, 1:] - x[0, 0, :-1], out[0, 0, 1:] - out[0, 0, :-1]
    ratio = after / before
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-3, atol=0)


def test_train_uses_each_bands_mean_and_deviation():
    x, mean, std = clips(), np.array([-60.0, -50.0, 0.0, 1.0]), np.array([10.0, 5.0, 1.0, 0.0])
    normalize = Normalize(mode="train", n_mels=4)
    normalize.fit(mean, std)
    out = normalize(x, STATS)
    for band in range(4):
        expected = (x[:, :, band] - mean[band]) / max(std[band], SMALLEST_STD)
        torch.testing.assert_close(out[:, :, band], expected)


def test_train_travels_in_the_state_dict_and_shows_when_it_was_not_fitted():
    normalize = Normalize(mode="train", n_mels=4)
    assert normalize(clips(), STATS).isnan().all()
    normalize.fit(np.arange(4.0), np.ones(4))
    again = Normalize(mode="train", n_mels=4)
    again.load_state_dict(normalize.state_dict())
    assert torch.equal(again(clips(), STATS), normalize(clips(), STATS))
    for mode in ("none", "sample", "recording"):
        assert Normalize(mode=mode, n_mels=4).state_dict() == {}


def test_silence_stays_finite():
    x = torch.full((2, 1, 4, 7), -100.0)
    for mode in ("sample", "recording"):
        out = Normalize(mode=mode, n_mels=4)(x, torch.tensor([[-100.0, 0.0]] * 2))
        assert torch.equal(out, torch.zeros_like(x))


def test_scalar_stats_are_over_all_but_the_clip():
    x = clips()
    expected = [[clip.mean(), clip.std()] for clip in x.numpy()]
    np.testing.assert_allclose(scalar_stats(x), expected, rtol=1e-5)


def test_a_wrong_mode_is_named():
    with pytest.raises(UserError, match=r"features\.normalize=zscore is none of none, sample"):
        Normalize(mode="zscore", n_mels=4)


@pytest.mark.parametrize("mode", ["none", "sample", "recording", "train"])
def test_channels_are_parted_and_normalised_on_their_own(mode: str):
    x_B1WT = torch.cat([clips(), 0.1 * clips() + 4], dim=2)
    stats_B4 = torch.cat([STATS, STATS.roll(1, 0)], dim=1)
    both = Normalize(mode=mode, n_mels=4, channels=2)
    parts = [Normalize(mode=mode, n_mels=4) for _ in range(2)]
    if mode == "train":
        mean_W, std_W = torch.arange(8.0), torch.arange(1.0, 9.0)
        both.fit(mean_W, std_W)
        for part, rows in zip(parts, (slice(4), slice(4, 8)), strict=True):
            part.fit(mean_W[rows], std_W[rows])
    out_BCMT = both(x_B1WT, stats_B4)
    assert out_BCMT.shape == (3, 2, 4, 7)
    for channel, part in enumerate(parts):
        alone = part(
            x_B1WT[:, :, 4 * channel :][:, :, :4], stats_B4[:, 2 * channel :][:, :2]
        )  # fmt: skip
        torch.testing.assert_close(out_BCMT[:, channel], alone[:, 0])


def test_what_the_store_keeps_tells_each_channels_statistics():
    x_B1WT = torch.cat([clips(), 0.1 * clips() + 4], dim=2)[:1]
    moments = Moments()
    moments.update(x_B1WT[0, 0].T)
    for channels in (1, 2):
        told = recording_stats(moments.meta(), channels)
        np.testing.assert_allclose(told, scalar_stats(x_B1WT, channels)[0], rtol=1e-5)
