"""Returns, TD errors and advantages from a segment of T steps in E environments.

Every array is [T, E]: row t is step t, column e is environment e. A step has R, V(S), V of what its action
led to (`next_values`: of the final observation where an episode ended, never of the reset), and two flags.
`terminated`: what comes after is worth 0. `truncated`: the episode was merely cut off, and V of what the
action led to stands for the rest. Both end the sums; the end of the segment cuts off its last row.

Sums are kept in float64, results have the common dtype of the arguments (float32 in, float32 out), and a
column depends on nothing but that column, to the bit. Imports NumPy only.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, as_array, count, in_unit_interval, require_finite
from pgref.errors import ArgumentError, NonFiniteError

CONSTANT = 64.0  # entries that differ by so many ε of the largest differ by rounding


class NormalisedAdvantages(NamedTuple):
    """What `normalise_advantages` returns."""

    values: Array  # in the shape given, no unit: mean 0 and standard deviation 1, or all 0
    status: Literal["normalised", "degenerate_advantages"]


def td_errors(
    rewards: Matrix, values: Matrix, next_values: Matrix, terminated: Matrix, discount: float
) -> Matrix:
    """Return δ_t = R_t + γ·V(S_{t+1}) − V(S_t), the Â_t of the A2C and A3C workers.

    V(S_{t+1}) counts as 0 where the episode terminated, and only there. All arrays are [T, E], in the units
    of the reward; γ is `discount`.

    Raises:
        ArgumentError: γ outside [0, 1], or no samples.
        ArgumentTypeError: flags that are not booleans, or other arrays that are not real numbers.
        NonFiniteError: a NaN or an infinity was given, or the result overflows.
        ShapeError: not [T, E], or shapes that differ.
    """
    discount = in_unit_interval("discount", discount)
    dtype, (rewards, values, next_values) = _reals(rewards=rewards, values=values, next_values=next_values)
    (terminated,) = _flags(rewards.shape, terminated=terminated)
    with np.errstate(over="ignore", invalid="ignore"):
        delta = _targets(rewards, next_values, terminated, discount) - values
        return _finished("TD error", delta, dtype, rewards)


def gae(
    rewards: Matrix,
    values: Matrix,
    next_values: Matrix,
    terminated: Matrix,
    truncated: Matrix,
    discount: float,
    trace: float,
) -> Matrix:
    """Return Â_t = Σ_l (γλ)^l δ_{t+l} over the steps left in the episode or the segment (GAE).

    It is computed as Â_t = δ_t + γλ·Â_{t+1}. λ = `trace` = 0 gives the TD errors δ; λ = 1 gives
    `returns_to_go` less V(S_t), because inside an episode `next_values` of one step are `values` of the
    next. All arrays are [T, E], in the units of the reward; γ is `discount`.

    Raises:
        As `td_errors`; ArgumentError also for λ outside [0, 1].

    Source: Schulman et al. (2016), equation 16.

    >>> column = lambda *entries: np.array(entries)[:, None]
    >>> ends = column(False, False, True), column(False, False, False)
    >>> gae(column(1.0, 1.0, 1.0), column(0.0, 0.0, 0.0), column(0.0, 0.0, 9.0), *ends, 0.5, 1.0)[:, 0]
    array([1.75, 1.5 , 1.  ])
    """
    discount, trace = in_unit_interval("discount", discount), in_unit_interval("trace", trace)
    dtype, (rewards, values, next_values) = _reals(rewards=rewards, values=values, next_values=next_values)
    terminated, truncated = _flags(rewards.shape, terminated=terminated, truncated=truncated)
    return trusted_gae(
        rewards, values, next_values, terminated, terminated | truncated, discount, trace, dtype
    )


def trusted_gae(
    rewards: Matrix,
    values: Matrix,
    next_values: Matrix,
    terminated: Matrix,
    ended: Matrix,
    discount: float,
    trace: float,
    dtype: Any,
) -> Matrix:
    """Return `gae` in that dtype for arrays that need no check; `ended` are both flags, its last row any."""
    with np.errstate(over="ignore", invalid="ignore"):
        delta = _targets(rewards, next_values, terminated, discount) - values
        return _finished("advantage", _summed(delta, discount * trace, ended), dtype, rewards)


def returns_to_go(
    rewards: Matrix, next_values: Matrix, terminated: Matrix, truncated: Matrix, discount: float
) -> Matrix:
    """Return G_t = R_t + γ·G_{t+1}, with V(S_{t+1}) for G_{t+1} at a cut and 0 where it terminated.

    A cut is a truncated step or the last row. All arrays are [T, E], in the units of the reward.

    Raises:
        As `td_errors`.
    """
    discount = in_unit_interval("discount", discount)
    dtype, (rewards, next_values) = _reals(rewards=rewards, next_values=next_values)
    terminated, truncated = _flags(rewards.shape, terminated=terminated, truncated=truncated)
    cut = truncated.copy()
    cut[-1] = True
    with np.errstate(over="ignore", invalid="ignore"):
        terms = np.where(cut, _targets(rewards, next_values, terminated, discount), rewards)
        return _finished("return", _summed(terms, discount, terminated | truncated), dtype, rewards)


def n_step_returns(
    rewards: Matrix, next_values: Matrix, terminated: Matrix, truncated: Matrix, discount: float, n: int
) -> Matrix:
    """Return G_t = Σ_{k<m} γᵏ R_{t+k} + γᵐ V(S_{t+m}), where m is n, or the steps left if they are fewer.

    V(S_{t+m}) is 0 where step t+m−1 terminated. n = 1 gives the TD target, n ≥ T gives `returns_to_go`. All
    arrays are [T, E], in the units of the reward.

    Raises:
        As `td_errors`; ArgumentError also for n < 1.
    """
    discount, n = in_unit_interval("discount", discount), count("n", n)
    dtype, (rewards, next_values) = _reals(rewards=rewards, next_values=next_values)
    terminated, truncated = _flags(rewards.shape, terminated=terminated, truncated=truncated)
    ended = terminated[:-1] | truncated[:-1]
    with np.errstate(over="ignore", invalid="ignore"):
        target = _targets(rewards, next_values, terminated, discount)
        total = target.copy()
        for _ in range(min(n, len(total)) - 1):  # from the k-step to the (k+1)-step returns
            total[:-1] = np.where(ended, target[:-1], rewards[:-1] + discount * total[1:])
        return _finished("return", total, dtype, rewards)


def normalise_advantages(advantages: Array) -> NormalisedAdvantages:
    """Return (Â − mean Â)/std Â over all entries, of any shape; std has the divisor N (ddof 0).

    One entry, or entries that all lie within 64ε of their mean (ε of their dtype, relative to the largest),
    prefer no action to another, and dividing would only amplify rounding. They become exact zeros, and
    the status says "degenerate_advantages".

    Raises:
        ArgumentError: no samples.
        ArgumentTypeError: not real numbers.
        NonFiniteError: a NaN or an infinity was given.
    """
    given = as_array("advantages", advantages, (None,) * np.ndim(advantages))
    _require_samples(given)
    largest, centred = _largest(given), given.astype(np.float64)
    if not 1e-100 < largest < 1e100:  # so that no square over- or underflows; exact, as powers of 2 are
        largest, exponent = math.frexp(largest)
        centred = np.ldexp(centred, -exponent)
    centred -= np.add.reduce(centred, None) / centred.size
    if _largest(centred) <= CONSTANT * float(np.finfo(given.dtype).eps) * largest:
        return NormalisedAdvantages(np.zeros_like(given), "degenerate_advantages")
    centred -= np.add.reduce(centred, None) / centred.size  # what the rounding of the first mean left behind
    std = math.sqrt(np.vdot(centred, centred) / centred.size)
    return NormalisedAdvantages((centred / std).astype(given.dtype), "normalised")


def _largest(array: Array) -> float:
    return float(np.maximum.reduce(np.abs(array), None))


def _targets(rewards: Matrix, next_values: Matrix, terminated: Matrix, discount: float) -> Matrix:
    """Return R + γ·V(S'), V being 0 after a terminated step: the TD target."""
    return rewards + discount * ~terminated * next_values


def _summed(terms: Matrix, factor: float, ended: Matrix) -> Matrix:
    """Return y_t = x_t + c_t·y_{t+1}, where c_t is the factor or, at an episode's end, 0; overwrite x."""
    carried = factor * ~ended
    for term, c, following in zip(terms[-2::-1], carried[-2::-1], terms[:0:-1], strict=True):
        term += c * following
    return terms


def _reals(**named: Matrix) -> tuple[Any, list[Matrix]]:
    """Return the common dtype of the arrays, and the arrays [T, E] in float64, finite and of one shape."""
    shape: tuple[int | None, ...] = (None, None)
    arrays = []
    for name, value in named.items():
        try:
            arrays.append(as_array(name, value, shape))
        except NonFiniteError:
            entries = np.asarray(value)
            step, env = np.argwhere(~np.isfinite(entries))[0]
            raise NonFiniteError(f"{name} from env {env} at step {step} is {entries[step, env]}") from None
        shape = arrays[0].shape
    _require_samples(arrays[0])
    return np.result_type(*arrays), [array.astype(np.float64, copy=False) for array in arrays]


def _flags(shape: tuple[int, ...], **named: Matrix) -> list[Matrix]:
    return [as_array(name, value, shape, "b") for name, value in named.items()]


def _require_samples(array: Array) -> None:
    if not array.size:
        raise ArgumentError("empty batch (0 samples)")


def _finished(what: str, total: Matrix, dtype: Any, rewards: Matrix) -> Matrix:
    """Return the result in its dtype, once it is known to be finite there."""
    result = total.astype(dtype, copy=False)
    try:
        return require_finite(what, result)
    except NonFiniteError:
        step = np.argwhere(~np.isfinite(result))[-1][0]  # sums run backwards: the last is where it began
        largest = f"{np.abs(rewards).max():.3g}".replace("e+", "e")
        raise NonFiniteError(f"{what} overflowed at t={step} (max abs reward {largest})") from None
