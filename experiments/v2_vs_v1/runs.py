"""The trainings: which recipes there are, and their runs, resumed and timed."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g5.common.atomic import atomic_path
from g5.config.compose import composed, resolve
from g5.config.parts import root_of
from g5.runs.train import run
from g5.tracking.checkpoints import BEST

SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: an architecture's YAML and what is changed of it.

    Attributes:
        name: of its runs, with the seed.
        arch: v1 or v2.
        changes: overrides on top of ``arch=... experiment=v2_vs_v1``.
        says: what it is, in a table.
    """

    name: str
    arch: str
    changes: tuple[str, ...]
    says: str


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: of the run.
        cpu_min: CPU minutes of the training, validation included.
    """

    folder: Path
    cpu_min: float

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch that procedural validation liked best."""
        return self.folder / "checkpoints" / BEST

    def epoch(self, number: int) -> Path:
        """The checkpoint of an epoch, from 1."""
        (path,) = (self.folder / "checkpoints").glob(f"epoch_{number:03d}_*.ckpt")
        return path


# Both see 600 batches of 100 clips.
V1 = Recipe("v1", "v1", (), "v1")
V2 = Recipe("v2", "v2", (), "v2")
# An epoch of v1 takes half the CPU time of one of v2.
V1_LONG = Recipe("v1_long", "v1", ("arch.training.max_epochs=24",), "v1, twice as many batches")


def config_of(recipe: Recipe, seed: int, arguments: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration of a run."""
    name = f"exp_name={recipe.name}_seed{seed}"
    overrides = [f"arch={recipe.arch}", "experiment=v2_vs_v1", f"seed={seed}", name, "resume=true"]
    return resolve(composed([*overrides, *recipe.changes, *arguments]))


def trained(recipe: Recipe, seed: int, arguments: Sequence[str]) -> Run:
    """Train, or go on with a training that was stopped, or take what is finished."""
    config = config_of(recipe, seed, arguments)
    folder = root_of(config) / "outputs" / config["name"] / config["exp_name"]
    clock = folder / "cpu_min.json"
    if not clock.is_file():
        start = time.process_time()
        run(config)
        with atomic_path(clock) as temporary:
            temporary.write_text(json.dumps((time.process_time() - start) / 60))
    return Run(folder, json.loads(clock.read_text()))
