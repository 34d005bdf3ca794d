"""Environments by name: every name makes one that steps, and nothing is loaded before it is asked for."""

import subprocess
import sys

import numpy as np
import pytest

from pgref.envs.names import make, names
from pgref.envs.protocol import Episodic
from pgref.errors import ArgumentError
from pgref.spaces import Box

CLASSES = {
    "CartPole": ("CartPole", 500),
    "Pendulum": ("Pendulum", 200),
    "Acrobot": ("Acrobot", 500),
    "MountainCarContinuous": ("MountainCarContinuous", 999),
    "LQR": ("LQR", 100),
    "ProbeObservation": ("Probe", 10),
    "ProbeDelay": ("Probe", 10),
    "ProbeTermination": ("Probe", 10),
    "ProbeTimeLimit": ("Probe", 5),
    "ProbeAction": ("Probe", 10),
    "ProbeMatch": ("Probe", 10),
    "ProbeCredit": ("Probe", 10),
}


def test_the_names_are_these():
    assert names() == list(CLASSES)
    names().clear()
    assert names()


@pytest.mark.parametrize("name", CLASSES)
def test_every_name_makes_an_environment_that_steps(name):
    env = make(name)
    assert isinstance(env, Episodic)
    assert (type(env.dynamics).__name__, env.time_limit) == CLASSES[name]
    assert env.name == name
    assert env == make(name)
    assert hash(env) == hash(make(name))
    state, obs = env.reset(np.arange(3))
    box = isinstance(env.action_space, Box)
    for _ in range(12):
        step = env.step(state, np.zeros((3, env.action_space.d)) if box else np.zeros(3, np.int64))
        state = step.state
        assert step.obs.shape == step.final_obs.shape == obs.shape == (3, env.obs_space.d)
        assert np.isfinite(step.obs).all()
        assert step.reward.shape == step.terminated.shape == step.truncated.shape == (3,)


def test_each_probe_is_another_one():
    made = [make(name).dynamics for name in names() if name.startswith("Probe")]
    assert len({probe.failure for probe in made}) == len(made)


@pytest.mark.parametrize("name", ["CartPole-v1", "cartpole", "", None, 3, ["LQR"]])
def test_other_names_are_refused_with_those_there_are(name):
    with pytest.raises(ArgumentError, match=r"name must be one of CartPole, .*, LQR, .*, got ") as caught:
        make(name)
    assert repr(name) in str(caught.value)
    assert 'install "pgref[gym]" and call pgref.envs.gym.from_gymnasium' in str(caught.value)


def test_only_what_is_made_is_loaded():
    script = (
        "import sys; from pgref.envs import names; "
        "loaded = lambda: {m.split('.')[2] for m in sys.modules if m.startswith('pgref.envs.')}; "
        "assert loaded() == {'names', 'protocol'}, loaded(); names.make('LQR'); "
        "assert loaded() == {'names', 'protocol', 'lqr'}, loaded(); assert 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
