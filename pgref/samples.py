"""From a segment to a batch: values, advantages and targets, one row for each transition."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, Vector, Workspace, in_precision, in_unit_interval
from pgref.critic import Critic
from pgref.estimates import trusted_gae
from pgref.rollout import Rollout


class Samples(NamedTuple):
    """N transitions and what is estimated of them, time by time."""

    obs: Array  # [N, …]
    actions: Array  # [N] or [N, d]
    advantages: Vector  # [N] Â
    values: Vector  # [N] V_ψ(S)
    targets: Vector  # [N] Â + V_ψ(S), what V_ψ is to become
    ages: Vector  # [N] int64: t, counted from the start of each episode


def estimated(
    critic: Critic,
    psi: Vector,
    rollout: Rollout,
    discount: float,
    trace: float,
    work: Workspace | None = None,
    known: Vector | None = None,
) -> Samples:
    """Return the transitions with Â of GAE(λ); λ = `trace` = 0 gives the worker's TD errors.

    `known` are the values of what is `looked_at` [M], if somebody has them already.

    Raises:
        NonFiniteError: an advantage overflows; ArgumentError: γ or λ outside [0, 1].
    """
    factors = in_unit_interval("discount", discount), in_unit_interval("trace", trace)
    if known is None:
        known = critic.values(psi, looked_at(rollout), work)
    values, next_values = values_along(rollout, known)
    rewards, ended = rollout.rewards, rollout.terminated | rollout.truncated
    advantages = trusted_gae(rewards, values, next_values, rollout.terminated, ended, *factors, rewards.dtype)
    advantages = in_precision("advantages", advantages, values.dtype)
    rows = (rollout.obs, rollout.actions, advantages, values, advantages + values, rollout.ages)
    kept = transitions(rollout)
    return Samples(*(_flat(array)[kept] for array in rows))


def looked_at(rollout: Rollout) -> Array:
    """Return the observations whose values are asked for [M, …]: S, step by step, then what was cut off."""
    return np.concatenate([_flat(rollout.obs), rollout.next_obs[_cut(rollout)]])


def transitions(rollout: Rollout) -> Any:
    """Return the index of the rows that are transitions among T·E; another follows the end of an episode."""
    return slice(rollout.rewards.size) if rollout.valid is None else rollout.valid.ravel().nonzero()[0]


def values_along(rollout: Rollout, known: Vector) -> tuple[Matrix, Matrix]:
    """Return V_ψ(S_t) and V_ψ(S_{t+1}), [T, E] each, S_{t+1} being what the action led to.

    Inside an episode the second is the first one step on; only what was cut off is looked at besides.
    """
    values = known[: rollout.rewards.size].reshape(rollout.rewards.shape).copy()
    next_values = np.empty_like(values)
    next_values[:-1] = values[1:]
    next_values[_cut(rollout)] = known[values.size :]
    return values, next_values


def _cut(rollout: Rollout) -> Matrix:
    cut = rollout.terminated | rollout.truncated
    cut[-1] = True
    return cut


def _flat(array: Array) -> Array:
    return array.reshape(-1, *array.shape[2:])
