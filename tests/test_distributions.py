"""Action distributions against sums over all actions, Gauss–Hermite quadrature, and complex steps.

Eight quadrature nodes for each dimension integrate polynomials up to degree 15 exactly; nothing here
exceeds degree 4, so a Gaussian's expectations are as exact as a sum over discrete actions.
"""

import dataclasses
import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref.checks.derivatives import STEP
from pgref.distributions import Categorical, DiagonalGaussian, MultiCategorical
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError

EPS = float(np.finfo(float).eps)
seeds, rows, scales = st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(0, 3)
categoricals = st.tuples(st.just(Categorical()), st.integers(1, 7))
multis = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(
    lambda n: (MultiCategorical(tuple(n)), sum(n))
)
gaussians = st.tuples(st.just(DiagonalGaussian()), st.sampled_from([2, 4]))
discrete, families = st.one_of(categoricals, multis), st.one_of(categoricals, multis, gaussians)


def draw(family, seed, n, scale=1.0, dtype=np.float64):
    """Return the distribution and its parameters z [n, K]."""
    return family[0], (scale * np.random.default_rng(seed).standard_normal((n, family[1]))).astype(dtype)


def weights_of(logits):
    powers = [math.exp(x - max(logits)) for x in logits]
    return [x / math.fsum(powers) for x in powers]


def every_action(distribution, z):
    """Return actions [M, …] and weights [M] whose weighted sums are expectations under z [K]."""
    if isinstance(distribution, DiagonalGaussian):
        d = len(z) // 2
        nodes, weights = np.polynomial.hermite_e.hermegauss(8)
        grid = np.array(list(itertools.product(nodes, repeat=d)))
        weights = np.array(
            [math.prod(w) for w in itertools.product(weights / math.sqrt(2 * math.pi), repeat=d)]
        )
        return z[:d] + np.exp(z[d:]) * grid, weights
    if isinstance(distribution, Categorical):
        return np.arange(len(z)), np.array(weights_of(z))
    parts = np.split(z, np.cumsum(distribution.sizes)[:-1])
    actions = np.array(list(itertools.product(*(range(n) for n in distribution.sizes))))
    weights = np.array([math.prod(w) for w in itertools.product(*map(weights_of, parts))])
    return actions, weights


def repeated(z, n):
    return np.repeat(z[None], n, 0)


def drawn_actions(distribution, z, seed):
    return distribution.sample(z, np.random.default_rng(seed))


# --- densities -------------------------------------------------------------------------------------------


@given(discrete, seeds, scales)
def test_probabilities_sum_to_one_over_all_actions(family, seed, scale):
    distribution, z = draw(family, seed, 1, scale)
    actions, _ = every_action(distribution, z[0])
    log_p = distribution.log_prob(repeated(z[0], len(actions)), actions)
    assert math.fsum(map(math.exp, log_p)) == pytest.approx(1, abs=1e-14)


@given(categoricals, seeds, rows, scales)
def test_categorical_log_probabilities_are_the_textbook_s(family, seed, n, scale):
    distribution, z = draw(family, seed, n, scale)
    actions = drawn_actions(distribution, z, seed)
    wanted = [row[a] - math.log(math.fsum(map(math.exp, row))) for row, a in zip(z, actions, strict=True)]
    np.testing.assert_allclose(distribution.log_prob(z, actions), wanted, rtol=1e-14, atol=1e-14)


@given(multis, seeds, rows, scales)
def test_a_multi_categorical_adds_up_its_parts(family, seed, n, scale):
    distribution, z = draw(family, seed, n, scale)
    actions, one = drawn_actions(distribution, z, seed), Categorical()
    parts = np.split(z, np.cumsum(distribution.sizes)[:-1], 1)
    wanted = sum(one.log_prob(part, actions[:, i]) for i, part in enumerate(parts))
    np.testing.assert_allclose(distribution.log_prob(z, actions), wanted, rtol=1e-15)
    np.testing.assert_allclose(distribution.entropy(z), sum(map(one.entropy, parts)), rtol=1e-15)
    np.testing.assert_array_equal(distribution.mode(z), np.stack([p.argmax(1) for p in parts], 1))


@given(gaussians, seeds, rows, scales)
def test_gaussian_log_densities_are_the_textbook_s(family, seed, n, scale):
    distribution, z = draw(family, seed, n, scale)
    d, actions = family[1] // 2, drawn_actions(distribution, z, seed)
    wanted = [
        math.fsum(
            math.log(math.exp(-(((a - m) / math.exp(s)) ** 2) / 2) / (math.exp(s) * math.sqrt(2 * math.pi)))
            for a, m, s in zip(action, row[:d], row[d:], strict=True)
        )
        for row, action in zip(z, actions, strict=True)
    ]
    np.testing.assert_allclose(distribution.log_prob(z, actions), wanted, rtol=1e-13, atol=1e-13)


# --- identities ------------------------------------------------------------------------------------------


@given(families, seeds, scales)
def test_the_score_has_mean_zero(family, seed, scale):
    distribution, z = draw(family, seed, 1, scale)
    actions, weights = every_action(distribution, z[0])
    scores = distribution.log_prob_grad(repeated(z[0], len(actions)), actions)
    assert np.abs(weights @ scores).max() <= 1e-13 * (weights @ np.abs(scores)).max() + 1e-15


@given(families, seeds, scales)
def test_entropy_is_minus_the_mean_of_log_pi(family, seed, scale):
    distribution, z = draw(family, seed, 1, scale)
    actions, weights = every_action(distribution, z[0])
    log_p = distribution.log_prob(repeated(z[0], len(actions)), actions)
    assert distribution.entropy(z)[0] == pytest.approx(-weights @ log_p, rel=1e-13, abs=1e-13)


@given(families, seeds, scales, scales)
def test_kl_is_the_mean_of_the_log_ratio_under_the_old(family, seed, scale, other):
    (distribution, z_old), (_, z_new) = draw(family, seed, 1, scale), draw(family, seed + 1, 1, other)
    actions, weights = every_action(distribution, z_old[0])
    log_old = distribution.log_prob(repeated(z_old[0], len(actions)), actions)
    log_new = distribution.log_prob(repeated(z_new[0], len(actions)), actions)
    size = weights @ (np.abs(log_old) + np.abs(log_new))
    assert distribution.kl(z_old, z_new)[0] == pytest.approx(weights @ (log_old - log_new), abs=1e-13 * size)


def test_kl_knows_old_from_new():
    z_old, z_new = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
    forward = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    backward = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert Categorical().kl(z_old, z_new)[0] == pytest.approx(forward, rel=1e-14)
    assert Categorical().kl(z_new, z_old)[0] == pytest.approx(backward, rel=1e-14)
    assert forward != pytest.approx(backward, rel=0.1)
    # σ = 2 and 1, means 0 and 1: log(1/2) + (4 + 1)/2 − ½, and the other way log 2 + (1 + 1)/8 − ½
    z_old, z_new = np.array([[0.0, math.log(2)]]), np.array([[1.0, 0.0]])
    assert DiagonalGaussian().kl(z_old, z_new)[0] == pytest.approx(2 - math.log(2), rel=1e-14)
    assert DiagonalGaussian().kl(z_new, z_old)[0] == pytest.approx(math.log(2) - 0.25, rel=1e-14)


@given(families, seeds, rows, st.floats(-12, 1))
def test_kl_is_positive_and_zero_only_between_equals(family, seed, n, exponent):
    distribution, z = draw(family, seed, n)
    assert (distribution.kl(z, z) == 0).all()
    change = 10.0**exponent * np.random.default_rng(seed + 1).standard_normal(z.shape)
    kl = distribution.kl(z, z + change)
    assert (kl >= 0).all()
    if isinstance(distribution, DiagonalGaussian) or (
        isinstance(distribution, Categorical) and family[1] > 1
    ):
        assert (kl > 0).all()


@given(st.floats(-250, 250), st.floats(-17, 2))
@example(0.0, -30.0)
def test_the_kl_of_two_widths_keeps_its_digits(log_std, exponent):
    change = (log_std + 10.0**exponent) - log_std
    z_old, z_new = np.array([[0.0, log_std]]), np.array([[0.0, log_std + 10.0**exponent]])
    x = -2 * change  # log r
    series = math.fsum(x**k / math.factorial(k) for k in range(2, 12))  # r − 1 − log r, enough up to 0.1
    wanted = (series if abs(x) < 0.1 else math.expm1(x) - x) / 2
    assert DiagonalGaussian().kl(z_old, z_new)[0] == pytest.approx(wanted, rel=1e-13)


@given(discrete, seeds, rows, scales)
@example((Categorical(), 1), 0, 1, 1.0)
@example((Categorical(), 5), 0, 2, 0.0)
def test_entropy_is_between_zero_and_that_of_the_uniform(family, seed, n, scale):
    distribution, z = draw(family, seed, n, scale)
    sizes = getattr(distribution, "sizes", (family[1],))
    entropy = distribution.entropy(z)
    assert (entropy >= 0).all()
    assert (entropy <= math.log(math.prod(sizes)) + 4 * EPS).all()
    uniform = distribution.entropy(np.zeros_like(z))
    np.testing.assert_allclose(uniform, math.log(math.prod(sizes)), rtol=4 * EPS, atol=4 * EPS)


@given(seeds, st.integers(1, 6), rows, st.integers(-(2**30), 2**30))
def test_a_shift_of_the_logits_changes_nothing(seed, size, n, shift):
    rng, one = np.random.default_rng(seed), Categorical()
    z, y = rng.integers(-99, 99, (2, n, size)) / 8.0  # so that adding a whole number is exact
    actions = rng.integers(0, size, n)
    for f in (
        lambda z: one.log_prob(z, actions),
        lambda z: one.log_prob_grad(z, actions),
        lambda z: one.sample(z, np.random.default_rng(seed)),
        lambda z: one.kl(z, y),
        lambda z: one.kl(y, z),
        one.entropy,
        one.fisher_matrix,
        one.mode,
    ):
        np.testing.assert_array_equal(f(z), f(z + shift))


@given(families, seeds, scales)
def test_fisher_is_the_mean_of_score_times_score(family, seed, scale):
    distribution, z = draw(family, seed, 1, scale)
    actions, weights = every_action(distribution, z[0])
    scores = distribution.log_prob_grad(repeated(z[0], len(actions)), actions)
    wanted = np.einsum("m,mi,mj->ij", weights, scores, scores)
    np.testing.assert_allclose(
        distribution.fisher_matrix(z)[0], wanted, rtol=1e-12, atol=1e-13 * np.abs(wanted).max()
    )


@given(families, seeds, rows, scales)
def test_fisher_is_symmetric_positive_and_its_product_is_the_matrix_s(family, seed, n, scale):
    distribution, z = draw(family, seed, n, scale)
    matrix, u = distribution.fisher_matrix(z), np.random.default_rng(seed).standard_normal(z.shape)
    np.testing.assert_array_equal(matrix, matrix.transpose(0, 2, 1))
    largest = np.abs(matrix).max()
    assert np.linalg.eigvalsh(matrix).min() >= -1e-14 * largest
    wanted = (matrix @ u[:, :, None])[:, :, 0]
    np.testing.assert_allclose(
        distribution.fisher_product(z)(u), wanted, atol=1e-14 * largest * np.abs(u).max() * 9
    )


@given(seeds, st.integers(2, 6), st.floats(0, 600))
@example(0, 2, 600.0)
def test_score_and_fisher_keep_their_digits_however_near_to_deterministic(seed, size, scale):
    z = scale * np.random.default_rng(seed).uniform(-0.5, 0.5, (1, size))
    p = weights_of([float(x) for x in z[0]])
    others = [math.fsum(p[:a] + p[a + 1 :]) for a in range(size)]  # 1 − p
    scores = -np.tile(p, (size, 1))
    np.fill_diagonal(scores, others)
    fisher = -np.outer(p, p)
    np.fill_diagonal(fisher, np.multiply(p, others))
    one, actions = Categorical(), np.arange(size)
    np.testing.assert_allclose(one.log_prob_grad(repeated(z[0], size), actions), scores, rtol=1e-12)
    np.testing.assert_allclose(one.fisher_matrix(z)[0], fisher, rtol=1e-12, atol=1e-307)
    columns = one.fisher_product(repeated(z[0], size))(np.eye(size))
    np.testing.assert_allclose(columns, fisher, rtol=1e-12, atol=1e-307)


# --- derivatives -----------------------------------------------------------------------------------------


def by_steps(f, z):
    """Return ∂f_n/∂z_nk [N, …, K] of a function that treats each row by itself."""
    return np.stack([f(z + 1j * STEP * e).imag / STEP for e in np.eye(z.shape[1])], -1)


def assert_close(measured, wanted, limit=1e-13):
    # a complex log1p or expm1 of something small is only right to 1e-16 absolutely, hence the 1e-2
    assert np.abs(measured - wanted).max() <= limit * max(np.abs(wanted).max(), 1e-2)


@given(families, seeds, rows, scales)
def test_gradients_in_z_are_the_complex_steps_to_1e_13(family, seed, n, scale):
    (distribution, z), (_, other) = draw(family, seed, n, scale), draw(family, seed + 1, n, scale)
    actions = drawn_actions(distribution, z, seed)
    assert_close(
        distribution.log_prob_grad(z, actions), by_steps(lambda z: distribution.log_prob(z, actions), z)
    )
    assert_close(distribution.entropy_grad(z), by_steps(distribution.entropy, z))
    assert_close(distribution.kl_grad_new(other, z), by_steps(lambda z: distribution.kl(other + 0j, z), z))
    assert_close(distribution.kl_grad_old(z, other), by_steps(lambda z: distribution.kl(z, other + 0j), z))


@given(families, seeds, rows, scales)
def test_both_kl_gradients_vanish_at_equals_and_have_fisher_as_derivative(family, seed, n, scale):
    distribution, z = draw(family, seed, n, scale)
    assert not distribution.kl_grad_new(z, z).any()
    assert not distribution.kl_grad_old(z, z).any()
    fisher = distribution.fisher_matrix(z)
    assert_close(by_steps(lambda y: distribution.kl_grad_new(z + 0j, y), z), fisher)
    assert_close(by_steps(lambda y: distribution.kl_grad_old(y, z + 0j), z), fisher)


@given(seeds, st.integers(2, 6), st.floats(-9, 2.5), st.floats(-12, 1), st.booleans())
@example(0, 2, 2.5, -12.0, True)
def test_categorical_gradients_keep_their_digits_where_terms_cancel(seed, size, exponent, move, near):
    # near-equal, near-uniform and near-deterministic policies; against 400 digits
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(size) * 10.0**exponent
    change = rng.standard_normal(size) * 10.0**move
    y = z + change if near else change
    with localcontext() as context:
        context.prec = 400
        (p, log_p), (q, log_q) = exact(z), exact(y)
        entropy = -sum(a * b for a, b in zip(p, log_p, strict=True))
        ratios = [a - b for a, b in zip(log_p, log_q, strict=True)]
        kl = sum(a * x for a, x in zip(p, ratios, strict=True))
        one, z, y = Categorical(), z[None], y[None]
        for got, wanted in (
            (one.entropy_grad(z), [-a * (b + entropy) for a, b in zip(p, log_p, strict=True)]),
            (one.kl_grad_new(z, y), [b - a for a, b in zip(p, q, strict=True)]),
            (one.kl_grad_old(z, y), [a * (x - kl) for a, x in zip(p, ratios, strict=True)]),
        ):
            errors = [abs(Decimal(float(a)) - b) for a, b in zip(got[0], wanted, strict=True)]
            assert max(errors) <= Decimal("1e-13") * max(map(abs, wanted)) + Decimal("1e-300")


def exact(z):
    """Return the probabilities and their logarithms in the digits of the context."""
    z = [Decimal(float(x)) for x in z]
    powers = [(x - max(z)).exp() for x in z]
    log_total = sum(powers).ln()
    return [x / sum(powers) for x in powers], [x - max(z) - log_total for x in z]


# --- sampling --------------------------------------------------------------------------------------------


class Always:
    """A generator whose exponentials are given, one row for all."""

    def __init__(self, exponentials):
        self.exponentials = np.asarray(exponentials, float)

    def standard_exponential(self, shape):
        return np.broadcast_to(self.exponentials, shape)


@given(families, seeds, rows, st.sampled_from([np.float32, np.float64]))
def test_a_sample_is_what_fresh_noise_picks(family, seed, n, dtype):
    distribution, z = draw(family, seed, n, dtype=dtype)
    noise = distribution.noise(np.random.default_rng(seed), (n,), z.shape[1], dtype)
    assert noise.dtype == dtype
    assert noise.shape == (n, family[1] // 2 if isinstance(distribution, DiagonalGaussian) else family[1])
    assert distribution.draw(z, noise).tobytes() == drawn_actions(distribution, z, seed).tobytes()


@given(families, seeds, rows, st.integers(0, 3), st.sampled_from([np.float32, np.float64]))
def test_noise_for_a_segment_is_that_of_its_steps_in_turn(family, seed, n, steps, dtype):
    distribution, k = family
    whole = distribution.noise(np.random.default_rng(seed), (steps, n), k, dtype)
    rng = np.random.default_rng(seed)
    assert len(whole) == steps
    for step in whole:
        assert step.tobytes() == distribution.noise(rng, (n,), k, dtype).tobytes()


@given(categoricals, seeds, rows, scales, st.sampled_from([np.float32, np.float64]))
@example((Categorical(), 1), 0, 1, 1.0, np.float64)
def test_the_action_drawn_has_the_largest_sum_of_logit_and_noise(family, seed, n, scale, dtype):
    distribution, z = draw(family, seed, n, scale, dtype)
    noise = distribution.noise(np.random.default_rng(seed), (n,), family[1], dtype)
    for action, logits, gumbel in zip(distribution.draw(z, noise), z, noise, strict=True):
        sums = [float(a) + float(b) for a, b in zip(logits, gumbel, strict=True)]
        # three roundings, of numbers that are at most 2·3·8 + 50
        assert sums[action] >= max(sums) - 3 * 100 * np.finfo(dtype).eps


@given(multis, seeds, rows)
def test_each_part_of_a_multi_categorical_is_drawn_from_its_own_columns(family, seed, n):
    distribution, z = draw(family, seed, n)
    noise = distribution.noise(np.random.default_rng(seed), (n,), family[1], float)
    stops = np.cumsum(distribution.sizes)[:-1]
    parts = zip(np.split(z, stops, 1), np.split(noise, stops, 1), strict=True)
    wanted = np.stack([Categorical().draw(part, gumbel) for part, gumbel in parts], 1)
    np.testing.assert_array_equal(distribution.draw(z, noise), wanted)


@given(gaussians, seeds, rows, st.sampled_from([np.float32, np.float64]))
def test_gaussian_actions_are_the_mean_plus_sigma_times_the_noise(family, seed, n, dtype):
    distribution, z = draw(family, seed, n, dtype=dtype)
    noise = np.random.default_rng(seed).standard_normal((n, family[1] // 2))
    actions = distribution.draw(z, noise)
    assert actions.dtype == dtype
    means, log_stds = np.split(z.astype(float), 2, 1)
    wanted = [
        [m + math.exp(s) * e for m, s, e in zip(*row, strict=True)]
        for row in zip(means, log_stds, noise, strict=True)
    ]
    np.testing.assert_allclose(actions, wanted, rtol=8 * np.finfo(dtype).eps, atol=32 * np.finfo(dtype).eps)


@given(seeds, st.integers(1, 6), st.sampled_from([-1000.0, -1e30]))
@example(0, 2, -1e30)
def test_actions_of_probability_zero_are_never_drawn(seed, size, dead):
    for dtype in (np.float32, np.float64):
        z = np.full((1, size), dead, dtype)
        alive = np.random.default_rng(seed).permutation(size)[: 1 + seed % size]
        z[0, alive] = 0
        exponentials = np.zeros(size)  # whose noise is the largest there is
        exponentials[alive] = 50.0  # beyond the largest that a generator gives
        (action,) = Categorical().sample(z, Always(exponentials))
        assert action in alive


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_finite_where_the_exponential_is_zero_and_above_all_other(dtype):
    one, smallest = Categorical(), 2.0**-53 * 0.05  # a generator's smallest but 0: 53 bits below some 1/20
    (zero, other) = one.noise(Always([0.0, smallest]), (), 2, dtype)
    assert np.isfinite(zero)
    assert zero > other
    assert other == pytest.approx(-math.log(smallest), rel=4 * float(np.finfo(dtype).eps))


def test_gumbel_noise_has_the_mean_and_the_variance_of_its_law(rng):
    noise = Categorical().noise(rng, (20_000,), 2, np.float64)
    n, variance = noise.size, math.pi**2 / 6
    assert abs(noise.mean() - np.euler_gamma) <= 5 * math.sqrt(variance / n)
    # the fourth central moment is 27/5 of the variance squared
    assert abs(noise.var() - variance) <= 5 * variance * math.sqrt(4.4 / n)


def test_large_logits_leave_float32_room_for_the_noise(rng):
    n = 40_000
    z = np.float32([3e8, 3e8, -3e8])  # beside which 1 would be rounded off
    actions = Categorical().sample(repeated(z, n), rng)
    assert abs((actions == 0).mean() - 0.5) <= 5 * 0.5 / math.sqrt(n)
    assert not (actions == 2).any()


@pytest.mark.parametrize(
    ("noise", "error", "message"),
    [
        (np.zeros((2, 3)), ShapeError, "noise must have shape (2, {width}), got (2, 3)"),
        (np.zeros(2), ShapeError, "noise must have shape (2, {width}), got (2,)"),
        (np.full((2, 5), np.nan), NonFiniteError, "noise must be finite, got nan at index (0, 0)"),
        ([["a"] * 5] * 2, ArgumentTypeError, "noise must hold real numbers, got list of dtype <U1"),
    ],
)
@pytest.mark.parametrize(
    ("distribution", "z", "width"),
    [
        (Categorical(), np.zeros((2, 5)), 5),
        (MultiCategorical((2, 3)), np.zeros((2, 5)), 5),
        (DiagonalGaussian(), np.zeros((2, 10)), 5),
    ],
)
def test_noise_that_does_not_fit_is_refused(distribution, z, width, noise, error, message):
    with pytest.raises(error) as caught:
        distribution.draw(z, noise)
    assert str(caught.value) == message.format(width=width)


def test_actions_come_as_often_as_their_probability(rng):
    n, p = 40_000, np.array([0.5, 0.3, 0.15, 0.05, 0.0])
    with np.errstate(divide="ignore"):
        z = np.maximum(np.log(p), -1e30)
    actions = Categorical().sample(repeated(z, n), rng)
    frequency = np.bincount(actions, minlength=5) / n
    assert (np.abs(frequency - p) <= 5 * np.sqrt(p * (1 - p) / n)).all()  # z = 5; never where p = 0


def test_the_parts_of_a_multi_categorical_are_drawn_independently(rng):
    n, distribution = 40_000, MultiCategorical((2, 3))
    z = np.log([0.7, 0.3, 0.2, 0.3, 0.5])
    actions = distribution.sample(repeated(z, n), rng)
    frequency = np.zeros((2, 3))
    np.add.at(frequency, tuple(actions.T), 1 / n)
    p = np.outer([0.7, 0.3], [0.2, 0.3, 0.5])
    assert (np.abs(frequency - p) <= 5 * np.sqrt(p * (1 - p) / n)).all()


def test_gaussian_actions_have_the_mean_and_the_covariance(rng):
    n, mean, std = 40_000, np.array([1.0, -3.0]), np.array([0.5, 20.0])
    z = repeated(np.concatenate([mean, np.log(std)]), n)
    x = (DiagonalGaussian().sample(z, rng) - mean) / std
    assert np.abs(x.mean(0)).max() <= 5 / np.sqrt(n)
    assert np.abs((x**2).mean(0) - 1).max() <= 5 * np.sqrt(2 / n)
    assert abs(x.prod(1).mean()) <= 5 / np.sqrt(n)
    assert np.abs((x**4).mean(0) - 3).max() <= 5 * np.sqrt(96 / n)  # var x⁴ = 105 − 9


@given(families, seeds, rows)
def test_the_mode_is_the_likeliest_action(family, seed, n):
    distribution, z = draw(family, seed, n)
    actions, mode = drawn_actions(distribution, z, seed), distribution.mode(z)
    assert (distribution.log_prob(z, mode) >= distribution.log_prob(z, actions)).all()
    assert not np.shares_memory(mode, z)


def test_the_mode_is_the_first_of_equals():
    assert Categorical().mode(np.array([[1.0, 3.0, 3.0]])) == [1]


@given(families, seeds, st.integers(1, 5), st.sampled_from([np.float32, np.float64]))
def test_sampling_is_reproducible_and_passes_its_own_check(family, seed, n, dtype):
    distribution, z = draw(family, seed, n, dtype=dtype)
    actions = drawn_actions(distribution, z, seed)
    assert actions.tobytes() == drawn_actions(distribution, z, seed).tobytes()
    checked = distribution.check_actions(actions, z)
    np.testing.assert_array_equal(checked, actions)
    assert checked.dtype == (dtype if isinstance(distribution, DiagonalGaussian) else np.int64)


# --- extremes, dtypes, borders ---------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [800.0, 1e30, 1e300])
def test_a_deterministic_categorical_is_finite_everywhere(gap):
    one, z = Categorical(), np.array([[0.0, gap, -gap]])
    np.testing.assert_array_equal(one.log_prob(repeated(z[0], 3), np.arange(3)), [-gap, 0, -2 * gap])
    assert one.entropy(z) == 0
    assert one.entropy(np.zeros((1, 3)) + gap) == pytest.approx(math.log(3), rel=1e-15)
    assert not one.entropy_grad(z).any()
    assert not one.entropy_grad(np.full((1, 3), gap)).any()
    assert not one.fisher_matrix(z).any()
    assert one.sample(z, Always([0.0, 50.0, 0.0])) == [1]
    np.testing.assert_array_equal(one.kl(z, -z), 2 * gap)
    assert np.isfinite(one.kl_grad_old(z, -z)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_width_whose_square_is_no_float_is_refused_everywhere(dtype):
    g, limit = DiagonalGaussian(), math.log(np.finfo(dtype).max) / 2
    actions, fine = np.zeros((1, 1), dtype), np.array([[0.0, 0.0]], dtype)
    for sign in (1, -1):
        edge = np.array([[0.0, sign * (limit - 1e-4)]], dtype)
        assert np.isfinite(g.log_prob_grad(edge, actions)).all()
        assert np.isfinite(g.fisher_matrix(edge)).all()
        z = np.array([[0.0, sign * (limit + 1e-4)]], dtype)
        for f in (
            lambda z: g.sample(z, np.random.default_rng(0)),
            lambda z: g.log_prob(z, actions),
            lambda z: g.log_prob_grad(z, actions),
            lambda z: g.kl(z, fine),
            lambda z: g.kl(fine, z),
            lambda z: g.kl_grad_new(fine, z),
            lambda z: g.kl_grad_old(fine, z),
            g.entropy,
            g.mode,
            g.fisher_product,
            g.fisher_matrix,
        ):
            with pytest.raises(
                NonFiniteError, match=rf"^log σ must be within ±{limit:.1f} for σ² .* got {z[0, 1]}$"
            ):
                f(z)


def test_a_gaussian_kl_beyond_every_float_is_infinite():
    wide, narrow = np.array([[0.0, 350.0]]), np.array([[0.0, -350.0]])
    assert DiagonalGaussian().kl(wide, narrow) == np.inf
    assert DiagonalGaussian().kl(narrow, wide) == pytest.approx(700 - 0.5, rel=1e-14)
    assert DiagonalGaussian().kl(np.array([[1e200, 0.0]]), np.array([[0.0, 0.0]])) == np.inf


@given(families, seeds, rows)
def test_float32_stays_float32_and_arguments_are_untouched(family, seed, n):
    distribution, z = draw(family, seed, n, dtype=np.float32)
    _, other = draw(family, seed + 1, n, dtype=np.float32)
    actions = drawn_actions(distribution, z, seed)
    for array in (z, other, actions):
        array.setflags(write=False)  # a write would raise
    results = [
        distribution.log_prob(z, actions),
        distribution.log_prob_grad(z, actions),
        distribution.entropy(z),
        distribution.entropy_grad(z),
        distribution.kl(z, other),
        distribution.kl_grad_new(z, other),
        distribution.kl_grad_old(z, other),
        distribution.fisher_product(z)(other),
        distribution.fisher_matrix(z),
        distribution.log_prob(z, distribution.mode(z)),
    ]
    assert all(result.dtype == np.float32 for result in results)
    assert distribution.mode(z).dtype == actions.dtype
    assert [r.shape[0] for r in results] == [n] * len(results)
    double = distribution.kl(z.astype(float), other.astype(float))
    np.testing.assert_allclose(results[4], double, rtol=1e-5, atol=1e-6)


@given(families, seeds, rows, st.sampled_from([np.float32, np.float64, np.complex128]))
def test_what_is_prepared_once_gives_the_same_bits(family, seed, n, dtype):
    distribution, z = draw(family, seed, n, dtype=dtype)
    actions = drawn_actions(distribution, z.real, seed)
    prepared = distribution.prepared(z)
    assert distribution.prepared(prepared) is prepared
    for f in (distribution.log_prob, distribution.log_prob_grad):
        assert f(prepared, actions).tobytes() == f(z, actions).tobytes()
    for f in (distribution.entropy, distribution.entropy_grad):
        assert f(prepared).tobytes() == f(z).tobytes()


@given(families, seeds, st.integers(2, 5))
def test_every_row_is_on_its_own(family, seed, n):
    distribution, z = draw(family, seed, n)
    actions, order = drawn_actions(distribution, z, seed), np.random.default_rng(seed).permutation(n)
    for f in (distribution.log_prob, distribution.log_prob_grad):
        np.testing.assert_allclose(f(z, actions)[order], f(z[order], actions[order]), rtol=1e-14, atol=1e-15)
    for f in (distribution.kl, distribution.kl_grad_new, distribution.kl_grad_old):
        np.testing.assert_allclose(f(z, z[::-1])[order], f(z[order], z[::-1][order]), rtol=1e-13, atol=1e-15)
    for f in (distribution.entropy, distribution.fisher_matrix):
        np.testing.assert_allclose(f(z)[order], f(z[order]), rtol=1e-14, atol=1e-15)


Z3, Z5, Z4 = np.zeros((2, 3)), np.zeros((2, 5)), np.zeros((2, 4))
MULTI = MultiCategorical((2, 3))


@pytest.mark.parametrize(
    ("distribution", "z", "actions", "error", "message"),
    [
        (Categorical(), Z3, [0, 5], ArgumentError, "action 5 not in Discrete(3)"),
        (Categorical(), Z3, [-1, 0], ArgumentError, "action -1 not in Discrete(3)"),
        (
            Categorical(),
            Z3,
            [0.0, 1.0],
            ArgumentTypeError,
            "actions must hold integers, got list of dtype float64",
        ),
        (
            Categorical(),
            Z3,
            [True, False],
            ArgumentTypeError,
            "actions must hold integers, got list of dtype bool",
        ),
        (Categorical(), Z3, [0], ShapeError, "actions must have shape (2), got (1,)"),
        (Categorical(), Z3, [[0], [1]], ShapeError, "actions must have shape (2), got (2, 1)"),
        (Categorical(), Z3, 1, ShapeError, "actions must have shape (2), got ()"),
        (MULTI, Z5, [[0, 3], [0, 0]], ArgumentError, "action 3 not in Discrete(3)"),
        (MULTI, Z5, [[0, 0], [2, 0]], ArgumentError, "action 2 not in Discrete(2)"),
        (MULTI, Z5, [0, 1], ShapeError, "actions must have shape (2, 2), got (2,)"),
        (
            MULTI,
            Z5,
            [[0, 1.5], [0, 0]],
            ArgumentTypeError,
            "actions must hold integers, got list of dtype float64",
        ),
        (
            DiagonalGaussian(),
            Z4,
            [[0, 1, 2], [0, 1, 2]],
            ShapeError,
            "actions must have shape (2, 2), got (2, 3)",
        ),
        (DiagonalGaussian(), Z4, [0.0, 1.0], ShapeError, "actions must have shape (2, 2), got (2,)"),
        (
            DiagonalGaussian(),
            Z4,
            [[0, 1], [np.nan, 0]],
            NonFiniteError,
            "actions must be finite, got nan at index (1, 0)",
        ),
        (
            DiagonalGaussian(),
            Z4.astype("f"),
            [[0, 1e39], [0, 0]],
            NonFiniteError,
            "actions must be finite, got inf at index (0, 1)",
        ),
    ],
)
def test_actions_that_cannot_be_are_refused(distribution, z, actions, error, message):
    with pytest.raises(error) as caught:
        distribution.check_actions(actions, z)
    assert str(caught.value) == message


@pytest.mark.parametrize("dtype", ["i1", "u8", ">i4"])
def test_actions_of_any_integer_dtype_are_taken(dtype):
    checked = Categorical().check_actions(np.array([2, 0], dtype), Z3)
    assert checked.dtype == np.int64
    assert checked.tolist() == [2, 0]
    assert MULTI.check_actions(np.array([[1, 2], [0, 0]], dtype)[::-1], Z5).tolist() == [[0, 0], [1, 2]]


def test_widths_that_do_not_fit_are_refused():
    Categorical().check_width(1)
    DiagonalGaussian().check_width(4)
    MULTI.check_width(5)
    with pytest.raises(ShapeError, match=r"^a Gaussian needs as many log σ as means, got 3 outputs$"):
        DiagonalGaussian().check_width(3)
    with pytest.raises(ShapeError, match=r"^sizes \(2, 3\) need 5 outputs, got 6$"):
        MULTI.check_width(6)


@pytest.mark.parametrize("sizes", [(), (2, 0), (2, True), (2.0,)])
def test_a_multi_categorical_refuses_sizes(sizes):
    with pytest.raises(
        ArgumentError, match=r"^sizes must (hold at least one number|be a whole number of at least 1)"
    ):
        MultiCategorical(sizes)


def test_descriptions_are_values():
    assert MultiCategorical([2, 3]) == MULTI
    assert Categorical() == Categorical()
    with pytest.raises(dataclasses.FrozenInstanceError):
        MULTI.sizes = (1,)
