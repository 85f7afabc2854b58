"""Wrong calls are answered at once: before PyTorch is imported, which takes seconds."""

import json
import subprocess
import sys

from tests.conftest import ROOT

STORE = "nowhere.store"
CALLS = {
    "train v9": "choose from",
    "train v2 arch.episodes.nway=4": "n_way",
    "train v2 arch.episodes.n_way=x": "must be a whole number",
    "train v2 budget=week": "budget",
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
    "data check datta=clips": "did you mean data?",
    "features traner.threads=1": "did you mean trainer?",
    "embed nowhere.ckpt . -o b.store": "nowhere.ckpt: there is no such file",
    "embed mel_cnn nowhere -o b.store": "nowhere: there is no such file",
    "embed mel_cnn . -o b.store embed.hop=1": "did you mean embed.hop_s?",
    f"classify {STORE} --labels nowhere.csv": "nowhere.csv: there is no such file",
    f"classify {STORE} --labels labels.csv": "there is no such store",
    f"classify {STORE} --labels labels.csv classify.fold=2": "did you mean classify.folds?",
    f"predict nowhere.head {STORE} -o p.csv": "nowhere.head: there is no such file",
    "predict labels.csv nowhere -o p.csv": "nowhere: there is no such file",
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


def test_paths_and_keys_are_checked_before_torch_is_imported(tmp_path):
    (tmp_path / "some.ckpt").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("file,label\na.wav,x\n")
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(CALLS)],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
