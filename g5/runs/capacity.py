"""`g5 capacity`: train one architecture at several widths, and draw error over width."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from g5.common.errors import UserError, brief
from g5.common.spreadsheet import write_csv
from g5.config.changes import deciding, short_hash
from g5.config.earlier import first_config
from g5.config.parts import corpus_of, feature_set_of
from g5.config.settings import Settings, check_settings, load
from g5.evaluation.episodes.protocol import TestProtocol
from g5.evaluation.episodes.scoring import embed_plan, evaluate_episodes
from g5.evaluation.figures.curves import capacity_curve, capacity_told
from g5.evaluation.intervals import Interval
from g5.runs.test import evaluate_checkpoint
from g5.runs.tested import TestRequest
from g5.runs.train import run
from g5.tracking.checkpoints import BEST
from g5.tracking.folders import RunFolder
from g5.tracking.record import how_to_open, recording
from g5.tracking.restore import Restored, restore
from g5.training.setup import device_of
from preprocessing.episodes.plans import plan_clips

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
    base = load([f"arch={arch}", *overrides, "train=true", "test=true", "resume=true"])
    runs = [(factor, _scaled(base, factor)) for factor in factors]
    for _, settings in runs:
        check_settings(settings)
    outputs = base.path.root / "outputs"
    folder = RunFolder(outputs / base.name / f"{base.exp_name}_capacity")
    file = folder.path / "capacity.csv"
    rows = _rows(file)
    for factor, settings in runs:
        key, earlier = _key(settings), _earlier_key(settings)
        if earlier in rows:
            rows.setdefault(key, rows[earlier])
        if key not in rows:
            print(
                f"\nwidth {factor:g}: channels {settings.arch.model.values['channels']}", flush=True
            )
            rows[key] = _measured(factor, settings)
            write_csv(pd.DataFrame([{"key": key, **row} for key, row in rows.items()]), file)
    table = pd.DataFrame([rows[_key(settings)] for _, settings in runs])
    return _drawn(base, folder, table.drop_duplicates("channels"))


def _factors(widths: str) -> list[float]:
    try:
        factors = sorted({float(text) for text in widths.split(",")})
    except ValueError:
        factors = []
    if not factors or not all(math.isfinite(factor) and factor > 0 for factor in factors):
        raise UserError(f"--widths {widths}: give factors above 0 with commas, as in 0.25,0.5,1,2")
    return factors


def _scaled(base: Settings, factor: float) -> Settings:
    """The settings at another width, of a run of its own."""
    channels = base.arch.model.values.get("channels")
    if not isinstance(channels, list):
        raise UserError(f"{base.arch.name} has no arch.model.channels to make wider")
    wide = [max(1, round(c * factor / MULTIPLE)) * MULTIPLE for c in channels]
    return base.but({"arch.model.channels": wide, "exp_name": f"{base.exp_name}_x{factor:g}"})


def _key(settings: Settings) -> str:
    """Eight hex digits for what decides the result of a run."""
    return short_hash(deciding(settings, "run", length=True))


def _earlier_key(settings: Settings) -> str:
    """What an earlier g5 called it."""
    plain = first_config(settings.plain())
    arch = [plain["arch"][name] for name in ("model", "augmentation", "episodes", "training")]
    return short_hash([*arch, plain["features"], plain["data"], plain["seed"]])


def _rows(file: Path) -> dict[str, dict[str, Any]]:
    """What earlier calls measured, by the key of the run."""
    if not file.exists():
        return {}
    try:
        table = pd.read_csv(file, dtype={"key": str}).to_dict("records")
        return {str(row.pop("key")): {str(k): v for k, v in row.items()} for row in table}
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{file}: not what g5 capacity writes ({brief(error)}); remove it"
        ) from error


def _measured(factor: float, settings: Settings) -> dict[str, Any]:
    """Train and test one width, and test it on the training classes as well."""
    result = run(settings)
    folder = settings.path.root / "outputs" / settings.name / settings.exp_name
    best = folder / "checkpoints" / BEST
    # None: trained and tested by a command that was stopped.
    result = result or evaluate_checkpoint(TestRequest(best))
    restored = restore(best)
    train = _on_training_classes(settings, restored)
    row: dict[str, Any] = {
        "width": factor,
        "channels": " ".join(map(str, settings.arch.model.values["channels"])),
        "parameters": sum(p.numel() for p in restored.model.parameters()),
    }
    for name, interval in (("train", train), ("test", result.interval)):
        row[f"{name}_error"] = 1 - interval.mean
        row[f"{name}_low"], row[f"{name}_high"] = 1 - interval.high, 1 - interval.low
    return row


def _on_training_classes(settings: Settings, restored: Restored) -> Interval:
    """Accuracy in as many episodes of the training classes, under the same protocol."""
    protocol = TestProtocol.of(settings)
    corpus = corpus_of(settings)
    reader = feature_set_of(settings, corpus, restored.front_end).reader("train")
    sampler = protocol.sampler(corpus.split("train"), "train", reader)
    plan = plan_clips(sampler.episodes(0, protocol.episodes))
    z_PD = embed_plan(
        restored.model,
        restored.normalize,
        plan,
        reader,
        batch_size=protocol.batch_size,
        device=device_of(settings),
    )
    return evaluate_episodes(restored.model, z_PD, plan, corpus.labels("train")).interval


def _drawn(base: Settings, folder: RunFolder, table: pd.DataFrame) -> Path:
    """The figure, in MLflow as well, and what it says."""
    episodes, arch = base.arch.episodes, base.arch.name
    title = f"{arch}: error over width, {episodes.n_way}-way {episodes.k_shot}-shot"
    path = capacity_curve(table, folder.figures / "capacity.png", title=title)
    places = {"numbers": str(folder.path / "capacity.csv"), "figure": str(path)}
    settings = base.but({"train": False, "exp_name": folder.path.name})
    with recording(settings, folder, corpus_of(base), name=folder.path.name, resume=True) as logger:
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
