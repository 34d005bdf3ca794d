"""Checks of losses and their gradients: policy gradient and PPO.

A loss is what frameworks minimise: minus the objective of `pgref.objectives`. Its gradient is the one in the
first argument, as automatic differentiation gives it there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from pgref import objectives
from pgref.arrays import Array, Matrix, Vector
from pgref.categorical import Categorical
from pgref.distributions import Distribution
from pgref.networks import Table
from pgref.objectives import Batch
from pgref.oracle import losses_deviations as wrong
from pgref.oracle.compare import check, one_of
from pgref.oracle.component import Component, Inputs
from pgref.oracle.report import Report
from pgref.policy import Policy


def policy_gradient_loss(function: Callable[..., Any], *, reduction: str = "sum", **options: Any) -> Report:
    """Check −Σ_n log π(a_n|s_n) Â_n, the book's sum, or with reduction="mean" the mean.

    function(log_probs, advantages) ↦ a number, from [N] each. Options: see `check`.
    """
    return check(_reduced(POLICY_GRADIENT_LOSS, reduction), function, **options)


def policy_gradient_loss_grad(
    function: Callable[..., Any], *, reduction: str = "sum", **options: Any
) -> Report:
    """Check −∇_z Σ_n log π(a_n|s_n) Â_n for a softmax policy, Â held fixed; reduction="mean" for the mean.

    function(logits, actions, advantages) ↦ [N, K], from logits z [N, K], integers [N] and [N].
    """
    return check(_reduced(POLICY_GRADIENT_LOSS_GRAD, reduction), function, **options)


def ppo_loss(function: Callable[..., Any], **options: Any) -> Report:
    """Check −(1/N) Σ min(r Â, clip(r, 1 − ε, 1 + ε) Â), r = π/π_old.

    function(log_probs, old_log_probs, advantages, clip) ↦ a number, from [N] each and ε.
    """
    return check(PPO_LOSS, function, **options)


def ppo_loss_grad(function: Callable[..., Any], **options: Any) -> Report:
    """Check the gradient of `ppo_loss` in log_probs: −r Â/N, and 0 where the clip is active.

    function(log_probs, old_log_probs, advantages, clip) ↦ [N].
    """
    return check(PPO_LOSS_GRAD, function, **options)


@dataclass(frozen=True)
class LogProbs:
    """The distribution of a policy whose parameters are the log-probabilities of what was done, one each."""

    def check_width(self, n_outputs: int) -> None:
        """Accept any."""

    def check_actions(self, actions: Array, z: Array) -> Array:
        """Return the actions, which say nothing."""
        return actions

    def prepared(self, z: Array) -> Array:
        """Return z [N, 1]."""
        return z

    def log_prob(self, z: Array, actions: Array) -> Array:
        """Return log π = z, [N]."""
        return z[:, 0]

    def log_prob_grad(self, z: Array, actions: Array) -> Array:
        """Return ∇_z log π = 1, [N, 1]."""
        return np.ones_like(z)


def _given(log_probs: Vector, advantages: Vector, old: Vector | None = None) -> tuple[Policy, Vector, Batch]:
    rows = np.arange(len(log_probs))
    policy = Policy(Table(len(rows), 1), cast(Distribution, LogProbs()))
    return policy, log_probs, Batch(rows, rows, advantages, log_probs if old is None else old)


def _loss(log_probs: Vector, advantages: Vector) -> float:
    return -objectives.score_objective(*_given(log_probs, advantages))


def _loss_grad(logits: Matrix, actions: Vector, advantages: Vector) -> Array:
    rows = np.arange(len(logits))
    batch = Batch(rows, actions, advantages, np.zeros(len(rows)))
    policy = Policy(Table(*logits.shape), Categorical())
    return -objectives.score_objective_grad(policy, logits.ravel(), batch).reshape(logits.shape)


def _ppo(log_probs: Vector, old_log_probs: Vector, advantages: Vector, clip: float) -> float:
    return -objectives.clipped(*_given(log_probs, advantages, old_log_probs), clip=clip)


def _ppo_grad(log_probs: Vector, old_log_probs: Vector, advantages: Vector, clip: float) -> Array:
    return -objectives.clipped_grad(*_given(log_probs, advantages, old_log_probs), clip=clip)


def _size(rng: np.random.Generator, case: int) -> int:
    return 1 if case == 0 else int(rng.integers(2, 8))


def _log_probs(rng: np.random.Generator, n: int) -> Array:
    return np.log(rng.uniform(0.05, 0.95, n))


def _loss_inputs(rng: np.random.Generator, case: int) -> Inputs:
    n = _size(rng, case)
    return {"log_probs": _log_probs(rng, n), "advantages": rng.normal(size=n)}


def _logit_inputs(rng: np.random.Generator, case: int) -> Inputs:
    n, k = _size(rng, case), int(rng.integers(2, 5))
    logits = (20.0 if case == 1 else 1.0) * rng.normal(size=(n, k))
    return {"logits": logits, "actions": rng.integers(k, size=n), "advantages": rng.normal(size=n)}


def _ppo_inputs(rng: np.random.Generator, case: int) -> Inputs:
    """Draw ratios on both sides of the clip; case 1 is the first step after sampling, where all are 1."""
    n = _size(rng, case)
    old = _log_probs(rng, n)
    change = 0.0 if case == 1 else np.minimum(rng.normal(scale=0.4, size=n), -old)
    clip = float(rng.choice([0.1, 0.2, 0.3]))
    return {
        "log_probs": old + change,
        "old_log_probs": old,
        "advantages": rng.normal(size=n),
        "clip": clip,
    }


def _possible(inputs: Inputs) -> Inputs | None:
    """Return inputs whose probabilities are at most 1, whose ε is positive and whose actions there are."""
    likely = all((inputs[name] <= 0).all() for name in ("log_probs", "old_log_probs") if name in inputs)
    chosen = "actions" not in inputs or (inputs["actions"] < inputs["logits"].shape[1]).all()
    return inputs if likely and chosen and inputs.get("clip", 1.0) > 0 else None


def _reduced(component: Component, reduction: str) -> Component:
    """Return the component as a sum, or with means in place of its sums, those of its deviations too."""
    if one_of("reduction", reduction, ("sum", "mean")) == "sum":
        return component
    means = [replace(d, function=wrong.mean(d.function)) for d in component.deviations if d.name != "mean"]
    return replace(
        component,
        formula=component.formula.replace("Σ_n", "(1/N) Σ_n"),
        reference=wrong.mean(component.reference),
        deviations=(wrong.total(component.name, component.reference), *means),
    )


POLICY_GRADIENT_LOSS = Component(
    name="policy_gradient_loss",
    formula="−Σ_n log π(a_n|s_n) Â_n",
    equation="Algorithms 5.20 and 5.21, I-1",
    axes={"log_probs": "N", "advantages": "N"},
    result="",
    reference=_loss,
    draw=_loss_inputs,
    repaired=_possible,
    deviations=wrong.POLICY_GRADIENT_LOSS,
)
POLICY_GRADIENT_LOSS_GRAD = Component(
    name="policy_gradient_loss_grad",
    formula="−∇_z Σ_n log π(a_n|s_n) Â_n",
    equation="Algorithms 5.20 and 5.21, I-1; one step of (5.28)",
    axes={"logits": "NK", "actions": "N", "advantages": "N"},
    result="NK",
    reference=_loss_grad,
    draw=_logit_inputs,
    repaired=_possible,
    deviations=wrong.POLICY_GRADIENT_LOSS_GRAD,
)
PPO_LOSS = Component(
    name="ppo_loss",
    formula="−(1/N) Σ min(r Â, clip(r, 1 − ε, 1 + ε) Â)",
    equation="Schulman et al. (2017), eq. 7",
    axes={"log_probs": "N", "old_log_probs": "N", "advantages": "N"},
    result="",
    reference=_ppo,
    draw=_ppo_inputs,
    repaired=_possible,
    deviations=wrong.PPO_LOSS,
)
PPO_LOSS_GRAD = replace(
    PPO_LOSS,
    name="ppo_loss_grad",
    formula="∇ −(1/N) Σ min(r Â, clip(r, 1 − ε, 1 + ε) Â), in log π",
    result="N",
    reference=_ppo_grad,
    deviations=wrong.PPO_LOSS_GRAD,
)
COMPONENTS = (POLICY_GRADIENT_LOSS, POLICY_GRADIENT_LOSS_GRAD, PPO_LOSS, PPO_LOSS_GRAD)
