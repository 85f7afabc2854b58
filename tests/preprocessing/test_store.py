"""The store: what is written is read; kills, full disks and corruption lose only what they hit."""

import errno
import io
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import preprocessing.store.shards as shards_module
import preprocessing.store.store as store_module
import preprocessing.store.writer as writer_module
from g5.common.errors import DiskError, UserError
from preprocessing.store.settings import settings_hash
from preprocessing.store.store import Store
from preprocessing.store.writer import StoreWriter
from tests.conftest import ROOT

SETTINGS = {"_target_": "a.B", "sr": 22050, "fmin": 50.0}


def array(seed: int, rows: int = 10, width: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def open_store(root: Path, create: bool = True) -> Store:
    return Store.open(root, SETTINGS, create=create)


def filled(root: Path, n: int = 6, rows: int = 10) -> Store:
    """A store of two shards, keys "0" to "n - 1"."""
    store = open_store(root)
    for numbers in (range(n // 2), range(n // 2, n)):
        with store.writer() as writer:
            for number in numbers:
                writer.add(str(number), array(number, rows), {"mean": number / 2, "file": "x"})
    return store


def check_content(store: Store, keys: list[str], rows: int = 10) -> None:
    for key in keys:
        np.testing.assert_array_equal(store.get(key), array(int(key), rows).astype(np.float16))


def shard_of(store: Store, key: str) -> Path:
    meta = store.meta.set_index("key")
    return store.path / f"{meta['shard'][key]}.f16"


def test_what_is_added_is_read_here_and_after_opening_again(tmp_path):
    written = filled(tmp_path)
    for store in (written, open_store(tmp_path, create=False)):
        assert sorted(store.keys()) == list("012345")
        assert len(store) == 6
        assert "3" in store
        assert "6" not in store
        check_content(store, store.keys())
        assert store.get("0").dtype == torch.float16
        meta = store.meta.set_index("key")
        assert meta.loc["3", "mean"] == 1.5
        assert meta.loc["3", "file"] == "x"
        assert meta.loc["3", "rows"] == 10
        assert set(store.meta.columns) == {
            "key", "shard", "row", "rows", "checksum", "mean", "file",
        }  # fmt: skip
        assert store.verify() == []


def test_reading_copies_nothing_and_cannot_change_the_file(tmp_path):
    filled(tmp_path)
    store = open_store(tmp_path)
    first, again = store.get("0"), store.get("0")
    assert first.data_ptr() == again.data_ptr()
    # Arrays of a shard lie in one map.
    assert store.get("1").data_ptr() - first.data_ptr() == 10 * 4 * 2
    before = shard_of(store, "0").read_bytes()
    first.zero_()
    assert shard_of(store, "0").read_bytes() == before


def test_an_empty_store_has_the_same_columns(tmp_path):
    store = open_store(tmp_path)
    assert list(store.meta.columns) == ["key", "shard", "row", "rows", "checksum"]
    assert store.keys() == []
    with store.writer():
        pass
    assert [path.name for path in store.path.iterdir()] == ["settings.json"]


def test_meta_may_hold_arrays(tmp_path):
    store = open_store(tmp_path)
    with store.writer() as writer:
        for number in range(3):
            writer.add(str(number), array(number), {"band_mean": np.arange(4.0) + number})
    kept = np.stack(open_store(tmp_path).meta["band_mean"].tolist())
    np.testing.assert_array_equal(kept, np.arange(4.0) + np.arange(3.0)[:, None])


def test_an_array_may_come_in_blocks(tmp_path):
    store, whole = open_store(tmp_path), array(1, 100)
    blocks = [whole[:0], whole[:1], whole[1:60], torch.from_numpy(whole[60:]), whole[:0]]
    with store.writer() as writer:
        writer.add_blocks("a", blocks, lambda: {"n": 5})
    np.testing.assert_array_equal(store.get("a"), whole.astype(np.float16))
    assert store.verify() == []


def test_widths_may_differ(tmp_path):
    store = open_store(tmp_path)
    with store.writer() as writer:
        for width in (4, 7, 4):
            writer.add(f"w{len(store.keys())}-{width}", array(width, 3, width))
    with store.writer() as writer:
        writer.add("seven", array(9, 3, 7))
    assert store.get("seven").shape == (3, 7)
    assert open_store(tmp_path).verify() == []


def test_shards_are_closed_when_they_are_long(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "SHARD_BYTES", 3 * 10 * 4 * 2)
    store = open_store(tmp_path)
    with store.writer() as writer:
        for number in range(7):
            writer.add(str(number), array(number))
        # Whole shards count while the writer goes on.
        assert sorted(open_store(tmp_path).keys()) == list("012345")
    assert len(set(store.meta["shard"])) == 3
    check_content(open_store(tmp_path), list("0123456"))


def test_the_settings_name_the_folder(tmp_path):
    store = filled(tmp_path)
    assert store.path == tmp_path / settings_hash(SETTINGS)
    # The order of keys means nothing.
    reordered = dict(reversed(SETTINGS.items()))
    assert Store.open(tmp_path, reordered, create=False).path == store.path
    other = Store.open(tmp_path, {**SETTINGS, "sr": 16000}, create=True)
    assert other.path != store.path
    assert len(other) == 0


def test_the_wrong_store_says_what_differs(tmp_path):
    store = filled(tmp_path)
    asked = {**SETTINGS, "sr": 16000, "new": 1}
    with pytest.raises(UserError, match=r"nearest differs: new is nothing there and 1 here, sr is"):
        Store.open(tmp_path, asked, create=False)
    with pytest.raises(UserError, match=r"sr is 22050 there and 16000 here"):
        Store.open(store.path, asked, create=True)
    # A store can be named by its own folder.
    assert len(Store.open(store.path, SETTINGS, create=False)) == 6
    with pytest.raises(UserError, match=r"there is no store of these settings; run `g5 features`"):
        Store.open(tmp_path / "elsewhere", SETTINGS, create=False)
    (store.path / "settings.json").write_text("{")
    with pytest.raises(UserError, match=r"settings\.json: cannot be read"):
        Store.open(tmp_path, SETTINGS, create=False)
    (store.path / "settings.json").write_text('{"format": 99, "settings": {}}')
    with pytest.raises(UserError, match="format 99"):
        Store.open(tmp_path, SETTINGS, create=False)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: is a file"):
        open_store(tmp_path / "file")


def test_an_unknown_key_is_named(tmp_path):
    with pytest.raises(UserError, match="holds nothing of the name nine; run `g5 features`"):
        filled(tmp_path).get("nine")


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "nan, which cannot"), (np.inf, "inf, which cannot"), (7e4, "70000, more than fp16")],
)
def test_what_fp16_cannot_hold_is_refused_with_its_key(tmp_path, value, message):
    bad = array(1)
    bad[7, 2] = value
    store = open_store(tmp_path)
    with store.writer() as writer:
        writer.add("0", array(0))
        with pytest.raises(UserError, match=f"^spoilt: has a value of {message}"):
            writer.add_blocks("spoilt", [array(5), bad], dict)
        with pytest.raises(UserError, match=r"^none: an empty array"):
            writer.add("none", array(0, 0))
        writer.add("2", array(2))
    assert sorted(store.keys()) == ["0", "2"]
    check_content(open_store(tmp_path), ["0", "2"])
    assert store.verify() == []


def test_a_source_that_fails_halfway_leaves_no_trace(tmp_path):
    def blocks():
        yield array(9)
        raise RuntimeError("unreadable")

    def write(writer: StoreWriter) -> None:
        with writer:
            writer.add("0", array(0))
            with pytest.raises(RuntimeError):
                writer.add_blocks("bad", blocks(), dict)
            writer.add("1", array(1))
            writer.add_blocks("bad", blocks(), dict)

    with pytest.raises(RuntimeError, match="unreadable"):
        write(open_store(tmp_path).writer())
    # What was complete is kept although the with block was left by an exception.
    store = open_store(tmp_path)
    assert sorted(store.keys()) == ["0", "1"]
    check_content(store, ["0", "1"])
    assert shard_of(store, "0").stat().st_size == 2 * 10 * 4 * 2


def test_the_same_key_twice_does_no_harm(tmp_path):
    filled(tmp_path)
    store = filled(tmp_path)
    for view in (store, open_store(tmp_path)):
        assert sorted(view.keys()) == list("012345")
        assert view.meta["key"].is_unique
        check_content(view, view.keys())


def test_two_threads_write_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "SHARD_BYTES", 500)
    store = open_store(tmp_path)

    def write(numbers: range) -> None:
        with store.writer() as writer:
            for number in numbers:
                writer.add(str(number), array(number))

    threads = [threading.Thread(target=write, args=(range(i, i + 60),)) for i in (0, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for view in (store, open_store(tmp_path)):
        assert len(view) == 160
        check_content(view, view.keys())
    assert store.verify() == []


WRITE = """
import sys
import numpy as np
from pathlib import Path
import preprocessing.store.writer as module
from preprocessing.store.store import Store
module.SHARD_BYTES = int(sys.argv[3])
store = Store.open(Path(sys.argv[1]), {settings}, create=True)
with store.writer() as writer:
    for number in range(*map(int, sys.argv[2].split(","))):
        values = np.random.default_rng(number).normal(size=(10, 4)).astype(np.float32)
        writer.add(str(number), values, {{"n": number}})
        print(number, flush=True)
"""


def start_writer(root: Path, numbers: str, shard_bytes: int) -> subprocess.Popen:
    code = WRITE.format(settings=SETTINGS)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root), numbers, str(shard_bytes)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def test_two_processes_write_at_once(tmp_path):
    processes = [start_writer(tmp_path, numbers, 800) for numbers in ("0,40", "20,60")]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    store = open_store(tmp_path)
    assert len(store) == 60
    check_content(store, store.keys())
    assert store.verify() == []


@pytest.mark.parametrize("after", [0, 37, 211])
def test_a_kill_loses_only_the_shard_being_written(tmp_path, after, monkeypatch):
    """A real SIGKILL, in the middle of writing at full speed."""
    process = start_writer(tmp_path, "0,100000", 800)  # ten arrays in a shard
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= after:
            break
    process.send_signal(signal.SIGKILL)
    told = [int(line) for line in process.stdout]
    process.wait()
    last = max([after, *told])

    store = open_store(tmp_path)
    numbers = sorted(int(key) for key in list(store.keys()))
    assert numbers == list(range(len(numbers)))
    assert last - 10 <= len(numbers) <= last + 12
    check_content(store, store.keys())
    assert store.verify() == []
    # It goes on from there, and what the dead writer left is cleared away.
    monkeypatch.setattr(shards_module, "ABANDONED_S", -1.0)
    with store.writer() as writer:
        for number in range(len(numbers), last + 20):
            writer.add(str(number), array(number))
    check_content(open_store(tmp_path), [str(number) for number in range(last + 20)])
    shards = {path.stem for path in store.path.glob("*.f16")}
    parts = {path.stem for path in store.path.glob("*.parquet")}
    assert shards == parts


def test_a_living_writers_shard_is_not_cleared_away(tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "ABANDONED_S", -1.0)
    store = open_store(tmp_path)
    with store.writer() as slow:
        slow.add("0", array(0))
        open_store(tmp_path).add("1", array(1))
    check_content(open_store(tmp_path), ["0", "1"])


def test_an_index_part_is_written_last(tmp_path, monkeypatch):
    """Killed between data and index, a shard does not exist."""

    def killed(*_):
        raise KeyboardInterrupt

    store = filled(tmp_path)
    monkeypatch.setattr(shards_module.sealed, "write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        store.add("9", array(9))
    assert "9" not in store
    assert len(open_store(tmp_path)) == 6


class FullDisk(io.FileIO):
    """A file on a disk that holds that many bytes more."""

    def __init__(self, path, mode, room: int) -> None:
        super().__init__(path, mode)
        self.room = room

    def write(self, content) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(content[: self.room])
        self.room -= written
        return written


def test_a_full_disk_is_one_line_and_keeps_what_is_complete(tmp_path, monkeypatch):
    store = filled(tmp_path)

    def full_open(path, mode, **_):
        return FullDisk(path, mode, room=200)

    monkeypatch.setattr(shards_module, "open", full_open, raising=False)
    writer = store.writer()

    def write() -> None:
        with writer:
            for number in (6, 7, 8):
                writer.add(str(number), array(number))

    with pytest.raises(UserError, match=r"the disk is full; free some space") as caught:
        write()
    assert "\n" not in str(caught.value)
    assert writer.broken
    monkeypatch.undo()
    store = open_store(tmp_path)
    assert sorted(store.keys()) == list("01234567")
    check_content(store, store.keys())
    assert store.verify() == []


def test_a_disk_that_is_full_for_the_index_too(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = filled(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="the disk is full"):
        store.add("6", array(6))
    assert sorted(store.keys()) == list("012345")
    # Nothing half-written lies about.
    assert len(list(store.path.glob("*.f16"))) == len(list(store.path.glob("*.parquet"))) == 2
    assert not [path for path in store.path.iterdir() if ".tmp" in path.name]


def flip_a_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def truncate(path: Path, _: int) -> None:
    os.truncate(path, 2 * 80 - 1)


def remove(path: Path, _: int) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("harm", "says", "lost"),
    [
        (flip_a_bit, "is corrupt, a checksum differs", ["1"]),
        (truncate, "is truncated to 159 of 240 bytes", ["1", "2"]),
        (remove, "is missing", ["0", "1", "2"]),
    ],
)
def test_a_corrupt_shard_is_named_and_only_its_arrays_are_made_again(tmp_path, harm, says, lost):
    path = shard_of(filled(tmp_path), "1")
    harm(path, 100)
    store = open_store(tmp_path)
    message = rf"{path.name}: {says}.*; run `g5 features --check`"
    with pytest.raises(UserError, match=message):
        store.get("1")
    with pytest.raises(UserError, match=message):
        store.check_shards()
    store.check_shards(["3", "4", "5"])
    check_content(store, ["3", "4", "5"])

    problems = store.verify()
    assert len(problems) == len(lost)
    assert all(path.stem in problem for problem in problems)
    assert [problem.split("key ")[1].rstrip(")") for problem in problems] == lost
    assert store.drop_corrupt() == lost
    for view in (store, open_store(tmp_path)):
        rest = [key for key in "012345" if key not in lost]
        assert sorted(view.keys()) == rest
        view.check_shards()
        check_content(view, rest)
        assert view.verify() == []
    with store.writer() as writer:
        for key in lost:
            writer.add(key, array(int(key)), {"mean": 0.0, "file": "x"})
    check_content(open_store(tmp_path), list("012345"))


def test_taking_keeps_what_is_whole_in_a_damaged_shard(tmp_path, capsys):
    path = shard_of(filled(tmp_path), "1")
    flip_a_bit(path, 100)
    store = open_store(tmp_path)
    np.testing.assert_array_equal(store.take("0"), array(0).astype(np.float16))
    assert "what is corrupt there is dropped" in capsys.readouterr().err
    assert store.take("1") is None, "the damaged one"
    assert sorted(store.keys()) == ["0", "2", "3", "4", "5"]
    check_content(store, store.keys())
    truncate(path, 0)
    assert open_store(tmp_path).take("2") is None
    assert "is truncated to 159 of 240 bytes; it is made again" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".f16", ".parquet"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_what_the_disk_does_not_let_be_read_is_not_dropped(tmp_path, suffix, code, monkeypatch):
    path = shard_of(filled(tmp_path), "1").with_suffix(suffix)
    os.utime(path, (0, 0))  # so that its checksums are looked at
    store, before = open_store(tmp_path), path.read_bytes()
    real = io.open

    def failing(name, *args, **kwargs):
        if Path(name) == path:
            raise OSError(code, os.strerror(code))
        return real(name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "open", failing, raising=False)
        patch.setattr("io.open", failing)  # of pathlib
        if suffix == ".parquet":
            patch.setattr(store_module, "read_part", lambda *_: None)
            os.utime(path.with_suffix(".f16"), (0, 0))
        for act in (lambda: store.take("1"), store.verify, store.drop_corrupt):
            with pytest.raises(
                DiskError, match=rf"{path.name}: cannot be read \({os.strerror(code)}"
            ):
                act()
    assert path.read_bytes() == before
    check_content(open_store(tmp_path), list("012345"))


def test_threads_read_while_what_is_corrupt_is_dropped(tmp_path, monkeypatch):
    path = shard_of(filled(tmp_path), "1")
    flip_a_bit(path, 100)
    store = open_store(tmp_path)
    store.check_shards(["3"])
    real, seen = store_module.read_part, []

    def watched(part_path, columns):
        # In the midst of loading, from another thread.
        reader = threading.Thread(target=lambda: seen.append(len(store) and len(store.get("3"))))
        reader.start()
        reader.join()
        return real(part_path, columns)

    monkeypatch.setattr(store_module, "read_part", watched)
    assert store.take("1") is None
    assert len(seen) >= 3
    assert set(seen) == {10}


def test_whoever_makes_the_arrays_drops_a_corrupt_index_part(tmp_path, capsys):
    path = shard_of(filled(tmp_path), "1").with_suffix(".parquet")
    flip_a_bit(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match="cannot be read, it is corrupt"):
        open_store(tmp_path).check_shards()
    assert path.exists()
    store = open_store(tmp_path).mend_index()
    assert sorted(store.keys()) == ["3", "4", "5"]
    assert "what they held is made again" in capsys.readouterr().err
    assert store.verify() == []


def test_a_bad_byte_where_only_the_meta_lies_is_found(tmp_path):
    """As in a store of an earlier g5, whose index parts have no checksum of the whole."""
    store = filled(tmp_path)
    path = shard_of(store, "1").with_suffix(".parquet")
    shards_module.sealed.pq.write_table(
        shards_module.read_part(path, None), path, write_page_checksum=True
    )
    column = next(
        chunk
        for chunk in map(
            shards_module.sealed.pq.ParquetFile(path).metadata.row_group(0).column, range(6)
        )
        if chunk.path_in_schema == "mean"
    )
    flip_a_bit(path, column.data_page_offset + column.total_compressed_size - 2)
    again = open_store(tmp_path)
    with pytest.raises(UserError, match="cannot be read, it is corrupt"):
        _ = again.meta
    assert "its index part cannot be read" in again.verify()[0]


def test_settings_that_were_changed_are_told(tmp_path):
    file = filled(tmp_path).path / "settings.json"
    assert '"checksum"' in file.read_text()
    file.write_text(file.read_text().replace("1", "2", 2))
    with pytest.raises(UserError, match=r"its checksum differs|format"):
        open_store(tmp_path)


def test_nan_in_a_shard_is_found(tmp_path):
    """Written with the right checksum, as by a writer that did not look."""
    store = filled(tmp_path)
    path = shard_of(store, "0")
    half = np.fromfile(path, np.float16)
    half[3] = np.nan
    half.tofile(path)
    part_path = path.with_suffix(".parquet")
    part = pq.read_table(part_path)
    checksums = part["checksum"].to_pylist()
    checksums[0] = shards_module.zlib.crc32(half[:40].tobytes())
    at = part.column_names.index("checksum")
    pq.write_table(part.set_column(at, "checksum", [checksums]), part_path)
    assert open_store(tmp_path).verify() == [f"{path.name}: has NaN or infinite values (key 0)"]


@pytest.mark.parametrize("position", [-20, 40])
def test_a_corrupt_index_part_is_named_and_dropped(tmp_path, position):
    path = shard_of(filled(tmp_path), "1").with_suffix(".parquet")
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)
    store = open_store(tmp_path)
    assert sorted(store.keys()) == ["3", "4", "5"]
    with pytest.raises(UserError, match=rf"{path.name}: cannot be read.*`g5 features --check`"):
        store.check_shards()
    (problem,) = store.verify()
    assert path.stem in problem
    assert store.drop_corrupt() == []
    store.check_shards()
    assert sorted(open_store(tmp_path).keys()) == ["3", "4", "5"]
    assert len(list(store.path.glob("*.f16"))) == 1


def test_a_copied_store_is_checked_and_accepted(tmp_path):
    """A copy's times are new; its checksums are not."""
    store = filled(tmp_path / "a")
    path = tmp_path / "b" / store.path.name
    path.mkdir(parents=True)
    for file in store.path.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    copy = open_store(tmp_path / "b", create=False)
    check_content(copy, copy.keys())


READ_ONLY = """
import os, sys
import numpy as np
from preprocessing.store.store import Store
if os.geteuid() == 0:  # to root nothing is read-only
    os.setgid(65534), os.setuid(65534)
store = Store.open(sys.argv[1], {settings}, create=True)
store.check_shards()
print(len(store), len(store.get("0")), store.verify())
try:
    store.add("9", np.ones((1, 4)))
except ValueError as error:
    print(error)
"""


def test_a_read_only_folder_can_be_read():
    # Not under tmp_path, whose parents are closed to all but one user.
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        store = filled(Path(place))
        paths = [*store.path.iterdir(), store.path, Path(place)]
        for path in paths:
            path.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY.format(settings=SETTINGS), place],
            capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        for path in paths:
            path.chmod(0o755)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0] == "6 10 []"
        assert "cannot write here" in lines[1]


def test_it_travels_to_other_processes(tmp_path):
    store = filled(tmp_path)
    store.get("0")
    content = pickle.dumps(store)
    assert len(content) < 1000
    check_content(pickle.loads(content), list("012345"))


@pytest.mark.slow
def test_thousands_of_arrays_open_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "SHARD_BYTES", 20 * 80)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    store = open_store(tmp_path)
    meta = {"band_mean": np.zeros(128), "band_std": np.ones(128), "mean": 0.0}
    values = array(0)
    with store.writer() as writer:
        for number in range(4000):  # 200 shards
            writer.add(str(number), values, meta)
    start = time.process_time()
    assert len(open_store(tmp_path)) == 4000
    assert time.process_time() - start < 1.0
