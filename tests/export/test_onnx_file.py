"""`g5 export`: one graph from waveforms to embeddings or scores, equal to PyTorch, read back."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import soundfile
import torch

from g5.common.errors import UserError
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.encoders.onnx_encoder import OnnxEncoder
from g5.export.graph import written
from g5.export.onnx_file import Model, difference, export_onnx, tried
from g5.export.parts import FrontEndGraph, head_graph
from g5.transfer.heads.saved import SavedHead, fit_head, load_head, make_head, save_head
from g5.transfer.heads.thresholds import probabilities
from preprocessing.frontend import PCEN, LogMel, LogMelPCEN
from preprocessing.normalize import Normalize
from tests.archs.test_archs import ARCH_YAML, BANDS, make
from tests.conftest import run_g5
from tests.embeddings.model_files import small_onnx

pytest.importorskip("onnx")
WAVE = ["encoder.channels=[4,4,4,4]", "encoder.embedding_dim=6", "encoder.sr=8000"]


def fitted(name: str, task: str = "single", classes: int = 3) -> SavedHead:
    """A head on six-dimensional vectors of some encoder."""
    rng = np.random.default_rng(0)
    x_ND = rng.standard_normal((60, 6)).astype(np.float32)
    number_N = np.arange(60) % classes
    x_ND[np.arange(60), number_N] += 2
    y = {
        "single": np.array(["wren", "owl", "rail"])[number_N],
        "multi": np.eye(3, dtype=int)[number_N],
        "rating": number_N / 2,
    }[task]
    model = fit_head(make_head(name, task, seed=0), x_ND, y)
    encoder = load_encoder("waveform_cnn", WAVE)
    labels = [] if task == "rating" else ["owl", "rail", "wren"][:classes]
    return SavedHead(model, name, task, labels, encoder.facts())


@pytest.mark.parametrize(
    ("name", "task", "classes"),
    [("linear", "single", 3), ("residual", "multi", 3), ("deep", "rating", 3),
     ("prototype", "single", 3), ("logistic", "single", 3), ("logistic", "single", 2),
     ("svm", "single", 3), ("svm", "single", 2), ("tree", "single", 3), ("forest", "single", 3)],
)  # fmt: skip
def test_a_head_and_its_encoder_are_one_graph(place, name, task, classes):
    head = fitted(name, task, classes)
    save_head("a.head", head)
    export_onnx("a.head", Path("a.onnx"), WAVE)
    model = Model(load_encoder("waveform_cnn", WAVE), head)
    assert difference(Path("a.onnx").read_bytes(), model, any_length=True) < 1e-4
    module = load_encoder("a.onnx", ["encoder.output=scores"]).module
    assert isinstance(module, OnnxEncoder)
    meta = module.meta
    assert (meta["sample_rate"], meta["window_s"], meta["task"]) == ("8000", "1.0", task)
    assert load_encoder("a.onnx").embedding_dim == 6  # of its two outputs


@pytest.mark.parametrize(("name", "classes"), [("svm", 2), ("svm", 5), ("tree", 5), ("forest", 5)])
def test_a_graph_of_a_head_says_what_the_head_says(name, classes):
    """Where classes overlap, so that pairs of an SVM disagree and trees are deep."""
    rng = np.random.default_rng(1)
    number_N = np.arange(200) % classes
    x_ND = rng.standard_normal((200, 6)).astype(np.float32)
    x_ND[np.arange(200), number_N] += 1
    for more in ([], ["head.kernel=linear"] if name == "svm" else []):
        model = fit_head(make_head(name, "single", seed=0, overrides=more), x_ND, number_N)
        head = SavedHead(model, name, "single", [], load_encoder("waveform_cnn", WAVE).facts())
        x_BD = rng.standard_normal((300, 6)).astype(np.float32)
        given = head_graph(head)(torch.from_numpy(x_BD)).numpy()
        np.testing.assert_allclose(given, probabilities(model, x_BD), atol=1e-6)


@pytest.mark.parametrize("kind", [LogMel, PCEN, LogMelPCEN])
def test_front_ends_are_graphs_of_any_length(kind):
    mel = {"sr": 8000, "n_fft": 256, "hop_mel": 64, "n_mels": 20, "fmin": 50, "fmax": 4000}
    said = {"pcen_scale": 2.0**31, "pcen_gain": 0.98, "pcen_bias": 2.0, "pcen_power": 0.5}
    said |= {"pcen_time_constant_s": 0.4, "pcen_eps": 1e-6, "floor_db": -100.0}
    front_end = kind(**mel, **{key: said[key] for key in kind.keys if key in said})
    x_BS = torch.randn(2, 2000, generator=torch.Generator().manual_seed(1))
    content = written(
        FrontEndGraph(front_end, torch.float64), x_BS, ["waveform", "features"], any_length=True
    )
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for wave_BS in (x_BS, x_BS[:1, :100], torch.randn(1, 40000)):  # 626 frames, two smoother chunks
        given: Any = session.run(None, {"waveform": wave_BS.numpy()})[0]
        np.testing.assert_allclose(given, front_end(wave_BS), atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("arch", list(ARCH_YAML))
def test_every_architecture_is_a_graph(arch):
    mel = {"n_fft": 256, "hop_mel": 128, "n_mels": BANDS, "fmin": 0, "fmax": 4000}
    front_end = LogMel(sr=8000, floor_db=-100, **mel).eval()
    module, normalize = make(arch).eval(), Normalize(mode="recording", n_mels=BANDS).eval()
    dim = module.embedding_dim
    encoder = LoadedEncoder(
        arch, module, dim, 8000, 0.5, front_end, normalize, "checkpoint", {"_target_": "x.Y"}
    )
    _, any_length, error = tried(Model(encoder, None))
    assert any_length
    assert error < 1e-4


def test_a_head_in_a_graph_predicts_what_it_predicts_itself(place, capsys):
    Path("rec").mkdir()
    noise = np.random.default_rng(0).standard_normal(40000) * np.repeat([0.1, 0.5], 20000)
    soundfile.write("rec/a.wav", noise / 4, 8000)
    save_head("a.head", fitted("linear"))
    known = [*WAVE, "encoder._target_=archs.encoders.waveform_cnn.WaveformCNN"]
    assert run_g5(["export", "a.head", "-o", "a.onnx", *known[:3]]) == 0
    assert "checked against PyTorch" in capsys.readouterr().out
    for what in ("a.head", "a.onnx"):
        rows, more = ["--rows", "windows"], known[:3] if what == "a.head" else []
        assert run_g5(["predict", what, "rec", "-o", f"{what}.csv", *rows, *more]) == 0
    ours, back = (pd.read_csv(f"a.{kind}.csv") for kind in ("head", "onnx"))
    assert ours["label"].tolist() == back["label"].tolist()
    np.testing.assert_allclose(ours["probability"], back["probability"], atol=2e-3)


def test_a_head_on_an_onnx_encoder_is_joined_to_it(place):
    small_onnx(Path("m.onnx"), metadata={"sr": "8000", "window_s": "0.5"})
    encoder = load_encoder("m.onnx")
    rng = np.random.default_rng(0)
    x_ND = rng.standard_normal((40, encoder.embedding_dim)).astype(np.float32)
    x_ND[:20] += 2
    y = np.repeat(["owl", "wren"], 20)
    for name, more in (("linear", []), ("prototype", ["encoder.peak=0.25"])):
        encoder = load_encoder("m.onnx", more)
        model = fit_head(make_head(name, "single", seed=0), x_ND, y)
        save_head("b.head", SavedHead(model, name, "single", ["owl", "wren"], encoder.facts()))
        export_onnx("b.head", Path("b.onnx"), more)
        wave_BS = torch.randn(3, 4000)
        scores = load_encoder("b.onnx", ["encoder.output=scores"])
        assert (scores.sr, scores.window_s) == (8000, 0.5)
        wanted_BC = model.predict_proba(encoder.forward(wave_BS).numpy())
        np.testing.assert_allclose(scores.forward(wave_BS), wanted_BC, atol=1e-4)


def test_what_does_not_go_into_a_graph_is_said(place, monkeypatch):
    save_head("f.head", fitted("knn"))
    with pytest.raises(UserError, match=r"knn: does not go into an ONNX graph.*linear"):
        export_onnx("f.head", Path("f.onnx"), WAVE)
    with pytest.raises(UserError, match="handcrafted: cannot be said in ONNX"):
        export_onnx("handcrafted", Path("h.onnx"), [])
    with pytest.raises(UserError, match=r"name the file FILE.onnx"):
        export_onnx("waveform_cnn", Path("h.bin"), [])
    monkeypatch.setattr("g5.export.onnx_file.TOLERANCE", -1.0)
    with pytest.raises(UserError, match="nothing is written"):
        export_onnx("waveform_cnn", Path("w.onnx"), WAVE)
    assert not list(Path().glob("*.onnx"))
    monkeypatch.undo()
    export_onnx("waveform_cnn", Path(place / "w.onnx"), WAVE)
    assert run_g5(["predict", str(place / "w.onnx"), str(place), "-o", "p.csv"]) == 1


def test_a_head_of_whole_recordings_is_no_head_of_windows(place):
    encoder = load_encoder("mel_cnn")
    x_ND = np.random.default_rng(0).standard_normal((40, 256)).astype(np.float32)
    model = fit_head(make_head("prototype", "single", seed=0), x_ND, np.repeat(["a", "b"], 20))
    save_head("m.head", SavedHead(model, "prototype", "single", ["a", "b"], encoder.facts()))
    with pytest.raises(UserError, match=r"a graph hears a window alone.*g5 export mel_cnn -o"):
        export_onnx("m.head", Path("m.onnx"), [])
    nearest = fit_head(make_head("knn", "single", seed=0), x_ND, np.repeat(["a", "b"], 20))
    save_head("k.head", SavedHead(nearest, "knn", "single", ["a", "b"], encoder.facts()))
    with pytest.raises(UserError, match="knn: does not go into an ONNX graph"):
        export_onnx("k.head", Path("k.onnx"), [])  # embedding anew would not help
    tuned = SavedHead(model, "prototype", "single", ["a", "b"], encoder.facts(), of_windows=True)
    save_head("m.head", tuned)
    assert load_head("m.head").of_windows
    export_onnx("m.head", Path("m.onnx"), [])
