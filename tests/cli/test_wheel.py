"""The wheel, installed, beside a project whose folders have the names of ours."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from g5 import __version__
from tests.conftest import ROOT

pytestmark = pytest.mark.smoke

CUTS = ("debug=fast", "logger=none", "arch.training.max_epochs=1")
ENCODER = """
from torch import nn

class Encoder(nn.Module):
    sample_rate, window_s, embedding_dim = 8000, 0.5, 4

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 64, stride=32)

    def forward(self, wave):
        return self.conv(wave[:, None]).mean(dim=2)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def scripts(wheel, tmp_path_factory) -> Path:
    """The scripts of an environment that holds the wheel and our dependencies, and no checkout."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    inside = {"base": str(home), "platbase": str(home)}
    folder = Path(sysconfig.get_path("scripts", vars=inside))
    pip = [sys.executable, "-m", "pip", "--python", str(home), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    # The `.pth` of an editable g5 in that folder is not read: it is no folder of this environment.
    site_packages = Path(sysconfig.get_path("purelib", vars=inside))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture(scope="module")
def project(tiny_set, tmp_path_factory) -> Path:
    """A directory of a user's, with packages of other meaning under names that we have, too."""
    home = tmp_path_factory.mktemp("project")
    for name in ("conf", "evaluation", "preprocessing", "utils"):
        (home / name).mkdir()
        (home / name / "__init__.py").write_text(f"raise RuntimeError('the user has {name}')\n")
    (home / "my_pkg.py").write_text(ENCODER)
    (home / "outputs").mkdir()
    # The features are there; the recordings are drawn again, by processes of their own.
    shutil.copytree(tiny_set / "outputs" / "store", home / "outputs" / "store")
    return home


def run(scripts: Path, command: list[str | Path], project: Path) -> str:
    """What a script of the environment prints in the project's directory."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    script = shutil.which(str(command[0]), path=str(scripts))
    assert script is not None
    done = subprocess.run(
        [script, *map(str, command[1:])],
        cwd=project, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_three_packages_and_every_yaml(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    ours = {"archs", "g5", "preprocessing"}
    assert {name.split("/")[0] for name in names} == ours | {f"g5-{__version__}.dist-info"}
    in_wheel = {name.removeprefix("g5/") for name in names if name.startswith("g5/conf/")}
    assert in_wheel == {p.relative_to(ROOT).as_posix() for p in (ROOT / "conf").rglob("*.yaml")}


def test_it_runs_beside_packages_of_the_same_names(scripts, project):
    where = "import g5, archs, sys; print(g5.__file__, archs.__file__)"
    for file in run(scripts, ["python", "-c", where], project).split():
        assert Path(file).is_relative_to(scripts.parent)
    run(scripts, ["g5", "train", "v1", *CUTS], project)
    (checkpoint,) = project.rglob("last.ckpt")
    recording = min(project.glob("outputs/procedural/*/Evaluation_Set/**/*.wav"))
    table = recording.with_suffix(".csv")
    run(
        scripts, ["g5", "detect", checkpoint, recording, "--support", table, "-o", "found"], project
    )
    assert (project / "found" / "predictions.csv").is_file()
    run(scripts, ["g5", "embed", "my_pkg.Encoder", recording, "-o", "birds.store"], project)
    assert (project / "birds.store").is_dir()
