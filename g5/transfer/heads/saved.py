"""Heads on the disk: one file that loads without running anybody's code.

The file is torch's, read with ``weights_only=True``: tensors and plain values. A scikit-learn
model is in it as the bytes of a skops file, which is read with a fixed list of types; there is no
pickle anywhere. A head remembers the encoder its embeddings came from.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from g5.common.errors import UserError, brief
from g5.config.build import refuse_unknown
from g5.config.check import unknown_key
from g5.config.node import Node
from g5.config.settings import load_node
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.encoders.user_classes import import_class
from g5.embeddings.vectors import EncoderFacts, VectorStore
from g5.tracking import checkpoints
from g5.transfer.heads.estimator import SAMPLINGS, EmbeddingHead
from g5.transfer.heads.prototype import PrototypeHead
from preprocessing.episodes.balance import Balance, balanced_rows

FORMAT = 1
SUFFIX = ".head"
# skops knows scikit-learn's own types; these are what its trees and forests hold beside them.
TRUSTED = ["sklearn.tree._tree.Tree", "sklearn._loss.link.LogitLink"]
SCALED = ("logistic", "svm")


@dataclass(frozen=True)
class SavedHead:
    """A trained head and what it belongs to.

    Attributes:
        model: fitted; ``predict``, and ``predict_proba`` unless it is a rating.
        name: of the kind of head, as in `conf/head/`.
        task: ``single``, ``multi`` or ``rating``.
        classes: names of the labels, in the order of the probabilities.
        encoder: what made the embeddings it was trained on.
        thresholds: of each label, the probability from which on it is believed.
        of_windows: these were of windows that the encoder heard alone, as `g5 finetune` trains.
    """

    model: Any
    name: str
    task: str
    classes: list[str]
    encoder: EncoderFacts
    thresholds: dict[str, float] = field(default_factory=dict)
    of_windows: bool = False

    @property
    def labels(self) -> list[str]:
        """Names of the columns of probabilities; none of a rating."""
        return self.classes if self.task != "single" else [str(c) for c in self.model.classes_]

    def load_encoder(self, overrides: Sequence[str]) -> LoadedEncoder:
        """The encoder of its embeddings; raises `UserError` where that is another by now."""
        encoder = load_encoder(self.encoder.encoder, overrides, from_file=True)
        if encoder.hash() != self.encoder.encoder_hash:
            raise UserError(
                f"{self.encoder.encoder}: is not the encoder this head was trained with any more "
                "(its weights or settings differ); embed with the right one and give the store"
            )
        return encoder

    def check(self, store: VectorStore) -> None:
        """Raise `UserError` unless the store holds embeddings of this head's encoder."""
        if store.facts.encoder_hash != self.encoder.encoder_hash:
            raise UserError(
                f"{store.path}: holds embeddings of {store.facts.encoder} "
                f"({store.facts.embedding_dim} dimensions), but this head was trained on those of "
                f"{self.encoder.encoder} ({self.encoder.embedding_dim}); embed with that encoder"
            )


def is_own(name: str) -> bool:
    """Whether a head's name is an import path, and not one of `conf/head/`."""
    return "." in name or ":" in name


def make_head(name: str, task: str, *, seed: int, overrides: Any = (), device: str = "cpu") -> Any:
    """An unfitted head of `conf/head/`, or around an ``nn.Module`` by import path.

    Raises:
        UserError: there is none of that name, a mistyped key, or it cannot do this task.
    """
    if is_own(name):
        base = load_node("head", "linear", overrides).values
        return EmbeddingHead(**{**base, "network": name}, task=task, seed=seed, device=device)  # type: ignore[arg-type]
    node = load_node("head", name, overrides)
    values = dict(node.values)
    sampling = values.get("sampling", "none")
    cls = import_class(node.target, "head")
    known = list(cls._get_param_names())
    if cls is not EmbeddingHead:
        del values["sampling"]
        if sampling not in SAMPLINGS:
            raise UserError(f"head.sampling={sampling}: must be one of {', '.join(SAMPLINGS)}")
    for key in values:
        if key not in known:
            raise unknown_key(key, known, "head")
    if cls is EmbeddingHead:
        return EmbeddingHead(**values, task=task, seed=seed, device=device)  # type: ignore[arg-type]
    if task != "single":
        raise UserError(f"head {name}: does one label of many; task={task} needs a network")
    if "random_state" in known:
        values["random_state"] = seed
    model = cls(**values)
    model = make_pipeline(StandardScaler(), model) if name in SCALED else model
    return model if sampling == "none" else Sampled(model, sampling, seed)


@dataclass(frozen=True)
class Sampled:
    """An unfitted model of scikit-learn that `fit_head` gives a balanced table."""

    model: Any
    sampling: Balance
    seed: int


def fit_head(model: Any, x_ND: np.ndarray, y: np.ndarray) -> Any:
    """A fitted copy; a k-NN has no more neighbours than there are examples."""
    if isinstance(model, Sampled):
        rows = balanced_rows(y, model.sampling, seed=model.seed)
        model, x_ND, y = model.model, x_ND[rows], y[rows]
    fitted: Any = clone(model)
    neighbours = getattr(fitted, "n_neighbors", None)
    if neighbours is not None:
        fitted.set_params(n_neighbors=min(neighbours, len(x_ND)))
    return fitted.fit(x_ND, y)


def save_head(path: str | os.PathLike[str], head: SavedHead) -> None:
    """Write a head; whole or not at all."""
    model = head.model
    content: dict[str, Any] = {
        "g5_head": FORMAT,
        "name": head.name,
        "task": head.task,
        "classes": list(head.classes),
        "encoder": asdict(head.encoder),
        "thresholds": dict(head.thresholds),
        "of_windows": head.of_windows,
    }
    if isinstance(model, EmbeddingHead):
        content["network"] = model.state()
    elif isinstance(model, PrototypeHead):
        content["prototype"] = {
            "metric": model.metric,
            "scale": model.scale_,
            "classes": model.classes_.tolist(),
            "prototypes": torch.from_numpy(model.prototypes_),
        }
    else:
        import skops.io

        # Types that reading would refuse are found before anything is written.
        data = skops.io.dumps(model)
        foreign = _foreign(data)
        if foreign:
            raise UserError(f"this head cannot be saved safely: it holds {', '.join(foreign)}")
        content["skops"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    checkpoints.save(content, path)


def load_head(path: str | os.PathLike[str], *, known: Collection[str] = ()) -> SavedHead:
    """Read a head.

    Args:
        path: the file.
        known: classes that the user has named on the command line. Of another network that is
            not g5's nothing is imported.

    Raises:
        UserError: it is no head, is damaged, names a class, or holds types beyond the fixed list.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such head; g5 classify makes one")
    try:
        content = checkpoints.load_plain(path)
    except Exception as error:
        raise UserError(f"{path}: is no head, or damaged; g5 classify makes one") from error
    if not isinstance(content, Mapping) or content.get("g5_head") != FORMAT:
        raise UserError(f"{path}: is no head of g5 (or of another version)")
    try:
        model = _model(path, content, known)
        encoder = EncoderFacts(**content["encoder"])
        name, task, classes = (content[key] for key in ("name", "task", "classes"))
        thresholds, of_windows = content.get("thresholds", {}), content.get("of_windows", False)
        return SavedHead(model, name, task, classes, encoder, thresholds, of_windows)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: is damaged ({brief(error, 160)})") from error


def _model(path: Path, content: Mapping[str, Any], known: Collection[str]) -> Any:
    if "network" in content:
        network = str(content["network"]["params"]["network"])
        if is_own(network):
            named = frozenset(name.replace(":", ".") for name in known)
            refuse_unknown(Node(network.replace(":", "."), {}, named), "head")
        return EmbeddingHead.from_state(content["network"])
    if "prototype" in content:
        state = content["prototype"]
        model = PrototypeHead(metric=state["metric"])
        model.scale_, model.classes_ = state["scale"], np.array(state["classes"])
        model.prototypes_ = state["prototypes"].numpy()
        model.n_features_in_ = model.prototypes_.shape[1]
        return model
    import skops.io

    data = content["skops"].numpy().tobytes()
    foreign = _foreign(data)
    if foreign:
        raise UserError(f"{path}: holds {', '.join(foreign)}, which is not loaded")
    return skops.io.loads(data, trusted=TRUSTED)


def _foreign(data: bytes) -> list[str]:
    import skops.io

    return sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
