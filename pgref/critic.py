"""The critic V_ψ: values, the loss Σ Â² of the worker, and the two gradients that go by its name.

With Â = R + γ V_ψ(S′) − V_ψ(S), the printed g_ψ = ∇_ψ Σ Â² differentiates the target R + γ V_ψ(S′) as well:
the residual gradient. What A2C and A3C implement holds the target fixed: the semi-gradient. Their fixed
points differ unless the environment is deterministic, and only the semi-gradient's is V^π (Baird 1995).

Imports NumPy only; knows nothing of policies or algorithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, Vector, Workspace, as_array, in_precision, in_unit_interval, positive
from pgref.errors import ShapeError
from pgref.networks import Network


class Transitions(NamedTuple):
    """What a worker has stored: N transitions, in any order."""

    obs: Array  # [N, …] S
    rewards: Array  # [N] R
    next_obs: Array  # [N, …] S′, what the action led to
    terminated: Array  # [N] bool: the episode ended there, so V(S′) counts as 0


@dataclass(frozen=True)
class Critic:
    """State values V_ψ(s) from a network with one output; ψ is one flat vector [P], always an argument.

    >>> from pgref.networks import Table
    >>> Critic(Table(n_states=2, n_outputs=1)).values(np.array([3.0, 5.0]), [1, 0])
    array([5., 3.])
    """

    network: Network

    def __post_init__(self) -> None:
        if self.network.n_outputs != 1:
            raise ShapeError(f"a critic has 1 output, got {self.network.n_outputs}")

    @property
    def n_params(self) -> int:
        """P, the length of ψ."""
        return self.network.n_params

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> Vector:
        """Draw a first ψ [P]."""
        return self.network.init(rng, dtype)

    def values(self, psi: Vector, obs: Array, work: Workspace | None = None) -> Array:
        """Return V_ψ(s), [N]."""
        return self.network.linearize(psi, obs, work).value[:, 0]

    def value_sum_grad(
        self, psi: Vector, obs: Array, weights: Array, work: Workspace | None = None
    ) -> Vector:
        """Return Σ_n w_n ∇V_ψ(s_n), [P]."""
        value, _, vjp = self.network.linearize(psi, obs, work)
        weights = as_array("weights", weights, (len(value),), "c" if value.dtype.kind == "c" else "f")
        return vjp(in_precision("weights", weights, value.dtype)[:, None])


def td_advantages(critic: Critic, psi: Vector, batch: Transitions, discount: float) -> Array:
    """Return Â = R + γ V_ψ(S′) − V_ψ(S), [N]; V_ψ(S′) is 0 where the episode terminated."""
    value, following, rewards, factor = _parts(critic, psi, batch, discount)
    return np.asarray(rewards + factor * following - value)


def td_loss(critic: Critic, psi: Vector, batch: Transitions, discount: float) -> float:
    """Return Σ_n Â_n², the worker's critic loss: a sum, without a ½."""
    advantages = td_advantages(critic, psi, batch, discount)
    loss: float = (advantages @ advantages).item()
    return loss


def semi_gradient(critic: Critic, psi: Vector, batch: Transitions, discount: float) -> Vector:
    """Return −2 Σ_n Â_n ∇V_ψ(S_n), [P]: the gradient of Σ Â² with the target held fixed."""
    advantages = td_advantages(critic, psi, batch, discount)
    return critic.value_sum_grad(psi, batch.obs, -2 * advantages)


def residual_gradient(critic: Critic, psi: Vector, batch: Transitions, discount: float) -> Vector:
    """Return 2 Σ_n Â_n (γ ∇V_ψ(S′_n) − ∇V_ψ(S_n)), [P]: ∇_ψ Σ Â² as printed."""
    advantages = td_advantages(critic, psi, batch, discount)
    factor = _parts(critic, psi, batch, discount)[3]
    ahead = critic.value_sum_grad(psi, batch.next_obs, 2 * advantages * factor)
    return ahead + semi_gradient(critic, psi, batch, discount)


def value_loss(critic: Critic, psi: Vector, obs: Array, targets: Array) -> float:
    """Return (1/N) Σ_n (V_ψ(s_n) − G_n)² for fixed targets G [N]: a mean, without a ½."""
    errors = _errors(critic, psi, obs, targets)
    loss: float = (errors @ errors / len(errors)).item()
    return loss


def value_loss_grad(critic: Critic, psi: Vector, obs: Array, targets: Array) -> Vector:
    """Return the gradient of `value_loss`, (2/N) Σ_n (V_ψ(s_n) − G_n) ∇V_ψ(s_n), [P]."""
    errors = _errors(critic, psi, obs, targets)
    return critic.value_sum_grad(psi, obs, 2 * errors / len(errors))


def clipped_value_loss(
    critic: Critic, psi: Vector, obs: Array, targets: Array, old_values: Array, clip: float
) -> float:
    """Return (1/N) Σ max((V − G)², (V_clip − G)²), V_clip = V_old + clip(V − V_old, −ε, ε).

    Source: the public code of Schulman et al. 2017; their paper does not mention it.
    """
    errors, _ = _clipped_errors(critic, psi, obs, targets, old_values, clip)
    loss: float = (errors @ errors / len(errors)).item()
    return loss


def clipped_value_loss_grad(
    critic: Critic, psi: Vector, obs: Array, targets: Array, old_values: Array, clip: float
) -> Vector:
    """Return the gradient of `clipped_value_loss`, [P]; a sample whose clipped error is larger adds 0."""
    errors, moves = _clipped_errors(critic, psi, obs, targets, old_values, clip)
    return critic.value_sum_grad(psi, obs, 2 * errors * moves / len(errors))


def _parts(critic: Critic, psi: Vector, batch: Transitions, discount: float) -> tuple[Array, ...]:
    discount = in_unit_interval("discount", discount)
    value, following = critic.values(psi, batch.obs), critic.values(psi, batch.next_obs)
    if len(following) != len(value):
        raise ShapeError(f"next_obs must be {len(value)} observations like obs, got {len(following)}")
    rewards = as_array("rewards", batch.rewards, value.shape)
    terminated = as_array("terminated", batch.terminated, value.shape, "b")
    return value, following, rewards, np.where(terminated, 0, discount)


def _like(name: str, array: Array, values: Array) -> Array:
    return in_precision(name, as_array(name, array, values.shape), values.real.dtype)


def _errors(critic: Critic, psi: Vector, obs: Array, targets: Array) -> Array:
    values = critic.values(psi, obs)
    return np.asarray(values - _like("targets", targets, values))


def _clipped_errors(
    critic: Critic, psi: Vector, obs: Array, targets: Array, old_values: Array, clip: float
) -> tuple[Array, Array]:
    """Return the larger error of each sample, and whether it moves with ψ."""
    clip = positive("clip", clip)
    values = critic.values(psi, obs)
    targets, old = _like("targets", targets, values), _like("old_values", old_values, values)
    change = values - old
    within = np.abs(change.real) <= clip
    clipped = np.where(within, values, old + np.sign(change.real) * clip) - targets
    plain = values - targets
    outside = np.abs(clipped.real) > np.abs(plain.real)
    return np.where(outside, clipped, plain), within | ~outside
