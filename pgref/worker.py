"""The Worker's half of A2C and A3C: what it stores, and the gradients it hands over (Algorithms 5.20, 5.21).

`worker_gradients` is the box as printed; `work` acts first, and takes the knobs that the box does not have.
Knows nothing of threads or the Master.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pgref import streams
from pgref.arrays import Array, Vector, Workspace, require_finite
from pgref.critic import Critic, Transitions, semi_gradient, td_advantages
from pgref.learning import Working
from pgref.objectives import score_step_at
from pgref.policy import Policy
from pgref.rollout import Episodes, Runner, collect
from pgref.samples import estimated, looked_at, transitions
from pgref.task import Task


class Segment(NamedTuple):
    """What L steps of the policy leave behind: {S_t, A_t, R_t, S_{t+1}}."""

    obs: Array  # [L, …]
    actions: Array  # [L] or [L, d]
    rewards: Array  # [L]
    next_obs: Array  # [L, …] what the action led to
    terminated: Array  # [L] bool: V(S_{t+1}) counts as 0; where a segment is merely cut off it does not


class WorkerGradients(NamedTuple):
    """(g_ψ, g_θ), in the order in which the Worker returns them."""

    g_psi: Vector  # [Q] to descend
    g_theta: Vector  # [P] to ascend


def worker_gradients(
    policy: Policy, critic: Critic, theta: Vector, psi: Vector, segment: Segment, discount: float
) -> WorkerGradients:
    """Return g_ψ = −2 Σ_t Â_t ∇V_ψ(S_t) and g_θ = Σ_t ∇log π_θ(A_t|S_t) Â_t, sums over the segment.

    Â_t = R_t + γ V_ψ(S_{t+1}) − V_ψ(S_t) is a constant in both. As printed, g_ψ = ∇_ψ Σ Â² would be
    `critic.residual_gradient`; the semi-gradient is what A2C and A3C mean.
    """
    obs, actions, rewards, next_obs, terminated = segment
    transitions = Transitions(obs, rewards, next_obs, terminated)
    advantages = td_advantages(critic, psi, transitions, discount)
    return WorkerGradients(
        semi_gradient(critic, psi, transitions, discount),
        policy.score_sum(theta, obs, actions, advantages),
    )


class Worked(NamedTuple):
    """What a Worker returns to the Coordinator or to the Master."""

    gradient: Vector  # [P + Q] the direction to go: g_θ, then −g_ψ
    runner: Runner  # where its environments stand now
    samples: int  # transitions in the gradient
    episodes: Episodes
    entropy: float  # nats, mean over the samples
    value_loss: float  # mean Â²


@np.errstate(over="ignore", invalid="ignore")  # what overflows is found, and raised by name
def work(
    task: Task,
    config: Working,
    weights: Vector,
    runner: Runner,
    path: tuple[int, ...],
    work: Workspace | None = None,
) -> Worked:
    """Run L steps of π_θ and return the gradients; `path` names the random stream: seed, update, worker.

    A top-level function of plain data, so that any executor can run it. With the knobs at their defaults
    the gradient is that of `worker_gradients`.
    """
    theta, psi = task.split(weights)
    rollout, runner = collect(
        task.env,
        task.policy,
        theta,
        runner,
        config.n_steps,
        streams.stream(*path),
        **config.seen_as(),
        work=work,
    )
    both, kept = task.linearize(weights, looked_at(rollout), work and work.part("both")), transitions(rollout)
    _, actions, advantages, *_ = estimated(
        task.critic, psi, rollout, config.discount, config.trace, work, both.second[:, 0]
    )
    n = len(advantages)
    rows, errors = (np.zeros(array.shape, weights.dtype) for array in (both.first, both.second))
    scores = task.policy.scored(both.first[kept], actions, lambda rows: rows)
    rows[kept], entropy = score_step_at(scores, advantages, entropy=config.entropy)
    errors[kept, 0] = require_finite("weights", 2 * config.critic_weight * advantages)  # −∂Σ Â²/∂V(S)
    gradient = both.vjp(rows, errors) / (n if config.mean else 1)  # (g_θ, −g_ψ) of the box
    loss = float(advantages @ advantages) / n
    return Worked(gradient, runner, n, rollout.episodes, entropy, loss)
