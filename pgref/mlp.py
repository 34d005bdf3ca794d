"""The multilayer perceptron, with its Jacobian products written out by hand.

Parameters are one flat vector θ [P], always an argument; its dtype decides the arithmetic (float32,
float64, or complex for complex-step derivatives). `linearize` makes one forward pass and hands back the
value with both Jacobian products, as often as they are wanted; every derivative here is made of them.

Imports NumPy only; knows nothing of distributions, policies or environments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, Vector, Workspace, as_batch, as_parameters, count
from pgref.errors import ArgumentError
from pgref.passes import ACTIVATIONS, Pass, side_by_side


class Linearization(NamedTuple):
    """A network at θ: its outputs and the products with its Jacobian J = ∂value/∂θ."""

    value: Array  # [N, K]
    jvp: Callable[[Vector], Array]  # v [P] ↦ Jv [N, K]
    vjp: Callable[[Array], Vector]  # u [N, K] ↦ Jᵀu [P]


@dataclass(frozen=True)
class MLP:
    """Fully connected layers h ↦ φ(Wᵀh + b), the last one linear.

    A layer is one matrix [in + 1, out] in homogeneous coordinates, W above and b as its last row, so that
    θ = W₁, b₁, W₂, b₂, … and the activations carry a constant 1. That 1 renews itself: its unit's input is
    a number that the activation maps to exactly 1.

    Args:
        sizes: widths from observation to output, at least two.
        activation: "tanh" or "relu".

    >>> MLP((4, 64, 64, 2)).n_params
    4610
    """

    sizes: tuple[int, ...]
    activation: str = "tanh"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(count("sizes", n) for n in self.sizes))
        if len(self.sizes) < 2:
            raise ArgumentError(f"sizes must hold at least two widths, got {self.sizes}")
        if self.activation not in ACTIVATIONS:
            raise ArgumentError(f"activation must be one of {sorted(ACTIVATIONS)}, got {self.activation!r}")

    @cached_property
    def n_params(self) -> int:
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def n_outputs(self) -> int:
        return self.sizes[-1]

    def layers(self, theta: Vector) -> list[Array]:
        """Return the views [in + 1, out] of θ, layer by layer; nothing is copied."""
        return [theta[start:stop].reshape(shape) for (start, stop), shape in self._cuts]

    @cached_property
    def _cuts(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Where each layer starts and stops in θ, and its shape; found once, since every pass asks."""
        shapes = [(n_in + 1, n_out) for n_in, n_out in pairwise(self.sizes)]
        stops = accumulate((rows * columns for rows, columns in shapes), initial=0)
        return [*zip(pairwise(stops), shapes, strict=True)]

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> Vector:
        """Return θ [P] with weights from N(0, 1/in) and biases 0."""
        theta = np.zeros(self.n_params, dtype)
        for layer, n_in in zip(self.layers(theta), self.sizes, strict=False):
            layer[:-1] = rng.standard_normal((n_in, layer.shape[1])) / np.sqrt(n_in)
        return theta

    def checked(self, obs: Array) -> Array:
        """Return observations [N, D], or raise what `linearize` raises for those it cannot use."""
        return as_batch("observations", obs, (None, self.sizes[0]))

    def linearize(self, theta: Vector, obs: Array, work: Workspace | None = None) -> Linearization:
        """Return the outputs [N, K] at observations [N, D], and the Jacobian products there.

        Raises:
            ArgumentTypeError, ShapeError, NonFiniteError: θ or the observations are not usable.
            ArgumentError: no observation.
        """
        theta, obs = as_parameters("theta", theta, self.n_params), self.checked(obs)
        run = side_by_side(self._alone, theta, len(obs), work)
        with np.errstate(over="ignore", invalid="ignore"):  # looked at before it is returned
            return Linearization(run.forward(obs)[0], run.jvp, run.vjp)

    def forward(self, theta: Vector, work: Workspace | None = None) -> Callable[[Array], Array]:
        """Return observations [N, D] ↦ outputs [N, K] at a θ that is checked here, once, and not copied.

        Observations must be as `checked` returns them; NumPy may warn of an overflow before it is raised.

        Raises:
            As `linearize`, for θ at once.
        """
        theta = as_parameters("theta", theta, self.n_params)
        passes: dict[int, Pass] = {}  # one for each N, since acting asks again and again

        def forward(obs: Array) -> Array:
            run = passes.get(len(obs)) or side_by_side(self._alone, theta, len(obs), work)
            if work:
                passes[len(obs)] = run
            return run.forward(obs)[0]

        return forward

    def goes_with(self, other: MLP) -> bool:
        """Return whether the other can share a pass: it sees as much, is as deep, has the same activation."""
        return (
            self.activation == other.activation
            and len(self.sizes) == len(other.sizes)
            and self.sizes[0] == other.sizes[0]
        )

    @cached_property
    def _alone(self) -> tuple[tuple[MLP, int]]:
        return ((self, 0),)
