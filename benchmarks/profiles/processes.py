"""What two training processes gain over one: `python -m benchmarks.profiles.processes v2`.

One process, two that know nothing of each other, and two that share gradients (gloo), in turns,
of one thread each. Two strangers are slower than one by what the machine shares (memory, cache,
clock); two that share gradients are slower than strangers by what that costs. Processor time means
the same beside whatever else the machine does; gains by the clock want two idle cores.
"""

import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import torch
from torch import distributed, nn
from torch.multiprocessing import get_context
from torch.nn.parallel import DistributedDataParallel

from benchmarks.bench_training import episode_of, module_of
from g5.config.settings import load
from g5.training.module import make_optimizer
from g5.training.setup import quiet

TURNS, STEPS = 5, 3
PORT = 29617
WAYS = {"one": (1, False), "two strangers": (2, False), "two": (2, True)}


class _Loss(nn.Module):
    """The loss of an episode as the forward pass that gradients are shared for."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Any) -> torch.Tensor:
        return self.module.episode_loss(batch)[0]


def main(words: list[str]) -> int:
    """Print a table; 2 where it is not said of what."""
    if len(words) not in (1, 2):
        print("python -m benchmarks.profiles.processes v1|v2 [turns]")
        return 2
    turns = int(words[1]) if words[1:] else TURNS
    told: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(turns):
        for way, (count, shared) in WAYS.items():
            told[way].append(_measured(words[0], count, shared))
    print(f"{date.today()}, {words[0]}: {turns} turns of {STEPS} steps, one thread a process")
    print("| processes | CPU s a step | s a step | gain by CPU | gain by the clock |")
    print("| --- | ---: | ---: | ---: | ---: |")
    one = [statistics.median(values) for values in zip(*told["one"], strict=True)]
    for way, (count, _) in WAYS.items():
        cpu_s, wall_s = (statistics.median(values) for values in zip(*told[way], strict=True))
        gains = f"{count * one[0] / cpu_s:.2f} | {count * one[1] / wall_s:.2f}"
        print(f"| {way} | {cpu_s:.3f} | {wall_s:.3f} | {gains} |")
    return 0


def _measured(arch: str, count: int, shared: bool) -> tuple[float, float]:
    """Processor and other seconds of a step, of the slowest process."""
    spawn = get_context("spawn")
    queue = spawn.Queue()
    processes = [
        spawn.Process(target=_work, args=(arch, rank, count if shared else 1, queue))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    told = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return max(cpu_s for cpu_s, _ in told), max(wall_s for _, wall_s in told)


def _work(arch: str, rank: int, world: int, queue: Any) -> None:
    quiet()
    torch.set_num_threads(1)
    settings = load([f"arch={arch}"])
    module = module_of(settings).train()
    loss: Callable[[Any], torch.Tensor] = _Loss(module)
    if world > 1:
        where = f"tcp://127.0.0.1:{PORT}"
        distributed.init_process_group("gloo", where, rank=rank, world_size=world)
        loss = DistributedDataParallel(_Loss(module))
    optimizer, batch = make_optimizer(module.model, settings.arch.training), episode_of(settings)
    cpu_s = wall_s = 0.0
    for step in range(STEPS + 1):
        if step == 1:  # the first warms up
            cpu_s, wall_s = time.process_time(), time.perf_counter()
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
    queue.put(((time.process_time() - cpu_s) / STEPS, (time.perf_counter() - wall_s) / STEPS))
    if world > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
