"""`EmbeddingHead` and the heads of `conf/head/`: scikit-learn's manners, tasks, saving."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from g5.common.errors import UserError
from g5.config.choices import choices
from g5.config.settings import load_node
from g5.embeddings.vectors import EncoderFacts
from g5.transfer import EmbeddingHead
from g5.transfer.heads.estimator import NETWORKS
from g5.transfer.heads.prototype import PrototypeHead
from g5.transfer.heads.saved import SavedHead, fit_head, load_head, make_head, save_head

FACTS = EncoderFacts("small", "0123", 16, 22050, 1.0)
FAST: dict[str, Any] = {"max_epochs": 15, "hidden_dim": 16}


class OwnHead(nn.Module):
    """A user's rating head."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(embedding_dim, 1)

    def forward(self, x):
        return torch.sigmoid(self.layer(x))


class WideHead(nn.Module):
    """Three outputs where one is needed."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(embedding_dim, 3)

    def forward(self, x):
        return self.layer(x)


@pytest.fixture(scope="module")
def owls() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centre_CD = 2 * rng.normal(size=(3, 16))
    class_N = np.arange(150) % 3
    x_ND = centre_CD[class_N] + rng.normal(size=(150, 16))
    return x_ND.astype(np.float32), np.array(["barn", "scops", "tawny"])[class_N]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_learns_one_of_many(owls, network):
    x_ND, y = owls
    head = EmbeddingHead(network=network, **FAST).fit(x_ND[:100], y[:100])
    assert head.score(x_ND[100:], y[100:]) > 0.9
    assert head.classes_.tolist() == ["barn", "scops", "tawny"]
    assert head.n_features_in_ == 16
    proba = head.predict_proba(x_ND)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert (head.predict(x_ND) == head.classes_[proba.argmax(1)]).all()


def test_several_at_once(owls):
    x_ND, y = owls
    both = np.stack([y == "barn", y != "tawny"], axis=1).astype(int)
    head = EmbeddingHead(task="multi", weights="inverse_frequency", **FAST).fit(x_ND, both)
    assert head.predict(x_ND).shape == (150, 2)
    assert head.score(x_ND, both) > 0.9


def test_a_rating(owls):
    x_ND, _ = owls
    weight = np.random.default_rng(1).normal(size=16)
    rating = 1 / (1 + np.exp(-x_ND @ weight / 4))
    head = EmbeddingHead(task="rating", max_epochs=200).fit(x_ND, rating)
    out = head.predict(x_ND)
    assert out.shape == (150,)
    assert 0 <= out.min() <= out.max() <= 1
    assert head.score(x_ND, rating) > 0.8
    assert not hasattr(head, "predict_probas")
    with pytest.raises(AttributeError, match="no probabilities"):
        head.predict_proba(x_ND)


def test_it_lives_among_scikit_learns_tools(owls):
    x_ND, y = owls
    head = EmbeddingHead(max_epochs=20, seed=3)
    copy: Any = clone(head)
    assert copy.get_params() == head.get_params()
    assert cross_val_score(make_pipeline(StandardScaler(), head), x_ND, y, cv=3).mean() > 0.8
    grid = GridSearchCV(head, {"network": ["linear", "mlp"], "weight_decay": [0.0, 0.1]}, cv=2)
    assert grid.fit(x_ND, y).best_score_ > 0.8


def test_the_same_seed_is_the_same_head_and_torch_is_left_alone(owls):
    x_ND, y = owls
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    heads = [EmbeddingHead(network="mlp", **FAST).fit(x_ND, y) for _ in range(2)]
    np.testing.assert_array_equal(heads[0].predict_proba(x_ND), heads[1].predict_proba(x_ND))
    assert torch.equal(torch.rand(1), expected)


def test_few_labels_and_more_classes_than_dimensions():
    rng = np.random.default_rng(0)
    x_ND = rng.normal(size=(12, 4)).astype(np.float32)
    y = np.array([*range(11), 10])  # ten classes have a single label
    assert EmbeddingHead(max_epochs=3).fit(x_ND, y).predict(x_ND).shape == (12,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (np.where(x == x[3, 2], np.nan, x), y), "embedding 3 holds NaN"),
        (lambda x, y: (x, y[:5]), "150 embeddings, but 5 labels"),
        (lambda x, y: (x, np.full(150, "owl")), "needs two classes"),
        (lambda x, y: (x[0], y), r"must be \(examples, dimensions\)"),
        (lambda x, y: (x[:0], y[:0]), "no embeddings"),
    ],
)
def test_bad_input_is_said(owls, change, words):
    with pytest.raises(UserError, match=words):
        EmbeddingHead().fit(*change(*owls))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"network": "transformer"}, "network=transformer: must be one of linear"),
        ({"task": "both"}, "task=both"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: must be at least 0 and below 1"),
        ({"dropout": 1.5}, "dropout=1.5"),
        ({"hidden_dim": 0}, "hidden_dim=0"),
        ({"network": f"{__name__}.Nobody"}, "has no class Nobody"),
        ({"network": "nowhere.Nobody"}, "no module nowhere"),
        (
            {"network": f"{__name__}.WideHead", "task": "rating"},
            r"gives \(.*, 3\)",
        ),
    ],
)
def test_bad_settings_are_said(owls, params, words):
    y = np.linspace(0, 1, 150) if params.get("task") == "rating" else owls[1]
    with pytest.raises(UserError, match=words):
        EmbeddingHead(**params).fit(owls[0], y)


def test_another_width_is_said(owls):
    head = EmbeddingHead(max_epochs=1).fit(*owls)
    with pytest.raises(UserError, match=r"embeddings of 3 dimensions, but this head .* 16"):
        head.predict(np.zeros((2, 3)))


def test_ratings_outside_are_said(owls):
    with pytest.raises(UserError, match="from 0 to 1"):
        EmbeddingHead(task="rating").fit(owls[0], np.linspace(0, 2, 150))


def test_a_head_of_ones_own(owls, tmp_path):
    y = (owls[1] == "barn").astype(float)
    own = EmbeddingHead(network=f"{__name__}:OwnHead", task="rating", max_epochs=40)
    own.fit(owls[0], y)
    assert own.score(owls[0], y) > 0.5
    save_head(tmp_path / "own.head", SavedHead(own, "own", "rating", [], FACTS))
    with pytest.raises(UserError, match=r"OwnHead, which is not g5's.*say .*head\._target_="):
        load_head(tmp_path / "own.head")
    back = load_head(tmp_path / "own.head", known=[f"{__name__}.OwnHead"])
    np.testing.assert_array_equal(back.model.predict(owls[0]), own.predict(owls[0]))


@pytest.mark.parametrize("name", choices("head"))
def test_every_head_of_conf_is_saved_and_comes_back(owls, name, tmp_path):
    x_ND, y = owls
    head = fit_head(make_head(name, "single", seed=1, overrides=()), x_ND, y)
    path = tmp_path / f"{name}.head"
    save_head(path, SavedHead(head, name, "single", ["barn", "scops", "tawny"], FACTS))
    torch.load(path, weights_only=True)
    back = load_head(path)
    assert back.encoder == FACTS
    np.testing.assert_array_equal(back.model.predict(x_ND), head.predict(x_ND))


def test_what_is_no_head_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such head"):
        load_head(tmp_path / "none.head")
    (tmp_path / "text.head").write_text("hello")
    with pytest.raises(UserError, match="is no head, or damaged"):
        load_head(tmp_path / "text.head")
    torch.save({"g5": 1}, tmp_path / "other.head")
    with pytest.raises(UserError, match="is no head"):
        load_head(tmp_path / "other.head")


def test_a_head_with_foreign_types_is_refused(owls, tmp_path):
    import skops.io

    save_head(tmp_path / "p.head", SavedHead(PrototypeHead().fit(*owls), "p", "single", [], FACTS))
    content = torch.load(tmp_path / "p.head", weights_only=True)
    del content["prototype"]
    data = skops.io.dumps(PrototypeHead().fit(*owls))  # a class that is not scikit-learn's
    content["skops"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    torch.save(content, tmp_path / "foreign.head")
    with pytest.raises(
        UserError, match=r"holds g5.transfer.heads.prototype.PrototypeHead, which is not"
    ):
        load_head(tmp_path / "foreign.head")


def test_the_yaml_says_what_the_signature_says():
    """The one place where a default stands twice: scikit-learn wants it in the signature."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(EmbeddingHead.__init__).parameters.items()
        if name != "self"
    }
    for network in NETWORKS:
        node = load_node("head", network).plain()
        assert node.pop("_target_") == "g5.transfer.heads.estimator.EmbeddingHead"
        assert node.pop("network") == network
        assert node == {key: defaults[key] for key in node}
        assert defaults.keys() - node.keys() == {"network", "task", "seed", "device"}


def test_a_mistyped_key_is_said():
    with pytest.raises(UserError, match=r"did you mean head\.dropout"):
        make_head("mlp", "single", seed=0, overrides=["head.dropot=0.1"])
    with pytest.raises(UserError, match="there is no magic"):
        make_head("magic", "single", seed=0)
    with pytest.raises(UserError, match="needs a network"):
        make_head("forest", "rating", seed=0)
