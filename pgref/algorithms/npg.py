"""Natural policy gradient: the step of (5.29) as it stands, without a line search (Kakade 2001)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref import natural, streams
from pgref.arrays import Vector, Workspace, count, non_negative, positive, require_finite
from pgref.knobs import knob, optional
from pgref.learning import CriticFit, fit_critic, preferences, remaining
from pgref.objectives import score_step
from pgref.optimizers import AdamState, adam_init
from pgref.rollout import Episodes, Runner, collect, start
from pgref.samples import estimated
from pgref.task import Task, first_weights


@dataclass(frozen=True, kw_only=True)
class Config(CriticFit):
    """Knobs of the natural policy gradient; as they stand, (5.29) with its ½."""

    kl_limit: float = knob(0.01, positive, "δ of (5.29): half the curvature of a step", unit="nats")
    step: float | None = knob(
        None, optional(positive), "fixed η of θ + ηH⁻¹g, in place of δ", source="Kakade 2001"
    )
    damping: float = knob(0.0, non_negative, "multiple of the identity added to H")
    products: int = knob(10, count, "most products with H that conjugate gradients may spend")


class State(NamedTuple):
    """Everything that the next update needs."""

    weights: Vector  # [P + Q] θ, then ψ
    critic: AdamState
    runner: Runner
    seed: int
    updates: int
    steps: int  # of all environments together


class Update(NamedTuple):
    """What an update did."""

    updates: int
    steps: int
    status: str  # of conjugate gradients: converged, budget, flat; or "degenerate_advantages": θ stays
    episodes: Episodes
    kl: float  # mean KL(old‖new), nats: what became of δ
    residual: float  # ‖g − Hx‖
    entropy: float  # nats, before the step
    value_loss: float


def init(task: Task, config: Config, rng: Any) -> State:
    """Return the state before the first update."""
    seed = streams.new_seed(rng)
    weights = first_weights(task, config, streams.stream(seed))
    critic = adam_init(task.split(weights)[1])
    return State(weights, critic, start(task.env, config.n_envs, seed, 0), seed, 0, 0)


@np.errstate(over="ignore", invalid="ignore")  # what overflows is found, and raised by name
def update(task: Task, config: Config, state: State, work: Workspace | None = None) -> tuple[State, Update]:
    """Act, take the natural step, fit the critic; the state given stays as it was."""
    theta, psi = task.split(state.weights)
    rng, factor = streams.stream(state.seed, state.updates), remaining(config, state.steps)
    rollout, runner = collect(
        task.env, task.policy, theta, state.runner, config.n_steps, rng, **config.seen_as(), work=work
    )
    batch = estimated(task.critic, psi, rollout, config.discount, config.trace, work)
    advantages, degenerate = preferences(config.normalise_advantages, batch.advantages)
    weights, apart = advantages / len(advantages), work and work.part("score")  # g outlives the products
    g, entropy = score_step(task.policy, theta, batch.obs, batch.actions, weights, work=apart)  # (5.28)
    fisher = task.policy.fisher_product(theta, batch.obs, work=work)

    def product(v: Vector) -> Vector:
        return np.asarray(fisher(v) + config.damping * v)

    x, residual, _, status = natural.conjugate_gradient(product, g, max_products=config.products)  # H⁻¹g
    if config.step is None:
        move = natural.natural_step(product, x, kl_limit=factor * config.kl_limit)  # (5.29)
    else:
        move = factor * config.step * x
    new = require_finite("theta", np.asarray(theta + move, theta.dtype))
    kl = task.policy.mean_kl(theta, new, batch.obs)
    psi, critic, loss = fit_critic(
        task.critic, psi, state.critic, batch.obs, batch.targets, config, rng, factor, work
    )
    steps = state.steps + rollout.rewards.size
    after = State(np.concatenate([new, psi]), critic, runner, state.seed, state.updates + 1, steps)
    return after, Update(
        after.updates, steps, degenerate or status, rollout.episodes, kl, residual, entropy, loss
    )
