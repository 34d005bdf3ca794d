"""What environments return in place of the right rows, by whom, and at what cost.

A row is: s′ that the action led to, the observation that is seen next, reward, terminated, truncated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from pgref.arrays import Array, Matrix
from pgref.envs.probes import Probe
from pgref.envs.protocol import Episodic
from pgref.oracle.deviation import SLIP, Deviation, Source

TEST = "tests/test_oracle_environments.py::test_every_deviation_is_named"
LED_TO, SEEN, REWARD, TERMINATED, TRUNCATED = range(5)
FLAGS = [TERMINATED, TRUNCATED]
GYM = Source("gym", "commit 0b471aa", "wrappers/time_limit.py, TimeLimit._step: done = True at the limit")
GYMNAX = Source(
    "gymnax", "0.0.9", "environments/environment.py, Environment.step: select(done, obs_re, obs_st)"
)
Rows: TypeAlias = Callable[..., Array]


def played(
    successors: Matrix,
    rewards: Matrix,
    actions: Matrix,
    time_limit: int,
    autoreset: str,
    *,
    keeps_clock: bool = False,
    first_clock: int = 0,
) -> Array:
    """Return the rows [N, E, 5] of `Episodic`; under "NextStep" a row after each end is no transition.

    `keeps_clock` lets the time limit count on after a termination; `first_clock` is what it has counted
    after a row that is no transition.
    """
    features = tuple((float(s),) for s in range(len(rewards)))
    world = Probe(_lists(successors), _lists(rewards), features, 1, time_limit, "").tabular
    env, out = Episodic("a small world", world, time_limit), np.zeros((*actions.shape, 5))
    state, _ = env.reset(np.zeros(actions.shape[1], np.int64))
    waits = np.zeros(actions.shape[1], np.bool_)
    for t, rows in enumerate(out):
        after, obs, final_obs, reward, over, cut, _ = env.step(state, actions[t])
        seen = final_obs if autoreset == "NextStep" else obs
        rows[:] = np.where(waits[:, None], 0, np.stack([final_obs, seen, reward, over, cut], 1))
        steps = np.where(keeps_clock & over & ~cut, state.steps + 1, after.steps)
        steps = np.where(waits, state.steps if keeps_clock else first_clock, steps)
        state = after._replace(x=np.where(waits, state.x, after.x), steps=steps)
        waits = ~waits & (over | cut) & (autoreset == "NextStep")
    return out


def comparable(rows: Array, right: Array) -> Array:
    """Return the rows without what is left open where an episode terminates: observations and `truncated`."""
    rows, over = rows.copy(), (rows[..., TERMINATED] > 0) | (right[..., TERMINATED] > 0)
    rows[over, LED_TO] = rows[over, SEEN] = 0
    rows[..., TRUNCATED] *= 1 - rows[..., TERMINATED]
    return rows


def _lists(array: Matrix) -> Any:
    return tuple(map(tuple, array.tolist()))


def _ended(rows: Array) -> Array:
    return np.asarray(rows[..., FLAGS].any(-1))


def _shifted(rows: Array) -> Array:
    """Return each row in place of the next, after a first one of zeros."""
    return np.append(np.zeros_like(rows[:1]), rows[:-1], axis=0)


def _waited(rows: Array) -> Array:
    return np.asarray(_shifted(_ended(rows)[..., None])[..., 0] > 0)


def _edited(edit: Callable[[Array, str], None], only: str = "") -> Rows:
    """Return what edits a copy of the right rows, in one autoreset mode only if it is given."""

    def rows(right: Array, **inputs: Any) -> Array:
        out = right.copy()
        if only in ("", inputs["autoreset"]):
            edit(out, inputs["autoreset"])
        return out

    return rows


def _late_reward(rows: Array, autoreset: str) -> None:
    rows[..., REWARD] = _shifted(rows[..., REWARD])


def _late_reward_in_episode(rows: Array, autoreset: str) -> None:
    rows[..., REWARD] = _shifted(rows[..., REWARD] * ~_ended(rows))


def _late_flags(rows: Array, autoreset: str) -> None:
    rows[..., FLAGS] = _shifted(rows[..., FLAGS])


def _cut_as_end(rows: Array, autoreset: str) -> None:
    rows[..., TERMINATED], rows[..., TRUNCATED] = _ended(rows), 0


def _end_as_cut(rows: Array, autoreset: str) -> None:
    rows[..., TERMINATED], rows[..., TRUNCATED] = 0, _ended(rows)


def _swapped(rows: Array, autoreset: str) -> None:
    rows[..., FLAGS] = rows[..., FLAGS[::-1]]


def _final_lost(rows: Array, autoreset: str) -> None:
    rows[_ended(rows), LED_TO] = 0
    if autoreset == "NextStep":
        rows[_ended(rows), SEEN] = 0


def _stale(rows: Array, autoreset: str) -> None:
    before = _shifted(rows[..., SEEN])
    restarted = _ended(rows) if autoreset != "NextStep" else np.zeros(before.shape, np.bool_)
    rows[..., LED_TO] = before
    rows[..., SEEN] = np.where(restarted, rows[..., SEEN], before)


def _reward_again(rows: Array, autoreset: str) -> None:
    waited = _waited(rows)
    rows[waited, REWARD] = _shifted(rows[..., REWARD])[waited]


def _flags_again(rows: Array, autoreset: str) -> None:
    waited = _waited(rows)
    for flag in FLAGS:
        rows[waited, flag] = _shifted(rows[..., flag])[waited]


def _limit(change: Callable[[int, int], int]) -> Rows:
    """Return what gives the rows for another time limit; `change` maps it and the number of rows to that."""

    def rows(right: Array, time_limit: int, **inputs: Any) -> Array:
        return played(time_limit=max(1, change(time_limit, len(inputs["actions"]))), **inputs)

    return rows


def _late_actions(right: Array, actions: Matrix, **inputs: Any) -> Array:
    return played(actions=_shifted(actions), **inputs)


def _as_mode(declared: str, real: str, column: int) -> Rows:
    """Return what behaves like mode `real` where `declared` is asked for, with one observation for both."""

    def rows(right: Array, autoreset: str, **inputs: Any) -> Array:
        if autoreset != declared:
            return right
        out = played(autoreset=real, **inputs)
        out[..., [LED_TO, SEEN]] = out[..., [column]]
        return out

    return rows


def _row(name: str, summary: str, rows: Rows, cost: str, *sources: Source) -> Deviation:
    def function(**inputs: Any) -> Array:
        right = played(**inputs)
        return comparable(rows(right, **inputs), right)

    return Deviation(name, "environment_step", summary, function, sources or SLIP, cost, TEST)


# fmt: off
ENVIRONMENT = (
    _row("reward_one_step_late", "returns the reward of the step before", _edited(_late_reward),
         "every action is credited with what the one before it earned; rewards leak into the next episode"),
    _row("reward_one_step_late_in_episode", "returns the reward of the step before, 0 for the first",
         _edited(_late_reward_in_episode),
         "every action is credited with what the one before it earned; an episode's last reward is lost"),
    _row("time_limit_as_termination", "reports a time limit as a termination", _edited(_cut_as_end),
         "a bias of −γV(S′) at every time limit: states near it look worthless", GYM, GYMNAX),
    _row("termination_as_time_limit", "reports a termination as a time limit", _edited(_end_as_cut),
         "learners bootstrap from V of a terminal state, which nobody will ever earn"),
    _row("flags_swapped", "swaps terminated and truncated", _edited(_swapped),
         "both errors: no bootstrap at a time limit, one past every termination"),
    _row("time_limit_one_late", "cuts off one step too late", _limit(lambda limit, rows: limit + 1),
         "returns of an episode do not compare with anybody else's"),
    _row("time_limit_one_early", "cuts off one step too early", _limit(lambda limit, rows: limit - 1),
         "returns of an episode do not compare with anybody else's"),
    _row("time_limit_ignored", "never cuts off", _limit(lambda limit, rows: rows + 1),
         "an episode may last for ever, and starts become rare"),
    _row("clock_not_reset", "counts the steps on towards the time limit when an episode terminates",
         lambda right, **inputs: played(**inputs, keeps_clock=True),
         "episodes are cut off early, at random for a policy"),
    _row("final_obs_lost", "returns the first observation of the next episode as the last of this one",
         _edited(_final_lost), "a bias of γ(V(start) − V(S′)) at every time limit", GYMNAX),
    _row("flags_one_step_late", "returns the flags of the step before", _edited(_late_flags),
         "the last step of an episode bootstraps from another, the first of the next one counts as an end"),
    _row("observation_before_step", "returns the observation from before the step", _edited(_stale),
         "the policy acts one step behind"),
    _row("action_one_step_late", "takes the action of the step before", _late_actions,
         "every reward and state is credited to another action"),
    _row("reset_row_is_a_step", "takes a step in the row after an end, which is for the reset only",
         _as_mode("NextStep", "none", LED_TO), "that transition is masked out"),
    _row("reset_row_counts", "counts the row of the reset towards the time limit",
         lambda right, **inputs: played(**inputs, first_clock=1),
         "later episodes are one step shorter than the first"),
    _row("reset_row_repeats_reward", "repeats the last reward in the row of the reset",
         _edited(_reward_again, "NextStep"), "whoever sums rewards counts the last one of an episode twice"),
    _row("reset_row_repeats_flags", "repeats the flags in the row of the reset",
         _edited(_flags_again, "NextStep"), "an episode of no steps is counted"),
    _row("same_step_as_next_step", "restarts in the step that ends an episode, and announces NextStep",
         _as_mode("NextStep", "SameStep", SEEN), "the final observation is lost, a first step masked out"),
    _row("next_step_as_same_step", "restarts one step after an episode's end, and announces SameStep",
         _as_mode("SameStep", "NextStep", LED_TO), "a row that is no transition is learnt from"),
)
