"""What the tests of exports share: a small policy of every kind, with the attributes of an agent."""

import math
from types import SimpleNamespace

import numpy as np

from pgref.distributions import Categorical, DiagonalGaussian, MultiCategorical
from pgref.moments import merged, no_moments
from pgref.networks import MLP, Table, WithFreeOutputs
from pgref.policy import Policy
from pgref.spaces import Box, Discrete, MultiDiscrete

WIDE = Box((-math.inf,) * 3, (math.inf,) * 3)
ARM = Box((-0.5, -math.inf), (math.inf, 0.25))
MULTI, STATES = MultiDiscrete((3, 1, 2)), Discrete(5)
FREE = WithFreeOutputs(MLP((3, 8, 2), "relu"), 2)
KINDS = {  # network, distribution, observations, actions, whether observations are normalised
    "categorical": (MLP((3, 8, 6, 4)), Categorical(), WIDE, Discrete(4), False),
    "categorical relu normalised": (MLP((3, 8, 4), "relu"), Categorical(), WIDE, Discrete(4), True),
    "linear": (MLP((3, 2)), Categorical(), WIDE, Discrete(2), False),
    "one action": (MLP((3, 2, 1)), Categorical(), WIDE, Discrete(1), False),
    "multi-categorical": (MLP((3, 8, 6)), MultiCategorical((3, 1, 2)), WIDE, MULTI, True),
    "Gaussian": (FREE, DiagonalGaussian(), WIDE, ARM, False),
    "Gaussian normalised": (FREE, DiagonalGaussian(), WIDE, ARM, True),
    "Gaussian with a log σ of its own": (MLP((3, 9, 4)), DiagonalGaussian(), WIDE, ARM, False),
    "table": (Table(5, 4), Categorical(), STATES, Discrete(4), False),
    "table of several": (Table(5, 6), MultiCategorical((3, 1, 2)), STATES, MULTI, False),
    "table of a Gaussian": (WithFreeOutputs(Table(5, 2), 2), DiagonalGaussian(), STATES, ARM, False),
}


def acting(kind="categorical", dtype="float64", seed=0, **more):
    """Return what an export needs of an agent, with random parameters."""
    network, distribution, obs_space, action_space, normalise = KINDS[kind]
    rng, policy = np.random.default_rng(seed), Policy(network, distribution)
    seen = no_moments(3 if obs_space is WIDE else 1)
    if normalise:
        seen = merged(seen, rng.normal([1e3, 0, -5], [1e-2, 0, 30], (50, 3)))
    parts = {
        "algorithm": "trpo",
        "env": SimpleNamespace(name="World", obs_space=obs_space, action_space=action_space),
        "state": SimpleNamespace(steps=7),
        "policy": policy,
        "theta": rng.normal(size=policy.n_params).astype(dtype),
        "seen": seen,
    }
    return SimpleNamespace(**{**parts, **more})
