"""How long a training will take, measured by one real step before it starts.

The step changes nothing: weights, averages and random numbers are put back.
"""

import copy
import time

import torch

from g5.config.settings import Settings
from g5.training.loaders import EpisodeLoaders
from g5.training.module import FewShotModule

LONG_S = 3600.0


def estimate(
    settings: Settings,
    module: FewShotModule,
    loaders: EpisodeLoaders,
    *,
    device: torch.device,
    processes: int,
    done: int,
    test_clips: int,
) -> str:
    """The line that a run prints before it trains; a second one says what determinism costs.

    Args:
        settings: of the run.
        processes: among which the training episodes are shared out.
        done: epochs that a resumed run has behind it.
        test_clips: clips that the test will embed.
    """
    episodes = settings.arch.episodes
    epochs = settings.arch.training.max_epochs - done
    step_s = seconds_per_episode(module, loaders, device)
    clips = 0 if loaders.val_clips is None else len(loaders.val_clips.plan.rows)
    clips_per_episode = episodes.clips
    # A forward pass is about a third of a training step.
    shared = episodes.episodes_per_epoch / processes
    epoch_s = step_s * (shared + clips / clips_per_episode / 3)
    total_s = epochs * epoch_s + step_s * test_clips / clips_per_episode / 3
    devices = f"{processes} x " if processes > 1 else ""
    line = (
        f"time      {epochs} {'more ' if done else ''}epoch{'s' * (epochs > 1)} of "
        f"{episodes.episodes_per_epoch:,} episodes: about {duration(total_s)} "
        f"({step_s:.2g} s an episode on {devices}{device.type})"
    )
    if total_s > LONG_S and device.type == "cpu":
        line += "; `g5 train v2 experiment=demo` takes minutes"
    if settings.deterministic:
        line += "\n" + cost_of_determinism(module, loaders, device)
    return line


def cost_of_determinism(
    module: FewShotModule, loaders: EpisodeLoaders, device: torch.device
) -> str:
    """One line: how much longer a step takes, both ways measured in turn."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    try:
        for deterministic in (False, True) * 3:
            torch.use_deterministic_algorithms(deterministic)
            torch.backends.cudnn.deterministic = deterministic
            seconds[deterministic].append(seconds_per_episode(module, loaders, device))
    finally:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic = True
    ratio = min(seconds[True]) / min(seconds[False])
    return (
        f"deterministic  a training step takes {ratio:.2f} times as long as without; runs are "
        f"bitwise equal on this machine with {torch.get_num_threads()} threads"
    )


def seconds_per_episode(
    module: FewShotModule, loaders: EpisodeLoaders, device: torch.device
) -> float:
    """Wall time of one training step, without the optimiser; the second of two is measured."""
    batch = loaders.train_set[0, 0]
    # The step moves batch norm's averages and draws random numbers; neither may show.
    weights = copy.deepcopy(module.state_dict())
    seconds = 0.0
    with torch.random.fork_rng():
        module.to(device).train()
        batch = batch.to(device)
        for _ in range(2):
            start = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss, *_ = module.loss(batch)
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
    module.zero_grad(set_to_none=True)
    module.load_state_dict(weights)
    return seconds


def duration(seconds: float) -> str:
    """``90`` -> ``2 min``; ``200000`` -> ``56 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
