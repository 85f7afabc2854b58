"""The detection experiments: soundscapes of clips, what is counted on them, what is chosen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from experiments.esc10_soundscapes import __main__ as command
from experiments.esc10_soundscapes import banks, soundscapes
from experiments.esc10_soundscapes.soundscapes import CALLS, SR, Clip, SoundscapePlan
from experiments.procedural_detection.detectors import SplitResult
from experiments.procedural_detection.tables import f_difference, f_losses, score_table
from g5.common.errors import UserError
from g5.detection.corpus import DetectionTask
from g5.detection.detector import FOUND_COLUMNS, Detections
from g5.detection.events.threshold import CalibratedThreshold


def tone(hz: float, seconds: float, before_s: float = 0.2) -> np.ndarray:
    t = np.arange(round(seconds * SR)) / SR
    silence = np.zeros(round(before_s * SR))
    return np.concatenate([silence, np.sin(2 * np.pi * hz * t), silence]).astype(np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Something like ESC-10: short clips, two of each source."""
    home = tmp_path_factory.mktemp("real")
    (home / "esc10").mkdir()
    rng, rows = np.random.default_rng(0), []
    for number, label in enumerate(banks.EVENTS + banks.BACKGROUNDS):
        for take in range(14):
            x = tone(500 + 700 * number, 0.1 + 0.02 * take)
            if label in banks.BACKGROUNDS:
                x = rng.standard_normal(SR).astype(np.float32)
            name = f"{label}_{take}.wav"
            soundfile.write(home / "esc10" / name, 0.3 * x, SR)
            rows.append((name, label, str(take % 13)))
    table = pd.DataFrame(rows, columns=["file", "label", "source"])
    table.to_csv(home / "esc10" / "clips.csv", index=False)
    return home


def test_a_soundscape_has_as_many_distractors_as_calls_and_says_where(home):
    bank = replace(banks.esc10(home), repeats=1)
    assert len(list(soundscapes.plans(bank))) == 16
    plan = SoundscapePlan("rooster", bank.groups[0], "rain", 0)
    samples, calls = soundscapes.soundscape(plan, bank, np.random.default_rng(3))
    assert np.abs(samples).max() <= 0.97
    labels = calls["label"].tolist()
    assert labels.count("rooster") == CALLS == len(labels) - labels.count("rooster")
    assert calls["snr_db"].between(*soundscapes.SNR_DB).all()
    assert (calls["start_s"].to_numpy()[1:] >= calls["end_s"].to_numpy()[:-1]).all()
    # No two calls from one source, and the ends are those of the sound.
    assert calls.groupby("label")["source"].nunique().tolist() == [4, 4, 4, 12]
    assert (calls["end_s"] - calls["start_s"]).between(0.08, 0.42).all()
    loud = calls.sort_values("snr_db").iloc[-1]
    inside = samples[round(loud.start_s * SR) : round(loud.end_s * SR)]
    peak_hz = np.argmax(np.abs(np.fft.rfft(inside))) / len(inside) * SR
    assert peak_hz == pytest.approx(500 + 700 * banks.EVENTS.index(loud.label), abs=15)


def test_soundscapes_are_made_once_and_read_as_a_corpus(tmp_path, home):
    bank = replace(banks.esc10(home), repeats=1)
    small = replace(bank, backgrounds={"rain": bank.backgrounds["rain"]})
    first = soundscapes.make(tmp_path / "a", lambda: small, seed=1)
    again = soundscapes.make(tmp_path / "a", lambda: pytest.fail("made twice"), seed=1)
    pd.testing.assert_frame_equal(first, again)
    other = soundscapes.make(tmp_path / "b", lambda: small, seed=1)
    for a, b in zip(first["file"].unique(), other["file"].unique(), strict=True):
        assert Path(a).read_bytes() == Path(b).read_bytes()
    corpus = soundscapes.corpus({"test": first}, tmp_path)
    assert len(corpus.split("test")) == 4 * 2 * CALLS
    assert not corpus.problems


def test_invented_clips_are_many_individuals_of_some_species(monkeypatch):
    for key, value in (("val_species", 4), ("recordings_per_species", 2)):
        monkeypatch.setitem(banks.CLIP, key, value)
    monkeypatch.setattr(banks, "SPECIES", 4)
    bank = banks.invented()
    assert [len(group) for group in bank.groups] == [4]
    for clips in bank.groups[0].values():
        assert len({clip.source for clip in clips}) == len(clips) == 2
    assert len(bank.backgrounds["place"](np.random.default_rng(0), 1000)) == 1000


def test_where_the_sound_is():
    x = tone(1000, 0.5, before_s=1.0)
    assert len(soundscapes.sounding(x)) / SR == pytest.approx(0.5, abs=0.05)
    quieter = 0.5 * tone(1000, 0.3, before_s=0.2)  # after a pause: another call
    call = soundscapes.sounding(np.concatenate([quieter, x, quieter]))
    assert len(call) / SR == pytest.approx(0.5, abs=0.05)
    assert np.abs(call).max() > 0.9
    joined = soundscapes.background_of([Clip(np.ones(SR, np.float32), "a")])
    assert len(joined(np.random.default_rng(0), 5 * SR)) == 5 * SR


# --- what is counted ----------------------------------------------------------------------------

CALL_S = [1.0 * i for i in range(1, 13)]  # five of them are support
DISTRACTOR_S = [6.5, 7.5, 8.5, 9.5]


def result(said: list[tuple[float, float]], name: str = "r") -> SplitResult:
    truth = pd.DataFrame({"start_s": CALL_S, "label": "a", "status": "POS", "file": f"/{name}.wav"})
    truth["end_s"] = truth["start_s"] + 0.3
    events = pd.DataFrame(said, columns=["start_s", "end_s"]).assign(label="a", score=0.9)
    events = events.reindex(columns=FOUND_COLUMNS)
    found = Detections(None, events, None, CalibratedThreshold(0.0, 1.0, 1.0))  # type: ignore[arg-type]
    task = DetectionTask(f"/{name}.wav", "a", truth, truth.iloc[:5], found, events)
    return SplitResult([task], "test")


def test_recall_by_snr_and_distractors_hit():
    # Two calls and one distractor are found; another is touched, but not by half.
    got = result([(6.0, 6.3), (7.0, 7.3), (7.5, 7.8), (8.35, 8.55)])
    snr_db = [*[10.0] * 5, 2.0, 7.0, 8.0, 12.0, 13.0, 17.0, 18.0]
    calls = pd.DataFrame({"file": "/r.wav", "start_s": CALL_S, "snr_db": snr_db})
    assert command.recall_by_snr(got, calls).tolist() == [1.0, 0.5, 0.0, 0.0]
    events = pd.concat([
        pd.DataFrame({"start_s": DISTRACTOR_S, "label": "b"}),
        pd.DataFrame({"start_s": CALL_S, "label": "a"}),
    ]).assign(file="/r.wav")  # fmt: skip
    events["end_s"] = events["start_s"] + 0.3
    assert command.distractors_hit(got, events) == 0.25
    assert command.class_f(got, "a") == pytest.approx(2 / (2 + 0.5 * (2 + 5)))


def test_differences_are_paired_over_recordings():
    def scores(*said):
        results = [result(list(events), name) for name, events in zip("xyz", said, strict=True)]
        return SplitResult([task for r in results for task in r.tasks], "test")

    good = scores(*[[(s, s + 0.3) for s in CALL_S]] * 3)
    bad = scores([(6.0, 6.3)], [], [(7.0, 7.3), (8.0, 8.3)])
    mean, low, high = f_difference([good.scores, good.scores], [bad.scores])
    assert mean == pytest.approx(1 - bad.scores.overall.fmeasure)
    assert low < mean < high
    found = {"v2": [good, good], "energy": [bad]}
    assert "| v2 - energy | +75.0 |" in f_losses(found, "v2")
    assert "| v2 | 2 | 1.000 ± 0.000 |" in score_table(found)


def test_what_the_user_can_put_right():
    with pytest.raises(UserError, match=r"path\.real_dir"):
        command.main(["path.real_dir=/nowhere"])
