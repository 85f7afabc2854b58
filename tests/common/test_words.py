"""Numbers of things, and what a terminal without UTF-8 gets."""

import pytest

from g5.common.errors import UserError
from g5.common.words import counted, length, on_one_line, some, tell_some

HOSTILE = "owl\n\x1b[31mred\u2028\u202elive\r\x85"
SPELLED = r"owl\n\x1b[31mred\u2028\u202elive\r\x85"


@pytest.mark.parametrize(
    ("number", "things", "words"),
    [
        (0, ("call",), "0 calls"),
        (1, ("call",), "1 call"),
        (1200, ("call",), "1,200 calls"),
        (1, ("class", "classes"), "1 class"),
        (2, ("class", "classes"), "2 classes"),
    ],
)
def test_one_of_a_thing_is_no_plural(number, things, words):
    assert counted(number, *things) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.02, "20 ms"),
        (0.1234, "0.123 s"),
        (90, "90 s"),
        (600, "10 min"),
        (9000, "2.5 h"),
        (0, "0 ms"),
    ],
)
def test_lengths_are_in_the_unit_that_fits(seconds, words):
    assert length(seconds) == words


def test_text_of_a_file_is_shown_on_one_line(capsys):
    assert on_one_line(HOSTILE) == SPELLED
    assert str(UserError(f"a.csv: {HOSTILE}")) == f"a.csv: {SPELLED}"
    assert some([HOSTILE, "b"], 1) == f"{SPELLED} and 1 more"
    tell_some("a.csv", [HOSTILE])
    assert capsys.readouterr().out == f"a.csv: {SPELLED}\n"
    assert on_one_line("C:\\night é \u00a0 ✓") == "C:\\night é \u00a0 ✓"
