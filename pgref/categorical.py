"""The categorical distribution of discrete actions, and every derivative that a policy needs of it.

All functions take the logits z [N, K] that a network put out: finite, float32 or float64, or with the
imaginary parts of a complex step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pgref.arrays import Array, as_array, require_choices
from pgref.special import Softmax, compared, excess_terms, log_ratio, normalised, softmax

LEAST = 2.0**-60  # below the smallest exponential but 0, whose noise would be ∞


@dataclass(frozen=True)
class Categorical:
    """π(a) = exp(z_a) / Σ_b exp(z_b) on the actions 0 … K − 1; actions are integers [N]."""

    def check_width(self, n_outputs: int) -> None:
        """Accept any number of actions."""

    def check_actions(self, actions: Array, z: Array) -> Array:
        """Return actions [N] as integers, or raise ArgumentError for one outside 0 … K − 1."""
        return require_choices(as_array("actions", actions, (len(z),), "i"), z.shape[1])

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...], n_outputs: int, dtype: Any) -> Array:
        """Draw Gumbel noise [*shape, K], −log of standard exponentials: what `draw` needs of chance."""
        exponentials = rng.standard_exponential((*shape, n_outputs))
        return np.asarray(-np.log(np.maximum(exponentials, LEAST)), dtype)

    def draw(self, z: Array, noise: Array) -> Array:
        """Return the actions [N] that the noise [N, K] picks, argmax z + noise: a with probability π(a).

        Source: the Gumbel-max trick, Yellott (1977).
        """
        noise = as_array("noise", noise, z.shape)
        largest = np.maximum.reduce(np.asarray(z, order="F"), -1, keepdims=True)
        # relative to the largest logit, beside which a float32 could not hold the noise
        return np.asarray((z - largest + noise).argmax(-1))

    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        """Draw actions [N]."""
        return self.draw(z, self.noise(rng, z.shape[:-1], z.shape[-1], z.dtype))

    def mode(self, z: Array) -> Array:
        """Return the likeliest actions [N], the first of equals."""
        return np.asarray(z.argmax(-1))

    def prepared(self, z: Array | Softmax) -> Softmax:
        """Return what the functions of one z have in common; those that allow it take it in place of z."""
        return normalised(z)

    def log_prob(self, z: Array | Softmax, actions: Array) -> Array:
        """Return log π(a) [N]."""
        log_p = normalised(z).log_p
        return np.asarray(log_p[np.arange(len(log_p)), actions])

    def log_prob_grad(self, z: Array | Softmax, actions: Array) -> Array:
        """Return ∇_z log π(a) = e_a − π, [N, K]."""
        grad = np.negative(normalised(z).p.T)  # [K, N]
        flat, chosen = grad.reshape(-1), actions * grad.shape[1]
        chosen += np.arange(len(chosen))
        flat[chosen] = 0
        flat[chosen] = -np.add.reduce(grad)  # 1 − π(a) as the sum of the others: may be tiny
        return grad.T

    def entropy(self, z: Array | Softmax) -> Array:
        """Return H = −Σ_a π(a) log π(a), [N] in nats, 0 ≤ H ≤ log K."""
        p, log_p, _ = normalised(z)
        return np.asarray(-np.add.reduce(p * log_p, -1))

    def entropy_grad(self, z: Array | Softmax) -> Array:
        """Return ∇_z H = −π (log π + H) = −Fz, [N, K]."""
        p, _, below = normalised(z)
        return -_fisher_times(p, below)

    def kl(self, z_old: Array, z_new: Array) -> Array:
        """Return D(π_old ‖ π_new) = Σ_a π_old log(π_old / π_new), [N] in nats, to the last digits."""
        return np.asarray(excess_terms(*compared(z_old, z_new)).sum(-1))

    def kl_grad_new(self, z_old: Array, z_new: Array) -> Array:
        """Return ∇D in z_new: π_new − π_old, [N, K], without cancellation."""
        p, q, x = compared(z_old, z_new)
        near = np.abs(x.real) < 1
        return np.where(near, p * np.expm1(np.where(near, x, 0)), q - p)

    def kl_grad_old(self, z_old: Array, z_new: Array) -> Array:
        """Return ∇D in z_old: π_old (log(π_old / π_new) − D) = F log(π_old / π_new), [N, K]."""
        return -self.fisher_product(z_old)(log_ratio(z_old, z_new))

    def fisher_product(self, z: Array) -> Callable[[Array], Array]:
        """Return u ↦ Fu with F = diag(π) − ππᵀ."""
        p, rows, likeliest = softmax(z), np.arange(len(z)), z.real.argmax(-1)
        return lambda u: _fisher_times(p, np.asarray(u, order="F") - u[rows, likeliest][:, None])

    def fisher_matrix(self, z: Array) -> Array:
        """Return F = diag(π) − ππᵀ, [N, K, K]."""
        p, diagonal = softmax(z), np.arange(z.shape[1])
        matrix = -p[:, :, None] * p[:, None, :]
        matrix[:, diagonal, diagonal] = 0
        matrix[:, diagonal, diagonal] = -matrix.sum(-1)  # F1 = 0: π(1 − π) without cancellation
        return np.asarray(matrix)


def _fisher_times(p: Array, v: Array) -> Array:
    """Return Fv for v that is 0 at the likeliest action: F1 = 0 allows it, and so its 1 − π never occurs."""
    return np.asarray(p * (v - np.add.reduce(p * v, -1, keepdims=True)))
