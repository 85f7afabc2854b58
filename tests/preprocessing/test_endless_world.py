"""The endless world: tracks, the pool that renews itself, and scenes in mel power."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from g5.config.parts import scene_settings
from preprocessing.spectra.mel import band_centres_hz
from preprocessing.synthetic import patches, worlds
from preprocessing.synthetic.pool import Pool, PoolSettings
from preprocessing.synthetic.power_scenes import PlaceSettings, PowerScenes, windows
from preprocessing.synthetic.species import vary
from preprocessing.synthetic.tracks import TEXTURE, TrackSettings, tracks, voice

WORLD = TrackSettings(
    seed=3, sr=16000, track_s=0.8, textures=0.3, choruses=0.2, struck=0.2, bouts=0.5,
    f0_hz=(300.0, 4000.0), call_s=(0.05, 0.6), individual=(0.25, 0.25), jitter=0.1,
)  # fmt: skip
MEL = {"sr": 16000, "n_fft": 512, "hop_mel": 400, "n_mels": 16, "fmin": 50, "fmax": 8000}
POOL = PoolSettings(
    slots=4, individuals=2, takes=1, renewed=0.75, backgrounds=2, background_s=1.0
)  # fmt: skip
EMPTY = PlaceSettings(
    snr_db=(20.0, 20.0), reverb=0.0, reverb_s=(0.2, 1.0), wet_db=(-10.0, 0.0),
    distractors=0.0, distractor_snr_db=(0.0, 0.0), far=0.0, far_m=100.0, background_eq_db=0.0,
    eq_db=0.0, band_limit=0.0, band_limit_hz=3000.0, edited=0.0,
)  # fmt: skip
CENTRES_HZ = torch.from_numpy(band_centres_hz(16, 50.0, 8000.0)).float()


def pool_at(step: int, workers: int = 0) -> Pool:
    pool = Pool(POOL, WORLD, MEL, workers=workers, device=torch.device("cpu"))
    for _ in pool.fill(step):
        pass
    return pool


def test_tracks_follow_from_seed_slot_and_life_alone():
    ours, again = (tracks(WORLD, 2, 0, individuals=2, takes=2) for _ in range(2))
    assert [len(x) for x in ours] == [12800] * 4
    assert all(np.array_equal(a, b) for a, b in zip(ours, again, strict=True))
    for other in ((2, 1), (1, 0)):
        assert not np.array_equal(ours[0], tracks(WORLD, *other, individuals=1, takes=1)[0])
    assert all(np.isfinite(x).all() and np.abs(x).max() > 0.1 for x in ours)


def test_textures_last_and_bouts_repeat():
    lasting = replace(WORLD, textures=1.0)
    assert voice(lasting, np.random.default_rng(0)).species.kind == TEXTURE
    (x,) = tracks(replace(lasting, seed=5), 0, 0, individuals=1, takes=1)
    quarters = np.abs(x).reshape(4, -1).max(axis=1)
    assert quarters.min() > 0.1 * quarters.max()
    calls = replace(WORLD, textures=0.0, choruses=0.0, bouts=1.0)
    assert voice(calls, np.random.default_rng(0)).gap_s > 0


def test_many_call_in_a_chorus():
    chorus = replace(WORLD, textures=0.0, choruses=1.0, track_s=2.0)
    made = voice(chorus, np.random.default_rng(4))
    assert made.chorus_hz > 0
    assert made.gap_s == 0
    assert sum(made.species.syllables[i].duration_s for i in made.species.pattern) <= 0.41
    dense = [tracks(replace(chorus, seed=n), 0, 0, individuals=1, takes=1)[0] for n in range(8)]
    sounding = [np.count_nonzero(np.abs(x) > 1e-3 * np.abs(x).max()) / len(x) for x in dense]
    assert max(sounding) > 0.8


def test_what_is_struck_falls_silent_by_itself():
    struck = replace(WORLD, textures=0.0, choruses=0.0, struck=1.0, bouts=0.0, track_s=2.0)
    made = voice(struck, np.random.default_rng(4))
    assert made.species.kind == "struck"
    (x,) = tracks(struck, 0, 0, individuals=1, takes=1)
    assert np.abs(x[-1600:]).max() < 0.1 * np.abs(x).max()


def test_kinds_are_narrow_and_wide():
    """Pitches of the individuals of a wide kind lie farther apart than those of a narrow one."""

    def spread(width: float) -> float:
        world = replace(WORLD, textures=0.0, individual=(width, width))
        rng = np.random.default_rng(1)
        made = voice(world, rng)
        pitches = [vary(made.species, rng, made.width).pitch_hz for _ in range(30)]
        return float(np.std(np.log2(pitches)))

    assert spread(0.8) > 3 * spread(0.1)


def test_the_pool_depends_on_the_step_alone():
    pool = pool_at(0)
    before = pool.db_SNMT.clone()
    for step in range(9):  # six renewals: the first two slots twice
        pool.advance(step)
    again = pool_at(8)
    assert torch.equal(pool.db_SNMT, again.db_SNMT)
    assert torch.equal(pool.background_XMT, again.background_XMT)
    changed = [not torch.equal(a, b) for a, b in zip(before, pool.db_SNMT, strict=True)]
    assert changed == [True] * 4
    pool.advance(9)
    again.advance(9)
    assert torch.equal(pool.db_SNMT, again.db_SNMT)
    assert pool.db_SNMT.dtype == torch.float16
    assert pool.db_SNMT.shape == (4, 2, 16, 32)


@pytest.mark.slow
def test_other_processes_make_the_same_pool():
    pool = pool_at(0, workers=1)
    try:
        pool.advance(4)
        assert torch.equal(pool.db_SNMT, pool_at(4).db_SNMT)
    finally:
        pool.close()


def scene(settings: PlaceSettings, track_BMT: torch.Tensor, seed: int = 0):
    torch.manual_seed(seed)
    scenes = PowerScenes(settings, CENTRES_HZ, hop_s=0.025)
    background_BMT = torch.full((len(track_BMT), 16, 30), 1e-3)
    other_BMT = torch.zeros(len(track_BMT), 16, 30)
    return scenes(track_BMT, other_BMT, background_BMT, lead=10)


def call() -> torch.Tensor:
    """Four clips of twenty frames: a call in bands 4 to 6, frames 5 to 9."""
    track_BMT = torch.zeros(4, 16, 20)
    track_BMT[:, 4:7, 5:10] = 1.0
    return track_BMT


def test_a_call_is_as_far_over_the_background_as_was_asked():
    mixed_BMT = scene(EMPTY, call())
    assert mixed_BMT.shape == (4, 16, 30)
    # The recorder's high-pass is the same for both, band by band.
    ratio = mixed_BMT[:, 4:7, 15:20] / mixed_BMT[:, 4:7, :5]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 101.0), rtol=1e-4, atol=0)
    quiet = mixed_BMT[:, :, :10] / mixed_BMT[:, :, 20:]
    torch.testing.assert_close(quiet, torch.ones_like(quiet), rtol=1e-4, atol=0)


def test_reverberation_follows_the_call_and_has_the_energy_that_was_asked():
    wet = replace(EMPTY, reverb=1.0, wet_db=(0.0, 0.0), snr_db=(60.0, 60.0))
    mixed_BMT = scene(wet, call())[:, 5]
    before, tail = mixed_BMT[:, :15], mixed_BMT[:, 20:]
    assert (tail[:, 0] > 30 * before[:, 0]).all()
    assert (tail[:, 1:] < tail[:, :-1]).all()


def test_every_clip_has_its_own_place_and_a_seed_repeats_it():
    whole = replace(
        EMPTY, snr_db=(0.0, 30.0), reverb=0.5, far=0.5, eq_db=6.0, background_eq_db=5.0,
        band_limit=0.5,
    )  # fmt: skip
    mixed_BMT = scene(whole, call(), seed=4)
    assert torch.equal(mixed_BMT, scene(whole, call(), seed=4))
    shape_BMT = mixed_BMT / mixed_BMT.sum((1, 2), keepdim=True)
    assert not torch.allclose(shape_BMT[0], shape_BMT[1])


def test_an_edited_clip_has_next_to_no_background():
    plain, edited = (scene(replace(EMPTY, edited=share), call(), seed=2) for share in (0.0, 1.0))
    over = [x_BMT[:, 5, 15:20].mean(1) / x_BMT[:, 5, :5].mean(1) for x_BMT in (plain, edited)]
    assert (over[1] > 30 * over[0]).all()


def test_a_silent_track_stays_silent():
    mixed_BMT = scene(EMPTY, torch.zeros(4, 16, 20))
    assert mixed_BMT.isfinite().all()


def test_windows_hold_a_moment_that_sounds():
    torch.manual_seed(0)
    track_BMT = torch.zeros(200, 16, 60)
    track_BMT[:, 3, 40:43] = 1.0
    cut_BMT = windows(track_BMT, 8)
    assert cut_BMT.shape == (200, 16, 8)
    assert (cut_BMT.sum((1, 2)) >= 1).all()
    assert cut_BMT[:, 3, 0].any()  # anywhere in the window
    assert cut_BMT[:, 3, 7].any()


def test_procedural_sets_are_clips_with_labels_and_sources(tmp_path, monkeypatch):
    small = {"recording_s": 4.0, "test_species": 2, "recordings_per_species": 2}
    monkeypatch.setattr(worlds, "FIELD", {**worlds.FIELD, **small})
    few = {"species_per_recording": 2, "calls_per_recording": 2}
    monkeypatch.setattr(worlds, "CROWD", {**worlds.CROWD, **small})
    monkeypatch.setattr(worlds, "VOICES", {**worlds.VOICES, **small, **few})
    monkeypatch.setattr(patches, "PATCHES", 2)
    monkeypatch.setattr(patches, "CLIPS", 2)
    made = worlds.make_worlds(tmp_path, scene_settings())
    field = pd.read_csv(made["field"])
    assert len(field) == 4
    assert len(set(field["source"])) == 4
    assert sorted(field["label"].value_counts()) == [2, 2]
    voices = pd.read_csv(made["voices"])
    assert len(set(voices["label"])) == 4  # two species in two recordings
    crowd = pd.read_csv(made["crowd"])
    assert len(crowd) == 4
    other = pd.read_csv(made["other"])
    assert sorted(other["label"].value_counts()) == [2, 2]
    sets_made = (
        (made["field"], field), (made["voices"], voices), (made["crowd"], crowd),
        (made["other"], other), (made["hard"], pd.read_csv(made["hard"])),
    )  # fmt: skip
    for table, frame in sets_made:
        for name in frame["file"]:
            assert len(soundfile.read(table.parent / name)[0]) > 0
    before = made["voices"].stat().st_mtime_ns
    assert worlds.make_worlds(tmp_path, scene_settings())["voices"].stat().st_mtime_ns == before
