"""Training episodes as batches of clips: which indices a process takes, and what they hold.

Shape suffixes: as `preprocessing.episodes.episode`.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Dataset, DistributedSampler

from g5.common.errors import UserError
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.draws import generator
from preprocessing.episodes.episode import Episode, EpisodeBatch
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.events import SPLITS

# The stream of an episode's random numbers that moves its clips; 2 is that of labelled batches.
SHIFTS = 1


class EpisodeIndexSampler(DistributedSampler):
    """Hands out (epoch, index) for the indices ``rank, rank + world_size, ...`` of an epoch.

    Every rank gets equally many, because ranks that step together must step equally often:
    where ``world_size`` does not divide the episodes, the last ranks take the epoch's first
    episodes a second time. The set of episodes stays the same whatever ``world_size`` is.

    It is a `DistributedSampler` so that Lightning does not wrap it in one of its own, and calls
    `set_epoch` before each epoch.

    Args:
        count: episodes in an epoch, over all ranks.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, count: int, *, rank: int, world_size: int) -> None:
        super().__init__(range(count), num_replicas=world_size, rank=rank, shuffle=False)  # type: ignore[arg-type]
        assert count >= 1, count
        self.count, self.rank, self.world_size = count, rank, world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        for step in range(len(self)):
            yield self.epoch, (self.rank + step * self.world_size) % self.count

    def __len__(self) -> int:
        return -(-self.count // self.world_size)


class EpisodeDataset(Dataset[EpisodeBatch]):
    """Gathers the clips of training episodes: ``dataset[epoch, index]`` is an `EpisodeBatch`.

    To be used with ``DataLoader(batch_size=None, sampler=EpisodeIndexSampler(...))``; workers do
    not pay, because a clip is a copy out of the page cache.

    Args:
        sampler: draws the episodes.
        clips: reads the clips.
        shift: each clip's window is moved at random by up to this share of its length, drawn
            from the episode's seed; 0 for none.

    Raises:
        UserError: an impossible shift.
    """

    def __init__(self, sampler: EpisodeSampler, clips: ClipReader, *, shift: float) -> None:
        if not 0 <= shift <= 1:
            raise UserError(f"arch.episodes.shift={shift}: must be between 0 and 1")
        self.sampler, self.clips, self.shift = sampler, clips, shift

    def __getitem__(self, at: tuple[int, int]) -> EpisodeBatch:
        epoch, index = at
        episode = self.sampler.sample(epoch, index)
        n_way, k_shot = episode.support.shape
        rows = np.concatenate([episode.support.numpy().ravel(), episode.query.numpy().ravel()])
        x, stats = self.clips.gather(rows, episode.n_frames, self._shifts(episode, len(rows)))
        return EpisodeBatch(
            x=x,
            stats=stats,
            class_ids=episode.class_ids,
            n_way=n_way,
            k_shot=k_shot,
            n_query=episode.query.shape[1],
            epoch=epoch,
            index=index,
        )

    def _shifts(self, episode: Episode, count: int) -> np.ndarray | None:
        most = int(self.shift * episode.n_frames)
        if most == 0:
            return None
        return self._generator(episode, SHIFTS).integers(-most, most, count, endpoint=True)

    def _generator(self, episode: Episode, stream: int) -> np.random.Generator:
        sampler = self.sampler
        split = SPLITS.index(sampler.split)
        return generator(sampler.seed, split, episode.epoch, episode.index, stream=stream)
