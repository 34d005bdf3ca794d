"""What a check reports: a number, the limit it must keep, and nothing that could hide a failure."""

from __future__ import annotations

from typing import Literal, NamedTuple, SupportsFloat

import numpy as np


class Finding(NamedTuple):
    """One measured number beside its limit; NaN keeps no limit."""

    what: str  # what was measured, in the book's symbols where they suffice
    value: float
    relation: Literal["≤", "≥"]
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the number keeps its limit."""
        return self.value <= self.limit if self.relation == "≤" else self.value >= self.limit


def at_most(what: str, value: SupportsFloat, limit: float) -> Finding:
    """Report an error beside its tolerance."""
    return Finding(what, float(value), "≤", float(limit))


def at_least(what: str, value: SupportsFloat, limit: float) -> Finding:
    """Report an effect that must be there: a counterexample's size, how far a bound is used."""
    return Finding(what, float(value), "≥", float(limit))


def larger(a: SupportsFloat, b: SupportsFloat) -> float:
    """Return the larger of two errors; NaN is the largest, where the built-in max would drop it."""
    return float(np.maximum(float(a), float(b)))


def smaller(a: SupportsFloat, b: SupportsFloat) -> float:
    """Return the smaller of two effects; NaN is the smallest."""
    return float(np.minimum(float(a), float(b)))
