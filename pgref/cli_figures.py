"""The command `pgref figures`: the chapter's figures as SVG files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    run = commands.add_parser("figures", help="the chapter's figures as SVG files")
    run.set_defaults(run=write)
    run.add_argument("folder", metavar="DIR", help="where to write them; made if it does not exist")
    run.add_argument("--lang", choices=("en", "zh"), default="en", help="language of the labels")


def write(arguments: argparse.Namespace) -> int:
    """Write a file for each figure, and print which items it illustrates."""
    from pgref import figures
    from pgref.files import write_atomically

    folder = Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for draw in dict.fromkeys(figures.ITEMS.values()):
        path = folder / f"{draw.__name__}.svg"
        write_atomically(str(path), figures.as_svg(draw, lang=arguments.lang).encode())
        print(f"{path}: {', '.join(item for item, other in figures.ITEMS.items() if other is draw)}")
    return 0
