"""What cannot be trained is found before any work starts; each check names the key."""

from pathlib import Path

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from g5.common.errors import UserError
from g5.config.settings import Settings
from g5.tracking.checkpoints import epochs_done
from g5.training.module import METRICS
from g5.training.setup import check_device, precision_of
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.events import Corpus


def check_monitors(settings: Settings) -> None:
    """What decides between epochs is measured in them."""
    callbacks = settings.callbacks
    for group in ("checkpoint", "early_stopping"):
        monitor = getattr(callbacks, group).monitor
        if monitor not in METRICS:
            raise UserError(
                f"callbacks.{group}.monitor={monitor}: there is no such metric; "
                f"choose one of {', '.join(METRICS)}"
            )


def check_trainer(settings: Settings) -> int:
    """Lightning's own complaints about devices and strategy; how many processes will train."""
    check_device(settings)
    own = settings.trainer
    try:
        trainer = pl.Trainer(
            accelerator=own.accelerator, devices=own.devices, num_nodes=own.num_nodes,
            strategy=own.strategy,
            precision=precision_of(settings),  # type: ignore[arg-type]
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise trainer_error(error) from error
    return trainer.world_size


def check_species(settings: Settings) -> None:
    """Procedural species are known before a recording is made."""
    n_way = settings.arch.episodes.n_way
    for key in ("train_species", "val_species", "test_species"):
        count = settings.data.values.get(key)
        needed = key != "test_species" or settings.test
        if count is not None and needed and count < n_way:
            raise UserError(
                f"arch.episodes.n_way={n_way}: data.{key} is only {count}; "
                "lower the one or raise the other"
            )


def check_episodes(settings: Settings, corpus: Corpus) -> None:
    """Every split can be sampled; the samplers' errors name the key."""
    size = settings.arch.episodes.size
    wanted = ["train", "val"] if corpus.labels("val") else ["train"]
    if settings.test:
        wanted.append("test")
    for split in wanted:
        events = corpus.split(split)
        if events.empty:
            raise UserError(
                f"path.{split}_dir: the {split} split has no calls; see `g5 data check`"
                + (", or train with test=false" if split == "test" else "")
            )
        EpisodeSampler(events, seed=0, split=split, clips=None, **size)
    warnings = len(corpus.problems)
    if warnings:
        print(f"note: {warnings} warnings about the data; `g5 data check` lists them")


def check_epochs(settings: Settings, planned: int, path: Path) -> None:
    """A resumed run may only be made longer, and not where the schedule depends on it."""
    training = settings.arch.training
    if epochs_done(path) > training.max_epochs:
        raise UserError(
            f"arch.training.max_epochs={training.max_epochs}: the run has finished "
            f"{epochs_done(path)} epochs already"
        )
    if planned != training.max_epochs and training.scheduler.startswith("cosine"):
        raise UserError(
            f"arch.training.max_epochs={training.max_epochs}: the cosine schedule of this "
            f"run was laid out for {planned}; start another run with "
            "arch.training.load_weight_from and exp_name=..."
        )


def trainer_error(error: Exception) -> UserError:
    return UserError(f"trainer: {' '.join(str(error).split())}")
