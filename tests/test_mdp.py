"""V, Q, A, ρ and J against exact fractions, series and simulation; and every bad argument."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import instances, mdp
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, NotAbsorbingError, ShapeError
from pgref.mdp import TabularMDP

EPS = np.finfo(float).eps
seeds = st.integers(0, 2**32 - 1)
discounts = st.sampled_from(instances.DISCOUNTS)
FORMATS = [scipy.sparse.csr_matrix, scipy.sparse.coo_matrix, scipy.sparse.csc_matrix]
if hasattr(scipy.sparse, "csr_array"):
    FORMATS.append(scipy.sparse.csr_array)


def condition(m):
    """‖(I − γP)⁻¹‖ is at most this, and ‖I − γP‖ at most 2."""
    return 2.0 / (1.0 - m.discount)


def fractions(array):
    return [Fraction(float(x)) for x in array]


def solved(rows, b):
    """Gaussian elimination in fractions."""
    rows = [[*row, x] for row, x in zip(rows, b, strict=True)]
    n = len(rows)
    for k in range(n):
        pivot = next(i for i in range(k, n) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [x / rows[k][k] for x in rows[k]]
        for i in range(n):
            if i != k and rows[i][k]:
                rows[i] = [x - rows[i][k] * y for x, y in zip(rows[i], rows[k], strict=True)]
    return [row[-1] for row in rows]


def exactly(m, pi):
    """V, ρ and J in fractions of the float inputs."""
    states, actions, gamma = range(m.n_states), range(m.n_actions), Fraction(m.discount)
    p = [
        [sum(Fraction(pi[s, a]) * Fraction(m.transitions[s, a, t]) for a in actions) for t in states]
        for s in states
    ]
    r = [sum(Fraction(pi[s, a]) * Fraction(m.rewards[s, a]) for a in actions) for s in states]
    matrix = [[(s == t) - gamma * p[s][t] for t in states] for s in states]
    values = solved(matrix, r)
    rho = solved([list(column) for column in zip(*matrix, strict=True)], fractions(m.start))
    return values, rho, sum(x * y for x, y in zip(fractions(m.start), values, strict=True))


@given(seed=seeds, n_states=st.integers(1, 4), n_actions=st.integers(1, 3), discount=discounts)
@example(seed=0, n_states=1, n_actions=1, discount=0.999)
@example(seed=1, n_states=4, n_actions=3, discount=0.0)
def test_values_visitation_and_return_equal_exact_fractions(seed, n_states, n_actions, discount):
    rng = np.random.default_rng(seed)
    m = instances.random_mdp(rng, n_states, n_actions, discount, ending=0.3, absorbing=n_states // 2)
    pi = instances.random_policy(rng, n_states, n_actions)
    values, rho, ret = exactly(m, pi)
    tolerance = 4 * n_states * EPS * condition(m)
    largest = max(abs(m.rewards).max(), *map(abs, values))
    np.testing.assert_allclose(
        mdp.state_values(m, pi), np.array(values, float), rtol=0, atol=tolerance * largest
    )
    np.testing.assert_allclose(mdp.visitation(m, pi), np.array(rho, float), rtol=0, atol=tolerance * sum(rho))
    assert abs(mdp.expected_return(m, pi) - float(ret)) <= tolerance * largest
    assert type(mdp.expected_return(m, pi)) is float


@given(seed=seeds)
def test_bellman_equations(seed):
    m, pi, _ = instances.draw(np.random.default_rng(seed))
    v, q, a = mdp.state_values(m, pi), mdp.action_values(m, pi), mdp.advantages(m, pi)
    scale = max(1.0, abs(q).max())
    np.testing.assert_allclose(
        q, m.rewards + m.discount * mdp.expected_next(m, v), rtol=0, atol=4 * EPS * scale
    )
    np.testing.assert_allclose((pi * q).sum(1), v, rtol=0, atol=32 * EPS * scale)
    np.testing.assert_allclose(a, q - v[:, None], rtol=0, atol=32 * EPS * scale)
    np.testing.assert_allclose((pi * a).sum(1), 0, rtol=0, atol=8 * EPS * scale)


@given(seed=seeds)
def test_visitation_weighs_rewards_into_the_return(seed):
    m, pi, _ = instances.draw(np.random.default_rng(seed))
    rho, r = mdp.visitation(m, pi), (pi * m.rewards).sum(1)
    scale = max(1.0, abs(r).max()) * condition(m)
    assert abs(rho @ r - mdp.expected_return(m, pi)) <= 64 * EPS * scale * condition(m)
    assert (rho >= -64 * EPS * rho.sum()).all()


@given(seed=seeds, discount=discounts)
def test_visitation_adds_up_to_the_discounted_duration(seed, discount):
    rng = np.random.default_rng(seed)
    m = instances.random_mdp(rng, 6, 2, discount, successors=2)
    rho = mdp.visitation(m, instances.random_policy(rng, 6, 2, "saturated"))
    assert abs(rho.sum() * (1 - discount) - 1) <= 64 * EPS * condition(m)


@given(seed=seeds, discount=st.sampled_from([0.0, 0.5, 0.9]))
def test_neumann_series_gives_the_same(seed, discount):
    rng = np.random.default_rng(seed)
    m = instances.random_mdp(rng, 5, 3, discount, ending=0.2)
    pi = instances.random_policy(rng, 5, 3)
    chain = np.array(
        [[sum(pi[s, a] * m.transitions[s, a, t] for a in range(3)) for t in range(5)] for s in range(5)]
    )
    v, rho, power = np.zeros(5), np.zeros(5), np.eye(5)
    for _ in range(400):
        v, rho = v + power @ (pi * m.rewards).sum(1), rho + m.start @ power
        power = discount * power @ chain
    np.testing.assert_allclose(mdp.state_values(m, pi), v, rtol=0, atol=1e-13)
    np.testing.assert_allclose(mdp.visitation(m, pi), rho, rtol=0, atol=1e-13)
    np.testing.assert_allclose(mdp.policy_transitions(m, pi), chain, rtol=0, atol=4 * EPS)


def test_simulated_returns_and_visits_agree(rng):
    m = instances.random_mdp(rng, 3, 2, 0.8, ending=0.4)
    pi, n, horizon = instances.random_policy(rng, 3, 2), 40_000, 120
    alive, states = np.ones(n, bool), rng.choice(3, n, p=m.start)
    returns, visits = np.zeros(n), np.zeros((n, 3))
    for t in range(horizon):
        actions = (rng.random(n) > pi[states, 0]).astype(int)
        returns += alive * 0.8**t * m.rewards[states, actions]
        visits[np.arange(n), states] += alive * 0.8**t
        draws = (m.transitions[states, actions].cumsum(1) < rng.random((n, 1))).sum(1)
        alive &= draws < 3
        states = np.minimum(draws, 2)
    error = 0.8**horizon * 10
    for sample, exact in [
        (returns, mdp.expected_return(m, pi)),
        *zip(visits.T, mdp.visitation(m, pi), strict=True),
    ]:
        assert abs(sample.mean() - exact) <= 5 * sample.std() / np.sqrt(n) + error


@given(seed=seeds)
def test_sparse_and_dense_agree(seed):
    rng = np.random.default_rng(seed)
    dense = instances.random_mdp(rng, 6, 3, 0.9, successors=2, ending=0.3, unreachable=1)
    rows = dense.transitions.reshape(18, 6)
    pi = instances.random_policy(rng, 6, 3)
    for form in FORMATS:
        m = TabularMDP(form(rows), dense.rewards, dense.start, 0.9)
        assert scipy.sparse.isspmatrix_csr(m.transitions)
        for f in (mdp.state_values, mdp.action_values, mdp.advantages, mdp.visitation, mdp.expected_return):
            np.testing.assert_allclose(f(m, pi), f(dense, pi), rtol=0, atol=1e-13)
        np.testing.assert_allclose(
            mdp.policy_transitions(m, pi).toarray(), mdp.policy_transitions(dense, pi), atol=EPS
        )
        flow = rng.random((6, 3))
        np.testing.assert_allclose(mdp.arrivals(m, flow), mdp.arrivals(dense, flow), rtol=0, atol=16 * EPS)


@given(seed=seeds)
def test_arrivals_is_the_transpose_of_expected_next(seed):
    rng = np.random.default_rng(seed)
    m = instances.draw(rng).mdp
    f, w = rng.random(m.n_states), rng.random(m.rewards.shape)
    assert np.isclose((w * mdp.expected_next(m, f)).sum(), mdp.arrivals(m, w) @ f, rtol=32 * EPS, atol=0)


@given(seed=seeds, discount=st.sampled_from([0.5, 0.99, 1.0]), sparse=st.booleans())
def test_complex_steps_differentiate_the_return(seed, discount, sparse):
    rng = np.random.default_rng(seed)
    m = instances.random_mdp(rng, 5, 3, discount, ending=0.5, sparse=sparse)
    pi, other = (instances.random_policy(rng, 5, 3) for _ in range(2))
    h, change = 1e-30, other - pi
    step = pi + 1j * h * change
    rho, q = mdp.visitation(m, pi), mdp.action_values(m, pi)
    slope = rho @ (change * q).sum(1)
    scale = 1e-12 * rho.sum() * abs(q).max()
    value = mdp.expected_return(m, step)
    assert type(value) is complex
    assert abs(value.real - mdp.expected_return(m, pi)) <= scale
    assert abs(value.imag / h - slope) <= scale
    np.testing.assert_allclose(
        mdp.visitation(m, step).imag @ (pi * m.rewards).sum(1) / h + rho @ (change * m.rewards).sum(1),
        slope,
        rtol=0,
        atol=scale,
    )
    assert mdp.advantages(m, step).dtype == np.complex128


@given(seed=seeds)
def test_potential_shaping_shifts_values_and_keeps_advantages(seed):
    rng = np.random.default_rng(seed)
    m, pi, _ = instances.draw(rng)
    phi = rng.standard_normal(m.n_states)
    shaped = dataclasses.replace(m, rewards=m.rewards + m.discount * mdp.expected_next(m, phi) - phi[:, None])
    atol = 256 * EPS * condition(m) * max(1.0, abs(m.rewards).max() + abs(phi).max()) * condition(m)
    np.testing.assert_allclose(mdp.state_values(shaped, pi), mdp.state_values(m, pi) - phi, rtol=0, atol=atol)
    np.testing.assert_allclose(mdp.advantages(shaped, pi), mdp.advantages(m, pi), rtol=0, atol=atol)


@given(seed=seeds)
def test_renaming_states_and_actions_renames_the_results(seed):
    rng = np.random.default_rng(seed)
    m = instances.random_mdp(rng, 5, 3, 0.9, ending=0.2)
    pi, s, a = instances.random_policy(rng, 5, 3), rng.permutation(5), rng.permutation(3)
    renamed = TabularMDP(m.transitions[s][:, a][:, :, s], m.rewards[s][:, a], m.start[s], 0.9)
    np.testing.assert_allclose(
        mdp.advantages(renamed, pi[s][:, a]), mdp.advantages(m, pi)[s][:, a], atol=1e-13
    )
    np.testing.assert_allclose(mdp.visitation(renamed, pi[s][:, a]), mdp.visitation(m, pi)[s], atol=1e-13)


def test_unreachable_states_have_visitation_exactly_zero(rng):
    for sparse in (False, True):
        m = instances.random_mdp(rng, 8, 3, 0.99, unreachable=3, sparse=sparse)
        rho = mdp.visitation(m, instances.random_policy(rng, 8, 3))
        assert (rho[5:] == 0).all()
        assert (rho[:5] > 0).all()


def test_the_largest_rewards_do_not_overflow():
    m = TabularMDP(np.ones((1, 2, 1)), np.array([[1e200, -1e200]]), np.ones(1), 1 - 2**-53)
    with pytest.raises(NotAbsorbingError):  # 9e15 steps leave no digits
        mdp.state_values(m, [[1.0, 0.0]])
    m = dataclasses.replace(m, discount=1 - 2**-38)
    assert mdp.expected_return(m, [[1.0, 0.0]]) == pytest.approx(1e200 * 2.0**38, rel=1e-12)
    assert mdp.advantages(m, [[0.0, 1.0]])[0, 0] == pytest.approx(2e200, rel=4 * EPS * 2.0**38)


def test_undiscounted_return_of_an_ending_policy():
    # a geometric number of steps, 4 in expectation, each paying 2
    m = TabularMDP(np.full((1, 1, 1), 0.75), [[2.0]], [1.0], 1)
    assert mdp.expected_return(m, [[1.0]]) == 8.0
    assert mdp.visitation(m, [[1.0]]).tolist() == [4.0]


@pytest.mark.parametrize("form", [np.asarray, lambda p: scipy.sparse.csr_matrix(p.reshape(-1, p.shape[2]))])
def test_undiscounted_only_where_this_policy_ends(form):
    p = np.zeros((3, 2, 3))
    p[0, 0, 1] = p[1, 0, 0] = p[0, 1, 2] = p[1, 1, 2] = p[2, 0, 2] = 1.0  # state 2 ends by action 1 only
    m = TabularMDP(form(p), np.ones((3, 2)), [1.0, 0.0, 0.0], 1.0)
    assert mdp.expected_return(m, np.tile([0.0, 1.0], (3, 1))) == 2.0
    assert mdp.expected_return(m, np.tile([0.5, 0.5], (3, 1))) == pytest.approx(4.0, rel=1e-15)
    circling = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(
        NotAbsorbingError, match=r"discount=1 and states \{0,1\} form a closed class under this policy"
    ):
        mdp.visitation(m, circling)
    with pytest.raises(NotAbsorbingError, match=r"states \{2\} form"):
        mdp.state_values(m, [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    assert mdp.expected_return(dataclasses.replace(m, discount=0.5), circling) == 2.0


def test_a_policy_may_be_complex_and_never_end():
    m = TabularMDP(np.ones((1, 2, 1)), np.ones((1, 2)), [1.0], 1.0)
    with pytest.raises(NotAbsorbingError):
        mdp.expected_return(m, np.array([[0.5 + 1e-20j, 0.5 - 1e-20j]]))


def test_checking_leaves_a_sparse_mdp_as_it_was():
    """Sorting the indices of a view once scrambled the chain that shares them."""
    n = 50
    down, up = np.maximum(np.arange(n) - 1, 0), np.minimum(np.arange(n) + 1, n - 1)
    p = np.zeros((n, 2, n))
    p[np.arange(n), 0, down] = p[np.arange(n), 1, up] = 1.0
    p[n - 1, 1] = 0.0
    sparse = TabularMDP(scipy.sparse.csr_matrix(p.reshape(-1, n)), np.ones((n, 2)), np.eye(n)[0], 1.0)
    pi = np.tile([0.1, 0.9], (n, 1))
    dense = TabularMDP(p, np.ones((n, 2)), np.eye(n)[0], 1.0)
    np.testing.assert_allclose(mdp.state_values(sparse, pi), mdp.state_values(dense, pi), rtol=1e-13)
    np.testing.assert_allclose(mdp.visitation(sparse, pi), mdp.visitation(dense, pi), rtol=1e-13)


def test_arrays_are_copied_and_read_only():
    p, r, mu = np.full((2, 1, 2), 0.5), np.ones((2, 1)), np.array([0.25, 0.75])
    m = TabularMDP(p, r, mu, 0.5)
    p[:], r[:], mu[:] = 9.0, 9.0, 9.0
    assert mdp.expected_return(m, [[1.0], [1.0]]) == 2.0
    for array in (m.transitions, m.rewards, m.start):
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        m.discount = 0.9
    with pytest.raises(ArgumentError):
        dataclasses.replace(m, discount=1.5)
    assert (m.n_states, m.n_actions) == (2, 1)
    assert m != TabularMDP(m.transitions, m.rewards, m.start, 0.5)  # identity: arrays have no one equality


def test_sparse_transitions_are_copied_and_read_only():
    p = scipy.sparse.csr_matrix(np.full((2, 2), 0.5))
    m = TabularMDP(p, np.ones((2, 1)), [0.5, 0.5], 0.5)
    p.data[:] = 9.0
    assert mdp.expected_return(m, [[1.0], [1.0]]) == pytest.approx(2.0)
    for array in (m.transitions.data, m.transitions.indices, m.transitions.indptr):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_duplicate_sparse_entries_add_up():
    p = scipy.sparse.coo_matrix(([0.25, 0.5, 0.25], ([0, 0, 1], [0, 0, 1])), (2, 2))
    assert TabularMDP(p, np.ones((2, 1)), [1.0, 0.0], 0.0).transitions.toarray().tolist() == [
        [0.75, 0],
        [0, 0.25],
    ]


@given(seed=seeds)
def test_layout_and_byte_order_change_no_bit_and_nothing_is_written_to(seed):
    rng = np.random.default_rng(seed)
    m, pi = instances.random_mdp(rng, 4, 3, 0.9), instances.random_policy(rng, 4, 3)
    strided = np.zeros((8, 3, 4))
    strided[::2] = m.transitions
    for p, policy in [
        (strided[::2], np.asfortranarray(pi)),
        (m.transitions.astype(">f8"), pi.astype(">f8")),
        (m.transitions[::-1][::-1], pi[:, ::-1][:, ::-1]),
        (m.transitions.tolist(), pi.tolist()),
    ]:
        before = np.array(p, copy=True), np.array(policy, copy=True)
        other = TabularMDP(p, m.rewards, m.start, 0.9)
        assert mdp.advantages(other, policy).tobytes() == mdp.advantages(m, pi).tobytes()
        assert mdp.visitation(other, policy).tobytes() == mdp.visitation(m, pi).tobytes()
        assert (before[0] == p).all()
        assert (before[1] == policy).all()


GOOD = {
    "transitions": np.full((2, 3, 2), 0.5),
    "rewards": np.ones((2, 3)),
    "start": np.array([0.5, 0.5]),
    "discount": 0.9,
}


def changed(index, value, shape=(2, 3, 2)):
    array = np.full(shape, 0.5)
    array[index] = value
    return array


def rows(index, value):
    return scipy.sparse.csr_matrix(changed(index, value, (6, 2)))


def broken():
    """A CSR matrix with a column out of range, as no constructor would let through."""
    p = scipy.sparse.csr_matrix(np.full((6, 2), 0.5))
    p.indices[3] = 7
    return p


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"transitions": changed((1, 0, 1), 0.5000009)},
            ArgumentError,
            r"^transitions\[1, 0\] sums to 1.0000009 \(at most 1, tolerance 1e-09\)$",
        ),
        (
            {"transitions": changed((1, 0, 1), -0.1)},
            ArgumentError,
            r"^transitions\[1, 0, 1\] is -0.1 \(must be at least 0\)$",
        ),
        (
            {"transitions": changed((1, 0, 1), np.nan)},
            NonFiniteError,
            r"transitions must be finite, got nan at index \(1, 0, 1\)",
        ),
        (
            {"transitions": np.ones((2, 3))},
            ShapeError,
            r"transitions must have shape \(2, 3, 2\), got \(2, 3\)",
        ),
        ({"transitions": "P"}, ArgumentTypeError, "transitions must hold real numbers"),
        ({"transitions": rows((3, 1), 0.5000009)}, ArgumentError, r"^transitions\[1, 0\] sums to 1.0000009"),
        ({"transitions": rows((3, 1), -0.1)}, ArgumentError, r"^transitions\[1, 0, 1\] is -0.1"),
        ({"transitions": rows((3, 1), np.inf)}, NonFiniteError, "transitions data must be finite, got inf"),
        (
            {"transitions": scipy.sparse.csr_matrix((5, 2))},
            ShapeError,
            r"sparse transitions must have shape \(6, 2\), row s·A \+ a, got \(5, 2\)",
        ),
        (
            {"transitions": scipy.sparse.csr_matrix(np.ones((6, 2), complex))},
            ArgumentTypeError,
            "real numbers",
        ),
        (
            {"transitions": broken()},
            ArgumentError,
            "transitions must be a valid sparse matrix, got one where",
        ),
        ({"rewards": np.ones(3)}, ShapeError, r"rewards must have shape \(any, any\), got \(3,\)"),
        (
            {"rewards": np.ones((0, 3))},
            ShapeError,
            r"rewards must have at least one state and one action, got shape \(0, 3\)",
        ),
        ({"rewards": np.ones((2, 0))}, ShapeError, "at least one state"),
        (
            {"rewards": changed((0, 1), np.inf, (2, 3))},
            NonFiniteError,
            r"rewards must be finite, got inf at index \(0, 1\)",
        ),
        (
            {"rewards": changed((0, 1), -2e200, (2, 3))},
            ArgumentError,
            r"rewards must be at most 1e\+200 in magnitude, got 2e\+200",
        ),
        ({"rewards": [["1.0"] * 3] * 2}, ArgumentTypeError, "rewards must hold real numbers"),
        (
            {"start": np.array([0.5, 0.4])},
            ArgumentError,
            r"^start sums to 0.9 \(must be 1, tolerance 1e-09\)$",
        ),
        ({"start": np.array([1.5, -0.5])}, ArgumentError, r"^start\[1\] is -0.5"),
        ({"start": np.ones(1)}, ShapeError, r"start must have shape \(2\), got \(1,\)"),
        ({"discount": -0.5}, ArgumentError, r"discount must be in \[0, 1\], got -0.5"),
        ({"discount": np.nan}, ArgumentError, "discount must be in"),
        ({"discount": True}, ArgumentError, "got True"),
    ],
)
def test_bad_mdps_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        TabularMDP(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("pi", "error", "message"),
    [
        (
            [[0.5, 0.5, 0.0], [0.5, 0.500001, 0.0]],
            ArgumentError,
            r"^pi\[1\] sums to 1.000001 \(must be 1, tolerance 1e-09\)$",
        ),
        ([[0.5, 0.5, 0.0], [1.5, -0.5, 0.0]], ArgumentError, r"^pi\[1, 1\] is -0.5 \(must be at least 0\)$"),
        ([[0.5, 0.5], [0.5, 0.5]], ShapeError, r"pi must have shape \(2, 3\), got \(2, 2\)"),
        ([0.5, 0.5, 0.0], ShapeError, r"got \(3,\)"),
        (
            [[0.5, 0.5, np.nan], [1.0, 0.0, 0.0]],
            NonFiniteError,
            r"pi must be finite, got nan at index \(0, 2\)",
        ),
        (
            [[0.5 + 1e-3j, 0.5, 0.0], [1.0, 0.0, 0.0]],
            ArgumentError,
            "pi must have imaginary parts of at most 1e-08, got 0.001",
        ),
        ([[None] * 3] * 2, ArgumentTypeError, "pi must hold numbers"),
    ],
)
def test_bad_policies_are_refused_by_every_function(pi, error, message):
    m = TabularMDP(**GOOD)
    for f in (mdp.state_values, mdp.action_values, mdp.advantages, mdp.visitation, mdp.expected_return):
        with pytest.raises(error, match=message):
            f(m, pi)
    with pytest.raises(error, match=message.replace("^pi", "^new")):
        mdp.check_policy(m, pi, "new" if message.startswith("^pi") else "pi")


def test_policies_are_widened_and_never_renormalised():
    m = TabularMDP(**GOOD)
    almost = np.array([[0.5, 0.5, 5e-10], [0.25, 0.25, 0.5]])
    assert (mdp.check_policy(m, almost) == almost).all()
    assert mdp.check_policy(m, np.float32([[0.5, 0.5, 0.0]] * 2)).dtype == np.float64
    assert mdp.check_policy(m, [[1, 0, 0]] * 2).dtype == np.float64
    assert mdp.check_policy(m, np.array([[1, 0, 0]] * 2, np.complex64)).dtype == np.complex128
    with pytest.raises(ArgumentTypeError, match="real numbers"):
        mdp.as_policy("pi", np.array([[1j + 1]]), kind="f")
