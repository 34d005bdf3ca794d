"""A3C: Workers that push into and fetch from one Master, none waiting for another (Algorithm 5.21).

The Master is a flat array that all Workers write without a lock (`thread`, `process`), or the only one who
holds the weights and gets messages (`executor`). A `schedule` runs any order of fetches and pushes in one
thread, to the same bits every time; where threads cannot start, it is what runs, and the status says so.
What the box leaves open: the last gradients are pushed, the environment carries over from one k to the
next, and an update is so many segments, after which all Workers have pushed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pgref import streams
from pgref.arrays import Vector, Workspace, count, positive, require_finite
from pgref.asynchronous import messages, threads
from pgref.asynchronous.rounds import Ran, Rounds, staleness
from pgref.asynchronous.schedule import draw_schedule, run_schedule
from pgref.asynchronous.shared import Shared, lost_rate, push, share
from pgref.errors import ArgumentError
from pgref.knobs import knob, one_of
from pgref.learning import Working, change, remaining, require_finite_slots, step_init
from pgref.rollout import Episodes, Runner, start
from pgref.task import Task, first_weights
from pgref.worker import Worked
from pgref.worker import work as act


@dataclass(frozen=True, kw_only=True)
class Config(Working):
    """Knobs of A3C; as they stand, the text."""

    n_workers: int = knob(4, count, "Workers, each with environments of its own", unit="workers")
    n_envs: int = knob(1, count, "environments of each Worker", unit="environments")
    optimizer: str = knob(
        "sgd",
        one_of("sgd", "rmsprop"),
        "what is done with a gradient; sgd is the text, rmsprop has statistics that all Workers share",
        source="Mnih et al. 2016",
    )
    backend: str = knob(
        "thread", one_of("thread", "process", "schedule", "executor"), "where the Workers run"
    )
    segments: int = knob(400, count, "segments of all Workers together in one update", unit="segments")
    timeout: float = knob(60.0, positive, "longest time between two pushes of a Worker", unit="s")


class State(NamedTuple):
    """Everything that the next update needs."""

    weights: Vector  # [P + Q] θ, then ψ
    slots: Any  # the optimiser's state, shared by all Workers
    runners: tuple[Runner, ...]  # one for each Worker
    rounds: tuple[int, ...]  # how many segments each Worker has pushed: its k
    seed: int
    updates: int  # the Master's: segments of all Workers
    steps: int  # of all environments together


class Update(NamedTuple):
    """What an update did; means are over the segments."""

    updates: int
    steps: int
    status: str  # "updated", or "scheduled: threads cannot start"
    episodes: Episodes
    gradient_norm: float  # mean, before clipping
    entropy: float  # nats, mean
    value_loss: float  # mean Â²
    staleness: (
        Vector  # [n] pushes of others between the fetch and the push of each gradient, in order of the pushes
    )
    schedule: Vector  # [2n] the Worker of each fetch and push in order, to be run again
    overlaps: int  # fetches and pushes that met another in time; if 0, running `schedule` gives the same bits
    lost: float  # share of additions to single weights that another Worker overwrote


class Pool(NamedTuple):
    """Processes that wait for updates of this task."""

    task: Task
    config: Config
    run: Any


def init(task: Task, config: Config, rng: Any) -> State:
    """Return the state before the first update."""
    seed = streams.new_seed(rng)
    weights = first_weights(task, config, streams.stream(seed))
    runners = tuple(start(task.env, config.n_envs, seed, i) for i in range(config.n_workers))
    return State(weights, step_init(config, weights), runners, (0,) * config.n_workers, seed, 0, 0)


@np.errstate(over="ignore", invalid="ignore")  # what overflows is found, and raised by name
def master(task: Task, config: Config, shared: Shared, i: int, gradient: Vector, steps: int) -> float:
    """Change the shared θ and ψ in place by the gradient of Worker i; return its length (Master).

    `steps` is how many all environments had taken before this update, for step sizes that fall.
    """
    factor = remaining(config, steps + int(shared.pushed.sum()) * config.n_envs * config.n_steps)
    slots, added, norm = change(config, shared.slots, gradient, task.policy.n_params, factor)
    push(shared, added, slots, i)  # ψ = ψ − η_ψ g_ψ;  θ = θ + η_θ g_θ
    return norm


def worker(
    task: Task, config: Config, shared: Shared, i: int, state: State, work: Workspace | None = None
) -> Rounds:
    """Run Worker i: yield what it has to do after each fetch, and a report after each push (Worker)."""
    runner, k = state.runners[i], state.rounds[i]
    while True:  # for k = 1, 2, …, do
        weights = shared.weights.copy()  # (θ, ψ) = Master(…): what it returns
        # L steps of π_θ; Â_t = R_t + γV_ψ(S_{t+1}) − V_ψ(S_t); (g_ψ, g_θ) = (∇J(ψ), ∇J(θ))
        done: Worked = yield partial(act, task, config, weights, runner, (state.seed, k, i), work)
        runner = done.runner
        # Master(g_ψ, g_θ): what it is given
        norm = master(task, config, shared, i, done.gradient, state.steps)
        k += 1
        yield runner, (norm, done.entropy, done.value_loss, done.episodes)


def update(
    task: Task,
    config: Config,
    state: State,
    work: Workspace | None = None,
    *,
    executor: Executor | None = None,
    schedule: Any = None,
    pool: Pool | None = None,
) -> tuple[State, Update]:
    """Let the Workers push `config.segments` gradients; the state given stays as it was, whatever happens.

    The backend "executor" needs one, "schedule" takes [2n] Workers as `draw_schedule` returns them (None
    draws them), and "process" takes running processes from `workers` (None starts new ones).

    Raises:
        ArgumentError: an option that is not the backend's, or one that does not fit.
        WorkerError: a Worker raised; its own exception is the cause.
        WorkerTimeout: a Worker has pushed nothing for `config.timeout` seconds.
        WorkerDied: a Worker's process ended.
        NonFiniteError: the last gradients have made a weight NaN or infinite.
    """
    _check_options(task, config, {"executor": executor, "schedule": schedule, "process": pool})
    shared = share(state.weights, state.slots, config.n_workers)
    limits = config.segments, shared.pushed, config.timeout
    if config.backend == "thread":
        try:
            ran = threads.run(
                config.n_workers, lambda i: worker(task, config, shared, i, state, Workspace()), *limits
            )
        except threads.CannotStart:
            after, done = update(task, replace(config, backend="schedule"), state, work)
            return after, done._replace(status="scheduled: threads cannot start")
    elif executor is not None:
        ran = messages.run(
            executor, config.n_workers, lambda i: worker(task, config, shared, i, state), *limits
        )
    elif config.backend == "process":
        with workers(task, config) if pool is None else nullcontext(pool) as running:
            ran = running.run(shared, state, config.segments)
    else:
        rng = streams.stream(state.seed, state.updates, config.n_workers)  # of no Worker
        order = draw_schedule(config.n_workers, config.segments, rng) if schedule is None else schedule
        ran = run_schedule(order, config.n_workers, lambda i: worker(task, config, shared, i, state, work))
    return _result(config, state, shared, ran)


@contextmanager
def workers(task: Task, config: Config) -> Iterator[Pool]:
    """Start processes that many updates can use as their `pool`, and end them after the `with` block.

    Raises:
        WorkerError, WorkerDied, WorkerTimeout: one does not start.
    """
    from pgref.asynchronous import processes  # not every platform has them

    weights = first_weights(task, config, streams.stream(0))
    blank = share(weights, step_init(config, weights), config.n_workers)
    with processes.workers(partial(worker, task, config), blank, config.n_workers, config.timeout) as run:
        yield Pool(task, config, run)


def _check_options(task: Task, config: Config, options: dict[str, Any]) -> None:
    for backend, option in options.items():
        if option is not None and backend != config.backend:
            name = "pool" if backend == "process" else backend
            raise ArgumentError(f"{name} must come with backend={backend!r}, got backend={config.backend!r}")
    if config.backend == "executor" and options["executor"] is None:
        raise ArgumentError("executor must be given with backend='executor', got None")
    pool = options["process"]
    if pool is not None and not (pool.task is task and pool.config == config):
        raise ArgumentError(
            "pool must be made by workers(task, config) with this task and config, got another"
        )


def _result(config: Config, state: State, shared: Shared, ran: Ran) -> tuple[State, Update]:
    norms, entropies, losses, episodes = zip(*ran.reports, strict=True)
    updates = state.updates + len(norms)
    steps = state.steps + len(norms) * config.n_envs * config.n_steps
    runners = tuple(old if new is None else new for old, new in zip(state.runners, ran.where, strict=True))
    rounds = tuple(k + n for k, n in zip(state.rounds, shared.pushed.tolist(), strict=True))
    require_finite_slots(shared.slots)
    weights = require_finite("weights", shared.weights)
    after = State(weights, shared.slots, runners, rounds, state.seed, updates, steps)
    done = Episodes(*(np.concatenate(parts) for parts in zip(*episodes, strict=True)))
    norm, entropy, loss = (float(np.mean(x)) for x in (norms, entropies, losses))
    evidence = staleness(ran.order), ran.order, ran.overlaps, lost_rate(shared)
    return after, Update(updates, steps, "updated", done, norm, entropy, loss, *evidence)
