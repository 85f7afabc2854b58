"""Stretches at one value, which no microphone gives: as silent as zeros, and made zeros."""

from collections.abc import Iterable, Iterator

import numpy as np

# Samples of one value in a row that no microphone gives, as seconds.
RUN_S = 0.05
_LEAST = 256  # of a recording of few samples a second, so many
_HELD_BACK = 16  # samples at a part's end that may go on in the next one


def without_holds(parts: Iterable[np.ndarray], rate_hz: int) -> Iterator[np.ndarray]:
    """A stream of samples (S,) in which runs of `RUN_S` or more of one value are zeros.

    A recorder that does not record repeats its last value, or writes its offset. Parts may leave
    cut otherwise than they came.
    """
    run, kept = max(int(RUN_S * rate_hz), _LEAST), np.zeros(0, np.float32)
    in_run = np.float32(0)  # the value that was made zeros at the end of what has left
    for part in parts:
        x_S = np.concatenate([kept, part]) if len(kept) else part
        x_S, in_run = _zeroed(x_S, run, in_run)
        held = _tail(x_S, run)
        x_S, kept = x_S[: len(x_S) - held], x_S[len(x_S) - held :]
        if len(x_S):
            yield x_S
    if len(kept):
        yield kept


def _zeroed(x_S: np.ndarray, run: int, in_run: np.float32) -> tuple[np.ndarray, np.float32]:
    """Samples without holds, and the value of one that reaches their end; 0 for none."""
    probes_P = x_S[:: max(1, run // 2)]
    alike = (probes_P[1:] == probes_P[:-1]) & (probes_P[1:] != 0)
    if not (alike.any() or (in_run and len(x_S) and x_S[0] == in_run)):
        return x_S, np.float32(0)
    edges = np.flatnonzero(np.diff(x_S)) + 1
    begins, ends = np.r_[0, edges], np.r_[edges, len(x_S)]
    holds = (ends - begins >= run) & (x_S[begins] != 0)
    holds[0] |= bool(in_run) and x_S[0] == in_run
    last = x_S[-1] if holds[-1] else np.float32(0)
    if not holds.any():
        return x_S, last
    zeroed_S = x_S.copy()
    for begin, end in zip(begins[holds], ends[holds], strict=True):
        zeroed_S[begin:end] = 0
    return zeroed_S, last


def _tail(x_S: np.ndarray, run: int) -> int:
    """How many samples at the end are of one value that is not 0 and may go on."""
    if len(x_S) < _HELD_BACK or x_S[-1] == 0 or (x_S[-_HELD_BACK:] != x_S[-1]).any():
        return 0
    last = x_S[-run:]
    others = np.flatnonzero(last != x_S[-1])
    return len(last) - 1 - int(others[-1]) if len(others) else len(last)
