"""Values against quantecon's DiscreteDP, which factorises I − γP with LAPACK or SuperLU."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import mdp as mdps

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def quantecon(peer):
    return peer("quantecon")


discounts = st.sampled_from([0.0, 0.5, 0.9, 0.99])
seeds = st.integers(0, 2**32 - 1)


def rounding(n_states, discount):
    """Return the relative error of a linear solve, S·ε·κ, with κ ≤ (1 + γ)/(1 − γ); at most 1e-10 here."""
    return 4 * n_states * np.finfo(float).eps * (1 + discount) / (1 - discount)


def dense_mdp(rng, n_states, n_actions, discount):
    rows = rng.dirichlet(np.full(n_states, rng.choice([0.1, 1.0])), (n_states, n_actions))
    rows /= rows.sum(axis=-1, keepdims=True)
    start = rng.dirichlet(np.ones(n_states))
    return mdps.TabularMDP(rows, rng.standard_normal((n_states, n_actions)), start, discount)


def sparse_mdp(rng, n_states, n_actions, discount, n_next=3):
    """Draw a random graph: every action leads to at most `n_next` states."""
    n_rows = n_states * n_actions
    target = rng.integers(n_states, size=(n_rows, n_next))
    weight = rng.dirichlet(np.ones(n_next), n_rows)
    row = np.repeat(np.arange(n_rows), n_next)
    matrix = scipy.sparse.csr_matrix((weight.ravel(), (row, target.ravel())), (n_rows, n_states))
    rewards = rng.standard_normal((n_states, n_actions))
    return mdps.TabularMDP(matrix, rewards, np.full(n_states, 1 / n_states), discount)


def assert_same_values(values, expected, discount):
    error = abs(values - expected).max()
    assert error <= rounding(len(expected), discount) * abs(expected).max()


@given(st.integers(1, 60), st.integers(1, 5), discounts, seeds)
@example(n_states=1, n_actions=1, discount=0.0, seed=0)
def test_values_of_deterministic_policies_on_dense_mdps(quantecon, n_states, n_actions, discount, seed):
    rng = np.random.default_rng(seed)
    mdp = dense_mdp(rng, n_states, n_actions, discount)
    choice = rng.integers(n_actions, size=n_states)
    peers = quantecon.markov.DiscreteDP(mdp.rewards, mdp.transitions, discount)
    values = mdps.state_values(mdp, np.eye(n_actions)[choice])
    assert_same_values(values, peers.evaluate_policy(choice), discount)


@given(st.integers(1, 60), st.integers(1, 5), discounts, seeds)
def test_values_of_stochastic_policies_on_dense_mdps(quantecon, n_states, n_actions, discount, seed):
    rng = np.random.default_rng(seed)
    mdp = dense_mdp(rng, n_states, n_actions, discount)
    pi = rng.dirichlet(np.ones(n_actions), n_states)
    # quantecon knows deterministic policies only, so it gets the chain under π, with one action
    chain, reward = pi[:, None] @ mdp.transitions, (pi * mdp.rewards).sum(axis=1, keepdims=True)
    peers = quantecon.markov.DiscreteDP(reward, chain, discount)
    expected = peers.evaluate_policy(np.zeros(n_states, int))
    assert_same_values(mdps.state_values(mdp, pi), expected, discount)


@given(st.integers(2, 200), st.integers(1, 4), discounts, seeds)
def test_values_on_sparse_mdps(quantecon, n_states, n_actions, discount, seed):
    rng = np.random.default_rng(seed)
    mdp = sparse_mdp(rng, n_states, n_actions, discount)
    choice = rng.integers(n_actions, size=n_states)
    state, action = np.divmod(np.arange(n_states * n_actions), n_actions)
    peers = quantecon.markov.DiscreteDP(mdp.rewards.ravel(), mdp.transitions.copy(), discount, state, action)
    values = mdps.state_values(mdp, np.eye(n_actions)[choice])
    assert_same_values(values, peers.evaluate_policy(choice), discount)


@given(st.integers(1, 40), st.integers(2, 5), discounts, seeds)
def test_no_action_has_an_advantage_over_the_optimum_of_policy_iteration(
    quantecon, n_states, n_actions, discount, seed
):
    mdp = dense_mdp(np.random.default_rng(seed), n_states, n_actions, discount)
    peers = quantecon.markov.DiscreteDP(mdp.rewards, mdp.transitions, discount)
    optimum = peers.solve(method="policy_iteration")
    pi = np.eye(n_actions)[optimum.sigma]
    assert_same_values(mdps.state_values(mdp, pi), optimum.v, discount)
    assert mdps.advantages(mdp, pi).max() <= rounding(n_states, discount) * abs(optimum.v).max()


@given(st.integers(1, 40), st.integers(1, 4), discounts, seeds)
def test_the_visitation_from_a_stationary_start_is_that_start(quantecon, n_states, n_actions, discount, seed):
    rng = np.random.default_rng(seed)
    mdp = dense_mdp(rng, n_states, n_actions, discount)
    pi = rng.dirichlet(np.ones(n_actions), n_states)
    chain = quantecon.markov.MarkovChain((pi[:, None] @ mdp.transitions)[:, 0])
    start = chain.stationary_distributions[0]
    stationary = mdps.TabularMDP(mdp.transitions, mdp.rewards, start, discount)
    error = abs((1 - discount) * mdps.visitation(stationary, pi) - start).sum()
    assert error <= rounding(n_states, discount)
