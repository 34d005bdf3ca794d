"""The sums of GAE, returns-to-go and n-step returns, taken apart so that one part can be changed.

The references are those of `pgref.estimates`; with nothing changed these give the same, which a test checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from pgref.arrays import Array, Matrix


class Parts(NamedTuple):
    """Everything that enters Â_t = δ_t + c·Â_{t+1}, δ_t = R_t + γ·V(S_{t+1}) − V(S_t); arrays [T, E]."""

    rewards: Matrix
    values: Matrix  # V(S_t)
    ahead: Matrix  # V(S_{t+1})
    alive: Matrix  # whether V(S_{t+1}) counts
    on: Matrix  # whether the sum goes on
    discount: float
    trace: float
    carry: float  # c where the sum goes on, γλ


Change: TypeAlias = Callable[[Parts], Parts]


def backward(terms: Matrix, factors: Matrix) -> Array:
    """Return y_t = x_t + c_t·y_{t+1}."""
    total = np.zeros_like(terms)
    for t in reversed(range(len(terms))):
        total[t] = terms[t] + (factors[t] * total[t + 1] if t + 1 < len(terms) else 0.0)
    return total


def changed_gae(change: Change) -> Callable[..., Array]:
    """Return GAE with some of its parts changed."""

    def advantages(
        rewards: Matrix,
        values: Matrix,
        next_values: Matrix,
        terminated: Matrix,
        truncated: Matrix,
        discount: float,
        trace: float,
    ) -> Array:
        ends = terminated | truncated
        p = change(Parts(rewards, values, next_values, ~terminated, ~ends, discount, trace, discount * trace))
        return backward(p.rewards + p.discount * p.alive * p.ahead - p.values, p.carry * p.on)

    return advantages


def changed_td(change: Change) -> Callable[..., Array]:
    """Return TD errors with some of their parts changed."""

    def errors(
        rewards: Matrix, values: Matrix, next_values: Matrix, terminated: Matrix, discount: float
    ) -> Array:
        cut = np.zeros_like(terminated)
        return changed_gae(change)(rewards, values, next_values, terminated, cut, discount, 0.0)

    return errors


def changed_returns(change: Change) -> Callable[..., Array]:
    """Return returns-to-go with some of their parts changed; `ahead` counts only where the sum ends."""

    def returns(
        rewards: Matrix, next_values: Matrix, terminated: Matrix, truncated: Matrix, discount: float
    ) -> Array:
        ends = terminated | truncated
        p = change(Parts(rewards, 0 * rewards, next_values, ~terminated, ~ends, discount, 1.0, discount))
        last = ~p.on | (np.arange(len(rewards)) == len(rewards) - 1)[:, None]
        return backward(p.rewards + p.discount * (p.alive & last) * p.ahead, p.carry * p.on)

    return returns


def changed_n_step(change: Change, more: int = 0) -> Callable[..., Array]:
    """Return n-step returns, n + `more` steps long, with some of their parts changed."""

    def returns(
        rewards: Matrix, next_values: Matrix, terminated: Matrix, truncated: Matrix, discount: float, n: int
    ) -> Array:
        ends = terminated | truncated
        p = change(Parts(rewards, 0 * rewards, next_values, ~terminated, ~ends, discount, 1.0, discount))
        target = total = p.rewards + p.discount * p.alive * p.ahead
        for _ in range(min(n + more, len(rewards)) - 1):
            longer = p.rewards[:-1] + p.discount * total[1:]
            total = np.append(np.where(p.on[:-1], longer, target[:-1]), target[-1:], axis=0)
        return total

    return returns
