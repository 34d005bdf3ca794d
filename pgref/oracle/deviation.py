"""Known mistakes and dialects, each a function that computes what such code computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pgref.arrays import Array

NOBODY = "none known"  # a common slip that is not attributed to anybody


class Source(NamedTuple):
    """Where a deviation was read or measured."""

    who: str  # a package, a book, or NOBODY
    version: str  # of the package; "pgref 0.1.0" for a slip of ours
    where: str  # file and function, or the printed number


SLIP = (Source(NOBODY, "pgref 0.1.0", "a common slip, not attributed"),)


@dataclass(frozen=True)
class Deviation:
    """One mistake or dialect of one component, as executable code.

    A deviation that cannot be told from its outputs on given inputs, a random start say, has `recognise`:
    the user's callable, the inputs and its outputs ↦ whether it deviates so. Two that have a `change` can be
    recognised together.
    """

    name: str  # an identifier: done_one_step_late
    component: str  # the component's name: gae
    summary: str  # what such code computes, as the end of "it …": "masks with the flag of the step before"
    function: Callable[..., Any]  # the inputs by name ↦ what such code returns
    sources: tuple[Source, ...]
    cost: str  # what it does to learning: a bias, an effective trust-region factor
    test: str  # the test that demonstrates it: tests/test_x.py::test_y
    recognise: Callable[[Callable[..., Array], list[dict[str, Any]], list[Array]], bool] | None = None
    change: Callable[[Any], Any] | None = None  # what the component's `compose` made the function of

    def known_from(self) -> list[str]:
        """Return who else does it, a line each."""
        named = [f"{who} {version}: {where}" for who, version, where in self.sources if who != NOBODY]
        return named or ["nobody in particular: a common slip"]
