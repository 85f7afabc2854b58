"""Run folders: claimed, moved, resumed, never taken from under a live run."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from g5.common.errors import UserError
from g5.tracking.folders import RunFolder, claim


def train(root: Path, exp_name: str = "v2_run", *, resume: bool = False, job: int | None = None):
    return claim(root, "base", exp_name, training=True, resume=resume, job=job)


def finished(root: Path, text: str, **kwargs) -> RunFolder:
    with train(root, **kwargs) as folder:
        (folder.checkpoints / "last.ckpt").write_text(text)
    return folder


def test_a_new_run_moves_the_earlier_one_and_says_so(tmp_path: Path) -> None:
    first = finished(tmp_path, "one")
    assert first.path == tmp_path / "outputs" / "base" / "v2_run"
    assert first.message is None
    second = finished(tmp_path, "two")
    assert second.path == first.path
    assert second.moved == first.path.with_name("v2_run.1")
    assert second.message is not None
    assert str(second.moved) in second.message
    third = finished(tmp_path, "three")
    assert third.moved == first.path.with_name("v2_run.2")
    texts = [
        (first.path.with_name(name) / "checkpoints" / "last.ckpt").read_text()
        for name in ("v2_run.1", "v2_run.2", "v2_run")
    ]
    assert texts == ["one", "two", "three"]


def test_numbers_tell_the_order_even_with_gaps(tmp_path: Path) -> None:
    finished(tmp_path, "old")
    (tmp_path / "outputs/base/v2_run.7").mkdir()
    (tmp_path / "outputs/base/v2_run.x").mkdir()
    moved = train(tmp_path).moved
    assert moved is not None
    assert moved.name == "v2_run.8"


def test_a_folder_without_files_is_taken_as_it_is(tmp_path: Path) -> None:
    with train(tmp_path):
        pass
    with train(tmp_path) as again:
        assert again.message is None
    assert not (tmp_path / "outputs/base/v2_run.1").exists()


def test_resumed_and_test_only_runs_use_the_folder_in_place(tmp_path: Path) -> None:
    path = finished(tmp_path, "one").path
    with train(tmp_path, resume=True) as resumed:
        assert resumed.path == path
        assert resumed.message is None
        assert (resumed.checkpoints / "last.ckpt").read_text() == "one"
        # A test may look at a run that is still training.
        tested = claim(tmp_path, "base", "v2_run", training=False, resume=False, job=None)
    assert tested.path == path
    assert (path / "checkpoints" / "last.ckpt").exists()


def test_resume_with_nothing_to_resume_says_so(tmp_path: Path) -> None:
    folder = train(tmp_path, resume=True)
    assert folder.message is not None
    assert "nothing to resume" in folder.message


def test_multirun_jobs_have_folders_of_their_own(tmp_path: Path) -> None:
    zero, one = finished(tmp_path, "0", job=0), finished(tmp_path, "1", job=1)
    assert (zero.path.name, one.path.name) == ("0", "1")
    assert zero.path.parent == tmp_path / "outputs/base/v2_run"
    assert finished(tmp_path, "again", job=0).moved == zero.path.with_name("0.1")
    # A later single run moves the whole sweep.
    moved = finished(tmp_path, "single").moved
    assert moved is not None
    assert (moved / "1" / "checkpoints" / "last.ckpt").read_text() == "1"


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a\\b", "..", ".", "a\nb", "x" * 201])
def test_names_no_folder_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="exp_name="):
        train(tmp_path, name)
    with pytest.raises(UserError, match=r"^name="):
        claim(tmp_path, name, "x", training=True, resume=False, job=None)


@pytest.mark.parametrize("name", ["Grünspecht", "a b", "lr=0.1", "ch=[1,2]", "100%", "#1?"])
def test_odd_names_are_fine(tmp_path: Path, name: str) -> None:
    finished(tmp_path, "one", exp_name=name)
    assert finished(tmp_path, "two", exp_name=name).moved is not None
    assert (tmp_path / "outputs/base" / name / "checkpoints/last.ckpt").read_text() == "two"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("")
    with pytest.raises(UserError, match="in the way"):
        train(tmp_path)
    (tmp_path / "root/outputs/base").mkdir(parents=True)
    (tmp_path / "root/outputs/base/v2_run").write_text("")
    with pytest.raises(UserError, match="in the way"):
        train(tmp_path / "root")


def test_the_record_is_merged(tmp_path: Path) -> None:
    folder = train(tmp_path)
    assert folder.record == {}
    folder.remember(run_id="abc", status="RUNNING")
    folder.remember(status="FINISHED")
    assert folder.record == {"run_id": "abc", "status": "FINISHED"}
    (folder.path / "run.json").write_text('{"half')
    assert folder.record == {}


def test_leftovers_of_a_killed_run_are_swept(tmp_path: Path) -> None:
    folder = finished(tmp_path, "one")
    leftover = folder.checkpoints / ".last.123.tmp.ckpt"
    leftover.write_text("half")
    train(tmp_path, resume=True)
    assert not leftover.exists()
    assert (folder.checkpoints / "last.ckpt").exists()


HOLDER = """
    import sys, time
    from g5.tracking.folders import claim
    job = int(sys.argv[2]) if len(sys.argv) > 2 else None
    folder = claim(sys.argv[1], "base", "v2_run", training=True, resume=False, job=job)
    (folder.checkpoints / "last.ckpt").write_text("live")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("job", [None, "3"])
def test_a_live_run_is_left_alone_and_a_killed_one_is_moved(tmp_path: Path, job) -> None:
    arguments = [str(tmp_path), *([job] if job else [])]
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), *arguments]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        for resume in (False, True):
            with pytest.raises(UserError, match=f"process {holder.pid}") as error:
                train(tmp_path, resume=resume)
            assert "\n" not in str(error.value)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert train(tmp_path).moved is not None


def test_two_training_runs_of_one_name_in_one_process(tmp_path: Path) -> None:
    with train(tmp_path), pytest.raises(UserError, match="is training here"):
        train(tmp_path)
    train(tmp_path).release()


def test_further_ranks_name_the_folder_and_claim_nothing(tmp_path: Path, monkeypatch) -> None:
    with train(tmp_path) as folder:
        (folder.checkpoints / "last.ckpt").write_text("live")
        monkeypatch.setenv("LOCAL_RANK", "1")
        other = train(tmp_path)
        assert other.path == folder.path
        assert other.moved is None
