"""How many labels active learning saves on FSDD, and who is speaking: equal error rates.

    python -m experiments.transfer.active path.real_dir=DIR encoder=CKPT [seeds=5]

FSDD's 60 labels (6 speakers x 10 digits) on the frozen encoder of a checkpoint trained on
procedural species only. See README.md beside this file for what DIR holds.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from evaluation.intervals import Interval
from experiments import run_as_command
from jobs.label import curve_text
from preprocessing import audio
from preprocessing.errors import UserError
from preprocessing.progress import track
from tracking.restore import restore
from transfer.projection import Whitening
from transfer.settings import Simulate, section
from transfer.simulate import Material, curve_table, labels_needed, seed_interval, simulate
from transfer.strategies import unit
from transfer.verification import verification, verification_pairs

ROUNDS = range(60, 601, 30)
# Half a second is the median length of these recordings.
CLIP_S = 0.5
PAIRS = 5000


def embed(checkpoint: str, files: Sequence[Path]) -> np.ndarray:
    """The middle `CLIP_S` of every recording, (N, D)."""
    restored = restore(checkpoint)
    size, waves, out = round(CLIP_S * restored.front_end.sr), [], []
    for file in track(files, total=len(files), label="reading", unit="recordings"):
        x_T = audio.read(file, rate_hz=restored.front_end.sr)
        skip = max(0, len(x_T) - size) // 2
        x_T = x_T[skip : skip + size]
        waves.append(np.pad(x_T, (0, size - len(x_T))))
    for start in range(0, len(waves), 128):
        out.append(restored.embed(torch.from_numpy(np.stack(waves[start : start + 128]))).numpy())
    return np.concatenate(out)


def main(arguments: Sequence[str]) -> None:
    """Print accuracy by number of labels, the labels each strategy needs, and error rates."""
    given: dict[str, str] = dict(text.split("=", 1) for text in arguments if "=" in text)
    real = given.get("path.real_dir") or os.environ.get("G5_REAL_DATA")
    if not real or not (Path(real) / "fsdd" / "clips.csv").is_file():
        raise UserError("path.real_dir: say where fsdd/clips.csv lies, or set G5_REAL_DATA")
    if "encoder" not in given:
        raise UserError("encoder=CKPT: a checkpoint of g5 train v1 experiment=real_clips")
    table = pd.read_csv(Path(real) / "fsdd" / "clips.csv")
    z_ND = embed(given["encoder"], [Path(real) / "fsdd" / file for file in table["file"]])
    config = section("simulate", Simulate, [])
    seeds = int(given["seeds"]) if "seeds" in given else config["seeds"]
    active(z_ND, table, config, seeds)
    speakers(z_ND, table)


def active(z_ND: np.ndarray, table: pd.DataFrame, config: dict[str, Any], seeds: int) -> None:
    """Every strategy from 60 to 600 labels."""
    z_ND = Whitening(z_ND, config["components"])(z_ND)
    files = table["file"].to_numpy().astype(str)
    material = Material(z_ND, table["label"].to_numpy().astype(str), files)
    results = simulate(
        material, strategies=config["strategies"], rounds=list(ROUNDS), seeds=seeds,
        test_share=config["test_share"], seconds_per_label=config["seconds_per_label"],
        regularisation=config["regularisation"],
    )  # fmt: skip
    print(curve_text(curve_table(results), list(ROUNDS)))
    final = results[(results["strategy"] == "random") & (results["labels"] == ROUNDS[-1])]
    aims = final.set_index("seed")["accuracy"].to_dict()
    print(f"\nlabels that reach random's accuracy at {ROUNDS[-1]}, mean of {seeds} seeds")
    for name in config["strategies"]:
        needed = np.array(list(labels_needed(results, name, aims.__getitem__).values()))
        if not np.isfinite(needed).all():
            print(f"  {name:<17} not reached by all seeds")
            continue
        share = seed_interval(needed / ROUNDS[-1])
        print(f"  {name:<17} {needed.mean():5.0f} = {_percent(share)}")


def speakers(z_ND: np.ndarray, table: pd.DataFrame) -> None:
    """Equal error rate of `PAIRS` pairs of one speaker against pairs of two, digits mixed."""
    pairs = verification_pairs(
        table["speaker"].tolist(), n=PAIRS, seed=0, sources=table["file"].tolist()
    )
    print(f"\nspeaker verification, {PAIRS} + {PAIRS} pairs, equal error rate (chance 50 %)")
    for name, vectors in (("cosine", unit(z_ND)), ("cosine, whitened", Whitening(z_ND, 100)(z_ND))):
        print(f"  {name:<17} {_percent(verification(vectors, pairs, seed=0))}")


def _percent(interval: Interval) -> str:
    return f"{interval.mean:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


if __name__ == "__main__":
    run_as_command(main)
