"""Action distributions as functions of their parameters z [N, K], and what a policy needs of them.

Each has log π(a), its entropy H and the KL divergence with their gradients in z, and the closed-form Fisher
matrix F = E[∇log π ∇log πᵀ]. `kl(z_old, z_new)` is D(π_old ‖ π_new) in nats. Categorical and Gaussian are
written out in modules of their own; a multi-categorical is several categoricals side by side.

Imports NumPy only; knows nothing of networks, policies or environments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pgref.arrays import Array, as_array, count
from pgref.categorical import Categorical
from pgref.errors import ArgumentError, ShapeError
from pgref.gaussian import DiagonalGaussian

__all__ = ["Categorical", "DiagonalGaussian", "Distribution", "MultiCategorical"]


class Distribution(Protocol):
    """What a policy needs of an action distribution."""

    def check_width(self, n_outputs: int) -> None: ...
    def check_actions(self, actions: Array, z: Array) -> Array: ...
    def sample(self, z: Array, rng: np.random.Generator) -> Array: ...
    def mode(self, z: Array) -> Array: ...
    def log_prob(self, z: Array, actions: Array) -> Array: ...
    def log_prob_grad(self, z: Array, actions: Array) -> Array: ...
    def entropy(self, z: Array) -> Array: ...
    def entropy_grad(self, z: Array) -> Array: ...
    def kl(self, z_old: Array, z_new: Array) -> Array: ...
    def kl_grad_new(self, z_old: Array, z_new: Array) -> Array: ...
    def kl_grad_old(self, z_old: Array, z_new: Array) -> Array: ...
    def fisher_product(self, z: Array) -> Callable[[Array], Array]: ...
    def fisher_matrix(self, z: Array) -> Array: ...


ONE = Categorical()  # each part of a MultiCategorical


@dataclass(frozen=True)
class MultiCategorical:
    """Several independent categorical actions: z holds their logits in turn, actions are integers [N, m]."""

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(count("sizes", n) for n in self.sizes))
        if not self.sizes:
            raise ArgumentError("sizes must hold at least one number of actions, got ()")

    def parts(self, z: Array) -> list[Array]:
        """Split [N, K] into the columns of each action."""
        return np.split(z, np.cumsum(self.sizes)[:-1], -1)

    def check_width(self, n_outputs: int) -> None:
        """Raise ShapeError unless there is a logit for every action."""
        if n_outputs != sum(self.sizes):
            raise ShapeError(f"sizes {self.sizes} need {sum(self.sizes)} outputs, got {n_outputs}")

    def check_actions(self, actions: Array, z: Array) -> Array:
        """Return actions [N, m] as integers, or raise ArgumentError for one out of range."""
        actions = as_array("actions", actions, (len(z), len(self.sizes)), "i")
        for column, part in zip(actions.T, self.parts(z), strict=True):
            ONE.check_actions(column, part)
        return actions

    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        """Draw actions [N, m], one uniform number each."""
        return np.stack([ONE.sample(part, rng) for part in self.parts(z)], -1)

    def mode(self, z: Array) -> Array:
        """Return the likeliest actions [N, m]."""
        return np.stack([ONE.mode(part) for part in self.parts(z)], -1)

    def log_prob(self, z: Array, actions: Array) -> Array:
        """Return log π(a) = Σ_i log π_i(a_i), [N]."""
        return np.asarray(sum(map(ONE.log_prob, self.parts(z), actions.T)))

    def log_prob_grad(self, z: Array, actions: Array) -> Array:
        """Return ∇_z log π(a), [N, K]."""
        return np.concatenate([*map(ONE.log_prob_grad, self.parts(z), actions.T)], -1)

    def entropy(self, z: Array) -> Array:
        """Return H = Σ_i H_i, [N] in nats."""
        return np.asarray(sum(map(ONE.entropy, self.parts(z))))

    def entropy_grad(self, z: Array) -> Array:
        """Return ∇_z H, [N, K]."""
        return np.concatenate([*map(ONE.entropy_grad, self.parts(z))], -1)

    def kl(self, z_old: Array, z_new: Array) -> Array:
        """Return D(π_old ‖ π_new) = Σ_i D_i, [N] in nats."""
        return np.asarray(sum(map(ONE.kl, self.parts(z_old), self.parts(z_new))))

    def kl_grad_new(self, z_old: Array, z_new: Array) -> Array:
        """Return ∇D in z_new, [N, K]."""
        return np.concatenate([*map(ONE.kl_grad_new, self.parts(z_old), self.parts(z_new))], -1)

    def kl_grad_old(self, z_old: Array, z_new: Array) -> Array:
        """Return ∇D in z_old, [N, K]."""
        return np.concatenate([*map(ONE.kl_grad_old, self.parts(z_old), self.parts(z_new))], -1)

    def fisher_product(self, z: Array) -> Callable[[Array], Array]:
        """Return u ↦ Fu, F block-diagonal."""
        products = [ONE.fisher_product(part) for part in self.parts(z)]
        return lambda u: np.concatenate(
            [f(part) for f, part in zip(products, self.parts(u), strict=True)], -1
        )

    def fisher_matrix(self, z: Array) -> Array:
        """Return the block-diagonal F, [N, K, K]."""
        matrix, start = np.zeros((*z.shape, z.shape[1]), z.dtype), 0
        for part in self.parts(z):
            block = slice(start, start := start + part.shape[1])
            matrix[:, block, block] = ONE.fisher_matrix(part)
        return matrix
