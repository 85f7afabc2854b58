"""Labels as people write them: what two spellings of one class, or none at all, look like."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

# What programs write where a cell is empty, and where nothing called.
MISSING = {"nan", "na", "n/a", "none", "null", "<na>", "#n/a"}
NO_CALL = {"nocall", "no call", "no_call"}
NOTHING = {"noise", "background", "silence", "noid", "no id", "nothing", "empty"}
DITTO = {'"', "''", "„", "”", "“", "〃", '-"-'}


def folded(text: str) -> str:
    """A text as it is compared where case, blanks and the spelling of accents do not count."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _number(label: str) -> str:
    """What ``1``, ``1.0`` and ``01`` share; "" of other texts."""
    return str(float(label)) if re.fullmatch(r"\d+(\.\d*)?", label) else ""


def odd_labels(labels: Iterable[str]) -> list[str]:
    """What is to be told of the classes of one data set, a line each; nothing is changed."""
    distinct = sorted({label for label in labels if label})
    alike: dict[str, list[str]] = defaultdict(list)
    for label in distinct:
        alike[_number(label) or folded(label)].append(label)
    lines = [
        f"the labels {' and '.join(map(repr, names))} differ only in case or spelling; each counts "
        "as a class of its own"
        for names in alike.values()
        if len(names) > 1
    ]
    for label in distinct:
        if folded(label) in MISSING:
            lines.append(f"the label {label!r} may stand for an empty cell; it counts as a class")
        elif folded(label) in NOTHING:
            lines.append(f"the label {label!r} may say that nothing called; it counts as a class")
        elif label in DITTO:
            lines.append(f"the label {label!r} may mean 'as above'; it counts as a class")
    return lines
