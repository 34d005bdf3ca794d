"""Probe environments: tasks so small that a failure on one names the part of the algorithm at fault.

A probe is a finite MDP seen through a feature vector for each state, so that the values of every policy and
the best return are known exactly. In the order below, each needs what the ones before it need.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from pgref.arrays import Array, Matrix, Vector, as_array, count, in_unit_interval
from pgref.envs.protocol import Moved
from pgref.envs.tabular import Tabular
from pgref.errors import ArgumentError
from pgref.mdp import TabularMDP, expected_next, state_values
from pgref.spaces import Box, Discrete

END = -1  # a successor that is none


@dataclass(frozen=True)
class Probe:
    """Dynamics of a deterministic MDP whose state s is observed as row s of `features`.

    Raises:
        ArgumentError, ShapeError, NonFiniteError, ArgumentTypeError: a field that its comment does not fit.
    """

    successors: tuple[tuple[int, ...], ...]  # [S, A] the next state, or END
    rewards: tuple[tuple[float, ...], ...]  # [S, A]
    features: tuple[tuple[float, ...], ...]  # [S, d] in [−1, 1], another row for each state
    n_starts: int  # an episode starts in one of so many first states, each as likely
    time_limit: int  # the steps after which episodes should be cut off
    failure: str  # what it means if this is the first probe to fail
    tabular: Tabular = field(init=False, repr=False, compare=False)

    start_draws: ClassVar[int] = Tabular.start_draws
    step_draws: ClassVar[int] = Tabular.step_draws

    def __post_init__(self) -> None:
        successors = as_array("successors", self.successors, (None, None), "i")
        n_states = len(successors)
        if ((successors < END) | (successors >= n_states)).any():
            raise ArgumentError(f"successors must be in {END} … {n_states - 1}, got {self.successors}")
        if count("n_starts", self.n_starts) > n_states:
            raise ArgumentError(f"n_starts must be at most the {n_states} states, got {self.n_starts}")
        as_array("features", self.features, (n_states, None))
        count("time_limit", self.time_limit)
        transitions = (successors[:, :, None] == np.arange(n_states)).astype(np.float64)
        start = (np.arange(n_states) < self.n_starts) / self.n_starts
        mdp = TabularMDP(transitions, np.array(self.rewards), start, discount=1.0)
        object.__setattr__(self, "tabular", Tabular(mdp))

    @property
    def mdp(self) -> TabularMDP:
        """The MDP, with a discount of 1 that nothing here uses."""
        return self.tabular.mdp

    @property
    def obs_space(self) -> Box:
        d = len(self.features[0])
        return Box((-1.0,) * d, (1.0,) * d)

    @property
    def action_space(self) -> Discrete:
        return self.tabular.action_space

    def start(self, draws: Matrix) -> Matrix:
        return self.tabular.start(draws)

    def move(self, x: Matrix, actions: Array, draws: Matrix) -> Moved:
        return self.tabular.move(x, actions, draws)

    def observe(self, x: Matrix) -> Array:
        return np.asarray(np.array(self.features, np.float64)[x[0]])

    def values(self, discount: float, pi: Any = None) -> Vector:
        """Return V of a policy π [S, A], [S] as `features` has the states; None is the uniform policy.

        It is what a critic must learn: being cut off is no part of it, only termination is.

        Raises:
            ArgumentError: a discount outside [0, 1], or π is no policy.
            NotAbsorbingError: a discount of 1 where nothing terminates.
        """
        shape = self.mdp.rewards.shape
        pi = np.full(shape, 1.0 / shape[1]) if pi is None else pi
        return state_values(replace(self.mdp, discount=discount), pi)

    def optimal_return(self, discount: float = 1.0) -> float:
        """Return the largest E Σ γ^t r_t of one episode, cut off at the time limit.

        Raises:
            ArgumentError: a discount outside [0, 1].
        """
        discount = in_unit_interval("discount", discount)
        values = np.zeros(self.mdp.n_states)
        for _ in range(self.time_limit):  # backwards from the last step
            values = (self.mdp.rewards + discount * expected_next(self.mdp, values)).max(axis=1)
        return float(self.mdp.start @ values)


def observation() -> Probe:
    """Return one step, observed as ±1, that pays what is observed whatever the action: V(±1) = ±1."""
    failure = "the critic does not see the observation, or its targets belong to other observations"
    return Probe(((END, END),) * 2, ((-1, -1), (1, 1)), ((-1,), (1,)), 2, 10, failure)


def delay() -> Probe:
    """Return three steps of which only the last pays, 1 whatever the actions: V = γ², γ, 1."""
    failure = "rewards are not carried back, or discounted once too often or too rarely"
    return _from_the_first(((1, 1), (2, 2), (END, END)), ((0, 0), (0, 0), (1, 1)), 10, failure)


def termination() -> Probe:
    """Return five steps that pay 1 each and then terminate: V = (1 − γ⁵)/(1 − γ), …, 1."""
    failure = "the critic bootstraps past a termination, perhaps from the next episode's first observation"
    return _from_the_first(((1, 1), (2, 2), (3, 3), (4, 4), (END, END)), ((1, 1),) * 5, 10, failure)


def time_limit() -> Probe:
    """Return steps that pay 1 each, cut off after five of them, in one state: V = 1/(1 − γ)."""
    failure = "being cut off is taken for a termination: V then stays below (1 − γ⁵)/(1 − γ)"
    return _from_the_first(((0, 0),), ((1, 1),), 5, failure)


def action() -> Probe:
    """Return one step in one state: action 1 pays 1, action 0 pays −1."""
    failure = "the policy gradient has the wrong sign, or the scores belong to other actions"
    return _from_the_first(((END, END),), ((-1, 1),), 10, failure)


def match() -> Probe:
    """Return one step, observed as ±1: action 1 pays what is observed, action 0 its opposite."""
    failure = "the policy does not see the observation, or advantages belong to other observations"
    return Probe(((END, END),) * 2, ((1, -1), (-1, 1)), ((-1,), (1,)), 2, 10, failure)


def credit() -> Probe:
    """Return two steps: the first action decides what the second step pays, action 1 for 1, 0 for −1."""
    failure = "advantages see the step's own reward only, or are one step out of time"
    return _from_the_first(((1, 2), (END, END), (END, END)), ((0, 0), (-1, -1), (1, 1)), 10, failure)


def _from_the_first(successors: Any, rewards: Any, limit: int, failure: str) -> Probe:
    """Return the probe that starts in state 0 and sees state s as the unit vector e_s."""
    unit_vectors = tuple(map(tuple, np.eye(len(successors)).tolist()))
    return Probe(successors, rewards, unit_vectors, 1, limit, failure)
