"""Every leaf of the configuration acts: another value changes something that a user could see.

The leaves are read from `conf/`, so a new key is walked as soon as it is there. It is changed to
the value `OTHER` names, or doubled, halved or negated; the probe of its part of the configuration
(`PROBES`) observes g5 before and after. A key that needs something else here (a probe, a value
that is not a number, a setting under which it acts) fails by name.
"""

import contextlib
import copy
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import pytorch_lightning as pl
import soundfile
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import g5.detection.detector
import g5.detection.job.run
import g5.detection.job.search
import g5.runs.test
import g5.runs.train
import g5.tracking.checkpoints
import g5.tracking.mlflow.logger
import g5.tracking.record
import preprocessing.features
import preprocessing.synthetic.procedural
from archs.metrics import MahalanobisMap
from archs.protonet import ProtoNet
from archs.train import launch
from g5.common.elsewhere import kept
from g5.config.build import build, locate, signature_hints
from g5.config.choices import choices
from g5.config.compose import composed, resolve
from g5.config.parts import corpus_of, data_of, feature_set_of, front_end_of, normalize_of
from g5.config.settings import Settings, checked, load_transfer
from g5.detection.detector import without_rivals
from g5.detection.job.page import DetectionPage
from g5.detection.job.request import DetectionRequest
from g5.embeddings.embedding import Embedding, Part
from g5.embeddings.encoders.loading import load_encoder
from g5.engine.jobs import Job, done
from g5.runs.tested import Tested
from g5.tracking.folders import RunFolder
from g5.tracking.mlflow.logger import MLflowLogger
from g5.tracking.restore import restore
from g5.training.loaders import EpisodeLoaders
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL
from preprocessing.episodes.episode import EpisodeBatch
from preprocessing.events import SPLITS, Corpus
from preprocessing.feature_set import FeatureSet
from preprocessing.frontend import FrontEndStream
from preprocessing.recordings import scan
from tests.conftest import ROOT
from tests.engine.played import play_ray

CONF = ROOT / "conf"
HASH = re.compile(r"\b[0-9a-f]{12}\b")

# --- what is set, and to what -------------------------------------------------------------------

# The choices that a leaf is observed under, unless it is of another choice.
BASE = {
    "arch": "v1", "data": "dcase", "features": "logmel", "trainer": "cpu",
    "callbacks": "default", "logger": "mlflow", "detection": "prototypes",
}  # fmt: skip

# Everything small, and nothing left to the machine. "{world}" is the folder of `World`.
SMALL: dict[str, Any] = {
    "path.train_dir": "{world}/train",
    "path.eval_dir": "{world}/val",
    "path.test_dir": "{world}/test",
    "features.sr": 8000,
    "features.n_fft": 256,
    "features.hop_mel": 128,
    "features.n_mels": 8,
    "features.fmax": 3500,
    "features.clip_s": 0.25,
    "features.workers": 2,
    "detection.workers": 2,
    "arch.episodes.n_way": 2,
    "arch.episodes.k_shot": 1,
    "arch.episodes.n_query": 2,
    "arch.episodes.episodes_per_epoch": 2,
    "arch.episodes.val_episodes": 3,
    "arch.episodes.test_episodes": 3,
    "arch.training.max_epochs": 2,
    "trainer.threads": 1,
}
SMALL_DATA: dict[str, dict[str, Any]] = {
    "data=annotated": {
        "path.train_dir": "{world}/raven",
        "path.eval_dir": "{world}/val",
        "path.test_dir": None,
    },
    "data=raven": {
        "path.train_dir": "{world}/raven",
        "path.eval_dir": "{world}/raven_val",
        "path.test_dir": None,
    },
    "data=clips": {"path.train_dir": "{world}/clips", "path.eval_dir": None, "path.test_dir": None},
    "data=procedural": {
        "path.train_dir": None, "path.eval_dir": None, "path.test_dir": None,
        "data.sr": 16000, "data.f0_hz": [400.0, 4000.0], "data.call_s": [0.05, 0.4],
        "data.train_species": 2, "data.val_species": 1, "data.test_species": 1,
        "data.recordings_per_species": 1, "data.species_per_recording": 2,
        "data.calls_per_recording": 2, "data.recording_s": 2.0,
        "data.distance": 0.0, "data.reverb": 0.0, "data.distractors": 0.0,
        "data.wind": 0.0, "data.rain": 0.0, "data.hum": 0.0, "data.workers": 1,
    },
}  # fmt: skip

# What a leaf is changed to; of a tuple the first that differs and is valid. All others are
# doubled, halved or negated (`_neighbour`).
OTHER: dict[str, Any] = {
    "name": "another",
    "exp_name": "another",
    "path.root_dir": "elsewhere",
    "path.train_dir": "{world}/test",
    "path.eval_dir": "{world}/train",
    "path.test_dir": "{world}/train",
    "data.train_dir": "{world}/test",
    "data.eval_dir": "{world}/train",
    "data.test_dir": "{world}/train",
    "audio.broken": "skip",
    "audio.channel": "left",
    "audio.min_rate_hz": 8001,
    "audio.max_rate_hz": 7999,
    "audio.cache_dir": "{world}/elsewhere",
    "data.anchor": ("centre", "loudest"),
    "data.cache_dir": "another",
    "data=dcase data.q_class": "subset",
    "data=annotated data.q_class": "subset",
    "data=annotated data.label_column": "Species",
    "data=annotated data.columns": {
        "start_s": "Begin Time (s)", "end_s": "End Time (s)", "label": "Species",
    },
    "data=clips data.columns": {"label": "Art"},
    "data=raven data.label_column": "Species",
    "data=clips data.root": "{world}/clips/list.csv",
    "data=clips data.audio_dir": "{world}/other_clips",
    "data=clips data.split": "test",
    "data=clips data.fold": 2,
    "data=clips data.folds": 3,
    "data=clips data.val_classes": 0.4,
    "data=clips data.test_classes": 0.4,
    "data=procedural data.root_dir": "elsewhere",
    "data=procedural data.train_dir": "given/train",
    "data=procedural data.eval_dir": "given/val",
    "data=procedural data.test_dir": "given/test",
    "data=procedural data.species_per_recording": 1,
    "data=procedural data.kinds": ["noise"],
    "data=procedural data.f0_hz": [1000.0, 2000.0],
    "data=procedural data.snr_db": [0.0, 10.0],
    "features.clip": "adaptive",
    "features.normalize": ("none", "recording"),
    "features.floor_db": -20,
    "features.fmax": 3000,
    "features.min_clip_s": 0.13,
    "features.max_clip_s": 0.1,
    "features.workers": 1,
    "features.pcen_eps": 1e3,
    "features.block_s": 0.5,
    "arch.name": "v9",
    "arch.model.distance": ("cosine", "euclidean"),
    "arch=v2 arch.model.distance_share": 0.05,
    "arch=v2 arch.model.metric_rank": 16,
    "arch=v2 arch.model.timbre_dim": 8,
    "arch=v1 arch.augmentation": {
        "_target_": "archs.v2.augmentation.BioacousticAugmentation",
        "time_mask_pct": 0.1, "freq_mask_pct": 0.1, "n_time_masks": 1, "n_freq_masks": 1,
        "noise_std": 0.1, "mixup_alpha": 0.0,
    },
    "arch.model.normalize": ("none", "cl2n"),
    "arch.training.optimizer": ("sgd", "adam"),
    "arch.training.scheduler": "cosine",
    "arch.training.warmup_epochs": 1,
    "arch.training.pretrain": (0.5, 0.0),
    "arch.training.pretrain_sampling": "none",
    "arch.training.pretrain_weights": "inverse_frequency",
    "arch.training.pretrain_beta": 0.1,
    "arch.training.gradient_clip_val": 1e-3,
    "arch.training.load_weight_from": "{world}/trained.ckpt",
    "trainer.accelerator": "gpu",
    "trainer.strategy": "ddp",
    "trainer.log_every_n_steps": 1,
    "trainer.precision": "bf16-mixed",
    "trainer.matmul_precision": ("medium", "high"),
    "callbacks.checkpoint.monitor": "train/loss",
    "callbacks.checkpoint.mode": "min",
    "callbacks.early_stopping.monitor": "train/loss",
    "callbacks.early_stopping.mode": "min",
    "logger.tracking_uri": "sqlite:///another.db",
    "logger.experiment": "another",
    "engine.where": "local",
    "engine.address": "auto",
    "engine.workers": 2,
    "detection.sr": "native",
    "detection.shots": 2,
    "detection.negatives": "everything",
    "detection.share": False,
    "detection.workers": 1,
    "detection.merge": 40.0,
    "detection.min_duration": 50.0,
    "detection.max_duration": 0.05,
    "detection.level": 0.95,
    "detection.lean": 0.0,
    "detection.threshold": 0.99,
    "detection.precision": 0.9999,
    "detection.recall": 0.01,
    "detection.gate": 9.0,
    "detection.candidates": 0.0,
    # Nobody knows when the probe's recording was made.
    "detection.hours": "22:00..04:30",
    "detection.dates": "2024-05-01..",
    "detection.prior_spread": 3.0,
    "detection.max_negatives": 3,
    "detection.min_window_s": 0.4,
    "detection.max_window_s": 0.1,
    "detection.max_scales": 1,
    "detection=template detection.max_template_s": 0.05,
    "detection=template detection.min_template_frames": 40,
    "detection=template detection.correlation": 0.99,
    "detection=energy detection.smooth": 3.0,
    "detection=energy detection.floor_s": 0.0,
    "detection=energy detection.least": 0.1,
}  # fmt: skip

# What a leaf acts together with.
TOGETHER_WITH: dict[str, dict[str, Any]] = {
    "train": {"arch.training.load_weight_from": "{world}/trained.ckpt"},
    "resume": {"exp_name": "earlier"},
    "data.anchor": {"features.clip_s": 0.05},
    "detection.candidates": {"detection.threshold": 0.9},
    "data=procedural data.reverb_s": {"data.reverb": 1.0},
    "data=procedural data.distractor_snr_db": {"data.distractors": 3.0},
    "data=clips data.audio_dir": {"path.train_dir": "{world}/clips/list.csv"},
    "data=clips data.columns": {"path.train_dir": "{world}/clips/list.csv"},
    "data=clips data.folds": {"data.fold": 0},
    "features.min_clip_s": {"features.clip": "adaptive"},
    "features.max_clip_s": {"features.clip": "adaptive", "features.min_clip_s": 0.05},
    "arch.model.cosine_scale": {"arch.model.distance": "cosine"},
    "arch=v2 arch.model.distance_hidden": {"arch.model.distance": "mlp"},
    "arch=v2 arch.model.distance_share": {"arch.model.distance": "mlp"},
    "arch=v2 arch.model.timbre_sharpness": {"arch.model.timbre_dim": 8},
    "arch=v2 arch.model.timbre_weight": {"arch.model.timbre_dim": 8},
    "arch.training.momentum": {"arch.training.optimizer": "sgd"},
    "arch.training.pretrain_sampling": {"arch.training.pretrain": 0.5},
    "arch.training.pretrain_weights": {
        "arch.training.pretrain": 0.5, "path.train_dir": "{world}/uneven",
    },
    "arch.training.pretrain_beta": {
        "arch.training.pretrain": 0.5, "path.train_dir": "{world}/uneven",
        "arch.training.pretrain_weights": "effective_number",
    },
    "arch.training.scheduler_gamma": {"arch.training.scheduler_step_size": 1},
    "arch.training.scheduler_step_size": {"arch.training.scheduler_step_size": 1},
    "arch.training.warmup_epochs": {
        "arch.training.scheduler": "cosine_warmup", "arch.training.max_epochs": 3,
    },
    "detection.max_window_s": {"detection.min_window_s": 0.05},
    "detection.max_scales": {"detection.max_scales": 3, "detection.min_window_s": 0.03},
    "callbacks.early_stopping.enabled": {"callbacks.early_stopping.patience": 1},
    **{
        f"callbacks.early_stopping.{key}": {
            "callbacks.early_stopping.enabled": True, "callbacks.early_stopping.patience": 1,
        }
        for key in ("monitor", "mode", "patience", "min_delta")
    },
}  # fmt: skip

# Read by the commands on embeddings: tests/config/test_transfer_leaves.py walks them.
OF_EMBEDDINGS = {"encoder", "head"}

# Read by experiments/ only: they look for real recordings here.
EXPERIMENTS_ONLY = {"path.real_dir"}

# They follow from the front end: any other value is an error (tests/training/test_train.py).
OF_THE_FRONT_END = {"features.channels", "arch.model.input_channels"}

# Leaves that do nothing under these settings, one for each probe: that they are found to do
# nothing shows that the probes see what g5 does, and not the configuration itself.
INERT: dict[str, dict[str, Any]] = {
    "arch.training.momentum": {"arch.training.optimizer": "adam"},
    "arch.training.warmup_epochs": {"arch.training.scheduler": "cosine"},
    "arch.training.pretrain_sampling": {"arch.training.pretrain": 0.0},
    "arch.model.cosine_scale": {"arch.model.distance": "euclidean"},
    "features.max_clip_s": {"features.clip": "fixed"},
    "data=procedural data.reverb_s": {"data.reverb": 0.0},
    "data=clips data.val_classes": {"data.split": "test"},
    "callbacks.early_stopping.patience": {"callbacks.early_stopping.enabled": False},
    "arch.episodes.cross_source": {"path.train_dir": "{world}/one", "path.eval_dir": None},
}


# --- the leaves ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """A key, and the choice of a group that has it."""

    key: str
    choice: str

    def __str__(self) -> str:
        group = self.choice.partition("=")[0]
        inside = self.key.startswith(f"{group}.") and group in ("arch", "data", "features")
        return f"{self.choice} {self.key}" if inside else self.key

    def lookup(self, table: Mapping[str, Any]) -> Any:
        """What a table says of this leaf, or of all of this key; None if nothing."""
        return table.get(f"{self.choice} {self.key}", table.get(self.key))


def composition(choice: str) -> DictConfig:
    """`conf/config.yaml` with the base choices and ``choice`` in place of its group's."""
    group, _, name = choice.partition("=")
    chosen = {**BASE, group: name}
    if group == "experiment":
        del chosen["arch"]  # an experiment brings its own
    return _composition(tuple(f"{key}={value}" for key, value in chosen.items()))


@cache
def _composition(overrides: tuple[str, ...]) -> DictConfig:
    return composed(overrides)


def leaves() -> list[Leaf]:
    """Every key under every choice of every group, once for each class that is configured."""
    groups = sorted(path.name for path in CONF.iterdir() if path.is_dir() and choices(path.name))
    groups = [group for group in groups if group not in OF_EMBEDDINGS]
    found: dict[tuple[str, str], Leaf] = {}
    for group in groups:
        # The base choice comes first: what others share with it is probed there.
        for name in sorted(choices(group), key=lambda name: name != BASE.get(group)):
            choice = f"{group}={name}"
            plain = OmegaConf.to_container(composition(choice), resolve=False)
            for key, target in walk(plain):
                own = key.partition(".")[0]
                brought = choice if own not in BASE or own == group else f"{own}={BASE[own]}"
                found.setdefault((key, target), Leaf(key, brought))
    return sorted(found.values(), key=str)


def walk(node: Any, at: str = "", target: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys of what is no group, each with the `_target_` whose constructor takes it."""
    if not isinstance(node, Mapping) or not node:
        yield at, target
        return
    own = node.get("_target_", "")
    taken = {*signature_hints(locate(own, at)), "_target_"} if own else set()
    for key, value in node.items():
        yield from walk(value, f"{at}.{key}" if at else str(key), own if key in taken else "")


LEAVES = leaves()


# --- the world ----------------------------------------------------------------------------------

LABELS = {"train": "abcd", "val": "efg", "test": "hij"}


def sound(path: Path, seconds: float, seed: int) -> None:
    """Noise under tones that begin loud and fade, with silence at the end."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * 8000)) / 8000
    tone = np.sin(2 * np.pi * rng.uniform(500, 3000) * t) * np.exp(-3 * (t % 0.5))
    x = (0.3 * tone + 0.01 * rng.standard_normal(len(t))) * (t < 0.9 * seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, 8000)


def calls(label: str, number: int) -> list[tuple[float, float]]:
    """Where a label calls in a recording: three calls of 0.1 to 0.3 s, never two labels at once."""
    first = 0.4 * (ord(label) % 4)
    return [(first + 1.6 * i, first + 1.6 * i + 0.1 * (1 + (i + number) % 3)) for i in range(3)]


def write_dcase(folder: Path, labels: str, recordings: int = 2) -> None:
    for number in range(recordings):
        stem = folder / "SET" / f"{folder.name}_{number}"
        sound(stem.with_suffix(".wav"), 5.0, seed=number + 10 * ord(labels[0]))
        lines = [f"Audiofilename,Starttime,Endtime,{','.join(labels)}"]
        for label in labels:
            marks = ",".join("POS" if label == other else "NEG" for other in labels)
            lines += [f"{stem.name}.wav,{a},{b},{marks}" for a, b in calls(label, number)]
        stem.with_suffix(".csv").write_text("\n".join(lines) + "\n")


def write_q(folder: Path) -> None:
    """A set whose class is the recording, or its folder."""
    sound(folder / "SET" / "q.wav", 5.0, seed=5)
    rows = "".join(f"q.wav,{a},{b},POS\n" for a, b in calls("a", 0))
    (folder / "SET" / "q.csv").write_text(f"Audiofilename,Starttime,Endtime,Q\n{rows}")


def write_raven(folder: Path, labels: str) -> None:
    sound(folder / f"{labels}.wav", 5.0, seed=ord(labels[0]))
    lines = ["Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\tSpecies"]
    for label in labels:
        lines += [f"1\t{a}\t{b}\t{label}\tspecies {label}" for a, b in calls(label, 0)]
    (folder / f"{labels}.Table.1.selections.txt").write_text("\n".join(lines) + "\n")


def write_clips(folder: Path, seed: int) -> None:
    for number, label in enumerate("klmno"):
        sound(folder / label / f"{label}.wav", 0.4, seed=seed + number)
    rows = "".join(f"{label}/{label}.wav,{label},species {label}\n" for label in "klmn")
    (folder / "list.csv").write_text(f"file,label,Art\n{rows}")


@dataclass
class World:
    """Recordings and a checkpoint to observe g5 with, and what was observed so far.

    Attributes:
        path: where they lie.
        seen: observations, by probe and configuration.
        configs: configurations that were asked for.
        steady: probes that were found to see the same twice.
        count: observations so far.
    """

    path: Path
    seen: dict[Any, Any] = field(default_factory=dict)
    configs: dict[Any, dict[str, Any]] = field(default_factory=dict)
    steady: set[Any] = field(default_factory=set)
    count: int = 0

    def fill(self, value: Any) -> Any:
        """A value of the tables above, in this world."""
        return value.replace("{world}", str(self.path)) if isinstance(value, str) else value

    def config(self, choice: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """A valid configuration: the small one of ``choice`` with ``changes``."""
        key = (choice, repr(changes))
        if key not in self.configs:
            config = copy.deepcopy(composition(choice))
            OmegaConf.set_readonly(config, False)
            for name, value in {**SMALL, **SMALL_DATA.get(choice, {}), **changes}.items():
                OmegaConf.update(config, name, self.fill(value), merge=False)
            self.configs[key] = resolve(config)
            checked(self.configs[key])
        return self.configs[key]

    def observe(self, probe: "Probe", config: dict[str, Any]) -> Any:
        """What ``probe`` sees, in an empty current directory; torch and the environment stay."""
        self.count += 1
        here = self.path / "runs" / str(self.count)
        (here / "outputs").mkdir(parents=True)
        if probe.share:
            (here / "outputs" / "store").symlink_to(self.path / "store")
        with torch_as_it_is(), mock.patch.dict(os.environ), pytest.MonkeyPatch.context() as patch:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            patch.chdir(here)
            with contextlib.redirect_stdout(io.StringIO()):
                given = checked(copy.deepcopy(config)) if "arch" in config else config
                return probe.see(given, here, patch)

    def before(self, probe: "Probe", config: dict[str, Any]) -> Any:
        """What ``probe`` sees of ``config``; when it first looks, that it sees the same again."""
        key = (probe.see, repr(config))
        if key not in self.seen:
            self.seen[key] = self.observe(probe, config)
            if probe.see not in self.steady:
                assert self.observe(probe, config) == self.seen[key], "a probe must repeat itself"
                self.steady.add(probe.see)
        return self.seen[key]


@contextlib.contextmanager
def torch_as_it_is() -> Iterator[None]:
    """Put back what a run sets for the whole process."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    path = tmp_path_factory.mktemp("world")
    for split, labels in LABELS.items():
        write_dcase(path / split, labels)
    write_dcase(path / "one", LABELS["train"], recordings=1)
    write_dcase(path / "uneven", LABELS["train"])
    write_dcase(path / "uneven", LABELS["train"][:2], recordings=1)  # over the first of the two
    write_q(path / "val")
    write_raven(path / "raven", "ab")
    write_raven(path / "raven_val", "cd")
    write_clips(path / "clips", seed=0)
    write_clips(path / "other_clips", seed=50)
    (path / "store").mkdir()
    made = World(path)
    config = made.config("arch=v1", {"seed": 99, "logger.enabled": False, **SMALL_MODEL})
    made.observe(RUN, config)
    (trained,) = path.glob("runs/1/outputs/*/*/checkpoints/last.ckpt")
    os.link(trained, path / "trained.ckpt")
    return made


# --- probes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """What is looked at: ``see(config, here, patch)``.

    Attributes:
        see: returns what can be compared; it is called in the empty folder ``here``.
        context: settings under which it looks.
        share: whether the features of earlier observations are there already.
    """

    see: Callable[[Any, Path, pytest.MonkeyPatch], Any]
    context: Mapping[str, Any] = field(default_factory=dict)
    share: bool = False


def digest(*values: Any) -> str:
    """Of tensors and plain values, in a few letters."""
    state = hashlib.sha256()
    for value in values:
        if isinstance(value, Tensor):
            state.update(f"{tuple(value.shape)} {value.dtype}".encode())
            value = value.detach().contiguous().numpy().tobytes()
        state.update(value if isinstance(value, bytes) else repr(value).encode())
    return state.hexdigest()[:16]


def files(here: Path) -> list[str]:
    """What lies under ``here`` but for the store; names say nothing of the settings."""
    names = (str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
    return sorted(HASH.sub("HASH", name) for name in names if "/store/" not in f"/{name}")


def see_run(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """A training run: its jobs, its record, its files and its weights, and torch meanwhile."""
    seen: list[Any] = []
    fit = g5.runs.train._fit

    def spied_fit(*parts: Any) -> None:
        seen.append(("threads", torch.get_num_threads()))
        seen.append(("matmul", torch.get_float32_matmul_precision()))
        seen.append(("deterministic", torch.are_deterministic_algorithms_enabled()))
        fit(*parts)

    class Record(MLflowLogger):
        """An MLflow run that is written nowhere."""

        def _open(self, uri: str) -> None:
            seen.append(("run", self.experiment_name, self.run_name, uri.replace(str(here), "")))
            seen.append(("patience", self.server_wait_s))

        def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
            seen.append(("metrics", sorted(metrics), step))

        def log_artifact(self, path: Path, folder: str | None = None) -> None:
            seen.append(("artifact", path.name, folder))

        def log_model(self, checkpoint: Path) -> None:
            seen.append(("model", checkpoint.name))

    monitor = SimpleNamespace(start=lambda: seen.append("system metrics"), stop=lambda: None)
    patch.setattr(g5.tracking.mlflow.logger, "system_monitor", lambda *_, **__: monitor)
    patch.setattr(g5.tracking.record, "MLflowLogger", Record)
    patch.setattr(g5.runs.train, "_fit", spied_fit)
    patch.setattr(g5.runs.train, "report_test", lambda *_: seen.append("test"))
    patch.setattr(g5.runs.train, "evaluate_checkpoint", lambda _: seen.append("only test"))
    # Three processes for each checkpoint.
    patch.setattr(g5.tracking.checkpoints, "git_revision", lambda: None)
    # Inductor would take a minute.
    patch.setattr(nn.Module, "compile", lambda self: seen.append("compiled"))
    g5.runs.train.run(settings)
    for checkpoint in sorted(here.rglob("last.ckpt")):
        content = torch.load(checkpoint, weights_only=True)
        seen.append(("weights", digest(*content["state_dict"].values()), content["global_step"]))
    return seen, files(here)


def see_second_run(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """A run where there has been one of that name, shorter by an epoch."""
    see_run(settings.but({"resume": False, "arch.training.max_epochs": 1}), here, patch)
    return see_run(settings, here, patch)


def see_sound(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """A WAV of two channels that ends early: what is read of it, and what is said."""
    path = here / "cut.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (800, 2)), 8000)
    os.truncate(path, 2000)
    table, problems = scan([path], None, settings.audio)
    told = [str(problem).replace(str(here), "") for problem in problems]
    return len(table), told, audio.read(path, settings.audio).tobytes() if len(table) else b""


def see_cache(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """A file in a zip: where it lies while it is read."""
    patch.setattr(kept, "_cache", None)
    data_of(settings)
    with zipfile.ZipFile(here / "one.zip", "w") as bundle:
        bundle.writestr("x.wav", "x")
    with kept.local(here / "one.zip" / "x.wav") as file:
        return str(file.parent), kept.cache().most_bytes


NO_VALIDATION: Any = SimpleNamespace(val_labels=[], train_counts=[])


def see_encoder(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """Two training steps: what the encoder is given, what comes out of it, and the losses."""
    module = g5.runs.train.Training(settings, job=None)._module(NO_VALIDATION)
    seen: list[Any] = []
    module.model.register_forward_hook(lambda _, args, z: seen.append((digest(args[0]), digest(z))))
    module.train()
    torch.manual_seed(0)
    x_B1MT = torch.randn(12, 1, 32, 40)
    batch = EpisodeBatch(
        x=x_B1MT, stats=torch.tensor([[0.0, 1.0]] * 12), class_ids=torch.arange(3),
        n_way=3, k_shot=2, n_query=2, epoch=0, index=0,
    )  # fmt: skip
    optimizer = torch.optim.SGD(module.parameters(), lr=0.001)
    for _ in range(2):
        loss, _ = module.episode_loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


def see_metric(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """What a learned map makes of the embeddings that it is learned from."""
    torch.manual_seed(0)
    model = build(settings.arch.model, expect=ProtoNet, where="arch.model")
    z_XD = torch.randn(40, model.call_dim) * torch.linspace(0.1, 2.0, model.call_dim)
    if not isinstance(model.metric, MahalanobisMap):
        return None
    model.metric.fit(z_XD, torch.arange(40) % 8)
    return digest(model.metric(z_XD))


def feature_set(settings: Settings) -> FeatureSet:
    return feature_set_of(settings, corpus_of(settings), front_end_of(settings))


def see_episodes(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """The training episodes of two epochs, and the validation episodes."""
    loaders = EpisodeLoaders(
        feature_set(settings), settings.arch.episodes,
        training=settings.arch.training, seed=settings.seed,
    )  # fmt: skip
    train = loaders.train_dataloader()
    seen = []
    for epoch in range(2):
        train.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        seen += [(b.n_way, b.k_shot, b.n_query, digest(b.x, b.class_ids)) for b in train]
    episodes = loaders.val_clips.plan.episodes if loaders.val_clips else []
    return seen, [digest(e.support, e.query) for e in episodes]


def see_test(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """The test of a checkpoint, without its figures."""
    restored = restore(Path(str(settings.arch.training.load_weight_from)))
    patch.setattr(g5.runs.test, "_write", lambda *_: {})
    result = g5.runs.test.report_test(
        Tested(settings, restored, feature_set(settings), RunFolder(here), None)
    )
    return len(result.scores.accuracy_E), result.interval, digest(result.scores.logits_AN.tobytes())


def see_clips(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """The clips of the training calls as an encoder gets them, and how they were extracted."""
    pools, pushed = [], []
    push, executor = FrontEndStream.push, preprocessing.features.ThreadPoolExecutor

    def spied_push(stream: FrontEndStream, samples: Any) -> Tensor:
        pushed.append(len(samples))
        return push(stream, samples)

    def spied_executor(workers: int, **more: Any) -> Any:
        pools.append(workers)
        return executor(workers, **more)

    patch.setattr(FrontEndStream, "push", spied_push)
    patch.setattr(preprocessing.features, "ThreadPoolExecutor", spied_executor)
    seen = feature_set(settings)
    reader, normalize = seen.reader("train"), normalize_of(settings)
    if settings.features.normalize == "train":
        normalize.fit(*seen.training_bands())
    rows = np.arange(len(reader))
    x_B1MT, stats_B2 = reader.gather(rows, reader.episode_frames(rows))
    return digest(normalize(x_B1MT, stats_B2)), pools, sorted(pushed)


def see_corpus(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """What is read: events, recordings, splits and problems, and what is written on the way."""
    corpus: Corpus = corpus_of(settings)
    events = corpus.events.drop(columns=["file", "source"]).to_csv()
    audio = corpus.recordings.drop(columns=["file", "source"]).to_csv()
    splits = {name: len(corpus.split(name)) for name in SPLITS}
    return events, audio, splits, [problem.kind for problem in corpus.problems], files(here)


def see_procedural(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """The recordings and their tables as they are made, where they go, and by how many workers."""
    workers: list[int] = []
    made = preprocessing.synthetic.procedural._made

    def spied_made(todo: Any, count: int) -> Any:
        workers.append(count)
        return made(todo, 1)

    patch.setattr(preprocessing.synthetic.procedural, "_made", spied_made)
    data_of(settings).make()  # type: ignore[attr-defined]
    sounds = [path for path in here.rglob("*") if path.suffix in (".wav", ".csv")]
    return {
        HASH.sub("HASH", str(p.relative_to(here))): digest(p.read_bytes()) for p in sounds
    }, workers


def see_detection(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """What is found by a hardly trained encoder, how it came about, and what is written."""
    seen: list[Any] = []
    detect, page_write = g5.detection.detector.Detector.detect, DetectionPage.write

    def spied_detect(detector: Any, sound: Any, target: Any) -> Any:
        found = detect(detector, sound, target)
        one = detector.embedder
        seen.append((one.batch, one.workers, one.stride, sound.slow, len(target.shots)))
        seen.append([repr(gap[1:]) for gap in target.gaps()])
        seen.append(digest(found.curve.score_N.tobytes(), repr(found.calibration)))
        seen.append(found.events.to_csv() + detector.candidates(sound, found).to_csv())
        return found

    def spied_rivals(found: Any, **how: Any) -> Any:
        seen.append(how)
        return without_rivals(found, **how)

    def spied_report(page: Any, path: Path) -> Path:
        seen.append(page.snippets)
        return page_write(page, path)

    sound(here / "night.wav", 5.0, seed=3)
    # Another rate than the front end's.
    samples, _ = soundfile.read(here / "night.wav")
    marks = [(0.4, 0.5), (1.0, 1.2), (2.0, 2.8)]
    for start_s, end_s in marks:
        # Louder than what else is found.
        samples[round(6000 * start_s) : round(6000 * end_s)] *= 3
    soundfile.write(here / "night.wav", samples, 6000)
    (here / "calls.txt").write_text("".join(f"{a}\t{b}\tx\n" for a, b in marks))
    patch.setattr(g5.detection.detector.Detector, "detect", spied_detect)
    patch.setattr(DetectionPage, "write", spied_report)
    patch.setattr(g5.detection.job.search, "without_rivals", spied_rivals)
    trained = Path(str(settings.arch.training.load_weight_from))
    request = DetectionRequest(str(trained), here / "night.wav", here / "calls.txt", here / "out")
    g5.detection.job.run.detect(request, settings)
    return seen, sorted(path.suffix for path in here.rglob("*") if path.is_file())


def see_trainer(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """What Lightning is asked for; this machine need not have it."""
    asked: dict[str, Any] = {}
    patch.setattr(g5.runs.train.pl, "Trainer", lambda **keywords: asked.update(keywords))
    g5.runs.train.Training(settings, job=None)._trainer(RunFolder(here), None)
    return {key: value for key, value in asked.items() if isinstance(value, str | int)}


class Scripted(pl.LightningModule):
    """A run whose metrics are known beforehand."""

    LOSS = (6.0, 5.0, 4.0, 3.0, 2.0, 1.0)
    ACCURACY = (0.5, 0.9, 0.905, 0.6, 0.7, 0.8)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.log("train/loss", self.LOSS[self.current_epoch], on_step=False, on_epoch=True)
        return self.weight.sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/acc", self.ACCURACY[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def see_callbacks(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """A scripted run: which epochs it has, keeps, calls the best, and tells the user of."""
    folder = RunFolder(here)
    folder.checkpoints.mkdir()
    trainer = g5.runs.train.Training(settings, job=None)._trainer(folder, None)
    loader = DataLoader(TensorDataset(torch.zeros(1, 1)))
    with contextlib.redirect_stdout(io.StringIO()) as told:
        trainer.fit(Scripted(), loader, loader)
    best = torch.load(folder.checkpoints / "best_checkpoint.ckpt", weights_only=True)["epoch"] + 1
    return trainer.current_epoch, best, files(here), told.getvalue().count("\nepoch")


def see_target(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """The classes of what is built from `_target_` nodes."""
    augmentation = settings.arch.augmentation
    return (
        type(data_of(settings)).__name__,
        type(front_end_of(settings)).__name__,
        locate(settings.detection.scorer.target, "detection").__name__,
        type(build(settings.arch.model, expect=ProtoNet, where="arch.model")).__name__,
        augmentation and type(build(augmentation, expect=nn.Module, where="")).__name__,
    )


def see_engine(settings: Settings, here: Path, patch: pytest.MonkeyPatch) -> Any:
    """Jobs on a cluster that is played: what is asked of it, and when results are taken."""
    jobs = [Job(number, str(number), 400.0) for number in range(80)]
    seen = play_ray(patch, killers=["3"])
    worker = lambda given: ((job, job.name) for job in given)  # noqa: E731
    for job, result in done(settings.engine, jobs, lambda: worker):
        seen.append((job.name, str(result)))
    encoder = load_encoder("handcrafted")
    embedding = Embedding(load_transfer(reads=()).embed, READ_ALL, encoder, None, "", alone=False)
    recording = Job(Part(Path("night.wav"), "night.wav", "key"), "night.wav", 86400.0)
    return seen, len(embedding.parts(encoder, recording, settings.engine.part_s))


SMALL_MODEL = {"arch.model.channels": [4, 8]}
RUN = Probe(see_run, SMALL_MODEL, share=True)
CORPUS = Probe(see_corpus)
CLIPS = Probe(see_clips)
TRAINER = Probe(see_trainer)
TRAINED = {"arch.training.load_weight_from": "{world}/trained.ckpt"}
CALLBACKS = Probe(see_callbacks, {"arch.training.max_epochs": 6})

# The probe of a leaf is that of the longest of these that it starts with.
PROBES: dict[str, Probe] = {
    **dict.fromkeys(("name", "exp_name", "train", "test", "deterministic", "seed"), RUN),
    "resume": Probe(see_second_run, SMALL_MODEL, share=True),
    "path.root_dir": RUN,
    **dict.fromkeys(("path.train_dir", "path.eval_dir", "path.test_dir"), CORPUS),
    "audio.": Probe(see_sound),
    **dict.fromkeys(("audio.cache_dir", "audio.cache_gb"), Probe(see_cache)),
    "data.": CORPUS,
    "data.anchor": CLIPS,
    "data=procedural data.": Probe(see_procedural),
    "features.": CLIPS,
    "arch.name": RUN,
    "arch.model.": Probe(see_encoder),
    "arch=v2 arch.model.metric_": Probe(see_metric, {"arch.model.embedding_dim": 64}),
    "arch.augmentation": Probe(see_encoder),
    "arch.episodes.": Probe(see_episodes, share=True),
    "arch.episodes.episodes_per_batch": RUN,
    **dict.fromkeys(
        ("arch.episodes.test_episodes", "arch.episodes.test_refine"),
        Probe(see_test, TRAINED, share=True),
    ),
    "arch.training.": RUN,
    # Pictures take longer than all the rest.
    "detection.": Probe(see_detection, TRAINED | {"detection.pictures": False}),
    "detection.snippets": Probe(see_detection, TRAINED),
    "trainer.": RUN,
    **{f"trainer.{key}": TRAINER for key in ("accelerator", "devices", "num_nodes", "strategy")},
    "callbacks.": CALLBACKS,
    "logger.": RUN,
    "engine.": Probe(see_engine, {"engine.where": "ray"}),
}


def probe_of(leaf: Leaf) -> Probe:
    if leaf.key.endswith("._target_"):
        return Probe(see_target)
    names = [leaf.key, f"{leaf.choice} {leaf.key}"]
    fitting = [start for start in PROBES if any(name.startswith(start) for name in names)]
    # How much of the key itself is named counts, then that its choice is.
    best = max(fitting, key=lambda start: (len(start.split(" ")[-1]), " " in start), default=None)
    assert best is not None, f"{leaf}: a new key; give it a probe in PROBES"
    return PROBES[best]


# --- the walk -----------------------------------------------------------------------------------


def another_class(dotted: str) -> str:
    """The path of a class like the one at ``dotted``, but not that one."""
    cls = type("Another", (locate(dotted, "_target_"),), {"__module__": __name__})
    globals()["Another"] = cls
    return f"{__name__}.Another"


def neighbour(value: Any) -> Any:
    """Another value of the same kind; None where that takes knowledge."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 2 * value or 1
    if isinstance(value, float):
        return value / 2 or 0.5
    if isinstance(value, list) and all(isinstance(item, int | float) for item in value):
        return [neighbour(item) for item in value]
    return None


def another_value(leaf: Leaf, current: Any, world: World) -> Any:
    """A value that the leaf can be changed to."""
    if leaf.key.endswith("._target_"):
        return another_class(current)
    named = leaf.lookup(OTHER)
    if named is None:
        named = neighbour(current)
    assert named is not None, f"{leaf}: say in OTHER what {current!r} can be changed to"
    wanted = named if isinstance(named, tuple) else (named,)
    return next(value for value in map(world.fill, wanted) if value != current)


def before_and_after(leaf: Leaf, world: World, settings: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """What is seen before and after the leaf is changed, and what was done, in words."""
    probe = probe_of(leaf)
    settings = {**probe.context, **settings}
    config = world.config(leaf.choice, settings)
    value = another_value(leaf, value_at(config, leaf.key), world)
    after = world.observe(probe, world.config(leaf.choice, {**settings, leaf.key: value}))
    return world.before(probe, config), after, f"{leaf}={value!r}, seen by {probe.see.__name__}"


def value_at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize(
    "leaf", [x for x in LEAVES if x.key not in EXPERIMENTS_ONLY | OF_THE_FRONT_END], ids=str
)
def test_changing_a_leaf_changes_something(leaf: Leaf, world: World):
    before, after, change = before_and_after(leaf, world, leaf.lookup(TOGETHER_WITH) or {})
    assert after != before, f"{change}: nothing changes"


@pytest.mark.parametrize("name", INERT)
def test_a_leaf_that_does_nothing_is_found_out(name: str, world: World):
    leaf = next(leaf for leaf in LEAVES if name in (leaf.key, f"{leaf.choice} {leaf.key}"))
    before, after, change = before_and_after(leaf, world, INERT[name])
    assert after == before, f"{change}: it should do nothing under {INERT[name]}"


def test_the_tables_speak_of_leaves_that_exist():
    names = {name for leaf in LEAVES for name in (leaf.key, f"{leaf.choice} {leaf.key}")}
    for table in (OTHER, TOGETHER_WITH, INERT, EXPERIMENTS_ONLY, OF_THE_FRONT_END):
        assert set(table) <= names, set(table) - names


def test_experiments_read_what_nothing_else_reads():
    modules = [path.read_text() for path in (ROOT / "experiments").rglob("*.py")]
    if not modules:
        pytest.skip("there are no experiments")
    for key in EXPERIMENTS_ONLY:
        assert any(key.partition(".")[2] in text for text in modules), key


# --- Hydra's own --------------------------------------------------------------------------------

HYDRA = {
    "hydra.run.dir": (False, "elsewhere"),
    "hydra.sweep.dir": (True, "elsewhere"),
    "hydra.sweep.subdir": (True, "elsewhere"),
    "hydra.output_subdir": (False, "notes"),
    "hydra.job.chdir": (True, "true"),
}


def see_launch(config: dict[str, Any], here: Path, patch: pytest.MonkeyPatch) -> Any:
    """`archs/train.py`: where the job is, and what lies about afterwards."""
    seen: list[str] = []
    patch.setattr(g5.runs.train, "run", lambda *_, **__: seen.append(os.path.relpath(".", here)))
    patch.setattr("sys.argv", [])
    launch(config["overrides"], multirun=config["multirun"])
    return seen, sorted(str(path.relative_to(here)) for path in here.rglob("*"))


@pytest.mark.parametrize("key", HYDRA)
def test_changing_where_hydra_works_changes_something(key: str, world: World):
    multirun, value = HYDRA[key]
    probe = Probe(see_launch)
    after = world.observe(probe, {"overrides": [f"{key}={value}"], "multirun": multirun})
    assert after != world.before(probe, {"overrides": [], "multirun": multirun})


def test_every_key_of_hydra_is_changed():
    hydra = yaml.safe_load((CONF / "config.yaml").read_text())["hydra"]
    assert {key for key, _ in walk({"hydra": hydra})} == set(HYDRA)


# --- comments -----------------------------------------------------------------------------------

KEY = re.compile(r"^( *)([\w@]+):(?: +([^#\s].*))?")


def undocumented(path: Path) -> list[str]:
    """Keys with a value in a YAML file that have no comment on their line or the line above."""
    found, parents, above = [], {}, ""
    for line in path.read_text().splitlines():
        match = KEY.match(line)
        if match:
            depth, name, value = len(match[1]), match[2], match[3]
            parents = {at: key for at, key in parents.items() if at < depth} | {depth: name}
            said = "#" in line or above.lstrip().startswith("#")
            if value and not said and name != "_target_" and parents[0] != "defaults":
                found.append(".".join(parents.values()))
        above = line
    return found


def defined_elsewhere(path: Path) -> set[str]:
    """Keys of the files that a YAML file starts from, and of the base choice of its group."""
    defaults = (yaml.safe_load(path.read_text()) or {}).get("defaults", [])
    names = {item for item in defaults if isinstance(item, str)} | {BASE.get(path.parent.name)}
    files = [path.parent / f"{name}.yaml" for name in names if name not in (None, "_self_")]
    texts = [yaml.safe_load(file.read_text()) for file in files if file != path]
    return {key for text in texts for key, _ in walk(text)}


@pytest.mark.parametrize(
    "path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF))
)
def test_every_key_has_a_comment_where_it_is_defined(path: Path):
    if path.read_text().startswith("# @package _global_"):
        return  # sets keys that others define
    assert [key for key in undocumented(path) if key not in defined_elsewhere(path)] == []
