"""Where the test of a checkpoint goes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from g5.runs.tested import _root_of


def restored(path: Path) -> Any:
    settings = SimpleNamespace(name="base", exp_name="v1_run")
    return cast("Any", SimpleNamespace(path=path, settings=settings))


def test_a_test_lies_with_its_run_and_else_in_the_current_folder(tmp_path, monkeypatch):
    run = tmp_path / "outputs" / "base" / "v1_run"
    assert _root_of(restored(run / "checkpoints" / "a.ckpt")) == str(tmp_path)
    assert _root_of(restored(run / "3" / "checkpoints" / "a.ckpt")) == str(tmp_path)
    assert _root_of(restored(tmp_path / "a.ckpt")) is None
    monkeypatch.chdir(tmp_path)
    assert _root_of(restored(run / "checkpoints" / "a.ckpt")) is None
