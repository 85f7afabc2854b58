"""Numbers of things, and what a terminal without UTF-8 gets."""

import pytest

from g5.common.words import counted, length


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
