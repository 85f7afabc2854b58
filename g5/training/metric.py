"""The learned distance in closed form: from training clips, anew at the end of every epoch.

Shape suffixes: E calls of the table, B clips of a batch, X clips, C classes, M mel bands, T frames.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from archs.metrics import MahalanobisMap
from archs.protonet import ProtoNet
from g5.training.module import FewShotModule
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.draws import generator

CLIPS = 3000  # that it is learned from, at most; more gained nothing
OF_A_CLASS = 5  # at least, of classes that have so many
METRIC = 5  # the stream of random numbers that chooses them


class MetricClips:
    """The training clips that a learned distance is made from, the same in every epoch.

    Args:
        events: the training split's table with ``class_id``.
        reader: reads its clips.
        batch_size: B.
        seed: of the choice of clips.

    Attributes:
        batches: rows of the table ``(B,)`` and their classes ``(B,)`` int64.
        count: clips of all batches.
    """

    def __init__(
        self, events: pd.DataFrame, reader: ClipReader, *, batch_size: int, seed: int
    ) -> None:
        class_E = events["class_id"].to_numpy()
        rows = _chosen(class_E, generator(seed, stream=METRIC))
        self._reader, self.count = reader, len(rows)
        self.batches = [
            (chunk, torch.from_numpy(class_E[chunk].astype(np.int64)))
            for chunk in np.split(rows, range(batch_size, len(rows), batch_size))
        ]

    def embedded(
        self, model: ProtoNet, normalize: nn.Module, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Their embeddings as a `MahalanobisMap` takes them ``(B, D)``, and their classes."""
        for rows, class_B in self.batches:
            x_B1MT, stats_B2 = self._reader.gather(rows, self._reader.episode_frames(rows))
            x_B1MT = normalize(x_B1MT.to(device), stats_B2.to(device))
            yield model.calls(model.encoder(x_B1MT)), class_B.to(device)


class MetricFit(pl.Callback):
    """Learns the model's `MahalanobisMap` after an epoch's last step, before it is validated.

    From clips as a test hears them, nothing masked or dropped: what augmentation does to a clip
    is not what its class differs in (learned of the batches as trained on, half the gain is lost).
    Every process embeds the same clips, so that all learn the same.
    """

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        last = batch_idx + 1 == trainer.num_training_batches
        if not last or not isinstance(pl_module, FewShotModule):
            return
        metric = pl_module.model.metric
        if not isinstance(metric, MahalanobisMap):
            return
        clips: MetricClips = trainer.datamodule.metric_clips  # type: ignore[attr-defined]
        pl_module.eval()
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            parts = clips.embedded(pl_module.model, pl_module.normalize, pl_module.device)
            z_XD, class_X = map(torch.cat, zip(*parts, strict=True))
        pl_module.train()
        metric.fit(z_XD, class_X)


def _chosen(class_E: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of at most `CLIPS` calls: of all classes alike, or of some where that would be few."""
    order_E = rng.permutation(len(class_E))
    which_E = class_E[order_E]
    of_a_class = max(OF_A_CLASS, CLIPS // len(np.unique(class_E)))
    nth_E = pd.Series(which_E).groupby(which_E).cumcount().to_numpy()
    turn_C = rng.permutation(class_E.max() + 1)
    kept = np.flatnonzero(nth_E < of_a_class)
    return order_E[kept[np.argsort(turn_C[which_E[kept]], kind="stable")]][:CLIPS]
