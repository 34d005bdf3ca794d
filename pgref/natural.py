"""The linear algebra of a trust-region step: conjugate gradients, dense solve, step length, line search.

TRPO maximises g·s subject to ½ s·Hs ≤ δ, where g is the policy gradient and H the Hessian of the mean KL
divergence at the current parameters. H is symmetric and positive semi-definite, often singular, and too
big to store: the caller passes the product v ↦ Hv. Damping is the caller's too, H means H here.

Imports NumPy only and knows nothing of policies, batches or environments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, Vector, as_array, count, non_negative, positive, require_finite
from pgref.errors import ArgumentError, NonFiniteError

Product = Callable[[Vector], Vector]  # v [P] ↦ Hv [P]; it may return one and the same buffer every time


class CGResult(NamedTuple):
    """What `conjugate_gradient` found; stopping early is a result, not an error."""

    x: Vector  # [P] approximate solution of Hx = b
    residual_norm: float  # ‖b − Hx‖₂ as the recurrence carries it, in the units of b
    products: int  # products with H spent
    status: Literal["converged", "budget", "flat"]  # flat: along the next direction p·Hp is 0 to rounding


class DenseResult(NamedTuple):
    """What `dense_solve` found."""

    x: Vector  # [P] the shortest of the best solutions of Hx = g
    rank: int  # eigenvalues of H that differ from 0 by more than rounding
    residual_norm: float  # ‖g − Hx‖₂: the part of g outside the range of H, in the units of g
    status: Literal[
        "full_rank", "rank_deficient", "indefinite", "flat"
    ]  # flat: rank 0; indefinite: one is < 0


class LineSearchResult(NamedTuple):
    """What `line_search` did; improvement and kl are those of the θ returned, so 0 where it did not move."""

    theta: Vector  # [P] the accepted parameters, or the very array that was given
    accepted: bool
    tries: int  # evaluations spent
    improvement: float  # L, in the units of the return
    kl: float  # mean KL(old‖new), nats
    status: Literal["accepted", "refused", "no_step"]


def conjugate_gradient(product: Product, b: Vector, *, max_products: int = 10, rtol: float = 0.0) -> CGResult:
    """Solve Hx = b with nothing but products v ↦ Hv, keeping the residuals orthogonal.

    In exact arithmetic the residuals are orthogonal by themselves; in floating point that is lost as soon
    as one eigenvector has been found, and ten steps are then no reproducible number. Here every new
    residual is made orthogonal to all the earlier ones, twice, because once leaves rounding of the first
    pass behind. That takes min(max_products, P)·P numbers of memory.

    Args:
        product: v ↦ Hv, [P] → [P], with H symmetric and positive semi-definite.
        b: [P] right-hand side in the range of H; its dtype is that of the arithmetic and of x.
        max_products: most products to spend; P are enough in exact arithmetic, and never exceeded.
        rtol: converged once ‖b − Hx‖₂ ≤ max(rtol·‖b‖₂, 4ε·(‖b‖₂ + ‖H‖₂‖x‖₂)). The second is what rounding
            hides: x then solves a system whose H and b are off by 4ε. ‖H‖₂ is estimated from the products.

    Raises:
        NonFiniteError: b, a product or x holds a NaN or an infinity.
        ShapeError: b has another number of axes than 1, or a product another shape than b.

    Source: Hestenes & Stiefel (1952); the second pass: Giraud, Langou & Rozložník (2005).

    >>> conjugate_gradient(lambda v: np.array([2.0, 4.0]) * v, np.array([2.0, 8.0])).x.round(6)
    array([1., 2.])
    """
    max_products, rtol = count("max_products", max_products), non_negative("rtol", rtol)
    b = as_array("b", b, (None,))
    r, exponent = _scaled(b)
    x, p, rr = np.zeros_like(r), r.copy(), float(r @ r)
    budget, products = min(max_products, b.size), 0
    directions = np.empty((budget, b.size), b.dtype)  # r/‖r‖ of every step
    rounding, largest = 4.0 * float(np.finfo(b.dtype).eps), 0.0  # largest ≈ ‖H‖₂, from below
    size = math.sqrt(rr)
    status: Literal["converged", "budget", "flat"] = "converged"
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is found below, and raised by name
        while rr > max(rtol * size, rounding * (size + largest * _norm(x))) ** 2:
            if products == budget:
                status = "budget"
                break
            hp, curvature = _curved(product, p)
            pp = float(p @ p)
            largest = max(largest, _norm(hp) / math.sqrt(pp))
            directions[products] = r / math.sqrt(rr)
            products += 1
            if curvature <= rounding * largest * pp:
                status = "flat"
                break
            x += (rr / curvature) * p
            r -= (rr / curvature) * hp
            for _ in range(2):
                r -= (directions[:products] @ r) @ directions[:products]
            rr, rr_before = float(r @ r), rr
            p = r + (rr / rr_before) * p
        x, residual_norm = np.ldexp(x, exponent), float(np.ldexp(math.sqrt(rr), exponent))
    return CGResult(require_finite("x", x), residual_norm, products, status)


def natural_step(product: Product, x: Vector, *, kl_limit: float) -> Vector:
    """Return √(2δ/x·Hx)·x, which with x = H⁻¹g solves (5.29) once its constraint reads ½ΔᵀHΔ ≤ δ.

    The step, [P] in the dtype of x, does not depend on the length of x; half its curvature is δ =
    `kl_limit` nats. Zeros where x·Hx ≤ 0, as for a zero gradient.

    Raises:
        ArgumentError: kl_limit ≤ 0.
        NonFiniteError: x, the product or the step holds a NaN or an infinity.
        ShapeError: x has another number of axes than 1, or the product another shape than x.
    """
    kl_limit = positive("kl_limit", kl_limit)
    x, _ = _scaled(as_array("x", x, (None,)))
    with np.errstate(over="ignore", invalid="ignore"):
        _, curvature = _curved(product, x)
        if curvature <= 0.0:
            return np.zeros_like(x)
        x *= math.sqrt(2.0 * kl_limit) / math.sqrt(curvature)
        return require_finite("step", x)


def dense_solve(hessian: Matrix, g: Vector) -> DenseResult:
    """Return H⁺g, the shortest x with the smallest ‖g − Hx‖₂, from the eigenvalues of H [P, P].

    An eigenvalue counts as 0 where it is at most P·ε of the largest, in absolute value. Negative ones
    beyond that are kept: x still solves the system, but the status says that it may point downhill.

    Raises:
        ArgumentError: H is not symmetric; rounding, up to √ε of the largest entry, is allowed.
        NonFiniteError: H, g or x holds a NaN or an infinity.
        ShapeError: H is not [P, P] or g not [P].
    """
    g = as_array("g", g, (None,))
    h = as_array("hessian", hessian, (g.size, g.size))
    dtype = np.result_type(h, g)
    (h, h_exponent), (g, g_exponent) = _scaled(h.astype(dtype)), _scaled(g.astype(dtype))
    eps = float(np.finfo(dtype).eps)
    asymmetry = float(np.abs(h - h.T).max(initial=0.0)) / float(np.abs(h).max(initial=0.5))
    if asymmetry > math.sqrt(eps):
        raise ArgumentError(
            f"hessian must be symmetric, got |H − Hᵀ| up to {asymmetry:.3g} of its largest entry"
        )
    eigenvalues, vectors = np.linalg.eigh((h + h.T) / 2.0)
    largest = float(np.abs(eigenvalues).max(initial=0.0))
    kept = np.abs(eigenvalues) > g.size * eps * largest
    values, basis, rank = eigenvalues[kept], vectors[:, kept], int(kept.sum())
    x = basis @ ((basis.T @ g) / values)
    residual_norm = float(np.ldexp(_norm(g - h @ x), g_exponent))
    with np.errstate(over="ignore"):
        x = require_finite("x", np.ldexp(x, g_exponent - h_exponent))
    status: Literal["full_rank", "rank_deficient", "indefinite", "flat"]
    if rank == 0:
        status = "flat"
    elif values[0] < 0.0:  # they ascend
        status = "indefinite"
    else:
        status = "full_rank" if rank == g.size else "rank_deficient"
    return DenseResult(x, rank, residual_norm, status)


def line_search(
    evaluate: Callable[[Vector], tuple[float, float]],
    theta: Vector,
    step: Vector,
    *,
    kl_limit: float,
    shrink: float = 0.5,
    max_tries: int = 10,
) -> LineSearchResult:
    """Return θ + kʲ·s for the first j = 0, 1, … with L > 0 and a mean KL ≤ δ; without one, θ itself.

    The quadratic model behind a natural step can be off by orders of magnitude; this looks at the real
    surrogate and the real KL before θ moves.

    Args:
        evaluate: θ' ↦ (L, KL): the surrogate at θ' less its value at θ, and the mean KL(old‖new) in nats.
            Anything but finite numbers, and a NonFiniteError raised by it, refuse that θ'.
        theta: θ [P], the old parameters.
        step: s [P], to be tried at full length first.
        kl_limit: δ, nats.
        shrink: k in (0, 1).
        max_tries: most evaluations to spend.

    Raises:
        ArgumentError: kl_limit ≤ 0, shrink outside (0, 1), max_tries < 1.
        NonFiniteError: θ or the step holds a NaN or an infinity.
        ShapeError: θ has another number of axes than 1, or the step another shape than θ.

    Source: Schulman et al. (2015), Appendix C; k = ½ and the 10 tries are ours, the paper names no numbers.
    """
    kl_limit, max_tries = positive("kl_limit", kl_limit), count("max_tries", max_tries)
    if positive("shrink", shrink) >= 1.0:
        raise ArgumentError(f"shrink must be in (0, 1), got {shrink!r}")
    old = as_array("theta", theta, (None,))
    step = as_array("step", step, old.shape)
    if not step.any():
        return LineSearchResult(theta, False, 0, 0.0, 0.0, "no_step")
    for j in range(max_tries):
        with np.errstate(over="ignore"):
            candidate = np.asarray(old + shrink**j * step, old.dtype)
        improvement, kl = _evaluated(evaluate, candidate)
        if 0.0 < improvement < math.inf and -math.inf < kl <= kl_limit:
            return LineSearchResult(candidate, True, j + 1, improvement, kl, "accepted")
    return LineSearchResult(theta, False, max_tries, 0.0, 0.0, "refused")


def _evaluated(evaluate: Callable[[Vector], tuple[float, float]], candidate: Vector) -> tuple[float, float]:
    try:
        improvement, kl = evaluate(require_finite("theta", candidate))
    except NonFiniteError:
        return math.nan, math.nan
    return float(improvement), float(kl)


def _scaled(array: Array) -> tuple[Array, int]:
    """Return a copy whose largest entry lies in [½, 1), and n: the copy times 2ⁿ is exactly the array.

    So a gradient of 1e-200, as a saturated policy has, does not vanish in its own square.
    """
    exponent = int(np.frexp(np.abs(array).max(initial=0.0))[1])
    return np.ldexp(array, -exponent), exponent


def _curved(product: Product, v: Vector) -> tuple[Vector, float]:
    """Return Hv and v·Hv, both known to be finite."""
    hv = np.asarray(as_array("product(v)", product(v), v.shape), v.dtype)
    return hv, float(require_finite("v·Hv", v @ hv))


def _norm(v: Vector) -> float:
    square = float(v @ v)
    if 1e-20 < square < 1e20:  # far from where squares that count would under- or overflow
        return math.sqrt(square)
    scaled, exponent = _scaled(v)
    return float(np.ldexp(math.sqrt(float(scaled @ scaled)), exponent))
