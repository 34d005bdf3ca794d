"""What an import, an installation and a verification cost: time, memory and bytes, in fresh processes."""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import harness

ROOT = Path(__file__).parent.parent
STATEMENTS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import pgref": "import pgref",
    "pgref.Policy": "import pgref; pgref.Policy",
    "pgref.cli": "import pgref.cli",
    "V of a sparse MDP": (  # the first call that needs SciPy
        "import scipy.sparse, pgref; stay = scipy.sparse.eye(2, format='csr');"
        "mdp = pgref.TabularMDP(stay, [[1.0], [2.0]], [0.5, 0.5], 0.5);"
        "pgref.state_values(mdp, [[1.0], [1.0]])"
    ),
    "pgref verify": "import pgref.cli; sys.argv = ['pgref', 'verify']; pgref.cli.main()",
}


# what a process says of itself at its end: getrusage would start from the peak of the parent
PEAK = "\nif sys.platform == 'linux': print(open('/proc/self/status').read(), file=sys.stderr)"


class Cost(NamedTuple):
    """What one process took."""

    wall: float  # s
    cpu: float  # s, user and system
    peak: float  # bytes of resident memory, NaN where the system does not say
    failure: str  # last line of its error output, empty if it succeeded


def run(statement: str, folder: str) -> Cost:
    """Run a statement in a fresh interpreter, away from the sources."""
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-c", f"import sys; {statement}{PEAK}"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read()
    peak = re.search(r"VmHWM:\s+(\d+) kB", said)
    return Cost(
        wall,
        used.ru_utime + used.ru_stime,
        1024.0 * int(peak[1]) if peak else math.nan,
        (said.strip() or "failed").splitlines()[-1] if child.returncode else "",
    )


def processes(repeats: int) -> list[dict[str, Any]]:
    """Run every statement in turns; the first round, which may write byte code, does not count."""
    taken: dict[str, list[Cost]] = {name: [] for name in STATEMENTS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeats + 1):
            for name, statement in STATEMENTS.items():
                if name != "pgref verify" or turn <= 3:  # the long one
                    taken[name].append(run(statement, folder))
    return [_row(name, costs[1:]) for name, costs in taken.items()]


def _row(name: str, costs: list[Cost]) -> dict[str, Any]:
    wall, cpu = (harness.spread([getattr(cost, what) for cost in costs]) for what in ("wall", "cpu"))
    return {
        "what": name,
        "wall_s": wall.median_s,
        "wall_low_s": wall.low_s,
        "wall_high_s": wall.high_s,
        "cpu_s": cpu.median_s,
        "peak_MB": max(cost.peak for cost in costs) / 1e6,
        "runs": len(costs),
        "failure": costs[-1].failure,
    }


def sizes() -> dict[str, Any]:
    """Return bytes: the wheel, pgref as pip installs it, and NumPy and SciPy as they are installed here."""
    with tempfile.TemporaryDirectory() as folder:
        sources, wheels, installed = (Path(folder, name) for name in ("sources", "wheels", "installed"))
        shutil.copytree(ROOT, sources, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "results"))
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "wheel", "-qq", "--no-deps", "-w", wheels, sources], check=True)
        wheel = next(wheels.iterdir())
        subprocess.run([*pip, "install", "-qq", "--no-deps", "--target", installed, wheel], check=True)
        here = {
            "wheel": wheel.stat().st_size,
            "pgref installed, with byte code": _bytes(installed.rglob("*")),
        }
    peers = {name: metadata.distribution(name) for name in ("numpy", "scipy")}
    return here | {
        f"{name} {peer.version} installed": _bytes(Path(str(peer.locate_file(f))) for f in peer.files or ())
        for name, peer in peers.items()
    }


def _bytes(paths: Any) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> None:
    """Measure, print the tables, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three turns")
    parser.add_argument("--repeats", type=int, default=15, help="fresh processes of each kind (default 15)")
    parser.add_argument(
        "--out", type=Path, default=harness.RESULTS, help="folder for footprint.json and .csv"
    )
    args = parser.parse_args()
    record = {
        "machine": harness.machine(("pgref", "numpy", "scipy")),
        "settings": {**vars(args), "out": str(args.out)},
        "bytes": sizes(),
    }
    harness.describe(record)
    rows = processes(3 if args.quick else args.repeats)
    print(f"\n{'fresh process':<20} {'wall ms (quartiles)':>26} {'CPU ms':>8} {'peak MB':>8}")
    for row in rows:
        wall = "{wall_s:.1f} ({wall_low_s:.1f}–{wall_high_s:.1f})".format(
            **{key: 1e3 * value for key, value in row.items() if key.startswith("wall")}
        )
        costs = f"{wall:>26} {1e3 * row['cpu_s']:>8.1f} {row['peak_MB']:>8.1f}"
        print(f"{row['what']:<20} {row['failure'] or costs}")
    harness.write(args.out, "footprint", record, rows)


if __name__ == "__main__":
    main()
