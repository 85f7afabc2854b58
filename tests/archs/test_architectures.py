"""A version of the architecture is a folder and a YAML: it stands alone, and that is enough."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

VERSIONS = sorted(path.parent for path in (ROOT / "archs").glob("v*/arch.py"))
# What a version may use of g5: the base class, the distances, shared heads, and the error.
SHARED = {
    "archs.protonet",
    "archs.metrics",
    "archs.prototypes",
    "archs.timbre",
    "archs.heads",
    "g5.common.errors",
}
PACKAGES = ("archs", "g5", "preprocessing")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_a_version_imports_no_other(folder):
    for path in folder.glob("*.py"):
        ours = {name for name in imports(path) if name.split(".")[0] in PACKAGES}
        strange = {n for n in ours if n not in SHARED and not n.startswith(f"archs.{folder.name}")}
        assert not strange, f"{path.name} imports {strange}"


def test_nothing_imports_the_command():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert "main" not in imports(path), path
            # What starts a training: the entry point itself, and the command that calls it.
            starts = path == ROOT / "archs" / "train.py" or "cli" in path.parts
            assert starts or "archs.train" not in imports(path), path


def code_block(text: str, after: str) -> str:
    return text.split(after, 1)[1].split("```", 2)[1].split("\n", 1)[1]


def test_a_third_version_costs_a_folder_and_a_yaml(place):
    """Follows docs/new_architecture.md to the letter, in a copy of the project."""
    project = place / "project"
    project.mkdir()
    for folder in (*PACKAGES, "conf"):
        shutil.copytree(ROOT / folder, project / folder)
    shutil.copy(ROOT / "main.py", project)
    guide = (ROOT / "docs" / "new_architecture.md").read_text()
    (project / "archs" / "v3").mkdir()
    (project / "archs" / "v3" / "__init__.py").write_text('"""v3."""\n')
    (project / "archs" / "v3" / "arch.py").write_text(code_block(guide, "`archs/v3/arch.py` ("))
    (project / "conf" / "arch" / "v3.yaml").write_text(code_block(guide, "`conf/arch/v3.yaml` ("))
    command = [sys.executable, "main.py", "train", "v3", "debug=fast", "logger=none"]
    command.append("arch.training.max_epochs=1")
    done = subprocess.run(
        [*command, f"path.root_dir={place}"], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test of v3" in done.stdout
