"""Episodes: where they end and begin again, whose numbers are drawn, and what is refused.

The contract is tested on the classic environments and on `Counter`, whose every number is known in advance.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import streams
from pgref.envs.acrobot import Acrobot
from pgref.envs.cartpole import CartPole
from pgref.envs.mountain_car import MountainCarContinuous
from pgref.envs.pendulum import Pendulum
from pgref.envs.protocol import LONG, Episodic, Moved, as_rows
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError
from pgref.spaces import Box, Discrete, clipped

seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Counter:
    """State: what the start drew, what the last step drew, and a count that ends the episode at `goal`."""

    goal: int
    obs_space = Box((0.0, 0.0, 0.0), (1.0, 1.0, 1e9))
    action_space = Discrete(3)
    start_draws = 2
    step_draws = 3

    def start(self, draws):
        return np.array([draws[1], 0 * draws[0], 0 * draws[0]])

    def move(self, x, actions, draws):
        x = np.array([x[0], draws[2], x[2] + actions])
        return Moved(x, actions / 2, x[2] >= self.goal)

    def observe(self, x):
        return x.T.copy()


ENVIRONMENTS = [
    Episodic("CartPole-v1", CartPole(), 500),
    Episodic("CartPole-v1", CartPole(), 7),
    Episodic("CartPole-float32", CartPole(dtype="float32"), 500),
    Episodic("Pendulum-v1", Pendulum(), 20),
    Episodic("Acrobot-v1", Acrobot(), 11),
    Episodic("MountainCarContinuous-v0", MountainCarContinuous(), 15),
    Episodic("MountainCarContinuous-v0", MountainCarContinuous(goal=-0.5), 40),
    Episodic("Counter", Counter(5), 9),
]
every_environment = pytest.mark.parametrize(
    "env", ENVIRONMENTS, ids=lambda env: f"{env.name}-{env.time_limit}"
)


def act(env, rng, n):
    """Return actions at random, a third of the vectors outside the Box."""
    space = env.action_space
    if isinstance(space, Discrete):
        return rng.integers(0, space.n, n)
    return (1.5 * rng.uniform(space.low, space.high, (n, space.d))).astype(np.float32)


def play(env, keys, actions):
    """Return the first observations and every step for actions [T, E, …]."""
    state, obs = env.reset(keys)
    steps = []
    for a in actions:
        steps.append(env.step(state, a))
        state = steps[-1].state
    return obs, steps


def assert_equal(got, wanted):
    """Compare nested tuples of arrays, bit for bit."""
    if isinstance(wanted, tuple):
        for x, y in zip(got, wanted, strict=True):
            assert_equal(x, y)
    elif wanted is None:
        assert got is None
    else:
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def part(step, i):
    """Return what a step says of environment i alone, as one environment says it."""
    return tuple(None if a is None else a[i : i + 1] for a in step[1:])


# --- one environment and many -----------------------------------------------------------------------------


@every_environment
@given(st.integers(1, 6), st.integers(1, 60), seeds)
@example(1, 1, 0)
def test_many_environments_are_single_ones_bit_for_bit(env, n, t, seed):
    rng = np.random.default_rng(seed)
    keys, actions = streams.keys(seed, n), np.array([act(env, rng, n) for _ in range(t)])
    first, together = play(env, keys, actions)
    for i in range(n):
        first_alone, alone = play(env, keys[i : i + 1], actions[:, i : i + 1])
        assert_equal(first_alone, first[i : i + 1])
        for one, all_of_them in zip(alone, together, strict=True):
            assert_equal(one[1:], part(all_of_them, i))
            assert_equal(one.state.x, all_of_them.state.x[:, i : i + 1])
            assert_equal(one.state[1:], tuple(a[i : i + 1] for a in all_of_them.state[1:]))


@every_environment
@pytest.mark.parametrize("n", [64, LONG + 76])
def test_no_bit_depends_on_how_many_step_at_once(env, n):
    # long rows go through vector instructions, short ones need not
    rng = np.random.default_rng(4)
    keys, actions = streams.keys(4, n), np.array([act(env, rng, n) for _ in range(12)])
    _, together = play(env, keys, actions)
    for lo, hi in ((0, 1), (3, 8), (n - 17, n)):
        _, few = play(env, keys[lo:hi], actions[:, lo:hi])
        for one, all_of_them in zip(few, together, strict=True):
            assert_equal(one[1:], tuple(None if a is None else a[lo:hi] for a in all_of_them[1:]))


@every_environment
def test_the_same_keys_and_actions_give_the_same_bits(env):
    rng = np.random.default_rng(1)
    actions = [act(env, rng, 4) for _ in range(50)]
    assert_equal(play(env, streams.keys(1, 4), actions)[1][-1], play(env, streams.keys(1, 4), actions)[1][-1])
    assert (env.reset(streams.keys(1, 4))[1] != env.reset(streams.keys(2, 4))[1]).any()


# --- episodes ---------------------------------------------------------------------------------------------


@every_environment
def test_shapes_dtypes_and_the_observations_bounds(env):
    rng, n = np.random.default_rng(2), 5
    first, steps = play(env, streams.keys(2, n), [act(env, rng, n) for _ in range(60)])
    low, high = (np.nextafter(np.float32(b), np.float32(s)) for b, s in zip(
        (env.obs_space.low, env.obs_space.high), (-np.inf, np.inf), strict=True))  # fmt: skip
    for obs in (first, *(s.obs for s in steps), *(s.final_obs for s in steps)):
        assert obs.shape == (n, env.obs_space.d)
        assert obs.flags.c_contiguous
        assert ((obs >= low) & (obs <= high)).all()
    for step in steps:
        assert step.obs.dtype == step.final_obs.dtype == first.dtype
        assert step.reward.shape == step.terminated.shape == step.truncated.shape == (n,)
        assert step.reward.dtype == np.float64
        assert step.terminated.dtype == step.truncated.dtype == bool
        assert step.valid is None


@every_environment
def test_obs_and_final_obs_differ_only_where_an_episode_ended(env):
    rng, n = np.random.default_rng(3), 6
    _, steps = play(env, streams.keys(3, n), [act(env, rng, n) for _ in range(120)])
    ends = 0
    for step in steps:
        ended = step.terminated | step.truncated
        ends += ended.sum()
        np.testing.assert_array_equal((step.obs != step.final_obs).any(axis=1), ended)
        np.testing.assert_array_equal(step.state.steps == 0, ended)
        np.testing.assert_array_equal(step.obs, env.dynamics.observe(step.state.x))
    assert ends > n


@every_environment
def test_an_episode_is_cut_off_at_its_limit_and_not_before(env):
    rng, n = np.random.default_rng(4), 6
    _, steps = play(env, streams.keys(4, n), [act(env, rng, n) for _ in range(120)])
    age = np.zeros(n, int)
    for t, step in enumerate(steps, 1):
        age += 1
        np.testing.assert_array_equal(step.truncated, age == env.time_limit)
        age[step.terminated | step.truncated] = 0
        np.testing.assert_array_equal(step.state.steps, age)
        np.testing.assert_array_equal(step.state.clock, t)


@given(st.integers(1, 8), st.integers(1, 8), seeds)
@example(6, 3, 0)
@example(8, 8, 0)
def test_termination_and_time_limit_are_told_apart(goal, limit, seed):
    env = Episodic("Counter", Counter(goal), limit)
    actions = np.random.default_rng(seed).integers(0, 3, (40, 1))
    count = age = 0
    for a, step in zip(actions[:, 0], play(env, streams.keys(seed, 1), actions)[1], strict=True):
        count, age = count + a, age + 1
        assert step.reward[0] == a / 2
        assert step.final_obs[0, 2] == count
        assert step.terminated[0] == (count >= goal)
        assert step.truncated[0] == (age == limit)  # both at once where both hold
        if count >= goal or age == limit:
            count = age = 0
        assert step.obs[0, 2] == count


def test_every_draw_is_the_keys_number_for_its_time():
    env, keys = Episodic("Counter", Counter(2), 3), streams.keys(6, 4)
    actions = np.random.default_rng(6).integers(0, 3, (30, 4))
    numbers = [streams.uniforms(keys, np.full(4, t), 5) for t in range(31)]
    first, steps = play(env, keys, actions)
    began = np.zeros(4, int)
    np.testing.assert_array_equal(first[:, 0], numbers[0][4])
    for t, step in enumerate(steps, 1):
        np.testing.assert_array_equal(step.final_obs[:, 0], [numbers[began[i]][4, i] for i in range(4)])
        np.testing.assert_array_equal(step.final_obs[:, 1], numbers[t][2])
        began[step.terminated | step.truncated] = t
        np.testing.assert_array_equal(step.obs[:, 0], [numbers[began[i]][4, i] for i in range(4)])
    assert (began > 0).all()


@pytest.mark.parametrize("n", [1, LONG - 1, LONG, LONG + 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_the_columns_in_single_precision_however_many_there_are(n, dtype):
    x = np.random.default_rng(n).normal(size=(3, n)).astype(dtype)
    rows = as_rows(x)
    assert rows.flags.c_contiguous
    assert not np.shares_memory(rows, x)
    assert_equal(rows, x.T.astype(np.float32))


# --- arguments --------------------------------------------------------------------------------------------


def frozen(state):
    """Return the state with every array read-only."""
    for array in state:
        array.flags.writeable = False
    return state


@every_environment
def test_a_step_leaves_the_state_and_the_actions_as_they_were(env):
    rng, n = np.random.default_rng(7), 5
    state, _ = env.reset(streams.keys(7, n))
    for _ in range(60):
        state, actions = frozen(state), act(env, rng, n)
        kept, given_actions = [array.copy() for array in state], actions.copy()
        actions.flags.writeable = False
        step = env.step(state, actions)
        assert_equal(tuple(state), tuple(kept))
        assert_equal(actions, given_actions)
        assert not any(np.shares_memory(step.state.x, array) for array in (state.x, step.obs, step.final_obs))
        state = step.state


def test_the_state_keeps_keys_of_its_own():
    keys = streams.keys(8, 3)
    state, _ = ENVIRONMENTS[0].reset(keys)
    kept = keys.copy()
    keys[:] = 0
    np.testing.assert_array_equal(state.keys, kept)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ([], ArgumentTypeError, "keys must hold whole numbers, got dtype float64"),
        (np.zeros(0, np.uint64), ArgumentError, r"at least one environment, got shape \(0,\)"),
        (np.zeros((2, 2), np.uint64), ArgumentError, r"keys must be \[E\] .*, got shape \(2, 2\)"),
        (np.uint64(3), ArgumentError, r"got shape \(\)"),
        ([1.5], ArgumentTypeError, "keys must hold whole numbers, got dtype float64"),
        (["a"], ArgumentTypeError, "keys must hold whole numbers, got dtype"),
    ],
)
def test_keys_that_are_none_are_refused(keys, error, message):
    with pytest.raises(error, match=message):
        ENVIRONMENTS[0].reset(keys)


@pytest.mark.parametrize("limit", [0, -1, 1.0, True, None])
def test_a_time_limit_is_a_whole_number_of_at_least_one(limit):
    with pytest.raises(ArgumentError, match="time_limit must be a whole number of at least 1"):
        Episodic("CartPole-v1", CartPole(), limit)


DISCRETE, VECTORS = (CartPole(), Acrobot(), Counter(3)), (Pendulum(), MountainCarContinuous())
BAD = [
    *((d, [0, d.action_space.n], ArgumentError, "action . not in Discrete") for d in DISCRETE),
    *((d, [-1, 0], ArgumentError, "action -1 not in Discrete") for d in DISCRETE),
    *((d, [0.0, 1.0], ArgumentTypeError, "actions must hold integers") for d in DISCRETE),
    *((d, [np.nan, 1.0], ArgumentTypeError, "actions must hold integers") for d in DISCRETE),
    *((d, [[0], [1]], ShapeError, r"actions must have shape \(2\)") for d in DISCRETE),
    *((d, [0], ShapeError, r"actions must have shape \(2\)") for d in DISCRETE),
    *((d, [[0.0], [np.nan]], NonFiniteError, r"got nan at index \(1, 0\)") for d in VECTORS),
    *((d, [[-np.inf], [0.0]], NonFiniteError, r"got -inf at index \(0, 0\)") for d in VECTORS),
    *((d, [0.0, 1.0], ShapeError, r"actions must have shape \(2, 1\)") for d in VECTORS),
    *((d, [[0.0]], ShapeError, r"actions must have shape \(2, 1\)") for d in VECTORS),
    *((d, [[0.0, 1.0]] * 2, ShapeError, r"actions must have shape \(2, 1\)") for d in VECTORS),
    *((d, [["0"], ["1"]], ArgumentTypeError, "actions must hold real numbers") for d in VECTORS),
]


@pytest.mark.parametrize(("dynamics", "actions", "error", "message"), BAD)
def test_bad_actions_are_refused_and_the_state_can_go_on(dynamics, actions, error, message):
    env = Episodic("any", dynamics, 5)
    state, _ = env.reset(streams.keys(9, 2))
    kept = tuple(array.copy() for array in state)
    with pytest.raises(error, match=message):
        env.step(state, actions)
    assert_equal(tuple(state), kept)
    good = act(env, np.random.default_rng(0), 2)
    assert_equal(env.step(state, good), env.step(env.reset(streams.keys(9, 2))[0], good))


@pytest.mark.parametrize("dynamics", VECTORS, ids=lambda d: type(d).__name__)
def test_vectors_beyond_the_box_lead_where_their_clipped_ones_lead(dynamics):
    env = Episodic("any", dynamics, 5)
    state, _ = env.reset(streams.keys(9, 100))
    for dtype in (np.float32, np.float64):
        actions = np.random.default_rng(0).normal(size=(100, 1)).astype(dtype) * 5
        inside = clipped(env.action_space, actions).astype(dtype)
        assert_equal(env.step(state, actions).state.x, env.step(state, inside).state.x)


@pytest.mark.parametrize("dynamics", [CartPole(), Pendulum(), Acrobot()], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, "1", None])
def test_constants_of_physics_are_positive_and_finite(dynamics, value):
    for name in (field.name for field in fields(dynamics) if field.name != "dtype"):
        with pytest.raises(ArgumentError, match=f"{name} must be positive and finite, got"):
            replace(dynamics, **{name: value})
