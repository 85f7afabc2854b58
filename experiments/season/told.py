"""What a summary tells of a season, beside what there was."""

from pathlib import Path

import pandas as pd

from experiments.season.made import ZONE, MadeSeason
from g5.config.settings import load_transfer
from g5.field.summarise import summarise
from preprocessing.recorders.starts import Clues


def summary_of(made: MadeSeason, found: Path, out: Path) -> Path:
    """The folder of a season's summary."""
    clues = Clues(zone=ZONE, clock="UTC", deployments=found / "sites.csv")
    summarise(found, out, clues, load_transfer(reads=()).review, occasion=1)
    return out


def compared(made: MadeSeason, out: Path) -> pd.DataFrame:
    """A row a recorder: minutes there are and minutes told, and how well its hours are ranked."""
    hours = pd.read_csv(out / "hours_of_day.csv")
    told = pd.read_csv(out / "recorders.csv").set_index("recorder")
    rows = []
    for name, part in made.recordings.groupby("recorder"):
        dated = part.dropna(subset=["local"])
        true = pd.Series(dated.groupby(dated["local"].dt.hour)["calls"].mean())
        own = hours.loc[hours["recorder"] == name]
        found = dict(zip(own["hour"], own["calls_per_hour"], strict=True))
        ranks = pd.DataFrame({"true": true, "found": [found[hour] for hour in true.index]})
        rows.append({
            "recorder": name, "minutes": len(part), "told": told["recorded_min"][name],
            "without a start": len(part) - len(dated), "told so": told["undated_min"][name],
            "rank correlation of hours": ranks.corr("spearman").to_numpy()[0, 1],
        })  # fmt: skip
    return pd.DataFrame(rows)
