"""A car too weak for its hill, which it must leave backwards first: MountainCarContinuous-v0, limit 999.

Equal to Gymnasium's bit for bit for float32 actions inside the Box. Gymnasium keeps this state in single
precision, and so does x here, [2, E] float32; only its first step of an episode starts from a float64, which
is rounded here. Beyond the Box the next state is that of the clipped action; Gymnasium's may differ from it
in the last place.

Source: Moore 1990 (the task); the constants and the order of operations are those of Gymnasium 1.4.0 under
NumPy 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pgref.arrays import Array, Matrix, finite, positive
from pgref.envs.protocol import Moved
from pgref.errors import ArgumentError
from pgref.spaces import Box


@dataclass(frozen=True)
class MountainCarContinuous:
    """State: position and velocity per step, on a hill of height ∝ sin 3x. Action: the engine in [−1, 1].

    The reward is 100 at the goal and −0.1·action² a step, for the action as it was given.
    """

    power: float = 0.0015  # velocity that a full engine adds in a step
    gravity: float = 0.0025  # velocity that the steepest slope takes in a step
    most_speed: float = 0.07
    left: float = -1.2  # a wall
    right: float = 0.6
    goal: float = 0.45  # reached from the left

    action_space: ClassVar[Box] = Box((-1.0,), (1.0,))
    start_draws: ClassVar[int] = 1
    step_draws: ClassVar[int] = 0

    def __post_init__(self) -> None:
        for name in ("power", "gravity", "most_speed"):
            positive(name, getattr(self, name))
        for name in ("left", "right", "goal"):
            finite(name, getattr(self, name))
        if not self.left < self.goal <= self.right:
            raise ArgumentError(f"goal must be in ({self.left}, {self.right}], got {self.goal}")

    @property
    def obs_space(self) -> Box:
        return Box((self.left, -self.most_speed), (self.right, self.most_speed))

    def start(self, draws: Matrix) -> Matrix:
        x = np.zeros((2, draws.shape[1]), np.float32)
        x[0] = -0.6 + 0.2 * draws[0]
        return x

    def move(self, x: Matrix, actions: Array, draws: Matrix) -> Moved:
        position, velocity = x
        action = actions[:, 0]
        engine = np.minimum(np.maximum(action, -1.0), 1.0) * self.power
        slope = self.gravity * np.cos(3 * position, dtype=np.float64)
        velocity = velocity + (engine - slope.astype(engine.dtype))
        velocity = np.minimum(np.maximum(velocity, -self.most_speed), self.most_speed)
        position = np.minimum(np.maximum(position + velocity, self.left), self.right)
        velocity[(position == self.left) & (velocity < 0)] = 0
        there = (position >= self.goal) & (velocity >= 0)
        reward = 100.0 * there - action.astype(np.float64) ** 2 * 0.1
        return Moved(np.array((position, velocity), np.float32), reward, there)

    def observe(self, x: Matrix) -> Array:
        return x.T.copy()
