"""Clips: which frames a call becomes, to the frame; edges, repetition, loudest, lengths."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from g5.common.errors import UserError
from preprocessing.episodes.clips import ClipReader, clip_lengths
from preprocessing.store.store import Store

RATE_HZ = 100.0


class Recordings:
    """A store in memory."""

    def __init__(self, features: dict[str, torch.Tensor]):
        self.features = features
        self.meta = pd.DataFrame(
            {
                "key": list(features),
                "mean": [10.0 * i for i in range(len(features))],
                "std": [1.0 + i for i in range(len(features))],
            }
        )

    def get(self, key: str) -> torch.Tensor:
        return self.features[key]


def numbered(*rows: int, n_mels: int = 3) -> Recordings:
    """Recordings whose frames say where they are: recording, frame, -band (exact in fp16)."""
    band = -torch.arange(n_mels)
    features = {}
    for i, length in enumerate(rows):
        table = band.repeat(length, 1)
        table[:, 0], table[:, 1] = i, torch.arange(length)
        features[f"r{i}"] = table.half()
    return Recordings(features)


def calls(*rows: tuple[str, float, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["sha256", "start_s", "end_s"])
    return table.assign(file=table["sha256"] + ".wav")


def reader(store, events: pd.DataFrame, **settings) -> ClipReader:
    defaults = {
        "frame_rate_hz": RATE_HZ,
        "clip": "fixed",
        "clip_s": 0.1,
        "min_clip_s": 0.1,
        "max_clip_s": 0.4,
        "anchor": "centre",
    }
    return ClipReader(store, events, **(defaults | settings))


def frames_of(x_B1MT: torch.Tensor) -> list[list[int]]:
    return x_B1MT[:, 0, 1].int().tolist()


def span(first: int, length: int = 10) -> list[int]:
    return list(range(first, first + length))


def test_a_clip_is_centred_on_its_call():
    events = calls(("r0", 1.0, 1.2), ("r1", 0.5, 0.5), ("r0", 1.0, 3.0))
    clips = reader(numbered(500, 500), events)
    assert clips.n_frames == 10
    x, stats = clips.gather(np.array([0, 1, 2]), 10)
    assert x.shape == (3, 1, 3, 10)
    assert x.dtype == stats.dtype == torch.float32
    # Seconds 1.1, 0.5 and 2.0 are frames 110, 50 and 200; of two middle frames it is the fifth.
    assert frames_of(x) == [span(106), span(46), span(196)]
    assert x[:, 0, 0, 0].tolist() == [0, 1, 0]
    assert (x[:, 0, 2] == -2).all()
    assert stats.tolist() == [[0, 1], [10, 2], [0, 1]]
    # An odd number of frames has one in the middle.
    assert frames_of(clips.gather(np.array([0]), 11)[0]) == [span(105, 11)]


def test_windows_are_shifted_into_the_recording():
    events = calls(("r0", 0.0, 0.01), ("r0", 4.98, 5.2), ("r0", 7.0, 8.0), ("r0", -1.0, -0.5))
    x, _ = reader(numbered(500), events).gather(np.arange(4), 10)
    assert frames_of(x) == [span(0), span(490), span(490), span(0)]


def test_a_recording_as_long_as_the_clip_is_the_clip():
    x, _ = reader(numbered(10), calls(("r0", 0.0, 0.02))).gather(np.array([0]), 10)
    assert frames_of(x) == [span(0)]


def test_a_short_recording_is_repeated():
    events = calls(("r0", 0.0, 0.04), ("r1", 0.1, 0.2), ("r2", 0.0, 0.01))
    clips = reader(numbered(4, 300, 1), events)
    x, _ = clips.gather(np.array([0, 1, 2]), 10)
    assert frames_of(x) == [[0, 1, 2, 3, 0, 1, 2, 3, 0, 1], span(11), [0] * 10]
    x, _ = clips.gather(np.array([0]), 10, np.array([-1]))
    assert frames_of(x) == [[3, 0, 1, 2, 3, 0, 1, 2, 3, 0]]


def test_shifts_move_windows_as_far_as_the_recording_goes():
    events = calls(("r0", 1.0, 1.2), ("r0", 1.0, 1.2), ("r0", 0.0, 0.1), ("r0", 4.9, 5.0))
    shift = np.array([7, -3, -7, 7])
    x, _ = reader(numbered(500), events).gather(torch.arange(4), 10, torch.from_numpy(shift))
    assert frames_of(x) == [span(113), span(103), span(0), span(490)]


def test_loudest_cuts_long_calls_where_their_mean_is_largest():
    features = torch.zeros(400, 3)
    features[230:240] = 5  # the loudest stretch of the long call
    features[300, :] = 40  # a click, louder in all, outside of it
    store = Recordings({"r0": features.half()})
    events = calls(("r0", 1.0, 2.9), ("r0", 2.95, 3.03), ("r0", 2.3, 2.4))
    long, short, exact = range(3)
    for order in ([long, short, exact], [exact, short, long]):
        clips = reader(store, events, anchor="loudest")
        got = [clips._first_frames(np.array([row]), 10)[0] for row in order]
        expected = {long: 230, short: 295, exact: 231}  # calls no longer than the clip: centred
        assert got == [expected[row] for row in order]
        assert clips.gather(np.array([long]), 10)[0].mean() == 5
    # The first of equals wins.
    silent = reader(store, calls(("r0", 2.5, 2.9)), anchor="loudest")
    assert silent._first_frames(np.array([0]), 10) == [250]


def test_loudest_looks_at_the_frames_of_the_call_alone():
    features = torch.zeros(400, 3)
    features[[249, 290]] = 99  # just before and just after it
    features[280:290] = 1
    store = Recordings({"r0": features.half()})
    clips = reader(store, calls(("r0", 2.495, 2.895)), anchor="loudest")
    assert frames_are(clips, features[280:290])


def frames_are(clips: ClipReader, expected_TM: torch.Tensor) -> bool:
    return torch.equal(clips.gather(np.array([0]), len(expected_TM))[0][0, 0].T, expected_TM)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 60),
    start=st.floats(-0.2, 0.7),
    duration=st.floats(0, 0.8),
    n_frames=st.integers(1, 40),
    shift=st.integers(-50, 50),
    seed=st.integers(0, 99),
    anchor=st.sampled_from(["centre", "loudest", "onset"]),
)
def test_gather_is_a_naive_cut(rows, start, duration, n_frames, shift, seed, anchor):
    features = torch.from_numpy(np.random.default_rng(seed).integers(0, 9, (rows, 2))).half()
    features[:, 1] += 10  # bands that are alike are digital silence
    events = calls(("r0", start, start + duration))
    clips = reader(Recordings({"r0": features}), events, anchor=anchor)
    x_MT = clips.gather(np.array([0]), n_frames, np.array([shift]))[0][0, 0]
    if rows < n_frames:
        expected = [features[(t + shift) % rows].tolist() for t in range(n_frames)]
        assert x_MT.T.tolist() == expected
        return
    first = int(np.floor((start + duration / 2) * RATE_HZ - (n_frames - 1) / 2 + 0.5))
    if anchor == "loudest" and duration * RATE_HZ > n_frames + 0.5:
        inside = [t for t in range(rows) if start * RATE_HZ <= t <= (start + duration) * RATE_HZ]
        if len(inside) > n_frames:
            starts = inside[: len(inside) - n_frames + 1]
            first = max(starts, key=lambda t: (features[t : t + n_frames].float().sum(), -t))
        else:
            first = inside[0] if inside else (0 if start < 0 else rows)
    if anchor == "onset" and duration * RATE_HZ > n_frames + 0.5:
        first = int(np.floor(start * RATE_HZ + 0.5))
    first = min(max(min(max(first, 0), rows - n_frames) + shift, 0), rows - n_frames)
    assert x_MT.T.tolist() == features[first : first + n_frames].tolist()


def test_gather_agrees_with_a_store_on_disk(tmp_path):
    store = Store.open(tmp_path, {"test": 1}, create=True)
    rng = np.random.default_rng(0)
    features = {f"key{i}": rng.standard_normal((50 + i, 4)).astype(np.float16) for i in range(3)}
    with store.writer() as writer:
        for i, (key, array) in enumerate(features.items()):
            writer.add(key, array, {"mean": float(i), "std": 2.0})
    events = calls(("key2", 0.2, 0.3), ("key0", 0.2, 0.3))
    x, stats = reader(store, events).gather(np.array([1, 0]), 10)
    expected = np.stack([features["key0"][21:31].T, features["key2"][21:31].T])[:, None]
    assert np.array_equal(x.numpy(), expected.astype(np.float32))
    assert stats.tolist() == [[0, 2], [2, 2]]


def test_clips_can_be_written_to_without_changing_the_store():
    store = numbered(100)
    clips = reader(store, calls(("r0", 0.5, 0.5)))
    x, stats = clips.gather(np.array([0]), 10)
    before = x.clone()
    x.zero_()
    stats.zero_()
    again, stats = clips.gather(np.array([0]), 10)
    assert torch.equal(again, before)
    assert stats.tolist() == [[0, 1]]


def test_no_rows_are_no_clips():
    x, stats = reader(numbered(100), calls(("r0", 0.5, 0.5))).gather(np.array([]), 10)
    assert (x.shape, stats.shape) == ((0, 1, 3, 10), (0, 2))


def test_adaptive_lengths_are_half_octaves():
    common = {"frame_rate_hz": RATE_HZ, "clip_s": 9.9}
    assert clip_lengths(clip="adaptive", min_clip_s=0.1, max_clip_s=0.4, **common) == (
        10, 14, 20, 28, 40,
    )  # fmt: skip
    # The longest is max_clip_s, wherever the half octaves fall; equal ones count once.
    assert clip_lengths(clip="adaptive", min_clip_s=0.1, max_clip_s=0.25, **common) == (
        10, 14, 20, 25,
    )  # fmt: skip
    assert clip_lengths(clip="adaptive", min_clip_s=0.01, max_clip_s=0.02, **common) == (1, 2)
    assert clip_lengths(clip="adaptive", min_clip_s=0.2, max_clip_s=0.2, **common) == (20,)
    assert clip_lengths(clip="fixed", min_clip_s=0.1, max_clip_s=0.4, **common) == (990,)


@pytest.mark.parametrize(
    ("durations_s", "expected"),
    [
        ([0.01, 0.01, 0.01], 10),  # never below min_clip_s
        ([0.1], 10),
        ([0.11, 0.11, 3.0], 14),  # the median, rounded up
        ([0.14, 0.3], 28),  # 0.22
        ([5.0, 5.0], 40),  # never above max_clip_s
    ],
)
def test_adaptive_episodes_fit_their_median_support_call(durations_s, expected):
    events = calls(*(("r0", 0.0, duration) for duration in durations_s))
    clips = reader(numbered(500), events, clip="adaptive")
    assert clips.episode_frames(np.arange(len(durations_s))) == expected
    assert reader(numbered(500), events).episode_frames(np.arange(1)) == 10


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ({"clip": "adaptve"}, "features.clip=adaptve"),
        ({"clip_s": 0.0}, "features.clip_s"),
        ({"min_clip_s": -1.0}, "features.min_clip_s"),
        ({"min_clip_s": 0.5}, "features.max_clip_s=0.4"),
        ({"anchor": "end"}, "data.anchor=end"),
    ],
)
def test_settings_that_cannot_be_are_named(setting, names):
    with pytest.raises(UserError, match=names):
        reader(numbered(100), calls(("r0", 0.0, 0.1)), **setting)


def test_a_recording_that_is_not_in_the_store_is_named():
    events = calls(("r0", 0.0, 0.1), ("gone", 0.0, 0.1))
    with pytest.raises(UserError, match=r"gone\.wav.*1 of 2 recordings.*g5 features"):
        reader(numbered(100), events)
