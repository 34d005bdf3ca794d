"""One item as HTML: numbers, formula, verdict, what was measured, figure, code."""

from __future__ import annotations

from html import escape

from pgref.book import Outcome
from pgref.checks.finding import Finding
from pgref.chinese import WORDS
from pgref.concordance import Item
from pgref.render import translated
from pgref.report.formulas import FORMULAS
from pgref.report.mathml import typeset
from pgref.report.source import listing
from pgref.report.words import both, numbers


def entry(outcome: Outcome, picture: str) -> str:
    """Return the item's part of the page, given its figure."""
    item, findings = outcome
    kept = f"{sum(f.ok for f in findings)}/{len(findings)}"
    note = f'<p class="note">{both(item.note, item.note_zh)}</p>' if item.note else ""
    return f"""<article class="item" id="{item.id}" data-find="{escape(_found_by(item))}">
<h3><a class="id" href="#{item.id}">{item.id}</a> {title(item)}
<span class="numbers">{numbers(item.numbers)}</span></h3>
<p><span class="verdict {item.verdict.replace(" ", "-")}">{both(item.verdict)}</span>
<span class="{"kept" if outcome.ok else "missed"}">{mark(outcome.ok)} {kept}</span></p>
{_formulas(item)}
{note}
{picture}
<h4>{both("Measured in this run")}</h4>
{_table(findings)}
<h4>{both("Code")}</h4>
{"".join(map(listing, item.code))}
<h4>{both("Checks")}</h4>
{"".join(listing(f"checks.{name}") for name in item.checks)}
</article>
"""


def title(item: Item) -> str:
    """Return the item's title."""
    return both(item.title, item.title_zh)


def mark(ok: bool) -> str:
    """Return a sign that is also read aloud."""
    sign, word = ("✓", "kept") if ok else ("✗", "missed")
    return f'<span aria-hidden="true">{sign}</span><span class="aloud">{both(word)}</span>'


def _found_by(item: Item) -> str:
    """Return what the search looks through, in small letters."""
    texts = (item.title, item.title_zh, item.verdict, WORDS[item.verdict], item.note, item.note_zh)
    return " ".join([item.id, *item.numbers, *texts, item.formula, item.printed, *item.code]).lower()


def _formulas(item: Item) -> str:
    right, printed = FORMULAS[item.id]
    if not printed:
        return f'<div class="formula">{typeset(right)}</div>'
    sides = ("as printed", printed), ("as it is right", right)
    boxes = (f'<div class="formula"><h4>{both(name)}</h4>{typeset(lines)}</div>' for name, lines in sides)
    return f'<div class="sides">{"".join(boxes)}</div>'


def _table(findings: tuple[Finding, ...]) -> str:
    if not findings:
        return f'<p class="missed">✗ {both("nothing measured")}</p>'
    heads = "".join(f'<th scope="col">{both(head)}</th>' for head in ("what was measured", "value", "limit"))
    rows = "".join(map(_row, findings))
    return f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _row(finding: Finding) -> str:
    return (
        f'<tr class="{"kept" if finding.ok else "missed"}"><td>{mark(finding.ok)}</td>'
        f"<td>{both(finding.what, translated(finding.what, 'zh'))}</td>"
        f"<td>{finding.value:.3g}</td><td>{finding.relation}&nbsp;{finding.limit:.3g}</td></tr>"
    )
