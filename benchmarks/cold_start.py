"""CartPole solved from a cold start: whole processes next to `import torch` and Stable-Baselines3.

pgref trains with its preset from the command line until its last checkpoint is on the disk, which is judged
afterwards. SB3 and sb3-contrib learn with the settings of rl-baselines3-zoo and stop at the first evaluation
of 475; what their evaluations take is left out. Each seed is a round: one process of everything, in turns.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
from training_peers import CASES, EPISODES, SOLVED, Watch, obstacle, sb3

PACKAGES = ("pgref", "numpy", "gymnasium", "stable_baselines3", "sb3_contrib", "torch")
PGREF = [sys.executable, "-c", "import sys, pgref.cli; sys.exit(pgref.cli.main())"]  # what `pgref` runs
TRAIN = ["train", "trpo", "CartPole", "--preset", "fast", "--quiet"]
JUDGE = ["eval", "--episodes", str(EPISODES), "--deterministic"]
OURS, PYTHON, NUMPY, TORCH = "pgref " + " ".join(TRAIN[:-1]), "python -c pass", "import numpy", "import torch"
STATEMENTS = {PYTHON: "pass", NUMPY: "import numpy", TORCH: "import torch"}
ZOO = {
    "SB3 PPO": "PPO 8 × 32",
    "SB3 A2C": "A2C 8 × 5",
    "sb3-contrib TRPO": "TRPO 2 × 512",
}
BEST = "the best of SB3's"
TARGETS = {TORCH: (1.0, None), BEST: (None, 8.0)}  # target and floor: times as long as pgref
EVERY = 1000  # steps from one evaluation of SB3 to the next


def solve(name: str, seed: int) -> None:
    """Let SB3 learn until it has solved CartPole, and print how it went: a process of its own."""
    case, watch = CASES[name], Watch(EVERY)
    sb3(case, case.rounded(case.budget))(seed, watch)
    wall, cpu = watch.judging
    print(json.dumps({"solved": watch.solved, "steps": watch.steps, "wall_s": wall, "cpu_s": cpu}))


def train(seed: int, folder: str) -> dict[str, Any]:
    """Train with pgref in one process, and evaluate the checkpoint in another that is not timed."""
    run = str(Path(folder, f"run-{seed}"))
    done = harness.process([*PGREF, *TRAIN, "--seed", str(seed), "--out", run])
    if done.failure:
        return taken(OURS, seed, done)
    judged = harness.process([*PGREF, JUDGE[0], run, *JUDGE[1:]])
    mean = re.search(r"return (\S+)", judged.output)
    score = float(mean[1]) if mean else math.nan
    steps = re.search(r"after (\d+) steps", judged.output)
    return taken(OURS, seed, done) | {
        "solved": score >= SOLVED,
        "score": score,
        "steps": int(steps[1]) if steps else None,
        "failure": judged.failure or ("" if score >= SOLVED else f"evaluates to {score:g}, below {SOLVED}"),
    }


def peer(what: str, seed: int) -> dict[str, Any]:
    """Run a process of SB3 and take off what its evaluations took; nothing was solved if it never was."""
    done = harness.process([sys.executable, __file__, "--solve", ZOO[what], str(seed)])
    row = taken(what, seed, done)
    if done.failure:
        return row
    said = json.loads(done.output.splitlines()[-1])
    return row | {
        "wall_s": done.wall - said["wall_s"],
        "cpu_s": done.cpu - said["cpu_s"],
        "solved": said["solved"],
        "steps": said["steps"],
    }


def taken(what: str, seed: int, done: harness.Process) -> dict[str, Any]:
    """Return what a process took."""
    return {
        "what": what, "seed": seed, "wall_s": done.wall, "cpu_s": done.cpu, "solved": None, "score": None,
        "steps": None, "failure": done.failure,
    }  # fmt: skip


def rounds(whats: list[str], seeds: int) -> list[dict[str, Any]]:
    """Run a process of everything for each seed, after one round that may write byte code."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for statement in STATEMENTS.values():
            harness.process([sys.executable, "-c", statement])
        harness.process([*PGREF, *TRAIN, "--steps", "1", "--out", str(Path(folder, "before"))])
        for seed in range(seeds):
            for what in whats:
                if what == OURS:
                    row = train(seed, folder)
                elif what in ZOO:
                    row = peer(what, seed)
                else:
                    row = taken(what, seed, harness.process([sys.executable, "-c", STATEMENTS[what]]))
                rows.append(row)
                print(".", end="", flush=True)
    return rows


def summary(rows: list[dict[str, Any]], reasons: dict[str, str]) -> list[dict[str, Any]]:
    """Return medians with their ratios to pgref's; an unsolved run counts as more than every solved one."""
    table: dict[str, dict[str, Any]] = {}
    for what in dict.fromkeys(row["what"] for row in rows):
        mine = [row for row in rows if row["what"] == what]
        entry: dict[str, Any] = {
            "what": what,
            "failure": next(filter(None, (r["failure"] for r in mine)), ""),
        }
        for clock in ("wall_s", "cpu_s"):
            seconds = sorted(math.inf if row["solved"] is False else row[clock] for row in mine)
            middle = statistics.median(seconds)
            entry[clock], entry[f"{clock}_spread"] = middle, (seconds[0], seconds[-1])
            entry[f"{clock}_ratio"] = middle / table[OURS][clock] if table else 1.0
        tried = [row["solved"] for row in mine if row["solved"] is not None]
        entry["solved"] = f"{sum(tried)}/{len(tried)}" if tried else ""
        table[what] = entry
    solvers = [table[what] for what in ZOO if what in table and not table[what]["failure"]]
    if solvers:
        table[BEST] = {**min(solvers, key=lambda entry: entry["cpu_s"]), "what": BEST}
    return [*table.values(), *({"what": what, "failure": reason} for what, reason in reasons.items())]


def line(entry: dict[str, Any]) -> str:
    """Return an entry as a line of the table."""
    start = f"{entry['what']:<40}"
    if "wall_s" not in entry:
        return f"{start} {entry['failure']}"
    figures = " ".join(
        "{:>8.3f} ({:.3f}–{:.3f}) {:>7.2f}".format(entry[c], *entry[f"{c}_spread"], entry[f"{c}_ratio"])
        for c in ("wall_s", "cpu_s")
    )
    target, floor = TARGETS.get(entry["what"], (None, None))
    aims = [f"{word} ≥ {aim:g}" for word, aim in (("target", target), ("floor", floor)) if aim is not None]
    failure = f"FAILED: {entry['failure']}" if entry["failure"] else ""
    return (
        " ".join([start, figures, f"{entry['solved']:>5}", *aims, failure]).replace("inf", "never").rstrip()
    )


def main() -> int:
    """Measure, print the table, write the files; 1 if a run of pgref has not solved CartPole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--seeds", type=int, default=9, help="rounds (default 9)")
    parser.add_argument("--only", choices=ZOO, nargs="*", default=list(ZOO), help="peers that learn")
    parser.add_argument("--solve", nargs=2, metavar=("CASE", "SEED"), help="one run of SB3, for this script")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for the JSON and CSV files")
    args = parser.parse_args()
    if args.solve:
        solve(args.solve[0], int(args.solve[1]))
        return 0
    harness.one_core()
    reasons = {what: reason for what in args.only if (reason := obstacle(CASES[ZOO[what]].peer))}
    reasons |= {TORCH: reason} if (reason := obstacle("torch")) else {}
    record = {"machine": harness.machine(PACKAGES), "settings": {**vars(args), "out": str(args.out)}}
    harness.describe(record)
    whats = [what for what in (OURS, *STATEMENTS, *args.only) if what not in reasons]
    rows = rounds(whats, 2 if args.quick else args.seeds)
    print("\n\nwhole processes on one core: wall seconds, median (from–to) and times pgref's; CPU seconds,")
    print("the same; solved; how many times pgref's it is to be\n")
    record["summary"] = summary(rows, reasons)
    print(*map(line, record["summary"]), sep="\n")
    failures = [row for row in rows if row["what"] == OURS and row["failure"]]
    for row in failures:
        print(f"FAILED: seed {row['seed']} {row['failure']}")
    scores = [row["score"] for row in rows if row["score"] is not None]
    if scores:
        print(f"pgref's checkpoints evaluate to {min(scores):g} to {max(scores):g}")
    harness.write(args.out, "cold_start", record, rows)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
