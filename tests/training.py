"""What the tests of the algorithms share: small tasks, and how states are compared."""

import numpy as np

from pgref.agent import AGENTS
from pgref.algorithms import a2c, a3c, actor_critic, npg, ppo, trpo, vpg
from pgref.envs.names import make
from pgref.task import make_task

ALGORITHMS = {m.__name__.rpartition(".")[2]: m for m in (vpg, actor_critic, a2c, a3c, npg, trpo, ppo)}
SMALL = {"n_envs": 3, "n_steps": 12, "hidden": (8,)}  # so that updates take a millisecond or two
EXTRA = {"a3c": {"backend": "schedule", "segments": 6, "n_workers": 2}, "a2c": {"n_workers": 2}}


def settings(algorithm, **more):
    """Return small settings of that algorithm."""
    return {**SMALL, **EXTRA.get(algorithm, {}), **more}


def small(algorithm, env="CartPole", **more):
    """Return the module, a task and a config of that algorithm."""
    module = ALGORITHMS[algorithm]
    config = module.Config(**settings(algorithm, **more))
    return module, make_task(make(env), config), config


def agent(algorithm, env="CartPole", rng=0, **more):
    """Return a small agent."""
    return AGENTS[algorithm](env, rng=rng, **settings(algorithm, **more))


def leaves(state):
    """Yield everything in a nest of tuples."""
    if isinstance(state, tuple):
        for part in state:
            yield from leaves(part)
    else:
        yield state


def bits(state):
    """Return the state as plain values in which every bit counts."""
    return [
        (leaf.dtype.str, leaf.shape, leaf.tobytes()) if isinstance(leaf, np.ndarray) else leaf
        for leaf in leaves(state)
    ]
