"""What keys the configuration has and what fits them; no values, those are in the YAML."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from g5.config.check import BelowOne, Count, NotNegative, Positive, Range, Seed, Share

# Whoever writes 1000 means milliseconds.
ClipSeconds = Annotated[float, Range(above=0, at_most=600)]


@dataclass
class Paths:
    root_dir: str
    train_dir: str | None
    eval_dir: str | None
    test_dir: str | None
    real_dir: str | None


@dataclass
class Clips:
    """The part of `features` that every front end shares."""

    clip_s: ClipSeconds
    clip: Literal["fixed", "adaptive"]
    min_clip_s: ClipSeconds
    max_clip_s: ClipSeconds
    normalize: Literal["none", "sample", "recording", "train"]
    workers: Count | Literal["auto"]
    block_s: Positive


@dataclass
class Detection:
    """The part of `detection` that every way to score shares."""

    sr: Literal["auto", "checkpoint", "native"]
    time_expansion: Positive
    shots: Count | None
    negatives: Literal["gaps", "head", "everything"]
    batch: Count
    share: bool
    workers: Count | Literal["auto"]
    prior_spread: Positive
    lean: Share
    level: Share
    merge: NotNegative
    min_duration: NotNegative
    max_duration: Positive
    candidates: NotNegative
    pictures: bool
    snippets: Annotated[int, Range(at_least=0)]


@dataclass
class Episodes:
    n_way: Count
    k_shot: Count
    n_query: Count
    episodes_per_epoch: Count
    val_episodes: Count
    test_episodes: Count
    test_views: Count
    test_refine: Annotated[int, Range(at_least=0)]
    episodes_per_batch: Count
    cross_source: bool
    shift: Share
    negatives: bool
    fixed: bool


@dataclass
class Training:
    learning_rate: Positive
    weight_decay: NotNegative
    max_epochs: Count
    pretrain: Share
    pretrain_sampling: Literal["none", "over", "under", "both"]
    pretrain_weights: Literal["none", "inverse_frequency", "effective_number"]
    pretrain_beta: BelowOne
    pretrain_loss: Literal["classes", "supcon"]
    pretrain_labels: Literal["classes", "individuals"]
    pretrain_mixup: NotNegative
    batch_norm: Literal["together", "apart", "running"]
    ema_decay: Annotated[float, Range(at_least=0, at_most=0.99999)]
    optimizer: Literal["adam", "adamw", "sgd"]
    momentum: Share
    scheduler: Literal["none", "step", "cosine", "cosine_warmup", "plateau"]
    scheduler_gamma: Positive
    scheduler_step_size: Count
    warmup_epochs: Count
    gradient_clip_val: NotNegative
    label_smoothing: Share
    load_weight_from: str | None


@dataclass
class Arch:
    name: str
    model: dict
    augmentation: dict | None
    episodes: dict
    training: dict


@dataclass
class TrainerSettings:
    accelerator: Literal["auto", "cpu", "gpu"]
    devices: int
    num_nodes: Count
    strategy: str
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"]
    matmul_precision: Literal["highest", "high", "medium"]
    compile: bool
    threads: Count | None
    log_every_n_steps: Count
    val_every_n_epochs: Count


@dataclass
class Checkpointing:
    monitor: str
    mode: Literal["min", "max"]
    save_top_k: int


@dataclass
class EarlyStop:
    enabled: bool
    monitor: str
    mode: Literal["min", "max"]
    patience: Count
    min_delta: NotNegative


@dataclass
class Callbacks:
    checkpoint: dict
    early_stopping: dict
    progress_bar: bool


@dataclass
class Logger:
    enabled: bool
    tracking_uri: str | None
    system_metrics: bool
    log_model: bool
    log_checkpoints: bool


@dataclass
class Config:
    name: str
    exp_name: str
    train: bool
    test: bool
    resume: bool
    deterministic: bool
    seed: Seed
    path: dict
    data: dict
    features: dict
    detection: dict
    arch: dict
    trainer: dict
    callbacks: dict
    logger: dict


# Where the shared groups sit. `_target_` nodes (data, features, arch.model, arch.augmentation)
# are checked against the signatures of their constructors instead.
GROUPS: dict[str, type[Any]] = {
    "path": Paths,
    "arch": Arch,
    "arch.episodes": Episodes,
    "arch.training": Training,
    "trainer": TrainerSettings,
    "callbacks": Callbacks,
    "callbacks.checkpoint": Checkpointing,
    "callbacks.early_stopping": EarlyStop,
    "logger": Logger,
}
