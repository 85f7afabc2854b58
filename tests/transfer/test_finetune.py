"""Fine-tuning: the head first, then the encoder block by block; recorded, saved, usable."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from archs.blocks import blocks_of
from g5.common.errors import UserError
from g5.config.schema import FinetuneSettings
from g5.config.settings import load_transfer
from g5.embeddings.encoders.loading import load_encoder
from g5.transfer.finetune import FineTuning, read_windows
from g5.transfer.heads.saved import SavedHead, fit_head, make_head, save_head
from g5.transfer.label_table import read_labels
from tests.conftest import run_g5
from tests.embeddings.model_files import small_onnx

ENCODER = "tests.user_encoders.Good"
SHORT = ("finetune.frozen_epochs=2", "finetune.epochs=6", "finetune.batch_size=8")


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> Path:
    """Two kinds of calls, eight sources."""
    place = tmp_path_factory.mktemp("calls")
    rng = np.random.default_rng(0)
    rows = [("file", "label", "source")]
    for number in range(24):
        kind = number % 2
        t = np.arange(6000) / 8000
        wave = 0.2 * np.sin(2 * np.pi * (500 + 400 * kind) * t) + 0.05 * rng.normal(size=6000)
        soundfile.write(place / f"{number}.wav", wave, 8000)
        rows.append((f"{number}.wav", "ab"[kind], f"s{number // 3}"))
    with open(place / "labels.csv", "w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    return place


def settings(*overrides: str) -> FinetuneSettings:
    return load_transfer([*SHORT, *overrides], reads=("finetune",)).finetune


def tuning(calls: Path, *overrides: str, encoder: str = ENCODER) -> FineTuning:
    loaded = load_encoder(encoder)
    table = read_labels(calls / "labels.csv")
    clips, problems = read_windows(loaded, table, calls, "single", where="labels.csv")
    assert problems == []
    return FineTuning(loaded, clips, settings(*overrides))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_encoder_stays_frozen_and_then_thaws_from_the_end(calls, checkpointing):
    torch.manual_seed(3)
    run = tuning(calls, f"finetune.checkpointing={checkpointing}")
    module = run._encoder.module
    blocks = blocks_of(module)
    start = [next(block.parameters()).detach().clone() for block in blocks]
    moved, free = [], []
    for metrics in run.run():
        now = [next(block.parameters()).detach() for block in blocks]
        moved.append([not torch.equal(a, b) for a, b in zip(start, now, strict=True)])
        free.append(int(metrics["blocks_free"]))
    assert free == [0, 0, 1, 1, 2, 2]
    assert moved[1] == [False, False]
    assert moved[3] == [False, True]
    assert moved[5] == [True, True]
    assert run.best["val/score"] >= run.frozen["val/score"]


def test_epochs_are_all_epochs():
    assert settings("finetune.frozen_epochs=5", "finetune.epochs=2").head_epochs == 1
    with pytest.raises(UserError, match=r"finetune\.epochs: .*at least 2"):
        settings("finetune.epochs=1")


def test_rates_fall_from_block_to_block(calls):
    run = tuning(calls, "finetune.block_decay=0.1", "finetune.learning_rate=0.01")
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    run._optimizer = optimizer
    run._free(2)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([1.0, 0.01, 0.001])


def test_batch_norm_keeps_its_statistics(calls):
    run = tuning(calls, encoder="waveform_cnn")
    norm = next(m for m in run._encoder.module.modules() if isinstance(m, torch.nn.BatchNorm1d))
    before = norm.running_mean.clone()  # type: ignore[union-attr]
    list(run.run())
    assert torch.equal(norm.running_mean, before)  # type: ignore[arg-type]


def test_the_verb(calls, place, capsys):
    command = ["finetune", ENCODER, "--labels", str(calls / "labels.csv"), *SHORT]
    assert run_g5([*command, "finetune.sampling=over", "finetune.weights=effective_number"]) == 0
    out = capsys.readouterr().out
    assert "frozen" in out
    assert "head alone" in out
    assert "recall of each class on the held-back sources" in out
    home = Path("outputs/finetune/finetune")
    assert list(pd.read_csv(home / "recalls.csv").columns) == [
        "label", "trained_on", "queries", "head alone", "fine-tuned",
    ]  # fmt: skip
    assert (home / "figures" / "recalls.png").exists()
    assert "under 1,000, fine-tuning rarely pays" in out
    embed = ["embed", str(home / "checkpoints/tuned.ckpt"), str(calls), "-o", "t.store"]
    assert run_g5(embed) == 1
    assert f"say encoder._target_={ENCODER}" in capsys.readouterr().err
    assert run_g5([*embed, f"encoder._target_={ENCODER}"]) == 0
    assert run_g5(["predict", str(home / "tuned.head"), "t.store", "-o", "p.csv"]) == 0
    import mlflow

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    (run,) = mlflow.search_runs(experiment_names=["finetune"], output_format="list")
    assert run.info.status == "FINISHED"
    assert run.data.params["finetune.epochs"] == "6"
    assert "val/score" in run.data.metrics


def test_what_cannot_be_tuned_is_said(calls, tmp_path):
    path = small_onnx(tmp_path / "m.onnx", metadata={"sr": "8000", "window_s": "0.5"})
    with pytest.raises(UserError, match=r"cannot be fine-tuned.*model file"):
        tuning(calls, encoder=str(path))
    with pytest.raises(UserError, match="cannot be fine-tuned"):
        tuning(calls, encoder="handcrafted")
    with pytest.raises(UserError, match="must be a network"):
        tuning(calls, "finetune.head=svm")
    with pytest.raises(UserError, match=r"finetune\.task"):
        settings("finetune.task=both")


def test_unreadable_sound_is_left_out_and_said(calls, capsys, place):
    table = (calls / "labels.csv").read_text() + "nowhere.wav,a,s9\n"
    Path("more.csv").write_text(table)
    command = ["finetune", ENCODER, "--labels", "more.csv", "--audio-root", str(calls)]
    assert run_g5([*command, *SHORT, "logger=none"]) == 0
    assert "row 26" in capsys.readouterr().out
    Path("none.csv").write_text("file,label\nnowhere.wav,a\n")
    assert run_g5(["finetune", ENCODER, "--labels", "none.csv", "logger=none"]) == 1
    assert "no label has readable sound" in capsys.readouterr().err


def test_windows_hear_no_digital_silence(calls, tmp_path):
    """A trigger's zeros are left out, as in `g5 embed`; equal sound with two labels is told."""
    loaded = load_encoder(ENCODER)
    x = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    gap = x.copy()
    gap[2000:5000] = 0
    zeros = np.zeros_like(x)
    for name, wave in (("gap", gap), ("zeros", zeros), ("x", x), ("copy", x)):
        soundfile.write(tmp_path / f"{name}.wav", wave, 8000, subtype="FLOAT")
    (tmp_path / "l.csv").write_text("file,label\ngap.wav,a\nzeros.wav,a\nx.wav,a\ncopy.wav,b\n")
    table = read_labels(tmp_path / "l.csv")
    clips, problems = read_windows(loaded, table, tmp_path, "single", where="l.csv")
    assert problems == [f"l.csv, row 3: {tmp_path / 'zeros.wav'}: is digital silence where its "
                        "label is"]  # fmt: skip
    assert not (clips.x == 0).all(dim=-1).any()
    assert float((clips.x[clips.label_N == 0] == 0).float().mean()) < 0.01
    (note,) = clips.notes
    assert "x.wav, the same sound as copy.wav, has several labels that contradict" in note


def test_predict_hears_windows_as_the_head_was_trained_on_them(place, capsys):
    """`g5 finetune` hears windows alone, `g5 embed` recordings: a loud end tells them apart."""
    encoder = load_encoder("mel_cnn")
    rng = np.random.default_rng(0)
    x_ND = rng.standard_normal((40, encoder.embedding_dim)).astype(np.float32)
    model = fit_head(make_head("logistic", "single", seed=0), x_ND, np.repeat(["a", "b"], 20))
    size = encoder.window_samples
    wave = rng.normal(0, 0.01, 3 * size).astype(np.float32)
    wave[2 * size :] *= 40
    soundfile.write("r.wav", wave, encoder.sr, subtype="FLOAT")
    with torch.inference_mode():
        z_ND = encoder.forward(torch.from_numpy(wave.reshape(3, size))).numpy()
    wanted = model.predict_proba(z_ND)[:, 0]
    for of_windows in (True, False):
        head = SavedHead(model, "logistic", "single", [], encoder.facts(), of_windows=of_windows)
        save_head("t.head", head)
        command = ["predict", "t.head", "r.wav", "-o", "p.csv", "--scores", "all"]
        assert run_g5(command) == 0
        assert np.allclose(pd.read_csv("p.csv")["p_a"], wanted, atol=1e-3) == of_windows
    assert run_g5(["embed", "mel_cnn", "r.wav", "-o", "r.store"]) == 0
    save_head(
        "t.head", SavedHead(model, "logistic", "single", [], encoder.facts(), of_windows=True)
    )
    capsys.readouterr()
    assert run_g5(["predict", "t.head", "r.store", "-o", "p.csv"]) == 0
    assert "this head was trained on windows heard alone" in capsys.readouterr().out
