"""Answers of tabs: what is checked, and whose answer is taken back."""

import pytest

from g5.common.errors import UserError
from g5.web.answers import TabAnswers, checked_entry, class_name
from g5.web.journal import LABEL, UNSURE, Clip, Journal

CLIPS: list[Clip] = [("a.wav", float(i), i + 1.0) for i in range(4)]


def entry(clip: Clip, name: str = "owl"):
    return checked_entry(f"{clip} {name}", clip, LABEL, name, 1.0)


def test_each_tab_takes_back_its_own(tmp_path):
    answers = TabAnswers(Journal(tmp_path))
    for tab, clip in zip("abab", CLIPS, strict=True):
        assert answers.add(tab, entry(clip)) == ""
    assert "another tab as “owl”" in answers.add("b", entry(CLIPS[0], "crow"))
    assert [answers.undo("a") for _ in range(3)] == [CLIPS[2], CLIPS[0], None]
    assert list(answers.journal.entries) == [CLIPS[1], CLIPS[3]]


def test_after_a_restart_it_is_the_last_of_what_is_there(tmp_path):
    before = TabAnswers(Journal(tmp_path))
    for clip in CLIPS[:3]:
        before.add("a", entry(clip))
    answers = TabAnswers(Journal(tmp_path))
    answers.add("b", entry(CLIPS[3]))
    assert answers.undo("a", CLIPS[:2]) == CLIPS[1]
    assert answers.undo("a") == CLIPS[2]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "perhaps"}, "'perhaps' is none of"),
        ({"id": ""}, "needs an id"),
        ({"seconds": float("nan")}, "must be a finite number"),
        ({"label": " \n"}, "'' is no name for a class"),
        ({"label": "x" * 81}, "is no name for a class"),
        ({"label": UNSURE}, "'unsure' is no name for a class"),
    ],
)
def test_what_is_no_answer_is_said(changed, said):
    good = {"id": "1", "clip": CLIPS[0], "kind": LABEL, "label": "owl", "seconds": 1.0}
    with pytest.raises(UserError, match=said):
        checked_entry(**(good | changed))


def test_names_lose_blanks_and_times_have_an_end():
    assert class_name("  Strix\n aluco ") == "Strix aluco"
    assert checked_entry("1", CLIPS[0], UNSURE, "owl", 1e9).seconds == 3600
    assert checked_entry("1", CLIPS[0], UNSURE, "owl", -1).label == ""
