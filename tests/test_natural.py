"""The linear algebra of a trust-region step against closed forms, SVDs and 60-digit arithmetic."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, PgrefError, ShapeError
from pgref.natural import CGResult, conjugate_gradient, dense_solve, line_search, natural_step

EPS = float(np.finfo(float).eps)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 12)


def softmax_fisher(rng, n_states, n_actions, logit_scale, weight_ratio):
    """Return Σ_s of the blocks ρ(s)(diag(p) − ppᵀ), with p [S, A] and ρ [S]."""
    logits = rng.uniform(-1.0, 1.0, size=(n_states, n_actions)) * logit_scale
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rho = np.exp(rng.uniform(0.0, math.log(weight_ratio), size=n_states))
    h = np.zeros((n_states, n_actions, n_states, n_actions))
    for s in range(n_states):
        h[s, :, s, :] = rho[s] * (np.diag(p[s]) - np.outer(p[s], p[s]))
    return h.reshape(n_states * n_actions, -1), p, rho


def rotated(rng, eigenvalues):
    """Return a symmetric matrix with these eigenvalues, its largest at least 1."""
    q, _ = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))
    h = (q * eigenvalues) @ q.T
    return (h + h.T) / 2


def times(h):
    return lambda v: h @ v


def relative(x, exact):
    return np.linalg.norm(x - exact) / np.linalg.norm(exact)


# --- conjugate gradients ---------------------------------------------------------------------------------


@given(seed=seeds, n_states=st.integers(1, 8), n_actions=st.integers(2, 5))
def test_cg_on_a_singular_softmax_fisher_is_the_pseudo_inverse_solution(seed, n_states, n_actions):
    # logits in ±1 and ρ in [1, 3] keep the condition on the range under 3·e²·5/2 < 60; ε·60·P/2 < 1e-12
    rng = np.random.default_rng(seed)
    h, p, rho = softmax_fisher(rng, n_states, n_actions, 1.0, 3.0)
    advantages = rng.normal(size=p.shape)
    advantages -= advantages.mean(axis=1, keepdims=True)  # then H⁺g is the advantages themselves
    g = (rho[:, None] * p * (advantages - (p * advantages).sum(axis=1, keepdims=True))).ravel()
    result = conjugate_gradient(times(h), g, max_products=1000)
    assert relative(result.x, advantages.ravel()) <= 1e-12
    assert relative(result.x, np.linalg.pinv(h, rcond=1e-12) @ g) <= 1e-12
    assert result.products <= n_states * (n_actions - 1) + 1
    assert result.residual_norm <= 100 * EPS * (np.linalg.norm(g) + np.linalg.norm(advantages))


@given(seed=seeds, n=st.integers(1, 40), spread=st.floats(1.0, 300.0))
@example(seed=0, n=1, spread=1.0)
def test_cg_on_a_full_rank_matrix_is_the_dense_solution(seed, n, spread):
    rng = np.random.default_rng(seed)
    h = rotated(rng, np.geomspace(1.0, 1.0 / spread, n))
    x = rng.normal(size=n)
    result = conjugate_gradient(times(h), h @ x, max_products=2 * n)
    assert result.status == "converged"
    assert relative(result.x, x) <= 1e-12
    assert relative(result.x, dense_solve(h, h @ x).x) <= 1e-12


@pytest.mark.parametrize("rank", [1, 3, 20, 45])
@pytest.mark.parametrize("condition", [10.0, 1e3, 1e6])
def test_cg_run_to_convergence_stops_at_the_rank_and_noise_outside_the_range_stays_noise(
    rng, rank, condition
):
    n = 60
    h = rotated(rng, np.concatenate([np.geomspace(1.0, 1.0 / condition, rank), np.zeros(n - rank)]))
    b = h @ rng.normal(size=n)
    result = conjugate_gradient(times(h), b, max_products=1000)
    assert result.status == "converged"
    assert result.products <= rank + 1
    level = np.linalg.norm(b) + np.linalg.norm(result.x)  # ‖H‖ = 1
    assert result.residual_norm <= 4 * EPS * level
    assert np.linalg.norm(b - h @ result.x) <= (4 + rank) * EPS * level
    in_range = np.linalg.pinv(h, rcond=1e-12)
    assert np.linalg.norm(result.x - in_range @ (h @ result.x)) <= 1e-8 * np.linalg.norm(result.x)


def exact_cg(h, b, n_products):
    """Return n steps of plain CG in 60 digits, from exactly the float64 numbers given."""
    with localcontext() as context:
        context.prec = 60
        rows = [[(j, Decimal(float(a))) for j, a in enumerate(row) if a] for row in h]
        r = [Decimal(float(a)) for a in b]
        x, p, rr = [Decimal(0)] * len(r), r, sum(a * a for a in r)
        for _ in range(n_products):
            hp = [sum(a * p[j] for j, a in row) for row in rows]
            step = rr / sum(a * c for a, c in zip(p, hp, strict=True))
            x = [a + step * c for a, c in zip(x, p, strict=True)]
            r = [a - step * c for a, c in zip(r, hp, strict=True)]
            rr, before = sum(a * a for a in r), rr
            p = [a + rr / before * c for a, c in zip(r, p, strict=True)]
        return np.array([float(a) for a in x])


def textbook_cg(h, b, n_products):
    """Return n steps of plain CG in float64: the residuals are left as they come."""
    x, r, p, rr = np.zeros_like(b), b, b, b @ b
    for _ in range(n_products):
        hp = h @ p
        step = rr / (p @ hp)
        x, r = x + step * p, r - step * hp
        rr, before = r @ r, rr
        p = r + rr / before * p
    return x


# seeds at which one eigenvector is found within ten steps; conditions 3.0e3, 2.0e3, 2.8e3 and 1.5e5
ill_conditioned = [(12, 5, 1e3, 0), (20, 3, 1e3, 35), (30, 2, 1e3, 52), (12, 5, 1e5, 31)]


@pytest.mark.parametrize(("n_states", "n_actions", "ratio", "seed"), ill_conditioned)
def test_ten_products_agree_with_sixty_digit_cg_where_plain_cg_does_not(n_states, n_actions, ratio, seed):
    rng = np.random.default_rng(seed)
    h = softmax_fisher(rng, n_states, n_actions, 8.0, ratio)[0]
    h += 0.1 * np.eye(len(h))
    b = rng.normal(size=len(h))
    exact = exact_cg(h, b, 10)
    assert relative(conjugate_gradient(times(h), b, max_products=10).x, exact) <= 1e-12
    assert relative(textbook_cg(h, b, 10), exact) >= 1e-3


@given(seed=seeds, n=sizes)
def test_cg_needs_one_product_for_each_distinct_eigenvalue(seed, n):
    rng = np.random.default_rng(seed)
    eigenvalues = rng.integers(1, 5, size=n).astype(float)
    result = conjugate_gradient(times(rotated(rng, eigenvalues)), rng.normal(size=n), max_products=99)
    assert result.status == "converged"
    assert result.products <= np.unique(eigenvalues).size


@given(seed=seeds, n=sizes)
def test_cg_lowers_the_energy_and_lengthens_x_with_every_product(seed, n):
    rng = np.random.default_rng(seed)
    h, b = rotated(rng, rng.uniform(0.1, 1.0, size=n)), rng.normal(size=n)
    energy, length = 0.0, 0.0
    for products in range(1, n + 1):
        x = conjugate_gradient(times(h), b, max_products=products).x
        assert 0.5 * x @ h @ x - b @ x <= energy + 10 * n * EPS * (b @ b)
        assert np.linalg.norm(x) >= length * (1 - 10 * n * EPS)
        energy, length = 0.5 * x @ h @ x - b @ x, np.linalg.norm(x)


@given(seed=seeds, n=sizes, budget=st.integers(1, 12))
def test_cg_reports_its_residual_its_products_and_its_budget(seed, n, budget):
    rng = np.random.default_rng(seed)
    h, b = rotated(rng, rng.uniform(0.1, 1.0, size=n)), rng.normal(size=n)
    calls = []
    result = conjugate_gradient(lambda v: calls.append(v.copy()) or h @ v, b, max_products=budget)
    assert len(calls) == result.products <= min(budget, n)
    assert result.status == "converged" or result.products == min(budget, n)
    scale = np.linalg.norm(b) + np.linalg.norm(result.x)
    assert abs(result.residual_norm - np.linalg.norm(b - h @ result.x)) <= 10 * n * EPS * scale


def test_cg_stops_early_at_a_relative_tolerance(rng):
    h, b = rotated(rng, np.geomspace(1.0, 1e-3, 30)), rng.normal(size=30)
    loose = conjugate_gradient(times(h), b, max_products=30, rtol=0.1)
    assert loose.status == "converged"
    assert loose.products < 30
    assert 1e-3 <= loose.residual_norm / np.linalg.norm(b) <= 0.1


def test_cg_out_of_budget_says_so(rng):
    result = conjugate_gradient(times(np.diag(np.geomspace(1.0, 1e-4, 30))), np.ones(30))
    assert (result.status, result.products) == ("budget", 10)
    assert result.residual_norm > 1e-3


def test_cg_of_a_zero_right_hand_side_spends_nothing():
    result = conjugate_gradient(lambda v: pytest.fail("a product was spent"), np.zeros(3))
    assert (result.status, result.products, result.residual_norm) == ("converged", 0, 0.0)
    np.testing.assert_array_equal(result.x, np.zeros(3))
    assert conjugate_gradient(times(np.eye(0)), np.empty(0)).status == "converged"


@pytest.mark.parametrize(
    ("h", "b", "x", "products"),
    [
        (np.zeros((2, 2)), [1.0, 2.0], [0.0, 0.0], 1),
        (np.diag([1.0, -1.0]), [1.0, 1.0], [0.0, 0.0], 1),
        (-np.eye(2), [1.0, 0.0], [0.0, 0.0], 1),
        (np.diag([2.0, 0.0]), [0.0, 1.0], [0.0, 0.0], 1),  # b outside the range
        (np.diag([0.5, 0.5 - 1e-99, -4e-99]), [1.0, 0.0, 1e-20], [2.0, 0.0, 0.0], 1),
    ],
)
def test_cg_stops_before_a_direction_of_no_curvature(h, b, x, products):
    result = conjugate_gradient(times(h), np.array(b))
    assert result.products == products
    assert result.status == ("flat" if x[0] == 0.0 else "converged")
    np.testing.assert_allclose(result.x, x, rtol=0, atol=1e-15)


def test_cg_with_a_right_hand_side_a_little_outside_the_range_ends_flat_and_amplifies_nothing(rng):
    h = rotated(rng, np.concatenate([np.geomspace(1.0, 0.1, 10), np.zeros(10)]))
    x, outside = h @ rng.normal(size=20), rng.normal(size=20)
    outside -= np.linalg.pinv(h, rcond=1e-12) @ h @ outside
    result = conjugate_gradient(times(h), h @ x + 1e-8 * outside, max_products=50)
    assert (result.status, result.products) == ("flat", 11)
    # in exact arithmetic the component along a null vector of H is multiplied by Σ 1/λ
    assert (
        np.linalg.norm(result.x - x)
        <= 2e-8 * np.linalg.norm(outside) * (1.0 / np.geomspace(1.0, 0.1, 10)).sum()
    )
    assert result.residual_norm <= 2e-8 * np.linalg.norm(outside)


@given(seed=seeds, n=sizes)
def test_cg_in_float32_stays_in_float32_whatever_the_product_returns(seed, n):
    rng = np.random.default_rng(seed)
    h, x = rotated(rng, rng.uniform(0.5, 1.0, size=n)), rng.normal(size=n)
    asked = set()
    result = conjugate_gradient(
        lambda v: asked.add(v.dtype) or h @ v, (h @ x).astype(np.float32), max_products=n
    )
    assert result.x.dtype == np.float32
    assert asked <= {np.dtype(np.float32)}
    assert relative(result.x, x) <= 40 * n * np.finfo(np.float32).eps


@given(seed=seeds, n=sizes)
def test_a_product_may_return_one_buffer_every_time(seed, n):
    rng = np.random.default_rng(seed)
    h, b, buffer = rotated(rng, rng.uniform(0.1, 1.0, size=n)), rng.normal(size=n), np.empty(n)
    fresh = conjugate_gradient(times(h), b)
    reused = conjugate_gradient(lambda v: np.matmul(h, v, out=buffer), b)
    buffer.fill(np.nan)
    assert reused.x.tobytes() == fresh.x.tobytes()
    assert reused[1:] == fresh[1:]
    assert conjugate_gradient(lambda v: v, b).x.tobytes() == b.tobytes()  # its own argument, even


@given(seed=seeds, n=sizes, h_power=st.integers(-900, 900), x_power=st.integers(-900, 900))
def test_cg_is_homogeneous_to_the_bit_over_the_whole_range_of_floats(seed, n, h_power, x_power):
    rng = np.random.default_rng(seed)
    h, b = rotated(rng, rng.uniform(0.1, 1.0, size=n)), rng.normal(size=n)
    b_power = max(-900, min(900, h_power + x_power))
    plain = conjugate_gradient(times(h), b)
    scaled = conjugate_gradient(times(np.ldexp(h, b_power - x_power)), np.ldexp(b, b_power))
    assert scaled.x.tobytes() == np.ldexp(plain.x, x_power).tobytes()
    assert scaled.residual_norm == math.ldexp(plain.residual_norm, b_power)
    assert scaled[2:] == plain[2:]


def variants(array):
    """Return the same numbers in other memory: strided, reversed, big-endian, read-only."""
    wide = np.repeat(array, 2)
    readonly = array.copy()
    readonly.flags.writeable = False
    return [wide[::2], array[::-1].copy()[::-1], array.astype(array.dtype.newbyteorder(">")), readonly]


def test_results_do_not_depend_on_the_memory_of_the_arguments_and_leave_them_as_they_are(rng):
    h, b = rotated(rng, rng.uniform(0.1, 1.0, size=8)), rng.normal(size=8)
    before = h.tobytes(), b.tobytes()
    cg, dense = conjugate_gradient(times(h), b), dense_solve(h, b)
    step = natural_step(times(h), b, kl_limit=0.1)
    found = line_search(lambda t: (1.0, 0.0), b, h[0], kl_limit=1.0)
    for same in variants(b):
        assert conjugate_gradient(times(h), same).x.tobytes() == cg.x.tobytes()
        assert dense_solve(np.asfortranarray(h), same).x.tobytes() == dense.x.tobytes()
        assert natural_step(times(h), same, kl_limit=0.1).tobytes() == step.tobytes()
        assert line_search(lambda t: (1.0, 0.0), same, h[:, 0], kl_limit=1.0).theta.tobytes() == (
            found.theta.tobytes()
        )
    assert (h.tobytes(), b.tobytes()) == before


nan, inf = math.nan, math.inf


@pytest.mark.parametrize(
    ("product", "b", "options", "error", "message"),
    [
        (times(np.eye(2)), [1.0, nan], {}, NonFiniteError, "b must be finite, got nan at index (1,)"),
        (times(np.eye(2)), [inf, 1.0], {}, NonFiniteError, "b must be finite, got inf at index (0,)"),
        (times(np.eye(2)), [[1.0, 1.0]], {}, ShapeError, "b must have shape (any), got (1, 2)"),
        (
            times(np.eye(2)),
            ["a", "b"],
            {},
            ArgumentTypeError,
            "b must hold real numbers, got list of dtype <U1",
        ),
        (
            lambda v: v * nan,
            [1.0, 1.0],
            {},
            NonFiniteError,
            "product(v) must be finite, got nan at index (0,)",
        ),
        (lambda v: v[:1], [1.0, 1.0], {}, ShapeError, "product(v) must have shape (2), got (1,)"),
        (lambda v: v * 1j, [1.0], {}, ArgumentTypeError, "product(v) must hold real numbers, got ndarray"),
        (lambda v: 1.7e308 * np.sign(v), [0.9] * 9, {}, NonFiniteError, "v·Hv must be finite, got inf"),
        (lambda v: v * 1e-300, [1e300], {}, NonFiniteError, "x must be finite, got inf at index (0,)"),
        (
            times(np.eye(2)),
            [1.0, 1.0],
            {"max_products": 0},
            ArgumentError,
            "max_products must be a whole number",
        ),
        (times(np.eye(2)), [1.0, 1.0], {"max_products": True}, ArgumentError, "max_products must be a whole"),
        (
            times(np.eye(2)),
            [1.0, 1.0],
            {"rtol": -1.0},
            ArgumentError,
            "rtol must be at least 0 and finite, got -1",
        ),
        (
            times(np.eye(2)),
            [1.0, 1.0],
            {"rtol": nan},
            ArgumentError,
            "rtol must be at least 0 and finite, got nan",
        ),
    ],
)
def test_cg_refuses_bad_arguments_by_name(product, b, options, error, message):
    with pytest.raises(error) as caught:
        conjugate_gradient(product, b, **options)
    assert message in str(caught.value)
    assert isinstance(caught.value, PgrefError)


# --- the natural step ------------------------------------------------------------------------------------


@given(seed=seeds, n=sizes, kl_limit=st.floats(1e-8, 10.0), power=st.integers(-400, 400))
@example(seed=1, n=3, kl_limit=0.01, power=-1000)
def test_the_natural_step_spends_exactly_the_kl_limit_and_ignores_the_length_of_x(seed, n, kl_limit, power):
    rng = np.random.default_rng(seed)
    h, x = rotated(rng, rng.uniform(0.1, 1.0, size=n)), rng.normal(size=n)
    step = natural_step(times(h), x, kl_limit=kl_limit)
    np.testing.assert_allclose(0.5 * step @ h @ step, kl_limit, rtol=20 * n * EPS)
    assert step @ x > 0
    np.testing.assert_allclose(step / np.linalg.norm(step), x / np.linalg.norm(x), atol=1e-15)
    assert natural_step(times(h), np.ldexp(x, power), kl_limit=kl_limit).tobytes() == step.tobytes()


@given(seed=seeds, n_states=st.integers(1, 4), n_actions=st.integers(2, 4), scale=st.floats(1e-6, 1e6))
def test_the_whole_step_is_invariant_to_the_scale_of_the_advantages(seed, n_states, n_actions, scale):
    rng = np.random.default_rng(seed)
    h, p, _ = softmax_fisher(rng, n_states, n_actions, 1.0, 3.0)
    g = h @ rng.normal(size=p.size)
    steps = [
        natural_step(times(h), conjugate_gradient(times(h), s * g, max_products=99).x, kl_limit=0.01)
        for s in (1.0, scale)
    ]
    np.testing.assert_allclose(steps[1], steps[0], rtol=0, atol=1e-11 * np.abs(steps[0]).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("h", [np.eye(2), np.zeros((2, 2)), -np.eye(2)])
def test_the_natural_step_is_zero_without_positive_curvature(h, dtype):
    x = np.array([1.0, -2.0], dtype) * (h[0, 0] <= 0.0)
    step = natural_step(times(h), x, kl_limit=0.01)
    assert step.dtype == dtype
    assert step.tobytes() == np.zeros(2, dtype).tobytes()


def test_the_natural_step_keeps_float32(rng):
    x = rng.normal(size=4).astype(np.float32)
    step = natural_step(times(np.eye(4)), x, kl_limit=0.02)
    assert step.dtype == np.float32
    np.testing.assert_allclose(step @ step, 0.04, rtol=1e-6)


@pytest.mark.parametrize(
    ("product", "x", "kl_limit", "error", "message"),
    [
        (times(np.eye(2)), [1.0, 1.0], 0.0, ArgumentError, "kl_limit must be positive and finite, got 0.0"),
        (times(np.eye(2)), [1.0, 1.0], nan, ArgumentError, "kl_limit must be positive and finite, got nan"),
        (times(np.eye(2)), [1.0, 1.0], True, ArgumentError, "kl_limit must be positive and finite, got True"),
        (times(np.eye(2)), [nan, 1.0], 0.1, NonFiniteError, "x must be finite, got nan at index (0,)"),
        (times(np.eye(2)), 1.0, 0.1, ShapeError, "x must have shape (any), got ()"),
        (lambda v: v[:1], [1.0, 1.0], 0.1, ShapeError, "product(v) must have shape (2), got (1,)"),
        (lambda v: v * inf, [1.0, 1.0], 0.1, NonFiniteError, "product(v) must be finite"),
        (
            times(np.eye(1, dtype="f4") * 1e-30),
            np.ones(1, "f4"),
            1e300,
            NonFiniteError,
            "step must be finite",
        ),
    ],
)
def test_the_natural_step_refuses_bad_arguments_by_name(product, x, kl_limit, error, message):
    with pytest.raises(error) as caught:
        natural_step(product, x, kl_limit=kl_limit)
    assert message in str(caught.value)


# --- the dense solve -------------------------------------------------------------------------------------


@given(seed=seeds, n=sizes, rank=st.integers(0, 12), signs=st.booleans())
@example(seed=0, n=4, rank=0, signs=False)
@example(seed=0, n=1, rank=1, signs=True)
def test_the_dense_solution_is_the_shortest_least_squares_solution(seed, n, rank, signs):
    rng = np.random.default_rng(seed)
    rank = min(rank, n)
    eigenvalues = np.concatenate([rng.uniform(0.1, 1.0, size=rank), np.zeros(n - rank)])
    if signs:
        eigenvalues *= rng.choice([-1.0, 1.0], size=n)
    h, g = rotated(rng, eigenvalues), rng.normal(size=n)
    result = dense_solve(h, g)
    by_svd = np.linalg.lstsq(h, g, rcond=1e-12)[0]
    np.testing.assert_allclose(result.x, by_svd, rtol=0, atol=200 * n * EPS * np.linalg.norm(g))
    assert result.rank == rank
    assert abs(result.residual_norm - np.linalg.norm(g - h @ by_svd)) <= 200 * n * EPS * np.linalg.norm(g)
    if rank == 0:
        assert (result.status, result.x.tobytes()) == ("flat", np.zeros(n).tobytes())
    elif eigenvalues.min() < 0.0:
        assert result.status == "indefinite"
    else:
        assert result.status == ("full_rank" if rank == n else "rank_deficient")


@given(seed=seeds, n_states=st.integers(1, 6), n_actions=st.integers(1, 5))
def test_the_dense_solve_reveals_the_one_gauge_direction_a_state_of_a_softmax(seed, n_states, n_actions):
    rng = np.random.default_rng(seed)
    h, p, rho = softmax_fisher(rng, n_states, n_actions, 1.0, 3.0)
    a = rng.normal(size=p.shape)
    g = (rho[:, None] * p * (a - (p * a).sum(axis=1, keepdims=True))).ravel()
    result = dense_solve(h, g)
    assert result.rank == n_states * (n_actions - 1)
    np.testing.assert_allclose(result.x, (a - a.mean(axis=1, keepdims=True)).ravel(), rtol=0, atol=1e-12)


@given(seed=seeds, n=sizes, h_power=st.integers(-900, 900), x_power=st.integers(-900, 900))
def test_the_dense_solve_is_homogeneous_to_the_bit(seed, n, h_power, x_power):
    rng = np.random.default_rng(seed)
    h, g = rotated(rng, rng.uniform(0.1, 1.0, size=n)), rng.normal(size=n)
    g_power = max(-900, min(900, h_power + x_power))
    plain = dense_solve(h, g)
    scaled = dense_solve(np.ldexp(h, g_power - x_power), np.ldexp(g, g_power))
    assert scaled.x.tobytes() == np.ldexp(plain.x, x_power).tobytes()
    assert scaled.rank == plain.rank


def test_the_dense_solve_answers_in_the_common_dtype_and_for_no_parameters_at_all(rng):
    h, g = rotated(rng, rng.uniform(0.5, 1.0, size=5)), rng.normal(size=5)
    single = dense_solve(h.astype("f4"), g.astype("f4"))
    assert single.x.dtype == np.float32
    assert relative(single.x, np.linalg.solve(h, g)) <= 50 * np.finfo("f4").eps
    assert dense_solve(h.astype("f4"), g).x.dtype == np.float64
    assert dense_solve(np.empty((0, 0)), np.empty(0)).status == "flat"


@pytest.mark.parametrize(
    ("h", "g", "error", "message"),
    [
        (
            [[1.0, 0.5], [0.0, 1.0]],
            [1.0, 1.0],
            ArgumentError,
            "symmetric, got |H − Hᵀ| up to 0.5 of its largest",
        ),
        (
            [[0.0, 1.7e308], [-1.7e308, 0.0]],
            [1.0, 1.0],
            ArgumentError,
            "hessian must be symmetric, got |H − Hᵀ| up",
        ),
        (np.eye(3), [1.0, 1.0], ShapeError, "hessian must have shape (2, 2), got (3, 3)"),
        (np.eye(2) * nan, [1.0, 1.0], NonFiniteError, "hessian must be finite, got nan at index (0, 0)"),
        (np.eye(2), [1.0, inf], NonFiniteError, "g must be finite, got inf at index (1,)"),
        (np.eye(1) * 1e-300, [1e300], NonFiniteError, "x must be finite, got inf at index (0,)"),
        (np.eye(2), [1j, 1.0], ArgumentTypeError, "g must hold real numbers, got list of dtype complex128"),
    ],
)
def test_the_dense_solve_refuses_bad_arguments_by_name(h, g, error, message):
    with pytest.raises(error) as caught:
        dense_solve(h, g)
    assert message in str(caught.value)


def test_the_dense_solve_takes_rounding_for_symmetry(rng):
    h = rotated(rng, [1.0, 0.5, 0.25])
    h[0, 1] *= 1.0 + 1e-12
    assert relative(dense_solve(h, h @ np.ones(3)).x, np.ones(3)) <= 1e-11


# --- the line search -------------------------------------------------------------------------------------

accepted = [(1.0, 0.5), (1e-300, 1.0), (1.0, -1e-17)]
refused = [
    (0.0, 0.5),
    (-1.0, 0.0),
    (1.0, 1.5),
    (nan, 0.1),
    (1.0, nan),
    (inf, 0.1),
    (-inf, 0.1),
    (1.0, inf),
    (1.0, -inf),
]
outcomes = st.sampled_from([*accepted, *refused, NonFiniteError("observation from env 0 is nan")])


@given(script=st.lists(outcomes, min_size=1, max_size=12), max_tries=st.integers(1, 12), seed=seeds)
def test_the_line_search_takes_the_first_step_that_improves_within_the_kl_limit(script, max_tries, seed):
    rng = np.random.default_rng(seed)
    theta, step, shrink = rng.normal(size=3), rng.normal(size=3), rng.uniform(0.1, 0.9)
    tried, kept = [], theta.tobytes()

    def evaluate(candidate):
        outcome = script[len(tried) % len(script)]
        tried.append(candidate.copy())
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    result = line_search(evaluate, theta, step, kl_limit=1.0, shrink=shrink, max_tries=max_tries)
    played = [script[j % len(script)] for j in range(max_tries)]
    good = [j for j, o in enumerate(played) if o in accepted]
    expected = [theta + shrink**j * step for j in range(good[0] + 1 if good else max_tries)]
    np.testing.assert_array_equal(tried, expected)
    assert (result.tries, result.accepted) == (len(tried), bool(good))
    assert theta.tobytes() == kept
    if good:
        assert result[3:] == (*played[good[0]], "accepted")
        np.testing.assert_array_equal(result.theta, expected[-1])
    else:
        assert result.theta is theta
        assert result[3:] == (0.0, 0.0, "refused")


@pytest.mark.parametrize("zero", [np.zeros(2), -np.zeros(2)])
def test_a_zero_step_is_not_even_evaluated(zero):
    theta = np.array([1.0, -0.0])
    result = line_search(lambda t: pytest.fail("evaluated"), theta, zero, kl_limit=0.1)
    assert result.theta is theta
    assert result[1:] == (False, 0, 0.0, 0.0, "no_step")


@pytest.mark.parametrize("step_dtype", [np.float32, np.float64])
def test_the_accepted_parameters_keep_the_dtype_of_theta(step_dtype):
    theta, step = np.ones(2, np.float32), np.full(2, 0.1, step_dtype)
    result = line_search(lambda t: (1.0, 0.0), theta, step, kl_limit=0.1)
    assert result.theta.dtype == np.float32
    np.testing.assert_array_equal(result.theta, np.float32(1) + np.float32(0.1))


def test_parameters_that_overflow_are_refused_unevaluated_until_the_step_is_short_enough():
    theta, seen = np.array([1e308, 0.0]), []
    result = line_search(
        lambda t: (seen.append(t[0]) or 1.0, 0.0), theta, np.array([1.5e308, 1.0]), kl_limit=0.1
    )
    assert (result.status, result.tries) == ("accepted", 2)
    assert seen == [1.75e308]
    narrow = line_search(lambda t: (1.0, 0.0), np.ones(1, "f4"), np.array([1e300]), kl_limit=0.1)
    assert narrow.status == "refused"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OverflowError, ArgumentError])
def test_other_errors_of_the_evaluation_propagate(error):
    def evaluate(theta):
        raise error("from the environment")

    with pytest.raises(error, match="from the environment"):
        line_search(evaluate, np.ones(2), np.ones(2), kl_limit=0.1)


@pytest.mark.parametrize(
    ("theta", "step", "options", "error", "message"),
    [
        ([1.0, nan], [1.0, 1.0], {}, NonFiniteError, "theta must be finite, got nan at index (1,)"),
        ([1.0, 1.0], [inf, 1.0], {}, NonFiniteError, "step must be finite, got inf at index (0,)"),
        ([1.0, 1.0], [1.0], {}, ShapeError, "step must have shape (2), got (1,)"),
        ([[1.0]], [[1.0]], {}, ShapeError, "theta must have shape (any), got (1, 1)"),
        ([1.0], [1.0], {"kl_limit": 0.0}, ArgumentError, "kl_limit must be positive and finite, got 0.0"),
        ([1.0], [1.0], {"shrink": 1.0}, ArgumentError, "shrink must be in (0, 1), got 1.0"),
        ([1.0], [1.0], {"shrink": 0.0}, ArgumentError, "shrink must be positive and finite, got 0.0"),
        ([1.0], [1.0], {"shrink": nan}, ArgumentError, "shrink must be positive and finite, got nan"),
        (
            [1.0],
            [1.0],
            {"max_tries": 0},
            ArgumentError,
            "max_tries must be a whole number of at least 1, got 0",
        ),
    ],
)
def test_the_line_search_refuses_bad_arguments_before_it_evaluates(theta, step, options, error, message):
    with pytest.raises(error) as caught:
        line_search(lambda t: pytest.fail("evaluated"), theta, step, **{"kl_limit": 0.1, **options})
    assert message in str(caught.value)


def test_results_name_their_fields():
    assert CGResult._fields == ("x", "residual_norm", "products", "status")
    assert dense_solve(np.eye(1), [1.0])._fields == ("x", "rank", "residual_norm", "status")
