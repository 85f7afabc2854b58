"""Every leaf of the commands on embeddings acts, as test_config_leaves.py has it for training.

A leaf of `conf/encoder/`, `conf/head/` or `conf/transfer.yaml` is changed, and what the command
makes of it must differ: the encoder's embeddings, facts or readiness; the head's predictions; the
settings that reach the package, each of which a test of that package watches.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from g5.common.errors import UserError
from g5.config.choices import CONF, choices
from g5.config.settings import load_node, load_transfer, plain_of
from g5.embeddings.encoders.loading import load_encoder
from g5.transfer.heads.compare import HeadScore, judged
from g5.transfer.heads.saved import fit_head, make_head
from tests.embeddings.model_files import small_onnx, small_tflite

SECTIONS = ("embed", "classify", "finetune")
SMALL = {
    "wav2vec2": ["encoder.weights=random", "encoder.n_layers=1", "encoder.width=32",
                 "encoder.n_heads=2", "encoder.embedding_dim=12"],
    "onnx": ["encoder.path={onnx}", "encoder.sr=8000", "encoder.window_s=0.5"],
    "perch": ["encoder.path={perch}"],
    "tflite": ["encoder.path={tflite}", "encoder.sr=8000"],
    "birdnet": ["encoder.path={tflite}", "encoder.output=hidden"],
    "custom": ["encoder._target_=tests.user_encoders.Silent", "encoder.embedding_dim=6"],
}  # fmt: skip
OTHER = {
    "mel_cnn.channels": "[8,16]",
    "mel_cnn.sr": "16000 encoder.front_end.fmax=8000",
    "waveform_cnn.channels": "[8,8,8,8]",
    "wav2vec2.weights": "nowhere.pt",
    "wav2vec2.n_layers": "2",
    "wav2vec2.width": "64",
    "wav2vec2.n_heads": "4",
    "wav2vec2.embedding_dim": "null",
    "wav2vec2.bundle": "NOTHING encoder.weights=bundle",
    "onnx.path": "nowhere.onnx",
    "onnx.input": "other",
    "onnx.output": "other",
    "onnx.embedding_dim": "5",
    "perch.output": "label",
    "birdnet.path": "nowhere.tflite",
    "birdnet.installed": "nobody/has.tflite encoder.path=null",
    "birdnet.licence": "none",
    "birdnet.output": "scores",
    "birdnet.embedding_dim": "5",
    "tflite.path": "nowhere.tflite",
    "tflite.output": "hidden",
    "tflite.embedding_dim": "5",
    "custom._target_": "tests.user_encoders.Detached",
    "custom.embedding_dim": "null",
    "mel_cnn.front_end.floor_db": "-20",
    "mel_cnn.front_end.fmax": "9000",
    "mel_cnn.front_end.n_fft": "2048",
    "mel_cnn.front_end.n_mels": "32",
    "knn.weights": "uniform",
    "knn.metric": "euclidean",
    "knn.algorithm": "kd_tree head.metric=euclidean",
    "prototype.metric": "cosine",
    "logistic.class_weight": "null",
    "svm.class_weight": "null",
    "svm.kernel": "linear",
    "forest.class_weight": "null",
    "tree.class_weight": "null",
    "tree.max_depth": "1",
    "logistic.max_iter": "1",
    "linear.weights": "inverse_frequency",
    "linear.beta": "0.5 head.weights=effective_number",
}


def leaves(node: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{at}{key}.")
        elif key != "_target_":
            yield f"{at}{key}", value


def other(name: str, key: str, value: Any) -> list[str]:
    """Overrides that change a leaf."""
    text = OTHER.get(f"{name}.{key}")
    if key == "sampling":
        return ["under"]
    if text is None:
        if key == "geometry":
            text = {"l2": "none", "none": "l2"}[value]
        elif key == "peak":
            text = "0.5"
        elif name == "perch" and f"onnx.{key}" in OTHER:
            text = OTHER[f"onnx.{key}"]
        elif isinstance(value, bool):
            text = str(not value).lower()
        elif isinstance(value, int):
            text = str(2 * value + 1)
        elif isinstance(value, float):
            text = str(value / 2 or 0.1)
        elif value is None and key in ("sr", "window_s"):
            text = {"sr": "11025", "window_s": "0.25"}[key]
        elif value is None and key == "front_end":
            pytest.skip("its own leaves are walked under mel_cnn")
        else:
            pytest.fail(f"say in OTHER what {name}.{key}={value} is changed to")
    first, *more = text.split(" ")
    return [first, *more]


ENCODER_LEAVES = [
    (name, key) for name in choices("encoder")
    for key, _ in [*leaves(yaml.safe_load(
        (CONF / "encoder" / f"{name}.yaml").read_text())), ("_target_", "")]
    if (key != "_target_" or name == "custom") and key not in ("auto", "known_by")
]  # fmt: skip


def seen(name: str, overrides: list[str]) -> Any:
    """What an encoder makes of noise, or why there is none."""
    try:
        encoder = load_encoder(name, overrides)
    except UserError as error:
        return str(error)
    wave_BS = 0.1 * torch.randn(2, 6000, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            out = encoder.forward(wave_BS)
    except UserError as error:
        return str(error)
    facts = encoder.sr, encoder.window_s, encoder.geometry, encoder.node.get("licence")
    return out.tolist(), facts, encoder.trainable, _gradient(encoder)


def _gradient(encoder: Any) -> bool:
    return encoder.forward(torch.randn(1, 6000)).requires_grad


@pytest.mark.parametrize(("name", "key"), ENCODER_LEAVES)
def test_every_leaf_of_an_encoder_acts(name, key, tmp_path):
    files = {"onnx": small_onnx(tmp_path / "m.onnx"), "perch": tmp_path / "perch.onnx"}
    small_onnx(files["perch"], grid=True)
    if name in ("tflite", "birdnet"):
        files["tflite"] = small_tflite(tmp_path / "m.tflite")
    base = [text.format(**files) for text in SMALL.get(name, [])]
    node = yaml.safe_load((CONF / "encoder" / f"{name}.yaml").read_text())
    value = dict(leaves(node)).get(key)
    if name == "mel_cnn" and key == "front_end.sr":
        value = 22050
        changed = ["16000", "encoder.sr=16000", "encoder.front_end.fmax=8000"]
    else:
        changed = other(name, key, value)
    first, *more = changed
    assert seen(name, base) != seen(name, [*base, f"encoder.{key}={first}", *more])


HEAD_LEAVES = [
    (name, key) for name in choices("head") for key, _ in leaves(load_node("head", name).values)
]
# What a head has, and another head or setting of it uses.
UNUSED = {
    "linear": {"hidden_dim", "n_layers", "dropout", "beta"},
    "projection": {"n_layers", "dropout", "beta"},
    "mlp": {"n_layers", "beta"},
    "deep": {"beta"},
    "residual": {"beta"},
}


@pytest.fixture(scope="module")
def owls() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    class_N = rng.choice(3, 240, p=[0.6, 0.3, 0.1])
    x_ND = rng.normal(size=(3, 8))[class_N] + 2.0 * rng.normal(size=(240, 8))
    return x_ND.astype(np.float32), np.array(["a", "b", "c"])[class_N]


@pytest.mark.parametrize(("name", "key"), HEAD_LEAVES)
def test_every_leaf_of_a_head_acts(name, key, owls):
    if key == "network":
        return  # what makes the one YAML another than the others
    if name in ("knn", "tree") and key in ("n_neighbors", "metric", "class_weight"):
        assert _reaches(name, key)  # on so few examples the votes may be the same
        return
    if key in ("patience", "min_delta"):
        sooner = {"patience": 1, "min_delta": 10.0}[key]
        base = ["head.learning_rate=0.3"] if key == "patience" else []
        epochs = [
            len(fit_head(make_head(name, "single", seed=0, overrides=more), *owls).history_)
            for more in (base, [*base, f"head.{key}={sooner}"])
        ]
        assert epochs[0] > epochs[1]
        return
    if key == "rating_loss":
        rated = (owls[0], (owls[1] == "a") * 1.0)
        given = [
            fit_head(make_head(name, "rating", seed=0, overrides=more), *rated).predict(rated[0])
            for more in (["head.max_epochs=3"], ["head.max_epochs=3", "head.rating_loss=mae"])
        ]
        assert not np.array_equal(*given)
        return
    base = ["head.max_epochs=12"] if name in UNUSED and key != "max_epochs" else []
    node = load_node("head", name).values
    changed = {
        "max_epochs": ["3"],
        "batch_size": ["16"],
        "weights": ["inverse_frequency"],
        "beta": ["0.5", "head.weights=effective_number"],
        "validation_share": ["0.4"],
        "weight_decay": ["0.9", "head.learning_rate=0.1"],
        "label_smoothing": ["0.3"],
    }.get(key if name in UNUSED else "") or other(name, key, node[key])
    first, *more = changed
    if key in ("beta", "weight_decay"):
        base += more
    if name == "knn" and key == "algorithm":
        return  # an exact search finds the same whichever way
    same = key in UNUSED.get(name, set()) and key != "beta"
    before, after = (_probabilities(name, extra, owls) for extra in
                     (base, [*base, f"head.{key}={first}", *more]))  # fmt: skip
    assert np.array_equal(before, after) == same


def _reaches(name: str, key: str) -> bool:
    text = {"n_neighbors": "11", "metric": "euclidean", "class_weight": "null"}[key]
    heads = [
        make_head(name, "single", seed=0, overrides=more) for more in ([], [f"head.{key}={text}"])
    ]
    return heads[0].get_params()[key] != heads[1].get_params()[key]


def _probabilities(name: str, overrides: list[str], owls: Any) -> np.ndarray:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an iteration is not enough: that is what shows
        head = fit_head(make_head(name, "single", seed=0, overrides=overrides), *owls)
    show = getattr(head, "predict_proba", None) or head.decision_function
    return np.round(show(owls[0]), 7)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_leaf_of_a_section_reaches_its_room_and_a_wrong_one_is_said(section):
    def read(*overrides: str) -> Any:
        return getattr(load_transfer(overrides, reads=(section,)), section)

    values = plain_of(read())
    for key, value in values.items():
        text = {"hop_s": "0.5", "device": "cpu", "task": "rating", "head": "mlp",
                "weights": "inverse_frequency", "sampling": "over", "rating_loss": "mae",
                "heads": "[svm]"}.get(key)  # fmt: skip
        if text is None:
            text = str(not value).lower() if isinstance(value, bool) else f"{value / 2 or 0.5:f}"
            text = str(value + 1) if type(value) is int else text
        assert getattr(read(f"{section}.{key}={text}"), key) != value, key
        if key != "head":  # a name is a text, whatever it says
            with pytest.raises(UserError, match=rf"{section}\.{key}"):
                read(f"{section}.{key}={{}}")
    with pytest.raises(UserError, match="no such key"):
        read(f"{section}.nothing=1")


def test_verdicts_say_what_helps_to_choose():
    settings = load_transfer(reads=()).classify
    best = HeadScore("s", "linear", 1.0, 0.9, 0.1, "best", (0.8, 0.9, 1.0), 1.0)

    def verdict(train: float, *val_F: float) -> str:
        row = HeadScore("s", "mlp", train, float(np.mean(val_F)), 0.1, "best", val_F, 2 * train - 1)
        return judged(row, best, settings)

    assert judged(best, best, settings) == "best"
    assert verdict(1.0, 0.78, 0.92, 0.98) == "as good"
    assert verdict(1.0, 0.6, 0.7, 0.8) == "overfits"
    assert verdict(0.6, 0.5, 0.6, 0.7) == "underfits"
    assert verdict(0.85, 0.7, 0.8, 0.9) == "worse"
