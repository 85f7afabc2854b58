"""A night of calls, hardly trained checkpoints, and `g5 detect` in a folder of its own."""

from pathlib import Path

import pytest
import soundfile

from tests.conftest import run_g5
from tests.detection.soundscapes import CALLS_S, DOWN, OTHERS_S, RATE, UP, soundscape


@pytest.fixture(scope="session")
def night(tmp_path_factory) -> Path:
    """Thirty seconds with ten rising and seven falling calls."""
    path = tmp_path_factory.mktemp("night") / "night.wav"
    calls = {**dict.fromkeys(CALLS_S, UP), **dict.fromkeys(OTHERS_S, DOWN)}
    soundfile.write(path, soundscape(30, calls), RATE)
    return path


@pytest.fixture(scope="session")
def checkpoints(short_run) -> dict[str, Path]:
    """A hardly trained checkpoint of each architecture."""
    return {arch: short_run(arch) / "checkpoints" / "best_checkpoint.ckpt" for arch in ("v1", "v2")}


@pytest.fixture
def job(night, tmp_path, monkeypatch, checkpoints):
    """Runs `g5 detect` on copies of the night in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.wav").symlink_to(night)

    def run(*arguments: str, arch: str = "v2") -> int:
        return run_g5(["detect", str(checkpoints[arch]), *arguments])

    return run
