"""A parametrised policy on a finite MDP: gradients, Hessians and steps as exact sums instead of samples.

`obs` [S, …] is what the policy sees in each state; None means the state's index, as for a `Table`. States
that share an observation share their parameters. Policies must be categorical. A complex θ (a complex step)
gives complex results, a float32 one is computed with in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, Vector, as_parameters, count, positive
from pgref.errors import ShapeError
from pgref.mdp import TabularMDP, advantages, arrivals, check_policy, expected_return, resolvent, visitation
from pgref.natural import dense_solve, natural_step
from pgref.policy import Policy
from pgref.tabular import npg_iterates, penalty_step, trpo_exact_tabular

__all__ = [
    "TrustRegionStep",
    "kl_hessian",
    "natural_gradient",
    "natural_gradient_tabular",
    "npg_iterates",
    "parametrised_return",
    "penalty_step",
    "policy_gradient",
    "policy_matrix",
    "state_weights",
    "trpo_exact_tabular",
    "trpo_step",
]


def policy_matrix(mdp: TabularMDP, policy: Policy, theta: Vector, obs: Array | None = None) -> Matrix:
    """Return π_θ as a matrix [S, A] whose rows lie in the policy space (5.17).

    Raises:
        ShapeError: not one observation a state, or another number of actions than the MDP's.
        ArgumentTypeError: the policy is not categorical.
    """
    return check_policy(mdp, policy.probabilities(_double(policy, theta), _seen(mdp, obs)))


def parametrised_return(mdp: TabularMDP, policy: Policy, theta: Vector, obs: Array | None = None) -> float:
    """Return J(θ) = J(π_θ); complex for a complex θ."""
    value: float = expected_return(mdp, policy_matrix(mdp, policy, theta, obs))
    return value


def policy_gradient(
    mdp: TabularMDP,
    policy: Policy,
    theta: Vector,
    obs: Array | None = None,
    *,
    discounted: bool = True,
    horizon: int | None = None,
) -> Vector:
    """Return E_τ[Σ_t γ^t ∇log π_θ(A_t|S_t) A(S_t, A_t)] = ∇J(θ), [P], (5.28).

    With `discounted=False` the factor γ^t is missing, as (5.15) prints it: the gradient of nothing unless
    γ = 1. `horizon` keeps the first terms t < horizon only; None sums them all.

    Raises:
        NotAbsorbingError: the sum diverges: `discounted=False`, no horizon, and a policy that never ends.
    """
    theta = _double(policy, theta)
    pi = policy_matrix(mdp, policy, theta, obs)
    weights = state_weights(mdp, pi, discounted=discounted, horizon=horizon)
    states, actions = np.divmod(np.arange(pi.size), mdp.n_actions)
    sample_weights = (weights[:, None] * pi * advantages(mdp, pi)).ravel()
    return policy.score_sum(theta, _seen(mdp, obs)[states], actions, sample_weights)


def state_weights(
    mdp: TabularMDP, pi: Matrix, *, discounted: bool = True, horizon: int | None = None
) -> Vector:
    """Return Σ_t γ^t P(S_t = s), or Σ_t P(S_t = s), [S], over t < horizon or over all t."""
    pi = check_policy(mdp, pi)
    if horizon is None:
        if discounted:
            return visitation(mdp, pi)
        undiscounted = TabularMDP(mdp.transitions, mdp.rewards, mdp.start, 1.0)
        return resolvent(undiscounted, pi, mdp.start, transposed=True)
    weights, now = np.zeros_like(pi[:, 0]), mdp.start.astype(pi.dtype)
    for _ in range(count("horizon", horizon)):
        weights = weights + now
        now = (mdp.discount if discounted else 1.0) * arrivals(mdp, now[:, None] * pi)
    return weights


def kl_hessian(
    mdp: TabularMDP, policy: Policy, theta: Vector, obs: Array | None = None, *, normalised: bool = False
) -> Matrix:
    """Return H = Σ_s ρ(s) ∇²D(π_θ(·|s) ‖ π_θ'(·|s)) at θ' = θ, [P, P].

    ρ is unnormalised, as in (5.21), unless `normalised` divides it by its sum; where nothing terminates that
    multiplies H by 1 − γ, and so a step of given δ by (1 − γ)^−½.
    """
    theta = _double(policy, theta)
    rho = visitation(mdp, policy_matrix(mdp, policy, theta, obs))
    return policy.kl_hessian(theta, _seen(mdp, obs), rho / rho.sum() if normalised else rho)


def natural_gradient(mdp: TabularMDP, policy: Policy, theta: Vector, obs: Array | None = None) -> Vector:
    """Return H⁺∇J(θ), [P], with H under the unnormalised ρ: the shortest solution of Hx = ∇J."""
    hessian = kl_hessian(mdp, policy, theta, obs)
    return dense_solve(hessian, policy_gradient(mdp, policy, theta, obs)).x


def natural_gradient_tabular(mdp: TabularMDP, pi: Matrix) -> Matrix:
    """Return A(s, a) − (1/|A|) Σ_b A(s, b), [S, A]: H⁺∇J in closed form for a softmax table.

    States that π never visits, of which H⁺∇J says nothing, get 0.
    """
    a = advantages(mdp, pi)
    visited = visitation(mdp, pi) > 0
    return np.asarray(np.where(visited[:, None], a - a.mean(1, keepdims=True), 0.0))


class TrustRegionStep(NamedTuple):
    """A solution of (5.29)."""

    step: Vector  # [P] θ' − θ
    predicted: float  # g·(θ' − θ), in the units of the return
    quadratic_kl: float  # ½ (θ' − θ)·H(θ' − θ), in nats
    rank: int  # of H


def trpo_step(
    mdp: TabularMDP,
    policy: Policy,
    theta: Vector,
    kl_limit: float,
    obs: Array | None = None,
    *,
    half: bool = True,
) -> TrustRegionStep:
    """Return the step √(2δ / g·H⁺g) H⁺g of (5.29), which maximises g·Δ subject to ½ Δ·HΔ ≤ δ.

    The printed constraint lacks the ½. `half=False` solves that one, Δ·HΔ ≤ δ: its solution is
    √(δ / g·H⁺g) H⁺g, so that the printed constraint and the printed solution disagree by a factor 2.

    Raises:
        ArgumentError: kl_limit (δ, nats) is not positive.
    """
    kl_limit = positive("kl_limit", kl_limit)
    g, hessian = policy_gradient(mdp, policy, theta, obs), kl_hessian(mdp, policy, theta, obs)
    solution = dense_solve(hessian, g)
    step = natural_step(lambda v: hessian @ v, solution.x, kl_limit=kl_limit if half else kl_limit / 2)
    return TrustRegionStep(step, float(g @ step), float(step @ hessian @ step) / 2, solution.rank)


def _seen(mdp: TabularMDP, obs: Array | None) -> Array:
    seen = np.arange(mdp.n_states) if obs is None else np.asarray(obs)
    if seen.shape[:1] != (mdp.n_states,):
        raise ShapeError(f"obs must have one row for each of {mdp.n_states} states, got shape {seen.shape}")
    return seen


def _double(policy: Policy, theta: Vector) -> Vector:
    """Return θ in double precision: rows of a float32 softmax miss 1 by more than an MDP's policy may."""
    theta = as_parameters("theta", theta, policy.n_params)
    return theta.astype(np.result_type(theta, np.float64), copy=False)
