"""A user's callable on one input: its result, or in words what is wrong with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array
from pgref.oracle.component import Component, Inputs
from pgref.oracle.inputs import evaluated, in_dtype


class Unusable(Exception):
    """What a user's callable did, as a clause, where a check calls it by itself: "it returned None"."""


class Outcome(NamedTuple):
    """What one call gave."""

    output: Array | None  # float64, time-major; None if there is a problem
    expected: Array  # the reference's
    single: bool  # whether the result was in single precision or less
    problem: str = ""  # a clause, "it raised ValueError: …"
    kind: str = ""  # what stays the same of a problem when the inputs shrink


class Trial(NamedTuple):
    """A callable with the way in which it is called."""

    component: Component
    function: Callable[..., Any]
    layout: str  # "time": [T, E], or "batch": [E, T]
    dtype: str  # of the arrays that it is given

    def __call__(self, inputs: Inputs) -> Outcome:
        """Call it on copies of the inputs; only KeyboardInterrupt comes through."""
        expected = evaluated(self.component.reference, inputs)
        given = self._laid_out(in_dtype(inputs, self.dtype))
        passed = in_dtype(given, self.dtype)
        try:
            with np.errstate(all="ignore"):  # what comes of an overflow is in the result
                result = self.function(*self.component.arguments(passed))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of ragged lists, and tensors that need a gradient
                raw = np.array(result)
        except Unusable as error:
            return Outcome(None, expected, False, str(error), " ".join(str(error).split()[:2]))
        except (Exception, SystemExit) as error:
            name, said = type(error).__name__, str(error).split("\n")[0].rstrip(".")
            return Outcome(None, expected, False, f"it raised {name}: {said}".rstrip(": "), name)
        wrong = _written_to(given, passed) or _unusable(raw, self._swapped(self.component.result, expected))
        if wrong:
            return Outcome(None, expected, False, wrong, " ".join(wrong.split()[:2]))
        output = self._swapped(self.component.result, raw).astype(np.float64)
        return Outcome(output, expected, raw.dtype.kind == "f" and raw.dtype.itemsize < 8)

    def _laid_out(self, inputs: Inputs) -> Inputs:
        axes = self.component.axes
        return {name: self._swapped(axes.get(name, ""), value) for name, value in inputs.items()}

    def _swapped(self, axes: str, value: Any) -> Any:
        swap = self.layout == "batch" and axes.startswith("TE")
        return np.swapaxes(value, 0, 1) if swap else value


def numbers(result: Any, shape: tuple[int, ...]) -> Array:
    """Return what a callable returned as an array of that shape, or raise Unusable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = np.array(result)
    wrong = _unusable(raw, np.empty(shape))
    if wrong:
        raise Unusable(wrong)
    return raw


def _written_to(given: Inputs, passed: Inputs) -> str:
    names = [
        name
        for name, value in given.items()
        if isinstance(value, np.ndarray) and not np.array_equal(value, passed[name])
    ]
    return f"it wrote to its arguments: {', '.join(names)}" if names else ""


def _unusable(raw: Array, expected: Array) -> str:
    if raw.dtype.kind not in "fiu":
        return (
            f"it returned {'None' if raw.dtype == object and raw.item(0) is None else raw.dtype}, not numbers"
        )
    if raw.shape != expected.shape:
        return f"it returned shape {raw.shape}, not {expected.shape}"
    return ""
