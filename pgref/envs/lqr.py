"""Linear dynamics with a quadratic cost: a task with real actions whose optimum is known, x′ = Ax + Bu + w.

The reward is −(x·Qx + u·Ru), w is N(0, σ²I), and only the time limit ends an episode. The best action is
linear in the state, u = −K_t x, and the best return is −E(x₀·P₀x₀) − Σ_t σ² tr P_t: the gains K and the
costs P come from the Riccati recursion, backwards from the last step.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, Vector, as_array, count, in_unit_interval, non_negative
from pgref.envs.protocol import Moved
from pgref.errors import ArgumentError, ShapeError
from pgref.spaces import Box

ROUNDING = 1e-14  # of the largest entry: two costs that differ by less are the same
LARGEST = 1e200  # entry of a cost on its way to infinity
STEPS = 10_000  # of the recursion until it should have settled


@dataclass(frozen=True, eq=False)
class LQR:
    """x′ = Ax + Bu + w, r = −(x·Qx + u·Ru), checked, copied and read-only; the observation is x.

    The default is a double integrator that leaks: a position and a velocity, both losing a fifth each step.
    Over 100 steps the best return is −15.77; the best single gain comes within 0.2 % of it, no action at
    all gives −34.

    Raises:
        ArgumentError: costs that are not symmetric, Q not positive semi-definite, R not positive definite,
            a negative noise, a start box whose low is above its high.
        ShapeError, NonFiniteError, ArgumentTypeError: an array that cannot be read as its comment says.
    """

    transition: Any = ((0.8, 0.3), (0.0, 0.8))  # A [n, n]
    control: Any = ((0.0,), (1.0,))  # B [n, m]
    state_cost: Any = ((1.0, 0.0), (0.0, 1.0))  # Q [n, n]
    action_cost: Any = ((0.5,),)  # R [m, m]
    noise: float = 0.2  # σ, in the units of the state
    start_low: Any = (-0.5, -0.5)  # [n] an episode starts uniformly in this box
    start_high: Any = (0.5, 0.5)  # [n]

    def __post_init__(self) -> None:
        control = as_array("control", self.control, (None, None))
        n, m = control.shape
        if not control.size:
            raise ShapeError(f"control must have at least one state and one action, got shape {(n, m)}")
        shapes = {
            "transition": (n, n),
            "control": (n, m),
            "state_cost": (n, n),
            "action_cost": (m, m),
            "start_low": (n,),
            "start_high": (n,),
        }
        for name, shape in shapes.items():
            array = np.array(as_array(name, getattr(self, name), shape), np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        _require_definite("state_cost", self.state_cost, strictly=False)
        _require_definite("action_cost", self.action_cost, strictly=True)
        if (self.start_low > self.start_high).any():
            raise ArgumentError(
                f"start_low must be at most start_high, got {self.start_low} and {self.start_high}"
            )
        object.__setattr__(self, "noise", non_negative("noise", self.noise))

    def __eq__(self, other: object) -> bool:
        names = [f.name for f in fields(self)]
        return isinstance(other, LQR) and all(
            np.array_equal(getattr(self, n), getattr(other, n)) for n in names
        )

    def __hash__(self) -> int:
        return hash((self.noise, *self.transition.flat))

    @property
    def obs_space(self) -> Box:
        return _everything(len(self.control))

    @property
    def action_space(self) -> Box:
        return _everything(self.control.shape[1])

    @property
    def start_draws(self) -> int:
        return len(self.control)

    @property
    def step_draws(self) -> int:
        n = len(self.control)
        return n + n % 2 if self.noise else 0

    def start(self, draws: Matrix) -> Matrix:
        low, high = self.start_low[:, None], self.start_high[:, None]
        return np.asarray(low + (high - low) * draws)

    def move(self, x: Matrix, actions: Array, draws: Matrix) -> Moved:
        u = actions.T
        reward = -(_quadratic(self.state_cost, x) + _quadratic(self.action_cost, u))
        x = _times(self.transition, x) + _times(self.control, u)
        if self.noise:
            x = x + self.noise * _normals(draws)[: len(x)]
        return Moved(x, reward, np.zeros(len(reward), np.bool_))

    def observe(self, x: Matrix) -> Array:
        return x.T.copy()


class Stationary(NamedTuple):
    """The best controller of an endless episode."""

    gain: Matrix  # K [m, n], u = −Kx
    cost: Matrix  # P [n, n]: the value is −x·Px − γσ² tr P/(1 − γ)
    status: Literal["converged", "diverged", "budget"]  # the latter: no gain, or hardly one, bounds the cost


def optimal_gains(lqr: LQR, horizon: int, discount: float = 1.0) -> Array:
    """Return K_t = (R + γB·PB)⁻¹ γB·PA with P = P_{t+1}, [T, m, n]: u_t = −K_t x_t is best over T steps.

    The last gain is zero: nothing comes after the last action but its own cost.

    Raises:
        ArgumentError: a horizon below 1, a discount outside [0, 1].
    """
    return np.array([gain for gain, _ in _backwards(lqr, horizon, discount)][::-1])


def optimal_return(lqr: LQR, horizon: int, discount: float = 1.0) -> float:
    """Return the largest E Σ_{t<T} γ^t r_t that any policy reaches; raises as `optimal_gains` does."""
    *later, (_, first) = _backwards(lqr, horizon, discount)
    noise = 0.0
    for _, cost in later:  # from the last step to the second: E w·Pw = σ² tr P
        noise = discount * (lqr.noise**2 * np.trace(cost) + noise)
    return float(-np.sum(first * _start_moment(lqr)) - noise)


def gain_return(lqr: LQR, gains: Any, horizon: int, discount: float = 1.0) -> float:
    """Return E Σ_{t<T} γ^t r_t under u = −Kx, for one K [m, n] or another for each step, [T, m, n].

    The second moments M = E(x xᵀ) are carried forwards: r = −tr((Q + K·RK) M), M′ = (A−BK) M (A−BK)ᵀ + σ²I.

    Raises:
        ArgumentError: a horizon below 1, a discount outside [0, 1].
        ShapeError, NonFiniteError, ArgumentTypeError: gains that do not fit.
    """
    horizon, discount = count("horizon", horizon), in_unit_interval("discount", discount)
    n, m = lqr.control.shape
    each = (horizon,) if np.ndim(gains) == 3 else ()
    gains = np.broadcast_to(as_array("gains", gains, (*each, m, n)), (horizon, m, n))
    moment, total = _start_moment(lqr), 0.0
    for t, gain in enumerate(gains):
        total -= discount**t * float(np.sum((lqr.state_cost + gain.T @ lqr.action_cost @ gain) * moment))
        closed = lqr.transition - lqr.control @ gain
        moment = closed @ moment @ closed.T + lqr.noise**2 * np.eye(n)
    return total


def riccati(lqr: LQR, discount: float = 1.0) -> Stationary:
    """Return the fixed point P = Q + γA·P(A − BK), K = (R + γB·PB)⁻¹ γB·PA, of the recursion.

    Raises:
        ArgumentError: a discount outside [0, 1].
    """
    discount = in_unit_interval("discount", discount)
    cost = np.zeros_like(lqr.state_cost)
    for _ in range(STEPS):
        before = cost
        gain, cost = _improved(lqr, before, discount)
        if np.abs(cost - before).max() <= ROUNDING * np.abs(cost).max():
            return Stationary(gain, cost, "converged")
        if np.abs(cost).max() > LARGEST:
            return Stationary(gain, cost, "diverged")
    return Stationary(gain, cost, "budget")


def _improved(lqr: LQR, cost: Matrix, discount: float) -> tuple[Matrix, Matrix]:
    """Return K and P one step before the cost [n, n]; in this form rounding keeps P semi-definite."""
    a, b = lqr.transition, lqr.control
    ahead = discount * b.T @ cost
    gain = np.linalg.solve(lqr.action_cost + ahead @ b, ahead @ a)
    closed = a - b @ gain
    return gain, lqr.state_cost + gain.T @ lqr.action_cost @ gain + discount * closed.T @ cost @ closed


def _backwards(lqr: LQR, horizon: int, discount: float) -> list[tuple[Matrix, Matrix]]:
    """Return K_t and P_t from the last step to the first."""
    horizon, discount = count("horizon", horizon), in_unit_interval("discount", discount)
    cost, steps = np.zeros_like(lqr.state_cost), []
    for _ in range(horizon):
        gain, cost = _improved(lqr, cost, discount)
        steps.append((gain, cost))
    return steps


def _start_moment(lqr: LQR) -> Matrix:
    """Return E(x₀x₀ᵀ), [n, n], for the uniform start."""
    mean, width = (lqr.start_low + lqr.start_high) / 2, lqr.start_high - lqr.start_low
    return np.outer(mean, mean) + np.diag(width**2 / 12)


def _times(matrix: Matrix, x: Matrix) -> Matrix:
    """Return the product, summed column by column: an environment's bits do not depend on the others."""
    return np.asarray(sum(column[:, None] * row for column, row in zip(matrix.T, x, strict=True)))


def _quadratic(matrix: Matrix, x: Matrix) -> Vector:
    return np.asarray(sum(x * _times(matrix, x)))  # over the rows, in order


def _normals(draws: Matrix) -> Matrix:
    """Return as many standard normal numbers as uniform ones, [2k, E]; k pairs.

    Source: Box & Muller 1958.
    """
    radius, angle = np.split(draws, 2)
    radius = np.sqrt(-2.0 * np.log1p(-radius))
    return np.concatenate([radius * np.cos(2 * np.pi * angle), radius * np.sin(2 * np.pi * angle)])


def _everything(n: int) -> Box:
    return Box((-np.inf,) * n, (np.inf,) * n)


def _require_definite(name: str, matrix: Matrix, *, strictly: bool) -> None:
    if (matrix != matrix.T).any():
        raise ArgumentError(f"{name} must be symmetric, got {matrix.tolist()}")
    least = np.linalg.eigvalsh(matrix).min()
    if least <= 0.0 if strictly else least < -ROUNDING * np.abs(matrix).max():
        wanted = "definite" if strictly else "semi-definite"
        raise ArgumentError(f"{name} must be positive {wanted}, got an eigenvalue of {least:g}")
