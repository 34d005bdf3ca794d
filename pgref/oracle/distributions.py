"""Checks of action distributions: log-probability, entropy and KL divergence, with their direction.

Logits z are [N, K] and need not be normalised; Gaussians are given as mean and log σ, [N, d] each. KL is
D(π_old ‖ π_new) in nats, old arguments first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pgref.arrays import Array, Matrix
from pgref.categorical import Categorical
from pgref.gaussian import DiagonalGaussian
from pgref.oracle import categorical_deviations, gaussian_deviations
from pgref.oracle.compare import check
from pgref.oracle.component import Component, Inputs
from pgref.oracle.report import Report

CHOICE, NORMAL = Categorical(), DiagonalGaussian()
FAR = 900.0  # logits this far apart: e^−900 is 0 in every float


def categorical_log_prob(function: Callable[..., Any], **options: Any) -> Report:
    """Check log π(a) = z_a − log Σ_b exp(z_b).

    function(logits, actions) ↦ [N], from logits z [N, K] and integers [N]. Options: see `check`.
    """
    return check(CATEGORICAL_LOG_PROB, function, **options)


def categorical_entropy(function: Callable[..., Any], **options: Any) -> Report:
    """Check H = −Σ_a π(a) log π(a).

    function(logits) ↦ [N], from logits z [N, K]. Options: see `check`.
    """
    return check(CATEGORICAL_ENTROPY, function, **options)


def categorical_kl(function: Callable[..., Any], **options: Any) -> Report:
    """Check D(π_old ‖ π_new) = Σ_a π_old(a) log(π_old(a)/π_new(a)).

    function(z_old, z_new) ↦ [N], from logits [N, K]. Options: see `check`.
    """
    return check(CATEGORICAL_KL, function, **options)


def categorical_mean_kl(function: Callable[..., Any], **options: Any) -> Report:
    """Check (1/N) Σ_n D(π_old ‖ π_new), the constraint of (5.26).

    function(z_old, z_new) ↦ a number, from logits [N, K]. Options: see `check`.
    """
    return check(CATEGORICAL_MEAN_KL, function, **options)


def categorical_kl_grad(function: Callable[..., Any], **options: Any) -> Report:
    """Check ∇D(π_old ‖ π_new) in z_new: π_new − π_old.

    function(z_old, z_new) ↦ [N, K], from logits [N, K]. Options: see `check`.
    """
    return check(CATEGORICAL_KL_GRAD, function, **options)


def gaussian_log_prob(function: Callable[..., Any], **options: Any) -> Report:
    """Check log π(a) = −Σ_i [((a − μ)/σ)²/2 + log σ + log(2π)/2].

    function(mean, log_std, actions) ↦ [N], from [N, d] each. Options: see `check`.
    """
    return check(GAUSSIAN_LOG_PROB, function, **options)


def gaussian_entropy(function: Callable[..., Any], **options: Any) -> Report:
    """Check H = Σ_i [log σ + log(2πe)/2].

    function(log_std) ↦ [N], from [N, d]. Options: see `check`.
    """
    return check(GAUSSIAN_ENTROPY, function, **options)


def gaussian_kl(function: Callable[..., Any], **options: Any) -> Report:
    """Check D(π_old ‖ π_new) = Σ_i [log(σ_new/σ_old) + (σ_old² + (μ_old − μ_new)²)/(2σ_new²) − ½].

    function(mean_old, log_std_old, mean_new, log_std_new) ↦ [N], from [N, d] each. Options: see `check`.
    """
    return check(GAUSSIAN_KL, function, **options)


def gaussian_mean_kl(function: Callable[..., Any], **options: Any) -> Report:
    """Check (1/N) Σ_n D(π_old ‖ π_new), the constraint of (5.26).

    function(mean_old, log_std_old, mean_new, log_std_new) ↦ a number, from [N, d] each. Options: see `check`.
    """
    return check(GAUSSIAN_MEAN_KL, function, **options)


def gaussian_kl_grad(function: Callable[..., Any], **options: Any) -> Report:
    """Check ∇D(π_old ‖ π_new) in μ_new and in log σ_new.

    function(mean_old, log_std_old, mean_new, log_std_new) ↦ the two gradients, [2, N, d] or a pair of
    [N, d]. Options: see `check`.
    """
    return check(GAUSSIAN_KL_GRAD, function, **options)


def _gaussian_log_prob(mean: Matrix, log_std: Matrix, actions: Matrix) -> Array:
    return NORMAL.log_prob(np.hstack([mean, log_std]), actions)


def _gaussian_entropy(log_std: Matrix) -> Array:
    return NORMAL.entropy(np.hstack([log_std, log_std]))


def _gaussian_kl(mean_old: Matrix, log_std_old: Matrix, mean_new: Matrix, log_std_new: Matrix) -> Array:
    return NORMAL.kl(np.hstack([mean_old, log_std_old]), np.hstack([mean_new, log_std_new]))


def _gaussian_kl_grad(mean_old: Matrix, log_std_old: Matrix, mean_new: Matrix, log_std_new: Matrix) -> Array:
    z_old, z_new = np.hstack([mean_old, log_std_old]), np.hstack([mean_new, log_std_new])
    return np.stack(np.split(NORMAL.kl_grad_new(z_old, z_new), 2, axis=1))


def _far(rng: np.random.Generator, z: Matrix, by: float) -> Matrix:
    """Move one logit of each row away."""
    z = z.copy()
    z[np.arange(len(z)), rng.integers(z.shape[1], size=len(z))] += by
    return z


def _logits(rng: np.random.Generator, case: int, edge: int) -> Matrix:
    """Draw logits [N, K]; from case `edge` on: one action, a probability of 0, one of 1."""
    n, k = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    z = rng.normal(size=(n, 1 if case == edge else k))
    return _far(rng, z, {edge + 1: -FAR, edge + 2: FAR}.get(case, 0.0))


def _logits_only(rng: np.random.Generator, case: int) -> Inputs:
    return {"logits": _logits(rng, case, 0)}


def _logits_and_actions(rng: np.random.Generator, case: int) -> Inputs:
    """Draw them; in case 1 every action taken has probability 0, in case 2 probability 1."""
    z = _logits(rng, case, 0)
    actions = {1: z.argmin(1), 2: z.argmax(1)}.get(case, rng.integers(z.shape[1], size=len(z)))
    return {"logits": z, "actions": actions}


def _two_logits(rng: np.random.Generator, case: int) -> Inputs:
    """Draw two policies: equal ones, a new one and an old one with a probability of 0 or 1."""
    old = _logits(rng, case, 3)
    new = old + rng.normal() if case == 0 else rng.normal(size=old.shape)
    return {"z_old": old, "z_new": _far(rng, new, {1: -FAR, 2: FAR}.get(case, 0.0))}


def _gaussian(rng: np.random.Generator, case: int, narrow: float) -> tuple[Matrix, Matrix]:
    """Draw a mean and log σ, [N, d]; case 0 has one entry, case 1 densities as narrow as said."""
    shape = (1, 1) if case == 0 else (int(rng.integers(2, 6)), int(rng.integers(1, 5)))
    return rng.normal(size=shape), rng.normal(narrow if case == 1 else -0.3, 0.5, shape)


def _actions(rng: np.random.Generator, case: int) -> Inputs:
    mean, log_std = _gaussian(rng, case, -13.0)
    actions = mean + np.exp(log_std) * rng.normal(size=mean.shape)
    return {"mean": mean, "log_std": log_std, "actions": actions}


def _log_std_only(rng: np.random.Generator, case: int) -> Inputs:
    return {"log_std": _gaussian(rng, case, -13.0)[1]}


def _two_gaussians(rng: np.random.Generator, case: int) -> Inputs:
    mean, log_std = _gaussian(rng, case, -8.0)
    change = 0.0 if case == 2 else 0.5 * rng.normal(size=(2, *mean.shape))
    mean_change, log_change = np.broadcast_to(change, (2, *mean.shape))
    new = mean + np.exp(log_std) * mean_change, log_std + log_change
    return dict(
        zip(("mean_old", "log_std_old", "mean_new", "log_std_new"), (mean, log_std, *new), strict=True)
    )


def _existing(inputs: Inputs) -> Inputs | None:
    return inputs if (inputs["actions"] < inputs["logits"].shape[1]).all() else None


def _averaged(component: Component, name: str) -> Component:
    """Return the component for the mean over the samples, its deviations averaged likewise."""

    def mean(function: Callable[..., Array]) -> Callable[..., float]:
        return lambda **inputs: float(np.mean(function(**inputs)))

    return replace(
        component,
        name=name,
        formula="(1/N) Σ_n D(π_old ‖ π_new)",
        result="",
        reference=mean(component.reference),
        deviations=tuple(replace(d, component=name, function=mean(d.function)) for d in component.deviations),
    )


CATEGORICAL_LOG_PROB = Component(
    name="categorical_log_prob",
    formula="log π(a) = z_a − log Σ_b exp(z_b)",
    equation="the log π of Algorithms 5.20 and 5.21, I-1",
    axes={"logits": "NK", "actions": "N"},
    result="N",
    reference=lambda logits, actions: CHOICE.log_prob(logits, actions),
    draw=_logits_and_actions,
    repaired=_existing,
    deviations=categorical_deviations.LOG_PROB,
)
CATEGORICAL_ENTROPY = Component(
    name="categorical_entropy",
    formula="H = −Σ_a π(a) log π(a)",
    equation="not in the book; Shannon (1948)",
    axes={"logits": "NK"},
    result="N",
    reference=lambda logits: CHOICE.entropy(logits),
    draw=_logits_only,
    deviations=categorical_deviations.ENTROPY,
)
CATEGORICAL_KL = Component(
    name="categorical_kl",
    formula="D(π_old ‖ π_new) = Σ_a π_old log(π_old/π_new)",
    equation="(5.25), (5.26)",
    axes={"z_old": "NK", "z_new": "NK"},
    result="N",
    reference=CHOICE.kl,
    draw=_two_logits,
    deviations=categorical_deviations.KL,
)
CATEGORICAL_MEAN_KL = _averaged(CATEGORICAL_KL, "categorical_mean_kl")
CATEGORICAL_KL_GRAD = replace(
    CATEGORICAL_KL,
    name="categorical_kl_grad",
    formula="∇D(π_old ‖ π_new) = π_new − π_old, in z_new",
    result="NK",
    reference=CHOICE.kl_grad_new,
    deviations=categorical_deviations.KL_GRAD,
)
GAUSSIAN_LOG_PROB = Component(
    name="gaussian_log_prob",
    formula="log π(a) = −Σ_i [((a − μ)/σ)²/2 + log σ + log(2π)/2]",
    equation="the log π of Algorithms 5.20 and 5.21, I-1",
    axes={"mean": "ND", "log_std": "ND", "actions": "ND"},
    result="N",
    reference=_gaussian_log_prob,
    draw=_actions,
    deviations=gaussian_deviations.LOG_PROB,
)
GAUSSIAN_ENTROPY = Component(
    name="gaussian_entropy",
    formula="H = Σ_i [log σ + log(2πe)/2]",
    equation="not in the book; Shannon (1948)",
    axes={"log_std": "ND"},
    result="N",
    reference=_gaussian_entropy,
    draw=_log_std_only,
    deviations=gaussian_deviations.ENTROPY,
)
GAUSSIAN_KL = Component(
    name="gaussian_kl",
    formula="D(π_old ‖ π_new) = Σ_i [log(σ_new/σ_old) + (σ_old² + (μ_old − μ_new)²)/(2σ_new²) − ½]",
    equation="(5.25), (5.26)",
    axes=dict.fromkeys(("mean_old", "log_std_old", "mean_new", "log_std_new"), "ND"),
    result="N",
    reference=_gaussian_kl,
    draw=_two_gaussians,
    deviations=gaussian_deviations.KL,
)
GAUSSIAN_MEAN_KL = _averaged(GAUSSIAN_KL, "gaussian_mean_kl")
GAUSSIAN_KL_GRAD = replace(
    GAUSSIAN_KL,
    name="gaussian_kl_grad",
    formula="∇D(π_old ‖ π_new) = [(μ_new − μ_old)/σ_new², 1 − (σ_old² + (μ_old − μ_new)²)/σ_new²]",
    result="2ND",
    reference=_gaussian_kl_grad,
    deviations=gaussian_deviations.KL_GRAD,
)
COMPONENTS = (
    CATEGORICAL_LOG_PROB,
    CATEGORICAL_ENTROPY,
    CATEGORICAL_KL,
    CATEGORICAL_MEAN_KL,
    CATEGORICAL_KL_GRAD,
    GAUSSIAN_LOG_PROB,
    GAUSSIAN_ENTROPY,
    GAUSSIAN_KL,
    GAUSSIAN_MEAN_KL,
    GAUSSIAN_KL_GRAD,
)
