"""(I − γP)⁻¹b by each route, and chains that never end, or not soon enough."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given
from hypothesis import strategies as st

from pgref import chains
from pgref.errors import NotAbsorbingError

EPS = np.finfo(float).eps
seeds = st.integers(0, 2**32 - 1)


def random_graph(rng, n, links=3, keep=1.0):
    """A random graph: a factorisation fills in."""
    weights = keep * rng.dirichlet(np.ones(links), n)
    indptr = np.arange(0, n * links + 1, links)
    return scipy.sparse.csr_matrix((weights.ravel(), rng.integers(n, size=n * links), indptr), (n, n))


def corridor(n, up, ending=1.0):
    """A walk that ends beyond its upper end: iterations creep."""
    chain = scipy.sparse.diags([np.full(n - 1, 1 - up), np.full(n - 1, up)], [-1, 1], format="lil")
    chain[0, 0] = 1 - up
    chain[n - 1, n - 1] = up * (1 - ending)
    return chain.tocsr()


def residual(chain, discount, x, b, transposed):
    p = chain.T if transposed else chain
    return np.linalg.norm(b - (x - discount * (p @ x)), 1 if transposed else np.inf)


def size(x, transposed):
    return np.linalg.norm(x, 1 if transposed else np.inf)


def forbidden(*args, **kwargs):
    raise AssertionError("this route is not to be taken")


@pytest.mark.parametrize("discount", [0.01, 0.5, 0.99, 0.999999])
@pytest.mark.parametrize("transposed", [False, True])
def test_random_graphs_are_solved_to_rounding_without_a_factorisation(rng, monkeypatch, discount, transposed):
    monkeypatch.setattr(scipy.sparse.linalg, "splu", forbidden)
    chain = random_graph(rng, 20_000)
    b = np.eye(1, 20_000)[0] if transposed else rng.standard_normal(20_000)
    for right in (b, 1e-200 * b, 0 * b):
        x = chains.resolvent(chain, discount, right, transposed=transposed)
        assert residual(chain, discount, x, right, transposed) <= 16 * EPS * size(x, transposed)


@pytest.mark.parametrize("discount", [0.99, 0.999999, 1.0])
@pytest.mark.parametrize("transposed", [False, True])
def test_long_corridors_are_factorised_at_once(rng, monkeypatch, discount, transposed):
    monkeypatch.setattr(scipy.sparse.linalg, "bicgstab", forbidden)
    n = 100_000
    chain = corridor(n, 0.9)
    b = np.eye(1, n)[0] if transposed else rng.standard_normal(n)
    x = chains.resolvent(chain, discount, b, transposed=transposed)
    assert residual(chain, discount, x, b, transposed) <= 16 * EPS * size(x, transposed)


def test_expected_duration_of_a_corridor_is_its_closed_form():
    # upwards with probability p at speed 2p − 1; at 0 a step down stays
    n, p = 1000, 0.9
    steps = chains.resolvent(corridor(n, p), 1.0, np.ones(n))
    k, ratio = np.arange(n), (1 - p) / p
    exact = (n - k) / (2 * p - 1) - ratio / (p * (1 - ratio) ** 2) * (ratio**k - ratio**n)
    np.testing.assert_allclose(steps, exact, rtol=1e-12)


@given(
    seed=seeds, n=st.integers(1, 60), discount=st.sampled_from([0.0, 0.9, 0.999]), complex_step=st.booleans()
)
def test_every_route_agrees_with_a_dense_solve(seed, n, discount, complex_step):
    rng = np.random.default_rng(seed)
    chain, b = random_graph(rng, n, keep=0.999), rng.standard_normal(n)
    if complex_step:
        chain = chain + 1e-20j * (random_graph(rng, n) - chain)
    for transposed in (False, True):
        matrix = np.eye(n) - discount * (chain.toarray().T if transposed else chain.toarray())
        exact = np.linalg.solve(matrix, b)
        atol = 1e-12 * np.abs(exact.real).max()
        for narrow in (chains.NARROW, -1):  # LU, Krylov
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(chains, "NARROW", narrow)
                x = chains.resolvent(chain, discount, b, transposed=transposed)
            np.testing.assert_allclose(x.real, exact.real, rtol=0, atol=atol)
            scale = max(
                1e-20 * np.abs(exact.real).max(), np.abs(exact.imag).max()
            )  # dA x, and (I − γP)⁻¹ of it
            np.testing.assert_allclose(x.imag, exact.imag, rtol=0, atol=1e-12 * scale)
        dense = chains.resolvent(chain.toarray(), discount, b, transposed=transposed)
        np.testing.assert_allclose(dense, exact, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "answer",
    [
        lambda matrix, r, **options: (r, 7),  # too slow
        lambda matrix, r, **options: (1e9 * np.ones_like(r), -10),  # a breakdown that makes it worse
        lambda matrix, r, **options: (1e-3 * r, -11),  # breakdowns that hardly help
        lambda matrix, r, **options: (np.full_like(r, np.nan), -10),
    ],
)
def test_krylov_steps_that_fail_give_way_to_a_factorisation(rng, monkeypatch, answer):
    monkeypatch.setattr(scipy.sparse.linalg, "bicgstab", answer)
    chain, b = random_graph(rng, 400), rng.standard_normal(400)
    x = chains.resolvent(chain, 0.999, b)
    assert residual(chain, 0.999, x, b, False) <= 16 * EPS * size(x, False)


def test_arguments_stay_as_they_are(rng):
    chain, b = random_graph(rng, 50, keep=0.9), rng.standard_normal(50)
    before = chain.copy(), b.copy()
    chain.sort_indices()
    for array in (chain.data, chain.indices, chain.indptr, b):
        array.flags.writeable = False
    for discount in (0.9, 1.0):
        for transposed in (False, True):
            chains.resolvent(chain, discount, b, transposed=transposed)
    assert (chain != before[0]).nnz == 0
    assert (b == before[1]).all()


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
@pytest.mark.parametrize(
    ("chain", "states"),
    [
        ([[0, 1, 0], [1, 0, 0], [0, 0, 0.5]], "0,1"),
        ([[1]], "0"),
        ([[1 - 1e-10]], "0"),  # within the tolerance of a row's sum
        ([[0, 1, 0], [0, 0.5, 0], [0, 0, 1]], "2"),
        ([[0, 0.5, 0.5], [0, 1, 0], [0, 0, 0]], "1"),
    ],
)
def test_a_closed_class_is_named(form, chain, states):
    with pytest.raises(
        NotAbsorbingError, match=rf"^discount=1 and states \{{{states}\}} form a closed class"
    ):
        chains.resolvent(form(chain), 1.0, np.ones(len(chain)))
    assert np.isfinite(chains.resolvent(form(chain), 0.99, np.ones(len(chain)))).all()


def test_a_large_closed_class_is_abbreviated():
    ring = np.roll(np.eye(20), 1, axis=1)
    with pytest.raises(NotAbsorbingError, match=r"states \{0,1,2,3,4,5,6,7,… \(20 states\)\} form"):
        chains.resolvent(ring, 1.0, np.ones(20))


@pytest.mark.parametrize("chain", [[[0.5, 0.5], [0.0, 0.5]], [[0, 1], [0, 0]], [[0.0]], [[1 - 1e-8]]])
def test_a_chain_that_ends_is_accepted(chain):
    chain = np.array(chain, float)
    steps = chains.resolvent(chain, 1.0, np.ones(len(chain)))
    np.testing.assert_allclose(steps - chain @ steps, 1, rtol=1e-12)


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
@pytest.mark.parametrize(
    "chain",
    [
        [[0, 1, 0], [1 - 1e-13, 0, 1e-13], [0, 0, 0]],  # 2e13 steps
        [[0, 1, 0], [1, 0, 1e-30], [0, 0, 0]],  # singular in float64
    ],
)
def test_a_chain_that_ends_too_late_is_refused(form, chain):
    with pytest.raises(NotAbsorbingError, match=r"discount=1.0 and from some state more than 1e\+12 steps"):
        chains.resolvent(form(np.array(chain)), 1.0, np.ones(3))


def test_a_walk_against_its_drift_is_refused():
    """9¹⁰⁰ steps: a solver returns some number, of any sign."""
    with pytest.raises(NotAbsorbingError, match="too long for float64"):
        chains.resolvent(corridor(100, 0.1), 1.0, np.ones(100))


def test_a_discount_that_is_almost_1_is_refused_only_beyond_the_limit():
    stays = np.ones((1, 1))
    assert chains.resolvent(stays, 1 - 2.0**-39, np.ones(1)) == pytest.approx(2.0**39, rel=1e-15)
    with pytest.raises(NotAbsorbingError, match=r"discount=0\.9999"):
        chains.resolvent(stays, 1 - 2.0**-40, np.ones(1))
