"""The queue model against all orders of finishing (fractions), a heap, sampling; Algorithm 5.21 by hand."""

import heapq
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import asynchrony
from pgref.asynchrony import (
    Weights,
    expected_iterates,
    expected_squares,
    master_step,
    mean_limit,
    mean_square_limit,
    momentum_iterates,
    second_moment_matrix,
    simulate,
    staleness_law,
    synchronous_times,
    throughput_ratio,
    worker_loop,
)
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError

EPS = np.finfo(float).eps
SERVICES = {
    "exponential": lambda rng, size: rng.standard_exponential(size),
    "constant": lambda rng, size: np.ones(size),
    "uniform": lambda rng, size: 1.0 - rng.random(size),
    "gamma": lambda rng, size: rng.gamma(0.5, size=size) + 1e-9,
    "ties": lambda rng, size: rng.integers(1, 4, size),
}
exponential = SERVICES["exponential"]
every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
seeds = st.integers(0, 2**32 - 1)
workers = st.integers(1, 8)
rates = st.floats(-1.0, 4.0)
starts = st.floats(-10.0, 10.0).filter(lambda w: w == 0.0 or abs(w) > 1e-100)  # w² must not underflow
few = st.tuples(st.integers(1, 4), st.integers(0, 4))  # workers, updates: few enough to enumerate


def exact_moments(workers, rate, w0, n, spread=0):
    """E w and E w², as fractions, over all Mⁿ orders of finishing and all 2ⁿ signs of noise ±spread.

    The signs have the mean and the variance of the Gaussian noise, which is all that E w and E w² see.
    """
    signs = (-1, 1) if spread else (0,)
    first, second = [Fraction(0)] * (n + 1), [Fraction(0)] * (n + 1)
    for order in itertools.product(range(workers), repeat=n):
        for noise in itertools.product(signs, repeat=n):
            w, read = Fraction(w0), [Fraction(w0)] * workers
            path = [w]
            for i, sign in zip(order, noise, strict=True):
                w = read[i] = w - rate * read[i] - spread * sign
                path.append(w)
            first = [a + b for a, b in zip(first, path, strict=True)]
            second = [a + b * b for a, b in zip(second, path, strict=True)]
    paths = Fraction((workers * len(signs)) ** n)
    return [a / paths for a in first], [a / paths for a in second]


@given(size=few, step=st.floats(0.01, 2.0), curvature=rates, w0=starts)
@example(size=(1, 4), step=1.0, curvature=1.0, w0=1.0)
@example(size=(3, 0), step=1.0, curvature=1.0, w0=0.0)
def test_expected_iterates_are_the_mean_over_all_orders_of_finishing(size, step, curvature, w0):
    m, n = size
    exact, _ = exact_moments(m, Fraction(step * curvature), w0, n)
    iterates = expected_iterates(m, step, curvature, w0, n)
    assert iterates.shape == (n + 1,)
    scale = abs(w0) * (1.0 + abs(step * curvature)) ** n
    assert np.abs(iterates - np.array(exact, float)).max() <= 8 * (n + 1) * EPS * scale


@given(
    size=few, step=st.floats(0.01, 2.0), curvature=rates, w0=starts, noise=st.sampled_from([0.0, 0.5, 2.0])
)
@example(size=(1, 3), step=1.0, curvature=1.0, w0=1.0, noise=1.0)
@example(size=(3, 3), step=0.5, curvature=1.0, w0=0.0, noise=1.0)
def test_expected_squares_are_the_mean_over_all_orders_and_signs_of_noise(size, step, curvature, w0, noise):
    m, n = size
    n = min(n, 3)
    _, exact = exact_moments(m, Fraction(step * curvature), w0, n, Fraction(step * noise))
    squares = expected_squares(m, step, curvature, w0, n, noise)
    assert squares.shape == (n + 1,)
    scale = (w0 * w0 + n * (step * noise) ** 2) * (1.0 + abs(step * curvature)) ** (2 * n)
    assert np.abs(squares - np.array(exact, float)).max() <= 32 * (n + 1) * EPS * scale


@given(m=st.integers(1, 50), step=st.floats(0.01, 1.0), curvature=st.floats(-0.5, 2.0), w0=starts)
@example(m=1, step=1.0, curvature=1.0, w0=1.0)
def test_the_heavy_ball_has_the_same_iterates(m, step, curvature, w0):
    n = 60
    iterates = expected_iterates(m, step, curvature, w0, n)
    ball = momentum_iterates(m, step, curvature, w0, n)
    # each update adds a few roundings, which later updates carry on like the start: not faster than max|E w|
    size = max(1.0, np.abs(expected_iterates(m, step, curvature, 1.0, n)).max())
    assert np.abs(iterates - ball).max() <= 8 * n * EPS * size * np.abs(iterates).max()


@given(m=st.integers(1, 50), step=st.floats(0.01, 1.0), w0=starts)
def test_expected_iterates_obey_the_second_order_difference_equation_of_note_5_2(m, step, w0):
    w = expected_iterates(m, step, 1.0, w0, 60)
    moves = np.diff(w)
    residual = moves[1:] - (1.0 - 1.0 / m) * moves[:-1] + step / m * w[1:-1]
    assert np.abs(residual).max() <= 16 * EPS * np.abs(w).max()
    assert abs(moves[0] + step * w0) <= EPS * abs(w0)  # the first step is the full one


@given(rate=st.floats(0.01, 2.0), w0=starts, n=st.integers(0, 30))
def test_one_worker_is_gradient_descent(rate, w0, n):
    powers = w0 * (1.0 - rate) ** np.arange(n + 1)
    bound = 8 * (n + 1) * EPS * abs(w0) * max(1.0, abs(1.0 - rate)) ** n
    assert np.abs(expected_iterates(1, rate, 1.0, w0, n) - powers).max() <= bound
    assert np.abs(momentum_iterates(1, rate, 1.0, w0, n) - powers).max() <= bound
    assert np.abs(expected_squares(1, rate, 1.0, w0, n) - powers**2).max() <= 4 * bound * max(abs(w0), bound)


def test_very_many_workers_apply_only_what_was_read_at_the_start():
    n, m = 100, 10**12
    # each later read enters with weight 1/M: n² of them, none larger than w₀ + n·αλ·w₀
    expected = 1.0 - 0.1 * np.arange(n + 1)
    assert np.abs(expected_iterates(m, 0.1, 1.0, 1.0, n) - expected).max() < n**2 * 12 / m


@pytest.mark.parametrize("iterates", [expected_iterates, momentum_iterates, expected_squares])
def test_iterates_that_diverge_end_without_a_warning(iterates):
    assert not np.isfinite(iterates(2, 100.0, 1.0, 1.0, 1000)[-1])


def radius(matrix):
    return np.abs(np.linalg.eigvals(matrix)).max()


def largest_stable(grows, above):
    """Bisect for the rate between 0 (stable just beyond) and `above` (unstable) where growth begins."""
    low, high = 0.0, above
    while high - low > 1e-10 * above:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if grows(middle) else (middle, high)
    return low


@pytest.mark.parametrize("m", [1, 2, 3, 4, 8, 100])
def test_mean_square_limit_is_where_the_spectral_radius_of_the_second_moments_passes_one(m):
    found = largest_stable(lambda a: radius(second_moment_matrix(m, a)) >= 1.0, 4.0)
    assert abs(found - mean_square_limit(m)) < 1e-8  # the radius is flat there: slope about 0.1


def test_mean_square_limits_are_those_of_the_text():
    assert [round(mean_square_limit(m), 4) for m in (1, 2, 3, 4, 8)] == [2.0, 1.2808, 1.0, 0.8431, 0.5664]


@pytest.mark.parametrize("m", [1, 2, 3, 8, 100])
def test_mean_limit_is_where_the_heavy_ball_becomes_unstable(m):
    mu = 1.0 - 1.0 / m

    def grows(a):
        return radius(np.array([[1.0 + mu - a / m, -mu], [1.0, 0.0]])) >= 1.0

    assert abs(largest_stable(grows, 5.0 * m) / mean_limit(m) - 1.0) < 1e-8


@pytest.mark.parametrize("m", [1, 2, 3, 8])
def test_below_the_limits_moments_die_out_and_above_they_grow(m):
    n = 3000
    squares = [expected_squares(m, f * mean_square_limit(m), 1.0, 1.0, n)[-1] for f in (0.9, 1.1)]
    means = [np.abs(expected_iterates(m, f * mean_limit(m), 1.0, 1.0, n)[-2:]).max() for f in (0.9, 1.1)]
    for below, above in (squares, means):
        assert below < 1e-3
        assert not above < 1e3  # larger, or past ∞


@pytest.mark.parametrize("m", [2, 4, 8])
def test_rare_runs_blow_up_just_above_the_mean_square_limit_and_typical_ones_at_twice_the_limit(m, rng):
    above, twice = (f * mean_square_limit(m) for f in (1.05, 2.0))
    runs = [
        np.abs(simulate(m, a, 1.0, 1.0, 1000, exponential, rng, runs=99).iterates[-1]) for a in (above, twice)
    ]
    assert np.median(runs[0]) < 1e-3 < 1.0 < expected_squares(m, above, 1.0, 1.0, 1000)[-1]
    assert np.median(runs[1]) > 1e3


@given(m=workers, step=st.floats(0.01, 1.0), w0=starts, noise=st.floats(0.0, 1.0))
def test_the_variance_of_the_iterates_is_never_negative(m, step, w0, noise):
    squares = expected_squares(m, step, 1.0, w0, 30, noise)
    mean = expected_iterates(m, step, 1.0, w0, 30)
    assert (squares - mean**2 >= -256 * EPS * squares.max()).all()


@given(m=st.integers(1, 1000), n=st.integers(0, 200))
@example(m=1, n=3)
def test_the_staleness_law_is_geometric_with_mean_workers_minus_one(m, n):
    law = staleness_law(m, n)
    q = Fraction(m - 1, m)
    assert law.shape == (n,)
    exact = [float(q**k / m) for k in range(n)]
    np.testing.assert_allclose(law, exact, rtol=4 * (n + 1) * EPS, atol=0.0)
    assert abs(law.sum() - float(1 - q**n)) <= (n + 1) ** 2 * EPS
    mean = float((m - 1) - q**n * (n + m - 1))  # Σ_{k<n} k(1/M)qᵏ
    assert abs(law @ np.arange(n) - mean) <= 16 * (n + 1) ** 2 * EPS * m


@pytest.mark.parametrize("m", [2, 5])
def test_simulated_staleness_has_the_law_and_simulated_iterates_the_moments(m, rng):
    n, runs, noise = 20, 20_000, 0.3
    step = 0.5 * mean_square_limit(m)
    run = simulate(m, step, 1.0, 1.0, n, exponential, rng, noise=noise, runs=runs)
    for t in (1, 7, n - 1):
        law = staleness_law(m, t + 1)
        law[t] = 1.0 - law[:t].sum()  # the reads of the start
        shares = np.bincount(run.staleness[t], minlength=t + 1) / runs
        assert shares.size == t + 1
        assert (np.abs(shares - law) <= 5.0 * np.sqrt(law * (1.0 - law) / runs)).all()
    for power, exact in (
        (1, expected_iterates(m, step, 1.0, 1.0, n)),
        (2, expected_squares(m, step, 1.0, 1.0, n, noise)),
    ):
        sample = run.iterates[1:] ** power
        off = np.abs(sample.mean(axis=1) - exact[1:])
        assert (off <= 5.0 * sample.std(axis=1) / math.sqrt(runs)).all()


@pytest.mark.parametrize("m", [2, 3, 8])
def test_uniform_service_is_fresh_once_in_two_m_minus_one_in_the_long_run(m, rng):
    # ∫ f(s)·P(residual > s)^(M−1) ds with f = 1 on (0, 1) and P(residual > s) = (1 − s)²
    runs, p = 4000, 1.0 / (2 * m - 1)
    run = simulate(m, 0.1, 1.0, 1.0, 20 * m, SERVICES["uniform"], rng, runs=runs)
    fresh = np.mean(run.staleness[-1] == 0)
    assert abs(fresh - p) <= 5.0 * math.sqrt(p * (1.0 - p) / runs)


@every_service
@given(seed=seeds, m=workers, n=st.integers(0, 30), noise=st.sampled_from([0.0, 0.7]))
@example(seed=0, m=1, n=3, noise=0.0)
def test_simulate_equals_an_event_queue_on_a_heap(service, seed, m, n, noise):
    runs, step, curvature, w0 = 3, 0.3, 1.5, 2.0
    run = simulate(m, step, curvature, w0, n, service, np.random.default_rng(seed), noise=noise, runs=runs)
    rng = np.random.default_rng(seed)
    served, xi = service(rng, (m + n, runs)), rng.standard_normal((n, runs))
    for r in range(runs):
        events = [(served[i, r], i, w0, 0) for i in range(m)]  # when, who, what it read, when it read
        heapq.heapify(events)
        w = w0
        for t in range(n):
            now, i, read, read_at = heapq.heappop(events)
            w -= step * (curvature * read + noise * xi[t, r])
            heapq.heappush(events, (now + served[m + t, r], i, w, t + 1))
            assert run.times[t, r] == now
            assert run.staleness[t, r] == t - read_at
            assert run.iterates[t + 1, r] == w
    assert (run.iterates[0] == w0).all()


@every_service
@given(seed=seeds, m=workers, n=st.integers(1, 60))
def test_under_any_service_law_mean_staleness_is_at_most_workers_minus_one(service, seed, m, n):
    run = simulate(m, 0.1, 1.0, 1.0, n, service, np.random.default_rng(seed), runs=2)
    assert (run.staleness.sum(axis=0) <= n * (m - 1)).all()
    assert (run.staleness <= np.arange(n)[:, None]).all()
    assert (np.diff(run.times, axis=0) >= 0.0).all()


@given(m=workers, step=st.floats(0.01, 0.5))
def test_constant_service_applies_the_gradient_of_m_minus_one_updates_ago(m, step):
    n = 40
    w = simulate(m, step, 1.0, 1.0, n, SERVICES["constant"], np.random.default_rng(0)).iterates[:, 0]
    expected = [1.0]
    for t in range(n):
        expected.append(expected[-1] - step * expected[max(0, t - m + 1)])
    assert np.array_equal(w, expected)


def test_a_simulation_that_diverges_ends_without_a_warning(rng):
    assert not np.isfinite(simulate(2, 100.0, 1.0, 1.0, 1000, exponential, rng).iterates[-1]).any()


@pytest.mark.parametrize("m", range(1, 12))
def test_throughput_ratio_is_the_mean_of_the_largest_of_m_exponentials(m):
    # inclusion and exclusion: E max = Σ_k (−1)^{k+1} C(M, k)/k
    exact = sum(Fraction((-1) ** (k + 1) * math.comb(m, k), k) for k in range(1, m + 1))
    assert throughput_ratio(m) == float(exact)


@pytest.mark.parametrize("m", [1, 2, 8])
def test_simulated_throughput_without_and_with_a_coordinator_differs_by_the_ratio(m, rng):
    runs, n = 400, 100
    times = simulate(m, 0.1, 1.0, 1.0, n, exponential, rng, runs=runs).times
    assert abs(times[-1].mean() - n / m) <= 5.0 * math.sqrt(n / runs) / m
    rounds = n * runs
    ends = synchronous_times(m, rounds, exponential, rng)
    assert ends.shape == (rounds,)
    assert (np.diff(ends) > 0.0).all()
    spread = math.sqrt(sum(1.0 / k**2 for k in range(1, m + 1)) * rounds)
    assert abs(ends[-1] - rounds * throughput_ratio(m)) <= 5.0 * spread


def test_constant_service_gains_nothing_without_a_coordinator(rng):
    assert np.array_equal(synchronous_times(4, 3, SERVICES["constant"], rng), [1.0, 2.0, 3.0])
    run = simulate(4, 0.1, 1.0, 1.0, 12, SERVICES["constant"], rng)
    assert np.array_equal(run.times[3::4, 0], [1.0, 2.0, 3.0])


# --- Algorithm 5.21 ---


def towards(theta_best, psi_best):
    return lambda theta, psi, environment: (theta_best - theta, psi - psi_best, environment)


def recorder(log):
    def collect(theta, psi, environment):
        log.append((theta.copy(), psi.copy(), environment))
        return np.full(theta.size, len(log)), np.full(psi.size, 10.0 * len(log)), environment + 1

    return collect


@given(seed=seeds, p=st.integers(0, 4), q=st.integers(0, 4))
def test_the_master_adds_to_theta_and_subtracts_from_psi(seed, p, q):
    rng = np.random.default_rng(seed)
    theta, g_theta, psi, g_psi = (
        rng.normal(size=p),
        rng.normal(size=p),
        rng.normal(size=q),
        rng.normal(size=q),
    )
    after = master_step(theta, psi, g_theta, g_psi, 0.5, 0.25)
    for new, old, gradient, signed_step in (
        (after.theta, theta, g_theta, 0.5),
        (after.psi, psi, g_psi, -0.25),
    ):
        exact = [
            Fraction(a) + Fraction(signed_step) * Fraction(b) for a, b in zip(old, gradient, strict=True)
        ]
        np.testing.assert_allclose(new, np.array(exact, float), rtol=0.0, atol=4 * EPS * 10)


def test_the_worker_fetches_before_it_collects_and_hands_over_what_it_collected_before():
    log = []
    end = worker_loop([0.0], [0.0, 0.0], recorder(log), 1.0, 0.1, 3, environment=7)
    assert [float(theta[0]) for theta, _, _ in log] == [0.0, 1.0, 3.0]
    assert [psi.tolist() for _, psi, _ in log] == [[0.0, 0.0], [-1.0, -1.0], [-3.0, -3.0]]
    assert [environment for _, _, environment in log] == [7, 8, 9]
    assert end.theta.tolist() == [6.0]
    assert end.psi.tolist() == [-6.0, -6.0]


def test_without_the_last_push_the_last_gradient_is_lost():
    end = worker_loop([0.0], [0.0], recorder([]), 1.0, 0.1, 3, environment=0, push_last=False)
    assert end.theta.tolist() == [3.0]
    assert end.psi.tolist() == [-3.0]


def test_without_carrying_over_every_round_starts_in_the_same_environment():
    log = []
    worker_loop([0.0], [0.0], recorder(log), 1.0, 1.0, 3, environment=7, carry_over=False)
    assert [environment for _, _, environment in log] == [7, 7, 7]


def test_the_printed_reply_hands_the_critic_to_the_actor():
    log = []
    end = worker_loop([1.0], [2.0], recorder(log), 1.0, 1.0, 1, environment=0, printed_reply=True)
    assert log[0][:2] == (np.array([2.0]), np.array([1.0]))
    assert end == Weights(np.array([2.0]), np.array([-8.0]))  # the Master keeps its own two apart


def test_the_printed_reply_cannot_work_where_actor_and_critic_differ_in_size():
    with pytest.raises(ShapeError, match=r"g_theta must have shape \(2\), got \(1,\)"):
        worker_loop([0.0, 0.0], [0.0], recorder([]), 1.0, 1.0, 2, environment=0, printed_reply=True)


@given(seed=seeds, rounds=st.integers(1, 30), eta=st.floats(0.01, 1.0))
def test_k_rounds_on_quadratics_contract_by_one_minus_eta_each(seed, rounds, eta):
    rng = np.random.default_rng(seed)
    theta, psi, theta_best, psi_best = rng.normal(size=(4, 3))
    end = worker_loop(theta, psi, towards(theta_best, psi_best), eta, eta, rounds)
    left = (1.0 - eta) ** rounds
    bound = 16 * (rounds + 1) * EPS * 10
    assert np.abs(end.theta - theta_best - left * (theta - theta_best)).max() <= bound
    assert np.abs(end.psi - psi_best - left * (psi - psi_best)).max() <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_worker_keeps_the_dtype_and_never_writes_to_its_arguments(dtype):
    theta, psi = np.ones(2, dtype), np.ones(3, dtype)
    theta.setflags(write=False)
    psi.setflags(write=False)
    best = np.zeros(2, dtype), np.zeros(3, dtype)
    for push_last in (False, True):
        end = worker_loop(theta, psi, towards(*best), 0.5, 0.5, 2, push_last=push_last)
        assert (end.theta.dtype, end.psi.dtype) == (dtype, dtype)
        assert not np.shares_memory(end.theta, theta)


# --- arguments ---

ITERATES = (expected_iterates, momentum_iterates, expected_squares)
GOOD = {"workers": 2, "step": 0.1, "curvature": 1.0, "w0": 1.0, "n": 3}


@pytest.mark.parametrize("function", [*ITERATES, simulate])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("workers", 0, "workers must be a whole number of at least 1, got 0"),
        ("workers", 2.0, "workers must be a whole number of at least 1, got 2.0"),
        ("workers", True, "workers must be a whole number of at least 1, got True"),
        ("step", 0.0, "step must be positive and finite, got 0.0"),
        ("step", np.nan, "step must be positive and finite, got nan"),
        ("curvature", np.inf, "curvature must be finite, got inf"),
        ("w0", np.nan, "w0 must be finite, got nan"),
        ("n", -1, "n must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_arguments_of_the_queue_are_refused(function, name, value, message, rng):
    more = {"service": exponential, "rng": rng} if function is simulate else {}
    with pytest.raises(ArgumentError, match=message):
        function(**{**GOOD, **more, name: value})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expected_squares(**GOOD, noise=-1.0), "noise must be at least 0 and finite, got -1.0"),
        (lambda: simulate(**GOOD, service=exponential, rng=None, noise=np.inf), "noise must be at least 0"),
        (lambda: simulate(**GOOD, service=exponential, rng=None, runs=0), "runs must be a whole number"),
        (lambda: second_moment_matrix(0, 0.1), "workers must be a whole number"),
        (lambda: second_moment_matrix(2, np.nan), "rate must be finite, got nan"),
        (lambda: mean_limit(0), "workers must be a whole number"),
        (lambda: mean_square_limit(0), "workers must be a whole number"),
        (lambda: throughput_ratio(0), "workers must be a whole number"),
        (lambda: staleness_law(0, 3), "workers must be a whole number"),
        (lambda: staleness_law(2, -1), "n must be a whole number of at least 0, got -1"),
        (lambda: synchronous_times(0, 1, exponential, None), "workers must be a whole number"),
        (lambda: synchronous_times(1, 0, exponential, None), "rounds must be a whole number"),
    ],
)
def test_other_bad_numbers_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.mark.parametrize(
    ("service", "error", "message"),
    [
        (lambda rng, size: np.zeros(size), ArgumentError, "service times must be positive, got 0.0"),
        (lambda rng, size: -np.ones(size), ArgumentError, "service times must be positive, got -1.0"),
        (lambda rng, size: np.full(size, np.nan), NonFiniteError, "service times must be finite, got nan"),
        (lambda rng, size: np.ones(3), ShapeError, "service times must have shape"),
        (lambda rng, size: np.full(size, "1"), ArgumentTypeError, "service times must hold real numbers"),
    ],
)
def test_bad_service_times_are_refused(service, error, message, rng):
    with pytest.raises(error, match=message):
        simulate(**GOOD, service=service, rng=rng)
    with pytest.raises(error, match=message):
        synchronous_times(2, 2, service, rng)


MASTER = {
    "theta": [0.0],
    "psi": [0.0, 1.0],
    "g_theta": [1.0],
    "g_psi": [1.0, 1.0],
    "step_theta": 1.0,
    "step_psi": 1.0,
}


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("theta", [[0.0]], ShapeError, r"theta must have shape \(any\), got \(1, 1\)"),
        ("psi", [np.inf, 0.0], NonFiniteError, "psi must be finite, got inf"),
        ("g_theta", [1.0, 1.0], ShapeError, r"g_theta must have shape \(1\), got \(2,\)"),
        ("g_psi", [1.0], ShapeError, r"g_psi must have shape \(2\), got \(1,\)"),
        ("g_psi", [np.nan, 1.0], NonFiniteError, r"g_psi must be finite, got nan at index \(0,\)"),
        ("g_theta", ["a"], ArgumentTypeError, "g_theta must hold real numbers"),
        ("step_theta", 0.0, ArgumentError, "step_theta must be positive and finite, got 0.0"),
        ("step_psi", -1.0, ArgumentError, "step_psi must be positive and finite, got -1.0"),
    ],
)
def test_bad_arguments_of_the_master_are_refused(name, value, error, message):
    with pytest.raises(error, match=message):
        master_step(**{**MASTER, name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"theta": [np.nan]}, "theta must be finite"),
        ({"psi": 1.0}, "psi must have shape"),
        ({"rounds": 0}, "rounds must be a whole number of at least 1, got 0"),
        ({"step_theta": 0.0}, "step_theta must be positive"),
    ],
)
def test_bad_arguments_of_the_worker_are_refused(change, message):
    good = {"theta": [0.0], "psi": [0.0], "step_theta": 1.0, "step_psi": 1.0, "rounds": 1}
    with pytest.raises(ArgumentError, match=message):
        worker_loop(collect=towards(0.0, 0.0), **{**good, **change})


def test_a_bad_gradient_stops_the_worker_before_the_master_takes_it(monkeypatch):
    seen = []
    step = asynchrony.master_step
    monkeypatch.setattr(asynchrony, "master_step", lambda *args: seen.append(step(*args)) or seen[-1])
    with pytest.raises(NonFiniteError, match="g_theta must be finite"):
        worker_loop([0.0], [0.0], lambda *_: (np.array([np.nan]), np.zeros(1), None), 1.0, 1.0, 2)
    assert len(seen) == 1
