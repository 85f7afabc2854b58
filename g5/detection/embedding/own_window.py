"""Windows of recordings as the encoders of others embed them, which have a window of their own.

A window that is shorter than the encoder's is centred in silence: hops and times stay as fine as
the calls ask for. Of a longer one its middle is heard.

Shapes: B windows of a batch, S samples of the encoder's window, N windows, D embedding width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archs.protonet import Encoder, ProtoNet
from g5.common.errors import UserError
from g5.config.build import build
from g5.config.node import Node
from g5.detection.embedding.embedder import Band, Piece, StoredEmbedder, in_order, inside
from g5.detection.embedding.sound import Sound
from g5.detection.embedding.windows import Scale
from g5.embeddings.encoders.loaded import LoadedEncoder
from preprocessing.frontend import FrontEnd

# Seconds that are decoded at once: the same for everybody, as samples depend on it by a rounding.
TAPE_S = 30.0
# Windows for each worker that tell how long one takes.
TRIED = 2


class OwnWindowEmbedder(StoredEmbedder):
    """Embeds windows of recordings' samples, each alone in a window of the encoder's.

    Args:
        encoder: waveforms in, vectors out.
        front_end: makes the frames that windows and events are counted in.
        store_dir: folder of stores.
        device: where the encoder works.
        batch: windows of a batch.
        workers: threads that work on batches, where the encoder may be called by several.
    """

    def __init__(
        self, encoder: LoadedEncoder, front_end: FrontEnd, store_dir: Path, *,
        device: torch.device, batch: int, workers: int,
    ) -> None:  # fmt: skip
        model = ProtoNet(
            encoder=Width(encoder.embedding_dim), distance="euclidean", cosine_scale=1.0,
            normalize=encoder.geometry,
        )  # fmt: skip
        super().__init__(
            front_end, model.to(device).eval(), encoder.hash(), store_dir, device=device,
            batch=batch, workers=workers if encoder.shareable else 1,
        )  # fmt: skip
        self.encoder = encoder.to(device)

    def cut(
        self, pieces: Sequence[Piece], width: int, band: Band | None,
        heard: Sequence[np.ndarray] | None = None,
    ) -> list[Tensor]:  # fmt: skip
        tapes = {sound.key: self._tape(sound) for sound, _ in pieces}
        waves = (
            wave_BS
            for (sound, starts), heard_N2 in zip(pieces, heard or [None] * len(pieces), strict=True)
            for wave_BS in self._waves(
                tapes[sound.key], sound, inside(sound, starts, width), width, heard_N2
            )
        )
        z_ND = torch.cat([torch.zeros(0, self.encoder.embedding_dim), *self._all(waves)])
        return list(z_ND.split([len(starts) for _, starts in pieces]))

    def cost_s(self) -> float:
        noise_1S = np.random.default_rng(0).normal(size=(1, self.encoder.window_samples))
        waves = [0.1 * noise_1S.astype(np.float32)] * self.workers
        list(self._all(waves))  # the first call of an encoder may prepare it
        begin = perf_counter()
        list(self._all(waves * TRIED))
        return (perf_counter() - begin) / TRIED / self.workers

    def _blocks(self, sound: Sound, scale: Scale, band: Band | None) -> Iterator[Tensor]:
        starts_N = np.arange(scale.count(sound.n_frames)) * scale.hop
        return self._all(self._waves(self._tape(sound), sound, starts_N, scale.width))

    def _facts(self, scale: Scale, band: Band | None) -> dict[str, Any]:
        return {
            "kind": "embeddings of windows in silence",
            "front_end": self.front_end.settings(),
            "encoder": self.identity,
            "window_s": self.encoder.window_s,
            "geometry": self.encoder.geometry,
            "width": scale.width,
            "hop": scale.hop,
            "batch": self.batch,
            "device": self.device.type,
        }

    def _all(self, waves: Any) -> Iterator[Tensor]:
        if self.workers > 1:
            return in_order(self._embedded, waves, self.workers)
        # It may have all threads, and keep what it likes between two calls.
        return map(self._embedded, waves)

    @torch.inference_mode()
    def _embedded(self, wave_BS: np.ndarray) -> Tensor:
        z_BD = self.encoder.forward(torch.from_numpy(wave_BS).to(self.device))
        if not bool(torch.isfinite(z_BD).all()):
            raise UserError(
                f"{self.encoder.name}: gives NaN or infinite numbers; try g5 encoders check"
            )
        return self.model.placed(z_BD).float().cpu()

    def _tape(self, sound: Sound) -> "_Samples":
        return _Samples(sound, max(1, round(sound.slow * self.encoder.sr)))

    def _waves(
        self, tape: "_Samples", sound: Sound, starts_N: np.ndarray, width: int,
        heard_N2: np.ndarray | None = None,
    ) -> Iterator[np.ndarray]:  # fmt: skip
        """What the encoder hears of windows that start at these frames, (B, S) at a time."""
        size = self.encoder.window_samples
        heard = min(max(1, round(width / sound.frame_rate_hz * tape.rate_hz)), size)
        # Times are those of the frames' middles.
        middle_N = (starts_N + (width - 1) / 2) / sound.frame_rate_hz * tape.rate_hz
        first_N = np.round(middle_N - heard / 2).astype(np.int64)
        before = (size - heard) // 2
        edges_N2 = np.tile([0, heard], (len(first_N), 1))
        if heard_N2 is not None:
            # Samples around frames: a frame's middle is its time.
            samples_N2 = (heard_N2 - 0.5) / sound.frame_rate_hz * tape.rate_hz - first_N[:, None]
            edges_N2 = np.clip(np.round(samples_N2).astype(np.int64), 0, heard)
        for row in range(0, len(first_N), self.batch):
            rows = first_N[row : row + self.batch]
            wave_BS = np.zeros((len(rows), size), np.float32)
            edges_B2 = edges_N2[row : row + self.batch].tolist()
            for wave_S, first, (a, b) in zip(wave_BS, rows.tolist(), edges_B2, strict=True):
                wave_S[before + a : before + b] = tape.cut(first, heard)[a:b]
            yield wave_BS


class Width(Encoder):
    """Stands for an encoder whose embeddings come from elsewhere."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim


class _Samples:
    """A recording's samples at a rate, decoded a stretch at a time; to be read forwards."""

    def __init__(self, sound: Sound, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._sound, self._size = sound, round(TAPE_S * rate_hz)
        self._length = round(sound.duration_s * rate_hz)
        self._kept: dict[int, np.ndarray] = {}

    def cut(self, first: int, count: int) -> np.ndarray:
        """Samples (count,) from one on; silence around the recording, repeated if it is short."""
        if self._length < count:
            return np.resize(self._stretch(0), count)
        cut = np.zeros(count, np.float32)
        for number in range(max(first, 0) // self._size, (first + count - 1) // self._size + 1):
            part, begin = self._stretch(number), number * self._size
            a, b = max(first, begin), min(first + count, begin + len(part))
            if a < b:
                cut[a - first : b - first] = part[a - begin : b - begin]
        return cut

    def _stretch(self, number: int) -> np.ndarray:
        if number not in self._kept:
            self._kept = {key: part for key, part in self._kept.items() if key == number - 1}
            begin_s = number * self._size / self.rate_hz
            self._kept[number] = self._sound.read(
                begin_s, begin_s + self._size / self.rate_hz, self.rate_hz
            )
        return self._kept[number]


def frames_for(encoder: LoadedEncoder, mel: Node) -> FrontEnd:
    """What makes the frames beside an encoder: its own front end, or ``mel`` at its rate.

    Args:
        encoder: whose rate it is.
        mel: a mel front end; its windows last as long at the other rate, and bands reach as high.
    """
    if encoder.front_end is not None:
        return encoder.front_end
    ratio = encoder.sr / mel.values["sr"]
    values = {
        **mel.values,
        "sr": encoder.sr,
        # Sixty-fours are fast to transform.
        "n_fft": 64 * max(1, round(mel.values["n_fft"] * ratio / 64)),
        "hop_mel": max(1, round(mel.values["hop_mel"] * ratio)),
        "fmax": min(mel.values["fmax"] * ratio, encoder.sr / 2),
    }
    return build(replace(mel, values=values), expect=FrontEnd, where="features").eval()
