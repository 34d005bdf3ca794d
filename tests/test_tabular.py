"""Policies as free matrices: (5.26), the penalty step and NPG against grids, SLSQP and formulas by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize, minimize_scalar

from pgref.errors import (
    ArgumentError,
    ArgumentTypeError,
    NonFiniteError,
    NotAbsorbingError,
    PgrefError,
    ShapeError,
)
from pgref.mdp import TabularMDP, action_values, advantages, expected_return, visitation
from pgref.special import kl_terms
from pgref.tabular import npg_iterates, penalised_policy, penalty_step, trpo_exact_tabular

EPS = float(np.finfo(float).eps)
seeds = st.integers(0, 2**32 - 1)


def random_mdp(rng, n_states, n_actions, discount, ending=0.0):
    rows = rng.dirichlet(np.ones(n_states), (n_states, n_actions)) * (1 - ending)
    rewards = rng.standard_normal((n_states, n_actions))
    return TabularMDP(rows, rewards, rng.dirichlet(np.ones(n_states)), discount)


def random_policy(rng, n_states, n_actions):
    """Draw rows between even and nearly deterministic."""
    return rng.dirichlet(np.full(n_actions, 10.0 ** rng.uniform(-0.5, 1)), n_states)


def kl(old, new):
    """Return D(old ‖ new) of each row, plainly; ∞ where new misses an action of old."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(old > 0, old * np.log(old / new), 0.0)
    return terms.sum(-1)


def gain(mdp, pi, new):
    return visitation(mdp, pi) @ ((new - pi) * advantages(mdp, pi)).sum(1)


def bandit(values, discount=0.9):
    """Return one state whose actions end the episode with these rewards."""
    return TabularMDP(np.zeros((1, len(values), 1)), [values], [1.0], discount)


# --- the subproblem --------------------------------------------------------------------------------------


def penalised(pi, a, price, new):
    return (new * a).sum(-1) - price * kl(pi, new)


@given(seed=seeds, log_price=st.floats(-3, 3), p=st.floats(0.01, 0.99))
def test_for_two_actions_no_point_of_a_grid_is_better(seed, log_price, p):
    rng = np.random.default_rng(seed)
    a, price = rng.standard_normal(2), 10.0**log_price
    new = penalised_policy(np.array([[p, 1 - p]]), a[None], np.array([price]))[0]
    grid = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 2001), new[0] + np.linspace(-1, 1, 201) * 1e-4])
    grid = grid[(grid > 0) & (grid < 1)]
    others = penalised(np.array([p, 1 - p]), a, price, np.stack([grid, 1 - grid], -1))
    best = penalised(np.array([p, 1 - p]), a, price, new)
    assert others.max() <= best + 8 * EPS * (abs(a).max() + price * 20)


@given(seed=seeds, n_actions=st.integers(1, 6), log_price=st.floats(-8, 8), spread=st.floats(0, 2))
@example(seed=0, n_actions=1, log_price=0.0, spread=0.0)
def test_the_subproblem_satisfies_its_kkt_conditions(seed, n_actions, log_price, spread):
    rng = np.random.default_rng(seed)
    pi = rng.dirichlet(np.full(n_actions, 10.0**-spread))
    pi[rng.random(n_actions) < 0.3] = 0.0
    pi = pi / pi.sum() if pi.any() else np.eye(n_actions)[0]
    a, price = rng.standard_normal(n_actions), 10.0**log_price
    new = penalised_policy(pi[None], a[None], np.array([price]))[0]
    assert (new >= 0).all()
    assert new.sum() == pytest.approx(1.0, rel=1e-15)
    taken = pi > 0
    assert (new[taken] > 0).all()
    slope = np.where(taken, a + price * np.divide(pi, new, out=np.zeros_like(pi), where=taken), a)
    level = slope[taken].max()  # ν, the same for every action that gets mass
    rounding = 16 * n_actions * EPS * (abs(a).max() + price * (pi[taken] / new[taken]).max())
    assert abs(slope[new > 0] - level).max() <= rounding
    assert (slope <= level + rounding).all()  # and no more for one that gets none


def test_a_row_of_several_states_is_solved_state_by_state(rng):
    pi, a, price = random_policy(rng, 5, 3), rng.standard_normal((5, 3)), 10.0 ** rng.uniform(-3, 3, 5)
    together = penalised_policy(pi, a, price)
    for s in range(5):
        np.testing.assert_array_equal(together[[s]], penalised_policy(pi[[s]], a[[s]], price[[s]]))


@pytest.mark.parametrize(
    ("advantage", "price", "expected"),
    [
        ([0.0, 1.0], 0.25, [0.25, 0.75]),  # ν = 1, the untaken action's advantage: λπ/(ν − A) = ¼ remains
        ([0.0, 1.0], 2.0, [1.0, 0.0]),  # too dear
        ([1.0, 0.0], 0.25, [1.0, 0.0]),  # worse than what is taken
        ([0.0, 0.0], 0.25, [1.0, 0.0]),  # no better
    ],
)
def test_an_untaken_action_gets_mass_only_where_it_pays(advantage, price, expected):
    new = penalised_policy(np.array([[1.0, 0.0]]), np.array([advantage]), np.array([price]))
    np.testing.assert_allclose(new, [expected], rtol=1e-15, atol=0)


def test_a_probability_close_to_the_smallest_number_is_raised_by_the_right_factor():
    # λ = 1, A = (1, 0), π = (p, 1): p/x + 1/(x + 1) = 1 at x ≈ √p, and π′(0) = p/x
    new = penalised_policy(np.array([[5e-324, 1.0]]), np.array([[1.0, 0.0]]), np.array([1.0]))
    assert new[0, 0] == pytest.approx(math.sqrt(5e-324), rel=1e-12)


def test_equally_good_untaken_actions_share_the_rest():
    new = penalised_policy(
        np.array([[1.0, 0.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 1.0, 0.5]]), np.array([0.5])
    )
    np.testing.assert_allclose(new, [[0.5, 0.25, 0.25, 0.0]], rtol=1e-15, atol=0)


@pytest.mark.parametrize("price", [1e-260, 1e-30, 1e30, 1e260])
@pytest.mark.parametrize("rare", [0.1, 1e-70, 1e-300, 5e-324])
def test_prices_and_probabilities_of_any_size_give_a_policy(price, rare):
    pi = np.array([[rare, 1 - rare]])
    for a in ([[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1e-200]], [[1e100, 0.0]]):
        new = penalised_policy(pi, np.array(a), np.array([price]))
        assert (new >= 0).all()
        assert new.sum() == 1.0
    if price > 1:
        np.testing.assert_allclose(
            penalised_policy(pi, np.array([[1.0, 0.0]]), np.array([price])), pi, rtol=1e-15
        )


# --- (5.26) ----------------------------------------------------------------------------------------------


@given(seed=seeds, p=st.floats(0.01, 0.99), log_delta=st.floats(-6, 1))
def test_for_one_state_and_two_actions_it_is_the_edge_of_the_grid(seed, p, log_delta):
    # L rises with the better action's probability: the best point is the last with D ≤ δ
    rng = np.random.default_rng(seed)
    values, delta = rng.standard_normal(2), 10.0**log_delta
    new = trpo_exact_tabular(bandit(values), np.array([[p, 1 - p]]), delta)
    better = int(values.argmax())
    q = np.array([p, 1 - p])[better]
    low, high = q, 1.0
    for _ in range(200):  # by bisection
        middle = (low + high) / 2
        d = kl(np.array([q, 1 - q]), np.array([middle, 1 - middle]))
        low, high = (middle, high) if d <= delta else (low, middle)
    assert new[0, better] == pytest.approx(low, rel=1e-9)


def slsqp_of_5_26(mdp, pi, delta):
    """Maximise L over the logarithms of π′, by sequential quadratic programming with exact derivatives."""
    rho, a, shape = visitation(mdp, pi), advantages(mdp, pi), pi.shape
    scale = abs(rho[:, None] * a).max()

    def divergence(x):
        return rho @ (pi * (np.log(pi) - x.reshape(shape))).sum(1)

    def rows(x):
        return np.exp(x.reshape(shape)).sum(1) - 1

    def rows_jacobian(x):
        return np.exp(x)[None] * np.repeat(np.eye(len(pi)), shape[1], 1)

    result = minimize(
        lambda x: -(rho[:, None] * a * np.exp(x.reshape(shape))).sum() / scale,
        np.log(pi).ravel(),
        jac=lambda x: -(rho[:, None] * a * np.exp(x.reshape(shape))).ravel() / scale,
        constraints=[
            {"type": "eq", "fun": rows, "jac": rows_jacobian},
            {
                "type": "ineq",
                "fun": lambda x: (delta - divergence(x)) / delta,
                "jac": lambda x: (rho[:, None] * pi).ravel() / delta,
            },
        ],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return np.exp(result.x.reshape(shape))


@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_slsqp_finds(seed):
    rng = np.random.default_rng(seed)
    n_states, n_actions = (1, 2, 3)[seed % 3], (2, 3)[seed % 2]
    mdp, pi = random_mdp(rng, n_states, n_actions, 0.9), random_policy(rng, n_states, n_actions)
    delta = 10.0 ** rng.uniform(-3, 0)
    new, other = trpo_exact_tabular(mdp, pi, delta), slsqp_of_5_26(mdp, pi, delta)
    np.testing.assert_allclose(new, other, rtol=0, atol=1e-5)  # a flat optimum: half the digits of L
    best = gain(mdp, pi, new)
    assert gain(mdp, pi, other) <= best + 1e-9
    assert gain(mdp, pi, other) >= best - 1e-7  # so that the comparison means something


@given(
    seed=seeds,
    n_states=st.integers(1, 5),
    n_actions=st.integers(2, 4),
    discount=st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    log_delta=st.floats(-8, 1),
)
def test_the_solution_spends_delta_at_one_price_for_all_states(
    seed, n_states, n_actions, discount, log_delta
):
    rng = np.random.default_rng(seed)
    mdp, pi = random_mdp(rng, n_states, n_actions, discount), random_policy(rng, n_states, n_actions)
    delta = 10.0**log_delta
    new = trpo_exact_tabular(mdp, pi, delta)
    assert new.sum(1) == pytest.approx(np.ones(n_states), rel=1e-15)
    assume(new.min() > 1e-100)  # where even that does not spend δ, the search may stop
    rho, a = visitation(mdp, pi), advantages(mdp, pi)
    # D is found from log λ to 1e-15; π′ itself is rounded by ε, which moves D by ε√D
    assert rho @ kl_terms(pi, new).sum(1) == pytest.approx(delta, rel=1e-9)
    ratio = pi / new
    # A + λ π/π′ = ν_s, with λ from the widest pair
    s = int(np.ptp(a, axis=1).argmax())
    high, low = a[s].argmax(), a[s].argmin()
    price = (a[s, high] - a[s, low]) / (ratio[s, low] - ratio[s, high])
    q = action_values(mdp, pi)
    assert price > 0
    assert np.ptp(a + price * ratio, axis=1).max() <= 1e-12 * (abs(q).max() + price * ratio.max())


@given(seed=seeds, discount=st.sampled_from([0.5, 0.9]), log_delta=st.floats(-4, 0.5))
def test_no_random_policy_within_delta_gains_more(seed, discount, log_delta):
    rng = np.random.default_rng(seed)
    mdp, pi = random_mdp(rng, 3, 3, discount), random_policy(rng, 3, 3)
    delta, rho = 10.0**log_delta, visitation(mdp, pi)
    new = trpo_exact_tabular(mdp, pi, delta)
    best = gain(mdp, pi, new)
    assert best > 0
    for start in (pi, new):
        for _ in range(20):
            other = start + 10.0 ** rng.uniform(-4, 0) * (random_policy(rng, 3, 3) - start)
            if rho @ kl(pi, other) <= delta:
                assert gain(mdp, pi, other) <= best + 1e-12


@pytest.mark.parametrize("delta", [1e-4, 1e-6, 1e-8, 1e-10])
def test_for_small_delta_it_is_the_natural_gradient_step(delta, rng):
    mdp, pi = random_mdp(rng, 4, 3, 0.9), random_policy(rng, 4, 3)
    rho, a = visitation(mdp, pi), advantages(mdp, pi)
    # √(2δ / Σρ π A²) · π A is the change of π; the next order is δ
    first = math.sqrt(2 * delta / (rho @ (pi * a**2).sum(1))) * pi * a
    change = trpo_exact_tabular(mdp, pi, delta) - pi
    assert np.linalg.norm(change - first) <= 5 * math.sqrt(delta) * np.linalg.norm(first)


@pytest.mark.parametrize("delta", [1e-14, 1e-18])
def test_a_tiny_delta_is_spent_up_to_rounding(delta, rng):
    mdp, pi = random_mdp(rng, 4, 3, 0.9), random_policy(rng, 4, 3)
    new = trpo_exact_tabular(mdp, pi, delta)
    used = visitation(mdp, pi) @ kl_terms(pi, new).sum(1)
    assert used == pytest.approx(delta, rel=20 * EPS / math.sqrt(delta))  # π′ − π has √δ/ε digits
    assert gain(mdp, pi, new) > 0


@pytest.mark.parametrize("delta", [1e-33, 1e-60, 5e-324])
def test_a_delta_below_all_rounding_moves_by_rounding(delta, rng):
    mdp, pi = random_mdp(rng, 4, 3, 0.9), random_policy(rng, 4, 3)
    np.testing.assert_allclose(trpo_exact_tabular(mdp, pi, delta), pi, rtol=1e-14)


@pytest.mark.parametrize("delta", [50.0, 1e3, 1e6, 1e300])
def test_a_huge_delta_takes_the_best_action_everywhere(delta, rng):
    mdp, pi = random_mdp(rng, 3, 3, 0.5), random_policy(rng, 3, 3)
    new = trpo_exact_tabular(mdp, pi, delta)
    assert (new > 0).all()  # D = ∞ otherwise
    greedy = np.eye(3)[advantages(mdp, pi).argmax(1)]
    np.testing.assert_allclose(new, greedy, rtol=0, atol=math.exp(-20))
    assert visitation(mdp, pi) @ kl_terms(pi, new).sum(1) <= delta * (1 + 1e-9)


@pytest.mark.parametrize("unit", [1e-150, 1e-10, 1e10, 1e190])
@pytest.mark.parametrize("delta", [0.01, 2000.0])
def test_the_unit_of_the_rewards_does_not_matter(unit, delta, rng):
    mdp, pi = random_mdp(rng, 3, 3, 0.9), random_policy(rng, 3, 3)
    other = TabularMDP(mdp.transitions, mdp.rewards * unit, mdp.start, 0.9)
    new = trpo_exact_tabular(mdp, pi, delta)
    np.testing.assert_allclose(trpo_exact_tabular(other, pi, delta), new, rtol=1e-9)


def test_an_untaken_action_gets_mass_where_it_is_the_best():
    # D = −log(1 − m) ≤ δ: all of it goes to the better action
    new = trpo_exact_tabular(bandit([0.0, 2.0, 1.0]), np.array([[1.0, 0.0, 0.0]]), 0.5)
    np.testing.assert_allclose(new, [[math.exp(-0.5), 1 - math.exp(-0.5), 0.0]], rtol=1e-9)


def test_an_untaken_action_that_is_worse_gets_none():
    new = trpo_exact_tabular(bandit([0.0, 1.0, -1.0]), np.array([[0.5, 0.5, 0.0]]), 0.1)
    assert new[0, 2] == 0.0
    assert new[0, 1] > 0.5
    assert kl(np.array([0.5, 0.5]), new[0, :2]) == pytest.approx(0.1, rel=1e-9)


def test_a_deterministic_policy_that_is_optimal_stays():
    mdp, pi = bandit([1.0, 0.0]), np.array([[1.0, 0.0]])
    for delta in (1e-9, 1.0, 1e9):
        np.testing.assert_array_equal(trpo_exact_tabular(mdp, pi, delta), pi)


def test_a_policy_on_equally_good_actions_stays_whatever_it_never_does_is_worth_less():
    mdp, pi = bandit([1.0, 1.0, 0.0], 0.0), np.array([[0.3, 0.7, 0.0]])
    np.testing.assert_array_equal(trpo_exact_tabular(mdp, pi, 0.1), pi)
    np.testing.assert_array_equal(penalty_step(mdp, pi), pi)  # γ = 0 has no default penalty, and needs none


@given(seed=seeds, log_delta=st.floats(-4, 1))
def test_a_deterministic_policy_moves_to_better_actions_within_delta(seed, log_delta):
    rng = np.random.default_rng(seed)
    mdp, pi, delta = random_mdp(rng, 4, 3, 0.9), np.eye(3)[rng.integers(0, 3, 4)], 10.0**log_delta
    new, a = trpo_exact_tabular(mdp, pi, delta), advantages(mdp, pi)
    used = visitation(mdp, pi) @ kl_terms(pi, new).sum(1)
    improvable = a.max(1) > 1e-9
    assert used == pytest.approx(delta if improvable.any() else 0.0, rel=1e-9)
    gets = (new > 0) & (pi == 0)
    assert (a[gets] == np.repeat(a.max(1), 3).reshape(4, 3)[gets]).all()  # the best action and no other
    assert gain(mdp, pi, new) >= 0


def test_states_that_are_never_visited_keep_every_bit_of_their_policy(rng):
    mdp = random_mdp(rng, 4, 3, 0.9)
    transitions = mdp.transitions.copy()
    transitions[:2, :, :2] += transitions[:2, :, 2:]
    transitions[:2, :, 2:] = 0.0
    mdp = TabularMDP(transitions, mdp.rewards, [0.5, 0.5, 0.0, 0.0], 0.9)
    pi = random_policy(rng, 4, 3)
    for new in (trpo_exact_tabular(mdp, pi, 0.1), penalty_step(mdp, pi)):
        np.testing.assert_array_equal(new[2:], pi[2:])
        assert (new[:2] != pi[:2]).all()


@pytest.mark.parametrize("discount", [0.0, 0.9, 0.999])
def test_where_all_actions_are_worth_the_same_the_policy_stays(discount, rng):
    # every Q is 1/(1 − γ), and what rounding makes of it is no advantage
    pi = random_policy(rng, 4, 3)
    for _ in range(20):
        mdp = TabularMDP(rng.dirichlet(np.ones(4), (4, 3)), np.full((4, 3), 1.0), np.full(4, 0.25), discount)
        for new in (trpo_exact_tabular(mdp, pi, 0.1), penalty_step(mdp, pi, 0.5)):
            np.testing.assert_array_equal(new, pi)
            assert not np.shares_memory(new, pi)
    zero = TabularMDP(mdp.transitions, np.zeros((4, 3)), mdp.start, discount)
    np.testing.assert_array_equal(trpo_exact_tabular(zero, pi, 0.1), pi)


def test_one_action_leaves_nothing_to_choose(rng):
    mdp, pi = random_mdp(rng, 3, 1, 0.9), np.ones((3, 1))
    np.testing.assert_array_equal(trpo_exact_tabular(mdp, pi, 0.1), pi)
    np.testing.assert_array_equal(penalty_step(mdp, pi, 0.1), pi)
    np.testing.assert_array_equal(npg_iterates(mdp, pi, 0.1, 3), np.ones((4, 3, 1)))


# --- TRPO with a penalty ---------------------------------------------------------------------------------


def penalised_gain(mdp, pi, new, penalty):
    return gain(mdp, pi, new) - penalty * kl(pi, new).max()


def slsqp_of_the_penalty(mdp, pi, penalty):
    """Maximise L − C·D over π′ and D with D(π ‖ π′)(s) ≤ D for every s: the maximum without its kinks."""
    weights, n = visitation(mdp, pi)[:, None] * advantages(mdp, pi), pi.size
    states = np.repeat(np.eye(len(pi)), pi.shape[1], 1)

    def new(x):
        return x[:n].reshape(pi.shape)

    result = minimize(
        lambda x: -(weights * new(x)).sum() + penalty * x[n],
        np.append(pi.ravel(), 1e-3),
        jac=lambda x: np.append(-weights.ravel(), penalty),
        bounds=[(1e-9, 1.0)] * n + [(0.0, None)],
        constraints=[
            LinearConstraint(np.hstack([states, np.zeros((len(pi), 1))]), 1.0, 1.0),
            {
                "type": "ineq",
                "fun": lambda x: x[n] - kl(pi, new(x)),
                "jac": lambda x: np.hstack([states * (pi / new(x)).ravel(), np.ones((len(pi), 1))]),
            },
        ],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return new(result.x)


# SciPy before 1.8 warns when SLSQP's own rounding leaves the bounds
@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
@pytest.mark.parametrize("seed", range(10))
def test_the_penalty_step_is_what_slsqp_finds(seed):
    rng = np.random.default_rng(seed)
    mdp, pi = random_mdp(rng, 2, 2, 0.5), random_policy(rng, 2, 2)
    penalty = 10.0 ** rng.uniform(-1.5, 0.5)
    new, other = penalty_step(mdp, pi, penalty), slsqp_of_the_penalty(mdp, pi, penalty)
    best, found = penalised_gain(mdp, pi, new, penalty), penalised_gain(mdp, pi, other, penalty)
    assert found <= best + 1e-12
    assert found >= best - 1e-7
    np.testing.assert_allclose(new, other, rtol=0, atol=1e-3)


@given(seed=seeds, p=st.floats(0.05, 0.95), log_penalty=st.floats(-2, 1))
def test_for_one_state_it_is_the_best_of_a_line_search(seed, p, log_penalty):
    rng = np.random.default_rng(seed)
    values, penalty, pi = rng.standard_normal(2), 10.0**log_penalty, np.array([[p, 1 - p]])
    mdp = bandit(values)
    new = penalty_step(mdp, pi, penalty)

    def loss(x):
        return -penalised_gain(mdp, pi, np.array([[x, 1 - x]]), penalty)

    found = minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-12})
    assert new[0, 0] == pytest.approx(found.x, rel=0, abs=1e-5)
    assert loss(new[0, 0]) <= found.fun + 1e-14 * (1 + penalty)


@given(
    seed=seeds,
    n_states=st.integers(1, 3),
    n_actions=st.integers(2, 3),
    discount=st.sampled_from([0.1, 0.5, 0.9]),
)
def test_the_default_penalty_never_lowers_the_return(seed, n_states, n_actions, discount):
    rng = np.random.default_rng(seed)
    mdp, pi = random_mdp(rng, n_states, n_actions, discount), random_policy(rng, n_states, n_actions)
    new = penalty_step(mdp, pi)
    before, after = expected_return(mdp, pi), expected_return(mdp, new)
    assert after >= before - 16 * EPS * abs(mdp.rewards).max() / (1 - discount)
    constant = 4 * abs(advantages(mdp, pi)).max() * discount / (1 - discount) ** 2
    best = penalised_gain(mdp, pi, new, constant)
    for share in (0.9, 0.99, 1.01, 1.1):  # a maximum along its own direction
        other = pi + share * (new - pi)
        if other.min() > 0:
            rounding = 1e-13 * (1 + constant * kl(pi, other).max())
            assert penalised_gain(mdp, pi, other, constant) <= best + rounding


def test_the_default_penalty_is_the_constant_of_the_theorem(rng):
    mdp, pi = random_mdp(rng, 2, 2, 0.9), random_policy(rng, 2, 2)
    constant = 4 * abs(advantages(mdp, pi)).max() * 0.9 / 0.1**2
    np.testing.assert_allclose(penalty_step(mdp, pi), penalty_step(mdp, pi, constant), rtol=1e-12)


@given(seed=seeds, log_penalty=st.floats(-2, 3))
@example(seed=91856, log_penalty=-1.0)
def test_all_states_that_can_gain_move_equally_far(seed, log_penalty):
    rng = np.random.default_rng(seed)
    mdp, pi = random_mdp(rng, 2, 3, 0.9), random_policy(rng, 2, 3)
    new = penalty_step(mdp, pi, 10.0**log_penalty)
    divergences = kl_terms(pi, new).sum(1)
    furthest = divergences.max()
    greedy = new.max(1) == 1.0  # no float is small enough to take it further from a nearly greedy π
    assert (greedy | np.isclose(divergences, furthest, rtol=1e-6, atol=0)).all()


def test_a_state_without_a_better_action_stays(rng):
    mdp = TabularMDP(np.zeros((2, 2, 2)), [[1.0, 1.0], [1.0, 0.0]], [0.5, 0.5], 0.9)
    pi = np.array([[0.3, 0.7], [0.5, 0.5]])
    new = penalty_step(mdp, pi, 1.0)
    np.testing.assert_array_equal(new[0], pi[0])
    assert new[1, 0] > 0.5


def test_a_penalty_above_what_an_untaken_action_brings_moves_nothing():
    mdp, pi = bandit([0.0, 1.0]), np.array([[1.0, 0.0]])
    np.testing.assert_allclose(penalty_step(mdp, pi, 2.0), pi, rtol=0, atol=1e-15)
    # L − C·D = m + C log(1 − m) is largest at m = 1 − C
    np.testing.assert_allclose(penalty_step(mdp, pi, 0.25), [[0.25, 0.75]], rtol=1e-9)


@pytest.mark.parametrize("penalty", [1e20, 1e60, 1e300])
def test_a_penalty_beyond_all_rounding_moves_by_rounding(penalty, rng):
    mdp, pi = random_mdp(rng, 2, 2, 0.9), random_policy(rng, 2, 2)
    np.testing.assert_allclose(penalty_step(mdp, pi, penalty), pi, rtol=1e-14)


def test_close_to_a_discount_of_1_the_default_penalty_still_raises_the_return(rng):
    mdp, pi = random_mdp(rng, 2, 2, 1 - 1e-8), random_policy(rng, 2, 2)
    new = penalty_step(mdp, pi)
    assert 1e-12 < abs(new - pi).max() < 1e-6
    assert gain(mdp, pi, new) > 0


# --- natural policy gradient -----------------------------------------------------------------------------


@given(seed=seeds, n_states=st.integers(1, 4), n_actions=st.integers(1, 4), step=st.floats(1e-3, 10.0))
def test_each_iterate_is_the_multiplicative_update_of_the_last(seed, n_states, n_actions, step):
    rng = np.random.default_rng(seed)
    mdp, pi = random_mdp(rng, n_states, n_actions, 0.8), random_policy(rng, n_states, n_actions)
    policies = npg_iterates(mdp, pi, step, 3)
    assert policies.shape == (4, n_states, n_actions)
    np.testing.assert_array_equal(policies[0], pi)
    for old, new in itertools.pairwise(policies):
        # log π′(a)/π′(b) − log π(a)/π(b) = η (Q(a) − Q(b))/(1 − γ)
        q = action_values(mdp, old)
        with np.errstate(divide="ignore"):
            moved = np.log(new) - np.log(old)
        seen = new.min(1) > 1e-200
        differences = (moved - moved[:, :1])[seen]
        np.testing.assert_allclose(
            differences, (step * (q - q[:, :1]) / 0.2)[seen], rtol=1e-9, atol=1e-11 * (1 + step)
        )
        np.testing.assert_allclose(new.sum(1), 1.0, rtol=1e-15)


def test_one_state_by_hand():
    # γ = ½, Q = (log 2, 0)/4 · … : η/(1 − γ)·(Q₀ − Q₁) = log 2, so the odds double each time
    policies = npg_iterates(bandit([math.log(2.0) / 2, 0.0], 0.5), np.array([[0.5, 0.5]]), 1.0, 4)
    odds = policies[:, 0, 0] / policies[:, 0, 1]
    np.testing.assert_allclose(odds, [1, 2, 4, 8, 16], rtol=1e-14)


@given(seed=seeds, discount=st.sampled_from([0.0, 0.5, 0.9]), log_step=st.floats(-3, 3))
def test_the_return_rises_and_the_gap_keeps_its_rate(seed, discount, log_step):
    rng = np.random.default_rng(seed)
    drawn, step, n = random_mdp(rng, 3, 3, discount), 10.0**log_step, 15
    mdp = TabularMDP(drawn.transitions, rng.random((3, 3)), drawn.start, discount)
    returns = [expected_return(mdp, pi) for pi in npg_iterates(mdp, np.full((3, 3), 1 / 3), step, n)]
    assert (np.diff(returns) >= -1e-13 / (1 - discount)).all()
    values = np.zeros(3)
    for _ in range(2000):  # value iteration: 0.9²⁰⁰⁰ is 0
        values = (mdp.rewards + discount * mdp.transitions @ values).max(1)
    best = mdp.start @ values
    for t in range(1, n + 1):
        bound = math.log(3) / (step * t) + 1 / ((1 - discount) ** 2 * t)
        assert -1e-12 / (1 - discount) <= best - returns[t] <= bound


@pytest.mark.parametrize("step", [0.1, 1e3, 1e308])
def test_actions_that_are_never_taken_stay_so_even_the_best(step):
    policies = npg_iterates(bandit([0.0, 1.0, 50.0]), np.array([[0.5, 0.5, 0.0]]), step, 3)
    assert np.isfinite(policies).all()
    assert (policies[:, 0, 2] == 0.0).all()
    assert (np.diff(policies[:, 0, 1]) >= 0).all()
    assert policies[1, 0, 1] > 0.5
    np.testing.assert_allclose(policies.sum(2), 1.0, rtol=1e-15)


# --- the border ------------------------------------------------------------------------------------------

FUNCTIONS = {
    "trpo": lambda mdp, pi: trpo_exact_tabular(mdp, pi, 0.1),
    "penalty": lambda mdp, pi: penalty_step(mdp, pi, 0.1),
    "default penalty": penalty_step,
    "npg": lambda mdp, pi: npg_iterates(mdp, pi, 0.1, 2),
}
functions = pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)


@functions
@pytest.mark.parametrize(
    ("pi", "error"),
    [
        (np.full((2, 2), 0.4), ArgumentError),
        ([[1.5, -0.5], [0.5, 0.5]], ArgumentError),
        (np.full((3, 2), 0.5), ShapeError),
        ([0.5, 0.5], ShapeError),
        ([[np.nan, 1.0], [0.5, 0.5]], NonFiniteError),
        (np.full((2, 2), 0.5 + 0j), ArgumentTypeError),
        ([["a", "b"], ["a", "b"]], ArgumentTypeError),
    ],
)
def test_what_is_no_policy_is_refused(f, pi, error, rng):
    with pytest.raises(error, match=r"^pi") as caught:
        f(random_mdp(rng, 2, 2, 0.9), pi)
    assert isinstance(caught.value, PgrefError)


@functions
def test_discount_1_and_a_policy_that_never_ends_is_refused(f, rng):
    with pytest.raises((NotAbsorbingError, ArgumentError)):
        f(random_mdp(rng, 2, 2, 1.0), np.full((2, 2), 0.5))


NOT_POSITIVE = [0, -0.1, math.nan, math.inf, True, "1", 1j]


@pytest.mark.parametrize("value", [*NOT_POSITIVE, None])
@pytest.mark.parametrize("rewards", [np.eye(2), np.zeros((2, 2))])
def test_a_delta_a_penalty_or_a_step_that_is_not_positive_is_refused(value, rewards, rng):
    # also where there is nothing to gain, and so nothing to compute
    mdp, pi = TabularMDP(np.zeros((2, 2, 2)), rewards, [0.5, 0.5], 0.9), np.full((2, 2), 0.5)
    with pytest.raises(ArgumentError, match="delta must be positive"):
        trpo_exact_tabular(mdp, pi, value)
    with pytest.raises(ArgumentError, match="step must be positive"):
        npg_iterates(mdp, pi, value, 1)
    if value is not None:
        with pytest.raises(ArgumentError, match="penalty must be positive"):
            penalty_step(mdp, pi, value)


@pytest.mark.parametrize("discount", [0.0, 1.0])
def test_the_default_penalty_needs_a_discount_between_0_and_1(discount, rng):
    mdp, pi = random_mdp(rng, 2, 2, discount, 0.1), np.full((2, 2), 0.5)
    with pytest.raises(ArgumentError, match="penalty must be positive"):
        penalty_step(mdp, pi)
    assert gain(mdp, pi, penalty_step(mdp, pi, 1.0)) > 0


def test_where_nothing_can_be_gained_no_penalty_is_needed(rng):
    mdp = TabularMDP(np.zeros((2, 2, 2)), np.ones((2, 2)), [0.5, 0.5], 1.0)
    pi = random_policy(rng, 2, 2)
    np.testing.assert_array_equal(penalty_step(mdp, pi), pi)


@pytest.mark.parametrize("n", [0, -1, 2.0, True])
def test_npg_refuses_a_number_of_steps_that_is_none(n, rng):
    with pytest.raises(ArgumentError, match="n must be a whole number"):
        npg_iterates(random_mdp(rng, 2, 2, 0.9), np.full((2, 2), 0.5), 0.1, n)


def test_npg_refuses_a_discount_of_1(rng):
    with pytest.raises(ArgumentError, match="1 - discount must be positive"):
        npg_iterates(random_mdp(rng, 2, 2, 1.0, 0.1), np.full((2, 2), 0.5), 0.1, 1)


@functions
def test_arguments_stay_as_they_are_and_lists_and_views_do_as_well(f, rng):
    mdp, pi = random_mdp(rng, 3, 2, 0.9), random_policy(rng, 3, 2)
    wide = np.zeros((3, 4))
    wide[:, ::2] = pi
    view = wide[:, ::2]
    pi.setflags(write=False)
    view.setflags(write=False)
    expected = f(mdp, pi)
    assert expected.flags.writeable
    for other in (view, pi.tolist(), pi.astype(">f8")):
        np.testing.assert_array_equal(f(mdp, other), expected)
