"""A set of DCASE's layout, made here, from its folders to the official table."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from experiments.dcase.__main__ import main
from g5.common.errors import UserError

HEAD = "Audiofilename,Starttime,Endtime,Q\n"


def recording(
    path: Path, seconds: float, rate_hz: int, starts_s: list[float], call_s: float, hz: float
) -> None:
    """Noise with rising calls, and its table; the last call is UNK."""
    rng = np.random.default_rng(len(path.stem))
    x = 0.01 * rng.standard_normal(round(seconds * rate_hz))
    t = np.arange(round(call_s * rate_hz)) / rate_hz
    call = 0.5 * np.sin(2 * np.pi * (hz * t + hz * t**2 / call_s / 4)) * np.hanning(len(t)) ** 0.25
    for start in starts_s:
        first = round(start * rate_hz)
        x[first : first + len(call)] += call
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, rate_hz, subtype="PCM_16")
    status = ["POS"] * (len(starts_s) - 1) + ["UNK"]
    rows = [f"{path.name},{a},{a + call_s},{s}\n" for a, s in zip(starts_s, status, strict=True)]
    path.with_suffix(".csv").write_text(HEAD + "".join(rows))


@pytest.fixture(scope="module")
def validation_set(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("dcase") / "Validation_Set"
    recording(root / "HB" / "hb1.wav", 120, 8000, [3 + 6.5 * i for i in range(17)], 0.8, 700)
    recording(root / "ME" / "me1.wav", 2, 44100, [0.1 + 0.2 * i for i in range(9)], 0.06, 2000)
    recording(root / "PB24" / "bat.wav", 3, 250000, [0.2 + 0.25 * i for i in range(10)], 0.02, 4e4)
    recording(root / "RD" / "few.wav", 4, 16000, [0.5, 1.5, 2.5], 0.2, 1500)
    soundfile.write(root / "RD" / "silent.wav", np.zeros(16000), 16000)
    (root / "RD" / "silent.csv").write_text(
        HEAD + "".join(f"silent.wav,{i / 10},{i / 10 + 0.05},POS\n" for i in range(8))
    )
    soundfile.write(root / "RD" / "none.wav", np.zeros(16000), 16000)
    (root / "RD" / "none.csv").write_text(HEAD)
    return root


def test_every_subset_has_a_row_and_what_cannot_be_searched_costs_nothing_else(
    validation_set, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    main([f"path.eval_dir={validation_set}"])
    out, err = capsys.readouterr()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in out.splitlines()}
    assert [rows[name][1] for name in ("HB", "ME", "PB24", "RD")] == ["1", "1", "1", "3"]
    # Of 17 calls one is UNK and five are support.
    assert rows["HB"][2] == "11"
    assert float(rows["HB"][5]) > 80
    assert rows["baseline of 2024 (its README)"][3].startswith("52.14")
    assert "silent.wav" in err
    assert "few" in err
    assert (tmp_path / "outputs" / "dcase" / "predictions.csv").is_file()


def test_a_set_that_is_not_said_or_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="g5 data fetch dcase2024"):
        main([])
    with pytest.raises(UserError, match="no such"):
        main([f"path.eval_dir={tmp_path / 'gone'}"])
