"""Probabilities, divergences and the chain bound's series against mpmath.

Log-space arithmetic is compared with 700 digits, enough for every exp(−x) that float64 can hold.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref.bounds import chain_factor
from pgref.categorical import Categorical
from pgref.special import log_softmax, softmax

pytestmark = pytest.mark.integration

DIGITS = 700
SMALLEST = 5e-324  # what probabilities below 2e-308 are rounded to, and a logarithm multiplies
LARGEST_LOGIT = 1e300
KINDS = ("ordinary", "any scale", "mixed scales", "ties", "saturated")
every_kind = pytest.mark.parametrize("kind", KINDS)
sizes, seeds = st.integers(1, 8), st.integers(0, 2**32 - 1)


def draw_logits(rng, size, kind):
    normal = rng.standard_normal(size)
    return {
        "ordinary": normal * 10.0 ** rng.uniform(-10, 2),
        "any scale": np.clip(normal * 10.0 ** rng.uniform(-300, 300, size), -LARGEST_LOGIT, LARGEST_LOGIT),
        "mixed scales": normal * rng.choice([1e-20, 1.0, 700.0, 1e299], size),
        "ties": rng.integers(-3, 4, size) * rng.choice([1.0, 350.0, LARGEST_LOGIT / 3]),
        "saturated": np.eye(size)[0] * rng.choice([20.0, 300.0, LARGEST_LOGIT]) + normal,
    }[kind]


@pytest.fixture(scope="session")
def mpmath(peer):
    return peer("mpmath")


@pytest.fixture(scope="session")
def exact(mpmath):
    """Return the function z ↦ (probabilities, their logarithms), lists of numbers with 700 digits."""
    mp = mpmath.mp.clone()
    mp.dps = DIGITS

    def probabilities(logits):
        z = [mp.mpf(float(x)) for x in logits]
        weights = [mp.exp(x - max(z)) for x in z]
        total = mp.fsum(weights)
        return [w / total for w in weights], [x - max(z) - mp.log(total) for x in z]

    return probabilities


def ulps(got, true, underflow=0):
    """Return |got − true| in units of the last place of the true number, what underflow may cost left out."""
    error = max(abs(got - true) - underflow, 0)  # exact: float − mpf is an mpf with 700 digits
    return float(error / max(float(np.spacing(abs(float(true)))), SMALLEST))


@every_kind
@given(sizes, seeds)
def test_softmax_and_its_logarithm_are_within_4_ulp(exact, kind, size, seed):
    z = draw_logits(np.random.default_rng(seed), size, kind)
    p, log_p = exact(z)
    assert all(ulps(got, true) <= 4 for got, true in zip(softmax(z).tolist(), p, strict=True))
    assert all(ulps(got, true) <= 4 for got, true in zip(log_softmax(z).tolist(), log_p, strict=True))


@every_kind
@given(sizes, seeds)
def test_entropy_is_within_4_ulp(exact, kind, size, seed):
    z = draw_logits(np.random.default_rng(seed), size, kind)
    p, log_p = exact(z)
    true = -sum(x * y for x, y in zip(p, log_p, strict=True))
    assert ulps(float(Categorical().entropy(z[None])[0]), true, 3 * SMALLEST * sum(map(abs, log_p))) <= 4


@every_kind
@given(sizes, st.sampled_from([*KINDS, "near", "equal"]), seeds)
def test_kl_is_within_8_ulp(exact, kind, size, kind_new, seed):
    # a term is about p·log(p/q)²/2: the logarithm's error counts twice
    rng = np.random.default_rng(seed)
    z_old = draw_logits(rng, size, kind)
    if kind_new in KINDS:
        z_new = draw_logits(rng, size, kind_new)
    else:
        relative = 10.0 ** rng.uniform(-16, -1) if kind_new == "near" else 0.0
        z_new = np.clip(z_old * (1 + relative * rng.standard_normal(size)), -LARGEST_LOGIT, LARGEST_LOGIT)
    (p, log_p), (_, log_q) = exact(z_old), exact(z_new)
    log_ratio = [x - y for x, y in zip(log_p, log_q, strict=True)]
    true = sum(x * y for x, y in zip(p, log_ratio, strict=True))
    kl = float(Categorical().kl(z_old[None], z_new[None])[0])
    assert ulps(kl, true, 3 * SMALLEST * sum(map(abs, log_ratio))) <= 8


discounts = st.one_of(
    st.floats(0.0, 1.0, exclude_max=True),
    st.floats(1.0, 15.9).map(lambda digits: 1.0 - 10.0**-digits),
)


@given(discounts)
@example(0.0)
@example(0.9)
@example(float(np.nextafter(0.9, 1.0)))
@example(float(np.nextafter(1.0, 0.0)))
def test_the_chain_bounds_series_is_within_8_ulp_of_the_polylogarithm(mpmath, discount):
    # log, then a power of 3/2, two products and a sum, one unit each of relative size 2⁻⁵² at most
    mp = mpmath.mp.clone()
    mp.dps = 40
    assert ulps(chain_factor(discount), mp.polylog(-0.5, mp.mpf(discount))) <= 8


def test_the_ruler_counts_units_of_the_last_place():
    one = Fraction(1)
    assert ulps(one + 3 * Fraction(np.spacing(1.0)), one) == 3
    assert ulps(Fraction(7 * SMALLEST), Fraction(0)) == 7
    assert not ulps(np.nan, one) <= 1e300
