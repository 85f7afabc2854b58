"""A run's folder, `outputs/<name>/<exp_name>/`: who takes it, who waits, what it remembers."""

import glob
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from g5.common.atomic import disk_errors, lock_file, one_at_a_time, write_text
from g5.common.elsewhere.kept import check_regular
from g5.common.errors import UserError

RECORD = "run.json"
SUFFIX = ".ckpt"
# The encoder that comes with g5 (`g5 pretrain` made it, see its model card beside it).
DEFAULT = "default"
SHIPPED = Path(__file__).parent.parent / "weights" / f"{DEFAULT}{SUFFIX}"
# The numbers of a test, its episodes and its answers.
SCORES, EPISODES, ANSWERS = "test_scores.json", "test_episodes.parquet", "test_predictions.parquet"
LOCK = ".lock"
CLAIM = ".claim"

# Locks this process holds. POSIX locks belong to the process and go when it dies, even by
# SIGKILL; they go as well when any handle on the file is closed, so each file is opened once.
_held: dict[Path, IO[str]] = {}


@dataclass
class RunFolder:
    """Where a run writes.

    Attributes:
        path: the folder itself, absolute.
        message: what `claim` did that the user should know, one line; None if nothing.
        moved: where an earlier run of that name lies now, if `claim` moved one.
    """

    path: Path
    message: str | None = None
    moved: Path | None = None
    _lock: Path | None = field(default=None, repr=False)

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.path / "figures"

    @property
    def config_file(self) -> Path:
        """The resolved configuration, as YAML."""
        return self.path / "config.yaml"

    @property
    def held(self) -> bool:
        """Whether this process trains here."""
        return self._lock is not None

    @property
    def record(self) -> dict[str, Any]:
        """What `remember` wrote; empty if nothing, or if it cannot be read."""
        return read_record(self.path)

    def remember(self, **values: Any) -> None:
        """Merge plain ``values`` into `run.json`, atomically."""
        write_text(self.path / RECORD, json.dumps({**self.record, **values}, indent=1) + "\n")

    def release(self) -> None:
        """Let another run have the folder; done by itself when the process ends."""
        if self._lock is not None:
            _held.pop(self._lock).close()
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def claim(
    root: str | os.PathLike[str],
    name: str,
    exp_name: str,
    *,
    training: bool,
    resume: bool,
    job: int | None,
) -> RunFolder:
    """Take ``root/outputs/<name>/<exp_name>/`` for a run, making it if needed.

    A new training run gets an empty folder: an earlier one of that name is moved to
    ``<exp_name>.<n>``. Test-only and resumed runs use the folder as it is. Training holds the
    folder until the process ends. In the further processes of distributed training (rank > 0)
    the folder is only named: rank 0 has claimed it.

    Args:
        root: `path.root_dir`.
        name: `name` of the configuration.
        exp_name: `exp_name` of the configuration.
        training: whether the run trains.
        resume: whether it continues an earlier one.
        job: number of a multirun job, which gets ``<exp_name>/<job>``; None for a single run.

    Raises:
        UserError: for a name no folder can have, or a folder that a live run trains in.
    """
    check_names(name, exp_name)
    parent = Path(root).expanduser().resolve() / "outputs" / name
    if job is not None:
        parent, exp_name = parent / exp_name, str(job)
    folder = RunFolder(parent / exp_name)
    if _rank() > 0:
        return folder
    with disk_errors(folder.path):
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(f"{parent}: a file is in the way of this folder; move it") from error
        with one_at_a_time(parent / CLAIM):  # two runs that start together find one place free
            _take(folder, training=training, resume=resume)
            for part in (folder.path, folder.checkpoints, folder.figures):
                part.mkdir(exist_ok=True)
            if training:
                _lock(folder)
                _sweep(folder)
    return folder


def check_names(name: str, exp_name: str) -> None:
    """Raise `UserError` for a name no folder can have; a run asks before it begins any work."""
    _check_name(name, "name")
    _check_name(exp_name, "exp_name")


def read_record(path: Path) -> dict[str, Any]:
    """The `run.json` of the run folder ``path``; empty if there is none that can be read."""
    try:
        found = json.loads((path / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _take(folder: RunFolder, *, training: bool, resume: bool) -> None:
    """Move an earlier run away, or see that there is one to continue."""
    path = folder.path
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: a file is in the way of the run's folder; move it")
    # A folder that holds no more than empty folders (of a run that failed at once) is free.
    used = path.exists() and any(
        part.is_file() and part.name not in (LOCK, CLAIM) for part in path.rglob("*")
    )
    if training and path.exists():
        _refuse_live(path)
    if training and not resume and used:
        folder.moved = path.with_name(f"{path.name}.{_next_number(path)}")
        path.rename(folder.moved)
        folder.message = f"the earlier run {path.name} is now {folder.moved}"
    if training and resume and not any(folder.checkpoints.glob("*.ckpt")):
        folder.message = f"new run   there is nothing to resume in {path.name}/"


def _next_number(path: Path) -> int:
    """One more than the highest n of ``<name>.<n>``, so that numbers tell the order."""
    pattern = re.compile(re.escape(path.name) + r"\.(\d+)")
    matches = (pattern.fullmatch(entry.name) for entry in path.parent.iterdir())
    return max((int(match.group(1)) for match in matches if match), default=0) + 1


def _refuse_live(path: Path) -> None:
    """Raise if a process trains in ``path``, or in one of the jobs below it."""
    for lock in [path / LOCK, *path.glob(f"*/{LOCK}")]:
        if lock in _held or not _is_free(lock):
            who = "" if lock in _held else f" (process {lock.read_text('utf-8').strip()})"
            raise UserError(
                f"{lock.parent}: a run is training here{who}; "
                "wait for it, stop it, or take another exp_name"
            )


def _is_free(lock: Path) -> bool:
    try:
        with open(lock, "r+", encoding="utf-8") as handle:
            return lock_file(handle, wait=False)
    except FileNotFoundError:
        return True


def _lock(folder: RunFolder) -> None:
    folder._lock = folder.path / LOCK
    handle = open(folder._lock, "w", encoding="utf-8")  # noqa: SIM115 (stays open: closing it frees the folder)
    lock_file(handle, wait=False)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    _held[folder._lock] = handle


def _sweep(folder: RunFolder) -> None:
    """Remove the temporary files of a run that was killed while it wrote."""
    for part in (folder.path, folder.checkpoints, folder.figures):
        for leftover in part.glob(".*.tmp*"):
            leftover.unlink(missing_ok=True)


def _check_name(value: str, key: str) -> None:
    bad = "/" in value or "\\" in value or any(ord(letter) < 32 for letter in value)
    if bad or not value.strip() or value in (".", ".."):
        raise UserError(f"{key}={value!r}: names a folder, so no slash and not empty")
    if len(os.fsencode(value)) > 200:
        raise UserError(f"{key}={value[:20]}...: too long for a folder's name (200 bytes)")


def _rank() -> int:
    """This process's place in distributed training, where Lightning looks for it; 0 if alone."""
    for key in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if os.environ.get(key, "").isdigit():
            return int(os.environ[key])
    return 0


def find(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """The checkpoint that ``path`` means: ``default`` is the one that comes with g5.

    A path that does not exist but has exactly one ``<stem>_val_acc_*.ckpt`` beside it means that
    file, so ``epoch_050.ckpt`` finds ``epoch_050_val_acc_0.8123.ckpt``.

    Returns:
        The file, and a line to tell the user if it is not the one that was named.

    Raises:
        UserError: if there is none or more than one, naming the checkpoints that are there; or if
            ``path`` is a directory.
    """
    path = Path(path).expanduser()
    if str(path) == DEFAULT and not path.is_file():
        return SHIPPED, None
    if path.is_dir():
        raise UserError(f"{path}: a folder, not a checkpoint; in it: {listed(path)}")
    if path.exists():
        check_regular(path)
        return path, None
    stem = path.name.removesuffix(SUFFIX)
    meant = sorted(path.parent.glob(f"{glob.escape(stem)}_val_acc_*{SUFFIX}"))
    if len(meant) > 1:
        names = ", ".join(file.name for file in meant)
        raise UserError(f"{path}: there is no such file, and it may mean any of {names}")
    if not meant:
        raise missing(path)
    return meant[0], f"{path.name} means {meant[0]}"


def missing(path: Path) -> UserError:
    """The error for a checkpoint that is not there; it names those that are."""
    if not path.parent.is_dir():
        return UserError(f"{path}: there is no such file, and no folder {path.parent}")
    return UserError(f"{path}: there is no such file; {path.parent} has {listed(path.parent)}")


def listed(folder: Path) -> str:
    """The checkpoints in a folder, as words."""
    names = sorted(file.name for file in folder.glob(f"*{SUFFIX}") if not file.name.startswith("."))
    return ", ".join(names) if names else "no checkpoints"
