"""Checks of a trust-region step: conjugate gradients, the step's length, the whole step, the line search.

Matrices come as products v ↦ Hv, arrays [P] to arrays [P]. Whatever solves Hx = g from x = 0 has
x·g = x·Hx, so that a length from x·g passes too; one that starts elsewhere has not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pgref import natural
from pgref.arrays import Array, Matrix, Vector
from pgref.oracle import search_deviations, steps_deviations
from pgref.oracle.compare import check
from pgref.oracle.component import Component, Inputs
from pgref.oracle.report import Report

SMALL = 1e-7  # of the Hessian and gradient of a policy that is almost sure


def conjugate_gradient(function: Callable[..., Any], **options: Any) -> Report:
    """Check the n-th iterate of conjugate gradients for Hx = b from x = 0, the solution from n = P on.

    function(product, b, iterations) ↦ x [P], with product v ↦ Hv and b [P]. Options: see `check`.
    """
    return check(CONJUGATE_GRADIENT, function, **options)


def natural_step(function: Callable[..., Any], **options: Any) -> Report:
    """Check √(2δ/x·Hx)·x, and 0 for x = 0: the step along x whose quadratic KL ½ΔᵀHΔ is δ.

    function(product, x, kl_limit) ↦ Δ [P], with product v ↦ Hv and x [P]. Options: see `check`.
    """
    return check(NATURAL_STEP, function, **options)


def trust_region_step(function: Callable[..., Any], **options: Any) -> Report:
    """Check Δ = √(2δ/x·(H + cI)x)·x with x = (H + cI)⁻¹g, and 0 for g = 0.

    function(product, g, kl_limit, damping, iterations) ↦ Δ [P]; the product is v ↦ Hv, without the damping
    c, and there are at least P iterations, enough for conjugate gradients. Options: see `check`.
    """
    return check(TRUST_REGION_STEP, function, **options)


def line_search(function: Callable[..., Any], **options: Any) -> Report:
    """Check θ + kʲ·s for the first j = 0, 1, … < tries with L > 0 and KL ≤ δ; without one, θ.

    function(evaluate, theta, step, kl_limit, shrink, tries, expected) ↦ θ′ [P]. evaluate(θ′) is the pair
    (L, KL): the surrogate at θ′ less its value at θ, and the mean KL(old‖new), or NaN where θ′ is too far.
    `expected` is g·s, what L would be if it were linear; it plays no part in the right answer. Options: see
    `check`.
    """
    return check(LINE_SEARCH, function, **options)


def _product(hessian: Matrix) -> Callable[[Vector], Array]:
    return lambda v: np.asarray(hessian @ np.asarray(v))


def _cg(hessian: Matrix, b: Vector, iterations: int) -> Array:
    return natural.conjugate_gradient(_product(hessian), b, max_products=iterations).x


def _scaled(hessian: Matrix, x: Vector, kl_limit: float) -> Array:
    return natural.natural_step(_product(hessian), x, kl_limit=kl_limit)


def _step(hessian: Matrix, g: Vector, kl_limit: float, damping: float, iterations: int) -> Array:
    damped = hessian + damping * np.eye(len(g))
    return _scaled(damped, _cg(damped, g, iterations), kl_limit)


def _searched(**inputs: Any) -> Array:
    evaluate, theta, step, kl_limit, shrink, tries, _ = search_deviations.arguments(inputs)
    limits = {"kl_limit": kl_limit, "shrink": shrink, "max_tries": tries}
    return natural.line_search(evaluate, theta, step, **limits).theta


def _with_product(inputs: Inputs) -> Sequence[Any]:
    hessian, *others = inputs.values()
    return [_product(hessian), *others]


def _system(rng: np.random.Generator, case: int) -> tuple[Matrix, Vector, int]:
    """Draw H with eigenvalues from ½ to 3, b and n; then b = 0, tiny numbers, one iteration, H = 2I."""
    size = int(rng.integers(3, 7))
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    hessian = (basis * rng.uniform(0.5, 3, size)) @ basis.T
    hessian, b, n = (hessian + hessian.T) / 2, rng.normal(size=size), int(rng.integers(1, size + 2))
    if case == 0:
        return hessian, 0 * b, 2
    if case == 1:
        return SMALL * hessian, SMALL * b, size - 1
    if case == 2:
        return hessian, b, 1
    return (2 * np.eye(size), b, 2) if case == 3 else (hessian, b, n)


def _linear_system(rng: np.random.Generator, case: int) -> Inputs:
    hessian, b, n = _system(rng, case)
    return {"hessian": hessian, "b": b, "iterations": n}


def _direction(rng: np.random.Generator, case: int) -> Inputs:
    hessian, b, _ = _system(rng, case)
    x = 0 * b if case == 0 else rng.normal(size=b.size)
    return {"hessian": hessian, "x": x, "kl_limit": float(10 ** rng.uniform(-3, 0))}


def _step_inputs(rng: np.random.Generator, case: int) -> Inputs:
    hessian, g, n = _system(rng, case)
    kl_limit, damping = float(10 ** rng.uniform(-2, 0)), float(rng.uniform(0.1, 1))
    damping, n = {1: 0.0, 2: 0.0}.get(case, damping), g.size + int(n % 2)
    return {"hessian": hessian, "g": g, "kl_limit": kl_limit, "damping": damping, "iterations": n}


def _search_inputs(rng: np.random.Generator, case: int) -> Inputs:
    """Draw a surrogate and a KL that are quadratic along the step, and how far they can be evaluated.

    Fractions of the step are allowed from some try on, by L and by the KL. Case 0 has no step, cases 1 and 2
    nothing to gain, case 3 a step downhill.
    """
    size, tries, shrink = int(rng.integers(1, 5)), int(rng.integers(2, 6)), float(rng.choice([0.5, 0.7, 0.8]))
    theta, step, gradient = rng.normal(size=(3, size))
    step, gradient = (0 * step if case == 0 else step), (0 * gradient if case in (1, 2) else gradient)
    uphill, length = float(gradient @ step), float(step @ step) or 1.0
    gradient = -gradient if (uphill < 0) != (case == 3) else gradient
    from_try = rng.integers([-3, 0, -3], [tries, tries + 1, 3]) - rng.uniform(0.1, 0.9, 3)
    best, far, edge = shrink**from_try  # fractions of the step: L = 0, KL = δ, NaN from there on
    kl_limit = float(10 ** rng.uniform(-2, 0))
    return {
        "theta": theta,
        "step": step,
        "gradient": gradient,
        "bend": abs(uphill) / float(best * length),
        "curvature": 2 * kl_limit / float(far**2 * length),
        "edge": float(edge * np.sqrt(length)),
        "kl_limit": kl_limit,
        "shrink": shrink,
        "tries": tries,
    }


def _solvable(inputs: Inputs) -> Inputs | None:
    """Return inputs with a positive definite matrix and numbers that are allowed, else None."""
    hessian = inputs["hessian"]
    regular = np.array_equal(hessian, hessian.T) and np.linalg.eigvalsh(hessian).min() > SMALL / 10
    return inputs if regular and inputs.get("kl_limit", 1) > 0 and inputs.get("damping", 0) >= 0 else None


def _searchable(inputs: Inputs) -> Inputs | None:
    return inputs if inputs["kl_limit"] > 0 and 0 < inputs["shrink"] < 1 else None


CONJUGATE_GRADIENT = Component(
    name="conjugate_gradient",
    formula="the n-th iterate for Hx = b from x = 0",
    equation="Hestenes and Stiefel (1952); for the H⁻¹g of (5.29)",
    axes={"hessian": "PP", "b": "P"},
    result="P",
    reference=_cg,
    draw=_linear_system,
    arguments=_with_product,
    repaired=_solvable,
    deviations=steps_deviations.CONJUGATE_GRADIENT,
)
NATURAL_STEP = Component(
    name="natural_step",
    formula="Δ = √(2δ/x·Hx) x",
    equation="(5.29), I-26",
    axes={"hessian": "PP", "x": "P"},
    result="P",
    reference=_scaled,
    draw=_direction,
    arguments=_with_product,
    repaired=_solvable,
    deviations=steps_deviations.NATURAL_STEP,
)
TRUST_REGION_STEP = Component(
    name="trust_region_step",
    formula="Δ = √(2δ/x·(H + cI)x) x, x = (H + cI)⁻¹g",
    equation="(5.29), I-26; the damping c: Schulman et al. (2015)",
    axes={"hessian": "PP", "g": "P"},
    result="P",
    reference=_step,
    draw=_step_inputs,
    arguments=_with_product,
    repaired=_solvable,
    deviations=steps_deviations.TRUST_REGION_STEP,
)
LINE_SEARCH = Component(
    name="line_search",
    formula="θ + kʲs for the first j with L > 0 and KL ≤ δ, else θ",
    equation="(5.26); Schulman et al. (2015), Appendix C",
    axes=dict.fromkeys(("theta", "step", "gradient"), "P"),
    result="P",
    reference=_searched,
    draw=_search_inputs,
    arguments=search_deviations.arguments,
    repaired=_searchable,
    deviations=search_deviations.LINE_SEARCH,
)
COMPONENTS = (CONJUGATE_GRADIENT, NATURAL_STEP, TRUST_REGION_STEP, LINE_SEARCH)
