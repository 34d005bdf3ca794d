"""From one policy to another, both as matrices π[S, A]: Lemma 5.1, the surrogate L, and how far L is off.

π is the old policy, π′ the new one, A = A_π, ρ = ρ_π and ρ′ = ρ_{π′} unnormalised, D(π ‖ π′) in nats. Where
no bound is concerned a policy may be complex, for complex-step derivatives. Knows nothing of parameters θ.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Vector, as_array, count, in_unit_interval
from pgref.mdp import TabularMDP, advantages, arrivals, as_policy, check_policy, resolvent, visitation
from pgref.special import kl_terms

# ζ(−½−k)·(−1)^k/k!, k = 0, 1, …: the power series of Li_{−½}(e^−μ) − Γ(3/2) μ^(−3/2)
SERIES = (
    -0.20788622497735456602,
    0.02548520188983303595,
    0.0042584643889251652712,
    -0.00074016855591323865976,
    -0.0001288195519673264102,
    0.000022262150165826871658,
    3.8149554715789843867e-6,
    -6.4861896281750397256e-7,
)


class GapBounds(NamedTuple):
    """Upper bounds of |J(π′) − J(π) − L|, in the units of the rewards; ∞ where one says nothing.

    ε = max |A|, ε′ = max_s |Σ_a π′A|, D = max_s D(π ‖ π′), α = max_s TV, d = (1−γ)ρ.
    """

    printed: float  # 4εγD/(1−γ)²
    pinsker: float  # 2εγD/(1−γ)²
    total_variation: float  # 4εα²γ/((1−γ)(1−γ(1−α)))
    chain: float  # 2εD Σ_{t≥1} √t γ^t
    cpo_tv: float  # 2γε′/(1−γ)² Σ_s d(s) TV(s)
    cpo_kl: float  # γε′/(1−γ)² √(2 Σ_s d(s) D(s))


def expected_advantages(mdp: TabularMDP, pi_new: Any, pi_old: Any) -> Vector:
    """Return Ā(s) = Σ_a π′(a|s) A(s, a), [S]; raises as `performance_difference` does."""
    pi_new, pi_old = check_policy(mdp, pi_new, "pi_new"), check_policy(mdp, pi_old, "pi_old")
    change = pi_new - pi_old  # Σ_a πA = 0, so this is Ā too, and exact where π′ = π
    return np.asarray((change * advantages(mdp, pi_old)).sum(axis=1))


def performance_difference(mdp: TabularMDP, pi_new: Any, pi_old: Any) -> Any:
    """Return E_{τ∼π′}[Σ_t γ^t A(S_t, A_t)] = ρ′·Ā, a float: J(π′) − J(π) by Lemma 5.1 (5.18).

    It is the objective (5.19), computed in the form (5.21) of (5.20).

    Raises:
        ArgumentError: a policy that does not fit the MDP.
        NotAbsorbingError: γ = 1 and a policy that never ends.
    """
    gains = expected_advantages(mdp, pi_new, pi_old)
    return (visitation(mdp, pi_new) @ gains).item()


def local_surrogate(mdp: TabularMDP, pi_new: Any, pi_old: Any) -> Any:
    """Return L = Σ_s ρ(s) Σ_a π′(a|s) A(s, a), a float: (5.22), without J(π).

    Raises as `performance_difference` does.
    """
    gains = expected_advantages(mdp, pi_new, pi_old)
    return (visitation(mdp, pi_old) @ gains).item()


def importance_surrogate(mdp: TabularMDP, pi_new: Any, pi_old: Any) -> Any:
    """Return Σ_s ρ(s) Σ_a π(a|s) (π′(a|s)/π(a|s)) A(s, a), a float: L in the forms (5.23) and (5.24).

    The expectation is over actions that π takes, so it misses those of π′ that π never takes: it is L only
    if π′A = 0 wherever π = 0 < ρ. Raises as `performance_difference` does.
    """
    pi_new, pi_old = check_policy(mdp, pi_new, "pi_new"), check_policy(mdp, pi_old, "pi_old")
    taken = pi_old.real > 0.0
    p = np.where(taken, pi_old, 1.0) * 2.0**200  # for π near underflow the ratio alone would overflow
    weighted = np.where(taken, p * (pi_new / p), 0.0) * advantages(mdp, pi_old)
    return (visitation(mdp, pi_old) @ weighted.sum(axis=1)).item()


def trajectory_sum(mdp: TabularMDP, pi: Any, quantity: Any, horizon: int) -> Any:
    """Return E_{τ∼π}[Σ_{t<horizon} γ^t f(S_t, A_t)], a float, for f = `quantity` [S, A], step by step.

    With f = A under π′ it is (5.20), with f = (π′/π)A under π it is (5.24), each cut off at the horizon.
    """
    pi = check_policy(mdp, pi)
    quantity = as_array("quantity", quantity, pi.shape, "c")
    total, flow = np.zeros(()), mdp.start  # flow = γ^t P(S_t = s)
    for _ in range(count("horizon", horizon)):
        taken = flow[:, None] * pi
        total, flow = total + (taken * quantity).sum(), mdp.discount * arrivals(mdp, taken)
    return total.item()


def surrogate_gap(mdp: TabularMDP, pi_new: Any, pi_old: Any) -> float:
    """Return |J(π′) − J(π) − L| = |(ρ′ − ρ)·Ā|, the left side of (5.25) and the error of (5.22).

    Both factors are formed from π′ − π, so that no digits cancel where π′ ≈ π:
    ρ′ − ρ = (I − γP_π′ᵀ)⁻¹ γ(P_π′ − P_π)ᵀρ. Raises as `performance_difference` does.
    """
    pi_new, pi_old = check_policy(mdp, pi_new, "pi_new"), check_policy(mdp, pi_old, "pi_old")
    shifted = arrivals(mdp, visitation(mdp, pi_old)[:, None] * (pi_new - pi_old))
    change = resolvent(mdp, pi_new, mdp.discount * shifted, transposed=True)
    return float(abs(change @ expected_advantages(mdp, pi_new, pi_old)))


def kl(pi_old: Any, pi_new: Any) -> Vector:
    """Return D(π(·|s) ‖ π′(·|s)), [S] in nats: ∞ where π takes an action that π′ never takes.

    Raises:
        ArgumentError: no two real policies of the same shape.

    >>> kl([[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]]).round(6)
    array([0.      , 0.693147])
    """
    pi_old = as_policy("pi_old", pi_old, kind="f")
    return np.asarray(kl_terms(pi_old, as_policy("pi_new", pi_new, pi_old.shape, "f")).sum(axis=1))


def tv(pi_old: Any, pi_new: Any) -> Vector:
    """Return the total variation ½ Σ_a |π′(a|s) − π(a|s)|, [S] in [0, 1]; raises as `kl` does."""
    pi_old = as_policy("pi_old", pi_old, kind="f")
    return np.asarray(0.5 * abs(as_policy("pi_new", pi_new, pi_old.shape, "f") - pi_old).sum(axis=1))


def max_kl(pi_old: Any, pi_new: Any) -> float:
    """Return max_s D(π ‖ π′), the D of Theorem 5.1, in nats; raises as `kl` does."""
    return float(kl(pi_old, pi_new).max())


def max_tv(pi_old: Any, pi_new: Any) -> float:
    """Return α = max_s TV(π, π′); raises as `kl` does."""
    return float(tv(pi_old, pi_new).max())


def gap_bounds(mdp: TabularMDP, pi_new: Any, pi_old: Any) -> GapBounds:
    """Return upper bounds of `surrogate_gap`: Theorem 5.1 (5.25) with C = 4εγ/(1−γ)², and five sharper ones.

    A factor of 0 makes a bound 0, even beside an infinite one. All maxima are over all states, reachable
    from the start or not. Raises as `performance_difference` does; the policies are real.

    Source: printed, Schulman et al. (2015), theorem 1. pinsker, by TV² ≤ D/2 of it. total_variation, its
    proof with the sum over t kept. chain, by D(P_t ‖ P′_t) ≤ tD for the state after t steps, so that
    |(P′_t − P_t)·Ā| ≤ √(2tD)·2ε√(D/2). cpo_tv and cpo_kl, Achiam et al. (2017), corollaries 1 to 3.
    """
    pi_new, pi_old = check_policy(mdp, pi_new, "pi_new"), check_policy(mdp, pi_old, "pi_old")
    divergence, variation = kl(pi_old, pi_new), tv(pi_old, pi_new)
    d, alpha, gamma, left = divergence.max(), variation.max(), mdp.discount, 1.0 - mdp.discount
    a, rho = advantages(mdp, pi_old), visitation(mdp, pi_old)
    epsilon, epsilon_new = abs(a).max(), abs(((pi_new - pi_old) * a).sum(axis=1)).max()
    visited = rho > 0.0  # elsewhere an infinite divergence counts for nothing
    mean_tv, mean_kl = float(rho @ variation), float(rho[visited] @ divergence[visited])
    inverse = _inverse(left)
    return GapBounds(
        printed=_product(4.0, epsilon, gamma, d, inverse, inverse),
        pinsker=_product(2.0, epsilon, gamma, d, inverse, inverse),
        total_variation=_product(4.0, epsilon, alpha, alpha, gamma, inverse, _inverse(left + gamma * alpha)),
        chain=_product(2.0, epsilon, d, chain_factor(gamma)),
        cpo_tv=_product(2.0, gamma, epsilon_new, inverse, mean_tv),
        cpo_kl=_product(gamma, epsilon_new, inverse, math.sqrt(inverse), math.sqrt(2.0 * mean_kl)),
    )


def chain_factor(discount: float) -> float:
    """Return Σ_{t≥1} √t γ^t = Li_{−½}(γ), to 1e-14 relative: order (1−γ)^(−3/2), ∞ for γ = 1.

    Source: the expansion of Li_s(e^−μ) about μ = 0, Wood (1992), section 9.

    >>> round(chain_factor(0.5), 12)
    1.347253752736
    """
    gamma = in_unit_interval("discount", discount)
    if gamma <= 0.9:
        t = np.arange(1, 401)
        return float((np.sqrt(t) * gamma**t).sum())
    if gamma == 1.0:
        return math.inf
    mu = -math.log(gamma)
    leading = 0.5 * math.sqrt(math.pi) / (mu * math.sqrt(mu))
    return leading + math.fsum(c * mu**k for k, c in enumerate(SERIES))


def _product(*factors: float) -> float:
    if 0.0 in factors:
        return 0.0
    return math.inf if math.inf in factors else float(math.prod(factors))


def _inverse(x: float) -> float:
    return 1.0 / x if x else math.inf
