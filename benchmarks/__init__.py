"""Speed claims, both sides measured in one run; `make bench` prints the table."""

from dataclasses import dataclass


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
