"""What a column says of the others of its row: that it was no call, its genus, its minutes."""

import re

import numpy as np

from preprocessing.annotations.columns import JUDGED, plain
from preprocessing.annotations.table import Table, UnknownFormat, among
from preprocessing.events import Problem

_NO = ("0", "0.0", "false", "no", "n", "-9", "-9.0", "absent", "rejected")
_YES = ("1", "1.0", "true", "yes", "y", "present", "accepted", "")
_GENUS, _SPECIES = ("genus", "gen"), ("species", "sp", "species_epithet")
_PARTED = re.compile(
    r"(start|begin|onset|end|stop|offset)(_time)?_(h|hrs?|hours?|m|mins?|minutes?)"
)


def understood(table: Table) -> Table:
    """A table without the rows that are no calls, by a column of yes and no; species with their
    genus. What was done is told.

    Raises:
        UnknownFormat: times have minutes or hours of their own.
    """
    names = {plain(name): name for name in table.names}
    parted = [name for short, name in names.items() if _PARTED.fullmatch(short)]
    if parted:
        raise UnknownFormat(
            f"{table.path}: has times in {', '.join(parted)}; write them in seconds as start_s and "
            "end_s, or remove them"
        )
    for name in (names[short] for short in names.keys() & JUDGED):
        cells = table.text(name, str.casefold)
        no = among(cells, _NO)
        if no.any() and (no | among(cells, _YES)).all():
            message = f"{name} is {table.text(name)[no][0]}, so it is no call; left out"
            table.problems.append(Problem("rejected", table.at(no), message, False))
            table.good &= ~no
    genus, species = (
        next((names[one] for one in options if one in names), "") for options in (_GENUS, _SPECIES)
    )
    return _joined(table, genus, species) if genus and species else table


def _joined(table: Table, genus: str, species: str) -> Table:
    """A table whose species are ``Strix aluco`` where they were ``aluco``, of the genus Strix."""
    pairs = list(zip(table.text(genus), table.text(species), strict=True))
    bare = np.array([bool(a and b) and " " not in b and b == b.lower() for a, b in pairs], bool)
    if not bare.any():
        return table
    whole = [f"{a} {b}" if alone else b for (a, b), alone in zip(pairs, bare, strict=True)]
    message = f"{species} is read with its {genus}, as {whole[int(bare.argmax())]!r}"
    table.problems.append(Problem("genus", str(table.path), message, False))
    table.columns = {**table.columns, species.casefold(): whole}
    return table
