"""How the code is laid out: modules, functions and folders of a size, class names told apart."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("archs", "g5", "preprocessing", "experiments", "benchmarks")
MODULE_LINES, FUNCTION_LINES, MODULES = 450, 60, 16


def modules() -> Iterator[tuple[Path, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def nodes(kind: type | tuple[type, ...]) -> Iterator[tuple[Path, ast.AST]]:
    for path, text in modules():
        yield from ((path, node) for node in ast.walk(ast.parse(text)) if isinstance(node, kind))


def test_a_module_can_be_read_at_a_sitting_and_a_function_on_a_screen():
    long = [str(path) for path, text in modules() if text.count("\n") > MODULE_LINES]
    functions = nodes((ast.FunctionDef, ast.AsyncFunctionDef))
    long += [
        f"{path}: {node.name}"  # type: ignore[attr-defined]
        for path, node in functions
        if node.end_lineno - node.lineno >= FUNCTION_LINES  # type: ignore[attr-defined]
    ]
    assert not long


def test_a_folder_holds_no_more_than_some_fifteen_modules():
    count = Counter(path.parent for path, _ in modules())
    assert not {str(folder): n for folder, n in count.items() if n > MODULES}


def test_no_two_classes_have_one_name():
    names: dict[str, list[str]] = {}
    for path, node in nodes(ast.ClassDef):
        names.setdefault(node.name, []).append(str(path))  # type: ignore[attr-defined]
    assert not {name: paths for name, paths in names.items() if len(paths) > 1}


def test_text_is_read_and_written_as_utf_8_whatever_the_locale():
    assert not [f"{path}:{call.lineno}" for path, call in nodes(ast.Call) if _in_locale(call)]  # type: ignore[attr-defined]


def _in_locale(call: ast.AST) -> bool:
    """Whether a call opens, reads or writes text in the locale's encoding."""
    assert isinstance(call, ast.Call)
    words = {word.arg for word in call.keywords}
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    if "encoding" in words:
        return False
    if name in ("read_text", "write_text") and isinstance(call.func, ast.Attribute):
        return len(call.args) < 1 + (name == "write_text")
    if ast.unparse(call.func) == "open":
        return "b" not in "".join(map(ast.unparse, call.args[1:]))
    return name in ("run", "Popen") and "text" in words


def test_settings_are_read_by_name_and_not_by_a_string():
    """Once composed they are typed; what runs have stored is read as it lies."""
    stored = ("g5/config", "g5/tracking", "g5/evaluation/compare")
    found = [
        f"{path}:{node.lineno}"  # type: ignore[attr-defined]
        for path, node in nodes(ast.Subscript)
        if not str(path).startswith(stored)
        and isinstance(node.slice, ast.Constant)  # type: ignore[attr-defined]
        and isinstance(node.slice.value, str)  # type: ignore[attr-defined]
        and ast.unparse(node.value).rpartition(".")[2] in ("config", "cfg", "settings")  # type: ignore[attr-defined]
    ]
    assert not found


def test_every_extra_that_is_named_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"g5\[(\w+)\]", page.read_text("utf-8"))}
    for _, node in nodes(ast.Call):
        if ast.unparse(node.func) == "needs":  # type: ignore[attr-defined]
            named.add(node.args[1].value)  # type: ignore[attr-defined]
    assert len(named) > 6
    assert named <= set(project["optional-dependencies"])
