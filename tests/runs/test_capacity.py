"""`g5 capacity`: widths are trained once, and what was finished is kept."""

import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.runs import capacity as job
from tests.conftest import run_g5

FAST = ["debug=fast", "logger=none", "arch.training.max_epochs=1"]


def fake(factor, settings):
    return {
        "width": factor,
        "channels": " ".join(map(str, settings.arch.model.values["channels"])),
        "parameters": int(1000 * factor**2),
        "train_error": 0.3, "train_low": 0.28, "train_high": 0.32,
        "test_error": 0.5, "test_low": 0.48, "test_high": 0.52,
    }  # fmt: skip


@pytest.mark.usefixtures("drawn_figures")
def test_widths_are_trained_tested_and_drawn_once(place, capsys, monkeypatch):
    command = ["capacity", "v1", "--widths", "0.125,0.25", *FAST]
    assert run_g5(command) == 0
    folder = place / "outputs" / "protonet_baseline" / "v1_debug_capacity"
    assert (folder / "figures" / "capacity.png").stat().st_size > 1000
    table = pd.read_csv(folder / "capacity.csv")
    assert table["width"].tolist() == [0.125, 0.25]
    assert table["channels"].tolist() == ["8 104", "16 208"]
    small, large = table["parameters"].tolist()
    assert small < large
    for kind in ("train", "test"):
        names = [f"{kind}_{name}" for name in ("low", "error", "high")]
        for low, error, high in table[names].to_numpy().tolist():
            assert 0 <= low <= error <= high <= 1
    text = capsys.readouterr().out
    assert "least test error" in text
    assert str(folder / "capacity.csv") in text
    # Nothing is left to do.
    monkeypatch.setattr(job, "run", None)
    assert run_g5(command) == 0
    assert "x0.125" in capsys.readouterr().out


def test_a_stopped_command_keeps_what_was_finished(place, monkeypatch):
    asked = []

    def stopping(factor, config):
        asked.append(factor)
        if factor == 1.0 and asked.count(1.0) == 1:
            raise KeyboardInterrupt
        return fake(factor, config)

    monkeypatch.setattr(job, "_measured", stopping)
    command = ["capacity", "v2", "--widths", "1,0.5", *FAST]
    assert run_g5(command) == 130
    assert run_g5(command) == 0
    assert asked == [0.5, 1.0, 1.0]
    # Another setting is another run.
    assert run_g5([*command, "seed=3"]) == 0
    assert asked[3:] == [0.5, 1.0]


def test_widths_that_an_earlier_g5_measured_are_not_measured_again(place, monkeypatch):
    monkeypatch.setattr(job, "_measured", fake)
    command = ["capacity", "v1", "--widths", "0.5,1", *FAST]
    monkeypatch.setattr(job, "_key", job._earlier_key)
    assert run_g5(command) == 0
    monkeypatch.undo()
    monkeypatch.chdir(place)
    monkeypatch.setattr(job, "_measured", None)
    assert run_g5(command) == 0


@pytest.mark.parametrize("widths", ["", "a", "0", "-1", "1,,2", "inf", "nan"])
def test_bad_widths_are_one_clear_line(place, widths):
    with pytest.raises(UserError, match="give factors above 0"):
        job.capacity("v1", widths, FAST)


def test_damaged_numbers_are_told(place):
    folder = place / "outputs" / "protonet_baseline" / "v1_debug_capacity"
    folder.mkdir(parents=True)
    for text in ("", "a,b\n1,2\n"):
        (folder / "capacity.csv").write_text(text)
        with pytest.raises(UserError, match=r"capacity\.csv: not what g5 capacity writes"):
            job.capacity("v1", "1", FAST)
