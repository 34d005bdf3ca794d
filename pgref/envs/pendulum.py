"""A pendulum swung up by a motor too weak to lift it: Pendulum-v1, limit 200, never terminated.

States and observations equal Gymnasium's bit for bit, for torques in float32 as in float64. One reward in a
thousand differs in the last place of a square: Gymnasium's `**` on single numbers is C's pow, and pow(x, 2)
is not always the rounded x·x.

Source: the physics of a uniform rod; the constants, the cost, semi-implicit Euler and the order of operations
are those of Gymnasium 1.4.0 under NumPy 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from pgref.arrays import Array, Matrix
from pgref.envs.protocol import Moved, as_rows, require_positive_fields
from pgref.spaces import Box


@dataclass(frozen=True)
class Pendulum:
    """State: angle from upright rad, not wrapped, its rate rad/s. Action: a torque in N·m, clipped."""

    gravity: float = 10.0  # m/s²
    mass: float = 1.0  # kg
    length: float = 1.0  # m
    most_rate: float = 8.0  # rad/s
    most_torque: float = 2.0  # N·m
    dt: float = 0.05  # s

    start_draws: ClassVar[int] = 2
    step_draws: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require_positive_fields(self)

    @property
    def obs_space(self) -> Box:
        return Box((-1.0, -1.0, -self.most_rate), (1.0, 1.0, self.most_rate))

    @cached_property
    def action_space(self) -> Box:
        return Box((-self.most_torque,), (self.most_torque,))

    def start(self, draws: Matrix) -> Matrix:
        x: Matrix = np.array([[math.pi], [1.0]]) * (2 * draws - 1)
        return x

    def move(self, x: Matrix, actions: Array, draws: Matrix) -> Moved:
        angle, rate = x
        torque = np.minimum(np.maximum(actions[:, 0], -self.most_torque), self.most_torque)
        wrapped = (angle + math.pi) % (2 * math.pi) - math.pi
        cost = wrapped**2 + 0.1 * rate**2 + 0.001 * torque**2
        turn = (
            3 * self.gravity / (2 * self.length) * np.sin(angle) + 3 / (self.mass * self.length**2) * torque
        )
        rate = np.minimum(np.maximum(rate + turn * self.dt, -self.most_rate), self.most_rate)
        return Moved(np.array((angle + rate * self.dt, rate)), -cost, np.zeros(len(cost), bool))

    def observe(self, x: Matrix) -> Array:
        return as_rows(np.array((np.cos(x[0]), np.sin(x[0]), x[1])))
