"""What the factor γ^t is for: with and without it in the policy gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from pgref import instances
from pgref.arrays import count, finite, positive
from pgref.figures.one_parameter import derivative, expected_return, probabilities
from pgref.figures.style import BLACK, BLUE, VERMILION, finish, panels, word
from pgref.mdp import TabularMDP


def discounting_bias(
    axes: Any = None,
    *,
    mdp: TabularMDP | None = None,
    updates: int = 40,
    step: float = 16.0,
    theta: float = 0.0,
    lang: str = "en",
) -> tuple[Any, Any]:
    """Draw (5.15) as printed, without γ^t, against the true (5.28): the derivative of J, and J on the way up.

    Args:
        axes: where to draw two panels, see `pgref.figures`.
        mdp: with two actions, and an end; None takes `instances.aliased_mdp`, where they disagree in sign.
        updates: how many steps η·gradient are taken.
        step: η.
        theta: where they start.
        lang: of the labels, "en" or "zh".

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: an argument out of its range, or an MDP with other than two actions.
        NotAbsorbingError: (5.15) diverges, as it does where the policy never ends.
    """
    m = instances.aliased_mdp() if mdp is None else mdp
    updates, step, start = count("updates", updates), positive("step", step), finite("theta", theta)
    grid, kinds = (
        np.linspace(-6.0, 6.0, 121),
        {True: ("(5.28)", BLUE, "o-"), False: ("(5.15)", VERMILION, "s--")},
    )
    slopes = {d: [derivative(m, x, discounted=d) for x in grid] for d in kinds}
    returns = {d: _climb(m, start, step, updates, d) for d in kinds}
    shares = [probabilities(x)[0] for x in grid]
    (left, right), lang = panels(axes, 2, lang)
    for discounted, (number, colour, look) in kinds.items():
        label = f"{number} {word('with γᵗ' if discounted else 'as printed', lang)}"
        left.plot(shares, slopes[discounted], look[1:], color=colour, label=label)
        right.plot(returns[discounted], look, color=colour, markevery=5, label=label)
    left.axhline(0.0, color=BLACK, linewidth=0.8)
    finish(left, lang, "π(a₀|s) = σ(θ)", "∂J/∂θ", "what is taken for ∂J/∂θ", legend=None)
    finish(right, lang, "updates θ ← θ + ηg", "J", "J on the way", legend="center right")
    return left, right


def _climb(m: TabularMDP, theta: float, step: float, updates: int, discounted: bool) -> list[float]:
    """Return J before and after each update."""
    returns = [expected_return(m, theta)]
    for _ in range(updates):
        theta += step * derivative(m, theta, discounted=discounted)
        returns.append(expected_return(m, theta))
    return returns
