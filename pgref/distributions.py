"""Action distributions as functions of their parameters z [N, K], and what a policy needs of them.

Each has log π(a), its entropy H and the KL divergence with their gradients in z, and the closed-form Fisher
matrix F = E[∇log π ∇log πᵀ]. `kl(z_old, z_new)` is D(π_old ‖ π_new) in nats. Categorical and Gaussian are
written out in modules of their own; a multi-categorical is several categoricals side by side.

Imports NumPy only; knows nothing of networks, policies or environments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from pgref.arrays import Array, as_array, count
from pgref.categorical import Categorical
from pgref.errors import ArgumentError, ShapeError
from pgref.gaussian import DiagonalGaussian
from pgref.special import Softmax

__all__ = ["Categorical", "DiagonalGaussian", "Distribution", "MultiCategorical"]


class Distribution(Protocol):
    """What a policy needs of an action distribution."""

    def check_width(self, n_outputs: int) -> None: ...
    def check_actions(self, actions: Array, z: Array) -> Array: ...
    def noise(
        self, rng: np.random.Generator, shape: tuple[int, ...], n_outputs: int, dtype: Any
    ) -> Array: ...
    def draw(self, z: Array, noise: Array) -> Array: ...
    def sample(self, z: Array, rng: np.random.Generator) -> Array: ...
    def mode(self, z: Array) -> Array: ...
    def prepared(self, z: Any) -> Any: ...
    def log_prob(self, z: Any, actions: Array) -> Array: ...
    def log_prob_grad(self, z: Any, actions: Array) -> Array: ...
    def entropy(self, z: Any) -> Array: ...
    def entropy_grad(self, z: Any) -> Array: ...
    def kl(self, z_old: Array, z_new: Array) -> Array: ...
    def kl_grad_new(self, z_old: Array, z_new: Array) -> Array: ...
    def kl_grad_old(self, z_old: Array, z_new: Array) -> Array: ...
    def fisher_product(self, z: Array) -> Callable[[Array], Array]: ...
    def fisher_matrix(self, z: Array) -> Array: ...


Parts: TypeAlias = tuple[Softmax, ...]
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
        stops = np.cumsum(self.sizes).tolist()
        return [z[..., stop - n : stop] for stop, n in zip(stops, self.sizes, strict=True)]

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

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...], n_outputs: int, dtype: Any) -> Array:
        """Draw Gumbel noise [*shape, K]: what `draw` needs of chance."""
        return ONE.noise(rng, shape, n_outputs, dtype)

    def draw(self, z: Array, noise: Array) -> Array:
        """Return the actions [N, m] that the noise [N, K] picks, each part by its own columns."""
        noise = as_array("noise", noise, z.shape)
        return np.stack([*map(ONE.draw, self.parts(z), self.parts(noise))], -1)

    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        """Draw actions [N, m]."""
        return self.draw(z, self.noise(rng, z.shape[:-1], z.shape[-1], z.dtype))

    def mode(self, z: Array) -> Array:
        """Return the likeliest actions [N, m]."""
        return np.stack([ONE.mode(part) for part in self.parts(z)], -1)

    def prepared(self, z: Array | Parts) -> Parts:
        """Return what the functions of one z have in common; those that allow it take it in place of z."""
        return z if isinstance(z, tuple) else tuple(map(ONE.prepared, self.parts(z)))

    def log_prob(self, z: Array | Parts, actions: Array) -> Array:
        """Return log π(a) = Σ_i log π_i(a_i), [N]."""
        return np.asarray(sum(map(ONE.log_prob, self.prepared(z), actions.T)))

    def log_prob_grad(self, z: Array | Parts, actions: Array) -> Array:
        """Return ∇_z log π(a), [N, K]."""
        return np.concatenate([*map(ONE.log_prob_grad, self.prepared(z), actions.T)], -1)

    def entropy(self, z: Array | Parts) -> Array:
        """Return H = Σ_i H_i, [N] in nats."""
        return np.asarray(sum(map(ONE.entropy, self.prepared(z))))

    def entropy_grad(self, z: Array | Parts) -> Array:
        """Return ∇_z H, [N, K]."""
        return np.concatenate([*map(ONE.entropy_grad, self.prepared(z))], -1)

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
