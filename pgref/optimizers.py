"""SGD, RMSProp and Adam as pure steps on flat vectors.

A step takes its state and a gradient g and returns the next state and the update, of the gradient's sign:
the caller writes θ + update to ascend and ψ − update to descend, as Algorithm 5.21 prints it. The state's
dtype decides the arithmetic. No argument is written to: what all workers share, an A3C worker copies back.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Vector, as_array, count, in_precision, in_unit_interval, positive
from pgref.errors import ArgumentError


class SGDState(NamedTuple):
    """What SGD with momentum remembers."""

    velocity: Vector  # [P] the last update


class RMSPropState(NamedTuple):
    """What RMSProp remembers; in A3C the same array for all workers."""

    mean_square: Vector  # [P] running mean of g²


class AdamState(NamedTuple):
    """What Adam remembers."""

    mean: Vector  # [P] running mean of g, biased towards its start at 0
    mean_square: Vector  # [P] running mean of g², biased likewise
    steps: int  # gradients seen


def sgd_init(theta: Any) -> SGDState:
    """Return SGD's state before the first gradient, all zeros of θ's length and dtype."""
    return SGDState(_zeros(theta))


def rmsprop_init(theta: Any) -> RMSPropState:
    """Return RMSProp's state before the first gradient, all zeros of θ's length and dtype."""
    return RMSPropState(_zeros(theta))


def adam_init(theta: Any) -> AdamState:
    """Return Adam's state before the first gradient, all zeros of θ's length and dtype."""
    return AdamState(_zeros(theta), _zeros(theta), 0)


def sgd(state: SGDState, gradient: Any, step_size: float, momentum: float = 0.0) -> tuple[SGDState, Vector]:
    """Return v′ = μv + ηg, [P], as the next velocity and as the update: (5.14) for μ = 0, else heavy ball.

    Raises:
        ArgumentError: η ≤ 0, μ outside [0, 1), or arrays that are not finite and of one length.

    Source: Polyak (1964) for the momentum.

    >>> state, update = sgd(sgd_init([0.0]), [2.0], step_size=0.5)
    >>> sgd(state, [2.0], step_size=0.5, momentum=0.5)[1]
    array([1.5])
    """
    g, v = _like_state(gradient, velocity=state.velocity)
    mu, eta = _decay("momentum", momentum), positive("step_size", step_size)
    v = _blend(mu, v, eta, g)
    return SGDState(v), v


def rmsprop(
    state: RMSPropState, gradient: Any, step_size: float, decay: float = 0.99, epsilon: float = 1e-5
) -> tuple[RMSPropState, Vector]:
    """Return the state with s′ = βs + (1 − β)g², and the update ηg/√(s′ + ε), [P].

    ε stands under the root, as A3C has it; most libraries add it to the root. The paper names no value:
    1e-5 is what the A2C of Stable-Baselines3 takes.

    Raises:
        ArgumentError: η ≤ 0, ε ≤ 0, β outside [0, 1), or arrays that are not finite and of one length.

    Source: Tieleman & Hinton (2012); Mnih et al. (2016) for the shared statistics.
    """
    g, s = _like_state(gradient, mean_square=state.mean_square)
    eta, beta, eps = positive("step_size", step_size), _decay("decay", decay), positive("epsilon", epsilon)
    s = _blend(beta, s, 1.0 - beta, g * g)
    update = s + eps
    np.divide(g, np.sqrt(update, out=update), out=update)
    update *= eta
    return RMSPropState(s), update


def adam(
    state: AdamState,
    gradient: Any,
    step_size: float,
    decay_mean: float = 0.9,
    decay_square: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[AdamState, Vector]:
    """Return the state with m′ = β₁m + (1 − β₁)g and s′ = β₂s + (1 − β₂)g², and the update ηm̂/(√ŝ + ε), [P].

    m̂ = m′/(1 − β₁ᵗ) and ŝ = s′/(1 − β₂ᵗ), with t gradients seen, undo the bias towards the zero start.
    A first gradient of zero moves nothing and yet counts: the next update is √(1 + β₂)/(1 + β₁) of what it
    would have been.

    Raises:
        ArgumentError: η ≤ 0, ε ≤ 0, a β outside [0, 1), or arrays that are not finite and of one length.

    Source: Kingma & Ba (2015), their Algorithm 1 and its defaults.
    """
    g, m, s = _like_state(gradient, mean=state.mean, mean_square=state.mean_square)
    t = count("steps", state.steps, 0) + 1
    beta1, beta2 = _decay("decay_mean", decay_mean), _decay("decay_square", decay_square)
    eta, eps = positive("step_size", step_size), positive("epsilon", epsilon)
    m = _blend(beta1, m, 1.0 - beta1, g)
    s = _blend(beta2, s, 1.0 - beta2, g * g)
    # both corrections as scalars: ηm̂/(√ŝ + ε) = (ηc/(1 − β₁ᵗ))·m/(√s + cε) with c = √(1 − β₂ᵗ)
    c = math.sqrt(1.0 - beta2**t)
    update = np.sqrt(s)
    update += c * eps
    np.divide(m, update, out=update)
    update *= eta * c / (1.0 - beta1**t)
    return AdamState(m, s, t), update


def _like_state(gradient: Any, **slots: Any) -> list[Vector]:
    """Return the gradient and the state's arrays, of one length and in the dtype of the state."""
    g = as_array("gradient", gradient, (None,))
    arrays = [as_array(name, slot, g.shape) for name, slot in slots.items()]
    return [in_precision("gradient", g, arrays[0].dtype), *arrays]


def _blend(decay: float, old: Vector, weight: float, new: Vector) -> Vector:
    """Return decay·old + weight·new in their dtype, which a huge factor must not widen."""
    blend: Vector = np.multiply(new, weight, dtype=new.dtype)
    blend += np.multiply(old, decay, dtype=old.dtype)
    return blend


def _zeros(theta: Any) -> Vector:
    return np.zeros_like(as_array("theta", theta, (None,)))


def _decay(name: str, value: Any) -> float:
    decay = in_unit_interval(name, value)
    if decay == 1.0:  # would never forget its start
        raise ArgumentError(f"{name} must be below 1, got {value!r}")
    return decay
