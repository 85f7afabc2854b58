"""Windows over recordings of any rate, and their embeddings."""

import numpy as np
import pytest
import soundfile
import torch

from g5.detection.embedding.checkpoint_embedder import CheckpointEmbedder
from g5.detection.embedding.embedder import in_order
from g5.detection.embedding.sound import Sound, Sounds
from g5.detection.embedding.windows import Scale, scales_of
from g5.detection.job.reader import RecordingReader
from preprocessing import audio
from preprocessing.audio import content_hash
from preprocessing.audio_rules import READ_ALL
from preprocessing.frontend import LogMel, LogMelPCEN
from tests.detection.soundscapes import MEL, RATE, UP, embedder, opened, soundscape


def test_windows_follow_the_shots():
    settings = {"min_frames": 10, "max_frames": 100, "hop": 0.25, "stride": 0, "max_scales": 3}
    assert scales_of([20, 20, 20], **settings) == [Scale(20, 5)]
    assert scales_of([1, 1], **settings) == [Scale(10, 3)]
    assert scales_of([1e4], **settings) == [Scale(100, 25)]
    assert len(scales_of([10, 40, 100], **settings)) == 3
    assert len(scales_of([10, 40, 100], **{**settings, "max_scales": 1})) == 1


def test_windows_of_a_sharing_encoder_are_multiples_of_its_stride():
    settings = {"min_frames": 4, "max_frames": 200, "hop": 0.25, "max_scales": 1}
    (scale,) = scales_of([90], stride=8, **settings)
    assert scale.width % 8 == 0 == scale.hop % 8
    (short,) = scales_of([20], stride=8, **settings)
    assert short.width < 32, "too short to share is cut one by one"


def test_every_window_lies_in_the_recording():
    scale = Scale(10, 3)
    assert scale.count(30) == 7
    assert scale.centres(30)[-1] + 4.5 <= 29
    assert scale.count(4) == 1


@pytest.mark.parametrize("arch", ["v1", "v2"])
def test_output_is_the_same_for_any_workers_and_blocks(arch, night, tmp_path):
    grids = []
    for workers, block_s in ((1, 3.0), (3, 0.7), (2, 100.0)):
        store = tmp_path / f"{workers}"
        sound = opened(night, store, block_s=block_s)
        grids.append(embedder(arch, store, workers).grid(sound, Scale(40, 8), None).clone())
    assert torch.equal(grids[0], grids[1])
    assert torch.equal(grids[0], grids[2])


def test_shared_windows_equal_windows_cut_one_by_one(night, tmp_path):
    sound = opened(night, tmp_path)
    for scale in (Scale(40, 8), Scale(32, 16), Scale(200, 48)):
        shared = embedder("v1", tmp_path)
        assert shared.shares(scale)
        starts = np.arange(scale.count(sound.n_frames)) * scale.hop
        (cut,) = shared.cut([(sound, starts)], scale.width, None)
        grid = shared.grid(sound, scale, None).float()
        assert grid.shape == cut.shape
        torch.testing.assert_close(grid, cut, rtol=2e-3, atol=2e-3)


def test_a_grid_is_made_once(night, tmp_path, monkeypatch):
    sound = opened(night, tmp_path)
    first = embedder("v2", tmp_path).grid(sound, Scale(20, 5), None)
    monkeypatch.setattr(CheckpointEmbedder, "_forward", None)
    assert torch.equal(embedder("v2", tmp_path).grid(sound, Scale(20, 5), None), first)


def test_a_band_is_all_that_is_heard(night, tmp_path):
    sound = opened(night, tmp_path)
    one = embedder("v2", tmp_path)
    starts = np.array([50])
    (low,) = one.cut([(sound, starts)], 20, (0, 4))
    (full,) = one.cut([(sound, starts)], 20, None)
    assert not torch.allclose(low, full)
    louder = sound.features_TM.clone()
    louder[:, 8:] += 30
    changed = Sound(**{**vars(sound), "features_TM": louder})
    torch.testing.assert_close(one.cut([(changed, starts)], 20, (0, 4))[0], low)


def test_a_recording_shorter_than_a_window_is_repeated(tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, soundscape(0.2, {}), RATE)
    for arch in ("v1", "v2"):
        grid = embedder(arch, tmp_path).grid(opened(path, tmp_path), Scale(40, 8), None)
        assert len(grid) == 1
        assert grid.isfinite().all()


def test_work_comes_back_in_order_with_one_thread_each():
    before = torch.get_num_threads()
    seen = list(in_order(lambda i: (i, torch.get_num_threads()), range(20), 3))
    assert seen == [(i, 1) for i in range(20)]
    assert torch.get_num_threads() == before


def test_native_equals_the_recording_played_at_the_front_ends_rate(tmp_path):
    fast, slow = tmp_path / "bat.wav", tmp_path / "slowed.wav"
    x = soundscape(4, {1.0: UP})
    soundfile.write(fast, x, 250_000)
    soundfile.write(slow, x, RATE)
    native = opened(fast, tmp_path, sr="native")
    assert torch.equal(native.features_TM, opened(slow, tmp_path).features_TM)
    assert native.slow == 250_000 / RATE
    assert native.frame_rate_hz == 250_000 / 128
    # A rate that far away is native by itself, and so is one far below.
    assert opened(fast, tmp_path, sr="auto").slow == native.slow
    soundfile.write(fast, x, 1000)
    assert opened(fast, tmp_path, sr="auto").slow == 1000 / RATE


def test_recordings_of_any_rate_are_heard_as_the_support_is(tmp_path):
    rates = {"support": 8000, "far": 48000, "narrow": 2000}
    for name, rate_hz in rates.items():
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(rate_hz) + 0.1, rate_hz)
    front_end = LogMel(**MEL, floor_db=-100)
    sounds = Sounds(front_end, tmp_path, sr="auto", time_expansion=1.0, block_s=3.0)

    def heard(name: str):
        return sounds.open(tmp_path / f"{name}.wav", content_hash(tmp_path / f"{name}.wav"))

    assert heard("far").slow == 48000 / front_end.sr
    reader = RecordingReader(sounds, tmp_path)
    reader.look_at([tmp_path / f"{name}.wav" for name in rates])
    assert reader.narrow() == ""
    sounds.hear_like(heard("support"))
    assert reader.narrow().startswith("1 of 3 recordings has too few samples a second")
    assert reader.narrow().endswith("narrow.wav")
    assert {heard(name).slow for name in rates} == {1.0}
    assert ["too few" in " ".join(heard(name).notes) for name in rates] == [False, False, True]


def test_time_expansion_slows_a_recording_down(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, soundscape(2, {}), RATE)
    sound = opened(path, tmp_path, time_expansion=2.0)
    assert sound.slow == 2.0
    assert abs(sound.n_frames - 2 * 2 * RATE / 128) < 4
    assert sound.n_frames / sound.frame_rate_hz == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("size", [0, 1200, 0xFFFFFFFF, 10**7])
def test_a_wav_with_a_wrong_length_is_read_to_its_end(size, tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, soundscape(2, {0.5: UP}), RATE, subtype="PCM_16")
    whole = audio.read(path, READ_ALL)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)
    head = audio.info(path)
    assert head.frames == len(whole)
    assert "end of the file" in head.note
    assert np.array_equal(audio.read(path, READ_ALL), whole)


def test_a_wav_with_a_right_length_has_no_note(night):
    assert audio.info(night) == audio.info(night)


@pytest.mark.parametrize("suffix", ["wav", "rf64"])
def test_rf64_is_read_to_its_end(suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    x = soundscape(2, {0.5: UP})
    soundfile.write(path, x, RATE, format="RF64", subtype="FLOAT")
    assert audio.info(path).note == ""
    assert np.array_equal(audio.read(path, READ_ALL), x)
    data = bytearray(path.read_bytes())
    at = data.index(b"ds64") + 16
    # The length in ds64 is more than there is: the recorder was stopped.
    data[at : at + 8] = (10**10).to_bytes(8, "little")
    path.write_bytes(data)
    assert "end of the file" in audio.info(path).note
    assert np.array_equal(audio.read(path, READ_ALL), x)


def test_digital_silence_is_no_negative_and_told(tmp_path):
    path, x_T = tmp_path / "x.wav", soundscape(6, {0.5: UP, 5.0: UP})
    x_T[2 * RATE : 4 * RATE] = 0
    soundfile.write(path, x_T, RATE)
    sound = opened(path, tmp_path)
    assert "2.0 s are digital silence" in sound.notes[0]
    assert sound.silent_E2 == pytest.approx(np.array([[2.0, 4.0]]), abs=0.1)
    (one, other) = sound.sounding(1.0, 5.0)
    assert one == pytest.approx((1.0, 2.0), abs=0.1)
    assert other == pytest.approx((4.0, 5.0), abs=0.1)
    both = LogMelPCEN(
        **MEL, floor_db=-100, pcen_scale=2.0**31, pcen_gain=0.98, pcen_bias=2.0, pcen_power=0.5,
        pcen_time_constant_s=0.4, pcen_eps=1e-6,
    )  # fmt: skip
    sounds = Sounds(both, tmp_path, sr="checkpoint", time_expansion=1.0, block_s=3.0)
    heard = sounds.open(path, content_hash(path))
    assert heard.silent_E2.tolist() == sound.silent_E2.tolist(), "two channels of one mel power"
    again = opened(path, tmp_path)
    assert (again.notes, again.silent_E2.tolist()) == (sound.notes, sound.silent_E2.tolist())
