"""Pretraining in the endless world: it repeats itself, goes on after a kill, and stops at NaN."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from archs.v2.arch import ProtoNetV2
from g5.common.errors import UserError
from g5.config.parts import front_end_of, normalize_of
from g5.config.settings import load
from g5.runs.pretrain import MEL_KEYS, pretrain, read_settings
from g5.tracking.restore import restore
from g5.training import pretraining
from g5.training.pretraining import STATE, Pretraining
from g5.training.processes import Processes
from preprocessing.spectra.mel import band_centres_hz
from preprocessing.synthetic.pool import Pool
from preprocessing.synthetic.power_scenes import PowerScenes
from tests.preprocessing.test_endless_world import POOL, WORLD
from tests.training.small_pretraining import OVERRIDES, shrink

SMALL = ["features.n_mels=16", "features.hop_mel=512"]
CPU = torch.device("cpu")
ALONE = Processes()


def training(
    folder: Path, steps: int, *, batches: int = 1, processes: Processes = ALONE
) -> Pretraining:
    settings = load(["experiment=pretrained", *SMALL])
    front_end = front_end_of(settings)
    mel = {k: getattr(front_end, k) for k in MEL_KEYS}
    torch.manual_seed(0)
    node = {
        **settings.arch.model.values,
        "channels": [4, 8], "distance": "learnable", "embedding_dim": 24, "timbre_dim": 8,
        "metric_rank": 4, "attention_heads": 0, "band_statistics": 8,
    }  # fmt: skip
    ours = read_settings([], sr=front_end.sr)
    recipe = replace(
        ours.recipe, steps=steps, batches=batches, species=4, individuals=2,
        clip_s=[0.2, 0.4], lead_s=0.3, metric_species=8, test_every=3, average=0.5,
    )  # fmt: skip
    made = Pretraining(
        model=ProtoNetV2(**node), front_end=front_end, normalize=normalize_of(settings),
        pool=Pool(
            replace(POOL, slots=4 * batches), replace(WORLD, sr=front_end.sr), mel, workers=0,
            device=CPU,
        ),
        remix=ours.remix,
        scenes=PowerScenes(
            ours.place,
            torch.from_numpy(band_centres_hz(16, 50.0, 11025.0)).float(),
            hop_s=1 / front_end.frame_rate_hz,
        ),
        recipe=recipe, seed=1, folder=folder, device=CPU, bf16=False,
        processes=processes,
    )  # fmt: skip
    for _ in made.pool.fill(made.step):
        pass
    return made


class Killed(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_end(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    points: list[dict] = []
    whole = training(tmp_path / "whole", 6)
    whole.run(points.append)
    assert [point["step"] for point in points] == [3, 6]

    def kill(point: dict) -> None:
        raise Killed

    with pytest.raises(Killed):
        training(tmp_path / "killed", 6).run(kill)
    second = training(tmp_path / "killed", 6)
    assert second.step == 3
    second.run(lambda point: None)
    ours, theirs = second.tested().state_dict(), whole.tested().state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    start = training(tmp_path, 6).tested().state_dict()
    assert not torch.equal(theirs["encoder.projection.weight"], start["encoder.projection.weight"])
    assert theirs["metric.up_DR"].abs().max() > 0, "the learned distance was not learned"


def gradients(made: Pretraining) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in made.model.parameters() if p.grad is not None])


def one_of_two(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=2
    )  # fmt: skip
    made = training(folder / "two", 3, batches=2, processes=Processes(rank, 2))
    made.run(lambda point: torch.save((point, gradients(made)), folder / f"of_{rank}"))


def test_two_processes_train_as_one_with_twice_the_species_and_go_on_as_one(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    torch.multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)  # pyright: ignore
    points: list[dict] = []
    one = training(tmp_path / "one", 3, batches=2)
    one.run(points.append)
    (told, ours), (_, others) = (torch.load(tmp_path / f"of_{rank}") for rank in (0, 1))
    assert torch.equal(ours, others), "the two have parted"
    assert told["loss"] == pytest.approx(points[0]["loss"], rel=1e-5)
    assert told["acc"] == points[0]["acc"]
    torch.testing.assert_close(ours, gradients(one), rtol=1e-5, atol=1e-6 * float(ours.abs().max()))
    on = training(tmp_path / "two", 6, batches=2)
    assert on.step == 3
    on.run(points.append)
    assert points[-1]["step"] == 6


def test_batches_that_processes_cannot_share_are_refused_before_these_start():
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    with pytest.raises(UserError, match=r"recipe\.batches=3: 2 processes .*multiple of 2"):
        Processes.start(load(["experiment=pretrained", *two]), batches=3)


def test_a_loss_that_is_no_number_stops_it(tmp_path, monkeypatch):
    made = training(tmp_path, 6)
    monkeypatch.setattr(
        pretraining.SupervisedContrast, "loss",
        lambda *_, **__: (torch.tensor(float("nan")), torch.tensor(0.0)),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"loss is nan at step 1; .*learning_rate"):
        made.run(lambda point: None)
    assert not (tmp_path / STATE).exists()


def test_the_command_makes_an_encoder_and_its_curve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shrink(monkeypatch.setattr)
    overrides = [*OVERRIDES, "pretrain.recipe.steps=2", "pretrain.recipe.test_every=1"]
    path = pretrain(overrides)
    restored = restore(path)
    assert restored.model.embedding_dim == 24
    assert restored.settings.arch.name == "v2"
    assert restored.embed(torch.randn(2, 22050)).isfinite().all()
    content = torch.load(path, weights_only=True)
    assert {v.dtype for v in content["state_dict"].values() if v.is_floating_point()} == {
        torch.float16
    }
    raw = content["g5"]["raw_statistics"]
    assert (raw["std_F"] > 0).all()
    assert "| field 5-way 5-shot |" in (path.parent / "encoder.md").read_text()
    rows = (path.parent / "curve.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2"]
    assert "crowd 5-way 5-shot" in rows[0]
    assert "other 5-way 1-shot" in rows[0]
    with pytest.raises(UserError, match=r"recipe\.individuals=2: the pool has only 1"):
        read_settings(["pretrain.pool.individuals=1"], sr=22050)
    with pytest.raises(UserError, match="has other settings"):
        pretrain([*overrides, "pretrain.recipe.steps=3"])
    second = [text for text in overrides if not text.startswith("exp_name=")]
    begun = pretrain([*second, "exp_name=more", f"arch.training.load_weight_from={path}"])
    assert "weights of 2 steps in world 0" in (begun.parent / "encoder.md").read_text("utf-8")
    first, more = (torch.load(p, weights_only=True)["state_dict"] for p in (path, begun))
    name = "model.encoder.projection.weight"
    moved = (more[name] - first[name]).float().norm() / first[name].float().norm()
    assert 0 < moved < 0.5, "it did not begin where the other ended"
    with pytest.raises(UserError, match="of another model"):
        pretrain([*second, "exp_name=no", "arch.model.embedding_dim=32",
                  f"arch.training.load_weight_from={path}"])  # fmt: skip
