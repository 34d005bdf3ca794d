"""A2C: Master, Coordinator and Workers, in step with each other (Algorithm 5.20).

The Coordinator waits for all Workers, so their gradients are those of one and the same (θ, ψ), and the sum
is that of one Worker with all the transitions. Workers run on any `concurrent.futures.Executor`; the bits
depend neither on it nor on how many processes or threads it has.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from pgref import streams
from pgref.arrays import Vector, Workspace, count
from pgref.errors import ArgumentTypeError
from pgref.knobs import knob
from pgref.learning import Working, remaining, step_both, step_init
from pgref.rollout import Episodes, Runner, start
from pgref.task import Task, first_weights
from pgref.worker import Worked
from pgref.worker import work as worker


@dataclass(frozen=True, kw_only=True)
class Config(Working):
    """Knobs of A2C; as they stand, the text."""

    n_workers: int = knob(4, count, "Workers, each with environments of its own", unit="workers")
    n_envs: int = knob(2, count, "environments of each Worker", unit="environments")


class State(NamedTuple):
    """Everything that the next update needs."""

    weights: Vector  # [P + Q] θ, then ψ
    slots: Any  # the Master's optimiser
    runners: tuple[Runner, ...]  # one for each Worker
    seed: int
    updates: int
    steps: int  # of all environments together


class Update(NamedTuple):
    """What an update did."""

    updates: int
    steps: int
    status: str
    episodes: Episodes
    gradient_norm: float  # before clipping
    entropy: float  # nats, mean over the Workers
    value_loss: float  # mean Â²


def init(task: Task, config: Config, rng: Any) -> State:
    """Return the state before the first update."""
    seed = streams.new_seed(rng)
    weights = first_weights(task, config, streams.stream(seed))
    runners = tuple(start(task.env, config.n_envs, seed, i) for i in range(config.n_workers))
    return State(weights, step_init(config, weights), runners, seed, 0, 0)


def update(
    task: Task, config: Config, state: State, work: Workspace | None = None, executor: Executor | None = None
) -> tuple[State, Update]:
    """Let all Workers work, add up their gradients, take one step; the state given stays as it was."""
    done = coordinate(task, config, state, work, executor)
    gradient = reduce(np.add, [result.gradient for result in done])
    if config.mean:
        gradient = gradient / len(done)
    slots, weights, norm = step_both(  # Master: ψ ← ψ − η_ψ g_ψ, θ ← θ + η_θ g_θ
        config, state.slots, state.weights, gradient, task.policy.n_params, remaining(config, state.steps)
    )
    updates = state.updates + 1
    steps = state.steps + config.n_workers * config.n_envs * config.n_steps
    after = State(weights, slots, tuple(result.runner for result in done), state.seed, updates, steps)
    episodes = Episodes(*(np.concatenate(parts) for parts in zip(*(r.episodes for r in done), strict=True)))
    entropy, loss = (sum(x) / len(done) for x in zip(*((r.entropy, r.value_loss) for r in done), strict=True))
    return after, Update(updates, steps, "updated", episodes, norm, entropy, loss)


def coordinate(
    task: Task, config: Config, state: State, work: Workspace | None, executor: Executor | None
) -> list[Worked]:
    """Return what the Workers hand over, in their order, once all of them have (Coordinator).

    Raises:
        ArgumentTypeError: the executor is none. Whatever a Worker raises, once the others have ended.
    """
    workers = range(config.n_workers)
    if executor is None:  # in turns, in this very thread
        return [
            worker(task, config, state.weights, state.runners[i], (state.seed, state.updates, i), work)
            for i in workers
        ]
    if not isinstance(executor, Executor):
        raise ArgumentTypeError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    futures: list[Future[Worked]] = []
    try:
        for i in workers:
            path = state.seed, state.updates, i
            futures.append(executor.submit(worker, task, config, state.weights, state.runners[i], path))
        return [future.result() for future in futures]
    finally:  # after an exception as well, no Worker runs on
        for future in futures:
            future.cancel()
        wait(futures)
