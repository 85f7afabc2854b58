"""Clips: named, chosen, cut to the sample, and cut once."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from g5.field.picking import best, sampled
from preprocessing.annotations import read_events
from tests.conftest import run_g5

RATE = 8000


@pytest.fixture
def season(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sites with a recording of one name each, and a table of events in both."""
    monkeypatch.chdir(tmp_path)
    for number, site in enumerate(("north", "south")):
        folder = tmp_path / "recordings" / site
        folder.mkdir(parents=True)
        x_T = np.random.default_rng(number).uniform(-0.5, 0.5, 10 * RATE)
        soundfile.write(folder / "a.wav", x_T, RATE)
    rows = [
        ("north/a.wav", 1.0, 1.5, "Tit/Great: 1", 0.9, "north"),
        ("north/a.wav", 0.1, 0.4, "owl", 0.2, "north"),
        ("south/a.wav", 9.5, 9.9, "owl", 0.7, "south"),
        ("south/a.wav", 3.0, 3.5, "owl", 0.7, "south"),
    ]
    columns = ["file", "start_s", "end_s", "label", "score", "site"]
    pd.DataFrame(rows, columns=pd.Index(columns)).to_csv("events.csv", index=False)
    return tmp_path


def test_clips_are_named_cut_and_listed(season: Path, capsys):
    assert run_g5(["clips", "events.csv", "-o", "clips"]) == 0
    names = sorted(path.name for path in (season / "clips").glob("*.wav"))
    assert names == [
        "Tit-Great-1_0.900_north.wav", "owl_0.200_north.wav", "owl_0.700_south.wav",
        "owl_0.700_south_2.wav",
    ]  # fmt: skip
    whole, _ = soundfile.read("recordings/north/a.wav")
    clip, rate = soundfile.read("clips/Tit-Great-1_0.900_north.wav")
    assert rate == RATE
    np.testing.assert_array_equal(clip, whole[RATE // 2 : 2 * RATE])
    table = pd.read_csv("clips/clips.csv").set_index("clip")
    row = table.loc["owl_0.200_north.wav"]
    assert (row["clip_start_s"], row["start_s"], row["site"]) == (0.0, 0.1, "north")
    assert table.loc["owl_0.700_south_2.wav", "clip_s"] == pytest.approx(1.0)  # to the end
    inside, problems = read_events("clips/clips.selections.txt")
    assert not problems
    told = inside.set_index("file").loc["Tit-Great-1_0.900_north.wav"]
    assert (told["start_s"], told["end_s"]) == (0.5, 1.0)
    track, _ = read_events("clips/labels/owl_0.200_north.txt")
    assert track["label"].tolist() == ["owl"]


def test_what_is_there_is_not_cut_again_but_what_changed_is(season: Path, capsys):
    assert run_g5(["clips", "events.csv", "-o", "clips", "--top", "1"]) == 0
    kept = season / "clips" / "Tit-Great-1_0.900_north.wav"
    before = kept.stat().st_mtime_ns
    assert len(list((season / "clips").glob("*.wav"))) == 2
    capsys.readouterr()
    assert run_g5(["clips", "events.csv", "-o", "clips"]) == 0
    assert kept.stat().st_mtime_ns == before
    assert "4 clips (2 cut, 2 were there)" in capsys.readouterr().out
    kept.write_bytes(kept.read_bytes()[:20])
    assert run_g5(["clips", "events.csv", "-o", "clips", "clips.margin=0"]) == 0
    assert soundfile.info(kept).frames == RATE // 2


def test_what_cannot_be_cut_is_told_and_the_rest_is_cut(season: Path, capsys):
    with open("events.csv", "a") as out:
        out.write("south/a.wav,20,21,owl,0.5,south\nnowhere.wav,1,2,owl,0.5,south\n")
    assert run_g5(["clips", "events.csv", "-o", "clips"]) == 1
    text = capsys.readouterr().out
    assert "events.csv, row 7: no one recording nowhere.wav is there" in text
    assert "row 6: cannot be cut" in text
    assert len(list((season / "clips").glob("*.wav"))) == 4


def test_top_wants_scores(season: Path, capsys):
    Path("few.txt").write_text("1\t2\towl\n")
    assert run_g5(["clips", "few.txt", "-o", "clips", "--top", "2"]) == 1
    assert "has no column of scores" in capsys.readouterr().err


def many(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "label": rng.choice(["owl", "tit"], n), "score": rng.uniform(0, 1, n),
        "site": rng.choice(["a", "b", "rare"], n, p=[0.6, 0.38, 0.02]),
    })  # fmt: skip


def test_a_sample_has_every_site_and_its_weights_add_up():
    events: Any = many()
    picked: Any = sampled(events, 40, bins=4, seed=1)
    assert picked["label"].value_counts().to_dict() == {"owl": 40, "tit": 40}
    assert set(picked["site"]) == {"a", "b", "rare"}
    for _, rows in picked.groupby("label"):
        low = (rows["score"] < 0.5).mean()
        assert 0.3 < low < 0.7
    everything: Any = sampled(events, 1000, bins=4, seed=1)
    assert len(everything) == len(events)
    assert (everything["weight"] == 1).all()
    strata = picked.groupby("label")["weight"].sum()
    # A stratum without a draw, of which there are few, is represented by none.
    assert (strata - events["label"].value_counts()).abs().max() <= 20
    assert sampled(events, 40, bins=4, seed=1).equals(picked)


def test_best_are_of_each_label():
    picked: Any = best(many(), 3)
    assert picked["label"].value_counts().to_dict() == {"owl": 3, "tit": 3}
    assert picked.loc[picked["label"] == "owl", "score"].min() > 0.95
