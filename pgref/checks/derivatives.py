"""Derivatives by complex steps: an oracle for gradients that subtracts nothing.

f(θ + ih·e).imag / h is the derivative of f along e to rounding error for h = 1e-20 (Squire and Trapp 1998),
so a hand-written gradient can be held to 1e-13. Works for every function here that takes complex θ.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pgref.arrays import Array, Matrix, Vector

STEP = 1e-20


def complex_step_gradient(f: Callable[[Vector], complex], theta: Vector) -> Vector:
    """Return ∇f(θ) [P], one complex step for each parameter.

    >>> complex_step_gradient(lambda t: (t @ t).item(), np.array([1.0, 2.0]))
    array([2., 4.])
    """
    return np.array([complex(f(theta + 1j * STEP * e)).imag / STEP for e in np.eye(len(theta))])


def complex_step_jacobian(f: Callable[[Vector], Array], theta: Vector) -> Matrix:
    """Return ∂f_i/∂θ_j [M, P] of a vector-valued f."""
    return np.stack([f(theta + 1j * STEP * e).imag / STEP for e in np.eye(len(theta))], -1)


def relative_error(measured: Array, reference: Array) -> float:
    """Return ‖measured − reference‖∞ / ‖reference‖∞, or the plain error where the reference is 0."""
    error = float(np.abs(np.asarray(measured) - reference).max())
    scale = float(np.abs(reference).max())
    return error / scale if scale else error
