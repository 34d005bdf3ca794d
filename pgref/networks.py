"""Differentiable maps from observations to outputs: the MLP, a table, and outputs that no observation moves.

Each is a frozen description; its parameters θ [P] are an argument. What they share is `linearize`: the
outputs and both products with their Jacobian.

Imports NumPy only; knows nothing of distributions, policies or environments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from pgref.arrays import Array, Scratch, Vector, Workspace, as_batch, as_parameters, count, scratch
from pgref.errors import ArgumentError
from pgref.mlp import MLP, Linearization
from pgref.passes import side_by_side

__all__ = ["MLP", "Linearization", "Network", "Table", "WithFreeOutputs"]


class Network(Protocol):
    """What a policy or a critic needs of a network."""

    @property
    def n_params(self) -> int: ...
    @property
    def n_outputs(self) -> int: ...
    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> Vector: ...
    def checked(self, obs: Array) -> Array: ...
    def linearize(self, theta: Vector, obs: Array, work: Workspace | None = None) -> Linearization: ...
    def forward(self, theta: Vector, work: Workspace | None = None) -> Callable[[Array], Array]: ...


@dataclass(frozen=True)
class Table:
    """One row of outputs for each state: obs holds state indices [N], θ is the table [S, K] laid flat."""

    n_states: int
    n_outputs: int

    def __post_init__(self) -> None:
        count("n_states", self.n_states)
        count("n_outputs", self.n_outputs)

    @property
    def n_params(self) -> int:
        return self.n_states * self.n_outputs

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> Vector:
        """Return θ [P] = 0, for a policy the uniform one; `rng` is not used."""
        return np.zeros(self.n_params, dtype)

    def linearize(self, theta: Vector, obs: Array, work: Workspace | None = None) -> Linearization:
        """Return the rows [N, K] of the states [N], and the Jacobian products there.

        Raises:
            ArgumentError: a state outside 0 … S − 1; as `MLP.linearize` besides.
        """
        theta, new = as_parameters("theta", theta, self.n_params), scratch(work)
        states = self.checked(obs)

        def vjp(u: Array) -> Vector:
            out = new("vjp", theta.shape, theta.dtype)
            out[:] = 0
            np.add.at(out.reshape(-1, self.n_outputs), states, u)
            return out

        return Linearization(
            self._rows(theta, states, new, "value"), lambda v: self._rows(v, states, new, "jvp"), vjp
        )

    def forward(self, theta: Vector, work: Workspace | None = None) -> Callable[[Array], Array]:
        """Return states [N] ↦ rows [N, K] at a θ that is checked here, once; see `MLP.forward`."""
        theta, new = as_parameters("theta", theta, self.n_params), scratch(work)
        return lambda states: self._rows(theta, self.checked(states), new, "value")

    def checked(self, obs: Array) -> Array:
        """Return states [N], or raise what `linearize` raises for those it cannot use."""
        states = as_batch("observations", obs, (None,), "i")
        if states.min() < 0 or states.max() >= self.n_states:
            raise ArgumentError(
                f"observations must be states 0 to {self.n_states - 1}, got {states.min()} to {states.max()}"
            )
        return states

    def _rows(self, table: Vector, states: Array, new: Scratch, name: str) -> Array:
        out = new(name, (len(states), self.n_outputs), table.dtype)
        return np.take(table.reshape(-1, self.n_outputs), states, 0, out=out, mode="clip")


@dataclass(frozen=True)
class WithFreeOutputs:
    """A network with `n_free` more outputs that are parameters themselves: a log σ that no state moves.

    θ is the network's parameters, then the free outputs; init gives them 0.
    """

    network: Network
    n_free: int

    def __post_init__(self) -> None:
        count("n_free", self.n_free)

    @property
    def n_params(self) -> int:
        return self.network.n_params + self.n_free

    @property
    def n_outputs(self) -> int:
        return self.network.n_outputs + self.n_free

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> Vector:
        """Return θ [P]: the network's own start, and 0 for the free outputs."""
        return np.concatenate([self.network.init(rng, dtype), np.zeros(self.n_free, dtype)])

    def checked(self, obs: Array) -> Array:
        """Return the observations as the network takes them."""
        return self.network.checked(obs)

    def linearize(self, theta: Vector, obs: Array, work: Workspace | None = None) -> Linearization:
        """Return the outputs [N, K + n_free] and the Jacobian products; raises what the network raises."""
        theta = as_parameters("theta", theta, self.n_params)
        split, inside = self.network.n_params, self.network.n_outputs
        inner, new = self.network.linearize(theta[:split], obs, work and work.part("network")), scratch(work)

        def vjp(u: Array) -> Vector:
            out = new("vjp", theta.shape, theta.dtype)
            out[:split] = inner.vjp(u[:, :inside])
            np.sum(u[:, inside:], 0, out=out[split:])
            return out

        return Linearization(
            self.joined(inner.value, theta[split:], new, "value"),
            lambda v: self.joined(inner.jvp(v[:split]), v[split:], new, "jvp"),
            vjp,
        )

    def forward(self, theta: Vector, work: Workspace | None = None) -> Callable[[Array], Array]:
        """Return observations ↦ outputs [N, K + n_free] at a θ checked here, once; see `MLP.forward`."""
        theta, new, split = as_parameters("theta", theta, self.n_params), scratch(work), self.network.n_params
        inner = self.network.forward(theta[:split], work and work.part("network"))
        return lambda obs: self.joined(inner(obs), theta[split:], new, "value")

    def joined(self, outputs: Array, free: Vector, new: Scratch, name: str) -> Array:
        """Return the outputs [N, K] with the free ones beside them in each row."""
        out, inside = new(name, (len(outputs), self.n_outputs), outputs.dtype), outputs.shape[1]
        out[:, :inside], out[:, inside:] = outputs, free
        return out


class Both(NamedTuple):
    """What two networks say of the same observations, and the product with both their Jacobians."""

    first: Array  # [N, K]
    second: Array  # [N, L]
    vjp: Callable[[Array, Array], Vector]  # u [N, K], w [N, L] ↦ J₁ᵀu, then J₂ᵀw [P + Q]


def linearize_both(
    first: Network, second: Network, weights: Vector, obs: Array, work: Workspace | None = None
) -> Both:
    """Return the outputs of two networks, whose parameters are `weights` [P + Q], one after the other.

    Perceptrons of one depth and activation share a pass: an actor and its critic, say.

    Raises:
        As `linearize`.
    """
    split, inner = first.n_params, first.network if isinstance(first, WithFreeOutputs) else first
    weights, new = as_parameters("weights", weights, split + second.n_params), scratch(work)
    if not (isinstance(inner, MLP) and isinstance(second, MLP) and inner.goes_with(second)):
        one = first.linearize(weights[:split], obs, work and work.part("first"))
        other = second.linearize(weights[split:], obs, work and work.part("second"))
        return Both(one.value, other.value, lambda u, w: np.concatenate([one.vjp(u), other.vjp(w)]))
    obs = inner.checked(obs)
    run = side_by_side(((inner, 0), (second, split)), weights, len(obs), work)
    with np.errstate(over="ignore", invalid="ignore"):  # looked at before it is returned
        value, value_of_second = run.forward(obs)

    def vjp(u: Array, w: Array) -> Vector:
        out = new("vjp", weights.shape, weights.dtype)
        if inner is not first:
            np.sum(u[:, inner.n_outputs :], 0, out=out[inner.n_params : split])
            u = u[:, : inner.n_outputs]
        return run.gradient(out, [u, w])

    if isinstance(first, WithFreeOutputs):
        value = first.joined(value, weights[inner.n_params : split], new, "value")
    return Both(value, value_of_second, vjp)
