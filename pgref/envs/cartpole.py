"""A pole on a cart that is pushed left or right: CartPole-v1, limit 500, equal to Gymnasium's bit for bit.

Source: Barto, Sutton & Anderson 1983 (the task), Florian 2007, equations 23 and 24 without friction (the
physics); constants, Euler's method and the order of operations are those of Gymnasium 1.4.0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, ClassVar

import numpy as np

from pgref.arrays import Array, Matrix
from pgref.envs.protocol import Moved, as_rows, require_positive_fields
from pgref.errors import ArgumentError
from pgref.spaces import Box, Discrete

ONE = np.ones(1)
FEW = 8  # environments up to which Python's own numbers take less time than NumPy's calls, for the same bits


@dataclass(frozen=True)
class CartPole:
    """State: position m, velocity m/s, angle from upright rad, its rate rad/s. Actions: 0 left, 1 right."""

    gravity: float = 9.8  # m/s²
    cart_mass: float = 1.0  # kg
    pole_mass: float = 0.1  # kg
    half_length: float = 0.5  # m, from the joint to the pole's centre
    force: float = 10.0  # N
    dt: float = 0.02  # s
    most_position: float = 2.4  # m, beyond it the episode is lost
    most_angle: float = 12 * 2 * math.pi / 360  # rad, likewise
    most_start: float = 0.05  # each variable starts within ± this
    dtype: str = "float64"  # of the state; "float32" steps many at once twice as fast, in bits of its own

    action_space: ClassVar[Discrete] = Discrete(2)
    start_draws: ClassVar[int] = 4
    step_draws: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require_positive_fields(self, but="dtype")
        if self.dtype not in ("float64", "float32"):
            raise ArgumentError(f"dtype must be 'float64' or 'float32', got {self.dtype!r}")

    @property
    def obs_space(self) -> Box:
        # twice the limits: the observation that ends an episode lies beyond them
        high = (2 * self.most_position, math.inf, 2 * self.most_angle, math.inf)
        return Box(tuple(-h for h in high), high)

    @cached_property
    def _ready(self) -> tuple[Any, ...]:
        """The constants of a move as arrays: NumPy converts a number at every call, longer than it adds."""
        numbers = (
            (-self.force, self.force),
            self.dt,
            self.most_position,
            self.most_angle,
            self.gravity,
            self.pole_mass + self.cart_mass,
            self.pole_mass,
            self.pole_mass * self.half_length,
            self.half_length,
            4 / 3,
        )
        forces, dt, most_position, most_angle, *constants = (np.array(n, self.dtype) for n in numbers)
        return forces, dt, most_position, most_angle, constants, [c.item() for c in constants]

    @cached_property
    def _starts(self) -> tuple[Array, Array]:
        return np.array(-self.most_start), np.array(2 * self.most_start)

    def start(self, draws: Matrix) -> Matrix:
        least, width = self._starts
        x: Matrix = (least + width * draws).astype(self.dtype, copy=False)
        return x

    def move(self, x: Matrix, actions: Array, draws: Matrix) -> Moved:
        forces, dt, most_position, most_angle, constants, numbers = self._ready
        velocity, angle, rate = x[1], x[2], x[3]
        force, cos, sin = forces[actions], np.cos(angle), np.sin(angle)
        if len(actions) > FEW or self.dtype == "float32":
            push, turn = _accelerations(constants, force, cos, sin, rate)
        else:
            columns = map(np.ndarray.tolist, (force, cos, sin, rate))
            push, turn = zip(*map(_accelerations, repeat(numbers), *columns), strict=True)
        new = np.array((velocity, push, rate, turn))
        new *= dt
        new += x
        lost = (np.abs(new[0]) > most_position) | (np.abs(new[2]) > most_angle)
        return Moved(new, ONE.repeat(len(actions)), lost)

    def observe(self, x: Matrix) -> Array:
        return as_rows(x)


def _accelerations(constants: Any, force: Any, cos: Any, sin: Any, rate: Any) -> tuple[Any, Any]:
    """Return the accelerations of the cart and of the angle: arrays for arrays, numbers for numbers."""
    gravity, mass, pole_mass, moment, half_length, solid = constants
    push = (force + moment * (rate * rate) * sin) / mass
    turn = (gravity * sin - cos * push) / (half_length * (solid - pole_mass * (cos * cos) / mass))
    return push - moment * turn * cos / mass, turn
