"""Lemma 5.1 and the chain from (5.18) to L: each equality to rounding, each condition by what breaks it."""

from __future__ import annotations

from itertools import product

import numpy as np

from pgref import bounds, instances, mdp
from pgref.arrays import Matrix
from pgref.checks.finding import Finding, at_least, at_most, larger, smaller
from pgref.instances import Instance
from pgref.mdp import TabularMDP

EXACT = 1e-12  # rounding, relative to max(1, |J|)/(1−γ)
HORIZON = 400  # .9⁴⁰⁰ is below rounding


def performance_difference(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """J(π′) = J(π) + E_{τ∼π′}[Σγ^t A_π] for any two policies, whatever their support: Lemma 5.1 (5.18)."""
    worst = 0.0
    for _ in range(5 * mdps):  # 1000 in a default run
        m, old, new = instances.draw(rng)
        worst = larger(worst, _lemma_residual(m, old, new, 1.0 - m.discount))
    undiscounted = 0.0
    for _ in range(max(1, mdps // 10)):
        m, old, new = _pair(rng, 1.0, ending=0.5)
        undiscounted = larger(undiscounted, _lemma_residual(m, old, new, 1.0 / mdp.visitation(m, new).sum()))
    return [
        at_most("|J(π′) − J(π) − E|·(1−γ)/max(1, |J|)", worst, EXACT),
        at_most("|J(π′) − J(π) − E|/(Σρ′·max(1, |J|)), γ = 1, all paths end", undiscounted, EXACT),
    ]


def same_maximiser(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """The policy that maximises (5.19) maximises J, since the two differ by J(π), which π′ does not enter."""
    lost, spread, least = 0.0, 0.0, np.inf
    for _ in range(max(1, mdps // 20)):
        m, old, _ = _pair(rng, 0.9, n_states=3, n_actions=3)
        policies = [np.eye(3)[list(choice)] for choice in product(range(3), repeat=3)]
        returns = np.array([mdp.expected_return(m, new) for new in policies])
        gains = np.array([bounds.performance_difference(m, new, old) for new in policies])
        lost = larger(lost, returns.max() - returns[gains.argmax()])
        spread = larger(spread, float(np.ptp(returns - gains)))
        least = smaller(least, gains.max())
    return [
        at_most("max J − J(argmax E), over all deterministic π′", lost, 1e-11),
        at_most("max − min of J(π′) − E over π′", spread, 1e-11),
        at_least("max E, at least that of π itself", least, 0.0),
    ]


def paths_and_states(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """The sum over paths (5.20) is the sum over states (5.21), with ρ not normalised: Σρ = 1/(1−γ)."""
    worst, mass = 0.0, 0.0
    for i in range(max(6, mdps // 10)):
        m, old, new = _pair(rng, (0.0, 0.5, 0.9)[i % 3], ending=0.3 * (i % 2))
        paths = bounds.trajectory_sum(m, new, mdp.advantages(m, old), HORIZON)
        worst = larger(worst, abs(paths - bounds.performance_difference(m, new, old)))
        if not i % 2:
            mass = larger(mass, abs(mdp.visitation(m, new).sum() * (1.0 - m.discount) - 1.0))
    return [
        at_most(f"|Σ_{{t<{HORIZON}}} γ^t E[A(S_t, A_t)] − Σ_s ρ′(s) Ā(s)|", worst, 1e-11),
        at_most("|(1−γ) Σ_s ρ(s) − 1|, nothing terminates", mass, EXACT),
    ]


def state_approximation(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Replacing ρ_{π′} of (5.21) by ρ_π in (5.22) errs by (ρ_{π′} − ρ_π)·Ā, of second order in π′ − π."""
    worst, orders, shares, step = 0.0, [], [], 1e-6
    for _ in range(max(10, mdps // 5)):
        m, old, new = _pair(rng, 0.9)
        gain, local = bounds.performance_difference(m, new, old), bounds.local_surrogate(m, new, old)
        gap = bounds.surrogate_gap(m, new, old)
        worst = larger(worst, abs(abs(gain - local) - gap))
        shares.append(gap / abs(gain))
        near, twice = (bounds.surrogate_gap(m, old + k * step * (new - old), old) for k in (1, 2))
        orders.append(np.log2(twice / near))
    return [
        at_most("||E − L| − |(ρ_π′ − ρ_π)·Ā||", worst, 1e-11),
        at_most("|order − 2| of the error as π′ → π, median", abs(np.median(orders) - 2.0), 1e-3),
        at_least("|E − L|/|E| between unrelated policies, median", np.median(shares), 0.01),
    ]


def importance_weights(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """(5.22), (5.23) and (5.24) agree if π′A = 0 wherever π = 0 < ρ; else the last two lose Σ_{π=0} ρπ′A."""
    over_states, over_paths, lost = 0.0, 0.0, 0.0
    for i in range(max(10, mdps // 5)):
        kind: instances.PolicyKind = "saturated" if i % 2 else "dirichlet"
        m, old, new = _pair(rng, (0.5, 0.9)[i % 2], kind=kind)
        local = bounds.local_surrogate(m, new, old)
        over_states = larger(over_states, abs(bounds.importance_surrogate(m, new, old) - local))
        if i % 4 < 2:
            weighted = new / old * mdp.advantages(m, old)
            over_paths = larger(over_paths, abs(bounds.trajectory_sum(m, old, weighted, HORIZON) - local))
        old = instances.random_policy(rng, m.n_states, m.n_actions, "deterministic")
        missed = mdp.visitation(m, old) @ np.where(old > 0.0, 0.0, new * mdp.advantages(m, old)).sum(axis=1)
        local = bounds.local_surrogate(m, new, old)
        lost = larger(lost, abs(bounds.importance_surrogate(m, new, old) + missed - local))
    # one state that stays; π takes the action that pays 0, π′ the one that pays 1: L = 10, unseen by (5.24)
    m = TabularMDP(np.ones((1, 2, 1)), np.array([[0.0, 1.0]]), np.ones(1), 0.9)
    old, new = np.eye(2)[:1], np.eye(2)[1:]
    without_support = bounds.local_surrogate(m, new, old) - bounds.importance_surrogate(m, new, old)
    return [
        at_most("|(5.23) − (5.22)|, π > 0, also logits ±50", over_states, 1e-11),
        at_most("|(5.24) over paths − (5.22)|", over_paths, 1e-11),
        at_most("|(5.23) + Σ_{π=0} ρπ′A − (5.22)|, π deterministic", lost, 1e-11),
        at_least("(5.22) − (5.24) where π never takes the better action", without_support, 9.99),
    ]


def surrogate_excludes_return(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """L_π(π′), the last form (5.24), does not include J: L_π(π) = 0, and J(π) + L is tangent to J at π."""
    at_old, slopes, largest = 0.0, 0.0, 0.0
    for _ in range(max(10, mdps // 5)):
        m, old, new = _pair(rng, 0.9)
        at_old = larger(at_old, abs(bounds.importance_surrogate(m, old, old)))
        largest = larger(largest, abs(mdp.expected_return(m, old)))
        step = old + 1e-20j * (new - old)
        slope = bounds.importance_surrogate(m, step, old).imag - mdp.expected_return(m, step).imag
        slopes = larger(slopes, abs(slope) / 1e-20)
    return [
        at_most("|L_π(π)|", at_old, 1e-11),
        at_least("|J(π)| left out, largest", largest, 0.1),
        at_most("|dL − dJ| at π, along π′ − π", slopes, 1e-11),
    ]


def learned_baseline(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """With a learned V_ψ in (5.16) Lemma 5.1 fails by ρ_{π′}·(V − V_ψ); the TD form gives J(π′) − μ·V_ψ."""
    exact, telescoped, failure = 0.0, 0.0, 0.0
    for _ in range(max(10, mdps // 5)):
        m, old, new = _pair(rng, 0.9)
        learned = rng.standard_normal(m.n_states)
        rho, q = mdp.visitation(m, new), mdp.action_values(m, old)
        printed = rho @ (new * (q - learned[:, None])).sum(axis=1)
        off = printed - (mdp.expected_return(m, new) - mdp.expected_return(m, old))
        exact = larger(exact, abs(off - rho @ (mdp.state_values(m, old) - learned)))
        failure = larger(failure, abs(off))
        td = m.rewards + m.discount * mdp.expected_next(m, learned) - learned[:, None]
        telescoped = larger(
            telescoped, abs(rho @ (new * td).sum(axis=1) - mdp.expected_return(m, new) + m.start @ learned)
        )
    return [
        at_least("|E_{π′} Σγ^t (Q − V_ψ) − (J(π′) − J(π))|, largest", failure, 0.1),
        at_most("that failure − ρ_π′·(V − V_ψ)", exact, 1e-11),
        at_most("|E_{π′} Σγ^t (R + γV_ψ(S′) − V_ψ(S)) − (J(π′) − μ·V_ψ)|", telescoped, 1e-11),
    ]


def finite_horizon(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Over T steps J_T(π′) − J_T(π) = Σ_{t<T} γ^t E_{π′}[A_{π,T−t}], and T → ∞ gives Lemma 5.1."""
    worst, limit = 0.0, 0.0
    for i in range(max(1, mdps // 20)):
        m, old, new = _pair(rng, (0.9, 1.0)[i % 2])
        horizon = int(rng.integers(1, 20))
        change = _return_within(m, new, horizon) - _return_within(m, old, horizon)
        worst = larger(worst, abs(change - _finite_gain(m, new, old, horizon)))
        m = TabularMDP(m.transitions, m.rewards, m.start, 0.9)
        gain = bounds.performance_difference(m, new, old)
        limit = larger(limit, abs(_return_within(m, new, HORIZON) - _return_within(m, old, HORIZON) - gain))
    return [
        at_most("|J_T(π′) − J_T(π) − Σ_{t<T} γ^t E[A_{π,T−t}]|, also γ = 1", worst, 1e-11),
        at_most(f"|J_T(π′) − J_T(π) − ρ′·Ā| at T = {HORIZON}", limit, 1e-11),
    ]


def _pair(
    rng: np.random.Generator,
    discount: float,
    *,
    n_states: int = 5,
    n_actions: int = 3,
    ending: float = 0.0,
    kind: instances.PolicyKind = "dirichlet",
) -> Instance:
    """Draw a random MDP and two unrelated policies."""
    m = instances.random_mdp(rng, n_states, n_actions, discount, ending=ending)
    return Instance(m, *(instances.random_policy(rng, n_states, n_actions, kind) for _ in range(2)))


def _lemma_residual(m: TabularMDP, old: Matrix, new: Matrix, scale: float) -> float:
    before, after = mdp.expected_return(m, old), mdp.expected_return(m, new)
    return float(
        abs(after - before - bounds.performance_difference(m, new, old)) * scale / max(1.0, abs(before))
    )


def _return_within(m: TabularMDP, pi: Matrix, horizon: int) -> float:
    value: float = bounds.trajectory_sum(m, pi, m.rewards, horizon)
    return value


def _finite_gain(m: TabularMDP, new: Matrix, old: Matrix, horizon: int) -> float:
    """Return Σ_{t<T} γ^t Σ_s P(S_t = s) Σ_a π′ A_{π,T−t}, A_{π,k} with k steps to go."""
    values, gains = np.zeros(m.n_states), []
    for _ in range(horizon):
        q = m.rewards + m.discount * mdp.expected_next(m, values)
        values = (old * q).sum(axis=1)
        gains.append((new * (q - values[:, None])).sum(axis=1))
    total, flow = 0.0, m.start
    for gain in reversed(gains):
        total += float(flow @ gain)
        flow = m.discount * mdp.arrivals(m, flow[:, None] * new)
    return total
