"""The report, the model card and the mistakes of a test."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
import yaml
from torch import nn

from g5.config.settings import load
from g5.evaluation.episodes.mistakes import OF_A_PAIR, confident_mistakes
from g5.evaluation.episodes.scoring import embed_plan, evaluate_episodes
from g5.evaluation.report.about import About, class_table
from g5.evaluation.report.gallery import draw_test
from g5.evaluation.report.model_card import write_model_card
from g5.evaluation.report.report import write_report
from g5.tracking.restore import Restored
from g5.web.page import PAGE_MB, Budget
from tests.conftest import drawn
from tests.evaluation.test_figures import good
from tests.evaluation.test_protocol import N_MELS, NONE, World, make_model
from tests.web.test_page import parsed

NAMES = ["Mönchsgrasmücke, Gesang <laut>", "Phylloscopus trochiloides viridanus | 'song'", "Uhu"]


def named(world, root):
    """The same world with long names, and a sound file for every recording."""
    rng = np.random.default_rng(0)
    corpus = world.corpus
    classes = sorted(corpus.events["label"].unique())
    names = {label: f"{NAMES[i % 3]} {i}" for i, label in enumerate(classes)}
    first = root / "sound.wav"
    soundfile.write(first, 0.1 * rng.normal(size=16_000 * 9), 16_000)
    for file in corpus.recordings["file"]:
        (root / file.rsplit("/", 1)[-1]).symlink_to(first)
    events = corpus.events.replace({"label": names})
    world.corpus = replace(corpus, events=events)
    return world


def about_of(world, model, root, **changes):
    """What `g5.runs.test` says of a checkpoint."""
    settings = load(["data=clips", "seed=1"]).but(
        {
            "path.train_dir": "/somewhere/clips.csv",
            "arch.name": "v9",
            "arch.training.max_epochs": 5,
            "arch.training.optimizer": "adam",
            "arch.episodes.episodes_per_epoch": 1000,
            "arch.episodes.n_way": 4,
            "arch.episodes.k_shot": 3,
        }
    )
    header = {
        "front_end": {"_target_": "preprocessing.frontend.LogMel", "n_mels": N_MELS, "fmin": 50,
                      "fmax": 8000, "sr": 16_000},
        "data_hash": world.corpus.data_hash, "g5_version": "1", "git_revision": None,
    }  # fmt: skip
    labels = {split: world.corpus.labels(split) for split in ("train", "val", "test")}
    front_end = nn.Module()
    front_end.sr = 16_000  # type: ignore[assignment]
    restored = Restored(
        model, front_end, NONE, settings.plain(), labels, header | changes, root / "best.ckpt"  # type: ignore[arg-type]
    )  # fmt: skip
    return About("v9_run", restored, settings, world.corpus, "g5 test best.ckpt")


@pytest.fixture(scope="module", autouse=True)
def drawn_figures(quick_figures):
    with drawn(quick_figures):
        yield


@pytest.fixture(scope="module")
def figures(tested, tmp_path_factory):
    """Drawn once: only the pages around them differ."""
    _, result, about = tested
    folder = tmp_path_factory.mktemp("figures")
    return draw_test(result, about.events(result), folder, history=good(20))


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """A small world with sounds, its result, and what is known of it."""
    root = tmp_path_factory.mktemp("sounds")
    world = named(World(root=str(root), noise=9.0), root)
    model = make_model()
    return world, world.test(model), about_of(world, model, root)


def test_report_says_and_shows_everything(tested, figures, tmp_path):
    _, result, about = tested
    path = write_report(tmp_path / "report.html", result, about, figures)
    content = path.read_text("utf-8")
    seen = parsed(content)
    for words in (
        "v9_run", "4-way 3-shot", f"{result.interval.mean:.1%}", "chance", "raw features",
        "support and query disjoint", "Mönchsgrasmücke, Gesang <laut>",
        "g5 test best.ckpt", "clips.csv (ClipsData)", result.protocol.episodes_hash,
        "only 30 episodes", "taken for",
    ):  # fmt: skip
        assert words in seen.text
    kinds = [tag for tag, _ in seen.tags]
    calls = [3 if mistake.elsewhere_row is not None else 2 for mistake in result.mistakes]
    assert kinds.count("audio") == sum(calls) > 4
    assert "of another recording" in seen.text
    assert kinds.count("img") == kinds.count("audio") + len(figures)
    assert set(figures) == {
        "training", "per_class", "confusion", "reliability", "confidence", "embeddings_pca",
        "embeddings_tsne",
    } | {name for name in figures if name == "embeddings_umap"}  # fmt: skip
    assert not re.search(r"(src|href)=\"(?!data:)", content)


def test_a_recording_that_is_gone_costs_its_own_tile_only(tested, figures, tmp_path):
    world, result, about = tested
    row = result.mistakes[0].row
    events = about.events(result)
    gone = events["file"].tolist()[row]
    lost = world.corpus.events.assign(
        file=world.corpus.events["file"].replace({gone: gone + ".gone"})
    )
    recordings = world.corpus.recordings.assign(
        file=world.corpus.recordings["file"].replace({gone: gone + ".gone"})
    )
    corpus = replace(world.corpus, events=lost, recordings=recordings)
    about = replace(about, corpus=corpus)
    path = write_report(tmp_path / "report.html", result, about, figures)
    seen = parsed(path.read_text("utf-8"))
    assert "there is no such file" in seen.text
    assert len([tag for tag, _ in seen.tags if tag == "audio"]) >= 2


def test_a_page_that_would_grow_heavy_leaves_things_out(tested, figures, tmp_path, monkeypatch):
    _, result, about = tested
    monkeypatch.setattr(Budget, "__init__", lambda self: setattr(self, "left", 300_000))
    path = write_report(tmp_path / "report.html", result, about, figures)
    assert path.stat().st_size < 0.4e6
    assert "to keep this page light" in path.read_text("utf-8")


def test_no_mistakes_are_told(figures, tmp_path):
    world = named(World(root=str(tmp_path), noise=0.0), tmp_path)
    model = make_model()
    result = world.test(model)
    assert result.mistakes == ()
    about = about_of(world, model, tmp_path)
    path = write_report(tmp_path / "report.html", result, about, figures)
    assert "There were none." in path.read_text("utf-8")


def test_report_of_a_hundred_classes_is_light_and_quick(tmp_path):
    world = named(World(root=str(tmp_path), noise=6.0, classes=(4, 100), calls=3), tmp_path)
    model = make_model()
    result = world.test(model, n_way=10, n_query=3, episodes=300)
    start = time.process_time()
    about = about_of(world, model, tmp_path)
    figures = draw_test(result, about.events(result), tmp_path / "figures", history=good(50))
    path = write_report(tmp_path / "report.html", result, about, figures)
    assert time.process_time() - start < 60
    assert path.stat().st_size < 1e6 * PAGE_MB
    assert len(class_table(result)) == 100
    content = path.read_text("utf-8")
    assert "to keep this page light" not in content
    assert all(figure.path.exists() for figure in figures.values())


def test_model_card_has_front_matter_and_every_section(tested, tmp_path):
    _, result, about = tested
    text = write_model_card(tmp_path / "MODEL_CARD.md", result, about).read_text("utf-8")
    _, front, body = text.split("---\n", 2)
    front = yaml.safe_load(front)
    (entry,) = front["model-index"]
    accuracy = entry["results"][0]["metrics"][0]
    assert accuracy["value"] == pytest.approx(result.interval.mean, abs=1e-4)
    assert front["library_name"] == "g5"
    headings = re.findall(r"^## (.*)$", body, re.MULTILINE)
    assert headings == [
        "Numbers", "Data", "Protocol", "Intended use", "Limits", "How to use it", "Origin",
    ]  # fmt: skip
    # A name can neither end its cell nor become markup.
    assert r"viridanus \| 'song'" in body
    assert r"Gesang \<laut>" in body
    assert "nan" not in body.lower().split()


def test_a_test_on_other_data_says_so(tested, figures, tmp_path):
    world, result, about = tested
    other = about_of(world, about.restored.model, tmp_path, data_hash="0" * 16)
    path = write_report(tmp_path / "report.html", result, other, figures)
    assert "tested on other data" in path.read_text("utf-8")


# --- mistakes ---------------------------------------------------------------------------------


def test_mistakes_are_the_most_confident_wrong_answers_beside_what_misled_them():
    world = World(noise=9.0)
    plan, reader = world.plan(40)
    model = make_model()
    z_PD = embed_plan(model, NONE, plan, reader, batch_size=16, device=torch.device("cpu"))
    labels = world.corpus.labels("test")
    scores = evaluate_episodes(model, z_PD, plan, labels)
    events = world.corpus.split("test")
    found = confident_mistakes(scores, plan, z_PD, events, most=20)
    label_R, source_R = events["label"].tolist(), events["source"].tolist()
    wrong = scores.probability_A[~scores.hit_A]
    assert found[0].probability == pytest.approx(wrong.max())
    assert [m.probability for m in found] == sorted((m.probability for m in found), reverse=True)
    assert len({m.row for m in found}) == len(found)
    pairs = [(m.label, m.predicted) for m in found]
    assert max(map(pairs.count, pairs)) <= OF_A_PAIR
    place = dict(zip(plan.rows.tolist(), range(len(plan.rows)), strict=True))
    for mistake in found:
        assert mistake.label != mistake.predicted
        assert label_R[mistake.row] == mistake.label
        assert label_R[mistake.support_row] == mistake.predicted
        episode = plan.episodes[mistake.episode]
        way = [labels[i] for i in episode.class_ids.tolist()].index(mistake.predicted)
        support = plan.rows[episode.support[way]].tolist()
        gaps = [float((z_PD[place[r]] - z_PD[place[mistake.row]]).norm()) for r in support]
        assert mistake.support_row == support[int(np.argmin(gaps))]
        away = [
            (float((z_PD[place[r]] - z_PD[place[mistake.row]]).norm()), r)
            for r in place
            if label_R[r] == mistake.predicted and source_R[r] != source_R[mistake.row]
        ]
        assert min(away)[1] == (mistake.elsewhere_row or mistake.support_row)


def test_budget_counts_what_base64_takes():
    assert not Budget(1e-6).take(b"x")
