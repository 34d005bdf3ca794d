"""Proximal policy optimisation: many small steps on one batch, held near the old policy by the objective.

Either the clipped surrogate, (1/N) Σ min(rÂ, clip(r, 1 − ε, 1 + ε)Â), or the penalised one,
(1/N) Σ [rÂ − βD(π_old ‖ π)] with an adaptive β (Schulman et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref import objectives, streams
from pgref.arrays import Array, Vector, Workspace, count, in_unit_interval, positive
from pgref.critic import clipped_value_rows, value_rows
from pgref.knobs import flag, knob, one_of, optional
from pgref.learning import OPTIMIZERS, Stepping, minibatches, preferences, remaining, step_both, step_init
from pgref.objectives import Batch, ClippedStep
from pgref.rollout import Episodes, Runner, collect, start
from pgref.samples import Samples, estimated
from pgref.task import Task, first_weights


@dataclass(frozen=True, kw_only=True)
class Config(Stepping):
    """Knobs of PPO; as they stand, the paper's clipped objective without any of the usual tricks."""

    objective: str = knob("clip", one_of("clip", "penalty"), "clipped surrogate, or the KL penalty")
    clip: float = knob(0.2, positive, "ε of the clipped surrogate", source="Schulman et al. 2017")
    anneal_clip: bool = knob(False, flag, "ε falls with the step size")
    penalty: float = knob(1.0, positive, "first β of the penalty", source="Schulman et al. 2017")
    kl_target: float = knob(
        0.01, positive, "d at which β is held", unit="nats", source="Schulman et al. 2017"
    )
    trace: float = knob(0.95, in_unit_interval, "λ of GAE", source="Schulman et al. 2017")
    epochs: int = knob(10, count, "passes over the batch", unit="passes", source="Schulman et al. 2017")
    minibatch: int = knob(64, count, "samples in each step", unit="samples", source="Schulman et al. 2017")
    step: float = knob(3e-4, positive, "η_θ", source="Schulman et al. 2017")
    critic_step: float = knob(3e-4, positive, "η_ψ", source="Schulman et al. 2017")
    optimizer: str = knob(
        "adam", one_of(*OPTIMIZERS), "what is done with a gradient", source="Schulman et al. 2017"
    )
    normalise_advantages: bool = knob(False, flag, "advantages of each minibatch to mean 0 and deviation 1")
    clip_values: float | None = knob(None, optional(positive), "ε of a clipped value loss")
    kl_stop: float | None = knob(
        None, optional(positive), "end the update where a minibatch's KL is above", unit="nats"
    )


class State(NamedTuple):
    """Everything that the next update needs."""

    weights: Vector  # [P + Q] θ, then ψ
    slots: Any  # the optimiser's state
    runner: Runner
    penalty: float  # β
    seed: int
    updates: int
    steps: int  # of all environments together


class Update(NamedTuple):
    """What an update did."""

    updates: int
    steps: int
    status: str  # "updated", "stopped_on_kl", or "degenerate_advantages": none is better than another
    episodes: Episodes
    kl: float  # mean KL(old‖new) in nats: estimated over the last pass, or for the penalty exactly
    clip_fraction: float  # of the last pass
    entropy: float  # nats
    value_loss: float
    gradient_norm: float  # before clipping, of the last step
    penalty: float  # β
    epochs: int  # passes begun


def init(task: Task, config: Config, rng: Any) -> State:
    """Return the state before the first update."""
    seed = streams.new_seed(rng)
    weights = first_weights(task, config, streams.stream(seed))
    runner = start(task.env, config.n_envs, seed, 0)
    return State(weights, step_init(config, weights), runner, config.penalty, seed, 0, 0)


@np.errstate(over="ignore", invalid="ignore")  # what overflows is found, and raised by name
def update(task: Task, config: Config, state: State, work: Workspace | None = None) -> tuple[State, Update]:
    """Act, then climb the objective for some passes; the state given stays as it was."""
    theta, psi = task.split(state.weights)
    rng = streams.stream(state.seed, state.updates)
    rollout, runner = collect(
        task.env, task.policy, theta, state.runner, config.n_steps, rng, **config.seen_as(), work=work
    )
    batch = estimated(task.critic, psi, rollout, config.discount, config.trace, work)
    climbed = climb(task, config, state, batch, rng, work)
    penalty, seen = state.penalty, climbed.seen
    if config.objective == "penalty":
        seen = seen._replace(kl=task.policy.mean_kl(theta, task.split(climbed.weights)[0], batch.obs))
        penalty = objectives.adapted_penalty(penalty, seen.kl, config.kl_target)
    updates, steps = state.updates + 1, state.steps + rollout.rewards.size
    after = State(climbed.weights, climbed.slots, runner, penalty, state.seed, updates, steps)
    norm = climbed.gradient_norm
    evidence = Update(updates, steps, climbed.status, rollout.episodes, *seen, norm, penalty, climbed.epochs)
    return after, evidence


class Seen(NamedTuple):
    """Evidence of one step; of a pass the means."""

    kl: float
    clip_fraction: float
    entropy: float
    value_loss: float


class Climbed(NamedTuple):
    """Where the passes over one batch have led."""

    weights: Vector
    slots: Any
    status: str
    seen: Seen
    gradient_norm: float
    epochs: int


def climb(
    task: Task, config: Config, state: State, batch: Samples, rng: np.random.Generator, work: Workspace | None
) -> Climbed:
    """Return the weights after `epochs` passes over the batch in random minibatches."""
    weights, slots, factor = state.weights, state.slots, remaining(config, state.steps)
    n_theta = task.policy.n_params
    theta_old = weights[:n_theta]
    old = task.policy.log_prob(theta_old, batch.obs, batch.actions)
    whole, degenerate = preferred(config, batch)
    norm, status = 0.0, degenerate or "updated"
    seen: list[Seen] = []
    for epoch in range(config.epochs):
        seen = []
        drawing = config.minibatch < len(old)  # else every pass has the same one part
        for part, known in drawn(config, batch, old, rng) if drawing else [(whole, old)]:
            both = task.linearize(weights, part.obs, work)
            actor = actor_step(task, config, both.first, theta_old, part, known, state.penalty, factor, work)
            errors, loss = critic_rows(config, both.second[:, 0], part)
            if config.kl_stop is not None or epoch + 1 == config.epochs:
                evidence = actor.evidence()
                seen.append(Seen(evidence.kl, evidence.clip_fraction, evidence.entropy, loss))
                if config.kl_stop is not None and evidence.kl > config.kl_stop:
                    return Climbed(weights, slots, "stopped_on_kl", _mean(seen), norm, epoch + 1)
            gradient = both.vjp(actor.gradient, -config.critic_weight * errors[:, None])  # (g_θ, −g_ψ)
            slots, weights, norm = step_both(config, slots, weights, gradient, n_theta, factor)
    return Climbed(weights, slots, status, _mean(seen), norm, config.epochs)


def drawn(
    config: Config, batch: Samples, old: Vector, rng: np.random.Generator
) -> Iterator[tuple[Samples, Vector]]:
    """Yield random minibatches with their old log-probabilities, each sample in one of them."""
    for rows in minibatches(len(old), config.minibatch, rng):
        part, _ = preferred(config, Samples(*(array.take(rows, 0) for array in batch)))
        yield part, old[rows]


def preferred(config: Config, part: Samples) -> tuple[Samples, str]:
    """Return samples with their advantages as the objective takes them; see `learning.preferences`."""
    advantages, degenerate = preferences(config.normalise_advantages, part.advantages)
    return part._replace(advantages=advantages), degenerate


def actor_step(
    task: Task,
    config: Config,
    z: Array,
    theta_old: Vector,
    part: Samples,
    old: Vector,
    penalty: float,
    factor: float,
    work: Workspace | None,
) -> ClippedStep:
    """Return the derivatives of the objective on a minibatch in z [N, K], with its evidence."""
    batch = Batch(part.obs, part.actions, part.advantages, old)
    clip = config.clip * (factor if config.anneal_clip else 1.0)
    scores = task.policy.scored(z, part.actions, lambda rows: rows)
    step = objectives.clipped_step_at(scores, batch, clip=clip, entropy=config.entropy)
    if config.objective == "clip":
        return step
    z_old = task.policy.network.linearize(theta_old, part.obs, work and work.part("old")).value
    rows = objectives.kl_penalised_grad_at(
        task.policy, z, z_old, batch, penalty=penalty, entropy=config.entropy
    )
    return step._replace(gradient=rows)


def critic_rows(config: Config, values: Vector, part: Samples) -> tuple[Vector, float]:
    """Return the derivatives of the critic's loss on a minibatch in its values, and the mean square."""
    rows, loss = value_rows(values, part.targets)
    if config.clip_values is not None:
        rows = clipped_value_rows(values, part.targets, part.values, config.clip_values)
    return rows, loss


def _mean(seen: list[Seen]) -> Seen:
    return Seen(*(float(np.mean(column)) for column in zip(*seen, strict=True)))
