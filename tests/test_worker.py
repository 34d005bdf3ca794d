"""The Worker's two gradients against complex steps of losses written out here, with Â a constant."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import critic as critics
from pgref.critic import Critic
from pgref.distributions import Categorical, DiagonalGaussian
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, PgrefError, ShapeError
from pgref.networks import MLP, Table
from pgref.policy import Policy
from pgref.worker import Segment, WorkerGradients, worker_gradients

seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 6)
discounts = st.sampled_from([0.0, 0.5, 0.99, 1.0])

ACTOR, CRITIC = Policy(MLP((2, 3, 4)), Categorical()), Critic(MLP((2, 3, 1)))
TABLE_ACTOR, TABLE_CRITIC = Policy(Table(3, 2), Categorical()), Critic(Table(3, 1))
GAUSSIAN = Policy(MLP((2, 3, 4)), DiagonalGaussian())  # two real actions


def segment_of(rng, length, policy=ACTOR):
    obs, next_obs = rng.standard_normal((2, length, 2))
    actions = rng.standard_normal((length, 2)) if policy is GAUSSIAN else rng.integers(0, 4, length)
    return Segment(obs, actions, rng.standard_normal(length), next_obs, rng.random(length) < 0.4)


def network(sizes, theta, obs):
    """Return the outputs of a tanh network with one hidden layer, in plain NumPy."""
    n_in, width, n_out = sizes
    w1, b1, w2, b2 = np.split(theta, np.cumsum([n_in * width, width, width * n_out]))
    return np.tanh(obs @ w1.reshape(n_in, width) + b1) @ w2.reshape(width, n_out) + b2


def values(psi, obs):
    return network((2, 3, 1), psi, obs)[:, 0]


def log_prob(policy, theta, obs, actions):
    z = network((2, 3, 4), theta, obs)
    if policy is GAUSSIAN:
        mean, log_std = z[:, :2], z[:, 2:]
        return (-(((actions - mean) / np.exp(log_std)) ** 2) / 2 - log_std - math.log(2 * math.pi) / 2).sum(1)
    return z[np.arange(len(z)), actions] - np.log(np.exp(z).sum(1))


def complex_steps(f, theta):
    return np.array([f(theta + 1e-30j * e).imag / 1e-30 for e in np.eye(len(theta))])


@pytest.mark.parametrize("policy", [ACTOR, GAUSSIAN], ids=["categorical", "Gaussian"])
@given(seed=seeds, length=lengths, discount=discounts)
@example(seed=0, length=1, discount=0.0)
def test_both_gradients_are_complex_step_derivatives_of_sums_with_a_frozen_advantage(
    policy, seed, length, discount
):
    rng = np.random.default_rng(seed)
    theta, psi = rng.standard_normal(policy.n_params), rng.standard_normal(CRITIC.n_params)
    segment = segment_of(rng, length, policy)
    targets = segment.rewards.copy()
    for t in range(length):
        if not segment.terminated[t]:
            targets[t] += discount * values(psi, segment.next_obs[[t]])[0]
    advantages = targets - values(psi, segment.obs)

    def surrogate(t):
        return (log_prob(policy, t, segment.obs, segment.actions) * advantages).sum()

    def loss(p):
        return ((targets - values(p, segment.obs)) ** 2).sum()

    g_psi, g_theta = worker_gradients(policy, CRITIC, theta, psi, segment, discount)
    for g, reference in ((g_theta, complex_steps(surrogate, theta)), (g_psi, complex_steps(loss, psi))):
        np.testing.assert_allclose(g, reference, rtol=0, atol=1e-13 * (1 + np.abs(reference).max()))


def test_one_step_by_hand():
    # V = (1, 2, 4), γ = ½: Â = 3 + ½·4 − 1 = 4 from state 0 to 2; π(·|0) = (¼, ¾)
    theta, psi = np.array([0.0, math.log(3.0), 0, 0, 0, 0]), np.array([1.0, 2.0, 4.0])
    step = [np.array([x]) for x in (0, 1, 3.0, 2)]
    cut = worker_gradients(TABLE_ACTOR, TABLE_CRITIC, theta, psi, Segment(*step, np.array([False])), 0.5)
    np.testing.assert_allclose(cut.g_psi, [-8, 0, 0], rtol=1e-15)  # −2Â ∇V, nothing for V(S′)
    np.testing.assert_allclose(cut.g_theta, [-1, 1, 0, 0, 0, 0], rtol=1e-15)  # Â (e₁ − π)
    # terminated: Â = 3 − 1 = 2
    ended = worker_gradients(TABLE_ACTOR, TABLE_CRITIC, theta, psi, Segment(*step, np.array([True])), 0.5)
    np.testing.assert_allclose(ended.g_psi, [-4, 0, 0], rtol=1e-15)
    np.testing.assert_allclose(ended.g_theta, [-0.5, 0.5, 0, 0, 0, 0], rtol=1e-15)


def test_what_follows_the_end_of_an_episode_does_not_count(rng):
    theta, psi = ACTOR.init(rng), CRITIC.init(rng)
    segment = segment_of(rng, 6)._replace(terminated=np.array([True, False] * 3))
    elsewhere = np.where(segment.terminated[:, None], 7.0, segment.next_obs)
    plain, moved = (
        worker_gradients(ACTOR, CRITIC, theta, psi, segment._replace(next_obs=obs), 0.9)
        for obs in (segment.next_obs, elsewhere)
    )
    np.testing.assert_array_equal(moved.g_psi, plain.g_psi)
    np.testing.assert_array_equal(moved.g_theta, plain.g_theta)
    cut = worker_gradients(ACTOR, CRITIC, theta, psi, segment._replace(terminated=np.zeros(6, bool)), 0.9)
    assert (cut.g_psi != plain.g_psi).any()
    assert (cut.g_theta != plain.g_theta).any()


@given(seed=seeds, parts=st.lists(lengths, min_size=1, max_size=4))
def test_the_gradients_of_segments_add_up_to_that_of_all_their_steps(seed, parts):
    rng = np.random.default_rng(seed)
    theta, psi = ACTOR.init(rng), CRITIC.init(rng)
    segments = [segment_of(rng, length) for length in parts]
    joined = Segment(*map(np.concatenate, zip(*segments, strict=True)))
    together = worker_gradients(ACTOR, CRITIC, theta, psi, joined, 0.9)
    apart = [worker_gradients(ACTOR, CRITIC, theta, psi, segment, 0.9) for segment in segments]
    for name in WorkerGradients._fields:
        columns = np.array([getattr(g, name) for g in apart])
        scale = np.abs(columns).sum(0).max()
        np.testing.assert_allclose(columns.sum(0), getattr(together, name), rtol=0, atol=1e-14 * scale)
    backwards = worker_gradients(ACTOR, CRITIC, theta, psi, Segment(*(x[::-1] for x in joined)), 0.9)
    np.testing.assert_allclose(backwards.g_theta, together.g_theta, rtol=0, atol=1e-13)


def test_repeating_a_segment_doubles_its_gradients(rng):
    # a sum over the segment, not a mean
    theta, psi, segment = ACTOR.init(rng), CRITIC.init(rng), segment_of(rng, 5)
    once = worker_gradients(ACTOR, CRITIC, theta, psi, segment, 0.9)
    twice = worker_gradients(
        ACTOR, CRITIC, theta, psi, Segment(*(np.concatenate([x, x]) for x in segment)), 0.9
    )
    np.testing.assert_allclose(twice.g_psi, 2 * once.g_psi, rtol=1e-12)
    np.testing.assert_allclose(twice.g_theta, 2 * once.g_theta, rtol=1e-12)


def test_the_critic_comes_first_and_its_gradient_is_the_semi_gradient(rng):
    theta, psi, segment = ACTOR.init(rng), CRITIC.init(rng), segment_of(rng, 5)
    gradients = worker_gradients(ACTOR, CRITIC, theta, psi, segment, 0.9)
    assert gradients._fields == ("g_psi", "g_theta")
    assert [g.shape for g in gradients] == [psi.shape, theta.shape]
    transitions = critics.Transitions(segment.obs, segment.rewards, segment.next_obs, segment.terminated)
    np.testing.assert_array_equal(gradients.g_psi, critics.semi_gradient(CRITIC, psi, transitions, 0.9))
    printed = critics.residual_gradient(CRITIC, psi, transitions, 0.9)
    assert np.linalg.norm(gradients.g_psi - printed) > 0.1 * np.linalg.norm(printed)


def test_a_step_up_and_a_step_down_do_what_they_should(rng):
    theta, psi, segment = ACTOR.init(rng), CRITIC.init(rng), segment_of(rng, 8)
    segment = segment._replace(terminated=np.ones(8, bool))  # the targets are the rewards
    g_psi, g_theta = worker_gradients(ACTOR, CRITIC, theta, psi, segment, 0.9)
    better = psi - 1e-4 * g_psi
    assert ((segment.rewards - values(better, segment.obs)) ** 2).sum() < (
        (segment.rewards - values(psi, segment.obs)) ** 2
    ).sum()
    advantages = segment.rewards - values(psi, segment.obs)
    up = theta + 1e-4 * g_theta
    before, after = (log_prob(ACTOR, t, segment.obs, segment.actions) @ advantages for t in (theta, up))
    assert after > before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_gradient_has_the_precision_of_its_parameters(dtype, rng):
    theta, psi = ACTOR.init(rng, dtype), CRITIC.init(rng, dtype)
    gradients = worker_gradients(ACTOR, CRITIC, theta, psi, segment_of(rng, 5), 0.9)
    assert [g.dtype for g in gradients] == [dtype, dtype]


FAULTS = {
    "discount above 1": ({}, {"discount": 1.5}, ArgumentError, "discount must be in"),
    "discount of True": ({}, {"discount": True}, ArgumentError, "discount must be in"),
    "NaN discount": ({}, {"discount": math.nan}, ArgumentError, "discount must be in"),
    "NaN reward": ({"rewards": [0.0, math.nan, 0.0]}, {}, NonFiniteError, "rewards must be finite, got nan"),
    "rewards in a column": ({"rewards": np.zeros((3, 1))}, {}, ShapeError, "rewards must have shape"),
    "flags as numbers": ({"terminated": [0, 1, 0]}, {}, ArgumentTypeError, "terminated must hold booleans"),
    "too few flags": ({"terminated": [True]}, {}, ShapeError, "terminated must have shape"),
    "an action out of range": ({"actions": [0, 1, 4]}, {}, ArgumentError, "action 4 not in Discrete"),
    "real actions": ({"actions": [0.0, 1.0, 2.0]}, {}, ArgumentTypeError, "actions must hold integers"),
    "too few actions": ({"actions": [0, 1]}, {}, ShapeError, "actions must have shape"),
    "NaN observation": ({"obs": np.full((3, 2), math.nan)}, {}, NonFiniteError, "must be finite, got nan"),
    "wide observations": ({"obs": np.zeros((3, 5))}, {}, ShapeError, "observations must have shape"),
    "infinite next observation": (
        {"next_obs": np.full((3, 2), math.inf)}, {}, NonFiniteError, "observations must be finite",
    ),
    "no θ": ({}, {"theta": np.zeros(0)}, ShapeError, "theta must have shape"),
    "integer ψ": ({}, {"psi": np.zeros(13, int)}, ArgumentTypeError, "must be float32 or float64"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_unusable_arguments_are_refused_by_name_and_left_alone(fault, rng):
    fields, others, error, message = FAULTS[fault]
    segment = segment_of(rng, 3)._replace(**fields)
    arguments = {"theta": ACTOR.init(rng), "psi": CRITIC.init(rng), "discount": 0.9} | others
    before = [np.array(x) for x in (*segment, arguments["theta"], arguments["psi"])]
    with pytest.raises(error, match=message) as caught:
        worker_gradients(ACTOR, CRITIC, segment=segment, **arguments)
    assert isinstance(caught.value, PgrefError)
    for a, b in zip((*segment, arguments["theta"], arguments["psi"]), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_empty_segment_is_refused(rng):
    empty = Segment(*(x[:0] for x in segment_of(rng, 3)))
    with pytest.raises(ArgumentError, match="empty batch"):
        worker_gradients(ACTOR, CRITIC, ACTOR.init(rng), CRITIC.init(rng), empty, 0.9)


def test_arguments_stay_as_they_are(rng):
    theta, psi, segment = ACTOR.init(rng), CRITIC.init(rng), segment_of(rng, 5)
    for array in (theta, psi, *segment):
        array.setflags(write=False)
    plain = worker_gradients(ACTOR, CRITIC, theta, psi, segment, 0.9)
    views = Segment(*(np.repeat(x, 2, axis=0)[::2] for x in segment))
    for a, b in zip(worker_gradients(ACTOR, CRITIC, theta, psi, views, 0.9), plain, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.flags.writeable
