"""Numbers of things, and what a terminal without UTF-8 gets."""

import pytest

from g5.common.words import counted


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
