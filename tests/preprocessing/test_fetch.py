"""`g5 data fetch` against a server on this machine that breaks connections, lies and is away."""

import errno
import hashlib
import io
import json
import shutil
import socket
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

import preprocessing.datasets.fetch
from g5.common.errors import UserError
from preprocessing.datasets.fetch import fetch
from preprocessing.datasets.unpack import unpack
from tests.conftest import run_g5

RECORD = 10829604


class Server(ThreadingHTTPServer):
    """Serves a record; ``cut`` bytes are sent at most before a connection is dropped."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.md5: dict[str, str] = {}
        self.cut: int | None = None
        self.ranges = True
        self.fails = 0  # answers 503 that many times
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def record(self) -> bytes:
        entries = [
            {
                "key": name, "size": len(data),
                "checksum": f"md5:{self.md5.get(name, hashlib.md5(data).hexdigest())}",
                "links": {"self": f"{self.url}/api/records/{RECORD}/files/{name}/content"},
            }
            for name, data in self.files.items()
        ]  # fmt: skip
        return json.dumps({"id": RECORD, "files": entries}).encode()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append((self.path, self.headers["Range"]))
        if server.fails:
            server.fails -= 1
            self.send_error(503)
            return
        parts = self.path.split("/")
        if self.path == f"/api/records/{RECORD}":
            data, cut = server.record(), None
        elif len(parts) == 7 and parts[5] in server.files:
            data, cut = server.files[parts[5]], server.cut
        else:
            self.send_error(404)
            return
        start = 0
        if self.headers["Range"] and server.ranges:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        self.wfile.write(body if cut is None else body[:cut])
        self.wfile.flush()
        if cut is not None and cut < len(body):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments) -> None:
        pass


def zipped(members: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as bundle:
        for name, data in members.items():
            bundle.writestr(name, data)
    return memory.getvalue()


MEMBERS = {
    "Development_Set/Training_Set/BV/a.wav": b"RIFF" * 60_000,
    "Development_Set/Training_Set/BV/a.csv": b"Audiofilename,Starttime,Endtime,A\n",
    "Development_Set/Validation_Set/HB/b.csv": b"Audiofilename,Starttime,Endtime,Q\n",
    "__MACOSX/x": b"x",
}


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(preprocessing.datasets.fetch, "CHUNK", 1 << 14)
    with Server() as server:
        server.files = {"Development_Set.zip": zipped(MEMBERS), "notes.txt": b"read me"}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: Server, folder: Path) -> list[Path]:
    return fetch(RECORD, folder, url=server.url, pause_s=0.001)


def test_a_record_arrives_whole_and_a_second_start_fetches_nothing(server, tmp_path: Path):
    paths = get(server, tmp_path / "set")
    assert [path.relative_to(tmp_path / "set").as_posix() for path in paths] == [
        *list(MEMBERS)[:3], "notes.txt",
    ]  # fmt: skip
    for name, data in list(MEMBERS.items())[:3]:
        assert (tmp_path / "set" / name).read_bytes() == data
    left = {path.name for path in (tmp_path / "set").iterdir()}
    assert left == {"Development_Set", "notes.txt", ".g5_fetch.json"}
    server.asked.clear()
    assert get(server, tmp_path / "set") == paths
    assert [path for path, _ in server.asked] == [f"/api/records/{RECORD}"]
    # What was lost is fetched again.
    paths[0].unlink()
    assert get(server, tmp_path / "set") == paths
    assert paths[0].exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_dropped_connections_are_gone_on_with(server, tmp_path: Path, ranges: bool):
    server.ranges = ranges
    server.cut = 100_000 if ranges else None
    server.fails = 2
    if not ranges:
        tmp_path.joinpath(".Development_Set.zip.part").write_bytes(
            server.files["Development_Set.zip"][:50_000]
        )
    get(server, tmp_path)
    assert (tmp_path / "Development_Set/Training_Set/BV/a.wav").stat().st_size == 240_000
    asked = [offset for path, offset in server.asked if "Development_Set.zip" in path]
    assert asked == ([None, "bytes=100000-", "bytes=200000-"] if ranges else ["bytes=50000-"])


def test_a_stopped_download_goes_on_at_the_next_start(server, tmp_path: Path):
    server.cut = 0
    server.files = {"big.bin": bytes(range(256)) * 400}
    (tmp_path / ".big.bin.part").write_bytes(server.files["big.bin"][:70_000])
    with pytest.raises(UserError, match="what was downloaded is kept"):
        get(server, tmp_path)
    assert (tmp_path / ".big.bin.part").stat().st_size == 70_000
    server.cut = None
    server.asked.clear()
    assert get(server, tmp_path) == [tmp_path / "big.bin"]
    assert server.asked[-1][1] == "bytes=70000-"
    # Longer than the file: of another version.
    (tmp_path / "big.bin").unlink()
    (tmp_path / ".big.bin.part").write_bytes(b"x" * 200_000)
    assert get(server, tmp_path)[0].read_bytes() == server.files["big.bin"]


def test_a_wrong_checksum_is_removed(server, tmp_path: Path):
    server.md5["notes.txt"] = "0" * 32
    with pytest.raises(UserError, match=r"notes\.txt: its checksum is not the record's"):
        get(server, tmp_path)
    assert not (tmp_path / "notes.txt").exists()
    assert (tmp_path / "Development_Set").exists()


def test_nothing_that_it_did_not_make_is_replaced_or_removed(server, tmp_path: Path):
    mine = tmp_path / "notes.txt"
    mine.write_text("my own notes")
    with pytest.raises(UserError, match=r"notes\.txt: is there, and is not the record's file"):
        get(server, tmp_path)
    assert mine.read_text() == "my own notes"
    mine.unlink()
    shutil.rmtree(tmp_path / "Development_Set")
    member = tmp_path / next(iter(MEMBERS))
    member.parent.mkdir(parents=True)
    member.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"a\.wav: is there, and is not what the archive holds"):
        get(server, tmp_path)
    assert member.read_bytes() == b"mine"
    member.unlink()
    archive = tmp_path / "Development_Set.zip"
    archive.write_bytes(server.files[archive.name])
    server.asked.clear()
    assert len(get(server, tmp_path)) == 4
    assert archive.exists(), "a copy of the user's is taken, and stays"
    assert not any(archive.name in path for path, _ in server.asked)


def test_answers_are_bounded(server, tmp_path: Path, monkeypatch):
    server.files = {"notes.txt": b"x" * 1000}
    honest = server.record()
    server.files["notes.txt"] = b"x" * 300_000
    monkeypatch.setattr(server, "record", lambda: honest)
    with pytest.raises(UserError, match="sends more than the record's 1,000 bytes"):
        get(server, tmp_path)
    monkeypatch.setattr(server, "record", lambda: b" " * 300_000)
    monkeypatch.setattr(preprocessing.datasets.fetch, "RECORD_BYTES", 1000)
    with pytest.raises(UserError, match="answers more than a list of files"):
        get(server, tmp_path)


def test_no_network_no_record_no_room(server, tmp_path: Path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=r"cannot be reached \(.*refused\); check the network"):
        fetch(RECORD, tmp_path, url=f"http://127.0.0.1:{port}", pause_s=0.001)
    with pytest.raises(UserError, match="the server says 404"):
        fetch(1, tmp_path, url=server.url, pause_s=0.001)
    monkeypatch.setattr(server, "record", lambda: b"<html>")
    with pytest.raises(UserError, match="is no record of Zenodo"):
        get(server, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(UserError, match=r"Development_Set\.zip needs 0\.0 GB more"):
        get(server, tmp_path)


def test_a_disk_that_fills_up_on_the_way(server, tmp_path: Path, monkeypatch):
    def full(*_, **__) -> Iterator[bytes]:
        yield b"x"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(preprocessing.datasets.fetch, "track", full)
    with pytest.raises(UserError, match="the disk is full"):
        get(server, tmp_path)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:\\evil.txt"])
def test_archives_write_nothing_outside(tmp_path: Path, name: str):
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({"good.txt": b"x", name: b"x"}))
    with pytest.raises(UserError, match="lies outside"):
        unpack(archive, tmp_path / "into")
    assert not (tmp_path / "into").exists()
    assert not (tmp_path / "evil.txt").exists()


def test_archives_with_links_or_damage_are_refused(tmp_path: Path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive, into = tmp_path / "a.zip", tmp_path / "into"
    into.mkdir()
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr(link, "/etc")
    with pytest.raises(UserError, match="holds the link 'link'"):
        unpack(archive, into)
    data = bytearray(zipped({"a.txt": b"abc" * 100}))
    data[60] ^= 1
    archive.write_bytes(data)
    with pytest.raises(UserError, match="no whole zip archive"):
        unpack(archive, into)
    assert list(into.iterdir()) == []
    archive.write_bytes(b"no zip")
    with pytest.raises(UserError, match="no whole zip archive"):
        unpack(archive, into)


@pytest.mark.parametrize("name", ["../a", "a/b", ".hidden", ""])
def test_names_of_files_in_the_record_stay_in_the_folder(server, tmp_path: Path, name: str):
    server.files = {name: b"x"}
    with pytest.raises(UserError, match="is no record of Zenodo"):
        get(server, tmp_path)


def test_the_command(server, tmp_path: Path, capsys, monkeypatch):
    assert run_g5(["data", "fetch", "dcase2024", "-o", str(tmp_path), "--url", server.url]) == 0
    out = capsys.readouterr().out
    assert "dcase2024: 4 files in" in out
    assert f"path.train_dir={tmp_path}/Development_Set/Training_Set" in out
    assert run_g5(["data", "fetch", "dcase1999", "-o", str(tmp_path)]) == 1
    assert "choose from dcase2024" in capsys.readouterr().err
