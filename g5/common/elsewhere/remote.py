"""What lies at an address, through fsspec: lists of files, what tells a change, bytes in blocks."""

import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any, TypeVar

from g5.common.elsewhere.places import Address
from g5.common.errors import UserError, brief
from g5.common.progress import LINE_S

BLOCK = 1 << 23
# A header is read in so much.
HEAD = 1 << 16
# What fails for a while is tried so often, and waited for twice as long each time.
TRIES, WAIT_S = 5, 1.0
# What a server may say of a file that changes with it, the surest first.
_TELLING = (
    "ETag", "etag", "generation", "md5Hash", "Content-MD5", "content_md5", "Digest",
    "Last-Modified", "LastModified", "last_modified", "updated", "mtime", "created",
)  # fmt: skip
# Raised for what stays wrong however often it is tried.
_LASTING = (PermissionError, IsADirectoryError, ValueError, TypeError, KeyError, ImportError)
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
Found = TypeVar("Found")


class Changed(UserError):
    """What lies at an address is not what it was."""


def system(address: Address) -> Any:
    """What reads such addresses.

    Raises:
        UserError: nothing does, or it is not installed.
    """
    import fsspec

    scheme = str(address).partition(":")[0].lower()
    options: dict[str, Any] = {}
    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout

        # Of a whole file there is no saying how long it takes; of a silence there is.
        options["client_kwargs"] = {"timeout": ClientTimeout(sock_connect=30, sock_read=60)}
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except ImportError as error:
        package = _PACKAGES.get(scheme, "")
        how = 'pip install "g5[remote]"' if package else brief(error)
        raise UserError(f"{address}: {scheme}:// needs {package or 'a package'}; {how}") from error
    except ValueError as error:
        raise UserError(f"{address}: there is no way to read {scheme}://") from error


def patiently(address: Address, act: Callable[[], Found]) -> Found:
    """What ``act`` gives, tried again where a server or a network fails for a while.

    Raises:
        UserError: it fails for good, or all the time.
    """
    for attempt in range(TRIES):
        try:
            return act()
        except Exception as error:
            if isinstance(error, UserError):
                raise
            if (lasting := _lasting(error)) or attempt == TRIES - 1:
                raise UserError(f"{address}: {lasting or _failing(error)}") from error
            time.sleep(WAIT_S * 2**attempt)
    raise AssertionError


def _status(error: BaseException | None) -> int:
    """Of an answer of HTTP that an error or its cause tells of; 0: of none."""
    while error is not None:
        status = getattr(error, "status", None) or getattr(error, "code", None)
        if str(status).isdigit():
            return int(str(status))
        error = error.__cause__
    return 0


def _lasting(error: Exception) -> str:
    """What is wrong for good; "" for what may pass."""
    status = _status(error)
    if status >= 500 or status in (408, 429):
        return ""
    if status in (401, 403) or isinstance(error, PermissionError):
        return "access is refused; put your key or token where fsspec finds it"
    if isinstance(error, FileNotFoundError) and not _lost_connection(error):
        return "there is no such file"
    if isinstance(error, _LASTING) or type(error).__name__ == "NoCredentialsError":
        return f"cannot be read ({brief(error)})"
    return f"is refused (HTTP {status})" if status >= 400 else ""


def _lost_connection(error: Exception) -> bool:
    """fsspec takes a file for missing where a server is: what was raised before tells."""
    cause = error.__cause__
    return cause is not None and not isinstance(cause, FileNotFoundError) and not _status(error)


def _failing(error: Exception) -> str:
    cause = error.__cause__ or error
    status = _status(error)
    said = f"HTTP {status}" if status else brief(cause)
    return f"cannot be fetched ({said}), tried {TRIES} times; run again when it can be reached"


def identity(address: Address) -> tuple[int | None, str]:
    """The size of what lies there, bytes, if the server says it, and what changes with it."""
    info = patiently(address, lambda: system(address).info(str(address)))
    if info.get("type") == "directory":
        raise UserError(f"{address}: is a folder; a sound file is needed here")
    told = next((str(info[name]) for name in _TELLING if info.get(name)), "")
    return info.get("size"), f"{info.get('size')} {told}"


def is_pattern(address: Address | str) -> bool:
    """Whether names are to be filled in: "?" asks a server for something instead."""
    return any(sign in str(address) for sign in "*[")


def listing(folder: Address) -> list[Address]:
    """All files below an address, sorted; those of a web server are what its pages link to.

    Raises:
        UserError: it cannot be reached, or tells of none.
    """
    fs = system(folder)
    text = str(folder).rstrip("/") + "/"
    if text.startswith(("http://", "https://")):
        return sorted(patiently(folder, lambda: _linked(fs, text, {text})))
    scheme = text.partition("://")[0]
    if is_pattern(text):
        found = patiently(folder, lambda: fs.glob(str(folder)))
    else:
        found = patiently(folder, lambda: fs.find(str(folder)))
    return sorted(Address(f"{scheme}://{str(name).lstrip('/')}") for name in found)


def _linked(fs: Any, page: str, seen: set[str]) -> list[Address]:
    """Files that a page of a server links to, and those of the folders below it."""
    found = []
    for entry in fs.ls(page, detail=True):
        name = entry["name"].partition("#")[0]
        if not name.startswith(page) or name in seen or "?" in name[len(page) :]:
            continue  # up, elsewhere, or the same page in another order
        seen.add(name)
        found += _linked(fs, name, seen) if name.endswith("/") else [Address(name)]
    return found


def head(address: Address) -> Any:
    """What lies there, opened: what is read of it alone is fetched; None: there are no ranges."""
    fs = system(address)
    handle = patiently(address, lambda: fs.open(str(address), "rb", block_size=HEAD))
    try:
        handle.seek(-1, os.SEEK_END)
        patiently(address, lambda: handle.read(1))
    except ValueError:  # what fsspec says, and `UserError` is one
        handle.close()
        return None
    handle.seek(0)
    return handle


def too_large(place: object, size: float, most: float) -> UserError:
    """What is said of a file that the cache cannot hold, bytes."""
    gb, limit = f"{size / 1e9:,.3g} GB", f"audio.cache_gb={most / 1e9:g}"
    return UserError(f"{place}: has {gb}, more than {limit} holds; set more")


def fetch(address: Address, size: int | None, out: IO[bytes], most: float) -> None:
    """Write what lies there, in blocks; one that fails is fetched again, and what is there stays.

    Args:
        address: where it lies.
        size: bytes; None: the server does not say.
        out: where it goes.
        most: bytes at which it is given up.

    Raises:
        Changed: there is less or more than the server has said.
        UserError: it cannot be fetched, or is too large.
    """
    Fetching(address, size, out, most).all()


class Fetching:
    """One file on its way.

    Args:
        address: where it lies.
        size: bytes; None: the server does not say.
        out: where it goes.
        most: bytes at which it is given up.
    """

    def __init__(self, address: Address, size: int | None, out: IO[bytes], most: float) -> None:
        self._address, self._size, self._out, self._most = address, size, out, most
        self._by_range = size is not None
        self._told_s = time.monotonic()

    def all(self) -> None:
        """Fetch it."""
        patiently(self._address, self._blocks)
        there = self._out.seek(0, os.SEEK_END)
        if self._size is not None and there != self._size:
            raise Changed(f"{self._address}: {there:,} bytes came of {self._size:,}")

    def _blocks(self) -> None:
        """From where it has stopped; from the start where a server has no ranges."""
        if not self._by_range:
            self._out.seek(0)
            self._out.truncate()
        fs, at = system(self._address), self._out.tell()
        if self._size == at:
            return
        how = {"block_size": BLOCK, "cache_type": "none"} if self._by_range else {"block_size": 0}
        with fs.open(str(self._address), "rb", **how) as source:
            if self._by_range and at:
                source.seek(at)
            try:
                while block := source.read(BLOCK):
                    self._out.write(block)
                    if self._out.tell() > self._most:
                        raise too_large(self._address, self._out.tell(), self._most)
                    self._tell()
            except UserError:
                raise
            except ValueError:  # what fsspec says of a server that sends all of a file again
                if not self._by_range:
                    raise
                self._by_range = False
        if not self._by_range and how["block_size"]:
            self._blocks()

    def _tell(self) -> None:
        if time.monotonic() > self._told_s + LINE_S:
            self._told_s = time.monotonic()
            of = f" of {self._size / 1e6:,.0f}" if self._size else ""
            line = f"fetching {self._address}: {self._out.tell() / 1e6:,.0f}{of} MB"
            print(line, file=sys.stderr, flush=True)
