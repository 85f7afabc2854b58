"""The git revision of the code."""

import subprocess
from pathlib import Path

from g5.common.revision import git_revision


def test_the_revision_of_the_code(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *names, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    revision = git_revision.__wrapped__  # without the cache
    code = tmp_path / "g5" / "__init__.py"
    code.parent.mkdir(parents=True)
    code.write_text("1")
    assert revision(tmp_path) is None
    git("init")
    assert revision(tmp_path) is None  # in somebody's repository, but not of it
    git("add", ".")
    git("commit", "-m", "x")
    assert revision(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("")
    assert revision(tmp_path) == git("rev-parse", "HEAD")
    code.write_text("2")
    assert revision(tmp_path) == git("rev-parse", "HEAD") + "-dirty"


def test_no_git_at_all(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_revision.__wrapped__() is None
