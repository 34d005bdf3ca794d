"""What the algorithms share from a gradient to the next weights: schedules, clipping, optimisers, V_ψ's fit.

Everything here that the text does not have is a knob, and off until it is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pgref.arrays import (
    Array,
    Vector,
    Workspace,
    count,
    in_unit_interval,
    non_negative,
    positive,
    require_finite,
)
from pgref.critic import Critic, value_step
from pgref.errors import NonFiniteError
from pgref.estimates import normalise_advantages
from pgref.knobs import flag, knob, one_of, optional
from pgref.optimizers import adam, adam_init, rmsprop, rmsprop_init, sgd, sgd_init
from pgref.task import Networks

FLOOR = 0.01  # of a step size that falls: the budget's last hundredth, and whatever is learned after it
OPTIMIZERS: dict[str, Any] = {
    "sgd": (sgd_init, sgd),
    "rmsprop": (rmsprop_init, rmsprop),
    "adam": (adam_init, adam),
}


@dataclass(frozen=True, kw_only=True)
class Acting(Networks):
    """Knobs of every algorithm: how much is acted between updates, and what is seen of it."""

    n_envs: int = knob(8, count, "environments stepped side by side, E", unit="environments")
    n_steps: int = knob(128, count, "steps of each environment for one update, T", unit="steps")
    discount: float = knob(0.99, in_unit_interval, "discount γ")
    normalise_obs: bool = knob(False, flag, "observations to mean 0 and variance 1, by running moments")
    scale_rewards: bool = knob(False, flag, "rewards in units of the discounted return's standard deviation")
    anneal_over: int | None = knob(
        None,
        optional(count),
        "steps over which step sizes (and PPO's clip) fall linearly, to a hundredth",
        unit="steps",
    )

    def seen_as(self) -> dict[str, Any]:
        """Return the settings that `rollout.collect` takes."""
        names = ("normalise_obs", "scale_rewards", "discount")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class CriticFit(Acting):
    """Knobs of the algorithms that fit V_ψ by regression beside the policy's step."""

    trace: float = knob(1.0, in_unit_interval, "λ of GAE; 1: return less V", source="Schulman et al. 2016")
    normalise_advantages: bool = knob(False, flag, "advantages to mean 0 and standard deviation 1")
    critic_step: float = knob(1e-3, positive, "Adam's step size for ψ")
    critic_epochs: int = knob(10, count, "passes of the critic over the samples", unit="passes")
    critic_minibatch: int = knob(128, count, "samples in each of the critic's steps", unit="samples")


@dataclass(frozen=True, kw_only=True)
class Stepping(Acting):
    """Knobs of the algorithms that step θ and ψ together, by one optimiser."""

    step: float = knob(7e-4, positive, "η_θ")
    critic_step: float = knob(7e-4, positive, "η_ψ")
    optimizer: str = knob("sgd", one_of(*OPTIMIZERS), "what is done with a gradient; sgd is the text")
    entropy: float = knob(
        0.0, non_negative, "weight of the entropy in the surrogate", source="Mnih et al. 2016"
    )
    critic_weight: float = knob(1.0, positive, "factor on g_ψ before both gradients are clipped together")
    max_norm: float | None = knob(None, optional(positive), "longest gradient, both parts together")


@dataclass(frozen=True, kw_only=True)
class Working(Stepping):
    """Knobs of the algorithms in which a Worker's gradients go to a Master (Algorithms 5.20 and 5.21)."""

    n_steps: int = knob(5, count, "trajectory length L of each environment", unit="steps")
    trace: float = knob(0.0, in_unit_interval, "λ of GAE; 0: the printed TD error, 1: L-step return less V")
    mean: bool = knob(False, flag, "gradients as means over the samples; off: sums, as printed")


def preferences(normalise: bool, advantages: Vector) -> tuple[Vector, str]:
    """Return the advantages, normalised if asked for, and "degenerate_advantages" if that leaves none, or "".

    Then no action is better than another, θ stays to the bit, and an update says so in its status.
    """
    if not normalise:
        return advantages, ""
    values, status = normalise_advantages(advantages)
    return values, status if status == "degenerate_advantages" else ""


def remaining(config: Acting, steps: int) -> float:
    """Return what is left of the step size after so many environment steps: 1 unless it is annealed."""
    return 1.0 if config.anneal_over is None else max(1.0 - steps / config.anneal_over, FLOOR)


def limited(gradient: Vector, max_norm: float | None) -> tuple[Vector, float]:
    """Return the gradient, shortened to a length of at most `max_norm` unless that is None, and its length.

    Raises:
        NonFiniteError: the length is NaN or infinite.
    """
    g = gradient.astype(np.float64, copy=False)  # no float32's square overflows
    norm = math.sqrt(np.vdot(g, g))
    if not math.isfinite(norm):
        raise NonFiniteError(f"the gradient's length must be finite, got {norm}")
    if max_norm is not None and norm > max_norm:
        gradient = gradient * (max_norm / norm)
    return gradient, norm


def step_init(config: Stepping, weights: Vector) -> Any:
    """Return the optimiser's state before its first gradient."""
    return OPTIMIZERS[config.optimizer][0](weights)


def step_both(
    config: Stepping, slots: Any, weights: Vector, gradient: Vector, n_theta: int, factor: float
) -> tuple[Any, Vector, float]:
    """Return the optimiser's state, the weights after the step, and the gradient's length; see `change`.

    Raises:
        NonFiniteError: the gradient or the weights after the step are NaN or infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # looked at here
        slots, update, norm = change(config, slots, gradient, n_theta, factor)
        return slots, require_finite("weights", weights + update), norm


def change(
    config: Stepping, slots: Any, gradient: Vector, n_theta: int, factor: float
) -> tuple[Any, Vector, float]:
    """Return the optimiser's state, what is to be added to the weights, and the gradient's length.

    The gradient [P + Q] is the direction to go, (g_θ, −g_ψ): θ + η_θ g_θ and ψ − η_ψ g_ψ (Algorithm 5.21).

    Raises:
        NonFiniteError: the gradient or the optimiser's state is NaN or infinite.
    """
    gradient, norm = limited(gradient, config.max_norm)
    slots, update = OPTIMIZERS[config.optimizer][1](slots, gradient, factor * config.step)
    require_finite_slots(slots)
    if config.critic_step != config.step:
        update[n_theta:] *= config.critic_step / config.step  # every optimiser's update is linear in η
    return slots, update, norm


def require_finite_slots(slots: Any) -> None:
    """Require an optimiser's state to be finite, or raise NonFiniteError: a gradient's square may not be."""
    for name, slot in zip(slots._fields, slots, strict=True):
        if name != "steps":
            require_finite(name, slot)


def minibatches(n: int, size: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield the rows 0 … n − 1 in random order, `size` at a time; the last ones may be fewer."""
    order = rng.permutation(n)
    for first in range(0, n, size):
        yield order[first : first + size]


@np.errstate(over="ignore", invalid="ignore")  # looked at below
def fit_critic(
    critic: Critic,
    psi: Vector,
    slots: Any,
    obs: Array,
    targets: Vector,
    config: CriticFit,
    rng: np.random.Generator,
    factor: float,
    work: Workspace | None = None,
) -> tuple[Vector, Any, float]:
    """Return ψ after Adam's steps down (1/N) Σ (V_ψ − G)², Adam's state, and the mean loss of the last pass.

    Raises:
        NonFiniteError: a loss, a gradient or ψ is NaN or infinite.
    """
    for _ in range(config.critic_epochs):
        squares = 0.0
        for rows in minibatches(len(obs), config.critic_minibatch, rng):
            gradient, loss = value_step(critic, psi, obs.take(rows, 0), targets.take(rows), work)
            squares += loss * len(rows)
            slots, update = adam(slots, gradient, factor * config.critic_step)
            psi = psi - update
    require_finite_slots(slots)
    return require_finite("psi", psi), slots, squares / len(obs)
