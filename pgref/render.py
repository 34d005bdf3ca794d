"""Text for people: the table, an item's page, and a user's own MDP, in English or Chinese."""

from __future__ import annotations

import inspect
from unicodedata import east_asian_width

import numpy as np

from pgref.arrays import Array
from pgref.book import Outcome, location, resolve
from pgref.checks.finding import Finding
from pgref.chinese import FINDINGS, WORDS
from pgref.concordance import Item


def word(text: str, lang: str) -> str:
    """Return one of the interface's own words in that language."""
    return WORDS.get(text, text) if lang == "zh" else text


def title(item: Item, lang: str) -> str:
    """Return the item's title in that language."""
    return item.title_zh if lang == "zh" else item.title


def translated(what: str, lang: str) -> str:
    """Return what was measured, in that language."""
    return FINDINGS.get(what, what) if lang == "zh" else what


def finding_line(finding: Finding, lang: str) -> str:
    """Return one line: what was measured, the number, its limit."""
    what = translated(finding.what, lang)
    mark = "✓" if finding.ok else "✗"
    return f"{mark} {what}: {finding.value:.3g} {finding.relation} {finding.limit:.3g}"


def outcome_row(outcome: Outcome, lang: str) -> str:
    """Return the item's row of the table; its first finding speaks for it, an erratum's first counterexample.

    A finding that fails goes before either.
    """
    item, findings = outcome
    telling = sorted(findings, key=lambda f: (f.ok, item.verdict != "erratum" or f.relation != "≥"))
    shown = finding_line(telling[0], lang) if telling else f"✗ {word('nothing measured', lang)}"
    kept = sum(f.ok for f in findings)
    columns = (item.id, 5), (item.numbers[0], 15), (title(item, lang), 38), (word(item.verdict, lang), 11)
    return " ".join([pad(*c) for c in columns] + [pad(f"{kept}/{len(findings)}", 5), shown])


def header(lang: str) -> str:
    """Return the table's heading."""
    names = ("item", 5), ("number", 15), ("statement", 38), ("verdict", 11), ("kept", 5)
    return " ".join([pad(word(name, lang), width) for name, width in names] + [word("measured", lang)])


def list_row(item: Item, lang: str) -> str:
    """Return the item's row of `pgref list`."""
    numbers = ", ".join(item.numbers)
    return f"{pad(item.id, 5)} {pad(numbers, 30)} {pad(word(item.verdict, lang), 11)} {title(item, lang)}"


def page(outcome: Outcome, lang: str) -> str:
    """Return all there is to say of an item: formula, verdict, code, docstring, what was measured."""
    item = outcome.item
    lines = [f"{item.id}  {', '.join(item.numbers)}  {title(item, lang)}", "", f"    {item.formula}", ""]
    lines.append(f"{word('verdict', lang)}: {word(item.verdict, lang)}")
    if item.printed:
        lines.append(f"{word('printed', lang)}: {item.printed}")
    if note := item.note_zh if lang == "zh" else item.note:
        lines.append(f"{word('note', lang)}: {note}")
    for name in item.code:
        lines += ["", f"pgref.{name.replace(':', '.')}  {location(name)}"]
        lines += [f"    {line}" for line in (inspect.getdoc(resolve(name)) or "").splitlines()]
    lines += ["", f"{word('measured', lang)}:"]
    lines += [f"    {finding_line(finding, lang)}" for finding in outcome.findings]
    return "\n".join(line.rstrip() for line in lines)


def markdown(outcomes: list[Outcome], lang: str) -> str:
    """Return the README's two tables: all items with verdicts, and the errata with a counterexample each."""
    names = [word(name, lang) for name in ("item", "number", "statement", "formula", "verdict")]
    lines = [_cells(names), _cells(["---"] * 5)]
    for item, _ in outcomes:
        formula = item.formula.replace("|", "\\|")
        row = [item.id, ", ".join(item.numbers), title(item, lang), f"`{formula}`", word(item.verdict, lang)]
        lines.append(_cells(row))
    names = [word(name, lang) for name in ("item", "printed", "true", "measured")]
    lines += ["", _cells(names), _cells(["---"] * 4)]
    for item, findings in outcomes:
        if item.verdict == "erratum":
            shown = [(translated(f.what, lang), f.value) for f in findings if f.relation == "≥"]
            measured = "<br>".join(f"{what}: {value:.2g}" for what, value in shown).replace("|", "\\|")
            formula, printed = (text.replace("|", "\\|") for text in (item.formula, item.printed))
            lines.append(_cells([item.id, f"`{printed}`", f"`{formula}`", measured]))
    return "\n".join(lines)


def _cells(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def vector(name: str, values: Array) -> str:
    """Return a named array, its first rows if it is long."""
    text = np.array2string(np.asarray(values), precision=6, threshold=60, edgeitems=3, max_line_width=100)
    return f"{name} = " + text.replace("\n", "\n" + " " * (len(name) + 3))


def pad(text: str, width: int) -> str:
    """Return the text filled with spaces to a width in terminal cells; Chinese characters take two."""
    return text + " " * (width - sum(2 if east_asian_width(c) in "WF" else 1 for c in text))
