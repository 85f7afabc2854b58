"""Recordings as a user names them: a file, a folder, a pattern, a list."""

from pathlib import Path

import pytest

from g5.common.errors import UserError
from g5.common.files import sounds_at


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("a/x.wav", "a/b/y.flac", "z.wav", "note.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(place: Path, text: str) -> list[str]:
    return [path.relative_to(place).as_posix() for path in sounds_at(place / text)]


def test_patterns_and_lists_mean_recordings(place: Path):
    assert names(place, "a") == ["a/b/y.flac", "a/x.wav"]
    assert names(place, "z.wav") == ["z.wav"]
    assert names(place, "**/*.wav") == ["a/x.wav", "z.wav"]
    assert names(place, "*") == ["a/b/y.flac", "a/x.wav", "z.wav"]
    assert names(place, "*.mp3") == []
    (place / "list.txt").write_text("# mine\nz.wav\n\na\nz.wav\n", "utf-8-sig")
    assert names(place, "list.txt") == ["z.wav", "a/b/y.flac", "a/x.wav"]
    (place / "a[1].wav").touch()  # a file that is called like a pattern
    assert names(place, "a[1].wav") == ["a[1].wav"]


def test_what_is_not_there_is_told_with_its_row(place: Path):
    with pytest.raises(UserError, match="no such recording, folder or pattern"):
        sounds_at(place / "q.wav")
    (place / "list.txt").write_text("z.wav\nq.wav\n")
    with pytest.raises(UserError, match=r"list\.txt, row 2: .*q\.wav"):
        sounds_at(place / "list.txt")
    (place / "list.txt").write_text("list.txt\n")
    with pytest.raises(UserError, match=r"row 1: list\.txt is no recording"):
        sounds_at(place / "list.txt")
    (place / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no list of recordings in UTF-8"):
        sounds_at(place / "list.txt")
