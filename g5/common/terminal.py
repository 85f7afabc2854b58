"""A command and its terminal: letters that it lacks, and its end."""

import os
import signal
import sys
import threading
from typing import Any


def speak_utf8() -> None:
    """Begin the process anew in UTF-8 where its locale has ASCII alone; print what can be printed.

    In such a locale files whose names are not ASCII are not found by them. Python leaves it by
    itself, unless ``PYTHONUTF8=0`` or another locale of ASCII forbids that.
    """
    if sys.getfilesystemencoding() == "ascii":
        os.environ["PYTHONUTF8"] = "1"  # for processes that it starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def end_with_terminal() -> None:
    """Take SIGHUP for Ctrl-C; not under `nohup`, and not where the system has no such signal."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(hangup) == signal.SIG_DFL:
        signal.signal(hangup, _interrupt)


def _interrupt(number: int, frame: Any) -> None:
    # What ends the command is not to be ended by a second one, nor by writing to no terminal.
    signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if os.isatty(stream):
            os.dup2(nowhere, stream)
    os.close(nowhere)
    raise KeyboardInterrupt
