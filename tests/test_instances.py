"""The generators make the structures they promise, and the extremal families their closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgref import bounds, instances, mdp
from pgref.errors import ArgumentError

EPS = np.finfo(float).eps
seeds = st.integers(0, 2**32 - 1)
open_discounts = st.sampled_from([0.01, 0.5, 0.9, 0.99])


@given(
    seed=seeds,
    n_states=st.integers(1, 7),
    n_actions=st.integers(1, 4),
    successors=st.sampled_from([1, 2, 7, None]),
    ending=st.sampled_from([0.0, 0.5, 1.0]),
    absorbing=st.integers(0, 3),
    unreachable=st.integers(0, 3),
)
def test_random_mdps_have_the_structure_asked_for(
    seed, n_states, n_actions, successors, ending, absorbing, unreachable
):
    unreachable = min(unreachable, n_states - 1)
    absorbing = min(absorbing, n_states)
    arguments = {
        "successors": successors,
        "ending": ending,
        "absorbing": absorbing,
        "unreachable": unreachable,
    }
    m, sparse = (
        instances.random_mdp(np.random.default_rng(seed), n_states, n_actions, 0.9, sparse=s, **arguments)
        for s in (False, True)
    )
    p, reachable = m.transitions, n_states - unreachable
    assert p.shape == (n_states, n_actions, n_states)
    assert m.discount == 0.9
    assert (p[absorbing:reachable, :, reachable:] == 0).all()
    assert (m.start[reachable:] == 0).all()
    assert (m.start[:reachable] > 0).all()
    for s in range(absorbing):
        assert np.count_nonzero(p[s], axis=1).tolist() == [1] * n_actions
        assert (p[s, :, s] > 0).all()
    assert (np.count_nonzero(p, axis=2) <= (successors or n_states)).all()
    totals = p.sum(axis=2)
    assert (totals <= 1 + 4 * EPS).all()
    assert (totals >= 1 - ending - 4 * EPS).all()
    if ending:
        assert (totals < 1).any()
    np.testing.assert_array_equal(sparse.transitions.toarray().reshape(p.shape), p)
    np.testing.assert_array_equal(sparse.rewards, m.rewards)


@given(
    seed=seeds, kind=st.sampled_from(["dirichlet", "saturated", "deterministic"]), n_actions=st.integers(1, 5)
)
def test_random_policies_are_of_their_kind(seed, kind, n_actions):
    pi = instances.random_policy(np.random.default_rng(seed), 6, n_actions, kind)
    bounds.kl(pi, pi)  # a policy
    if kind == "deterministic":
        assert set(pi.ravel()) <= {0.0, 1.0}
    else:
        assert (pi > 0).all()
    if kind == "saturated":
        assert (np.minimum(pi, abs(pi - pi.max(axis=1, keepdims=True))) <= math.exp(-100) * 1.01).all()


def test_one_action_has_probability_exactly_1(rng):
    for kind in ("dirichlet", "saturated", "deterministic"):
        assert (instances.random_policy(rng, 1000, 1, kind) == 1.0).all()


def test_draws_mix_all_structures_and_repeat_with_their_seed():
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    seen = set()
    for _ in range(600):
        m, old, new = instances.draw(rng)
        twin = instances.draw(again)
        assert twin.mdp.rewards.tobytes() == m.rewards.tobytes()
        assert (twin.pi_new == new).all()
        sparse = not isinstance(m.transitions, np.ndarray)
        p = (m.transitions.toarray() if sparse else m.transitions).reshape(*m.rewards.shape, m.n_states)
        seen |= {
            ("discount", m.discount),
            ("sparse", sparse),
            ("one state", m.n_states == 1),
            ("one action", m.n_actions == 1),
            ("identical", (old == new).all()),
            ("close", 0 < abs(old - new).max() < 1e-3),
            ("deterministic policy", set(old.ravel()) <= {0.0, 1.0}),
            ("saturated", 0 < old.min() < 1e-40),
            ("infinite divergence", np.isinf(bounds.max_kl(old, new))),
            ("ends", (p.sum(2) < 0.99).any()),
            ("deterministic rows", bool(((p == 0) | (p == 1)).all())),
            ("dense rows", bool((p > 0).all())),
            ("absorbing", any((p[s, :, s] == 1).all() for s in range(m.n_states))),
            ("unreachable", bool((mdp.visitation(m, np.full(m.rewards.shape, 1 / m.n_actions)) == 0).any())),
        }
    assert {d for name, d in seen if name == "discount"} == set(instances.DISCOUNTS)
    assert {name for name, value in seen if value is True or value == np.True_} >= {n for n, _ in seen} - {
        "discount"
    }


@given(alpha=st.floats(0.001, 0.5), discount=open_discounts, scale=st.sampled_from([1.0, 7.0]))
def test_tv_tight_has_that_variation_everywhere_and_attains_its_bound(alpha, discount, scale):
    instance = instances.tv_tight(alpha, discount, scale)
    m, old, new = instance
    np.testing.assert_allclose(bounds.tv(old, new), alpha, rtol=4 * EPS, atol=2 * EPS)
    assert (mdp.state_values(m, old) == 0).all()
    assert (mdp.advantages(m, old)[1:] == [[scale, -scale, 0.0]] * 2).all()
    exact = 4 * scale * alpha**2 * discount / ((1 - discount) * (1 - discount * (1 - alpha)))
    assert bounds.surrogate_gap(m, new, old) == pytest.approx(exact, rel=1e-12)


def rounding_of_divergence(divergence, p):
    """D = −p log(1 − (β/p)²), and rounding p − β moves β/p by EPS."""
    return 16 * EPS / math.sqrt(min(divergence / p, 1.0))


@given(divergence=st.floats(1e-12, 20.0), discount=open_discounts)
def test_kl_tight_has_that_divergence_everywhere(divergence, discount):
    m, old, new = instances.kl_tight(divergence, discount)
    if divergence / old[0, 1] < 700:  # else π′ underflows
        np.testing.assert_allclose(
            bounds.kl(old, new), divergence, rtol=rounding_of_divergence(divergence, old[0, 1])
        )
    assert (mdp.state_values(m, old) == 0).all()


@given(n=st.integers(1, 20), divergence=st.floats(1e-12, 15.0), discount=open_discounts)
def test_random_walk_pays_away_from_its_start_and_tilts_everywhere(n, divergence, discount):
    m, old, new = instances.random_walk(n, divergence, discount, 3.0)
    assert m.n_states == 2 * n + 1
    assert m.start[n] == 1.0
    rho = mdp.visitation(m, old)
    np.testing.assert_allclose(rho, rho[::-1], rtol=1e-11)
    assert abs(rho.sum() * (1 - discount) - 1) < 1e-12
    sign = np.sign(np.arange(-n, n + 1))
    np.testing.assert_allclose(mdp.advantages(m, old), 3.0 * sign[:, None] * [-1, 1], atol=1e-12)
    np.testing.assert_allclose(bounds.kl(old, new), divergence, rtol=rounding_of_divergence(divergence, 0.5))
    p = m.transitions.toarray().reshape(2 * n + 1, 2, -1)
    assert p[0, 0, 0] == p[-1, 1, -1] == p[n, 1, n + 1] == p[n, 0, n - 1] == 1.0


def test_walk_of_any_length_needs_no_dense_array():
    assert instances.random_walk(50_000, 1e-4, 0.9).mdp.n_states == 100_001


@pytest.mark.parametrize("discount", [0.01, 0.1, 0.5])
def test_mean_kl_counterexample_reaches_its_ratio(discount):
    m, old, new = instances.mean_kl_counterexample(discount, 1e-6, 1e-3)
    mean = (1 - discount) * mdp.visitation(m, old) @ bounds.kl(old, new)
    ratio = bounds.surrogate_gap(m, new, old) / (4 * discount / (1 - discount) ** 2 * mean)
    assert ratio == pytest.approx(math.sqrt((1 - discount) / discount) / 4, rel=2e-3)  # O(x)


def test_mean_kl_counterexample_without_discount_keeps_its_policy():
    _, old, new = instances.mean_kl_counterexample(1.0)
    assert (old[0] == new[0]).all()


@pytest.mark.parametrize("eta", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("discount", [0.5, 0.99])
def test_unreachable_counterexample_exceeds_the_tv_bound_by_its_ratio(eta, discount):
    m, old, new = instances.unreachable_counterexample(eta, discount, 2.0)
    assert mdp.visitation(m, old)[1] == 0.0
    reachable = 8 * eta**2 * discount / ((1 - discount) * (1 - discount * (1 - eta)))
    assert bounds.surrogate_gap(m, new, old) / reachable == pytest.approx(1 / (4 * eta), rel=1e-12)
    assert bounds.kl(old, new).tolist() == [pytest.approx(-math.log1p(-eta)), math.inf]


@given(theta=st.floats(-5, 5))
def test_aliased_mdp_has_its_closed_form(theta):
    m, p = instances.aliased_mdp(), 1 / (1 + math.exp(-theta))
    pi = np.array([[p, 1 - p]] * 2)
    assert mdp.expected_return(m, pi) == pytest.approx(0.75 + p / 4, rel=1e-15)
    a, slope = mdp.advantages(m, pi), p * (1 - p)
    per_state = slope * (a[:, 0] - a[:, 1])  # Σ_a ∇π A in each state
    assert mdp.visitation(m, pi) @ per_state == pytest.approx(slope / 4, rel=1e-12)
    assert per_state.sum() == pytest.approx(-slope / 2, rel=1e-12)  # without γ^t: the other way


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: instances.random_mdp(rng, 0), "n_states must be a whole number of at least 1"),
        (lambda rng: instances.random_mdp(rng, 2, 2.5), "n_actions must be a whole number"),
        (lambda rng: instances.random_mdp(rng, discount=1.1), r"discount must be in \[0, 1\]"),
        (lambda rng: instances.random_mdp(rng, successors=0), "successors must be"),
        (lambda rng: instances.random_mdp(rng, ending=-0.1), r"ending must be in \[0, 1\]"),
        (lambda rng: instances.random_mdp(rng, absorbing=-1), "absorbing must be"),
        (
            lambda rng: instances.random_mdp(rng, 3, absorbing=4),
            "absorbing must be at most the 3 states, got 4",
        ),
        (
            lambda rng: instances.random_mdp(rng, 3, unreachable=3),
            "unreachable must be less than the 3 states, got 3",
        ),
        (lambda rng: instances.random_policy(rng, 3, 0), "n_actions must be"),
        (
            lambda rng: instances.random_policy(rng, 3, 2, "greedy"),
            "kind must be dirichlet, saturated or determ",
        ),
        (lambda rng: instances.tv_tight(0.6, 0.9), "alpha must be at most 0.5, got 0.6"),
        (lambda rng: instances.tv_tight(0.1, 0.9, 0.0), "scale must be positive"),
        (lambda rng: instances.kl_tight(-1.0, 0.9), "divergence must be at least 0"),
        (lambda rng: instances.kl_tight(0.1, 2.0), "discount must be"),
        (lambda rng: instances.random_walk(0, 0.1, 0.9), "half_width must be"),
        (lambda rng: instances.unreachable_counterexample(2.0), "eta must be"),
    ],
)
def test_bad_parameters_are_refused(rng, make, message):
    with pytest.raises(ArgumentError, match=message):
        make(rng)
