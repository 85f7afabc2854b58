"""The data loaders of a training run: training episodes, and the fixed validation episodes."""

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from g5.config.schema import EpisodeSettings, EpisodeSize, TrainingSettings
from g5.training.metric import MetricClips
from preprocessing.episodes.batches import EpisodeDataset, EpisodeIndexSampler
from preprocessing.episodes.episode import EpisodeBatch
from preprocessing.episodes.labelled import LabelledBatch, LabelledDataset
from preprocessing.episodes.plans import ClipBatches, plan_clips
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.feature_set import FeatureSet


class FixedEpoch(EpisodeIndexSampler):
    """Hands out the first epoch's episodes in every epoch (`debug=overfit`)."""

    def set_epoch(self, epoch: int) -> None:
        """Stay where it is."""


class PretrainThenEpisodes(Dataset[LabelledBatch | EpisodeBatch]):
    """``dataset[epoch, index]``: labelled batches in the first epochs, episodes after them."""

    def __init__(self, labelled: LabelledDataset, episodes: EpisodeDataset, pretrain: int) -> None:
        self.labelled, self.episodes, self.pretrain = labelled, episodes, pretrain

    def __getitem__(self, at: tuple[int, int]) -> LabelledBatch | EpisodeBatch:
        return self.labelled[at] if at[0] < self.pretrain else self.episodes[at]


class EpisodeLoaders(pl.LightningDataModule):
    """Training and validation episodes of a corpus.

    Args:
        feature_set: the corpus and its features; splits `train` and `val` are used.
        episodes: the `arch.episodes` group.
        training: the `arch.training` group: how many epochs have labelled batches, which hold as
            many clips as an episode, before the epochs of episodes.
        seed: of the episodes.

    Attributes:
        train_counts: calls of each class of the labelled batches; empty where there are none.
        metric_clips: what a learned distance is made from.
        notes: what the samplers could not keep, a line each.
        val_labels: the classes of validation, by class id; empty where there is no such split.
    """

    def __init__(
        self,
        feature_set: FeatureSet,
        episodes: EpisodeSettings,
        *,
        training: TrainingSettings,
        seed: int,
    ) -> None:
        super().__init__()
        self.episodes = episodes
        size = episodes.size
        train_reader = feature_set.reader("train")
        train_sampler = EpisodeSampler(
            feature_set.corpus.split("train"), seed=seed, split="train", clips=train_reader, **size
        )
        self.train_set: Dataset = EpisodeDataset(train_sampler, train_reader, shift=episodes.shift)
        pretrain = training.pretraining_epochs
        self.train_counts: list[int] = []
        if pretrain:
            events = feature_set.corpus.split("train")
            labelled = LabelledDataset(
                events, train_reader,
                batch_size=episodes.clips,
                seed=seed, split="train", shift=episodes.shift,
                sampling=training.pretrain_sampling,
            )  # fmt: skip
            self.train_counts = labelled.counts
            self.train_set = PretrainThenEpisodes(labelled, self.train_set, pretrain)
        self.metric_clips = MetricClips(
            feature_set.corpus.split("train"), train_reader, batch_size=episodes.clips, seed=seed
        )
        self.notes = list(train_sampler.notes)
        self.val_labels = feature_set.corpus.labels("val")
        self.val_clips: ClipBatches | None = None
        if self.val_labels:
            self._plan_validation(feature_set, size, seed)

    def _plan_validation(self, feature_set: FeatureSet, size: EpisodeSize, seed: int) -> None:
        reader = feature_set.reader("val")
        sampler = EpisodeSampler(
            feature_set.corpus.split("val"), seed=seed, split="val", clips=reader, **size
        )
        self.notes += sampler.notes
        plan = plan_clips([sampler.sample(0, i) for i in range(self.episodes.val_episodes)])
        # As many clips at once as in a training episode: what fits there fits here.
        self.val_clips = ClipBatches(plan, reader, self.episodes.clips)

    def train_dataloader(self) -> DataLoader:
        """This process's share of an epoch's episodes."""
        sampler_class = FixedEpoch if self.episodes.fixed else EpisodeIndexSampler
        sampler = sampler_class(
            self.episodes.episodes_per_epoch, rank=self._rank, world_size=self._world_size
        )
        # Workers hurt: an episode is a copy out of the page cache, and pickling it costs more.
        return DataLoader(
            self.train_set, batch_size=None, sampler=sampler, pin_memory=torch.cuda.is_available()
        )

    def val_dataloader(self) -> list[DataLoader]:
        """Every clip once, then this process's share of the episodes; empty without validation."""
        if self.val_clips is None:
            return []
        episodes = self.val_clips.plan.episodes
        share = range(self._rank, len(episodes), self._world_size)
        return [
            DataLoader(self.val_clips, batch_size=None),
            DataLoader(episodes, batch_size=None, sampler=share),  # type: ignore[arg-type]
        ]

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer else 1
