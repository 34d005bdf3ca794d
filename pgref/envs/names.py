"""The environments that come with the package, by name; each is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pgref.envs.protocol import Environment, Episodic
from pgref.errors import ArgumentError

# name: where its dynamics are made, and the steps after which an episode is cut off; None asks the dynamics
TABLE: dict[str, tuple[str, int | None]] = {
    "CartPole": ("cartpole:CartPole", 500),
    "Pendulum": ("pendulum:Pendulum", 200),
    "Acrobot": ("acrobot:Acrobot", 500),
    "MountainCarContinuous": ("mountain_car:MountainCarContinuous", 999),
    "LQR": ("lqr:LQR", 100),
    "ProbeObservation": ("probes:observation", None),
    "ProbeDelay": ("probes:delay", None),
    "ProbeTermination": ("probes:termination", None),
    "ProbeTimeLimit": ("probes:time_limit", None),
    "ProbeAction": ("probes:action", None),
    "ProbeMatch": ("probes:match", None),
    "ProbeCredit": ("probes:credit", None),
}


def names() -> list[str]:
    """Return the names that `make` knows."""
    return list(TABLE)


def make(name: str) -> Environment:
    """Return the environment of that name.

    Raises:
        ArgumentError: no such name; the message lists those there are.

    >>> make("LQR").time_limit
    100
    """
    if not isinstance(name, str) or name not in TABLE:
        raise ArgumentError(
            f"name must be one of {', '.join(TABLE)}, got {name!r}; for an id of Gymnasium, such as "
            'CartPole-v1, install "pgref[gym]" and call pgref.envs.gym.from_gymnasium'
        )
    place, time_limit = TABLE[name]
    module, maker = place.split(":")
    dynamics: Any = getattr(import_module(f"pgref.envs.{module}"), maker)()
    return Episodic(name, dynamics, time_limit or dynamics.time_limit)
