"""The one LightningModule: a step of pretraining or of an episode, its metrics, its optimiser.

Shape suffixes: B clips, M mel bands, T frames, N ways, K shots, Q queries, D embedding width,
X support clips, P clips of a validation plan.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassF1Score, MulticlassPrecision, MulticlassRecall

from archs.classifier import CosineClassifier
from archs.losses import class_weights
from archs.protonet import ProtoNet
from g5.common.seeds import step_seed
from g5.config.schema import TrainingSettings
from g5.training.fit import weight_groups
from preprocessing.episodes.episode import Episode, EpisodeBatch
from preprocessing.episodes.labelled import LabelledBatch

# What an epoch may be judged by.
METRICS = (
    "train/loss", "train/acc", "train/step_loss",
    "val/loss", "val/acc", "val/precision", "val/recall", "val/f1",
)  # fmt: skip


class FewShotModule(pl.LightningModule):
    """Trains a `ProtoNet` on episodes and validates it on a fixed set of them.

    Where it is given labelled batches first (`arch.training.pretrain`), it learns from those to
    tell all training classes apart, by a part that nothing else uses (`archs.classifier`).

    Validation has two loaders: the first yields the clips of the plan, each of which is embedded
    once; the second yields the episodes, which are index tensors into those embeddings.

    Args:
        model: encoder and distance.
        normalize: what stands between the stored features and the encoder.
        augmentation: ``(x_B1MT, labels_B) -> x_B1MT``, used in training only; None for none.
        training: the `arch.training` group.
        seed: of dropout and augmentation; each step's randomness depends on
            (seed, epoch, step, rank) alone, so that a resumed run repeats it.
        train_counts: calls of each class of labelled batches; empty where there are none.
        val_classes: how many classes validation has, for macro metrics; 0 without validation.
        payload: what a checkpoint carries beside the weights; called at every save.
        compile_model: `torch.compile` the encoder.
    """

    def __init__(
        self,
        *,
        model: ProtoNet,
        normalize: nn.Module,
        augmentation: nn.Module | None,
        training: TrainingSettings,
        seed: int,
        train_counts: Sequence[int],
        val_classes: int,
        payload: Callable[[], dict[str, Any]],
        compile_model: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.classifier: CosineClassifier | None = None
        if train_counts:
            weights_C = class_weights(
                training.pretrain_weights, torch.tensor(train_counts), beta=training.pretrain_beta
            )
            self.classifier = CosineClassifier(model.embedding_dim, len(train_counts), weights_C)
        self.normalize = normalize
        self.augmentation = augmentation
        self.training_settings = training
        self.seed = seed
        self.payload = payload
        self.val_embeddings_PD: Tensor | None = None
        self._val_parts: list[tuple[Tensor, Tensor]] = []
        self.val_scores = nn.ModuleDict()
        if val_classes:
            kinds = {
                "precision": MulticlassPrecision,
                "recall": MulticlassRecall,
                "f1": MulticlassF1Score,
            }
            self.val_scores.update(
                {
                    name: kind(num_classes=val_classes, average="macro")
                    for name, kind in kinds.items()
                }
            )
        if compile_model:
            # In place: the state dict keeps its keys.
            self.model.compile()

    # --- training ---------------------------------------------------------------------------

    def on_train_batch_start(self, batch: EpisodeBatch | LabelledBatch, batch_idx: int) -> None:
        torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: EpisodeBatch | LabelledBatch, batch_idx: int) -> Tensor:
        loss, accuracy, count = self.loss(batch)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=count, sync_dist=True)
        self.log(
            "train/acc", accuracy, on_step=False, on_epoch=True, batch_size=count, sync_dist=True,
            prog_bar=True,
        )  # fmt: skip
        self.log("train/step_loss", loss, on_step=True, prog_bar=True, batch_size=count)
        return loss

    def loss(self, batch: EpisodeBatch | LabelledBatch) -> tuple[Tensor, Tensor, int]:
        """Loss of a batch of either kind, the share that is right, and of how many."""
        if isinstance(batch, LabelledBatch):
            return *self.class_loss(batch), len(batch.class_ids)
        return *self.episode_loss(batch), batch.n_way * batch.n_query

    def class_loss(self, batch: LabelledBatch) -> tuple[Tensor, Tensor]:
        """The loss of pretraining, and the share that is right."""
        assert self.classifier is not None, "labelled batches need train_counts"
        x_B1MT = self.normalize(batch.x, batch.stats)
        if self.augmentation is not None:
            x_B1MT = self.augmentation(x_B1MT, batch.class_ids)
        z_BD = self.model(x_B1MT, mapped=False)
        return self.classifier.loss(z_BD, batch.class_ids, self.training_settings.label_smoothing)

    def episode_loss(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the queries against the prototypes, and the share that is right."""
        n_way, k_shot, n_query = batch.n_way, batch.k_shot, batch.n_query
        label_N = torch.arange(n_way, device=batch.x.device)
        target_Q = label_N.repeat_interleave(n_query)
        x_B1MT = self.normalize(batch.x, batch.stats)
        if self.augmentation is not None:
            # Support and query of a class count as two: mixed, a query would hold support calls.
            label_B = torch.cat([label_N.repeat_interleave(k_shot), target_Q + n_way])
            x_B1MT = self.augmentation(x_B1MT, label_B)
        z_BD = self.model(x_B1MT, mapped=False)
        support_XD, query_QD = z_BD[: n_way * k_shot], z_BD[n_way * k_shot :]
        logits_QN = self.model.logits(support_XD.unflatten(0, (n_way, k_shot)), query_QD)
        loss = F.cross_entropy(
            logits_QN, target_Q, label_smoothing=self.training_settings.label_smoothing
        )
        return loss, (logits_QN.argmax(1) == target_Q).float().mean()

    # --- validation -------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._val_parts = []
        self.val_embeddings_PD = None

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        if dataloader_idx == 0:
            position_B, x_B1MT, stats_B2 = batch
            z_BD = self.model(self.normalize(x_B1MT, stats_B2))
            self._val_parts.append((position_B, z_BD.float()))
        else:
            self._score(batch)

    def _score(self, episode: Episode) -> None:
        """Loss and metrics of one validation episode."""
        z_PD = self._embeddings()
        n_way, n_query = episode.query.shape
        target_Q = torch.arange(n_way, device=z_PD.device).repeat_interleave(n_query)
        query_QD = z_PD[episode.query.flatten().to(z_PD.device)]
        logits_QN = self.model.logits(z_PD[episode.support.to(z_PD.device)], query_QD)
        loss = F.cross_entropy(logits_QN, target_Q)
        predicted_Q = logits_QN.argmax(1)
        accuracy = (predicted_Q == target_Q).float().mean()
        class_N = episode.class_ids.to(z_PD.device)
        shared: dict[str, Any] = {
            "on_step": False,
            "on_epoch": True,
            "add_dataloader_idx": False,
            "batch_size": len(target_Q),
        }
        self.log("val/loss", loss, sync_dist=True, **shared)
        self.log("val/acc", accuracy, sync_dist=True, prog_bar=True, **shared)
        for name, score in self.val_scores.items():
            assert isinstance(score, Metric)
            score.update(class_N[predicted_Q], class_N[target_Q])
            self.log(f"val/{name}", score, **shared)

    def _embeddings(self) -> Tensor:
        """The plan's embeddings in order, gathered when the first episode asks for them."""
        if self.val_embeddings_PD is None:
            position = torch.cat([position for position, _ in self._val_parts])
            z_PD = torch.cat([z for _, z in self._val_parts])
            self.val_embeddings_PD = torch.empty_like(z_PD).index_copy_(0, position, z_PD)
            self._val_parts = []
        return self.val_embeddings_PD

    # --- optimisation -----------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self, self.training_settings)
        scheduler = make_scheduler(optimizer, self.training_settings)
        if scheduler is None:
            return optimizer
        entry: dict[str, Any] = {"scheduler": scheduler, "interval": "epoch"}
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            entry["monitor"] = "val/loss" if self.val_scores else "train/loss"
            # It can step only where its metric is fresh.
            entry["frequency"] = self.trainer.check_val_every_n_epoch or 1
        return {"optimizer": optimizer, "lr_scheduler": entry}

    # --- checkpoints ------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["g5"] = self.payload()


def make_optimizer(model: nn.Module, training: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser of `arch.training`; norms and biases are not decayed."""
    groups, rate = weight_groups(model, training.weight_decay), training.learning_rate
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=rate, momentum=training.momentum, nesterov=training.momentum > 0
        )
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[training.optimizer](groups, lr=rate)


def make_scheduler(optimizer: torch.optim.Optimizer, training: TrainingSettings) -> Any:
    """The learning-rate schedule of `arch.training`, in epochs; None for ``none``."""
    from torch.optim import lr_scheduler

    epochs, gamma = training.max_epochs, training.scheduler_gamma
    match training.scheduler:
        case "none":
            return None
        case "step":
            return lr_scheduler.StepLR(optimizer, training.scheduler_step_size, gamma)
        case "plateau":
            return lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=gamma, patience=training.scheduler_step_size
            )
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
        case "cosine_warmup":
            warmup = min(training.warmup_epochs, max(epochs - 1, 1))
            return lr_scheduler.SequentialLR(
                optimizer,
                [
                    lr_scheduler.LinearLR(
                        optimizer, start_factor=1 / (warmup + 1), total_iters=warmup
                    ),
                    lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(epochs - warmup, 1)),
                ],
                milestones=[warmup],
            )
        case other:
            raise AssertionError(f"the schema let {other!r} through")
