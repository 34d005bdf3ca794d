"""A figure as text: one SVG that stands by itself."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from pgref.figures.style import PANEL, plotting


def as_svg(draw: Callable[..., Any], *, prefix: str = "", **options: Any) -> str:
    """Return what a figure function draws as an <svg> element, for a page or a file of its own.

    The same call gives the same text under one version of matplotlib, whatever the user's settings of it.
    No pyplot figure is made. Letters stay letters: they can be searched, and the reader's fonts show them.

    Args:
        draw: called with an empty Figure first, and the options.
        prefix: before every id in the text, so that two figures in one page share none.
        options: for draw, `lang` say.

    Raises:
        MissingExtraError: matplotlib is not installed; and what draw raises.
    """
    style, canvas = plotting("style"), plotting("backends.backend_svg").FigureCanvasSVG
    settings = {
        "svg.hashsalt": "pgref",
        "svg.fonttype": "none",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    }
    with style.context(["default", settings]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the reader's fonts have it
        figure = plotting("figure").Figure(layout="constrained")
        canvas(figure)
        draw(figure, **options)
        figure.set_size_inches(len(figure.axes) * PANEL[0], PANEL[1])
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{prefix}", svg[svg.index("<svg") :])
