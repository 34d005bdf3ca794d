"""The categorical distribution of discrete actions, and every derivative that a policy needs of it.

All functions take the logits z [N, K] that a network put out: finite, float32 or float64, or with the
imaginary parts of a complex step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pgref.arrays import Array, as_array
from pgref.errors import ArgumentError
from pgref.special import excess_terms, log_ratio, log_softmax, softmax


@dataclass(frozen=True)
class Categorical:
    """π(a) = exp(z_a) / Σ_b exp(z_b) on the actions 0 … K − 1; actions are integers [N]."""

    def check_width(self, n_outputs: int) -> None:
        """Accept any number of actions."""

    def check_actions(self, actions: Array, z: Array) -> Array:
        """Return actions [N] as integers, or raise ArgumentError for one outside 0 … K − 1."""
        actions = as_array("actions", actions, (len(z),), "i")
        wrong = (actions < 0) | (actions >= z.shape[1])
        if wrong.any():
            raise ArgumentError(f"action {actions[wrong.argmax()]} not in Discrete({z.shape[1]})")
        return actions

    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        """Draw actions [N], one uniform number each, by inverting the cumulative probabilities."""
        cumulative = softmax(z).cumsum(-1)
        total = cumulative[:, -1:]
        u = rng.random((len(z), 1)).astype(z.dtype)
        # < total even after rounding, so that an action of probability 0 is never drawn
        drawn: Array = (cumulative <= np.minimum(u * total, np.nextafter(total, 0))).sum(-1)
        return drawn

    def mode(self, z: Array) -> Array:
        """Return the likeliest actions [N], the first of equals."""
        return np.asarray(z.argmax(-1))

    def log_prob(self, z: Array, actions: Array) -> Array:
        """Return log π(a) [N]."""
        return np.take_along_axis(log_softmax(z), actions[:, None], 1)[:, 0]

    def log_prob_grad(self, z: Array, actions: Array) -> Array:
        """Return ∇_z log π(a) = e_a − π, [N, K]."""
        grad, rows = -softmax(z), np.arange(len(z))
        grad[rows, actions] = 0
        grad[rows, actions] = -grad.sum(-1)  # 1 − π(a) as the sum of the others: it may be below rounding
        return grad

    def entropy(self, z: Array) -> Array:
        """Return H = −Σ_a π(a) log π(a), [N] in nats, 0 ≤ H ≤ log K."""
        return np.asarray(-(softmax(z) * log_softmax(z)).sum(-1))

    def entropy_grad(self, z: Array) -> Array:
        """Return ∇_z H = −π (log π + H) = −Fz, [N, K]."""
        return -self.fisher_product(z)(z)

    def kl(self, z_old: Array, z_new: Array) -> Array:
        """Return D(π_old ‖ π_new) = Σ_a π_old log(π_old / π_new), [N] in nats, to the last digits."""
        terms = excess_terms(softmax(z_old), softmax(z_new), log_ratio(z_old, z_new))
        return np.asarray(terms.sum(-1))

    def kl_grad_new(self, z_old: Array, z_new: Array) -> Array:
        """Return ∇D in z_new: π_new − π_old, [N, K], without cancellation."""
        p, q, x = softmax(z_old), softmax(z_new), log_ratio(z_old, z_new)
        near = np.abs(x.real) < 1
        return np.where(near, p * np.expm1(np.where(near, x, 0)), q - p)

    def kl_grad_old(self, z_old: Array, z_new: Array) -> Array:
        """Return ∇D in z_old: π_old (log(π_old / π_new) − D) = F log(π_old / π_new), [N, K]."""
        return -self.fisher_product(z_old)(log_ratio(z_old, z_new))

    def fisher_product(self, z: Array) -> Callable[[Array], Array]:
        """Return u ↦ Fu with F = diag(π) − ππᵀ."""
        p, likeliest = softmax(z), z.real.argmax(-1)[:, None]

        def product(u: Array) -> Array:
            v = u - np.take_along_axis(u, likeliest, -1)  # F1 = 0, and so 1 − π of the likeliest never occurs
            return np.asarray(p * (v - (p * v).sum(-1, keepdims=True)))

        return product

    def fisher_matrix(self, z: Array) -> Array:
        """Return F = diag(π) − ππᵀ, [N, K, K]."""
        p, diagonal = softmax(z), np.arange(z.shape[1])
        matrix = -p[:, :, None] * p[:, None, :]
        matrix[:, diagonal, diagonal] = 0
        matrix[:, diagonal, diagonal] = -matrix.sum(-1)  # F1 = 0: π(1 − π) without cancellation
        return np.asarray(matrix)
