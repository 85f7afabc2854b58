"""Mutated inputs over every reader: each is accepted, repaired with a note, or refused by name.

What else may happen is a failure, told with the seed that repeats it: a traceback, more than
`MOST_S` of computing, no answer, a crash of a library, more than `MOST_BYTES` of memory, a refusal
that does not name the file. Inputs are read in processes of their own; every end is in a ledger,
so that a fuzzing that was stopped goes on.
"""

import contextlib
import io
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from g5.common.errors import UserError

MOST_S = 5.0
SILENT_S = 120.0  # without an end of an input, on however busy a machine
MOST_BYTES = 2 * 2**30  # more than there were at first
AT_ONCE = 500  # inputs of one process
MAGIC = (
    b"RIFF", b"PAR1", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\n", b'"', b"\t", b"nan", b"-1", b"{",
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """What is fuzzed.

    Attributes:
        name: for the tally.
        file: the name under which it is read.
        whole: the bytes of a whole file.
        read: reads it; True for a note.
        head: only so many bytes at its beginning are changed; None: any.
    """

    name: str
    file: str
    whole: bytes
    read: Callable[[Path], Any]
    head: int | None = None


@dataclass
class Tally:
    """How all inputs ended."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{reader}: {end} {count}" for (reader, end), count in sorted(self.ends.items())]
        return "\n".join([*lines, *self.failures, f"{sum(self.ends.values())} inputs, "
                          f"{len(self.failures)} failures"])  # fmt: skip


def mutated(whole: bytes, rng: np.random.Generator, head: int | None = None) -> bytes:
    """A file with one to four things wrong, in its first ``head`` bytes where that is given."""
    content, rest = bytearray(whole[:head]), whole[head:] if head else b""
    for _ in range(rng.integers(1, 5)):
        at, end = sorted(rng.integers(0, len(content) + 1, 2).tolist())
        kind = rng.integers(6)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1 and not rest:
            del content[at:]
        elif kind == 2:
            del content[at : min(end, at + 64)]
        elif kind == 3:
            content[at:at] = content[at : min(end, at + 64)]
        elif kind == 4:
            magic = MAGIC[rng.integers(len(MAGIC))]
            content[at : at + len(magic)] = magic
        else:
            content[at : at + 8] = rng.bytes(8)
    return bytes(content) + rest


def fuzz(readers: list[Reader], folder: Path, *, inputs: int, seed: int) -> Tally:
    """So many inputs, in turns over all readers, after a whole file for each.

    Args:
        readers: all of them.
        folder: for files and the ledger, where an earlier call's inputs are not done again.
        inputs: mutated.
        seed: of the mutations.
    """
    for reader in readers:
        (folder / reader.name).mkdir(parents=True, exist_ok=True)
    work = _Work(readers, folder, inputs, seed)
    while (done := work.done()) < work.total:
        process = multiprocessing.get_context("fork").Process(target=work.some, args=(done,))
        process.start()
        if fault := _fault(process, work, done):
            work.note(work.done(), "failed", fault)
    return work.tally()


def _fault(process: Any, work: "_Work", done: int) -> str | None:
    """What ended a process before its time."""
    while True:
        process.join(SILENT_S)
        if not process.is_alive():
            number = process.exitcode
            return None if number == 0 else f"crashed ({_name_of(number)})"
        if work.done() == done:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            return f"no answer in {SILENT_S:.0f} s"
        done = work.done()


def _name_of(number: int) -> str:
    return signal.Signals(-number).name if number < 0 else f"exit code {number}"


@dataclass(frozen=True)
class _Work:
    """The inputs of one fuzzing, in their order, and how they ended."""

    readers: list[Reader]
    folder: Path
    inputs: int
    seed: int

    @property
    def total(self) -> int:
        return len(self.readers) + self.inputs

    @property
    def ledger(self) -> Path:
        return self.folder / f"ledger_{self.seed}_{len(self.readers)}.jsonl"

    def done(self) -> int:
        return self.ledger.read_bytes().count(b"\n") if self.ledger.exists() else 0

    def note(self, number: int, end: str, fault: str = "") -> None:
        """One input more has ended."""
        line = json.dumps([self._reader(number).name, end, self._which(number), fault])
        with open(self.ledger, "a") as handle:
            handle.write(line + "\n")

    def some(self, first: int) -> None:
        """Read some inputs, in a process of its own."""
        _limit_memory()
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for number in range(first, min(first + AT_ONCE, self.total)):
            reader = self._reader(number)
            path, content = self.folder / reader.name / reader.file, reader.whole
            if (of_inputs := number - len(self.readers)) >= 0:
                rng = np.random.default_rng([self.seed, of_inputs])
                content = mutated(reader.whole, rng, reader.head)
            path.write_bytes(content)
            self.note(number, *_end(reader, path))
        os._exit(0)  # libraries' threads of the parent are not here to be waited for

    def tally(self) -> Tally:
        """What the ledger says."""
        tally = Tally()
        for line in self.ledger.read_text().splitlines()[: self.total]:
            name, end, which, fault = json.loads(line)
            if which == "whole":
                if end != "accepted":
                    tally.failures.append(f"{name}: the whole file is {end}: {fault}")
                continue
            tally.ends[name, end] += 1
            if end == "failed":
                tally.failures.append(f"{name}, {which}: {fault}")
        return tally

    def _reader(self, number: int) -> Reader:
        return self.readers[number % len(self.readers)]

    def _which(self, number: int) -> str:
        of_inputs = number - len(self.readers)
        return "whole" if of_inputs < 0 else f"seed {self.seed}, input {of_inputs}"


def _limit_memory() -> None:
    """A blow-up ends in a MemoryError; where the system does not count, nothing does."""
    try:
        import resource

        status = Path("/proc/self/status").read_text()
        now = int(status.partition("VmData:")[2].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (now + MOST_BYTES, now + MOST_BYTES))
    except (ImportError, OSError, IndexError, ValueError):
        return


def _end(reader: Reader, path: Path) -> tuple[str, str]:
    """How an input ended, and what was wrong with that."""
    start_s, said = time.process_time(), io.StringIO()
    end, fault = "accepted", ""
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            if reader.read(path) or said.getvalue():
                end = "repaired"
    except UserError as error:
        end = "refused"
        if path.stem not in str(error) and str(path.parent) not in str(error):
            end, fault = "failed", f"refused without its name: {error}"
        if "\n" in str(error).strip():
            end, fault = "failed", f"more than one line: {error}"
    except BaseException as error:
        end, fault = "failed", f"{type(error).__name__}: {error}"
    if (took_s := time.process_time() - start_s) > MOST_S:
        end, fault = "failed", f"took {took_s:.1f} s; {fault or end}"
    return end, fault
