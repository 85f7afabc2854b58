"""The learned distance in closed form, at the end of every epoch."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from archs.metrics import MahalanobisMap
from g5.config.parts import data_of, feature_set_of
from g5.tracking.restore import restore
from g5.training import metric
from g5.training.metric import MetricClips


def test_an_epoch_ends_with_the_map_of_training_clips(short_run, tiny_set, monkeypatch):
    """As a test hears them, by the weights of that moment."""
    run = restore(short_run("v2") / "checkpoints" / "last.ckpt")
    monkeypatch.chdir(tiny_set)
    learned, settings = run.model.metric, run.settings
    assert isinstance(learned, MahalanobisMap)
    feature_set = feature_set_of(settings, data_of(settings).load(), run.front_end)
    clips = MetricClips(
        feature_set.corpus.split("train"), feature_set.reader("train"),
        batch_size=settings.arch.episodes.clips, seed=settings.seed,
    )  # fmt: skip
    expected = MahalanobisMap(len(learned.diagonal_D), len(learned.down_RD), learned.shrink)
    with torch.inference_mode():
        parts = clips.embedded(run.model, run.normalize, torch.device("cpu"))
        z_XD, class_X = map(torch.cat, zip(*parts, strict=True))
    expected.fit(z_XD, class_X)
    torch.testing.assert_close(learned(z_XD), expected(z_XD), rtol=1e-3, atol=1e-3)
    assert (learned(z_XD) - z_XD).abs().max() > 0.1


@pytest.mark.parametrize(
    ("counts", "of_a_class"),
    [([40, 3, 40], [3, 10, 10]), ([40] * 20, [5] * 6)],
    ids=["few classes", "more classes than clips allow"],
)
def test_classes_count_alike(monkeypatch, counts: list[int], of_a_class: list[int]):
    monkeypatch.setattr(metric, "CLIPS", 30)
    class_E = np.repeat(np.arange(len(counts)), counts)
    reader: Any = None
    clips = MetricClips(pd.DataFrame({"class_id": class_E}), reader, batch_size=7, seed=0)
    rows = np.concatenate([rows for rows, _ in clips.batches])
    assert len(set(rows)) == len(rows)
    found = np.bincount(class_E[rows])
    assert sorted(found[found > 0]) == of_a_class
    assert [len(rows) for rows, _ in clips.batches][:-1] == [7] * (len(clips.batches) - 1)
