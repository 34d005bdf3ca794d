"""Learning curves over several seeds: a robust average, and how far it can be trusted.

A handful of runs says little about the mean, which one lucky seed can carry. The interquartile mean ignores
the luckiest and the unluckiest quarter, and the bootstrap shows how much it would vary with other seeds.

Source: Agarwal et al. (2021), Deep Reinforcement Learning at the Edge of the Statistical Precipice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, Vector, as_array, count, in_unit_interval
from pgref.errors import ArgumentError


class Interval(NamedTuple):
    """Both ends of an interval, each of the statistic's shape."""

    low: Array
    high: Array


def iqm(x: Any, axis: int = 0) -> Array:
    """Return the interquartile mean along an axis: of n numbers sorted, all but the first and last ⌊n/4⌋.

    Raises:
        ArgumentError, ArgumentTypeError, NonFiniteError: no numbers, or no such axis.
    """
    x = as_array("x", x, (None,) * np.ndim(x))
    if not -x.ndim <= axis < x.ndim:
        raise ArgumentError(f"axis must be one of the {x.ndim} axes of x, got {axis!r}")
    n = x.shape[axis]
    if not n:
        raise ArgumentError(f"x must hold at least one number along axis {axis}, got shape {x.shape}")
    middle: Array = np.take(np.sort(x, axis), range(n // 4, n - n // 4), axis)
    return np.asarray(middle.mean(axis))


def bootstrap_interval(
    values: Any,
    statistic: Callable[[Array], Array],
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Return the percentile bootstrap interval of a statistic of several seeds.

    Args:
        values: [seeds, points], a curve a row. A seed is drawn with its whole curve, since the points of one
            run depend on each other.
        statistic: [seeds, points] ↦ any shape: `iqm`, which gives [points].
        rng: where the randomness comes from.
        level: the share of the resampled statistics inside, at each point by itself.
        resamples: how many times the seeds are drawn, with replacement.

    Raises:
        ArgumentError, ArgumentTypeError, NonFiniteError: values are no such array, or hold no seeds; level
            is not in [0, 1]; resamples is no whole number of at least 1.

    Source: Efron (1979); stratified by task in Agarwal et al. (2021, section 4.1), here for one task.
    """
    values = as_array("values", values, (None, None))
    level, resamples, n = in_unit_interval("level", level), count("resamples", resamples), len(values)
    if not n:
        raise ArgumentError("values must hold at least one seed, got none")
    drawn = [statistic(values[rng.integers(n, size=n)]) for _ in range(resamples)]
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return Interval(low, high)


def learning_curve(rows: Sequence[dict[str, Any]], grid: Any, window: int = 100) -> Vector:
    """Return the mean return of the latest episodes after each number of steps in the grid, [points].

    These are the `window` episodes that ended last, or a few more, because a row holds the mean of several;
    before there are so many, all of them; before the first one, NaN. Between rows the value stays.

    Args:
        rows: those of one run as `records.read` returns them, with steps, episodes and mean_return.
        grid: [points] environment steps.
        window: how many episodes to average over.

    Raises:
        ArgumentError, ArgumentTypeError, NonFiniteError: the grid is no vector of numbers, window no whole
            number of at least 1; a row lacks a column; the steps fall.
    """
    grid, window = as_array("grid", grid, (None,)), count("window", window)
    steps, episodes, returns = finished(rows)
    total = np.concatenate(([0], np.cumsum(episodes)))
    ends = np.searchsorted(steps, grid, "right")
    starts = np.searchsorted(total, total[ends] - window, "right") - 1  # the last row that all of them follow
    pairs = zip(np.maximum(starts, 0), ends, strict=True)
    return np.array([np.average(returns[i:j], weights=episodes[i:j]) if j else np.nan for i, j in pairs])


def finished(rows: Sequence[dict[str, Any]]) -> tuple[Vector, Vector, Vector]:
    """Return steps, episodes and mean_return, [rows] each, of the rows in which an episode ended."""
    names = "steps", "episodes", "mean_return"
    for index, values in enumerate(rows):
        if missing := [name for name in names if name not in values]:
            raise ArgumentError(f"rows must have {', '.join(names)}, got row {index} without {missing[0]}")
    ended = [values for values in rows if values["episodes"]]
    steps, episodes, returns = (np.array([values[name] for values in ended], float) for name in names)
    if (np.diff(steps) < 0).any():
        raise ArgumentError("the rows' steps must not fall; are there two runs in one file?")
    return steps, episodes, returns
