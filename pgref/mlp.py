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

from pgref.arrays import (
    Array,
    Scratch,
    Vector,
    Workspace,
    as_batch,
    as_parameters,
    count,
    in_precision,
    require_finite,
    scratch,
)
from pgref.errors import ArgumentError

BLOCK = 1024  # rows worked on together, so that their activations stay in the cache


class Linearization(NamedTuple):
    """A network at θ: its outputs and the products with its Jacobian J = ∂value/∂θ."""

    value: Array  # [N, K]
    jvp: Callable[[Vector], Array]  # v [P] ↦ Jv [N, K]
    vjp: Callable[[Array], Vector]  # u [N, K] ↦ Jᵀu [P]


class Activation(NamedTuple):
    """A function applied in place, its slope given its value, and a number that it maps to exactly 1."""

    apply: Callable[[Array], Any]
    slope: Callable[[Array, Array], Any]  # value, out
    one: float


def _tanh_slope(h: Array, out: Array) -> None:
    np.multiply(h, h, out=out)
    np.subtract(1, out, out=out)


ACTIVATIONS = {
    "tanh": Activation(lambda h: np.tanh(h, out=h), _tanh_slope, 40.0),
    "relu": Activation(lambda h: np.maximum(h, 0, out=h), lambda h, out: np.copyto(out, h.real > 0), 1.0),
}


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

    def linearize(self, theta: Vector, obs: Array, work: Workspace | None = None) -> Linearization:
        """Return the outputs [N, K] at observations [N, D], and the Jacobian products there.

        Raises:
            ArgumentTypeError, ShapeError, NonFiniteError: θ or the observations are not usable.
            ArgumentError: no observation.
        """
        theta, obs = as_parameters("theta", theta, self.n_params), self._batch(obs)
        run = self._pass(theta, len(obs), scratch(work))
        return Linearization(run.forward(obs), run.jvp, run.vjp)

    def forward(self, theta: Vector, work: Workspace | None = None) -> Callable[[Array], Array]:
        """Return observations [N, D] ↦ outputs [N, K] at a θ that is checked here, once, and not copied.

        Raises:
            As `linearize`, for θ at once and for observations when they come.
        """
        theta, new = as_parameters("theta", theta, self.n_params), scratch(work)
        passes: dict[int, _Pass] = {}  # one for each N, since acting asks again and again

        def forward(obs: Array) -> Array:
            obs = self._batch(obs)
            run = passes.get(len(obs)) or self._pass(theta, len(obs), new)
            if work:
                passes[len(obs)] = run
            return run.forward(obs)

        return forward

    def _batch(self, obs: Array) -> Array:
        return as_batch("observations", obs, (None, self.sizes[0]))

    def _pass(self, theta: Vector, n: int, new: Scratch) -> _Pass:
        layers = self.layers(theta)
        inputs = [new(f"input {i}", (n, len(w)), theta.dtype) for i, w in enumerate(layers)]
        inputs[0][:, -1] = 1
        return _Pass(self, theta, layers, inputs, new("value", (n, self.n_outputs), theta.dtype), new, [], [])


class _Pass(NamedTuple):
    """One forward pass, with what its Jacobian products need of it."""

    network: MLP
    theta: Vector
    layers: list[Array]  # views of θ
    inputs: list[Array]  # [N, in + 1] for each layer, the last column 1
    value: Array  # [N, K]
    new: Scratch
    products: list[tuple[Array, Array, Array]]  # input, layer, output of each block of rows; empty at first
    slopes: list[list[Array]]  # φ′ [rows, width + 1] of each block's hidden layers; empty until wanted

    def blocks(self) -> list[slice]:
        return [slice(i, i + BLOCK) for i in range(0, len(self.value), BLOCK)]

    def forward(self, obs: Array) -> Array:
        activation = ACTIVATIONS[self.network.activation]
        if not self.products:
            for block in self.blocks():
                for x, w, y in zip(self.inputs, self.layers, [*self.inputs[1:], self.value], strict=True):
                    self.products.append((x[block], w, y[block]))
        self.inputs[0][:, :-1] = in_precision("observations", obs, self.theta.real.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # looked at below
            for x, w, y in self.products:
                if w is self.layers[-1]:
                    np.matmul(x, w, out=y)
                else:
                    np.matmul(x, w, out=y[:, :-1])
                    y[:, -1] = activation.one
                    activation.apply(y)
        return require_finite("network output", self.value)

    def hidden_slopes(self, k: int) -> list[Array]:
        """Return φ′ of block k, made when a product first comes to it, while its rows are in the cache."""
        if k == len(self.slopes):
            activations = [h[self.blocks()[k]] for h in self.inputs[1:]]
            made = [self.new(f"slope {i} of {k}", h.shape, h.dtype) for i, h in enumerate(activations)]
            for h, slope in zip(activations, made, strict=True):
                ACTIVATIONS[self.network.activation].slope(h, slope)
            self.slopes.append(made)
        return self.slopes[k]

    def vjp(self, u: Array) -> Vector:
        total = self.new("vjp", self.theta.shape, self.theta.dtype)
        for k, block in enumerate(self.blocks()):
            part = self.new("vjp of a block", total.shape, total.dtype) if block.start else total
            slopes, grads, d = self.hidden_slopes(k), self.network.layers(part), u[block]
            for i in reversed(range(len(grads))):
                product = np.matmul if d.shape[1] > 1 else np.dot  # which alone stays in BLAS for one column
                product(self.inputs[i][block].T, d, out=grads[i])
                if i:  # through Wᵀ and φ′ to the layer below; the constant's column leads nowhere
                    back = self.new(f"back {i}", (len(d), len(grads[i])), total.dtype)
                    product(d, self.layers[i].T, out=back)
                    back *= slopes[i - 1]
                    d = back[:, :-1]
            if block.start:
                total += part
        return total

    def jvp(self, v: Vector) -> Array:
        out = self.new("jvp", self.value.shape, self.value.dtype)
        for k, block in enumerate(self.blocks()):
            slopes, d, rows = self.hidden_slopes(k), out[:0], len(self.value[block])
            for i, (w, dw) in enumerate(zip(self.layers, self.network.layers(v), strict=True)):
                last = i == len(self.layers) - 1
                ahead = out[block] if last else self.new(f"ahead {i}", (rows, w.shape[1]), out.dtype)
                np.matmul(self.inputs[i][block], dw, out=ahead)
                if i:  # what the layers below pass on
                    ahead += np.matmul(d, w[:-1], out=self.new(f"through {i}", ahead.shape, out.dtype))
                if not last:
                    ahead *= slopes[i][:, :-1]
                d = ahead
        return out
