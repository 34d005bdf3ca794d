"""LQR against SciPy's Riccati solver, least squares, fractions and simulation; and every bad argument."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import streams
from pgref.envs.lqr import LQR, gain_return, optimal_gains, optimal_return, riccati
from pgref.envs.protocol import Episodic
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError
from pgref.spaces import Box

seeds = st.integers(0, 2**32 - 1)
discounts = st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0])
Z = 5.0


def drawn(seed, n, m, noise=0.3):
    """A system whose states and costs are of order one."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((n, n))
    half = rng.standard_normal((m, m))
    q, r = root @ root.T, half @ half.T + np.eye(m)
    low = rng.uniform(-1.0, 1.0, n)
    return LQR(
        rng.standard_normal((n, n)) / np.sqrt(n),
        rng.standard_normal((n, m)),
        (q + q.T) / 2,
        (r + r.T) / 2,
        noise,
        low,
        low + rng.uniform(0.0, 1.0, n),
    )


def simulated(lqr, gains, horizon, n, seed=0, discount=1.0):
    """Returns of n episodes through the environment, [n]."""
    env = Episodic("LQR", lqr, horizon)
    state, obs = env.reset(streams.keys(seed, n))
    total = np.zeros(n)
    for t, gain in enumerate(np.broadcast_to(gains, (horizon, *np.shape(gains)[-2:]))):
        step = env.step(state, -obs @ gain.T)
        total += discount**t * step.reward
        state, obs = step.state, step.obs
        assert not step.terminated.any()
        assert (step.truncated == (t == horizon - 1)).all()
    return total


@given(seed=seeds, n=st.integers(1, 4), m=st.integers(1, 3), discount=discounts.filter(bool))
def test_the_stationary_solution_is_scipys(seed, n, m, discount):
    lqr = drawn(seed, n, m)
    found = riccati(lqr, discount)
    root = np.sqrt(discount)
    a, b = root * lqr.transition, root * lqr.control
    cost = scipy.linalg.solve_discrete_are(a, b, lqr.state_cost, lqr.action_cost)
    gain = np.linalg.solve(lqr.action_cost + b.T @ cost @ b, b.T @ cost @ a)
    assert found.status == "converged"
    # what the last change leaves of the error is that change over 1 − (the closed loop's spectral radius)²
    rate = np.abs(np.linalg.eigvals(a - b @ gain)).max() ** 2
    tolerance = 1e-11 / (1 - rate)
    np.testing.assert_allclose(found.cost, cost, rtol=0, atol=tolerance * np.abs(cost).max())
    np.testing.assert_allclose(found.gain, gain, rtol=0, atol=tolerance * max(1, np.abs(gain).max()))


def test_without_a_future_the_best_gain_is_zero():
    found = riccati(LQR(), 0.0)
    assert found.status == "converged"
    assert not found.gain.any()
    np.testing.assert_array_equal(found.cost, LQR().state_cost)


@pytest.mark.parametrize(("a", "status"), [(2.0, "diverged"), (1.0, "budget"), (0.5, "converged")])
def test_a_cost_that_no_gain_bounds_is_a_status(a, status):
    lqr = LQR([[a]], [[0.0]], [[1.0]], [[1.0]], 0.0, [0.0], [1.0])
    assert riccati(lqr).status == status


@given(seed=seeds, n=st.integers(1, 3), m=st.integers(1, 2), horizon=st.integers(1, 5), discount=discounts)
@example(seed=0, n=2, m=1, horizon=1, discount=1.0)
def test_optimal_gains_give_the_least_squares_plan(seed, n, m, horizon, discount):
    """Without noise the best plan u₀ … u_{T−1} minimises a sum of squares that is linear in it."""
    lqr = drawn(seed, n, m, noise=0.0)
    x0 = lqr.start_low
    q_root = scipy.linalg.sqrtm(lqr.state_cost).real
    r_root = np.linalg.cholesky(lqr.action_cost).T
    states, plan = np.zeros((n, horizon * m)), np.eye(horizon * m)  # x_t = offset + states @ plan
    offset, rows, targets = x0, [], []
    for t in range(horizon):
        weight = np.sqrt(discount**t)
        u = plan[t * m : (t + 1) * m]
        rows += [weight * q_root @ states, weight * r_root @ u]
        targets += [-weight * q_root @ offset, np.zeros(m)]
        states, offset = lqr.transition @ states + lqr.control @ u, lqr.transition @ offset
    matrix, target = np.vstack(rows), np.concatenate(targets)
    best = np.linalg.lstsq(matrix, target, rcond=None)[0]
    fixed = LQR(lqr.transition, lqr.control, lqr.state_cost, lqr.action_cost, 0.0, x0, x0)
    cost = np.sum((matrix @ best - target) ** 2)
    np.testing.assert_allclose(optimal_return(fixed, horizon, discount), -cost, rtol=1e-7, atol=1e-12)
    if discount:
        x, scale = x0, 1 + np.abs(best).max()
        for t, gain in enumerate(optimal_gains(fixed, horizon, discount)):
            u = -gain @ x
            np.testing.assert_allclose(u, best[t * m : (t + 1) * m], rtol=0, atol=1e-7 * scale)
            x = lqr.transition @ x + lqr.control @ u


def test_a_scalar_system_in_fractions():
    a, b, q, r = Fraction(5, 4), Fraction(1, 2), Fraction(3), Fraction(1, 4)
    low, high, variance, gamma, p, c = (
        Fraction(1),
        Fraction(2),
        Fraction(1, 16),
        Fraction(7, 8),
        Fraction(0),
        0,
    )
    gains = []
    for _ in range(6):
        c = gamma * (variance * p + c)
        gains.append(gamma * a * b * p / (r + gamma * b * b * p))
        p = q + gamma * a * a * p - (gamma * a * b * p) ** 2 / (r + gamma * b * b * p)
    second_moment = (high**3 - low**3) / (3 * (high - low))
    lqr = LQR([[1.25]], [[0.5]], [[3.0]], [[0.25]], 0.25, [1.0], [2.0])
    np.testing.assert_allclose(
        optimal_gains(lqr, 6, 0.875).ravel(), [float(k) for k in gains[::-1]], rtol=1e-14, atol=0
    )
    assert optimal_return(lqr, 6, 0.875) == pytest.approx(float(-p * second_moment - c), rel=1e-14)


@given(seed=seeds, n=st.integers(1, 4), m=st.integers(1, 3), horizon=st.integers(1, 20), discount=discounts)
def test_costs_backwards_and_moments_forwards_give_the_same_return(seed, n, m, horizon, discount):
    lqr = drawn(seed, n, m)
    forwards = gain_return(lqr, optimal_gains(lqr, horizon, discount), horizon, discount)
    assert optimal_return(lqr, horizon, discount) == pytest.approx(forwards, rel=1e-11)


@given(seed=seeds, n=st.integers(1, 3), m=st.integers(1, 2), size=st.sampled_from([1e-3, 0.1, 1.0]))
def test_no_other_gains_do_better(seed, n, m, size):
    lqr = drawn(seed, n, m)
    gains = optimal_gains(lqr, 8)
    best = optimal_return(lqr, 8)
    change = size * np.random.default_rng(seed).standard_normal(gains.shape)
    for other in (gains + change, gains - change):
        assert gain_return(lqr, other, 8) < best
    for stationary in (gains[0], gains[0] + change[0]):
        assert gain_return(lqr, stationary, 8) <= best


@pytest.mark.parametrize("discount", [1.0, 0.8])
@pytest.mark.parametrize("gains", ["best", "one", "none"])
def test_returns_are_those_of_simulated_episodes(gains, discount):
    lqr, horizon, n = drawn(3, 3, 2), 6, 20_000
    k = {
        "best": optimal_gains(lqr, horizon, discount),
        "one": riccati(lqr, 0.9).gain * 0.7,
        "none": np.zeros((2, 3)),
    }[gains]
    total = simulated(lqr, k, horizon, n, 1, discount)
    assert abs(total.mean() - gain_return(lqr, k, horizon, discount)) < Z * total.std() / np.sqrt(n)
    if gains == "best":
        assert abs(total.mean() - optimal_return(lqr, horizon, discount)) < Z * total.std() / np.sqrt(n)


def test_early_gains_of_a_long_horizon_are_the_stationary_one():
    gains = optimal_gains(LQR(), 200, 0.99)
    np.testing.assert_allclose(gains[0], riccati(LQR(), 0.99).gain, rtol=1e-11)
    assert not gains[-1].any()
    assert gains.shape == (200, 1, 2)


def test_the_default_task_is_won_by_one_gain_and_lost_without():
    best = optimal_return(LQR(), 100)
    assert best == pytest.approx(-15.77, abs=0.005)
    for discount in (0.95, 0.99, 1.0):
        assert best * 1.002 < gain_return(LQR(), riccati(LQR(), discount).gain, 100) < best
    assert gain_return(LQR(), np.zeros((1, 2)), 100) == pytest.approx(-34.0, abs=0.05)


@given(seed=seeds, n=st.integers(1, 5), m=st.integers(1, 3))
def test_a_step_is_the_formula(seed, n, m):
    lqr, rng = drawn(seed, n, m), np.random.default_rng(seed)
    x, u, draws = rng.standard_normal((n, 7)), rng.standard_normal((7, m)), rng.random((lqr.step_draws, 7))
    moved = lqr.move(x, u, draws)
    pairs = lqr.step_draws // 2
    z = np.sqrt(-2 * np.log(1 - draws[:pairs])) * np.exp(
        2j * np.pi * draws[pairs:]
    )  # Box & Muller as published
    w = 0.3 * np.vstack([z.real, z.imag])[:n]
    for e in range(7):
        np.testing.assert_allclose(
            moved.x[:, e], lqr.transition @ x[:, e] + lqr.control @ u[e] + w[:, e], atol=1e-13
        )
        cost = x[:, e] @ lqr.state_cost @ x[:, e] + u[e] @ lqr.action_cost @ u[e]
        np.testing.assert_allclose(moved.reward[e], -cost, rtol=1e-12)
    assert moved.terminated.dtype == bool
    assert not moved.terminated.any()
    np.testing.assert_array_equal(lqr.observe(x), x.T)
    assert not np.shares_memory(lqr.observe(x), x)


def test_without_noise_a_step_takes_no_draws_and_returns_are_exact():
    lqr = LQR(noise=0.0, start_low=[0.5, -1.0], start_high=[0.5, -1.0])
    gain = riccati(lqr, 0.9).gain
    returns = simulated(lqr, gain, 7, 3)
    np.testing.assert_allclose(returns, gain_return(lqr, gain, 7), rtol=1e-14)


def test_the_noise_is_normal_and_independent():
    lqr = LQR(np.zeros((3, 3)), np.zeros((3, 1)), np.eye(3), [[1.0]], 2.0, np.zeros(3), np.zeros(3))
    n = 40_000
    draws = streams.uniforms(streams.keys(0, n), np.zeros(n, np.int64), lqr.step_draws)
    w = lqr.move(np.zeros((3, n)), np.zeros((n, 1)), draws).x / 2.0
    for row in w:
        assert scipy.stats.kstest(row, "norm").pvalue > 1e-6
    assert (np.abs(w @ w.T / n - np.eye(3)) < Z * np.sqrt((1 + np.eye(3)) / n)).all()


def test_the_smallest_and_largest_draws_are_finite():
    lqr = LQR()
    draws = np.array([[0.0, 1 - 2.0**-53], [0.0, 1 - 2.0**-53]])
    assert np.isfinite(lqr.move(np.zeros((2, 2)), np.zeros((2, 1)), draws).x).all()


def test_many_environments_are_single_ones_bit_for_bit():
    lqr = drawn(5, 3, 2)
    env, keys = Episodic("LQR", lqr, 4), streams.keys(7, 9)
    gain = riccati(lqr, 0.9).gain[0, 0]
    state, obs = env.reset(keys)
    singles = [env.reset(keys[e : e + 1]) for e in range(9)]
    for _ in range(10):
        step = env.step(state, gain * obs[:, :2])
        steps = [env.step(one, gain * seen[:, :2]) for one, seen in singles]
        for field in ("obs", "final_obs", "reward", "truncated"):
            together = np.concatenate([getattr(one, field) for one in steps])
            np.testing.assert_array_equal(getattr(step, field), together)
        state, obs = step.state, step.obs
        singles = [(one.state, one.obs) for one in steps]


def test_a_step_leaves_its_arguments_alone():
    env = Episodic("LQR", LQR(), 1)
    state, obs = env.reset(np.arange(4))
    actions = np.ones((4, 1))
    before = [array.copy() for array in (*state, obs, actions)]
    env.step(state, actions)
    for old, new in zip(before, (*state, obs, actions), strict=True):
        np.testing.assert_array_equal(old, new)


def test_spaces_are_unbounded():
    lqr = drawn(0, 3, 2)
    assert lqr.obs_space == Box((-np.inf,) * 3, (np.inf,) * 3)
    assert lqr.action_space == Box((-np.inf,) * 2, (np.inf,) * 2)
    assert [drawn(0, n, 1).step_draws for n in (1, 2, 3, 4)] == [2, 2, 4, 4]
    assert drawn(0, 3, 1, noise=0.0).step_draws == 0
    assert drawn(0, 3, 1).start_draws == 3


def test_a_description_is_a_read_only_copy_that_pickles():
    a = np.array([[0.5]])
    lqr = LQR(a, [[1]], [[1]], [[1]], 0, [0], [0])
    a[...] = 7.0
    assert lqr.transition == 0.5
    with pytest.raises(ValueError, match="read-only"):
        lqr.transition[...] = 1.0
    copy = pickle.loads(pickle.dumps(lqr))
    assert copy == lqr != LQR(a, [[1]], [[1]], [[1]], 0, [0], [0])
    assert hash(copy) == hash(lqr)
    assert lqr != "LQR"
    assert lqr.noise == 0.0
    assert type(optimal_return(lqr, 2)) is type(gain_return(lqr, [[0.0]], 2)) is float


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"transition": np.eye(3)}, ShapeError, r"transition must have shape \(2, 2\)"),
        ({"transition": [[1.0, np.nan], [0.0, 1.0]]}, NonFiniteError, "transition must be finite"),
        ({"transition": "A"}, ArgumentTypeError, "transition must hold real numbers"),
        ({"control": np.zeros((2, 0))}, ShapeError, "control must have at least one state and one action"),
        ({"control": np.zeros((0, 1))}, ShapeError, "control must have at least one state and one action"),
        ({"state_cost": [[1.0, 0.5], [0.0, 1.0]]}, ArgumentError, "state_cost must be symmetric"),
        ({"state_cost": [[1.0, 2.0], [2.0, 1.0]]}, ArgumentError, "semi-definite, got an eigenvalue of -1"),
        (
            {"action_cost": [[0.0]]},
            ArgumentError,
            "action_cost must be positive definite, got an eigenvalue of 0",
        ),
        ({"noise": -0.1}, ArgumentError, "noise must be at least 0 and finite"),
        ({"start_low": [2.0, 0.0]}, ArgumentError, "start_low must be at most start_high"),
        ({"start_high": [1.0]}, ShapeError, "start_high must have shape"),
    ],
)
def test_a_bad_description_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        LQR(**change)


def test_a_cost_that_sees_one_direction_only_is_semi_definite():
    assert LQR(state_cost=np.outer([0.1, 0.7], [0.1, 0.7])).state_cost[1, 1] == 0.7 * 0.7


@pytest.mark.parametrize(
    "function", [optimal_gains, optimal_return, lambda *a: gain_return(a[0], [[0, 0]], *a[1:])]
)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "horizon must be a whole number"),
        ((2.0,), "horizon"),
        ((5, 1.5), r"discount must be in \[0, 1\]"),
    ],
)
def test_a_bad_horizon_or_discount_is_refused(function, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        function(LQR(), *arguments)


def test_a_bad_discount_of_the_stationary_solution_is_refused():
    with pytest.raises(ArgumentError, match="discount must be"):
        riccati(LQR(), -0.5)


@pytest.mark.parametrize(
    ("gains", "error"),
    [
        (np.zeros((2, 1)), ShapeError),
        (np.zeros(2), ShapeError),
        (np.zeros((4, 1, 2)), ShapeError),
        ([[0.0, np.inf]], NonFiniteError),
        (["K"], ArgumentTypeError),
    ],
)
def test_gains_that_do_not_fit_are_refused(gains, error):
    with pytest.raises(error, match="gains"):
        gain_return(LQR(), gains, 5)
