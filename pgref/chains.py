"""A Markov chain that may end: (I − γP)⁻¹b and its transpose, for P [S, S] as an array or a CSR matrix.

A row of P sums to at most one; the missing mass ends the chain. With γ = 1 the inverse exists if and only
if the chain ends almost surely from everywhere. Knows nothing of actions, policies or rewards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pgref.arrays import Vector
from pgref.errors import NotAbsorbingError, scipy_needed

TOLERANCE = 1e-9  # how far a sum of probabilities may be off
LONGEST = 1e12  # the most expected steps to the end, ‖(I − γP)⁻¹‖∞: beyond, fewer than four digits are left
NARROW = 100  # the bandwidth up to which a factorisation is cheap
STEPS = 1000  # Krylov steps for five digits


def resolvent(chain: Any, discount: float, b: Vector, *, transposed: bool = False) -> Vector:
    """Return x = (I − γP)⁻¹b, [S], or x = (I − γPᵀ)⁻¹b: values from rewards, visitations from a start.

    P or b may be complex, with tiny imaginary parts: x is then right to first order in them.

    Raises:
        NotAbsorbingError: γ = 1 and the chain can run for ever, or too long for float64.
    """
    n_states = chain.shape[0]
    if discount == 1.0:
        _require_no_closed_class(chain.real.copy())  # SciPy sorts in place what a view shares
    if isinstance(chain, np.ndarray):
        matrix = np.eye(n_states) - discount * chain
    else:
        from scipy.sparse import eye

        matrix = eye(n_states, format="csr") - discount * chain
    if discount > 1.0 - 1e-6:
        _require_soon_over(matrix.real.copy(), discount)
    return _solve(matrix.T, b, 1) if transposed else _solve(matrix, b, np.inf)


def _solve(matrix: Any, b: Vector, order: float) -> Vector:
    if isinstance(matrix, np.ndarray):
        return np.asarray(np.linalg.solve(matrix, b))
    if not (np.iscomplexobj(matrix) or np.iscomplexobj(b)):
        return _solve_sparse(matrix, b, order)
    # to first order, A x = b and A dx = db − dA x: each part is solved at its own scale
    real = matrix.real.copy()  # the view itself is strided
    x = _solve_sparse(real, b.real.copy(), order)
    return x + 1j * _solve_sparse(real, b.imag - matrix.imag @ x, order)


def _solve_sparse(matrix: Any, b: Vector, order: float) -> Vector:
    """Return A⁻¹b, in the norm in which I − γP has a bounded inverse: ‖·‖∞ for values, ‖·‖₁ for visitations.

    On a long corridor a factorisation is cheap and Krylov steps creep from state to state; on a random
    graph a factorisation fills in and Krylov steps converge in a few dozen products.
    """
    from scipy.sparse.linalg import splu

    if matrix.shape[0] > NARROW and _bandwidth(matrix) > NARROW:
        x = _krylov(matrix, b, order)
        if x is not None:
            return x
    solve = splu(matrix.tocsc()).solve
    x = solve(b)
    return np.asarray(x + solve(b - matrix @ x))


def _bandwidth(matrix: Any) -> int:
    """Return how far apart linked states are, once linked states are numbered close together."""
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    links = (abs(matrix) + abs(matrix).T).tocsr()
    place = np.argsort(reverse_cuthill_mckee(links, symmetric_mode=True))
    row, column = links.nonzero()
    return int(abs(place[row] - place[column]).max())


def _krylov(matrix: Any, b: Vector, order: float) -> Vector | None:
    """Return A⁻¹b by corrections for the true residual down to rounding, or None where they are too slow."""
    from scipy.sparse.linalg import bicgstab

    x, error = np.zeros_like(b), np.inf
    for _ in range(30):
        for _ in range(4):  # Neumann steps: Krylov steps break down from a single start state
            x = x + (b - matrix @ x)
        r = b - matrix @ x
        error, before = float(np.linalg.norm(r, order)), error
        settled = error <= 1e-11 * (np.linalg.norm(b, order) + np.linalg.norm(x, order))
        if not (settled or error < before):
            break
        scale = abs(r).max() or 1.0  # bicgstab would take a small right-hand side for a breakdown
        with np.errstate(all="ignore"):
            dx, info = bicgstab(matrix, r / scale, atol=0.0, maxiter=STEPS)
        if info > 0:  # too slow; after a breakdown (below 0) the next start may do better
            break
        x = x + scale * dx
        if settled:  # and by now five digits better: only rounding is left
            return np.asarray(x)
    return None


def _require_no_closed_class(chain: Any) -> None:
    """Raise if a strongly connected component has no edge out of it and loses no mass."""
    with scipy_needed("a discount of 1"):
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import connected_components

    edges = csr_matrix(chain > 0.0)
    n_classes, label = connected_components(edges, directed=True, connection="strong")
    source, target = edges.nonzero()
    closed = np.ones(n_classes, np.bool_)
    closed[label[source[label[source] != label[target]]]] = False
    closed[label[np.asarray(chain.sum(axis=1)).ravel() < 1.0 - TOLERANCE]] = False
    if closed.any():
        states = np.flatnonzero(label == closed.argmax())
        named = ",".join(map(str, states[:8])) + (f",… ({states.size} states)" if states.size > 8 else "")
        raise NotAbsorbingError(
            f"discount=1 and states {{{named}}} form a closed class under this policy: it never ends there"
        )


def _require_soon_over(matrix: Any, discount: float) -> None:
    """Raise if (I − γP)⁻¹1, the expected steps to the end and so the condition number, is out of reach."""
    try:
        steps = _solve(matrix, np.ones(matrix.shape[0]), np.inf)
    except (np.linalg.LinAlgError, RuntimeError):  # exactly singular in float64
        steps = np.array([np.inf])
    if not ((steps > 0.0) & (steps < LONGEST)).all():
        raise NotAbsorbingError(
            f"discount={discount!r} and from some state more than {LONGEST:g} steps are expected to the end "
            "under this policy: too long for float64"
        )
