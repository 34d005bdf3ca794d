"""Pictures of what the chapter claims and of what was measured; matplotlib is loaded when one is drawn.

A figure function draws what the package computes and returns the Axes it drew on: one, or a pair where two
panels belong together. Its first argument says where to draw: Axes, an empty Figure of matplotlib to make
them on, or None for a new figure of pyplot's. `lang` is "en" or "zh"; Chinese needs an installed font with
its characters, or an SVG, whose reader brings the font; else the labels stay English.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pgref.figures.asynchronous import staleness
from pgref.figures.discounting import discounting_bias
from pgref.figures.learning import learning_curves
from pgref.figures.sigmoid import sigmoid_steps
from pgref.figures.step_size import step_size_cliff
from pgref.figures.style import COLOURS, DASHES
from pgref.figures.surrogate import theorem_bounds
from pgref.figures.svg import as_svg
from pgref.figures.trust import trust_region

__all__ = [
    "COLOURS",
    "DASHES",
    "ITEMS",
    "as_svg",
    "discounting_bias",
    "for_item",
    "learning_curves",
    "sigmoid_steps",
    "staleness",
    "step_size_cliff",
    "theorem_bounds",
    "trust_region",
]

ITEMS: dict[str, Callable[..., Any]] = {  # id of the concordance ↦ what illustrates it
    "I-5": staleness,
    "I-6": staleness,
    "I-9": step_size_cliff,
    "I-10": discounting_bias,
    "I-12": step_size_cliff,
    "I-13": sigmoid_steps,
    "I-14": sigmoid_steps,
    "I-18": theorem_bounds,
    "I-21": theorem_bounds,
    "I-22": trust_region,
    "I-24": discounting_bias,
    "I-25": trust_region,
    "I-26": trust_region,
    "B-1": trust_region,
    "B-10": discounting_bias,
}


def for_item(item_id: str) -> Callable[..., Any] | None:
    """Return the figure that illustrates an item of the concordance, "I-12" say, or None if there is none."""
    return ITEMS.get(item_id)
