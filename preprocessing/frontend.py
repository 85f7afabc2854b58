"""Front ends: waveforms in, log-mel or PCEN out; one and the same module wherever features arise.

Shapes: B batch, S samples, T frames, N samples of a window, F frequency bins, M mel bands,
W values of a frame (bands of all channels).

The numbers are librosa's (McFee et al., librosa 0.11) computed in float64: frames centred on
multiples of the hop with zeros beyond both ends, periodic Hann window, power spectrum, mel bands
after Slaney's Auditory Toolbox. Window and FFT run in float64, because a float32 FFT drowns what
is some 120 dB below the loudest bin of a frame, and there lie the quiet bands beside a pure tone.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, TypedDict, Unpack

import numpy as np
import torch
from torch import nn

from g5.common.errors import UserError
from preprocessing.spectra.mel import check_mel, check_no_empty_band, mel_basis, seen_groups
from preprocessing.spectra.scratch import NO_SCRATCH, Scratch, product_dtype, scratch_of
from preprocessing.spectra.smoothing import SMOOTHER_CHUNK, decay_matrix, smooth

# Windowed samples worked on at once on a CPU: few enough to stay in the cache, which makes it
# several times as fast as a transform of the whole recording, and enough to hide Python.
SAMPLES_AT_ONCE = 2**18
# What is quieter, all through a frame, was never recorded.
SILENCE = 2.0**-25


class MelKeys(TypedDict):
    """What every front end takes, see `FrontEnd`."""

    sr: int
    n_fft: int
    hop_mel: int
    n_mels: int
    fmin: float
    fmax: float


class PCENKeys(MelKeys):
    """What `PCEN` takes."""

    pcen_scale: float
    pcen_gain: float
    pcen_bias: float
    pcen_power: float
    pcen_time_constant_s: float
    pcen_eps: float


class FrontEnd(nn.Module, ABC):
    """The mel spectrogram that `LogMel` and `PCEN` compress; raises `UserError` on bad settings.

    Args:
        sr: sample rate, Hz.
        n_fft: samples in the analysis window.
        hop_mel: samples between frames.
        n_mels: mel bands.
        fmin: lower edge of the lowest band, Hz.
        fmax: upper edge of the highest band, Hz.
    """

    window_N: torch.Tensor
    basis_FM: torch.Tensor
    # Kinds of features: a frame holds the bands of the first, then those of the next.
    channels = 1
    # A frame's features say nothing of what was before it: `compress` has no state.
    alone: ClassVar[bool] = False
    # What the constructor takes, and `settings` gives.
    keys: ClassVar[tuple[str, ...]] = tuple(MelKeys.__annotations__)

    def __init__(
        self, *, sr: int, n_fft: int, hop_mel: int, n_mels: int, fmin: float, fmax: float
    ) -> None:
        super().__init__()
        check_mel(sr, n_fft, hop_mel, n_mels, fmin, fmax)
        self.sr = int(sr)
        self.n_fft = int(n_fft)
        self.hop_mel = int(hop_mel)
        self.n_mels = int(n_mels)
        self.fmin = float(fmin)
        self.fmax = float(fmax)
        window_N = torch.hann_window(self.n_fft, periodic=True, dtype=torch.float64)
        self.register_buffer("window_N", window_N, persistent=False)
        basis_MF = mel_basis(self.sr, self.n_fft, self.n_mels, self.fmin, self.fmax)
        check_no_empty_band(basis_MF, self.sr, self.n_fft, self.fmin, self.fmax)
        # Real and imaginary parts lie side by side in the spectrum, so each bin counts twice.
        basis_FM = torch.from_numpy(np.repeat(basis_MF.T, 2, axis=0)).float()
        self.register_buffer("basis_FM", basis_FM, persistent=False)
        self._groups = seen_groups(basis_MF)
        self.frames_at_once = max(SAMPLES_AT_ONCE // self.n_fft, 8)

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sr / self.hop_mel

    @property
    def width(self) -> int:
        """Values of a frame: bands times channels."""
        return self.channels * self.n_mels

    def settings(self) -> dict[str, str | int | float]:
        """Everything the numbers depend on, as plain values; ``_target_`` is the class."""
        target = f"{type(self).__module__}.{type(self).__qualname__}"
        return {"_target_": target} | {key: getattr(self, key) for key in self.keys}

    @abstractmethod
    def compress(
        self, power_TM: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mel power (..., T, M) to features (..., T, W) float32, and the state after the last.

        ``state`` is None at the head of a recording.
        """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn waveforms (..., S) in [-1, 1] into features (..., W, T), T = 1 + S // hop_mel.

        Float32 out, whatever the input and autocast; differentiable. Leading axes are a batch.
        """
        half = self.n_fft // 2
        x = nn.functional.pad(x, (half, half))
        n_frames = 1 + (x.shape[-1] - self.n_fft) // self.hop_mel
        at_once = n_frames
        if x.device.type == "cpu":
            at_once = max(self.frames_at_once // max(math.prod(x.shape[:-1]), 1), 8)
        features_TM, _ = self.pieces(x, n_frames, at_once, None)
        return features_TM.transpose(-1, -2)

    def stream(self) -> "FrontEndStream":
        """Features of one recording that arrives in blocks; their sequence equals `forward`."""
        return FrontEndStream(self)

    def pieces(
        self, x: torch.Tensor, n_frames: int, at_once: int, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The first ``n_frames`` frames of padded samples (..., S), ``at_once`` at a time."""
        scratch = None
        if x.ndim == 1 and x.device.type == "cpu" and not x.requires_grad:
            scratch = scratch_of(at_once, self.n_fft, product_dtype(x.device))
        pieces = []
        with torch.autocast(x.device.type, enabled=False):
            for first in range(0, n_frames, at_once):
                start = first * self.hop_mel
                count = min(at_once, n_frames - first)
                samples = x[..., start : start + (count - 1) * self.hop_mel + self.n_fft]
                memory = scratch.first(count) if scratch else NO_SCRATCH
                power_TM = self._mel_power(samples, memory)
                silent_T = self.silent(samples, count) if x.ndim == 1 else None
                if silent_T is None or not bool(silent_T.any()):
                    piece_TM, state = self.compress(power_TM, state)
                else:
                    piece_TM, state = self._without_silence(power_TM, ~silent_T, state)
                pieces.append(piece_TM)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2), state

    def silent(self, x: torch.Tensor, n_frames: int) -> torch.Tensor:
        """Which of the first frames (T,) of padded samples (S,) are digital silence, (T,).

        A recorder with a trigger writes zeros where it did not record: all samples of a frame are
        less than a quarter of the least that 24 bits can say (resampling leaves so much of zeros).
        """
        loud_S = (x.detach().abs() >= SILENCE).to(torch.int32)
        before_S = nn.functional.pad(loud_S.cumsum(0), (1, 0))
        first_T = torch.arange(n_frames, device=x.device) * self.hop_mel
        return before_S[first_T + self.n_fft] == before_S[first_T]

    def _without_silence(
        self, power_TM: torch.Tensor, sounding_T: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features of frames; of those that are digital silence the state knows nothing."""
        silence_TM, _ = self.compress(torch.zeros_like(power_TM), None)
        if bool(sounding_T.any()):
            silence_TM[sounding_T], state = self.compress(power_TM[sounding_T], state)
        return silence_TM, state

    def _mel_power(self, x: torch.Tensor, scratch: Scratch) -> torch.Tensor:
        """Mel power (..., T, M) of padded samples (..., S)."""
        frames_TN = x.double().unfold(-1, self.n_fft, self.hop_mel)
        windowed_TN = torch.mul(frames_TN, self.window_N, out=scratch.windowed_TN)
        parts_TF = torch.view_as_real(torch.fft.rfft(windowed_TN)).flatten(-2)
        basis_FM = self.basis_FM.to(product_dtype(x.device))
        if scratch.power_TF is None:
            power_TF = parts_TF.to(basis_FM.dtype).square()
        else:
            power_TF = scratch.power_TF.copy_(parts_TF).square_()
        bands = [power_TF[..., bins] @ basis_FM[bins, bands] for bins, bands in self._groups]
        return torch.cat(bands, dim=-1)


class LogMel(FrontEnd):
    """Mel power in dB of power 1.0, ``10 log10(max(power, floor))``; no ``top_db``.

    Equals ``librosa.power_to_db(librosa.feature.melspectrogram(y, pad_mode="constant", ...),
    amin=10 ** (floor_db / 10), top_db=None)``.

    Args:
        floor_db: what is quieter is this, dB of power 1.0.
    """

    alone = True
    keys = (*MelKeys.__annotations__, "floor_db")

    def __init__(self, *, floor_db: float, **mel: Unpack[MelKeys]) -> None:
        super().__init__(**mel)
        self.floor_db = _floor(floor_db)

    def compress(
        self, power_TM: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return decibels(power_TM, self.floor_db), None


class PCEN(FrontEnd):
    """Per-channel energy normalisation of mel power (Wang et al. 2017; Lostanlen et al. 2019).

    With E the mel power times ``pcen_scale`` and M its first-order smoothing,
    ``(E / (eps + M) ** gain + bias) ** power - bias ** power``. Equals
    ``librosa.pcen(pcen_scale * melspectrogram, ...)``, also in that M is 1 before the recording
    begins; ``pcen_scale`` puts audio in [-1, 1] far above that 1.

    Args:
        pcen_scale: factor on the mel power.
        pcen_gain: strength of the gain control, 0 to 1.
        pcen_bias: offset before the root.
        pcen_power: exponent of the root.
        pcen_time_constant_s: of the smoothing, seconds.
        pcen_eps: keeps silence finite.
    """

    smoother_TT: torch.Tensor
    keys = tuple(PCENKeys.__annotations__)

    def __init__(
        self,
        *,
        pcen_scale: float,
        pcen_gain: float,
        pcen_bias: float,
        pcen_power: float,
        pcen_time_constant_s: float,
        pcen_eps: float,
        **mel: Unpack[MelKeys],
    ) -> None:
        super().__init__(**mel)
        self.pcen_scale = _positive("pcen_scale", pcen_scale)
        self.pcen_gain = _positive("pcen_gain", pcen_gain)
        self.pcen_bias = _positive("pcen_bias", pcen_bias)
        self.pcen_power = _positive("pcen_power", pcen_power)
        self.pcen_time_constant_s = _positive("pcen_time_constant_s", pcen_time_constant_s)
        self.pcen_eps = _positive("pcen_eps", pcen_eps)
        # librosa's coefficient for a time constant of t frames.
        t = self.pcen_time_constant_s * self.frame_rate_hz
        self._weight = (math.sqrt(1 + 4 * t**2) - 1) / (2 * t**2)
        smoother_TT = decay_matrix(1 - self._weight, SMOOTHER_CHUNK)
        self.register_buffer("smoother_TT", smoother_TT, persistent=False)

    def compress(
        self, power_TM: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        energy_TM = power_TM * self.pcen_scale
        head_M = torch.ones_like(energy_TM[..., 0, :]) if state is None else state
        decay_TT = self.smoother_TT.to(energy_TM)
        smooth_TM = smooth(self._weight * energy_TM, 1 - self._weight, head_M, decay_TT)
        gain_TM = torch.exp(-self.pcen_gain * torch.log(self.pcen_eps + smooth_TM))
        # log1p and expm1 keep what is quiet against the bias.
        root_TM = self.pcen_power * torch.log1p(energy_TM * gain_TM / self.pcen_bias)
        pcen_TM = self.pcen_bias**self.pcen_power * torch.expm1(root_TM)
        return pcen_TM.float(), smooth_TM[..., -1, :]


class LogMelPCEN(PCEN):
    """Log-mel and PCEN of one mel power, the bands of the one above those of the other.

    Log-mel keeps who calls, where and how loud; PCEN removes it and keeps what is called.

    Arguments as of `LogMel` and `PCEN`.
    """

    channels = 2
    keys = (*PCENKeys.__annotations__, "floor_db")

    def __init__(self, *, floor_db: float, **pcen: Unpack[PCENKeys]) -> None:
        super().__init__(**pcen)
        self.floor_db = _floor(floor_db)

    def compress(
        self, power_TM: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        pcen_TM, state = super().compress(power_TM, state)
        return torch.cat([decibels(power_TM, self.floor_db), pcen_TM], dim=-1), state


class MelPower(FrontEnd):
    """Mel power as it is, for whoever mixes sounds before they are compressed."""

    def compress(
        self, power_TM: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return power_TM.float(), None


def decibels(power: torch.Tensor, floor_db: float) -> torch.Tensor:
    """Power in dB of power 1.0, float32; what is below the floor is the floor."""
    return 10 * torch.log10(power.float().clamp(min=10 ** (floor_db / 10)))


class FrontEndStream:
    """One recording's features, block by block, bitwise equal whatever the blocks.

    Frames leave in groups counted from the head of the recording, the same groups as in
    `FrontEnd.forward` of the whole: neither the blocks' lengths nor their number show.
    """

    def __init__(self, frontend: FrontEnd) -> None:
        self._frontend = frontend
        self._samples = torch.zeros(frontend.n_fft // 2, device=frontend.window_N.device)
        self._state: torch.Tensor | None = None
        # Which of the frames that were given last are digital silence.
        self.silent_T = torch.zeros(0, dtype=torch.bool)

    def push(self, samples: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Take the next samples (S,), give the frames that are whole, (M, T); T may be 0."""
        if isinstance(samples, np.ndarray):
            samples = torch.from_numpy(np.require(samples, np.float32, ["C", "W"]))
        self._append(samples)
        n_frames = self._n_frames()
        return self._take(n_frames - n_frames % self._frontend.frames_at_once)

    def skip(self, samples: np.ndarray) -> None:
        """`push` for frames that nobody wants, of a front end whose frames are ``alone``."""
        self._append(torch.from_numpy(np.require(samples, np.float32, ["C", "W"])))
        n_frames = self._n_frames()
        self._forget(n_frames - n_frames % self._frontend.frames_at_once)

    def finish(self) -> torch.Tensor:
        """Give the remaining frames (M, T); the stream is over."""
        self._append(torch.zeros(self._frontend.n_fft // 2))
        return self._take(self._n_frames())

    def _append(self, samples: torch.Tensor) -> None:
        self._samples = torch.cat([self._samples, samples.to(self._samples)])

    def _n_frames(self) -> int:
        """Frames that the samples at hand make."""
        beyond_first = len(self._samples) - self._frontend.n_fft
        return max(1 + beyond_first // self._frontend.hop_mel, 0)

    @torch.no_grad()
    def _take(self, n_frames: int) -> torch.Tensor:
        """Give that many frames, forget the samples that only they needed."""
        self.silent_T = self._frontend.silent(self._samples, n_frames).cpu()
        if not n_frames:
            return self._samples.new_empty((self._frontend.width, 0))
        features_TM, self._state = self._frontend.pieces(
            self._samples, n_frames, self._frontend.frames_at_once, self._state
        )
        self._forget(n_frames)
        return features_TM.T

    def _forget(self, n_frames: int) -> None:
        self._samples = self._samples[n_frames * self._frontend.hop_mel :]


def _floor(floor_db: float) -> float:
    if not -300 <= floor_db <= 100:
        raise UserError(
            f"features.floor_db={floor_db:g} is no level in dB of power 1.0; "
            "take one between -300 and 100, e.g. -100"
        )
    return float(floor_db)


def _positive(key: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"features.{key}={value:g} must be above 0")
    return float(value)
