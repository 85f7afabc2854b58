"""Every key of conf/, command and public name has its line in the reference."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

from g5.config.choices import CONF
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "reference_pages", ROOT / "docs" / "reference_pages.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(node: dict, above: str = "") -> set[str]:
    """Dotted keys of what is no group, without Hydra's lists of defaults."""
    found = set()
    for key, value in node.items():
        if key == "defaults" and not above:
            continue
        name = f"{above}.{key}" if above else str(key)
        found |= leaves(value, name) if isinstance(value, dict) and value else {name}
    return found


@pytest.mark.parametrize(
    "path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF))
)
def test_every_key_has_its_line_and_default(path: Path, reference):
    told = {key: value for key, value, _ in reference.key_lines(path)}
    content = yaml.safe_load(path.read_text()) or {}
    assert leaves(content) <= told.keys()
    page = "\n".join(reference.key_page())
    place = reference.place_of(path)
    for key in leaves(content):
        assert f"| `{place}.{key}` |" in page if place else f"| `{key}` |" in page


def test_keys_of_the_commands_settings_say_what_they_mean(reference):
    """Of what a user is offered; a budget or an experiment sets keys that are told elsewhere."""
    wanted = {"audio", "detection", "path", "features", "trainer", "callbacks", "logger"}
    silent = [
        f"{path.relative_to(CONF)}: {key}"
        for path in CONF.rglob("common/default.yaml")
        if path.relative_to(CONF).parts[0] in wanted
        for key, value, comment in reference.key_lines(path)
        if value and not comment
    ]
    assert not silent


def test_every_command_is_there(reference):
    from g5.cli.main import main

    page = "\n".join(reference.command_page())
    assert all(
        f"\n## g5 {name}\n" in f"\n{page}" for name in main.list_commands(click.Context(main))
    )
    assert "\n## g5 data check\n" in page


def test_every_public_name_has_a_docstring_on_its_page(reference):
    page = "\n".join(reference.python_page())
    for place in reference.PUBLIC:
        module = importlib.import_module(place)
        for name in module.__all__:
            assert f"## {place}.{name}\n" in page
            assert getattr(module, name).__doc__.splitlines()[0] in page


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-d", str(tmp_path / "trees")]
    subprocess.run([*command, str(ROOT / "docs"), str(tmp_path / "site")], check=True)
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        assert 'src="http' not in text
        assert 'rel="stylesheet" href="http' not in text
