"""Softmax, entropy and KL against decimal arithmetic, in units of the last place.

The reference computes exp and log with enough digits for probabilities as close to 1 as 1 − 1e-300 and for
divergences as small as 1e-24 of their terms. What is allowed: a float's exp, log1p and expm1 are good to
about 1 ulp, sums and products to half of one. Softmax, its logarithm and the entropy chain few of them and
stay within 4 ulp for up to 8 actions; a KL term is about p·x²/2 with x = log(q/p), so that the logarithm's
error counts twice (2.9 times at x = 2): 8 ulp. Below the smallest normal number a probability has fewer
digits, and a logarithm multiplies what is missing: `underflow` allows for that and nothing else.
"""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref.errors import NonFiniteError
from pgref.special import (
    compared,
    difference,
    excess,
    excess_terms,
    kl_terms,
    log_ratio,
    log_softmax,
    normalised,
    softmax,
)

KINDS = ("ordinary", "tiny", "saturated", "huge", "ties", "mixed")
MOVES = ("near", "one action", "shifted", "reversed", "independent", "equal")
seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 8)
kinds, moves = st.sampled_from(KINDS), st.sampled_from(MOVES)
dtypes = st.sampled_from([np.float64, np.float32])
DIGITS = 420
STEP = 1e-20  # of complex steps


def draw(rng, size, kind, dtype=np.float64):
    least, largest = (-300, 1e299) if dtype is np.float64 else (-37, 1e36)
    normal = rng.standard_normal(size)
    return {
        "ordinary": normal * 10.0 ** rng.uniform(-3, 1),
        "tiny": normal * 10.0 ** rng.uniform(least, -5),
        "saturated": rng.choice([-1.0, 1.0], size) * rng.choice([40.0, 350.0, 800.0]) + normal,
        "huge": normal * largest,
        "ties": rng.integers(-2, 3, size) * rng.choice([1.0, 400.0, largest]),
        "mixed": normal * rng.choice([1e-12, 1.0, 300.0, largest], size),
    }[kind].astype(dtype)


def moved(rng, z, move):
    size, one = len(z), np.arange(len(z)) == rng.integers(len(z))
    return {
        "near": z + rng.uniform(-1, 1, size) * 10.0 ** rng.uniform(-12, 0),
        "one action": z + np.where(one, rng.uniform(-60, 60), 0),
        "shifted": z + 2.0 ** rng.integers(0, 60) + rng.uniform(-1, 1, size) * 10.0 ** rng.uniform(-9, 0),
        "reversed": -z,
        "independent": draw(rng, size, rng.choice(KINDS), z.dtype.type),
        "equal": z,
    }[move].astype(z.dtype)


def exact(z):
    """Return the probabilities and their logarithms as Decimals; to be called in a context with DIGITS."""
    z = [Decimal(float(x)) for x in z]
    weights = [(x - max(z)).exp() for x in z]
    log_total = sum(weights).ln()
    return [w / sum(weights) for w in weights], [x - max(z) - log_total for x in z]


def exact_kl(z_old, z_new):
    """Return D(p ‖ q), and what underflowing probabilities may cost it."""
    (p, log_p), (_, log_q) = exact(z_old), exact(z_new)
    logs = [x - y for x, y in zip(log_p, log_q, strict=True)]
    return sum(map(Decimal.__mul__, p, logs)), sum(map(abs, log_p + log_q))


def kl(z_old, z_new):
    return excess_terms(softmax(z_old), softmax(z_new), log_ratio(z_old, z_new)).sum()


def ulps(got, true, logs=0):
    """Return |got − true| in units of the last place of `true`; `logs`: Σ|log| that multiply an underflow."""
    smallest = Decimal(float(np.nextafter(got.dtype.type(0), got.dtype.type(1))))
    unit = Decimal(float(np.spacing(got.dtype.type(abs(float(true))))))
    return float(max(abs(Decimal(float(got)) - true) - 3 * smallest * logs, 0) / unit)


@pytest.fixture(autouse=True, scope="module")
def digits():
    with localcontext() as context:
        context.prec = DIGITS
        yield


# --- probabilities ---------------------------------------------------------------------------------------


@given(seeds, sizes, kinds, dtypes)
@example(0, 1, "ordinary", np.float64)
def test_softmax_and_its_logarithm_are_right_to_4_ulp(seed, size, kind, dtype):
    z = draw(np.random.default_rng(seed), size, kind, dtype)
    p, log_p = exact(z)
    assert softmax(z).dtype == log_softmax(z).dtype == dtype
    assert max(map(ulps, softmax(z), p)) <= 4
    assert max(map(ulps, log_softmax(z), log_p)) <= 4


@given(seeds, sizes, kinds, dtypes)
def test_entropy_from_the_two_is_right_to_4_ulp(seed, size, kind, dtype):
    z = draw(np.random.default_rng(seed), size, kind, dtype)
    p, log_p = exact(z)
    true = -sum(map(Decimal.__mul__, p, log_p))
    assert ulps(-(softmax(z) * log_softmax(z)).sum(), true, sum(map(abs, log_p))) <= 4


@pytest.mark.parametrize("gap", [1e-300, 1e-12, 1.0, 37.0, 690.0, 745.0, 800.0, 1e300])
def test_two_actions_any_distance_apart_are_right_to_4_ulp(gap):
    z = np.array([0.0, -gap])
    p, log_p = exact(z)
    assert max(map(ulps, softmax(z), p)) <= 4
    assert max(map(ulps, log_softmax(z), log_p)) <= 4  # at 690, log p = −e⁻⁶⁹⁰ of the likelier action


@given(seeds, sizes, kinds)
def test_softmax_sums_to_one_and_keeps_the_order_of_the_logits(seed, size, kind):
    z = draw(np.random.default_rng(seed), size, kind)
    p, order = softmax(z), np.argsort(z)
    assert abs(p.sum() - 1) <= size * np.finfo(float).eps
    assert (np.diff(p[order]) >= 0).all()
    assert (p >= 0).all()


@given(seeds, sizes, st.integers(1, 4), kinds, dtypes)
def test_softmax_and_its_logarithm_come_from_one_exponential(seed, size, rows, kind, dtype):
    rng = np.random.default_rng(seed)
    z, y = (np.stack([draw(rng, size, kind, dtype) for _ in range(rows)]) for _ in range(2))
    both = normalised(z)
    assert both.p.tobytes() == softmax(z).tobytes()
    assert both.log_p.tobytes() == log_softmax(z).tobytes()
    assert both.shape == z.shape
    np.testing.assert_array_equal(both.below, z - z.max(1, keepdims=True))
    assert normalised(both) is both
    pair = compared(z, y)
    for got, wanted in zip(pair, (softmax(z), softmax(y), log_ratio(z, y)), strict=True):
        assert got.tobytes() == wanted.tobytes()


@given(seeds, st.integers(1, 3), st.integers(1, 3), sizes)
def test_the_layout_of_the_logits_changes_no_bit(seed, n, m, size):
    z = np.random.default_rng(seed).integers(-3, 3, (n, m, size)) * 0.7
    for f in (softmax, log_softmax):
        plain = f(z).tobytes()
        for layout in (np.asfortranarray(z), np.repeat(z, 2, 1)[:, ::2], z[::-1].copy()[::-1]):
            assert f(layout).tobytes() == plain


@pytest.mark.parametrize("gap", [0.3, 30.0, 800.0])
@pytest.mark.parametrize("ties", [2, 3])
def test_several_largest_logits_share_the_probability(gap, ties):
    z = np.array([0.0] * ties + [-gap])
    p, log_p = exact(z)
    assert max(map(ulps, softmax(z), p)) <= 4
    assert max(map(ulps, log_softmax(z), log_p)) <= 4
    # and the derivative of a step in one of the largest is that of any other logit: p(δ − p)
    step = log_softmax(z + 1j * STEP * (np.arange(ties + 1) == 1)).imag / STEP
    np.testing.assert_allclose(step, (np.arange(ties + 1) == 1) - softmax(z)[1], rtol=1e-14)


@given(seeds, sizes, st.integers(-(2**40), 2**40))
def test_a_shift_of_all_logits_changes_no_bit(seed, size, shift):
    z = np.random.default_rng(seed).integers(-2000, 2000, size) / 16.0  # so z + shift is exact
    y = np.random.default_rng(seed + 1).integers(-2000, 2000, size) / 16.0
    for f in (softmax, log_softmax):
        assert f(z).tobytes() == f(z + shift).tobytes()
    assert log_ratio(z, y).tobytes() == log_ratio(z + shift, y).tobytes() == log_ratio(z, y - shift).tobytes()


@given(seeds, sizes, st.integers(1, 4), kinds)
def test_every_row_is_on_its_own(seed, size, rows, kind):
    rng = np.random.default_rng(seed)
    z, y = (np.stack([draw(rng, size, kind) for _ in range(rows)]) for _ in range(2))
    # a sum of 8 terms in two orders differs by up to 7 roundings; a log ratio that crosses 0 may cancel
    eps = np.finfo(float).eps
    for f in (softmax, log_softmax):
        np.testing.assert_allclose(f(z), list(map(f, z)), rtol=7 * eps)
    for row, one in zip(log_ratio(z, y), map(log_ratio, z, y), strict=True):
        np.testing.assert_allclose(row, one, rtol=1e-14, atol=7 * eps * np.abs(one).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_logits_whose_differences_could_overflow_are_refused(dtype):
    largest = float(np.finfo(dtype).max) / 4
    fine = np.array([largest, -largest], dtype)
    assert (softmax(fine) == [1, 0]).all()
    assert log_softmax(fine)[1] == fine[1] - fine[0]
    assert kl(fine, fine[::-1]) == fine[0] - fine[1]
    for z_old, z_new in ((fine, 2 * fine), (2 * fine, fine)):
        with pytest.raises(NonFiniteError, match=r"^logits must be within ±[0-9.e+]+, got up to "):
            log_ratio(z_old, z_new)


# --- the building blocks ---------------------------------------------------------------------------------


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
@example(1.0, 1e-300)
@example(1e300, -1e300)
def test_a_difference_and_its_rest_are_exact(a, b):
    d, rest = difference(np.array(a), np.array(b))
    assert Fraction(float(d)) + Fraction(float(rest)) == Fraction(a) - Fraction(b)


@given(st.floats(-2, 2), dtypes)
@example(0.0, np.float64)
@example(1e-160, np.float64)
@example(-2.0, np.float32)
def test_excess_is_right_to_4_ulp(x, dtype):
    x = dtype(x)
    true = Decimal(float(x)).exp() - 1 - Decimal(float(x))
    got = excess(np.array([x]))
    assert got.dtype == dtype
    assert ulps(got[0], true) <= 4
    assert got[0] >= 0


# --- divergences -----------------------------------------------------------------------------------------


@given(seeds, sizes, kinds, moves, dtypes)
@example(0, 1, "ordinary", "shifted", np.float64)
def test_kl_of_two_rows_of_logits_is_right_to_8_ulp(seed, size, kind, move, dtype):
    rng = np.random.default_rng(seed)
    z_old = draw(rng, size, kind, dtype)
    z_new = moved(rng, z_old, move)
    got, (true, logs) = kl(z_old, z_new), exact_kl(z_old, z_new)
    assert got.dtype == dtype
    assert got >= 0
    assert ulps(got, true, logs) <= 8


@pytest.mark.parametrize(
    ("z_old", "z_new"),
    [
        ([0.0, 1.0, -1500.0], [1e-9, 1.0, -800.0]),  # an action gains 700 and still has no mass
        ([-1e300, -1e300 + 1.5e284], [1e300, 1e300]),  # differences cancel, only their rounding remains
        ([0.3, 0.7], [1e17, 1e17]),
        ([0.0, 1e-9], [2.0**30, 2.0**30]),
        ([0.0, -100.0], [-100.0, 0.0]),
        ([0.0, -745.0], [-1e-3, 0.0]),
        ([0.0] * 8, [30.0] + [0.0] * 7),
        ([0.0] * 7 + [1e-9], [0.0] * 7 + [-30.0]),
        ([0.0, -30.0], [0.0, 30.0]),
        ([5e-324, 0.0], [0.0, 5e-324]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kl_where_something_cancels_or_underflows(z_old, z_new, dtype):
    if dtype is np.float32:
        z_old, z_new = np.clip(z_old, -1e36, 1e36), np.clip(z_new, -1e36, 1e36)
    for a, b in ((z_old, z_new), (z_new, z_old)):
        a, b = np.array(a, dtype), np.array(b, dtype)
        assert ulps(kl(a, b), *exact_kl(a, b)) <= 8


def test_the_plain_sum_fails_where_policies_are_near_so_the_ruler_can_fail():
    z_old = np.array([0.3, -0.2, 1.0])
    z_new = z_old + 1e-9 * np.array([1.0, -1.0, 0.5])
    plain = (softmax(z_old) * (log_softmax(z_old) - log_softmax(z_new))).sum()
    true, logs = exact_kl(z_old, z_new)
    assert ulps(plain, true, logs) > 1e6
    assert ulps(kl(z_old, z_new), true, logs) <= 8


def test_kl_of_logits_800_apart():
    assert kl(np.zeros(2), np.array([0.0, -800.0])) == pytest.approx(400 - math.log(2), rel=1e-15)
    assert kl(np.array([0.0, -800.0]), np.zeros(2)) == pytest.approx(math.log(2), rel=1e-15)
    assert kl(np.zeros(2, "f"), np.array([0, -800], "f")) == pytest.approx(400 - math.log(2), rel=2e-7)


@given(seeds, sizes, kinds, moves)
def test_kl_is_positive_unless_the_distributions_are_equal(seed, size, kind, move):
    rng = np.random.default_rng(seed)
    z_old = draw(rng, size, kind)
    z_new = moved(rng, z_old, move)
    assert kl(z_old, z_old) == 0
    true, _ = exact_kl(z_old, z_new)
    assert kl(z_old, z_new) > 0 or true < Decimal("1e-300")


@given(seeds, st.integers(1, 5), st.booleans())
@example(0, 1, False)
def test_each_kl_term_of_probabilities_is_right_to_12_ulp(seed, size, near):
    # x = log(q/p) to 2 ulp, 2.9 times that in the term, and 4 for excess and the product
    rng = np.random.default_rng(seed)
    p = rng.choice([1.0, 1e-5, 1e-300], size) * rng.random(size)
    q = (
        p * (1 + rng.uniform(-1, 1, size) * 10.0 ** rng.uniform(-12, 0))
        if near
        else p[::-1] * rng.random(size)
    )
    for got, a, b in zip(kl_terms(p, q), map(Decimal, p), map(Decimal, q), strict=True):
        assert ulps(got, a * (a / b).ln() - a + b, abs((a / b).ln())) <= 12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kl_terms_at_the_edges(dtype):
    tiny = np.nextafter(dtype(0), dtype(1))
    p = np.array([0, 0, 0.5, 1, 0.5, tiny, 1], dtype)
    q = np.array([0, 0.25, 0, 1, tiny, 0.5, 0.25], dtype)
    got = kl_terms(p, q)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got[:4], [0, 0.25, np.inf, 0])
    far = 0.5 * (math.log(0.5) - math.log(tiny)) - 0.5
    np.testing.assert_allclose(got[4:], [far, 0.5, math.log(4) - 0.75], rtol=4 * np.finfo(dtype).eps)


@given(seeds, st.integers(2, 8))
def test_the_two_ways_to_a_kl_agree(seed, size):
    rng = np.random.default_rng(seed)
    z_old, z_new = rng.standard_normal((2, size))
    p, q = softmax(z_old), softmax(z_new)
    # rounding p and q moves the sum by at most eps·Σ(p|log(q/p)| + |q − p|)
    limit = 8 * np.finfo(float).eps * (p * np.abs(log_ratio(z_old, z_new)) + p + q).sum()
    assert abs(kl_terms(p, q).sum() - kl(z_old, z_new)) <= limit


# --- complex steps ---------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 6))
def test_complex_steps_give_the_derivatives_in_closed_form(seed, size):
    rng = np.random.default_rng(seed)
    z, y, v = rng.standard_normal((3, size))
    p, q, step = softmax(z), softmax(y), 1j * STEP * v
    x = log_ratio(z, y)
    for got, wanted in (
        (softmax(z + step), p * (v - p @ v)),
        (log_softmax(z + step), v - p @ v),
        (log_ratio(z, y + step), v - q @ v),
        (log_ratio(z + step, y + 0j), p @ v - v),
        (excess(np.tanh(z) + step), np.expm1(np.tanh(z)) * v),
        (excess_terms(p + 0j, q + 0j, x + step), np.where(np.abs(x) <= 2, p * np.expm1(x), -p) * v),
        (kl_terms(p + step, q + 0j), -x * v),
        (kl_terms(p + 0j, q + step), (1 - p / q) * v),
    ):
        np.testing.assert_allclose(got.imag / STEP, wanted, rtol=1e-13, atol=1e-14 * np.abs(v).max())


@pytest.mark.parametrize("gain", [0.5, 40.0, 800.0])
def test_complex_steps_hold_in_every_branch_of_the_log_ratio(gain):
    z, y, v = np.zeros(3), np.array([0.0, gain, 0.3]), np.array([1.0, -2.0, 0.5])
    for a, b in ((z, y), (y, z)):
        got_new, got_old = log_ratio(a, b + 1j * STEP * v), log_ratio(a + 1j * STEP * v, b + 0j)
        np.testing.assert_allclose(got_new.imag / STEP, v - softmax(b) @ v, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(got_old.imag / STEP, softmax(a) @ v - v, rtol=1e-13, atol=1e-13)


def test_complex64_stays_complex64():
    z = np.array([0.5, -0.25], np.complex64)
    for result in (
        softmax(z),
        log_softmax(z),
        log_ratio(z, 2 * z),
        excess(z),
        kl_terms(softmax(z), softmax(z)),
    ):
        assert result.dtype == np.complex64


def test_arguments_are_untouched():
    z = np.array([0.5, -0.25, 3.0])
    z.setflags(write=False)
    for f in (
        softmax,
        log_softmax,
        excess,
        lambda x: log_ratio(x, x[::-1]),
        lambda x: kl_terms(x**2, x**2 + 1),
    ):
        f(z)
