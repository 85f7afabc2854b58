"""The model card of a pretrained encoder (after Mitchell et al., "Model Cards", FAT* 2019)."""

import platform
from collections.abc import Mapping
from typing import Any

import yaml

from g5 import __version__
from g5.common.revision import git_revision
from g5.config.settings import Settings

FRONT_MATTER = {
    "library_name": "g5",
    "license": "mit",
    "pipeline_tag": "audio-classification",
    "tags": ["bioacoustics", "few-shot", "prototypical-network", "procedural-data"],
}


def card(
    settings: Settings, made_by: Mapping[str, Any], point: Mapping[str, str], parameters: int,
    before: Mapping[str, Any] | None,
) -> str:  # fmt: skip
    """Markdown.

    Args:
        settings: model and front end.
        made_by: the settings of conf/pretrain.yaml.
        point: the last of the curve; what comes after ``acc`` are accuracies.
        parameters: of the model.
        before: what its first weights were made by: ``revision``, and ``pretrain`` as ``made_by``.
    """
    front, model = settings.features.front_end.values, settings.arch.model.values
    world, pool = made_by["world"], made_by["pool"]
    species = int(pool["slots"] + int(point["step"]) * pool["renewed"])
    return f"""---
{yaml.safe_dump(FRONT_MATTER, sort_keys=False)}---

# An encoder of animal sound that has never heard an animal

It turns clips into {model["embedding_dim"]} numbers by which a few examples of a sound find others.
{settings.arch.name}, {parameters / 1e6:.2f} million parameters, saved in fp16.

## Data

Nothing was recorded. Some {species:,} species, their individuals, backgrounds, places and
recorders were invented by rule (`preprocessing/synthetic`, seed {world["seed"]}), mixed anew at
every step.

## Training

{_training(point, before)}

## Accuracy on procedural sets that it was not trained on

| set | accuracy |
|---|---:|
{_accuracies(point)}

On real sound: experiments/rivals in g5's repository.

## Intended use

As an encoder in `g5 detect`, `g5 embed` and `g5 test`, where a few examples of each sound are at
hand. A person should check what decisions are made on.

## Limits

- It hears {front["fmin"]:g} to {front["fmax"]:g} Hz: bats only when slowed down.
- No real species was heard: test it on recordings of yours before you rely on it.
- Part of an embedding is how a voice sounds through its recorder. It helps to tell individuals
  apart, and counts little where the recorders differ.

```sh
g5 test default data=clips path.train_dir=clips.csv data.split=test
```
"""


def _training(point: Mapping[str, str], before: Mapping[str, Any] | None) -> str:
    """How long it was trained, by what, for what, and what it began with."""
    steps, hours = int(point["step"]), float(point["seconds"]) / 3600
    return f"""\
`g5 pretrain`: {steps:,} steps, {hours:.1f} hours on {platform.machine()}; g5 {__version__},
revision {git_revision() or "unknown"}. Clips of a species are to be alike whoever calls,
wherever, through whatever recorder; takes of one individual through one recorder, in their mean
spectrum.{_before(before)}"""


def _before(before: Mapping[str, Any] | None) -> str:
    """What a training began with, and what that had begun with."""
    if before is None:
        return ""
    made_by, revision = before["pretrain"], before["revision"] or "unknown"
    if made_by is None:
        return f"\n\nIt began with the weights of a checkpoint of revision {revision}."
    return (
        f"{_before(made_by.get('begun_with'))}\n\nIt began with the weights of "
        f"{made_by['recipe']['steps']:,} steps in world {made_by['world']['seed']}, clips of at "
        f"most {max(made_by['recipe']['clip_s']):g} s\n(revision {revision})."
    )


def _accuracies(point: Mapping[str, str]) -> str:
    """Rows of a table, from what comes after ``acc``."""
    accuracies = list(point.items())[list(point).index("acc") + 1 :]
    return "\n".join(f"| {name} | {float(value):.1%} |" for name, value in accuracies)
