"""Speed claims, both sides measured in one run; `make bench` prints the table."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Claim:
    """One line of the table: ``ours`` against ``reference``, both in ``unit``.

    ``limit`` bounds the ratio ``ours / reference``: from above, or from below where
    ``at_least`` is set.
    """

    name: str
    ours: float
    reference: float
    unit: str
    limit: float
    at_least: bool = False
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.reference

    @property
    def met(self) -> bool:
        return self.ratio >= self.limit if self.at_least else self.ratio <= self.limit


def alternate(
    sides: Mapping[str, Callable[[], object]], turns: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:  # fmt: skip
    """Seconds of each side, the median over turns in which they alternate."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, side in sides.items():
            start = clock()
            side()
            if turn:  # the first warms up
                seconds[name].append(clock() - start)
    return {name: median(values) for name, values in seconds.items()}
