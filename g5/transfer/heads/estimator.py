"""`EmbeddingHead`: the shallow networks as one scikit-learn estimator.

Shapes: N examples, D embedding width, C classes, labels or ratings, B a batch.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, f1_score, r2_score
from torch import Tensor, nn

from archs.heads import EmbeddingClassifier, LinearHead, MLPHead, ResidualHead
from archs.losses import ClassWeights, bce_with_logits, class_weights, cross_entropy, mae, mse
from g5.common.device import torch_threads
from g5.common.errors import UserError
from g5.common.words import counted
from g5.config.schema import Task
from g5.embeddings.encoders.user_classes import build_head
from g5.training.fit import seeded
from g5.transfer.heads.training import HeadTraining
from preprocessing.episodes.balance import Balance, balanced_rows

NETWORKS = ("linear", "projection", "mlp", "deep", "residual")
TASKS = ("single", "multi", "rating")
WEIGHTS, SAMPLINGS = get_args(ClassWeights), get_args(Balance)
ERRORS = {"mse": mse, "mae": mae}
# Fewer than this many examples in the held-back part decide nothing.
SMALLEST_HELD_BACK = 20
SMALLEST_STD = 1e-6
# Of a label that is never there nor predicted.
ZERO: Any = 0


class EmbeddingHead(BaseEstimator):
    """A shallow network on embeddings, trained in seconds.

    Dimensions and labels come from `fit`. The embeddings are standardised first (mean and
    deviation of the training set), so that one learning rate serves every encoder. A part of the
    training set is held back for early stopping; where it would be too small, training stops when
    the training loss does.

    Args:
        network: ``linear``, ``projection`` (`EmbeddingClassifier`), ``mlp``, ``deep``,
            ``residual``, or the import path of an ``nn.Module`` class of your own.
        task: ``single`` (one of many, softmax), ``multi`` (several at once, sigmoid; y is a 0/1
            matrix) or ``rating`` (in [0, 1]).
        hidden_dim: width of hidden layers; of the projection (None keeps the embedding's).
        n_layers: hidden layers (deep), blocks (residual).
        dropout: share of hidden units dropped in training.
        learning_rate: of AdamW; it falls to 0 by a cosine.
        weight_decay: of AdamW.
        max_epochs: passes over the training set, at most.
        batch_size: examples in a step; of a small training set an eighth, so that an epoch is
            some steps whatever its size.
        patience: epochs without gain after which training stops.
        min_delta: smaller gains of the loss count as none.
        validation_share: of the training set, held back for early stopping; 0 holds back none.
        weights: class weights: ``none``, ``inverse_frequency`` or ``effective_number``.
        beta: of the effective number.
        sampling: ``none``, or how often an epoch has the examples of each class
            (`preprocessing.episodes.balance`); for ``single``.
        label_smoothing: share of the target that is spread over all classes.
        rating_loss: ``mse`` or ``mae``, of ``rating``.
        standardize: False takes the embeddings as they are.
        seed: of weights, dropout, batches and the held-back part.
        device: ``cpu`` or ``cuda``.

    Attributes:
        classes_: labels in the order of `predict_proba`'s columns; numbers 0... for ``multi``.
        n_features_in_: D.
        module_: the trained network.
        history_: train and validation loss of each epoch.
    """

    def __init__(
        self,
        *,
        network: str = "linear",
        task: Task = "single",
        hidden_dim: int | None = 128,
        n_layers: int = 2,
        dropout: float = 0.2,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        max_epochs: int = 60,
        batch_size: int = 256,
        patience: int = 5,
        min_delta: float = 1e-3,
        validation_share: float = 0.15,
        weights: ClassWeights = "none",
        beta: float = 0.99,
        sampling: Balance = "none",
        label_smoothing: float = 0.0,
        rating_loss: Literal["mse", "mae"] = "mse",
        standardize: bool = True,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.network = network
        self.task = task
        self.hidden_dim = hidden_dim
        self.n_layers = n_layers
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.patience = patience
        self.min_delta = min_delta
        self.validation_share = validation_share
        self.weights = weights
        self.beta = beta
        self.sampling: Balance = sampling
        self.label_smoothing = label_smoothing
        self.rating_loss = rating_loss
        self.standardize = standardize
        self.seed = seed
        self.device = device
        self.history_: list[dict[str, float]]

    # --- scikit-learn -----------------------------------------------------------------------

    @property
    def _estimator_type(self) -> str:
        return "regressor" if self.task == "rating" else "classifier"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor" if self.task == "rating" else "classifier"
        tags.target_tags.required = True
        if self.task == "rating":
            from sklearn.utils import RegressorTags

            tags.regressor_tags = RegressorTags()
        else:
            from sklearn.utils import ClassifierTags

            tags.classifier_tags = ClassifierTags(multi_label=self.task == "multi")
        return tags

    def fit(self, X: Any, y: Any) -> "EmbeddingHead":
        """Train on embeddings ``X`` (N, D) and their labels or ratings ``y``.

        Raises:
            UserError: NaNs, lengths that differ, a single class, ratings outside [0, 1], or a
                network of your own that fails its contract checks.
        """
        check_settings(self)
        x_ND = checked_embeddings(X)
        target = self.targets(y, len(x_ND))
        device = torch.device(self.device)
        # Steps this small gain nothing from threads, and beside other work they wait for each other
        # most of the time.
        with seeded(self.seed), torch_threads(1):
            train_n, held_n = self._held_back(target)
            x = torch.from_numpy(x_ND).to(device)
            self.begin(x[train_n])
            x = (x - self.mean_D) / self.std_D
            data = (x[train_n], target[train_n].to(device))
            held = (x[held_n], target[held_n].to(device)) if len(held_n) else None
            self.history_ = self._trained(data, held)
        self.module_.eval()
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels (N,), a 0/1 matrix (N, C) for ``multi``, or ratings in [0, 1]."""
        if self.task == "rating":
            return self._outputs(X)
        proba_NC = self.predict_proba(X)
        if self.task == "multi":
            return (proba_NC >= 0.5).astype(np.int64)
        return self.classes_[proba_NC.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, C); of each label on its own for ``multi``."""
        if self.task == "rating":
            raise AttributeError("a rating has no probabilities; see predict")
        return self._outputs(X)

    def score(self, X: Any, y: Any) -> float:
        """Accuracy; macro F1 for ``multi``; R2 for ``rating``."""
        predicted = self.predict(X)
        if self.task == "multi":
            return float(f1_score(np.asarray(y), predicted, average="macro", zero_division=ZERO))
        measure = r2_score if self.task == "rating" else accuracy_score
        return float(measure(np.asarray(y), predicted))

    def get_embedding(self, X: Any) -> np.ndarray:
        """The projected vectors (N, H) of the network ``projection``."""
        if self.network != "projection":
            raise UserError(f"network={self.network}: only `projection` has projected vectors")
        with torch.inference_mode():
            assert isinstance(self.module_, EmbeddingClassifier)
            return self.module_.get_embedding(self._prepared(X)).cpu().numpy()

    # --- saving -----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything `from_state` needs: plain values and tensors."""
        classes = None if self.task == "rating" else self.classes_.tolist()
        return {
            "params": self.get_params(),
            "classes": classes,
            "n_features": self.n_features_in_,
            "n_outputs": self.n_outputs_,
            "mean": self.mean_D.cpu(),
            "std": self.std_D.cpu(),
            "state_dict": {key: value.cpu() for key, value in self.module_.state_dict().items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "EmbeddingHead":
        """A fitted head from its `state`."""
        self = cls(**{**state["params"], "device": "cpu"})
        self.n_features_in_, self.n_outputs_ = state["n_features"], state["n_outputs"]
        if state["classes"] is not None:
            self.classes_ = np.array(state["classes"])
        self.mean_D, self.std_D = state["mean"], state["std"]
        self.module_ = self._network()
        self.module_.load_state_dict(state["state_dict"])
        self.module_.eval()
        return self

    # --- inside -----------------------------------------------------------------------------

    def _trained(
        self, data: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor] | None
    ) -> list[dict[str, float]]:
        y = data[1]
        loss = self.loss_for(y)
        names = HeadTraining.__dataclass_fields__
        return HeadTraining(**{name: getattr(self, name) for name in names}).run(
            self.module_,
            lambda x_BD, y: loss(self._checked_outputs(x_BD), y),
            data,
            held,
            order=lambda epoch: self.epoch_order(y, epoch),
            length=len(y) if self.sampling == "none" else len(self.epoch_order(y, 0)),
        )

    def _checked_outputs(self, x_BD: Tensor) -> Tensor:
        out, wanted = self.module_(x_BD), (len(x_BD), self.n_outputs_)
        if out.shape != wanted:
            raise UserError(
                f"{self.network}: gives {tuple(out.shape)} for {len(x_BD)} embeddings, where "
                f"{wanted} is needed"
            )
        return out

    def _network(self) -> nn.Module:
        size: dict[str, Any] = {"input_dim": self.n_features_in_, "n_outputs": self.n_outputs_}
        hidden = self.n_features_in_ if self.hidden_dim is None else self.hidden_dim
        match self.network:
            case "linear":
                return LinearHead(**size)
            case "projection":
                return EmbeddingClassifier(self.n_features_in_, self.hidden_dim, self.n_outputs_)
            case "mlp":
                return MLPHead(**size, hidden_dims=[hidden], dropout=self.dropout)
            case "deep":
                return MLPHead(**size, hidden_dims=[hidden] * self.n_layers, dropout=self.dropout)
            case "residual":
                return ResidualHead(
                    **size, hidden_dim=hidden, n_blocks=self.n_layers, dropout=self.dropout
                )
        return build_head(self.network, self.n_features_in_, self.n_outputs_)

    def targets(self, y: Any, n_examples: int) -> Tensor:
        """What the loss takes; sets ``classes_`` and ``n_outputs_``."""
        y_N = np.asarray(y)
        if len(y_N) != n_examples:
            raise UserError(f"{counted(n_examples, 'embedding')}, but {counted(len(y_N), 'label')}")
        if self.task == "single":
            self.classes_, class_N = np.unique(y_N, return_inverse=True)
            if y_N.ndim != 1:
                raise UserError("task=single: one label for each embedding; see task=multi")
            if len(self.classes_) < 2:
                raise UserError(f"all labels are {self.classes_[0]!r}; a head needs two classes")
            self.n_outputs_ = len(self.classes_)
            return torch.from_numpy(class_N.astype(np.int64))
        values = y_N.astype(np.float32)
        if not ((values >= 0) & (values <= 1)).all():
            what = "0 or 1" if self.task == "multi" else "ratings from 0 to 1"
            raise UserError(f"task={self.task}: labels must be {what}")
        if self.task == "multi":
            if values.ndim != 2:
                raise UserError("task=multi: labels must be a 0/1 matrix (examples, labels)")
            self.classes_ = np.arange(values.shape[1])
        self._one_rating_ = values.ndim == 1
        values = values.reshape(n_examples, -1)
        self.n_outputs_ = values.shape[1]
        return torch.from_numpy(values)

    def _held_back(self, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the examples to train on and of those held back, some of every class."""
        n = len(target)
        everything, nothing = np.arange(n), np.zeros(0, np.int64)
        rng = np.random.default_rng(self.seed)
        if round(n * self.validation_share) < SMALLEST_HELD_BACK:
            return everything, nothing
        if self.task != "single":
            order = rng.permutation(n)
            cut = round(n * self.validation_share)
            return np.sort(order[cut:]), np.sort(order[:cut])
        held = []
        for label in range(self.n_outputs_):
            members = rng.permutation(np.flatnonzero(target.numpy() == label))
            # A class of a few keeps them all for training.
            held.append(members[: int(len(members) * self.validation_share)])
        held_n = np.sort(np.concatenate(held))
        if len(held_n) < SMALLEST_HELD_BACK:
            return everything, nothing
        return np.setdiff1d(everything, held_n), held_n

    def begin(self, x_ND: Tensor) -> None:
        """Make the untrained network for embeddings (N, D), and how they are standardised.

        `targets` must have been called: the outputs are known from it.
        """
        self.n_features_in_ = x_ND.shape[1]
        self.module_ = self._network().to(x_ND.device)
        self.mean_D, self.std_D = torch.zeros_like(x_ND[0]), torch.ones_like(x_ND[0])
        if self.standardize:
            std_D, self.mean_D = torch.std_mean(x_ND, dim=0, correction=0)
            # A feature that never changes says nothing, and is not blown up.
            self.std_D = torch.where(std_D > SMALLEST_STD, std_D, 1.0)

    def epoch_order(self, target: Tensor, epoch: int) -> Tensor:
        """The examples that an epoch takes, in order; its own where classes are sampled."""
        if self.sampling == "none":
            return torch.randperm(len(target))
        rows = balanced_rows(target.cpu().numpy(), self.sampling, seed=self.seed + epoch)
        return torch.from_numpy(rows)

    def loss_for(self, target: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of raw outputs (B, C) and targets, weighted for these training targets."""
        smoothing = self.label_smoothing
        if self.task == "single":
            counts_C = torch.bincount(target, minlength=self.n_outputs_)
            kind = cast("ClassWeights", self.weights)
            weights_C = class_weights(kind, counts_C, beta=self.beta)
            return lambda out, y: cross_entropy(
                out, y, weights_C=weights_C, label_smoothing=smoothing
            )
        if self.task == "rating":
            # A network of one's own gives ratings; those of g5 give their logits.
            own = self.network not in NETWORKS
            error = ERRORS[self.rating_loss]
            return lambda out, y: error(out if own else out.sigmoid(), y)
        positives_C = target.sum(dim=0)
        weights_C = None
        if self.weights != "none":
            weights_C = (len(target) - positives_C) / positives_C.clamp(min=1)
        return lambda out, y: bce_with_logits(
            out, y, positive_weights_C=weights_C, label_smoothing=smoothing
        )

    def _prepared(self, X: Any) -> Tensor:
        x_ND = checked_embeddings(X)
        if x_ND.shape[1] != self.n_features_in_:
            raise UserError(
                f"embeddings of {x_ND.shape[1]} dimensions, but this head was trained on "
                f"{self.n_features_in_}; use the encoder it was trained with"
            )
        x = torch.from_numpy(x_ND).to(self.mean_D.device)
        return (x - self.mean_D) / self.std_D

    @torch.inference_mode()
    def _outputs(self, X: Any) -> np.ndarray:
        out = self.module_(self._prepared(X)).float()
        if self.task == "single":
            return out.softmax(dim=1).cpu().numpy()
        own_rating = self.task == "rating" and self.network not in NETWORKS
        out_NC = (out if own_rating else out.sigmoid()).cpu().numpy()
        one = self.task == "rating" and getattr(self, "_one_rating_", self.n_outputs_ == 1)
        return out_NC.reshape(len(out_NC)) if one else out_NC


def checked_embeddings(X: Any) -> np.ndarray:
    """Embeddings (N, D) as contiguous float32.

    Raises:
        UserError: another shape, none at all, or NaN (naming the row).
    """
    x_ND = np.ascontiguousarray(np.asarray(X), dtype=np.float32)
    if x_ND.ndim != 2:
        raise UserError(f"embeddings must be (examples, dimensions), not {x_ND.shape}")
    if not x_ND.size:
        raise UserError(f"there are no embeddings: {x_ND.shape}")
    finite_N = np.isfinite(x_ND).all(axis=1)
    if not finite_N.all():
        raise UserError(
            f"embedding {int(finite_N.argmin())} holds NaN or infinity; check what made it"
        )
    return x_ND


def check_settings(head: EmbeddingHead) -> None:
    """Raise `UserError` for a value that cannot be, naming it."""
    if head.task not in TASKS:
        raise UserError(f"task={head.task}: must be one of {', '.join(TASKS)}")
    if head.network not in NETWORKS and "." not in head.network and ":" not in head.network:
        raise UserError(
            f"network={head.network}: must be one of {', '.join(NETWORKS)}, or an import path"
        )
    for name, known in (("weights", WEIGHTS), ("sampling", SAMPLINGS), ("rating_loss", ERRORS)):
        if getattr(head, name) not in known:
            raise UserError(f"{name}={getattr(head, name)}: must be one of {', '.join(known)}")
    if head.sampling != "none" and head.task != "single":
        raise UserError(f"sampling={head.sampling}: examples have one class in task=single only")
    for name in ("beta", "label_smoothing", "dropout", "validation_share"):
        if not 0 <= getattr(head, name) < 1:
            raise UserError(f"{name}={getattr(head, name)}: must be at least 0 and below 1")
    for name in ("max_epochs", "batch_size", "patience", "n_layers"):
        if getattr(head, name) < 1:
            raise UserError(f"{name}={getattr(head, name)}: must be at least 1")
    if not head.learning_rate > 0:
        raise UserError(f"learning_rate={head.learning_rate}: must be above 0")
    for name in ("min_delta", "weight_decay"):
        if not getattr(head, name) >= 0:
            raise UserError(f"{name}={getattr(head, name)}: must be at least 0")
    if head.hidden_dim is not None and head.hidden_dim < 1:
        raise UserError(f"hidden_dim={head.hidden_dim}: must be at least 1, or null")
