"""Train v1 and v2 on procedural species, test them on ESC-10 and FSDD, print the table.

    python -m experiments.real_clips path.real_dir=DIR [key=value ...]

See README.md beside this file for what DIR holds. Runs are resumed: a second call only tests.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from experiments import run_as_command
from g5.common.errors import UserError
from g5.config.compose import composed, resolve
from g5.evaluation.episodes.result import TestResult
from g5.runs.test import evaluate_checkpoint
from g5.runs.train import run

ENVIRONMENT = "G5_REAL_DATA"
ARCHS = ("v1", "v2")


@dataclass(frozen=True)
class RealSet:
    """One set of real clips and its protocol."""

    name: str
    table: str
    overrides: tuple[str, ...]


SETS = (
    RealSet(
        "ESC-10",
        "esc10/clips.csv",
        # Whole clips: the sound may be anywhere in the five seconds.
        ("arch.episodes.n_way=5", "arch.episodes.k_shot=5", "features.clip_s=5.0"),
    ),
    RealSet(
        "FSDD",
        "fsdd/clips.csv",
        # Half a second is the median length of these recordings.
        ("arch.episodes.n_way=60", "arch.episodes.k_shot=1", "features.clip_s=0.5"),
    ),
)


def real_dir(config: dict[str, Any]) -> Path:
    """Where the real recordings lie: `path.real_dir`, else the environment's."""
    given = config["path"]["real_dir"] or os.environ.get(ENVIRONMENT)
    if not given:
        raise UserError(
            f"path.real_dir: say where ESC-10 and FSDD lie, or set {ENVIRONMENT}; "
            "experiments/real_clips/README.md says where to get them"
        )
    missing = [real.table for real in SETS if not (Path(given) / real.table).is_file()]
    if missing:
        raise UserError(f"path.real_dir={given}: has no {' and no '.join(missing)}")
    return Path(given)


def main(arguments: Sequence[str]) -> None:
    """Train what is not trained yet, test, and print a Markdown table."""
    config = resolve(composed(["experiment=real_clips", *arguments]))
    real = real_dir(config)
    results: dict[tuple[str, str], TestResult] = {}
    for arch in ARCHS:
        overrides = [f"arch={arch}", "experiment=real_clips", "resume=true", *arguments]
        run(resolve(composed(overrides)))
        folder = Path(config["path"]["root_dir"], "outputs", "real_clips", f"{arch}_run")
        for real_set in SETS:
            results[real_set.name, arch] = evaluate_checkpoint(
                folder / "checkpoints" / "best_checkpoint.ckpt",
                ["data=clips", "data.split=test", *real_set.overrides],
                values={"data.root": str(real / real_set.table)},
            )
    print(table(results, config))


def table(results: dict[tuple[str, str], TestResult], config: dict[str, Any]) -> str:
    """The results as Markdown, one row per set."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    training = config["arch"]["episodes"]["episodes_per_epoch"], config["arch"]["training"]
    lines = [
        "",
        f"{date.today()}, {platform.machine()}, {torch.get_num_threads()} threads, {device}; "
        f"{training[1]['max_epochs']} epochs of {training[0]} episodes, seed {config['seed']}",
        "",
        f"| set | chance | best raw features | {' | '.join(ARCHS)} |",
        f"| --- | ---: | ---: | {' | '.join('---:' for _ in ARCHS)} |",
    ]
    for real_set in SETS:
        of_set = [results[real_set.name, arch] for arch in ARCHS]
        raw = of_set[0].raw_best
        facts = of_set[0].protocol
        numbers = " | ".join(percent(result.interval) for result in of_set)
        lines.append(
            f"| {real_set.name}, {facts.n_way}-way {facts.k_shot}-shot | {of_set[0].chance:.1%} "
            f"| {percent(raw.interval)} ({raw.name}) | {numbers} |"
        )
    return "\n".join(lines)


def percent(interval: Any) -> str:
    """``71.3 ± 0.5 %``."""
    return f"{100 * interval.mean:.1f} ± {100 * interval.half_width:.1f} %"


if __name__ == "__main__":
    run_as_command(main)
