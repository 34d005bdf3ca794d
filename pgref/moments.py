"""Running mean and variance of observations, and of returns: Welford's update, a batch at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pgref.arrays import Array, Vector, require_finite

LIMIT = 10.0  # normalised numbers are cut off here, in standard deviations
TINY = 1e-8  # added to a variance: a constant observation becomes 0


class Moments(NamedTuple):
    """What is remembered of n vectors [d], in float64."""

    n: int
    mean: Vector  # [d]
    squares: Vector  # [d] Σ (x − mean)²


def no_moments(width: int) -> Moments:
    """Return the moments of no vectors."""
    return Moments(0, np.zeros(width), np.zeros(width))


def merged(moments: Moments, x: Array) -> Moments:
    """Return the moments with the vectors x [..., d] added, of which there is at least one.

    Raises:
        NonFiniteError: a square overflows.

    Source: Chan, Golub & LeVeque (1983), the pairwise update.
    """
    x = x.reshape(-1, len(moments.mean)).astype(np.float64)
    n, m = moments.n, len(x)
    both = n + m
    with np.errstate(over="ignore", invalid="ignore"):  # looked at below
        mean = x[0] + (x - x[0]).mean(0)  # so that of a constant, however large, nothing is left
        shift = mean - moments.mean
        squares = moments.squares + ((x - mean) ** 2).sum(0) + shift**2 * (n * m / both)
    return Moments(both, moments.mean + shift * (m / both), require_finite("sums of squares", squares))


def deviation(moments: Moments) -> Vector:
    """Return √(variance + 1e-8) [d], of at least one vector."""
    return np.asarray(np.sqrt(moments.squares / moments.n + TINY))


def normalised(moments: Moments, x: Array) -> Array:
    """Return (x − mean)/√(variance + 1e-8) within ±10, in the dtype of x; x itself where n = 0."""
    if not moments.n:
        return x
    z = (x - moments.mean) / deviation(moments)
    return np.asarray(z.clip(-LIMIT, LIMIT), x.dtype)


def scaled(moments: Moments, x: Array) -> Array:
    """Return x/√(variance + 1e-8) within ±10; the mean stays, so that a reward keeps its sign."""
    return np.asarray((x / deviation(moments)).clip(-LIMIT, LIMIT))
