"""The pool: tracks of many invented species as mel power, of which some are always replaced.

At any step the pool is a function of the settings and the step alone: slots are renewed one after
the other, at a steady rate, and a slot's species by its life (`tracks`). So a training that was
stopped goes on in the same world, without anything kept. What is due next is made meanwhile by
other processes.

Shapes: S slots, N tracks of a slot, those of an individual side by side, M mel bands, T frames.
"""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from preprocessing.frontend import MelPower
from preprocessing.synthetic.mixing import background, flat
from preprocessing.synthetic.tracks import TrackSettings, tracks

# Power is kept as dB in fp16: exact to 0.06 dB, which linear power in fp16 would be nowhere near.
QUIETEST_DB = -140.0
BACKGROUND = -1  # stands for a slot in the seeds of backgrounds
# What backgrounds are like before they are filtered at random: `mixing.background`.
BACKGROUND_DB, WIND, RAIN, HUM = -20.0, 0.4, 0.25, 0.3


@dataclass(frozen=True)
class PoolSettings:
    """How much is in the pool; see `pretrain.pool` in conf/pretrain.yaml."""

    slots: int  # species at once
    individuals: int  # of each
    takes: int  # tracks of an individual
    renewed: float  # slots renewed at each step
    backgrounds: int
    background_s: float


class Pool:
    """Tracks of species that come and go.

    Args:
        settings: its size and pace.
        tracks: what is in it.
        mel: keywords of `MelPower`; its rate is the tracks'.
        workers: processes that make what comes next; 0: none, it is made when it is due.
        device: where it lies.

    Attributes:
        db_SNMT: the tracks, dB of mel power, fp16.
        background_XMT: backgrounds, likewise.
    """

    def __init__(
        self, settings: PoolSettings, tracks: TrackSettings, mel: Mapping[str, float], *,
        workers: int, device: torch.device,
    ) -> None:  # fmt: skip
        self.settings = settings
        self._makers = _Makers(_Maker(settings, tracks, mel), workers)
        self.device = device
        self.renewals = 0  # how many slots have begun another life, in all
        self._coming: deque[Iterator[Tensor]] = deque()
        self.db_SNMT = torch.empty(0)
        self.background_XMT = torch.empty(0)

    def fill(self, step: int) -> Iterator[int]:
        """Make the pool as it is at a step; yields how many of its parts are done."""
        s = self.settings
        self.renewals = int(step * s.renewed)
        jobs = [(slot, self._life(slot)) for slot in range(s.slots)]
        jobs += [(BACKGROUND, number) for number in range(s.backgrounds)]
        parts: list[list[Tensor]] = [[], []]
        for done, (job, made) in enumerate(zip(jobs, self._makers.map(jobs), strict=True)):
            parts[job[0] == BACKGROUND].append(made)
            yield done + 1
        self.db_SNMT = torch.stack(parts[0]).to(self.device)
        self.background_XMT = torch.cat(parts[1]).to(self.device)
        self._order()

    def advance(self, step: int) -> None:
        """Renew what is due at a step; waits for those who make it, if they are behind."""
        while self.renewals < int(step * self.settings.renewed):
            slot = self.renewals % self.settings.slots
            self.db_SNMT[slot] = next(self._coming.popleft()).to(self.device)
            self.renewals += 1
            self._order()

    def close(self) -> None:
        """End the processes."""
        self._makers.close()

    def _life(self, slot: int) -> int:
        return (self.renewals - slot - 1) // self.settings.slots + 1

    def _order(self) -> None:
        """Have what comes next made in time."""
        while len(self._coming) < self._makers.ahead:
            renewal = self.renewals + len(self._coming)
            life, slot = divmod(renewal, self.settings.slots)
            self._coming.append(self._makers.map([(slot, life + 1)]))


@dataclass(frozen=True)
class _Maker:
    """Makes the tracks of a slot's life, or a background; goes to other processes."""

    settings: PoolSettings
    tracks: TrackSettings
    mel: Mapping[str, float]

    def __call__(self, job: tuple[int, int]) -> np.ndarray:
        slot, life = job
        if slot == BACKGROUND:
            return self._power([self._background(life)])
        s = self.settings
        return self._power(
            tracks(self.tracks, slot, life, individuals=s.individuals, takes=s.takes)
        )

    def _background(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([self.tracks.seed, number])
        sr = self.tracks.sr
        return background(
            rng, round(self.settings.background_s * sr), sr=sr, channel=flat(sr),
            level_db=BACKGROUND_DB, wind=WIND, rain=RAIN, hum=HUM,
        )  # fmt: skip

    def _power(self, waves: list[np.ndarray]) -> np.ndarray:
        """dB of mel power, (N, M, T) fp16, without the last frame, which is half beyond."""
        front_end = MelPower(**self.mel)  # pyright: ignore[reportArgumentType]
        with torch.inference_mode():
            power_NMT = torch.stack([front_end(torch.from_numpy(wave)) for wave in waves])
            db_NMT = 10 * torch.log10(power_NMT.clamp(min=10 ** (QUIETEST_DB / 10)))
        return db_NMT[..., :-1].half().numpy()


class _Makers:
    """Has jobs done by processes, results in order; by the caller, where there are none."""

    def __init__(self, maker: _Maker, workers: int) -> None:
        self._maker = maker
        self.ahead = max(1, 8 * workers)
        self._pool = None
        if workers:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, context, initializer=_one_thread)

    def map(self, jobs: Iterable[tuple[int, int]]) -> Iterator[Tensor]:
        if self._pool is None:
            return (torch.from_numpy(self._maker(job)) for job in jobs)
        pool = self._pool
        waiting: deque[Future[np.ndarray]] = deque(pool.submit(self._maker, job) for job in jobs)
        return (torch.from_numpy(waiting.popleft().result()) for _ in range(len(waiting)))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _one_thread() -> None:
    torch.set_num_threads(1)
