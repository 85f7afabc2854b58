"""The season of experiments/season, smaller: activity, effort and every recording come back."""

from dataclasses import replace

import pandas as pd

from experiments.season.made import season
from experiments.season.sound import fmeasure, write_sound
from experiments.season.told import compared, summary_of


def test_a_season_comes_back(tmp_path):
    made = season(5, 21, 60, faults=True, seed=1)
    found = made.write(tmp_path / "found")
    table = compared(made, summary_of(made, found, tmp_path / "summary"))
    assert table["minutes"].tolist() == [504, 504, 504, 504, 378]
    assert table["told"].tolist() == table["minutes"].tolist()
    assert table["told so"].tolist() == table["without a start"].tolist() == [0, 0, 0, 168, 0]
    assert (table["rank correlation of hours"].to_numpy(float) > 0.9).all()


def test_sound_has_the_calls_that_are_told(tmp_path):
    """Five of the first recording with so many are the shots, and all others are to be found."""
    made = season(1, 1, 480, faults=False, seed=1)
    made = replace(made, recordings=made.recordings.assign(calls=[0, 7, 3]))
    shots, truth = write_sound(made, tmp_path / "rec", seed=1)
    assert len(pd.read_csv(shots)) == 5
    assert truth.events["name"].value_counts().tolist() == [3, 2]
    assert len(truth.subset_of) == 3
    assert len(list((tmp_path / "rec").rglob("*.flac"))) == 3
    again, same = write_sound(made, tmp_path / "rec", seed=1)  # what is there is gone on with
    assert again == shots
    assert same.events["start_s"].tolist() == truth.events["start_s"].tolist()
    found = truth.events.assign(support=False)
    found.to_csv(tmp_path / "all.csv", index=False)
    assert fmeasure(tmp_path / "all.csv", truth) == 1
    found.assign(start_s=found["end_s"], end_s=found["end_s"] + 0.1).to_csv(tmp_path / "no.csv")
    assert fmeasure(tmp_path / "no.csv", truth) < 0.01
