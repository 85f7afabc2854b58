"""What tests share: one tiny procedural set with its features, and places to run g5 in."""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, FLAGS

ROOT = Path(__file__).resolve().parent.parent
TRAIN_PY = ROOT / "archs" / "train.py"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


def run_train(arguments: Sequence[str]) -> None:
    """`python archs/train.py ARGUMENTS` in this process, in the current directory."""
    from archs.train import launch

    launch(list(arguments))


def run_g5(arguments: Sequence[str]) -> int:
    """`g5 ARGUMENTS` in this process, in the current directory; the exit code."""
    from g5.cli.main import main

    try:
        main(args=list(arguments), prog_name="g5", standalone_mode=True)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def browser() -> Iterator[Any]:
    """A Chromium of its own."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """What a training in this process asks of PyTorch must not reach the next test."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_float32_matmul_precision("highest")
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session", autouse=True)
def quick_figures() -> Iterator[pytest.MonkeyPatch]:
    """Figures are composed, and written as one pixel: drawing is half of a short run."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda _, file, **__: Path(file).write_bytes(PIXEL))
        yield patch


@pytest.fixture
def drawn_figures(quick_figures) -> Iterator[None]:
    """For tests that look at figures."""
    with drawn(quick_figures):
        yield


@contextmanager
def drawn(quick_figures: pytest.MonkeyPatch) -> Iterator[None]:
    """Figures are drawn again, here."""
    from matplotlib.figure import Figure

    quick = Figure.savefig
    quick_figures.undo()
    try:
        yield
    finally:
        quick_figures.setattr(Figure, "savefig", quick)


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory) -> Path:
    """The recordings of `debug=fast`, whose features have been made; tests may add other sets."""
    place = tmp_path_factory.mktemp("tiny")
    before = os.getcwd()
    os.chdir(place)
    try:
        assert run_g5(["features", "debug=fast"]) == 0
    finally:
        os.chdir(before)
    (home,) = (place / "outputs" / "procedural").iterdir()
    return home


@pytest.fixture(scope="session")
def tiny_set(tiny_home) -> Path:
    """A place where the recordings and features of `debug=fast` have been made."""
    return tiny_home.parents[2]


def share(tiny_set: Path, folder: Path) -> None:
    (folder / "outputs").mkdir()
    for name in ("procedural", "store"):
        (folder / "outputs" / name).symlink_to(tiny_set / "outputs" / name)


@pytest.fixture(scope="session")
def short_run(tiny_set, tmp_path_factory) -> Callable[[str], Path]:
    """Trains an architecture by `debug=fast`, once; its run's folder, to be read only."""
    here = tmp_path_factory.mktemp("trained")
    share(tiny_set, here)

    @cache
    def train(arch: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(here)
            run_train([f"arch={arch}", "debug=fast", "logger=none", "test=false"])
        return here / "outputs" / "protonet_baseline" / f"{arch}_debug"

    return train


@pytest.fixture
def trained(place, short_run) -> Callable[[str], Path]:
    """Copies a `short_run` into the current directory, as if it had been trained there."""

    def copy(arch: str) -> Path:
        run = short_run(arch)
        return shutil.copytree(run, place / "outputs" / "protonet_baseline" / run.name)

    return copy


@pytest.fixture
def place(tiny_set, tmp_path, monkeypatch) -> Path:
    """An empty current directory that shares the tiny set's recordings and features."""
    share(tiny_set, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "G5_VALUES", "G5_JOB", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def start_train(place) -> Callable[..., subprocess.Popen]:
    """Start `python archs/train.py ...` in a process of its own."""

    def start(*arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, str(TRAIN_PY), *arguments],
            cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return start
