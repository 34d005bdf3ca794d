"""The command `pgref oracle`: the functions of a file beside the reference."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    run = commands.add_parser("oracle", help="check the functions of a Python file, and name their mistakes")
    run.set_defaults(run=oracle)
    run.add_argument("path", metavar="FILE.py", nargs="?", help="none: list what can be checked")
    run.add_argument("--json", metavar="FILE", help="write the reports")


def oracle(arguments: argparse.Namespace) -> int:
    """Check the functions of a file by their names, or list what can be checked."""
    from pgref.oracle.files import check_file, write_reports

    if arguments.path is None:
        return _list()
    checked = check_file(arguments.path)
    for name, report in checked:
        print(f"{name}()\n{report}\n")
    right = sum(report.ok for _, report in checked)
    print(f"{right} of {len(checked)} functions compute what they should")
    if arguments.json:
        write_reports(arguments.json, [{"function": name, **r.as_json()} for name, r in checked])
    return 0 if right == len(checked) else 1


def _list() -> int:
    from pgref.oracle.families import check_named, check_names

    for name in check_names():
        about = [line.strip() for line in (check_named(name).__doc__ or "\n").splitlines()]  # python -OO
        print(f"{name:26} {about[0].removeprefix('Check ')}")
        print(f"{'':26} {next((line for line in about if line.startswith('function(')), '')}")
    return 0
