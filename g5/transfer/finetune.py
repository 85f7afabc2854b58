"""Fine-tuning an encoder on a few labels: the head first, then the encoder, block by block.

Sources: gradual unfreezing and per-block learning rates, Howard and Ruder, "Universal Language
Model Fine-tuning", ACL 2018; the head before the encoder, Kumar et al., "Fine-Tuning can Distort
Pretrained Features", ICLR 2022. What we changed: batch norm keeps the statistics it was trained
with, because a few labels give none worth having.

Shapes: N windows, L labels, S samples, D embedding width, C classes.
"""

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GroupShuffleSplit
from torch import Tensor

from archs.blocks import blocks_of
from g5.common.errors import UserError
from g5.common.progress import track
from g5.config.schema import FinetuneSettings
from g5.embeddings.embedding import source_of
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.windows import window_starts, without_silence
from g5.evaluation.report.per_class import recall_table
from g5.training.fit import fit
from g5.transfer.contracts import checkpointed
from g5.transfer.heads.compare import score
from g5.transfer.heads.estimator import EmbeddingHead, check_settings
from g5.transfer.heads.folds import folds_by_source
from g5.transfer.heads.saved import make_head
from g5.transfer.labels import label_targets, named_by_class, odd
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL, AudioRules
from preprocessing.naming import finder
from preprocessing.silence import silent_samples

ALONE, TUNED = "head alone", "fine-tuned"  # the epochs that `FineTuning.answers` knows


@dataclass(frozen=True)
class LabelledWindows:
    """Labelled sound, cut into windows.

    Attributes:
        x: what the encoder's module takes, (N, S) or (N, 1, M, T).
        label_N: number of the label that a window belongs to.
        y: labels (L,), a 0/1 matrix, or ratings.
        classes: names of the labels.
        groups: source of each label.
        notes: what is odd about the labels, a line each.
    """

    x: Tensor
    label_N: np.ndarray
    y: np.ndarray
    classes: list[str]
    groups: np.ndarray
    notes: list[str]


def read_windows(
    encoder: LoadedEncoder, table: pd.DataFrame, root: Path, task: Any, *, where: str, rules:
    AudioRules = READ_ALL,
) -> tuple[LabelledWindows, list[str]]:  # fmt: skip
    """Decode the labelled stretches and turn them into the encoder's input.

    Returns:
        The clips, and a line for each label whose sound cannot be read.
    """
    parts, numbers, labels, rows, groups, files, problems = [], [], [], [], [], [], []
    contents: list[str] = []
    entries, find = table.itertuples(index=True, name=None), finder(root.absolute())
    with torch.no_grad():
        for row, file, label, start_s, end_s, source, _ in track(
            entries, total=len(table), label="reading", unit="labels"
        ):
            try:
                x = _windows_of(encoder, _one_of(find(file), root / file), start_s, end_s, rules)
            except UserError as error:
                problems.append(f"{where}, row {row}: {error}")
                continue
            parts.append(x)
            numbers += [len(labels)] * len(x)
            labels.append(label)
            rows.append(row)
            groups.append(source or source_of(file))
            files.append(file)
            contents.append(hashlib.sha256(x.numpy().tobytes()).hexdigest())
    if not parts:
        raise UserError(f"{where}: no label has readable sound below {root}; {problems[0]}")
    y, classes = label_targets(labels, rows, task, where)
    if task == "single" and named_by_class(groups, labels):
        groups = files
    several = task == "multi"
    notes = [] if task == "rating" else odd(where, table.loc[rows], contents, several=several)
    return LabelledWindows(
        torch.cat(parts), np.array(numbers), y, classes, np.array(groups), notes
    ), problems


def _one_of(found: Sequence[Path], named: Path) -> Path:
    if len(found) > 1:
        raise UserError(f"{named}: may be {found[0]} or {found[1]}; write more of its path")
    return found[0] if found else named


def _windows_of(
    encoder: LoadedEncoder, file: Path, start_s: float, end_s: float, rules: AudioRules
) -> Tensor:
    known = np.isfinite(start_s)
    samples = audio.read(
        file,
        rules,
        start_s=max(start_s, 0.0) if known else 0.0,
        end_s=end_s if known and np.isfinite(end_s) else None,
        rate_hz=encoder.sr,
    )
    if not len(samples):
        raise UserError(f"{file}: has no sound from {start_s:g} s on")
    window = encoder.window_samples
    starts = window_starts(len(samples), window, window)
    cuts = [np.resize(samples[start : start + window], window) for start in starts]
    wave_BS = torch.from_numpy(np.stack(cuts))
    silent_BS = torch.stack([silent_samples(wave_S, encoder.sr) for wave_S in wave_BS])
    wave_BS, kept_B = without_silence(wave_BS, silent_BS)
    if not kept_B.any():
        raise UserError(f"{file}: is digital silence where its label is")
    return encoder.inputs(wave_BS)


def held_back(clips: LabelledWindows, settings: FinetuneSettings) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the labels to train on and of those that choose the epoch, by source.

    Raises:
        UserError: nothing can be validated on another source.
    """
    sources = len(np.unique(clips.groups))
    if settings.task == "single" or sources < 2:
        most = max(2, round(1 / max(settings.validation_share, 1e-3)))
        train, val = folds_by_source(
            clips.y, clips.groups, most, by_class=settings.task == "single", seed=settings.seed,
            every_class=False,
        )[0]  # fmt: skip
    else:
        held = min(max(1, math.ceil(sources * settings.validation_share)), sources - 1)
        splitter = GroupShuffleSplit(1, test_size=held, random_state=settings.seed)
        train, val = next(iter(splitter.split(clips.y, groups=clips.groups)))
    if settings.task == "single" and len(np.unique(clips.y[train])) < 2:
        raise UserError("the training part has a single class; label more recordings")
    return train, val


class FineTuning:
    """The two stages; `run` yields the metrics of each epoch.

    Attributes:
        head: trained beside the encoder.
        best: metrics of the epoch whose weights are kept.
        frozen: metrics of the best epoch with the encoder frozen.
        answers: true and predicted labels of what is held back, of those two epochs.
    """

    def __init__(
        self, encoder: LoadedEncoder, clips: LabelledWindows, settings: FinetuneSettings
    ) -> None:
        if not encoder.trainable:
            raise UserError(
                f"{encoder.name}: cannot be fine-tuned, nothing in it can be trained"
                + (" (a model file is fixed)" if encoder.from_file else "")
                + "; g5 classify trains heads on its embeddings"
            )
        self._encoder = encoder
        self._clips = clips
        self._settings = settings
        train, val = held_back(clips, settings)
        self._rows = {"train": _windows(clips, train), "val": _windows(clips, val)}
        self._labels = {"train": train, "val": val}
        head = make_head(settings.head, settings.task, seed=settings.seed)
        if not isinstance(head, EmbeddingHead):
            raise UserError(f"finetune.head={settings.head}: must be a network; no gradient passes")
        shared = ("weights", "beta", "sampling", "label_smoothing", "rating_loss")
        head.set_params(**{name: getattr(settings, name) for name in shared})
        check_settings(head)
        self.head = head
        self.best: dict[str, float] = {}
        self.frozen: dict[str, float] = {}
        self.answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._best_state: Any = None
        self._blocks = blocks_of(encoder.module)
        if settings.checkpointing:
            checkpointed(encoder.module)

    def recalls(self) -> pd.DataFrame:
        """Of every class, on the held-back sources (`recall_table`)."""
        labels, counts = np.unique(self._clips.y[self._labels["train"]], return_counts=True)
        trained_on = dict(zip(labels, counts.tolist(), strict=True))
        answers = {name: self.answers[name] for name in (ALONE, TUNED)}
        return recall_table(answers, trained_on=trained_on)

    def run(self) -> Iterator[dict[str, float]]:
        """Train; the best weights are in place afterwards."""
        settings, module = self._settings, self._encoder.module
        torch.manual_seed(settings.seed)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        module.eval()
        z_ND = self._embed()
        target = self.head.targets(self._clips.y, len(self._clips.y))[self._clips.label_N]
        self.head.begin(z_ND[self._rows["train"]])
        self._target = target
        self._loss = self.head.loss_for(target[self._rows["train"]])
        groups: list[dict[str, Any]] = [
            {"params": list(self.head.module_.parameters()), "lr": settings.head_learning_rate}
        ]
        self._optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        first = settings.head_epochs
        for epoch, loss in enumerate(self._epochs(range(first), lambda rows: z_ND[rows])):
            yield self._note(epoch, loss, z_ND, 0)
        self.frozen = dict(self.best)
        self.answers[ALONE] = self.answers[TUNED]
        epochs = range(first, settings.epochs)
        for epoch, loss in enumerate(self._epochs(epochs, self._forward), first):
            yield self._note(epoch, loss, self._embed(), len(self._optimizer.param_groups) - 1)
        module_state, head_state = self._best_state
        module.load_state_dict(module_state)
        self.head.module_.load_state_dict(head_state)
        self.head.module_.eval()

    def _forward(self, rows: np.ndarray) -> Tensor:
        return self._encoder.embed_inputs(self._clips.x[rows])

    @torch.no_grad()
    def _embed(self) -> Tensor:
        numbers = np.arange(len(self._clips.x))
        size = self._settings.batch_size
        return torch.cat(
            [self._forward(numbers[i : i + size]) for i in range(0, len(numbers), size)]
        )

    def _free(self, count: int) -> None:
        """Let gradients into the last ``count`` blocks, each slower than the one after it."""
        settings = self._settings
        already = len(self._optimizer.param_groups) - 1
        for depth in range(already, count):
            block = self._blocks[-1 - depth]
            parameters = [p for p in block.parameters() if p.is_floating_point()]
            for parameter in parameters:
                parameter.requires_grad_(True)
            rate = settings.learning_rate * settings.block_decay**depth
            self._optimizer.add_param_group({"params": parameters, "lr": rate})

    def _epochs(self, epochs: range, embed: Callable[[np.ndarray], Tensor]) -> Iterator[float]:
        """Train on what ``embed`` gives; the mean loss of each epoch."""

        def loss_of(rows: np.ndarray) -> Tensor:
            z = (embed(rows) - self.head.mean_D) / self.head.std_D
            return self._loss(self.head.module_(z), self._target[rows])

        return fit(
            loss_of, self._batches, self._optimizer, epochs=epochs, module=self.head.module_,
            rate_name="finetune.learning_rate",
        )  # fmt: skip

    def _batches(self, epoch: int) -> Iterator[np.ndarray]:
        """The windows of an epoch, in batches; the blocks whose turn it is are freed first."""
        settings = self._settings
        later = epoch - settings.head_epochs
        if later >= 0:
            self._free(min(1 + later // settings.unfreeze_every, len(self._blocks)))
        rows_N, size = self._rows["train"], settings.batch_size
        order = rows_N[self.head.epoch_order(self._target[rows_N], epoch).numpy()]
        yield from (order[first : first + size] for first in range(0, len(order), size))

    def _note(self, epoch: int, loss: float, z_ND: Tensor, free: int) -> dict[str, float]:
        """Scores of an epoch; the best weights so far are kept."""
        self.head.module_.eval()
        metrics = {"train/loss": loss, "blocks_free": float(free)}
        z_LD = _mean_by_label(z_ND.numpy(), self._clips.label_N, len(self._clips.y))
        for name, labels in self._labels.items():
            metrics[f"{name}/score"] = score(
                self.head, z_LD[labels], self._clips.y[labels], self._settings.task
            )
        rows = self._rows["val"]
        with torch.no_grad():
            z = (z_ND[rows] - self.head.mean_D) / self.head.std_D
            metrics["val/loss"] = float(self._loss(self.head.module_(z), self._target[rows]))
        better = (metrics["val/score"], -metrics["val/loss"])
        if not self.best or better > (self.best["val/score"], -self.best["val/loss"]):
            self.best = {**metrics, "epoch": float(epoch + 1)}
            held = self._labels["val"]
            self.answers[TUNED] = (self._clips.y[held], self.head.predict(z_LD[held]))
            self._best_state = copy.deepcopy(
                (self._encoder.module.state_dict(), self.head.module_.state_dict())
            )
        return metrics


def _windows(clips: LabelledWindows, labels: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(clips.label_N, labels))


def _mean_by_label(z_ND: np.ndarray, label_N: np.ndarray, count: int) -> np.ndarray:
    sums = np.zeros((count, z_ND.shape[1]), np.float32)
    np.add.at(sums, label_N, z_ND)
    return sums / np.bincount(label_N, minlength=count)[:, None]
