"""Running moments against fractions: exact sums of exactly represented numbers, rounded once at the end."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import assert_same, frozen

from pgref.errors import NonFiniteError
from pgref.moments import LIMIT, Moments, merged, no_moments, normalised, scaled

seeds = st.integers(0, 2**32 - 1)
parts = st.lists(st.integers(1, 9), min_size=1, max_size=5)
EPS = 2.0**-52


def exact(x):
    """Return Σ x/n and Σ (x − mean)² of each column of x [n, d], and n."""
    columns = [[Fraction(entry) for entry in column] for column in x.astype(float).T.tolist()]
    means = [sum(column) / len(column) for column in columns]
    squares = [sum((e - m) ** 2 for e in c) for c, m in zip(columns, means, strict=True)]
    return len(x), np.array([float(m) for m in means]), np.array([float(s) for s in squares])


def added(batches, width=2):
    moments = no_moments(width)
    for batch in batches:
        moments = merged(moments, batch)
    return moments


@given(seeds, parts, st.sampled_from([0.0, 1.0, -1e8, 1e12]), st.sampled_from([1e-3, 1.0, 1e6]))
@example(0, [1], 0.0, 1.0)
@example(0, [1, 1, 1], 1e12, 1e-3)
def test_moments_of_batches_are_those_of_all_their_vectors(seed, lengths, offset, scale):
    rng = np.random.default_rng(seed)
    batches = [offset + scale * rng.standard_normal((n, 2)) for n in lengths]
    n, mean, squares = exact(np.concatenate(batches))
    got = added(batches)
    assert got.n == n
    # each batch rounds the mean about twice, at the size of the numbers; the sum within a batch, once a row
    largest = np.abs(np.concatenate(batches)).max()
    slip = 2 * len(lengths) * EPS * largest + 20 * EPS * scale
    np.testing.assert_allclose(got.mean, mean, rtol=0, atol=slip)
    # and a mean that is off by so much moves each batch's squares by 2·shift·slip·n, |shift| ≤ 10 scales
    np.testing.assert_allclose(got.squares, squares, rtol=100 * EPS, atol=n * slip * (20 * scale + slip))


def test_an_offset_costs_no_more_than_the_rounding_of_the_mean():
    # the textbook's Σ x² − n·mean² has no digit left at 1e8
    x = 1e8 + np.random.default_rng(0).standard_normal((1000, 1))
    n, mean, squares = exact(x)
    got = added(np.split(x, 10), 1)
    np.testing.assert_allclose(got.squares, squares, rtol=1e-9)
    naive = (x * x).sum(0) - n * mean**2
    assert abs(naive[0] / squares[0] - 1) > 0.1


@pytest.mark.parametrize("value", [0.0, 0.1, -1e8 / 3, 1e15 / 7, 1e150])
def test_of_a_constant_nothing_is_left(value):
    moments = added([np.full((n, 1), value) for n in (3, 1, 7, 1024)], 1)
    assert moments.mean.tolist() == [value]
    assert moments.squares.tolist() == [0.0]
    assert normalised(moments, np.full((2, 1), value)).tolist() == [[0.0], [0.0]]


@given(seeds, parts)
def test_axes_before_the_last_are_vectors_side_by_side(seed, lengths):
    rng = np.random.default_rng(seed)
    batches = [rng.standard_normal((n, 3, 2)) for n in lengths]
    assert_same(added(batches), added([batch.reshape(-1, 2) for batch in batches]))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, ">f8"])
def test_sums_are_kept_in_float64_whatever_is_added(dtype):
    x = (100 * np.random.default_rng(1).standard_normal((50, 2))).astype(dtype)
    got = added(np.split(x, 5))
    n, mean, squares = exact(x)
    assert (type(got.n), got.n, got.mean.dtype, got.squares.dtype) == (int, n, np.float64, np.float64)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(got.squares, squares, rtol=1e-13)


def test_nothing_has_no_moments_and_is_left_alone():
    moments = no_moments(3)
    assert_same(moments, Moments(0, np.zeros(3), np.zeros(3)))
    x = np.arange(6.0).reshape(2, 3)
    assert normalised(moments, x) is x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalised_numbers_have_mean_0_and_variance_1_in_their_own_dtype(dtype):
    x = (5 + 3 * np.random.default_rng(2).standard_normal((400, 2))).astype(dtype)
    z = normalised(merged(no_moments(2), x), x)
    assert z.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(z.mean(0, dtype=float), 0, atol=10 * eps)
    np.testing.assert_allclose(z.var(0, dtype=float), 1, atol=20 * eps + 2e-8)  # 1e-8 is added to 9


def test_normalised_numbers_stop_at_ten_standard_deviations():
    moments = Moments(4, np.array([2.0]), np.array([4.0 * (1 - 1e-8)]))  # with 1e-8 added, σ = 1
    x = np.array([[2.0], [3.0], [12.5], [-1e300]])
    np.testing.assert_allclose(normalised(moments, x), [[0], [1], [LIMIT], [-LIMIT]], rtol=1e-14)
    assert LIMIT == 10.0
    one = Moments(1, np.array([7.0]), np.array([0.0]))  # a single vector: σ = 1e-4
    np.testing.assert_allclose(normalised(one, np.array([[7.0], [7.0003]])), [[0], [3]], rtol=1e-10)


def test_scaled_numbers_keep_their_sign_and_their_zero():
    moments = Moments(4, np.array([100.0]), np.array([4.0 * (4 - 1e-8)]))  # σ = 2, wherever the mean is
    x = np.array([-3.0, 0.0, 1.0, 19.0, 21.0, -1e300])
    np.testing.assert_allclose(scaled(moments, x), [-1.5, 0, 0.5, 9.5, 10, -10], rtol=1e-14)


def test_arguments_stay_as_they_are():
    moments = frozen(merged(no_moments(2), np.ones((3, 2))))
    x = frozen(np.random.default_rng(0).standard_normal((4, 2)))
    merged(moments, x)
    normalised(moments, x)
    scaled(moments, x)


@pytest.mark.parametrize("large", [1e155, 1e308, -1e308])
def test_squares_that_overflow_are_refused(large):
    with pytest.raises(NonFiniteError, match=r"sums of squares must be finite, got (inf|nan) at index"):
        merged(no_moments(1), np.array([[large], [-large]]))
    with pytest.raises(NonFiniteError, match="sums of squares"):
        merged(Moments(1, np.zeros(1), np.zeros(1)), np.array([[large]]))
    assert math.isfinite(merged(no_moments(1), np.array([[1e153], [-1e153]])).squares[0])
