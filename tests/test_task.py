"""Tasks: a policy and a critic for every pair of spaces, and their first weights."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scripted import frozen

from pgref.critic import Critic
from pgref.distributions import Categorical, DiagonalGaussian, MultiCategorical
from pgref.envs.cartpole import CartPole
from pgref.envs.pendulum import Pendulum
from pgref.envs.protocol import Episodic
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError
from pgref.networks import MLP, Table, WithFreeOutputs
from pgref.policy import Policy
from pgref.spaces import Box, Discrete, MultiDiscrete
from pgref.task import Networks, first_weights, make_task

CARTPOLE = Episodic("CartPole-v1", CartPole(), 500)
PENDULUM = Episodic("Pendulum-v1", Pendulum(), 200)


@dataclass(frozen=True)
class Spaces:
    """An environment as far as a task asks."""

    obs_space: Any
    action_space: Any
    name: str = "spaces"


def weights(task, networks, seed=0):
    return first_weights(task, networks, np.random.default_rng(seed))


OBS = {"vectors": Box((0.0,) * 5, (1.0,) * 5), "states": Discrete(7)}
ACTIONS = {
    "one of 4": (Discrete(4), Categorical(), 4),
    "one": (Discrete(1), Categorical(), 1),
    "several": (MultiDiscrete((2, 3, 4)), MultiCategorical((2, 3, 4)), 9),
    "reals": (Box((-1.0, -2.0), (1.0, 2.0)), DiagonalGaussian(), 2),
}


@pytest.mark.parametrize("hidden", [(), (3,), (4, 2)])
@pytest.mark.parametrize(("seen", "done"), list(product(OBS, ACTIONS)))
def test_every_pair_of_spaces_gets_its_policy_and_its_critic(seen, done, hidden):
    space, distribution, outputs = ACTIONS[done]
    env = Spaces(OBS[seen], space)
    networks = Networks(hidden=hidden, activation="relu", dtype="float64")
    task = make_task(env, networks)

    def network(n):
        return MLP((5, *hidden, n), "relu") if seen == "vectors" else Table(7, n)

    wanted = WithFreeOutputs(network(2), 2) if done == "reals" else network(outputs)
    assert task == (env, Policy(wanted, distribution), Critic(network(1)))
    # it acts and judges
    rng = np.random.default_rng(0)
    theta, psi = task.split(weights(task, networks))
    obs = rng.random((6, 5)) if seen == "vectors" else rng.integers(0, 7, 6)
    actions = task.policy.sample(theta, obs, rng)
    assert len(actions) == len(task.critic.values(psi, obs)) == 6
    assert np.isfinite(task.policy.log_prob(theta, obs, actions)).all()


def test_observations_of_several_choices_are_refused():
    with pytest.raises(ArgumentTypeError, match="observations must be a Box or Discrete, got MultiDiscrete"):
        make_task(Spaces(MultiDiscrete((2, 2)), Discrete(2)), Networks())


def test_weights_split_into_views():
    task = make_task(PENDULUM, Networks(hidden=(3,)))
    w = weights(task, Networks(hidden=(3,)))
    theta, psi = task.split(w)
    assert (len(theta), len(psi)) == (task.policy.n_params, task.critic.n_params) == (17, 16)
    assert theta.base is not None
    assert np.shares_memory(theta, w)
    assert np.shares_memory(psi, w)
    np.testing.assert_array_equal(np.concatenate([theta, psi]), w)


def test_defaults_are_those_of_most_papers():
    networks = Networks()
    assert (networks.hidden, networks.activation, networks.dtype) == ((64, 64), "tanh", "float32")
    assert (networks.hidden_layers, networks.last_layer, networks.log_std) == (1.0, 1.0, 0.0)
    assert not networks.orthogonal
    assert make_task(CARTPOLE, networks).policy.network == MLP((4, 64, 64, 2), "tanh")


@pytest.mark.parametrize("env", [CARTPOLE, PENDULUM], ids=["CartPole", "Pendulum"])
@pytest.mark.parametrize("hidden", [(), (8, 8)])
def test_the_last_layer_of_the_policy_alone_is_scaled(env, hidden):
    plain, small = (Networks(hidden=hidden, dtype="float64", last_layer=f) for f in (1.0, 0.01))
    task = make_task(env, plain)
    before, after = weights(task, plain), weights(task, small)
    ratio = np.divide(after, before, out=np.ones_like(before), where=before != 0)
    mlp = getattr(task.policy.network, "network", task.policy.network)
    last = mlp.layers(np.arange(mlp.n_params))[-1][:-1].ravel()
    assert len(last) == (hidden or (mlp.sizes[0],))[-1] * mlp.n_outputs
    wanted = np.ones(len(before))
    wanted[last] = 0.01
    np.testing.assert_allclose(ratio, wanted, rtol=1e-15)
    # a policy that starts out nearly uniform: z is small where the observation is of order 1
    obs = np.ones((1, mlp.sizes[0]))
    z = task.policy.network.linearize(task.split(after)[0], obs).value
    wide = task.policy.network.linearize(task.split(before)[0], obs).value
    np.testing.assert_allclose(z[:, : mlp.n_outputs], 0.01 * wide[:, : mlp.n_outputs], rtol=1e-12)


@pytest.mark.parametrize("env", [CARTPOLE, PENDULUM], ids=["CartPole", "Pendulum"])
def test_the_hidden_layers_of_policy_and_critic_are_scaled_and_nothing_else(env):
    plain, wide = (Networks(dtype="float64", hidden_layers=f) for f in (1.0, 2.0))
    task = make_task(env, plain)
    before, after = task.split(weights(task, plain)), task.split(weights(task, wide))
    policy = getattr(task.policy.network, "network", task.policy.network)
    for mlp, narrow, scaled in zip((policy, task.critic.network), before, after, strict=True):
        *hidden, last = zip(mlp.layers(narrow[: mlp.n_params]), mlp.layers(scaled), strict=True)
        assert len(hidden) == 2
        assert all((2 * one == other).all() for one, other in hidden)
        np.testing.assert_array_equal(*last)
        np.testing.assert_array_equal(narrow[mlp.n_params :], scaled[mlp.n_params :])


@pytest.mark.parametrize("env", [CARTPOLE, PENDULUM], ids=["CartPole", "Pendulum"])
def test_orthogonal_first_weights_are_isometries_with_the_factors_of_their_layers(env):
    networks = Networks(dtype="float64", orthogonal=True, hidden_layers=2.0, last_layer=0.5)
    task = make_task(env, networks)
    policy = getattr(task.policy.network, "network", task.policy.network)
    for mlp, part, last in zip(
        (policy, task.critic.network), task.split(weights(task, networks)), (0.5, 1.0), strict=True
    ):
        for layer, factor in zip(mlp.layers(part[: mlp.n_params]), (2.0, 2.0, last), strict=True):
            w = layer[:-1] / factor
            gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
            np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-14)
            assert not layer[-1].any()


def test_orthogonal_first_weights_prefer_no_direction():
    # the sign of an entry is a coin's: without the correction QR makes those of the first column negative
    networks = Networks(dtype="float64", orthogonal=True, hidden=(3,))
    task = make_task(CARTPOLE, networks)
    signs = [
        np.sign(task.critic.network.layers(task.split(weights(task, networks, i))[1])[0][0, 0])
        for i in range(400)
    ]
    assert abs(sum(signs)) <= 5 * np.sqrt(400)


def test_log_std_is_that_of_every_action_and_of_nothing_else():
    env = Spaces(OBS["vectors"], ACTIONS["reals"][0])
    plain, wide = Networks(dtype="float64"), Networks(dtype="float64", log_std=-0.5)
    task = make_task(env, plain)
    before, after = weights(task, plain), weights(task, wide)
    changed = (before != after).nonzero()[0]
    np.testing.assert_array_equal(changed, [task.policy.n_params - 2, task.policy.n_params - 1])
    assert (after[changed] == -0.5).all()
    z = task.policy.network.linearize(task.split(after)[0], np.ones((3, 5))).value
    assert (z[:, 2:] == -0.5).all()
    # a table of states has it too
    table = make_task(replace(env, obs_space=Discrete(3)), wide)
    np.testing.assert_array_equal(table.split(weights(table, wide))[0], [0] * 6 + [-0.5] * 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_weights_have_the_dtype_asked_for_and_the_same_numbers(dtype):
    networks = Networks(dtype=dtype, last_layer=0.1, log_std=-1.0)
    task = make_task(PENDULUM, networks)
    w = weights(task, networks, 3)
    assert w.dtype == dtype
    assert w.flags.c_contiguous
    assert w.flags.owndata
    doubles = weights(task, replace(networks, dtype="float64"), 3)
    np.testing.assert_array_equal(w, doubles.astype(dtype))
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(task.policy.init(rng)[:256], doubles[:256])  # θ is drawn first
    np.testing.assert_array_equal(task.critic.init(rng), task.split(doubles)[1])
    other = weights(task, networks, 4)
    assert (w != other).any()


def test_first_weights_that_their_dtype_cannot_hold_are_refused():
    for networks in (Networks(log_std=1e39), Networks(last_layer=1e42), Networks(hidden_layers=1e42)):
        task = make_task(PENDULUM, networks)
        with pytest.raises(NonFiniteError, match=r"first weights must be finite, got -?inf at index"):
            weights(task, networks)
        weights(task, replace(networks, dtype="float64"))


def test_a_task_does_not_touch_its_weights():
    task = make_task(CARTPOLE, Networks())
    task.split(frozen(weights(task, Networks())))


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"hidden": (0,)}, ArgumentError),
        ({"hidden": 64}, ArgumentTypeError),
        ({"activation": "gelu"}, ArgumentError),
        ({"dtype": "float16"}, ArgumentError),
        ({"dtype": np.float32}, ArgumentError),
        ({"last_layer": 0.0}, ArgumentError),
        ({"log_std": np.inf}, ArgumentError),
    ],
)
def test_unusable_networks_are_refused_when_they_are_described(setting, error):
    (name,) = setting
    with pytest.raises(error, match=f"{name} must be"):
        Networks(**setting)
