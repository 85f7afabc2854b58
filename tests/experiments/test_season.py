"""The season of experiments/season, smaller: activity, effort and every recording come back."""

from experiments.season.__main__ import compared, summary_of
from experiments.season.made import season


def test_a_season_comes_back(tmp_path):
    made = season(5, 21, 60, faults=True, seed=1)
    found = made.write(tmp_path / "found")
    table = compared(made, summary_of(made, found, tmp_path / "summary"))
    assert table["minutes"].tolist() == [504, 504, 504, 504, 336]
    assert table["told"].tolist() == table["minutes"].tolist()
    assert table["told so"].tolist() == table["without a start"].tolist() == [0, 0, 0, 168, 0]
    assert (table["rank correlation of hours"].to_numpy(float) > 0.9).all()
