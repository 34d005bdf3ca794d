"""The instruments themselves: what they accept, and that they reject what is slightly wrong."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref.checks import derivatives, finding
from pgref.checks.derivatives import complex_step_gradient, complex_step_jacobian, relative_error
from pgref.checks.finding import Finding, at_least, at_most

seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 6)


@given(seeds, sizes)
def test_a_gradient_of_2_001_instead_of_2_is_rejected(seed, n):
    theta = np.random.default_rng(seed).standard_normal(n) + 2.0
    reference = complex_step_gradient(lambda t: (t @ t).item(), theta)
    assert at_most("right", relative_error(2 * theta, reference), 1e-13).ok
    assert not at_most("wrong", relative_error(2.001 * theta, reference), 1e-13).ok
    assert relative_error(2.001 * theta, reference) == pytest.approx(5e-4, rel=1e-9)


@given(seeds, sizes)
def test_one_wrong_entry_is_rejected(seed, n):
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal(n)
    gradient = np.cos(theta) * np.exp(np.sin(theta))
    reference = complex_step_gradient(lambda t: np.exp(np.sin(t)).sum(), theta)
    assert relative_error(gradient, reference) <= 1e-14
    gradient[rng.integers(n)] += 1e-9
    assert relative_error(gradient, reference) > 1e-11


@given(seeds, sizes, sizes)
def test_the_jacobian_of_a_linear_map_is_its_matrix(seed, m, n):
    rng = np.random.default_rng(seed)
    matrix, theta = rng.standard_normal((m, n)), rng.standard_normal(n)
    jacobian = complex_step_jacobian(lambda t: matrix @ t, theta)
    assert jacobian.shape == (m, n)
    assert relative_error(jacobian, matrix) <= 1e-15
    assert relative_error(jacobian.T if m == n > 1 else -jacobian, matrix) > 1e-3


@given(seeds, sizes)
def test_complex_steps_subtract_nothing(seed, n):
    theta = np.random.default_rng(seed).uniform(0.5, 2, n)
    step = complex_step_gradient(lambda t: (t**7).sum(), theta)
    central = np.array([((theta + 1e-6 * e) ** 7 - (theta - 1e-6 * e) ** 7).sum() / 2e-6 for e in np.eye(n)])
    assert relative_error(step, 7 * theta**6) <= 4e-15
    assert relative_error(central, 7 * theta**6) <= 1e-6


def test_a_function_that_drops_the_imaginary_part_is_found_out():
    theta = np.array([1.0, 2.0])
    assert not complex_step_gradient(lambda t: (t.real @ t.real).item(), theta).any()
    assert relative_error(2 * theta, complex_step_gradient(lambda t: (t.real**2).sum(), theta)) == 4.0


def test_relative_error_is_absolute_where_the_reference_is_zero():
    assert relative_error(np.array([0.0, 1e-3]), np.zeros(2)) == 1e-3
    assert relative_error(np.array([3.0, 4.0]), np.array([3.0, 5.0])) == 0.2
    assert relative_error([3.0, 4.0], np.array([3.0, 4.0])) == 0.0
    assert derivatives.STEP == 1e-20


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_never_close(value):
    good, bad = np.array([1.0, 2.0]), np.array([1.0, value])
    with np.errstate(invalid="ignore"):
        for error in (relative_error(bad, good), relative_error(good, bad), relative_error(bad, bad)):
            assert not at_most("error", error, 1e300).ok


@given(st.floats(), st.floats(allow_nan=False))
@example(math.nan, 1.0)
@example(1.0, 1.0)
@example(-0.0, 0.0)
def test_a_finding_keeps_its_limit_exactly_where_the_relation_holds(value, limit):
    assert at_most("x", value, limit).ok == (value <= limit)
    assert at_least("x", value, limit).ok == (value >= limit)
    if math.isnan(value):
        assert not at_most("x", value, limit).ok
        assert not at_least("x", value, limit).ok


def test_nan_keeps_no_limit_and_no_limit_is_nan():
    for report in (at_most, at_least):
        for limit in (-math.inf, 0.0, math.inf, math.nan):
            assert not report("x", math.nan, limit).ok
        assert not report("x", 1.0, math.nan).ok


def test_a_finding_holds_plain_numbers():
    assert at_most("error", np.float32(0.5), 1) == Finding("error", 0.5, "≤", 1.0)
    assert at_least("effect", np.array(2), 1) == Finding("effect", 2.0, "≥", 1.0)
    assert type(at_most("error", np.float64(0.5), 1).value) is float
    assert type(at_most("error", np.float64(0.5), 1).limit) is float


@given(st.lists(st.floats(), min_size=2, max_size=2))
@example([math.nan, 1.0])
@example([1.0, math.nan])
def test_the_larger_and_the_smaller_of_two_do_not_lose_a_nan(pair):
    for f, plain in ((finding.larger, max), (finding.smaller, min)):
        got = f(*pair)
        assert type(got) is float
        assert math.isnan(got) if any(map(math.isnan, pair)) else got == plain(pair)
