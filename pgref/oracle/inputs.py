"""Inputs for the checks: structure first, then numbers; and whether they tell all variants apart."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from pgref.arrays import Array
from pgref.oracle.component import Component, Inputs

DRAWS = 32  # inputs per check; the first few are edge cases


def drawn(component: Component, dtype: str, draws: int, seed: int) -> list[Inputs]:
    """Return inputs in float64 whose real numbers that dtype can hold too."""
    rng = np.random.default_rng(seed)
    return [
        {name: _representable(value, dtype) for name, value in component.draw(rng, case).items()}
        for case in range(draws)
    ]


def in_dtype(inputs: Inputs, dtype: str) -> Inputs:
    """Return copies of the inputs, real arrays in that dtype."""
    return {
        name: value.astype(dtype if value.dtype.kind == "f" else value.dtype)
        if isinstance(value, np.ndarray)
        else value
        for name, value in inputs.items()
    }


def segment(rng: np.random.Generator, case: int) -> Inputs:
    """Draw rewards, values, next_values, terminated, truncated [T, E] of T steps in E environments.

    Inside an episode V of what an action led to is V of the next row; at its end it is not, since the next
    row is the first of a new episode. No step both terminates and is cut off. Cases 0 to 3 are edges: a
    single step, every step an end, no end at all, cuts only.
    """
    steps, envs = int(rng.integers(4, 12)), int(rng.integers(1, 4))
    kinds = rng.choice(["on", "terminated", "truncated"], (steps, envs), p=[0.6, 0.2, 0.2])
    if case == 0:
        kinds = kinds[:1, :1]
    elif case == 1:
        kinds[kinds == "on"] = "terminated"
    elif case == 2:
        kinds[:] = "on"
    elif case == 3:
        kinds[kinds == "terminated"] = "truncated"
    rewards, values, next_values = rng.normal(size=(3, *kinds.shape)).round(3)
    return joined(
        {
            "rewards": rewards,
            "values": values,
            "next_values": next_values,
            "terminated": kinds == "terminated",
            "truncated": kinds == "truncated",
        }
    )


def joined(inputs: Inputs) -> Inputs:
    """Return the inputs with next_values that are the values of the next row wherever the episode goes on."""
    ends = inputs["terminated"] | inputs["truncated"]
    ahead = inputs["next_values"].copy()
    ahead[:-1] = np.where(ends[:-1], ahead[:-1], inputs["values"][1:])
    return {**inputs, "next_values": ahead}


@np.errstate(all="ignore")
def error(got: Array, expected: Array) -> float:
    """Return the largest difference, relative to the largest finite entry expected or to 1.

    Infinities and NaN differ from everything but themselves: then the error is ∞.
    """
    if got.shape != expected.shape:
        return np.inf
    finite = np.isfinite(expected)
    if not np.array_equal(got[~finite], expected[~finite], equal_nan=True):
        return np.inf
    apart = np.abs(got[finite] - expected[finite])
    if not np.isfinite(apart).all():
        return np.inf
    return float(apart.max(initial=0) / scale(expected))


def scale(expected: Array) -> float:
    """Return the largest finite entry, in absolute value, or 1."""
    return float(np.abs(expected[np.isfinite(expected)]).max(initial=1.0))


def in_ulps(expected: Array, dtype: str) -> float:
    """Return how many units in the last place of its largest entry a relative error of 1 is."""
    mantissa = float(np.frexp(scale(expected))[0])  # in [½, 1), of which a unit is ε/2
    return 2 * mantissa / float(np.finfo(dtype).eps)


def evaluated(function: Any, inputs: Inputs) -> Array:
    """Return what the reference or a deviation gives for copies of the inputs, in float64."""
    with np.errstate(all="ignore"):
        return np.array(function(**in_dtype(inputs, "float64")), np.float64)


def unseparated(component: Component, dtype: str = "float64", draws: int = DRAWS, seed: int = 0) -> list[str]:
    """Return the pairs of variants, the reference one of them, that no drawn input tells apart.

    Deviations with `recognise` are left out: no output tells them.
    """
    cases = drawn(component, dtype, draws, seed)
    variants = {"reference": component.reference}
    variants |= {d.name: d.function for d in component.deviations if d.recognise is None}
    outputs = {name: [evaluated(f, case) for case in cases] for name, f in variants.items()}
    return [
        f"{component.name}: {a} = {b}"
        for a, b in combinations(outputs, 2)
        if not any(
            error(x, y) > component.allowed(dtype) for x, y in zip(outputs[a], outputs[b], strict=True)
        )
    ]


def _representable(value: Any, dtype: str) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype).astype(np.float64)
    return value
