"""Augmentation: what it changes, by how much, for which clips, and that a seed repeats it."""

import math
from typing import Any

import pytest
import torch

from archs.v2.augmentation import BioacousticAugmentation, MixUp, RandomGaussianNoise, SpecAugment
from g5.common.errors import UserError

OFF = {
    "time_mask_pct": 0.0,
    "freq_mask_pct": 0.0,
    "n_time_masks": 0,
    "n_freq_masks": 0,
    "noise_std": 0.0,
    "mixup_alpha": 0.0,
}
ON = {
    "time_mask_pct": 0.15,
    "freq_mask_pct": 0.15,
    "n_time_masks": 2,
    "n_freq_masks": 2,
    "noise_std": 0.05,
    "mixup_alpha": 0.4,
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def clips(count: int = 64, bands: int = 40, frames: int = 60) -> torch.Tensor:
    return torch.randn(count, 1, bands, frames) + 3.0


def spec_augment(**changes) -> SpecAugment:
    keys = ("time_mask_pct", "freq_mask_pct", "n_time_masks", "n_freq_masks")
    return SpecAugment(**({key: OFF[key] for key in keys} | changes))


def test_one_time_mask_is_one_stretch_of_the_clips_mean():
    x_B1MT = clips()
    y_B1MT = spec_augment(time_mask_pct=0.25, n_time_masks=1)(x_B1MT)
    widths = []
    for x_MT, y_MT in zip(x_B1MT[:, 0], y_B1MT[:, 0], strict=True):
        masked_T = (x_MT != y_MT).all(dim=0)
        assert torch.equal(x_MT[:, ~masked_T], y_MT[:, ~masked_T])
        torch.testing.assert_close(y_MT[:, masked_T], x_MT.mean().expand_as(y_MT[:, masked_T]))
        edges = masked_T.int().diff().abs().sum()
        assert edges <= 2, "the mask is torn"
        widths.append(int(masked_T.sum()))
    assert max(widths) <= 15
    assert min(widths) == 0
    assert max(widths) >= 13, "over 64 clips nearly the widest should occur"
    assert len(set(widths)) > 8, "the clips share a draw"


def test_one_frequency_mask_is_one_stretch_of_bands():
    x_B1MT = clips(1000)
    changed_BMT = (spec_augment(freq_mask_pct=0.2, n_freq_masks=1)(x_B1MT) != x_B1MT)[:, 0]
    masked_BM = changed_BMT.all(dim=2)
    assert torch.equal(masked_BM, changed_BMT.any(dim=2)), "a band is masked in full or not at all"
    assert (masked_BM.int().diff(dim=1).abs().sum(1) <= 2).all()
    assert masked_BM.sum(1).max() == 8


def test_masks_reach_both_ends():
    x_B1MT = clips(2000, 4, 8)
    hit_BT = (spec_augment(time_mask_pct=0.5, n_time_masks=1)(x_B1MT) != x_B1MT).all(dim=2)[:, 0]
    share_T = hit_BT.float().mean(0)
    assert (share_T > 0.1).all()
    torch.testing.assert_close(share_T, share_T.flip(0), atol=0.05, rtol=0)


def test_masked_share_is_that_of_the_widths():
    # A width uniform in 0..6 of 60 frames masks 3 / 60 on average; two masks 1 - (1 - 0.05)^2 if
    # they were independent of each other, which they are up to the edges.
    x_B1MT = clips(3000, 1, 60)
    y_B1MT = spec_augment(time_mask_pct=0.1, n_time_masks=2)(x_B1MT)
    # With one band a clip is its frames; the mean itself never occurs among them.
    assert (x_B1MT != y_B1MT).float().mean().item() == pytest.approx(1 - 0.95**2, abs=0.006)


def test_a_short_axis_is_left_alone():
    x_B1MT = clips(frames=3)
    assert torch.equal(spec_augment(time_mask_pct=0.3, n_time_masks=2)(x_B1MT), x_B1MT)
    x_B1MT = clips(bands=1, frames=1)
    assert torch.equal(spec_augment(**{k: ON[k] for k in list(ON)[:4]})(x_B1MT), x_B1MT)


def test_noise_is_uniform_in_its_level():
    x_B1MT = clips(400, 20, 30)
    added_B1MT = RandomGaussianNoise(noise_std=0.5)(x_B1MT) - x_B1MT
    std_B = added_B1MT.flatten(1).std(1)
    assert std_B.max() < 0.55
    assert std_B.mean().item() == pytest.approx(0.25, abs=0.02)
    assert std_B.std().item() == pytest.approx(0.5 / math.sqrt(12), abs=0.02)
    assert added_B1MT.mean().item() == pytest.approx(0.0, abs=0.005)


def test_mixing_stays_within_a_label_and_keeps_the_clip_on_top():
    # Clips are constants: 10 times their label plus a little of their own.
    labels_B = torch.arange(6).repeat_interleave(8)[torch.randperm(48)]
    value_B = labels_B * 10.0 + torch.arange(48) / 100
    y_B1MT = MixUp(mixup_alpha=1.0)(value_B[:, None, None, None].expand(48, 1, 4, 5), labels_B)
    y_B = y_B1MT[:, 0, 0, 0]
    assert torch.equal(y_B1MT, y_B[:, None, None, None].expand_as(y_B1MT))
    assert ((y_B - labels_B * 10).abs() < 0.5).all(), "a clip met another label"
    assert (y_B != value_B).float().mean() > 0.7, "hardly a clip was mixed"
    # Half way to the partner at most: the farthest partner of the label lies this far away.
    for label in range(6):
        own = value_B[labels_B == label]
        reach = torch.maximum(own.max() - own, own - own.min()) / 2
        assert ((y_B[labels_B == label] - own).abs() <= reach + 1e-5).all()


def test_mixing_leaves_single_clips_as_they_are():
    x_B1MT = clips(5)
    torch.testing.assert_close(MixUp(mixup_alpha=1.0)(x_B1MT, torch.arange(5)), x_B1MT)


def test_mixing_needs_labels():
    with pytest.raises(AssertionError):
        MixUp(mixup_alpha=1.0)(clips(2), None)


def test_everything_is_the_identity_in_eval_mode_and_when_off():
    x_B1MT, labels_B = clips(), torch.zeros(64, dtype=torch.long)
    assert BioacousticAugmentation(**ON).eval()(x_B1MT, labels_B) is x_B1MT
    assert torch.equal(BioacousticAugmentation(**OFF)(x_B1MT, None), x_B1MT)


def test_each_key_changes_the_clips_and_a_seed_repeats_it():
    x_B1MT, labels_B = clips(), torch.arange(8).repeat_interleave(8)
    parts = (
        {"time_mask_pct": 0.2, "n_time_masks": 1},
        {"freq_mask_pct": 0.2, "n_freq_masks": 1},
        {"noise_std": 0.1},
        {"mixup_alpha": 0.4},
    )
    for part in parts:
        augment = BioacousticAugmentation(**(OFF | part))  # type: ignore[arg-type]
        torch.manual_seed(3)
        first = augment(x_B1MT, labels_B)
        assert not torch.equal(first, x_B1MT), part
        assert not torch.equal(augment(x_B1MT, labels_B), first), part
        torch.manual_seed(3)
        assert torch.equal(augment(x_B1MT, labels_B), first), part


def test_input_is_left_as_it_was():
    x_B1MT, labels_B = clips(), torch.zeros(64, dtype=torch.long)
    before = x_B1MT.clone()
    assert BioacousticAugmentation(**ON)(x_B1MT, labels_B).shape == x_B1MT.shape
    assert torch.equal(x_B1MT, before)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("time_mask_pct", 1.0),
        ("time_mask_pct", -0.1),
        ("freq_mask_pct", 1.5),
        ("freq_mask_pct", float("nan")),
        ("n_time_masks", -1),
        ("n_freq_masks", -2),
        ("noise_std", -0.1),
        ("mixup_alpha", -1.0),
    ],
)
def test_impossible_values_are_named(key: str, value: float):
    settings: dict[str, Any] = OFF | {key: value}
    with pytest.raises(UserError, match=rf"^arch\.augmentation\.{key}={value}: must be"):
        BioacousticAugmentation(**settings)
