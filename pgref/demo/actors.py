"""What an agent plays and judges with, now and before its first update, as the exports take it.

A critic is written down by the same export as a policy: as one with a single choice, whose one output is V.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pgref import streams
from pgref.agent import Agent
from pgref.arrays import Vector
from pgref.distributions import Categorical
from pgref.moments import Moments, deviation, no_moments
from pgref.policy import Policy
from pgref.spaces import Discrete, Space
from pgref.task import first_weights


class Spaces(NamedTuple):
    """What an export needs of an environment."""

    name: str
    obs_space: Space
    action_space: Space


class Counted(NamedTuple):
    """What an export needs of a state."""

    steps: int


class Actor(NamedTuple):
    """What an export needs of an agent."""

    algorithm: str
    env: Spaces
    state: Counted
    policy: Policy
    theta: Vector  # [P]
    seen: Moments


class Pair(NamedTuple):
    """Both networks of an agent."""

    policy: Actor
    critic: Actor  # its one output is V(s)


def trained(agent: Agent) -> Pair:
    """Return what has been learned; V is in units of the reward, even if the critic's rewards were scaled."""
    gained = agent.runners()[0].gained
    return _pair(agent, agent.state.weights, agent.state.steps, agent.seen, gained)


def untrained(agent: Agent) -> Pair:
    """Return what there was before the first update: the seed draws the same θ and ψ again."""
    weights = first_weights(agent.task, agent.config, streams.stream(agent.state.seed))
    return _pair(agent, weights, 0, no_moments(len(agent.seen.mean)), no_moments(1))


def _pair(agent: Agent, weights: Vector, steps: int, seen: Moments, gained: Moments) -> Pair:
    theta, psi = agent.task.split(weights.copy())
    network: Any = agent.critic.network
    if gained.n:
        network.layers(psi)[-1][...] *= deviation(gained)
    env, state = agent.env, Counted(steps)
    acts, judges = (Spaces(env.name, env.obs_space, space) for space in (env.action_space, Discrete(1)))
    return Pair(
        Actor(agent.algorithm, acts, state, agent.policy, theta, seen),
        Actor(f"critic of {agent.algorithm}", judges, state, Policy(network, Categorical()), psi, seen),
    )
