"""A parametrised policy on a finite MDP against plain NumPy, complex steps, and every path written out."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import sparse

from pgref import exact, tabular
from pgref.distributions import Categorical, DiagonalGaussian
from pgref.errors import (
    ArgumentError,
    ArgumentTypeError,
    NonFiniteError,
    NotAbsorbingError,
    PgrefError,
    ShapeError,
)
from pgref.mdp import TabularMDP, action_values, expected_return, visitation
from pgref.networks import MLP, Table
from pgref.policy import Policy

EPS = float(np.finfo(float).eps)
WIDTHS = (2, 4)  # observation and hidden layer of the network; the actions follow
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 5)
endings = st.sampled_from(
    [(0.0, 0.0), (0.5, 0.0), (0.5, 0.2), (0.9, 0.0), (0.99, 0.1), (0.99, 0.0), (1.0, 0.1)]
)


def random_mdp(rng, n_states, n_actions, discount, ending=0.0):
    """Draw rows of which a few entries are 0; each step ends with the probability `ending`."""
    rows = rng.dirichlet(np.ones(n_states), (n_states, n_actions)) * (
        rng.random((n_states, n_actions, n_states)) < 0.8
    )
    rows += 1e-3 * np.eye(n_states)[:, None]
    rows *= (1 - ending) / rows.sum(2, keepdims=True)
    rewards, start = rng.standard_normal((n_states, n_actions)), rng.dirichlet(np.ones(n_states))
    return TabularMDP(rows, rewards, start, discount)


def table_on(rng, mdp):
    policy = Policy(Table(mdp.n_states, mdp.n_actions), Categorical())
    return policy, rng.standard_normal(policy.n_params), None


def network_on(rng, mdp):
    policy = Policy(MLP((*WIDTHS, mdp.n_actions)), Categorical())
    return policy, rng.standard_normal(policy.n_params), rng.standard_normal((mdp.n_states, WIDTHS[0]))


POLICIES = {"table": table_on, "network": network_on}
policies = pytest.mark.parametrize("policy_on", POLICIES.values(), ids=POLICIES)


# --- the same in plain NumPy, good for complex θ ----------------------------------------------------------


def plain_logits(theta, obs, n_actions):
    """Return the logits of the table (obs None) or of the tanh network, layer by layer."""
    if obs is None:
        return theta.reshape(-1, n_actions)
    n_in, width = WIDTHS
    w1, b1, w2, b2 = np.split(theta, np.cumsum([n_in * width, width, width * n_actions]))
    return np.tanh(obs @ w1.reshape(n_in, width) + b1) @ w2.reshape(width, n_actions) + b2


def plain_policy(theta, obs, n_actions):
    weights = np.exp(plain_logits(theta, obs, n_actions))
    return weights / weights.sum(1, keepdims=True)


def plain_return(mdp, pi):
    chain = np.einsum("sa,sat->st", pi, np.asarray(mdp.transitions))
    values = np.linalg.solve(np.eye(mdp.n_states) - mdp.discount * chain, (pi * mdp.rewards).sum(1))
    return mdp.start @ values


def complex_steps(f, theta):
    """Return ∂f/∂θ, the last axis for θ, without a subtraction."""
    return np.stack([np.imag(f(theta + 1e-30j * e)) / 1e-30 for e in np.eye(len(theta))], -1)


def plain_fisher(mdp, theta, obs, rho):
    """Return Σ_s ρ(s) JᵀFJ with the Jacobian of the logits by complex steps."""
    pi = plain_policy(theta, obs, mdp.n_actions)
    jacobian = complex_steps(lambda t: plain_logits(t, obs, mdp.n_actions), theta)  # [S, A, P]
    fisher = pi[:, :, None] * np.eye(mdp.n_actions) - pi[:, :, None] * pi[:, None]
    return np.einsum("s,sap,sab,sbq->pq", rho, jacobian, fisher, jacobian)


def plain_kl(old, new):
    return (old * np.log(old / new)).sum(1)


def steps_to_the_end(mdp, ending):
    return 1 / (1 - mdp.discount * (1 - ending))


# --- π_θ and J(θ) ----------------------------------------------------------------------------------------


@policies
@given(seed=seeds, n_states=sizes, n_actions=sizes, end=endings)
def test_the_policy_and_its_return_are_those_of_plain_numpy(policy_on, seed, n_states, n_actions, end):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, n_states, n_actions, *end)
    policy, theta, obs = policy_on(rng, mdp)
    pi = exact.policy_matrix(mdp, policy, theta, obs)
    np.testing.assert_allclose(pi, plain_policy(theta, obs, n_actions), rtol=1e-13)
    j = exact.parametrised_return(mdp, policy, theta, obs)
    assert type(j) is float
    assert j == pytest.approx(plain_return(mdp, pi), rel=0, abs=1e-14 * steps_to_the_end(mdp, end[1]) ** 2)


def test_a_complex_parameter_gives_a_complex_return(rng):
    mdp = random_mdp(rng, 3, 2, 0.9)
    policy, theta, _ = table_on(rng, mdp)
    assert isinstance(exact.parametrised_return(mdp, policy, theta + 1e-20j), complex)
    assert exact.policy_gradient(mdp, policy, theta + 1e-20j).dtype == complex


# --- the gradient ----------------------------------------------------------------------------------------


@policies
@given(seed=seeds, n_states=sizes, n_actions=sizes, end=endings)
@example(seed=0, n_states=1, n_actions=1, end=(0.0, 0.0))
@example(seed=1, n_states=5, n_actions=5, end=(1.0, 0.1))
def test_the_gradient_is_the_complex_step_derivative_of_j(policy_on, seed, n_states, n_actions, end):
    # two solves with a condition number of up to 2N each, N the expected steps: errors of a few ε N Σρ|A|
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, n_states, n_actions, *end)
    policy, theta, obs = policy_on(rng, mdp)
    g = exact.policy_gradient(mdp, policy, theta, obs)
    oracle = complex_steps(lambda t: plain_return(mdp, plain_policy(t, obs, n_actions)), theta)
    n = steps_to_the_end(mdp, end[1])
    scale = n * n * np.abs(mdp.rewards).max() * (1 if obs is None else np.abs(np.append(obs, theta)).max())
    np.testing.assert_allclose(g, oracle, rtol=0, atol=1e-14 * scale)


@given(seed=seeds, n_states=sizes, n_actions=sizes, end=endings)
def test_the_gradient_of_a_softmax_table_is_rho_pi_a(seed, n_states, n_actions, end):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, n_states, n_actions, *end)
    policy, theta, _ = table_on(rng, mdp)
    g = exact.policy_gradient(mdp, policy, theta).reshape(n_states, n_actions)
    pi = exact.policy_matrix(mdp, policy, theta)
    oracle = visitation(mdp, pi)[:, None] * pi * exact.advantages(mdp, pi)
    rounding = 4 * (n_actions + 2) * EPS * visitation(mdp, pi).max() * np.abs(action_values(mdp, pi)).max()
    np.testing.assert_allclose(g, oracle, rtol=0, atol=rounding)
    assert (
        abs(g.sum(1)).max() <= n_actions * rounding
    )  # one constant for all actions of a state moves nothing


@policies
@given(seed=seeds, n_states=st.integers(2, 5), n_actions=sizes, end=endings)
def test_sparse_transitions_give_what_dense_ones_give(policy_on, seed, n_states, n_actions, end):
    rng = np.random.default_rng(seed)
    dense = random_mdp(rng, n_states, n_actions, *end)
    flat = dense.transitions.reshape(-1, n_states)
    thin = TabularMDP(sparse.csr_matrix(flat), dense.rewards, dense.start, dense.discount)
    policy, theta, obs = policy_on(rng, dense)
    n = steps_to_the_end(dense, end[1])
    for f in (exact.policy_gradient, exact.kl_hessian, exact.parametrised_return):
        expected = f(dense, policy, theta, obs)
        np.testing.assert_allclose(f(thin, policy, theta, obs), expected, rtol=0, atol=1e-12 * n * n)
    for horizon in (1, 3):
        weights = [
            exact.state_weights(m, exact.policy_matrix(m, policy, theta, obs), horizon=horizon)
            for m in (dense, thin)
        ]
        np.testing.assert_allclose(weights[1], weights[0], rtol=1e-14)


@policies
@given(seed=seeds, n_actions=st.integers(2, 4), end=endings)
def test_states_that_share_an_observation_add_up_their_gradients_and_hessians(
    policy_on, seed, n_actions, end
):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 5, n_actions, *end)
    seen = np.array([0, 1, 0, 1, 0])
    if policy_on is table_on:
        policy, obs = Policy(Table(2, n_actions), Categorical()), seen
        theta = rng.standard_normal(policy.n_params)
    else:
        policy, theta, obs = policy_on(rng, mdp)
        obs = obs[seen]
    pi = exact.policy_matrix(mdp, policy, theta, obs)
    assert (pi[0] == pi[2]).all()
    assert (pi[0] == pi[4]).all()
    # the chain rule through a table that has a row for every state
    apart = Policy(Table(5, n_actions), Categorical())
    rows = np.log(pi)
    if policy_on is table_on:
        jacobian = np.kron(np.eye(2)[seen], np.eye(n_actions))
    else:
        jacobian = complex_steps(lambda t: plain_logits(t, obs, n_actions), theta).reshape(rows.size, -1)
    g = exact.policy_gradient(mdp, policy, theta, obs)
    h = exact.kl_hessian(mdp, policy, theta, obs)
    n = steps_to_the_end(mdp, end[1])
    scale = n * n * max(1.0, np.abs(jacobian).max()) ** 2 * max(1.0, np.abs(mdp.rewards).max())
    np.testing.assert_allclose(
        g, jacobian.T @ exact.policy_gradient(mdp, apart, rows.ravel()), rtol=0, atol=1e-14 * scale
    )
    np.testing.assert_allclose(
        h, jacobian.T @ exact.kl_hessian(mdp, apart, rows.ravel()) @ jacobian, rtol=0, atol=1e-13 * scale
    )


# --- as (5.15) prints it, and over a horizon ---------------------------------------------------------------


def mean_over_paths(mdp, pi, advantages, horizon, discount):
    """Return E Σ_{t<L} γ^t ∇log π A for a softmax table, [S, A], from every path of L steps."""
    ends = [*range(mdp.n_states), None]
    total = np.zeros_like(pi)

    def walk(s, t, probability, score):
        if s is None or t == horizon:
            total[:] += probability * score
            return
        for a, following in itertools.product(range(mdp.n_actions), ends):
            row = mdp.transitions[s, a]
            chance = 1 - row.sum() if following is None else row[following]
            term = np.zeros_like(pi)
            term[s] = discount**t * advantages[s, a] * (np.eye(mdp.n_actions)[a] - pi[s])
            walk(following, t + 1, probability * pi[s, a] * chance, score + term)

    for s in range(mdp.n_states):
        walk(s, 0, mdp.start[s], np.zeros_like(pi))
    return total


@given(seed=seeds, horizon=st.integers(1, 3), discounted=st.booleans(), ending=st.sampled_from([0.0, 0.3]))
def test_a_horizon_keeps_the_first_terms_of_the_sum_over_paths(seed, horizon, discounted, ending):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 2, 2, 0.6, ending)
    policy, theta, _ = table_on(rng, mdp)
    pi = plain_policy(theta, None, 2)
    chain = np.einsum("sa,sat->st", pi, mdp.transitions)
    values = np.linalg.solve(np.eye(2) - 0.6 * chain, (pi * mdp.rewards).sum(1))
    advantages = mdp.rewards + 0.6 * mdp.transitions @ values - values[:, None]
    oracle = mean_over_paths(mdp, pi, advantages, horizon, 0.6 if discounted else 1.0)
    g = exact.policy_gradient(mdp, policy, theta, discounted=discounted, horizon=horizon)
    np.testing.assert_allclose(g, oracle.ravel(), rtol=0, atol=1e-13)


@policies
def test_without_a_horizon_the_printed_sum_is_the_limit_of_long_ones(policy_on, rng):
    mdp = random_mdp(rng, 4, 3, 0.5, 0.2)
    policy, theta, obs = policy_on(rng, mdp)
    limit = exact.policy_gradient(mdp, policy, theta, obs, discounted=False)
    long = exact.policy_gradient(mdp, policy, theta, obs, discounted=False, horizon=200)
    np.testing.assert_allclose(long, limit, rtol=0, atol=1e-12)  # 0.8²⁰⁰ = 4e-20
    j_gradient = exact.policy_gradient(mdp, policy, theta, obs)
    assert np.linalg.norm(limit - j_gradient) > 0.1 * np.linalg.norm(j_gradient)


@policies
def test_for_a_discount_of_1_the_printed_sum_is_the_gradient(policy_on, rng):
    mdp = random_mdp(rng, 4, 3, 1.0, 0.2)
    policy, theta, obs = policy_on(rng, mdp)
    printed = exact.policy_gradient(mdp, policy, theta, obs, discounted=False)
    np.testing.assert_array_equal(printed, exact.policy_gradient(mdp, policy, theta, obs))


@policies
def test_the_printed_sum_is_refused_where_it_diverges(policy_on, rng):
    mdp = random_mdp(rng, 4, 3, 0.9)
    policy, theta, obs = policy_on(rng, mdp)
    with pytest.raises(NotAbsorbingError, match=r"discount=1 and states \{0,1,2,3\}"):
        exact.policy_gradient(mdp, policy, theta, obs, discounted=False)
    assert np.isfinite(exact.policy_gradient(mdp, policy, theta, obs, discounted=False, horizon=50)).all()


@given(seed=seeds, n_states=sizes, n_actions=sizes, end=endings, horizon=st.integers(1, 6))
def test_state_weights_are_sums_of_powers_of_the_chain(seed, n_states, n_actions, end, horizon):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, n_states, n_actions, *end)
    pi = rng.dirichlet(np.ones(n_actions), n_states)
    chain = np.einsum("sa,sat->st", pi, mdp.transitions)
    for discounted, factor in ((True, mdp.discount), (False, 1.0)):
        weights = exact.state_weights(mdp, pi, discounted=discounted, horizon=horizon)
        powers = [np.linalg.matrix_power(factor * chain, t) for t in range(horizon)]
        np.testing.assert_allclose(weights, mdp.start @ sum(powers), rtol=0, atol=1e-14 * horizon)
        survived = sum((factor * (1 - end[1])) ** t for t in range(horizon))
        assert weights.sum() == pytest.approx(survived, rel=1e-13)


@given(seed=seeds, n_states=sizes, end=endings)
def test_without_a_horizon_state_weights_are_the_visitation_of_that_discount(seed, n_states, end):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, n_states, 2, *end)
    pi = rng.dirichlet(np.ones(2), n_states)
    np.testing.assert_array_equal(exact.state_weights(mdp, pi), visitation(mdp, pi))
    if end[1]:
        undiscounted = TabularMDP(mdp.transitions, mdp.rewards, mdp.start, 1.0)
        weights = exact.state_weights(mdp, pi, discounted=False)
        np.testing.assert_array_equal(weights, visitation(undiscounted, pi))
        assert weights.sum() == pytest.approx(1 / end[1], rel=1e-12)  # the expected number of steps
    else:
        with pytest.raises(NotAbsorbingError):
            exact.state_weights(mdp, pi, discounted=False)


# --- the Hessian -----------------------------------------------------------------------------------------


@policies
@given(seed=seeds, n_states=sizes, n_actions=sizes, end=endings)
def test_the_hessian_is_the_fisher_matrix_under_rho(policy_on, seed, n_states, n_actions, end):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, n_states, n_actions, *end)
    policy, theta, obs = policy_on(rng, mdp)
    rho = visitation(mdp, plain_policy(theta, obs, n_actions))
    oracle = plain_fisher(mdp, theta, obs, rho)
    scale = max(np.abs(oracle).max(), 1e-3)
    h = exact.kl_hessian(mdp, policy, theta, obs)
    np.testing.assert_allclose(h, oracle, rtol=0, atol=1e-12 * scale)
    normalised = exact.kl_hessian(mdp, policy, theta, obs, normalised=True)
    np.testing.assert_allclose(normalised, oracle / rho.sum(), rtol=0, atol=1e-12 * scale)


@policies
@pytest.mark.parametrize("discount", [0.5, 0.9])
def test_where_nothing_ends_normalising_rho_multiplies_the_hessian_by_1_less_gamma(policy_on, discount, rng):
    mdp = random_mdp(rng, 4, 3, discount)
    policy, theta, obs = policy_on(rng, mdp)
    plain, normalised = (exact.kl_hessian(mdp, policy, theta, obs, normalised=n) for n in (False, True))
    np.testing.assert_allclose(normalised, (1 - discount) * plain, rtol=1e-13, atol=1e-16)


@policies
@given(seed=seeds)
def test_the_hessian_is_the_second_derivative_of_the_mean_kl(policy_on, seed):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 3, 3, 0.9)
    policy, theta, obs = policy_on(rng, mdp)
    old = plain_policy(theta, obs, 3)
    rho, v = visitation(mdp, old), rng.standard_normal(len(theta))
    v /= np.linalg.norm(v)

    def mean_kl(t):
        return rho @ plain_kl(old, plain_policy(theta + t * v, obs, 3))

    def second(h):  # the value at 0 is 0
        return (mean_kl(h) + mean_kl(-h)) / h**2

    h = 0.02
    numerical = (64 * second(h / 4) - 20 * second(h / 2) + second(h)) / 45  # off by O(h⁶)
    # rounding: 64/45 · 2 · ε Σρ · 16/h² < 1e-10; h⁶ = 6e-11 times an eighth derivative
    assert v @ exact.kl_hessian(mdp, policy, theta, obs) @ v == pytest.approx(numerical, rel=1e-6, abs=1e-8)


# --- the natural gradient --------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [(0.0, 0.0), (0.5, 0.2), (0.9, 0.0), (0.99, 0.1), (1.0, 0.1)])
@pytest.mark.parametrize("seed", range(5))
def test_on_a_table_it_is_the_advantage_less_its_plain_mean(end, seed):
    # rows of the Fisher matrix sum to 0 up to ε/min π, and dense_solve takes eigenvalues up to Pε for 0:
    # logits in ±½ and P = 12 keep a factor of two between them
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 4, 3, *end)
    policy = Policy(Table(4, 3), Categorical())
    theta = rng.uniform(-0.5, 0.5, 12)
    pi, rho = plain_policy(theta, None, 3), visitation(mdp, plain_policy(theta, None, 3))
    a = exact.advantages(mdp, pi)
    closed = a - a.mean(1, keepdims=True)
    atol = 1e-12 * steps_to_the_end(mdp, end[1]) * np.abs(a).max() / rho.min()
    x = exact.natural_gradient(mdp, policy, theta)
    np.testing.assert_allclose(x, closed.ravel(), rtol=0, atol=atol)
    np.testing.assert_allclose(exact.natural_gradient_tabular(mdp, pi), closed, rtol=0, atol=1e-14)
    h, g = exact.kl_hessian(mdp, policy, theta), exact.policy_gradient(mdp, policy, theta)
    lstsq = np.linalg.lstsq(h, g, rcond=1e-10)[0]
    np.testing.assert_allclose(x, lstsq, rtol=0, atol=atol)


@given(seed=seeds, end=endings)
def test_on_a_network_it_solves_the_normal_equations_with_the_least_residual(seed, end):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 3, 2, *end)
    policy, theta, obs = network_on(rng, mdp)
    x = exact.natural_gradient(mdp, policy, theta, obs)
    h, g = exact.kl_hessian(mdp, policy, theta, obs), exact.policy_gradient(mdp, policy, theta, obs)
    # ∇J lies in the range of H; what is cut is at most Pε‖H‖ in H
    cut = len(g) * EPS * np.linalg.norm(h, 2)
    assert np.linalg.norm(h @ x - g) <= 1e-12 * np.linalg.norm(g) + 100 * cut * np.linalg.norm(x)


def test_states_that_are_never_visited_have_no_gradient_and_keep_their_parameters(rng):
    transitions = random_mdp(rng, 4, 3, 0.9).transitions.copy()
    transitions[:2, :, :2] += transitions[:2, :, 2:]  # states 2 and 3 are left, never entered
    transitions[:2, :, 2:] = 0.0
    mdp = TabularMDP(transitions, rng.standard_normal((4, 3)), [0.5, 0.5, 0.0, 0.0], 0.9)
    policy, theta, _ = table_on(rng, mdp)
    pi = exact.policy_matrix(mdp, policy, theta)
    unseen = slice(6, 12)
    assert not exact.policy_gradient(mdp, policy, theta)[unseen].any()
    assert not exact.kl_hessian(mdp, policy, theta)[unseen].any()
    assert not exact.natural_gradient(mdp, policy, theta)[unseen].any()
    assert not exact.natural_gradient_tabular(mdp, pi)[2:].any()
    assert exact.natural_gradient_tabular(mdp, pi)[:2].any(axis=1).all()
    step = exact.trpo_step(mdp, policy, theta, 0.01)
    assert not step.step[unseen].any()
    assert step.rank == 2 * 2  # one direction of each visited state changes nothing


# --- the step of (5.29) ----------------------------------------------------------------------------------


@policies
@given(seed=seeds, log_limit=st.floats(-6, 1), half=st.booleans())
def test_no_other_step_within_the_limit_gains_more(policy_on, seed, log_limit, half):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 3, 3, 0.9)
    policy, theta, obs = policy_on(rng, mdp)
    limit = 10.0**log_limit
    best = exact.trpo_step(mdp, policy, theta, limit, obs, half=half)
    h, g = exact.kl_hessian(mdp, policy, theta, obs), exact.policy_gradient(mdp, policy, theta, obs)
    curvature = 2 * limit if half else limit
    assert best.step @ h @ best.step == pytest.approx(curvature, rel=1e-10)
    assert best.predicted == pytest.approx(g @ best.step, rel=1e-12)
    assert best.quadratic_kl == pytest.approx(curvature / 2, rel=1e-10)
    assert best.rank == np.linalg.matrix_rank(h, 1e-11 * np.linalg.norm(h, 2)) or policy_on is network_on
    for _ in range(30):  # anywhere, and close by
        for other in (
            rng.standard_normal(len(g)),
            best.step + 10.0 ** rng.uniform(-4, 0) * rng.standard_normal(len(g)),
        ):
            length = other @ h @ other
            if length > 1e-9 * np.linalg.norm(h, 2) * (other @ other):
                other = other * math.sqrt(curvature / length)
                assert g @ other <= best.predicted * (1 + 1e-9)


def test_the_printed_constraint_shortens_the_step_by_the_root_of_2(rng):
    mdp = random_mdp(rng, 4, 3, 0.9)
    policy, theta, _ = table_on(rng, mdp)
    long, short = (exact.trpo_step(mdp, policy, theta, 0.02, half=half) for half in (True, False))
    np.testing.assert_allclose(long.step, math.sqrt(2) * short.step, rtol=1e-14)
    assert (long.quadratic_kl, short.quadratic_kl) == pytest.approx((0.02, 0.01), rel=1e-12)
    assert long.rank == short.rank == 8


def test_one_state_two_actions_by_hand():
    # π = (¼, ¾), A = (¾, −¼): g = (3/16)(1, −1), H = (3/16)[[1, −1], [−1, 1]], H⁺g = (½, −½)
    mdp = TabularMDP(np.zeros((1, 2, 1)), [[1.0, 0.0]], [1.0], 0.9)
    policy, theta = Policy(Table(1, 2), Categorical()), np.array([0.0, math.log(3.0)])
    np.testing.assert_allclose(exact.policy_gradient(mdp, policy, theta), [3 / 16, -3 / 16], rtol=1e-15)
    np.testing.assert_allclose(
        exact.kl_hessian(mdp, policy, theta), 3 / 16 * np.array([[1, -1], [-1, 1]]), rtol=1e-15
    )
    np.testing.assert_allclose(exact.natural_gradient_tabular(mdp, [[0.25, 0.75]]), [[0.5, -0.5]], rtol=1e-15)
    step = exact.trpo_step(mdp, policy, theta, 3 / 32)  # √(2δ / g·H⁺g) = 1
    np.testing.assert_allclose(step.step, [0.5, -0.5], rtol=1e-14)
    assert step.predicted == pytest.approx(3 / 16, rel=1e-14)
    assert step.quadratic_kl == pytest.approx(3 / 32, rel=1e-14)
    assert step.rank == 1


@policies
def test_a_zero_gradient_gives_a_zero_step(policy_on, rng):
    mdp = random_mdp(rng, 3, 2, 0.9)
    mdp = TabularMDP(mdp.transitions, np.zeros((3, 2)), mdp.start, 0.9)
    policy, theta, obs = policy_on(rng, mdp)
    assert not exact.policy_gradient(mdp, policy, theta, obs).any()
    assert not exact.natural_gradient(mdp, policy, theta, obs).any()
    step = exact.trpo_step(mdp, policy, theta, 0.01, obs)
    assert not step.step.any()
    assert (step.predicted, step.quadratic_kl) == (0.0, 0.0)


def test_one_action_leaves_nothing_to_move(rng):
    mdp = random_mdp(rng, 3, 1, 0.9)
    policy, theta, _ = table_on(rng, mdp)
    step = exact.trpo_step(mdp, policy, theta, 0.01)
    assert (step.rank, step.predicted, step.quadratic_kl) == (0, 0.0, 0.0)
    assert not step.step.any()


@pytest.mark.parametrize("unit", [1e-190, 1e-100, 1e100, 1e190])
def test_the_step_does_not_depend_on_the_unit_of_the_rewards(unit, rng):
    mdp = random_mdp(rng, 4, 3, 0.9)
    policy, theta, _ = table_on(rng, mdp)
    plain = exact.trpo_step(mdp, policy, theta, 0.01)
    other = TabularMDP(mdp.transitions, mdp.rewards * unit, mdp.start, 0.9)
    scaled = exact.trpo_step(other, policy, theta, 0.01)
    np.testing.assert_allclose(scaled.step, plain.step, rtol=0, atol=1e-11 * np.abs(plain.step).max())
    assert scaled.predicted / unit == pytest.approx(plain.predicted, rel=1e-11)


# --- the border ------------------------------------------------------------------------------------------

FUNCTIONS = {
    "policy_matrix": exact.policy_matrix,
    "parametrised_return": exact.parametrised_return,
    "policy_gradient": exact.policy_gradient,
    "kl_hessian": exact.kl_hessian,
    "natural_gradient": exact.natural_gradient,
    "trpo_step": lambda mdp, policy, theta, obs=None: exact.trpo_step(mdp, policy, theta, 0.01, obs),
}
functions = pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)


@functions
@pytest.mark.parametrize(
    ("policy", "n_params", "obs", "error", "message"),
    [
        (Policy(Table(4, 3), Categorical()), 11, None, ShapeError, r"theta must have shape \(12\)"),
        (Policy(Table(3, 3), Categorical()), 9, None, ArgumentError, "observations must be states 0 to 2"),
        (
            Policy(Table(4, 2), Categorical()),
            8,
            None,
            ShapeError,
            r"pi must have shape \(4, 3\), got \(4, 2\)",
        ),
        (
            Policy(Table(4, 3), Categorical()),
            12,
            [0, 1, 2],
            ShapeError,
            "one row for each of 4 states, got shape",
        ),
        (Policy(Table(4, 3), Categorical()), 12, 5, ShapeError, "one row for each of 4 states, got shape"),
        (Policy(Table(4, 3), Categorical()), 12, [0.0, 1.0, 2.0, 3.0], ArgumentTypeError, "integers"),
        (Policy(MLP((2, 3)), Categorical()), 9, None, ArgumentError, "observations must have shape"),
        (Policy(MLP((2, 3)), Categorical()), 9, np.ones((4, 3)), ShapeError, "observations must have shape"),
        (Policy(MLP((2, 3)), Categorical()), 9, np.full((4, 2), np.nan), NonFiniteError, "observations"),
        (Policy(Table(4, 4), DiagonalGaussian()), 16, None, ArgumentTypeError, "need a Categorical policy"),
    ],
)
def test_unusable_arguments_are_refused_by_name(f, policy, n_params, obs, error, message, rng):
    mdp = random_mdp(rng, 4, 3, 0.9)
    with pytest.raises(error, match=message) as caught:
        f(mdp, policy, np.zeros(n_params), obs)
    assert isinstance(caught.value, PgrefError)


@functions
@pytest.mark.parametrize(
    ("theta", "error"),
    [
        (np.zeros(12, int), ArgumentTypeError),
        (np.full(12, np.nan), NonFiniteError),
        (np.zeros((4, 3)), ShapeError),
        ([True] * 12, ArgumentTypeError),
        (["a"] * 12, ArgumentTypeError),
    ],
)
def test_unusable_parameters_are_refused(f, theta, error, rng):
    mdp = random_mdp(rng, 4, 3, 0.9)
    with pytest.raises(error, match="theta must"):
        f(mdp, Policy(Table(4, 3), Categorical()), theta)


@pytest.mark.parametrize("limit", [0, -0.01, math.nan, math.inf, True, "0.01", None])
def test_a_limit_that_is_not_positive_is_refused(limit, rng):
    mdp = random_mdp(rng, 2, 2, 0.9)
    policy, theta, _ = table_on(rng, mdp)
    with pytest.raises(ArgumentError, match="kl_limit must be positive"):
        exact.trpo_step(mdp, policy, theta, limit)


@pytest.mark.parametrize("horizon", [0, -1, 2.0, True])
def test_a_horizon_that_is_no_number_of_steps_is_refused(horizon, rng):
    mdp = random_mdp(rng, 2, 2, 0.9)
    policy, theta, _ = table_on(rng, mdp)
    with pytest.raises(ArgumentError, match="horizon must be a whole number"):
        exact.policy_gradient(mdp, policy, theta, horizon=horizon)


@pytest.mark.parametrize("horizon", [None, 3])
@pytest.mark.parametrize("discounted", [True, False])
@pytest.mark.parametrize("pi", [np.full((2, 2), 0.4), np.full((2, 3), 1 / 3), [[0.5, 0.5], [1.5, -0.5]]])
def test_state_weights_refuse_what_is_no_policy(horizon, discounted, pi, rng):
    mdp = random_mdp(rng, 2, 2, 0.9, 0.1)
    with pytest.raises(ArgumentError, match=r"^pi"):
        exact.state_weights(mdp, pi, discounted=discounted, horizon=horizon)


def test_discount_1_and_a_policy_that_never_ends_is_refused(rng):
    mdp = random_mdp(rng, 3, 2, 1.0)
    policy, theta, _ = table_on(rng, mdp)
    for f in (exact.parametrised_return, exact.policy_gradient, exact.kl_hessian, exact.natural_gradient):
        with pytest.raises(NotAbsorbingError):
            f(mdp, policy, theta)


@functions
@policies
def test_arguments_stay_as_they_are_and_views_give_the_same_bits(f, policy_on, rng):
    mdp = random_mdp(rng, 3, 2, 0.9)
    policy, theta, obs = policy_on(rng, mdp)
    obs = np.arange(3) if obs is None else obs
    wide, tall = np.zeros(2 * len(theta)), np.repeat(obs, 2, axis=0)
    wide[::2] = theta
    views = wide[::2], tall[::2]
    for array in (theta, obs, *views):
        array.setflags(write=False)
    plain = f(mdp, policy, theta, obs)
    strided = f(mdp, policy, *views)
    big_endian = f(mdp, policy, theta.astype(">f8"), obs.astype(obs.dtype.newbyteorder(">")))
    for other in (strided, big_endian):
        for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (plain, other)), strict=True):
            np.testing.assert_array_equal(a, b)


@functions
@policies
def test_single_precision_parameters_are_computed_with_in_double(f, policy_on, rng):
    mdp = random_mdp(rng, 3, 3, 0.9)
    policy, theta, obs = policy_on(rng, mdp)
    single = theta.astype(np.float32)
    results = [f(mdp, policy, t, obs) for t in (single, single.astype(float))]
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in results), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype in (float, int)


def test_saturated_logits_stay_finite(rng):
    mdp = random_mdp(rng, 3, 3, 0.9)
    policy = Policy(Table(3, 3), Categorical())
    theta = rng.choice([-50.0, 50.0, 1e5], 9)
    for f in FUNCTIONS.values():
        result = f(mdp, policy, theta)
        for x in result if isinstance(result, tuple) else (result,):
            assert np.isfinite(x).all()
    pi = exact.policy_matrix(mdp, policy, theta)
    assert exact.parametrised_return(mdp, policy, theta) == expected_return(mdp, pi)


def test_the_tabular_algorithms_are_at_hand_here():
    for name in ("npg_iterates", "penalty_step", "trpo_exact_tabular"):
        assert getattr(exact, name) is getattr(tabular, name)
    assert all(hasattr(exact, name) for name in exact.__all__)
