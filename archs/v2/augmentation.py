"""Augmentation of training clips on their device: masks, noise and mixing, drawn for each clip.

Sources: Park et al., "SpecAugment", Interspeech 2019; Zhang et al., "mixup: Beyond Empirical Risk
Minimization", ICLR 2018.

What we changed: no time warping; masks are filled with the clip's own mean, so that they mean
"nothing here" whatever the normalisation; mixing stays within a class, so that an episode's
labels stay hard. Every draw is from torch's global generator of the clips' device: seeding a step
reproduces it. In eval mode every module returns its input.

Shapes: B clips, 1 channel, M mel bands, T frames, R masks of a clip.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from g5.common.errors import UserError


class SpecAugment(nn.Module):
    """Replace stretches of frames and of bands by the clip's mean (Park et al. 2019).

    A mask's width is uniform between 0 and ``pct`` of its axis, its place uniform among those
    where it fits; masks of one clip may overlap.

    Args:
        time_mask_pct: share of the frames that a time mask covers at most, in [0, 1).
        freq_mask_pct: share of the bands that a frequency mask covers at most, in [0, 1).
        n_time_masks: time masks of a clip.
        n_freq_masks: frequency masks of a clip.

    Raises:
        UserError: a share outside [0, 1) or a negative number of masks.
    """

    def __init__(
        self, *, time_mask_pct: float, freq_mask_pct: float, n_time_masks: int, n_freq_masks: int
    ) -> None:
        super().__init__()
        _check(0 <= time_mask_pct < 1, "time_mask_pct", time_mask_pct, "must be in [0, 1)")
        _check(0 <= freq_mask_pct < 1, "freq_mask_pct", freq_mask_pct, "must be in [0, 1)")
        _check(n_time_masks >= 0, "n_time_masks", n_time_masks, "must be 0 or more")
        _check(n_freq_masks >= 0, "n_freq_masks", n_freq_masks, "must be 0 or more")
        self.time_mask_pct = time_mask_pct
        self.freq_mask_pct = freq_mask_pct
        self.n_time_masks = n_time_masks
        self.n_freq_masks = n_freq_masks

    def forward(self, x_B1MT: Tensor) -> Tensor:
        """Mask clips ``(B, 1, M, T)``, each by its own draw."""
        if not self.training:
            return x_B1MT
        clips, _, bands, frames = x_B1MT.shape
        device = x_B1MT.device
        time_BT = _masks(clips, frames, self.time_mask_pct, self.n_time_masks, device)
        freq_BM = _masks(clips, bands, self.freq_mask_pct, self.n_freq_masks, device)
        masked_B1MT = time_BT[:, None, None, :] | freq_BM[:, None, :, None]
        return torch.where(masked_B1MT, x_B1MT.mean(dim=(2, 3), keepdim=True), x_B1MT)


class RandomGaussianNoise(nn.Module):
    """Add white noise whose standard deviation is uniform between 0 and ``noise_std``.

    Args:
        noise_std: largest standard deviation, in units of the features; 0 or more.

    Raises:
        UserError: a negative standard deviation.
    """

    def __init__(self, *, noise_std: float) -> None:
        super().__init__()
        _check(noise_std >= 0, "noise_std", noise_std, "must be 0 or more")
        self.noise_std = noise_std

    def forward(self, x_B1MT: Tensor) -> Tensor:
        """Add noise to clips ``(B, 1, M, T)``, each at its own level."""
        if not self.training or self.noise_std == 0:
            return x_B1MT
        std_B111 = self.noise_std * torch.rand(len(x_B1MT), 1, 1, 1, device=x_B1MT.device)
        return torch.addcmul(x_B1MT, torch.randn_like(x_B1MT), std_B111.to(x_B1MT.dtype))


class MixUp(nn.Module):
    """Mix each clip with another one of its group (after Zhang et al. 2018).

    mixup proper mixes labels too. An episode's labels choose prototypes, and a prototype of mixed
    calls stands for no class; so clips are mixed within a group only and labels stay as they are.
    The weight is ``max(w, 1 - w)`` of ``w ~ Beta(alpha, alpha)``: a clip remains mostly itself.

    Args:
        mixup_alpha: parameter of the Beta distribution; 0: off.

    Raises:
        UserError: a negative parameter.
    """

    def __init__(self, *, mixup_alpha: float) -> None:
        super().__init__()
        _check(mixup_alpha >= 0, "mixup_alpha", mixup_alpha, "must be 0 or more")
        self.mixup_alpha = mixup_alpha

    def forward(self, x_B1MT: Tensor, labels_B: Tensor | None) -> Tensor:
        """Mix clips ``(B, 1, M, T)`` of equal label.

        Args:
            x_B1MT: clips.
            labels_B: integers; clips of one label may be mixed. In an episode give a class's
                support and its queries different labels, or queries would contain support calls.
        """
        if not self.training or self.mixup_alpha == 0:
            return x_B1MT
        assert labels_B is not None, "mixing needs to know which clips belong together"
        alpha = torch.tensor(self.mixup_alpha, device=x_B1MT.device, dtype=torch.float32)
        weight_B = torch.distributions.Beta(alpha, alpha).sample((len(x_B1MT),))
        weight_B111 = torch.maximum(weight_B, 1 - weight_B)[:, None, None, None].to(x_B1MT.dtype)
        return torch.lerp(x_B1MT[_partners(labels_B)], x_B1MT, weight_B111)


class BioacousticAugmentation(nn.Module):
    """MixUp, then noise, then SpecAugment, in training only.

    Args: those of `MixUp`, `RandomGaussianNoise` and `SpecAugment`, which also say what is raised.
    """

    def __init__(
        self,
        *,
        time_mask_pct: float,
        freq_mask_pct: float,
        n_time_masks: int,
        n_freq_masks: int,
        noise_std: float,
        mixup_alpha: float,
    ) -> None:
        super().__init__()
        self.mixup = MixUp(mixup_alpha=mixup_alpha)
        self.noise = RandomGaussianNoise(noise_std=noise_std)
        self.spec_augment = SpecAugment(
            time_mask_pct=time_mask_pct,
            freq_mask_pct=freq_mask_pct,
            n_time_masks=n_time_masks,
            n_freq_masks=n_freq_masks,
        )

    def forward(self, x_B1MT: Tensor, labels_B: Tensor | None) -> Tensor:
        """Augment clips ``(B, 1, M, T)``; ``labels_B`` as in `MixUp` (``None`` if it is off)."""
        return self.spec_augment(self.noise(self.mixup(x_B1MT, labels_B)))


def _masks(clips: int, size: int, pct: float, count: int, device: torch.device) -> Tensor:
    """Union of ``count`` random stretches of each clip's axis of ``size``: ``(B, size)`` bool."""
    widest = math.floor(pct * size + 1e-9)  # 0.29 of 100 is 29, not 28.999...
    width_BR1 = torch.randint(0, widest + 1, (clips, count, 1), device=device)
    place_BR1 = torch.rand(clips, count, 1, device=device)
    start_BR1 = (place_BR1 * (size - width_BR1 + 1)).long()
    position = torch.arange(size, device=device)
    return ((position >= start_BR1) & (position < start_BR1 + width_BR1)).any(dim=1)


def _partners(labels_B: Tensor) -> Tensor:
    """For each clip a random clip of equal label: a permutation within each label."""
    in_order_B = labels_B.argsort(stable=True)
    shuffled_B = torch.randperm(len(labels_B), device=labels_B.device)
    shuffled_B = shuffled_B[labels_B[shuffled_B].argsort(stable=True)]
    return torch.empty_like(in_order_B).scatter_(0, in_order_B, shuffled_B)


def _check(holds: bool, key: str, value: Any, rule: str) -> None:
    if not holds:
        raise UserError(f"arch.augmentation.{key}={value}: {rule}")
