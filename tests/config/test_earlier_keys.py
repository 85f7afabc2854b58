"""Keys of finished work that an earlier g5 made are found again."""

import pytest

from g5.config.changes import short_hash
from g5.config.earlier import first_config
from g5.config.settings import load
from g5.runs.capacity import _earlier_key

OLD_V2 = [
    "arch=v2", "arch.model.distance=mlp", "arch.model.distance_hidden=[256,128]",
    "arch.model.distance_share=0.05",
]  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "capacity", "test"),
    [
        (["arch=v1"], "be39ee42", "d53f359c"),
        (OLD_V2, "aa409fdc", "5abe1dc5"),
        (["arch=v1", "arch.episodes.n_way=4", "seed=7"], "108face8", "2fd157d6"),
    ],
)
def test_keys_are_those_of_the_g5_before_its_settings_were_typed(overrides, capacity, test):
    settings = load([*overrides, "path.root_dir=/r"])
    assert _earlier_key(settings) == capacity
    plain = first_config(settings.plain())
    facts = [plain["seed"], plain["arch"]["episodes"], plain["features"], "d" * 64]
    assert short_hash(facts) == test
