"""What decoders write to stderr by themselves does not reach the user; all else does."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2
# How lines of libmpg123, and of what reads models, can be told from others.
_NOISE = (
    b"mpg123", b"Note: ", b"Warning: Xing", b"Warning: Encountered", b"Warning: Real sample count",
    b"Warning: Cannot", b"Warning: Big change", b"Warning: Dummy", b"Warning: Fuzzy",
    # LiteRT's.
    b"INFO: Created TensorFlow Lite",
)  # fmt: skip


class _Catcher:
    """Catches what goes to stderr while any thread decodes, and passes on what is no noise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._own = -1
        self._caught = None

    def begin(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth > 1:
                return
            try:
                self._own = os.dup(STDERR)
            except OSError:  # there is no stderr
                self._own = -1
                return
            self._caught = tempfile.TemporaryFile()  # noqa: SIM115  `end` closes it
            os.dup2(self._caught.fileno(), STDERR)

    def end(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth or self._own < 0 or self._caught is None:
                return
            os.dup2(self._own, STDERR)
            os.close(self._own)
            with self._caught as caught:
                if caught.tell() or os.fstat(caught.fileno()).st_size:
                    caught.seek(0)
                    self._pass_on(caught.read())
            self._caught = None

    def _pass_on(self, text: bytes) -> None:
        lines = text.splitlines(keepends=True)
        kept = b"".join(line for line in lines if not any(noise in line for noise in _NOISE))
        if kept.strip():
            os.write(STDERR, kept)


_CATCHER = _Catcher()


@contextmanager
def quiet_decoder(wanted: bool = True) -> Iterator[None]:
    """Keep a decoder's remarks from stderr; where not ``wanted``, do nothing."""
    if not wanted:
        yield
        return
    _CATCHER.begin()
    try:
        yield
    finally:
        _CATCHER.end()
