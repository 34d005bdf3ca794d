"""The whole page: one HTML file that needs nothing else, neither a network nor a server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template

from pgref.book import Outcome, items
from pgref.errors import ArgumentError
from pgref.report.entry import entry, mark, title
from pgref.report.pictures import drawing, picture
from pgref.report.words import LANGUAGES, both, chinese, in_both
from pgref.versions import versions

TITLE = "The policy-gradient chapter, verified"
LEAD = (
    "Every definition, equation, algorithm and claim of the chapter under its printed number: what is true, "
    "what was measured in this run, and the code that computes it."
)
PLACEHOLDER = "Search: 5.18, I-21, advantage, erratum … (press /)"
PARTS = {  # the first item of each part of the contents ↦ the part's name, and where it stands in the book
    "I-1": ("The Worker of A2C", "5.5"),
    "I-5": ("A3C", "5.6"),
    "I-9": ("Vanilla policy gradient", "5.7"),
    "I-15": ("From policy to policy", "5.7"),
    "I-22": ("TRPO", "5.7"),
    "A-2": ("PPO", "5.8"),
    "B-1": ("Beyond the text", ""),
}


def page(outcomes: Iterable[Outcome], *, date: str, mdps: int, seed: int, lang: str = "en") -> str:
    """Return the page on what was measured; the same arguments and versions give the same text.

    Args:
        outcomes: of `book.run`, in the book's order, taken one by one.
        date: shown as it is.
        mdps: how many random instances each check drew.
        seed: of their generator.
        lang: "en" or "zh", the language shown first.

    Raises:
        MissingExtraError: latex2mathml is not installed. (Without matplotlib the page says so.)
        ArgumentError: another language.
    """
    if lang not in LANGUAGES:
        raise ArgumentError(f"lang must be en or zh, got {lang!r}")
    draw, measured, entries = drawing(), [], {}
    for outcome in outcomes:
        measured.append(outcome)
        entries[outcome.item.id] = entry(outcome, picture(outcome.item, draw))
    script, ok = _data("page.js"), all(outcome.ok for outcome in measured)
    facts = {"date": date, "seed": seed, "random instances of a check": mdps}
    return Template(_data("page.html")).substitute(
        lang=LANGUAGES[lang],
        hash=_hash(f"\n{script}"),
        title=escape(TITLE if lang == "en" else chinese(TITLE)),
        style=_data("page.css"),
        skip=both("Skip to the items"),
        heading=both(TITLE),
        lead=both(LEAD),
        state="kept" if ok else "missed",
        total=f"{mark(ok)} {_total(measured)}",
        facts="".join(_fact(both(name), value) for name, value in facts.items())
        + "".join(_fact(name, version) for name, version in versions().items()),
        search=both("Search"),
        placeholder=in_both("placeholder", PLACEHOLDER, lang),
        contents=both("Contents"),
        links=_contents(measured),
        parts=_parts(entries),
        nothing=both("Nothing found."),
        script=script,
    )


def _total(outcomes: list[Outcome]) -> str:
    kept = f"{sum(outcome.ok for outcome in outcomes)}/{len(outcomes)}"
    found = sum(len(outcome.findings) for outcome in outcomes)
    return f"{kept} {both('items hold')}{both(',', '，')} {found} {both('findings')}"


def _fact(name: str, value: object) -> str:
    return f"<div><dt>{name}</dt><dd>{escape(str(value))}</dd></div>"


def _by_part(ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the items under the first item of their part."""
    first, wanted, found = "", set(ids), dict[str, list[str]]()
    for item in items():
        first = item.id if item.id in PARTS else first
        if item.id in wanted:
            found.setdefault(first, []).append(item.id)
    return found


def _part(first: str) -> str:
    name, section = PARTS[first]
    return f"{both(name)} <small>§ {section}</small>" if section else both(name)


def _contents(outcomes: list[Outcome]) -> str:
    found = {outcome.item.id: outcome for outcome in outcomes}
    parts = _by_part(found)
    return "".join(
        f"<p>{_part(first)}</p><ul>{''.join(_link(found[i]) for i in inside)}</ul>"
        for first, inside in parts.items()
    )


def _link(outcome: Outcome) -> str:
    item, state = outcome.item, "kept" if outcome.ok else "missed"
    link = f'<a href="#{item.id}"><b>{item.id}</b><span>{title(item)}</span></a>'
    return f'<li>{link} <span class="{state}">{mark(outcome.ok)}</span></li>'


def _parts(entries: dict[str, str]) -> str:
    return "".join(
        f'<section class="part"><h2>{_part(first)}</h2>\n{"".join(entries[i] for i in inside)}</section>\n'
        for first, inside in _by_part(entries).items()
    )


def _data(name: str) -> str:
    """Return a file of this package, from wherever it is installed, a zip too."""
    return (files("pgref.report") / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return what lets the page run this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
