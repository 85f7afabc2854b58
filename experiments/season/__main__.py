"""`python -m experiments.season [full | detect [SPECIES]]`: the tables of the README."""

import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd

from experiments.season.made import CHANGE, ZONE, MadeSeason, season
from experiments.season.sound import fmeasure, write_sound
from g5.config.settings import load_transfer
from g5.detection.job.request import DetectionRequest, detection_settings
from g5.detection.job.run import detect
from g5.evaluation.events.ground_truth import PREDICTIONS
from g5.field.summarise import summarise
from preprocessing.recorders.starts import Clues

# Of `detect`, where none is named.
SPECIES = (0, 1, 2)


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


def full() -> None:
    """20 recorders, 60 days, a minute every ten; a million events."""
    made = season(20, 60, 10, faults=True, seed=0)
    made = replace(made, found=made.found.sample(1_000_000, random_state=0))
    with tempfile.TemporaryDirectory() as folder:
        found = made.write(Path(folder) / "found")
        begin, used = time.perf_counter(), time.process_time()
        summary_of(made, found, Path(folder) / "summary")
        wall, core = time.perf_counter() - begin, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    size = f"{len(made.recordings):,} recordings, {len(made.found):,} events"
    print(f"{size}: {wall:.0f} s, {core:.0f} s of one core, at most {peak:.2f} GB")


def heard(species: int, folder: Path) -> pd.DataFrame:
    """Two recorders for four days around the change, searched by five calls; ``F`` beside."""
    made = season(2, 4, 60, faults=False, seed=species, first=CHANGE - timedelta(days=2))
    shots, truth = write_sound(made, folder / "recordings", seed=species)
    found = folder / "found"
    sites = made.write_sites(folder / "sites.csv")
    clues = Clues(zone=ZONE, clock="UTC", deployments=sites)
    request = DetectionRequest("default", folder / "recordings", shots, found, clues=clues)
    detect(request, detection_settings(["detection.pictures=false"]))
    sites.replace(found / sites.name)
    out = summary_of(made, found, folder / "summary")
    return compared(made, out).assign(species=species, F=fmeasure(found / PREDICTIONS, truth))


def main() -> None:
    asked, *numbers = [*sys.argv[1:], ""]
    if asked == "full":
        full()
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if asked == "detect":
            each = [int(number) for number in numbers if number] or SPECIES
            tables = [heard(one, folder / str(one)) for one in each]
            print(pd.concat(tables).to_string(index=False))
            return
        made = season(5, 28, 60, faults=True, seed=0)
        summary = summary_of(made, made.write(folder / "found"), folder / "summary")
        print(compared(made, summary).to_string(index=False))


if __name__ == "__main__":
    main()
