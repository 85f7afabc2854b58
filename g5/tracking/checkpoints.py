"""Checkpoints: tensors and plain values only, whole or not there, and what they say of a run.

A g5 checkpoint is Lightning's own, with one more key, ``"g5"``: what is needed to use the weights
without the run that made them (`payload`). The weights lie under ``"state_dict"`` as ``model.*``
and ``normalize.*``. It loads with ``weights_only=True``: a checkpoint from a stranger cannot run
code.
"""

import io
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from g5 import __version__
from g5.common.atomic import atomic_path
from g5.common.errors import UserError, brief, unreadable
from g5.common.revision import git_revision
from g5.common.secrets import all_redacted
from g5.config.earlier import refuse_gone, updated
from g5.config.settings import Settings
from g5.tracking.folders import SUFFIX, listed, missing

FORMAT = 1
ANOTHER = "give a checkpoint that g5 wrote"
LAST = "last.ckpt"
BEST = "best_checkpoint.ckpt"
EPOCH_FILE = re.compile(r"epoch_(\d{3,})(_val_acc_.+)?\.ckpt")


def epoch_file(epoch: int, val_acc: float | None) -> str:
    """Name of an epoch's file; epochs count from 1, None is an epoch without validation."""
    score = "" if val_acc is None else f"_val_acc_{val_acc:.4f}"
    return f"epoch_{epoch:03d}{score}{SUFFIX}"


def payload(
    *,
    config: Mapping[str, Any],
    front_end: Mapping[str, Any],
    normalize: Mapping[str, Any],
    label_map: Mapping[str, Sequence[str]],
    data_hash: str,
    split_hash: str,
    trained_recordings: Sequence[str],
    raw_statistics: Mapping[str, Tensor],
) -> dict[str, Any]:
    """What a checkpoint carries under ``"g5"``.

    Args:
        config: the resolved configuration, in plain containers.
        front_end: `settings()` of the front end: its ``_target_`` and its constructor's keywords.
        normalize: ``mode`` and ``n_mels`` of the `Normalize`; the statistics of the training set
            (mode ``train``) are its buffers and lie in the state dict.
        label_map: the classes of each split, ``{"train": [...], ...}``, by class id.
        data_hash: of the recordings and annotations.
        split_hash: of what is in which split.
        trained_recordings: content hashes of the training recordings, on which no test may be.
        raw_statistics: of the training clips' raw features, by which a test z-scores its own.
    """
    content = {
        "format": FORMAT,
        "config": dict(config),
        "front_end": dict(front_end),
        "normalize": dict(normalize),
        "label_map": {split: list(labels) for split, labels in label_map.items()},
        "data_hash": data_hash,
        "split_hash": split_hash,
        "trained_recordings": list(trained_recordings),
        "raw_statistics": dict(raw_statistics),
        "git_revision": git_revision(),
        "g5_version": __version__,
    }
    odd = _not_plain(content)
    assert odd is None, f"a checkpoint holds tensors and plain values only, not {odd}"
    return content


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a g5 checkpoint to the CPU.

    Raises:
        UserError: if ``path`` is missing (naming what is there), a directory, truncated or
            corrupt, not of g5, of a newer g5, or needs pickle to load, which is refused.
    """
    path = Path(path)
    if not path.exists():
        raise missing(path)
    content = load_plain(path)
    header = content.get("g5") if isinstance(content, dict) else None
    if not isinstance(header, dict) or "state_dict" not in content or "format" not in header:
        raise UserError(f"{path}: a checkpoint, but not of g5; give one that g5 wrote")
    with unreadable(path, advice=ANOTHER):
        if header["format"] > FORMAT:
            raise UserError(
                f"{path}: written by g5 {header['g5_version']}, which is newer; update this g5"
            )
        if "config" in header:
            header["config"] = all_redacted(updated(header["config"]))
            try:
                refuse_gone(header["config"])
            except UserError as error:
                raise UserError(f"{path}: {error}") from error
    return content


def latest(folder: Path) -> Path | None:
    """The checkpoint in ``folder`` that a resumed run continues; None if there is none.

    That is `last.ckpt`, or the newest epoch's file where the run was killed after it wrote that
    and before it renewed `last.ckpt`.
    """
    epochs = [(int(m[1]), f) for f in folder.glob("epoch_*") if (m := EPOCH_FILE.fullmatch(f.name))]
    newest = max(epochs, default=None)
    last = folder / LAST
    if newest is None:
        return last if last.exists() else None
    if last.exists() and (last.samefile(newest[1]) or epochs_done(last) >= newest[0]):
        return last
    return newest[1]


def epochs_done(path: Path) -> int:
    """How many epochs the run had finished when it wrote the checkpoint ``path``."""
    with unreadable(path, advice=ANOTHER):
        return int(load_plain(path)["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def check_same(header: Mapping[str, Any], settings: Settings, path: Path) -> None:
    """Refuse weights of another model or front end than ``settings``'s.

    Args:
        header: a checkpoint's ``"g5"``.
        settings: what the weights are to be used with.
        path: the checkpoint, for the message.

    Raises:
        UserError: naming the first keys that differ, with both values.
    """
    fixed, config = [*header["front_end"], "normalize"], settings.plain()
    pairs = [
        ("arch.model", header["config"]["arch"]["model"], config["arch"]["model"]),
        (
            "features",
            {key: header["config"]["features"].get(key) for key in fixed},
            {key: config["features"].get(key) for key in fixed},
        ),
    ]
    differing = [
        f"{where}.{key} is {theirs.get(key)!r} there and {ours.get(key)!r} here"
        for where, theirs, ours in pairs
        for key in [*theirs, *(key for key in ours if key not in theirs)]
        if theirs.get(key) != ours.get(key)
    ]
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise UserError(f"{path}: of another model: {'; '.join(differing[:3])}{more}")


def load_weights(module: nn.Module, state: Mapping[str, Any], prefix: str, path: Path) -> None:
    """Load the entries of a state dict that start with ``prefix`` into ``module``, strictly.

    Raises:
        UserError: if names or shapes differ, or a weight is not finite, naming the checkpoint
            ``path``.
    """
    check_finite(state, prefix, path)
    own = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: its weights do not fit this model: {detail}") from error


def check_finite(state: Mapping[str, Any], prefix: str, path: Path) -> None:
    """Refuse weights that are NaN or infinite: of the entries that start with ``prefix``."""
    for key, value in state.items():
        if key.startswith(prefix) and not torch.isfinite(value).all():
            raise UserError(
                f"{path}: its weights are not finite ({key}): the training went astray; start "
                "another with a lower arch.training.learning_rate or trainer.precision=32-true"
            )


def weights_only(source: Path, target: Path) -> None:
    """Write ``source`` without what only training needs (optimiser, schedules, loops)."""
    content = load(source)
    save({key: content[key] for key in ("g5", "state_dict", "epoch", "global_step")}, target)


def add_calibration(path: Path, calibration: Mapping[str, Any]) -> None:
    """Store a fitted temperature in a checkpoint, under all the names it has in its folder.

    Training gives the best epoch a second and a third name by links, which a new file would not
    share.

    Args:
        calibration: plain values; ``temperature`` among them.
    """
    content = load(path)
    odd = _not_plain(dict(calibration))
    assert odd is None, odd
    content["g5"]["calibration"] = dict(calibration)
    names = [f for f in path.parent.glob(f"*{SUFFIX}") if f != path and f.samefile(path)]
    save(content, path)
    for name in names:
        link(path, name)


def link(source: Path, target: Path) -> None:
    """Make ``target`` a second name of ``source``, or a copy where the file system has no links."""
    if target.exists() and target.samefile(source):
        return
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def save(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint that is whole or not there, whatever happens meanwhile.

    Raises:
        UserError: if the disk is full or the place forbidden.
    """
    # In memory first: torch hides a full disk behind errors of its own.
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_plain(path: Path) -> Any:
    """The content of a file, checked against its checksums, loaded without pickle."""
    if path.is_dir():
        raise UserError(f"{path}: a folder, not a checkpoint; in it: {listed(path)}")
    try:
        # Torch does not check them, and a flipped bit would be a wrong weight.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except PermissionError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path}: truncated, corrupt or no checkpoint at all ({brief(error)})"
        ) from error
    if damaged is not None:
        raise UserError(f"{path}: corrupt: the checksum of its part {damaged} is wrong")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: needs pickle, which could run any code, so it is refused; "
            "give a checkpoint that g5 wrote"
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError) as error:
        raise UserError(
            f"{path}: corrupt or no checkpoint ({str(error).splitlines()[0]})"
        ) from error


def _not_plain(value: Any, where: str = "g5") -> str | None:
    """Where ``value`` holds something that would need pickle; None if nowhere."""
    if value is None or isinstance(value, Tensor) or type(value) in (bool, int, float, str):
        return None
    if type(value) in (list, tuple):
        children = {f"{where}[{index}]": item for index, item in enumerate(value)}
    elif type(value) is dict:
        if any(type(key) not in (str, int) for key in value):
            return f"{where}: keys of another kind than text"
        children = {f"{where}.{key}": item for key, item in value.items()}
    else:
        return f"{where}: {type(value).__name__}"
    return next((odd for key, item in children.items() if (odd := _not_plain(item, key))), None)
