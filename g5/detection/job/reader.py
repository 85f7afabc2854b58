"""Opens the recordings of a run by their content, which is hashed once."""

from collections.abc import Sequence
from pathlib import Path

from g5.common.errors import UserError
from g5.common.words import counted, some
from g5.detection.embedding.sound import Sound, Sounds
from preprocessing.recordings import REPAIRED, SKIPPED, scan

_NAMED = 5  # recordings of which one line tells


class RecordingReader:
    """Knows the content of recordings.

    Args:
        sounds: opens them.
        store_dir: folder of stores, where hashes are kept.

    Attributes:
        hashes: of the content, by path, of all that were looked at and can be read.
        seconds: their lengths.
        rates_hz: their samples a second.
        skipped: paths of those that the user wants left out, as they are broken.
    """

    def __init__(self, sounds: Sounds, store_dir: Path) -> None:
        self.hashes: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.rates_hz: dict[str, int] = {}
        self.skipped: set[str] = set()
        self._sounds = sounds
        self._store_dir = store_dir

    def look_at(self, files: Sequence[Path]) -> dict[str, str]:
        """Hash recordings; by path, why those are left out that are.

        Raises:
            UserError: the rules of `audio` do not allow one of them.
        """
        table, problems = scan(files, self._store_dir, self._sounds.rules)
        self.hashes.update(zip(table["file"], table["sha256"], strict=True))
        self.seconds.update(zip(table["file"], table["duration_s"], strict=True))
        self.rates_hz.update(zip(table["file"], table["rate_hz"], strict=True))
        for problem in problems:
            if problem.fatal:
                raise UserError(str(problem))
            if problem.kind == SKIPPED:
                self.skipped.add(problem.where)
            elif problem.kind == REPAIRED:
                print(f"note: {problem}")
        return {p.where: p.message for p in problems if p.kind != REPAIRED}

    def hear_like(self, sound: Sound) -> None:
        """Hear other recordings as this one (`Sounds.hear_like`)."""
        self._sounds.hear_like(sound)

    def narrow(self) -> str:
        """Which recordings lack bands that the support shows; "" if none."""
        names = [Path(file).name for file, hz in self.rates_hz.items() if self._sounds.narrow(hz)]
        if not names:
            return ""
        of = f"{len(names)} of {counted(len(self.rates_hz), 'recording')}"
        lack = "has" if len(names) == 1 else "have"
        return (
            f"{of} {lack} too few samples a second for all that the support shows, and calls up "
            f"there cannot be found in them: {some(names, _NAMED)}"
        )

    def open(self, path: Path) -> Sound:
        """A recording with its features.

        Raises:
            UserError: it cannot be read, to the end.
        """
        if str(path) not in self.hashes:
            for message in self.look_at([path]).values():
                raise UserError(f"{path}: {message}")
        return self._sounds.open(path, self.hashes[str(path)])
