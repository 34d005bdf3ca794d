"""An item's figure inside the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from html import escape
from typing import Any

from pgref import render
from pgref.concordance import Item
from pgref.errors import MissingExtraError
from pgref.report.words import LANGUAGES, both

WIDE = 500  # points: what is wider has two panels, and keeps a legible width on a phone
MARK = "@figure-"  # before each id of a figure, until it is known where the figure goes


def picture(item: Item, draw: Callable[[Callable[..., Any], str], str]) -> str:
    """Return the item's figure in both languages, "" if it has none; or that matplotlib is not installed."""
    from pgref import figures

    function = figures.for_item(item.id)
    if function is None:
        return ""
    try:
        drawn = {lang: draw(function, lang) for lang in LANGUAGES}
    except MissingExtraError:
        needs = both("The figure needs matplotlib:")
        return f'<figure class="missing"><p>{needs} <code>pip install "pgref[plot]"</code></p></figure>'
    return "".join(_figure(item, lang, svg) for lang, svg in drawn.items())


def drawing() -> Callable[[Callable[..., Any], str], str]:
    """Return the function that draws a figure in a language, each once: items share figures."""
    from pgref import figures

    return lru_cache(None)(lambda function, lang: figures.as_svg(function, prefix=MARK, lang=lang))


def _figure(item: Item, lang: str, svg: str) -> str:
    said = f'<svg role="img" aria-label="{escape(render.title(item, lang))}"'
    svg = svg.replace(MARK, f"{item.id}-{lang}-").replace("<svg", said, 1)
    width = re.match(r'<svg[^>]* width="([\d.]+)', svg)
    wide = ' class="wide"' if width and float(width[1]) > WIDE else ""
    return f'<figure lang="{LANGUAGES[lang]}"{wide}><div class="scroll">{svg}</div></figure>'
