"""Tuned settings, a row for each algorithm and environment; "*" is any environment without a row of its own.

Settings that the user gives replace them one by one; with none of them, a config is the text. A Gymnasium id
has the row of its name without the version: CartPole-v1 that of CartPole. `benchmarks/learning.py` shows what
they reach; where no source stands beside a row they were chosen by it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pgref.errors import ArgumentError

REGRESSION = {"normalise_advantages": True, "trace": 0.97}  # of algorithms that fit the critic by itself
WORKER = {
    "optimizer": "rmsprop",
    "max_norm": 0.5,
    "mean": True,
    "trace": 1.0,
    "critic_weight": 0.5,
}  # SB3's A2C
NEAR = {"log_std": -0.5, "last_layer": 0.01, "discount": 0.95, "trace": 0.95, "n_steps": 100}
FAR = {  # the goal is found by chance: wide noise, whole episodes, and hardly any discount
    "n_envs": 64, "n_steps": 256, "log_std": 1.0, "last_layer": 0.1,
    "normalise_obs": True, "discount": 0.999, "trace": 0.97,
}  # fmt: skip
SWING = {
    "n_envs": 16,
    "n_steps": 200,
    "discount": 0.95,
    "trace": 0.95,
    "normalise_obs": True,
    "last_layer": 0.1,
}

# fmt: off
TABLE: dict[tuple[str, str], dict[str, Any]] = {
    ("vpg", "*"): {**REGRESSION, "optimizer": "adam", "step": 1e-2, "discounted": False, "n_steps": 256},
    ("vpg", "CartPole"): {"anneal_over": 200_000},
    ("actor_critic", "*"): {**WORKER, "n_envs": 8},
    ("actor_critic", "CartPole"): {"anneal_over": 300_000},
    ("a2c", "*"): {**WORKER, "n_workers": 1, "n_envs": 8},
    ("a2c", "CartPole"): {"anneal_over": 300_000},
    ("a3c", "*"): {**WORKER, "n_envs": 4, "n_steps": 10},
    ("a3c", "CartPole"): {"anneal_over": 300_000},
    ("npg", "*"): {**REGRESSION, "damping": 0.1},
    ("npg", "CartPole"): {"anneal_over": 100_000},
    ("trpo", "*"): {**REGRESSION, "damping": 0.1},
    ("trpo", "CartPole"): {"anneal_over": 100_000},
    ("trpo", "Acrobot"): {"n_envs": 16},
    ("trpo", "Pendulum"): {
        **SWING, "critic_step": 3e-3, "critic_epochs": 20, "critic_minibatch": 256, "anneal_over": 500_000,
    },
    ("trpo", "MountainCarContinuous"): {**FAR, "kl_limit": 0.02},
    ("trpo", "LQR"): {**NEAR, "n_envs": 64, "anneal_over": 200_000},
    ("ppo", "*"): {"normalise_advantages": True, "max_norm": 0.5, "critic_weight": 0.5},
    ("ppo", "CartPole"): {  # rl-baselines3-zoo
        "n_steps": 32, "minibatch": 256, "epochs": 20, "discount": 0.98, "trace": 0.8,
        "step": 1e-3, "critic_step": 1e-3, "anneal_clip": True, "anneal_over": 100_000,
    },
    ("ppo", "Acrobot"): {
        "n_envs": 16, "minibatch": 256, "step": 1e-3, "critic_step": 1e-3, "anneal_over": 300_000,
    },
    ("ppo", "Pendulum"): {
        **SWING, "minibatch": 400, "step": 1e-3, "critic_step": 1e-3, "anneal_over": 500_000,
    },
    ("ppo", "MountainCarContinuous"): {**FAR, "minibatch": 1024, "step": 1e-3, "critic_step": 1e-3},
    ("ppo", "LQR"): {
        **NEAR, "n_envs": 32, "minibatch": 400, "step": 1e-3, "critic_step": 1e-3, "anneal_over": 200_000,
    },
}
# fmt: on


class Preset(NamedTuple):
    """Settings for a purpose, over the tuned ones."""

    settings: dict[str, Any]
    steps: int  # environment steps in all


# fmt: off
QUICK = {
    "n_envs": 16, "n_steps": 64, "trace": 0.95, "damping": 0.01, "critic_step": 3e-3, "critic_epochs": 10,
    "critic_minibatch": 256, "anneal_over": None,
}
# by name, algorithm and environment; "fast" is solved after the shortest time, start-up included; CartPole
# on 197 of 200 seeds that it was not chosen by (57 of 60 with 26,000 steps that do not shrink)
NAMED: dict[str, dict[tuple[str, str], Preset]] = {
    "fast": {
        ("trpo", "CartPole"): Preset({**QUICK, "trace": 0.97, "anneal_over": 40_000}, 30_000),
        ("trpo", "Acrobot"): Preset(QUICK, 72_000),
        ("ppo", "Pendulum"): Preset({}, 256_000),  # the tuned settings; 10 of 10 seeds
    }
}
# fmt: on


def settings(algorithm: str, env: str) -> dict[str, Any]:
    """Return the tuned settings of an algorithm on an environment, by its name."""
    return {**TABLE.get((algorithm, "*"), {}), **TABLE.get((algorithm, _name(env)), {})}


def named(preset: str, algorithm: str, env: str) -> Preset:
    """Return the preset of that name for an algorithm on an environment.

    Raises:
        ArgumentError: there is none of that name, or not for these two; the message says what there is.
    """
    if preset not in NAMED:
        raise ArgumentError(f"preset must be one of {', '.join(NAMED)}, got {preset!r}")
    rows = NAMED[preset]
    if (algorithm, _name(env)) not in rows:
        there = ", ".join(" ".join(row) for row in rows)
        raise ArgumentError(f"preset {preset} is there for {there}, got {algorithm} {env}")
    return rows[algorithm, _name(env)]


def _name(env: str) -> str:
    return re.sub(r"-v\d+$", "", env)
