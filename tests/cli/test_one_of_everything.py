"""What is told of one recording, one call, one clip: "1 recordings" is no English."""

import re

import numpy as np
import pytest
import soundfile

from tests.conftest import run_g5

# A plural after a lone 1; "of 1 recordings" and "row 1 answers" are none of ours either.
ODD = re.compile(
    r"(?<![\d.,:-])1 (?:more )?(recordings|events|calls|files|clips|classes|labels|windows|rows"
    r"|vectors|episodes|epochs|marks|answers|shots|sites|recorders|sources|individuals|tables|dimensions"
    r"|subsets|runs|problems|hours|days)\b"
)
COMMANDS = [
    "data when night_20240501_040000.wav --zone UTC",
    "data check data=clips data.root=clips.csv data.split=test arch.episodes.n_way=2",
    "convert call.csv --format raven -o call.txt",
    "convert call.csv --format audacity -o call_audacity.txt",
    "clips call.csv -o cut",
    "evaluate call.csv call.csv",
    "embed handcrafted one.wav -o one.store",
    "search one.store --unusual",
    "map one.store -o one.html",
    "cluster one.store",
    "classify one.store --labels clips.csv",
    "verify one.store --labels clips.csv",
    "import one.npz -o imported.store",
]


@pytest.fixture
def one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rate = 16000
    sound = 0.1 * np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    for name in ("one.wav", "night_20240501_040000.wav"):
        soundfile.write(name, sound, rate)
    head = "Audiofilename,Starttime,Endtime,call"
    (tmp_path / "call.csv").write_text(f"{head}\nnight_20240501_040000.wav,0.2,0.5,POS\n")
    (tmp_path / "clips.csv").write_text("file,label\none.wav,owl\n")
    np.savez("one.npz", embeddings=np.ones((1, 4), np.float32), files=["one.wav"])
    return tmp_path


def test_one_of_a_thing_is_told_as_one(one, capsys):
    for command in COMMANDS:
        run_g5(command.split())
        said = "".join(capsys.readouterr())
        assert said, command
        assert "fault of g5" not in said, (command, said)
        found = ODD.search(said)
        assert not found, (command, said)
