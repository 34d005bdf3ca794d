"""The claims on the vanilla policy gradient: what it is, what print leaves out, why its step is unsafe."""

from __future__ import annotations

import math

import numpy as np

from pgref import bounds, exact, instances, mdp, natural
from pgref.arrays import Vector
from pgref.categorical import Categorical
from pgref.checks.derivatives import complex_step_jacobian, relative_error
from pgref.checks.draws import cases, gradient_of_j, mlp_case, small_mdp, table_case
from pgref.checks.finding import Finding, at_least, at_most, larger, smaller
from pgref.networks import MLP, Table
from pgref.policy import Policy

LOGITS = Policy(Table(1, 2), Categorical())  # (σ(θ), 1 − σ(θ)) at parameters (θ, 0)


def ascent(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """θ + η∇J raises J by η‖∇J‖² to first order (5.14)."""
    error = 0.0
    for case in cases(rng, max(2, mdps // 4)):
        g = exact.policy_gradient(*case.arguments)
        step = 1e-20j * g
        rise = complex(exact.parametrised_return(case.mdp, case.policy, case.theta + step, case.obs)).imag
        error = larger(error, abs(rise / (1e-20 * float(g @ g)) - 1))
    return [at_most("|dJ(θ + η∇J)/dη / ‖∇J‖² − 1| at η = 0", error, 1e-11)]


def printed_gradient(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """(5.15) lacks γ^t: it diverges on continuing MDPs, and is the gradient of nothing."""
    episodic = differs = 0.0
    for i in range(max(2, mdps // 20)):
        m = small_mdp(rng, (1.0, 0.5)[i % 2], ending=0.2)
        case = (table_case, mlp_case)[i // 2 % 2](rng, m)
        printed = exact.policy_gradient(*case.arguments, discounted=False)
        error = relative_error(printed, gradient_of_j(case))
        if m.discount == 1:
            episodic = larger(episodic, error)
        else:
            differs = larger(differs, error)
    continuing = table_case(rng, small_mdp(rng, 0.9))
    at = [exact.policy_gradient(*continuing.arguments, discounted=False, horizon=t) for t in (100, 200, 400)]
    growth = np.linalg.norm(at[2] - at[1]) / np.linalg.norm(at[1] - at[0])
    size = np.linalg.norm(at[2]) / np.linalg.norm(exact.policy_gradient(*continuing.arguments))
    asymmetry = [np.max([_asymmetry(rng, d) for _ in range(8)]) for d in (True, False)]
    return [
        at_most("|(5.15) − ∇J| / |∇J|, γ = 1, episodic", episodic, 1e-11),
        at_least("|(5.15) − ∇J| / |∇J|, γ = ½, episodic", differs, 0.1),
        at_most("|growth over 2T … 4T / growth over T … 2T − 2|, continuing", abs(growth - 2), 1e-9),
        at_least("‖(5.15) over 400 steps‖ / ‖∇J‖, continuing", size, 5.0),
        at_most("‖∂g/∂θ − (∂g/∂θ)ᵀ‖ / ‖∂g/∂θ‖ for (5.28)", asymmetry[0], 1e-12),
        at_least("‖∂g/∂θ − (∂g/∂θ)ᵀ‖ / ‖∂g/∂θ‖ for (5.15)", asymmetry[1], 0.01),
    ]


def aliased_states(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Where two states share their parameters, (5.15) points downhill and ends at the worst policy."""
    m = instances.aliased_mdp()
    obs, start = np.zeros(2, int), np.zeros(2)
    uphill = [exact.policy_gradient(m, LOGITS, start, obs, discounted=d)[0] for d in (True, False)]
    ends = []
    for discounted in (True, False):
        theta = start
        for _ in range(120):
            theta = theta + 8.0 * exact.policy_gradient(m, LOGITS, theta, obs, discounted=discounted)
        ends.append(exact.parametrised_return(m, LOGITS, theta, obs))
    return [
        at_most("|∂J/∂θ by (5.28) − 1/16| at θ = 0", abs(uphill[0] - 1 / 16), 1e-15),
        at_least("−∂J/∂θ by (5.15) at θ = 0: downhill", -uphill[1], 0.05),
        at_most("1 − J after following (5.28); the best is 1", 1 - ends[0], 0.01),
        at_least("J lost by following (5.15) from .875; the worst is .75", 0.875 - ends[1], 0.12),
    ]


def baseline(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Any V_ψ(s) in place of V leaves the gradient (5.28) as it is: a baseline (5.16)."""
    error = 0.0
    for case in cases(rng, max(2, mdps // 4)):
        pi = exact.policy_matrix(*case.arguments)
        learned = mdp.action_values(case.mdp, pi) - rng.standard_normal((case.mdp.n_states, 1))
        weights = mdp.visitation(case.mdp, pi)[:, None] * pi * learned
        states, actions = np.divmod(np.arange(pi.size), case.mdp.n_actions)
        g = case.policy.score_sum(case.theta, case.obs[states], actions, weights.ravel())
        error = larger(error, relative_error(g, exact.policy_gradient(*case.arguments)))
    return [at_most("|E Σγ^t ∇log π (Q − V_ψ) − ∇J| / |∇J|", error, 1e-11)]


def step_sizes(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """One step size in θ crawls or collapses; a step bounded in KL does neither (Section 5.7)."""
    m = instances.two_step_mdp()
    obs, theta = np.zeros(2, int), np.array([-4.0, 0.0])
    start, best = exact.parametrised_return(m, LOGITS, theta, obs), 0.25
    g = exact.policy_gradient(m, LOGITS, theta, obs)

    def value(t: Vector) -> float:
        return exact.parametrised_return(m, LOGITS, t, obs)

    gains = []
    for limit in np.logspace(-4, -1, 13):
        step = exact.trpo_step(m, LOGITS, theta, limit, obs).step

        def evaluate(t: Vector) -> tuple[float, float]:
            pi, new = (exact.policy_matrix(m, LOGITS, p, obs) for p in (theta, t))
            surrogate = bounds.local_surrogate(m, new, pi)
            return surrogate, LOGITS.mean_kl(theta, t, obs, mdp.visitation(m, pi))

        found = natural.line_search(evaluate, theta, step, kl_limit=float(limit))
        gains.append(value(found.theta) / start)
    return [
        at_most(
            "gain in J / (best − start), η = 0.1", (value(theta + 0.1 * g) - start) / (best - start), 0.01
        ),
        at_most("J after / before one gradient step, η = 10⁴", value(theta + 1e4 * g) / start, 1e-3),
        at_least("J after / before one trust-region step with line search, worst δ", np.min(gains), 1.01),
    ]


def policy_space(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """A policy integrates to one in every state, and θ ↦ π_θ is neither one-to-one nor onto (5.17)."""
    rows = shift = permuted = 0.0
    literal = least = math.inf
    for _ in range(max(1, mdps // 4)):
        case = table_case(rng, small_mdp(rng, 0.5))
        pi = exact.policy_matrix(*case.arguments)
        rows, literal = larger(rows, np.abs(pi.sum(1) - 1).max()), smaller(literal, pi.sum())
        shifted = exact.policy_matrix(case.mdp, case.policy, case.theta + 1.0)
        shift = larger(shift, np.abs(shifted - pi).max())
        extreme = 300 * np.sign(case.theta)
        least = smaller(least, case.policy.probabilities(extreme, np.arange(case.mdp.n_states)).min())
        net = MLP((2, 3, 3))
        policy, theta, obs = Policy(net, Categorical()), net.init(rng), rng.standard_normal((4, 2))
        other = theta.copy()
        first, second = net.layers(other)
        first[:], second[:3] = first[:, ::-1].copy(), second[2::-1].copy()  # the hidden units in reverse
        change = policy.probabilities(other, obs) - policy.probabilities(theta, obs)
        permuted = larger(permuted, np.abs(change).max())
    return [
        at_most("|Σ_a π(a|s) − 1|, every s", rows, 1e-15),
        at_least("Σ_{s,a} π(a|s) on 4 states: ∫π = 1 holds per state only", literal, 4 - 1e-12),
        at_most("|π_θ − π_θ′|, θ′ = θ + 1: not one-to-one", shift, 1e-15),
        at_most("|π_θ − π_θ′|, hidden units of an MLP permuted", permuted, 1e-15),
        at_least("min π_θ(a|s), |θ| = 300: deterministic policies are not reached", least, 1e-300),
    ]


def sigmoid_example(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """π = (σ(θ), 1 − σ(θ)): θ from 6 to 3 hardly changes it, from 1.5 to −1.5 reverses it (Section 5.7)."""
    printed = {6.0: (1.0, 0.0), 3.0: (0.95, 0.05), 1.5: (0.82, 0.18), -1.5: (0.18, 0.82)}
    off = [
        LOGITS.probabilities(np.array([theta, 0.0]), np.zeros(1, int)).round(2) - pair
        for theta, pair in printed.items()
    ]
    kl = [
        LOGITS.mean_kl(np.array([old, 0.0]), np.array([new, 0.0]), np.zeros(1, int))
        for old, new in ((6.0, 3.0), (1.5, -1.5))
    ]
    return [
        at_most("|π rounded − printed|, all four pairs", np.abs(off).max(), 0.0),
        at_most("|D(θ: 6 → 3) − .038694| nats", abs(kl[0] - 0.038694), 5e-7),
        at_most("|D(θ: 1.5 → −1.5) − .952723| nats", abs(kl[1] - 0.952723), 5e-7),
    ]


def _asymmetry(rng: np.random.Generator, discounted: bool) -> float:
    """Return how asymmetric the Jacobian of the gradient field is: a gradient's is symmetric."""
    case = mlp_case(rng, small_mdp(rng, 0.5, ending=0.2), width=2)

    def field(theta: Vector) -> Vector:
        return exact.policy_gradient(case.mdp, case.policy, theta, case.obs, discounted=discounted)

    jacobian = complex_step_jacobian(field, case.theta)
    return float(np.linalg.norm(jacobian - jacobian.T) / np.linalg.norm(jacobian))
