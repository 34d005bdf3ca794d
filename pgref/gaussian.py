"""The diagonal Gaussian distribution of real actions, and every derivative that a policy needs of it.

All functions take z = [μ, log σ], [N, 2d], that a network put out: finite, float32 or float64, or with the
imaginary parts of a complex step. A log σ for which σ² or 1/σ² is not finite raises NonFiniteError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, as_array, in_precision
from pgref.errors import NonFiniteError, ShapeError
from pgref.special import excess_terms


class Normal(NamedTuple):
    """The parameters, each [N, d]."""

    mean: Array  # μ
    log_std: Array  # log σ
    precision: Array  # 1/σ


@dataclass(frozen=True)
class DiagonalGaussian:
    """a ~ N(μ, diag σ²) with z = [μ, log σ], each half [N, d]; actions are real [N, d]."""

    def check_width(self, n_outputs: int) -> None:
        """Raise ShapeError unless the outputs split into a mean and a log σ."""
        if n_outputs % 2:
            raise ShapeError(f"a Gaussian needs as many log σ as means, got {n_outputs} outputs")

    def check_actions(self, actions: Array, z: Array) -> Array:
        """Return actions [N, d] in the dtype of z."""
        return in_precision("actions", as_array("actions", actions, (len(z), z.shape[1] // 2)), z.dtype)

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...], n_outputs: int, dtype: Any) -> Array:
        """Draw standard normals ε [*shape, d]: what `draw` needs of chance."""
        return rng.standard_normal((*shape, n_outputs // 2), dtype)

    def draw(self, z: Array, noise: Array) -> Array:
        """Return the actions [N, d] that the noise ε [N, d] picks: μ + σ·ε, in the dtype of z."""
        mean, log_std = _halves(z)
        return np.asarray(mean + np.exp(log_std) * as_array("noise", noise, mean.shape), z.dtype)

    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        """Draw actions [N, d]."""
        return self.draw(z, self.noise(rng, z.shape[:-1], z.shape[-1], z.dtype))

    def mode(self, z: Array) -> Array:
        """Return the means [N, d]."""
        return _halves(z)[0].copy()

    def prepared(self, z: Array | Normal) -> Normal:
        """Return what the functions of one z have in common; those that allow it take it in place of z."""
        if isinstance(z, Normal):
            return z
        mean, log_std = _halves(np.asarray(z, order="F"))  # so that sums over d run along the long axis
        return Normal(mean, log_std, np.exp(-log_std))

    def log_prob(self, z: Array | Normal, actions: Array) -> Array:
        """Return log π(a) = −Σ_i [((a − μ)/σ)²/2 + log σ + log(2π)/2], [N]."""
        mean, log_std, precision = self.prepared(z)
        squares = ((actions - mean) * precision) ** 2
        return np.asarray(-(squares / 2 + log_std + math.log(2 * math.pi) / 2).sum(-1))

    def log_prob_grad(self, z: Array | Normal, actions: Array) -> Array:
        """Return ∇_z log π(a) = [(a − μ)/σ², ((a − μ)/σ)² − 1], [N, 2d]."""
        mean, _, precision = self.prepared(z)
        scaled = (actions - mean) * precision
        return np.concatenate([scaled * precision, scaled**2 - 1], -1)

    def entropy(self, z: Array | Normal) -> Array:
        """Return H = Σ_i [log σ + log(2πe)/2], [N] in nats; negative for narrow densities."""
        return np.asarray((self.prepared(z).log_std + math.log(2 * math.pi * math.e) / 2).sum(-1))

    def entropy_grad(self, z: Array | Normal) -> Array:
        """Return ∇_z H = [0, 1], [N, 2d]."""
        log_std = self.prepared(z).log_std
        return np.concatenate([np.zeros_like(log_std), np.ones_like(log_std)], -1)

    def kl(self, z_old: Array, z_new: Array) -> Array:
        """Return D(π_old ‖ π_new) = ½ Σ_i [r − 1 − log r + (Δμ/σ_new)²], [N] in nats, r = (σ_old/σ_new)².

        It is ∞ only where it exceeds the largest float.
        """
        (mean_old, log_old), (mean_new, log_new) = _halves(z_old), _halves(z_new)
        log_r = 2 * (log_old - log_new)
        one = np.ones_like(log_r)
        with np.errstate(over="ignore"):
            squares = ((mean_old - mean_new) * np.exp(-log_new)) ** 2
            return np.asarray((excess_terms(one, np.exp(log_r), log_r) + squares).sum(-1) / 2)

    def kl_grad_new(self, z_old: Array, z_new: Array) -> Array:
        """Return ∇D in z_new: [(μ_new − μ_old)/σ_new², 1 − (σ_old² + (μ_old − μ_new)²)/σ_new²], [N, 2d]."""
        (mean_old, log_old), (mean_new, log_new) = _halves(z_old), _halves(z_new)
        scaled = (mean_new - mean_old) * np.exp(-log_new)
        narrower = -np.expm1(2 * (log_old - log_new))
        return np.concatenate([scaled * np.exp(-log_new), narrower - scaled**2], -1)

    def kl_grad_old(self, z_old: Array, z_new: Array) -> Array:
        """Return ∇D in z_old: [(μ_old − μ_new)/σ_new², (σ_old/σ_new)² − 1], [N, 2d]."""
        (mean_old, log_old), (mean_new, log_new) = _halves(z_old), _halves(z_new)
        slope = (mean_old - mean_new) * np.exp(-2 * log_new)
        return np.concatenate([slope, np.expm1(2 * (log_old - log_new))], -1)

    def fisher_product(self, z: Array) -> Callable[[Array], Array]:
        """Return u ↦ Fu with F = diag(1/σ², 2)."""
        diagonal = self._fisher_diagonal(z)
        return lambda u: diagonal * u

    def fisher_matrix(self, z: Array) -> Array:
        """Return F = diag(1/σ², 2), [N, 2d, 2d]."""
        return np.asarray(self._fisher_diagonal(z)[:, :, None] * np.eye(z.shape[1], dtype=z.dtype))

    def _fisher_diagonal(self, z: Array) -> Array:
        log_std = _halves(z)[1]
        return np.concatenate([np.exp(-2 * log_std), np.full_like(log_std, 2)], -1)


def _halves(z: Array) -> tuple[Array, Array]:
    """Split z = [μ, log σ], once it is known that σ² and 1/σ² are finite."""
    d = z.shape[1] // 2
    mean, log_std = z[:, :d], z[:, d:]
    limit = math.log(np.finfo(z.dtype).max) / 2
    if np.abs(log_std.real).max() > limit:
        worst = log_std.real.flat[np.abs(log_std.real).argmax()]
        raise NonFiniteError(f"log σ must be within ±{limit:.1f} for σ² and 1/σ² to be finite, got {worst}")
    return mean, log_std
