"""A tabular MDP as an environment: frequencies, returns, rounding at the ends of rows, ends of episodes."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import instances, streams
from pgref.envs.protocol import Episodic
from pgref.envs.tabular import Tabular
from pgref.errors import ArgumentError, ArgumentTypeError
from pgref.mdp import TabularMDP, expected_return
from pgref.spaces import Discrete

seeds = st.integers(0, 2**32 - 1)
Z = 5.0
LAST = 1 - 2.0**-53  # the largest uniform number


def with_zeros(rng, sparse=False):
    """Rows with two successors of five, or that end with probability up to 0.6."""
    return instances.random_mdp(rng, 5, 3, 0.9, successors=2, ending=0.6, unreachable=1, sparse=sparse)


def as_sparse(m):
    rows = scipy.sparse.csr_matrix(m.transitions.reshape(-1, m.n_states))
    return TabularMDP(rows, m.rewards, m.start, m.discount)


def within(counts, p):
    """Counts of n draws agree with probabilities, and exactly where nothing is random."""
    n = counts.sum()
    return (np.abs(counts - n * p) <= Z * np.sqrt(n * p * (1 - p))).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_frequencies_are_the_probabilities(rng, sparse):
    m = with_zeros(rng, sparse)
    rows = np.asarray(m.transitions.todense()).reshape(5, 3, 5) if sparse else m.transitions
    dynamics, n = Tabular(m), 4000
    for s in range(5):
        for a in range(3):
            moved = dynamics.move(np.full((1, n), s), np.full(n, a), rng.random((1, n)))
            went = moved.x[0][~moved.terminated]
            counts = np.append(np.bincount(went, minlength=5), moved.terminated.sum())
            assert within(counts, np.append(rows[s, a], max(0.0, 1 - rows[s, a].sum())).round(15))
            assert (moved.x[0][moved.terminated] == s).all()
            assert (moved.reward == m.rewards[s, a]).all()
    counts = np.bincount(dynamics.start(rng.random((1, n)))[0], minlength=5)
    assert within(counts, m.start)


@given(seed=seeds, n_states=st.integers(1, 6), n_actions=st.integers(1, 3), successors=st.integers(1, 6))
@example(seed=0, n_states=1, n_actions=1, successors=1)
def test_a_draw_falls_in_its_states_interval(seed, n_states, n_actions, successors):
    rng = np.random.default_rng(seed)
    successors = min(successors, n_states)
    m = instances.random_mdp(rng, n_states, n_actions, successors=successors, ending=0.5)
    n = 50
    s, a, u = rng.integers(n_states, size=n), rng.integers(n_actions, size=n), rng.random(n)
    moved = Tabular(m).move(s[None], a, u[None])
    for e in range(n):
        row = m.transitions[s[e], a[e]]
        if moved.terminated[e]:
            assert u[e] >= row.sum() - 1e-15
        else:
            t = moved.x[0, e]
            assert row[t] > 0
            assert row[:t].sum() - 1e-15 <= u[e] <= row[: t + 1].sum() + 1e-15


@pytest.mark.parametrize("sparse", [False, True])
def test_edges_of_intervals_are_never_states_of_probability_zero(sparse):
    row = np.array([0.0, 0.25, 0.0, 0.5, 0.0])  # exact in binary; ends with probability ¼
    m = TabularMDP(np.tile(row, (5, 1, 1)), np.zeros((5, 1)), [0.0, 0.5, 0.0, 0.5, 0.0], 0.9)
    dynamics = Tabular(as_sparse(m) if sparse else m)
    draws = np.array([[0.0, 0.25 - 2.0**-53, 0.25, 0.75 - 2.0**-53, 0.75, LAST]])
    moved = dynamics.move(np.full((1, 6), 2), np.zeros(6, np.int64), draws)
    np.testing.assert_array_equal(moved.x, [[1, 1, 3, 3, 2, 2]])
    np.testing.assert_array_equal(moved.terminated, [False] * 4 + [True] * 2)
    np.testing.assert_array_equal(dynamics.start(draws), [[1, 1, 1, 3, 3, 3]])


@pytest.mark.parametrize("sparse", [False, True])
def test_rounding_ends_no_episode(sparse):
    row = np.array([0.1] * 10 + [0.0])
    assert np.cumsum(row)[-1] <= LAST  # so that the plain rule would end it
    m = TabularMDP(np.tile(row, (11, 1, 1)), np.zeros((11, 1)), row, 0.9)
    dynamics = Tabular(as_sparse(m) if sparse else m)
    moved = dynamics.move(np.zeros((1, 1), np.int64), np.zeros(1, np.int64), np.array([[LAST]]))
    assert not moved.terminated[0]
    assert moved.x[0, 0] == dynamics.start(np.array([[LAST]]))[0, 0] == 9


@pytest.mark.parametrize("transitions", [np.zeros((2, 2, 2)), scipy.sparse.csr_matrix((4, 2))])
def test_rows_without_mass_end_at_once(transitions):
    dynamics = Tabular(TabularMDP(transitions, np.zeros((2, 2)), [0.5, 0.5], 1.0))
    moved = dynamics.move(np.array([[0, 1]]), np.array([1, 0]), np.zeros((1, 2)))
    assert moved.terminated.all()
    np.testing.assert_array_equal(moved.x, [[0, 1]])


def test_rows_of_a_sparse_matrix_may_hold_zeros_in_any_order():
    rows = scipy.sparse.csr_matrix(([0.25, 0.0, 0.75], [2, 1, 0], [0, 3, 3, 3]), shape=(3, 3))
    dynamics = Tabular(TabularMDP(rows, np.zeros((3, 1)), [1.0, 0.0, 0.0], 0.9))
    n = 4000
    draws = streams.uniforms(streams.keys(0, n), np.zeros(n, np.int64), 1)
    moved = dynamics.move(np.zeros((1, n), np.int64), np.zeros(n, np.int64), draws)
    assert not moved.terminated.any()
    assert within(np.bincount(moved.x[0], minlength=3), np.array([0.75, 0.0, 0.25]))
    assert dynamics.move(np.array([[1]]), np.array([0]), np.array([[0.0]])).terminated


@given(seed=seeds)
def test_dense_and_sparse_transitions_give_the_same_steps(seed):
    m = with_zeros(np.random.default_rng(seed))
    ends = []
    for mdp in (m, as_sparse(m)):
        env, rng = Episodic("", Tabular(mdp), 4), np.random.default_rng(seed)
        state, _ = env.reset(streams.keys(seed, 6))
        for _ in range(8):
            step = env.step(state, rng.integers(3, size=6))
            state = step.state
        ends.append(np.array([step.obs, step.final_obs, step.reward, step.terminated, step.truncated]))
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("sparse", [False, True])
def test_mean_returns_of_episodes_are_the_exact_return(rng, sparse):
    m = instances.random_mdp(rng, 4, 2, 0.9, ending=0.6, sparse=sparse)
    pi = instances.random_policy(rng, 4, 2)
    env, n, total = Episodic("", Tabular(m), 10_000), 20_000, 0.0
    state, obs = env.reset(streams.keys(1, n))
    under_way, weight = np.ones(n), 1.0
    while under_way.any():
        step = env.step(state, (rng.random(n) > pi[obs, 0]).astype(np.int64))
        total = total + weight * under_way * step.reward
        under_way, weight = under_way * ~step.terminated, weight * m.discount
        state, obs = step.state, step.obs
        assert not step.truncated.any()
    assert abs(total.mean() - expected_return(m, pi)) < Z * total.std() / np.sqrt(n)


def test_a_step_that_ends_an_episode_shows_the_state_it_left():
    m = TabularMDP(np.zeros((3, 1, 3)), np.zeros((3, 1)), np.ones(3) / 3, 0.9)
    env = Episodic("", Tabular(m), 9)
    state, obs = env.reset(np.arange(100))
    step = env.step(state, np.zeros(100, np.int64))
    assert step.terminated.all()
    np.testing.assert_array_equal(step.final_obs, obs)
    assert (step.obs != obs).any()
    np.testing.assert_array_equal(step.obs, step.state.x[0])


def test_many_environments_are_single_ones_and_arguments_stay(rng):
    env, keys = Episodic("", Tabular(with_zeros(rng)), 3), streams.keys(5, 6)
    actions = rng.integers(3, size=6)
    state, obs = env.reset(keys)
    before = [array.copy() for array in (*state, obs, actions)]
    together = env.step(state, actions)
    for old, new in zip(before, (*state, obs, actions), strict=True):
        np.testing.assert_array_equal(old, new)
    for e in range(6):
        alone = env.step(env.reset(keys[e : e + 1])[0], actions[e : e + 1])
        for name in ("obs", "final_obs", "reward", "terminated"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[e : e + 1])


def test_spaces_and_observations_are_whole_numbers(rng):
    dynamics = Tabular(with_zeros(rng))
    assert (dynamics.obs_space, dynamics.action_space) == (Discrete(5), Discrete(3))
    x = dynamics.start(rng.random((1, 4)))
    seen = dynamics.observe(x)
    assert seen.shape == (4,)
    assert seen.dtype == np.int64
    assert not np.shares_memory(seen, x)


def test_what_is_no_mdp_and_an_action_it_has_not_are_refused(rng):
    with pytest.raises(ArgumentTypeError, match="mdp must be a TabularMDP, got list"):
        Tabular([])
    env = Episodic("", Tabular(with_zeros(rng)), 3)
    state, _ = env.reset(np.arange(1))
    with pytest.raises(ArgumentError, match=r"action 3 not in Discrete\(3\)"):
        env.step(state, [3])
