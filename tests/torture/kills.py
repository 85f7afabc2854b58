"""SIGKILL at seeded random moments: the same work again ends in the same bytes, without orphans."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.config.settings import load_transfer
from g5.detection.job.manifest import Manifest
from g5.detection.review.answers import REVIEWED
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import COMMAND, REVIEWS, FoundEvents
from g5.embeddings.vectors import VectorStore
from g5.web.journal import Journal, JournalEntry
from preprocessing.store.store import Store
from tests.conftest import ROOT, run_g5
from tests.detection.review.found import make_found
from tests.training.small_pretraining import OVERRIDES, shrink

SETTINGS = {"front_end": "torture"}
RAY = ("engine=ray", "engine.workers=2")
SWEEP = (
    "v1", "debug=fast", "logger=none", "arch.model.dropout=interval(0,0.5)", "sweep.trials=3",
    "sweep.startup=1", "sweep.prune_after=0",
)  # fmt: skip
WORK = (
    "pytorch_lightning", "g5.runs.train", "g5.runs.sweep", "g5.runs.pretrain",
    "g5.detection.job.run", "g5.data.check", "g5.embeddings.embed_files", "matplotlib.pyplot",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A piece of work that goes on where it was killed.

    Attributes:
        name: for the tally.
        work: does it in the current directory, in a process of its own.
        digest: of what it leaves, which no kill may change.
    """

    name: str
    work: Callable[[], object]
    digest: Callable[[Path], str]


def torture(job: Job, base: Path, folder: Path, *, kills: int, seed: int) -> list[str]:
    """Kill a job so many times, each at other moments; what went wrong, a line each.

    Args:
        base: a folder with what the job needs.
        folder: where copies of it go, and a ledger: what it has of an earlier call is not done
            again.
    """
    ledger = folder / f"kills_{seed}.jsonl"
    ended = [json.loads(line) for line in _lines(ledger)]
    if len(ended) < kills:
        shutil.rmtree(folder / "whole", ignore_errors=True)
        whole = _copy(base, folder / "whole")
        start = time.perf_counter()
        if _run(job, whole) != 0:
            return [f"{job.name}: fails when it is left alone: {_last_line(whole)}"]
        took_s, expected = time.perf_counter() - start, job.digest(whole)
        for number in range(len(ended), kills):
            rng = np.random.default_rng([seed, number, *job.name.encode()])
            moments = rng.uniform(0, took_s, rng.integers(1, 3)).tolist()
            fault = _killed(job, base, folder / f"kill{number}", moments, expected)
            at = ", ".join(f"{moment:.2f}" for moment in moments)
            which = f"{job.name}, seed {seed}, kill {number} at {at} s"
            ended.append(fault and f"{which}: {fault}")
            with open(ledger, "a") as handle:
                handle.write(json.dumps(ended[-1]) + "\n")
        shutil.rmtree(whole)
    return [fault for fault in ended[:kills] if fault]


def _killed(
    job: Job, base: Path, home: Path, moments: Sequence[float], expected: str
) -> str | None:
    """What is wrong with what a job leaves that was killed at these moments, seconds."""
    shutil.rmtree(home, ignore_errors=True)
    _copy(base, home)
    for moment_s in moments:
        _run(job, home, kill_after_s=moment_s)
        _age_leftovers(home)
    ended, fault = _run(job, home), None
    if ended != 0:
        fault = f"cannot go on (exit code {ended}): {_last_line(home)}"
    elif job.digest(home) != expected:
        fault = "ends in other bytes"
    elif left := orphans(home):
        fault = f"leaves {', '.join(left)}"
    shutil.rmtree(home)
    return fault


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _last_line(home: Path) -> str:
    lines = (home / "log").read_text("utf-8", "replace").split("\n") if home.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "")


def orphans(home: Path) -> list[str]:
    """Files that nobody will read, or remove."""
    return [
        path.relative_to(home).as_posix()
        for path in home.rglob("*")
        if ".tmp" in path.name or (path.suffix == ".f16" and not _index_of(path).exists())
    ]


def _index_of(shard: Path) -> Path:
    return shard.with_suffix(".parquet")


def _age_leftovers(home: Path) -> None:
    """A store removes what its writers left once it is a minute old."""
    for name in orphans(home):
        with contextlib.suppress(OSError):
            os.utime(home / name, (0, 0))


def _copy(base: Path, home: Path) -> Path:
    shutil.copytree(base, home, symlinks=True)
    return home


def _run(job: Job, home: Path, *, kill_after_s: float | None = None) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=_child, args=(job, home))
    process.start()
    assert process.pid is not None
    process.join(kill_after_s)
    if kill_after_s is not None and process.is_alive():
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not become a group's leader yet
            process.kill()
        process.join()
    return process.exitcode


def _child(job: Job, home: Path) -> None:
    os.setsid()
    os.chdir(home)
    with open("log", "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    job.work()


# --- small pieces of work, in the process that was forked -----------------------------------------

KEYS = [f"{number:02d}" for number in range(40)]


def _array(key: str) -> np.ndarray:
    return np.random.default_rng(int(key)).normal(size=(20, 8)).astype(np.float32)


def _store_work() -> None:
    store = Store.open("store", SETTINGS, create=True)
    with store.writer() as writer:
        for key in KEYS:
            if key not in store:
                writer.add(key, _array(key), {"mean": 0.0})
                writer.commit()


def _store_digest(home: Path) -> str:
    store = Store.open(home / "store", SETTINGS, create=False)
    if store.verify():
        return "corrupt"
    return _digest(*(store.get(key).numpy().tobytes() for key in sorted(store.keys())))


def _manifest_work() -> None:
    manifest = Manifest(Path("found"))
    manifest.parts.mkdir(parents=True, exist_ok=True)
    for key in KEYS[:15]:
        if manifest.earlier(Path(key), "k") is None:
            table = pd.DataFrame({"start_s": [float(key)], "label": "owl", "support": False})
            manifest.done(Path(key), "k", table, table, duration_s=1.0)
    manifest.write(manifest.table())


def _manifest_digest(home: Path) -> str:
    manifest = Manifest(home / "found")
    if any(manifest.earlier(Path(key), "k") is None for key in KEYS[:15]):
        return "lost"
    events = pd.concat([manifest.events_of(key) for key in KEYS[:15]])
    return _digest(events.to_csv().encode(), (home / "found" / "ledger.csv").read_bytes())


def _label_work() -> None:
    journal = Journal(Path())
    for number in range(30):
        clip = (f"{number}.wav", 0.0, 1.0)
        journal.add(JournalEntry(f"id{number}", clip, "label", "owl", 1.0))


def _label_digest(home: Path) -> str:
    return _digest(Journal(home).events().to_csv().encode())


def _review_work() -> None:
    season = Path("season")
    if not season.exists():
        shutil.rmtree("making", ignore_errors=True)
        os.rename(make_found(Path("making"), recordings=2).parent, season)
    session = ReviewSession(FoundEvents.read(season / "found"), load_transfer(reads=()).review)
    session.begin()
    while rows := session.next("tab", "sample", "up"):
        id = f"id{rows[0]}"
        session.answer("tab", rows[0], "label", "up", id=id, seconds=1.0, by="sample")


def _review_digest(home: Path) -> str:
    found = home / "season" / "found"
    said = Journal(found, REVIEWS, COMMAND).events().to_csv().encode()
    return _digest(said, (found / REVIEWED).read_bytes())


SMALL = (
    Job("store", _store_work, _store_digest),
    Job("manifest", _manifest_work, _manifest_digest),
    Job("labelling", _label_work, _label_digest),
    Job("review", _review_work, _review_digest),
)


# --- commands -------------------------------------------------------------------------------------


def preload() -> None:
    """Import once, in the parent, what `forked` commands need: most of their time goes there."""
    for name in WORK:
        import_module(name)


def _forked(*arguments: str) -> Callable[[], object]:
    """`g5 ARGUMENTS` in the child itself: kills meet its work, not its imports."""
    return lambda: sys.exit(run_g5(arguments))


def _command(*arguments: str) -> Callable[[], object]:
    """`g5 ARGUMENTS` as a program of its own, for what starts itself again."""

    def work() -> object:
        os.environ["PYTHONPATH"] = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
        return os.execv(sys.executable, [sys.executable, str(ROOT / "main.py"), *arguments])

    return work


def _features_digest(home: Path) -> str:
    digests = []
    for settings in sorted((home / "outputs" / "store").glob("*/settings.json")):
        store = Store.at(settings.parent, command="g5 features")
        if store.verify():
            return "corrupt"
        digests += [store.get(key).numpy().tobytes() for key in sorted(store.keys())]
    return _digest(*digests)


def _training_digest(home: Path) -> str:
    import torch

    (best,) = home.glob("outputs/*/torture/checkpoints/best_checkpoint.ckpt")
    state = torch.load(best, weights_only=True)["state_dict"]
    history = best.parents[1] / "history.csv"
    rows = pd.read_csv(history).to_csv(index=False).encode()
    return _digest(rows, *(value.numpy().tobytes() for value in state.values()))


def _sweep_digest(home: Path) -> str:
    import optuna

    storage = f"sqlite:///{home}/optuna.db"
    (study,) = optuna.get_all_study_summaries(storage)
    trials = optuna.load_study(study_name=study.study_name, storage=storage).trials
    told = [(t.number, t.state.name, t.params, t.value, t.intermediate_values) for t in trials]
    return _digest(repr(told).encode())


def _pretraining_work() -> None:
    shrink()
    steps = (
        "pretrain.recipe.steps=6",
        "pretrain.recipe.test_every=2",
        "pretrain.recipe.save_every_s=1",
    )
    sys.exit(run_g5(["pretrain", *OVERRIDES, *steps, "logger=none"]))


def _pretraining_digest(home: Path) -> str:
    import torch

    (encoder,) = home.glob("outputs/*/small/**/encoder.ckpt")
    state = torch.load(encoder, weights_only=True)["state_dict"]
    return _digest(*(value.numpy().tobytes() for value in state.values()))


def _detection_digest(home: Path) -> str:
    names = ("predictions.csv", "candidates.csv", "ledger.csv")
    contents = [(home / "found" / name).read_bytes() for name in names]
    return _digest(*(content.replace(bytes(home), b"") for content in contents))


def _embedding_digest(home: Path) -> str:
    try:
        store = VectorStore.open(home / "x.store")
    except UserError as error:
        return str(error)
    order = store.index.astype({"file": str}).sort_values(["file", "start_s"]).index.to_numpy()
    rows = store.index.iloc[order].to_csv(index=False).encode()
    return _digest(rows, np.ascontiguousarray(np.asarray(store.vectors[:])[order]).tobytes())


def commands(checkpoint: str, recordings: str, support: str) -> list[Job]:
    """The long ones: what `g5` does, in a folder where these are; paths are relative to it."""
    fast = ("v1", "debug=fast", "exp_name=torture", "resume=true", "test=false")
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    detect = ("detect", checkpoint, recordings, "--support", support, "-o", "found")
    return [
        Job("features", _forked("features", "debug=fast"), _features_digest),
        Job("training", _forked("train", *fast, "arch.training.max_epochs=3"), _training_digest),
        Job("training on two", _command("train", *fast, *two), _training_digest),
        *([Job("sweep", _forked("sweep", *SWEEP), _sweep_digest)] if find_spec("optuna") else []),
        Job("pretraining", _pretraining_work, _pretraining_digest),
        Job("detection", _forked(*detect, "detection.pictures=false"), _detection_digest),
        *([Job("detection on Ray", _command(*detect, "detection.pictures=false", *RAY),
               _detection_digest)] if find_spec("ray") else []),
        Job("embedding", _forked("embed", checkpoint, recordings, "-o", "x.store"),
            _embedding_digest),
        *SMALL,
    ]  # fmt: skip


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
