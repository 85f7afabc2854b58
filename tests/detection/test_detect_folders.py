"""`g5 detect` over folders: every file accounted for, resumed, nothing of others replaced."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
import soundfile

from g5.common.errors import UserError
from g5.config.earlier import first_name, updated
from g5.config.node import Node
from g5.config.settings import load
from g5.detection.detector import Detector
from g5.detection.job.results import picture_of
from g5.detection.job.search import RecordingSearch
from tests.conftest import ROOT
from tests.detection.soundscapes import (
    CALLS_S,
    DOWN,
    OTHERS_S,
    RATE,
    UP,
    audacity,
    overlap,
    predictions,
    soundscape,
)


def test_a_zip_and_an_address_are_searched_like_the_file(job, tmp_path, night):
    with zipfile.ZipFile(tmp_path / "rec.zip", "w") as bundle:
        bundle.write(night, "site1/night.wav")
    fs = fsspec.filesystem("memory")
    fs.pipe("/detected/site1/night.wav", night.read_bytes())
    (tmp_path / "library.csv").write_text(
        "file,start_s,end_s,label\n" + "".join(f"night.wav,{a},{a + 0.3},up\n" for a in CALLS_S[:5])
    )
    places = {
        "night.wav": f"{tmp_path}/night.wav",
        "rec.zip": f"{tmp_path}/rec.zip/site1/night.wav",
        "memory://detected": "memory://detected/site1/night.wav",
    }
    found = []
    for number, (typed, file) in enumerate(places.items()):
        out = ["-o", f"found{number}", f"audio.cache_dir={tmp_path}/cache"]
        assert job(typed, "--support", "library.csv", *out, "detection.pictures=false") == 0
        assert pd.read_csv(f"found{number}/ledger.csv")["file"].tolist() == [file]
        table = pd.read_csv(f"found{number}/predictions.csv")
        assert set(table["file"]) == {file}
        found.append(table.drop(columns="file"))
    fs.rm("/detected", recursive=True)
    assert len(found[0]) > 5
    pd.testing.assert_frame_equal(found[0], found[1])
    pd.testing.assert_frame_equal(found[0], found[2])


def test_a_folder_is_accounted_for_and_resumed(job, tmp_path, night, capsys, monkeypatch):
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "night.wav").symlink_to(night)
    soundfile.write(folder / "second.wav", soundscape(12, {2.0: UP, 8.0: UP}, seed=5), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE * 3), RATE)
    soundfile.write(folder / "tiny.wav", soundscape(0.02, {}), RATE)
    soundfile.write(folder / "dc.wav", np.full(RATE * 3, 0.5), RATE)
    soundfile.write(folder / "offset.wav", 0.4 + 0.3 * soundscape(3, {1.0: UP}), RATE)
    soundfile.write(folder / "loud.wav", np.clip(9 * soundscape(3, {1.0: UP}), -1, 1), RATE)
    whole = folder / "cut.flac"
    soundfile.write(whole, soundscape(20, {}), RATE)
    whole.write_bytes(whole.read_bytes()[:20_000])
    (folder / "empty.wav").touch()
    (folder / "noise.mp3").write_bytes(b"no sound at all" * 99)
    (folder / "head.wav").write_bytes((folder / "silent.wav").read_bytes()[:20])
    soundfile.write(folder / "huge.wav", 1e30 * soundscape(3, {}), RATE, subtype="FLOAT")
    (folder / "$\\frac$ \u9ce5.wav").symlink_to(folder / "second.wav")
    (tmp_path / "library.csv").write_text(
        "file,start_s,end_s,label\n" + "".join(f"night.wav,{a},{a + 0.3},up\n" for a in CALLS_S[:5])
    )
    arguments = ["recordings", "--support", "library.csv", "--format", "raven,dcase"]
    assert job(*arguments) == 1, "some files are corrupt"
    ledger = pd.read_csv(tmp_path / "found/ledger.csv").set_index("file")
    ledger.index = [Path(file).name for file in ledger.index]
    assert len(ledger) == 13
    reason = ledger["reason"].to_dict()
    assert "samples of up to" in reason["huge.wav"]
    assert "shorter than a window" in reason["tiny.wav"]
    assert "clipped" in reason["loud.wav"]
    assert "DC offset" in reason["offset.wav"]
    status = ledger["status"].to_dict()
    assert {status[name] for name in ("night.wav", "second.wav", "tiny.wav", "loud.wav")} == {
        "done"
    }
    assert {status[name] for name in ("empty.wav", "noise.mp3", "head.wav", "huge.wav")} == {
        "corrupt"
    }
    assert status["cut.flac"] == "done"
    assert "of 20.000 s; read to there" in reason["cut.flac"]
    assert status["silent.wav"] == "skipped"
    found = predictions(tmp_path / "found")
    second = found.query("file.str.endswith('second.wav')")
    assert overlap(second, [2.0, 8.0]) == 2
    dcase = pd.read_csv(tmp_path / "found/predictions_dcase.csv")
    assert dcase.columns[:3].tolist() == ["Audiofilename", "Starttime", "Endtime"]
    ends = dcase.query("Audiofilename == 'night.wav'")["Endtime"].to_numpy()
    assert ends.min() > CALLS_S[4] + 0.3
    error = capsys.readouterr().err
    assert "corrupt: " in error
    assert "Warning" not in error

    monkeypatch.setattr("g5.detection.detector.Detector.detect", None)
    assert job(*arguments) == 1
    assert predictions(tmp_path / "found").equals(found), "nothing is done twice"


@pytest.mark.parametrize(
    ("choice", "first"),
    [
        ("prototypes", "detection.score.PrototypeScorer"),
        ("template", "detection.template.TemplateScorer"),
        ("energy", "detection.energy.EnergyScorer"),
    ],
)
def test_keys_of_finished_work_hold_the_first_name_of_a_scorer(choice, first):
    """A folder that an earlier g5 has written is gone on with, wherever classes have moved."""
    scorer = load([f"detection={choice}"]).detection.scorer
    assert first_name(scorer.target) == first
    assert updated(Node(first, scorer.values).plain()) == scorer.plain()


def test_what_is_no_fault_of_a_recording_is_tried_again(job, tmp_path, capsys, monkeypatch):
    """A full disk ends the job; what is corrupt in the store is made again."""
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    arguments = ["night.wav", "--support", "calls.txt", "detection.pictures=false"]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("preprocessing.store.shards.Shard.write", lambda *_: full_disk(full))
        assert job(*arguments) == 1
    error = capsys.readouterr().err
    assert "the disk is full; free some space and run again" in error
    assert "corrupt" not in error
    assert job(*arguments) == 0
    first = (tmp_path / "found/predictions.csv").read_bytes()
    for number, shard in enumerate(sorted((tmp_path / "outputs/store").glob("*/*.f16"))):
        os.truncate(shard, 1000 * number)
    capsys.readouterr()
    assert job(*arguments, "-o", "again") == 0
    error = capsys.readouterr().err
    assert error.count("is truncated to") == 2, "features and embeddings"
    assert error.count("it is made again") == 2
    assert (tmp_path / "again/predictions.csv").read_bytes() == first


def full_disk(write) -> None:
    from g5.common.atomic import disk_errors

    with disk_errors(Path("outputs/store")):
        write()


def test_another_support_is_told_of_once_its_events_are_there(job, tmp_path, monkeypatch):
    rows = "".join(f"night.wav,{start},{start + 0.3},up\n" for start in CALLS_S[:5])
    (tmp_path / "ours.csv").write_text("file,start_s,end_s,label\n" + rows, "utf-8")
    (tmp_path / "theirs.csv").write_text(
        "file,start_s,end_s,label\n" + rows.replace(",up", ",down"), "utf-8"
    )
    monkeypatch.setattr(RecordingSearch, "over", _killed)
    assert job("night.wav", "--support", "theirs.csv") == 1
    assert not (tmp_path / "found" / "support.csv").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert job("night.wav", "--support", "ours.csv", "detection.pictures=false") == 0
    assert set(pd.read_csv(tmp_path / "found" / "support.csv")["label"]) == {"up"}


def _killed(*_: object) -> None:
    raise UserError("killed")


def test_results_replace_no_input_and_nothing_of_others(job, tmp_path, capsys):
    support = audacity(tmp_path / "night.txt", {"up": CALLS_S[:5]})
    before = support.read_bytes()
    arguments = ["night.wav", "--support", "night.txt", "detection.pictures=false"]
    assert job(*arguments, "-o", ".") == 1
    assert "night.txt: is an input, and the results would replace it" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/predictions.csv").write_text("of somebody else")
    assert job(*arguments, "-o", "mine") == 1
    assert "predictions.csv: is there, and of no earlier" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert job(*arguments, "-o", "file") == 1
    assert "a file is in the way of this folder" in capsys.readouterr().err
    assert support.read_bytes() == before
    # A table for a recording without events, too: an earlier one would tell of what is no more.
    assert job(*arguments) == 0
    assert (tmp_path / "found/night.txt").read_text()
    assert job(*arguments, "detection.min_duration=9") == 0
    assert (tmp_path / "found/night.txt").read_text() == ""


def test_a_second_recording_does_not_replace_what_was_found_in_the_first(job, tmp_path, capsys):
    audacity(tmp_path / "night.txt", {"up": CALLS_S[:5]})
    arguments = ["--support", "night.txt", "detection.pictures=false"]
    assert job("night.wav", *arguments) == 0
    assert "the support's own aside" in capsys.readouterr().out
    first = predictions(tmp_path / "found")
    assert first["support"].tolist().count(True) == 5
    ledger = pd.read_csv("found/ledger.csv")
    assert (ledger["events"].tolist(), ledger["support"].tolist()) == ([len(first)], [5])
    soundfile.write(tmp_path / "second.wav", soundscape(12, {2.0: UP, 8.0: UP}, seed=5), RATE)
    assert job("second.wav", *arguments) == 1
    assert "night.wav, which is not searched now" in capsys.readouterr().err
    assert predictions(tmp_path / "found").equals(first)
    (tmp_path / "night.wav").rename(tmp_path / "moved.wav")
    audacity(tmp_path / "moved.txt", {"up": CALLS_S[:5]})
    assert job("moved.wav", "--support", "moved.txt", "detection.pictures=false") == 0


def test_only_what_a_detection_wrote_is_replaced(job, tmp_path, capsys, monkeypatch):
    """Every output is looked at, the files of a folder of truth, and what other formats add."""
    audacity(tmp_path / "night.txt", {"up": CALLS_S[:5]})
    arguments = ["night.wav", "--support", "night.txt", "-o", "out", "--format"]
    said = "and the results would replace it"
    out, picture = tmp_path / "out", picture_of(Path("out"), tmp_path / "night.wav")
    picture.parent.mkdir(parents=True)
    for path in (out / "candidates.csv", out / "ledger.csv", out / "predictions.csv"):
        path.write_text("file,start_s,end_s,label\nnight.wav,1,1.3,up\n")
        with monkeypatch.context() as patch:
            patch.setattr(
                "g5.detection.job.reader.scan", None
            )  # told before any recording is hashed
            assert job("night.wav", "--support", str(path), "-o", "out") == 1
        assert f"{path.name}: is an input, {said}" in capsys.readouterr().err
        path.unlink()
    for path in (out / "report.html", picture):
        path.write_text("of somebody else")
        assert job(*arguments, "csv") == 1
        assert f"{path.name}: is there, and of no earlier detection" in capsys.readouterr().err
        path.unlink()

    # A person's own table is one even where a detection has run, until one has written it.
    assert job(*arguments, "csv") == 0
    mine = out / "night.selections.txt"
    mine.write_text("of somebody else")
    assert job(*arguments, "csv,raven") == 1
    assert "night.selections.txt: is there, and of no earlier" in capsys.readouterr().err
    assert mine.read_text() == "of somebody else"
    mine.unlink()
    for formats in ("csv,raven", "csv,raven", "csv"):
        assert job(*arguments, formats) == 0

    # Corrected, it is the truth.
    before = mine.read_bytes()
    for truth in ("out", "out/night.selections.txt"):
        assert job(*arguments, "csv,raven", "--truth", truth) == 1
        assert said in capsys.readouterr().err
    assert mine.read_bytes() == before


def test_a_support_names_recordings_by_their_folders(job, tmp_path, night, capsys):
    for place in ("a", "b"):
        (tmp_path / "all" / place).mkdir(parents=True)
        shutil.copy(night, tmp_path / "all" / place / "same.wav")
    Path(os.fsdecode(b"all/bad\xff.wav")).symlink_to(night)
    for name, code in (("a/same.wav", 1), ("same.wav", 1)):
        rows = "".join(f"{name},{s},{s + 0.3},up\n" for s in CALLS_S[:5])
        (tmp_path / "library.csv").write_text("file,start_s,end_s,label\n" + rows)
        assert job("all", "--support", "library.csv", "detection.pictures=false") == code
        error = capsys.readouterr().err
        assert ("may be" in error) == (name == "same.wav")
        if name == "a/same.wav":
            assert "all/bad\\xff.wav: its name is no Unicode (UTF-8); rename it" in error
            assert pd.read_csv("found/ledger.csv")["status"].tolist() == ["done", "done", "corrupt"]


@pytest.mark.usefixtures("drawn_figures")
def test_a_resumed_job_remembers_what_was_odd_and_draws_the_truth(job, tmp_path, capsys):
    # Two shots of another call, which disagree with the others.
    audacity(tmp_path / "calls.txt", {"up": [*CALLS_S[:4], *OTHERS_S[:1]]})
    audacity(tmp_path / "truth.txt", {"up": CALLS_S, "down": OTHERS_S})
    arguments = ["night.wav", "--support", "calls.txt"]
    assert job(*arguments) == 0
    page = (tmp_path / "found/report.html").read_text()
    assert "What leaving each shot out would do" in page
    first = capsys.readouterr().err
    assert job(*arguments) == 0
    assert (tmp_path / "found/report.html").read_text() == page
    again = capsys.readouterr().err
    assert [x for x in first.splitlines() if "note" in x] == [
        x for x in again.splitlines() if "note" in x
    ]
    (picture,) = (tmp_path / "found/pictures").iterdir()
    before = picture.read_bytes()
    assert job(*arguments, "--truth", "truth.txt") == 0
    assert picture.read_bytes() != before, "the truth is drawn, too"
    assert "truth.txt" not in capsys.readouterr().err  # it names no recording: it is of this one
    head = "file,start_s,end_s,label\n"
    (tmp_path / "truth.csv").write_text(f"{head}day.wav,1,2,up\n")
    assert job(*arguments, "--truth", "truth.csv") == 0
    assert "truth.csv: has no calls of what is searched, but of day" in capsys.readouterr().err
    assert picture.read_bytes() == before, "no row of a truth that says nothing of it"
    (tmp_path / "nothing").mkdir()
    assert job(*arguments, "--truth", "nothing") == 1
    assert "has no annotations" in capsys.readouterr().err


def test_recordings_of_one_name_keep_their_results_apart(job, tmp_path, night):
    for place in ("a", "b"):
        (tmp_path / "all" / place).mkdir(parents=True)
        (tmp_path / "all" / place / "same.wav").symlink_to(night)
    rows = "".join(f"{night},{a},{a + 0.3},up\n" for a in CALLS_S[:5])
    (tmp_path / "library.csv").write_text("file,start_s,end_s,label\n" + rows)
    assert job("all", "--support", "library.csv", "--format", "raven") == 0
    tables = sorted((tmp_path / "found").glob("same.*.selections.txt"))
    assert len(tables) == 2
    assert len(list((tmp_path / "found/pictures").iterdir())) == 2


STOPPED = """
import time
from g5.detection.embedding.checkpoint_embedder import CheckpointEmbedder
from g5.cli.main import main
blocks = CheckpointEmbedder._blocks
def waiting(self, sound, *more):
    for number, block in enumerate(blocks(self, sound, *more)):
        if sound.path.name == "b.wav" and number == 2:
            print("two blocks are written", flush=True)
            time.sleep(60)
        yield block
CheckpointEmbedder._blocks = waiting
main(prog_name="g5")
"""


@pytest.mark.usefixtures("drawn_figures")
def test_stopped_in_a_recording_it_goes_on_to_the_same_bytes(
    job, checkpoints, tmp_path, monkeypatch
):
    """Ctrl-C, then a kill, each with the second recording half embedded: nothing shows later."""
    (tmp_path / "all").mkdir()
    for seed, name in enumerate("ab"):
        calls = {start + seed / 7: UP for start in CALLS_S} | dict.fromkeys(OTHERS_S, DOWN)
        soundfile.write(tmp_path / f"all/{name}.wav", soundscape(30, calls, seed), RATE)
    audacity(tmp_path / "all/a.txt", {"up": CALLS_S[:5], "down": OTHERS_S[:3]})
    command = ["all", "--support", "all/a.txt", "--format", "raven"]

    def stopped(how: signal.Signals) -> tuple[int, list[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", STOPPED, "detect", str(checkpoints["v1"]), *command],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert process.stdout is not None
        assert "two blocks are written\n" in iter(process.stdout.readline, "")
        process.send_signal(how)
        _, error = process.communicate(timeout=120)
        return process.returncode, [x for x in error.splitlines() if not x.startswith("note: ")]

    code, (told,) = stopped(signal.SIGINT)
    assert code == 130
    assert told.startswith("stopped; what was finished is kept, and the same command goes on")
    assert len(pd.read_csv("found/ledger.csv")) == 1, "what is done is told"
    assert stopped(signal.SIGKILL) == (-signal.SIGKILL, [])
    stores = (tmp_path / "outputs/store").glob("*/*.f16")
    assert any(not path.with_suffix(".parquet").exists() for path in stores), "half a grid"
    detect, seen = Detector.detect, []
    monkeypatch.setattr(Detector, "detect", lambda *a: seen.append(a[1].path.name) or detect(*a))
    assert job(*command, arch="v1") == 0
    assert seen == ["b.wav"] * 2, "two species, and nothing is done twice"
    assert job(*command, "-o", "whole", "path.root_dir=elsewhere", arch="v1") == 0
    resumed, whole = ({
        path.relative_to(tmp_path / out): path.read_bytes()
        for path in sorted((tmp_path / out).rglob("*"))
        if path.is_file()
    } for out in ("found", "whole"))  # fmt: skip
    assert list(resumed) == list(whole)
    assert [name for name in whole if resumed[name] != whole[name]] == []
