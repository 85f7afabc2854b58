"""Every command of README.md and docs/ runs as it stands there, cut to a few episodes."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from g5.config.settings import load_transfer
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import FoundEvents
from g5.embeddings.vectors import VectorStore
from g5.web.journal import Journal, JournalEntry, clip_of
from preprocessing.annotations import write_events
from preprocessing.datasets.folders import DcaseData
from preprocessing.events import SPLITS
from tests.conftest import ROOT, run_g5, run_train
from tests.embeddings.model_files import small_tflite

# So that a script elsewhere finds this checkout.
HERE = {"PYTHONPATH": str(ROOT)}
SETS = {"train": "Training_Set", "val": "Validation_Set", "test": "Evaluation_Set"}
EPISODES = ("episodes_per_epoch=1", "val_episodes=1", "test_episodes=10")
CUTS = ("debug=fast", "logger=none", "arch.training.max_epochs=1")
CUTS += tuple(f"arch.episodes.{text}" for text in EPISODES)
SMALL = tuple(f"arch.episodes.{text}" for text in ("n_way=2", "k_shot=1", "n_query=1"))
SMALL += ("arch.model.channels=[8,16]",)
# Runs that a later command compares or goes on with, and one for each kind of data: of the others a
# test would be the same.
TESTED = ("exp_name=v1_comparison", "exp_name=v2_experiment_1", "-m", "--exp-name", "data=")
# Checked elsewhere: `make test` is what runs this, `make demo` is run by .ci/run, and
# `mlflow ui` has a test of its own below.
# Checked by tests/test_fetch.py, against a server on this machine.
FETCH = "g5 data fetch dcase2024 -o dcase2024"
# `make install` is the beginning of `make demo`; `make docs` is run by .ci/run.
MADE = ("make install", "make demo", "make test", "make docs", ". .venv/bin/activate")
ELSEWHERE = (*MADE, "mlflow ui --port 5000", FETCH)
# In the order in which a reader would type; what two pages say is typed once.
PAGES = (
    "README.md", "docs/quickstart.md", "docs/training.md", "docs/recordings.md",
    "docs/detecting.md", "docs/season.md", "docs/embeddings.md", "docs/own_encoder.md",
    "docs/dcase.md",
)  # fmt: skip
# Its servers and machines are not here.
NOT_HERE = ("docs/scale.md",)

ON_EMBEDDINGS = ("embed", "classify", "predict", "encoders", "import", "search", "cluster")
ON_EMBEDDINGS += ("map", "explain", "label", "verify", "summarise", "plan", "export")
# The page is driven by tests/test_label_browser.py; here it is one label in the journal.
LABEL = "g5 label birds.store --classes classes.txt"
# By tests/detection/review/test_review_browser.py; here it is one answer in the journal.
REVIEW = "g5 review found/"
BEST = "outputs/protonet_baseline/v2_run/checkpoints/best_checkpoint.ckpt"
DETECT = ("detect", BEST, "night.wav", "--support", "few.txt", "-o", "found/")


def commands() -> list[str]:
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [line.removeprefix(".venv/bin/") for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(filter(str.strip, lines)))


def test_pages_with_commands_are_all_read():
    with_commands = {
        str(page.relative_to(ROOT))
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        if "```sh" in page.read_text()
    }
    assert with_commands == {*PAGES, *NOT_HERE}


@pytest.fixture(scope="module")
def calls(tiny_home) -> pd.DataFrame:
    """The tiny set's calls, one row each, with their split."""
    folders = {f"{key}_dir": str(tiny_home / name) for key, name in SETS.items()}
    folders["eval_dir"] = folders.pop("val_dir")
    corpus = DcaseData(**folders, q_class="recording", anchor="centre", cache_dir=None).load()
    return pd.concat([corpus.split(split) for split in SPLITS])


@pytest.fixture
def workplace(place, calls, tiny_home) -> Path:
    """A directory with what the README's commands expect to find."""
    for name in SETS.values():
        (place / name).symlink_to(tiny_home / name)
    write_raven(place, calls)
    write_clips(place, calls)
    write_night(place, calls)
    write_truth(place, calls)
    write_labelled(place)
    (place / "sites.csv").write_text("recorder,site,lat,lon\nrecordings,Marsh,48.1,11.5\n")
    (place / "examples").symlink_to(ROOT / "examples")
    shutil.copy(ROOT / "examples" / "hello_world.py", place / "my_models.py")
    return place


def write_truth(place: Path, calls: pd.DataFrame) -> None:
    """A folder of ground truth, and predictions that are half of it."""
    test = calls.loc[calls["split"] == "test"]
    for file, rows in test.groupby("file"):
        write_events(rows, place / "ground_truth" / f"{Path(str(file)).stem}.csv", "csv")
    write_events(test.iloc[::2], place / "predictions.csv", "csv")


def write_labelled(place: Path) -> None:
    """Some of the clips as `recordings/`, with a table of their labels."""
    table = pd.read_csv(place / "clips.csv")
    most = table["label"].value_counts().index[:2]
    chosen = table[table["label"].isin(list(most))].groupby(["label", "source"]).head(4)
    (place / "recordings").mkdir(exist_ok=True)
    for file in chosen["file"]:
        (place / "recordings" / Path(file).name).symlink_to(place / file)
    names = [Path(file).name for file in chosen["file"]]
    chosen.assign(file=names)[["file", "label"]].to_csv(place / "labels.csv", index=False)
    (place / "classes.txt").write_text("\n".join(map(str, most)))
    vectors = [",".join(map(str, row)) for row in np.eye(len(names), 8)]
    birdnet = pd.DataFrame({"file": names, "start_s": 0.0, "end_s": 3.0, "embedding": vectors})
    birdnet.to_csv(place / "birdnet_embeddings.csv", index=False)


def write_raven(place: Path, calls: pd.DataFrame) -> None:
    for file, rows in calls.groupby("file"):
        folder = place / rows["split"].iloc[0]
        folder.mkdir(exist_ok=True)
        (folder / Path(str(file)).name).symlink_to(file)
        table = pd.DataFrame(
            {
                "Selection": range(1, len(rows) + 1),
                "Begin Time (s)": rows["start_s"].to_numpy(),
                "End Time (s)": rows["end_s"].to_numpy(),
                "Species": rows["label"].to_numpy(),
            }
        )
        table.to_csv(folder / f"{Path(str(file)).stem}.selections.txt", sep="\t", index=False)


def write_night(place: Path, calls: pd.DataFrame) -> None:
    """A recording, its calls as an Audacity track, and a folder with a library of them."""
    file = calls["file"].iloc[0]
    rows = calls[calls["file"] == file]
    (place / "night.wav").symlink_to(file)
    times = zip(rows["start_s"], rows["end_s"], strict=True)
    (place / "five_calls.txt").write_text("".join(f"{a}\t{b}\tcall\n" for a, b in times))
    (place / "recordings").mkdir(exist_ok=True)
    (place / "recordings" / "night.wav").symlink_to(file)
    library = rows.assign(file="night.wav")[["file", "start_s", "end_s", "label"]]
    library.to_csv(place / "library.csv", index=False)


def write_clips(place: Path, calls: pd.DataFrame) -> None:
    rows = []
    (place / "clips").mkdir()
    for number, call in enumerate(calls.to_dict("records")):
        samples, rate = soundfile.read(call["file"])
        name = f"clip_{number:04d}.wav"
        start, end = int(call["start_s"] * rate), int(call["end_s"] * rate)
        soundfile.write(place / "clips" / name, samples[start:end], rate)
        # Of a class alone: classes that share a source would stay in one fold.
        source = f"{Path(call['file']).stem}_{call['label']}"
        rows.append((f"clips/{name}", call["label"], source, call["split"]))
    table = pd.DataFrame(rows, columns=["file", "label", "source", "split"])
    table.to_csv(place / "clips.csv", index=False)


def run(command: str) -> None:
    words = shlex.split(command)
    cuts = list(CUTS)
    if not any(text in command for text in TESTED):
        cuts += ["test=false", *SMALL]
    if "data.fold=" in command:
        cuts.append("arch.episodes.n_way=3")
    if words[:2] in (["g5", "test"], ["g5", "shots"]):
        assert run_g5([*words[1:], "logger=none"]) == 0
    elif words[:2] == ["g5", "train"]:
        # What the user typed comes last, and wins.
        assert run_g5([*words[1:3], *cuts, *words[3:]]) == 0
    elif words[:2] == ["g5", "detect"]:
        if "birdnet" in words:  # which is not here
            small_tflite(Path("model.tflite"))
            words += ["encoder.path=model.tflite", "encoder.output=hidden"]
        assert run_g5([*words[1:], "detection.workers=1"]) == 0
    elif words[1] in ("evaluate", "compare", "clips", "convert") or words[:3] == [
        "g5",
        "data",
        "split",
    ]:
        assert run_g5(words[1:]) == 0
    elif words[:3] == ["g5", "data", "when"]:
        assert run_g5(words[1:]) == 1  # the world's recordings have no dates
        table = pd.read_csv("times.csv", dtype=str)
        night = table["file"].str.endswith("night.wav")
        dated = table.assign(start="2024-05-31 22:00:00+02:00").loc[night, ["file", "start"]]
        dated.to_csv("times.csv", index=False)
    elif words[:2] == ["g5", "data"]:
        assert run_g5([*words[1:3], *CUTS[:1], *words[3:]]) == 0
    elif words[:2] == ["g5", "finetune"]:
        assert run_g5([*words[1:], "finetune.epochs=2", "logger=none"]) == 0
    elif command == REVIEW:
        # Shots are no finds, and all calls of the night were shots: with fewer there are others.
        rows = Path("five_calls.txt").read_text().splitlines(keepends=True)
        Path("few.txt").write_text("".join(rows[:3]))
        assert run_g5([*DETECT, "detection.threshold=0.01", "detection.pictures=false"]) == 0
        found = FoundEvents.read(Path("found"))
        review = ReviewSession(found, load_transfer(reads=()).review)
        if len(found.events) > 1:  # one is left for the page that is mailed
            review.answer("t", 0, "label", found.labels[0], id="1", seconds=1, by="sample")
    elif words[1:2] == ["review"]:
        assert run_g5(words[1:]) == 0
    elif command == LABEL:
        one = VectorStore.open("birds.store").index.iloc[0]
        clip = clip_of(one["file"], one["start_s"], one["end_s"])
        Journal(Path("birds.store")).add(JournalEntry("1", clip, "label", "call", 1.0))
    elif "--simulate" in words:
        assert run_g5([*words[1:], "simulate.first=4", "simulate.step=4", "simulate.seeds=2"]) == 0
    elif words[0] == "g5" and words[1] in ON_EMBEDDINGS:
        assert run_g5(words[1:]) == 0
    elif words[0] == "g5":
        assert run_g5([*words[1:], *CUTS[:1]]) == 0
    elif words == ["python", "examples/hello_world.py"]:
        subprocess.run([sys.executable, *words[1:]], check=True, env={**os.environ, **HERE})
    else:
        assert words[:2] == ["python", "archs/train.py"], command
        is_test = "train=false" in words
        run_train([*words[2:], "logger=none"] if is_test else [*cuts, *words[2:]])


@pytest.mark.timeout(1800)
def test_every_command_of_the_readme_and_the_pages_runs(workplace):
    """In order, in one directory, as a reader would."""
    run_train([*CUTS, "arch=v2", "exp_name=v2_run"])
    checkpoints = workplace / "outputs" / "protonet_baseline" / "v2_run" / "checkpoints"
    shutil.copy(checkpoints / "last.ckpt", checkpoints / "epoch_050_val_acc_0.5000.ckpt")
    done = 0
    for command in commands():
        if command not in ELSEWHERE:
            run(command)
            done += 1
    assert done > 20


def test_the_owners_commands_are_in_the_documentation():
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    for command in (
        "python archs/train.py arch=v2",
        "g5 train v2",
        "python archs/train.py arch=v2 train=false test=true arch.training.load_weight_from="
        "outputs/protonet_baseline/v2_run/checkpoints/epoch_050.ckpt",
        "python archs/train.py arch=v2 arch.training.learning_rate=0.0005",
        "python archs/train.py arch=v2 arch.training.gradient_clip_val=0.5",
        "python archs/train.py arch=v2 arch.augmentation.time_mask_pct=0.2 "
        "arch.augmentation.freq_mask_pct=0.2",
        "python archs/train.py arch=v2 arch.model.channels=[128,256,512,1024]",
        "python archs/train.py arch=v2 arch.model.dropout=0.2",
        "python archs/train.py arch=v2 arch.training.max_epochs=100",
        "python archs/train.py arch=v2 exp_name=v2_experiment_1",
        "python archs/train.py arch=v1 exp_name=v1_comparison",
        "mlflow ui --port 5000",
    ):
        assert f"\n{command}\n" in text


def test_links_of_the_readme_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert link.startswith("http") or (ROOT / link).exists(), link


@pytest.mark.slow
def test_a_bare_mlflow_ui_shows_the_runs(place):
    run_train(["arch=v1", "debug=fast", "test=false", "arch.training.max_epochs=1"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mlflow = Path(sys.executable).with_name("mlflow")
    server = subprocess.Popen([str(mlflow), "ui", "--port", str(port)], cwd=place)
    try:
        url = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=10"
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None
            assert time.monotonic() < deadline
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    found = json.load(answer)
                break
            except OSError:
                time.sleep(0.5)
        assert "debug" in [e["name"] for e in found["experiments"]]
    finally:
        server.terminate()
        server.wait()
