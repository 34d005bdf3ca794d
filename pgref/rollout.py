"""Acting: T steps of a policy in E environments, and where acting stands between two such segments.

Episodes run on from one segment to the next. Actions are stored as they were sampled, and clipped only at
the environment's door, so that log-probabilities are those of the actions that the policy chose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pgref import streams
from pgref.arrays import Array, Matrix, Vector, Workspace, count, in_unit_interval, require_finite
from pgref.envs.checked import require_numbers, require_usable
from pgref.envs.protocol import Environment
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError
from pgref.moments import Moments, merged, no_moments, normalised, scaled
from pgref.policy import Policy
from pgref.spaces import Box, Discrete, clipped

LONGEST = 1_000_000  # steps of an episode that is waited for


class Runner(NamedTuple):
    """Where acting stands."""

    env: Any  # the environment's own state
    obs: Array  # [E, …] what the policy sees next, as the environment gave it
    returns: Vector  # [E] of the episodes under way
    lengths: Vector  # [E] int64, of the episodes under way
    clock: int  # steps that each environment has taken
    seen: Moments  # of the observations; of nothing unless they are normalised
    discounted: Vector  # [E] Σ γᵏ R of the episodes under way, backwards in time
    gained: Moments  # of those; of nothing unless rewards are scaled


class Episodes(NamedTuple):
    """Episodes that ended, in the order in which they did."""

    returns: Vector  # [k] undiscounted
    lengths: Vector  # [k] int64


class Rollout(NamedTuple):
    """A segment: T steps in E environments."""

    obs: Array  # [T, E, …] as the policy saw them
    actions: Array  # [T, E] or [T, E, d], as sampled
    rewards: Matrix  # [T, E] float64
    next_obs: Array  # [T, E, …] what the actions led to, across no restart
    terminated: Matrix  # [T, E] bool
    truncated: Matrix  # [T, E] bool
    ages: Matrix  # [T, E] int64: t, counted from the start of each episode
    valid: Matrix | None  # [T, E] bool: False for a row that is no transition; None: all are
    episodes: Episodes  # those that ended here


def start(env: Environment, n_envs: int, seed: int, *path: int) -> Runner:
    """Return a runner at the first observations of `n_envs` environments.

    Raises:
        NonFiniteError: an observation is NaN or infinite; the message says where.
        ShapeError, ArgumentTypeError: the observations are not those of the space.
        Whatever the environment raises.
    """
    result = env.reset(streams.keys(seed, n_envs, *path))
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentTypeError(f"reset() must return (state, observations), got {type(result).__name__}")
    state, obs = result
    shape = (n_envs, env.obs_space.d) if isinstance(env.obs_space, Box) else (n_envs,)
    require_numbers("observation", obs, shape, "reset")
    zeros, seen = np.zeros(n_envs), no_moments(obs[0].size)
    return Runner(state, obs.copy(), zeros, np.zeros(n_envs, np.int64), 0, seen, zeros, no_moments(1))


@np.errstate(over="ignore", invalid="ignore")  # what overflows is found, and raised by name
def collect(
    env: Environment,
    policy: Policy,
    theta: Vector,
    runner: Runner,
    n_steps: int,
    rng: np.random.Generator,
    *,
    normalise_obs: bool = False,
    scale_rewards: bool = False,
    discount: float = 1.0,
    work: Workspace | None = None,
) -> tuple[Rollout, Runner]:
    """Return a segment of T = `n_steps` steps, and the runner after it.

    Observations are normalised by the moments of all segments before this one, rewards scaled by those of
    the discounted return, this segment's included.

    Raises:
        NonFiniteError: an observation or a reward is NaN or infinite, and the message says where; or the
            return of an episode overflows.
        ShapeError, ArgumentTypeError: the environment breaks its protocol.
        ArgumentError: observations to be normalised that are whole numbers; a single step where episodes
            restart in a step of their own; n_steps < 1; γ outside [0, 1].
        Whatever the environment raises.
    """
    n_steps, discount = count("n_steps", n_steps), in_unit_interval("discount", discount)
    if normalise_obs and isinstance(env.obs_space, Discrete):
        raise ArgumentError(f"normalise_obs needs observations of a Box, got {env.obs_space}")
    shape, act = (n_steps, len(runner.obs)), policy.actor(theta, work and work.part("act"))
    noise = policy.distribution.noise(rng, shape, policy.network.n_outputs, theta.dtype)
    raws = np.empty((n_steps, *runner.obs.shape), runner.obs.dtype)
    obs, next_obs = np.empty_like(raws) if runner.seen.n else raws, np.empty_like(raws)
    rewards, (terminated, truncated) = np.empty(shape), np.empty((2, *shape), np.bool_)
    chosen, masks = [], {}
    state, raw, door = runner.env, runner.obs, env.action_space
    for t in range(n_steps):
        raws[t] = raw  # copied: an environment may write the next observations into the same array
        if runner.seen.n:
            obs[t] = normalised(runner.seen, raws[t])
        chosen.append(act(obs[t], noise[t]))
        step = env.step(state, clipped(door, chosen[t]))
        require_usable(step, raws[t], f"step {runner.clock + t}")
        state, raw, next_obs[t], rewards[t], terminated[t], truncated[t], mask = step
        if mask is not None:
            masks[t] = mask.copy()
    next_obs, valid = normalised(runner.seen, next_obs), _valid(masks, shape)
    counted = np.ones(rewards.shape, np.bool_) if valid is None else valid
    ended = (terminated | truncated) & counted
    ages, episodes, returns, lengths = _accounts(runner, rewards, ended, counted)
    seen_now, discounted, gained = runner.seen, runner.discounted, runner.gained
    if normalise_obs:
        seen_now = merged(seen_now, raws[counted])
    if scale_rewards:
        discounted, gained = _gains(runner, rewards, ended, counted, discount)
        rewards = scaled(gained, rewards)
    actions, clock = np.array(chosen), runner.clock + n_steps
    return (
        Rollout(obs, actions, rewards, next_obs, terminated, truncated, ages, valid, episodes),
        Runner(state, raw.copy(), returns, lengths, clock, seen_now, discounted, gained),
    )


def run_episodes(
    env: Environment, choose: Callable[[Array], Array], n_episodes: int, n_envs: int, seed: int
) -> Episodes:
    """Return `n_episodes` whole episodes of `choose`, obs [E, …] ↦ actions, each environment's first ones.

    Every environment runs equally many, since those that end early would otherwise count more often.

    Raises:
        ArgumentError: an episode of more than 10⁶ steps.
        As `collect`, for what the environment returns.
    """
    rounds = -(-n_episodes // n_envs)
    runner = start(env, n_envs, seed)
    state, obs = runner.env, runner.obs
    returns, lengths = np.zeros((rounds + 1, n_envs)), np.zeros((rounds + 1, n_envs), np.int64)
    done, rows = np.zeros(n_envs, np.int64), np.arange(n_envs)
    clock = 0
    while (done < rounds).any():
        if clock > rounds * LONGEST:
            raise ArgumentError(f"episodes must end to be evaluated, got one of more than {LONGEST} steps")
        step = env.step(state, clipped(env.action_space, choose(obs)))
        require_usable(step, obs, f"step {clock}")
        state, obs, clock = step.state, step.obs, clock + 1
        counted = True if step.valid is None else step.valid
        with np.errstate(over="ignore"):  # looked at below
            returns[done, rows] += np.where(counted, step.reward, 0)
        lengths[done, rows] += counted
        done = np.minimum(done + ((step.terminated | step.truncated) & counted), rounds)
    whole = require_finite("returns", returns[:rounds].ravel()[:n_episodes])
    return Episodes(whole, lengths[:rounds].ravel()[:n_episodes])


def _valid(masks: dict[int, Array], shape: tuple[int, int]) -> Matrix | None:
    """Return which rows [T, E] are transitions, None if all are."""
    if not masks:
        return None
    if shape[0] == 1:  # which might hold no transition at all
        raise ArgumentError("n_steps must be at least 2 where episodes restart in a step of their own, got 1")
    valid = np.ones(shape, np.bool_)
    for t, mask in masks.items():
        valid[t] = mask
    return valid


def _accounts(
    runner: Runner, rewards: Matrix, ended: Matrix, counted: Matrix
) -> tuple[Matrix, Episodes, Vector, Vector]:
    """Return the ages, the episodes that ended, and returns and lengths of those under way.

    Step by step: the difference of two running sums would lose a small return after a large one.
    """
    (n_steps, n_envs), paid = rewards.shape, np.where(counted, rewards, 0)
    sums = np.empty((n_steps + 1, 2, n_envs))  # returns and lengths before each step, and after the last
    sums[0, 0], sums[0, 1], sums[1:, 0], sums[1:, 1] = runner.returns, runner.lengths, paid, counted
    done, some_over = [], np.logical_or.reduce(ended, 1).tolist()
    with np.errstate(over="ignore"):  # looked at below
        for before, after, over, some in zip(sums[:-1], sums[1:], ended, some_over, strict=True):
            after += before
            if some:
                columns = over.nonzero()[0]
                done.append(after[:, columns])
                after[:, columns] = 0
    totals = np.concatenate([*done, sums[-1]], 1)
    if not np.isfinite(totals).all():
        raise NonFiniteError(f"return overflowed (max abs reward {np.abs(paid).max():.3g})")
    returns, lengths, ages = totals[0], totals[1].astype(np.int64), sums[:-1, 1].astype(np.int64)
    return ages, Episodes(returns[:-n_envs], lengths[:-n_envs]), returns[-n_envs:], lengths[-n_envs:]


def _gains(
    runner: Runner, rewards: Matrix, ended: Matrix, counted: Matrix, discount: float
) -> tuple[Vector, Moments]:
    """Return Σ γᵏ R of the episodes under way, and the moments with this segment's sums."""
    sums = np.concatenate([runner.discounted[None], np.where(counted, rewards, 0)])
    carried = discount * counted
    carried[1:][ended[:-1]] = 0
    for before, after, c in zip(sums[:-1], sums[1:], carried, strict=True):
        after += c * before
    return np.where(ended[-1], 0, sums[-1]), merged(runner.gained, sums[1:][counted][:, None])
