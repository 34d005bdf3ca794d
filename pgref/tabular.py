"""Policies as free matrices π[S, A]: (5.26) exactly, natural policy gradient, TRPO with a penalty.

One subproblem carries the module. For an advantage row A(s, ·) and a price λ of divergence, the policy that
maximises Σ_a π'(a) A(a) − λ D(π ‖ π') is π'(a) = λ π(a) / (ν − A(a)), where ν makes it sum to one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from pgref.arrays import Matrix, Vector, count, positive
from pgref.errors import scipy_needed
from pgref.mdp import TabularMDP, action_values, advantages, as_policy, visitation
from pgref.special import kl_terms

ROUNDING = 64 * float(np.finfo(float).eps)  # of the largest value: a smaller difference may be rounding


def penalised_policy(pi: Matrix, advantage: Matrix, price: Vector) -> Matrix:
    """Return argmax over π' of Σ_a π'(a|s) A(s, a) − λ_s D(π(·|s) ‖ π'(·|s)), [S, A], λ = `price` [S] > 0.

    By the KKT conditions π'(a|s) = λπ(a|s) / (ν_s − A(s, a)). An action that π never takes is free of cost:
    if it beats ν_s, then ν_s is its advantage and it gets the rest of the mass.
    """
    pi, advantage, price = np.broadcast_arrays(pi, advantage, np.asarray(price)[:, None])
    taken = pi > 0
    top = np.where(taken, advantage, -np.inf).max(1, keepdims=True)
    with np.errstate(over="ignore"):  # a price or a probability near 0
        ahead = (advantage - top) / price
        gap = np.where(taken, -ahead, np.inf)  # (ν − A)/λ = x + gap
        # Σ π/(x + gap) = 1 has its root x in [Σ_{gap = 0} π, 1]; its reciprocal is concave in x
        x = np.where(gap == 0, pi, 0).sum(1, keepdims=True)
        while True:  # Newton on 1/Σ = 1: it only rises, and stops where rounding stops it
            shares = pi / (x + gap)
            total = shares.sum(1, keepdims=True)
            growth = (total - 1) / (shares / total * (x / (x + gap))).sum(1, keepdims=True)
            following = np.clip(x * (1 + growth), x, 1)
            if not (following > x).any():
                break
            x = following
    x = np.maximum(x, np.where(taken, -np.inf, ahead).max(1, keepdims=True))  # the best untaken action
    new = np.where(taken, pi / (x + gap), 0.0)
    rest = 1 - new.sum(1, keepdims=True)
    free = ~taken & (ahead == x)
    new = np.where(free, np.maximum(rest, 0) / np.maximum(free.sum(1, keepdims=True), 1), new)
    return np.asarray(new / new.sum(1, keepdims=True))


def trpo_exact_tabular(mdp: TabularMDP, pi: Matrix, delta: float) -> Matrix:
    """Return the exact solution [S, A] of (5.26): max L_π(π') subject to Σ_s ρ(s) D(π ‖ π')(s) ≤ δ.

    ρ is unnormalised, as printed. The solution is π'(a|s) = λπ(a|s) / (ν_s − A(s, a)) with one λ for all
    states. States that π never visits keep their policy; so do all of them where nothing can be gained.

    Raises:
        ArgumentError: delta (nats) is not positive, or π is not a policy of the MDP.
    """
    pi, delta = _real_policy(mdp, pi), positive("delta", delta)
    rho, q = visitation(mdp, pi), action_values(mdp, pi)
    spread = _spread(pi, q)
    visited = (rho > 0) & (spread > 0)
    if not visited.any():
        return pi.copy()
    q = q / spread.max()  # neither a unit nor a shift of the returns matters

    def candidate(price: float) -> Matrix:
        return penalised_policy(pi[visited], q[visited], np.full(visited.sum(), price))

    def divergence(price: float) -> float:
        return float(rho[visited] @ kl_terms(pi[visited], candidate(price)).sum(1))

    new = pi.copy()
    new[visited] = candidate(_where_it_falls_to(delta, divergence, 1.0))
    return new


def penalty_step(mdp: TabularMDP, pi: Matrix, penalty: float | None = None) -> Matrix:
    """Return the argmax [S, A] of L_π(π') − C·max_s D(π ‖ π')(s), a step that never lowers J.

    C = `penalty` > 0 is by default the constant 4εγ/(1−γ)² of Theorem 5.1 (5.25), ε = max |A|. For a common
    limit D on every state's divergence the solution has a price λ_s(D) in each state; the best D
    has Σ_s ρ(s) λ_s(D) = C.

    Raises:
        ArgumentError: the penalty is not positive; so for the default where γ is 0 or 1.

    Source: Schulman et al. 2015, Algorithm 1.
    """
    pi = _real_policy(mdp, pi)
    penalty = None if penalty is None else positive("penalty", penalty)
    rho, q = visitation(mdp, pi), action_values(mdp, pi)
    spread = _spread(pi, q)
    moving = np.flatnonzero((rho > 0) & (spread > 0))
    if not moving.size:
        return pi.copy()
    if penalty is None and mdp.discount < 1:
        penalty = 4 * float(abs(advantages(mdp, pi)).max()) * mdp.discount / (1 - mdp.discount) ** 2
    penalty, q, spread = positive("penalty", penalty) / spread.max(), q / spread.max(), spread / spread.max()

    def prices(limit: float) -> Vector:
        rows = [(partial(_row_divergence, pi[[s]], q[[s]]), float(spread[s])) for s in moving]
        return np.array([_where_it_falls_to(limit, divergence, size) for divergence, size in rows])

    best = _where_it_falls_to(penalty, lambda limit: float(rho[moving] @ prices(limit)), 1.0)
    new = pi.copy()
    new[moving] = penalised_policy(pi[moving], q[moving], prices(best))
    return new


def npg_iterates(mdp: TabularMDP, pi: Matrix, step: float, n: int) -> Matrix:
    """Return π_0, …, π_n, [n + 1, S, A], with π_{k+1} ∝ π_k exp(ηA_k/(1−γ)): NPG on a softmax table.

    From a uniform start and for rewards in [0, 1], J* − J(π_T) ≤ log|A|/(ηT) + 1/((1−γ)²T).

    Raises:
        ArgumentError: the step η is not positive, n < 1, or γ = 1.

    Source: Agarwal et al. 2021, Lemma 15 and Theorem 16.
    """
    step, policies = positive("step", step), [_real_policy(mdp, pi)]
    scale = positive("1 - discount", 1 - mdp.discount)
    for _ in range(count("n", n)):
        pi = policies[-1]
        a = np.where(pi > 0, advantages(mdp, pi), -np.inf)  # what is never taken stays so, best or not
        with np.errstate(over="ignore"):
            weights = pi * np.exp(step * ((a - a.max(1, keepdims=True)) / scale))
        policies.append(weights / weights.sum(1, keepdims=True))
    return np.stack(policies)


def _real_policy(mdp: TabularMDP, pi: Matrix) -> Matrix:
    return as_policy("pi", pi, mdp.rewards.shape, "f")


def _spread(pi: Matrix, q: Matrix) -> Vector:
    """Return max_a Q(s, a) − min_{a: π > 0} Q(s, a) ≥ 0, [S]: 0 where no other policy is better.

    What rounding makes of equal Q is 0 too, or a step would follow the rounding.
    """
    spread = q.max(1) - np.where(pi > 0, q, np.inf).min(1)
    return np.asarray(np.where(spread > ROUNDING * abs(q).max(), spread, 0))


def _row_divergence(pi: Matrix, advantage: Matrix, price: float) -> float:
    return float(kl_terms(pi, penalised_policy(pi, advantage, np.array([price]))).sum())


def _where_it_falls_to(target: float, f: Callable[[float], float], start: float) -> float:
    """Return x with f(x) = target for a falling f, or about 1e±260 if it is reached nowhere between."""
    with scipy_needed("an exact step"):
        from scipy.optimize import brentq

    low, high, width = math.log(start), math.log(start), 2
    while high < 600 and f(math.exp(high)) > target:
        low, high, width = high, min(high + width, 600), 2 * width
    while low > -600 and f(math.exp(low)) <= target:
        low, high, width = max(low - width, -600), low, 2 * width
    if high == 600 or low == -600:
        return math.exp(low)

    def off(u: float) -> float:  # log f is almost linear in log x
        return math.log(max(f(math.exp(u)), 1e-300)) - math.log(target)

    return math.exp(brentq(off, low, high, xtol=1e-15))
