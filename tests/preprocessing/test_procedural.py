"""Procedural recordings: how calls are mixed, what files come out, and that they come out again."""

import errno
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.config.settings import load
from preprocessing.synthetic import procedural
from preprocessing.synthetic.mixing import (
    Call,
    Response,
    audible,
    background,
    flat,
    mix,
    random_channel,
    reverberation,
)
from preprocessing.synthetic.procedural import ProceduralData
from preprocessing.synthetic.rendering import render
from preprocessing.synthetic.scenes import (
    SPLITS,
    SceneSettings,
    check,
    make_recording,
    members,
    species_name,
)
from preprocessing.synthetic.species import KINDS, draw, vary
from tests.conftest import ROOT

SR = 16000
NO_ROOM = np.zeros(0, np.float32)
SETTINGS = {
    "seed": 3,
    "sr": SR,
    "train_species": 7,
    "val_species": 3,
    "test_species": 2,
    "kinds": list(KINDS),
    "recording_s": 8.0,
    "recordings_per_species": 2,
    "species_per_recording": 3,
    "calls_per_recording": 3,
    "distractors": 3.0,
    "snr_db": [0.0, 40.0],
    "distractor_snr_db": [-10.0, 10.0],
    "call_s": [0.03, 1.0],
    "f0_hz": [200.0, 5000.0],
    "jitter": 0.15,
    "individual": 0.25,
    "distance": 0.5,
    "reverb": 0.5,
    "reverb_s": [0.1, 1.0],
    "eq_db": 6.0,
    "wind": 0.5,
    "rain": 0.5,
    "hum": 0.5,
    "background_db": [-50.0, -20.0],
}


def data(root: Path, **changes) -> ProceduralData:
    places = {"root_dir": str(root), "train_dir": None, "eval_dir": None, "test_dir": None}
    own = {"workers": 1, "anchor": "centre"}
    return ProceduralData(**{**SETTINGS, **places, **own, **changes})


def settings(**changes) -> SceneSettings:
    return SceneSettings.of({**SETTINGS, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> ProceduralData:
    group = data(tmp_path_factory.mktemp("made"))
    assert group.make() == sum(group.settings.recordings(split) for split in SPLITS) == 10
    return group


# --- mixing -------------------------------------------------------------------------------------


def power_in_band(x: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Mean power between two frequencies, from a float64 periodogram."""
    energy = np.abs(np.fft.rfft(x.astype(np.float64))) ** 2
    at_hz = np.fft.rfftfreq(len(x), 1 / SR)
    return float(2 * energy[(at_hz >= low_hz) & (at_hz <= high_hz)].sum() / len(x) ** 2)


def tone(seconds: float = 0.5, hz: float = 1000.0) -> np.ndarray:
    x = np.sin(2 * np.pi * hz * np.arange(round(seconds * SR)) / SR)
    return (x * np.hanning(len(x)) ** 0.25).astype(np.float32)


def white(seconds: float = 4.0, level: float = 0.01, seed: int = 0) -> np.ndarray:
    n = round(seconds * SR)
    return level * np.random.default_rng(seed).standard_normal(n, dtype=np.float32)


def call(samples: np.ndarray, **changes) -> Call:
    plain = Call(samples, 1.0, "a", snr_db=20.0, distance_m=0.0, wet_db=-np.inf)
    return replace(plain, **changes)


@pytest.mark.parametrize("snr_db", [0.0, 13.0, 40.0])
def test_a_tone_stands_over_white_noise_as_far_as_asked(snr_db):
    noise = white()
    mixture, events = mix(
        [call(tone(), snr_db=snr_db)], noise, sr=SR, channel=flat(SR), room=NO_ROOM
    )
    clean = (mixture - noise)[SR : SR + SR // 2]
    # By hand: a third of an octave around 1 kHz holds this share of white noise's power.
    width_hz = 1000 * (2 ** (1 / 6) - 2 ** (-1 / 6))
    expected = 0.01**2 * width_hz / (SR / 2) * 10 ** (snr_db / 10)
    assert 10 * np.log10(np.mean(clean**2) / expected) == pytest.approx(0, abs=1.0)
    assert events.start_s[0] == pytest.approx(1.0, abs=0.01)
    assert events.end_s[0] == pytest.approx(1.5, abs=0.01)


def measured_snr_db(one: Call, place: np.ndarray, channel: Response, room: np.ndarray) -> float:
    """Signal-to-noise ratio from the stems, apart from how `mix` counts it."""
    mixture, events = mix([one], place, sr=SR, channel=channel, room=room)
    dry, _ = mix([replace(one, wet_db=-np.inf)], place, sr=SR, channel=channel, room=room)
    first, last = round(events.start_s[0] * SR), round(events.end_s[0] * SR)
    sounding = np.count_nonzero(audible((dry - place)[first:last], SR))
    around = max(0, SR // 4 - (last - first)) // 2
    under = place[first - around : last + around]
    heard = np.zeros(len(under) + SR)
    heard[: last - first] = (mixture - place)[first:last]
    # 5 to 95 % of the energy, a third of an octave at least.
    energy = np.cumsum(np.abs(np.fft.rfft(heard)) ** 2)
    edges = np.searchsorted(energy, [0.05 * energy[-1], 0.95 * energy[-1]])
    low_hz, high_hz = edges * SR / len(heard)
    middle_hz = np.sqrt(max(low_hz, 1.0) * high_hz)
    low_hz, high_hz = min(low_hz, middle_hz / 2 ** (1 / 6)), max(high_hz, middle_hz * 2 ** (1 / 6))
    power = power_in_band(heard, low_hz, high_hz) * len(heard) / sounding
    return float(10 * np.log10(power / power_in_band(under, low_hz, high_hz)))


def test_snr_of_every_family_over_a_real_place():
    rng = np.random.default_rng(5)
    channel = random_channel(rng, eq_db=6.0, lowest_top_hz=4000.0, sr=SR)
    room = reverberation(rng, rt60_s=0.5, sr=SR)
    place = background(
        rng, 8 * SR, sr=SR, channel=channel, level_db=-40, wind=0.5, rain=0.5, hum=0.5
    )
    off_db = []
    for kind in 3 * KINDS:
        species = draw(rng, kinds=[kind], f0_hz=(300, 3000), call_s=(0.1, 1.0))
        x = render(vary(species, rng, 0.2), rng, sr=SR)
        asked_db = float(rng.uniform(0, 40))
        one = call(x, snr_db=asked_db, distance_m=50.0, wet_db=-6.0, start_s=2.0)
        off_db.append(measured_snr_db(one, place, channel, room) - asked_db)
    # Where 5 % of the energy ends in the gap between two partials, the band's edge is anywhere
    # in the gap: such a call may be off by decibels.
    assert np.median(np.abs(off_db)) < 0.1
    assert np.quantile(np.abs(off_db), 0.9) < 0.5


def test_annotated_time_is_where_the_direct_sound_is_audible():
    rng = np.random.default_rng(1)
    room = reverberation(rng, rt60_s=1.0, sr=SR)
    # A second of silence before and after the sound itself.
    padded = np.pad(tone(0.4), SR)
    noise = white(6.0)
    times = []
    for wet_db in (-np.inf, 0.0):
        one = call(padded, start_s=0.5, wet_db=wet_db)
        mixture, events = mix([one], noise, sr=SR, channel=flat(SR), room=room)
        times.append(events.loc[0, ["start_s", "end_s"]].to_numpy(float))
        clean = (mixture - noise).astype(np.float64)
        first, last = np.round(times[-1] * SR).astype(int)
        before, after = np.sum(clean[:first] ** 2), np.sum(clean[last:] ** 2)
        total = np.sum(clean**2)
        assert before < 1e-3 * total
        assert (after < 1e-3 * total) == (wet_db == -np.inf)
    np.testing.assert_allclose(times[0], [1.5, 1.9], atol=0.01)
    np.testing.assert_allclose(times[1], times[0], atol=0.01)


def test_unlabelled_calls_are_background_for_the_labelled():
    noise = white()
    loud = call(tone(), label=None, snr_db=40.0)
    alone, _ = mix([call(tone())], noise, sr=SR, channel=flat(SR), room=NO_ROOM)
    both, events = mix([call(tone()), loud], noise, sr=SR, channel=flat(SR), room=NO_ROOM)
    assert list(events.label) == ["a"]
    stranger, none = mix([loud], noise, sr=SR, channel=flat(SR), room=NO_ROOM)
    assert none.empty
    gain = np.std((both - stranger)[SR : 2 * SR]) / np.std((alone - noise)[SR : 2 * SR])
    assert 20 * np.log10(gain) == pytest.approx(40.0, abs=0.5)


def test_calls_at_the_edges_are_cut_with_the_recording():
    noise = white(2.0)
    calls = [call(tone(), start_s=0.0), call(tone(), start_s=1.8, label="b")]
    mixture, events = mix(calls, noise, sr=SR, channel=flat(SR), room=NO_ROOM)
    assert mixture.shape == noise.shape
    assert events.end_s.max() == pytest.approx(2.0, abs=1e-6)
    assert events.start_s.min() < 0.01


def test_air_takes_what_iso_9613_says():
    # ISO 9613-2 (1996), table 2: 10 degrees C, 70 % relative humidity, dB per km.
    table = {1000: 3.7, 2000: 9.7, 4000: 32.8}
    noise = white(3.0)
    for hz, loss_db in table.items():
        # Two tones, one so low that air leaves it alone.
        x = tone(1.0, hz) + tone(1.0, 125)
        lines = []
        for metres in (0.0, 300.0):
            one = call(x, distance_m=metres)
            heard = mix([one], noise, sr=SR, channel=flat(SR), room=NO_ROOM)[0] - noise
            high, low = (power_in_band(heard, f - 20, f + 20) for f in (hz, 125))
            lines.append(10 * np.log10(high / low))
        assert (lines[0] - lines[1]) / 0.3 == pytest.approx(loss_db, rel=0.25)


def test_channel_shapes_calls_and_background_alike():
    channel = Response(np.array([0.0, 2000.0, 2001.0, SR / 2]), np.array([1.0, 1.0, 0.0, 0.0]))
    rng = np.random.default_rng(2)
    place = background(rng, 2 * SR, sr=SR, channel=channel, level_db=-30, wind=1, rain=1, hum=1)
    mixture, _ = mix(
        [call(white(0.5, 1.0), start_s=0.5)], place, sr=SR, channel=channel, room=NO_ROOM
    )
    assert 10 * np.log10(np.mean(place**2)) == pytest.approx(-30, abs=0.1)
    for x in (place, mixture - place):
        x = x * np.hanning(len(x))
        assert power_in_band(x, 3000, 8000) < 1e-5 * power_in_band(x, 100, 1900)


# --- species ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_calls_are_sound_of_about_the_length_drawn(kind):
    rng = np.random.default_rng(0)
    for _ in range(12):
        species = draw(rng, kinds=[kind], f0_hz=(200, 7000), call_s=(0.05, 0.5))
        assert species.kind == kind
        x = render(species, rng, sr=SR)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()
        assert np.abs(x).max() == pytest.approx(1.0)
        # Pulses ring on, up to 0.3 s.
        assert 0.03 < len(x) / SR < 0.5 * 1.6 + 0.3 * (kind in ("pulse", "phrase"))


def test_tone_has_the_pitch_it_was_given():
    rng = np.random.default_rng(4)
    species = draw(rng, kinds=["tonal"], f0_hz=(2000, 2000), call_s=(0.5, 0.5))
    flat_tone = replace(
        species.syllables[0],
        f0_hz=2000.0,
        contour_oct=np.zeros(33),
        vibrato_oct=0.0,
        partials=1,
        breath_db=-60.0,
    )
    one = replace(species, syllables=(flat_tone,), pattern=(0,))
    spectrum = np.abs(np.fft.rfft(render(one, rng, sr=SR), 4 * SR))
    assert np.argmax(spectrum) / 4 == pytest.approx(2000, abs=3)


def test_individuals_differ_more_than_calls_and_none_where_told():
    rng = np.random.default_rng(6)
    species = draw(rng, kinds=["tonal"], f0_hz=(1000, 1000), call_s=(0.3, 0.3))

    def spread(amount: float) -> float:
        return float(np.std([np.log2(vary(species, rng, amount).pitch_hz) for _ in range(200)]))

    assert spread(0.0) < 1e-9
    assert 0.03 < spread(0.1) < 0.06
    assert spread(0.3) == pytest.approx(3 * spread(0.1), rel=0.3)


# --- recordings ---------------------------------------------------------------------------------


def test_a_recording_depends_on_seed_split_and_number_alone():
    first = [make_recording(settings(), "train", i)[0] for i in (0, 1)]
    # In another order, after others, with the species not remembered.
    make_recording(settings(seed=9), "val", 0)
    from preprocessing.synthetic import scenes as recipe

    recipe._species.cache_clear()
    again = [make_recording(settings(), "train", i)[0] for i in (1, 0)][::-1]
    np.testing.assert_array_equal(first, again)
    other_split, _ = make_recording(settings(), "val", 0)
    other_seed, _ = make_recording(settings(seed=4), "train", 0)
    for one in (first[1], other_split, other_seed):
        assert not np.array_equal(one, first[0])


def test_every_species_calls_once_in_every_round_and_in_one_split():
    names = {}
    for split in SPLITS:
        plan = [members(settings(), split, i) for i in range(settings().recordings(split))]
        counts = np.bincount(np.concatenate(plan), minlength=settings().species(split))
        assert (counts == SETTINGS["recordings_per_species"]).all()
        assert max(map(len, plan)) <= SETTINGS["species_per_recording"]
        names[split] = {species_name(settings(), split, i) for i in set(np.concatenate(plan))}
    assert not set.intersection(names["train"], names["val"] | names["test"])
    assert not names["val"] & names["test"]


CHANGED = {
    "seed": 4,
    "sr": 12000,
    "train_species": 8,
    "kinds": ["noise"],
    "recording_s": 9.0,
    "species_per_recording": 2,
    "calls_per_recording": 5,
    "distractors": 9.0,
    "snr_db": [20.0, 25.0],
    "distractor_snr_db": [20.0, 25.0],
    "call_s": [0.5, 1.0],
    "f0_hz": [1000.0, 1100.0],
    "jitter": 0.4,
    "individual": 0.5,
    "distance": 1.0,
    "reverb": 1.0,
    "reverb_s": [0.9, 1.0],
    "eq_db": 0.0,
    "wind": 1.0,
    "rain": 1.0,
    "hum": 1.0,
    "background_db": [-70.0, -60.0],
}
COUNTED = {"val_species", "test_species", "recordings_per_species"}


@pytest.mark.parametrize("key", CHANGED)
def test_every_setting_changes_what_is_heard(key):
    base = {"distance": 0.0, "reverb": 0.0, "wind": 0.0, "rain": 0.0, "hum": 0.0}
    base |= {"reverb": 1.0} if key == "reverb_s" else {}
    base |= {"distractors": 6.0} if key == "distractor_snr_db" else {}
    before = make_recording(settings(**base), "train", 0)[0]
    after = make_recording(settings(**{**base, key: CHANGED[key]}), "train", 0)[0]
    assert before.shape != after.shape or not np.array_equal(before, after)


def test_no_setting_is_forgotten_by_the_tests_or_the_configuration():
    names = {field.name for field in fields(SceneSettings)}
    assert set(CHANGED) | COUNTED == set(SETTINGS) == names
    keys = yaml.safe_load((ROOT / "conf/data/procedural.yaml").read_text())
    del keys["_target_"]
    assert set(keys) == set(inspect.signature(ProceduralData).parameters)
    check(SceneSettings.of(keys))


def test_too_many_long_calls_are_thinned_never_overlapped():
    crowded = settings(
        call_s=[2.0, 3.0], species_per_recording=3, calls_per_recording=8, jitter=0.5
    )
    samples, events = make_recording(crowded, "train", 0)
    assert len(samples) == 8 * SR
    assert events.label.nunique() == 3
    assert (events.start_s[1:].to_numpy() >= events.end_s[:-1].to_numpy()).all()


# --- files --------------------------------------------------------------------------------------


def test_files_are_wav_and_dcase_csv_that_agree(made):
    seen = {}
    for split, folder in made.dirs.items():
        tables = sorted(folder.glob("*/*.csv"))
        assert len(tables) == made.settings.recordings(split)
        for path in tables:
            header = soundfile.info(path.with_suffix(".wav"))
            assert (header.samplerate, header.channels, header.subtype) == (SR, 1, "PCM_16")
            assert header.duration == SETTINGS["recording_s"]
            table = pd.read_csv(path)
            assert list(table.columns[:3]) == ["Audiofilename", "Starttime", "Endtime"]
            assert set(table.Audiofilename) == {path.with_suffix(".wav").name}
            marks = table.iloc[:, 3:]
            assert ((marks == "POS").sum(axis=1) == 1).all()
            assert marks.isin(["POS", "NEG"]).all(axis=None)
            assert (table.Endtime > table.Starttime).all()
            assert (table.Starttime.to_numpy()[1:] >= table.Endtime.to_numpy()[:-1]).all()
            assert table.Endtime.max() <= header.duration
            for label in marks.columns:
                seen.setdefault(label, set()).add(split)
    assert len(seen) == 7 + 3 + 2
    assert all(len(splits) == 1 for splits in seen.values())


def test_the_dcase_reader_finds_nothing_wrong(made):
    corpus = made.load()
    assert corpus.problems == ()
    assert [len(corpus.labels(split)) for split in SPLITS] == [7, 3, 2]
    # At least half of the calls asked for, in each of two recordings.
    assert corpus.split("train").groupby("label").size().min() >= 2 * 2
    assert len(corpus.recordings) == 10


def test_any_number_of_workers_makes_the_same_bytes(made, tmp_path, monkeypatch):
    monkeypatch.setattr(procedural, "WORTH_A_PROCESS_S", 1.0)
    group = data(tmp_path, workers=2)
    assert group.make() == 10
    for split in SPLITS:
        assert contents(group.dirs[split]) == contents(made.dirs[split])
    assert group.folder.name == made.folder.name


def test_a_whole_set_is_recognised_and_a_damaged_one_mended(made, tmp_path):
    group = data(tmp_path)
    group.make()
    before = contents(group.folder)
    start = time.perf_counter()
    assert group.make() == 0
    assert time.perf_counter() - start < 0.5
    wavs = sorted(group.dirs["train"].glob("*/*.wav"))
    wavs[0].unlink()
    with open(wavs[1], "rb+") as handle:
        handle.truncate(1000)
    wavs[2].with_suffix(".csv").unlink()
    (group.dirs["val"] / "manifest.json").unlink()
    assert group.make() == 3
    assert contents(group.folder) == before


KILLED = """
import json, sys
from preprocessing.synthetic.procedural import ProceduralData
ProceduralData(**json.loads(sys.argv[1])).make()
"""


def test_killed_at_any_point_it_goes_on_where_it_was(tmp_path):
    more = {"train_species": 36, "recordings_per_species": 2}
    group = data(tmp_path, **more)
    values = {**SETTINGS, **more, "root_dir": str(tmp_path), "workers": 1, "anchor": "centre"}
    values |= {"train_dir": None, "eval_dir": None, "test_dir": None}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, json.dumps(values)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    folder = group.dirs["train"] / procedural.SUBSET
    deadline = time.monotonic() + 60
    while len(list(folder.glob("[!.]*.csv"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # What a kill inside a write leaves behind.
    with atomic_path(tmp_path / "train_00023.wav") as of_this_process:
        left = of_this_process.name.replace(f".{os.getpid()}@", f".{process.pid}@")
        of_this_process.touch()
    (tmp_path / "train_00023.wav").rename(folder / left)
    tables = len(list(folder.glob("[!.]*.csv")))
    whole = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*.csv")}
    assert 4 <= tables < 24
    assert not (group.dirs["train"] / "manifest.json").exists()
    assert group.make() == sum(group.settings.recordings(split) for split in SPLITS) - tables
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    assert not list(folder.glob(".*"))
    assert len(json.loads((group.dirs["train"] / "manifest.json").read_text())) == 2 * 24
    samples, _ = make_recording(group.settings, "train", 20)
    np.testing.assert_array_equal(
        soundfile.read(folder / "train_00020.wav", dtype="int16")[0], samples
    )


def test_settings_name_the_folder_and_only_they(tmp_path):
    base = data(tmp_path)
    assert len(base.folder.name) == 12
    assert base.folder.parent == tmp_path / "outputs" / "procedural"
    for key, value in {**CHANGED, "val_species": 5, "recordings_per_species": 3}.items():
        assert data(tmp_path, **{key: value}).folder != base.folder
    for key, value in {"workers": 3, "anchor": "loudest", "recording_s": 8}.items():
        assert data(tmp_path, **{key: value}).folder == base.folder


def test_named_folders_are_used_and_never_mistaken(made, tmp_path):
    own = tmp_path / "birds"
    group = data(tmp_path, train_dir=str(own))
    assert group.make() == 10
    assert contents(own / "PROC") == contents(made.dirs["train"] / "PROC")
    assert not (group.folder / "Training_Set").exists()
    assert data(tmp_path, train_dir=str(own)).make() == 0
    with pytest.raises(UserError, match=r"settings.json: .*\(seed\).*path.train_dir"):
        data(tmp_path, train_dir=str(own), seed=8).make()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "wren.wav").write_bytes(b"my only recording")
    with pytest.raises(UserError, match=r"path.eval_dir: .*mine holds something else"):
        data(tmp_path, eval_dir=str(tmp_path / "mine")).make()
    assert len(list((tmp_path / "mine").iterdir())) == 1
    with pytest.raises(UserError, match="one folder"):
        data(tmp_path, train_dir=str(own), eval_dir=str(own))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_species", 0),
        ("val_species", -1),
        ("test_species", 2.5),
        ("recordings_per_species", 0),
        ("species_per_recording", 0),
        ("calls_per_recording", 0),
        ("kinds", ["tonal", "roar"]),
        ("kinds", []),
        ("seed", -1),
        ("sr", 100),
        ("recording_s", 0.5),
        ("recording_s", float("nan")),
        ("snr_db", [40.0, 0.0]),
        ("snr_db", [0.0]),
        ("distractor_snr_db", [0.0, float("inf")]),
        ("call_s", [0.0, 1.0]),
        ("call_s", "long"),
        ("f0_hz", [200.0, 8000.0]),
        ("f0_hz", [0.0, 100.0]),
        ("reverb_s", [1.0, 0.5]),
        ("background_db", [-10.0, 3.0]),
        ("jitter", -0.1),
        ("individual", -0.1),
        ("eq_db", -1.0),
        ("distractors", -1.0),
        ("wind", 1.5),
        ("rain", -0.5),
        ("hum", 2.0),
        ("distance", 1.1),
        ("reverb", 1.1),
        ("workers", 0),
        ("workers", "many"),
        ("anchor", "start"),
    ],
)
def test_impossible_values_are_refused_by_name(tmp_path, key, value):
    with pytest.raises(UserError, match=rf"^data\.{key}: "):
        data(tmp_path, **{key: value})
    assert not any(tmp_path.iterdir())


def test_a_disk_too_small_is_refused_before_the_work(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="disk is too full"):
        data(tmp_path).make()
    assert not list(tmp_path.rglob("*.wav"))


def test_a_full_disk_is_told_in_a_line(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="the disk is full"):
        procedural.write_wav(tmp_path / "a.wav", np.zeros(100), 8000)


def test_species_of_the_demo_call_more_often_than_five_shots():
    settings = SceneSettings.of(load(["experiment=demo"]).data.values)
    calls = [
        count
        for index in range(settings.groups("test"))
        for count in make_recording(settings, "test", index)[1]["label"].value_counts()
    ]
    assert np.mean(np.array(calls) > 5) > 0.8
