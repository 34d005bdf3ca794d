"""TRPO's step in the plane of a policy with two parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pgref import bounds, exact, instances, natural
from pgref.arrays import Array, Matrix, Vector, as_array, count, positive
from pgref.categorical import Categorical
from pgref.errors import ArgumentError
from pgref.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, finish, panels, word
from pgref.mdp import TabularMDP, visitation
from pgref.networks import MLP
from pgref.policy import Policy

POLICY = Policy(MLP((1, 2)), Categorical())  # logits (w₀x + b₀, w₁x + b₁), of which the differences count
PLANE = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])  # (w, b) ↦ θ with those differences
BACK = 2.0 * PLANE.T  # and back
LEVELS = 0.25, 0.5, 2.0, 4.0  # further contours of the KL, over δ


class Steps(NamedTuple):
    """What leads away from a policy, in coordinates (w, b) relative to it."""

    hessian: Matrix  # [2, 2] H
    closed_form: Vector  # [2] Δ
    conjugate: Matrix  # [3, 2] 0 and the iterates of conjugate gradients, as long as Δ in the end
    refused: Matrix  # [tries, 2] what the line search turned down
    accepted: Matrix  # [1, 2], or [0, 2]


def trust_region(
    ax: Any = None,
    *,
    mdp: TabularMDP | None = None,
    theta: Any = (-2.0, 1.0),
    kl_limit: float = 1.0,
    points: int = 51,
    lang: str = "en",
) -> Any:
    """Draw the mean KL around a policy, its quadratic model, and the step that (5.29) takes in it.

    The policy is π(a₀|s) = σ(wx + b), x from −1 to 1 over the states. Contours are the true Σ_s ρ(s) D(s) of
    (5.26). One ellipse is ½ΔᵀHΔ = δ, to which the solution of (5.29) leads; the other ΔᵀHΔ = δ, as printed.
    Conjugate gradients come to the step by way of ∇J; line search halves it until L > 0 and the KL ≤ δ.

    Args:
        ax: where to draw, see `pgref.figures`.
        mdp: with two actions; None takes a random one of four states.
        theta: (w, b) before the step.
        kl_limit: δ, in nats under the unnormalised ρ.
        points: of the grid for the contours, along either axis.
        lang: of the labels, "en" or "zh".

    Returns:
        The Axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: an argument out of its range, or an MDP with other than two actions, with fewer than
            two states visited, or with a gradient of 0.
    """
    start, limit = as_array("theta", theta, (2,)), positive("kl_limit", kl_limit)
    points = count("points", points, 2)
    m = instances.random_mdp(np.random.default_rng(9), 4, 2, 0.9) if mdp is None else mdp
    steps = _steps(m, PLANE @ start, limit)
    ellipse = _ellipse(steps.hessian, limit)
    reach = 1.9 * abs(ellipse).max(axis=0)
    w, b = (start[i] + np.linspace(-reach[i], reach[i], points) for i in (0, 1))
    kl = _mean_kl(m, PLANE @ start, w, b)
    (ax,), lang = panels(ax, 1, lang)
    ax.contour(w, b, kl, [limit * level for level in LEVELS], colors=GREY, linewidths=0.7)
    ax.contour(w, b, kl, [limit], colors=BLACK, linewidths=2.0)
    for line, style, colour, label in (
        (np.empty((0, 2)), "-", BLACK, "true KL = δ"),
        (ellipse, "--", BLUE, "½ΔᵀHΔ = δ"),
        (ellipse * np.sqrt(0.5), ":", VERMILION, "ΔᵀHΔ = δ, as printed"),
        ([[0.0, 0.0], steps.closed_form], "-", BLUE, "closed-form step Δ"),
        (steps.conjugate, "s-.", GREEN, "conjugate gradients"),
        (steps.refused, "x", VERMILION, "line search: refused"),
        (steps.accepted, "o", ORANGE, "line search: accepted"),
    ):
        look = {"color": colour, "markerfacecolor": "none" if "s" in style else colour, "markersize": 8}
        ax.plot(*(start + line).T, style, label=word(label, lang), **look)
    finish(ax, lang, "w", "b", "mean KL around π(a₀|s) = σ(wx + b)", legend="upper right")
    return ax


def _steps(m: TabularMDP, theta: Vector, limit: float) -> Steps:
    seen = _features(m)
    pi = exact.policy_matrix(m, POLICY, theta, seen)
    rho, g = visitation(m, pi), exact.policy_gradient(m, POLICY, theta, seen)
    found = exact.trpo_step(m, POLICY, theta, limit, seen)
    if found.rank < 2 or not found.step.any():
        raise ArgumentError(
            f"mdp must have a gradient and two states that differ, got H of rank {found.rank}, g = {BACK @ g}"
        )
    product = POLICY.fisher_product(theta, seen, rho)
    iterates = np.array([natural.conjugate_gradient(product, g, max_products=n).x for n in (1, 2)])
    iterates *= np.linalg.norm(found.step) / np.linalg.norm(iterates[-1])
    tried = []

    def evaluate(t: Vector) -> tuple[float, float]:
        tried.append(BACK @ (t - theta))
        new = exact.policy_matrix(m, POLICY, t, seen)
        return bounds.local_surrogate(m, new, pi), POLICY.mean_kl(theta, t, seen, rho)

    search = natural.line_search(evaluate, theta, found.step, kl_limit=limit)
    refused, accepted = np.split(np.array(tried), [len(tried) - search.accepted])
    return Steps(
        PLANE.T @ exact.kl_hessian(m, POLICY, theta, seen) @ PLANE,
        BACK @ found.step,
        np.vstack([np.zeros(2), iterates @ BACK.T]),
        refused,
        accepted,
    )


def _ellipse(hessian: Matrix, limit: float) -> Matrix:
    """Return points Δ [181, 2] with ½ΔᵀHΔ = δ."""
    angle = np.linspace(0.0, 2.0 * np.pi, 181)
    circle = np.sqrt(2.0 * limit) * np.array([np.cos(angle), np.sin(angle)])
    return np.asarray(np.linalg.solve(np.linalg.cholesky(hessian).T, circle).T)


def _mean_kl(m: TabularMDP, theta: Vector, w: Vector, b: Vector) -> Matrix:
    """Return Σ_s ρ(s) D(π(·|s) ‖ π′(·|s)) at every (w, b), [len(b), len(w)], as contours are laid out."""
    seen = _features(m)
    rho = visitation(m, exact.policy_matrix(m, POLICY, theta, seen))
    return np.array([[POLICY.mean_kl(theta, PLANE @ (x, y), seen, rho) for x in w] for y in b])


def _features(m: TabularMDP) -> Array:
    """Return x, what the policy sees in each state, [S, 1]."""
    return np.linspace(-1.0, 1.0, m.n_states)[:, None]
