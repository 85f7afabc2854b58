"""The `g5` command: help, completion, errors in one line."""

import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from g5 import __version__
from g5.cli.main import main
from tests.conftest import ROOT, TRAIN_PY, run_g5

G5 = str(Path(sys.executable).with_name("g5"))


def all_commands(group: click.Group, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """The group's own path, and those of everything below it, with what they are called inside."""
    found = {path: group.name or ""}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = (*path, name)
        inner = isinstance(command, click.Group)
        found |= all_commands(command, below) if inner else {below: command.name or ""}
    return found


@pytest.mark.smoke
@pytest.mark.parametrize("command", all_commands(main), ids=" ".join)
def test_every_command_has_help_with_an_example(command):
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert any(line.startswith("  g5 ") for line in result.output.splitlines())


def test_a_command_is_named_as_its_module_and_every_module_is_one():
    commands = all_commands(main)
    assert all(path[-1] == name for path, name in commands.items() if path)
    modules = [p for p in (ROOT / "g5" / "cli").glob("*/**/*.py") if p.stem != "__init__"]
    groups = {path[:-1] for path in commands if len(path) > 1}
    assert len(modules) == len(commands.keys() - groups - {()})


def test_help_lists_the_commands_in_the_order_of_a_walk():
    lines = CliRunner().invoke(main, ["--help"]).output.splitlines()
    first = lines.index("Train and test:") + 1
    names = [line.split()[0] for line in lines[first : first + 6]]
    assert names == ["train", "test", "sweep", "shots", "compare", "capacity"]


def test_completion_lists_the_architectures():
    result = subprocess.run(
        [G5], env={"_G5_COMPLETE": "bash_complete", "COMP_WORDS": "g5 train v", "COMP_CWORD": "2"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert {line.split(",")[1] for line in result.stdout.split()} == {"v1", "v2"}


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from g5.cli.main import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        "print([m for m in ('torch', 'mlflow', 'hydra', 'numpy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "v9"], "there is no architecture 'v9'"),
        (["train", "v1,v2"], "add -m"),
        (["train", "v1", "--epochs=3"], "No such option '--epochs'"),
        (["train", "v1", "arch.training.learning_rat=1"], "did you mean"),
        (["test", "nowhere.ckpt"], "there is no such file"),
        (["data", "check", "data=dcase", "path.train_dir=nowhere"], "nowhere"),
        (["features", "features=mfcc"], "choose one of both, logmel, pcen"),
    ],
)
def test_errors_are_one_line_and_no_traceback(arguments, words, tmp_path):
    done = subprocess.run([G5, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode not in (0, -1)
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len([line for line in done.stderr.splitlines() if "rror" in line]) == 1


def test_the_entry_point_prints_errors_the_same_way(tmp_path):
    command = [sys.executable, str(TRAIN_PY), "arch.training.max_epochs=0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: arch.training.max_epochs: must be at least 1, not 0\n"


def test_a_damaged_store_is_found_and_mended(place, tiny_set, capsys):
    import shutil

    (place / "outputs" / "store").unlink()
    shutil.copytree(tiny_set / "outputs" / "store", place / "outputs" / "store")
    assert run_g5(["features", "--check", "debug=fast"]) == 0
    assert "are whole" in capsys.readouterr().out
    (shard, *_) = sorted((place / "outputs" / "store").rglob("*.f16"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    assert run_g5(["features", "--check", "debug=fast"]) == 1
    assert shard.stem in capsys.readouterr().out
    assert run_g5(["features", "debug=fast"]) == 0
    assert run_g5(["features", "--check", "debug=fast"]) == 0
    # Nothing named: every store that is there.
    assert run_g5(["features", "--check"]) == 0
    (shard, *_) = sorted((place / "outputs" / "store").rglob("*.f16"))
    shard.write_bytes(content[: len(content) // 2])
    assert run_g5(["features", "--check"]) == 1
    assert shard.stem in capsys.readouterr().out
    assert run_g5(["features", "debug=fast"]) == 0
    assert run_g5(["features", "--check"]) == 0


def test_strict_turns_problems_into_an_exit_code(place, tmp_path):
    folder = tmp_path / "set" / "A"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("Audiofilename,Starttime,Endtime,X\na.wav,0,1,POS\n")
    where = ["data=dcase", f"path.train_dir={folder.parent}"]
    assert run_g5(["data", "check", *where]) == 0
    assert run_g5(["data", "check", "--strict", *where]) == 1


def test_strict_refuses_what_is_repaired(tmp_path, capsys):
    for name in "abc":
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            x = np.random.default_rng(number).normal(0, 0.1, 4000)
            soundfile.write(tmp_path / "set" / name / f"{name}{number}.wav", x + ord(name), 8000)
    where = [
        "data=clips", f"path.train_dir={tmp_path / 'set'}", "data.split=test", "features=logmel",
        "arch.episodes.n_way=2", "arch.episodes.k_shot=1", "arch.episodes.n_query=1",
    ]  # fmt: skip
    assert run_g5(["data", "check", *where]) == 0
    whole = capsys.readouterr().out
    cut = tmp_path / "set" / "a" / "a0.wav"
    cut.write_bytes(cut.read_bytes()[:-100])
    (tmp_path / "set" / "a" / "empty.wav").touch()
    assert run_g5(["data", "check", *where]) == 0
    out = capsys.readouterr().out
    assert "1 of 19 recordings end early; read to their end: a0.wav" in out
    assert "empty.wav: cannot be read as sound (it is empty)" in out
    assert "left out" in out
    assert "end early" not in whole
    assert run_g5(["data", "check", "--strict", *where]) == 1


def test_an_architecture_is_named_once():
    result = CliRunner().invoke(main, ["train", "v2", "arch=v1"])
    assert result.exit_code == 2
    assert "arch=v1: the architecture is named already, v2" in result.output


def test_the_version_says_the_revision(monkeypatch):
    for revision, told in (("abc-dirty", ", git abc-dirty"), (None, "")):
        monkeypatch.setattr("g5.common.revision.git_revision", lambda revision=revision: revision)
        said = CliRunner().invoke(main, ["--version"]).output
        assert said == f"g5, version {__version__}{told}\n"


def test_an_error_of_ours_is_a_line_that_names_the_file_of_its_traceback(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    for name in ("truth.csv", "found.csv"):
        (tmp_path / name).touch()

    def broken(*_, **__):
        raise KeyError("no\nsuch")

    monkeypatch.setattr("g5.evaluation.events.evaluate.evaluate_files", broken)
    monkeypatch.setattr("sys.argv", ["g5", "logger.tracking_uri=http://bob:secret@host/"])
    assert run_g5(["evaluate", "truth.csv", "found.csv"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: this is a fault of g5, not yours (KeyError: ")
    file = Path(line.split("the traceback is in ")[1].split(";")[0])
    text = file.read_text()
    file.unlink()
    assert "in broken" in text
    assert "secret" not in text
