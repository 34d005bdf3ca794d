"""The critic V_ψ: values, the loss Σ Â² of the worker, and the two gradients that go by its name.

With Â = R + γ V_ψ(S′) − V_ψ(S), the printed g_ψ = ∇_ψ Σ Â² differentiates the target R + γ V_ψ(S′) as well:
the residual gradient. What A2C and A3C implement holds the target fixed: the semi-gradient. Their fixed
points differ unless the environment is deterministic, and only the semi-gradient's is V^π (Baird 1995).

Imports NumPy only; knows nothing of policies or algorithms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import (
    Array,
    Vector,
    Workspace,
    as_array,
    in_precision,
    in_unit_interval,
    positive,
    require_finite,
)
from pgref.errors import ShapeError
from pgref.networks import Network


class Transitions(NamedTuple):
    """What a worker has stored: N transitions, in any order."""

    obs: Array  # [N, …] S
    rewards: Array  # [N] R
    next_obs: Array  # [N, …] S′, what the action led to
    terminated: Array  # [N] bool: the episode ended there, so V(S′) counts as 0


class Values(NamedTuple):
    """What a batch of observations says about ψ."""

    values: Array  # [N] V_ψ(s)
    value_sum_grad: Callable[[Array], Vector]  # w [N] ↦ Σ_n w_n ∇V_ψ(s_n) [P]


class ValueStep(NamedTuple):
    """What one pass over a batch gives a critic."""

    gradient: Vector  # [P] ∇`value_loss`
    loss: float  # `value_loss`, in the squared units of the targets


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
        with np.errstate(over="ignore", invalid="ignore"):  # looked at before it is returned
            return self.network.forward(psi, work)(self.network.checked(obs))[:, 0]

    def value_sum_grad(
        self, psi: Vector, obs: Array, weights: Array, work: Workspace | None = None
    ) -> Vector:
        """Return Σ_n w_n ∇V_ψ(s_n), [P]."""
        return self.linearize(psi, obs, work).value_sum_grad(weights)

    def linearize(self, psi: Vector, obs: Array, work: Workspace | None = None) -> Values:
        """Return V_ψ(s) and the sums w ↦ Σ_n w_n ∇V_ψ(s_n), from one forward pass."""
        value, _, vjp = self.network.linearize(psi, obs, work)

        def value_sum_grad(weights: Array) -> Vector:
            w = as_array("weights", weights, (len(value),), "c" if value.dtype.kind == "c" else "f")
            return vjp(in_precision("weights", w, value.dtype)[:, None])

        return Values(value[:, 0], value_sum_grad)


def td_advantages(
    critic: Critic, psi: Vector, batch: Transitions, discount: float, work: Workspace | None = None
) -> Array:
    """Return Â = R + γ V_ψ(S′) − V_ψ(S), [N]; V_ψ(S′) is 0 where the episode terminated."""
    value, following, rewards, factor = _parts(critic, psi, batch, discount, work)
    return np.asarray(rewards + factor * following - value)


def td_loss(
    critic: Critic, psi: Vector, batch: Transitions, discount: float, work: Workspace | None = None
) -> float:
    """Return Σ_n Â_n², the worker's critic loss: a sum, without a ½."""
    advantages = td_advantages(critic, psi, batch, discount, work)
    loss: float = (advantages @ advantages).item()
    return loss


def semi_gradient(
    critic: Critic, psi: Vector, batch: Transitions, discount: float, work: Workspace | None = None
) -> Vector:
    """Return −2 Σ_n Â_n ∇V_ψ(S_n), [P]: the gradient of Σ Â² with the target held fixed."""
    advantages = td_advantages(critic, psi, batch, discount, work)
    return critic.value_sum_grad(psi, batch.obs, -2 * advantages, work)


def residual_gradient(
    critic: Critic, psi: Vector, batch: Transitions, discount: float, work: Workspace | None = None
) -> Vector:
    """Return 2 Σ_n Â_n (γ ∇V_ψ(S′_n) − ∇V_ψ(S_n)), [P]: ∇_ψ Σ Â² as printed."""
    value, following, rewards, factor = _parts(critic, psi, batch, discount, work)
    twice = 2 * (rewards + factor * following - value)
    ahead = critic.value_sum_grad(psi, batch.next_obs, twice * factor, work and work.part("next"))
    return ahead + critic.value_sum_grad(psi, batch.obs, -twice, work)


def value_loss(
    critic: Critic, psi: Vector, obs: Array, targets: Array, work: Workspace | None = None
) -> float:
    """Return (1/N) Σ_n (V_ψ(s_n) − G_n)² for fixed targets G [N]: a mean, without a ½."""
    return _mean_square(_errors(critic.values(psi, obs, work), targets))


def value_loss_grad(
    critic: Critic, psi: Vector, obs: Array, targets: Array, work: Workspace | None = None
) -> Vector:
    """Return the gradient of `value_loss`, (2/N) Σ_n (V_ψ(s_n) − G_n) ∇V_ψ(s_n), [P]."""
    return value_step(critic, psi, obs, targets, work).gradient


def value_step(
    critic: Critic, psi: Vector, obs: Array, targets: Array, work: Workspace | None = None
) -> ValueStep:
    """Return `value_loss_grad` and `value_loss` from one pass."""
    value, _, vjp = critic.network.linearize(psi, obs, work)
    rows, loss = value_rows(value[:, 0], targets)
    return ValueStep(vjp(rows[:, None]), loss)


def value_rows(values: Vector, targets: Array) -> tuple[Vector, float]:
    """Return the derivatives of `value_loss` in each value, (2/N)(V − G), and the loss itself."""
    errors = _errors(values, targets)
    return require_finite("weights", 2 / len(errors) * errors), _mean_square(errors)


def clipped_value_loss(
    critic: Critic,
    psi: Vector,
    obs: Array,
    targets: Array,
    old_values: Array,
    clip: float,
    work: Workspace | None = None,
) -> float:
    """Return (1/N) Σ max((V − G)², (V_clip − G)²), V_clip = V_old + clip(V − V_old, −ε, ε).

    Source: the public code of Schulman et al. 2017; their paper does not mention it.
    """
    return _mean_square(_clipped_errors(critic.values(psi, obs, work), targets, old_values, clip)[0])


def clipped_value_loss_grad(
    critic: Critic,
    psi: Vector,
    obs: Array,
    targets: Array,
    old_values: Array,
    clip: float,
    work: Workspace | None = None,
) -> Vector:
    """Return the gradient of `clipped_value_loss`, [P]; a sample whose clipped error is larger adds 0."""
    value, _, vjp = critic.network.linearize(psi, obs, work)
    return vjp(clipped_value_rows(value[:, 0], targets, old_values, clip)[:, None])


def clipped_value_rows(values: Vector, targets: Array, old_values: Array, clip: float) -> Vector:
    """Return the derivatives of `clipped_value_loss` in each value, [N]."""
    errors, moves = _clipped_errors(values, targets, old_values, clip)
    return require_finite("weights", 2 * errors * moves / len(errors))


def _parts(
    critic: Critic, psi: Vector, batch: Transitions, discount: float, work: Workspace | None
) -> tuple[Array, ...]:
    discount = in_unit_interval("discount", discount)
    value = critic.values(psi, batch.obs, work)
    following = critic.values(psi, batch.next_obs, work and work.part("next"))
    if len(following) != len(value):
        raise ShapeError(f"next_obs must be {len(value)} observations like obs, got {len(following)}")
    rewards = as_array("rewards", batch.rewards, value.shape)
    terminated = as_array("terminated", batch.terminated, value.shape, "b")
    return value, following, rewards, np.where(terminated, 0, discount)


def _like(name: str, array: Array, values: Array) -> Array:
    return in_precision(name, as_array(name, array, values.shape), values.real.dtype)


def _errors(values: Array, targets: Array) -> Array:
    return np.asarray(values - _like("targets", targets, values))


def _clipped_errors(values: Array, targets: Array, old_values: Array, clip: float) -> tuple[Array, Array]:
    """Return the larger error of each sample, and whether it moves with ψ."""
    clip = positive("clip", clip)
    targets, old = _like("targets", targets, values), _like("old_values", old_values, values)
    change = values - old
    within = np.abs(change.real) <= clip
    clipped = np.where(within, values, old + np.sign(change.real) * clip) - targets
    plain = values - targets
    outside = np.abs(clipped.real) > np.abs(plain.real)
    return np.where(outside, clipped, plain), within | ~outside


def _mean_square(errors: Array) -> float:
    mean: float = (errors @ errors / len(errors)).item()
    return mean
