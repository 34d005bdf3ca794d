"""What becomes of J after one step: along the gradient, and in a trust region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pgref import bounds, exact, instances, natural
from pgref.arrays import Vector, as_batch
from pgref.figures.one_parameter import POLICY, derivative, expected_return, logits, seen
from pgref.figures.style import COLOURS, DASHES, GREY, finish, increasing, panels, same_height, word
from pgref.mdp import TabularMDP, visitation


def step_size_cliff(
    axes: Any = None,
    *,
    mdp: TabularMDP | None = None,
    starts: Sequence[float] = (-6.0, -4.0, -2.0),
    step_sizes: Any = None,
    kl_limits: Any = None,
    lang: str = "en",
) -> tuple[Any, Any]:
    """Draw J(θ + η∇J) against η, and J(θ + Δ) against δ with ½ΔᵀHΔ ≤ δ and a line search (Section 5.7).

    Args:
        axes: where to draw two panels, see `pgref.figures`.
        mdp: with two actions; None takes two states in which J = π(a₀)(1 − π(a₀)).
        starts: θ before the step, a line each.
        step_sizes: [points] η, rising.
        kl_limits: [points] δ in nats under the unnormalised ρ, rising.
        lang: of the labels, "en" or "zh".

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: an argument out of its range, or an MDP with other than two actions.
    """
    m = instances.two_step_mdp() if mdp is None else mdp
    etas = increasing("step_sizes", np.logspace(-1, 4, 81) if step_sizes is None else step_sizes)
    deltas = increasing("kl_limits", np.logspace(-4, 0, 41) if kl_limits is None else kl_limits)
    drawn = [
        (theta, expected_return(m, theta), _gradient_steps(m, theta, etas), _trusted_steps(m, theta, deltas))
        for theta in map(float, as_batch("starts", starts, (None,)))
    ]
    (left, right), lang = panels(axes, 2, lang)
    for i, (theta, before, *after) in enumerate(drawn):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
        label = f"θ = {theta:g}".replace("-", "−")
        for ax, sizes, returns in (left, etas, after[0]), (right, deltas, after[1]):
            ax.axhline(before, color=colour, linewidth=0.6)
            ax.plot(sizes, returns, dash, color=colour, label=label)
            ax.set_xscale("log")
    right.plot([], [], color=GREY, linewidth=0.6, label=word("before the step", lang))
    same_height(left, right)
    finish(left, lang, "step size η", "J after one step", "gradient step θ + η∇J", legend=None)
    finish(right, lang, "KL limit δ", "J after one step", "trust-region step with line search")
    return left, right


def _gradient_steps(m: TabularMDP, theta: float, etas: Vector) -> list[float]:
    slope = derivative(m, theta)
    return [expected_return(m, theta + eta * slope) for eta in etas]


def _trusted_steps(m: TabularMDP, theta: float, deltas: Vector) -> list[float]:
    old, obs = logits(theta), seen(m)
    pi = exact.policy_matrix(m, POLICY, old, obs)
    rho = visitation(m, pi)

    def evaluate(new: Vector) -> tuple[float, float]:
        surrogate = bounds.local_surrogate(m, exact.policy_matrix(m, POLICY, new, obs), pi)
        return surrogate, POLICY.mean_kl(old, new, obs, rho)

    returns = []
    for delta in map(float, deltas):
        step = exact.trpo_step(m, POLICY, old, delta, obs).step
        new = natural.line_search(evaluate, old, step, kl_limit=delta).theta
        returns.append(exact.parametrised_return(m, POLICY, new, obs))
    return returns
