"""A finite MDP as an environment: its states are the observations, a row's missing mass ends the episode.

The discount of the MDP plays no part here: it belongs to the algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, Vector
from pgref.chains import TOLERANCE
from pgref.envs.protocol import Moved
from pgref.errors import ArgumentTypeError
from pgref.mdp import TabularMDP
from pgref.spaces import Discrete


class Rows(NamedTuple):
    """Distributions over the states, row by row: entries first[i] … first[i + 1] − 1 are those of row i."""

    first: Vector  # [rows + 1]
    totals: Vector  # [entries + 1] the sum of the row up to this entry; the last entry is a stop
    states: Vector  # [entries + 1] the state that an entry leads to


@dataclass(frozen=True, eq=False)
class Tabular:
    """Dynamics of an MDP: s′ ~ P(·|s, a), r = R(s, a); the observation is the state's index, int64.

    A step that terminates leaves the state where it was: that is its `final_obs`.

    Raises:
        ArgumentTypeError: not a TabularMDP.

    >>> flip = Tabular(TabularMDP([[[0.0, 1.0]], [[1.0, 0.0]]], [[3.0], [4.0]], [1.0, 0.0], 0.9))
    >>> flip.move(np.array([[0, 1]]), np.array([0, 0]), np.array([[0.2, 0.7]]))[:2]
    (array([[1, 0]]), array([3., 4.]))
    """

    mdp: TabularMDP
    _transitions: Rows = field(init=False, repr=False)
    _start: Rows = field(init=False, repr=False)

    start_draws: ClassVar[int] = 1
    step_draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.mdp, TabularMDP):
            raise ArgumentTypeError(f"mdp must be a TabularMDP, got {type(self.mdp).__name__}")
        object.__setattr__(self, "_transitions", _rows(self.mdp.transitions))
        object.__setattr__(self, "_start", _rows(self.mdp.start))

    @property
    def obs_space(self) -> Discrete:
        return Discrete(self.mdp.n_states)

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.mdp.n_actions)

    def start(self, draws: Matrix) -> Matrix:
        return _drawn(self._start, np.zeros(draws.shape[1], np.int64), draws[0])[0][None]

    def move(self, x: Matrix, actions: Array, draws: Matrix) -> Moved:
        s = x[0]
        states, missed = _drawn(self._transitions, s * self.mdp.n_actions + actions, draws[0])
        return Moved(np.where(missed, s, states)[None], self.mdp.rewards[s, actions], missed)

    def observe(self, x: Matrix) -> Array:
        return np.array(x[0])


def _rows(p: Any) -> Rows:
    """Return the rows of an array […, S] or of a CSR matrix, with their running sums."""
    if isinstance(p, np.ndarray):
        n_states = p.shape[-1]
        first, totals = np.arange(0, p.size + 1, n_states), p.ravel()
        states = np.tile(np.arange(n_states), p.size // n_states)
    else:
        first, totals, states = p.indptr.astype(np.int64), p.data, p.indices
    totals = np.append(totals, np.inf)
    last = first[1:]
    for k in range(1, int(np.diff(first).max())):
        entry = (first[:-1] + k)[first[:-1] + k < last]
        totals[entry] += totals[entry - 1]
    return Rows(first, _completed(totals, first), np.append(states, 0).astype(np.int64))


def _completed(totals: Vector, first: Vector) -> Vector:
    """Return the running sums of the rows, those that reach 1 within the tolerance reaching it exactly.

    Else rounding would end one episode in 10¹⁶ where none ends.
    """
    row = np.repeat(np.arange(len(first) - 1), np.diff(first))
    total = totals[first[1:] - 1][row]
    totals[:-1][(totals[:-1] == total) & (total >= 1.0 - TOLERANCE)] = 1.0
    return totals


def _drawn(rows: Rows, row: Vector, u: Vector) -> tuple[Vector, Array]:
    """Return the states drawn by the numbers u [E] from each one's row, and where u missed the row's mass.

    The state is that of the first entry whose running sum exceeds u, found by bisection: an entry of
    probability 0 exceeds no u that the entry before does not.
    """
    low, high = rows.first[row], rows.first[row + 1]
    end = high
    while (undecided := low < high).any():
        middle = (low + high) // 2
        above = undecided & (rows.totals[middle] <= u)
        low, high = np.where(above, middle + 1, low), np.where(above, high, middle)
    return rows.states[low], low == end
