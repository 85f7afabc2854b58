"""CONTRIBUTING.md, followed to the letter in a copy of the project.

How to write an architecture is in docs/new_architecture.md: tests/archs/test_architectures.py.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from g5 import __version__
from tests.conftest import ROOT
from tests.labelled_store import kind_of, make_store

SECTIONS = {
    "A data set": "recordings",
    "A head": "bayes",
    "A command": "60 clips of 12 recordings",
}


def blocks_of(section: str) -> tuple[dict[str, str], list[str]]:
    """The files of a section, each named just before its block, and its commands."""
    text = (ROOT / "CONTRIBUTING.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    files = re.findall(r"`([\w./]+)`:\n\n```\w+\n(.*?)```", text, re.S)
    (commands,) = re.findall(r"```sh\n(.*?)```", text, re.S)
    return dict(files), commands.splitlines()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project, with the files that the examples speak of."""
    home = tmp_path_factory.mktemp("contributing")
    for folder in ("archs", "conf", "g5", "preprocessing"):
        shutil.copytree(ROOT / folder, home / folder)
    shutil.copy(ROOT / "main.py", home)
    index = make_store(home).index
    labels = [kind_of(row) for row in range(len(index))]
    index.assign(label=labels).to_csv(home / "labels.csv", index=False)
    clips = [f"audio/{file.name}" for file in sorted((home / "audio").glob("*.wav"))]
    owls = pd.DataFrame({"file": clips, "label": ["barn", "tawny"] * 6, "split": "test"})
    owls.to_csv(home / "owls.csv", index=False)
    return home


@pytest.mark.parametrize("section", SECTIONS)
def test_what_it_says_works(section, project):
    files, commands = blocks_of(section)
    assert files
    for name, content in files.items():
        assert not (project / name).exists()
        (project / name).write_text(content)
    for command in commands:
        g5, *words = shlex.split(command)
        assert g5 == "g5"
        done = subprocess.run(
            [sys.executable, "main.py", *words], cwd=project, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert SECTIONS[section] in done.stdout


def test_its_links_and_files_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    examples = {name for section in SECTIONS for name in blocks_of(section)[0]}
    named = set(re.findall(r"`([\w.]+/[\w./]*)`", text))
    named |= set(re.findall(r"\]\((\w[^:)]+)\)", text))
    coming = {"archs/v3/", "conf/arch/v3.yaml", "build/docs", *examples}
    assert not [name for name in named - coming if not (ROOT / name).exists()]


def test_the_version_is_the_same_everywhere():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{__version__}] - 20" in (ROOT / "CHANGELOG.md").read_text()
