"""Places as a user types them: a path on the disk, an address, or a member of a zip archive."""

import os
import re
from pathlib import Path

# Two letters at least: "C:/" is a drive. A path with an address in it has lost a slash.
_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/+(?=[^/])")
ARCHIVE = ".zip"


class Address(type(Path())):
    """``s3://bucket/site1/x.wav``: has the parts of a path, and is written as an address."""

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().replace("\\", "/").partition(":/")
        return f"{scheme}://{rest.lstrip('/')}"

    def __fspath__(self) -> str:
        return str(self)

    def absolute(self) -> "Address":
        """Itself."""
        return self

    def resolve(self, strict: bool = False) -> "Address":
        """Itself."""
        return self

    @property
    def name(self) -> str:
        """The last part, without what a server is asked (``x.wav?token=1``)."""
        return super().name.partition("?")[0]


def place_of(text: str | os.PathLike[str]) -> Path:
    """What a user has typed, or a table says, as a path: an `Address` if it is one."""
    if isinstance(text, Address):
        return text
    written = os.fspath(text)
    found = _ADDRESS.match(written)
    if found is None or os.path.lexists(written):
        return Path(text)
    return Path(f"/{written[found.end() :]}") if found[1] == "file" else Address(written)


def in_archive(place: Path) -> tuple[Path, str] | None:
    """The zip archive that a path leads into, and the path in it; None if into none.

    The path is "" for the archive itself.
    """
    if ARCHIVE not in str(place).lower():
        return None
    for folder in (place, *place.parents):
        named = folder.name.lower().endswith(ARCHIVE)
        if named and (isinstance(folder, Address) or folder.is_file()):
            return folder, "/".join(place.parts[len(folder.parts) :])
    return None


def is_elsewhere(place: Path) -> bool:
    """Whether this is no file or folder on the disk, but may lie at an address or in an archive."""
    return isinstance(place, Address) or (not place.exists() and in_archive(place) is not None)
