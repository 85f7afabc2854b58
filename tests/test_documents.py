"""Documents name what exists: every module and every file of the repository in a Markdown file."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOTTED = re.compile(r"\b(?:g5|archs|preprocessing|experiments|benchmarks)(?:\.\w+)+")
FOLDERS = "archs|benchmarks|conf|docs|examples|experiments|g5|preprocessing|tests"
FILE = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]*")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
# What the guides (docs/new_architecture.md, CONTRIBUTING.md) tell the reader to write.
TO_BE_WRITTEN = (
    "archs/v3", "archs.v3", "conf/arch/v3", "conf/data/owls", "conf/head/bayes",
    "g5.embeddings.counting", "g5/embeddings/counting", "g5/cli/exploring/count",
)  # fmt: skip
DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "outputs" for part in path.relative_to(ROOT).parts)
)  # fmt: skip


def is_there(dotted: str) -> bool:
    """Whether a module, or a name in one, of that path exists."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        stem = ROOT.joinpath(*parts[:n])
        if (module := stem.with_suffix(".py")).is_file() or (
            module := stem / "__init__.py"
        ).is_file():
            rest = parts[n : n + 1]
            return not rest or re.search(rf"\b{rest[0]}\b", module.read_text()) is not None
    return False


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_exists(path: Path):
    text = re.sub(r"https?://[^\s)]+", "", path.read_text(encoding="utf-8"))
    missing = [name for name in DOTTED.findall(text) if not is_there(name)]
    missing += [name for name in FILE.findall(text) if not (ROOT / name.rstrip("./")).exists()]
    missing += [link for link in LINK.findall(text) if not (path.parent / link).exists()]
    assert not [name for name in missing if not name.startswith(TO_BE_WRITTEN)]
