"""Statistics of learning curves against enumeration, SciPy's trimmed mean and lists of single episodes."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from pgref import curves
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError

seeds = st.integers(0, 2**32 - 1)
EPS = np.finfo(float).eps


@given(st.integers(1, 40), st.integers(1, 5), st.sampled_from([0, 1, -1, -2]), seeds)
@example(1, 1, 0, 0)
@example(4, 1, 0, 0)
def test_the_interquartile_mean_is_the_mean_trimmed_by_a_quarter(n, points, axis, seed):
    x = np.random.default_rng(seed).standard_normal((n, points))
    error = abs(curves.iqm(x, axis) - trim_mean(x, 0.25, axis)).max()
    assert error <= 40 * EPS * abs(x).max()


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20))
def test_the_interquartile_mean_of_a_list_leaves_out_both_outer_quarters(x):
    cut = len(x) // 4
    middle = sorted(x)[cut : len(x) - cut]
    assert math.isclose(curves.iqm(x), sum(middle) / len(middle), rel_tol=4 * EPS)


@given(st.integers(4, 30), seeds)
def test_one_run_however_lucky_moves_the_interquartile_mean_no_further_than_its_neighbours(n, seed):
    x = np.sort(np.random.default_rng(seed).standard_normal(n))
    lucky = np.append(x[:-1], 1e300)
    assert curves.iqm(lucky) == curves.iqm(x)


@pytest.mark.parametrize(
    ("x", "axis", "error", "message"),
    [
        ([], 0, ArgumentError, "x must hold at least one number along axis 0"),
        ([1.0], 1, ArgumentError, "axis must be one of the 1 axes of x, got 1"),
        (1.0, 0, ArgumentError, "axis must be one of the 0 axes of x, got 0"),
        ([math.nan], 0, NonFiniteError, "x must be finite"),
        (["a"], 0, ArgumentTypeError, "x must hold real numbers"),
    ],
)
def test_no_interquartile_mean_of_what_has_none(x, axis, error, message):
    with pytest.raises(error, match=message):
        curves.iqm(x, axis)


@pytest.mark.parametrize("statistic", [curves.iqm, lambda x: x.mean(0)], ids=["iqm", "mean"])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_ends_are_quantiles_of_the_statistic_over_all_resamples(rng, statistic, level):
    """Every resample of four seeds is listed; the drawn quantiles may miss by z = 5 standard errors."""
    values, resamples = rng.standard_normal((4, 1)), 4000
    every = np.array([statistic(values[list(i)])[0] for i in itertools.product(range(4), repeat=4)])
    low, high = curves.bootstrap_interval(values, statistic, rng, level, resamples)
    for end, p in ((low[0], (1 - level) / 2), (high[0], (1 + level) / 2)):
        margin = 5 * math.sqrt(p * (1 - p) / resamples) + 1 / resamples
        assert np.mean(every <= end + 1e-12) >= p - margin
        assert np.mean(every < end - 1e-12) <= p + margin


@given(st.integers(1, 6), st.integers(1, 5), seeds)
def test_a_seed_is_drawn_with_its_whole_curve(n, points, seed):
    rng = np.random.default_rng(seed)
    half = rng.integers(-99, 99, (n, points))
    values = np.concatenate((half, -half), axis=1)  # each curve sums to 0, and so must any choice of them
    low, high = curves.bootstrap_interval(values, lambda x: x.sum(axis=1), rng, resamples=20)
    assert not low.any()
    assert not high.any()


@given(st.integers(1, 6), st.integers(1, 5), seeds)
def test_more_level_makes_the_interval_wider_up_to_all_that_was_drawn(n, points, seed):
    values = np.random.default_rng(seed).standard_normal((n, points))
    levels = 0.0, 0.5, 0.95, 1.0
    found = [
        curves.bootstrap_interval(values, curves.iqm, np.random.default_rng(seed), q, 20) for q in levels
    ]
    assert all((a.low >= b.low).all() and (a.high <= b.high).all() for a, b in itertools.pairwise(found))
    assert (found[0].low == found[0].high).all()
    rounding = n * EPS * abs(values).max()  # of a mean of up to n numbers
    assert (found[-1].low >= values.min(0) - rounding).all()
    assert (found[-1].high <= values.max(0) + rounding).all()


def test_seeds_that_agree_leave_no_doubt(rng):
    low, high = curves.bootstrap_interval(np.ones((5, 3)), curves.iqm, rng)
    assert low.tolist() == high.tolist() == [1.0, 1.0, 1.0]


def test_the_same_generator_gives_the_same_interval_and_the_values_stay(rng):
    values = rng.standard_normal((5, 3))
    values.setflags(write=False)
    first, second = (
        curves.bootstrap_interval(values, curves.iqm, np.random.default_rng(1)) for _ in range(2)
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("values", "settings", "error", "message"),
    [
        (np.empty((0, 3)), {}, ArgumentError, "values must hold at least one seed"),
        (np.ones(3), {}, ArgumentError, "values must have shape"),
        (np.full((1, 1), np.nan), {}, NonFiniteError, "values must be finite"),
        (np.ones((2, 2)), {"level": 1.5}, ArgumentError, r"level must be in \[0, 1\], got 1.5"),
        (np.ones((2, 2)), {"resamples": 0}, ArgumentError, "resamples must be a whole number of at least 1"),
    ],
)
def test_no_interval_from_arguments_out_of_range(rng, values, settings, error, message):
    with pytest.raises(error, match=message):
        curves.bootstrap_interval(values, curves.iqm, rng, **settings)


def rows_of(rng, n, most=4):
    """Return a run's rows: some updates finish no episode, and two may stand at the same steps."""
    steps, counts = np.cumsum(rng.integers(0, 50, n)).tolist(), rng.integers(0, most, n).tolist()
    return [
        {"steps": s, "episodes": k, "mean_return": float(rng.standard_normal()) if k else None, "kl": 0.1}
        for s, k in zip(steps, counts, strict=True)
    ]


def by_single_episodes(rows, step, window):
    """Return the mean over single episodes, taken row by row from the latest backwards."""
    episodes = []
    for row in reversed([row for row in rows if row["steps"] <= step]):
        if len(episodes) < window:
            episodes += [row["mean_return"]] * row["episodes"]
    return math.fsum(episodes) / len(episodes) if episodes else math.nan


@given(st.integers(0, 20), st.integers(1, 12), seeds)
@example(0, 1, 0)
def test_a_curve_is_the_mean_over_the_latest_episodes(n, window, seed):
    rng = np.random.default_rng(seed)
    rows = rows_of(rng, n)
    grid = np.sort(rng.uniform(-10.0, 60.0 * n, 30))
    expected = np.array([by_single_episodes(rows, step, window) for step in grid])
    found = curves.learning_curve(rows, grid, window)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert (abs(found - expected)[~np.isnan(found)] <= 100 * EPS * 5).all()


def test_a_row_counts_from_its_own_steps_on():
    rows = [
        {"steps": 10, "episodes": 1, "mean_return": 3.0},
        {"steps": 20, "episodes": 1, "mean_return": 5.0},
    ]
    assert curves.learning_curve(rows, [10, 19, 20, 99], 1).tolist() == [3.0, 3.0, 5.0, 5.0]
    assert curves.learning_curve(rows, [9, 20], 2).tolist()[1] == 4.0
    assert np.isnan(curves.learning_curve(rows, [9], 2)[0])
    assert curves.learning_curve(rows, []).shape == (0,)


@pytest.mark.parametrize(
    ("rows", "grid", "window", "message"),
    [
        ([{"steps": 1, "episodes": 1}], [0], 1, "got row 0 without mean_return"),
        (
            [{"steps": n, "episodes": 1, "mean_return": 0.0} for n in (2, 1)],
            [0],
            1,
            "steps must not fall; are there two runs",
        ),
        ([], [[0]], 1, "grid must have shape"),
        ([], [0], 0, "window must be a whole number of at least 1"),
    ],
)
def test_no_curve_from_arguments_out_of_range(rows, grid, window, message):
    with pytest.raises(ArgumentError, match=message):
        curves.learning_curve(rows, grid, window)
