"""A night of calls, hardly trained checkpoints, and `g5 detect` in a folder of its own."""

from pathlib import Path

import pytest
import soundfile

from tests.conftest import run_g5, run_train
from tests.detection.soundscapes import CALLS_S, DOWN, OTHERS_S, RATE, UP, soundscape


@pytest.fixture(scope="session")
def night(tmp_path_factory) -> Path:
    """Thirty seconds with ten rising and seven falling calls."""
    path = tmp_path_factory.mktemp("night") / "night.wav"
    calls = {**dict.fromkeys(CALLS_S, UP), **dict.fromkeys(OTHERS_S, DOWN)}
    soundfile.write(path, soundscape(30, calls), RATE)
    return path


@pytest.fixture(scope="session")
def checkpoints(tiny_set, tmp_path_factory) -> dict[str, Path]:
    """A hardly trained checkpoint of each architecture."""
    here = tmp_path_factory.mktemp("trained")
    (here / "outputs").mkdir()
    for name in ("procedural", "store"):
        (here / "outputs" / name).symlink_to(tiny_set / "outputs" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for arch in ("v1", "v2"):
            run_train([f"arch={arch}", "debug=fast", "logger=none", "test=false"])
    found = {
        arch: here.glob(f"outputs/*/{arch}_debug/checkpoints/best*.ckpt") for arch in ("v1", "v2")
    }
    return {arch: next(paths) for arch, paths in found.items()}


@pytest.fixture
def job(night, tmp_path, monkeypatch, checkpoints):
    """Runs `g5 detect` on copies of the night in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.wav").symlink_to(night)

    def run(*arguments: str, arch: str = "v2") -> int:
        return run_g5(["detect", str(checkpoints[arch]), *arguments])

    return run
