"""`g5 detect` from end to end: what is found, and what is told of bad input."""

import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from g5.detection.detector import without_rivals
from tests.conftest import run_g5
from tests.detection.soundscapes import (
    CALLS_S,
    OTHERS_S,
    RATE,
    audacity,
    overlap,
    predictions,
)


@pytest.mark.parametrize("arch", ["v1", "v2"])
def test_five_calls_in_every_call_out(arch, job, tmp_path, capsys):
    audacity(tmp_path / "five_calls.txt", {"up": CALLS_S[:5]})
    assert job("night.wav", "--support", "five_calls.txt", "-o", "found", arch=arch) == 0
    found = predictions(tmp_path / "found")
    assert overlap(found, CALLS_S[5:]) >= 4
    assert overlap(found, OTHERS_S) <= 3
    assert set(found.columns) >= {
        "file",
        "start_s",
        "end_s",
        "label",
        "score",
        "distance",
        "nearest",
    }
    assert found["score"].between(0, 1).all()
    assert (tmp_path / "found/night.txt").is_file(), "the same format out"
    assert (tmp_path / "found/report.html").stat().st_size > 10_000
    assert len(list((tmp_path / "found/pictures").glob("night.*.png"))) == 1
    assert "1 done" in capsys.readouterr().out
    # Ends better than the hop between windows.
    errors = [min(abs(start - s) for s in CALLS_S) for start in found["start_s"]]
    assert np.median([error for error in errors if error < 0.15]) < 0.03


def test_several_species_at_once(job, tmp_path):
    audacity(tmp_path / "both.txt", {"up": CALLS_S[:5], "down": OTHERS_S[:3]})
    assert job("night.wav", "--support", "both.txt", "-o", "found", "detection.pictures=false") == 0
    found = predictions(tmp_path / "found")
    assert set(found["label"]) <= {"up", "down"}
    up, down = (found.query("label == @name") for name in ("up", "down"))
    assert overlap(up, OTHERS_S) <= 2
    assert overlap(down, OTHERS_S[3:]) >= 3
    assert not (tmp_path / "found/report.html").exists()


def test_species_that_call_at_once_are_told_where_that_is_asked_for():
    def one(label: str, *rows: tuple[float, float, float]) -> Any:
        events = pd.DataFrame(rows, columns=["start_s", "end_s", "score"]).assign(label=label)
        return SimpleNamespace(events=events)

    found = [one("up", (1.0, 2.0, 0.9), (5.0, 6.0, 0.6)), one("down", (1.2, 2.1, 0.7))]
    alone, both = without_rivals(found), without_rivals(found, overlap=True)
    assert alone["label"].tolist() == ["up", "up"]
    assert both["label"].tolist() == ["up", "down", "up"]


def test_neg_means_no(job, tmp_path, capsys):
    head, no = "file,start_s,end_s,label,status\n", CALLS_S[6]
    calls = "".join(f"night.wav,{a},{a + 0.3},up,POS\n" for a in CALLS_S[:5])
    (tmp_path / "yes.csv").write_text(head + calls)
    (tmp_path / "no.csv").write_text(f"{head}{calls}night.wav,{no},{no + 0.3},up,NEG\n")
    (tmp_path / "only.csv").write_text(f"{head}night.wav,{no},{no + 0.3},up,NEG\n")
    for name, found in (("yes", 1), ("no", 0)):
        arguments = ["--support", f"{name}.csv", "-o", name, "detection.pictures=false"]
        assert job("night.wav", *arguments) == 0
        assert overlap(predictions(tmp_path / name), [no]) == found
    assert job("night.wav", "--support", "only.csv") == 1
    assert "marks what is no call (NEG) and not one call" in capsys.readouterr().err


def test_a_threshold_by_hand_finds_more_or_less(job, tmp_path, capsys):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})

    def found_from(threshold: float) -> pd.DataFrame:
        out = ["-o", str(threshold), "detection.pictures=false"]
        asked = f"detection.threshold={threshold}"
        assert job("night.wav", "--support", "calls.txt", *out, asked) == 0
        found = predictions(tmp_path / str(threshold))
        assert (found["score"].to_numpy(float) >= threshold).all()
        return found

    most = found_from(0.001)
    some = found_from(round(float(np.median(most["score"].to_numpy(float))), 4))
    few = found_from(0.97)
    assert len(most) > len(some) > len(few)
    assert (some["score"].to_numpy(float) >= 0.97).sum() == len(few), "a score means what it meant"
    assert len(pd.read_csv(tmp_path / "0.97/candidates.csv")) >= len(few)
    assert job("night.wav", "--support", "calls.txt", "detection.threshold=1") == 1
    assert "detection.threshold: must be below 1" in capsys.readouterr().err


def test_unmarked_calls_are_no_negatives_where_everything_is(job, tmp_path):
    audacity(tmp_path / "some.txt", {"up": [1.0, 9.4, 18.2]})
    arguments = ["night.wav", "--support", "some.txt", "detection.pictures=false"]
    assert job(*arguments, "detection.negatives=everything") == 0
    assert overlap(predictions(tmp_path / "found"), CALLS_S) >= 8


def test_a_row_that_cannot_be_read_stops(job, tmp_path, capsys):
    rows = [f"night.wav,{a},{a + 0.3},up\n" for a in CALLS_S[:4]]
    (tmp_path / "bad.csv").write_text(
        "file,start_s,end_s,label\n" + "".join(rows) + 'night.wav,"9,401",9.7,up\n'
    )
    assert job("night.wav", "--support", "bad.csv") == 1
    assert "error: bad.csv, row 6: " in capsys.readouterr().err


@pytest.mark.parametrize("how", ["template", "energy"])
def test_baselines(how, job, tmp_path):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    arguments = ["night.wav", "--support", "calls.txt", "-o", how, f"detection={how}"]
    assert job(*arguments, "detection.pictures=false") == 0
    assert overlap(predictions(tmp_path / how), CALLS_S[5:]) == 5


def test_bad_support_is_one_clear_line(job, tmp_path, capsys):
    (tmp_path / "empty.txt").touch()
    audacity(tmp_path / "far.txt", {"up": [500.0]})
    (tmp_path / "lost.csv").write_text("file,start_s,end_s,label\nnowhere.wav,1,2,up\n")
    for name, expected in (
        ("empty.txt", "marks no call"), ("far.txt", "no usable call"),
        ("lost.csv", "no usable call"), ("missing.txt", "no such file"),
    ):  # fmt: skip
        assert job("night.wav", "--support", name) == 1
        error = capsys.readouterr().err
        assert expected in error, error
        assert "Traceback" not in error
    assert job("nowhere.wav", "--support", "far.txt") == 1
    assert "no such recording" in capsys.readouterr().err
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:2]})
    assert job("night.wav", "--support", "calls.txt", "arch.model.dropout=0.1") == 1
    assert "the checkpoint says it" in capsys.readouterr().err
    assert job("night.wav", "--support", "calls.txt", "detection.hopp=1") == 1
    assert "did you mean detection.hop" in capsys.readouterr().err
    assert job("night.wav", "--support", "calls.txt", "--format", "word") == 1
    assert "choose from" in capsys.readouterr().err


def test_what_is_wrong_with_all_of_a_support_is_told_before_the_work(job, tmp_path, capsys):
    head = "file,start_s,end_s,label,low_hz,high_hz\n"
    (tmp_path / "high.csv").write_text(f"{head}night.wav,1,1.3,up,50000,60000\n")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE * 3), RATE)
    (tmp_path / "silent.csv").write_text(f"{head}silent.wav,1,2,up,,\nsilent.wav,2,3,up,,\n")
    (tmp_path / "good.csv").write_text(f"{head}night.wav,1,1.3,up,,\n")
    for arguments, expected in (
        (["high.csv"], "error: row 2 (up, 1.000 to 1.300 s of night.wav): its band, 50000 to"),
        (["silent.csv"], "and 1 more: left out: "),
        (["silent.csv"], "silent.wav: is silent, every sample is the same"),
        (["good.csv", "detection.min_window_s=3"], "detection.min_window_s: must be at most max"),
        (["good.csv", "detection.snippets=-1"], "detection.snippets: must be at least 0"),
    ):
        assert job("night.wav", "--support", *arguments) == 1
        error = capsys.readouterr().err
        assert expected in error, error
        assert "corrupt" not in error


def test_the_support_is_diagnosed(job, tmp_path, capsys):
    starts = [1.0, 1.0001, 3.1, 5.3, 7.2]
    audacity(tmp_path / "calls.txt", {"up": starts})
    assert job("night.wav", "--support", "calls.txt", "detection.shots=6") == 0
    told = capsys.readouterr().err
    assert "same call" in told
    assert "has 5 of the 6 calls" in told
    # Five calls between the shots are not marked.
    audacity(tmp_path / "some.txt", {"up": [1.0, 9.4, 18.2]})
    assert job("night.wav", "--support", "some.txt", "-o", "some", arch="v1") == 0
    told = capsys.readouterr().err
    assert re.search(
        r"up: where nothing is marked it sounds like its shots [345] times \(at ", told
    )
    assert "can hardly be told" not in told


def test_boxes_restrict_the_band(job, tmp_path):
    lines = [f"{a}\t{a + 0.3}\tup\n\\\t500\t1900\n" for a in CALLS_S[:5]]
    (tmp_path / "boxes.txt").write_text("".join(lines))
    assert job("night.wav", "--support", "boxes.txt", "detection.pictures=false") == 0
    found = predictions(tmp_path / "found")
    assert overlap(found, CALLS_S[5:]) == 5
    assert overlap(found, OTHERS_S) == 0
    assert set(found["low_hz"]) == {500}


def test_detection_has_settings_of_its_own_in_an_old_checkpoint(checkpoints, tmp_path):
    from g5.config.stored import overridden

    stored = torch.load(checkpoints["v1"], weights_only=True)["g5"]["config"]
    old = {key: value for key, value in stored.items() if key != "detection"}
    assert (
        overridden(json.loads(json.dumps(old)), [], {}).plain()["detection"] == stored["detection"]
    )


def test_a_checkpoint_without_front_end_is_one_clear_line(checkpoints, job, tmp_path, capsys):
    content = torch.load(checkpoints["v1"], weights_only=True)
    del content["g5"]["front_end"]
    torch.save(content, tmp_path / "deaf.ckpt")
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    assert run_g5(["detect", "deaf.ckpt", "night.wav", "--support", "calls.txt"]) == 1
    error = capsys.readouterr().err
    assert "deaf.ckpt: a checkpoint without front_end" in error
    assert error.count("\n") == 1


def test_a_checkpoint_of_no_numbers_is_one_clear_line(checkpoints, job, tmp_path, capsys):
    content = torch.load(checkpoints["v1"], weights_only=True)
    next(iter(content["state_dict"].values()))[:] = float("nan")
    torch.save(content, tmp_path / "nan.ckpt")
    del content["g5"]["format"]
    torch.save(content, tmp_path / "odd.ckpt")
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    for name, expected in (("nan", "its weights are not finite"), ("odd", "but not of g5")):
        assert run_g5(["detect", f"{name}.ckpt", "night.wav", "--support", "calls.txt"]) == 1
        error = capsys.readouterr().err
        assert expected in error
        assert error.count("\n") == 1


def test_candidates_are_what_lower_thresholds_find(job, tmp_path, capsys):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    arguments = ["night.wav", "--support", "calls.txt", "detection.pictures=false"]
    assert job(*arguments) == 0
    found = predictions(tmp_path / "found")
    low = pd.read_csv(tmp_path / "found/candidates.csv")
    assert len(low) >= len(found)
    assert low["score"].min() >= 1 / (1 + np.exp(4.0)) - 1e-9
    assert set(found["score"].round(9)) <= set(low["score"].round(9))
    (tmp_path / "truth").mkdir()
    audacity(tmp_path / "truth/night.txt", {"up": CALLS_S})
    capsys.readouterr()
    assert run_g5(["evaluate", "found/predictions.csv", "truth"]) == 0
    assert "looks only above" not in capsys.readouterr().out
    (tmp_path / "found/candidates.csv").unlink()
    assert run_g5(["evaluate", "found/predictions.csv", "truth"]) == 0
    assert "looks only above" in capsys.readouterr().out


def test_output_is_identical_for_any_number_of_workers(job, tmp_path):
    audacity(tmp_path / "both.txt", {"up": CALLS_S[:5], "down": OTHERS_S[:3]})
    seen = []
    for workers in (1, 3):
        out = f"found{workers}"
        more = [f"detection.workers={workers}", f"path.root_dir=home{workers}"]
        assert job("night.wav", "--support", "both.txt", "-o", out, *more) == 0
        seen.append([(tmp_path / out / name).read_bytes()
                     for name in ("predictions.csv", "candidates.csv", "night.txt")])  # fmt: skip
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("seconds", "rate", "call_s", "more"),
    [
        (20.0, 22050, 0.005, []),
        (20.0, 4000, 0.3, []),
        (4.0, 500_000, 0.01, []),
        (4.0, 250_000, 0.03, ["detection.time_expansion=10"]),
        (400.0, 4000, 30.0, []),
    ],
)
def test_calls_of_any_length_at_any_rate(seconds, rate, call_s, more, job, tmp_path, night):
    """Clicks of 5 ms, songs of 30 s, elephants at 4 kHz, bats at 500 kHz."""
    t = np.arange(round(call_s * rate)) / rate
    top = min(rate / 5, 60_000)
    call = 0.5 * np.sin(2 * np.pi * (0.4 * top * t + 0.3 * top * t**2 / call_s))
    starts = np.linspace(0.05, 0.95, 8) * (seconds - call_s)
    samples: int = round(seconds * rate)
    x = 0.01 * np.random.default_rng(0).standard_normal(samples)
    for start in starts:
        first = round(start * rate)
        x[first : first + len(call)] += call
    soundfile.write(tmp_path / "x.wav", x, rate)
    audacity(tmp_path / "x.txt", {"up": starts[:5].tolist()}, call_s)
    more = [*more, "detection.pictures=false"]
    assert job("x.wav", "--support", "x.txt", *more, arch="v1") == 0
    found = predictions(tmp_path / "found")
    near = 0.01 if call_s < 0.05 else 0.0  # a frame of the front end
    assert overlap(found, (starts[5:] - near).tolist(), call_s + 2 * near) >= 2
    assert len(found) <= 12
    lengths = found["end_s"] - found["start_s"]
    assert 0.2 * call_s < lengths.median() < 2.5 * call_s
