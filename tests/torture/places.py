"""Odd places to work in: full and read-only disks, company, clocks that run backwards, plain C."""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from tests.conftest import ROOT

RATE_HZ = 8000
SMALL_FILES, LONG_S = 100_000, 86_400
MOST_BYTES = 3 * 2**30  # of a process, whatever it reads
EMBED = ("embed", "handcrafted", "recordings", "-o", "x.store", f"encoder.sr={RATE_HZ}")
# Every clock that Python is asked for goes back an hour with every look.
BACKWARDS = """
import time
_real, _looks = time.time, [0]
def _back():
    _looks[0] += 1
    return _real() - 3600.0 * _looks[0]
time.time = _back
time.time_ns = lambda: int(_back() * 1e9)
"""


def g5(
    home: Path,
    *arguments: str,
    bytes_at_most: int | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """A command in a process of its own, which may write no larger file than that."""

    def limit() -> None:
        if bytes_at_most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, bytes_at_most))

    more = dict(env or {})
    paths = os.pathsep.join(filter(None, (more.pop("PYTHONPATH", ""), str(ROOT))))
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(ROOT / "main.py"), *arguments], cwd=home,
        env={**os.environ, "PYTHONPATH": paths, **more}, preexec_fn=limit,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
        errors="replace",
    )  # fmt: skip


def ended(process: subprocess.Popen[str], codes: Sequence[int] = (0,)) -> list[str]:
    """What is wrong with how a command ended."""
    said = process.communicate()[0]
    lines = [line for line in said.splitlines() if line.strip()] or [""]
    faults = ["a traceback"] if "Traceback" in said or "a fault of g5" in said else []
    if process.returncode not in codes:
        faults.append(f"exit code {process.returncode}: {lines[-1]}")
    return faults


def _recordings(home: Path, names: Sequence[str], seconds: float = 3.0) -> Path:
    folder = home / "recordings"
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        soundfile.write(folder / name, 0.1 * rng.standard_normal(int(seconds * RATE_HZ)), RATE_HZ)
    return folder


def _vectors(home: Path) -> pd.DataFrame:
    from g5.embeddings.vectors import VectorStore

    store = VectorStore.open(home / "x.store")
    vectors = [row.tobytes() for row in np.asarray(store.vectors[:])]
    table = pd.DataFrame({
        "file": store.index["file"].astype(str), "start_s": store.index["start_s"],
        "vector": vectors,
    })  # fmt: skip
    return table.sort_values(["file", "start_s"], ignore_index=True)


def _same_as_alone(home: Path, then: pd.DataFrame) -> list[str]:
    shutil.rmtree(home / "x.store")
    faults = ended(g5(home, *EMBED))
    return faults or ([] if _vectors(home).equals(then) else ["other vectors than alone"])


def full_disk(home: Path) -> list[str]:
    """No file may grow: each command says so in a line, and goes on once there is space."""
    _recordings(home, ["a.wav", "b.wav"])
    train = ("train", "v1", "debug=fast", "test=false", "resume=true")
    faults = []
    for command in (EMBED, ("features", "debug=fast"), train):
        faults += ended(g5(home, *command, bytes_at_most=4096), codes=(1,))
        faults += ended(g5(home, *command))
    return faults


def read_only(home: Path) -> list[str]:
    """A folder that cannot be written is named, and what lies in it can still be read."""
    _recordings(home, ["a.wav"])
    faults = ended(g5(home, *EMBED))
    writable = home.parent / f"{home.name}_else"
    writable.mkdir(exist_ok=True)
    mount = [
        "unshare",
        "-m",
        "sh",
        "-c",
        f"mount -B '{home}' '{home}' && mount -o remount,bind,ro '{home}' && exec \"$@\"",
        "sh",
    ]
    if os.geteuid() != 0 or subprocess.run([*mount, "true"], capture_output=True).returncode:
        return faults  # nothing is read-only to root, and nobody else may mount
    main = [sys.executable, "-W", "ignore", str(ROOT / "main.py")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for cwd, words, code in (
        (home, ["embed", "handcrafted", "recordings", "-o", "y.store"], 1),
        (writable, ["search", str(home / "x.store"), "--like", str(home / "recordings/a.wav:0-1"),
                    "-o", "s.html", f"encoder.sr={RATE_HZ}"], 0),
    ):  # fmt: skip
        done = subprocess.run(
            [*mount, *main, *words], cwd=cwd, env=env, capture_output=True, text=True
        )
        if done.returncode != code or "Traceback" in done.stderr or "fault of g5" in done.stderr:
            faults.append(f"{words[0]}: exit code {done.returncode}: {done.stderr.strip()[-200:]}")
    shutil.rmtree(writable)
    return faults


def in_company(home: Path) -> list[str]:
    """Two jobs on one store, and on one run's folder: both are right, or one says why not."""
    _recordings(home, [f"{number}.wav" for number in range(20)])
    both = [g5(home, *EMBED) for _ in range(2)]
    faults = [fault for process in both for fault in ended(process)]
    if not faults:
        then = _vectors(home)
        faults += ["vectors twice"] if then.duplicated(["file", "start_s"]).any() else []
        faults += _same_as_alone(home, then)
    train = ("train", "v1", "debug=fast", "test=false")
    both = [g5(home, *train) for _ in range(2)]
    faults += [fault for process in both for fault in ended(process, codes=(0, 1))]
    if not any(process.returncode == 0 for process in both):
        faults.append("of two trainings in one folder none came to its end")
    return faults


def backwards(home: Path) -> list[str]:
    """The clock runs backwards."""
    _recordings(home, ["a.wav", "b.wav"])
    (home / "clock").mkdir()
    (home / "clock" / "sitecustomize.py").write_text(BACKWARDS)
    faults = ended(g5(home, *EMBED, env={"PYTHONPATH": str(home / "clock")}))
    faults += faults or _same_as_alone(home, _vectors(home))
    train = ("train", "v1", "debug=fast")
    return faults + ended(g5(home, *train, env={"PYTHONPATH": str(home / "clock")}))


def plain_c(home: Path) -> list[str]:
    """A locale without letters beyond ASCII."""
    _recordings(home, ["Übung α.wav", "b.wav"])
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    faults = ended(g5(home, *EMBED, env=env))
    faults += faults or _same_as_alone(home, _vectors(home))
    (home / "labels.csv").write_text(
        "file,label,start_s,end_s\nÜbung α.wav,Tür,0,1\nb.wav,owl,0,1\n", "utf-8"
    )
    words = ("classify", "x.store", "--labels", "labels.csv", "-o", "x.head",
             "classify.heads=[prototype]")  # fmt: skip
    return faults + ended(g5(home, *words, env=env), codes=(0, 1))


def small_files(home: Path) -> list[str]:
    """As many recordings as an archive has, each shorter than a second."""
    folder = _recordings(home, ["0.wav"], seconds=0.25)
    for number in range(1, SMALL_FILES):
        shutil.copyfile(folder / "0.wav", folder / f"{number}.wav")
        with open(folder / f"{number}.wav", "r+b") as handle:
            handle.seek(100)
            handle.write(number.to_bytes(4, "little"))
    return _bounded(g5(home, *EMBED))


def one_long_file(home: Path) -> list[str]:
    """A recording of 24 hours."""
    (home / "recordings").mkdir()
    block = 0.1 * np.random.default_rng(0).standard_normal(60 * RATE_HZ)
    with soundfile.SoundFile(home / "recordings" / "day.wav", "w", RATE_HZ, 1) as day:
        for _ in range(LONG_S // 60):
            day.write(block)
    return _bounded(g5(home, *EMBED))


def _bounded(process: subprocess.Popen[str]) -> list[str]:
    """Run to the end; a fault where memory is not bounded."""
    most, status = 0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        text = status.read_text() if status.exists() else ""
        if "VmHWM:" in text:
            most = max(most, int(text.partition("VmHWM:")[2].split()[0]) * 1024)
        time.sleep(0.5)
    more = [f"takes {most / 2**30:.1f} GB"] if most > MOST_BYTES else []
    return ended(process) + more


PLACES: Mapping[str, Callable[[Path], list[str]]] = {
    "full disk": full_disk, "read-only disk": read_only, "company": in_company,
    "clock": backwards, "locale": plain_c, "small files": small_files, "long file": one_long_file,
}  # fmt: skip
