"""Small random instances on which the checks of parametrised policies run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pgref import exact
from pgref.arrays import Array, Matrix, Vector
from pgref.categorical import Categorical
from pgref.checks.derivatives import complex_step_gradient
from pgref.mdp import TabularMDP
from pgref.networks import MLP, Table
from pgref.policy import Policy


class Case(NamedTuple):
    """A policy at θ on an MDP."""

    mdp: TabularMDP
    policy: Policy
    theta: Vector  # [P]
    obs: Array  # [S] states or [S, D]: what the policy sees in each state

    @property
    def arguments(self) -> tuple[TabularMDP, Policy, Vector, Array]:
        """What the functions of `pgref.exact` take."""
        return self.mdp, self.policy, self.theta, self.obs


def small_mdp(
    rng: np.random.Generator, discount: float, *, states: int = 4, actions: int = 3, ending: float = 0.0
) -> TabularMDP:
    """Draw Dirichlet rows and normal rewards; each step terminates with probability `ending`."""
    rows = rng.dirichlet(np.ones(states), (states, actions)) * (1 - ending)
    rewards = rng.standard_normal((states, actions))
    return TabularMDP(rows, rewards, rng.dirichlet(np.ones(states)), discount)


def table_case(rng: np.random.Generator, mdp: TabularMDP) -> Case:
    """Draw a softmax table."""
    policy = Policy(Table(mdp.n_states, mdp.n_actions), Categorical())
    return Case(mdp, policy, rng.standard_normal(policy.n_params), np.arange(mdp.n_states))


def mlp_case(rng: np.random.Generator, mdp: TabularMDP, width: int = 5) -> Case:
    """Draw a tanh network on random observations of the states."""
    policy = Policy(MLP((2, width, mdp.n_actions)), Categorical())
    return Case(mdp, policy, rng.standard_normal(policy.n_params), rng.standard_normal((mdp.n_states, 2)))


def cases(
    rng: np.random.Generator, mdps: int, discounts: tuple[float, ...] = (0.0, 0.5, 0.9)
) -> Iterator[Case]:
    """Yield `mdps` cases, tables and networks in turn, on MDPs of which every other may terminate."""
    for i in range(mdps):
        mdp = small_mdp(rng, discounts[i % len(discounts)], ending=0.2 * (i % 2))
        yield (table_case if i % 4 < 2 else mlp_case)(rng, mdp)


def gradient_of_j(case: Case) -> Vector:
    """Return ∇J(θ) [P] by complex steps."""
    mdp, policy, theta, obs = case.arguments
    return complex_step_gradient(lambda t: exact.parametrised_return(mdp, policy, t, obs), theta)


def trajectories(mdp: TabularMDP, pi: Matrix, length: int) -> Iterator[tuple[float, Array, Array, Array]]:
    """Yield every path of up to `length` steps: probability, S [L], A [L], S′ [L] with −1 for termination."""

    def extend(probability: float, path: tuple[tuple[int, int, int], ...], state: int) -> Iterator[Any]:
        if len(path) == length or state < 0:
            yield probability, *np.array(path).T
            return
        for a in range(mdp.n_actions):
            row = mdp.transitions[state, a]
            for following, p in enumerate([*row, 1 - row.sum()]):
                chance = probability * pi[state, a] * p
                target = following if following < mdp.n_states else -1
                if chance > 0:
                    yield from extend(chance, (*path, (state, a, target)), target)

    for s in np.flatnonzero(mdp.start):
        yield from extend(float(mdp.start[s]), (), int(s))
