"""One forward pass of perceptrons side by side, and the products with its Jacobian, block of rows by block.

What is done number by number, activations and their slopes, is done for all networks at once; a network
alone is the case of one. The arrays and their views are kept from one pass to the next, since finding them
takes a small batch longer than filling them.

Imports NumPy only; whoever calls has looked at the arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from pgref.arrays import Array, Scratch, Vector, Workspace, in_precision, require_finite, scratch

BLOCK = 1024  # rows worked on together, so that their activations stay in the cache


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


class Perceptron(Protocol):
    """What a pass needs of a network."""

    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def activation(self) -> str: ...
    def layers(self, theta: Vector) -> list[Array]: ...


Networks: TypeAlias = "tuple[tuple[Perceptron, int], ...]"  # each with the place where its parameters begin


class _Share(NamedTuple):
    """What one network has of a block of n rows."""

    inputs: list[Array]  # [n, in + 1] of each layer, the last column 1
    transposed: list[Array]  # [in + 1, n] the same
    sums: list[Array]  # [n, width] of each hidden layer
    value: Array  # [n, K]
    slopes: list[Array]  # [n, width] φ′
    back: list[Array]  # [n, width + 1] derivatives in the sums of each hidden layer
    below: list[Array]  # [n, width] the same without the constant's


class _Block(NamedTuple):
    """A block of n rows: hidden layers of all networks together [n Σ (width + 1)], and each one's share."""

    rows: slice
    sums: list[Vector]  # with what φ maps to 1
    hidden: list[Vector]  # φ(sums)
    slopes: list[Vector]  # φ′
    back: list[Vector]  # derivatives in the sums
    shares: list[_Share]


class _Memory:
    """The arrays of a pass over N rows, and their views."""

    def __init__(self, networks: Networks, size: int, n: int, dtype: Any) -> None:
        self.networks, self.dtype, sizes = networks, dtype, [network.sizes for network, _ in networks]
        # of each hidden layer: the columns before each network's, and all
        self.columns = [[0, *accumulate(k + 1 for k in layer)] for layer in zip(*sizes, strict=True)][1:-1]
        self.x = np.empty((n, sizes[0][0] + 1), dtype)
        self.x[:, -1] = 1
        self.seen, self.values = self.x[:, :-1], [np.empty((n, widths[-1]), dtype) for widths in sizes]
        self.part = np.zeros(size, dtype)  # Jᵀu of a block; 0 between the networks
        self.blocks: list[_Block] = []
        scratch: dict[int, tuple[list[Vector], list[Vector]]] = {}  # by rows: the last block may have fewer
        for first in range(0, n, BLOCK):
            rows = min(BLOCK, n - first)
            scratch[rows] = scratch.get(rows) or (self._vectors(rows), self._vectors(rows))
            self.blocks.append(self._block(slice(first, first + rows), rows, *scratch[rows]))

    def _block(self, rows: slice, n: int, sums: list[Vector], back: list[Vector]) -> _Block:
        hidden, slopes, shares = self._vectors(n), self._vectors(n), []
        for i, (network, _) in enumerate(self.networks):
            h, z, d, slope = (self._matrices(vectors, n, i) for vectors in (hidden, sums, back, slopes))
            for array in z:
                array[:, -1] = ACTIVATIONS[network.activation].one
            inputs = [self.x[rows], *h]
            shares.append(
                _Share(
                    inputs,
                    [array.T for array in inputs],
                    [array[:, :-1] for array in z],
                    self.values[i][rows],
                    [array[:, :-1] for array in slope],
                    d,
                    [array[:, :-1] for array in d],
                )
            )
        return _Block(rows, sums, hidden, slopes, back, shares)

    def _vectors(self, n: int) -> list[Vector]:
        return [np.empty(n * columns[-1], self.dtype) for columns in self.columns]

    def _matrices(self, vectors: list[Vector], n: int, i: int) -> list[Array]:
        """Return the share of network i of each layer, [n, width + 1]."""
        return [
            vector[n * columns[i] : n * columns[i + 1]].reshape(n, -1)
            for vector, columns in zip(vectors, self.columns, strict=True)
        ]


@dataclass
class Pass:
    """A pass, and what its Jacobian products need of it."""

    networks: Networks
    weights: Vector
    layers: list[list[Array]]  # views of the weights, network by network
    memory: _Memory
    new: Scratch
    sloped: int = 0  # blocks whose slopes are made: when a product first comes there, its rows in the cache

    def forward(self, obs: Array) -> list[Array]:
        """Return the outputs [N, K] of each network."""
        apply, memory = ACTIVATIONS[self.networks[0][0].activation].apply, self.memory
        memory.seen[:] = in_precision("observations", obs, self.weights.real.dtype)
        self.sloped = 0
        for _, sums, hidden, _, _, shares in memory.blocks:
            for i, (z, h) in enumerate(zip(sums, hidden, strict=True)):
                for share, layers in zip(shares, self.layers, strict=True):
                    np.matmul(share.inputs[i], layers[i], out=share.sums[i])
                apply(z, h)
            for share, layers in zip(shares, self.layers, strict=True):
                np.matmul(share.inputs[-1], layers[-1], out=share.value)
        return [require_finite("network output", value) for value in memory.values]

    def vjp(self, u: Array) -> Vector:
        """Return Jᵀu of a network alone."""
        return self.gradient(self.new("vjp", self.weights.shape, self.weights.dtype), [u])

    def gradient(self, total: Vector, directions: list[Array]) -> Vector:
        """Return `total` with each network's Jᵀu written where its parameters are, and nowhere else."""
        for k, block in enumerate(self.memory.blocks):
            into = _views(self.networks, self.memory.part if k else total)
            self._products(k, block, [u[block.rows] for u in directions], into)
            if k:
                total += self.memory.part
        return total

    def jvp(self, v: Vector) -> Array:
        """Return Jv of a network alone."""
        out, ((network, _),) = self.new("jvp", self.memory.values[0].shape, self.weights.dtype), self.networks
        for k, block in enumerate(self.memory.blocks):
            self._slopes(k)
            d, (share,) = out, block.shares  # d: of no use yet
            for i, (w, dw) in enumerate(zip(self.layers[0], network.layers(v), strict=True)):
                ahead = self.new(f"ahead {i}", (len(share.value), w.shape[1]), out.dtype)
                np.matmul(share.inputs[i], dw, out=ahead)
                if i:  # what the layers below pass on
                    ahead += np.matmul(d, w[:-1], out=self.new(f"through {i}", ahead.shape, out.dtype))
                if i < len(share.slopes):
                    ahead *= share.slopes[i]
                d = ahead
            out[block.rows] = d
        return out

    def _products(self, k: int, block: _Block, d: list[Array], into: list[list[Array]]) -> None:
        slopes = self._slopes(k)
        for i in reversed(range(len(slopes) + 1)):
            for j, share in enumerate(block.shares):
                product = (
                    np.matmul if d[j].shape[1] > 1 else np.dot
                )  # which alone stays in BLAS for one column
                product(share.transposed[i], d[j], out=into[j][i])
                if i:  # through Wᵀ to the layer below; the constant's column leads nowhere
                    product(d[j], self.layers[j][i].T, out=share.back[i - 1])
                    d[j] = share.below[i - 1]
            if i:  # and through φ′
                np.multiply(block.back[i - 1], slopes[i - 1], out=block.back[i - 1])

    def _slopes(self, k: int) -> list[Array]:
        block = self.memory.blocks[k]
        if k == self.sloped:
            for h, slope in zip(block.hidden, block.slopes, strict=True):
                ACTIVATIONS[self.networks[0][0].activation].slope(h, slope)
            self.sloped += 1
        return block.slopes


def side_by_side(networks: Networks, weights: Vector, n: int, work: Workspace | None) -> Pass:
    """Return a pass of networks of one depth and activation over n observations that they all see."""
    key = networks, len(weights), n, weights.dtype
    memory = work.kept("pass", key, partial(_Memory, *key)) if work else _Memory(*key)
    return Pass(networks, weights, _views(networks, weights), memory, scratch(work))


def _views(networks: Networks, vector: Vector) -> list[list[Array]]:
    return [network.layers(vector[start:]) for network, start in networks]
