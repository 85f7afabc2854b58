"""How long a training will take, measured by one real step before it starts.

The step changes nothing: weights, averages and random numbers are put back.
"""

import copy
import time
from dataclasses import dataclass

import torch

from archs.metrics import MahalanobisMap
from g5.config.schema import EpisodeSettings
from g5.config.settings import Settings
from g5.training.loaders import EpisodeLoaders
from g5.training.module import FewShotModule

LONG_S = 3600.0
# Beside the network, in seconds of one core (docs/performance.md): the run's record, figures and
# page of the test; of each of its clips maps and raw features; of each episode the raw rows.
WRITTEN_S, CLIP_S, EPISODE_S = 6.0, 0.015, 0.001
SHORTER = "budget=minutes, budget=evening and budget=night train for less"


@dataclass(frozen=True)
class Estimate:
    """How long a training and its test will take: seconds, and the line that says so."""

    seconds: float
    line: str

    @property
    def long(self) -> bool:
        """Whether somebody should be asked first."""
        return self.seconds > LONG_S


def estimate(
    settings: Settings,
    module: FewShotModule,
    loaders: EpisodeLoaders,
    *,
    device: torch.device,
    processes: int,
    done: int,
    test_clips: int,
) -> Estimate:
    """What a run says before it trains; a second line says what determinism costs.

    Args:
        settings: of the run.
        processes: among which the training episodes are shared out.
        done: epochs that a resumed run has behind it.
        test_clips: clips that the test will embed; 0: no test.
    """
    episodes = settings.arch.episodes
    epochs = settings.arch.training.max_epochs - done
    step_s = seconds_per_episode(module, loaders, device)
    answer_s = seconds_per_answer(module, episodes, device)
    test_s = 0.0
    if test_clips:
        test_s = WRITTEN_S + test_clips * (step_s / episodes.clips / 3 + CLIP_S)
        # Queries of an episode's classes, and as many of others.
        test_s += episodes.test_episodes * (2 * answer_s + EPISODE_S)
    clips = 0 if loaders.val_clips is None else len(loaders.val_clips.plan.rows)
    # A forward pass is about a third of a training step.
    shared = episodes.episodes_per_epoch / processes
    heard = clips
    if isinstance(module.model.metric, MahalanobisMap):
        heard += loaders.metric_clips.count
    epoch_s = step_s * (shared + heard / episodes.clips / 3)
    if clips:
        epoch_s += episodes.val_episodes * answer_s
    total_s = epochs * epoch_s + test_s
    devices = f"{processes} x " if processes > 1 else ""
    line = (
        f"time      {epochs} {'more ' if done else ''}epoch{'s' * (epochs > 1)} of "
        f"{episodes.episodes_per_epoch:,} episodes: about {duration(total_s)} "
        f"({step_s:.2g} s an episode on {devices}{device.type})"
    )
    if total_s > LONG_S and device.type == "cpu":
        line += f"; {SHORTER}"
    if settings.deterministic:
        line += "\n" + cost_of_determinism(module, loaders, device)
    return Estimate(total_s, line)


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
    """Wall time of one training step, its batch and its optimiser; the mean of two after one."""
    # The step moves batch norm's averages and draws random numbers; neither may show.
    weights = copy.deepcopy(module.state_dict())
    seconds: list[float] = []
    with torch.random.fork_rng():
        module.to(device).train()
        optimizer = torch.optim.AdamW(module.parameters())
        for number in range(3):
            start = time.perf_counter()
            batch = loaders.train_set[0, number].to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss, *_ = module.loss(batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    module.load_state_dict(weights)
    return sum(seconds[1:]) / 2


def seconds_per_answer(
    module: FewShotModule, episodes: EpisodeSettings, device: torch.device
) -> float:
    """Wall time of comparing all queries of an episode with its support; the least of three."""
    model, width = module.model, module.model.embedding_dim
    model.eval()
    with torch.random.fork_rng(), torch.no_grad():
        support_NKD = torch.randn(episodes.n_way, episodes.k_shot, width, device=device)
        query_QD = torch.randn(episodes.n_way * episodes.n_query, width, device=device)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            model.logits(support_NKD, query_QD).cpu()
            seconds.append(time.perf_counter() - start)
    model.train()
    return min(seconds)


def duration(seconds: float) -> str:
    """``90`` -> ``2 min``; ``200000`` -> ``56 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
