"""Finite Markov decision processes solved exactly: V, Q, A, ρ and J of a policy π[S, A].

A row of the transitions may sum to less than one: the missing mass is termination, with value 0. So a
discount of 1 is legal for every policy that ends almost surely. Knows nothing of parameters θ.

A policy may be complex, with tiny imaginary parts: Im J(π + ih·dπ)/h is then a derivative without
cancellation (Squire & Trapp 1998), and the results are complex too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pgref import chains
from pgref.arrays import Array, Matrix, Vector, as_array, in_unit_interval
from pgref.chains import TOLERANCE
from pgref.errors import ArgumentError, ShapeError

LARGEST_REWARD = 1e200  # so that no sum, no value and no bound overflows
LARGEST_STEP = 1e-8  # of an imaginary part: its square vanishes beside 1


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """A finite MDP (S, A, P, R, μ, γ), checked, copied and read-only.

    transitions is [S, A, S], or any scipy.sparse matrix or array of shape [S·A, S] whose row s·A + a holds
    P(·|s, a); the sparse form is kept as a CSR matrix. rewards are the expected R(s, a).

    Raises:
        ArgumentError: a negative probability, a row above 1, a start that does not sum to 1, a discount
            outside [0, 1], a reward above 1e200.
        ShapeError, NonFiniteError, ArgumentTypeError: an array that cannot be read as its comment says.

    >>> mdp = TabularMDP([[[0.5]]], [[3.0]], [1.0], discount=1.0)  # each step ends it with probability ½
    >>> expected_return(mdp, [[1.0]])
    6.0
    """

    transitions: Any  # [S, A, S], or CSR [S·A, S]; rows sum to at most 1
    rewards: Matrix  # [S, A]
    start: Vector  # [S] μ, sums to 1
    discount: float  # γ in [0, 1]

    def __post_init__(self) -> None:
        rewards = as_array("rewards", self.rewards, (None, None))
        if not rewards.size:
            raise ShapeError(
                f"rewards must have at least one state and one action, got shape {rewards.shape}"
            )
        if (largest := abs(rewards).max()) > LARGEST_REWARD:
            raise ArgumentError(f"rewards must be at most {LARGEST_REWARD:g} in magnitude, got {largest:g}")
        start = as_array("start", self.start, (rewards.shape[0],))
        _require_probabilities("start", start)
        if abs(start.sum() - 1.0) > TOLERANCE:
            raise ArgumentError(f"start sums to {start.sum():.12g} (must be 1, tolerance {TOLERANCE:g})")
        read = _checked_sparse if hasattr(self.transitions, "tocsr") else _checked_dense
        object.__setattr__(self, "transitions", read(self.transitions, *rewards.shape))
        object.__setattr__(self, "rewards", _frozen(rewards))
        object.__setattr__(self, "start", _frozen(start))
        object.__setattr__(self, "discount", in_unit_interval("discount", self.discount))

    @property
    def n_states(self) -> int:
        """S, the number of states."""
        return int(self.rewards.shape[0])

    @property
    def n_actions(self) -> int:
        """A, the number of actions."""
        return int(self.rewards.shape[1])


def state_values(mdp: TabularMDP, pi: Any) -> Vector:
    """Return V = (I − γP_π)⁻¹ r_π, [S], in the units of the rewards.

    Raises:
        ArgumentError: π is not a policy of this MDP, see `check_policy`.
        NotAbsorbingError: γ = 1 and under π some state never comes to an end.
    """
    pi = check_policy(mdp, pi)
    return resolvent(mdp, pi, (pi * mdp.rewards).sum(axis=1))


def action_values(mdp: TabularMDP, pi: Any) -> Matrix:
    """Return Q(s, a) = R(s, a) + γ Σ P(s'|s, a) V(s'), [S, A]; raises as `state_values` does."""
    return mdp.rewards + mdp.discount * expected_next(mdp, state_values(mdp, pi))


def advantages(mdp: TabularMDP, pi: Any) -> Matrix:
    """Return A = Q − V, [S, A], (5.16) with the true V; raises as `state_values` does."""
    pi = check_policy(mdp, pi)
    q = action_values(mdp, pi)
    return np.asarray(q - (pi * q).sum(axis=1, keepdims=True))  # V as Σ_a πQ, so that Σ_a πA is 0 to rounding


def visitation(mdp: TabularMDP, pi: Any) -> Vector:
    """Return ρ(s) = Σ_t γ^t P(S_t = s), [S], unnormalised: the weights of (5.21), (I − γP_πᵀ)⁻¹ μ.

    They add up to 1/(1 − γ) where nothing terminates, to the expected number of steps where γ = 1.
    Raises as `state_values` does.
    """
    return resolvent(mdp, check_policy(mdp, pi), mdp.start, transposed=True)


def expected_return(mdp: TabularMDP, pi: Any) -> Any:
    """Return J(π) = μ·V, a float, or complex for a complex π; raises as `state_values` does."""
    return (mdp.start @ state_values(mdp, pi)).item()


def check_policy(mdp: TabularMDP, pi: Any, name: str = "pi") -> Matrix:
    """Return π as an array [S, A] that fits the MDP; raises as `as_policy` does."""
    return as_policy(name, pi, mdp.rewards.shape)


def as_policy(name: str, pi: Any, shape: tuple[int | None, ...] = (None, None), kind: str = "c") -> Matrix:
    """Return π [S, A] as float64 or, for kind "c", also as complex128 with imaginary parts up to 1e-8.

    Raises:
        ArgumentError: a row whose real part is no distribution within 1e-9; nothing is renormalised.
        ShapeError, NonFiniteError, ArgumentTypeError: no such array.
    """
    array = as_array(name, pi, shape, kind)
    _require_some(name, array)
    array = np.asarray(array, np.result_type(array, np.float64))
    _require_probabilities(name, array.real)
    if np.iscomplexobj(array) and (largest := abs(array.imag).max()) > LARGEST_STEP:
        raise ArgumentError(f"{name} must have imaginary parts of at most {LARGEST_STEP:g}, got {largest:g}")
    totals = array.real.sum(axis=1)
    if (off := abs(totals - 1.0) > TOLERANCE).any():
        s = int(off.argmax())
        raise ArgumentError(f"{name}[{s}] sums to {totals[s]:.12g} (must be 1, tolerance {TOLERANCE:g})")
    return array


# Four linear maps for the modules above. They trust their arrays: π comes from check_policy.


def expected_next(mdp: TabularMDP, values: Vector) -> Matrix:
    """Return Σ_s' P(s'|s, a) f(s'), [S, A], for f = `values` [S]."""
    return np.asarray(mdp.transitions @ values).reshape(mdp.rewards.shape)


def arrivals(mdp: TabularMDP, flow: Matrix) -> Vector:
    """Return Σ_{s,a} w(s, a) P(s'|s, a), [S], for w = `flow` [S, A]: the transpose of `expected_next`."""
    return np.asarray(_rows(mdp).T @ flow.ravel())


def policy_transitions(mdp: TabularMDP, pi: Matrix) -> Any:
    """Return P_π(s'|s) = Σ_a π(a|s) P(s'|s, a), [S, S]: an array, or a CSR matrix for a sparse MDP."""
    if isinstance(mdp.transitions, np.ndarray):
        return np.einsum("sa,sat->st", pi, mdp.transitions)
    from scipy.sparse import csr_matrix

    choices = csr_matrix((pi.ravel(), np.arange(pi.size), np.arange(0, pi.size + 1, mdp.n_actions)))
    return choices @ mdp.transitions  # [S, S·A] @ [S·A, S]


def resolvent(mdp: TabularMDP, pi: Matrix, b: Vector, *, transposed: bool = False) -> Vector:
    """Return (I − γP_π)⁻¹b, [S], or (I − γP_πᵀ)⁻¹b; raises as `state_values` does."""
    return chains.resolvent(policy_transitions(mdp, pi), mdp.discount, b, transposed=transposed)


def _rows(mdp: TabularMDP) -> Any:
    return mdp.transitions.reshape(-1, mdp.n_states)  # a CSR matrix has this shape already


def _checked_dense(transitions: Any, n_states: int, n_actions: int) -> Array:
    array = as_array("transitions", transitions, (n_states, n_actions, n_states))
    _require_probabilities("transitions", array)
    _require_at_most_one(array.sum(axis=2))
    return _frozen(array)


def _checked_sparse(transitions: Any, n_states: int, n_actions: int) -> Any:
    from scipy.sparse import csr_matrix

    if transitions.shape != (n_states * n_actions, n_states):
        wanted = f"({n_states * n_actions}, {n_states})"
        raise ShapeError(f"sparse transitions must have shape {wanted}, row s·A + a, got {transitions.shape}")
    matrix = csr_matrix(transitions, copy=True)
    try:
        matrix.check_format(full_check=True)  # an index out of range would read foreign memory
    except ValueError as error:
        raise ArgumentError(f"transitions must be a valid sparse matrix, got one where {error}") from error
    matrix.data = np.array(as_array("transitions data", matrix.data, (None,)), np.float64)
    matrix.sum_duplicates()
    if (negative := matrix.data < 0.0).any():
        k = int(negative.argmax())
        row = int(np.searchsorted(matrix.indptr, k, side="right")) - 1
        index = f"{row // n_actions}, {row % n_actions}, {matrix.indices[k]}"
        raise ArgumentError(f"transitions[{index}] is {matrix.data[k]} (must be at least 0)")
    _require_at_most_one(np.asarray(matrix.sum(axis=1)).reshape(n_states, n_actions))
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    return matrix


def _require_some(name: str, array: Matrix) -> None:
    if not array.size:
        raise ShapeError(f"{name} must have at least one state and one action, got shape {array.shape}")


def _require_probabilities(name: str, p: Array) -> None:
    if (p < 0.0).any():
        index = tuple(int(i) for i in np.argwhere(p < 0.0)[0])
        raise ArgumentError(f"{name}[{', '.join(map(str, index))}] is {p[index]} (must be at least 0)")


def _require_at_most_one(totals: Matrix) -> None:
    if (above := totals > 1.0 + TOLERANCE).any():
        s, a = (int(i) for i in np.argwhere(above)[0])
        total = f"{totals[s, a]:.12g} (at most 1, tolerance {TOLERANCE:g})"
        raise ArgumentError(f"transitions[{s}, {a}] sums to {total}")


def _frozen(array: Array) -> Array:
    copy = np.array(array, np.float64)
    copy.flags.writeable = False
    return copy
