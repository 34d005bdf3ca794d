"""Training on CartPole next to Stable-Baselines3, sb3-contrib and rejax: environment steps per second.

All get the settings that rl-baselines3-zoo or rejax have for CartPole, or larger batches. Only a share of the
budget is timed: a step costs the same throughout, and the schedules fall over the share. --to-475 spends the
budgets instead: how long until the mean of 100 episodes with the likeliest actions is 475?
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import harness  # before NumPy
from policy_math import ppo_limit, rates
from training_peers import CASES, REJAX, Case, Run, Watch, obstacle, ours, rejax, sb3

PACKAGES = (
    "pgref", "numpy", "scipy", "gymnasium", "stable_baselines3", "sb3_contrib", "torch", "rejax", "gymnax",
    "jax", "jaxlib",
)  # fmt: skip
OURS, ON_GYMNASIUM = "pgref", "pgref on Gymnasium's CartPole"
WHOLE = "PPO 5 × 100"  # its budget from the start of the process, with all that is imported and compiled
WHOLE_TARGET, WHOLE_FLOOR = 4, 2  # times rejax's
OF_LIMIT = (0.55, 0.45)  # of the hard limit at 4 epochs: target and floor
MOST_PROCESSES = 5  # of each kind


def contenders(case: Case, steps: int, dtype: str, every: int | None = None) -> tuple[dict[str, Run], Any]:
    """Return the runs, and why a contender has none; those of rejax are compiled here."""
    reasons = {ON_GYMNASIUM: obstacle("gymnasium"), case.peer: obstacle(case.peer)}
    if case.peer == REJAX or every:  # how long until 475 is no question of another environment
        del reasons[ON_GYMNASIUM]
    runs = {OURS: ours(case, steps, dtype)}
    if not reasons.get(ON_GYMNASIUM, "left out"):
        runs[ON_GYMNASIUM] = ours(case, steps, dtype, "CartPole-v1")
    if not reasons[case.peer]:
        runs[case.peer] = rejax(case, steps, every) if case.peer == REJAX else sb3(case, steps)
    return runs, {what: reason for what, reason in reasons.items() if reason}


def measure(name: str, args: argparse.Namespace, limit: float) -> list[dict[str, Any]]:
    """Time pgref, on its own CartPole and on Gymnasium's, and the peer, in turns."""
    case = CASES[name]
    steps = case.rounded(max(args.steps, 4 * case.rounded(1) if case.peer == REJAX else 0))
    runs, reasons = contenders(case, steps, args.dtype)
    timed = harness.interleaved({what: partial(run, 0) for what, run in runs.items()}, args.repeats)
    rows = [row(name, what, steps, timed[what], timed[OURS]) for what in runs]
    for entry in rows:
        entry["compile_s"] = getattr(runs[entry["what"]], "compile_s", None)
        if entry["what"] == OURS and case.settings.get("epochs") == 4:
            entry["of_hard_limit"] = entry["steps_per_s"] / limit
        if entry["what"] == case.peer:
            entry["target"], entry["floor"] = case.target, case.floor
    return rows + [row(name, what, steps, status=reason) for what, reason in reasons.items()]


def whole(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time whole processes that spend a budget, in turns."""
    case, name = CASES[WHOLE], f"{WHOLE}, whole process"
    script = str(Path(__file__).with_name("training_peers.py"))
    taken: dict[str, list[float]] = {OURS: [], REJAX: []}
    failed = {REJAX: reason} if (reason := obstacle(REJAX)) else {}
    for _ in range(min(args.repeats, MOST_PROCESSES)):
        for what in taken.keys() - failed.keys():
            done = harness.process([sys.executable, script, what, WHOLE, args.dtype])
            taken[what].append(done.cpu)
            if done.failure:
                failed[what] = done.failure
    steps, mine = case.rounded(case.budget), None if OURS in failed else harness.spread(taken[OURS])
    rows = []
    for what, seconds in taken.items():
        timed = None if what in failed else harness.spread(seconds)
        rows.append(row(name, what, steps, timed, mine, failed.get(what, "measured")))
    rows[-1]["target"], rows[-1]["floor"] = WHOLE_TARGET, WHOLE_FLOOR
    return rows


def row(
    name: str,
    what: str,
    steps: int,
    timed: harness.Spread | None = None,
    mine: harness.Spread | None = None,
    status: str = "measured",
) -> dict[str, Any]:
    """Return one measurement, or why there is none."""
    seconds = timed._asdict() if timed else dict.fromkeys(harness.Spread._fields)
    return {
        "case": name, "what": what, "steps": steps, **seconds, "compile_s": None,
        "steps_per_s": steps / timed.median_s if timed else None,
        "ours_is_faster_by": timed.median_s / mine.median_s if timed and mine else None,
        "target": None, "floor": None, "of_hard_limit": None, "status": status,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """Return a measurement as a line of the table."""
    start = f"{row['case']:<27} {row['what']:<30}"
    if row["median_s"] is None:
        return f"{start} {row['status']}"
    slow, fast = row["steps"] / row["high_s"], row["steps"] / row["low_s"]
    rate = f"{row['steps_per_s']:.0f} ({slow:.0f}–{fast:.0f})"
    if row["case"].endswith("process"):
        rate = "{median_s:.2f} s ({low_s:.2f}–{high_s:.2f})".format(**row)
    compiled = "" if row["compile_s"] is None else f"{row['compile_s']:.2f}"
    ratio = "" if row["ours_is_faster_by"] is None else f"{row['ours_is_faster_by']:.2f}"
    target = "" if row["target"] is None else f"{row['target']} ({row['floor']})"
    if row["of_hard_limit"] is not None:
        target = "{:.0%} of the limit, {:.0%} ({:.0%})".format(row["of_hard_limit"], *OF_LIMIT)
    return f"{start} {rate:>24} {compiled:>6} {ratio:>7} {target:>10}".rstrip()


def throughput(args: argparse.Namespace, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure and print every case."""
    limit = ppo_limit(*rates(args.dtype, args.repeats))
    record["limit"] = {"PPO's hard limit at 4 epochs, steps/s": limit}
    harness.describe({"limit": record["limit"]})
    print(
        f"\nenvironment steps per CPU second, one thread, agents in {args.dtype}, peers in float32, made anew"
    )
    print(f"each time: median (quartiles) of {args.repeats} turns of about {args.steps} steps; seconds to")
    print("compile; time / time of pgref; its target (floor); of whole processes their CPU seconds\n")
    rows: list[dict[str, Any]] = []
    for name in args.only:
        measured = measure(name, args, limit) + (whole(args) if name == WHOLE else [])
        print(*map(line, measured), sep="\n", flush=True)
        rows += measured
    return rows


def to_475(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Let every contender learn until CartPole is solved, seed after seed in turns, and print the medians."""
    print(
        f"\nCPU seconds of learning (evaluations every {args.every} steps or each update left out) and steps"
    )
    print(f"until the mean of 100 episodes is 475: medians over {args.seeds} seeds (from, to); solved within")
    print("the budget; seconds to compile\n")
    rows: list[dict[str, Any]] = []
    for name in args.only:
        case = CASES[name]
        every, budget = case.rounded(args.every), case.rounded(args.budget or case.budget)
        runs, reasons = contenders(case, budget, args.dtype, every)
        watches: dict[str, list[Watch]] = {what: [] for what in runs}
        for seed in range(args.seeds):
            for what, run in runs.items():
                watches[what].append(watch := Watch(every))
                run(seed, watch)
                rows.append(
                    {"case": name, "what": what, "seed": seed, "solved": watch.solved, "budget": budget,
                     "steps": watch.steps, "cpu_s": watch.learning.cpu, "wall_s": watch.learning.wall,
                     "compile_s": getattr(run, "compile_s", None)}
                )  # fmt: skip
        for what in watches:
            print(f"{name:<14} {what:<20} {solved(watches[what], getattr(runs[what], 'compile_s', None))}")
        for what, reason in reasons.items():
            print(f"{name:<14} {what:<20} {reason}", flush=True)
    return rows


def solved(watches: list[Watch], compile_s: float | None) -> str:
    """Return what became of all seeds; one that is not solved counts as more than every other."""
    seconds = [w.learning.cpu if w.solved else float("inf") for w in watches]
    steps = [w.steps if w.solved else float("inf") for w in watches]
    figures = f"{statistics.median(seconds):>8.3f} s ({min(seconds):.3f}–{max(seconds):.3f})"
    figures += f" {statistics.median(steps):>9.0f} steps ({min(steps):.0f}–{max(steps):.0f})"
    compiled = "" if compile_s is None else f" {compile_s:.2f}"
    return f"{figures} {sum(w.solved for w in watches)}/{len(watches)}{compiled}".replace("inf", "never")


def main() -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CASES, nargs="*", default=list(CASES), help="cases")
    parser.add_argument("--quick", action="store_true", help="two turns, or two seeds")
    parser.add_argument("--steps", type=int, default=20_000, help="of each call, at least (default 20000)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each call (default 5)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of pgref")
    parser.add_argument("--to-475", action="store_true", help="how long until CartPole is solved")
    parser.add_argument("--seeds", type=int, default=5, help="of --to-475 (default 5)")
    parser.add_argument("--every", type=int, default=2000, help="steps from evaluation to evaluation")
    parser.add_argument("--budget", type=int, help="of --to-475, other than the case's own")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for the JSON and CSV files")
    args = parser.parse_args()
    if args.quick:
        args.repeats = args.seeds = 2
    harness.one_core()
    record = {"machine": harness.machine(PACKAGES), "settings": {**vars(args), "out": str(args.out)}}
    harness.describe(record)
    rows = to_475(args) if args.to_475 else throughput(args, record)
    harness.write(args.out, f"{'to_475' if args.to_475 else 'training'}_{args.dtype}", record, rows)


if __name__ == "__main__":
    main()
