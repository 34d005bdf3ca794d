"""The command `pgref export`: a trained policy as a file that runs without this package."""

from __future__ import annotations

import argparse
import os
from typing import Any

ENDINGS = {"py": "py", "c": "h", "js": "mjs", "onnx": "onnx", "json": "json"}


def add(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    run = commands.add_parser(
        "export", help="a trained policy as a file: Python, C, JavaScript, ONNX or JSON"
    )
    run.set_defaults(run=export)
    run.add_argument("path", metavar="RUN", help="a run's folder, or the file of an agent")
    run.add_argument("--to", required=True, choices=ENDINGS, help="the language")
    run.add_argument("--dtype", choices=("float32", "float64"), help="precision (that of the training)")
    run.add_argument("--out", metavar="PATH", help="the file (policy.py, .h, .mjs, .onnx or .json)")
    run.add_argument("--verify", action="store_true", help="run it beside NumPy, on 10,000 observations")


def export(arguments: argparse.Namespace) -> int:
    """Write the policy of a run, and compare it with the NumPy policy if asked to."""
    from pgref import runs
    from pgref.agent import load
    from pgref.export import targets

    path, to = arguments.path, arguments.to
    out = arguments.out or f"policy.{ENDINGS[to]}"
    agent = load(path) if os.path.isfile(path) else runs.open_run(path).agent
    recipe = targets.write(agent, out, to, arguments.dtype)
    print(
        f"{out}: {recipe.about['algorithm']} on {recipe.about['env']} after {recipe.about['steps']} steps, "
        f"{recipe.dtype}, {os.path.getsize(out):,} bytes; on a device {recipe.constant_bytes():,} bytes of "
        f"flash for constants and {recipe.stack_bytes():,} of RAM for vectors"
    )
    return _verified(agent, out, recipe, to) if arguments.verify else 0


def _verified(agent: Any, out: str, recipe: Any, to: str) -> int:
    from pgref.export.verification import verify

    done = verify(agent, out, recipe, to)
    if done.problem:
        print(f"{out}: does not run: {done.problem}")
        return 1
    rounded = f"; on {done.rounded} observations rounding moves them further" if done.rounded else ""
    print(
        f"{out}: {'agrees' if done.ok else 'DIFFERS'} on {done.observations} observations: outputs within "
        f"{done.worst:.2g} of NumPy's (limit {done.tolerance:.0e}{rounded}), {done.outputs_off} outputs, "
        f"{done.actions_off} actions and {done.recorded_off} recorded answers off, "
        f"{done.actions_open} choices too close to call"
    )
    return 0 if done.ok else 1
