"""Train a model as the configuration says, then test it: `archs/train.py` and `g5 train`."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ProgressBar
from torch import nn

from archs.protonet import ProtoNet
from g5.common.errors import UserError
from g5.common.secrets import redacted
from g5.common.words import counted
from g5.config.build import build
from g5.config.changes import differences
from g5.config.parts import (
    data_of,
    feature_set_of,
    front_end_of,
    log_mel_set_of,
    normalize_of,
)
from g5.config.settings import Settings, marked
from g5.config.stored import completed
from g5.evaluation.episodes.calibration import calibrate
from g5.evaluation.episodes.raw_features import training_statistics
from g5.evaluation.episodes.result import TestResult
from g5.runs.test import evaluate_checkpoint, report_test
from g5.runs.tested import Tested, TestRequest
from g5.tracking.callbacks import AtomicCheckpointIO, training_callbacks
from g5.tracking.checkpoints import (
    BEST,
    LAST,
    add_calibration,
    check_finite,
    check_same,
    epochs_done,
    latest,
    load,
    load_weights,
    payload,
)
from g5.tracking.folders import SCORES, RunFolder, check_names, claim, find
from g5.tracking.history_callback import History
from g5.tracking.mlflow.logger import MLflowLogger
from g5.tracking.record import recording
from g5.tracking.restore import restore
from g5.training.arithmetic import trusted_precision
from g5.training.checks import (
    check_episodes,
    check_epochs,
    check_monitors,
    check_species,
    check_trainer,
    trainer_error,
)
from g5.training.estimate import SHORTER, Estimate, estimate
from g5.training.finite import StopAtNaN
from g5.training.loaders import EpisodeLoaders
from g5.training.metric import MetricFit
from g5.training.module import FewShotModule
from g5.training.setup import device_of, precision_of, prepare_torch, set_matmul_precision
from preprocessing.events import SPLITS
from preprocessing.feature_set import FeatureSet
from preprocessing.frontend import FrontEnd
from preprocessing.normalize import Normalize

# Of a test-only command line: they say what to do, not what with.
HOW = ("arch", "arch.training.load_weight_from")
RAW_BATCH = 256  # clips at once for raw features; no result depends on it


def run(
    settings: Settings,
    *,
    job: int | None = None,
    overrides: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
    ask: bool = False,
) -> TestResult | None:
    """Train and test, or only test; None where there is no test, or a finished one is only told.

    Args:
        settings: checked.
        job: number of a multirun job.
        overrides: the command line; a test starts from its checkpoint's configuration, and
            these go on top.
        values: keys that were set beside the command line; likewise.
        ask: before a training of hours on a CPU, ask whoever sits at the terminal.

    Raises:
        UserError: for anything the user can put right, most of it before any work starts.
    """
    if settings.train:
        return Training(settings, job=job, ask=ask).run()
    mode = (*marked(Settings, "mode"), *HOW)
    kept = [text for text in overrides if text.lstrip("+").split("=")[0] not in mode]
    arch_is_named = any(text.split("=")[0] == "arch" for text in overrides)
    checkpoint = settings.arch.training.load_weight_from
    assert checkpoint is not None
    arch = settings.arch.name if arch_is_named else None
    return evaluate_checkpoint(TestRequest(checkpoint, kept, arch, values or {}, job))


class Training:
    """One training run: everything that can be wrong is found before the first thing is done.

    Args:
        settings: checked.
        job: number of a multirun job.
        ask: as of `run`.
        callbacks: of Lightning's, before those that save.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        job: int | None,
        ask: bool = False,
        callbacks: Sequence[pl.Callback] = (),
    ) -> None:
        self.settings = settings
        self.job = job
        self.callbacks = callbacks
        self.ask = ask and not settings.resume
        check_names(settings.name, settings.exp_name)
        check_monitors(settings)
        prepare_torch(settings)
        self.data = data_of(settings)
        self.front_end: FrontEnd = front_end_of(settings)
        self.normalize: Normalize = normalize_of(settings)
        self.model: ProtoNet = build(settings.arch.model, expect=ProtoNet, where="arch.model")
        self.augmentation = self._augmentation()
        self.device = device_of(settings)
        heard, made = self.model.encoder.input_channels, self.front_end.channels
        if heard != made:
            raise UserError(
                f"arch.model: hears {heard} channels, and features make {made}; choose "
                "features=logmel, or an architecture with arch.model.input_channels"
            )
        if settings.arch.training.load_weight_from:
            self._load_weights(settings.arch.training.load_weight_from)

    def run(self) -> TestResult | None:
        """Data, features, training, test, summary."""
        settings = self.settings
        self.processes = check_trainer(settings)
        check_species(settings)
        corpus = self.data.load(settings.audio)
        corpus.raise_if_fatal()
        check_episodes(settings, corpus)
        self.feature_set: FeatureSet = feature_set_of(settings, corpus, self.front_end)
        self.feature_set.build(SPLITS)
        if settings.features.normalize == "train":
            self.normalize.fit(*self.feature_set.training_bands())
        loaders = EpisodeLoaders(
            self.feature_set, settings.arch.episodes,
            training=settings.arch.training, seed=settings.seed,
        )  # fmt: skip
        raw_reader = log_mel_set_of(settings, self.feature_set).reader("train")
        self.raw_statistics = training_statistics(raw_reader, batch_size=RAW_BATCH)
        if self.ask and self.device.type == "cpu":
            self._confirm(loaders)
        with claim(
            settings.path.root, settings.name, settings.exp_name,
            training=True, resume=settings.resume, job=self.job,
        ) as folder:  # fmt: skip
            self._say(folder, loaders)
            return self._run_in(folder, loaders)

    def _run_in(self, folder: RunFolder, loaders: EpisodeLoaders) -> TestResult | None:
        settings = self.settings
        set_matmul_precision(settings)
        start_from = self._resumed(folder)
        module = self._module(loaders)
        done = 0 if start_from is None else epochs_done(start_from)
        if done < settings.arch.training.max_epochs:
            print(self._estimate(module, loaders, done).line, flush=True)
        elif settings.test and _is_tested(folder):
            print(finished(folder), flush=True)
            return None
        name = settings.exp_name if self.job is None else f"{settings.exp_name}/{self.job}"
        corpus = self.feature_set.corpus
        parent = None if self.job is None else folder.path.parent
        with recording(
            settings, folder, corpus, name=name, resume=settings.resume, parent=parent
        ) as logger:
            if logger is not None:
                print(f"MLflow    {redacted(logger.tracking_uri)}", flush=True)
            trainer = self._trainer(folder, logger)
            _fit(trainer, module, loaders, start_from)
            if not trainer.is_global_zero:
                return None
            best = folder.checkpoints / BEST
            self._calibrate(best, loaders)
            if logger is not None:
                self._log_checkpoints(folder, logger)
            if not settings.test:
                return None
            return report_test(Tested(settings, restore(best), self.feature_set, folder, logger))

    def _estimate(self, module: FewShotModule, loaders: EpisodeLoaders, done: int) -> Estimate:
        clips = len(self.feature_set.corpus.split("test")) if self.settings.test else 0
        return estimate(
            self.settings, module, loaders, device=self.device, processes=self.processes,
            done=done, test_clips=clips,
        )  # fmt: skip

    def _confirm(self, loaders: EpisodeLoaders) -> None:
        """Ask before a training of hours, while nothing has been moved or made."""
        with torch.random.fork_rng():
            guess = self._estimate(self._module(loaders), loaders, 0)
        if not guess.long:
            return
        print(guess.line, flush=True)
        if input("train for so long? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UserError(f"not trained; {SHORTER}")

    def _calibrate(self, best: Path, loaders: EpisodeLoaders) -> None:
        """Fit the best checkpoint's temperature on the validation episodes, and store it there."""
        if loaders.val_clips is None:
            return
        restored = restore(best)
        found = calibrate(
            restored.model,
            restored.normalize,
            loaders.val_clips.plan,
            loaders.val_clips.reader,
            loaders.val_labels,
            batch_size=loaders.val_clips.batch_size,
            device=self.device,
        )
        add_calibration(best, found.plain())
        print(found.told)

    def _log_checkpoints(self, folder: RunFolder, logger: MLflowLogger) -> None:
        if self.settings.logger.log_checkpoints:
            for name in (BEST, LAST):
                logger.log_artifact(folder.checkpoints / name, "checkpoints")
        if self.settings.logger.log_model:
            logger.log_model(folder.checkpoints / BEST)

    # --- parts ------------------------------------------------------------------------------

    def _augmentation(self) -> nn.Module | None:
        node = self.settings.arch.augmentation
        if node is None:
            return None
        return build(node, expect=nn.Module, where="arch.augmentation")

    def _load_weights(self, named: str) -> None:
        """Start from a checkpoint's weights (`arch.training.load_weight_from`)."""
        path, message = find(named)
        content = load(path)
        check_same(content["g5"], self.settings, path)
        load_weights(self.model, content["state_dict"], "model.", path)
        print(f"weights from {message or path}")

    def _module(self, loaders: EpisodeLoaders) -> FewShotModule:
        return FewShotModule(
            model=self.model,
            normalize=self.normalize,
            augmentation=self.augmentation,
            training=self.settings.arch.training,
            seed=self.settings.seed,
            train_counts=loaders.train_counts,
            val_classes=len(loaders.val_labels),
            payload=self._payload,
            compile_model=self.settings.trainer.compile,
        )

    def _payload(self) -> dict[str, Any]:
        """What a checkpoint says of itself."""
        corpus = self.feature_set.corpus
        return payload(
            config=self.settings.plain(),
            front_end=self.front_end.settings(),
            normalize={"mode": self.normalize.mode, "n_mels": self.front_end.n_mels},
            label_map={split: corpus.labels(split) for split in SPLITS},
            data_hash=corpus.data_hash,
            split_hash=corpus.split_hash,
            trained_recordings=corpus.recordings_of("train"),
            raw_statistics=self.raw_statistics.plain(),
        )

    def _trainer(self, folder: RunFolder, logger: Any) -> pl.Trainer:
        settings, arch = self.settings.trainer, self.settings.arch
        callbacks = training_callbacks(self.settings.callbacks, checkpoints=folder.checkpoints)
        try:
            return pl.Trainer(
                accelerator=settings.accelerator,
                devices=settings.devices,
                num_nodes=settings.num_nodes,
                strategy=self._strategy(),
                precision=trusted_precision(precision_of(self.settings), self.device),  # type: ignore[arg-type]
                max_epochs=arch.training.max_epochs,
                accumulate_grad_batches=arch.episodes.episodes_per_batch,
                gradient_clip_val=arch.training.gradient_clip_val or None,
                deterministic=self.settings.deterministic,
                log_every_n_steps=settings.log_every_n_steps,
                check_val_every_n_epoch=settings.val_every_n_epochs,
                use_distributed_sampler=False,
                num_sanity_val_steps=0,
                enable_model_summary=False,
                enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
                logger=logger or False,
                callbacks=[
                    *self.callbacks,
                    History(folder.path / "history.csv"),
                    StopAtNaN(checkpoints=folder.checkpoints),
                    MetricFit(),
                    *callbacks,
                ],
                plugins=[AtomicCheckpointIO()],
                default_root_dir=folder.path,
            )
        except (MisconfigurationException, TypeError, ValueError) as error:
            raise trainer_error(error) from error

    def _strategy(self) -> str:
        """`trainer.strategy`; pretraining and episodes each leave parameters of the other alone."""
        strategy = self.settings.trainer.strategy
        if strategy == "ddp" and self.settings.arch.training.pretraining_epochs:
            return "ddp_find_unused_parameters_true"
        return strategy

    # --- what the user is told ----------------------------------------------------------------

    def _say(self, folder: RunFolder, loaders: EpisodeLoaders) -> None:
        if folder.message:
            print(folder.message)
        for note in loaders.notes:
            print(f"note: {note}")
        corpus = self.feature_set.corpus
        counts = [
            f"{counted(len(corpus.labels(s)), 'class', 'classes')}, "
            f"{counted(len(corpus.split(s)), 'call')}"
            for s in SPLITS
        ]
        parameters = sum(p.numel() for p in self.model.parameters())
        print(f"model     {self.settings.arch.name}, {parameters / 1e6:.2f} M parameters")
        print(f"data      {'; '.join(f'{s}: {c}' for s, c in zip(SPLITS, counts, strict=True))}")
        print(f"run       {folder.path}")
        print(f"features  {self.feature_set.store_dir}", flush=True)

    # --- resuming -----------------------------------------------------------------------------

    def _resumed(self, folder: RunFolder) -> Path | None:
        """The checkpoint to go on from; None for a new run."""
        if not self.settings.resume:
            return None
        try:
            path = latest(folder.checkpoints)
            if path is None:
                return None
            content = load(path)
            check_finite(content["state_dict"], "model.", path)
            header = content["g5"]
        except UserError as error:
            raise UserError(f"{error}; remove it, and resume=true goes on from another") from error
        changed = differences(
            Settings.from_plain(completed(header["config"])), self.settings, "run"
        )
        if changed:
            raise UserError(
                f"{changed[0]}: differs from the run in {folder.path}, which resume=true would go "
                "on with; leave it as it was, or start another run with exp_name=..."
            )
        if header["data_hash"] != self.feature_set.corpus.data_hash:
            raise UserError(
                f"{folder.path}: its recordings or annotations have changed since; "
                "start another run with exp_name=..."
            )
        check_epochs(self.settings, header["config"]["arch"]["training"]["max_epochs"], path)
        print(f"resume    {path}")
        return path


def _is_tested(folder: RunFolder) -> bool:
    """Whether a finished run's test is of its best checkpoint as it is."""
    scores, best = folder.path / SCORES, folder.checkpoints / BEST
    return scores.exists() and best.exists() and scores.stat().st_mtime >= best.stat().st_mtime


def finished(folder: RunFolder) -> str:
    """What a run that was trained and tested before has to say: its accuracy, and where it is."""
    interval = json.loads((folder.path / SCORES).read_text("utf-8"))["accuracy"]
    best = shlex.quote(str(folder.checkpoints / BEST))
    return (
        f"finished  accuracy {interval['mean']:.1%} [{interval['low']:.1%}, "
        f"{interval['high']:.1%}], as tested before; `g5 test {best}` tests again\n"
        f"report    {folder.path / 'report.html'}"
    )


def _fit(
    trainer: pl.Trainer, module: FewShotModule, loaders: EpisodeLoaders, start_from: Path | None
) -> None:
    """Train; Ctrl-C comes out as `KeyboardInterrupt`, after the checkpoints are in order."""
    try:
        trainer.fit(module, datamodule=loaders, ckpt_path=start_from, weights_only=True)
    except MisconfigurationException as error:
        raise trainer_error(error) from error
    except SystemExit as stop:
        # Lightning turns Ctrl-C into this.
        if trainer.interrupted:
            raise KeyboardInterrupt from stop
        raise
