"""What a policy earns over whole episodes, in environments of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pgref.arrays import Array, Vector
from pgref.envs.protocol import Environment
from pgref.envs.resolve import n_envs, resolve
from pgref.errors import ArgumentError
from pgref.rollout import run_episodes
from pgref.task import Networks, Task, make_task

LARGEST_EVALUATION = 100  # environments stepped side by side


class Evaluation(NamedTuple):
    """What whole episodes earned."""

    mean: float  # of the undiscounted returns
    std: float  # of the returns, divisor n
    returns: Vector  # [episodes]
    lengths: Vector  # [episodes] steps


def place(task: Task, networks: Networks, env: Any = None) -> Environment:
    """Return where to evaluate: the environment given, or one like the task's that shares nothing with it.

    Raises:
        ArgumentError: the task's own is an object that cannot be made anew; or the one given is not for
            this policy.
        As `resolve`.
    """
    where = getattr(task.env, "copy_for_evaluation", lambda: task.env)() if env is None else resolve(env)
    if where is None:
        raise ArgumentError(f"env must be given to evaluate: {task.env.name} cannot be made a second time")
    if make_task(where, networks)[1:] != task[1:]:
        wanted, got = ((e.obs_space, e.action_space) for e in (task.env, where))
        raise ArgumentError(f"env must have spaces like {wanted}, got {got}")
    return where


def evaluated(env: Environment, choose: Callable[[Array], Array], episodes: int, seed: int) -> Evaluation:
    """Return what so many episodes of `choose`, obs [E, …] ↦ actions, earn.

    Raises:
        As `run_episodes`.
    """
    side_by_side = n_envs(env) or min(episodes, LARGEST_EVALUATION)
    done = run_episodes(env, choose, episodes, side_by_side, seed)
    return Evaluation(float(done.returns.mean()), float(done.returns.std()), *done)
