"""The multilayer perceptron, with its Jacobian products written out by hand.

Parameters are one flat vector θ [P], always an argument; its dtype decides the arithmetic (float32,
float64, or complex for complex-step derivatives). `linearize` makes one forward pass and hands back the
value with both Jacobian products, as often as they are wanted; every derivative here is made of them.

Imports NumPy only; knows nothing of distributions, policies or environments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
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
    """A function, its slope given its value, and a number that it maps to exactly 1."""

    apply: Callable[[Array, Array], Any]  # sums, out
    slope: Callable[[Array, Array], Any]  # value, out
    one: float


def _tanh_slope(h: Array, out: Array) -> None:
    np.multiply(h, h, out=out)
    np.subtract(1, out, out=out)


def _relu(z: Array, out: Array) -> None:
    np.maximum(z, 0, out=out)


ACTIVATIONS = {
    "tanh": Activation(np.tanh, _tanh_slope, 40.0),
    "relu": Activation(_relu, lambda h, out: np.copyto(out, h.real > 0), 1.0),
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
        run = self._pass(theta, len(obs), work)
        with np.errstate(over="ignore", invalid="ignore"):  # looked at before it is returned
            return Linearization(run.forward(obs), run.jvp, run.vjp)

    def forward(self, theta: Vector, work: Workspace | None = None) -> Callable[[Array], Array]:
        """Return observations [N, D] ↦ outputs [N, K] at a θ that is checked here, once, and not copied.

        Observations must be as `checked` returns them; NumPy may warn of an overflow before it is raised.

        Raises:
            As `linearize`, for θ at once.
        """
        theta = as_parameters("theta", theta, self.n_params)
        passes: dict[int, _Pass] = {}  # one for each N, since acting asks again and again

        def forward(obs: Array) -> Array:
            run = passes.get(len(obs)) or self._pass(theta, len(obs), work)
            if work:
                passes[len(obs)] = run
            return run.forward(obs)

        return forward

    def _pass(self, theta: Vector, n: int, work: Workspace | None) -> _Pass:
        make = partial(_Memory, self, n, theta.dtype)
        memory = work.kept("pass", (self, n, theta.dtype), make) if work else make()
        return _Pass(self, theta, self.layers(theta), memory, scratch(work))


class _Rows(NamedTuple):
    """One block of n rows: views of the arrays of a pass, or of scratch that all blocks share."""

    rows: slice
    inputs: list[Array]  # [n, in + 1] of each layer, the last column 1
    transposed: list[Array]  # [in + 1, n] the same
    sums: list[tuple[Array, Array]]  # [n, width] of each hidden layer; with the column that φ maps to 1
    value: Array  # [n, K]
    slopes: list[Array]  # [n, width + 1] φ′ of each hidden layer
    back: list[tuple[Array, Array]]  # [n, width] derivatives in the sums; with the other column
    ahead: list[Array]  # [n, out] what a product with J has come to, after each layer
    through: list[Array]  # [n, out] the part of it that comes from below


class _Memory:
    """The arrays of a pass over N rows, and their views: found once, since there are many passes."""

    def __init__(self, network: MLP, n: int, dtype: Any) -> None:
        hidden, longest = network.sizes[1:-1], min(n, BLOCK)
        inputs = [np.empty((n, width + 1), dtype) for width in network.sizes[:-1]]
        inputs[0][:, -1] = 1
        slopes = [np.empty((n, width + 1), dtype) for width in hidden]
        sums, back = ([np.empty((longest, width + 1), dtype) for width in hidden] for _ in range(2))
        for array in sums:
            array[:, -1] = ACTIVATIONS[network.activation].one
        ahead, through = ([np.empty((longest, k), dtype) for k in network.sizes[1:]] for _ in range(2))
        self.seen, self.value = inputs[0][:, :-1], np.empty((n, network.n_outputs), dtype)
        self.part = np.empty(network.n_params, dtype)  # Jᵀu of a block
        self.blocks = []
        for first in range(0, n, BLOCK):
            rows, short = slice(first, first + BLOCK), slice(n - first)
            self.blocks.append(
                _Rows(
                    rows,
                    [array[rows] for array in inputs],
                    [array[rows].T for array in inputs],
                    [(array[short, :-1], array[short]) for array in sums],
                    self.value[rows],
                    [array[rows] for array in slopes],
                    [(array[short, :-1], array[short]) for array in back],
                    [array[short] for array in ahead],
                    [array[short] for array in through],
                )
            )


@dataclass
class _Pass:
    """One forward pass, with what its Jacobian products need of it."""

    network: MLP
    theta: Vector
    layers: list[Array]  # views of θ
    memory: _Memory
    new: Scratch
    sloped: int = 0  # blocks whose slopes are made: when a product first comes there, its rows in the cache

    def forward(self, obs: Array) -> Array:
        apply, memory = ACTIVATIONS[self.network.activation].apply, self.memory
        memory.seen[:] = in_precision("observations", obs, self.theta.real.dtype)
        self.sloped = 0
        for block in memory.blocks:
            x = block.inputs[0]
            for w, (sums, with_one), h in zip(self.layers, block.sums, block.inputs[1:], strict=False):
                np.matmul(x, w, out=sums)
                apply(with_one, h)
                x = h
            np.matmul(x, self.layers[-1], out=block.value)
        return require_finite("network output", memory.value)

    def slopes(self, k: int) -> list[Array]:
        """Return φ′ of block k."""
        block = self.memory.blocks[k]
        if k == self.sloped:
            for h, slope in zip(block.inputs[1:], block.slopes, strict=True):
                ACTIVATIONS[self.network.activation].slope(h, slope)
            self.sloped += 1
        return block.slopes

    def vjp(self, u: Array) -> Vector:
        total, part = self.new("vjp", self.theta.shape, self.theta.dtype), self.memory.part
        for k, block in enumerate(self.memory.blocks):
            slopes, d, into = self.slopes(k), u[block.rows], self.network.layers(part if k else total)
            for i in reversed(range(len(into))):
                product = np.matmul if d.shape[1] > 1 else np.dot  # which alone stays in BLAS for one column
                product(block.transposed[i], d, out=into[i])
                if i:  # through Wᵀ and φ′ to the layer below; the constant's column leads nowhere
                    below, back = block.back[i - 1]
                    product(d, self.layers[i].T, out=back)
                    back *= slopes[i - 1]
                    d = below
            if k:
                total += part
        return total

    def jvp(self, v: Vector) -> Array:
        out, directions = self.new("jvp", self.memory.value.shape, self.theta.dtype), self.network.layers(v)
        for k, block in enumerate(self.memory.blocks):
            slopes, d = self.slopes(k), block.value  # of no use yet
            for i, (w, dw) in enumerate(zip(self.layers, directions, strict=True)):
                ahead = np.matmul(block.inputs[i], dw, out=block.ahead[i])
                if i:  # what the layers below pass on
                    ahead += np.matmul(d, w[:-1], out=block.through[i])
                if i < len(slopes):
                    ahead *= slopes[i][:, :-1]
                d = ahead
            out[block.rows] = d
        return out
