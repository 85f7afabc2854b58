"""The callback that writes a run's history: one row of metrics for every epoch."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from g5.tracking.callbacks import FreshMetrics
from g5.tracking.history import COLUMNS, read_rows, write_rows


class History(FreshMetrics):
    """Writes `history.csv` after every epoch; a resumed run goes on below its earlier rows.

    Args:
        path: the CSV; epochs count from 1.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.lr = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Rows of epochs that are about to be repeated were written by a run that was killed
        # before it saved them.
        done = trainer.current_epoch
        self.rows = [row for row in read_rows(self.path) if int(row["epoch"]) <= done]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        # At the end of the epoch the schedule has moved on.
        self.lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = self.fresh(trainer)
        row: dict[str, Any] = {"epoch": trainer.current_epoch + 1}
        for name in COLUMNS[1:-1]:
            row[name] = metrics.get(name, "")
        row["lr"] = self.lr
        self.rows.append(row)
        write_rows(self.path, self.rows)
