"""Softmax, log-softmax and the terms of a KL divergence, finite and accurate wherever the true value is.

Rounding is carried along where it would be amplified: exp(z − m) multiplies an absolute error of z − m
into a relative one, log p for p ≈ 1 cancels, and so does p log(p/q) for p ≈ q. The functions accept
complex arguments with a tiny imaginary part, for complex-step derivatives, and keep float32.

Imports NumPy only; knows nothing of policies or batches.
"""

from __future__ import annotations

import cmath
import math
from typing import NamedTuple

import numpy as np

from pgref.arrays import Array
from pgref.errors import NonFiniteError

NEAR = 2.0  # up to this |log(q/p)| a KL term is summed as a series
LARGEST_GAIN = 60.0  # beyond e^60 a sum is not near 1, whatever else it holds


class Softmax(NamedTuple):
    """Softmax and log-softmax of the same logits z, from one exponential."""

    p: Array  # [..., K] exp(z_a) / Σ_b exp(z_b)
    log_p: Array  # [..., K] in nats, without cancellation even where p is almost 1
    below: Array  # [..., K] z − max z ≤ 0, as rounded

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of z."""
        return self.p.shape


def difference(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a − b as rounded, and the error of that rounding, exactly (Knuth's two-sum)."""
    d = a - b
    b_used = a - d
    return d, (a - (d + b_used)) + (b_used - b)


def normalised(z: Array | Softmax) -> Softmax:
    """Return softmax and log-softmax along the last axis; what is a `Softmax` already passes through.

    Raises:
        NonFiniteError: a logit beyond a quarter of the largest float, so that differences could overflow.
    """
    if isinstance(z, Softmax):
        return z
    if not cmath.isfinite(np.vdot(z, z)):  # squares overflow long before
        _require_differences(z)
    z = np.asarray(z, order="F")  # with the short last axis outermost, reductions run along the long ones
    largest = np.maximum.reduce(z, -1, keepdims=True)
    d, rest = difference(z, largest)
    exp = np.exp(d)
    exp += exp * rest
    first = d == 0  # one of these is the 1 that `others` leaves out
    others = np.add.reduce(np.where(first, 0, exp), -1, keepdims=True)
    others += np.add.reduce(first, -1, keepdims=True, initial=-1)
    log_p = d - np.log1p(others)
    log_p += rest
    return Softmax(exp / (1 + others), log_p, d)


def _require_differences(z: Array) -> None:
    limit = np.finfo(z.dtype).max / 4
    if np.abs(z.real).max() > limit:
        raise NonFiniteError(f"logits must be within ±{limit:.1e}, got up to {np.abs(z.real).max()}")


def softmax(z: Array) -> Array:
    """Return exp(z_a) / Σ_b exp(z_b) along the last axis.

    >>> softmax(np.array([0.0, np.log(3.0)])).round(12)
    array([0.25, 0.75])
    """
    return normalised(z).p


def log_softmax(z: Array) -> Array:
    """Return z_a − log Σ_b exp(z_b) along the last axis, without cancellation even where p is almost 1."""
    return normalised(z).log_p


def excess(x: Array) -> Array:
    """Return e^x − 1 − x = x²/2 + x³/6 + … ≥ 0 for |x| ≤ 2 without cancellation."""
    h = x / 2  # e^x − 1 − x = (e^h − 1)² + 2(e^h − 1 − h), both parts positive
    terms = 9 if h.dtype in (np.float32, np.complex64) else 17
    series = np.full_like(h, 2 / math.factorial(terms + 2))
    for k in reversed(range(terms)):
        series *= h
        series += 2 / math.factorial(k + 2)
    return np.expm1(h) ** 2 + h * h * series


def excess_terms(p: Array, q: Array, log_ratio: Array) -> Array:
    """Return p log(p/q) − p + q ≥ 0 elementwise, given log(q/p); their sum is D(p ‖ q).

    No digit is lost where p ≈ q, as summing p log(p/q) would. The term is q for p = 0, and ∞ for q = 0 < p.
    """
    near = np.abs(log_ratio.real) <= NEAR
    with np.errstate(invalid="ignore"):
        terms = np.where(near, p * excess(np.where(near, log_ratio, 0)), (q - p) - p * log_ratio)
    return np.where(p == 0, q, terms)


def kl_terms(p: Array, q: Array) -> Array:
    """Return p log(p/q) − p + q ≥ 0 elementwise for probabilities p (old) and q (new).

    >>> kl_terms(np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5]))
    array([0. , inf, 0.5])
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = q / p
        tiny = np.finfo(ratio.dtype).tiny
        close, normal = np.abs(ratio.real - 1) <= 0.5, (ratio.real >= tiny) & (ratio.real <= 1 / tiny)
        log_ratio = np.select([close, normal], [np.log1p((q - p) / p), np.log(ratio)], np.log(q) - np.log(p))
    return excess_terms(p, q, log_ratio)


class Comparison(NamedTuple):
    """Two rows of probabilities, in the order in which `excess_terms` takes them."""

    p: Array  # [..., K] softmax(z_old)
    q: Array  # [..., K] softmax(z_new)
    log_ratio: Array  # [..., K] log(q/p)


def log_ratio(z_old: Array, z_new: Array) -> Array:
    """Return log(q/p) for p = softmax(z_old), q = softmax(z_new), accurate even where p ≈ q."""
    return compared(z_old, z_new).log_ratio


def compared(z_old: Array, z_new: Array) -> Comparison:
    """Return p = softmax(z_old), q = softmax(z_new) and log(q/p), to full relative accuracy even where p ≈ q.

    With e = z_new − z_old, up to a constant that makes e = 0 at the likeliest old action L,
    log(q/p) = e − log(1 + c) with c = Σ p·(e^e − 1), and log(1 + c) is log(p_L/q_L).
    """
    likeliest = np.arange(z_old.shape[-1]) == z_old.real.argmax(-1)[..., None]
    z_old, z_new, likeliest = (np.asarray(a, order="F") for a in (z_old, z_new, likeliest))

    def at_likeliest(x: Array) -> Array:
        return np.asarray(np.add.reduce(np.where(likeliest, x, 0), -1, keepdims=True))

    (p, log_p, _), (q, log_q, _) = normalised(z_old), normalised(z_new)
    log_scale = at_likeliest(log_p - log_q)
    d, rest = difference(z_new, z_old)
    e, rest_of_e = difference(d, at_likeliest(d))
    e, rest = difference(e, at_likeliest(rest) - rest - rest_of_e)  # the rest is all there is where e cancels
    small = e.real < 1
    gain = np.minimum(z_new - at_likeliest(z_new), LARGEST_GAIN)  # p may underflow, p·e^e = p_L·e^gain not
    grown = at_likeliest(p) * np.exp(gain) - p
    change = np.where(small, p * np.expm1(np.where(small, e, 0)), grown).sum(-1, keepdims=True)
    cancels = (change.real > -0.5) & (change.real < 1e12)
    log_ratio = (e - np.where(cancels, np.log1p(np.where(cancels, change, 0)), log_scale)) + rest
    return Comparison(p, q, log_ratio)
