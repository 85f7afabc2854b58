"""Which marked calls are used, and what counts as something else."""

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.detection.support import free, targets_of
from tests.detection.soundscapes import opened


def test_what_is_free_between_marks():
    assert free(np.array([[2, 4], [6, 7]]), 1, 10) == [(1, 1.5), (4.5, 5.75), (7.25, 10)]
    assert free(np.zeros((0, 2)), 0, 3) == [(0, 3)]
    assert free(np.array([[0, 5]]), 1, 4) == []


def table(rows, label="up") -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["start_s", "end_s"])
    return frame.assign(file="night", label=label, status="POS")


def test_shots_outside_the_recording_are_told_and_left_out(night, tmp_path):
    sound = opened(night, tmp_path)
    told: list[str] = []
    rows = table([(1.0, 1.3), (29.9, 31.0), (50, 51), (4, 4)])
    (target,) = targets_of(rows, lambda _: sound, shots=5, negatives="gaps", problem=told.append)
    assert [shot.start_s for shot in target.shots] == [1.0, 29.9]
    assert target.shots[1].end_s == 30.0
    assert any("outside the recording" in text for text in told)
    assert any("no length" in text for text in told)
    assert any("has 2 of the 5 calls" in text for text in told)
    with pytest.raises(UserError, match="no usable call"):
        targets_of(
            table([(50, 51)]), lambda _: sound, shots=None, negatives="gaps", problem=told.append
        )


def test_a_slip_in_a_name_is_told(night, tmp_path):
    sound = opened(night, tmp_path)
    rows = pd.concat([
        table([(1.0, 1.3), (3.0, 3.3), (5.0, 5.3), (7.0, 7.3)], "Bark"), table([(9, 9.3)], "brak"),
        table([(11, 11.3)], "owl"),
    ])  # fmt: skip
    told: list[str] = []
    targets = targets_of(rows, lambda _: sound, shots=None, negatives="gaps", problem=told.append)
    assert [target.label for target in targets] == ["Bark", "brak", "owl"]
    assert len(told) == 1
    assert "did you mean Bark, which has 4 calls?" in told[0]


def test_negatives_come_from_where_the_setting_says(night, tmp_path):
    sound = opened(night, tmp_path)
    rows = table([(5.0, 5.4), (9.0, 9.4)])
    spans = {}
    for negatives in ("gaps", "head", "everything"):
        (target,) = targets_of(
            rows, lambda _: sound, shots=None, negatives=negatives, problem=print
        )
        spans[negatives] = [(a, b) for _, a, b in target.gaps()]
    assert spans["gaps"] == [(5.5, 8.9)]
    assert spans["head"] == [(0.0, 4.9), (5.5, 8.9)]
    assert spans["everything"] == [(0.0, 4.9), (5.5, 8.9), (9.5, 30.0)]


def test_what_is_marked_neg_and_other_species_calls_are_rivals(night, tmp_path):
    sound = opened(night, tmp_path)
    rows = [(1.0, "up", "POS"), (2.0, "down", "POS"), (3.1, "up", "POS"), (4.0, "up", "NEG"),
            (5.0, "rain", "NEG"), (6.1, "down", "NEG"), (7.0, "up", "UNK"), (8.3, "up", "POS"),
            (2.0, "up", "NEG")]  # fmt: skip
    events = pd.DataFrame(rows, columns=["start_s", "label", "status"])
    events = events.assign(file="night", end_s=events["start_s"] + 0.4)
    down, up = targets_of(events, lambda _: sound, shots=None, negatives="gaps", problem=print)
    # A NEG of another species says nothing here, one of no species that is looked for does.
    assert [shot.start_s for shot in up.rivals] == [2.0, 4.0, 5.0]
    assert [shot.start_s for shot in down.rivals] == [1.0, 3.1, 5.0, 6.1, 8.3]
    assert up.refused[sound.key][:, 0].tolist() == [2.0, 4.0, 5.0]
    assert not any(a < 7.2 < b for _, a, b in up.gaps()), "UNK is neither"
    with pytest.raises(UserError, match="not one call"):
        targets_of(
            events.loc[events["status"] == "NEG"], lambda _: sound, shots=None, negatives="gaps",
            problem=print,
        )  # fmt: skip
