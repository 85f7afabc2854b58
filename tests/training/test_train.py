"""Training and testing from the command line, whole: folders, checkpoints, resuming, MLflow."""

import json
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from g5.common.errors import UserError
from g5.config.changes import short_hash
from g5.config.earlier import first_config
from g5.tracking.restore import restore
from preprocessing.audio import content_hash
from tests.conftest import run_g5, run_train

FAST = ("debug=fast", "logger=none")
RUN = Path("outputs/protonet_baseline")


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def same_weights(a: Path, b: Path) -> bool:
    ours, theirs = weights(a), weights(b)
    return list(ours) == list(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.usefixtures("drawn_figures")
def test_a_run_leaves_what_it_promises(place, capsys):
    run_train(["arch=v1", "debug=fast", "logger.log_model=true"])
    folder = place / RUN / "v1_debug"
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert [name for name in names if not name.startswith("epoch")] == [
        "MODEL_CARD.md", "best_checkpoint.ckpt", "last.ckpt",
    ]  # fmt: skip
    assert [name[:9] for name in names if name.startswith("epoch")] == ["epoch_001", "epoch_002"]
    for name in ("training.png", "confusion.png", "per_class_accuracy.png"):
        assert (folder / "figures" / name).stat().st_size > 1000
    assert yaml.safe_load((folder / "config.yaml").read_text())["arch"]["name"] == "v1"
    rows = (folder / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2"]
    scores = json.loads((folder / "test_scores.json").read_text())
    assert 0 <= scores["accuracy"]["mean"] <= 1
    text = capsys.readouterr().out
    for words in (
        str(folder),
        str(place / "outputs" / "store"),
        str(place / "mlflow.db"),
        "mlflow ui",
        "chance",
        "raw feat",
    ):
        assert words in text
    check_mlflow(place, folder, scores)


def check_mlflow(place: Path, folder: Path, scores: dict) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    experiment = client.get_experiment_by_name("debug")
    assert experiment is not None
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "v1_debug"
    assert run.data.params["arch.training.max_epochs"] == "2"
    assert run.data.tags["arch"] == "v1"
    assert run.data.tags["budget"] == "2 epochs of 4 episodes"
    assert run.data.tags["data"] == "procedural"
    told = run.data.tags["mlflow.note.content"]
    assert told.startswith("Trains v1 on procedural, 2 epochs of 4 episodes.")
    assert f"{scores['accuracy']['mean']:.1%}" in told
    assert {"data_hash", "split_hash", "git_revision"} <= set(run.data.tags)
    metrics = run.data.metrics
    assert len([name for name in metrics if name.startswith("test/")]) <= 8
    assert metrics["test/acc"] == pytest.approx(scores["accuracy"]["mean"])
    expected = {
        "train/loss", "train/acc", "val/loss", "val/acc", "val/precision", "val/recall", "val/f1",
        "lr", "train/grad_norm", "train/episodes_per_s", "test/raw_best",
    }  # fmt: skip
    assert expected <= set(metrics)
    history = client.get_metric_history(run.info.run_id, "val/acc")
    assert [point.step for point in history] == [1, 2]
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "checkpoints", "figures", "test_scores.json"} <= files
    assert {"report.html", "MODEL_CARD.md"} <= files
    drawn = {item.path for item in client.list_artifacts(run.info.run_id, "figures")}
    assert {"figures/reliability.png", "figures/embeddings_tsne.png"} <= drawn
    assert len(client.search_logged_models([experiment.experiment_id])) == 1


def test_a_new_run_moves_the_earlier_one_and_a_test_uses_it_in_place(place, trained, capsys):
    first = trained("v1")
    marker = weights(first / "checkpoints" / "last.ckpt")
    run_train(["arch=v1", *FAST, "test=false", "seed=5"])
    assert "v1_debug.1" in capsys.readouterr().out
    moved = weights(place / RUN / "v1_debug.1" / "checkpoints" / "last.ckpt")
    assert all(torch.equal(marker[key], moved[key]) for key in marker)
    assert not same_weights(
        first / "checkpoints" / "last.ckpt",
        place / RUN / "v1_debug.1" / "checkpoints" / "last.ckpt",
    )
    checkpoint = "outputs/protonet_baseline/v1_debug/checkpoints/epoch_002.ckpt"
    run_train(
        ["arch=v1", "logger=none", "train=false", "test=true",
         f"arch.training.load_weight_from={checkpoint}"]
    )  # fmt: skip
    text = capsys.readouterr().out
    assert "epoch_002.ckpt means" in text
    # It is not the run's best checkpoint: its scores are not the run's own.
    assert len(list(first.glob("test-*/test_scores.json"))) == 1
    assert not (place / RUN / "v1_debug.2").exists()


def test_the_same_checkpoint_gives_the_same_numbers_wherever_it_is_tested(
    place, tmp_path_factory, monkeypatch
):
    run_train(["arch=v1", *FAST])
    folder = place / RUN / "v1_debug"
    first = json.loads((folder / "test_scores.json").read_text())
    elsewhere = tmp_path_factory.mktemp("else=where [ü]")
    moved = elsewhere / "a=b [ü].ckpt"
    moved.write_bytes((folder / "checkpoints" / "best_checkpoint.ckpt").read_bytes())
    (elsewhere / "outputs").mkdir()
    for name in ("procedural", "store"):
        (elsewhere / "outputs" / name).symlink_to(place / "outputs" / name)
    monkeypatch.chdir(elsewhere)
    assert run_g5(["test", str(moved), "logger=none"]) == 0
    again = json.loads((elsewhere / RUN / "v1_debug" / "test_scores.json").read_text())
    assert again["accuracy"] == first["accuracy"]
    assert again["raw"] == first["raw"]
    # Another protocol is another test, and leaves the run's own numbers alone.
    assert run_g5(["test", str(moved), "logger=none", "arch.episodes.k_shot=1"]) == 0
    (other,) = (elsewhere / RUN / "v1_debug").glob("test-*")
    assert json.loads((other / "test_scores.json").read_text())["protocol"]["k_shot"] == 1
    assert json.loads((elsewhere / RUN / "v1_debug" / "test_scores.json").read_text()) == again


def test_a_test_of_another_epoch_leaves_the_runs_own_alone(place, capsys):
    """So does one of another run of that name, and one of another protocol."""
    run_train(["arch=v1", *FAST, "logger=none"])
    folder = place / RUN / "v1_debug"
    own = ("test_scores.json", "report.html", "checkpoints/MODEL_CARD.md")
    before = [(folder / name).read_bytes() for name in own]
    best = (folder / "checkpoints" / "best_checkpoint.ckpt").read_bytes()
    epochs = (folder / "checkpoints").glob("epoch_*.ckpt")
    (other,) = [path for path in epochs if path.read_bytes() != best]
    assert run_g5(["test", str(other), "logger=none"]) == 0
    assert run_g5(["test", str(other), "logger=none", "arch.episodes.k_shot=1"]) == 0
    assert [(folder / name).read_bytes() for name in own] == before
    homes = list(folder.glob("test-*"))
    assert len(homes) == 2
    # A folder that an earlier g5 named is used on.
    plain = first_config(restore(other).settings.but({"arch.episodes.k_shot": 1}).plain())
    facts = [plain["seed"], plain["arch"]["episodes"], plain["features"]]
    facts += [restore(other).header["data_hash"], content_hash(other)]
    (one,) = [
        h
        for h in homes
        if json.loads((h / "test_scores.json").read_text())["protocol"]["k_shot"] == 1
    ]
    one.rename(folder / f"test-{short_hash(facts)}")
    assert run_g5(["test", str(other), "logger=none", "arch.episodes.k_shot=1"]) == 0
    homes = list(folder.glob("test-*"))
    assert len(homes) == 2
    assert all((home / "MODEL_CARD.md").exists() for home in homes)
    # The best by its epoch's name is the run's own.
    (same,) = [p for p in (folder / "checkpoints").glob("epoch_*.ckpt") if p.read_bytes() == best]
    assert run_g5(["test", str(same), "logger=none"]) == 0
    assert len(list(folder.glob("test-*"))) == 2


def test_a_multiruns_job_is_tested_in_its_own_folder(place):
    assert run_g5(["train", "v1", "-m", "seed=1,2", *FAST, "logger=none", "exp_name=many"]) == 0
    job = place / RUN / "many" / "1"
    before = (job / "test_scores.json").read_text()
    (job / "test_scores.json").unlink()
    assert run_g5(["test", str(job / "checkpoints" / "best_checkpoint.ckpt"), "logger=none"]) == 0
    assert (job / "test_scores.json").read_text() == before
    assert not (place / RUN / "many" / "test_scores.json").exists()


@pytest.mark.parametrize("arch", ["v1", "v2"])
def test_a_killed_run_continues_to_the_same_weights(arch, place, start_train):
    command = [
        f"arch={arch}", *FAST, "test=false", "arch.training.max_epochs=3",
        "arch.episodes.episodes_per_epoch=8",
    ]  # fmt: skip
    run_train([*command, "exp_name=whole"])
    killed = place / RUN / "killed" / "checkpoints"
    process = start_train(*command, "exp_name=killed")
    deadline = time.monotonic() + 240
    while not list(killed.glob("epoch_*.ckpt")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # Somewhere in the next epoch.
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(killed.glob("epoch_003*")), "it was too fast to be killed"
    run_train([*command, "exp_name=killed", "resume=true"])
    assert same_weights(killed / "last.ckpt", place / RUN / "whole" / "checkpoints" / "last.ckpt")
    history = (place / RUN / "killed" / "history.csv").read_text()
    assert history == (place / RUN / "whole" / "history.csv").read_text()


def test_resuming_refuses_another_run(place, trained, capsys):
    trained("v1")
    with pytest.raises(UserError, match=r"arch\.episodes\.k_shot: differs from the run"):
        run_train(["arch=v1", *FAST, "test=false", "resume=true", "arch.episodes.k_shot=1"])
    with pytest.raises(UserError, match=r"arch\.training\.learning_rate: differs"):
        run_train(["arch=v1", *FAST, "resume=true", "arch.training.learning_rate=0.5"])
    with pytest.raises(UserError, match="the run has finished 2 epochs"):
        run_train(["arch=v1", *FAST, "resume=true", "arch.training.max_epochs=1"])
    # A finished run has nothing left to train; one with more epochs goes on.
    capsys.readouterr()
    run_train(["arch=v1", *FAST, "test=false", "resume=true"])
    assert "\ntime " not in capsys.readouterr().out
    run_train(["arch=v1", *FAST, "test=false", "resume=true", "arch.training.max_epochs=3"])
    assert "\ntime      1 more epoch of 4 episodes: about " in capsys.readouterr().out
    assert list((place / RUN / "v1_debug" / "checkpoints").glob("epoch_003*"))


def test_multirun_jobs_lie_under_the_run_and_one_failure_does_not_stop_the_others(place, capsys):
    code = run_g5(
        ["train", "v1", "-m", *FAST, "test=false", "arch.episodes.n_way=99,5",
         "--exp-name", "s=[ü]"]
    )  # fmt: skip
    assert code == 1
    assert not list((place / RUN / "s=[ü]" / "0").glob("checkpoints/*.ckpt"))
    assert (place / RUN / "s=[ü]" / "1" / "checkpoints" / "last.ckpt").exists()
    assert "arch.episodes.n_way" in capsys.readouterr().err


@pytest.mark.parametrize("arch", ["v1", "v2"])
def test_overfitting_a_few_episodes_drives_the_loss_down(arch, place):
    run_train([f"arch={arch}", "debug=overfit", "logger=none", "test=false"])
    rows = (place / RUN / f"{arch}_overfit" / "history.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[1]) for row in rows]
    assert losses[-1] < 0.15 * losses[0], losses


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["arch.episodes.n_way=50"], "arch.episodes.n_way"),
        (["arch.episodes.k_shot=500"], "k_shot"),
        (["data.test_species=4"], "data.test_species is only 4"),
        (["trainer.strategy=telepathy"], "trainer"),
        (["features.fmax=20000"], "features.fmax"),
        (["arch.training.load_weight_from=nowhere.ckpt"], "nowhere.ckpt: there is no such file"),
        (["trainer=gpu"], "trainer"),
        (["exp_name=a/b"], "exp_name='a/b'"),
        (["name=.."], "name='..'"),
        (["callbacks.checkpoint.monitor=val/auc"], r"checkpoint\.monitor=val/auc"),
        (["callbacks.early_stopping.monitor=val/auc"], r"early_stopping\.monitor=val/auc"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(place, arguments, words):
    if arguments == ["trainer=gpu"] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=words):
        run_train(["arch=v1", *FAST, *arguments])
    assert not (place / "outputs" / "protonet_baseline").exists()


def test_names_are_refused_before_any_recording_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="exp_name"):
        run_train(["arch=v1", *FAST, "exp_name=a/b"])
    assert not list(tmp_path.iterdir())


def test_a_damaged_last_checkpoint_is_named_and_another_serves(trained):
    command = ["arch=v1", *FAST, "test=false"]
    last = trained("v1") / "checkpoints" / "last.ckpt"
    last.unlink()
    last.write_bytes(b"half")
    with pytest.raises(UserError, match=r"last\.ckpt: truncated.*remove it, and resume=true"):
        run_train([*command, "resume=true"])
    last.unlink()
    run_train([*command, "resume=true", "arch.training.max_epochs=3"])
    assert last.samefile(next(last.parent.glob("epoch_003*")))


def test_a_checkpoint_of_another_arch_is_refused(trained):
    checkpoint = trained("v1") / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match="a checkpoint of v1, not of v2"):
        run_train(["arch=v2", "train=false", f"arch.training.load_weight_from={checkpoint}"])
    with pytest.raises(UserError, match="of another model"):
        run_train(["arch=v2", *FAST, f"arch.training.load_weight_from={checkpoint}"])


def test_a_dead_tracking_server_does_not_stop_training(place, capsys):
    run_train(["arch=v1", "debug=fast", "logger.tracking_uri=http://127.0.0.1:9"])
    assert "recording in sqlite" in capsys.readouterr().err
    assert (place / "mlflow.db").exists()
    assert (place / RUN / "v1_debug" / "test_scores.json").exists()


def test_metrics_of_a_skipped_validation_are_not_repeated(place):
    run_train(
        ["arch=v1", *FAST, "test=false", "arch.training.max_epochs=3",
         "trainer.val_every_n_epochs=2", "arch.training.scheduler=plateau"]
    )  # fmt: skip
    rows = (place / RUN / "v1_debug" / "history.csv").read_text().splitlines()[1:]
    assert [row.split(",")[2] != "" for row in rows] == [False, True, False]


def test_a_test_leaves_the_training_runs_configuration_alone(place, trained):
    folder = trained("v1")
    before = (folder / "config.yaml").read_text()
    checkpoint = folder / "checkpoints" / "last.ckpt"
    assert run_g5(["test", str(checkpoint), "logger=none"]) == 0
    assert (folder / "config.yaml").read_text() == before
    assert run_g5(["test", str(checkpoint), "seed=1,2"]) == 1
    words = ["train", "v1", "--exp-name", "zz", "train=false", "logger=none"]
    assert run_g5([*words, f"arch.training.load_weight_from={checkpoint}"]) == 0
    assert (place / RUN / "zz" / "test_scores.json").exists()


@pytest.mark.slow
def test_two_processes_train_on_the_same_episodes(place, start_train):
    process = start_train(
        "arch=v1", *FAST, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
        "trainer.threads=1",
    )  # fmt: skip
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert (place / RUN / "v1_debug" / "test_scores.json").exists()
    assert output.count("test of v1") == 1, output
    assert "s an episode on 2 x cpu)" in output


def test_both_front_ends_are_heard_and_stored_once(place, capsys):
    stores = set((place / "outputs" / "store").iterdir())
    run_train(["arch=v2", "features=both", *FAST])
    (new,) = set((place / "outputs" / "store").iterdir()) - stores
    assert json.loads((new / "settings.json").read_text())["settings"]["_target_"].endswith("PCEN")
    scores = json.loads((place / RUN / "v2_debug" / "test_scores.json").read_text())
    run_train(["arch=v1", *FAST])
    of_log_mel = json.loads((place / RUN / "v1_debug" / "test_scores.json").read_text())
    assert scores["raw"] == of_log_mel["raw"]
    with pytest.raises(UserError, match="hears 1 channels, and features make 2"):
        run_train(["arch=v1", "features=both", *FAST])
