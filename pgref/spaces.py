"""What observations and actions are: a finite choice, several of them, or vectors of real numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from pgref.arrays import Array, Vector, as_array, count, require_choices
from pgref.errors import ArgumentError, ArgumentTypeError, ShapeError


@dataclass(frozen=True)
class Discrete:
    """The whole numbers 0 … n − 1."""

    n: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", count("n", self.n))


@dataclass(frozen=True)
class MultiDiscrete:
    """Several choices side by side: vectors [m] with entry i in 0 … sizes[i] − 1."""

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if np.ndim(self.sizes) != 1:
            raise ArgumentTypeError(f"sizes must be a tuple of numbers of choices, got {self.sizes!r}")
        object.__setattr__(self, "sizes", tuple(count("sizes", n) for n in self.sizes))
        if not self.sizes:
            raise ArgumentError("sizes must hold at least one number of choices, got ()")


@dataclass(frozen=True)
class Box:
    """Real vectors [d] between two bounds, which may be infinite."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        bounds = [np.asarray(bound) for bound in (self.low, self.high)]
        if any(b.dtype.kind not in "iuf" or b.ndim != 1 for b in bounds):
            raise ArgumentTypeError(
                f"low and high must be vectors of real numbers, got {self.low!r} and {self.high!r}"
            )
        low, high = (tuple(b.astype(float).tolist()) for b in bounds)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        if not low or len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=True)):
            raise ArgumentError(f"low must be below high, entry by entry, got {low} and {high}")

    @property
    def d(self) -> int:
        """How many numbers a vector holds."""
        return len(self.low)

    @cached_property
    def bounds(self) -> tuple[Vector, Vector]:
        """Both bounds as vectors [d], ready for use."""
        return np.array(self.low), np.array(self.high)


Space: TypeAlias = "Discrete | MultiDiscrete | Box"


def as_observations(space: Space, obs: Any) -> tuple[Array, bool]:
    """Return observations [N, …] as the space has them, and whether it was one alone.

    Raises:
        ArgumentTypeError, ShapeError, NonFiniteError: as for any array.
    """
    row, kind = ((space.d,), "f") if isinstance(space, Box) else ((), "i")
    try:
        return as_array("obs", obs, (None, *row), kind), False
    except ShapeError:
        return as_array("obs", [obs], (None, *row), kind), True


def as_actions(space: Space, actions: Any, n: int) -> Array:
    """Return actions for n environments as the space has them: int64 [n] or [n, m], or real [n, d].

    Raises:
        ArgumentTypeError: real numbers for a discrete space; ShapeError, NonFiniteError: as for any array.
        ArgumentError: a choice that the space does not have. Vectors may leave a Box: see `clipped`.
    """
    if isinstance(space, Discrete):
        return require_choices(as_array("actions", actions, (n,), "i"), space.n)
    if isinstance(space, Box):
        return as_array("actions", actions, (n, space.d))
    array = as_array("actions", actions, (n, len(space.sizes)), "i")
    for column, size in zip(array.T, space.sizes, strict=True):
        require_choices(column, size)
    return array


def clipped(space: Space, actions: Array) -> Array:
    """Return the actions as they go through an environment's door: a copy, inside the Box if it is one."""
    return actions.clip(*space.bounds) if isinstance(space, Box) else actions.copy()
