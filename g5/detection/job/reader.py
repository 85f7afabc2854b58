"""Opens the recordings of a run by their content, which is hashed once."""

from collections.abc import Sequence
from pathlib import Path

from g5.common.errors import UserError
from g5.detection.embedding.sound import Sound, Sounds
from preprocessing.audio import content_hash, info
from preprocessing.recordings import scan


class RecordingReader:
    """Knows the content of recordings.

    Args:
        sounds: opens them.
        store_dir: folder of stores, where hashes are kept.

    Attributes:
        hashes: of the content, by path, of all that were looked at and can be read.
    """

    def __init__(self, sounds: Sounds, store_dir: Path) -> None:
        self.hashes: dict[str, str] = {}
        self._sounds = sounds
        self._store_dir = store_dir

    def look_at(self, files: Sequence[Path]) -> dict[str, str]:
        """Hash recordings; by path, why those cannot be read that cannot."""
        table, problems = scan(files, self._store_dir)
        self.hashes.update(zip(table["file"], table["sha256"], strict=True))
        broken = {}
        for problem in problems:
            try:
                # A WAV with a wrong length is read to its end.
                info(problem.where)
                self.hashes[problem.where] = content_hash(problem.where)
            except (UserError, OSError):
                broken[problem.where] = problem.message
        return broken

    def open(self, path: Path) -> Sound:
        """A recording with its features.

        Raises:
            UserError: it cannot be read, to the end.
        """
        if str(path) not in self.hashes:
            for message in self.look_at([path]).values():
                raise UserError(f"{path}: {message}")
        return self._sounds.open(path, self.hashes[str(path)])
