"""What the tests of exports share: a small policy of every kind, and programs to run them."""

import math
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from pgref import presets
from pgref.agent import TRPO
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

WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Werror", "-O1")
CARTPOLE = """
#include <stdio.h>
#include "cart.h"
#ifndef STARTS
#define STARTS 100
#endif
int main(void)
{
    int start, t, shortest = 500;
    for (start = 0; start < 100; start += 100 / STARTS) {
        double x = start % 10 / 100. - .045, v = start / 10 / 100. - .045, angle = -x, rate = v / 2;
        for (t = 0; t < 500 && fabs(x) <= 2.4 && fabs(angle) <= 12 * 2 * 3.141592653589793 / 360; t++) {
            const cart_obs obs[CART_OBS] = {(cart_obs)x, (cart_obs)v, (cart_obs)angle, (cart_obs)rate};
            cart_action action[CART_ACTIONS];
            double push, turn, cosine = cos(angle);
            if (cart_act(obs, NULL, action)) return 1;
            push = ((action[0] ? 10 : -10) + .05 * rate * rate * sin(angle)) / 1.1;
            turn = (9.8 * sin(angle) - cosine * push) / (.5 * (4 / 3. - .1 * cosine * cosine / 1.1));
            x += .02 * v;
            v += .02 * (push - .05 * turn * cosine / 1.1);
            angle += .02 * rate;
            rate += .02 * turn;
        }
        if (t < shortest) shortest = t;
    }
    printf("%d", shortest);
    return cart_self_test();
}
"""


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


def balancing():
    """Return an agent that keeps CartPole's pole up in 100 episodes of 100, on whichever machine."""
    preset = presets.named("fast", "trpo", "CartPole")
    learned = (TRPO("CartPole", rng=seed, **preset.settings).learn(preset.steps) for seed in range(10))
    return next(agent for agent in learned if agent.evaluate(100).mean == 500)


def program(name):
    """Return a program's path; where it is missing the test skips, or fails if PGREF_REQUIRE_EXTRAS=1."""
    return shutil.which(name) or missing(f"{name} is not installed")


def missing(message):
    """Skip the test, or fail it if PGREF_REQUIRE_EXTRAS=1."""
    if os.environ.get("PGREF_REQUIRE_EXTRAS") == "1":
        pytest.fail(message)
    pytest.skip(message)
