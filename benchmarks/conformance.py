"""What the installed frameworks compute, by the oracle: their own code beside the reference.

Each row is one function or method of a framework on 32 random inputs. The verdict is the oracle's: equal,
equal up to something, a known deviation by its name, or different. The effect is the largest error on any
input, relative to the largest entry of its result or to 1; ∞ where only one of the two is finite. A deviation
is a statement about these inputs and this version, not a judgement: several are documented choices, or
settings that a user can change.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import harness  # before NumPy
from conformance_peers import PEERS
from conformance_peers.calls import Call

from pgref.oracle.compare import check
from pgref.oracle.families import check_named, check_names
from pgref.oracle.report import Report

PACKAGES = ("pgref", "numpy", *PEERS, "jax", "jaxlib", "gymnasium")
ABSENT = "not installed"


class Row(NamedTuple):
    """What was found out about one call, or why nothing was."""

    framework: str
    version: str
    component: str
    called: str
    verdict: str
    deviation: str = ""
    effect: float = math.nan  # relative error
    message: str = ""
    cost: str = ""
    dtype: str = ""
    inputs: int = 0


def main() -> None:
    """Ask the oracle about every call of every framework, or of those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=[*PEERS, *check_names()], help="frameworks and components"
    )
    parser.add_argument("--draws", type=int, default=32, help="inputs for each call")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for the results")
    options = parser.parse_args()
    harness.one_core()
    record = {
        "machine": harness.machine(PACKAGES),
        "settings": {"inputs for each call": options.draws, "seed": options.seed},
    }
    harness.describe(record)
    chosen = options.only or []
    frameworks, components = set(chosen) & set(PEERS) or set(PEERS), set(chosen) - set(PEERS)
    print(
        f"\n{line(Row(*('framework', 'version', 'component', 'called', 'verdict', 'deviation')), 'effect')}"
    )
    rows = []
    for row in (row for name in PEERS if name in frameworks for row in examined(name, components, options)):
        rows.append(row)
        print(line(row), flush=True)
    print("\n" + ", ".join(f"{n} {verdict}" for verdict, n in Counter(row.verdict for row in rows).items()))
    harness.write(options.out, "conformance", record, [as_plain(row) for row in rows])


def examined(framework: str, components: set[str], options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of one framework; one that cannot be called gets a row that says so."""
    version = harness.version(framework)
    if version == ABSENT:
        yield Row(framework, "", "", "", ABSENT)
        return
    for adapter in PEERS[framework]:
        warnings.simplefilter("ignore")  # the frameworks' own; again for each, as some reset the filter
        try:
            calls = [call for call in adapter() if not components or call.component in components]
        except Exception as error:  # whatever its import raises
            said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            yield Row(framework, version, "", adapter.__module__, "not callable", message=said)
            continue
        for call in calls:
            yield row_of(framework, version, call, asked(call, draws=options.draws, seed=options.seed))


def asked(call: Call, **options: Any) -> Report:
    """Return the oracle's report, on those of its inputs that the call can be given."""
    if call.narrowed is None:
        return check_named(call.component)(call.function, **options, **call.options)
    home = import_module(check_named(call.component).__module__)
    component = next(c for c in home.COMPONENTS if c.name == call.component)
    narrow = call.narrowed
    changes = {
        "draw": lambda rng, case: narrow(component.draw(rng, case)),
        "repaired": lambda inputs: component.repaired(inputs) and narrow(inputs),
    }
    return check(replace(component, **changes), call.function, **options, **call.options)


def row_of(framework: str, version: str, call: Call, report: Report) -> Row:
    """Return the report of one call as a row."""
    known = [deviation for deviation in (report.deviation, report.also) if deviation]
    return Row(
        framework,
        version,
        report.component,
        call.what,
        report.verdict,
        " and ".join(deviation.name for deviation in known),
        report.relative_error,
        report.message,
        "; ".join(deviation.cost for deviation in known),
        call.options.get("dtype", "float64"),
        report.cases,
    )


def line(row: Row, effect: str = "") -> str:
    """Return a row of the table; the message where there is no name for what was found."""
    if math.isfinite(row.effect):
        effect = f"{row.effect:.1e}"
    elif math.isinf(row.effect):
        effect = "∞"
    found = row.deviation or ("" if row.verdict == "equal" else row.message)
    words = f"{row.framework:18}{row.version:12}{row.component:28}{row.called:44}{row.verdict:14}"
    return f"{words}{found:34}{effect}"


def as_plain(row: Row) -> dict[str, Any]:
    """Return the row for JSON, which has no infinities and no NaN."""
    effect = row.effect if math.isfinite(row.effect) else str(row.effect)
    return {**row._asdict(), "effect": effect}


if __name__ == "__main__":
    main()
