"""`g5 capacity`: train one architecture at several widths, and draw error over width."""

import copy
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.config.changes import OF_A_RUN
from g5.config.compose import composed, resolve
from g5.config.parts import data_of, feature_set_of, root_of
from g5.config.validate import validate
from g5.evaluation.episodes.scoring import embed_plan, evaluate_episodes
from g5.evaluation.figures import capacity_curve
from g5.evaluation.figures.curves import capacity_told
from g5.evaluation.intervals import Interval
from g5.runs.train import run
from g5.tracking.checkpoints import BEST
from g5.tracking.folders import RunFolder
from g5.tracking.record import how_to_open, recording
from g5.tracking.restore import Restored, restore
from g5.training.setup import device_of
from preprocessing.episodes.plans import plan_clips
from preprocessing.episodes.sampling import EpisodeSampler

MULTIPLE = 8  # of channels: what heads and vector units divide by


def capacity(arch: str, widths: str, overrides: Sequence[str]) -> Path:
    """Train, test and draw; widths that were done before are not done again.

    Args:
        arch: of `conf/arch/`, with `arch.model.channels`.
        widths: factors on the channels, with commas.
        overrides: of the training.

    Returns:
        The figure.

    Raises:
        UserError: no usable widths, an architecture without channels, or a run that fails.
    """
    factors = _factors(widths)
    base = resolve(composed([f"arch={arch}", *overrides]))
    base |= {"train": True, "test": True, "resume": True}
    configs = [(factor, _scaled(base, factor)) for factor in factors]
    for _, config in configs:
        validate(config)
    folder = RunFolder(root_of(base) / "outputs" / base["name"] / f"{base['exp_name']}_capacity")
    file = folder.path / "capacity.csv"
    rows = _rows(file)
    for factor, config in configs:
        key = _key(config)
        if key not in rows:
            print(f"\nwidth {factor:g}: channels {config['arch']['model']['channels']}", flush=True)
            rows[key] = _measured(factor, config)
            with atomic_path(file) as temporary:
                table = pd.DataFrame([{"key": key, **row} for key, row in rows.items()])
                table.to_csv(temporary, index=False)
    table = pd.DataFrame([rows[_key(config)] for _, config in configs])
    return _drawn(base, folder, table.drop_duplicates("channels"))


def _factors(widths: str) -> list[float]:
    try:
        factors = sorted({float(text) for text in widths.split(",")})
    except ValueError:
        factors = []
    if not factors or not all(math.isfinite(factor) and factor > 0 for factor in factors):
        raise UserError(f"--widths {widths}: give factors above 0 with commas, as in 0.25,0.5,1,2")
    return factors


def _scaled(base: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """The configuration at another width, with a run of its own."""
    config = copy.deepcopy(dict(base))
    model = config["arch"]["model"]
    if not isinstance(model.get("channels"), list):
        raise UserError(f"{config['arch']['name']} has no arch.model.channels to make wider")
    model["channels"] = [max(1, round(c * factor / MULTIPLE)) * MULTIPLE for c in model["channels"]]
    config["exp_name"] = f"{base['exp_name']}_x{factor:g}"
    return config


def _key(config: Mapping[str, Any]) -> str:
    """Eight hex digits for what decides the result of a run."""
    facts: list[Any] = []
    for where in OF_A_RUN:
        node: Any = config
        for part in where.split("."):
            node = node[part]
        facts.append(node)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def _rows(file: Path) -> dict[str, dict[str, Any]]:
    """What earlier calls measured, by the key of the run."""
    if not file.exists():
        return {}
    try:
        table = pd.read_csv(file, dtype={"key": str}).to_dict("records")
        return {str(row.pop("key")): {str(k): v for k, v in row.items()} for row in table}
    except (ValueError, KeyError) as error:
        raise UserError(f"{file}: not what g5 capacity writes ({error}); remove it") from error


def _measured(factor: float, config: dict[str, Any]) -> dict[str, Any]:
    """Train and test one width, and test it on the training classes as well."""
    result = run(config)
    assert result is not None
    path = root_of(config) / "outputs" / config["name"] / config["exp_name"] / "checkpoints" / BEST
    restored = restore(path)
    train = _on_training_classes(config, restored)
    row: dict[str, Any] = {
        "width": factor,
        "channels": " ".join(map(str, config["arch"]["model"]["channels"])),
        "parameters": sum(p.numel() for p in restored.model.parameters()),
    }
    for name, interval in (("train", train), ("test", result.interval)):
        row[f"{name}_error"] = 1 - interval.mean
        row[f"{name}_low"], row[f"{name}_high"] = 1 - interval.high, 1 - interval.low
    return row


def _on_training_classes(config: Mapping[str, Any], restored: Restored) -> Interval:
    """Accuracy in as many episodes of the training classes, under the same protocol."""
    episodes = config["arch"]["episodes"]
    corpus = data_of(config).load()
    reader = feature_set_of(config, corpus, restored.front_end).reader("train")
    size = {key: episodes[key] for key in ("n_way", "k_shot", "n_query", "cross_source")}
    sampler = EpisodeSampler(
        corpus.split("train"), seed=config["seed"], split="train", clips=reader, **size
    )
    plan = plan_clips(sampler.episodes(0, episodes["test_episodes"]))
    z_PD = embed_plan(
        restored.model,
        restored.normalize,
        plan,
        reader,
        batch_size=size["n_way"] * (size["k_shot"] + size["n_query"]),
        device=device_of(config),
    )
    return evaluate_episodes(restored.model, z_PD, plan, corpus.labels("train")).interval


def _drawn(base: Mapping[str, Any], folder: RunFolder, table: pd.DataFrame) -> Path:
    """The figure, in MLflow as well, and what it says."""
    episodes, arch = base["arch"]["episodes"], base["arch"]["name"]
    title = f"{arch}: error over width, {episodes['n_way']}-way {episodes['k_shot']}-shot"
    path = capacity_curve(table, folder.figures / "capacity.png", title=title)
    places = {"numbers": str(folder.path / "capacity.csv"), "figure": str(path)}
    config = {**base, "train": False, "exp_name": folder.path.name}
    with recording(
        config, folder, data_of(base).load(), name=folder.path.name, resume=True
    ) as logger:
        if logger is not None:
            logger.log_artifact(folder.path / "capacity.csv")
            logger.log_artifact(path, "figures")
            places["MLflow"] = how_to_open(logger)
    print(f"\n{title}\n")
    for row in table.to_dict("records"):
        print(
            f"  x{row['width']:<5g} {row['parameters']:>12,} parameters   training classes "
            f"{row['train_error']:6.1%}   test classes {row['test_error']:6.1%}"
        )
    print(f"\n{capacity_told(table)}\n")
    for name, where in places.items():
        print(f"{name:<8} {where}")
    return path
