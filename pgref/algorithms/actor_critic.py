"""Actor-critic: one Worker of Algorithm 5.20, without a Coordinator: its gradients are applied at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from pgref import streams
from pgref.arrays import Vector, Workspace
from pgref.learning import Working, remaining, step_both, step_init
from pgref.rollout import Episodes, Runner, start
from pgref.task import Task, first_weights
from pgref.worker import work as worker


@dataclass(frozen=True, kw_only=True)
class Config(Working):
    """Knobs of actor-critic; as they stand, the text."""


class State(NamedTuple):
    """Everything that the next update needs."""

    weights: Vector  # [P + Q] θ, then ψ
    slots: Any  # the optimiser's state
    runner: Runner
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
    entropy: float  # nats
    value_loss: float  # mean Â²


def init(task: Task, config: Config, rng: Any) -> State:
    """Return the state before the first update."""
    seed = streams.new_seed(rng)
    weights = first_weights(task, config, streams.stream(seed))
    return State(weights, step_init(config, weights), start(task.env, config.n_envs, seed, 0), seed, 0, 0)


def update(task: Task, config: Config, state: State, work: Workspace | None = None) -> tuple[State, Update]:
    """Run L steps, then ψ ← ψ − η_ψ g_ψ and θ ← θ + η_θ g_θ; the state given stays as it was."""
    path = state.seed, state.updates, 0
    done = worker(task, config, state.weights, state.runner, path, work)
    factor = remaining(config, state.steps)
    slots, weights, norm = step_both(
        config, state.slots, state.weights, done.gradient, task.policy.n_params, factor
    )
    updates, steps = state.updates + 1, state.steps + config.n_envs * config.n_steps
    after = State(weights, slots, done.runner, state.seed, updates, steps)
    return after, Update(updates, steps, "updated", done.episodes, norm, done.entropy, done.value_loss)
