"""Lengths of time in words."""

import pytest

from g5.common.lengths import length


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
