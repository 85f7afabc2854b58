"""Clips around calls: which frames of a recording a call becomes, and their way into memory.

Shape suffixes: B clips, 1 channel, M mel bands, T frames, E events of a table.
"""

from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from g5.common.errors import UserError
from preprocessing.events import ANCHORS
from preprocessing.normalize import recording_stats
from preprocessing.silence import silent_frames, sounding

# Adaptive clips have one of a few lengths, half an octave apart, so that episodes of equal
# length share their batches and what is compiled for them.
LENGTHS_PER_OCTAVE = 2

# Values that are averaged at once for the loudest stretch of a call: so few that PyTorch does not
# wake its threads, which takes longer than the work.
BLOCK_VALUES = 2**15 - 1


class FeatureStore(Protocol):
    """What is read here of `preprocessing.store.store.Store`."""

    @property
    def meta(self) -> pd.DataFrame: ...

    def get(self, key: str) -> Tensor: ...


class ClipReader:
    """Turns rows of a split's events table into clips.

    A clip is centred on its call. A call that is longer than the clip is cut at its centre, at its
    loudest stretch, or at its onset. A window that leaves the recording is shifted inside, and a
    recording shorter than the clip is repeated, as is what sounds of a clip that is partly digital
    silence.

    Args:
        store: features by recording, time first: ``get(key) -> (rows, M)`` fp16; ``meta`` has
            ``key`` and the recording's scalar ``mean`` and ``std``.
        events: a split's table: ``start_s``, ``end_s`` and ``sha256``, the key in the store.
        frame_rate_hz: frames per second of the features.
        clip: ``"fixed"`` (``clip_s``) or ``"adaptive"`` (`episode_frames`).
        clip_s: seconds of a fixed clip.
        min_clip_s: seconds of the shortest adaptive clip.
        max_clip_s: seconds of the longest adaptive clip.
        anchor: where calls longer than the clip are cut: ``"centre"``, ``"onset"`` (the clip
            begins with the call) or ``"loudest"``, the window whose mean feature, over bands
            and time, is largest (the first, if several).
        channels: C, kinds of features in a frame.

    Attributes:
        lengths: every number of frames a clip can have, ascending; one if ``clip`` is fixed.
        n_mels: M.

    Raises:
        UserError: a setting that cannot be, or an event whose recording is not in the store.
    """

    def __init__(
        self,
        store: FeatureStore,
        events: pd.DataFrame,
        *,
        frame_rate_hz: float,
        clip: str,
        clip_s: float,
        min_clip_s: float,
        max_clip_s: float,
        anchor: str,
        channels: int = 1,
    ) -> None:
        if anchor not in ANCHORS:
            raise UserError(f"data.anchor={anchor}: choose one of {', '.join(ANCHORS)}")
        self.lengths = clip_lengths(
            frame_rate_hz=frame_rate_hz,
            clip=clip,
            clip_s=clip_s,
            min_clip_s=min_clip_s,
            max_clip_s=max_clip_s,
        )
        self.adaptive = clip == "adaptive"
        self.frame_rate_hz = frame_rate_hz
        self.anchor = anchor

        keys, recording_E = np.unique(events["sha256"].to_numpy(str), return_inverse=True)
        self._recording_E = recording_E
        self._features, stats_R2 = _recordings(store, keys.tolist(), events, recording_E, channels)
        self._stats_E2 = stats_R2[recording_E]
        rows_R = np.array([len(features) for features in self._features], dtype=np.int64)
        self._rows_E = rows_R[recording_E]
        self._start_E = events["start_s"].to_numpy(float) * frame_rate_hz
        self._end_E = events["end_s"].to_numpy(float) * frame_rate_hz
        self._first: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.n_mels = self._features[0].shape[1] if self._features else 0

    def __len__(self) -> int:
        return len(self._recording_E)

    @property
    def n_frames(self) -> int:
        """Frames of a fixed clip."""
        assert not self.adaptive, "adaptive clips have the length of their episode"
        return self.lengths[0]

    def episode_frames(self, support_rows: np.ndarray) -> int:
        """Frames of an episode's clips: fixed, or by the median duration of its support calls.

        The median is rounded up to one of `lengths`, or is the longest of them.
        """
        if not self.adaptive:
            return self.lengths[0]
        rows = np.ravel(support_rows)
        median = float(np.median(self._end_E[rows] - self._start_E[rows]))
        # A call of exactly a clip's seconds is not longer than the clip's rounded frames.
        fitting = int(np.searchsorted(self.lengths, np.floor(median + 0.5)))
        return self.lengths[min(fitting, len(self.lengths) - 1)]

    def gather(
        self,
        rows: np.ndarray | Tensor,
        n_frames: int,
        shift_frames: np.ndarray | Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Read clips of one length.

        Args:
            rows: ``(B,)`` rows of the events table.
            n_frames: T.
            shift_frames: ``(B,)`` whole frames by which each window is moved, as far as the
                recording goes (where a recording is repeated, it starts elsewhere).

        Returns:
            ``(B, 1, M, T)`` fp32, and the recordings' mean and standard deviation, ``(B, 2)``
            fp32. The clips lie in memory time-major, as in the store (use ``reshape``, not
            ``view``): the first convolution brings them into its own layout, for the same price
            as doing it here.
        """
        rows = np.asarray(rows, dtype=np.int64)
        return self._read(rows, self._first_frames(rows, n_frames), n_frames, shift_frames)

    def _read(
        self,
        rows: np.ndarray,
        first: np.ndarray,
        n_frames: int,
        shift_frames: np.ndarray | Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Clips that start at ``first`` frames of the rows' recordings, as `gather` gives them."""
        room = self._rows_E[rows] - n_frames
        shift = 0 if shift_frames is None else np.asarray(shift_frames)
        first = np.clip(first + shift, 0, np.maximum(room, 0))
        clips = [
            self._features[recording][start : start + n_frames]
            for recording, start in zip(
                self._recording_E[rows].tolist(), first.tolist(), strict=True
            )
        ]
        for i in np.flatnonzero(room < 0).tolist():
            offset = 0 if shift_frames is None else int(shift_frames[i])
            clips[i] = _repeated(clips[i], n_frames, offset)
        x_BTM = torch.empty(len(rows), n_frames, self.n_mels)
        if clips:
            # One call for all: the loop over them, and the conversion to fp32, run in C++.
            torch._foreach_copy_(x_BTM.unbind(0), clips)  # pyright: ignore[reportPrivateImportUsage]
        silent_BT = silent_frames(x_BTM, self._stats_E2.shape[1] // 2)
        for i in torch.nonzero(silent_BT.any(dim=1) & ~silent_BT.all(dim=1))[:, 0].tolist():
            x_BTM[i] = sounding(x_BTM[i], silent_BT[i])
        return x_BTM.transpose(1, 2).unsqueeze(1), torch.from_numpy(self._stats_E2[rows])

    def _first_frames(self, rows: np.ndarray, n_frames: int) -> np.ndarray:
        """The first frame of each row's window, inside the recording; 0 where that is shorter."""
        if n_frames not in self._first:
            # Frame t is centred on second t / frame_rate_hz.
            middle_E = (self._start_E + self._end_E) / 2
            first_E = np.floor(middle_E - (n_frames - 1) / 2 + 0.5).astype(np.int64)
            # A call is searched for its loudest stretch when it is first asked for.
            longer_E = self._end_E - self._start_E > n_frames + 0.5
            if self.anchor == "onset":
                first_E[longer_E] = np.floor(self._start_E[longer_E] + 0.5).astype(np.int64)
            np.clip(first_E, 0, np.maximum(self._rows_E - n_frames, 0), out=first_E)
            self._first[n_frames] = first_E, longer_E & (self.anchor == "loudest")
        first_E, unsearched_E = self._first[n_frames]
        if unsearched_E[rows].any():
            for row in np.unique(rows[unsearched_E[rows]]).tolist():
                first_E[row] = self._loudest(row, n_frames)
                unsearched_E[row] = False
        return first_E[rows]

    def _loudest(self, row: int, n_frames: int) -> int:
        features = self._features[self._recording_E[row]]
        start = min(max(int(np.ceil(self._start_E[row])), 0), max(len(features) - n_frames, 0))
        call = features[start : max(int(np.floor(self._end_E[row])) + 1, start + n_frames)]
        if len(call) <= n_frames:
            return start
        blocks = call.split(max(BLOCK_VALUES // self.n_mels, 1))
        loudness = torch.cat([block.mean(1, dtype=torch.float32) for block in blocks])
        total = np.concatenate([[0.0], np.cumsum(loudness.numpy(), dtype=float)])
        return start + int(np.argmax(total[n_frames:] - total[:-n_frames]))


def clip_lengths(
    *, frame_rate_hz: float, clip: str, clip_s: float, min_clip_s: float, max_clip_s: float
) -> tuple[int, ...]:
    """Every number of frames a clip can have, ascending; one if ``clip`` is ``"fixed"``.

    Adaptive lengths are half an octave apart, from ``min_clip_s`` to ``max_clip_s``.

    Raises:
        UserError: a setting that cannot be.
    """
    if clip not in ("fixed", "adaptive"):
        raise UserError(f"features.clip={clip}: choose fixed or adaptive")
    for name, seconds in (("clip_s", clip_s), ("min_clip_s", min_clip_s)):
        if not seconds > 0:
            raise UserError(f"features.{name}={seconds}: must be above 0 seconds")
    if max_clip_s < min_clip_s:
        raise UserError(
            f"features.max_clip_s={max_clip_s}: must be at least features.min_clip_s={min_clip_s}"
        )
    if clip == "fixed":
        seconds_L = np.array([clip_s])
    else:
        steps = int(np.ceil(LENGTHS_PER_OCTAVE * np.log2(max_clip_s / min_clip_s) - 1e-9))
        seconds_L = min_clip_s * 2 ** (np.arange(steps + 1) / LENGTHS_PER_OCTAVE)
        seconds_L[-1] = max_clip_s
    frames_L = np.maximum(np.floor(seconds_L * frame_rate_hz + 0.5).astype(int), 1)
    return tuple(np.unique(frames_L).tolist())


def _recordings(
    store: FeatureStore,
    keys: list[str],
    events: pd.DataFrame,
    recording_E: np.ndarray,
    channels: int,
) -> tuple[list[Tensor], np.ndarray]:
    """Features of every recording, mapped, and mean and deviation of each channel (R, 2 * C)."""
    meta = store.meta.set_index("key")
    missing = [i for i, key in enumerate(keys) if key not in meta.index]
    if missing:
        row = events.iloc[int(np.flatnonzero(recording_E == missing[0])[0])]
        raise UserError(
            f"{row.get('file', keys[missing[0]])}: its features are not in the store "
            f"({len(missing)} of {len(keys)} recordings are missing); run g5 features"
        )
    told = meta.loc[keys].to_dict("records")
    stats = np.array([recording_stats(row, channels) for row in told], np.float32)
    return [store.get(key) for key in keys], stats


def _repeated(features: Tensor, n_frames: int, offset: int) -> Tensor:
    """``features`` again and again from row ``offset`` on, ``n_frames`` rows in all."""
    return features[(torch.arange(n_frames) + offset) % len(features)]
