"""What a step of any environment must be before it is learned from; users write environments too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pgref.arrays import Array, require_finite
from pgref.envs.protocol import Step
from pgref.errors import ArgumentTypeError, NonFiniteError, ShapeError

REAL, FLAG = np.dtype(np.float64), np.dtype(np.bool_)  # the objects that NumPy's own results share


def require_usable(step: Any, obs: Array, where: str) -> None:
    """Require of a step what the next ones need; `obs` [E, …] are the observations before it.

    Raises:
        ArgumentTypeError: no Step, or arrays of other types. ShapeError: arrays of other shapes.
        NonFiniteError: an observation or a reward is NaN or infinite; the message says where.
    """
    if not isinstance(step, Step):
        raise ArgumentTypeError(f"step() must return a Step at {where}, got {type(step).__name__}")
    if _plainly_usable(step, obs):
        return
    _, after, final_obs, reward, terminated, truncated, valid = step
    n = obs.shape[:1]
    for observations in (final_obs,) if after is final_obs else (final_obs, after):
        require_numbers("observation", observations, obs.shape, where)
        if observations.dtype != obs.dtype and not np.can_cast(observations.dtype, obs.dtype):
            raise ArgumentTypeError(
                f"observations at {where} must be {obs.dtype} like those before, got {observations.dtype}"
            )
    require_numbers("reward", reward, n, where)
    _require_flags("terminated", terminated, n, where)
    _require_flags("truncated", truncated, n, where)
    if valid is not None:
        _require_flags("valid", valid, n, where)


def _plainly_usable(step: Step, obs: Array) -> bool:
    """Return whether all is as it mostly is; if not, a closer look says what is wrong, or that nothing is."""
    _, after, final_obs, reward, terminated, truncated, valid = step
    shape = obs.shape
    return (
        valid is None
        and type(after) is type(final_obs) is type(reward) is np.ndarray
        and type(terminated) is type(truncated) is np.ndarray
        and after.dtype == final_obs.dtype == obs.dtype
        and after.shape == final_obs.shape == shape
        and reward.dtype is REAL
        and terminated.dtype is truncated.dtype is FLAG
        and reward.shape == terminated.shape == truncated.shape == shape[:1]
        # each ∞ or NaN if one of the factors is
        and math.isfinite(np.vdot(after, final_obs))
        and math.isfinite(np.vdot(reward, reward))
    )


def require_numbers(what: str, array: Array, shape: tuple[int, ...], where: str) -> None:
    """Require finite real numbers of that shape, or raise and say in which environment they are not."""
    if not isinstance(array, (np.ndarray, np.generic)) or array.dtype.kind not in "iuf":
        raise ArgumentTypeError(f"{what}s at {where} must be real numbers, got {_described(array)}")
    if array.shape != shape:
        raise ShapeError(f"{what}s at {where} must have shape {shape}, got {array.shape}")
    try:
        require_finite(what, array)
    except NonFiniteError:
        env, *index = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
        value = array[(env, *index)]
        got = f"has {value} at index {tuple(index)}" if index else f"is {value}"
        raise NonFiniteError(f"{what} from env {env} at {where} {got}") from None


def _require_flags(what: str, array: Any, shape: tuple[int, ...], where: str) -> None:
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.bool_:
        raise ArgumentTypeError(f"{what} at {where} must be bools {shape}, got {_described(array)}")


def _described(array: Any) -> str:
    known = isinstance(array, (np.ndarray, np.generic))
    return f"dtype {array.dtype} and shape {array.shape}" if known else type(array).__name__
