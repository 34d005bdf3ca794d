"""The chapter's claims on a user's own MDP and policies: the lemma, every bound, the gradients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pgref import bounds, mdp
from pgref.arrays import Array, Matrix
from pgref.checks.finding import Finding, at_most
from pgref.mdp import TabularMDP


class Report(NamedTuple):
    """What an MDP and two policies give; `new` fields are empty without a second policy."""

    arrays: dict[str, Array]  # V, A, ρ of the policy, and the KL divergence of each state, by name
    numbers: dict[str, float]  # J of both, L, the gap, and each bound's right-hand side
    used: dict[str, float]  # gap / bound, for each finite bound
    findings: list[Finding]


def report(m: TabularMDP, pi: Matrix, new: Matrix | None, rng: np.random.Generator) -> Report:
    """Verify Lemma 5.1, Theorem 5.1 and the gradients (5.27), (5.28) on one MDP.

    Raises:
        ArgumentError, ShapeError: a policy that does not fit the MDP.
        NotAbsorbingError: γ = 1 and a policy that never ends.
    """
    pi = mdp.check_policy(m, pi)
    values, advantages, rho = mdp.state_values(m, pi), mdp.advantages(m, pi), mdp.visitation(m, pi)
    arrays, numbers = {"V": values, "A": advantages, "ρ": rho}, {"J(π)": mdp.expected_return(m, pi)}
    findings = [_softmax_gradient(m, pi, rng)]
    used: dict[str, float] = {}
    if new is not None:
        new = mdp.check_policy(m, new, "new policy")
        arrays["KL"] = bounds.kl(pi, new)
        numbers |= {"J(π′)": mdp.expected_return(m, new), "L": bounds.local_surrogate(m, new, pi)}
        gap = numbers["gap |J(π′) − J(π) − L|"] = bounds.surrogate_gap(m, new, pi)
        difference = bounds.performance_difference(m, new, pi)
        scale = max(1.0, np.abs(advantages).max(), np.abs(values).max()) * max(1.0, rho.sum())
        off = abs(numbers["J(π′)"] - numbers["J(π)"] - difference) / scale
        findings.append(at_most("|J(π′) − J(π) − E_{τ∼π′} Σγ^t A| / (scale · Σρ)", off, 1e-12))
        findings.append(_directional(m, pi, new, rho, advantages, scale))
        for name, bound in bounds.gap_bounds(m, new, pi)._asdict().items():
            numbers[f"bound {name}"] = bound
            if bound < np.inf:  # an infinite one claims nothing
                findings.append(at_most(f"gap − bound {name}", gap - bound, 1e-12 * scale))
                used[name] = gap / bound if bound > 0 else 0.0
    return Report(arrays, numbers, used, findings)


def _directional(
    m: TabularMDP, pi: Matrix, new: Matrix, rho: Array, advantages: Matrix, scale: float
) -> Finding:
    """Compare d/dt J(π + t(π′ − π)) at t = 0 with Σ ρ Σ (π′ − π) A, (5.27) along one direction."""
    slope = mdp.expected_return(m, pi + 1e-20j * (new - pi)).imag / 1e-20
    surrogate = float(rho @ ((new - pi) * advantages).sum(1))
    return at_most("|dJ − dL| from π towards π′ / (scale · Σρ)", abs(slope - surrogate) / scale, 1e-12)


def _softmax_gradient(m: TabularMDP, pi: Matrix, rng: np.random.Generator) -> Finding:
    """Compare (5.28) for softmax logits with a complex step of J, along one random direction."""
    v = rng.standard_normal(pi.shape)
    change = pi * (v - (pi * v).sum(1, keepdims=True))  # dπ of the direction v
    rho, advantages = mdp.visitation(m, pi), mdp.advantages(m, pi)
    slope = mdp.expected_return(m, pi + 1e-20j * change).imag / 1e-20
    g = rho[:, None] * pi * advantages  # (5.28), [S, A]
    scale = float(np.abs(g * v).sum()) or 1.0
    return at_most("|g·v − dJ| / Σ|g v|, softmax logits, random v", abs((g * v).sum() - slope) / scale, 1e-9)
