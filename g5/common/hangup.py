"""A terminal that is closed ends a command as Ctrl-C does."""

import os
import signal
import threading
from typing import Any


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
