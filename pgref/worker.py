"""The Worker's half of A2C and A3C: what it stores, and the gradients it hands over (Algorithms 5.20, 5.21).

Knows nothing of environments, threads or the Master.
"""

from __future__ import annotations

from typing import NamedTuple

from pgref.arrays import Array, Vector
from pgref.critic import Critic, Transitions, semi_gradient, td_advantages
from pgref.policy import Policy


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
