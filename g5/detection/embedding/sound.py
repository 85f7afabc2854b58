"""One recording as detection sees it: its features in the store, at the rate they were made.

Shapes: T frames, M mel bands.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g5.common.errors import UserError
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL, AudioRules
from preprocessing.features import Moments
from preprocessing.frontend import FrontEnd
from preprocessing.normalize import SMALLEST_STD, recording_stats
from preprocessing.store.shards import NotStorable
from preprocessing.store.store import Store

# Recordings whose rate is this far from the checkpoint's are played slower or faster, where
# `sr` is auto: resampling would throw most of their band away, or leave most of it empty.
FAR_RATE = 4.0
# Samples from which on, and the share of them, that sound is taken for clipped.
FULL_SCALE, CLIPPED_SHARE = 0.999, 0.001


class SilentRecording(UserError):
    """All samples of a recording are the same: there is nothing to find, and nothing broken."""


@dataclass(frozen=True)
class Sound:
    """A recording's features, and how its time relates to theirs.

    Attributes:
        path: the file.
        key: of its features in the store.
        features_TM: (T, M) fp16, mapped from the store.
        stats: mean and deviation over all its features, channel by channel.
        frame_rate_hz: frames per second of the recording.
        slow: how many times slower the front end hears it; Hz and seconds scale by it.
        rate_hz: of the file.
        duration_s: of the file.
        notes: what the user should know of the file.
        silent_E2: stretches of digital silence, seconds.
        rules: how it is read.
    """

    path: Path
    key: str
    features_TM: Tensor
    stats: tuple[float, ...]
    frame_rate_hz: float
    slow: float
    rate_hz: int
    duration_s: float
    notes: tuple[str, ...] = ()
    silent_E2: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    rules: AudioRules = READ_ALL

    @property
    def n_frames(self) -> int:
        return len(self.features_TM)

    @property
    def first_TM(self) -> Tensor:
        """The bands of the first channel alone."""
        channels = len(self.stats) // 2
        return self.features_TM[:, : self.features_TM.shape[1] // channels]

    def read(self, start_s: float, end_s: float, rate_hz: int | None = None) -> np.ndarray:
        """The samples of a stretch, (samples,) float32."""
        return audio.read(self.path, self.rules, start_s=start_s, end_s=end_s, rate_hz=rate_hz)

    def refuse_silence(self) -> None:
        """Raise `SilentRecording` where all frames are the same."""
        if self.stats[1] < 1e-6:
            raise SilentRecording(f"{self.path}: is silent, every sample is the same")

    def sounding(self, start_s: float, end_s: float) -> list[tuple[float, float]]:
        """What of a stretch is no digital silence."""
        found, at = [], start_s
        for a, b in self.silent_E2:
            if b <= at or a >= end_s:
                continue
            if a > at:
                found.append((at, float(a)))
            at = float(b)
        return [*found, (at, end_s)] if at < end_s else found

    def normalised(self, first: int, last: int) -> np.ndarray:
        """Frames (T, M) of the first channel, in deviations of the recording."""
        mean, std = self.stats[:2]
        return (self.first_TM[first:last].float().numpy() - mean) / max(std, SMALLEST_STD)

    def clip(self, start: int, width: int) -> Tensor:
        """``width`` frames (T, M) from a frame on; a shorter recording is repeated."""
        clip_TM = self.features_TM[start : start + width]
        if len(clip_TM) < width:
            clip_TM = clip_TM[torch.arange(width) % len(clip_TM)]
        return clip_TM


@dataclass
class SampleLevel:
    """What a recording's samples tell of how it was made, gathered block by block."""

    count: int = 0
    clipped: int = 0
    peak: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def update(self, x_T: np.ndarray) -> None:
        """Take the next samples."""
        size_T = np.abs(x_T)
        self.count += len(x_T)
        self.clipped += int((size_T >= FULL_SCALE).sum())
        self.peak = max(self.peak, float(size_T.max(initial=0.0)))
        self.total += float(x_T.sum(dtype=np.float64))
        self.squares += float(np.vdot(x_T, x_T))

    @property
    def note(self) -> str:
        """What is odd; "" if nothing."""
        notes = []
        if self.clipped > CLIPPED_SHARE * self.count:
            notes.append(f"is clipped ({self.clipped / self.count:.1%} of its samples)")
        mean = self.total / max(self.count, 1)
        if mean**2 * self.count > 0.5 * self.squares:
            notes.append(f"has a DC offset of {mean:.2g}")
        return "; ".join(notes)


class Sounds:
    """Opens recordings: features are taken from the store, and made and stored where missing.

    Args:
        front_end: the checkpoint's.
        store_dir: folder of stores.
        sr: ``"checkpoint"`` (recordings are resampled to its rate), ``"native"`` (samples stay,
            and settings in Hz scale by the rates' ratio) or ``"auto"`` (native where the rates
            differ by more than a factor of 4).
        time_expansion: factor by which recordings are heard slower, before all else.
        block_s: seconds in memory at once.
        rules: how recordings are read.
    """

    def __init__(
        self, front_end: FrontEnd, store_dir: Path, *, sr: str, time_expansion: float,
        block_s: float, rules: AudioRules = READ_ALL,
    ) -> None:  # fmt: skip
        self.front_end = front_end
        self.sr = sr
        self.time_expansion = time_expansion
        self.block_s = block_s
        self.rules = rules
        self._like: Sound | None = None
        store = Store.open(store_dir, front_end.settings(), create=True, command="g5 detect")
        self.store = store.mend_index()
        meta = self.store.meta
        self._stats: dict[str, tuple[float, ...]] = {}
        self._notes: dict[str, str] = {}
        self._silent: set[str] = set()
        if "mean" in meta:
            rows = meta.to_dict("records")
            self._stats = {row["key"]: self._stats_of(row) for row in rows}
        if "silent" in meta:
            self._silent = set(meta.loc[meta["silent"].fillna(0) > 0, "key"])
        if "level" in meta:
            told = meta.loc[meta["level"].notna()]
            self._notes = dict(zip(told["key"], told["level"], strict=True))

    def hear_like(self, sound: Sound) -> None:
        """From now on hear recordings as this one, whatever their rates, where `sr` is auto."""
        self._like = self._like or sound

    def played_hz(self, rate_hz: int) -> int:
        """The rate a recording is read at; the front end takes it for its own."""
        own = self.front_end.sr
        if self.sr == "auto" and self._like:
            return round(self._like.slow * own)
        played = rate_hz / self.time_expansion
        far = not own / FAR_RATE <= played <= own * FAR_RATE
        if self.sr == "native" or (self.sr == "auto" and far):
            return rate_hz
        return max(1, round(own * self.time_expansion))

    def narrow(self, rate_hz: int) -> bool:
        """Whether a recording of this rate lacks bands that the one it is heard like has."""
        like = self._like
        return like is not None and rate_hz < min(like.rate_hz, self.played_hz(rate_hz))

    def open(self, path: Path, sha256: str) -> Sound:
        """The recording with its features.

        Raises:
            UserError: it cannot be read, to the end.
        """
        head = audio.info(path, self.rules)
        asked_hz = self.played_hz(head.rate_hz)
        key = sha256 if asked_hz == self.front_end.sr else f"{sha256}@{asked_hz}"
        features_TM = self.store.take(key)
        if features_TM is None or key not in self._stats:
            self._extract(path, key, asked_hz)
            features_TM = self.store.get(key)
        slow = asked_hz / self.front_end.sr
        narrower = f"has {head.rate_hz:,} samples a second, too few for all that the support shows"
        told = (head.note, self._notes.get(key, ""), narrower if self.narrow(head.rate_hz) else "")
        return Sound(
            path=path,
            key=key,
            features_TM=features_TM,
            stats=self._stats[key],
            frame_rate_hz=asked_hz / self.front_end.hop_mel,
            slow=slow,
            rate_hz=head.rate_hz,
            duration_s=head.duration_s,
            notes=tuple(filter(None, told)),
            silent_E2=self._silence(features_TM) / (asked_hz / self.front_end.hop_mel)
            if key in self._silent
            else np.zeros((0, 2)),
            rules=self.rules,
        )

    def _silence(self, features_TM: Tensor) -> np.ndarray:
        """Runs of frames of digital silence: the first of each, and the one after its last."""
        empty_TM = torch.zeros(1, self.front_end.n_mels, device=self.front_end.window_N.device)
        silence_TM = self.front_end.compress(empty_TM, None)[0].to(features_TM)
        silent_T = (features_TM == silence_TM).all(dim=1).int().numpy()
        return np.flatnonzero(np.diff(silent_T, prepend=0, append=0)).reshape(-1, 2)

    def _extract(self, path: Path, key: str, asked_hz: int) -> None:
        moments, level = Moments(), SampleLevel()
        try:
            # What is too large for a float32 is told by the store.
            with np.errstate(over="ignore", invalid="ignore"), self.store.writer() as writer:
                writer.add_blocks(
                    key,
                    self._features(path, asked_hz, moments, level),
                    lambda: {
                        "file": str(path),
                        "level": self._note_of(level, moments, asked_hz),
                        "silent": moments.silent,
                        **moments.meta(),
                    },
                )
        except NotStorable as error:
            raise UserError(
                f"{path}: has samples of up to {level.peak:g}, more than the front end can take; "
                "scale them to at most 1"
            ) from error
        meta = moments.meta()
        self._notes[key] = self._note_of(level, moments, asked_hz)
        if moments.silent:
            self._silent.add(key)
        self._stats[key] = self._stats_of(meta)

    def _stats_of(self, meta: Mapping[Any, Any]) -> tuple[float, ...]:
        return tuple(recording_stats(meta, self.front_end.channels))

    def _note_of(self, level: SampleLevel, moments: Moments, asked_hz: int) -> str:
        silent_s = moments.silent * self.front_end.hop_mel / asked_hz
        silence = f"{silent_s:.1f} s are digital silence and count for nothing"
        return "; ".join(filter(None, [level.note, silence if moments.silent else ""]))

    @torch.inference_mode()
    def _features(
        self, path: Path, asked_hz: int, moments: Moments, level: SampleLevel
    ) -> Iterator[Tensor]:
        stream = self.front_end.stream()
        for samples in audio.blocks(path, self.rules, block_s=self.block_s, rate_hz=asked_hz):
            level.update(samples)
            features_TM = stream.push(samples).T
            moments.update(features_TM, stream.silent_T)
            yield features_TM
        features_TM = stream.finish().T
        moments.update(features_TM, stream.silent_T)
        yield features_TM
