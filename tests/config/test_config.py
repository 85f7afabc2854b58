"""The configuration: composition, schema, and one-line errors that name the key."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest

from g5.common.errors import UserError
from g5.config.build import build, locate
from g5.config.check import Count, Positive, Range, check_value
from g5.config.choices import choices
from g5.config.compose import composed, readable, resolve
from g5.config.earlier import updated
from g5.config.node import Node
from g5.config.settings import Settings, checked, load, load_node, load_transfer
from g5.config.stored import classes_named, overridden


def config(*overrides: str) -> dict:
    return resolve(composed(overrides))


def on_checkpoint(*given: Any) -> dict:
    return overridden(*given).plain()


@pytest.mark.parametrize("group", ["arch", "data", "features", "trainer", "logger", "debug"])
def test_every_choice_of_every_group_is_valid(group):
    for choice in choices(group):
        checked(config(f"{group}={choice}"))


def test_every_experiment_is_valid():
    for choice in choices("experiment"):
        checked(config(f"experiment={choice}"))


def test_the_owners_defaults():
    plain = config()
    assert plain["arch"]["name"] == "v2"
    assert (plain["train"], plain["test"], plain["resume"], plain["deterministic"]) == (
        True, True, False, False,
    )  # fmt: skip
    assert (plain["seed"], plain["name"], plain["exp_name"]) == (
        1234,
        "protonet_baseline",
        "v2_run",
    )
    features = {key: plain["features"][key] for key in ("sr", "n_fft", "hop_mel", "n_mels")}
    assert features == {"sr": 22050, "n_fft": 1024, "hop_mel": 256, "n_mels": 128}
    bounds = [plain["features"][key] for key in ("fmin", "fmax", "clip_s")]
    assert bounds == [50, 11025, 1.0]
    episodes = plain["arch"]["episodes"]
    assert [episodes[key] for key in ("n_way", "k_shot", "n_query")] == [10, 5, 5]
    counts = [episodes[key] for key in ("episodes_per_epoch", "val_episodes", "test_episodes")]
    assert counts == [2000, 200, 1000]
    training = plain["arch"]["training"]
    assert [training[key] for key in ("learning_rate", "weight_decay", "max_epochs")] == [
        1e-3, 1e-4, 50,
    ]  # fmt: skip
    assert config("arch=v1")["exp_name"] == "v1_run"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("arch.training.learning_rat=1", "did you mean arch.training.learning_rate?"),
        ("arch.modle.dropout=0.2", "did you mean arch.model?"),
        ("datta=clips", "did you mean data?"),
        ("arch=v9", "arch: there is no v9; choose one of v1, v2"),
        ("+arch.model.colour=red", "arch.model.colour: there is no such key"),
        ("+colour=red", "colour: there is no such key"),
        ("arch.training.max_epochs=ten", "arch.training.max_epochs: must be a whole number"),
        ("arch.training.max_epochs=0", "arch.training.max_epochs: must be at least 1"),
        ("arch.training.learning_rate=-1", "arch.training.learning_rate: must be above 0"),
        ("arch.training.learning_rate=nan", "arch.training.learning_rate: must be above 0"),
        ("arch.training.learning_rate=inf", "arch.training.learning_rate: must be a finite"),
        (
            "arch.training.optimizer=adan",
            "arch.training.optimizer: must be one of adam, adamw, sgd",
        ),
        ("arch.model.channels=32", "arch.model.channels: must be a list"),
        ("arch.model.channels={a:1}", "arch.model.channels: must be a list, not {a:1}"),
        ("arch.model=[1]", "arch.model: must be a group of keys, not [1]"),
        ("arch.model.channels=[32,x]", "arch.model.channels: must be a list"),
        ("arch.episodes.n_way=1", "arch.episodes.n_way: must be at least 2"),
        ("arch.training.label_smoothing=1", "arch.training.label_smoothing: must be below 1"),
        ("train=maybe", "train: must be true or false"),
        ("features.clip_s=1000", "features.clip_s: must be at most 600"),
        ("features.clip=long", "features.clip: must be one of fixed, adaptive"),
        ("arch.model._target_=os.system", "arch.model._target_"),
        ("arch.model._target_=nowhere.Net", "arch.model._target_: there is no module nowhere"),
        ("seed=-1", "seed: must be at least 0"),
        ("trainer.precision=64-true", "trainer.precision: must be one of"),
        ("arch.model.channels=[", "cannot read the override"),
    ],
)
def test_a_wrong_key_or_value_is_one_line_that_names_it(override, words):
    with pytest.raises(UserError) as error:
        checked(config(override))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_modes_that_contradict_each_other():
    with pytest.raises(UserError, match="nothing to do"):
        checked(config("train=false", "test=false"))
    with pytest.raises(UserError, match="load_weight_from"):
        checked(config("train=false"))


class Thing:
    """Something YAML could name."""

    def __init__(self, *, size: Count, rate: Positive, mode: Literal["a", "b"], many: list[int]):
        self.given = (size, rate, mode, many)


NODE = {"_target_": f"{__name__}.Thing", "size": 1, "rate": 1, "mode": "a", "many": [1]}


def test_build_checks_the_signature():
    assert build(Node.of(NODE), expect=Thing, where="x").given == (1, 1, "a", [1])
    for change, words in [
        ({"size": 0}, "x.size: must be at least 1"),
        ({"size": True}, "x.size: must be a whole number"),
        ({"rate": "fast"}, "x.rate: must be a number"),
        ({"mode": "c"}, "x.mode: must be one of a, b"),
        ({"many": [1.5]}, "x.many: must be a list"),
        ({"sise": 1}, "x.sise: there is no such key; did you mean x.size"),
    ]:
        with pytest.raises(UserError) as error:
            build(Node.of(NODE | change), expect=Thing, where="x")
        assert words in str(error.value)
    with pytest.raises(UserError, match=r"x\.size: missing"):
        build(Node.of({k: v for k, v in NODE.items() if k != "size"}), expect=Thing, where="x")


def test_build_refuses_what_is_not_the_expected_kind():
    """A checkpoint's configuration names classes; a stranger's must not name any callable."""
    with pytest.raises(UserError, match="is not a Thing"):
        build(Node("subprocess.Popen", {"args": "true"}), expect=Thing, where="x")


def test_settings_are_objects_and_go_back_to_the_same_mapping():
    settings = load(["arch=v1", "arch.augmentation=null", "features=pcen", "path.root_dir=."])
    assert settings.arch.episodes.n_way == 10
    assert settings.arch.augmentation is None
    assert settings.features.front_end.target == "preprocessing.frontend.PCEN"
    assert settings.features.front_end.values["n_mels"] == 128
    assert "clip_s" not in settings.features.front_end.values
    assert settings.path.root == Path.cwd()
    stored = config("arch=v1", "features=pcen")
    assert settings.plain() == stored
    assert Settings.from_plain(stored) == settings
    wider = settings.but({"arch.model.channels": [8, 8], "exp_name": "narrow"})
    assert wider.arch.model.values["channels"] == [8, 8]
    assert (wider.exp_name, settings.exp_name) == ("narrow", "v1_run")


def test_a_command_refuses_overrides_of_what_it_does_not_read():
    settings = load_transfer(["embed.hop_s=0.5", "encoder.sr=8000"], reads=("encoder", "embed"))
    assert (settings.embed.hop_s, settings.classify.folds) == (0.5, 5)
    with pytest.raises(UserError, match=r"this command reads embed\.\*"):
        load_transfer(["head.C=1"], reads=("embed",))
    with pytest.raises(UserError, match="write key=value"):
        load_transfer(["fast"], reads=("embed",))
    with pytest.raises(UserError, match=r"did you mean embed\.hop_s"):
        load_transfer(["embed.hop=1"], reads=("embed",))
    with pytest.raises(UserError, match=r"embed\.hop_s: must be at least 0.001"):
        load_transfer(["embed.hop_s=-1"], reads=("embed",))
    with pytest.raises(UserError, match=r"this command reads detection\.\*"):
        load(["arch.model.dropout=1"], reads=("detection",))


def test_a_node_of_its_own():
    node = load_node("encoder", "mel_cnn", ["encoder.sr=8000", "embed.hop_s=1"])
    assert node.values["front_end"]["sr"] == 8000
    said = {"sr": 1, "window_s": 2.0}
    node = load_node("encoder", "onnx", ["encoder.sr=3", "encoder.path=Tür (1).onnx"], beside=said)
    assert [node.values[key] for key in ("sr", "window_s", "path")] == [3, 2.0, "Tür (1).onnx"]
    assert load_node("encoder", "custom", ["encoder.width=8"], free=True).values["width"] == 8
    for free in (["encoder.width=8"], ["head.C=1"]):
        group = free[0].partition(".")[0]
        name = {"encoder": "mel_cnn", "head": "knn"}[group]
        with pytest.raises(UserError, match="no such key"):
            load_node(group, name, free)
    with pytest.raises(UserError, match="head: there is no tre; choose one of"):
        load_node("head", "tre")


def test_nothing_of_a_class_that_a_file_names_is_imported(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    stored = config("arch=v1")
    stored["arch"]["model"]["_target_"] = "stranger.Net"
    settings = on_stored(stored)
    with pytest.raises(UserError, match=r"say arch\.model\._target_=stranger\.Net"):
        build(settings.arch.model, expect=Thing, where="arch.model")
    (tmp_path / "stranger.py").write_text("class Net:\n    pass\n")
    named = on_stored(stored, "arch.model._target_=stranger.Net")
    with pytest.raises(UserError, match="is not a Thing"):
        build(named.arch.model, expect=Thing, where="arch.model")
    with pytest.raises(UserError, match="fixed by the checkpoint"):
        on_stored(stored, "arch.model._target_=stranger.Other")
    assert classes_named(["a.b._target_=x.Y", "seed=1"]) == ["x.Y"]


def on_stored(stored: dict, *overrides: str) -> Settings:
    return overridden(stored, list(overrides), {})


def test_a_stored_text_reads_no_environment(monkeypatch):
    monkeypatch.setenv("G5_SECRET", "secret")
    for text in ("${oc.env:G5_SECRET}", "\\${oc.env:G5_SECRET}", "a\\\\${seed}"):
        assert on_stored(config() | {"name": text}).name == text


def test_a_stored_configuration_says_not_where_anything_is_written_or_sent(tmp_path):
    stored = config("data=dcase", "path.test_dir=calls", "path.root_dir=/theirs", "trainer=gpu")
    stored["logger"]["tracking_uri"] = "http://theirs/"
    settings = on_stored(stored)
    ours = config("data=dcase", "path.test_dir=calls")
    assert settings.plain() == ours
    moved = overridden(stored, [], {}, root=str(tmp_path))
    assert (moved.path.root, moved.data.values["test_dir"]) == (tmp_path, "calls")
    assert moved.data.values["cache_dir"] == f"{tmp_path}/outputs/store"
    said = on_stored(stored, "path.root_dir=here", "logger.tracking_uri=http://ours/")
    assert said.data.values["cache_dir"] == "here/outputs/store"
    assert said.logger.tracking_uri == "http://ours/"
    made = on_stored(config("path.train_dir=/theirs", "path.root_dir=/theirs"))
    assert made.plain() == config(), "invented recordings are written where they are not yet"


def test_what_is_stored_holds_no_password():
    settings = load(["arch=v1", "logger.tracking_uri=http://bob:hunter2@host:1/"])
    assert settings.logger.tracking_uri == "http://bob:hunter2@host:1/"
    assert settings.plain()["logger"]["tracking_uri"] == "http://host:1/"


def test_unions_and_ranges():
    check_value("auto", Count | Literal["auto"], "k")
    check_value(3, Count | Literal["auto"], "k")
    with pytest.raises(UserError, match="at least 1"):
        check_value(0, Count | Literal["auto"], "k")
    check_value(None, int | None, "k")
    with pytest.raises(UserError):
        check_value("x", Optional[Annotated[float, Range(at_most=1)]], "k")  # noqa: UP045


def test_a_checkpoint_fixes_its_model_and_front_end():
    stored = config("arch=v1")
    changed = on_checkpoint(stored, ["arch.episodes.n_way=5", "data=clips", "data.split=test"], {})
    assert changed["arch"]["episodes"]["n_way"] == 5
    assert changed["data"]["_target_"].endswith("ClipsData")
    assert changed["data"]["split"] == "test"
    assert changed["arch"]["model"] == stored["arch"]["model"]
    assert on_checkpoint(stored, ["features.clip_s=2.0"], {})["features"]["clip_s"] == 2.0
    moved = on_checkpoint(stored, ["data=clips", "path.train_dir=a.csv"], {})
    assert moved["data"]["root"] == "a.csv"
    moved = on_checkpoint(stored, [], {"path.test_dir": "a=[b]"})
    assert moved["data"]["test_dir"] == moved["path"]["test_dir"] == "a=[b]"
    moved = on_checkpoint(stored, ["path.test_dir=Frühling [1]"], {})
    assert moved["data"]["test_dir"] == "Frühling [1]"
    for override in (
        "arch=v2", "arch.model.dropout=0.5", "arch.augmentation=null",
        "arch.training.learning_rate=1", "arch.training.load_weight_from=x",
        "features.n_mels=64", "features=pcen",
    ):  # fmt: skip
        with pytest.raises(UserError, match=f"{override.split('=')[0]}: fixed by the checkpoint"):
            on_checkpoint(stored, [override], {})
    older = config("arch=v1")
    del older["arch"]["training"]["momentum"], older["arch"]["episodes"]["fixed"]
    older["detection"]["adapt"], older["detection"]["adapt_steps"] = "none", 100
    for key in ("gate", "threshold", "look"):
        del older["detection"][key]
    del older["data"]["wind"], older["logger"]
    today = on_checkpoint(updated(older), [], {})
    assert today == stored, "what an older g5 had not got is as by default"
    for override in ("train=true", "resume=true", "debug=fast"):
        with pytest.raises(UserError, match=f"{override.split('=')[0]}: for training runs"):
            on_checkpoint(stored, [override], {})
    for typo in ("arch.episodes.n_wy=5", "arch.episods.n_way=5"):
        with pytest.raises(UserError, match=r"did you mean arch\.episodes"):
            on_checkpoint(stored, [typo], {})


@pytest.mark.parametrize(
    "text", ["Frühling", "vä [x]=1", "~/it's", "2024", "a & b #1", "[1]", "true", 'say "ü"']
)
def test_names_and_paths_need_no_quotes(text):
    plain = config(f"path.train_dir={text}", f"exp_name={text}", "data=clips")
    assert plain["path"]["train_dir"] == plain["data"]["root"] == plain["exp_name"] == text


def test_what_is_more_than_a_name_keeps_its_meaning():
    plain = ["path.eval_dir=null", "path.test_dir='a,b'", "exp_name=${name}", "seed=1,2", "-m"]
    assert readable(plain) == plain
    sweep = ["exp_name=a,b", "path.train_dir=choice(x,y)"]
    assert readable(sweep) == sweep


def test_a_module_that_fails_while_it_is_imported_is_said(tmp_path, monkeypatch):
    (tmp_path / "broken_net.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = "arch.model._target_: importing broken_net fails: ZeroDivisionError: division by zero"
    with pytest.raises(UserError, match=words):
        locate("broken_net.Net", "arch.model")


def test_a_key_below_a_value_names_the_key_that_was_meant():
    with pytest.raises(UserError, match=r"test is a value, .*did you mean arch.episodes.k_shot"):
        load(["test.k_shot=2"])


def test_values_that_a_constructor_cannot_do_with_are_named():
    node = Node("archs.encoders.handcrafted.Handcrafted", {"sr": 0, "n_mfcc": 3})
    with pytest.raises(UserError, match=r"encoder: cannot be made with these values \(ZeroDiv"):
        build(node, expect=object, where="encoder")
