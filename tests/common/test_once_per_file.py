"""What is known of a file is found out once, and again when it has changed."""

import os

from g5.common.files import once_per_file


def test_a_file_is_looked_at_again_only_when_it_has_changed(tmp_path):
    seen = []

    @once_per_file(8)
    def size_of(path: str) -> int:
        """Bytes."""
        seen.append(path)
        return os.path.getsize(path)

    path = tmp_path / "a.bin"
    path.write_bytes(b"1")
    assert [size_of(path), size_of(str(path))] == [1, 1]
    assert seen == [str(path)]
    path.write_bytes(b"123")
    assert size_of(path) == 3
    os.utime(path, ns=(1, 1))
    assert size_of(path) == 3
    assert len(seen) == 3
    assert size_of.__doc__ == "Bytes."
