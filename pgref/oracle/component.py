"""What the oracle checks: one formula, its arguments, how inputs are drawn, and the known deviations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from pgref.oracle.deviation import Deviation

Inputs: TypeAlias = dict[str, Any]  # the arguments by name, in the order in which the callable takes them


def _given(inputs: Inputs) -> Sequence[Any]:
    return list(inputs.values())


@dataclass(frozen=True)
class Component:
    """One formula that users implement.

    `axes` names the axes of every array among the inputs and of the result, a letter each: "TE" is [T, E].
    The letters say which entries can be dropped together when a counterexample is shrunk, which sizes a sum
    may have to be divided by, and what a batch-major layout exchanges (T with E).
    """

    name: str  # gae: the name of the check and of a user's function in a file
    formula: str  # Â_t = Σ_l (γλ)^l δ_{t+l}
    equation: str  # the book's number, or the outside source
    axes: dict[str, str]  # of each array argument; scalars and other things are left out
    result: str  # the axes of the result, "" for a number
    reference: Callable[..., Any]  # the inputs by name ↦ the right result: a function of this package
    draw: Callable[[np.random.Generator, int], Inputs]  # rng, case 0, 1, …: the first few are edge cases
    deviations: tuple[Deviation, ...] = ()
    arguments: Callable[[Inputs], Sequence[Any]] = _given  # what the user's callable is called with
    repaired: Callable[[Inputs], Inputs | None] = field(default=lambda inputs: inputs)
    # repaired: inputs that shrinking has changed ↦ consistent ones again, or None for impossible ones
    compose: Callable[[Callable[[Any], Any]], Callable[..., Any]] | None = None
    # compose: a change of the formula's parts ↦ the function so changed; for two deviations at once
    tolerance: float = 1e-10  # largest error allowed, relative to the largest entry or 1
    tolerance32: float = 1e-4  # the same where inputs and results are float32

    def allowed(self, dtype: str) -> float:
        """Return the tolerance of that dtype."""
        return self.tolerance32 if dtype == "float32" else self.tolerance
