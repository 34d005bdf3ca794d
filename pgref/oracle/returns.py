"""Checks of returns and advantages: TD errors, GAE, returns-to-go, n-step returns, normalisation.

All arrays are [T, E], or with layout="batch" [E, T], as in `pgref.estimates`: `next_values` is V of what the
action led to, the final observation where an episode ended; the flags are booleans and never both true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pgref import estimates
from pgref.arrays import Array, Vector
from pgref.oracle import returns_deviations as wrong
from pgref.oracle import sums
from pgref.oracle.compare import check
from pgref.oracle.component import Component, Inputs
from pgref.oracle.inputs import joined, segment
from pgref.oracle.report import Report

SEGMENT = dict.fromkeys(("rewards", "values", "next_values", "terminated", "truncated"), "TE")
REWARDS = {name: axes for name, axes in SEGMENT.items() if name != "values"}


def td_errors(function: Callable[..., Any], **options: Any) -> Report:
    """Check δ_t = R_t + γ·V(S_{t+1}) − V(S_t).

    function(rewards, values, next_values, terminated, discount) ↦ [T, E]. Options: see `check`.
    """
    return check(TD_ERRORS, function, **options)


def gae(function: Callable[..., Any], **options: Any) -> Report:
    """Check Â_t = Σ_l (γλ)^l δ_{t+l}, the generalised advantage estimate.

    function(rewards, values, next_values, terminated, truncated, discount, trace) ↦ [T, E]; the end of the
    segment cuts off its last row. Options: see `check`.
    """
    return check(GAE, function, **options)


def returns_to_go(function: Callable[..., Any], **options: Any) -> Report:
    """Check G_t = R_t + γ·G_{t+1}, with V in place of G where the episode was cut off.

    function(rewards, next_values, terminated, truncated, discount) ↦ [T, E]; the end of the segment cuts off
    its last row. Options: see `check`.
    """
    return check(RETURNS_TO_GO, function, **options)


def n_step_returns(function: Callable[..., Any], **options: Any) -> Report:
    """Check G_t = Σ_{k<m} γᵏ R_{t+k} + γᵐ V(S_{t+m}), where m is n, or the steps left if they are fewer.

    function(rewards, next_values, terminated, truncated, discount, n) ↦ [T, E]. Options: see `check`.
    """
    return check(N_STEP_RETURNS, function, **options)


def normalise_advantages(function: Callable[..., Any], **options: Any) -> Report:
    """Check (Â − mean Â)/std Â with the divisor N; equal advantages become zeros.

    function(advantages) ↦ [N], from [N] with N > 1. Options: see `check`.
    """
    return check(NORMALISE_ADVANTAGES, function, **options)


def _normalised(advantages: Vector) -> Array:
    return estimates.normalise_advantages(advantages).values


def _discounted(rng: np.random.Generator, case: int) -> Inputs:
    return {**segment(rng, case), "discount": {4: 0.0, 5: 1.0}.get(case, float(rng.uniform(0.7, 1)))}


def _td_inputs(rng: np.random.Generator, case: int) -> Inputs:
    inputs = _discounted(rng, case)
    del inputs["truncated"]
    return inputs


def _gae_inputs(rng: np.random.Generator, case: int) -> Inputs:
    return {**_discounted(rng, case), "trace": {6: 0.0, 7: 1.0}.get(case, float(rng.uniform(0.5, 1)))}


def _return_inputs(rng: np.random.Generator, case: int) -> Inputs:
    inputs = _discounted(rng, case)
    del inputs["values"]
    return inputs


def _n_step_inputs(rng: np.random.Generator, case: int) -> Inputs:
    return {**_return_inputs(rng, case), "n": {6: 1, 7: 100}.get(case, int(rng.integers(2, 5)))}


def _two_or_more(inputs: Inputs) -> Inputs | None:
    return inputs if len(inputs["advantages"]) > 1 else None


def _advantages(rng: np.random.Generator, case: int) -> Inputs:
    """Draw advantages with standard deviations from 1e-6, where an ε in the divisor shows, to 100."""
    if case == 0:
        return {"advantages": np.full(4, 0.5)}
    n, size = int(rng.integers(2, 9)), 10.0 ** rng.choice([-6, 0, 2])
    return {"advantages": size * (rng.normal(size=n) + rng.normal())}


TD_ERRORS = Component(
    name="td_errors",
    formula="δ_t = R_t + γ·V(S_{t+1}) − V(S_t)",
    equation="Algorithm 5.20, I-2",
    axes={name: axes for name, axes in SEGMENT.items() if name != "truncated"},
    result="TE",
    reference=estimates.td_errors,
    draw=_td_inputs,
    deviations=wrong.TD_ERRORS,
    compose=sums.changed_td,
)
GAE = Component(
    name="gae",
    formula="Â_t = Σ_l (γλ)^l δ_{t+l}",
    equation="Schulman et al. (2016), eq. 16",
    axes=SEGMENT,
    result="TE",
    reference=estimates.gae,
    draw=_gae_inputs,
    repaired=joined,
    deviations=wrong.GAE,
    compose=sums.changed_gae,
)
RETURNS_TO_GO = Component(
    name="returns_to_go",
    formula="G_t = R_t + γ·G_{t+1}, V in place of G at a cut",
    equation="the return of (5.15) and (5.28), from step t on",
    axes=REWARDS,
    result="TE",
    reference=estimates.returns_to_go,
    draw=_return_inputs,
    deviations=wrong.RETURNS_TO_GO,
    compose=sums.changed_returns,
)
N_STEP_RETURNS = Component(
    name="n_step_returns",
    formula="G_t = Σ_{k<m} γᵏ R_{t+k} + γᵐ V(S_{t+m})",
    equation="Sutton and Barto (2018), eq. 12.1",
    axes=REWARDS,
    result="TE",
    reference=estimates.n_step_returns,
    draw=_n_step_inputs,
    deviations=wrong.N_STEP_RETURNS,
    compose=sums.changed_n_step,
)
NORMALISE_ADVANTAGES = Component(
    name="normalise_advantages",
    formula="(Â − mean Â) / std Â, divisor N",
    equation="not in the book; customary with PPO",
    axes={"advantages": "N"},
    result="N",
    reference=_normalised,
    draw=_advantages,
    repaired=_two_or_more,
    deviations=wrong.NORMALISE_ADVANTAGES,
)
COMPONENTS = (TD_ERRORS, GAE, RETURNS_TO_GO, N_STEP_RETURNS, NORMALISE_ADVANTAGES)
