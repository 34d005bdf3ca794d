"""Two links hanging from a bar, swung up by a motor between them: Acrobot-v1, limit 500.

Equal to Gymnasium's bit for bit, but for the first observation of an episode, whose sines Gymnasium takes in
float32: it may differ there in the last place.

Source: Sutton 1996 (the task), Sutton & Barto 1998, section 11.3 (the equations); the constants, one step
of Runge and Kutta's method and the order of operations are those of Gymnasium 1.4.0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pgref.arrays import Array, Matrix, Vector
from pgref.envs.protocol import Moved, as_rows, require_positive_fields
from pgref.spaces import Box, Discrete


@dataclass(frozen=True)
class Acrobot:
    """State: angle of link 1 from hanging, of link 2 from link 1, rad, their rates rad/s.

    Actions 0, 1, 2: a torque of −1, 0, 1 times `torque` on the joint. The reward is −1 a step until
    −cos θ₁ − cos(θ₁ + θ₂) > 1: the tip, of links of equal length, is more than one of them above the bar.
    """

    gravity: float = 9.8  # m/s²
    mass_1: float = 1.0  # kg
    mass_2: float = 1.0  # kg
    length_1: float = 1.0  # m
    centre_1: float = 0.5  # m, from the bar to the centre of mass of link 1
    centre_2: float = 0.5  # m, from the joint to the centre of mass of link 2
    inertia_1: float = 1.0  # kg·m²
    inertia_2: float = 1.0  # kg·m²
    torque: float = 1.0  # N·m
    most_rate_1: float = 4 * math.pi  # rad/s
    most_rate_2: float = 9 * math.pi  # rad/s
    dt: float = 0.2  # s
    most_start: float = 0.1  # each variable starts within ± this

    action_space: ClassVar[Discrete] = Discrete(3)
    start_draws: ClassVar[int] = 4
    step_draws: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require_positive_fields(self)

    @property
    def obs_space(self) -> Box:
        high = (1.0, 1.0, 1.0, 1.0, self.most_rate_1, self.most_rate_2)
        return Box(tuple(-h for h in high), high)

    def start(self, draws: Matrix) -> Matrix:
        # Gymnasium rounds the start, and only the start, to float32
        return (-self.most_start + 2 * self.most_start * draws).astype(np.float32).astype(np.float64)

    def move(self, x: Matrix, actions: Array, draws: Matrix) -> Moved:
        torque, dt = (actions - 1) * self.torque, self.dt
        k1 = self._rates(x, torque)
        k2 = self._rates(x + dt / 2 * k1, torque)
        k3 = self._rates(x + dt / 2 * k2, torque)
        k4 = self._rates(x + dt * k3, torque)
        x = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        angles, rates = x[:2], x[2:]
        angles -= 2 * math.pi * np.rint(angles / (2 * math.pi))
        most = np.array([[self.most_rate_1], [self.most_rate_2]])
        np.minimum(np.maximum(rates, -most), most, out=rates)
        up = -np.cos(x[0]) - np.cos(x[1] + x[0]) > 1.0
        return Moved(x, up - 1.0, up)

    def observe(self, x: Matrix) -> Array:
        (cos_1, cos_2), (sin_1, sin_2) = np.cos(x[:2]), np.sin(x[:2])
        return as_rows(np.array((cos_1, sin_1, cos_2, sin_2, *x[2:])))

    def _rates(self, x: Matrix, torque: Vector) -> Matrix:
        """Return the time derivative of x: H(q)·q̈ + h(q, q̇) = (0, torque), solved for q̈."""
        angle_1, angle_2, rate_1, rate_2 = x
        g, m1, m2 = self.gravity, self.mass_1, self.mass_2
        l1, c1, c2 = self.length_1, self.centre_1, self.centre_2
        # float_power is C's pow, as Gymnasium's ** on single numbers: x·x differs one time in a thousand
        squared_1, squared_2 = np.float_power(x[2:], 2)
        cos, sin = np.cos(angle_2), np.sin(angle_2)
        h11 = m1 * c1**2 + m2 * (l1**2 + c2**2 + 2 * l1 * c2 * cos) + self.inertia_1 + self.inertia_2
        h12 = m2 * (c2**2 + l1 * c2 * cos) + self.inertia_2
        h22 = m2 * c2**2 + self.inertia_2
        weight_2 = m2 * c2 * g * np.cos(angle_1 + angle_2 - math.pi / 2)
        weight_1 = (m1 * c1 + m2 * l1) * g * np.cos(angle_1 - math.pi / 2)
        coupling = m2 * l1 * c2
        h1 = -coupling * squared_2 * sin - 2 * coupling * rate_2 * rate_1 * sin + weight_1 + weight_2
        turn_2 = torque + h12 / h11 * h1 - coupling * squared_1 * sin - weight_2
        turn_2 /= h22 - np.float_power(h12, 2) / h11
        return np.array((rate_1, rate_2, -(h12 * turn_2 + h1) / h11, turn_2))
