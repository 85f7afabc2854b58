"""Checkpoints after every epoch, resuming after a real SIGKILL, early stopping, rates and norms.

Run as a script, this file trains a toy until it kills itself; see `KILLS`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from g5.common.errors import UserError
from g5.config.settings import load as load_settings
from g5.tracking.callbacks import (
    AtomicCheckpointIO,
    EpochCheckpoints,
    EpochLines,
    StopEarly,
    TrainingMonitor,
    training_callbacks,
)
from g5.tracking.checkpoints import latest

STEPS = 4


class EpochIndices(Sampler):
    """Yields (epoch, index), as the episodes' sampler does."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # Lazily: a resumed Lightning asks for the iterator before it sets the epoch.
        for index in range(STEPS):
            yield self.epoch, index


class Batches(torch.utils.data.Dataset):
    """Batches that depend on the epoch and the index alone."""

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(100 * key[0] + key[1])
        x = torch.randn(16, 8, generator=generator)
        return x, (x.sum(1) > 0).long()


class Toy(pl.LightningModule):
    """A classifier with dropout and batch norm whose steps are seeded like the real module's."""

    def __init__(
        self,
        schedule: str = "plateau",
        scores: list[float] | None = None,
        hook: Callable[[int, int], None] | None = None,
        validate: bool = True,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.3),
            torch.nn.Linear(16, 2),
        )  # fmt: skip
        self.schedule = schedule
        self.scores = scores
        self.hook = hook
        self.validate = validate

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        torch.manual_seed(1000 * self.current_epoch + batch_idx)
        loss = torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        if self.hook:
            self.hook(self.current_epoch, batch_idx)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self.model(batch[0])
        accuracy = (logits.argmax(1) == batch[1]).float().mean()
        if self.scores:
            accuracy = torch.tensor(self.scores[self.current_epoch])
        self.log("val/acc", accuracy)
        self.log("val/loss", torch.nn.functional.cross_entropy(logits, batch[1]))

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Batches(), batch_size=None, sampler=EpochIndices())

    def val_dataloader(self) -> Any:
        keys = [(900 + index) * 100 for index in range(2)] if self.validate else []
        batches = [Batches()[(key, 0)] for key in keys]
        return DataLoader(batches, batch_size=None)  # pyright: ignore[reportArgumentType]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["g5"] = {"format": 1}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)
        kinds = torch.optim.lr_scheduler
        if self.schedule == "plateau":
            # Steps at every epoch that does not gain a lot: a missed step would show.
            scheduler = kinds.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)
            return [optimizer], [{"scheduler": scheduler, "monitor": "val/loss"}]
        if self.schedule == "cosine":
            return [optimizer], [kinds.CosineAnnealingLR(optimizer, T_max=3)]
        parts = [kinds.LinearLR(optimizer, total_iters=1), kinds.CosineAnnealingLR(optimizer, 2)]
        return [optimizer], [kinds.SequentialLR(optimizer, parts, milestones=[1])]


def fit(
    folder: Path,
    toy: Toy | None = None,
    *,
    epochs: int = 3,
    resume: bool = False,
    extra: list[pl.Callback] | None = None,
    logger: Any = False,
    every: int = 1,
    **settings: Any,
) -> EpochCheckpoints:
    policy = EpochCheckpoints(
        folder=folder, **({"monitor": "val/acc", "mode": "max", "save_top_k": 1} | settings)
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        callbacks=[*(extra or []), policy],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        check_val_every_n_epoch=every,
        log_every_n_steps=3,
        num_sanity_val_steps=1,
        default_root_dir=folder,
    )
    path = latest(folder) if resume else None
    trainer.fit(toy or Toy(), ckpt_path=str(path) if path else None)
    return policy


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def epoch_files(folder: Path) -> list[str]:
    """What the epochs' files have between `epoch_` and `.ckpt`."""
    return [name[6:-5] for name in names(folder) if name.startswith("epoch_")]


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Equal bit for bit, through all containers."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{where}[{index}]")
    elif isinstance(a, Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b or (a != a and b != b), f"{where}: {a} {b}"


def assert_same_run(folder: Path, other: Path) -> None:
    """The same files, and the same state of training in the last of them."""
    assert names(folder) == names(other)
    one, two = read(folder / "last.ckpt"), read(other / "last.ckpt")
    assert list(one) == list(two)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks"):
        assert_same(one[part], two[part], part)
    progress = "epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict"
    for part in progress:
        assert_same(one["loops"]["fit_loop"][part], two["loops"]["fit_loop"][part], part)
    assert one["global_step"] == two["global_step"]


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


# --- killed ---------------------------------------------------------------------------------


def kill_in_the_third_epoch(toy: Toy) -> None:
    toy.hook = lambda epoch, step: die() if (epoch, step) == (2, 1) else None


def kill_before_last_is_renewed(toy: Toy) -> None:
    settle = EpochCheckpoints._settle

    def settle_or_die(self: EpochCheckpoints) -> None:
        if len(self.kept) + len(self.obsolete) > 1:
            die()
        settle(self)

    EpochCheckpoints._settle = settle_or_die  # pyright: ignore[reportAttributeAccessIssue]


def kill_while_writing(toy: Toy) -> None:
    replace = os.replace

    def replace_or_die(source: Any, target: Any) -> None:
        if Path(target).name.startswith("epoch_002"):
            die()
        replace(source, target)

    os.replace = replace_or_die


KILLS = {kill.__name__: kill for kill in (
    kill_in_the_third_epoch, kill_before_last_is_renewed, kill_while_writing
)}  # fmt: skip


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of toys that were killed, each in a process of its own."""
    root = tmp_path_factory.mktemp("killed")
    here = Path(__file__).resolve()
    environment = os.environ | {"PYTHONPATH": str(here.parents[2])}
    done = subprocess.run(
        [sys.executable, str(here), str(root)], env=environment, text=True, capture_output=True
    )
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(KILLS), done.stderr
    return {kill: root / kill for kill in KILLS}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a toy that was not killed."""
    folder = tmp_path_factory.mktemp("whole")
    fit(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    # Sums in another order are other sums, and the process that is killed has one thread.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kill", KILLS)
def test_killed_and_resumed_is_as_if_never_killed(kill: str, killed, whole: Path) -> None:
    folder = killed[kill]
    found = latest(folder)
    assert found is not None
    read(folder / "last.ckpt")  # whole, whatever happened
    epoch = read(found)["epoch"]
    assert (found.name, epoch) == {
        "kill_in_the_third_epoch": ("last.ckpt", 2),
        "kill_before_last_is_renewed": (found.name, 2),
        "kill_while_writing": ("last.ckpt", 1),
    }[kill]
    if kill == "kill_before_last_is_renewed":
        assert found.name.startswith("epoch_002")
    for leftover in folder.glob(".*.tmp*"):  # what `folders.claim` does
        leftover.unlink()
    fit(folder, resume=True)
    assert_same_run(folder, whole)


@pytest.mark.parametrize("schedule", ["plateau", "cosine", "cosine_warmup"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_every_schedule_resumes_exactly(tmp_path: Path, schedule: str, epochs: int) -> None:
    fit(tmp_path / "whole", Toy(schedule))
    fit(tmp_path / "parts", Toy(schedule), epochs=epochs)
    fit(tmp_path / "parts", Toy(schedule), resume=True)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_an_interrupted_epoch_is_repeated(tmp_path: Path) -> None:
    def fail(epoch: int, step: int) -> None:
        if (epoch, step) == (1, 2):
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fit(tmp_path / "parts", Toy(hook=fail))
    fit(tmp_path / "parts", resume=True)
    fit(tmp_path / "whole")
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_finished_run_resumes_to_nothing(tmp_path: Path) -> None:
    fit(tmp_path)
    before = read(tmp_path / "last.ckpt")
    fit(tmp_path, resume=True)
    assert_same(read(tmp_path / "last.ckpt")["state_dict"], before["state_dict"])


# --- what is kept ---------------------------------------------------------------------------


def test_the_best_and_the_newest_are_kept(tmp_path: Path) -> None:
    scores = [0.5, 0.9, 0.7, 0.9, 0.25]
    policy = fit(tmp_path, Toy(scores=scores), epochs=5, save_top_k=2)
    assert names(tmp_path) == [
        "best_checkpoint.ckpt",
        "epoch_002_val_acc_0.9000.ckpt",
        "epoch_004_val_acc_0.9000.ckpt",
        "epoch_005_val_acc_0.2500.ckpt",
        "last.ckpt",
    ]
    # Of two that are equal the earlier is the best.
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 2
    assert read(tmp_path / "last.ckpt")["epoch"] == 5
    assert policy.best_model_path == str(tmp_path / "best_checkpoint.ckpt")


def test_the_lowest_is_the_best_with_mode_min(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"monitor": "val/acc", "mode": "min", "save_top_k": 1}
    fit(tmp_path, Toy(scores=[0.5, 0.25, 0.75]), **settings)
    assert names(tmp_path)[1:3] == [
        "epoch_002_val_acc_0.2500.ckpt",
        "epoch_003_val_acc_0.7500.ckpt",
    ]
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 2


@pytest.mark.parametrize(("top", "kept"), [(-1, [1, 2, 3]), (0, [3])])
def test_all_or_only_the_newest(tmp_path: Path, top: int, kept: list[int]) -> None:
    fit(tmp_path, Toy(scores=[0.5, 0.75, 0.25]), save_top_k=top)
    assert [int(name[:3]) for name in epoch_files(tmp_path)] == kept
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 2


def test_another_monitor_still_names_the_accuracy(tmp_path: Path) -> None:
    fit(tmp_path, Toy(scores=[0.5, 0.25]), epochs=2, monitor="train/loss", mode="min")
    assert "epoch_002_val_acc_0.2500.ckpt" in names(tmp_path)
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 2  # the loss falls


def test_the_best_is_remembered_when_resuming(tmp_path: Path) -> None:
    scores = [0.9, 0.5, 0.7, 0.6]
    fit(tmp_path, Toy(scores=scores), epochs=2, save_top_k=2)
    fit(tmp_path, Toy(scores=scores), epochs=4, save_top_k=2, resume=True)
    assert [name[:3] for name in epoch_files(tmp_path)] == ["001", "003", "004"]
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 1


def test_scores_of_another_metric_are_forgotten(tmp_path: Path) -> None:
    fit(tmp_path, Toy(scores=[0.9, 0.5]), epochs=2)
    settings: dict[str, Any] = {"monitor": "val/acc", "mode": "min", "save_top_k": 1}
    fit(tmp_path, Toy(scores=[0.9, 0.5, 0.7]), epochs=3, resume=True, **settings)
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 3
    assert "epoch_001_val_acc_0.9000.ckpt" in names(tmp_path)


def test_a_score_that_is_no_number_is_never_the_best(tmp_path: Path, capsys) -> None:
    nan = float("nan")
    fit(tmp_path / "some", Toy(scores=[nan, 0.5, nan]))
    assert names(tmp_path / "some")[1:3] == [
        "epoch_002_val_acc_0.5000.ckpt",
        "epoch_003_val_acc_nan.ckpt",
    ]
    assert read(tmp_path / "some/best_checkpoint.ckpt")["epoch"] == 2
    assert "never a number" not in capsys.readouterr().err
    fit(tmp_path / "none", Toy(scores=[nan, nan]), epochs=2)
    assert read(tmp_path / "none/best_checkpoint.ckpt")["epoch"] == 2
    assert "never a number" in capsys.readouterr().err


def test_without_validation_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    fit(tmp_path, Toy(schedule="cosine", validate=False))
    assert names(tmp_path) == ["best_checkpoint.ckpt", "epoch_003.ckpt", "last.ckpt"]
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 3


def test_an_epoch_without_validation_has_no_score(tmp_path: Path) -> None:
    # Lightning still shows the accuracy of the validation before.
    toy = Toy(schedule="cosine", scores=[0.0, 0.5, 0.0])
    fit(tmp_path, toy, every=2, save_top_k=-1)
    assert names(tmp_path)[1:-1] == [
        "epoch_001.ckpt",
        "epoch_002_val_acc_0.5000.ckpt",
        "epoch_003.ckpt",
    ]
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 2


def test_a_metric_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"monitor=val/accc.*train/loss, val/acc, val/loss"):
        fit(tmp_path, monitor="val/accc")
    assert latest(tmp_path) is not None  # the epoch is not lost


def test_links_become_copies_where_there_are_none(tmp_path: Path, monkeypatch) -> None:
    def refuse(*args: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    fit(tmp_path, Toy(scores=[0.5, 0.25]), epochs=2)
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 1
    assert read(tmp_path / "last.ckpt")["epoch"] == 2


# --- early stopping -------------------------------------------------------------------------


def stopper(patience: int) -> StopEarly:
    return StopEarly(monitor="val/acc", mode="max", patience=patience, min_delta=0.0)


def test_a_stopped_run_stays_stopped_unless_patience_grows(tmp_path: Path, capsys) -> None:
    scores = [0.9, 0.5, 0.5, 0.5, 0.5, 0.5]
    fit(tmp_path, Toy(scores=scores), epochs=6, extra=[stopper(2)])
    assert read(tmp_path / "last.ckpt")["epoch"] == 3
    assert "no gain in 2 validations; best 0.9000" in capsys.readouterr().out
    fit(tmp_path, Toy(scores=scores), epochs=6, extra=[stopper(2)], resume=True)
    assert read(tmp_path / "last.ckpt")["epoch"] == 3
    fit(tmp_path, Toy(scores=scores), epochs=6, extra=[stopper(3)], resume=True)
    assert read(tmp_path / "last.ckpt")["epoch"] == 4
    assert read(tmp_path / "best_checkpoint.ckpt")["epoch"] == 1


def test_early_stopping_by_a_metric_that_is_not_there(tmp_path: Path) -> None:
    early = StopEarly(monitor="val/f2", mode="max", patience=2, min_delta=0.0)
    with pytest.raises(UserError, match=r"early_stopping\.monitor=val/f2"):
        fit(tmp_path, extra=[early])


# --- rates and norms ------------------------------------------------------------------------


class ListLogger(Logger):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    name = version = "list"  # pyright: ignore[reportAssignmentType]

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.rows.append((step or 0, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


def test_the_monitor_logs_norms_before_clipping(tmp_path: Path) -> None:
    norms = []

    class Norms(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            gradients = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
            norms.append(float(torch.cat(gradients).double().norm()))

    logger = ListLogger()
    fit(tmp_path, extra=[Norms(), TrainingMonitor()], logger=logger, epochs=2)
    rows = {step: row for step, row in logger.rows if "train/grad_norm" in row}
    # Every third step, and the last of each epoch.
    assert list(rows) == [2, 3, 5, 7]
    for step, row in rows.items():
        assert row["train/grad_norm"] == pytest.approx(norms[step], rel=1e-5)
        assert row["train/episodes_per_s"] > 0
    # The rate the step was taken with: the second epoch's is the first's, halved or not.
    assert rows[2]["lr"] == rows[3]["lr"] == 0.05


def test_epoch_lines_are_for_logs(tmp_path: Path, capsys) -> None:
    fit(tmp_path, Toy(scores=[0.5, 0.75]), extra=[EpochLines()], epochs=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2: train/loss 0.")
    assert "val/acc 0.7500" in lines[1]


def test_the_group_decides_which_callbacks_there_are(tmp_path: Path) -> None:
    settings = load_settings(["callbacks.progress_bar=false"]).callbacks
    kinds = [type(c) for c in training_callbacks(settings, checkpoints=tmp_path)]
    assert kinds == [TrainingMonitor, EpochCheckpoints]
    settings = load_settings(["callbacks.early_stopping.enabled=true"]).callbacks
    kinds = [type(c) for c in training_callbacks(settings, checkpoints=tmp_path)]
    assert kinds == [TrainingMonitor, StopEarly, EpochLines, EpochCheckpoints]


def train_and_be_killed(root: Path) -> None:
    """Train a toy in a process for each of the `KILLS`; print their exit codes."""
    torch.set_num_threads(1)
    for name, kill in KILLS.items():
        # Forked, not started anew: importing torch takes longer than all the rest.
        child = os.fork()
        if child == 0:
            toy = Toy()
            kill(toy)
            fit(root / name, toy)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    train_and_be_killed(Path(sys.argv[1]))
