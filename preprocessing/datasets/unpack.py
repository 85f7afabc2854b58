"""Unpacks zip archives that nobody has looked into: nothing is written outside the folder."""

import errno
import shutil
import zipfile
import zlib
from pathlib import Path

from g5.common.atomic import atomic_path
from g5.common.elsewhere.archives import BROKEN, refuse_unsafe
from g5.common.errors import UserError
from g5.common.machine import need_room
from g5.common.progress import track


def unpack(archive: Path, folder: Path) -> dict[str, int]:
    """Unpack ``archive`` into ``folder``; members that are there already are left alone.

    Returns:
        The size of each file, by its path in ``folder``.

    Raises:
        UserError: no zip archive, damaged, encrypted, or a member that would lie outside the
            folder, is a link or has the name of another file there (then nothing is unpacked).
    """
    try:
        with zipfile.ZipFile(archive) as bundle:
            members = [info for info in bundle.infolist() if _wanted(info)]
            for info in members:
                refuse_unsafe(archive, info)
            need_room(
                folder, sum(info.file_size for info in members), f"the content of {archive.name}"
            )
            for info in members:
                _refuse_others(info, folder / info.filename)
            for info in track(members, total=len(members), label=archive.name, unit="files"):
                _write(bundle, info, folder / info.filename)
    except BROKEN as error:
        raise UserError(f"{archive}: is no whole zip archive ({error}); fetch it again") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the file's begin
            raise
        raise UserError(f"{archive}: is no whole zip archive; fetch it again") from error
    return {info.filename: info.file_size for info in members}


def _wanted(info: zipfile.ZipInfo) -> bool:
    return not info.is_dir() and not info.filename.startswith("__MACOSX/")


def _refuse_others(info: zipfile.ZipInfo, path: Path) -> None:
    """What is there under a member's name is that member, or it stays and nothing is unpacked."""
    if path.exists() and not _is_there(info, path):
        raise UserError(f"{path}: is there, and is not what the archive holds; move it, run again")


def _is_there(info: zipfile.ZipInfo, path: Path) -> bool:
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    checksum = 0
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == info.CRC


def _write(bundle: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    if path.exists():
        return
    with atomic_path(path) as temporary, bundle.open(info) as source, open(temporary, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
