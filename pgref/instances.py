"""Instances to check claims on: random MDPs of every structure, and families that reach or break a bound.

Dirichlet rows alone never come near a bound of the chapter, so `draw` mixes in sparse, deterministic and
ending rows, absorbing and unreachable states, saturated and deterministic policies, and the extremal
families. In those the advantages are ±ε with ε = `scale`, and V = 0 under the old policy.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, count, in_unit_interval, non_negative, positive
from pgref.errors import ArgumentError, scipy_needed
from pgref.mdp import TabularMDP
from pgref.special import softmax

DISCOUNTS = (0.0, 0.01, 0.5, 0.9, 0.99, 0.999)
PolicyKind = Literal["dirichlet", "saturated", "deterministic"]


class Instance(NamedTuple):
    """An MDP and two policies on it."""

    mdp: TabularMDP
    pi_old: Matrix  # [S, A] π
    pi_new: Matrix  # [S, A] π′


def random_mdp(
    rng: np.random.Generator,
    n_states: int = 5,
    n_actions: int = 3,
    discount: float = 0.9,
    *,
    successors: int | None = None,
    ending: float = 0.0,
    absorbing: int = 0,
    unreachable: int = 0,
    sparse: bool = False,
) -> TabularMDP:
    """Draw an MDP with Dirichlet rows and start, and normal rewards.

    Args:
        rng: where the randomness comes from.
        n_states: S.
        n_actions: A.
        discount: γ.
        successors: states that a row leads to: 1 makes it deterministic, None means all.
        ending: the largest probability that a step terminates; each row draws its own up to it.
        absorbing: so many first states only lead to themselves.
        unreachable: so many last states are never entered from the others, nor started in.
        sparse: whether the transitions are a CSR matrix.
    """
    n_states, n_actions = count("n_states", n_states), count("n_actions", n_actions)
    successors = n_states if successors is None else count("successors", successors)
    reachable = n_states - count("unreachable", unreachable, 0)
    if reachable < 1:
        raise ArgumentError(f"unreachable must be less than the {n_states} states, got {unreachable}")
    rows = rng.exponential(size=(n_states, n_actions, n_states))
    rows[:reachable, :, reachable:] = 0.0
    rows[rows < np.sort(rows)[..., -successors:][..., :1]] = 0.0
    rows /= rows.sum(axis=2, keepdims=True)
    if count("absorbing", absorbing, 0) > n_states:
        raise ArgumentError(f"absorbing must be at most the {n_states} states, got {absorbing}")
    for s in range(absorbing):
        rows[s] = np.eye(n_states)[s]
    rows *= 1.0 - in_unit_interval("ending", ending) * rng.random((n_states, n_actions, 1))
    start = np.zeros(n_states)
    start[:reachable] = rng.dirichlet(np.ones(reachable))
    transitions = _as_csr(rows) if sparse else rows
    return TabularMDP(transitions, rng.standard_normal((n_states, n_actions)), start, discount)


def random_policy(
    rng: np.random.Generator, n_states: int, n_actions: int, kind: PolicyKind = "dirichlet"
) -> Matrix:
    """Draw π [S, A]: Dirichlet rows, a softmax of logits ±50, or one action in each state."""
    shape = (count("n_states", n_states), count("n_actions", n_actions))
    if kind == "dirichlet":
        weights = rng.exponential(size=shape)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))
    if kind == "saturated":
        return softmax(rng.choice([-50.0, 50.0], shape))
    if kind == "deterministic":
        return np.eye(n_actions)[rng.integers(n_actions, size=n_states)]
    raise ArgumentError(f"kind must be dirichlet, saturated or deterministic, got {kind!r}")


def draw(rng: np.random.Generator) -> Instance:
    """Draw a small instance of any structure, γ < 1; the two policies are independent, close or identical."""
    discount = float(rng.choice(DISCOUNTS))
    family = rng.integers(16)
    if family == 0:
        return tv_tight(rng.uniform(0.0, 0.5), discount)
    if family == 1:
        return kl_tight(10.0 ** rng.uniform(-8.0, 1.0), discount)
    if family == 2:
        return random_walk(int(rng.integers(1, 5)), 10.0 ** rng.uniform(-8.0, 1.0), discount)
    n_states, n_actions = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    mdp = random_mdp(
        rng,
        n_states,
        n_actions,
        discount,
        successors=int(rng.choice([1, 2, n_states])),
        ending=float(rng.choice([0.0, 0.0, 0.5])),
        absorbing=int(rng.integers(n_states // 2 + 1)),
        unreachable=int(rng.integers(n_states // 2 + 1)) % n_states,
        sparse=family == 3,
    )
    kinds: tuple[PolicyKind, ...] = ("dirichlet", "saturated", "deterministic")
    pi_old, other = (random_policy(rng, n_states, n_actions, kinds[rng.integers(3)]) for _ in range(2))
    step = rng.choice([0.0, 1.0, 1.0, 10.0 ** rng.uniform(-8.0, 0.0)])
    return Instance(mdp, pi_old, other if step == 1.0 else pi_old + step * (other - pi_old))


def tv_tight(alpha: float, discount: float, scale: float = 1.0) -> Instance:
    """Return the instance on which the refined TV bound 4εα²γ/((1−γ)(1−γ(1−α))) is an equality, α ≤ ½."""
    if in_unit_interval("alpha", alpha) > 0.5:
        raise ArgumentError(f"alpha must be at most 0.5, got {alpha!r}")
    tilted = (0.5 + alpha, 0.5 - alpha)
    return _fork([1.0 - alpha, 0.0, alpha], [1.0 - alpha, alpha, 0.0], tilted, discount, scale)


def kl_tight(divergence: float, discount: float, scale: float = 1.0) -> Instance:
    """Return an instance with D(π ‖ π′) = `divergence` in all states that uses .495 of (5.25) at γ = .01."""
    discount = in_unit_interval("discount", discount)
    p = 0.5 if 2.0 * discount <= 1.0 else (1.0 - discount) / (2.0 * discount)
    rest = 1.0 - 2.0 * p
    return _fork([rest, p, p], [rest, *_tilted(p, divergence)], _tilted(0.5, divergence), discount, scale)


def random_walk(half_width: int, divergence: float, discount: float, scale: float = 1.0) -> Instance:
    """Return the walk on −N..N, started at 0, on which the error of L grows like (1−γ)^(−3/2) as γ → 1.

    π goes down or up with ½ each, π′ up a little more, with D(π ‖ π′) = `divergence` everywhere. Up pays
    ε·sign(s) and down −ε·sign(s); the ends reflect by staying. The transitions are sparse.
    """
    with scipy_needed("a sparse MDP"):
        from scipy.sparse import csr_matrix

    n = count("half_width", half_width)
    states = np.arange(2 * n + 1)
    target = np.clip(states[:, None] + [-1, 1], 0, 2 * n).ravel()
    transitions = csr_matrix((np.ones(target.size), (np.arange(target.size), target)))
    rewards = positive("scale", scale) * np.sign(states - n)[:, None] * [-1.0, 1.0]
    m = TabularMDP(transitions, rewards, (states == n).astype(np.float64), discount)
    up, down = _tilted(0.5, divergence)
    return Instance(m, *(np.tile(row, (2 * n + 1, 1)) for row in ([0.5, 0.5], [down, up])))


def mean_kl_counterexample(
    discount: float = 0.01, p: float = 1e-4, x: float = 1e-2, scale: float = 1.0
) -> Instance:
    """Return an instance that breaks (5.25) with the mean KL in place of the largest, by √((1−γ)/γ)/4.

    The start leads to a sharp state with probability p, else to a dull one. π′ tilts the sharp state by x
    and goes there more often by the η that makes the ratio largest as p and x → 0.
    """
    discount = in_unit_interval("discount", discount)
    eta = 2.0 * x * p * math.sqrt(discount / (1.0 - discount)) if discount < 1.0 else 0.0
    transitions = np.zeros((3, 2, 3))
    transitions[0] = np.eye(3)[1:]
    transitions[1, :, 1] = transitions[2, :, 2] = 1.0
    rewards = positive("scale", scale) * np.array([[0.0, 0.0], [0.0, 0.0], [1.0, -1.0]])
    pi_old = np.array([[1.0 - p, p], [0.5, 0.5], [0.5, 0.5]])
    pi_new = np.array([[1.0 - p - eta, p + eta], [0.5, 0.5], [0.5 + x, 0.5 - x]])
    return Instance(TabularMDP(transitions, rewards, np.eye(3)[0], discount), pi_old, pi_new)


def unreachable_counterexample(eta: float = 0.01, discount: float = 0.9, scale: float = 1.0) -> Instance:
    """Return an instance on which a maximum over the states that π reaches is too small, 1/(4η) times for TV.

    π never leaves the start; π′ does with probability η, to a state where the two policies differ fully.
    """
    eta = in_unit_interval("eta", eta)
    transitions = np.zeros((2, 2, 2))
    transitions[0] = np.eye(2)
    transitions[1, :, 1] = 1.0
    rewards = positive("scale", scale) * np.array([[0.0, 0.0], [0.0, 1.0]])
    pi_old, pi_new = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0 - eta, eta], [0.0, 1.0]])
    return Instance(TabularMDP(transitions, rewards, np.eye(2)[0], discount), pi_old, pi_new)


def aliased_mdp() -> TabularMDP:
    """Return s₀ → s₁ → end, γ = ½, on which ascending the printed (5.15) ends at the worst policy.

    The states look alike: π(a₀) = σ(θ) in both. Then J = ¾ + σ(θ)/4, but the printed gradient is negative.
    """
    transitions = np.zeros((2, 2, 2))
    transitions[0, :, 1] = 1.0
    return TabularMDP(transitions, np.diag([1.0, 1.5]), np.eye(2)[0], 0.5)


def two_step_mdp() -> TabularMDP:
    """Return an MDP with J = p(1 − p) if both of its states take their first action with probability p."""
    transitions = np.zeros((2, 2, 2))
    transitions[0, 0, 1] = 1.0  # the first action leads on, everything else ends
    return TabularMDP(transitions, np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0]), 1.0)


def _fork(
    p_old: list[float], p_new: list[float], tilted: tuple[float, float], discount: float, scale: float
) -> Instance:
    """Return u, +, −: in u the actions stay, go to + and go to −; there π′ tilts, in − the wrong way."""
    up, down = tilted
    transitions = np.zeros((3, 3, 3))
    transitions[0] = np.eye(3)
    transitions[1, :, 1] = transitions[2, :, 2] = 1.0
    rewards = positive("scale", scale) * np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [1.0, -1.0, 0.0]])
    pi_old = np.array([p_old, [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    pi_new = np.array([p_new, [up, down, 0.0], [down, up, 0.0]])
    return Instance(TabularMDP(transitions, rewards, np.eye(3)[0], discount), pi_old, pi_new)


def _tilted(p: float, divergence: float) -> tuple[float, float]:
    """Return (p + β, p − β) with D((p, p) ‖ (p + β, p − β)) = −p log(1 − (β/p)²) = `divergence`."""
    exponent = -non_negative("divergence", divergence) / p
    small = p * math.exp(exponent) / (1.0 + math.sqrt(-math.expm1(exponent)))  # p − β without cancellation
    return 2.0 * p - small, small


def _as_csr(rows: Array) -> object:
    with scipy_needed("a sparse MDP"):
        from scipy.sparse import csr_matrix

    return csr_matrix(rows.reshape(-1, rows.shape[2]))
