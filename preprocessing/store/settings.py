"""What a store's arrays depend on: its settings, kept in a file, whose hash names its folder."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from g5.common.atomic import write_text
from g5.common.errors import UserError, brief

SETTINGS_FILE = "settings.json"
FORMAT = 1


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Name of the folder of these settings: 16 hex digits of their SHA-256."""
    return hashlib.sha256(canonical(settings).encode()).hexdigest()[:16]


def canonical(settings: Mapping[str, Any]) -> str:
    """Equal settings as equal text."""
    return json.dumps(settings, sort_keys=True, allow_nan=False, separators=(",", ":"))


def is_foreign(name: str) -> bool:
    """Whether a file of this name says that a folder is no store."""
    # Another process may be making the same store at this moment.
    return not name.startswith(".") and name != SETTINGS_FILE


def check_there(path: Path, command: str) -> None:
    """Raise `UserError` where there is no store; ``command`` is what makes one."""
    if path.is_file():
        raise UserError(f"{path}: is a file; a store is a folder")
    if not (path / SETTINGS_FILE).is_file():
        what = "is no store" if path.is_dir() else "there is no such store"
        raise UserError(f"{path}: {what}; make one with `{command}`")


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder ``path`` a store of these settings."""
    content = {"format": FORMAT, "settings": settings, "checksum": settings_hash(settings)}
    write_text(path / SETTINGS_FILE, json.dumps(content, indent=1) + "\n")


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of the store ``path``; raises `UserError` where they cannot be read."""
    file = path / SETTINGS_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        content_format, settings = content["format"], content["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: cannot be read ({brief(error)}); remove the folder {path} to start afresh"
        ) from error
    if content_format != FORMAT:
        raise UserError(
            f"{path}: is a store of format {content_format}, and this g5 reads format {FORMAT}; "
            "use the g5 that made it, or another folder"
        )
    if not isinstance(settings, dict):
        raise UserError(f"{file}: holds no settings; remove the folder {path} to start afresh")
    if content.get("checksum", settings_hash(settings)) != settings_hash(settings):
        raise UserError(
            f"{file}: was changed since it was written, its checksum differs; copy it again, or "
            f"remove the folder {path} to start afresh"
        )
    return settings


def no_store(root: Path, settings: Mapping[str, Any], command: str) -> str:
    """What to say where there is no store of these settings; the nearest other one may explain."""
    others = []
    for file in root.glob(f"*/{SETTINGS_FILE}"):
        with contextlib.suppress(UserError):
            others.append(differences(read_settings(file.parent), settings))
    nearest = f" (the nearest differs: {min(others, key=len)})" if others else ""
    return f"{root}: there is no store of these settings{nearest}; run `{command}` first"


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The keys whose values differ, both values of each."""
    absent = "nothing"
    return ", ".join(
        f"{key} is {there.get(key, absent)} there and {asked.get(key, absent)} here"
        for key in changed_keys(there, asked)
    )


def changed_keys(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, sorted; None is not there."""
    return sorted(key for key in {*there, *asked} if there.get(key) != asked.get(key))
