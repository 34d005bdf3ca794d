"""Between a Gymnasium environment and pgref: its spaces, and the checks of what it returns.

A number is cast only where that loses nothing, no shape is broadcast, and nothing is repaired: an environment
that breaks its word raises here, before anything is learned from it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np

from pgref.arrays import Array, Vector, in_precision
from pgref.errors import (
    ArgumentError,
    ArgumentTypeError,
    EnvApiError,
    MissingExtraError,
    NonFiniteError,
    ShapeError,
)
from pgref.spaces import Box, Discrete, MultiDiscrete, Space, as_actions


def gymnasium() -> Any:
    """Return the package gymnasium, or raise MissingExtraError, which says how to install it."""
    try:
        return importlib.import_module("gymnasium")
    except ModuleNotFoundError as error:
        raise MissingExtraError('gymnasium is not installed: pip install "pgref[gym]"') from error


def our_space(what: str, space: Any) -> Space:
    """Return what pgref calls an "observation" or "action" space of Gymnasium; a Box is flattened to [d].

    Raises:
        EnvApiError: a space that pgref has no counterpart of.
    """
    spaces, acting = gymnasium().spaces, what == "action"
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, spaces.Box) and not (acting and space.dtype.kind != "f"):
        return Box(tuple(space.low.ravel().tolist()), tuple(space.high.ravel().tolist()))
    if isinstance(space, spaces.MultiDiscrete) and acting:
        return MultiDiscrete(tuple(space.nvec.ravel().tolist()))
    if acting:
        raise EnvApiError(f"action space must be Discrete, MultiDiscrete or a Box of floats, got {space}")
    remedy = "wrap the environment in gymnasium.wrappers.FlattenObservation"
    raise EnvApiError(f"observation space must be a Box or Discrete, got {space}: {remedy}")


def their_actions(space: Any, ours: Space, actions: Array, n: int) -> Array:
    """Return actions [n] or [n, d] as Gymnasium has them, [n, …] in the space's own shape and dtype.

    Raises:
        ArgumentError, ArgumentTypeError, ShapeError, NonFiniteError: actions that the space does not have.
    """
    start = np.reshape(getattr(space, "start", 0), -1)
    return in_precision(
        "actions", (as_actions(ours, actions, n) + start).reshape(n, *space.shape), space.dtype
    )


@contextmanager
def noted(where: Callable[[], str]) -> Iterator[None]:
    """Let an exception of an environment through, with a note where it was raised."""
    try:
        yield
    except Exception as error:
        error.__dict__.setdefault("__notes__", []).append(where())  # add_note(), which Python 3.10 lacks
        raise


def first_obs(result: Any) -> Any:
    """Return the observation of what `reset` returned, or raise EnvApiError."""
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
        raise EnvApiError(f"reset() returned {_items(result)}, Gymnasium's API has (observation, info)")
    return result[0]


def five(result: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Return what `step` returned if it is five items, or raise EnvApiError."""
    if not (isinstance(result, tuple) and len(result) == 5):
        raise EnvApiError(f"step() returned {_items(result)}, Gymnasium's API has 5")
    return result


def observations(space: Any, values: Sequence[Any], envs: Sequence[int], where: str) -> Array:
    """Return the observations of some environments, [k] from 0 or [k, d], as a copy.

    Raises:
        ShapeError, ArgumentTypeError, NonFiniteError, ArgumentError: an observation that the space does not
            have; the message says which.
    """
    names = [f"observation from env {env} at {where}" for env in envs]
    arrays = [_exact(name, space, value, space.shape) for name, value in zip(names, values, strict=True)]
    return _usable(space, np.array(arrays), envs, where)


def batch(space: Any, value: Any, n: int, where: str) -> Array:
    """Return a vector environment's observations [n, …] as `observations` does, raising the same."""
    array = _exact(f"observation at {where}", space, value, (n, *space.shape))
    return _usable(space, np.array(array), range(n), where)


def rewards(values: Sequence[Any], where: str) -> Vector:
    """Return the rewards of single environments [E] as float64.

    Raises:
        ArgumentTypeError: one that is no real number; NonFiniteError: NaN or infinite.
    """
    for env, value in enumerate(values):
        if not isinstance(value, Real) or isinstance(value, bool):
            got = f"{type(value).__name__} {value!r} from env {env} at {where}"
            raise ArgumentTypeError(f"reward must be a real scalar, got {got}")
    return _finite_rewards(np.array(values, np.float64), where)


def reward_batch(value: Any, n: int, where: str) -> Vector:
    """Return a vector environment's rewards [n] as `rewards` does, raising the same."""
    array = np.asarray(value)
    if array.shape != (n,) or array.dtype.kind not in "iuf":
        raise ArgumentTypeError(f"rewards at {where} must be real numbers [{n}], got {_described(array)}")
    return _finite_rewards(array.astype(np.float64), where)


def flags(name: str, values: Sequence[Any], where: str) -> Array:
    """Return "terminated" or "truncated" of single environments [E] bool, or raise EnvApiError."""
    for env, value in enumerate(values):
        if not isinstance(value, (bool, np.bool_)):
            got = f"{type(value).__name__} {value!r} from env {env} at {where}"
            raise EnvApiError(f"{name} must be a bool, got {got}")
    return np.array(values, np.bool_)


def flag_batch(name: str, value: Any, n: int, where: str) -> Array:
    """Return "terminated" or "truncated" of a vector environment [n] bool, or raise EnvApiError."""
    array = np.array(value)
    if array.shape != (n,) or array.dtype != np.bool_:
        raise EnvApiError(f"{name} at {where} must be bools [{n}], got {_described(array)}")
    return array


def _exact(name: str, space: Any, value: Any, shape: tuple[int, ...]) -> Array:
    """Return an observation as int64 (Discrete), float32 where the space's numbers fit in it, or float64."""
    try:
        array = np.asarray(value)
    except (ValueError, Warning) as error:  # NumPy before 1.24 only warns
        raise ShapeError(f"{name} is not a rectangular array") from error
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}, space says {shape}")
    choice = hasattr(space, "n")  # Discrete
    dtype: Any = np.int64 if choice else np.float32 if np.can_cast(space.dtype, np.float32) else np.float64
    if array.dtype == dtype:
        return array
    whole = array.dtype.kind in "biu"
    if whole or (not choice and array.dtype.kind == "f" and np.can_cast(array.dtype, dtype)):
        with np.errstate(invalid="ignore"):
            cast = array.astype(dtype)
            if not whole or (cast.astype(array.dtype) == array).all():
                return cast
    raise ArgumentTypeError(
        f"{name} has dtype {array.dtype}, space says {space.dtype}: the cast would lose digits"
    )


def _usable(space: Any, array: Array, envs: Sequence[int], where: str) -> Array:
    if array.dtype == np.int64:
        array = array - space.start
        wrong = (array < 0) | (array >= space.n)
        if wrong.any():
            row = int(wrong.argmax())
            got = f"{array[row] + space.start}, not in {space}"
            raise ArgumentError(f"observation from env {envs[row]} at {where} is {got}")
        return array
    finite = np.isfinite(array)
    if not finite.all():
        row, *index = (int(i) for i in np.argwhere(~finite)[0])
        got = f"{array[(row, *index)]} at index {tuple(index)}"
        raise NonFiniteError(f"observation from env {envs[row]} at {where} has {got}")
    return array.reshape(len(array), -1)


def _finite_rewards(array: Vector, where: str) -> Vector:
    finite = np.isfinite(array)
    if not finite.all():
        env = int(finite.argmin())
        raise NonFiniteError(f"reward from env {env} at {where} is {array[env]}")
    return array


def _items(result: Any) -> str:
    return f"{len(result)} items" if isinstance(result, tuple) else type(result).__name__


def _described(array: Array) -> str:
    return f"dtype {array.dtype} and shape {array.shape}"
