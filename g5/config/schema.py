"""What keys the configuration has and what fits them; no values, those are in the YAML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from g5.common.elsewhere.kept import Cache
from g5.config.check import (
    BelowOne,
    Between,
    Count,
    NotNegative,
    Piece,
    Positive,
    Range,
    Seed,
    Share,
)
from g5.config.node import Node
from preprocessing.audio_rules import AudioRules

# Whoever writes 1000 means milliseconds.
ClipSeconds = Annotated[float, Range(at_least=0.001, at_most=600)]
Whole = Annotated[int, Range(at_least=0)]
AtLeastTwo = Annotated[int, Range(at_least=2)]
Workers = Count | Literal["auto"]
ClassWeights = Literal["none", "inverse_frequency", "effective_number"]
Sampling = Literal["none", "over", "under", "both"]
Task = Literal["single", "multi", "rating"]

# --- what the metadata of a field says ---
# The keys of such a node lie in the group itself, beside those that are the same for every class.
SPREAD = {"spread": True}
# It decides what a run is, which a resumed one may not change; and what makes a test another test.
OF_RUNS, OF_TESTS = {"decides": ("run",)}, {"decides": ("run", "test")}
# Where things lie and how many work on them decides neither. (Constructors say the same of their
# keywords by `preprocessing.events.INDIFFERENT`.)
INDIFFERENT = {"indifferent": True}
# Runs that differ in nothing else are repetitions of one configuration.
REPETITION = {"repetition": True}
# Where things lie and are sent, and on what: for whoever runs a test to say.
OF_USER = {"user": True}
# A folder of recordings, or a table of them.
DATA_DIR = {"data_dir": True}
# A run may be made longer; where its first weights came from is history.
EXTENDS = {"extends": True}
# A fact of a trained model: an override on top of a checkpoint's configuration is refused.
LOCKED = {"locked": True}
# What a detection may set; the checkpoint says the rest.
OF_DETECTION = {"detection": True}
# No event depends on it.
NO_EVENT = {"no_event": True}
# What a command line does, not what with.
MODE = {"mode": True}


class EpisodeSize(TypedDict):
    """Keywords of what draws episodes."""

    n_way: int
    k_shot: int
    n_query: int
    cross_source: bool


# --- runs: conf/config.yaml ---------------------------------------------------------------------


@dataclass(frozen=True)
class PathSettings:
    root_dir: str = field(metadata=OF_DETECTION)
    train_dir: str | None = field(metadata=DATA_DIR)
    eval_dir: str | None = field(metadata=DATA_DIR)
    test_dir: str | None = field(metadata=DATA_DIR)
    real_dir: str | None

    @property
    def root(self) -> Path:
        """`path.root_dir`, absolute."""
        return Path(self.root_dir).expanduser().resolve()

    @property
    def store(self) -> Path:
        """The folder of the feature stores."""
        return self.root / "outputs" / "store"


@dataclass(frozen=True)
class AudioSettings(AudioRules):
    broken: Literal["repair", "skip", "stop"]
    channel: Literal["auto", "mix", "left", "right"] | Count
    min_rate_hz: Count
    max_rate_hz: Count
    cache_dir: str = field(metadata=INDIFFERENT)
    cache_gb: Positive = field(metadata=INDIFFERENT)

    @property
    def cache(self) -> Cache:
        """Where what lies elsewhere is kept while it is read."""
        return Cache(Path(self.cache_dir).expanduser().absolute(), 1e9 * self.cache_gb)


@dataclass(frozen=True)
class FeatureSettings:
    front_end: Node = field(metadata=SPREAD | LOCKED)
    channels: Count = field(metadata=LOCKED)
    clip_s: ClipSeconds
    clip: Literal["fixed", "adaptive"]
    min_clip_s: ClipSeconds
    max_clip_s: ClipSeconds
    normalize: Literal["none", "sample", "recording", "train"] = field(metadata=LOCKED)
    workers: Workers = field(metadata=INDIFFERENT)
    block_s: Piece = field(metadata=INDIFFERENT)


@dataclass(frozen=True)
class LookSettings:
    bias: float
    score: float
    margin: float
    nearest: float
    usual: float
    others: float
    spectrum: float
    loudness: float
    length: float


@dataclass(frozen=True)
class DetectionSettings:
    scorer: Node = field(metadata=SPREAD)
    sr: Literal["auto", "checkpoint", "native"]
    time_expansion: Positive
    shots: Count | None
    negatives: Literal["gaps", "head", "everything"]
    batch: Count
    share: bool
    workers: Workers = field(metadata=NO_EVENT)
    prior_spread: Positive
    lean: Share
    threshold: Between
    precision: Between | None
    recall: Between | None
    gate: NotNegative
    look: LookSettings
    level: Share
    merge: NotNegative
    min_duration: NotNegative
    max_duration: Positive
    overlap: bool
    candidates: NotNegative
    hours: str | None = field(metadata=NO_EVENT)
    dates: str | None = field(metadata=NO_EVENT)
    pictures: bool = field(metadata=NO_EVENT)
    snippets: Whole = field(metadata=NO_EVENT)

    @property
    def asks(self) -> tuple[str, float] | None:
        """What share is asked for instead of a threshold, ``precision`` or ``recall``, and it."""
        for name in ("precision", "recall"):
            if (share := getattr(self, name)) is not None:
                return name, share
        return None


@dataclass(frozen=True)
class EpisodeSettings:
    n_way: Count
    k_shot: Count
    n_query: Count
    episodes_per_epoch: Count
    val_episodes: Count
    test_episodes: Count
    test_refine: Whole
    episodes_per_batch: Count
    cross_source: bool
    shift: Share
    fixed: bool

    @property
    def clips(self) -> int:
        """Support and query clips of an episode."""
        return self.n_way * (self.k_shot + self.n_query)

    @property
    def size(self) -> EpisodeSize:
        """What an `EpisodeSampler` draws."""
        return {
            "n_way": self.n_way,
            "k_shot": self.k_shot,
            "n_query": self.n_query,
            "cross_source": self.cross_source,
        }


@dataclass(frozen=True)
class TrainingSettings:
    learning_rate: Positive
    weight_decay: NotNegative
    max_epochs: Count = field(metadata=EXTENDS)
    pretrain: Share
    pretrain_sampling: Sampling
    pretrain_weights: ClassWeights
    pretrain_beta: BelowOne
    optimizer: Literal["adam", "adamw", "sgd"]
    momentum: Share
    scheduler: Literal["none", "step", "cosine", "cosine_warmup", "plateau"]
    scheduler_gamma: Positive
    scheduler_step_size: Count
    warmup_epochs: Count
    gradient_clip_val: NotNegative
    label_smoothing: BelowOne
    load_weight_from: str | None = field(metadata=EXTENDS | REPETITION)

    @property
    def pretraining_epochs(self) -> int:
        """How many of the epochs come before the episodes; rounded down."""
        return int(self.pretrain * self.max_epochs + 1e-9)


@dataclass(frozen=True)
class ArchSettings:
    name: str = field(metadata=LOCKED)
    model: Node = field(metadata=LOCKED | OF_RUNS)
    augmentation: Node | None = field(metadata=LOCKED | OF_RUNS)
    episodes: EpisodeSettings = field(metadata=OF_TESTS)
    training: TrainingSettings = field(metadata=LOCKED | OF_RUNS)


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class CheckpointSettings:
    monitor: str
    mode: Literal["min", "max"]
    save_top_k: int


@dataclass(frozen=True)
class EarlyStopSettings:
    enabled: bool
    monitor: str
    mode: Literal["min", "max"]
    patience: Count
    min_delta: NotNegative


@dataclass(frozen=True)
class CallbackSettings:
    checkpoint: CheckpointSettings
    early_stopping: EarlyStopSettings
    progress_bar: bool = field(metadata=REPETITION)


@dataclass(frozen=True)
class LoggerSettings:
    enabled: bool
    tracking_uri: str | None
    experiment: str | None
    system_metrics: bool
    server_wait_s: NotNegative
    log_model: bool
    log_checkpoints: bool


# --- where work runs: both ----------------------------------------------------------------------


@dataclass(frozen=True)
class EngineSettings:
    where: Literal["local", "ray"]
    address: str | None
    workers: Workers
    cpus: Count
    gpus: NotNegative
    unit_s: Piece
    part_s: Piece
    ahead: Count
    tries: Count


# --- commands on embeddings: conf/transfer.yaml -------------------------------------------------


@dataclass(frozen=True)
class EmbedSettings:
    hop_s: Piece | None
    batch_size: Count
    block_s: Piece
    device: Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class ClassifySettings:
    heads: list[str]
    task: Task
    folds: Count
    gap: NotNegative
    low: Share
    few_labels: Count
    seed: Seed


@dataclass(frozen=True)
class FinetuneSettings:
    task: Task
    head: str
    epochs: AtLeastTwo
    frozen_epochs: Count
    unfreeze_every: Count
    head_learning_rate: Positive
    learning_rate: Positive
    block_decay: Positive
    weight_decay: NotNegative
    batch_size: Count
    checkpointing: bool
    validation_share: Share
    label_smoothing: BelowOne
    weights: ClassWeights
    beta: BelowOne
    sampling: Sampling
    rating_loss: Literal["mse", "mae"]
    seed: Seed

    @property
    def head_epochs(self) -> int:
        """How many of the epochs train the head alone; the encoder gets one at least."""
        return min(self.frozen_epochs, self.epochs - 1)


@dataclass(frozen=True)
class VerifySettings:
    pairs: Count
    components: Count | None
    resamples: Annotated[int, Range(at_least=20)]
    seed: Seed


@dataclass(frozen=True)
class SearchSettings:
    metric: Literal["cosine", "dot", "euclidean"]
    k: Count
    approximate: bool
    neighbour: Count
    reference: Count
    context: NotNegative
    page_mb: Positive
    seed: Seed


@dataclass(frozen=True)
class ClusterSettings:
    method: Literal["kmeans", "hdbscan", "both"]
    k: AtLeastTwo | None
    max_k: AtLeastTwo
    min_cluster_size: AtLeastTwo
    components: Count
    most: Count
    seed: Seed


@dataclass(frozen=True)
class MapSettings:
    method: Literal["auto", "pca", "tsne", "umap"]
    dims: Literal[2, 3]
    neighbours: Count
    most: Count
    tiles: Whole
    page_mb: Positive
    seed: Seed


@dataclass(frozen=True)
class LabelSettings:
    strategy: str
    retrain_every: Count
    pool: Count
    regularisation: Positive
    components: Count
    folds: AtLeastTwo
    suggestions: Count
    map_points: Count
    seed: Seed


@dataclass(frozen=True)
class ReviewSettings:
    events: Literal["predictions", "candidates"]
    order: Literal["sample", "uncertain", "score"]
    precision: Between | None
    recall: Between | None
    mailed: Count
    page_mb: Positive
    seed: Seed


@dataclass(frozen=True)
class ClipSettings:
    margin: NotNegative
    bins: Count
    seed: Seed


@dataclass(frozen=True)
class SimulateSettings:
    strategies: list[str]
    first: Count
    step: Count
    last: Count
    seeds: Count
    test_share: Annotated[float, Range(above=0, at_most=0.9)]
    seconds_per_label: Positive
    regularisation: Positive
    components: Count


@dataclass(frozen=True)
class ExplainSettings:
    method: Literal["occlusion", "gradients"]
    patch_s: Positive
    patch_mels: Count
    steps: Count
