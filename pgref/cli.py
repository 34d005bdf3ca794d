"""The command: `pgref verify`, `show 5.18`, `list`; the others are in the modules cli_….

Exit status 0 if everything holds, 1 if something does not, 2 for arguments or files that cannot be used and
for training that cannot go on, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from pgref import cli_report
from pgref.cli_report import DEFAULT_MDPS, progress

THOROUGH_MDPS = 3000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # before NumPy loads: more threads only cost at these sizes
    arguments = _parser().parse_args(argv)
    from pgref.errors import PgrefError

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without ρ gets a question mark
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (PgrefError, OSError) as error:
        print(f"pgref: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"pgref: {stop.args[0] if stop.args else 'interrupted'}", file=sys.stderr)
        return 130
    return status


def verify(arguments: argparse.Namespace) -> int:
    """Check every item, or the chosen ones, and print the table."""
    if arguments.mdp is not None:
        return _verify_own(arguments)
    from pgref import book, render
    from pgref.arrays import count

    if arguments.policy is not None or arguments.new_policy is not None:
        raise _usage("--policy and --new-policy need --mdp")
    if arguments.html:
        cli_report.ready()
    mdps = THOROUGH_MDPS if arguments.thorough else DEFAULT_MDPS
    mdps = mdps if arguments.mdps is None else count("--mdps", arguments.mdps)
    seed, lang = count("--rng", arguments.rng, 0), arguments.lang
    keys = arguments.only.split(",") if arguments.only else []
    chosen = {item.id: item for key in keys for item in book.find(key)}
    selected = [item for item in book.items() if not keys or item.id in chosen]
    started, outcomes = time.perf_counter(), []
    print(render.header(lang))
    for i, item in enumerate(selected):
        progress(f"[{i + 1}/{len(selected)}] {item.id} {render.title(item, lang)}")
        outcomes.append(book.run(item, mdps=mdps, seed=seed))
        progress("")
        print(render.outcome_row(outcomes[-1], lang), flush=True)
    seconds = time.perf_counter() - started
    kept, total = sum(o.ok for o in outcomes), sum(len(o.findings) for o in outcomes)
    words = [render.word(w, lang) for w in ("items hold", "findings", "seconds")]
    print(f"\n{kept}/{len(outcomes)} {words[0]}, {total} {words[1]}, {seconds:.1f} {words[2]}")
    if arguments.json:
        record = {"mdps": mdps, "rng": seed, "seconds": seconds, "items": [_as_json(o) for o in outcomes]}
        _write_json(arguments.json, kept == len(outcomes), record)
    if arguments.html:
        cli_report.write(arguments.html, outcomes, mdps=mdps, seed=seed, lang=lang)
    return 0 if kept == len(outcomes) else 1


def show(arguments: argparse.Namespace) -> int:
    """Print the page of each item with that id or number."""
    from pgref import book, render

    outcomes = [book.run(item) for item in book.find(arguments.key)]
    print("\n\n".join(render.page(outcome, arguments.lang) for outcome in outcomes))
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def list_items(arguments: argparse.Namespace) -> int:
    """Print all items, a line each, or the README's tables, for which the errata are measured."""
    from pgref import book, render

    if arguments.markdown:
        print(render.markdown(book.run_errata(), arguments.lang))
        return 0
    for item in book.items():
        print(render.list_row(item, arguments.lang))
    return 0


def _verify_own(arguments: argparse.Namespace) -> int:
    import numpy as np

    from pgref import mdpfile, own, render
    from pgref.arrays import count

    if arguments.policy is None:
        raise _usage("--mdp needs --policy")
    if arguments.only or arguments.thorough or arguments.html or arguments.mdps is not None:
        raise _usage("--only, --mdps, --thorough and --html do not go with --mdp")
    mdp, policy = mdpfile.load_mdp(arguments.mdp), mdpfile.load_policy(arguments.policy)
    new = None if arguments.new_policy is None else mdpfile.load_policy(arguments.new_policy)
    result = own.report(mdp, policy, new, np.random.default_rng(count("--rng", arguments.rng, 0)))
    for name, values in result.arrays.items():
        print(render.vector(name, values))
    for name, number in result.numbers.items():
        print(f"{name} = {number:.12g}")
    for name, share in result.used.items():
        print(f"{render.word('share of the bound used', arguments.lang)}, {name}: {share:.2%}")
    for finding in result.findings:
        print(render.finding_line(finding, arguments.lang))
    ok = all(finding.ok for finding in result.findings)
    if arguments.json:
        plain = {name: values.tolist() for name, values in result.arrays.items()}
        findings = [_finding_as_json(f) for f in result.findings]
        _write_json(arguments.json, ok, plain | result.numbers | {"used": result.used, "findings": findings})
    return 0 if ok else 1


def _parser() -> argparse.ArgumentParser:
    from pgref import __version__, cli_demo, cli_export, cli_figures, cli_oracle, cli_training

    parser = argparse.ArgumentParser(prog="pgref", description="A policy-gradient chapter as code, verified.")
    parser.add_argument("--version", action="version", version=f"pgref {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    language = argparse.ArgumentParser(add_help=False)
    language.add_argument("--lang", choices=("en", "zh"), default="en", help="language of the output")

    check = commands.add_parser("verify", parents=[language], help="check every item numerically")
    check.set_defaults(run=verify)
    check.add_argument("--only", metavar="KEYS", help="ids or numbers, comma-separated: 5.18,I-21")
    check.add_argument("--mdps", type=int, metavar="N", help=f"random instances a check ({DEFAULT_MDPS})")
    check.add_argument("--rng", type=int, default=0, metavar="SEED", help="seed of the random instances (0)")
    check.add_argument("--thorough", action="store_true", help=f"{THOROUGH_MDPS} instances, some minutes")
    check.add_argument("--json", metavar="FILE", help="write everything measured")
    check.add_argument("--html", metavar="FILE", help="write it as a page; needs pgref[report]")
    check.add_argument("--mdp", metavar="FILE", help="check your own MDP instead (.npz or .json)")
    check.add_argument("--policy", metavar="FILE", help="π for --mdp (.npz, .npy or .json)")
    check.add_argument("--new-policy", metavar="FILE", help="π′ for --mdp")

    page = commands.add_parser("show", parents=[language], help="one item: formula, verdict, code, numbers")
    page.set_defaults(run=show)
    page.add_argument("key", help="an id or number: 5.18, I-21, 'Lemma 5.1'")

    rows = commands.add_parser("list", parents=[language], help="all items, a line each")
    rows.set_defaults(run=list_items)
    rows.add_argument("--markdown", action="store_true", help="the tables of the README")
    for others in (cli_training, cli_export, cli_demo, cli_figures, cli_oracle):
        others.add(commands)
    cli_report.add(commands, language)
    return parser


def _usage(message: str) -> Exception:
    from pgref.errors import ArgumentError

    return ArgumentError(message)


def _as_json(outcome: Any) -> dict[str, Any]:
    item = outcome.item
    findings = [_finding_as_json(f) for f in outcome.findings]
    return {**item._asdict(), "ok": outcome.ok, "findings": findings}


def _finding_as_json(finding: Any) -> dict[str, Any]:
    return {**finding._asdict(), "ok": finding.ok}


def _write_json(path: str, ok: bool, record: dict[str, Any]) -> None:
    from pgref.files import write_atomically
    from pgref.versions import versions

    text = json.dumps(_plain({"ok": ok, "versions": versions(), **record}), ensure_ascii=False, indent=1)
    write_atomically(path, (text + "\n").encode())


def _plain(value: Any) -> Any:
    """Return the value with what JSON cannot hold, NaN and infinities, as words."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":  # pragma: no cover (tests run it as a process)
    sys.exit(main())
