"""What asynchronous workers do: stale gradients, and momentum in expectation (Note 5.2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pgref import asynchrony
from pgref.arrays import Array, as_array, count
from pgref.errors import ArgumentError
from pgref.figures.style import BLACK, BLUE, GREY, ORANGE, SKY, VERMILION, finish, panels, word


def staleness(
    axes: Any = None,
    *,
    workers: int = 4,
    step: float = 0.5,
    curvature: float = 1.0,
    w0: float = 1.0,
    n: int = 30,
    updates: int = 20_000,
    measured: Any = None,
    rng: np.random.Generator | None = None,
    lang: str = "en",
) -> tuple[Any, Any]:
    """Draw how stale gradients are against (1/M)(1 − 1/M)ᵏ, and E w of M workers as a heavy ball (Note 5.2).

    Args:
        axes: where to draw two panels, see `pgref.figures`.
        workers: M.
        step: α.
        curvature: λ of ½λw².
        w0: where w starts.
        n: how many updates the right panel shows, beside five single runs.
        updates: how many the queue model runs for the left panel, after 50·M that are not counted.
        measured: staleness of each update of a real run, whole numbers, to draw beside it.
        rng: draws the service times; None gives the same ones every time.
        lang: of the labels, "en" or "zh".

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: an argument out of its range.
    """
    m, updates = count("workers", workers), count("updates", updates)
    rng = np.random.default_rng(0) if rng is None else rng
    long = asynchrony.simulate(m, step, curvature, 0.0, 50 * m + updates, _exponential, rng)
    samples = [long.staleness[50 * m :, 0], *([] if measured is None else [_whole(measured)])]
    expected = asynchrony.expected_iterates(m, step, curvature, w0, n)
    heavy_ball = asynchrony.momentum_iterates(m, step, curvature, w0, n)
    single = asynchrony.simulate(m, step, curvature, w0, n, _exponential, rng, runs=5).iterates
    (left, right), lang = panels(axes, 2, lang)
    ages, width = np.arange(5 * m), 0.8 / len(samples)
    looks = ("simulated", SKY, ""), ("measured", ORANGE, "//")
    for i, (seen, (label, colour, hatch)) in enumerate(zip(samples, looks, strict=False)):
        shares = np.bincount(seen, minlength=len(ages))[: len(ages)] / len(seen)
        look = {"color": colour, "hatch": hatch, "edgecolor": "white", "label": word(label, lang)}
        left.bar(ages + (i - (len(samples) - 1) / 2) * width, shares, width, **look)
    law = asynchrony.staleness_law(m, len(ages))
    left.plot(ages, law, "o-", color=BLACK, markersize=3, linewidth=1, label="(1/M)(1 − 1/M)ᵏ")
    left.xaxis.get_major_locator().set_params(integer=True)
    right.plot(single, color=GREY, linewidth=0.7)
    right.lines[0].set_label(word("single runs", lang))
    right.plot(expected, "o", color=BLUE, markerfacecolor="white", label=word("E w of M workers", lang))
    right.plot(heavy_ball, color=VERMILION, label=word("heavy ball, μ = 1 − 1/M, step α/M", lang))
    finish(left, lang, "staleness k", "share of updates", f"M = {m}")
    finish(right, lang, "updates", "w", f"M = {m}, αλ = {step * curvature:g}")
    return left, right


def _exponential(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.exponential(size=size)


def _whole(measured: Any) -> Array:
    seen = as_array("measured", measured, (None,), "i")
    if not len(seen) or seen.min() < 0:
        raise ArgumentError(f"measured must hold whole numbers of at least 0, got {measured!r}")
    return seen
