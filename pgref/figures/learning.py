"""Learning curves of several seeds, with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pgref import curves
from pgref.arrays import Matrix, Vector, count
from pgref.errors import ArgumentError
from pgref.figures.style import COLOURS, DASHES, finish, panels


def learning_curves(
    runs: Mapping[str, Sequence[Sequence[dict[str, Any]]]],
    ax: Any = None,
    *,
    window: int = 100,
    points: int = 200,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
    lang: str = "en",
) -> Any:
    """Draw mean return against steps: the interquartile mean over seeds in its bootstrap band.

    Args:
        runs: for each label its runs, one a seed, each the rows that `records.read` returns.
        ax: where to draw, see `pgref.figures`.
        window: how many episodes a point averages over.
        points: how many points a line has, between the steps at which all its runs have a value.
        level: of the band, at each point by itself.
        rng: draws the bootstrap; None gives the same band for the same runs.
        lang: of the labels, "en" or "zh".

    Returns:
        The Axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: nothing to draw: no runs, a run without a finished episode, or runs that share no
            steps; or an argument out of its range.

    Source: Agarwal et al. (2021); the colours of Okabe & Ito (2008).
    """
    if not runs:
        raise ArgumentError("runs must have at least one label, got none")
    rng = np.random.default_rng(0) if rng is None else rng
    drawn = {label: _on_one_grid(label, seeds, window, points) for label, seeds in runs.items()}
    bands = [curves.bootstrap_interval(values, curves.iqm, rng, level) for _, values in drawn.values()]
    (ax,), lang = panels(ax, 1, lang)
    for i, (label, (grid, values)) in enumerate(drawn.items()):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        ax.fill_between(grid, *bands[i], color=colour, alpha=0.2, linewidth=0)
        ax.plot(grid, curves.iqm(values), dash, color=colour, label=label)
    y = "mean return of {window} episodes (IQM, {level:.0%} band)"
    finish(ax, lang, "environment steps", y, window=window, level=level)
    return ax


def _on_one_grid(label: str, seeds: Any, window: int, points: int) -> tuple[Vector, Matrix]:
    """Return the steps [points] where every run has a value, and the values [seeds, points]."""
    ended = [curves.finished(rows)[0] for rows in seeds]
    if not ended or not all(len(steps) for steps in ended):
        raise ArgumentError(f"runs[{label!r}] must have a finished episode in each run, and at least one run")
    first, last = max(steps[0] for steps in ended), min(rows[-1]["steps"] for rows in seeds)
    if last < first:
        raise ArgumentError(
            f"runs[{label!r}] must share some steps, got one that ends at {last} before {first}"
        )
    grid = np.linspace(first, last, count("points", points))
    return grid, np.array([curves.learning_curve(rows, grid, window) for rows in seeds])
