"""The command `pgref demo`: a page in which a trained policy plays, to be opened in a browser."""

from __future__ import annotations

import argparse
import os
from typing import Any


def add(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    run = commands.add_parser("demo", help="a page in which a trained policy plays, beside an untrained one")
    run.set_defaults(run=demo)
    run.add_argument("path", metavar="RUN", help="a run's folder, or the file of an agent")
    run.add_argument("--html", default="play.html", metavar="FILE", help="the page (play.html)")
    run.add_argument("--lang", choices=("en", "zh"), default="en", help="language it begins in (en)")


def demo(arguments: argparse.Namespace) -> int:
    """Write the page of a run."""
    from pgref import runs
    from pgref.agent import load
    from pgref.demo import page

    path, out = arguments.path, arguments.html
    agent = load(path) if os.path.isfile(path) else runs.open_run(path).agent
    page.write(agent, out, arguments.lang)
    print(f"{out}: {agent.algorithm} plays {agent.env.name} after {agent.state.steps} steps")
    return 0
