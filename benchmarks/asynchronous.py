"""A3C and A2C on CartPole with one to four Workers: throughput, staleness, lost updates, in wall time.

A3C runs in threads, in processes that share the weights, and with messages to an executor's processes, which
A2C uses as well. Every call continues from the same state, and starting the processes is told apart.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import harness  # before NumPy

from pgref import presets
from pgref.algorithms import a2c, a3c
from pgref.arrays import Workspace
from pgref.asynchrony import throughput_ratio
from pgref.envs.resolve import resolve
from pgref.task import make_task

PACKAGES = ("pgref", "numpy", "threadpoolctl")
WORKERS = (1, 2, 3, 4)
THREAD, PROCESS, EXECUTOR, SYNC = "A3C, thread", "A3C, process", "A3C, executor", "A2C, executor"
BACKENDS = {THREAD: "thread", PROCESS: "process", EXECUTOR: "executor"}
SETTINGS = {**presets.settings("a3c", "CartPole"), "anneal_over": None}
TARGET, FLOOR = 1.8, 1.5  # times one Worker's throughput, for two that are processes
Call = Callable[[], dict[str, Any]]


def a3c_call(backend: str, workers: int, segments: int, executor: Executor, stack: ExitStack) -> Call:
    """Return one update of so many segments, the Workers' processes already running."""
    config = a3c.Config(n_workers=workers, backend=backend, segments=segments, **SETTINGS)
    task = make_task(resolve("CartPole"), config)
    state, options = a3c.init(task, config, 0), {}
    if backend == "process":
        options["pool"] = stack.enter_context(a3c.workers(task, config))
    elif backend == "executor":
        options["executor"] = executor

    def call() -> dict[str, Any]:
        _, done = a3c.update(task, config, state, **options)
        if done.status != "updated":
            raise RuntimeError(done.status)
        stale = done.staleness
        return {"staleness_mean": stale.mean(), "staleness_max": int(stale.max()), "lost": done.lost}

    return call


def a2c_call(workers: int, segments: int, executor: Executor) -> Call:
    """Return as many synchronous updates as make so many segments."""
    config = a2c.Config(n_workers=workers, **SETTINGS)
    task, work = make_task(resolve("CartPole"), config), Workspace()
    start = a2c.init(task, config, 0)

    def call() -> dict[str, Any]:
        state = start
        for _ in range(segments // workers):
            state, _ = a2c.update(task, config, state, work, executor)
        return {"staleness_mean": 0.0, "staleness_max": 0, "lost": 0.0}

    return call


def prepared(segments: int, stack: ExitStack) -> tuple[dict[tuple[str, int], Call], dict[Any, float]]:
    """Return the calls, each already run once, and the wall seconds that starting and that first run took."""
    calls, started = {}, {}
    for workers in WORKERS:
        executor = stack.enter_context(ProcessPoolExecutor(workers, get_context("spawn")))
        makers: dict[str, Callable[[], Call]] = {
            name: partial(a3c_call, backend, workers, segments, executor, stack)
            for name, backend in BACKENDS.items()
        }
        for name, make in {**makers, SYNC: partial(a2c_call, workers, segments, executor)}.items():
            begin = time.perf_counter()
            calls[name, workers] = make()
            calls[name, workers]()
            started[name, workers] = time.perf_counter() - begin
    return calls, started


def measure(segments: int, repeats: int) -> list[dict[str, Any]]:
    """Run all backends and numbers of Workers in turns."""
    with ExitStack() as stack:
        calls, started = prepared(segments, stack)
        taken: dict[Any, list[float]] = {key: [] for key in calls}
        seen: dict[Any, list[dict[str, Any]]] = {key: [] for key in calls}
        for _ in range(repeats):
            for key, call in calls.items():
                begin = time.perf_counter()
                seen[key].append(call())
                taken[key].append(time.perf_counter() - begin)
    times = {key: harness.spread(samples) for key, samples in taken.items()}
    return [row(key, segments, times, seen[key], started[key]) for key in times]


def row(key: tuple[str, int], segments: int, times: Any, seen: list[Any], started: float) -> dict[str, Any]:
    """Return what was measured of one backend with one number of Workers."""
    name, workers = key
    done = segments // workers * workers if name == SYNC else segments
    rates = {
        other: n / times[other, workers].median_s
        for other, n in ((name, done), (SYNC, segments // workers * workers))
    }
    alone = segments / times[name, 1].median_s
    return {
        "what": name,
        "workers": workers,
        "segments": done,
        **times[key]._asdict(),
        "first_call_s": started,
        "updates_per_s": rates[name] / (workers if name == SYNC else 1),
        "segments_per_s": rates[name],
        "steps_per_s": rates[name] * SETTINGS["n_envs"] * SETTINGS["n_steps"],
        "times_one_worker": rates[name] / alone,
        "target": TARGET if (name, workers) == (PROCESS, 2) else None,
        "floor": FLOOR if (name, workers) == (PROCESS, 2) else None,
        "times_synchronous": rates[name] / rates[SYNC],
        "H_M": throughput_ratio(workers),
        "staleness_mean": harness.spread([s["staleness_mean"] for s in seen]).median_s,
        "staleness_max": max(s["staleness_max"] for s in seen),
        "lost": harness.spread([s["lost"] for s in seen]).median_s,
    }


def line(row: dict[str, Any]) -> str:
    """Return a measurement as a line of the table."""
    slow, fast = (row["steps_per_s"] * row["median_s"] / row[key] for key in ("high_s", "low_s"))
    steps = f"{row['steps_per_s']:.0f} ({slow:.0f}–{fast:.0f})"
    target = "" if row["target"] is None else f"{row['target']} ({row['floor']})"
    start = f"{row['what']:<14}{row['workers']:>3}{row['updates_per_s']:>8.0f} {steps:>24}"
    ratios = (
        f"{row['times_one_worker']:>7.2f} {target:<9} {row['times_synchronous']:>5.2f} {row['H_M']:>5.2f}"
    )
    stale = f"{row['staleness_mean']:>7.2f} {row['staleness_max']:>5}"
    return f"{start} {ratios} {stale} {row['lost']:>8.1e} {row['first_call_s']:>6.1f}"


def main() -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three turns of 240 segments")
    parser.add_argument("--repeats", type=int, default=11, help="turns of each call (default 11)")
    parser.add_argument("--segments", type=int, default=2400, help="gradients of each call (default 2400)")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for the JSON and CSV files")
    args = parser.parse_args()
    if args.quick:
        args.repeats, args.segments = 3, 240
    record = {
        "machine": harness.machine(PACKAGES),
        "settings": {**vars(args), "out": str(args.out), **SETTINGS},
        "load": {"load average before": os.getloadavg() if hasattr(os, "getloadavg") else "unknown"},
    }
    harness.describe(record)
    print(f"\nthis machine has {os.cpu_count()} cores: more Workers than that only wait for one another")
    print("updates and environment steps per wall second, median (quartiles); times one Worker, target")
    print("(floor); gradients per second, times those of A2C; H_M, which exponential times of service would")
    print(
        "make of that; staleness, mean and most; share of additions lost; seconds of start and first call\n"
    )
    rows = measure(args.segments, args.repeats)
    for row in rows:
        print(line(row))
    harness.write(args.out, "asynchronous", record, rows)


if __name__ == "__main__":
    main()
