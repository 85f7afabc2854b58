"""The one exception that means "the user can put this right", and what is said of all others."""

import errno
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from g5.common.secrets import redacted
from g5.common.words import on_one_line


class UserError(ValueError):
    """What is wrong (file, row or key) and what to do, in one line.

    Entry points print it as ``error: ...`` and exit with 1; it never shows a traceback. Text that
    comes from a file may be in it: what would break the line is spelled out.
    """

    def __init__(self, text: str) -> None:
        super().__init__(on_one_line(text))


class DiskError(UserError):
    """The disk fails: no fault of what was being worked on, and there is no going on."""


# What a disk says that is full, and one that may not be written.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EACCES, errno.EROFS, errno.EPERM)
# What code raises that gets other content than it was written for.
ILL_TYPED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError,
)  # fmt: skip


def brief(error: BaseException, most: int = 200) -> str:
    """What an error of somebody else's code says, as one line of at most so many characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:most]


def one_line(error: BaseException) -> str:
    """An error of somebody else's code, of which kind it is, too."""
    return f"{type(error).__name__}: {brief(error) if str(error).strip() else 'no message'}"


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Around the import of an optional package: where it is not there, a `UserError` says how to
    get it."""
    try:
        yield
    except ImportError as error:
        raise UserError(f'{what}: pip install "g5[{extra}]"') from error


@contextmanager
def unreadable(what: object, *kinds: type[Exception], advice: str = "") -> Iterator[None]:
    """Turn what a library raises over a file's content into a `UserError` that names the file.

    Args:
        what: the file.
        kinds: beside those that ill-typed content raises.
        advice: what to do, if there is something.
    """
    try:
        yield
    except UserError:
        raise
    except (*ILL_TYPED, *kinds) as error:
        after = f"; {advice}" if advice else ""
        raise UserError(f"{what}: cannot be read ({one_line(error)}){after}") from error


def line_of(error: BaseException) -> str:
    """The line that a command ends with: what the user can put right, or that it is our fault."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (*FULL, *CLOSED):
        advice = "free some space" if error.errno in FULL else "make it writable, or choose another"
        return f"{error.filename or 'the disk'}: {error.strerror}; {advice} and run again"
    return our_fault(error)


def our_fault(error: BaseException) -> str:
    """A line on an error that is no `UserError`; its traceback is kept in a file that it names."""
    words = " ".join(sys.argv)
    text = redacted("".join([f"{words}\n\n", *traceback.format_exception(error)]))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="g5-", suffix=".traceback.txt", delete=False, encoding="utf-8"
        ) as handle:
            handle.write(text)
        kept = f"the traceback is in {handle.name}; please report it with that file"
    except OSError:
        print(text, file=sys.stderr)
        kept = "the traceback is above; please report it"
    return f"this is a fault of g5, not yours ({redacted(one_line(error))}); {kept}"
