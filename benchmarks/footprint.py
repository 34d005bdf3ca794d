"""What imports, an installation, verification and training cost: time, memory, bytes; in fresh processes.

torch, JAX and Stable-Baselines3 stand beside it where they are installed, each size with all that it needs.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
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
    "pgref train trpo": (
        "import pgref.cli; status = pgref.cli.main('train trpo CartPole --steps 4096 --quiet'.split())\n"
        "if status: sys.exit(status)"
    ),
    "PPO 2048 × 32": (
        "from pgref.agent import PPO;"
        "PPO('CartPole', rng=0, n_envs=2048, n_steps=32, minibatch=16384, epochs=4).learn(4 * 65536)"
    ),
}
FISHER, BATCHES = "5 Fisher products", (4096, 32768, 131072)
PRODUCTS = (  # what the processes of both kinds hold, and then the products
    "import numpy as np; from pgref.arrays import Workspace; from pgref.distributions import Categorical;"
    "from pgref.networks import MLP; from pgref.policy import Policy; rng = np.random.default_rng(0);"
    "policy = Policy(MLP((4, 64, 64, 2)), Categorical()); theta = policy.init(rng, 'float32');"
    "obs = rng.standard_normal(({batch}, 4), 'float32');",
    "product = policy.fisher_product(theta, obs, None, Workspace()); [product(theta) for _ in range(5)]",
)
STATEMENTS |= {f"data of {batch}": PRODUCTS[0].format(batch=batch) + "pass" for batch in BATCHES}
STATEMENTS |= {f"{FISHER}, {batch}": "".join(PRODUCTS).format(batch=batch) for batch in BATCHES}
LEARN = (
    f"sys.path.insert(0, {str(Path(__file__).parent)!r}); import training_peers as t;"
    "t.{who}(t.CASES[{case!r}], 4000)(0)"
)
LEARNING = {  # 4000 steps of CartPole: whose, and with which settings of training_peers
    "PPO of pgref": ("ours", "PPO 8 × 32"),
    "PPO of SB3": ("sb3", "PPO 8 × 32"),
    "TRPO of pgref": ("ours", "TRPO 2 × 512"),
    "TRPO of sb3-contrib": ("sb3", "TRPO 2 × 512"),
    "PPO of rejax": ("rejax", "PPO 5 × 100"),
}
STATEMENTS |= {
    "from pgref import PPO": "from pgref import PPO",
    "import torch": "import torch",
    "import jax": "import jax",
    "import stable_baselines3": "import stable_baselines3",
    **{name: LEARN.format(who=who, case=case) for name, (who, case) in LEARNING.items()},
}
PEERS = {  # what else these need
    "import torch": "torch",
    "import jax": "jax",
    "import stable_baselines3": "stable_baselines3",
    "PPO of SB3": "stable_baselines3",
    "TRPO of sb3-contrib": "sb3_contrib",
    "PPO of rejax": "rejax",
}
BESIDE = {  # who: what has to be installed, what is imported, what learns
    "pgref": ("pgref", "from pgref import PPO", "PPO of pgref"),
    "pgref, TRPO": ("pgref", "from pgref import PPO", "TRPO of pgref"),
    "torch": ("torch", "import torch", ""),
    "JAX": ("jax", "import jax", ""),
    "JAX and rejax": ("rejax", "import jax", "PPO of rejax"),
    "SB3": ("stable_baselines3", "import stable_baselines3", "PPO of SB3"),
    "sb3-contrib, TRPO": ("sb3_contrib", "import stable_baselines3", "TRPO of sb3-contrib"),
}
NO_SCIPY = (
    "pgref train trpo",
    "PPO 2048 × 32",
    "PPO of pgref",
    "TRPO of pgref",
)  # which fail if they load it
WHOLE = ", with what it needs"
LONG = ("pgref verify", "PPO 2048 × 32", *PEERS)

SCIPY = "\nif any(name.split('.')[0] == 'scipy' for name in sys.modules): sys.exit('loads SciPy')"
# what a process says of itself at its end: getrusage would start from the peak of the parent
PEAK = "\nif sys.platform == 'linux': print(open('/proc/self/status').read(), file=sys.stderr)"


class Cost(NamedTuple):
    """What one process took."""

    wall: float  # s
    cpu: float  # s, user and system
    peak: float  # bytes of resident memory, NaN where the system does not say
    failure: str  # last line of its error output, empty if it succeeded


def run(name: str) -> Cost:
    """Run a statement in a fresh interpreter, away from the sources and in a folder of its own."""
    if name in PEERS and find_spec(PEERS[name]) is None:
        return Cost(math.nan, math.nan, math.nan, f"{PEERS[name]} is not installed")
    code = f"import sys; {STATEMENTS[name]}{PEAK}{SCIPY if name in NO_SCIPY else ''}"
    with tempfile.TemporaryDirectory() as folder:
        done = harness.process([sys.executable, "-c", code], folder)
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.errors)
    return Cost(done.wall, done.cpu, 1024.0 * int(peak[1]) if peak else math.nan, done.failure)


def processes(repeats: int) -> list[dict[str, Any]]:
    """Run every statement in turns; the first round, which may write byte code, does not count."""
    taken: dict[str, list[Cost]] = {name: [] for name in STATEMENTS}
    for turn in range(repeats + 1):
        for name in STATEMENTS:
            if name not in LONG or turn <= 3:
                taken[name].append(run(name))
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


def demands(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is asked of the measurements: measured, target and floor, each at most."""
    by = {row["what"]: row for row in rows}
    imports = (by[name]["cpu_s"] / by["import numpy"]["cpu_s"] for name in ("import pgref", "pgref.Policy"))
    beyond = {n: by[f"{FISHER}, {n}"]["peak_MB"] - by[f"data of {n}"]["peak_MB"] for n in BATCHES}
    asked = [
        ("CPU time, import pgref / import numpy", next(imports), 1.05, 1.15),
        ("CPU time, pgref.Policy / import numpy", next(imports), None, None),
        ("peak MB, PPO 2048 × 32", by["PPO 2048 × 32"]["peak_MB"], 200, 300),
        *((f"MB beyond the data, {FISHER}, {n}", most, None, None) for n, most in beyond.items()),
        *((f"{name}: {by[name]['failure'] or 'loads no SciPy'}", None, None, None) for name in NO_SCIPY),
    ]
    return [dict(zip(("what", "measured", "target", "floor"), row, strict=True)) for row in asked]


def sizes() -> dict[str, Any]:
    """Return bytes: the wheel, pgref as pip installs it, and the others as they are installed here."""
    with tempfile.TemporaryDirectory() as folder:
        sources, wheels, installed = (Path(folder, name) for name in ("sources", "wheels", "installed"))
        shutil.copytree(ROOT, sources, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "results"))
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "wheel", "-qq", "--no-deps", "-w", wheels, sources], check=True)
        wheel = next(wheels.iterdir())
        subprocess.run([*pip, "install", "-qq", "--no-deps", "--target", installed, wheel], check=True)
        here: dict[str, Any] = {
            "wheel": wheel.stat().st_size,
            "pgref installed, with byte code": _bytes(installed.rglob("*")),
        }
    peers = {name: metadata.distribution(name) for name in ("numpy", "scipy")}
    here |= {f"{name} {peer.version} installed": _size(peer) for name, peer in peers.items()}
    _, ours, numpy, _ = here.values()
    whole: dict[str, Any] = {"pgref": ours + numpy}  # SciPy only for some exact values
    for name in sorted({package for package, _, _ in BESIDE.values()} - {"pgref"}):
        whole[name] = sum(map(_size, needed(name).values())) or "not installed"
    return here | {f"{name}{WHOLE}": size for name, size in whole.items()}


def needed(package: str) -> dict[str, metadata.Distribution]:
    """Return a package and all that it requires, by name, as far as they are installed here."""
    from pip._vendor.packaging.requirements import Requirement  # pip is what measures pgref itself

    found: dict[str, metadata.Distribution] = {}
    left = [package]
    while left:
        name = re.sub("[-_.]+", "-", left.pop()).lower()
        with suppress(metadata.PackageNotFoundError):
            if name not in found:
                found[name] = metadata.distribution(name)
                wanted = map(Requirement, found[name].requires or ())
                left += [r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def _size(package: metadata.Distribution) -> int:
    return _bytes(Path(str(package.locate_file(file))) for file in package.files or ())


def _bytes(paths: Any) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def beside(rows: list[dict[str, Any]], here: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what each takes on the disk with all that it needs, to import, and to learn 4000 steps."""
    by, table = {row["what"]: row for row in rows}, []
    for who, (package, imports, learns) in BESIDE.items():
        size = here[package + WHOLE]
        start, learning = by[imports], by.get(learns, {})
        table.append({
            "who": who,
            "failure": start["failure"] or learning.get("failure", ""),
            "installed_MB": size / 1e6 if isinstance(size, int) else math.nan,
            "import_s": start["wall_s"],
            "import_peak_MB": start["peak_MB"],
            "learning_s": learning.get("wall_s", math.nan),
            "learning_peak_MB": learning.get("peak_MB", math.nan),
        })  # fmt: skip
    return table


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
    print(f"\n{'fresh process':<26} {'wall ms (quartiles)':>26} {'CPU ms':>8} {'peak MB':>8}")
    for row in rows:
        wall = "{wall_s:.1f} ({wall_low_s:.1f}–{wall_high_s:.1f})".format(
            **{key: 1e3 * value for key, value in row.items() if key.startswith("wall")}
        )
        costs = f"{wall:>26} {1e3 * row['cpu_s']:>8.1f} {row['peak_MB']:>8.1f}"
        print(f"{row['what']:<26} {row['failure'] or costs}")
    record["beside"] = beside(rows, record["bytes"])
    print("\nbeside others, on the disk with what they need; pgref needs NumPy to learn")
    heads = "MB on disk", "import ms", "peak MB", "4000 steps, s", "peak MB"
    print(f"{'':<20}" + "".join(f"{head:>15}" for head in heads))
    for who, failure, size, start, peak, *learning in (row.values() for row in record["beside"]):
        figures = (f"{x:.4g}" if x == x else "–" for x in (size, 1e3 * start, peak, *learning))
        print(f"{who:<20}" + (f"  {failure}" if failure else "".join(f"{x:>15}" for x in figures)))
    record["demands"] = demands(rows)
    print(f"\n{'at most':<50} {'measured':>9} {'target':>7} {'floor':>6}")
    for what, *figures in (demand.values() for demand in record["demands"]):
        measured, target, floor = ("" if x is None else f"{x:.4g}" for x in figures)
        print(f"{what:<50} {measured:>9} {target:>7} {floor:>6}".rstrip())
    harness.write(args.out, "footprint", record, rows)


if __name__ == "__main__":
    main()
