"""The Worker's two gradients against complex steps of losses written out here, with Â a constant."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import GivenCategorical, GivenGaussian, assert_same, frozen, script

from pgref import critic as critics
from pgref import streams
from pgref import worker as workers
from pgref.arrays import Workspace
from pgref.critic import Critic
from pgref.distributions import Categorical, DiagonalGaussian
from pgref.envs.cartpole import CartPole
from pgref.envs.protocol import Episodic
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, PgrefError, ShapeError
from pgref.learning import Working
from pgref.networks import MLP, Table, WithFreeOutputs
from pgref.policy import Policy
from pgref.rollout import collect, start
from pgref.samples import estimated
from pgref.spaces import Box
from pgref.task import Task, first_weights, make_task
from pgref.worker import Segment, WorkerGradients, work, worker_gradients

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


# --- the Worker that acts -----------------------------------------------------------------------------------

CHOICES = Policy(MLP((2, 4, 3)), Categorical())
REALS = Policy(WithFreeOutputs(MLP((2, 4, 2)), 2), DiagonalGaussian())
EQUAL = Policy(MLP((2, 1, 5)), Categorical())  # as many parameters as the critic
CARTPOLE = Episodic("CartPole-v1", CartPole(), 20)


def at_work(policy, seed=0, n_steps=5, n_envs=3, later=False, **settings):
    """Return a task with a scripted environment, a config, weights and a runner."""
    spaces = {"action_space": Box((-0.5,) * 2, (0.5,) * 2)} if policy is REALS else {}
    env = script(seed, 3 * n_steps, n_envs, later=later, **spaces)
    task = Task(env, policy, CRITIC)
    weights = np.random.default_rng(seed).standard_normal(policy.n_params + CRITIC.n_params)
    return task, Working(n_steps=n_steps, n_envs=n_envs, **settings), weights, start(env, n_envs, seed)


def acted(task, config, weights, runner, path):
    """Return the segment that the Worker must have met."""
    theta, _ = task.split(weights)
    options = config.seen_as()
    return collect(task.env, task.policy, theta, runner, config.n_steps, streams.stream(*path), **options)


def as_segment(rollout):
    """Return the transitions one after another."""
    rows = (rollout.obs, rollout.actions, rollout.rewards, rollout.next_obs, rollout.terminated)
    return Segment(*(array.reshape(-1, *array.shape[2:]) for array in rows))


@pytest.mark.parametrize("policy", [CHOICES, REALS], ids=["categorical", "Gaussian"])
@given(seed=seeds, length=lengths, n_envs=st.integers(1, 3), discount=discounts)
@example(seed=0, length=1, n_envs=1, discount=1.0)
def test_as_the_knobs_stand_the_worker_hands_over_the_printed_gradients(
    policy, seed, length, n_envs, discount
):
    task, config, weights, runner = at_work(policy, seed, length, n_envs, discount=discount)
    for k in range(3):  # episodes carry over
        rollout, after = acted(task, config, weights, runner, (seed, k, 0))
        done = work(task, config, weights, runner, (seed, k, 0))
        segment, (theta, psi) = as_segment(rollout), task.split(weights)

        def printed(w, task=task, segment=segment):
            g_psi, g_theta = worker_gradients(policy, CRITIC, *task.split(w), segment, discount)
            return np.concatenate([g_theta, -g_psi])

        # z and V are found in another batch: a rounding or two of each Â, times the largest score, and
        # what as many roundings of the weights would do to the networks
        wanted, signs = printed(weights), np.random.default_rng(k).choice([-1, 1], (4, len(weights)))
        slip = 16 * 2.0**-53 * length * n_envs * (1 + np.abs(wanted).max())
        slip += max(np.abs(printed(weights * (1 + 16 * 2.0**-53 * s)) - wanted).max() for s in signs)
        np.testing.assert_allclose(done.gradient, wanted, rtol=0, atol=slip)
        assert_same(done.runner, after)
        assert_same(done.episodes, rollout.episodes)
        advantages = critics.td_advantages(
            CRITIC, psi, critics.Transitions(segment[0], *segment[2:]), discount
        )
        np.testing.assert_allclose(done.value_loss, np.mean(advantages**2), rtol=1e-12, atol=1e-14)
        entropy = policy.entropy(theta, segment.obs).mean()
        np.testing.assert_allclose(done.entropy, entropy, rtol=1e-14, atol=1e-15)
        assert done.samples == length * n_envs
        runner = after


@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize(
    ("policy", "distribution", "width"),
    [(CHOICES, GivenCategorical(), 3), (REALS, GivenGaussian(), 2)],
    ids=["categorical", "Gaussian"],
)
def test_many_environments_times_many_steps_are_a_sum_of_single_ones(
    policy, distribution, width, n_envs, monkeypatch
):
    task, config, weights, runner = at_work(policy, 3, 6, n_envs, entropy=0.1, trace=0.5)
    task = task._replace(policy=Policy(policy.network, distribution))
    noise = np.random.default_rng(0).standard_normal((6, n_envs, width))

    def gradient(task, runner, noise):
        monkeypatch.setattr(workers, "streams", SimpleNamespace(stream=lambda *path: noise))
        return work(task, config, weights, runner, (0, 0, 0)).gradient

    total = np.zeros_like(weights)
    for e in range(n_envs):
        env = task.env.column(e)
        total += gradient(task._replace(env=env), start(env, 1, 0), noise[:, e : e + 1])
    together = gradient(task, runner, noise)
    np.testing.assert_allclose(together, total, rtol=0, atol=1e-12 * np.abs(total).max())


SWITCHES = [
    {},
    {"entropy": 0.3},
    {"critic_weight": 0.25},
    {"mean": True},
    {"trace": 0.7},
    {"entropy": 0.3, "critic_weight": 2.0, "mean": True, "trace": 1.0, "scale_rewards": True},
]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("policy", [CHOICES, REALS], ids=["categorical", "Gaussian"])
@pytest.mark.parametrize("settings", SWITCHES, ids=str)
def test_every_switch_is_in_the_objective_that_is_climbed(settings, policy, later):
    # Σ [Â log π + c H] − w Σ (Â + V_old − V_ψ)², over N where means are wanted
    task, config, weights, runner = at_work(policy, 5, 6, 3, later, **settings)
    rollout, _ = acted(task, config, weights, runner, (1, 2, 3))
    done = work(task, config, weights, runner, (1, 2, 3))
    _, psi = task.split(weights)
    batch = estimated(CRITIC, psi, rollout, config.discount, config.trace)
    n = len(batch.advantages)
    assert done.samples == n == (18 if rollout.valid is None else rollout.valid.sum())
    assert (n < 18) == later

    def objective(w):
        theta, psi = task.split(w)
        climbed = policy.log_prob(theta, batch.obs, batch.actions) @ batch.advantages
        climbed += config.entropy * policy.entropy(theta, batch.obs).sum()
        climbed -= config.critic_weight * ((batch.targets - CRITIC.values(psi, batch.obs)) ** 2).sum()
        return climbed / (n if config.mean else 1)

    exact = complex_steps(objective, weights)
    np.testing.assert_allclose(done.gradient, exact, rtol=0, atol=1e-13 * (1 + np.abs(exact).max()) * n)
    # and by differences, which know nothing of complex numbers: (f(w + h) − f(w − h))/2h in one direction
    v = np.random.default_rng(9).standard_normal(len(weights))
    h = 1e-5
    slope = (objective(weights + h * v) - objective(weights - h * v)) / (2 * h)
    np.testing.assert_allclose(done.gradient @ v, slope, rtol=1e-6, atol=1e-6)


def test_a_mean_divides_the_sum_by_the_number_of_transitions():
    task, config, weights, runner = at_work(CHOICES, 7, 6, 3, later=True)
    total = work(task, config, weights, runner, (1, 2, 3))
    mean = work(task, Working(n_steps=6, n_envs=3, mean=True), weights, runner, (1, 2, 3))
    assert total.samples < 18
    np.testing.assert_array_equal(mean.gradient, total.gradient / total.samples)
    assert_same(mean[1:], total[1:])


@pytest.mark.parametrize("policy", [CHOICES, REALS, EQUAL], ids=["categorical", "Gaussian", "P = Q"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_worker_keeps_the_precision_and_a_workspace_changes_no_bit(policy, dtype):
    task, config, weights, runner = at_work(policy, 2, entropy=0.1, trace=0.9, normalise_obs=True)
    weights, scratch = weights.astype(dtype), Workspace()
    for k in range(3):
        plain = work(task, config, weights, runner, (0, k, 0))
        reused = work(task, config, weights, runner, (0, k, 0), scratch)
        assert_same(reused, plain)
        assert plain.gradient.dtype == dtype
        runner = plain.runner
    kept = reused.gradient.copy()
    work(task, config, weights + 1, runner._replace(env=0), (0, 9, 0), scratch)
    np.testing.assert_array_equal(reused.gradient, kept)  # what was handed over is not scratch


def test_the_path_decides_what_is_drawn_and_nothing_is_written_to():
    task = make_task(CARTPOLE, Working(hidden=(8,)))
    config = Working(hidden=(8,), n_envs=4, n_steps=30)
    weights = frozen(first_weights(task, config, np.random.default_rng(0)))
    runner = frozen(start(CARTPOLE, 4, 0))
    one, again, update, worker = (
        work(task, config, weights, runner, path) for path in ((5, 1, 2), (5, 1, 2), (5, 2, 2), (5, 1, 3))
    )
    assert_same(one, again)
    for other in (update, worker):
        assert (one.gradient != other.gradient).any()


def test_what_the_environment_does_wrong_is_raised_where_it_happens():
    task, config, weights, runner = at_work(CHOICES)
    task.env.reward.flags.writeable = True
    task.env.reward[3, 1] = math.nan
    before = frozen(runner)
    with pytest.raises(NonFiniteError, match="reward from env 1 at step 3 is nan"):
        work(task, config, weights, runner, (0, 0, 0))
    assert_same(runner, before)
