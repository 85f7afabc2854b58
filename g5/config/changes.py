"""Which keys differ between two configurations, among those that decide what a run is."""

from collections.abc import Mapping, Sequence
from typing import Any

# What a resumed run may not change: it would be another run.
OF_A_RUN = (
    "arch.model", "arch.augmentation", "arch.episodes", "arch.training", "features", "data", "seed",
)  # fmt: skip
# What makes a test another test.
OF_A_TEST = ("arch.episodes", "features", "data", "seed")
# Where things lie and how many work on them changes neither.
IRRELEVANT = ("workers", "block_s", "root_dir", "cache_dir")
# A run may be made longer; where its first weights came from is history.
CHANGEABLE = ("arch.training.max_epochs", "arch.training.load_weight_from")


def differences(
    stored: Mapping[str, Any], config: Mapping[str, Any], among: Sequence[str]
) -> list[str]:
    """Dotted keys of the groups ``among`` whose values differ, in two resolved configurations."""
    found: list[str] = []

    def walk(theirs: Any, ours: Any, where: str) -> None:
        if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
            for key in [*theirs, *(key for key in ours if key not in theirs)]:
                if key not in IRRELEVANT:
                    walk(theirs.get(key), ours.get(key), f"{where}.{key}")
        elif theirs != ours and where not in CHANGEABLE:
            found.append(where)

    for where in among:
        theirs: Any = stored
        ours: Any = config
        for key in where.split("."):
            theirs, ours = theirs[key], ours[key]
        walk(theirs, ours, where)
    return found
