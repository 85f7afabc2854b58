"""Downloads public sets: resumable, checked against the record's checksums, safely unpacked."""

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g5.common.atomic import atomic_path, disk_errors
from g5.common.errors import UserError
from g5.common.machine import need_room
from g5.common.progress import track
from preprocessing.datasets.unpack import unpack

CHUNK = 1 << 20
# A connection that breaks this often in a row is given up; any byte in between counts anew.
TRIES = 6
PAUSE_S = 1.0  # before the second try, doubled before each next
TIMEOUT_S = 60.0
DONE_NAME = ".g5_fetch.json"
RECORD_BYTES = 16 << 20  # a list of files is no longer


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record."""

    name: str
    url: str
    size: int
    md5: str


def fetch(record: int, folder: str | Path, *, url: str, pause_s: float = PAUSE_S) -> list[Path]:
    """Download and unpack the files of a Zenodo record; what is there already is left alone.

    A file is downloaded to ``.<name>.part``, which the next start goes on with, then checked there;
    an archive is unpacked from there and removed. ``.g5_fetch.json`` remembers what was written.
    Nothing else is replaced: a file of yours in the way is an error that names it.

    Args:
        record: its number.
        folder: where the files go.
        url: of Zenodo.
        pause_s: before a broken connection is tried again.

    Returns:
        The files that are now in ``folder``.

    Raises:
        UserError: no network, a record or file that is not there, a wrong checksum, a full disk.
    """
    folder = Path(folder)
    files = read_record(record, url=url, pause_s=pause_s)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    done = _Done(folder / DONE_NAME)
    paths: list[Path] = []
    for file in files:
        inside = done.members(file)
        if inside is None:
            inside = _arrive(file, folder, pause_s)
            done.add(file, inside)
            _part(file, folder).unlink(missing_ok=True)
        paths += [folder / name for name in inside]
    return paths


def read_record(record: int, *, url: str, pause_s: float = PAUSE_S) -> list[RemoteFile]:
    """The files of a Zenodo record, by its own list.

    Raises:
        UserError: it cannot be reached, or is no list of files.
    """
    address = f"{url.rstrip('/')}/api/records/{record}"
    data = bytearray()
    for chunk in _stream(address, 0, None, pause_s):
        data += chunk
        if len(data) > RECORD_BYTES:
            raise UserError(f"{address}: answers more than a list of files; check the address")
    try:
        return [_remote_file(entry) for entry in json.loads(data)["files"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{address}: is no record of Zenodo with a list of files") from error


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    name, link, checksum = entry["key"], entry["links"]["self"], entry["checksum"]
    kind, _, digest = checksum.partition(":")
    if name in ("", ".", "..") or set(name) & set("/\\:\0") or name.startswith("."):
        raise ValueError(name)
    if kind != "md5" or not link.startswith(("http://", "https://")):
        raise ValueError(link)
    return RemoteFile(name, link, int(entry["size"]), digest.lower())


def _arrive(file: RemoteFile, folder: Path, pause_s: float) -> dict[str, int]:
    """Bring a file, or what is in an archive, into ``folder``: sizes by path."""
    path = folder / file.name
    archive = path.suffix.lower() == ".zip"
    if path.is_file() and path.stat().st_size == file.size and _md5(path) == file.md5:
        # The user's own copy: taken, and left.
        return unpack(path, folder) if archive else {file.name: file.size}
    if not archive and path.exists():
        raise UserError(f"{path}: is there, and is not the record's file; move it, and run again")
    part = _download(file, folder, pause_s)
    if archive:
        return unpack(part, folder)
    with disk_errors(path):
        part.rename(path)
    return {file.name: file.size}


def _part(file: RemoteFile, folder: Path) -> Path:
    return folder / f".{file.name}.part"


def _download(file: RemoteFile, folder: Path, pause_s: float) -> Path:
    part = _part(file, folder)
    have = part.stat().st_size if part.exists() else 0
    if have > file.size:  # of another version of the record
        part.unlink()
        have = 0
    need_room(folder, file.size - have, file.name)
    with disk_errors(part), open(part, "ab") as out:
        chunks = _stream(file.url, have, file.size, pause_s)
        n = -(-(file.size - have) // CHUNK)
        for chunk in track(chunks, total=n, label=file.name, unit="MB"):
            out.write(chunk)
    if _md5(part) != file.md5:
        part.unlink()
        raise UserError(
            f"{folder / file.name}: its checksum is not the record's, so what was downloaded is "
            "removed; run again to fetch it anew"
        )
    return part


def _stream(url: str, start: int, size: int | None, pause_s: float) -> Iterator[bytes]:
    """The bytes from ``start`` on, over as many connections as it takes.

    Args:
        size: of the whole; None: until the server ends, in one go.
    """
    done, failures = start, 0
    while size is None or done < size:
        try:
            for chunk in _one_connection(url, done):
                done += len(chunk)
                if size is not None and done > size:
                    raise UserError(f"{url}: sends more than the record's {size:,} bytes; stopped")
                failures = 0
                yield chunk
            if size is None:
                return
            if done < size:
                raise ConnectionError(f"it was closed after {done:,} of {size:,} bytes")
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise UserError(f"{url}: the server says {error.code} {error.reason}") from error
            failures = _broken(url, failures, error, pause_s)
        except (OSError, http.client.HTTPException) as error:
            failures = _broken(url, failures, error, pause_s)


def _one_connection(url: str, start: int) -> Iterator[bytes]:
    headers = {"User-Agent": "g5"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        skip = 0 if answer.status == 206 else start  # a server that knows no ranges
        while skip:
            skip -= len(answer.read(min(skip, CHUNK))) or skip
        while chunk := answer.read(CHUNK):
            yield chunk


def _broken(url: str, failures: int, error: Exception, pause_s: float) -> int:
    """Wait before the next try, or give up; the number of failures in a row."""
    failures += 1
    if failures >= TRIES:
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"{url}: cannot be reached ({reason}); check the network and run the same command "
            "again: what was downloaded is kept"
        ) from error
    time.sleep(pause_s * 2 ** (failures - 1))
    return failures


def _md5(path: Path) -> str:
    state = hashlib.md5(usedforsecurity=False)  # what Zenodo publishes
    n = -(-path.stat().st_size // CHUNK)
    with open(path, "rb") as handle:
        for chunk in track(
            iter(lambda: handle.read(CHUNK), b""), total=n, label=f"checking {path.name}", unit="MB"
        ):
            state.update(chunk)
    return state.hexdigest()


class _Done:
    """Remembers what each finished file left in the folder, so that the next start skips it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            known = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):  # none yet, or damaged: everything is looked at again
            known = {}
        self._known: dict[str, Any] = known if isinstance(known, dict) else {}

    def members(self, file: RemoteFile) -> dict[str, int] | None:
        """The sizes of what the file left, by path; None if it must be fetched (again)."""
        entry = self._known.get(file.name)
        if not isinstance(entry, dict) or entry.get("md5") != file.md5:
            return None
        inside = entry.get("members")
        if not isinstance(inside, dict):
            return None
        whole = all(_size(self.path.parent / name) == size for name, size in inside.items())
        return inside if whole else None

    def add(self, file: RemoteFile, members: dict[str, int]) -> None:
        self._known[file.name] = {"md5": file.md5, "members": members}
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self._known, indent=0), "utf-8")


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
