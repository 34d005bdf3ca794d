"""Lemma 5.1, L and the bounds of (5.25), against fractions, decimals, enumeration and direct formulas."""

import dataclasses
import decimal
import math
from decimal import Decimal
from fractions import Fraction
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import bounds, instances, mdp
from pgref.errors import ArgumentError, ArgumentTypeError, NotAbsorbingError, ShapeError
from pgref.mdp import TabularMDP

EPS = np.finfo(float).eps
seeds = st.integers(0, 2**32 - 1)
ONE = TabularMDP(
    np.full((1, 2, 1), 0.5), np.array([[1.0, 0.0]]), np.ones(1), 1.0
)  # γ = 1, two steps on average


def random_instance(seed, discount, n_states=4, n_actions=3, **structure):
    rng = np.random.default_rng(seed)
    m = instances.random_mdp(rng, n_states, n_actions, discount, **structure)
    return instances.Instance(m, *(instances.random_policy(rng, n_states, n_actions) for _ in range(2)))


def test_lemma_holds_to_rounding_on_1000_instances(rng):
    for _ in range(1000):
        m, old, new = instances.draw(rng)
        before = mdp.expected_return(m, old)
        residual = mdp.expected_return(m, new) - before - bounds.performance_difference(m, new, old)
        assert abs(residual) <= 1e-12 * max(1.0, abs(before)) / (1 - m.discount)


def test_no_bound_is_violated_on_3000_instances(rng):
    for _ in range(3000):
        m, old, new = instances.draw(rng)
        gap = bounds.surrogate_gap(m, new, old)
        for bound in bounds.gap_bounds(m, new, old):
            assert gap <= bound * (1 + 1e-12)


@given(seed=seeds)
def test_the_bounds_are_ordered(seed):
    m, old, new = instances.draw(np.random.default_rng(seed))
    b = bounds.gap_bounds(m, new, old)
    slack = 1 + 1e-12
    assert b.chain <= b.pinsker * slack  # √t ≤ t
    assert b.pinsker == 0.5 * b.printed
    assert b.total_variation <= b.pinsker * slack  # α² ≤ D/2 and 1 − γ(1−α) ≥ 1 − γ
    assert b.cpo_tv <= b.cpo_kl * slack  # Jensen and Pinsker


@given(seed=seeds)
def test_gap_is_what_the_surrogate_misses(seed):
    m, old, new = instances.draw(np.random.default_rng(seed))
    missed = bounds.performance_difference(m, new, old) - bounds.local_surrogate(m, new, old)
    atol = 256 * EPS * max(1.0, abs(m.rewards).max()) / (1 - m.discount) ** 2
    assert abs(abs(missed) - bounds.surrogate_gap(m, new, old)) <= atol


def exact_gap(m, old, new):
    """|(ρ′ − ρ)·Ā| in fractions."""
    n, k, gamma = m.n_states, m.n_actions, Fraction(m.discount)
    p = [[[Fraction(x) for x in row] for row in block] for block in m.transitions.tolist()]

    def chain_of(pi):
        return [[sum(Fraction(pi[s, a]) * p[s][a][t] for a in range(k)) for t in range(n)] for s in range(n)]

    def solve(rows, b):
        rows = [[*row, x] for row, x in zip(rows, b, strict=True)]
        for i in range(n):
            rows[i] = [x / rows[i][i] for x in rows[i]]
            for j in range(n):
                if j != i:
                    rows[j] = [x - rows[j][i] * y for x, y in zip(rows[j], rows[i], strict=True)]
        return [row[-1] for row in rows]

    def visits(pi):
        c = chain_of(pi)
        return solve(
            [[(s == t) - gamma * c[t][s] for t in range(n)] for s in range(n)], map(Fraction, m.start)
        )

    r = [[Fraction(x) for x in row] for row in m.rewards.tolist()]
    c = chain_of(old)
    v = solve(
        [[(s == t) - gamma * c[s][t] for t in range(n)] for s in range(n)],
        [sum(Fraction(old[s, a]) * r[s][a] for a in range(k)) for s in range(n)],
    )
    q = [
        [r[s][a] + gamma * sum(x * y for x, y in zip(p[s][a], v, strict=True)) for a in range(k)]
        for s in range(n)
    ]
    gain = [sum((Fraction(new[s, a]) - Fraction(old[s, a])) * q[s][a] for a in range(k)) for s in range(n)]
    return abs(sum((y - x) * g for x, y, g in zip(visits(old), visits(new), gain, strict=True)))


@given(seed=seeds, exponent=st.integers(0, 12))
@example(seed=0, exponent=12)
def test_gap_keeps_its_digits_between_almost_equal_policies(seed, exponent):
    m, old, new = random_instance(seed, 0.9, 3, 2)
    first = (
        np.round(2.0**52 * np.array([old[:, 0], old[:, 0] + 10.0**-exponent * (new - old)[:, 0]])) / 2.0**52
    )
    old, new = np.stack([first, 1 - first], axis=2)  # rows that sum to 1 exactly
    exact = float(exact_gap(m, old, new))
    # Ā = Σ(π′−π)A: A is right to rounding of Q, and so is ρ
    scale = bounds.max_tv(old, new) ** 2 * abs(mdp.action_values(m, old)).max() / (1 - 0.9) ** 2
    assert abs(bounds.surrogate_gap(m, new, old) - exact) <= 64 * EPS * scale
    if exponent == 12:
        missed = bounds.performance_difference(m, new, old) - bounds.local_surrogate(m, new, old)
        assert abs(abs(missed) - exact) > abs(bounds.surrogate_gap(m, new, old) - exact)


@given(seed=seeds)
def test_importance_weights_give_the_surrogate_where_the_old_policy_takes_all_actions(seed):
    m, old, new = random_instance(seed, 0.9)
    local = bounds.local_surrogate(m, new, old)
    assert bounds.importance_surrogate(m, new, old) == pytest.approx(local, abs=1e-12)
    tiny = np.array([[1.0, 5e-324, 0.0]] * 4)  # here π′/π overflows
    assert bounds.importance_surrogate(m, [[0.0, 1.0, 0.0]] * 4, tiny) == pytest.approx(
        bounds.local_surrogate(m, [[0.0, 1.0, 0.0]] * 4, tiny), abs=1e-12
    )


def test_importance_weights_miss_what_the_old_policy_never_does():
    m = TabularMDP(np.ones((1, 2, 1)), np.array([[0.0, 1.0]]), np.ones(1), 0.9)
    assert bounds.local_surrogate(m, [[0.5, 0.5]], [[1.0, 0.0]]) == pytest.approx(5.0)
    assert bounds.importance_surrogate(m, [[0.5, 0.5]], [[1.0, 0.0]]) == 0.0


@given(seed=seeds)
def test_complex_steps_of_the_surrogates_give_the_derivative_of_the_return(seed):
    m, old, new = random_instance(seed, 0.9, ending=0.3)
    step = old + 1e-20j * (new - old)
    slope = mdp.expected_return(m, step).imag
    for f in (bounds.local_surrogate, bounds.importance_surrogate, bounds.performance_difference):
        value = f(m, step, old)
        assert type(value) is complex
        assert abs(value.imag - slope) <= 1e-12 * 1e-20
        assert type(f(m, new, old)) is float


def paths(m, pi, horizon):
    """Every path with its probability: (probability, [(s, a), …])."""
    open_paths = [(m.start[s], [], s) for s in range(m.n_states)]
    for _ in range(horizon):
        longer = []
        for weight, path, s in open_paths:
            if s < 0:
                longer.append((weight, path, s))
                continue
            for a in range(m.n_actions):
                row = m.transitions[s, a]
                for t, p in [*enumerate(row), (-1, 1 - row.sum())]:
                    longer.append((weight * pi[s, a] * p, [*path, (s, a)], t))
        open_paths = longer
    return [(weight, path) for weight, path, _ in open_paths]


@given(seed=seeds, discount=st.sampled_from([0.0, 0.7, 1.0]))
def test_sums_over_trajectories_equal_the_enumeration_of_all_paths(seed, discount):
    m, pi, _ = random_instance(seed, discount, 2, 2, ending=0.4)
    f = np.random.default_rng(seed).standard_normal((2, 2))
    for horizon in (1, 2, 4):
        brute = sum(
            w * sum(discount**t * f[s, a] for t, (s, a) in enumerate(p)) for w, p in paths(m, pi, horizon)
        )
        assert bounds.trajectory_sum(m, pi, f, horizon) == pytest.approx(brute, abs=1e-13)


@given(seed=seeds)
def test_long_sums_over_trajectories_are_the_sums_over_states(seed):
    m, old, new = random_instance(seed, 0.9, ending=0.2)
    a = mdp.advantages(m, old)
    assert bounds.trajectory_sum(m, new, a, 400) == pytest.approx(
        bounds.performance_difference(m, new, old), abs=1e-12
    )
    assert bounds.trajectory_sum(m, old, new / old * a, 400) == pytest.approx(
        bounds.local_surrogate(m, new, old), abs=1e-12
    )


# divergences


def decimal_kl(old, new):
    """Σ p log(p/q) − p + q: the last two are 0 but for rows that sum to 1 only up to rounding."""
    pairs = [(Decimal(p), Decimal(q)) for p, q in zip(old.tolist(), new.tolist(), strict=True)]
    return sum(p * (p / q).ln() - p + q for p, q in pairs)


@given(seed=seeds, exponent=st.integers(0, 14))
@example(seed=0, exponent=10)
def test_divergence_equals_60_digit_arithmetic_even_between_almost_equal_policies(seed, exponent):
    rng = np.random.default_rng(seed)
    old, other = (instances.random_policy(rng, 3, 4) for _ in range(2))
    new = old + 10.0**-exponent * (other - old)
    measured = bounds.kl(old, new)
    with decimal.localcontext() as context:
        context.prec = 60
        for s in range(3):
            exact = decimal_kl(old[s], new[s])
            assert abs(Decimal(float(measured[s])) - exact) <= Decimal("1e-14") * exact


def test_divergence_is_infinite_only_where_the_old_policy_acts_and_the_new_never_does():
    assert bounds.kl([[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5], [1.0, 0.0]]).tolist() == [math.log(2), math.inf]
    assert bounds.max_kl([[1.0, 0.0]], [[1.0, 0.0]]) == 0.0
    assert bounds.max_kl([[1.0, 0.0]], [[0.0, 1.0]]) == math.inf


@given(seed=seeds, n_actions=st.integers(1, 5))
def test_variation_is_the_largest_difference_over_events(seed, n_actions):
    rng = np.random.default_rng(seed)
    old, new = (instances.random_policy(rng, 2, n_actions) for _ in range(2))
    events = chain.from_iterable(combinations(range(n_actions), k) for k in range(n_actions + 1))
    brute = np.max([new[:, list(e)].sum(1) - old[:, list(e)].sum(1) for e in events], axis=0)
    np.testing.assert_allclose(bounds.tv(old, new), brute, rtol=0, atol=8 * EPS)
    assert bounds.max_tv(old, new) == bounds.tv(old, new).max()


# bounds


@given(seed=seeds, discount=st.sampled_from([0.01, 0.5, 0.99]))
def test_right_hand_sides_are_as_written(seed, discount):
    m, old, new = random_instance(seed, discount, ending=0.2, unreachable=1)
    a, rho, g = mdp.advantages(m, old), mdp.visitation(m, old), discount
    states, actions = range(4), range(3)
    d = [math.fsum(old[s, x] * math.log(old[s, x] / new[s, x]) for x in actions) for s in states]
    t = [0.5 * math.fsum(abs(old[s, x] - new[s, x]) for x in actions) for s in states]
    eps = max(abs(a[s, x]) for s in states for x in actions)
    eps_new = max(abs(math.fsum(new[s, x] * a[s, x] for x in actions)) for s in states)
    mean_t, mean_d = ((1 - g) * math.fsum(rho[s] * f[s] for s in states) for f in (t, d))
    alpha, terms = max(t), math.fsum(math.sqrt(k) * g**k for k in range(1, 6000))
    expected = bounds.GapBounds(
        printed=4 * eps * g * max(d) / (1 - g) ** 2,
        pinsker=2 * eps * g * max(d) / (1 - g) ** 2,
        total_variation=4 * eps * alpha**2 * g / ((1 - g) * (1 - g * (1 - alpha))),
        chain=2 * eps * max(d) * terms,
        cpo_tv=2 * g * eps_new / (1 - g) ** 2 * mean_t,
        cpo_kl=g * eps_new / (1 - g) ** 2 * math.sqrt(2 * mean_d),
    )
    measured = bounds.gap_bounds(m, new, old)
    np.testing.assert_allclose(measured, expected, rtol=1e-11)
    assert all(type(x) is float for x in measured)


def test_a_factor_of_zero_beats_an_infinite_one():
    zero, infinite = bounds.GapBounds(*[0.0] * 6), bounds.GapBounds(*[math.inf] * 6)
    half, left, right = [[0.5, 0.5]], [[1.0, 0.0]], [[0.0, 1.0]]
    assert bounds.gap_bounds(ONE, half, half) == zero  # γ = 1, identical policies
    assert bounds.gap_bounds(ONE, left, half) == infinite
    no_rewards = dataclasses.replace(ONE, rewards=np.zeros((1, 2)))
    assert bounds.gap_bounds(no_rewards, right, left) == zero  # ε = 0, infinite divergence and γ = 1
    at_once = dataclasses.replace(ONE, discount=0.0)
    assert bounds.gap_bounds(at_once, right, left) == zero  # γ = 0, infinite divergence
    tiny = dataclasses.replace(ONE, rewards=np.array([[1e-200, 0.0]]))
    assert bounds.gap_bounds(tiny, [[0.5 + 1e-13, 0.5 - 1e-13]], half) == infinite  # no 0·∞ by underflow


def test_infinite_divergence_where_the_old_policy_never_is_costs_only_the_maximum():
    m, old, new = instances.unreachable_counterexample(0.01, 0.9)
    b = bounds.gap_bounds(m, new, old)
    assert b.printed == b.pinsker == b.chain == math.inf
    assert b.cpo_kl == pytest.approx(0.9 / 0.01 * math.sqrt(-2 * math.log(0.99)), rel=1e-12)
    assert b.total_variation == pytest.approx(36, rel=1e-12)


def test_identical_policies_have_no_gap_and_undiscounted_ones_a_finite_one():
    assert bounds.surrogate_gap(ONE, [[0.5, 0.5]], [[0.5, 0.5]]) == 0.0
    assert bounds.performance_difference(ONE, [[1.0, 0.0]], [[0.5, 0.5]]) == pytest.approx(1.0)
    assert bounds.surrogate_gap(ONE, [[1.0, 0.0]], [[0.5, 0.5]]) == pytest.approx(
        0.0, abs=4 * EPS
    )  # P_π′ = P_π


def euler_maclaurin(mu, n=400):
    """Σ_{t≥1} √t e^(−μt): n terms, then the integral of the rest and its corrections."""
    with decimal.localcontext() as context:
        context.prec = 50
        mu, last = Decimal(mu), Decimal(n)
        head = sum(Decimal(t).sqrt() * (-mu * t).exp() for t in range(1, n))
        # ∫₀ⁿ √t e^(−μt) dt = n^(3/2) e^(−μn) Σ_k (μn)^k / (3/2 (3/2+1) … (3/2+k)), all terms positive
        term = total = 1 / Decimal("1.5")
        k = 1
        while term > total * Decimal("1e-45"):
            term *= mu * last / (Decimal("1.5") + k)
            total, k = total + term, k + 1
        pi = Decimal("3.14159265358979323846264338327950288419716939937511")
        rest = pi.sqrt() / 2 / (mu * mu.sqrt()) - last * last.sqrt() * (-mu * last).exp() * total
        root, decay = last.sqrt(), (-mu * last).exp()
        first = decay * (1 / (2 * root) - mu * root)  # f′(n)
        third = decay * (3 / (8 * root**5) + 3 * mu / (4 * root**3) + 3 * mu**2 / (2 * root) - mu**3 * root)
        return head + rest + root * decay / 2 - first / 12 + third / 720


@pytest.mark.parametrize(
    "discount", [0.9 + 1e-9, 0.93, 0.97, 0.99, 0.999, 1 - 1e-6, 1 - 1e-9, 1 - 1e-12, 1 - 2**-53]
)
def test_chain_factor_near_1_equals_euler_maclaurin(discount):
    with decimal.localcontext() as context:
        context.prec = 50
        exact = euler_maclaurin(-Decimal(discount).ln())
        assert abs(Decimal(bounds.chain_factor(discount)) / exact - 1) <= Decimal("1e-14")


@given(discount=st.floats(0, 0.99))
@example(discount=0.9)
@example(discount=5e-324)
def test_chain_factor_equals_its_sum(discount):
    exact = math.fsum(math.sqrt(t) * discount**t for t in range(1, 5000))
    assert bounds.chain_factor(discount) == pytest.approx(exact, rel=1e-14, abs=0)


def test_chain_factor_at_the_ends():
    assert bounds.chain_factor(0) == 0.0
    assert bounds.chain_factor(1) == math.inf
    with pytest.raises(ArgumentError, match=r"discount must be in \[0, 1\]"):
        bounds.chain_factor(1.5)


def test_the_walk_uses_the_chain_bound_up_to_its_constant():
    """As γ → 1 the gap is √2 εD (1−γ)^(−3/2), the chain bound √π εD (1−γ)^(−3/2)."""
    gamma, d = 1 - 1e-5, 1e-10
    m, old, new = instances.random_walk(6000, d, gamma)
    share = bounds.surrogate_gap(m, new, old) / bounds.gap_bounds(m, new, old).chain
    assert share == pytest.approx(math.sqrt(2 / math.pi), abs=5e-3)


# arguments


PAIR = [
    bounds.performance_difference,
    bounds.local_surrogate,
    bounds.importance_surrogate,
    bounds.surrogate_gap,
    bounds.gap_bounds,
    bounds.expected_advantages,
]
GOOD = np.array([[0.5, 0.5]])


@pytest.mark.parametrize("f", PAIR)
def test_bad_policies_are_named(f):
    with pytest.raises(ArgumentError, match=r"^pi_new\[0\] sums to 1.1 \(must be 1"):
        f(ONE, [[0.5, 0.6]], GOOD)
    with pytest.raises(ArgumentError, match=r"^pi_old\[0, 1\] is -0.5"):
        f(ONE, GOOD, [[1.5, -0.5]])
    with pytest.raises(ShapeError, match=r"^pi_old must have shape \(1, 2\), got \(2, 2\)"):
        f(ONE, GOOD, np.eye(2))
    endless = TabularMDP(np.ones((1, 2, 1)), np.ones((1, 2)), np.ones(1), 1.0)
    with pytest.raises(NotAbsorbingError):
        f(endless, GOOD, GOOD)


@pytest.mark.parametrize("f", [bounds.kl, bounds.tv, bounds.max_kl, bounds.max_tv])
def test_divergences_check_both_policies(f):
    with pytest.raises(ArgumentError, match=r"^pi_old\[0\] sums to 0.9"):
        f([[0.5, 0.4]], GOOD)
    with pytest.raises(ShapeError, match=r"^pi_new must have shape \(1, 2\), got \(1, 3\)"):
        f(GOOD, [[0.5, 0.5, 0.0]])
    with pytest.raises(ArgumentTypeError, match="pi_new must hold real numbers"):
        f(GOOD, GOOD + 0j)
    with pytest.raises(ShapeError, match="pi_old must have at least one state and one action"):
        f(np.ones((0, 2)), np.ones((0, 2)))


def test_trajectory_sums_check_their_arguments():
    with pytest.raises(ShapeError, match=r"quantity must have shape \(1, 2\), got \(2,\)"):
        bounds.trajectory_sum(ONE, GOOD, [1.0, 1.0], 3)
    with pytest.raises(ArgumentError, match="horizon must be a whole number of at least 1, got 0"):
        bounds.trajectory_sum(ONE, GOOD, np.ones((1, 2)), 0)
    with pytest.raises(ArgumentError, match=r"^pi\[0\] sums"):
        bounds.trajectory_sum(ONE, [[0.5, 0.6]], np.ones((1, 2)), 3)


def test_arguments_are_not_written_to(rng):
    m, old, new = instances.draw(rng)
    old.flags.writeable = new.flags.writeable = False
    for f in PAIR:
        f(m, new, old)
    bounds.trajectory_sum(m, old, new, 3)
    bounds.kl(old, new)
    bounds.tv(old, new)
