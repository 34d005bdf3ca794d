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


# input, layer, output; and once a layer is whole, all sums and φ(sums)
Product: TypeAlias = "tuple[Array, Array, Array, Any, Any]"
Networks: TypeAlias = "tuple[tuple[Perceptron, int], ...]"  # each with the place where its parameters begin


class _Share(NamedTuple):
    """What one network has of a block of n rows."""

    inputs: list[Array]  # [n, in + 1] of each layer, the last column 1
    sums: list[Array]  # [n, width] of each hidden layer
    value: Array  # [n, K]


class _Block(NamedTuple):
    """A block of n rows: hidden layers of all networks together [n Σ (width + 1)], and each one's share."""

    rows: slice
    sums: list[Vector]  # with what φ maps to 1
    hidden: list[Vector]  # φ(sums)
    shares: list[_Share]


class _WayBack(NamedTuple):
    """What the derivatives of a block need besides, likewise."""

    slopes: list[Vector]  # φ′
    back: list[Vector]  # derivatives in the sums
    # of each network, layer by layer
    transposed: list[list[Array]]  # [in + 1, n] inputs
    slopes_below: list[list[Array]]  # [n, width]
    back_whole: list[list[Array]]  # [n, width + 1]
    back_below: list[list[Array]]  # [n, width] without the constant's


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
        self.scratch: dict[tuple[str, int], list[Vector]] = {}  # of all blocks; the last may have fewer rows
        self.blocks = [self._block(slice(i, min(i + BLOCK, n))) for i in range(0, n, BLOCK)]
        self.ways: list[_WayBack] = []  # of the blocks that a derivative has come to

    def way_back(self, k: int) -> _WayBack:
        """Return what the derivatives of block k need, blocks coming in turn."""
        if k == len(self.ways):
            shares, n = self.blocks[k].shares, len(self.blocks[k].shares[0].value)
            slopes, back = self._vectors(n), self._shared("back", n)
            whole = [self._matrices(back, n, i) for i in range(len(shares))]
            self.ways.append(
                _WayBack(
                    slopes,
                    back,
                    [[array.T for array in share.inputs] for share in shares],
                    [_below(self._matrices(slopes, n, i)) for i in range(len(shares))],
                    whole,
                    [_below(arrays) for arrays in whole],
                )
            )
        return self.ways[k]

    def _block(self, rows: slice) -> _Block:
        n = rows.stop - rows.start
        sums, hidden, shares = self._shared("sums", n), self._vectors(n), []
        for i, (network, _) in enumerate(self.networks):
            z = self._matrices(sums, n, i)
            for array in z:
                array[:, -1] = ACTIVATIONS[network.activation].one
            h = self._matrices(hidden, n, i)
            shares.append(_Share([self.x[rows], *h], _below(z), self.values[i][rows]))
        return _Block(rows, sums, hidden, shares)

    def _shared(self, name: str, n: int) -> list[Vector]:
        key = name, n
        if key not in self.scratch:
            self.scratch[key] = self._vectors(n)
        return self.scratch[key]

    def _vectors(self, n: int) -> list[Vector]:
        return [np.empty(n * columns[-1], self.dtype) for columns in self.columns]

    def _matrices(self, vectors: list[Vector], n: int, i: int) -> list[Array]:
        """Return the share of network i of each layer, [n, width + 1]."""
        return [
            vector[n * columns[i] : n * columns[i + 1]].reshape(n, -1)
            for vector, columns in zip(vectors, self.columns, strict=True)
        ]


def _below(matrices: list[Array]) -> list[Array]:
    """Return the columns that lead on, all but the constant's."""
    return [array[:, :-1] for array in matrices]


@dataclass
class Pass:
    """A pass, and what its Jacobian products need of it."""

    networks: Networks
    weights: Vector
    layers: list[list[Array]]  # views of the weights, network by network
    memory: _Memory
    products: list[Product]  # in their order
    new: Scratch
    sloped: int = 0  # blocks whose slopes are made: when a product first comes there, its rows in the cache

    def forward(self, obs: Array) -> list[Array]:
        """Return the outputs [N, K] of each network."""
        apply, memory = ACTIVATIONS[self.networks[0][0].activation].apply, self.memory
        memory.seen[:] = in_precision("observations", obs, self.weights.real.dtype)
        self.sloped = 0
        for x, w, out, sums, hidden in self.products:
            np.matmul(x, w, out)
            if hidden is not None:
                apply(sums, hidden)
        return [require_finite("network output", value) for value in memory.values]

    def vjp(self, u: Array) -> Vector:
        """Return Jᵀu of a network alone."""
        return self.gradient(self.new("vjp", self.weights.shape, self.weights.dtype), [u])

    def gradient(self, total: Vector, directions: list[Array]) -> Vector:
        """Return `total` with each network's Jᵀu written where its parameters are, and nowhere else."""
        for k, block in enumerate(self.memory.blocks):
            into = _views(self.networks, self.memory.part if k else total)
            self._back(k, [u[block.rows] for u in directions], into)
            if k:
                total += self.memory.part
        return total

    def jvp(self, v: Vector) -> Array:
        """Return Jv of a network alone."""
        out, ((network, _),) = self.new("jvp", self.memory.values[0].shape, self.weights.dtype), self.networks
        for k, block in enumerate(self.memory.blocks):
            (slopes,), (share,), d = self._way_back(k).slopes_below, block.shares, out  # d: of no use yet
            for i, (w, dw) in enumerate(zip(self.layers[0], network.layers(v), strict=True)):
                ahead = self.new(f"ahead {i}", (len(share.value), w.shape[1]), out.dtype)
                np.matmul(share.inputs[i], dw, out=ahead)
                if i:  # what the layers below pass on
                    ahead += np.matmul(d, w[:-1], out=self.new(f"through {i}", ahead.shape, out.dtype))
                if i < len(slopes):
                    ahead *= slopes[i]
                d = ahead
            out[block.rows] = d
        return out

    def _back(self, k: int, d: list[Array], into: list[list[Array]]) -> None:
        slopes, back, transposed, _, whole, below = self._way_back(k)
        for i in reversed(range(len(slopes) + 1)):
            for j, layers in enumerate(self.layers):
                product = np.matmul if d[j].shape[1] > 1 else np.dot  # for one column dot alone is BLAS
                product(transposed[j][i], d[j], out=into[j][i])
                if i:  # through Wᵀ to the layer below; the constant's column leads nowhere
                    product(d[j], layers[i].T, out=whole[j][i - 1])
                    d[j] = below[j][i - 1]
            if i:  # and through φ′
                np.multiply(back[i - 1], slopes[i - 1], out=back[i - 1])

    def _way_back(self, k: int) -> _WayBack:
        way = self.memory.way_back(k)
        if k == self.sloped:
            for h, slope in zip(self.memory.blocks[k].hidden, way.slopes, strict=True):
                ACTIVATIONS[self.networks[0][0].activation].slope(h, slope)
            self.sloped += 1
        return way


def side_by_side(networks: Networks, weights: Vector, n: int, work: Workspace | None) -> Pass:
    """Return a pass of networks of one depth and activation over n observations that they all see."""
    key = networks, len(weights), n, weights.dtype
    most = 4 if n <= BLOCK else 1  # small batches of some lengths take turns: those that end episodes, a rest
    memory = work.kept("pass", key, partial(_Memory, *key), most) if work else _Memory(*key)
    layers = _views(networks, weights)
    return Pass(networks, weights, layers, memory, _products(memory, layers), scratch(work))


def _products(memory: _Memory, layers: list[list[Array]]) -> list[Product]:
    last, products = len(layers) - 1, []
    for _, sums, hidden, shares in memory.blocks:
        for i in range(len(layers[0])):
            for j, share in enumerate(shares):
                inside = i < len(hidden)
                out = share.sums[i] if inside else share.value
                whole = (sums[i], hidden[i]) if inside and j == last else (None, None)
                products.append((share.inputs[i], layers[j][i], out, *whole))
    return products


def _views(networks: Networks, vector: Vector) -> list[list[Array]]:
    return [network.layers(vector[start:]) for network, start in networks]
