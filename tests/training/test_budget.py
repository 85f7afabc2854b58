"""How long a training may take: budgets, and the question before one of hours."""

import pytest

from g5.common.errors import UserError
from g5.config.choices import choices
from g5.config.settings import load
from g5.runs import train
from g5.training import estimate as estimates
from g5.training.estimate import Estimate

FAST = ["arch=v1", "debug=fast", "logger=none", "test=false"]


def test_budgets_grow_and_their_schedules_follow():
    assert set(choices("budget")) == {"minutes", "evening", "night", "gpu"}
    sizes = []
    for name in ("minutes", "evening", "night"):
        arch = load([f"budget={name}"]).arch
        sizes.append(arch.training.max_epochs * arch.episodes.episodes_per_epoch)
        assert 2 <= arch.training.max_epochs // arch.training.scheduler_step_size <= 5
    assert sizes == sorted(sizes)
    assert sizes[-1] < load().arch.training.max_epochs * load().arch.episodes.episodes_per_epoch
    assert load(["budget=gpu"]).trainer.accelerator == "gpu"


@pytest.mark.parametrize(("answer", "trains"), [("", False), ("n", False), ("y", True)])
def test_hours_are_asked_for_before_anything_is_moved(answer, trains, place, monkeypatch):
    guesses = []

    def long(*_, **__) -> Estimate:
        guesses.append(1)
        return Estimate(7200.0, "time      about 2 h")

    monkeypatch.setattr(train, "estimate", long)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    folder = place / "outputs" / "protonet_baseline" / "v1_debug"
    if trains:
        train.run(load(FAST), ask=True)
        assert (folder / "history.csv").exists()
        guesses.clear()
        # Who goes on is not asked, and what is finished is not trained.
        train.run(load([*FAST, "resume=true"]), ask=True)
        assert guesses == []
    else:
        with pytest.raises(UserError, match="budget=evening"):
            train.run(load(FAST), ask=True)
        assert not folder.exists()


def test_a_test_takes_as_long_as_what_it_tests(place, monkeypatch):
    monkeypatch.setattr(estimates, "seconds_per_episode", lambda *_: 0.3)
    monkeypatch.setattr(estimates, "seconds_per_answer", lambda *_: 0.002)
    told, real = [], estimates.estimate

    def several(settings, *parts, test_clips, **how) -> Estimate:
        assert test_clips > 0
        told.extend(real(settings, *parts, test_clips=n, **how).seconds for n in (0, 70, 1070))
        raise UserError("enough")

    monkeypatch.setattr(train, "estimate", several)
    with pytest.raises(UserError, match="enough"):
        train.run(load([*FAST, "test=true"]))
    trained, small, large = told
    assert 5 < small - trained < 10  # 20 episodes of 70 clips, on one core
    a_clip = 0.3 / 20 / 3  # of the 20 of an episode's step, forward alone
    assert large - small == pytest.approx(1000 * (a_clip + estimates.CLIP_S))


def test_a_short_training_is_not_asked_for(place, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked"))
    train.run(load([*FAST, "arch.training.max_epochs=1"]), ask=True)


def test_a_tested_run_is_told_and_not_tested_again(place, monkeypatch, capsys):
    settings = load([*FAST, "test=true", "resume=true"])
    first = train.run(settings)
    assert first is not None
    capsys.readouterr()
    monkeypatch.setattr(train, "report_test", lambda _: pytest.fail("tested again"))
    assert train.run(settings) is None
    assert f"accuracy {first.interval.mean:.1%}" in capsys.readouterr().out
