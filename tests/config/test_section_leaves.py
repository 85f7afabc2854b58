"""Every leaf of `conf/transfer.yaml` acts: what its command makes differs when it is changed."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml

import g5.transfer.explore.explain_clip
import preprocessing.audio
from archs.prototypes import cosine_logits, euclidean_logits
from g5.config.choices import CONF
from g5.config.settings import load_transfer
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import FoundEvents
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import VectorStore
from g5.transfer.explore.explain import integrated_gradients
from g5.transfer.finetune import FineTuning, read_windows
from g5.transfer.label_table import read_labels
from g5.transfer.labelling.session import Session
from preprocessing.audio_rules import READ_ALL
from tests.conftest import run_g5
from tests.detection.review.found import make_found
from tests.labelled_store import CLASSES, kind_of, make_store

GOOD = "tests.user_encoders.Good"
# What a leaf is changed to, and after that what both sides have.
OTHER = {
    "embed": {
        "hop_s": "0.15", "batch_size": "2", "block_s": "0.5", "device": "cuda",
    },
    "classify": {
        "heads": "[linear]", "task": "multi", "folds": "3", "gap": "0.9",
        "low": "1.0 classify.heads=[forest,tree] head.min_samples_leaf=8", "few_labels": "10",
        "seed": "1 classify.heads=[forest] head.n_estimators=3",
    },
    "finetune": {
        "task": "multi", "head": "mlp", "frozen_epochs": "1", "epochs": "4",
        "unfreeze_every": "1", "head_learning_rate": "0.1", "learning_rate": "0.1",
        "block_decay": "0.01 finetune.learning_rate=0.1 finetune.unfreeze_every=1",
        "weight_decay": "0.9", "batch_size": "4", "checkpointing": "true",
        "validation_share": "0.5", "label_smoothing": "0.4", "weights": "inverse_frequency",
        "beta": "0.5 finetune.weights=effective_number", "sampling": "over",
        "rating_loss": "mae finetune.task=rating", "seed": "1",
    },
    "verify": {"pairs": "50", "components": "3", "resamples": "50", "seed": "1"},
    "search": {
        "metric": "euclidean", "k": "3", "approximate": "true", "context": "2",
        "page_mb": "0.01", "neighbour": "1", "reference": "10",
        "seed": "1 search.reference=10",
    },
    "cluster": {
        "method": "kmeans", "k": "5", "max_k": "5", "min_cluster_size": "21",
        "components": "1", "most": "30", "seed": "1 cluster.most=30",
    },
    "map": {
        "method": "pca", "dims": "3", "neighbours": "3", "most": "20",
        "tiles": "2", "page_mb": "0.01", "seed": "1 map.most=20",
    },
    "label": {
        "strategy": "random", "retrain_every": "20", "pool": "12", "regularisation": "30",
        "components": "1", "folds": "2", "suggestions": "1", "map_points": "7", "seed": "1",
    },
    "review": {
        "events": "candidates", "order": "score", "mailed": "5", "page_mb": "0.03",
        "precision": "0.5", "recall": "0.7",
        "seed": "1 review.mailed=5",
    },
    "clips": {"margin": "0.1", "bins": "1", "seed": "3"},
    "simulate": {
        "strategies": "[random]", "first": "9", "step": "3", "last": "12", "seeds": "1",
        "test_share": "0.6", "seconds_per_label": "60", "regularisation": "30",
        "components": "1",
    },
    "explain": {
        "method": "gradients", "patch_s": "0.1", "patch_mels": "16",
        "steps": "2 explain.method=gradients",
    },
}  # fmt: skip
BASE = {
    "classify": ["classify.heads=[prototype,tree]"],
    "cluster": ["cluster.max_k=4"],
    "map": ["map.tiles=6"],
    "finetune": ["finetune.frozen_epochs=2", "finetune.epochs=5", "finetune.batch_size=8"],
    "simulate": ["simulate.strategies=[random,margin]", "simulate.first=6", "simulate.step=6",
                 "simulate.last=18", "simulate.seeds=2"],
}  # fmt: skip
YAML = yaml.safe_load((CONF / "transfer.yaml").read_text())
assert OTHER.keys() == YAML.keys() - {"defaults"}
LEAVES = [(section, key) for section in OTHER for key in YAML[section]]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """`i.store`, vectors of 60 calls whose classes overlap, with `audio/` and tables of labels."""
    home = tmp_path_factory.mktemp("leaves")
    made = make_store(home)
    noise = np.random.default_rng(1).standard_normal((60, 16))
    x_ND = np.asarray(made.vectors, np.float32) + 1.0 * noise.astype(np.float32)
    imported = dataclasses.replace(made.facts, encoder_hash="imported-test-16")
    store = VectorStore.create(home / "i.store", imported, audio_root=home / "audio")
    store.ingest(x_ND, made.index)
    index = made.index[["file", "start_s", "end_s"]].astype({"file": str})
    kinds = [kind_of(row) for row in range(60)]
    index.assign(label=kinds).to_csv(home / "labels.csv", index=False)
    many = [f"{kind}{row // 5 % 2}" for row, kind in enumerate(kinds)]
    index.assign(label=many).to_csv(home / "many.csv", index=False)
    few: Any = index.assign(label=kinds)[:40]
    few = few[(few["label"] != "low") | (few.index % 3 == 0)]  # classes of different sizes
    few.to_csv(home / "few.csv", index=False)
    found = make_found(home / "job", recordings=1)
    table = (found / "predictions.csv").read_text().splitlines()
    (found / "candidates.csv").write_text("\n".join(table[:7]) + "\n")
    session = ReviewSession(FoundEvents.read(found), load_transfer(reads=()).review)
    for row in range(4):
        kind = "label" if row % 2 else "not a call"
        session.answer("t", row, kind, "up", id=str(row), seconds=1, by="sample")
    rated = few.drop(columns="label").assign(rating=np.linspace(0, 1, len(few)))
    rated.to_csv(home / "ratings.csv", index=False)
    return home


@pytest.fixture
def here(home, tmp_path, monkeypatch) -> Path:
    """A copy of it, as the current directory."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(capsys: pytest.CaptureFixture, *command: str) -> tuple:
    """Exit code, what is printed, what is in the files `out.*`, and what lies in the store."""
    code = run_g5(list(command))
    texts = [path.read_bytes() for path in sorted(Path().glob("out.*")) if path.is_file()]
    inside = sorted(path.name for path in Path("i.store").iterdir())
    said = capsys.readouterr()
    return code, said.out, said.err if code else "", texts, inside


def embed(here: Path, capsys: Any, overrides: list[str], monkeypatch: Any) -> Any:
    sizes: list[Any] = []
    forward, blocks = LoadedEncoder.embed_inputs, preprocessing.audio.blocks
    with monkeypatch.context() as patch:
        patch.setattr(
            LoadedEncoder, "embed_inputs", lambda e, x: sizes.append(len(x)) or forward(e, x)
        )
        patch.setattr(
            preprocessing.audio, "blocks",
            lambda *a, **k: sizes.append(k["block_s"]) or blocks(*a, **k),
        )  # fmt: skip
        code = run_g5(["embed", GOOD, "audio", "-o", "made.store", *overrides])
    error = capsys.readouterr().err
    n = len(VectorStore.open("made.store")) if Path("made.store").exists() else 0
    shutil.rmtree("made.store", ignore_errors=True)
    return code, n, sorted(map(str, sizes)), error if code else ""


def classify(here: Path, capsys: Any, overrides: list[str], _: Any) -> Any:
    return shown(capsys, "classify", "i.store", "--labels", "labels.csv", "-o", "h", *overrides)


def finetune(here: Path, capsys: Any, overrides: list[str], _: Any) -> Any:
    settings = load_transfer(overrides, reads=("finetune",)).finetune
    encoder = load_encoder(GOOD)
    name = "ratings.csv" if settings.task == "rating" else "few.csv"
    clips, _ = read_windows(encoder, read_labels(name), here / "audio", settings.task, where=name)
    tuning = FineTuning(encoder, clips, settings)
    rows = [{k: round(v, 7) for k, v in row.items()} for row in tuning.run()]
    weights = [round(float(p.detach().double().sum()), 7) for p in encoder.module.parameters()]
    kept = type(next(encoder.module.children()).forward).__name__
    return rows, weights, kept


def verify(here: Path, capsys: Any, overrides: list[str], _: Any) -> Any:
    return shown(capsys, "verify", "i.store", "--labels", "many.csv", "-o", "out.csv", *overrides)


def search(here: Path, capsys: Any, overrides: list[str], _: Any) -> Any:
    unusual = any(key in " ".join(overrides) for key in ("neighbour", "reference", "seed"))
    what = ["--unusual"] if unusual else ["--like", "rec00.wav:0.2-0.5"]
    return shown(capsys, "search", "i.store", *what, "-o", "out.html", *overrides)


def cluster(here: Path, capsys: Any, overrides: list[str], _: Any) -> Any:
    return shown(capsys, "cluster", "i.store", "-o", "out.csv", *overrides)


def map_(here: Path, capsys: Any, overrides: list[str], _: Any) -> Any:
    return shown(capsys, "map", "i.store", "-o", "out.html", *overrides)


def label(here: Path, capsys: Any, overrides: list[str], _: Any) -> Any:
    settings = load_transfer(overrides, reads=("label",)).label
    session = Session(VectorStore.open("i.store"), list(CLASSES), settings)
    rows, waiting = [], []
    for number in range(24):
        if number % 6 == 0:
            session._train()
            waiting.append(len(session._queue))
        row = session.next("tab")
        assert row is not None
        rows.append(row)
        session.answer("tab", row, "label", kind_of(row), id=str(number), seconds=1)
    session.journal.path.unlink()
    return rows, waiting, session.curve, session.suggestions(3), session.map_points()


def simulate(here: Path, capsys: Any, overrides: list[str], _: Any) -> Any:
    command = ["label", "i.store", "--simulate", "labels.csv", "-o", "out.csv", *overrides]
    return shown(capsys, *command)


@dataclasses.dataclass
class Comparing:
    """An encoder that compares embeddings by a distance of its own."""

    encoder: torch.nn.Module
    cosine: bool = False

    def __call__(self, x_B1MT: torch.Tensor) -> torch.Tensor:
        return self.encoder(x_B1MT)

    def scatter_of(self, support_NKD: torch.Tensor) -> None:
        return None

    def compared(
        self, proto_ND: torch.Tensor, query_QD: torch.Tensor, within_SD: None
    ) -> torch.Tensor:
        if self.cosine:
            return cosine_logits(query_QD, proto_ND, 10.0)
        return euclidean_logits(query_QD, proto_ND)


def clips(here: Path, _: Any, overrides: list[str], __: Any) -> Any:
    assert run_g5(["clips", "job/found", "-o", "cut", "--sample", "5", *overrides]) == 0
    return Path("cut/clips.csv").read_text()


def review(here: Path, capsys: Any, overrides: list[str], _: Any) -> Any:
    return shown(capsys, "review", "job/found", "--page", "out.html", *overrides)


def explain(here: Path, capsys: Any, overrides: list[str], monkeypatch: Any) -> Any:
    encoder = load_encoder("mel_cnn")
    stub = SimpleNamespace(
        model=Comparing(encoder.module), front_end=encoder.front_end, normalize=lambda x, *_: x
    )
    monkeypatch.setattr(g5.transfer.explore.explain_clip, "restore", lambda *_, **__: stub)
    maps: list[torch.Tensor] = []
    monkeypatch.setattr(
        g5.transfer.explore.explain_clip, "_draw", lambda x, map_MT, *a, **k: maps.append(map_MT)
    )
    Path("a.ckpt").touch()
    assert run_g5(["explain", "a.ckpt", "audio/rec00.wav:0.2-0.5", *overrides]) == 0
    return maps[0].tolist()


def test_explain_goes_by_the_models_own_distance(here, monkeypatch):
    loaded, module = load_encoder("mel_cnn"), g5.transfer.explore.explain_clip
    model = Comparing(loaded.module, cosine=True)
    stub = SimpleNamespace(model=model, front_end=loaded.front_end, normalize=lambda x, *_: x)
    maps: list[torch.Tensor] = []
    monkeypatch.setattr(module, "restore", lambda *_, **__: stub)
    monkeypatch.setattr(module, "_draw", lambda x, map_MT, *a, **k: maps.append(map_MT))
    one, other = "audio/rec00.wav:0.2-0.5", "audio/rec01.wav:0.1-0.4"
    keys = ["explain.method=gradients", "explain.steps=2"]
    Path("a.ckpt").touch()
    assert run_g5(["explain", "a.ckpt", one, "--like", other, *keys]) == 0
    with torch.inference_mode():
        prototype_D = model(module.features(cast("Any", stub), other, READ_ALL)[None])[0]
    expected_MT = integrated_gradients(
        model,
        module.features(cast("Any", stub), one, READ_ALL),
        lambda z_BD: 10 * torch.cosine_similarity(z_BD, prototype_D.clone()[None]),
        steps=2,
    )
    torch.testing.assert_close(maps[0], expected_MT)


COMMANDS: dict[str, Callable[..., Any]] = {
    "embed": embed, "classify": classify, "finetune": finetune, "verify": verify,
    "search": search,
    "cluster": cluster, "map": map_, "label": label, "review": review, "clips": clips,
    "simulate": simulate, "explain": explain,
}  # fmt: skip


@pytest.mark.parametrize(("section", "key"), LEAVES, ids=[".".join(leaf) for leaf in LEAVES])
def test_every_leaf_does_something(section, key, here, capsys, monkeypatch):
    assert key in OTHER[section], f"say in OTHER what {section}.{key} is changed to"
    if (section, key) == ("search", "approximate"):
        pytest.importorskip("usearch")
    if (section, key) == ("embed", "device") and torch.cuda.is_available():
        pytest.skip("here is a GPU: auto and cuda are the same")
    first, *more = OTHER[section][key].split(" ")
    # What is typed last wins: the change of this leaf over the base that is short.
    base = [*BASE.get(section, []), *more]
    if section == "search" and key in ("neighbour", "reference"):
        base.append(f"search.{key}={YAML[section][key]}")
    before = COMMANDS[section](here, capsys, base, monkeypatch)
    after = COMMANDS[section](here, capsys, [*base, f"{section}.{key}={first}"], monkeypatch)
    assert before != after
    again = COMMANDS[section](here, capsys, base, monkeypatch) if key == "seed" else before
    assert before == again
