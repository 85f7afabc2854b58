"""Checkpoints: what they carry, how they are found, and every way of not being one."""

import errno
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from archs.v1.arch import ProtoNetV1
from g5.common.errors import UserError
from g5.config.earlier import NO_TIMBRE, first_facts, updated
from g5.config.node import Node
from g5.config.settings import load as load_settings
from g5.tracking import checkpoints
from g5.tracking.callbacks import AtomicCheckpointIO
from g5.tracking.checkpoints import (
    check_same,
    latest,
    load,
    load_plain,
    payload,
    save,
    weights_only,
)
from g5.tracking.folders import find
from g5.tracking.restore import restore
from preprocessing.frontend import LogMel
from preprocessing.normalize import Normalize, scalar_stats

MODEL = {
    "channels": [4, 8],
    "dropout": 0.0,
    "distance": "euclidean",
    "cosine_scale": 10.0,
    "normalize": "none",
}
MEL = {"sr": 8000, "n_fft": 256, "hop_mel": 64, "n_mels": 16, "fmin": 50, "fmax": 4000}
CONFIG: dict[str, Any] = {
    "arch": {"name": "v1", "model": {"_target_": "archs.v1.arch.ProtoNetV1", **MODEL}},
    "features": {
        "_target_": "preprocessing.frontend.LogMel", **MEL, "floor_db": -100,
        "channels": 1, "clip_s": 1.0, "normalize": "train",
    },
}  # fmt: skip


def parts() -> tuple[ProtoNetV1, LogMel, Normalize]:
    torch.manual_seed(0)
    normalize = Normalize(mode="train", n_mels=16)
    normalize.fit(torch.linspace(-60, -50, 16), torch.linspace(5, 9, 16))
    return ProtoNetV1(**MODEL), LogMel(**MEL, floor_db=-100), normalize


def header(**changes: Any) -> dict[str, Any]:
    _, front_end, normalize = parts()
    return payload(
        config=CONFIG,
        front_end=front_end.settings(),
        normalize={"mode": normalize.mode, "n_mels": 16},
        label_map={"train": ["a", "b"], "val": [], "test": ["ü"]},
        data_hash="d",
        split_hash="s",
        trained_recordings=["0f"],
        raw_statistics={"mean_F": torch.zeros(32), "std_F": torch.ones(32)},
    ) | dict(changes)


def checkpoint(**changes: Any) -> dict[str, Any]:
    """What Lightning hands over, with a training step's worth of optimiser state."""
    model, _, normalize = parts()
    module = torch.nn.ModuleDict({"model": model, "normalize": normalize})
    return {
        "epoch": 3,
        "global_step": 12,
        "state_dict": OrderedDict(module.state_dict()),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(1000)}}}],
        "loops": {"fit_loop": {"epoch_progress": {"current": {"processed": 3}}}},
        "g5": header(**changes),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "epoch_003_val_acc_0.5000.ckpt"
    save(checkpoint(), path)
    return path


def message(path: Path) -> str:
    with pytest.raises(UserError) as error:
        load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- content --------------------------------------------------------------------------------


def test_a_checkpoint_says_what_is_needed_to_use_it(file: Path) -> None:
    # Without pickle: what `load` promises, here without its help.
    content = torch.load(file, weights_only=True)
    raw, expected = content["g5"].pop("raw_statistics"), header()
    assert {k: v.tolist() for k, v in raw.items()} == {
        k: v.tolist() for k, v in expected.pop("raw_statistics").items()
    }
    assert content["g5"] == expected
    assert set(content["g5"]) == {
        "format", "config", "front_end", "normalize", "label_map", "data_hash", "split_hash",
        "trained_recordings",
        "git_revision", "g5_version",
    }  # fmt: skip
    assert content["g5"]["label_map"]["test"] == ["ü"]
    assert torch.equal(load(file)["state_dict"]["normalize.mean_M"], torch.linspace(-60, -50, 16))


@pytest.mark.parametrize("odd", [Path("x"), {1, 2}, object(), torch.float32])
def test_only_plain_values_go_in(odd: Any) -> None:
    with pytest.raises(AssertionError, match=r"g5\.config\.deep\[0\]"):
        payload(
            config={"deep": [odd]}, front_end={}, normalize={}, label_map={},
            data_hash="", split_hash="", trained_recordings=[], raw_statistics={},
        )  # fmt: skip


def test_weights_only_leaves_training_out(file: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.ckpt"
    weights_only(file, small)
    assert set(load(small)) == {"g5", "state_dict", "epoch", "global_step"}
    assert small.stat().st_size < file.stat().st_size


# --- what is not a checkpoint ---------------------------------------------------------------


def test_missing(file: Path, tmp_path: Path) -> None:
    (tmp_path / ".last.1.tmp.ckpt").write_bytes(b"")
    text = message(tmp_path / "best.ckpt")
    assert "best.ckpt: there is no such file" in text
    assert text.endswith("has epoch_003_val_acc_0.5000.ckpt")
    assert "no folder" in message(tmp_path / "nowhere" / "best.ckpt")
    (tmp_path / "empty").mkdir()
    assert message(tmp_path / "empty" / "x.ckpt").endswith("has no checkpoints")


def test_a_directory(file: Path, tmp_path: Path) -> None:
    assert "a folder, not a checkpoint" in message(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert "truncated, corrupt or no checkpoint" in message(file)


def test_a_flipped_bit_in_a_weight(file: Path) -> None:
    content = bytearray(file.read_bytes())
    weight = checkpoint()["state_dict"]["model.encoder.blocks.0.weight"].numpy().tobytes()
    content[content.index(weight) + 3] ^= 1
    file.write_bytes(content)
    torch.load(file, weights_only=True)  # torch takes it
    assert "corrupt: the checksum" in message(file)


def test_a_pickle_is_refused(file: Path) -> None:
    bomb = checkpoint()
    bomb["callbacks"] = {"path": Path("x")}
    torch.save(bomb, file)
    assert "needs pickle" in message(file)
    torch.save(bomb, file, _use_new_zipfile_serialization=False)
    assert "no checkpoint" in message(file)


def test_of_somebody_else_or_of_the_future(file: Path) -> None:
    torch.save({"state_dict": {}}, file)
    assert "not of g5" in message(file)
    torch.save([1, 2], file)
    assert "not of g5" in message(file)
    save(checkpoint(format=99, g5_version="7.0"), file)
    assert "g5 7.0, which is newer" in message(file)


# --- finding --------------------------------------------------------------------------------


def test_the_short_name_of_an_epoch(file: Path, tmp_path: Path) -> None:
    assert find(file) == (file, None)
    found, said = find(tmp_path / "epoch_003.ckpt")
    assert found == file
    assert said is not None
    assert "epoch_003.ckpt means" in said
    with pytest.raises(UserError, match=r"no such file.*has epoch_003_val_acc"):
        find(tmp_path / "epoch_004.ckpt")
    (tmp_path / "epoch_003_val_acc_0.7500.ckpt").write_bytes(b"")
    with pytest.raises(UserError, match=r"any of epoch_003_val_acc_0\.5.*_0\.75"):
        find(tmp_path / "epoch_003.ckpt")
    with pytest.raises(UserError, match="a folder"):
        find(tmp_path)


def test_odd_names_are_not_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "lr=[0.1] Grünspecht"
    folder.mkdir()
    (folder / "a[1]_val_acc_1.ckpt").write_bytes(b"")
    assert find(folder / "a[1].ckpt")[0].name == "a[1]_val_acc_1.ckpt"


def test_the_latest(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    assert latest(tmp_path / "nowhere") is None
    save(checkpoint(), tmp_path / "last.ckpt")
    assert latest(tmp_path) == tmp_path / "last.ckpt"
    (tmp_path / "epoch_003_val_acc_0.5000.ckpt").write_bytes(b"")
    assert latest(tmp_path) == tmp_path / "last.ckpt"
    (tmp_path / "epoch_0x4_val_acc_0.5000.ckpt").write_bytes(b"")
    (tmp_path / "epoch_004.ckpt").write_bytes(b"")
    assert latest(tmp_path) == tmp_path / "epoch_004.ckpt"
    (tmp_path / "last.ckpt").unlink()
    assert latest(tmp_path) == tmp_path / "epoch_004.ckpt"


# --- writing --------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_file(file: Path, tmp_path: Path, monkeypatch) -> None:
    before = file.read_bytes()

    def full(self: Path, data: Any) -> int:
        with open(self, "wb") as handle:
            handle.write(bytes(data)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="the disk is full"):
        AtomicCheckpointIO().save_checkpoint(checkpoint(), file)
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_damaged_member_is_named_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("da\nta\x1b[2J", b"weights of some length")
    content = bytearray(path.read_bytes())
    content[content.index(b"weights")] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        load_plain(path)
    assert str(error.value).endswith(r"its part da\nta\x1b[2J is wrong")


def test_lightning_cannot_be_talked_into_pickle(file: Path) -> None:
    torch.save(checkpoint() | {"callbacks": {"path": Path("x")}}, file)
    with pytest.raises(UserError, match="needs pickle"):
        AtomicCheckpointIO().load_checkpoint(file, weights_only=False)


# --- using the weights ----------------------------------------------------------------------


def test_restored_as_it_was_trained(file: Path) -> None:
    model, front_end, normalize = parts()
    restored = restore(file)
    assert not any(part.training for part in (restored.model, restored.front_end))
    assert restored.label_map["train"] == ["a", "b"]
    assert restored.config == CONFIG
    wave_BS = torch.randn(3, 4000, generator=torch.Generator().manual_seed(1))
    x_B1MT = front_end(wave_BS)[:, None]
    expected = model.eval()(normalize(x_B1MT, scalar_stats(x_B1MT)))
    assert torch.equal(restored.embed(wave_BS), expected)
    assert restored.embed(wave_BS).shape == (3, 8)


def test_a_clip_is_normalised_as_a_recording_of_its_own(tmp_path: Path) -> None:
    model, front_end, _ = parts()
    content = checkpoint(normalize={"mode": "recording", "n_mels": 16})
    content["state_dict"] = {f"model.{k}": v for k, v in model.state_dict().items()}
    save(content, tmp_path / "x.ckpt")
    wave_BS = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    x_BMT = front_end(wave_BS)
    mean_B11 = x_BMT.mean((1, 2), keepdim=True)
    std_B11 = x_BMT.std((1, 2), correction=0, keepdim=True)
    expected = model.eval()(((x_BMT - mean_B11) / std_B11)[:, None])
    torch.testing.assert_close(restore(tmp_path / "x.ckpt").embed(wave_BS), expected)


def test_what_does_not_fit_its_own_configuration(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    content = checkpoint()
    content["state_dict"].pop("model.encoder.blocks.0.weight")
    save(content, path)
    with pytest.raises(UserError, match=r"x\.ckpt: its weights do not fit.*blocks\.0\.weight"):
        restore(path)
    for target, complaint in [
        ("archs.v9.arch.Net", "there is no module archs.v9"),
        ("preprocessing.normalize.Normalize", "is not a ProtoNet"),
        ("collections.OrderedDict", "which is not g5's, and nothing of it is imported"),
    ]:
        config = {**CONFIG, "arch": {"model": {"_target_": target}}}
        save(checkpoint(config=config), path)
        with pytest.raises(UserError, match=rf"x\.ckpt: arch\.model\._target_: .*{complaint}"):
            restore(path)


def test_weights_of_another_model_are_refused(file: Path) -> None:
    mel = {key: value for key, value in CONFIG["features"].items() if key in {*MEL, "floor_db"}}
    here = load_settings(["arch=v1", "features.normalize=train"]).but(
        {"arch.model": Node("archs.v1.arch.ProtoNetV1", MODEL)}
    )
    here = here.but({"features.front_end": Node("preprocessing.frontend.LogMel", mel)})
    check_same(header(), here, file)
    loose = here.but({"features.clip_s": 4.0, "features.front_end.fmin": 50.0})
    check_same(header(), loose, file)
    with pytest.raises(UserError, match=r"channels is \[4, 8\] there and \[4, 9\] here"):
        check_same(header(), here.but({"arch.model.channels": [4, 9]}), file)
    other = here.but({"features.front_end.n_mels": 32, "features.normalize": "none"})
    with pytest.raises(UserError, match=r"features\.n_mels is 16 .*features\.normalize"):
        check_same(header(), other, file)
    v2 = Node("archs.v2.arch.ProtoNetV2", dict.fromkeys("abcdef", 1))
    with pytest.raises(UserError, match=r"model\._target_.*and \d+ more"):
        check_same(header(), here.but({"arch.model": v2}), file)


@pytest.mark.parametrize(
    ("key", "off", "on"),
    [
        ("arch.training.ema_decay", 0.0, 0.98),
        ("arch.training.batch_norm", "together", "apart"),
        ("arch.training.pretrain_labels", "classes", "individuals"),
        ("arch.training.pretrain_mixup", 0, 0.4),
        ("arch.training.pretrain_loss", "classes", "supcon"),
        ("arch.episodes.test_views", 1, 4),
        ("arch.episodes.negatives", False, True),
    ],
)
def test_a_setting_that_is_gone_loads_where_it_was_off(tmp_path: Path, key, off, on) -> None:
    path = tmp_path / "x.ckpt"
    _, group, name = key.split(".")
    for value in (off, on):
        config = {**CONFIG, "arch": {**CONFIG["arch"], group: {name: value, "kept": 1}}}
        save(checkpoint(config=config), path)
        if value == off:
            assert load(path)["g5"]["config"]["arch"][group] == {"kept": 1}
        else:
            with pytest.raises(UserError, match=rf"{key}={value}: this g5 has no such setting"):
                load(path)


def test_names_of_epochs() -> None:
    assert checkpoints.epoch_file(50, 0.81234) == "epoch_050_val_acc_0.8123.ckpt"
    assert checkpoints.epoch_file(1000, None) == "epoch_1000.ckpt"


def test_what_was_called_learnable_is_the_mlp_now_and_hashes_as_it_did() -> None:
    old = {
        "_target_": "archs.v2.arch.ProtoNetV2", "channels": [8], "distance": "learnable",
        "distance_hidden": [8], "distance_share": 0.05,
    }  # fmt: skip
    config = updated({"arch": {"model": old}, "features": {"n_mels": 8}})
    new = config["arch"]["model"]
    assert (new["distance"], new["input_channels"], new["metric_rank"]) == ("mlp", 1, 1)
    assert config["features"]["channels"] == 1
    assert updated(config) == config
    assert first_facts(new) == old
    learnable = {**new, "distance": "learnable"}
    since = {*NO_TIMBRE, "scatter_floor", "metric_shrink"}
    assert first_facts(learnable) == {k: v for k, v in learnable.items() if k not in since}
    timbre = {**learnable, "timbre_dim": 8, "scatter_floor": 0.5}
    assert first_facts(timbre) == {k: v for k, v in timbre.items() if k != "metric_shrink"}
    euclidean = {**old, "distance": "euclidean"}
    assert first_facts(updated({"arch": {"model": euclidean}})["arch"]["model"]) == euclidean
