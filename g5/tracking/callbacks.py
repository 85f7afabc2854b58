"""What happens beside training: checkpoints after every epoch, early stopping, rates and norms."""

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, RichProgressBar
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.trainer.states import TrainerFn
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from g5.common.errors import UserError
from g5.config.schema import CallbackSettings
from g5.tracking.checkpoints import (
    BEST,
    EPOCH_FILE,
    LAST,
    check_finite,
    epoch_file,
    link,
    load,
    save,
)

ACCURACY = "val/acc"


def training_callbacks(settings: CallbackSettings, *, checkpoints: Path) -> list[pl.Callback]:
    """The callbacks that the `callbacks` group asks for; ``checkpoints`` is the folder of those."""
    callbacks: list[pl.Callback] = [TrainingMonitor()]
    early = settings.early_stopping
    if early.enabled:
        callbacks.append(
            StopEarly(
                monitor=early.monitor,
                mode=early.mode,
                patience=early.patience,
                min_delta=early.min_delta,
            )
        )
    if settings.progress_bar:
        # Without a terminal a bar is one unreadable line after another.
        callbacks.append(EpochBar(leave=True) if sys.stdout.isatty() else EpochLines())
    kept = settings.checkpoint
    callbacks.append(
        EpochCheckpoints(
            folder=checkpoints, monitor=kept.monitor, mode=kept.mode, save_top_k=kept.save_top_k
        )
    )
    return callbacks


@dataclass(frozen=True)
class _Epoch:
    """An epoch that is done and not yet saved."""

    number: int
    val_acc: float | None
    score: float | None


class EpochCheckpoints(Checkpoint):
    """Writes `epoch_XXX_val_acc_X.XXXX.ckpt`, `last.ckpt` and `best_checkpoint.ckpt`.

    The best ``save_top_k`` epochs are kept and, always, the newest. Epochs count from 1. An epoch
    without validation has no accuracy in its name and no score; a score that is not finite is
    never the best. As long as no epoch has a score, the newest is the best.

    An epoch is saved when nothing of it is left to do: after validation and after the schedules,
    of which Lightning steps `ReduceLROnPlateau` only after the last hook of the epoch. A resumed
    run therefore continues exactly with the next epoch. The epoch's file comes first, so that a
    SIGKILL at any point leaves a whole newest checkpoint, which `checkpoints.latest` finds; what
    was left to do is done on resuming.

    Args:
        folder: where the files go.
        monitor: the metric that decides what is best.
        mode: ``"max"`` or ``"min"``.
        save_top_k: how many of the best epochs are kept; -1 for all.

    Raises:
        UserError: after the first epoch, if there is no such metric.
    """

    def __init__(self, *, folder: Path, monitor: str, mode: str, save_top_k: int) -> None:
        super().__init__()
        if save_top_k < -1:
            raise UserError("callbacks.checkpoint.save_top_k: must be at least 0, or -1 for all")
        self.folder = folder
        self.monitor = monitor
        self.mode = mode
        self.save_top_k = save_top_k
        self.kept: dict[str, float | None] = {}  # file name: score, in the order of epochs
        self.obsolete: list[str] = []
        self.best: tuple[str, float] | None = None
        self._validated = False
        self._pending: _Epoch | None = None
        self._next_epoch_is_ready = False

    @property
    def best_model_path(self) -> str:
        """The best checkpoint, under the name Lightning asks for; empty before the first."""
        path = self.folder / BEST
        return str(path) if path.exists() else ""

    # --- the epoch's course -----------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and self.kept:
            self._settle()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._next_epoch_is_ready = True
        self._save(trainer)
        self._next_epoch_is_ready = False
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        # Metrics of an earlier validation stay among them.
        fresh = {name for name in metrics if self._validated or not name.startswith("val/")}
        accuracy = float(metrics[ACCURACY]) if ACCURACY in fresh else None
        score = float(metrics[self.monitor]) if self.monitor in fresh else None
        self._pending = _Epoch(trainer.current_epoch + 1, accuracy, score)
        if score is None and (self._validated or not self.monitor.startswith("val/")):
            self._save(trainer)
            raise UserError(
                f"callbacks.checkpoint.monitor={self.monitor}: there is no such metric; "
                f"choose one of {', '.join(sorted(name for name in fresh if '/' in name))}"
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)
        scored = any(score is not None for score in self.kept.values())
        if trainer.is_global_zero and scored and self.best is None:
            print(f"{self.monitor} was never a number: {BEST} is the last epoch", file=sys.stderr)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        # Interrupted just before the next epoch (SIGTERM is heeded there): the epoch is complete.
        # On several processes saving waits for all, of which one may have failed.
        done = trainer.fit_loop.epoch_progress.current.completed
        if self._pending and done >= self._pending.number and trainer.world_size == 1:
            self._save(trainer)

    # --- files ------------------------------------------------------------------------------

    def _save(self, trainer: pl.Trainer) -> None:
        epoch, self._pending = self._pending, None
        if epoch is None:
            return
        name = epoch_file(epoch.number, epoch.val_acc)
        self._rank(name, epoch.score)
        trainer.save_checkpoint(self.folder / name, weights_only=False)
        if trainer.is_global_zero:
            self._settle()

    def _rank(self, name: str, score: float | None) -> None:
        """Decide what is kept, beside ``name``, what is dropped, and what is the best."""
        self.kept[name] = score
        sign = 1 if self.mode == "max" else -1
        scored = [(sign * s, n) for n, s in self.kept.items() if s is not None and math.isfinite(s)]
        ranking = [n for _, n in sorted(scored, key=lambda pair: -pair[0])]  # ties: the earlier
        beaten = self.best is None or (score is not None and sign * score > sign * self.best[1])
        if score is not None and math.isfinite(score) and beaten:
            self.best = (name, score)
        wanted = set(self.kept) if self.save_top_k == -1 else {name, *ranking[: self.save_top_k]}
        self.obsolete = [n for n in self.kept if n not in wanted]
        self.kept = {n: s for n, s in self.kept.items() if n in wanted}

    def _settle(self) -> None:
        """Bring the other files up to what `kept` says; repeating it changes nothing."""
        newest = next(reversed(self.kept))
        best = self.folder / (self.best[0] if self.best else newest)
        # With save_top_k=0 the best epoch's file is gone later, and its second name remains.
        if best.exists():
            link(best, self.folder / BEST)
        if (self.folder / newest).exists():
            link(self.folder / newest, self.folder / LAST)
        for name in self.obsolete:
            (self.folder / name).unlink(missing_ok=True)

    # --- state ------------------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._next_epoch_is_ready:
            # Lightning has announced the next epoch before this hook; the checkpoint has not.
            for part in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                assert part["ready"] - 1 == part["started"] == part["processed"], part
                part["ready"] = part["completed"]

    def state_dict(self) -> dict[str, Any]:
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "kept": dict(self.kept),
            "obsolete": list(self.obsolete),
            "best": self.best,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (state_dict["monitor"], state_dict["mode"]) != (self.monitor, self.mode):
            return  # scores of another metric do not compare; their files stay as they are
        self.kept = dict(state_dict["kept"])
        self.obsolete = [name for name in state_dict["obsolete"] if EPOCH_FILE.fullmatch(name)]
        self.best = state_dict["best"]


class StopEarly(EarlyStopping):
    """Lightning's early stopping, which heeds a changed patience and stays stopped on resuming.

    Args:
        monitor: the metric.
        mode: ``"max"`` or ``"min"``.
        patience: validations without gain before training stops.
        min_delta: a smaller gain is none.

    Raises:
        UserError: after the first validation, if there is no such metric.
    """

    def __init__(self, *, monitor: str, mode: str, patience: int, min_delta: float) -> None:
        super().__init__(monitor=monitor, mode=mode, patience=patience, min_delta=min_delta)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        waits = self.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED
        if waits and self.wait_count < self.patience:
            self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
        if self.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.stopping_reason == EarlyStoppingReason.NOT_STOPPED or not trainer.is_global_zero:
            return
        exhausted = self.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED
        why = f"no gain in {self.wait_count} validations" if exhausted else "it is not a number"
        print(f"stopped early by {self.monitor}: {why}; best {float(self.best_score):.4f}")

    def _run_early_stopping_check(self, trainer: pl.Trainer) -> None:
        if self.monitor not in trainer.callback_metrics:
            raise UserError(
                f"callbacks.early_stopping.monitor={self.monitor}: there is no such metric; "
                f"choose one of {', '.join(sorted(trainer.callback_metrics))}"
            )
        super()._run_early_stopping_check(trainer)


class TrainingMonitor(pl.Callback):
    """Logs `lr`, `train/grad_norm` (before clipping) and `train/episodes_per_s`.

    Every ``log_every_n_steps`` steps and at the end of an epoch, at the number of the step, as
    Lightning does with what the module logs per step. Steps in between cost nothing.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._episodes = 0
        self._since_s = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restart()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        every: int = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        due = (trainer.global_step + 1) % every == 0 or trainer.is_last_batch
        if not due or not trainer.loggers:
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self._values = {
            "lr": optimizer.param_groups[0]["lr"],
            "train/grad_norm": torch.nn.utils.get_total_norm(gradients),
        }

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        self._episodes += trainer.world_size
        if not self._values:
            return
        values = {name: float(value) for name, value in self._values.items()}
        # After the conversion, which waits for the device.
        values["train/episodes_per_s"] = self._episodes / (time.perf_counter() - self._since_s)
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step - 1)
        self._restart()

    def _restart(self) -> None:
        self._values = {}
        self._episodes = 0
        self._since_s = time.perf_counter()


class FreshMetrics(pl.Callback):
    """Knows which metrics are of this epoch: those of an earlier validation stay among them."""

    def __init__(self) -> None:
        self._validated = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def fresh(self, trainer: pl.Trainer) -> dict[str, float]:
        """The metrics of the epoch that has just ended."""
        return {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if self._validated or not name.startswith("val/")
        }


class EpochLines(FreshMetrics):
    """One line for every epoch, where there is no terminal for a progress bar."""

    def __init__(self) -> None:
        super().__init__()
        self._since_s = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._since_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        names = ("train/loss", "train/acc", "val/loss", "val/acc")
        metrics = self.fresh(trainer)
        shown = ", ".join(f"{name} {metrics[name]:.4f}" for name in names if name in metrics)
        seconds = time.perf_counter() - self._since_s
        of = f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
        print(f"epoch {trainer.current_epoch + 1}{of}: {shown} ({seconds:.1f} s)", flush=True)


class EpochBar(RichProgressBar):
    """Lightning's bar in 80 columns: epochs count from 1, as in files and lines."""

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar."""
        return bar_metrics(super().get_metrics(trainer, pl_module))

    def _get_train_description(self, current_epoch: int) -> str:
        of = f"/{self.trainer.max_epochs}" if (self.trainer.max_epochs or 0) > 0 else ""
        return f"Epoch {current_epoch + 1}{of}"

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """The bar gives way where a terminal is narrow."""
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
        ]


def bar_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Loss and accuracies, without the logger's number and further names of the same."""
    return {
        name: value for name, value in metrics.items() if name in ("train/step_loss", "val/acc")
    }


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's checkpoints through `save` and `load`: a SIGKILL leaves no half-written file."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write atomically, and nothing that is not finite; ``storage_options`` must be None."""
        assert storage_options is None
        check_finite(checkpoint["state_dict"], "model.", Path(path))
        save(checkpoint, path)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read to the CPU, without pickle whatever ``weights_only`` says."""
        return load(path)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove the file if it is there."""
        Path(path).unlink(missing_ok=True)
