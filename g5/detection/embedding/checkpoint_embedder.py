"""Windows of recordings as a checkpoint embeds them: fixed-shape batches at absolute positions.

A batch always has the same shape and starts at a multiple of its size, one thread works on it,
and what is missing at the end is filled with zeros: neither the number of workers nor anything
else that is going on can show in an embedding.

Shapes: B windows of a batch, T frames, M mel bands, W frames of a window, D embedding width,
C channels, N windows.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g5.config.earlier import first_facts
from g5.detection.embedding.embedder import Band, Piece, StoredEmbedder, in_order, inside
from g5.detection.embedding.sound import Sound
from g5.detection.embedding.windows import Scale
from g5.embeddings.encoders.identity import encoder_hash
from g5.tracking.restore import Restored
from preprocessing.normalize import Normalize

# Output frames that a shared block adds, and the windows whose frames are pooled at once.
SHARED_FRAMES = 64


class CheckpointEmbedder(StoredEmbedder):
    """Embeds windows of recordings' features; overlapping ones share the encoder's work.

    Args:
        restored: encoder and normalisation.
        store_dir: folder of stores.
        device: where the encoder works.
        batch: windows of a batch.
        workers: threads that work on batches, each with one thread of PyTorch's.
        share: let windows share what the encoder says they can.
    """

    def __init__(
        self, restored: Restored, store_dir: Path, *, device: torch.device, batch: int,
        workers: int, share: bool,
    ) -> None:  # fmt: skip
        super().__init__(
            restored.front_end, restored.model.to(device).eval(), encoder_identity(restored),
            store_dir, device=device, batch=batch, workers=workers,
        )  # fmt: skip
        self.encoder = restored.model.encoder.to(device).eval()
        self.normalize: Normalize = restored.normalize.to(device).eval()
        self.share = share

    @property
    def stride(self) -> int:
        """Of the encoder, where sharing is wanted; 0: windows are cut one by one."""
        return self.encoder.stride if self.share else 0

    def shares(self, scale: Scale) -> bool:
        """Whether windows of this scale share the encoder's work."""
        stride = self.stride
        return bool(stride) and scale.width % stride == 0 == scale.hop % stride

    # --- windows on the grid ----------------------------------------------------------------

    def _blocks(self, sound: Sound, scale: Scale, band: Band | None) -> Iterator[Tensor]:
        if self.shares(scale) and sound.n_frames >= scale.width:
            yield from self._shared(sound, scale, band)
            return
        starts_N = np.arange(scale.count(sound.n_frames)) * scale.hop
        yield from self._cut([sound], np.zeros_like(starts_N), starts_N, scale.width, band)

    def cut(
        self, pieces: Sequence[Piece], width: int, band: Band | None,
        heard: Sequence[np.ndarray] | None = None,
    ) -> list[Tensor]:  # fmt: skip
        lengths = [len(starts) for _, starts in pieces]
        which_N = np.repeat(np.arange(len(pieces)), lengths)
        starts = [inside(sound, starts, width) for sound, starts in pieces]
        starts_N = np.concatenate([np.zeros(0, np.int64), *starts])
        heard_N2 = None if heard is None else np.concatenate([np.zeros((0, 2), int), *heard])
        sounds = [sound for sound, _ in pieces]
        parts = list(self._cut(sounds, which_N, starts_N, width, band, heard_N2))
        z_ND = torch.cat([torch.zeros(0, self.model.embedding_dim), *parts])
        return list(z_ND.split(lengths))

    def _cut(
        self, sounds: Sequence[Sound], which_N: np.ndarray, starts_N: np.ndarray, width: int,
        band: Band | None, heard_N2: np.ndarray | None = None,
    ) -> Iterator[Tensor]:  # fmt: skip
        def work(first: int) -> Tensor:
            rows = slice(first, first + self.batch)
            of_B = [sounds[which] for which in which_N[rows].tolist()]
            x_BTM = torch.zeros(self.batch, width, self.front_end.width)
            for row, (sound, start) in enumerate(zip(of_B, starts_N[rows].tolist(), strict=True)):
                x_BTM[row] = sound.clip(start, width)
            if heard_N2 is None:
                return self._forward(self.model, x_BTM, of_B, band)
            heard_B2 = torch.from_numpy(heard_N2[rows] - starts_N[rows, None])
            at_T = torch.arange(width)
            heard_BT = torch.zeros(self.batch, width)
            heard_BT[: len(of_B)] = (at_T >= heard_B2[:, :1]) & (at_T < heard_B2[:, 1:])

            def alone(x_B1MT: Tensor) -> Tensor:
                return self.model(x_B1MT * heard_BT[:, None, None].to(x_B1MT.device))

            return self._forward(alone, x_BTM, of_B, band)

        yield from in_order(work, range(0, len(starts_N), self.batch), self.workers)

    # --- windows that share -----------------------------------------------------------------

    def _shared(self, sound: Sound, scale: Scale, band: Band | None) -> Iterator[Tensor]:
        """The encoder runs once over the recording; only windows' heads are run one by one."""
        stride, head = self.encoder.stride, self.encoder.head
        n_windows, per_hop = scale.count(sound.n_frames), scale.hop // stride
        per_window = scale.width // stride
        heads = self._heads(sound, n_windows, scale, band)
        kept_CT = torch.zeros(0, 0)
        first, window = 0, 0  # the frame that kept_CT starts with, and the next window
        waiting = torch.zeros(0, 0, 0)
        for block_CT in self._frames(sound, n_windows, scale, band):
            kept_CT = block_CT if not kept_CT.numel() else torch.cat([kept_CT, block_CT], dim=1)
            end = first + kept_CT.shape[1]
            ready = min(n_windows, max(0, (end - per_window) // per_hop + 1)) - window
            if ready <= 0:
                continue
            while len(waiting) < ready:
                waiting = torch.cat([waiting, next(heads)]) if len(waiting) else next(heads)
            skip = window * per_hop - first
            span = kept_CT[:, skip : skip + (ready - 1) * per_hop + per_window]
            x_NCT = span.unfold(1, per_window, per_hop).transpose(0, 1).clone()
            x_NCT[:, :, :head] = waiting[:ready]
            waiting = waiting[ready:]
            yield self._pool(x_NCT)
            window += ready
            drop = min(window * per_hop - first, kept_CT.shape[1])
            kept_CT, first = kept_CT[:, drop:], first + drop

    @torch.inference_mode()
    def _pool(self, x_NCT: Tensor) -> Tensor:
        return self.model.placed(self.encoder.pool_frames(x_NCT.to(self.device))).cpu()

    def _frames(
        self, sound: Sound, n_windows: int, scale: Scale, band: Band | None
    ) -> Iterator[Tensor]:
        """The encoder's frames, (C, `SHARED_FRAMES`) at a time, from blocks at fixed positions."""
        stride, head = self.encoder.stride, self.encoder.head
        needed = ((n_windows - 1) * scale.hop + scale.width) // stride
        margin, size = head * stride, SHARED_FRAMES * stride

        def work(first: int) -> Tensor:
            start = first * stride
            x_BTM = torch.zeros(1, margin + size, self.front_end.width)
            low, high = max(start - margin, 0), min(start + size, sound.n_frames)
            x_BTM[0, margin - (start - low) : margin + high - start] = sound.features_TM[low:high]
            return self._forward(self.encoder.frame_features, x_BTM, [sound], band)[0, :, head:]

        return in_order(work, range(0, needed, SHARED_FRAMES), self.workers)

    def _heads(
        self, sound: Sound, n_windows: int, scale: Scale, band: Band | None
    ) -> Iterator[Tensor]:
        """The first frames of every window as if it were cut out, (batch, C, head) at a time."""
        width = self.encoder.head * self.encoder.stride

        def work(first: int) -> Tensor:
            last = min(first + self.batch, n_windows)
            x_BTM = torch.zeros(self.batch, width, self.front_end.width)
            begin = first * scale.hop
            span = sound.features_TM[begin : (last - 1) * scale.hop + width]
            x_BTM[: last - first] = span.unfold(0, width, scale.hop).transpose(1, 2)
            of_B = [sound] * (last - first)
            return self._forward(self.encoder.frame_features, x_BTM, of_B, band)

        return in_order(work, range(0, n_windows, self.batch), self.workers)

    # --- one batch --------------------------------------------------------------------------

    @torch.inference_mode()
    def _forward(
        self, function: Callable[[Tensor], Tensor], x_BTM: Tensor, of_B: Sequence[Sound],
        band: Band | None,
    ) -> Tensor:  # fmt: skip
        """Embeddings of windows of these recordings, fp32 on the CPU; what is beyond is padding."""
        filled = [*of_B, *[of_B[-1]] * (len(x_BTM) - len(of_B))]
        x_B1MT = self.normalised(x_BTM.to(self.device), filled, band)
        return function(x_B1MT)[: len(of_B)].float().cpu()

    def normalised(self, x_BTM: Tensor, of_B: Sequence[Sound], band: Band | None) -> Tensor:
        """Windows as the encoder takes them, (B, 1, M, T): as in training, and the band alone."""
        stats_B2 = torch.tensor([sound.stats for sound in of_B], device=x_BTM.device)
        x_B1MT = self.normalize(x_BTM.transpose(1, 2).unsqueeze(1), stats_B2)
        if band is not None:
            # What training's masks fill with: the mean of what is normalised.
            x_B1MT = x_B1MT.clone()
            x_B1MT[:, :, : band[0]] = 0.0
            x_B1MT[:, :, band[1] :] = 0.0
        return x_B1MT

    def _facts(self, scale: Scale, band: Band | None) -> dict[str, Any]:
        return {
            "kind": "embeddings of windows",
            "front_end": self.front_end.settings(),
            "encoder": self.identity,
            "width": scale.width,
            "hop": scale.hop,
            "band": None if band is None else list(band),
            "shared": self.shares(scale),
            "batch": self.batch,
            "device": self.device.type,
        }


def encoder_identity(restored: Restored) -> str:
    """16 hex digits of everything between features and embeddings: weights and settings."""
    facts = [first_facts(restored.settings.arch.model.plain()), restored.normalize.mode]
    parts = (restored.model, restored.normalize)
    return encoder_hash(facts, [dict(sorted(part.state_dict().items())) for part in parts])
