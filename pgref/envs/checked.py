"""What a step of any environment must be before it is learned from; users write environments too."""

from __future__ import annotations

from typing import Any

import numpy as np

from pgref.arrays import Array, require_finite
from pgref.envs.protocol import Step
from pgref.errors import ArgumentTypeError, NonFiniteError, ShapeError


def checked(step: Any, obs: Array, where: str) -> Step:
    """Return the step with arrays of its own: an environment may write the next one into the same.

    `obs` [E, …] are the observations before it, whose shape those after it must have.

    Raises:
        ArgumentTypeError: no Step, or arrays of other types. ShapeError: arrays of other shapes.
        NonFiniteError: an observation or a reward is NaN or infinite; the message says where.
    """
    if not isinstance(step, Step):
        raise ArgumentTypeError(f"step() must return a Step at {where}, got {type(step).__name__}")
    state, after, final_obs, reward, terminated, truncated, valid = step
    n = obs.shape[:1]
    require_numbers("observation", final_obs, obs.shape, where)
    if after is not final_obs:
        require_numbers("observation", after, obs.shape, where)
    require_numbers("reward", reward, n, where)
    for what, flags in (("terminated", terminated), ("truncated", truncated), ("valid", valid)):
        if flags is not None or what != "valid":
            _require_flags(what, flags, n, where)
    own = after.copy()
    final = own if final_obs is after else final_obs.copy()
    valid = None if valid is None else valid.copy()
    return Step(state, own, final, reward.copy(), terminated.copy(), truncated.copy(), valid)


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
