"""What all figures share: where to draw, colours, dashes and markers, the lettering."""

from __future__ import annotations

from typing import Any

import numpy as np

from pgref.arrays import Vector, as_array
from pgref.errors import ArgumentError, MissingExtraError
from pgref.figures.labels import CHINESE

# distinct for every kind of colour vision (Okabe & Ito 2008); their yellow is left out, too pale for a line
COLOURS = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000"
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK = COLOURS
GREY = "#888888"
DASHES = "-", "--", ":", "-."  # a second round of colours is dashed
PANEL = 5.4, 4.0  # inches
CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "Heiti TC",
    "Microsoft YaHei",
    "SimHei",
    "SimSun",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Noto Sans CJK JP",
    "Noto Serif CJK SC",
    "Noto Serif CJK JP",
    "Arial Unicode MS",
)


def panels(where: Any, n: int, lang: str) -> tuple[tuple[Any, ...], str]:
    """Return n Axes to draw on, and the language that their text can be shown in.

    Raises:
        MissingExtraError: a figure is to be made, and matplotlib is not installed.
        ArgumentError: another language than "en" or "zh"; not n Axes, nor a Figure, nor None.
    """
    if lang not in ("en", "zh"):
        raise ArgumentError(f"lang must be en or zh, got {lang!r}")
    if where is None:
        axes = plotting("pyplot").subplots(1, n, figsize=(n * PANEL[0], PANEL[1]), layout="constrained")[1]
    elif hasattr(where, "subplots"):
        axes = where.subplots(1, n)
    else:
        axes = where
    drawn = tuple(np.ravel(np.array(axes, object)))
    if len(drawn) != n or not all(hasattr(ax, "plot") for ax in drawn):
        raise ArgumentError(f"the Axes to draw on must be {n} of matplotlib's, or a Figure, got {where!r}")
    return drawn, lang if lang == "en" or _can_show_chinese(drawn[0]) else "en"


def word(text: str, lang: str) -> str:
    """Return a label in that language."""
    return CHINESE.get(text, text) if lang == "zh" else text


def finish(
    ax: Any, lang: str, x: str, y: str, title: str = "", *, legend: str | None = "best", **values: Any
) -> None:
    """Letter the Axes: what they measure, a title, a legend there unless None; values for {names} in y."""
    font = lettering(lang)
    ax.set_xlabel(word(x, lang), **font)
    ax.set_ylabel(word(y, lang).format(**values), **font)
    if title:
        ax.set_title(word(title, lang), fontsize="medium", **font)
    if legend:
        ax.legend(loc=legend, prop={"size": "small", **font})
    for side in "top", "right":
        ax.spines[side].set_visible(False)


def same_height(*axes: Any) -> None:
    """Give the Axes one range of y, so that what stands beside each other can be compared."""
    limits = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(limits.min(), limits.max())


def lettering(lang: str) -> dict[str, list[str]]:
    """Return what a text is drawn with: the fonts of matplotlib's settings, then a Chinese one if need be."""
    if lang == "en":
        return {}
    return {"family": [*plotting("rcParams")["font.family"], *chinese_fonts()[:1]]}


def chinese_fonts() -> list[str]:
    """Return the installed fonts with Chinese characters that we know, the best first."""
    known = {font.name for font in plotting("font_manager").fontManager.ttflist}
    return [name for name in CHINESE_FONTS if name in known]


def _can_show_chinese(ax: Any) -> bool:
    """Whether a font for it is installed, or the canvas leaves that to the reader, as SVG does."""
    return bool(chinese_fonts()) or type(ax.get_figure().canvas).__name__ == "FigureCanvasSVG"


def plotting(name: str) -> Any:
    """Return that part of matplotlib.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from importlib import import_module

    try:
        matplotlib = import_module("matplotlib")
        return matplotlib.rcParams if name == "rcParams" else import_module(f"matplotlib.{name}")
    except ModuleNotFoundError as missing:
        raise MissingExtraError('figures need matplotlib: pip install "pgref[plot]"') from missing


def increasing(name: str, values: Any, below: float = np.inf) -> Vector:
    """Return numbers in (0, below) that rise, to draw along an axis [points]; raise ArgumentError if not."""
    x = as_array(name, values, (None,))
    if not len(x) or x[0] <= 0.0 or x[-1] >= below or (np.diff(x) <= 0.0).any():
        raise ArgumentError(f"{name} must rise and lie in (0, {below:g}), got {values!r}")
    return x
