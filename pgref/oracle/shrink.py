"""Smaller and rounder inputs on which a callable still does what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pgref.arrays import Array
from pgref.errors import PgrefError
from pgref.oracle.component import Component, Inputs

BUDGET = 600  # inputs tried
FEW = 24  # entries of an array that are tried one by one


def shrunk(component: Component, inputs: Inputs, still: Callable[[Inputs], bool]) -> Inputs:
    """Return the simplest inputs found on which `still` holds, by greedy steps from the given ones."""
    left = BUDGET
    while True:
        for candidate in _simpler(component, inputs):
            changed = component.repaired(candidate)
            if changed is None or _complexity(changed) >= _complexity(inputs):
                continue
            left -= 1
            if _holds(still, changed):
                inputs = changed
                break
            if not left:
                return inputs
        else:
            return inputs


def _holds(still: Callable[[Inputs], bool], inputs: Inputs) -> bool:
    try:
        return still(inputs)
    except PgrefError:  # the reference refuses them
        return False


def sizes(component: Component, inputs: Inputs) -> dict[str, int]:
    """Return the length of each axis, by its letter."""
    return {
        letter: length
        for name, axes in component.axes.items()
        for letter, length in zip(axes, inputs[name].shape, strict=True)
    }


def _simpler(component: Component, inputs: Inputs) -> Iterator[Inputs]:
    for letter, length in sizes(component, inputs).items():
        for keep in _kept(length):
            yield {name: _along(component.axes.get(name, ""), letter, v, keep) for name, v in inputs.items()}
    for name, value in inputs.items():
        for other in _rounder(value):
            yield {**inputs, name: other}


def _kept(length: int) -> Iterator[Array]:
    """Yield index sets: the first half, the last half, all but one."""
    every = np.arange(length)
    if length > 3:
        yield every[: length // 2]
        yield every[length // 2 :]
    if length > 1:
        for dropped in reversed(every):
            yield every[every != dropped]


def _along(axes: str, letter: str, value: Any, keep: Array) -> Any:
    for axis, name in enumerate(axes):
        if name == letter:
            value = np.take(value, keep, axis)
    return value


def _rounder(value: Any) -> Iterator[Any]:
    if isinstance(value, (bool, int, str, np.integer)) or callable(value):
        return
    if isinstance(value, (float, np.floating)):
        yield from (1.0, 0.0, 0.5, round(float(value), 1))
        return
    array = np.asarray(value)
    if array.dtype.kind == "f":
        yield np.ones_like(array)
        yield array.round()
        yield array.round(1)
    yield np.zeros_like(array)
    for index in list(np.ndindex(array.shape))[:FEW]:
        for plain in (0, 1, 2):
            if array[index] != plain:
                other = array.copy()
                other[index] = plain
                yield other


def _complexity(inputs: Inputs) -> tuple[int, int]:
    """Return how many entries there are, and how odd they look."""
    arrays = [np.asarray(value) for value in inputs.values() if not callable(value)]
    entries = [entry for array in arrays for entry in array.ravel().tolist()]
    return len(entries), sum(map(_oddity, entries))


def _oddity(entry: Any) -> int:
    if isinstance(entry, str):
        return 0
    if np.isfinite(entry) and entry == int(entry):
        return min(abs(int(entry)), 3) + int(entry < 0)
    return 4 if entry == 0.5 else 5 if entry == round(entry, 1) else 6
