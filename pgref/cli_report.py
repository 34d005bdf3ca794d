"""The command `pgref report`: the chapter as one page, with what was measured just now."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterable, Iterator
from typing import Any

DEFAULT_MDPS = 200


def add(commands: Any, language: argparse.ArgumentParser) -> None:
    """Add the command to a parser's subparsers."""
    run = commands.add_parser("report", parents=[language], help="the chapter as one HTML page")
    run.set_defaults(run=report)
    run.add_argument("--html", required=True, metavar="FILE", help="the page; needs pgref[report]")
    run.add_argument("--mdps", type=int, metavar="N", default=DEFAULT_MDPS, help="as for verify (200)")
    run.add_argument("--rng", type=int, default=0, metavar="SEED", help="seed of the random instances (0)")


def report(arguments: argparse.Namespace) -> int:
    """Check every item and write the page."""
    from pgref import book, render
    from pgref.arrays import count

    ready()
    mdps, seed, lang = count("--mdps", arguments.mdps), count("--rng", arguments.rng, 0), arguments.lang
    outcomes: list[book.Outcome] = []

    def measured() -> Iterator[book.Outcome]:
        for item in book.items():
            progress(f"[{len(outcomes) + 1}/{len(book.items())}] {item.id} {render.title(item, lang)}")
            outcomes.append(book.run(item, mdps=mdps, seed=seed))
            yield outcomes[-1]

    size = write(arguments.html, measured(), mdps=mdps, seed=seed, lang=lang)
    kept = sum(outcome.ok for outcome in outcomes)
    print(f"{arguments.html}: {kept}/{len(outcomes)} {render.word('items hold', lang)}, {size} bytes")
    return 0 if kept == len(outcomes) else 1


def ready() -> None:
    """Raise MissingExtraError now, not after everything has been measured."""
    from pgref.report.mathml import converter

    converter()


def write(path: str, outcomes: Iterable[Any], *, mdps: int, seed: int, lang: str) -> int:
    """Write the page with today's date, all of it or nothing, and return its size in bytes."""
    from pgref.files import write_atomically
    from pgref.report.page import page

    def announced() -> Iterator[Any]:
        for outcome in outcomes:
            progress(f"{path}: {outcome.item.id}")  # its figure can take a second
            yield outcome
        progress("")

    today = datetime.date.today().isoformat()
    text = page(announced(), date=today, mdps=mdps, seed=seed, lang=lang).encode()
    write_atomically(path, text)
    return len(text)


def progress(text: str) -> None:
    """Show what is being done on a terminal, and nothing in a pipe."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
