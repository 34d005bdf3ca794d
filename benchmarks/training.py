"""Environment steps per second of training on CartPole next to Stable-Baselines3 and sb3-contrib.

Both get the settings of rl-baselines3-zoo. Only a share of the budget is timed: a step costs the same
throughout, and the schedules fall over the share.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import harness  # before NumPy

from pgref.agent import AGENTS

PACKAGES = ("pgref", "numpy", "scipy", "gymnasium", "stable_baselines3", "sb3_contrib", "torch")
TARGET = 5  # times as fast as the peer
OURS, ON_GYMNASIUM = "pgref", "pgref on Gymnasium's CartPole"
PEER = {"ppo": "stable_baselines3", "a2c": "stable_baselines3", "trpo": "sb3_contrib"}
BUDGET = {"ppo": 100_000, "a2c": 500_000, "trpo": 100_000}  # of the zoo
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {
        "n_envs": 8, "n_steps": 32, "minibatch": 256, "epochs": 20, "discount": 0.98, "trace": 0.8,
        "step": 1e-3, "critic_step": 1e-3, "clip": 0.2, "anneal_clip": True, "entropy": 0.0,
        "critic_weight": 0.5, "max_norm": 0.5, "normalise_advantages": True,
    },
    "a2c": {
        "n_workers": 1, "n_envs": 8, "n_steps": 5, "discount": 0.99, "trace": 1.0, "step": 7e-4,
        "critic_step": 7e-4, "optimizer": "rmsprop", "entropy": 0.0, "critic_weight": 0.5, "max_norm": 0.5,
        "mean": True,
    },
    "trpo": {
        "n_envs": 2, "n_steps": 512, "discount": 0.99, "trace": 0.98, "normalise_advantages": True,
        "kl_limit": 0.01, "damping": 1e-3, "products": 15, "shrink": 0.8, "tries": 10, "critic_step": 1e-3,
        "critic_epochs": 20, "critic_minibatch": 512,
    },
}  # fmt: skip


def ours(algorithm: str, env: str, steps: int) -> None:
    """Make an agent of pgref and let it learn."""
    settings = dict(SETTINGS[algorithm])
    if algorithm == "ppo":
        settings["anneal_over"] = steps
    AGENTS[algorithm](env, rng=0, **settings).learn(steps)


def theirs(algorithm: str, steps: int) -> None:
    """Make a model of the peer with the same settings and let it learn."""
    from stable_baselines3.common.env_util import make_vec_env

    s = SETTINGS[algorithm]
    env = make_vec_env("CartPole-v1", s["n_envs"], seed=0)
    shared = {"n_steps": s["n_steps"], "gamma": s["discount"], "gae_lambda": s["trace"], "device": "cpu"}
    if algorithm == "trpo":
        from sb3_contrib import TRPO

        model: Any = TRPO(
            "MlpPolicy", env, learning_rate=s["critic_step"], batch_size=s["critic_minibatch"],
            n_critic_updates=s["critic_epochs"], cg_max_steps=s["products"], cg_damping=s["damping"],
            target_kl=s["kl_limit"], line_search_shrinking_factor=s["shrink"],
            line_search_max_iter=s["tries"], normalize_advantage=s["normalise_advantages"], **shared,
        )  # fmt: skip
    elif algorithm == "ppo":
        from stable_baselines3 import PPO

        model = PPO(
            "MlpPolicy", env, learning_rate=lambda left: left * s["step"],
            clip_range=lambda left: left * s["clip"], batch_size=s["minibatch"], n_epochs=s["epochs"],
            ent_coef=s["entropy"], vf_coef=s["critic_weight"], max_grad_norm=s["max_norm"],
            normalize_advantage=s["normalise_advantages"], **shared,
        )  # fmt: skip
    else:
        from stable_baselines3 import A2C

        model = A2C(
            "MlpPolicy", env, learning_rate=s["step"], ent_coef=s["entropy"], vf_coef=s["critic_weight"],
            max_grad_norm=s["max_norm"], **shared,
        )  # fmt: skip
    model.learn(steps)


def obstacle(package: str) -> str:
    """Return why a package cannot be used, or nothing; let torch have one thread."""
    try:
        __import__(package)
        if package != "gymnasium":
            __import__("torch").set_num_threads(1)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    return ""


def measure(algorithm: str, steps: int, repeats: int) -> list[dict[str, Any]]:
    """Time an algorithm of pgref, on its own CartPole and on Gymnasium's, and of the peer, in turns."""
    peer = PEER[algorithm]
    calls: dict[str, Callable[[], Any]] = {
        OURS: partial(ours, algorithm, "CartPole", steps),
        ON_GYMNASIUM: partial(ours, algorithm, "CartPole-v1", steps),
        peer: partial(theirs, algorithm, steps),
    }
    reasons = {ON_GYMNASIUM: obstacle("gymnasium"), peer: obstacle(peer)}
    for what, reason in reasons.items():
        if reason:
            del calls[what]
    timed = harness.interleaved(calls, repeats)
    rows = []
    for what in (OURS, *reasons):
        seconds = timed[what]._asdict() if what in timed else dict.fromkeys(harness.Spread._fields)
        rate = steps / timed[what].median_s if what in timed else None
        ratio = timed[what].median_s / timed[OURS].median_s if what in timed else None
        status = reasons.get(what) or "measured"
        case = {"algorithm": algorithm, "what": what, "steps": steps, "budget": BUDGET[algorithm]}
        rows.append({**case, **seconds, "steps_per_s": rate, "ours_is_faster_by": ratio, "status": status})
    return rows


def line(row: dict[str, Any]) -> str:
    """Return a measurement as a line of the table."""
    start = f"{row['algorithm'].upper():<5} {row['what']:<30}"
    if row["median_s"] is None:
        return f"{start} {row['status']}"
    slow, fast = row["steps"] / row["high_s"], row["steps"] / row["low_s"]
    return f"{start} {row['steps_per_s']:>9.0f} ({slow:.0f}–{fast:.0f}) {row['ours_is_faster_by']:>8.2f}"


def main() -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SETTINGS, nargs="*", default=list(SETTINGS), help="algorithms")
    parser.add_argument("--steps", type=int, default=20_000, help="of each call (default 20000)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each call (default 5)")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for training.json and .csv")
    args = parser.parse_args()
    record = {"machine": harness.machine(PACKAGES), "settings": {**vars(args), "out": str(args.out)}}
    harness.describe(record)
    print(f"\n{args.steps} steps at a time, of budgets of {BUDGET}; agents are made anew each time")
    print(f"environment steps per CPU second, one thread: median (quartiles) of {args.repeats} turns;")
    print(f"last column: time / time of pgref, target at least {TARGET} for the peer\n")
    rows = []
    for algorithm in args.only:
        for row in measure(algorithm, args.steps, args.repeats):
            rows.append(row)
            print(line(row), flush=True)
    harness.write(args.out, "training", record, rows)


if __name__ == "__main__":
    main()
