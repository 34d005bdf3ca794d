"""Checks of Fisher-vector products: v ↦ Hv, H the Hessian of the mean KL divergence at θ_new = θ_old.

The policy is linear in what it sees, z = sW + b, so that any framework can write it in a line: θ is
[D + 1, K], W above and b as its last row, for a categorical policy with logits z; for a Gaussian one with
mean z it is [D + 2, d], log σ its last row. Both directions of the KL have this H: here they are both right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pgref.oracle import products_deviations as wrong
from pgref.oracle.compare import check
from pgref.oracle.component import Component, Inputs
from pgref.oracle.report import Report


def categorical_fisher_product(function: Callable[..., Any], **options: Any) -> Report:
    """Check Hv = (1/N) Σ_n Jᵀ(diag π − ππᵀ)Jv of a linear softmax policy.

    function(theta, obs, v) ↦ [D + 1, K], from θ and v [D + 1, K] and obs [N, D]. Options: see `check`.
    """
    return check(CATEGORICAL_FISHER_PRODUCT, function, **options)


def gaussian_fisher_product(function: Callable[..., Any], **options: Any) -> Report:
    """Check Hv = (1/N) Σ_n Jᵀ diag(1/σ², 2)Jv of a linear Gaussian policy.

    function(theta, obs, v) ↦ [D + 2, d], from θ and v [D + 2, d] and obs [N, D]. Options: see `check`.
    """
    return check(GAUSSIAN_FISHER_PRODUCT, function, **options)


def _inputs(more_rows: int, rng: np.random.Generator, case: int) -> Inputs:
    """Draw θ, obs and v; in case 0 there is one sample."""
    n, dims, k = int(rng.integers(2, 6)), int(rng.integers(1, 4)), int(rng.integers(2, 4))
    theta, v = 0.7 * rng.normal(size=(2, dims + more_rows, k))
    return {"theta": theta, "obs": rng.normal(size=(1 if case == 0 else n, dims)), "v": v}


def _fitting(more_rows: int, inputs: Inputs) -> Inputs | None:
    return inputs if len(inputs["theta"]) == inputs["obs"].shape[1] + more_rows else None


CATEGORICAL_FISHER_PRODUCT = Component(
    name="categorical_fisher_product",
    formula="Hv = (1/N) Σ_n Jᵀ(diag π − ππᵀ)Jv",
    equation="the H of (5.29), I-25",
    axes={"theta": "PK", "obs": "ND", "v": "PK"},
    result="PK",
    reference=wrong.hessian_times(wrong.softmax_policy),
    draw=partial(_inputs, 1),
    repaired=partial(_fitting, 1),
    deviations=wrong.CATEGORICAL,
)
GAUSSIAN_FISHER_PRODUCT = replace(
    CATEGORICAL_FISHER_PRODUCT,
    name="gaussian_fisher_product",
    formula="Hv = (1/N) Σ_n Jᵀ diag(1/σ², 2)Jv",
    reference=wrong.hessian_times(wrong.normal_policy),
    draw=partial(_inputs, 2),
    repaired=partial(_fitting, 2),
    deviations=wrong.GAUSSIAN,
)
COMPONENTS = (CATEGORICAL_FISHER_PRODUCT, GAUSSIAN_FISHER_PRODUCT)
