"""The source of a function as HTML, its words and comments told apart."""

from __future__ import annotations

import inspect
import io
import itertools
import keyword
import textwrap
import tokenize
from html import escape

from pgref.book import resolve
from pgref.report.words import both


def listing(name: str) -> str:
    """Return a closed box with the source of "module:name", or with the word that there is none here."""
    target = resolve(name)
    try:
        lines, first = inspect.getsourcelines(target)
    except (OSError, TypeError):  # only compiled files are installed, or it is no Python
        place, text = "", f"<p>{both('The source is not available in this installation.')}</p>"
    else:
        place = f"{target.__module__.replace('.', '/')}.py:{first}"
        text = f"<pre><code>{highlighted(textwrap.dedent(''.join(lines)))}</code></pre>"
    label = f"<code>pgref.{escape(name.replace(':', '.'))}</code> <small>{place}</small>"
    return f'<details class="code"><summary>{label}</summary>{text}</details>'


def highlighted(source: str) -> str:
    """Return Python as HTML: keywords in <b>, comments and strings in <i>."""
    starts = [0, *itertools.accumulate(map(len, io.StringIO(source)))]
    out, done = [], 0
    for kind, text, start, end, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        tag = "i" if kind in (tokenize.COMMENT, tokenize.STRING) else "b"
        if tag == "i" or (kind == tokenize.NAME and keyword.iskeyword(text)):
            first, last = starts[start[0] - 1] + start[1], starts[end[0] - 1] + end[1]
            out += [escape(source[done:first]), f"<{tag}>{escape(source[first:last])}</{tag}>"]
            done = last
    return "".join(out) + escape(source[done:])
