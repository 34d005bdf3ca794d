"""Acting, against a bookkeeper that takes one environment and one step at a time."""

import math
import re
import statistics
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import (
    PLANE,
    GivenCategorical,
    GivenGaussian,
    GivenMultiCategorical,
    Scripted,
    assert_same,
    frozen,
    script,
)

from pgref import rollout as rollouts
from pgref import streams
from pgref.arrays import Workspace
from pgref.distributions import Categorical, DiagonalGaussian
from pgref.envs import probes
from pgref.envs.cartpole import CartPole
from pgref.envs.pendulum import Pendulum
from pgref.envs.protocol import Episodic, Step
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError
from pgref.networks import MLP, Table, WithFreeOutputs
from pgref.policy import Policy
from pgref.rollout import Episodes, Runner, collect, run_episodes, start
from pgref.spaces import Box, Discrete, MultiDiscrete

seeds = st.integers(0, 2**32 - 1)
POLICY = Policy(MLP((2, 3)), Categorical())
GAUSSIAN = Policy(WithFreeOutputs(MLP((2, 2)), 2), DiagonalGaussian())
CARTPOLE = Episodic("CartPole-v1", CartPole(), 30)


def play(env, parts, policy=POLICY, seed=0, **options):
    """Return segments of so many steps each, and the runner after each."""
    theta = policy.init(np.random.default_rng(seed))
    runner, rng, played = start(env, len(env.first), seed), np.random.default_rng(seed), []
    for n in parts:
        rollout, runner = collect(env, policy, theta, runner, n, rng, **options)
        played.append((rollout, runner))
    return played


def joined(played):
    """Return the arrays of all segments as one, and all episodes."""
    rollouts = [rollout for rollout, _ in played]
    names = ("obs", "actions", "rewards", "next_obs", "terminated", "truncated", "ages", "valid")
    arrays = {name: [getattr(r, name) for r in rollouts] for name in names}
    whole = {name: None if a[0] is None else np.concatenate(a) for name, a in arrays.items()}
    return whole, tuple(map(np.concatenate, zip(*(r.episodes for r in rollouts), strict=True)))


def books(env, n_steps):
    """Keep the books of a script in plain Python: one environment, one step, one number at a time."""
    n_envs, ages, ended, under_way = len(env.first), {}, [], []
    for e in range(n_envs):
        total, length = 0.0, 0
        for t in range(n_steps):
            ages[t, e] = length
            if env.valid is not None and not env.valid[t][e]:
                continue
            total, length = total + float(env.reward[t, e]), length + 1
            if env.terminated[t, e] or env.truncated[t, e]:
                ended.append((t, e, total, length))
                total, length = 0.0, 0
        under_way.append((total, length))
    table = np.array([[ages[t, e] for e in range(n_envs)] for t in range(n_steps)])
    return table, [row[2:] for row in sorted(ended)], under_way


@st.composite
def plays(draw):
    """Draw a script, and the lengths of the segments that it is played in."""
    later = draw(st.booleans())
    parts = draw(st.lists(st.integers(2 if later else 1, 5), min_size=1, max_size=4))
    ends = draw(st.sampled_from([0.0, 0.2, 0.7, 1.0]))
    return script(draw(seeds), sum(parts), draw(st.integers(1, 4)), ends, later), parts


# --- the books --------------------------------------------------------------------------------------------


@given(plays())
@example((script(1, 1, 1, ends=1.0), [1]))
@example((script(1, 6, 2, ends=1.0), [3, 3]))  # every step is an episode, also the last of a segment
@example((script(1, 6, 2, ends=1.0, later=True), [3, 3]))
@example((script(1, 6, 2, ends=0.0), [1] * 6))
def test_ages_episodes_returns_and_lengths_are_those_of_a_bookkeeper(played):
    env, parts = played
    played = play(env, parts)
    whole, episodes = joined(played)
    ages, ended, under_way = books(env, sum(parts))
    np.testing.assert_array_equal(whole["ages"], ages)
    assert list(zip(*(column.tolist() for column in episodes), strict=True)) == ended  # bit for bit
    last = played[-1][1]
    assert list(zip(last.returns.tolist(), last.lengths.tolist(), strict=True)) == under_way
    assert [runner.clock for _, runner in played] == np.cumsum(parts).tolist()
    assert last.env == sum(parts)


@given(plays())
def test_a_segment_holds_what_the_environment_gave(played):
    env, parts = played
    whole, _ = joined(play(env, parts))
    for name, field in (("rewards", "reward"), ("next_obs", "final_obs")):
        np.testing.assert_array_equal(whole[name], getattr(env, field))
    for name in ("terminated", "truncated"):
        np.testing.assert_array_equal(whole[name], getattr(env, name))
    np.testing.assert_array_equal(whole["obs"], [env.first, *env.obs[:-1]])
    np.testing.assert_array_equal(whole["actions"], env.done)
    if env.valid is None:
        assert whole["valid"] is None
    else:
        np.testing.assert_array_equal(whole["valid"], env.valid)


@given(plays())
def test_many_segments_are_one_long_one_bit_for_bit(played):
    env, parts = played
    apart, together = play(env, parts), play(env, [sum(parts)])
    for name, array in joined(apart)[0].items():
        assert_same(array, joined(together)[0][name])
    assert_same(joined(apart)[1], joined(together)[1])
    assert_same(apart[-1][1], together[-1][1])


def test_types_and_shapes_are_those_that_are_promised():
    for ends in (0.0, 0.5):
        rollout, runner = play(script(0, 6, 3, ends), [6])[0]
        shapes = [(6, 3, 2), (6, 3), (6, 3), (6, 3, 2), (6, 3), (6, 3), (6, 3)]
        assert [array.shape for array in rollout[:7]] == shapes
        dtypes = [array.dtype for array in (*rollout[2:3], *rollout[4:7], *rollout.episodes)]
        assert dtypes == [np.float64, np.bool_, np.bool_, np.int64, np.float64, np.int64]
        assert (runner.returns.dtype, runner.lengths.dtype) == (np.float64, np.int64)


def test_a_small_return_after_a_large_one_is_kept():
    n = 6
    rewards, ends = np.array([[1e16], [1.0]] * (n // 2)), np.ones((n, 1), bool)
    env = replace(script(0, n, 1), reward=rewards, terminated=ends, truncated=~ends)
    rollout, _ = play(env, [n])[0]
    assert rollout.episodes.returns.tolist() == [1e16, 1.0] * 3


def test_rows_without_a_mask_are_transitions():
    # an environment may say None where every row is one
    env = script(3, 8, 2, ends=0.5, later=True)
    assert env.valid.all(1).any()
    assert not env.valid.all()
    mixed = [None if row.all() else row for row in env.valid]
    assert_same(play(replace(env, valid=mixed), [4, 4])[1], play(env, [4, 4])[1])


def test_flags_of_a_row_that_is_no_transition_end_nothing():
    env = script(5, 8, 2, ends=0.6, later=True)
    strange = replace(env, truncated=env.truncated | ~env.valid, reward=np.where(env.valid, env.reward, 7.0))
    plain, odd = play(env, [8], scale_rewards=True)[0], play(strange, [8], scale_rewards=True)[0]
    assert_same(odd[0].episodes, plain[0].episodes)
    assert_same(odd[0].ages, plain[0].ages)
    assert_same(odd[1], plain[1])


# --- many environments and single ones ----------------------------------------------------------------------


def assert_columns_alone(env, policy, theta, noise, alone):
    n_steps, n_envs = noise.shape[:2]
    together, after = collect(env, policy, theta, start(env, n_envs, 3), n_steps, noise)
    episodes = []
    for e in range(n_envs):
        one, after_one = collect(alone(e), policy, theta, first(alone(e), e), n_steps, noise[:, e : e + 1])
        for name in ("obs", "actions", "rewards", "next_obs", "terminated", "truncated", "ages"):
            assert_same(getattr(one, name), getattr(together, name)[:, e : e + 1])
        for name in ("obs", "returns", "lengths"):
            assert_same(getattr(after_one, name), getattr(after, name)[e : e + 1])
        episodes += zip(*(column.tolist() for column in one.episodes), strict=True)
    got = zip(*(column.tolist() for column in together.episodes), strict=True)
    assert sorted(got) == sorted(episodes)


class OneOf:
    """An environment that is the e-th of many: it is reset with that one's key."""

    def __init__(self, env, key):
        self.env, self.key, self.name = env, key, env.name
        self.obs_space, self.action_space, self.step = env.obs_space, env.action_space, env.step

    def reset(self, keys):
        return self.env.reset(self.key)


def first(env, e):
    return start(env, 1, 3)


@pytest.mark.parametrize(
    ("env", "policy"),
    [
        (CARTPOLE, Policy(MLP((4, 8, 2)), GivenCategorical())),
        (Episodic("probe", probes.credit(), 10), Policy(MLP((3, 2)), GivenCategorical())),
        (
            Episodic("tabular", probes.credit().tabular, 10),
            Policy(Table(3, 2), GivenCategorical()),
        ),
    ],
    ids=["CartPole", "probe", "table"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_environments_are_single_ones_bit_for_bit(env, policy, dtype, rng):
    n_steps, n_envs = 60, 5
    theta = policy.init(rng, dtype)
    noise = Categorical().noise(rng, (n_steps, n_envs), 2, dtype)
    keys = streams.keys(3, n_envs)
    assert_columns_alone(env, policy, theta, noise, lambda e: OneOf(env, keys[e : e + 1]))


def test_many_scripts_are_single_ones_for_every_kind_of_action(rng):
    n_steps, n_envs = 9, 3
    kinds = [
        (MultiDiscrete((2, 3)), Policy(Table(4, 5), GivenMultiCategorical((2, 3))), 5),
        (Box((-1.0, 0.0), (1.0, 0.5)), Policy(Table(4, 4), GivenGaussian()), 2),
    ]
    for space, policy, width in kinds:
        env = script(
            4, n_steps, n_envs, draw=lambda *shape: rng.integers(0, 4, shape), obs_space=Discrete(4),
            action_space=space,
        )  # fmt: skip
        noise = rng.standard_normal((n_steps, n_envs, width))
        theta = rng.standard_normal(policy.n_params)
        assert_columns_alone(env, policy, theta, noise, env.column)


# --- precision, memory, arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("policy", [POLICY, GAUSSIAN], ids=["categorical", "Gaussian"])
def test_a_workspace_changes_no_bit_and_keeps_no_segment(later, policy):
    space = Discrete(3) if policy is POLICY else Box((-0.5,) * 2, (0.5,) * 2)
    env = script(2, 12, 3, later=later, action_space=space)
    options = {"normalise_obs": True, "scale_rewards": True, "discount": 0.9}
    plain = play(env, [4, 4, 4], policy, **options)
    reused = play(env, [4, 4, 4], policy, work=Workspace(), **options)
    assert_same(tuple(reused), tuple(plain))  # the first segment is still what it was


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_actions_have_the_precision_of_the_policy_and_observations_that_of_the_environment(dtype):
    env = script(2, 4, 3, action_space=Box((-1.0,) * 2, (1.0,) * 2))
    theta = GAUSSIAN.init(np.random.default_rng(0), dtype)
    rollout, runner = collect(env, GAUSSIAN, theta, start(env, 3, 0), 4, np.random.default_rng(1))
    assert rollout.actions.dtype == dtype
    assert rollout.obs.dtype == rollout.next_obs.dtype == runner.obs.dtype == np.float64
    seen, _ = collect(CARTPOLE, Policy(MLP((4, 2)), Categorical()), np.zeros(10, dtype),
                      start(CARTPOLE, 3, 0), 4, np.random.default_rng(1), normalise_obs=True)  # fmt: skip
    assert seen.obs.dtype == seen.next_obs.dtype == np.float32


def test_arguments_stay_as_they_are():
    env = script(2, 8, 3, ends=0.5)
    theta = frozen(POLICY.init(np.random.default_rng(0)))
    _, runner = collect(env, POLICY, theta, start(env, 3, 0), 4, np.random.default_rng(1))
    runner = frozen(runner)
    options = {"normalise_obs": True, "scale_rewards": True}
    collect(env, POLICY, theta, runner, 4, np.random.default_rng(1), **options)  # all are read-only


@pytest.mark.parametrize("low", [-0.1, -np.inf])
def test_actions_are_stored_as_sampled_and_clipped_only_at_the_door(low):
    env = script(2, 50, 3, action_space=Box((low, -0.1), (0.1, 0.1)))
    rollout, _ = play(env, [50], GAUSSIAN)[0]
    door = np.array(env.done)
    assert (np.abs(rollout.actions) > 0.1).mean() > 0.8
    low, high = np.array([low, -0.1]), np.array([0.1, 0.1])
    np.testing.assert_array_equal(door, np.minimum(np.maximum(rollout.actions, low), high))
    theta, rng = GAUSSIAN.init(np.random.default_rng(0)), np.random.default_rng(0)
    noise = rng.standard_normal((50, 3, 2))
    mean = rollout.obs @ theta[:4].reshape(2, 2)  # σ = 1, biases 0
    np.testing.assert_allclose(rollout.actions, mean + noise, rtol=0, atol=1e-15 * 10)


# --- normalised observations, scaled rewards ----------------------------------------------------------------


def exact_moments(rows):
    """Return mean and variance of each column from fractions, rounded once, and how many rows there are."""
    columns = [[Fraction(x) for x in column] for column in rows.T.tolist()]
    variances = [float(statistics.pvariance(column)) for column in columns]
    return np.array([float(statistics.mean(column)) for column in columns]), np.array(variances), len(rows)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_observations_are_normalised_by_all_that_earlier_segments_saw(later, offset):
    env = script(7, 30, 3, later=later)
    env = replace(env, **{name: getattr(env, name) + offset for name in ("first", "obs", "final_obs")})
    valid = np.ones((30, 3), bool) if env.valid is None else env.valid
    raw, played = np.array([env.first, *env.obs[:-1]]), play(env, [10] * 3, normalise_obs=True)
    for k, (rollout, runner) in enumerate(played):
        rows = slice(10 * k, 10 * k + 10)
        for got, given_ in ((rollout.obs, raw[rows]), (rollout.next_obs, env.final_obs[rows])):
            wanted = given_
            if k:
                mean, variance, _ = exact_moments(raw[: 10 * k][valid[: 10 * k]])
                wanted = (given_ - mean) / np.sqrt(variance + 1e-8)
            # each update rounds the mean twice, to half of 2.2e-16 of the offset, and σ is above 0.7
            np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-13 + 8e-16 * offset)
        mean, variance, n = exact_moments(raw[: 10 * k + 10][valid[: 10 * k + 10]])
        assert runner.seen.n == n
        np.testing.assert_allclose(runner.seen.mean, mean, rtol=1e-15, atol=1e-15)
        # a mean rounded by ε·offset/2 enters the sum with twice the shift of up to 45 entries, at most 1
        np.testing.assert_allclose(runner.seen.squares, variance * n, rtol=1e-13, atol=1e-14 * offset)
    plain = play(env, [10] * 3)
    assert plain[-1][1].seen.n == 0


@pytest.mark.parametrize("value", [0.1, 1e8 + 0.1, 1e15 / 7, 0.0])
def test_an_observation_that_never_changes_becomes_zero(value):
    env = script(7, 20, 3)
    constant = {name: np.full_like(getattr(env, name), value) for name in ("first", "obs", "final_obs")}
    played = play(replace(env, **constant), [7, 7, 6], normalise_obs=True)
    assert (played[0][0].obs == value).all()
    for rollout, _ in played[1:]:
        assert not rollout.obs.any()
        assert not rollout.next_obs.any()


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_rewards_are_in_units_of_the_standard_deviation_of_discounted_sums(later, discount):
    env = script(8, 30, 3, later=later)
    env = replace(env, reward=env.reward * 50)
    played, sums = play(env, [10] * 3, scale_rewards=True, discount=discount), []
    plain = play(env, [10] * 3)
    running = [0.0] * 3
    for k, (rollout, runner) in enumerate(played):
        for t in range(10 * k, 10 * k + 10):
            for e in range(3):
                if env.valid is not None and not env.valid[t, e]:
                    continue
                running[e] = discount * running[e] + env.reward[t, e]
                sums.append(running[e])
                if env.terminated[t, e] or env.truncated[t, e]:
                    running[e] = 0.0
        wanted = env.reward[10 * k : 10 * k + 10] / math.sqrt(statistics.pvariance(sums) + 1e-8)
        np.testing.assert_allclose(rollout.rewards, wanted, rtol=1e-12)
        assert runner.gained.n == len(sums)
        np.testing.assert_array_equal(runner.discounted, running)
        assert_same(rollout.episodes, plain[k][0].episodes)  # what is reported is not scaled
        assert_same(runner[:5], plain[k][1][:5])


def test_scaled_rewards_are_cut_off_at_ten_standard_deviations():
    env = script(8, 400, 1, ends=0.0)
    rewards = np.zeros((400, 1))
    rewards[-1] = -1.0
    rollout, _ = play(replace(env, reward=rewards), [400], scale_rewards=True, discount=0.5)[0]
    assert rollout.rewards[-1] == -10.0  # 1/√(1/400) would be 20


# --- whole episodes -----------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 4), st.integers(1, 9), st.booleans())
@example(0, 1, 1, False)
@example(0, 4, 3, True)
def test_whole_episodes_are_each_environments_first_ones(seed, n_envs, n_episodes, later):
    env = script(seed, 300, n_envs, ends=0.2, later=later)
    got = run_episodes(env, lambda obs: np.zeros(len(obs), int), n_episodes, n_envs, seed)
    of_each = []
    for e in range(n_envs):
        column = env.column(e)
        of_each.append(books(column, 300)[1])
    wanted = [of_each[i % n_envs][i // n_envs] for i in range(n_episodes)]  # round by round
    assert list(zip(*(column.tolist() for column in got), strict=True)) == wanted
    assert got.lengths.dtype == np.int64
    assert len(env.done) < 300  # it stops when the last one has ended


def test_an_evaluation_counts_nothing_of_a_row_that_is_no_transition():
    env = script(5, 60, 2, ends=0.3, later=True)
    strange = replace(env, truncated=env.truncated | ~env.valid, reward=np.where(env.valid, env.reward, 7.0))
    plain, odd = (run_episodes(e, lambda obs: np.zeros(2, int), 8, 2, 0) for e in (env, strange))
    assert_same(odd, plain)


def test_what_is_chosen_goes_through_the_same_door():
    env = script(0, 50, 2, ends=0.2, action_space=Box((-0.1,), (0.1,)))
    run_episodes(env, lambda obs: obs[:, :1], 2, 2, 0)
    np.testing.assert_array_equal(env.done[0], np.clip(env.first[:, :1], -0.1, 0.1))
    np.testing.assert_array_equal(env.done[1], np.clip(env.obs[0, :, :1], -0.1, 0.1))


def test_an_evaluation_of_endless_episodes_ends(monkeypatch):
    monkeypatch.setattr(rollouts, "LONGEST", 7)
    env = script(0, 60, 2, ends=0.0)
    with pytest.raises(
        ArgumentError, match="episodes must end to be evaluated, got one of more than 7 steps"
    ):
        run_episodes(env, lambda obs: np.zeros(2, int), 2, 2, 0)
    ends = np.arange(60)[:, None] % 7 == np.array([6, 6])  # none is longer than that
    done = run_episodes(replace(env, truncated=ends), lambda obs: np.zeros(2, int), 5, 2, 0)
    assert done.lengths.tolist() == [7] * 5


def test_episodes_of_a_real_environment_add_up():
    done = run_episodes(CARTPOLE, lambda obs: (obs[:, 2] > 0).astype(int), 7, 3, 5)
    assert done.returns.tolist() == done.lengths.tolist()  # 1 a step
    assert done.lengths.max() <= 30


# --- faults -------------------------------------------------------------------------------------------------


def spoiled(env, name, where, value):
    array = np.array(getattr(env, name))
    array[where] = value
    return replace(env, **{name: array})


NUMBERS = {
    "NaN reward": ("reward", (5, 1), math.nan, "reward from env 1 at step 5 is nan"),
    "infinite reward": ("reward", (4, 0), -math.inf, "reward from env 0 at step 4 is -inf"),
    "NaN observation": (
        "final_obs", (6, 2, 1), math.nan, r"observation from env 2 at step 6 has nan at index \(1,\)",
    ),
    "infinite first observation": (
        "obs", (7, 0, 0), math.inf, r"observation from env 0 at step 7 has inf at index \(0,\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", NUMBERS)
def test_a_number_that_is_none_is_named_and_nothing_changes(fault):
    name, where, value, message = NUMBERS[fault]
    env = script(6, 8, 3)
    theta = POLICY.init(np.random.default_rng(0))
    options = {"normalise_obs": True, "scale_rewards": True}
    _, runner = collect(env, POLICY, theta, start(env, 3, 0), 4, np.random.default_rng(1), **options)
    runner = frozen(runner)
    before = frozen(runner)
    with pytest.raises(NonFiniteError, match=message):
        collect(
            spoiled(env, name, where, value), POLICY, theta, runner, 4, np.random.default_rng(2), **options
        )
    assert_same(runner, before)
    # and so it goes on as if nothing had been
    again = collect(env, POLICY, theta, runner, 4, np.random.default_rng(2), **options)
    whole, rng = start(env, 3, 0), np.random.default_rng(1)
    _, whole = collect(env, POLICY, theta, whole, 4, rng, **options)
    assert_same(again, collect(env, POLICY, theta, whole, 4, np.random.default_rng(2), **options))


@pytest.mark.parametrize("fault", NUMBERS)
def test_an_evaluation_names_it_too(fault):
    name, where, value, message = NUMBERS[fault]
    env = script(6, 8, 3, ends=0.0)
    with pytest.raises(NonFiniteError, match=message):
        run_episodes(spoiled(env, name, where, value), lambda obs: np.zeros(3, int), 3, 3, 0)


def test_a_first_observation_that_is_no_number_is_named():
    env = spoiled(script(6, 8, 3), "first", (2, 0), math.nan)
    for begin in (start, lambda *args: run_episodes(env, len, 3, *args[1:])):
        with pytest.raises(NonFiniteError, match=r"observation from env 2 at reset has nan at index \(0,\)"):
            begin(env, 3, 0)


SHAPES = {
    "rewards in a column": (
        "reward", lambda x: x[..., None], "rewards at step 0 must have shape (3,), got (3, 1)",
    ),
    "one reward for all": ("reward", lambda x: x[:, 0], "rewards at step 0 must have shape (3,), got ()"),
    "a column too few": (
        "final_obs", lambda x: x[..., :1], "observations at step 0 must have shape (3, 2), got (3, 1)",
    ),
    "one observation for all": (
        "obs", lambda x: x[:, :1], "observations at step 0 must have shape (3, 2), got (1, 2)",
    ),
}  # fmt: skip
FLAGS = {
    "numbers for flags": ("terminated", lambda x: x.astype(int), "got dtype int64 and shape (3,)"),
    "flags in a column": ("truncated", lambda x: x[..., None], "got dtype bool and shape (3, 1)"),
    "a mask of numbers": ("valid", lambda x: x.astype(float), "got dtype float64 and shape (3,)"),
    "a list of flags": ("terminated", lambda x: x.tolist(), "got list"),
}
KINDS = {
    "a list of rewards": ("reward", lambda x: x.tolist(), "rewards at step 0 must be real numbers, got list"),
    "rewards as objects": (
        "reward", lambda x: x.astype(object), "rewards at step 0 must be real numbers, got dtype object",
    ),
    "rewards as flags": (
        "reward", lambda x: x > 0, "rewards at step 0 must be real numbers, got dtype bool and shape (3,)",
    ),
    "no observation": ("obs", lambda x: [None] * 8, "must be real numbers, got NoneType"),
}  # fmt: skip


@pytest.mark.parametrize("fault", [*SHAPES, *FLAGS, *KINDS])
def test_an_environment_that_breaks_its_protocol_is_refused(fault):
    error = ShapeError if fault in SHAPES else ArgumentTypeError
    name, change, message = {**SHAPES, **FLAGS, **KINDS}[fault]
    message = re.escape(f"{name} at step 0 must be bools (3,), {message}" if fault in FLAGS else message)
    env = script(6, 8, 3, later=True)
    env = replace(env, **{name: change(getattr(env, name))})
    with pytest.raises(error, match=message):
        play(env, [4])
    with pytest.raises(error, match=message):
        run_episodes(env, lambda obs: np.zeros(3, int), 3, 3, 0)


def test_observations_that_are_not_those_of_the_space_are_refused():
    env = script(6, 8, 3)
    for space, wanted in ((Box((0.0,), (1.0,)), r"\(3, 1\)"), (Discrete(4), r"\(3,\)")):
        message = rf"observations at reset must have shape {wanted}, got \(3, 2\)"
        with pytest.raises(ShapeError, match=message):
            start(replace(env, obs_space=space), 3, 0)
    with pytest.raises(ShapeError, match=r"must have shape \(4, 2\)"):
        start(env, 4, 0)


def test_a_reset_or_a_step_of_another_form_is_refused():
    class Bare(Scripted):
        def reset(self, keys):
            return self.first

    class Old(Scripted):
        def step(self, t, actions):
            return tuple(super().step(t, actions))

    env = script(6, 8, 3)
    fields = [getattr(env, name) for name in Scripted.__dataclass_fields__]
    with pytest.raises(
        ArgumentTypeError, match=r"reset\(\) must return \(state, observations\), got ndarray"
    ):
        start(Bare(*fields), 3, 0)
    old = Old(*fields)
    for begin in (lambda: play(old, [4]), lambda: run_episodes(old, lambda obs: np.zeros(3, int), 3, 3, 0)):
        with pytest.raises(ArgumentTypeError, match=r"step\(\) must return a Step at step 0, got tuple"):
            begin()


def test_returns_that_overflow_are_refused():
    env = script(6, 8, 3, ends=0.0)
    env = replace(env, reward=np.full((8, 3), 1e308))
    with pytest.raises(NonFiniteError, match=r"return overflowed \(max abs reward 1e\+308\)"):
        play(env, [4])
    ends = np.zeros((8, 3), bool)
    ends[3] = True
    with pytest.raises(NonFiniteError, match="return overflowed"):
        play(replace(env, terminated=ends), [4])
    with pytest.raises(NonFiniteError, match="returns must be finite, got inf"):
        run_episodes(replace(env, terminated=ends), lambda obs: np.zeros(3, int), 3, 3, 0)
    # one at a time they are as large as a reward
    rollout, _ = play(replace(env, terminated=np.ones((8, 3), bool)), [4])[0]
    assert (rollout.episodes.returns == 1e308).all()


def test_what_is_asked_for_is_checked_before_anything_happens():
    env = script(6, 8, 3)
    theta, runner, rng = np.zeros(9), start(env, 3, 0), np.random.default_rng(0)
    for n in (0, -1, 1.5, True):
        with pytest.raises(ArgumentError, match="n_steps must be a whole number"):
            collect(env, POLICY, theta, runner, n, rng)
    for discount in (-0.1, 1.1, math.nan, True):
        with pytest.raises(ArgumentError, match="discount must be in"):
            collect(env, POLICY, theta, runner, 2, rng, discount=discount)
    table = replace(env, obs_space=Discrete(4))
    with pytest.raises(
        ArgumentError, match=r"normalise_obs needs observations of a Box, got Discrete\(n=4\)"
    ):
        collect(table, POLICY, theta, runner, 2, rng, normalise_obs=True)
    assert not env.done


def test_a_single_step_that_may_hold_no_transition_is_refused():
    env = script(6, 8, 3, later=True)
    with pytest.raises(ArgumentError, match="n_steps must be at least 2 where episodes restart in a step"):
        play(env, [1])


def test_what_an_environment_raises_comes_through():
    class Broken(Scripted):
        def step(self, t, actions):
            raise OSError("the cable")

    env = script(6, 8, 3)
    with pytest.raises(OSError, match="the cable"):
        play(Broken(env.first, *[None] * 5), [2])


def test_a_runner_starts_with_nothing():
    env = script(6, 8, 3)
    runner = start(env, 3, 5, 1)
    assert isinstance(runner, Runner)
    assert (runner.env, runner.clock, runner.seen.n, runner.gained.n) == (0, 0, 0, 0)
    np.testing.assert_array_equal(runner.obs, env.first)
    for zeros in (runner.returns, runner.lengths, runner.discounted):
        np.testing.assert_array_equal(zeros, [0, 0, 0])
    assert len(runner.seen.mean) == 2
    assert len(start(Episodic("table", probes.credit().tabular, 10), 3, 0).seen.mean) == 1
    state, obs = CARTPOLE.reset(streams.keys(5, 3, 1))
    assert_same(start(CARTPOLE, 3, 5, 1)[:2], (state, obs))
    assert PLANE.d == 2
    assert Episodes._fields == ("returns", "lengths")
    assert Step._field_defaults == {"valid": None}


def test_an_angle_swings_through_many_segments():
    # a Box of real actions and a time limit: every episode is cut off after 20 steps, never terminated
    env = Episodic("Pendulum-v1", Pendulum(), 20)
    policy = Policy(WithFreeOutputs(MLP((3, 4, 1)), 1), DiagonalGaussian())
    theta, runner, rng = policy.init(np.random.default_rng(0)), start(env, 2, 0), np.random.default_rng(1)
    lengths = []
    for _ in range(9):
        rollout, runner = collect(env, policy, theta, runner, 7, rng)
        assert not rollout.terminated.any()
        lengths += rollout.episodes.lengths.tolist()
    assert lengths == [20] * 6
    assert runner.lengths.tolist() == [3, 3]
