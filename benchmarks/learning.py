"""Does every algorithm learn? Final returns over seeds: IQM, 95 % bootstrap interval, how many solve it.

    python benchmarks/learning.py                          # every row of the plan, 10 seeds each
    python benchmarks/learning.py --only trpo:CartPole     # one row
    python benchmarks/learning.py --only ppo:LQR -p step=1e-3

A run is one agent with its tuned settings (`pgref algos`), evaluated over 100 episodes with its likeliest
actions once the budget is spent: at the end, not at the best moment on the way. Each run adds a line to
results/learning.jsonl, and runs that are there are not made again.
"""

import harness  # isort: skip  (before NumPy)

import argparse
import itertools
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from pgref import agent, curves, rollout, streams
from pgref.envs import lqr


def plan():
    """Return the rows: environment steps, final mean that counts as solved, settings over the tuned ones.

    On LQR the figure is what is lost to the optimum of Riccati's recursion, in per cent of it.
    """
    rows = {
        "trpo:CartPole": (100_000, 475, {}),
        "trpo:CartPole:hessian": (100_000, 475, {"solver": "hessian", "hidden": (64,)}),
        "ppo:CartPole": (100_000, 475, {}),
        "npg:CartPole": (100_000, 475, {}),
        "vpg:CartPole": (200_000, 475, {}),
        "actor_critic:CartPole": (300_000, 475, {}),
        "a2c:CartPole": (300_000, 475, {}),
        "a3c:CartPole:4 threads": (300_000, 475, {"n_workers": 4, "backend": "thread"}),
        "a3c:CartPole:2 processes": (300_000, 475, {"n_workers": 2, "backend": "process"}),
    }
    budgets = {
        "Pendulum": (500_000, -200),
        "Acrobot": (200_000, -100),
        "MountainCarContinuous": (400_000, 90),
    }
    for algorithm in ("trpo", "ppo"):
        for name, (steps, limit) in budgets.items():
            rows[f"{algorithm}:{name}"] = (steps, limit, {})
        rows[f"{algorithm}:LQR"] = (200_000, -1, {})
    return rows


def run(name, seed, steps, settings):
    """Return what one run of a row measured."""
    algorithm, env = name.split(":")[:2]
    learner = agent.AGENTS[algorithm](env, rng=seed, **settings)
    started, points, returns = time.perf_counter(), [], []

    def watch(update):
        returns.extend(update.episodes.returns.tolist())
        points.append((update.steps, float(np.mean(returns[-100:])) if returns else None))

    learner.learn(steps, [watch])
    seconds = time.perf_counter() - started
    done = against_riccati(learner, seed) if env == "LQR" else learner.evaluate(100, rng=seed)
    every = max(1, len(points) // 50)
    return {
        "row": name,
        "seed": seed,
        "budget": steps,
        "settings": settings,
        "steps": learner.state.steps,
        "seconds": round(seconds, 2),
        "final": done.mean,
        "std": done.std,
        "curve": points[::every],
    }


def against_riccati(learner, seed, episodes=2000):
    """Return what is lost to the optimal controller in the same episodes, in per cent of the optimum."""
    env = learner.env
    gains = itertools.cycle(lqr.optimal_gains(env.dynamics, env.time_limit))  # all episodes are in step
    mine = learner.evaluate(episodes, rng=seed).returns
    best = rollout.run_episodes(
        env, lambda obs: -obs @ next(gains).T, episodes, agent.LARGEST_EVALUATION, streams.new_seed(seed)
    ).returns
    lost = 100 * (mine - best) / abs(lqr.optimal_return(env.dynamics, env.time_limit))
    return agent.Evaluation(float(lost.mean()), float(lost.std()), lost, lost)


def summary(rows, results):
    """Return the Markdown table of all results."""
    rng = np.random.default_rng(0)
    lines = [
        "| run | steps | limit | solved | IQM [95 %] | worst | steps/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (steps, limit, _) in rows.items():
        got = [r for r in results if r["row"] == name]
        if not got:
            continue
        final = np.array([r["final"] for r in got])
        low, high = curves.bootstrap_interval(final[:, None], curves.iqm, rng)
        solved = int((final >= limit).sum())
        pace = float(np.median([r["steps"] / r["seconds"] for r in got]))
        lines.append(
            f"| {name} | {steps:,} | {limit:.5g} | {solved}/{len(got)} | {float(curves.iqm(final)):.5g} "
            f"[{float(low[0]):.5g}, {float(high[0]):.5g}] | {final.min():.5g} | {pace:,.0f} |"
        )
    return "\n".join(lines)


def main():
    """Run the plan."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="rows of the plan, comma-separated; a prefix is enough")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="another budget")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, each one thread")
    parser.add_argument("--out", type=Path, default=harness.RESULTS)
    parser.add_argument(
        "-p", action="append", default=[], metavar="KEY=VALUE", help="another setting, as JSON"
    )
    arguments = parser.parse_args()
    rows = plan()
    if arguments.only:
        wanted = arguments.only.split(",")
        rows = {name: row for name, row in rows.items() if any(name.startswith(w) for w in wanted)}
    more = {key: json.loads(value) for key, _, value in (p.partition("=") for p in arguments.p)}
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    jobs = [
        (name, seed, arguments.steps or steps, {**settings, **more})
        for name, (steps, _, settings) in rows.items()
        for seed in seeds
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "learning.jsonl"
    results = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    made = {(r["row"], r["seed"], r["budget"], json.dumps(r["settings"])) for r in results}
    jobs = [job for job in jobs if (*job[:3], json.dumps(job[3])) not in made]
    machine = harness.machine(["numpy", "scipy"])
    harness.describe({"machine": machine})
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run, *job) for job in jobs]):
            results.append(result := {**done.result(), "machine": machine})
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(result) + "\n")
            row, seed, final, seconds = (result[key] for key in ("row", "seed", "final", "seconds"))
            print(f"{row} seed {seed}: {final:.5g} in {seconds} s", flush=True)
    print()
    print(summary(rows, results))


if __name__ == "__main__":
    main()
