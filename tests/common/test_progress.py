"""Progress where there is no terminal, and bars in a narrow one."""

import time

from g5.common import progress
from g5.common.progress import track
from g5.tracking.callbacks import bar_metrics


def test_redirected_output_shows_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_S", 0.01)
    for _ in track(range(3), total=3, label="features", unit="recordings"):
        time.sleep(0.02)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" recordings")[0] for line in lines] == [
        "features: 1 of 3", "features: 2 of 3",
    ]  # fmt: skip
    assert all("s left" in line for line in lines)
    assert list(track([], total=0, label="none", unit="files")) == []


def test_a_bar_shows_loss_and_accuracy_alone():
    metrics = {"v_num": 3, "train/step_loss": 0.5, "train/acc_epoch": 0.1, "val/acc": 0.4}
    assert bar_metrics(metrics) == {"train/step_loss": 0.5, "val/acc": 0.4}
