"""From a segment to a batch: values, advantages and targets, one row for each transition."""

from __future__ import annotations

from typing import NamedTuple

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

    `known` are V_ψ(S) of the transitions [N], if somebody has them already.

    Raises:
        NonFiniteError: an advantage overflows; ArgumentError: γ or λ outside [0, 1].
    """
    factors = in_unit_interval("discount", discount), in_unit_interval("trace", trace)
    values, next_values = values_along(critic, psi, rollout, work, known)
    rewards, ended = rollout.rewards, rollout.terminated | rollout.truncated
    advantages = trusted_gae(rewards, values, next_values, rollout.terminated, ended, *factors, rewards.dtype)
    advantages = in_precision("advantages", advantages, values.dtype)
    rows = (rollout.obs, rollout.actions, advantages, values, advantages + values, rollout.ages)
    return Samples(*(transitions(array, rollout) for array in rows))


def transitions(array: Array, rollout: Rollout) -> Array:
    """Return the rows [N, …] of an array [T, E, …] that are transitions, time by time.

    A row that is none follows the end of an episode: no sum runs through it.
    """
    rows = _flat(array)
    return rows if rollout.valid is None else rows[rollout.valid.ravel()]


def values_along(
    critic: Critic,
    psi: Vector,
    rollout: Rollout,
    work: Workspace | None = None,
    known: Vector | None = None,
) -> tuple[Matrix, Matrix]:
    """Return V_ψ(S_t) and V_ψ(S_{t+1}), [T, E] each, S_{t+1} being what the action led to.

    Inside an episode the second is the first one step on; only what was cut off is looked at besides.
    """
    cut = rollout.terminated | rollout.truncated
    cut[-1] = True
    if known is None:
        both = critic.values(psi, np.concatenate([_flat(rollout.obs), rollout.next_obs[cut]]), work)
        values, beyond = both[: cut.size].reshape(cut.shape).copy(), both[cut.size :]
    else:
        values, beyond = np.zeros(cut.shape, known.dtype), critic.values(psi, rollout.next_obs[cut], work)
        values.reshape(-1)[slice(None) if rollout.valid is None else rollout.valid.ravel()] = known
    next_values = np.empty_like(values)
    next_values[:-1] = values[1:]
    next_values[cut] = beyond
    return values, next_values


def _flat(array: Array) -> Array:
    return array.reshape(-1, *array.shape[2:])
