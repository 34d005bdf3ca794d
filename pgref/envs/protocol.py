"""What an environment is here: a frozen description, its state an argument, E copies stepped at once.

An episode that ends is followed by the next at once. `obs` is what the policy sees next and `final_obs`
what the action led to; they differ only where an episode ended, so that a bootstrap cannot read the first
observation of the next episode by mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from pgref import streams
from pgref.arrays import Array, Matrix, Vector, count, positive
from pgref.errors import ArgumentError, ArgumentTypeError
from pgref.spaces import Space, as_actions

ONE = np.array(1)  # as an array, since NumPy converts a number at every call
LONG = 1024  # environments from which on columns are written faster than rows


class Step(NamedTuple):
    """What one step of E environments returns."""

    state: Any
    obs: Array  # [E, …] what the policy sees next
    final_obs: Array  # [E, …] what the action led to
    reward: Vector  # [E]
    terminated: Array  # [E] bool: the episode is over, what comes after is worth 0
    truncated: Array  # [E] bool: the episode was merely cut off
    valid: Array | None = None  # [E] bool: False for a row that is no transition; None: every row is one


class Environment(Protocol):
    """What a rollout needs of an environment."""

    @property
    def name(self) -> str: ...
    @property
    def obs_space(self) -> Space: ...
    @property
    def action_space(self) -> Space: ...
    def reset(self, keys: Vector) -> tuple[Any, Array]: ...  # keys [E] uint64 ↦ state, obs [E, …]
    def step(self, state: Any, actions: Array) -> Step: ...


class Moved(NamedTuple):
    """What one step of the dynamics alone returns."""

    x: Matrix  # [n, E]
    reward: Vector  # [E]
    terminated: Array  # [E] bool


class Dynamics(Protocol):
    """An environment without its episodes: n state variables as rows x [n, E], and no time limit.

    `start` and `move` get the uniform numbers they ask for, [start_draws, E] and [step_draws, E].
    """

    @property
    def obs_space(self) -> Space: ...
    @property
    def action_space(self) -> Space: ...
    @property
    def start_draws(self) -> int: ...
    @property
    def step_draws(self) -> int: ...
    def start(self, draws: Matrix) -> Matrix: ...
    def move(self, x: Matrix, actions: Array, draws: Matrix) -> Moved: ...
    def observe(self, x: Matrix) -> Array: ...


def require_positive_fields(description: Any, but: str = "") -> None:
    """Require every constant of a description of dynamics to be a positive, finite number.

    Raises:
        ArgumentError: one is not; the message names it. The field `but` is none of them.
    """
    for field in fields(description):
        if field.name != but:
            positive(field.name, getattr(description, field.name))


def as_rows(x: Matrix) -> Matrix:
    """Return the columns of x [n, E] as the rows of a float32 matrix [E, n]."""
    if x.shape[1] < LONG:
        return x.T.astype(np.float32, "C")
    rows = np.empty(x.shape[::-1], np.float32)
    for column, variable in zip(rows.T, x, strict=True):
        column[:] = variable
    return rows


class EpisodicState(NamedTuple):
    """Where E environments stand."""

    x: Matrix  # [n, E] the dynamics' variables
    steps: Vector  # [E] int64 steps taken in the episode
    clock: Vector  # [E] int64 steps taken since the reset
    keys: Vector  # [E] uint64


@dataclass(frozen=True)
class Episodic:
    """Dynamics in episodes: restarted where they terminate, cut off after `time_limit` steps."""

    name: str
    dynamics: Dynamics
    time_limit: int

    def __post_init__(self) -> None:
        count("time_limit", self.time_limit)

    @property
    def obs_space(self) -> Space:
        return self.dynamics.obs_space

    @property
    def action_space(self) -> Space:
        return self.dynamics.action_space

    @cached_property
    def _limit(self) -> Array:
        return np.array(self.time_limit)

    def reset(self, keys: Vector) -> tuple[EpisodicState, Array]:
        """Return the state and the observations of as many environments as there are keys [E].

        Raises:
            ArgumentTypeError: keys that are not whole numbers; ArgumentError: no keys.
        """
        keys = np.asarray(keys)
        if keys.dtype.kind not in "iu":
            raise ArgumentTypeError(f"keys must hold whole numbers, got dtype {keys.dtype}")
        if keys.ndim != 1 or not keys.size:
            raise ArgumentError(f"keys must be [E] with at least one environment, got shape {keys.shape}")
        keys = keys.astype(np.uint64)
        zeros = np.zeros(len(keys), np.int64)
        x = self._starts(keys, zeros)
        return EpisodicState(x, zeros, zeros, keys), self.dynamics.observe(x)

    def step(self, state: EpisodicState, actions: Array) -> Step:
        """Return what the actions [E, …] lead to; the state given is left as it was.

        Raises:
            ArgumentError, ArgumentTypeError, ShapeError, NonFiniteError: actions that the space does not
                have.
        """
        x, steps, clock, keys = state
        dynamics = self.dynamics
        actions = as_actions(dynamics.action_space, actions, len(keys))
        clock, steps = clock + ONE, steps + ONE
        draws = streams.uniforms(keys, clock, dynamics.step_draws) if dynamics.step_draws else x[:0]
        x, reward, terminated = dynamics.move(x, actions, draws)
        truncated = steps >= self._limit
        final_obs = obs = dynamics.observe(x)
        ended = (terminated | truncated).nonzero()[0]
        if ended.size:
            starts = self._starts(keys[ended], clock[ended])
            x, obs = x.copy(), obs.copy()
            x[:, ended], steps[ended], obs[ended] = starts, 0, dynamics.observe(starts)
        return Step(EpisodicState(x, steps, clock, keys), obs, final_obs, reward, terminated, truncated)

    def _starts(self, keys: Vector, clock: Vector) -> Matrix:
        n, m = self.dynamics.step_draws, self.dynamics.start_draws
        return self.dynamics.start(streams.uniforms(keys, clock, n + m)[n:])
