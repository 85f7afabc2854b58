"""Where the time of a job goes: `python -m benchmarks.profiles.jobs training v2`.

Processor time, so that it means the same beside whatever else the machine does; one thread.
"""

import cProfile
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from threadpoolctl import threadpool_limits

from benchmarks import bench_detection, bench_training
from g5.config.settings import load
from g5.training.setup import quiet

# Parts of the table, by what a function's name or file holds; the first that fits counts.
TRAINING: Mapping[str, tuple[str, ...]] = {
    "backward": ("run_backward",),
    "convolutions": ("conv2d", "conv1d"),
    "batch norm": ("batch_norm",),
    "activations, pooling, dropout": ("relu", "gelu", "silu", "pool", "dropout", "adaptive"),
    "augmentation and gathering": ("/preprocessing/", "augment"),
    "optimiser and clipping": ("_foreach", "/optim/", "clip_grad", "adam"),
    "loss and distances": ("/archs/", "einsum", "matmul", "cdist", "linear", "log_softmax"),
    "Lightning, logging": ("/pytorch_lightning/", "/lightning_fabric/", "/torchmetrics/"),
}
DETECTION: Mapping[str, tuple[str, ...]] = {
    "convolutions": ("conv2d", "conv1d"),
    "batch norm, activations, pooling": ("batch_norm", "relu", "gelu", "silu", "pool"),
    "FFT and mel": ("fft", "/preprocessing/spectra", "/preprocessing/frontend", "rfft"),
    "decoding and hashing": ("soundfile", "/preprocessing/audio", "hash", "sha256", "_snd"),
    "distances and scores": ("/g5/detection/scoring/", "matmul", "einsum", "linear", "baddbmm"),
    "ends, thresholds, events": ("/g5/detection/events/", "scipy"),
    "store and files": ("/preprocessing/store/", "posix", "fsync", "pyarrow", "pandas"),
}
# What the second look at what may be a call begins with.
LOOKS = "of", "looked"


def main(words: list[str]) -> int:
    """Print a table; 2 where it is not said of what."""
    kinds = {"training": (_training, TRAINING), "detection": (_detection, DETECTION)}
    if len(words) != 2 or words[0] not in kinds:
        print("python -m benchmarks.profiles.jobs training|detection v1|v2")
        return 2
    quiet()
    torch.set_num_threads(1)
    made, parts = kinds[words[0]]
    # What a pool of threads would do is done where it is asked for, and seen.
    inline = mock.patch.object(ThreadPoolExecutor, "submit", _submit)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1), inline:
        job = made(words[1], Path(folder))
        job()  # warms up
        profile = cProfile.Profile(time.process_time)
        start_s, start_wall_s = time.process_time(), time.perf_counter()
        profile.runcall(job)
        cpu_s, wall_s = time.process_time() - start_s, time.perf_counter() - start_wall_s
    print(f"{date.today()}, {' '.join(words)}: {cpu_s:.2f} s of CPU in {wall_s:.2f} s, one thread")
    print(table(pstats.Stats(profile), parts))
    return 0


def _submit(_: ThreadPoolExecutor, work: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
    future: Future[object] = Future()
    try:
        future.set_result(work(*args, **kwargs))
    except Exception as error:
        future.set_exception(error)
    return future


def table(stats: pstats.Stats, parts: Mapping[str, tuple[str, ...]]) -> str:
    """Shares of the parts, and the largest functions of the rest."""
    spent: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for (file, _, name), (_, _, own_s, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        what = f"{file}:{name}".lower()
        part = next((p for p, marks in parts.items() if any(m in what for m in marks)), "rest")
        spent[part] += own_s
        if part == "rest":
            others[f"{Path(file).name}:{name}"] += own_s
    whole = sum(spent.values())
    rows = [f"| {part} | {s / whole:.1%} | {s:.2f} |" for part, s in spent.most_common()]
    rest = ", ".join(f"{name} {s / whole:.1%}" for name, s in others.most_common(4))
    looks_s = sum(
        all_s for (file, _, name), (_, _, _, all_s, _) in stats.stats.items()  # type: ignore[attr-defined]
        if file.endswith("scoring/second_look.py") and name in LOOKS
    )  # fmt: skip
    told = [f"the second look, of all of these: {looks_s / whole:.1%}"] if looks_s else []
    return "\n".join(["| part | share | CPU s |", "| --- | ---: | ---: |", *rows, "", rest, *told])


def _training(arch: str, folder: Path) -> Callable[[], object]:
    settings = load([f"arch={arch}"])
    return lambda: bench_training._loop_s(settings)


def _detection(arch: str, folder: Path) -> Callable[[], object]:
    path = bench_detection._recording(folder / "night.wav")
    return bench_detection._decode_to_events(arch, path, folder, "prototypes")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
