"""LaTeX to MathML, by a library that is loaded when a formula is typeset."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pgref.errors import MissingExtraError


def converter() -> Callable[..., str]:
    """Return the function that makes a <math> element of LaTeX.

    Raises:
        MissingExtraError: latex2mathml is not installed.
    """
    try:
        from latex2mathml.converter import convert
    except ModuleNotFoundError as missing:
        raise MissingExtraError('the page needs latex2mathml: pip install "pgref[report]"') from missing
    found: Callable[..., str] = convert
    return found


def typeset(lines: Iterable[str]) -> str:
    """Return lines of LaTeX as HTML, each in a box of its own that scrolls if it is too wide.

    Raises:
        MissingExtraError: latex2mathml is not installed.
    """
    convert = converter()
    return "".join(f'<div class="scroll">{convert(line, display="block")}</div>' for line in lines)
