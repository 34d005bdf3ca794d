"""Randomness that is a function of where it is used, so that a state needs to carry no generator.

`stream(seed, k)` is the generator of the k-th update, and `uniforms(keys, clock, n)` the numbers that each
environment draws at its own time: replaying, resuming and splitting work over processes change no bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from pgref.arrays import Matrix, Vector, count
from pgref.errors import ArgumentError

ENVIRONMENTS, PREDICTIONS = 2**31, 2**31 + 1  # where paths begin that no number of updates leads to
# as arrays, since NumPy converts a number at every call, longer than it takes to work through a short row
GOLDEN, LAST, SPARE = (np.array(n, np.uint64) for n in (0x9E3779B97F4A7C15, 31, 11))
UNIT = np.array(2.0**-53)
ROUNDS = tuple(  # a shift and a multiplier each
    (np.array(shift, np.uint64), np.array(multiplier, np.uint64))
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
)


def new_seed(rng: Any) -> int:
    """Return a seed below 2⁶³ drawn from a Generator, or from what `numpy.random.default_rng` takes.

    Raises:
        ArgumentError: neither a Generator, None nor a whole number of at least 0.
    """
    if rng is not None and not isinstance(rng, np.random.Generator):
        try:
            rng = count("rng", rng, 0)
        except ArgumentError:
            raise ArgumentError(f"rng must be a Generator, a seed or None, got {rng!r}") from None
    return int(np.random.default_rng(rng).integers(2**63))


def stream(seed: int, *path: int) -> np.random.Generator:
    """Return the generator of a seed and a path of whole numbers below 2³²: an update, a worker."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=path))


def keys(seed: int, n: int, *path: int) -> Vector:
    """Return a key for each of n environments, [n] uint64."""
    return stream(seed, ENVIRONMENTS, *path).integers(2**64, size=n, dtype=np.uint64)


def uniforms(keys: Vector, clock: Vector, n: int) -> Matrix:
    """Return n numbers in [0, 1) for each environment, [n, E], from its key [E] and its time [E].

    Source: the mixing function of SplitMix64 (Steele, Lea & Flood 2014), used as a counter's hash.
    """
    start = _mixed(keys + GOLDEN * clock.astype(np.uint64))
    numbers: Matrix = (_mixed(start + _places(n)) >> SPARE) * UNIT
    return numbers


@lru_cache(maxsize=8)
def _places(n: int) -> Any:
    return GOLDEN * np.arange(1, n + 1, dtype=np.uint64)[:, None]


def _mixed(z: Any) -> Any:
    for shift, multiplier in ROUNDS:
        z = (z ^ z >> shift) * multiplier
    return z ^ z >> LAST
