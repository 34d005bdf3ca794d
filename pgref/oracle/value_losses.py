"""Checks of the critic's losses and their gradients.

Gradients are those in the values or, for `td_loss_grad`, in a table of values, as automatic differentiation
gives them there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pgref import critic
from pgref.arrays import Array, Vector
from pgref.critic import Critic, Transitions
from pgref.networks import Table
from pgref.oracle import value_losses_deviations as wrong
from pgref.oracle.compare import check
from pgref.oracle.component import Component, Inputs
from pgref.oracle.report import Report


def value_loss(function: Callable[..., Any], **options: Any) -> Report:
    """Check (1/N) Σ (V − G)², without a ½.

    function(values, targets) ↦ a number, from [N] each.
    """
    return check(VALUE_LOSS, function, **options)


def value_loss_grad(function: Callable[..., Any], **options: Any) -> Report:
    """Check the gradient of `value_loss` in V: 2 (V − G)/N.

    function(values, targets) ↦ [N].
    """
    return check(VALUE_LOSS_GRAD, function, **options)


def clipped_value_loss(function: Callable[..., Any], **options: Any) -> Report:
    """Check (1/N) Σ max((V − G)², (V_clip − G)²), V_clip = V_old + clip(V − V_old, −ε, ε).

    function(values, targets, old_values, clip) ↦ a number.
    """
    return check(CLIPPED_VALUE_LOSS, function, **options)


def clipped_value_loss_grad(function: Callable[..., Any], **options: Any) -> Report:
    """Check the gradient of `clipped_value_loss` in V.

    function(values, targets, old_values, clip) ↦ [N].
    """
    return check(CLIPPED_VALUE_LOSS_GRAD, function, **options)


def td_loss_grad(function: Callable[..., Any], **options: Any) -> Report:
    """Check −2 Σ_n Â_n ∇V(S_n), Â = R + γV(S′) − V(S): the gradient of Σ Â² with the target held fixed.

    function(table, states, rewards, next_states, terminated, discount) ↦ [S]: V is a table [S], states and
    next_states are integers [N].
    """
    return check(TD_LOSS_GRAD, function, **options)


def actor_critic_loss_grad(function: Callable[..., Any], **options: Any) -> Report:
    """Check ∇_V Σ [−log π·(G − V) + (V − G)²] with the advantage G − V of the actor held fixed: 2 (V − G).

    function(values, log_probs, targets) ↦ [N].
    """
    return check(ACTOR_CRITIC_LOSS_GRAD, function, **options)


def _table(values: Vector) -> tuple[Critic, Vector, Array]:
    return Critic(Table(len(values), 1)), values, np.arange(len(values))


def _value(values: Vector, targets: Vector) -> float:
    return critic.value_loss(*_table(values), targets)


def _value_grad(values: Vector, targets: Vector) -> Array:
    return critic.value_loss_grad(*_table(values), targets)


def _clipped_value(values: Vector, targets: Vector, old_values: Vector, clip: float) -> float:
    return critic.clipped_value_loss(*_table(values), targets, old_values, clip)


def _clipped_value_grad(values: Vector, targets: Vector, old_values: Vector, clip: float) -> Array:
    return critic.clipped_value_loss_grad(*_table(values), targets, old_values, clip)


def _semi_gradient(
    table: Vector, states: Array, rewards: Vector, next_states: Array, terminated: Array, discount: float
) -> Array:
    batch = Transitions(states, rewards, next_states, terminated)
    return critic.semi_gradient(Critic(Table(len(table), 1)), table, batch, discount)


def _actor_critic_grad(values: Vector, log_probs: Vector, targets: Vector) -> Array:
    return len(values) * _value_grad(values, targets)


def _size(rng: np.random.Generator, case: int) -> int:
    return 1 if case == 0 else int(rng.integers(2, 8))


def _value_inputs(rng: np.random.Generator, case: int) -> Inputs:
    values, targets = 2.0 * rng.normal(size=(2, _size(rng, case)))
    return {"values": values, "targets": targets}


def _clipped_value_inputs(rng: np.random.Generator, case: int) -> Inputs:
    inputs = _value_inputs(rng, case)
    old_values = inputs["values"] + rng.normal(scale=0.5, size=len(inputs["values"]))
    return {**inputs, "old_values": old_values, "clip": float(rng.choice([0.1, 0.2, 0.5]))}


def _transitions(rng: np.random.Generator, case: int) -> Inputs:
    n, states = _size(rng, case), int(rng.integers(2, 5))
    at, then = rng.integers(states, size=(2, n))
    return {
        "table": rng.normal(size=states),
        "states": at,
        "rewards": rng.normal(size=n),
        "next_states": then,
        "terminated": rng.random(n) < 0.3,
        "discount": {1: 0.0, 2: 1.0}.get(case, float(rng.uniform(0.7, 1))),
    }


def _actor_critic_inputs(rng: np.random.Generator, case: int) -> Inputs:
    values, targets = _value_inputs(rng, case).values()
    return {"values": values, "log_probs": np.log(rng.uniform(0.05, 0.95, len(values))), "targets": targets}


def _possible(inputs: Inputs) -> Inputs | None:
    """Return inputs with a positive ε, probabilities of at most 1, and states that there are."""
    n = len(inputs.get("table", ()))
    there = all((inputs[name] < n).all() for name in ("states", "next_states") if name in inputs)
    likely = "log_probs" not in inputs or (inputs["log_probs"] <= 0).all()
    return inputs if there and likely and inputs.get("clip", 1.0) > 0 else None


VALUE_LOSS = Component(
    name="value_loss",
    formula="(1/N) Σ (V − G)²",
    equation="the critic's loss of I-3 as a mean, targets fixed",
    axes={"values": "N", "targets": "N"},
    result="",
    reference=_value,
    draw=_value_inputs,
    deviations=wrong.VALUE_LOSS,
)
VALUE_LOSS_GRAD = replace(
    VALUE_LOSS,
    name="value_loss_grad",
    formula="∇ (1/N) Σ (V − G)² = 2 (V − G)/N",
    result="N",
    reference=_value_grad,
    deviations=wrong.VALUE_LOSS_GRAD,
)
CLIPPED_VALUE_LOSS = Component(
    name="clipped_value_loss",
    formula="(1/N) Σ max((V − G)², (V_old + clip(V − V_old, −ε, ε) − G)²)",
    equation="the public code of Schulman et al. (2017)",
    axes={"values": "N", "targets": "N", "old_values": "N"},
    result="",
    reference=_clipped_value,
    draw=_clipped_value_inputs,
    repaired=_possible,
    deviations=wrong.CLIPPED_VALUE_LOSS,
)
CLIPPED_VALUE_LOSS_GRAD = replace(
    CLIPPED_VALUE_LOSS,
    name="clipped_value_loss_grad",
    formula="∇ (1/N) Σ max((V − G)², (V_old + clip(V − V_old, −ε, ε) − G)²)",
    result="N",
    reference=_clipped_value_grad,
    deviations=wrong.CLIPPED_VALUE_LOSS_GRAD,
)
TD_LOSS_GRAD = Component(
    name="td_loss_grad",
    formula="−2 Σ_n Â_n ∇V(S_n), Â = R + γV(S′) − V(S)",
    equation="Algorithm 5.20, I-3",
    axes={"table": "S", "states": "N", "rewards": "N", "next_states": "N", "terminated": "N"},
    result="S",
    reference=_semi_gradient,
    draw=_transitions,
    repaired=_possible,
    deviations=wrong.TD_LOSS_GRAD,
)
ACTOR_CRITIC_LOSS_GRAD = Component(
    name="actor_critic_loss_grad",
    formula="∇_V Σ [−log π·(G − V) + (V − G)²] = 2 (V − G)",
    equation="Algorithm 5.20, I-1 and I-3: the actor's Â is a constant",
    axes={"values": "N", "log_probs": "N", "targets": "N"},
    result="N",
    reference=_actor_critic_grad,
    draw=_actor_critic_inputs,
    repaired=_possible,
    deviations=wrong.ACTOR_CRITIC_LOSS_GRAD,
)
COMPONENTS = (
    VALUE_LOSS,
    VALUE_LOSS_GRAD,
    CLIPPED_VALUE_LOSS,
    CLIPPED_VALUE_LOSS_GRAD,
    TD_LOSS_GRAD,
    ACTOR_CRITIC_LOSS_GRAD,
)
