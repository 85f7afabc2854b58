"""The git revision of the code that runs, where it lies in a repository."""

import subprocess
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]


@cache
def git_revision(source: Path = SOURCE) -> str | None:
    """The commit of the code in ``source``, with ``-dirty`` if it has changes; None outside git.

    Asked once: what happens to the files later is not what this process runs.
    """
    # An installed g5 may lie inside somebody else's repository, which then does not track it.
    if _git(source, "ls-files", "--error-unmatch", "g5/__init__.py") is None:
        return None
    commit = _git(source, "rev-parse", "HEAD")
    changes = _git(source, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if commit and changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, encoding="utf-8", timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
