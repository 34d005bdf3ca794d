"""The policy π = (σ(θ), 1 − σ(θ)) with one number θ for all states, which then look alike."""

from __future__ import annotations

import numpy as np

from pgref import exact
from pgref.arrays import Vector
from pgref.categorical import Categorical
from pgref.mdp import TabularMDP
from pgref.networks import Table
from pgref.policy import Policy

POLICY = Policy(Table(1, 2), Categorical())
ALONE = np.zeros(1, int)  # what it sees of a single state


def logits(theta: float) -> Vector:
    """Return the two parameters of `POLICY` that make it (σ(θ), 1 − σ(θ)), [2]."""
    return np.array([theta, 0.0])


def probabilities(theta: float) -> Vector:
    """Return (σ(θ), 1 − σ(θ)), [2]."""
    return np.asarray(POLICY.probabilities(logits(theta), ALONE)[0])


def seen(mdp: TabularMDP) -> Vector:
    """Return what the policy sees in each state, [S]: always the same."""
    return np.zeros(mdp.n_states, int)


def expected_return(mdp: TabularMDP, theta: float) -> float:
    """Return J(θ)."""
    return exact.parametrised_return(mdp, POLICY, logits(theta), seen(mdp))


def derivative(mdp: TabularMDP, theta: float, *, discounted: bool = True) -> float:
    """Return dJ/dθ by (5.28), or what (5.15) prints for it, without γ^t."""
    g = exact.policy_gradient(mdp, POLICY, logits(theta), seen(mdp), discounted=discounted)
    return float(g[0])
