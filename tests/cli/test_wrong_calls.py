"""Wrong calls are answered at once: before PyTorch is imported, which takes seconds."""

import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from g5.cli.main import main
from tests.conftest import ROOT

STORE = "nowhere.store"
CALLS = {
    "train v9": "choose from",
    "train v2 arch.episodes.nway=4": "n_way",
    "train v2 arch.episodes.n_way=x": "must be a whole number",
    "train v2 budget=week": "budget",
    "train v2 logger=1": "logger=1: a group takes one name; choose one of",
    "train v2 data=[1,2]": "data=[1,2]: a group takes one name; choose one of annotated",
    "train v2 budget={a:1}": "budget={a:1}: a group takes one name; choose one of evening",
    "train v2 data={a:1}": "data.a: there is no such key",
    "train v2 arch.training={a:1}": "arch.training.a: there is no such key",
    "train v2 data=dcase path.train_dir=nowhere": "path.train_dir=nowhere",
    "train v2 arch.training.load_weight_from=nowhere.ckpt": "nowhere.ckpt: there is no such file",
    "test nowhere.ckpt": "nowhere.ckpt: there is no such file",
    "test some.ckpt arch.episodes.nway=3": "did you mean arch.episodes.n_way?",
    "shots nowhere.ckpt": "nowhere.ckpt: there is no such file",
    "shots some.ckpt trainer.thread=1": "did you mean trainer.threads?",
    "detect nowhere.ckpt night.wav --support five.txt": "nowhere.ckpt: there is no such file",
    "detect default nowhere.wav --support labels.csv": "there is no such recording",
    "detect default . --support nowhere.txt": "nowhere.txt: there is no such file",
    "evaluate nowhere.csv labels.csv": "nowhere.csv: there is no such file",
    "evaluate labels.csv nowhere": "nowhere: there is no such file",
    "embed device.ckpt . -o x": "device.ckpt: is no regular file",
    "predict device.head . -o x": "device.head: is no regular file",
    "embed device.onnx . -o x": "device.onnx: is no regular file",
    "convert device.csv -o x.csv": "device.csv: is no regular file",
    "convert labels.csv -o ./labels.csv": "labels.csv: is read by this command",
    "data split labels.csv --output=labels.csv": "labels.csv: is read by this command",
    "train v2 arch.model.channels=x": "arch.model.channels: must be a list",
    "capacity v9": "choose from",
    "capacity v2 arch.episodes.nway=3": "did you mean arch.episodes.n_way?",
    "capacity v2 arch.training.load_weight_from=nowhere.ckpt": "nowhere.ckpt: there is no such",
    "test labels.csv": "labels.csv: is no checkpoint",
    "test some.ckpt data.roott=x": "did you mean data.root?",
    "compare nowhere": "nowhere: no such folder, no run of that name",
    "pretrain pretrain.recipe.step=3": "did you mean pretrain.recipe.steps?",
    "pretrain arch.model.chanels=3": "did you mean arch.model.channels?",
    "pretrain arch.training.load_weight_from=nowhere.ckpt": "nowhere.ckpt: there is no such file",
    "detect nosuch night.wav --support five.txt": "ENCODER 'nosuch'",
    "detect default+nosuch night.wav --support five.txt": "ENCODER 'nosuch'",
    "detect mel_cnn . --support five.txt encoder.weigths=x": "encoder.weigths: there is no such",
    "detect default . --support five.txt detection.treshold=3": "did you mean detection.threshold?",
    "detect default . --support five.txt detection.threshold=x": "detection.threshold: must be",
    "detect default . --support labels.csv": "labels.csv: its first row is",
    "detect default . --support five.txt --format x": "--format: there is no 'x'",
    "detect default . --support five.txt --zone Mars/X": "is no time zone",
    "detect default . --support five.txt detection.hours=x": "detection.hours=x",
    "detect default . --support five.txt --columns x=y": "--columns: x=y",
    "detect default . --support five.txt --truth nowhere": "nowhere: there is no such file",
    "plan nowhere.txt night.wav": "nowhere.txt: there is no such file",
    "plan five.txt nowhere.wav": "there is no such recording",
    "plan five.txt . --encoder nosuch": "ENCODER 'nosuch'",
    "verify made.store --labels labels.csv verify.component=1": "did you mean verify.components?",
    "search made.store --like night.wav search.metrik=x": "did you mean search.metric?",
    "cluster made.store cluster.metod=kmeans": "did you mean cluster.method?",
    "map made.store map.metod=tsne": "did you mean map.method?",
    "label made.store label.strateg=margin": "did you mean label.strategy?",
    "encoders probe made.store probe.seeed=1": "probe.seeed=1",
    "encoders check mel_cnn encoder.weigths=x": "encoder.weigths: there is no such key",
    "predict some.head night.wav -o p.csv embed.hop=1": "did you mean embed.hop_s?",
    "plan five.txt . --support five.txt": "No such option '--support'",
    "plan five.txt . detection.treshold=3": "did you mean detection.threshold?",
    "evaluate labels.csv labels.csv": "has no annotation tables",
    "review nowhere": "nowhere: has no predictions.csv",
    "review found review.ordr=x": "did you mean review.order?",
    "summarise nowhere": "nowhere: has no predictions.csv",
    "summarise found --zone Mars/X": "is no time zone",
    "clips nowhere.csv -o x": "nowhere.csv: there is no such file",
    "clips five.txt -o x clips.margn=1": "did you mean clips.margin?",
    "convert nowhere.csv -o x": "nowhere.csv: there is no such file",
    "data check data=clips data.root=nowhere": "data.root=nowhere",
    "data check data.roott=nowhere": "did you mean data.root",
    "data fetch nosuch -o x": "nosuch",
    "data split nowhere.csv -o x": "nowhere.csv",
    "data when nowhere": "there is no such recording",
    "features features.n_mel=3": "did you mean features.n_mels?",
    "features features.n_mels=x": "features.n_mels: must be a whole number",
    "data check datta=clips": "did you mean data?",
    "features traner.threads=1": "did you mean trainer?",
    "embed nowhere.ckpt . -o b.store": "nowhere.ckpt: there is no such file",
    "embed mel_cnn nowhere -o b.store": "nowhere: there is no such file",
    "embed mel_cnn . -o b.store embed.hop=1": "did you mean embed.hop_s?",
    f"classify {STORE} --labels nowhere.csv": "nowhere.csv: there is no such file",
    f"classify {STORE} --labels labels.csv": "there is no such store",
    f"classify {STORE} --labels labels.csv classify.fold=2": "did you mean classify.folds?",
    f"predict nowhere.head {STORE} -o p.csv": "nowhere.head: there is no such file",
    "predict labels.csv . -o p.csv": "labels.csv: is no head",
    "predict some.head nowhere -o p.csv": "nowhere: there is no such file",
    "classify made.store --labels bare.csv": "it needs `file` and `label`",
    "verify made.store --labels bare.csv": "it needs `file` and `individual` or `label`",
    "map made.store --labels bare.csv": "it needs `file` and",
    "search made.store --unusual --labels bare.csv": "it needs `file` and",
    "label made.store --simulate bare.csv": "it needs `file` and `label`",
    "finetune mel_cnn --labels bare.csv": "it needs `file` and `label`",
    "finetune nosuch --labels labels.csv": "ENCODER 'nosuch'",
    "explain some.ckpt nowhere.wav": "nowhere.wav: there is no such file",
    "explain some.ckpt night.wav --like nowhere.wav:1-2": "nowhere.wav: there is no such file",
    "explain some.ckpt night.wav explain.metod=x": "did you mean explain.method?",
    "export nowhere.head -o x.onnx": "nowhere.head: there is no such file",
    "export nosuch -o x.onnx": "ENCODER 'nosuch'",
    "export mel_cnn -o x.onnx encoder.weigths=x": "encoder.weigths: there is no such key",
    "finetune nowhere.onnx --labels labels.csv": "nowhere.onnx: there is no such file",
    "finetune mel_cnn --labels nowhere.csv": "nowhere.csv: there is no such file",
    "finetune mel_cnn --labels labels.csv finetune.epochs=1": "at least 2",
    f"verify {STORE} --labels labels.csv": "there is no such store",
    f"search {STORE} --like a.wav": "there is no such store",
    f"cluster {STORE}": "there is no such store",
    f"map {STORE}": "there is no such store",
    f"label {STORE}": "there is no such store",
    f"encoders probe {STORE}": "there is no such store",
    "encoders check nowhere.ckpt": "nowhere.ckpt: there is no such file",
    "explain nowhere.ckpt a.wav": "nowhere.ckpt: there is no such file",
    "import nowhere.csv -o b.store": "nowhere.csv: there is no such file",
}
# A sweep needs Optuna, an extra, to say anything.
NOTHING_TO_GET_WRONG = {("ui",), ("sweep",)}
ASK = """
import contextlib, io, json, sys
from g5.cli.main import main

for call, words in json.loads(sys.argv[1]).items():
    out = io.StringIO()
    with contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
        sys.argv = ["g5", *call.split()]
        main()
    assert words in out.getvalue(), (call, out.getvalue())
    assert "torch" not in sys.modules, call
"""


@pytest.fixture
def place(tmp_path):
    """A folder with something of every kind that a call may name, each of the right name alone."""
    for name in ("some.ckpt", "some.head", "night.wav"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("file,label\na.wav,x\n")
    for kind in ("ckpt", "head", "onnx", "csv"):
        (tmp_path / f"device.{kind}").symlink_to(os.devnull)
    (tmp_path / "bare.csv").write_text("recording,what\na.wav,x\n")
    (tmp_path / "five.txt").write_text("1.0\t1.2\tcall\n")
    for name in ("found/predictions.csv", "found/ledger.csv", "made.store/settings.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def commands(group, words=()):
    """Every command, as its words."""
    for name in group.list_commands(click.Context(group)):
        one = group.get_command(click.Context(group), name)
        if isinstance(one, click.Group):
            yield from commands(one, (*words, name))
        else:
            yield (*words, name), one


@pytest.mark.parametrize(("words", "command"), [*commands(main)])
def test_every_command_tells_an_unknown_option_as_one(words, command):
    required = [p for p in command.params if isinstance(p, click.Argument) and p.required]
    result = CliRunner().invoke(main, [*words, *("v2" for _ in required), "--bogus", "x"])
    assert result.exit_code == 2, result.output
    assert "No such option" in result.output
    assert "--bogus" in result.output


def test_a_wrong_path_and_a_wrong_key_of_every_command_are_here():
    for words, command in commands(main):
        calls = [call for call in CALLS if call.split()[: len(words)] == [*words]]
        takes = {param.name for param in command.params}
        if words not in NOTHING_TO_GET_WRONG:
            assert calls, words
        if "overrides" in takes and words not in NOTHING_TO_GET_WRONG:
            assert any("=" in call for call in calls), words


def test_paths_and_keys_are_checked_before_torch_is_imported(place):
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(CALLS)],
        cwd=place, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
