"""Vanilla policy gradient: θ ← θ + η_θ ∇J(θ) (5.14), with ∇J from whole segments (5.15).

As printed, (5.15) lacks the factor γ^t that the derivative of J has (5.28); `discounted=True` puts it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref import streams
from pgref.arrays import Vector, Workspace, positive, require_finite
from pgref.knobs import flag, knob, one_of
from pgref.learning import OPTIMIZERS, CriticFit, fit_critic, preferences, remaining, require_finite_slots
from pgref.objectives import score_step
from pgref.optimizers import AdamState, adam_init
from pgref.rollout import Episodes, Runner, collect, start
from pgref.samples import estimated
from pgref.task import Task, first_weights


@dataclass(frozen=True, kw_only=True)
class Config(CriticFit):
    """Knobs of vanilla policy gradient; as they stand, the text."""

    step: float = knob(1e-2, positive, "η_θ of (5.14)")
    discounted: bool = knob(True, flag, "the factor γ^t of (5.28); off is (5.15) as printed")
    optimizer: str = knob("sgd", one_of(*OPTIMIZERS), "what turns the gradient into a step; sgd is (5.14)")


class State(NamedTuple):
    """Everything that the next update needs."""

    weights: Vector  # [P + Q] θ, then ψ
    actor: Any  # the optimiser's state for θ
    critic: AdamState
    runner: Runner
    seed: int
    updates: int
    steps: int  # of all environments together


class Update(NamedTuple):
    """What an update did."""

    updates: int
    steps: int
    status: str  # "updated", or why θ stays: "no_gradient", "degenerate_advantages"
    episodes: Episodes
    gradient_norm: float
    entropy: float  # nats
    value_loss: float


def init(task: Task, config: Config, rng: Any) -> State:
    """Return the state before the first update."""
    seed = streams.new_seed(rng)
    weights = first_weights(task, config, streams.stream(seed))
    theta, psi = task.split(weights)
    actor = OPTIMIZERS[config.optimizer][0](theta)
    return State(weights, actor, adam_init(psi), start(task.env, config.n_envs, seed, 0), seed, 0, 0)


@np.errstate(over="ignore", invalid="ignore")  # what overflows is found, and raised by name
def update(task: Task, config: Config, state: State, work: Workspace | None = None) -> tuple[State, Update]:
    """Act, estimate ∇J(θ), take one step up it, fit the critic; the state given stays as it was."""
    theta, psi = task.split(state.weights)
    rng, factor = streams.stream(state.seed, state.updates), remaining(config, state.steps)
    rollout, runner = collect(
        task.env, task.policy, theta, state.runner, config.n_steps, rng, **config.seen_as(), work=work
    )
    batch = estimated(task.critic, psi, rollout, config.discount, config.trace, work)
    advantages, degenerate = preferences(config.normalise_advantages, batch.advantages)
    weights = advantages / len(advantages)
    if config.discounted:
        weights = weights * (config.discount**batch.ages).astype(weights.dtype)
    gradient, entropy = score_step(task.policy, theta, batch.obs, batch.actions, weights)  # (5.15), (5.28)
    actor, status = state.actor, degenerate or "no_gradient"
    if gradient.any():
        status = "updated"
        actor, move = OPTIMIZERS[config.optimizer][1](actor, gradient, factor * config.step)
        require_finite_slots(actor)
        theta = require_finite("theta", np.asarray(theta + move, theta.dtype))  # (5.14)
    psi, critic, loss = fit_critic(
        task.critic, psi, state.critic, batch.obs, batch.targets, config, rng, factor, work
    )
    steps = state.steps + rollout.rewards.size
    after = State(np.concatenate([theta, psi]), actor, critic, runner, state.seed, state.updates + 1, steps)
    norm = float(np.linalg.norm(gradient))
    return after, Update(after.updates, steps, status, rollout.episodes, norm, entropy, loss)
