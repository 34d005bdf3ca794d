"""Checks of the line search and of the advantage estimates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pgref import estimates, natural
from pgref.arrays import Matrix, Vector
from pgref.checks.finding import Finding, at_least, at_most
from pgref.special import log_softmax


def line_search_guards(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """The line search moves θ only to L > 0 and KL ≤ δ; a refused step leaves every bit of θ as it was."""
    kl_used, improvements, moved = [], [], []
    for _ in range(mdps):
        theta = rng.normal(size=rng.integers(2, 7)) * rng.uniform(0.0, 3.0)
        kl_limit = 10.0 ** rng.uniform(-4.0, -1.0)
        evaluate, step = _bandit(theta, rng.normal(size=theta.size), kl_limit)
        up = natural.line_search(evaluate, theta, step, kl_limit=kl_limit)
        improvement, kl = evaluate(up.theta)
        improvements.append(improvement)
        kl_used.append(kl / kl_limit)
        down = natural.line_search(evaluate, theta, -step, kl_limit=kl_limit)  # L falls all the way
        lost = natural.line_search(lambda _: (np.nan, 0.0), theta, step, kl_limit=kl_limit)
        moved.append(any(result.theta.tobytes() != theta.tobytes() for result in (down, lost)))
    rare = np.log([1.0 - 1e-4, 1e-4])
    evaluate, step = _bandit(rare, np.array([0.0, 1.0]), 0.01)
    return [
        at_most("KL/δ of an accepted step", np.max(kl_used), 1.0),
        at_least("L of an accepted step", np.min(improvements), np.nextafter(0.0, 1.0)),
        at_most("refused steps that changed a bit of θ", np.sum(moved), 0.0),
        at_least("KL/δ of the full step where π = (1−1e−4, 1e−4)", evaluate(rare + step)[1] / 0.01, 100.0),
    ]


def generalised_advantage(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """GAE(λ) is Σ_l (γλ)^l δ_{t+l} within an episode: δ itself for λ = 0, the return less V for λ = 1."""
    errors = []
    for _ in range(mdps):
        n_steps, n_envs = rng.integers(1, 11), rng.integers(1, 4)
        rewards, values, next_values = rng.normal(size=(3, n_steps, n_envs))
        terminated, truncated = rng.uniform(size=(2, n_steps, n_envs)) < 0.15
        discount, trace = rng.uniform(size=2)
        flags = (terminated, truncated, discount)
        ended = terminated | truncated
        next_values[:-1] = np.where(ended[:-1], next_values[:-1], values[1:])  # one V of one observation
        last = (np.arange(n_steps) == n_steps - 1)[:, None]
        after = np.where(terminated, 0.0, next_values)
        delta = rewards + discount * after - values
        returns = _double_sum(rewards + discount * np.where(ended | last, after, 0.0), discount, ended)
        differences = (
            estimates.gae(rewards, values, next_values, *flags, 0.0) - delta,
            estimates.gae(rewards, values, next_values, *flags, 1.0) - (returns - values),
            estimates.gae(rewards, values, next_values, *flags, trace)
            - _double_sum(delta, discount * trace, ended),
            estimates.returns_to_go(rewards, next_values, *flags) - returns,
        )
        errors.append([np.abs(difference).max() for difference in differences])
    names = "|GAE(0) − δ|", "|GAE(1) − (G − V)|", "|GAE(λ) − Σ(γλ)^l δ|", "|G − Σγ^k R|"
    return [at_most(name, error, 1e-13) for name, error in zip(names, np.max(errors, axis=0), strict=True)]


def bootstrap_at_cut_off(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """V(S') counts 0 after a terminal step and in full after a cut-off; confusing them biases by γV(S')."""
    errors, lost, gained = [], [], []
    for _ in range(mdps):
        discount, trace = rng.uniform(0.5, 1.0), rng.uniform()
        rewards, values, next_values, terminated, truncated = _walks(rng, discount)
        flags = (terminated, truncated, discount)
        right = estimates.td_errors(rewards, values, next_values, terminated, discount)
        both_terminal = estimates.td_errors(rewards, values, next_values, terminated | truncated, discount)
        none_terminal = estimates.td_errors(rewards, values, next_values, np.zeros_like(terminated), discount)
        differences = (
            right,
            estimates.gae(rewards, values, next_values, *flags, trace),
            estimates.returns_to_go(rewards, next_values, *flags) - values,
            both_terminal + discount * np.where(truncated, next_values, 0.0),
            none_terminal - discount * np.where(terminated, next_values, 0.0),
        )
        errors.append([np.abs(difference).max() for difference in differences])
        lost.append(np.abs(both_terminal[truncated]).min())
        gained.append(np.abs(none_terminal[terminated]).min())
    names = (
        "|δ|, V exact",
        "|GAE(λ)|, V exact",
        "|G − V|",
        "|δ + γV(S′)|, cut taken as end",
        "|δ − γV(S′)|, end as cut",
    )
    return [
        *(at_most(name, error, 1e-13) for name, error in zip(names, np.max(errors, axis=0), strict=True)),
        at_least("least |bias| where a cut-off is taken for an end", np.min(lost), 0.25),
        at_least("least |bias| where an end is taken for a cut-off", np.min(gained), 2.5),
    ]


def _bandit(
    theta: Vector, q: Vector, kl_limit: float
) -> tuple[Callable[[Vector], tuple[float, float]], Vector]:
    """Return θ' ↦ (L, KL), exactly, for a softmax bandit with action values q, and its full natural step."""
    log_old = log_softmax(theta)
    pi = np.exp(log_old)
    advantage = q - pi @ q

    def evaluate(candidate: Vector) -> tuple[float, float]:
        log_new = log_softmax(candidate)
        return float(np.exp(log_new) @ advantage), float(pi @ (log_old - log_new))

    direction = advantage - advantage.mean()  # H⁺g of a softmax
    return evaluate, natural.natural_step(lambda v: pi * (v - pi @ v), direction, kl_limit=kl_limit)


def _double_sum(terms: Matrix, factor: float, ended: Matrix) -> Matrix:
    """Return y_t = Σ_u c^{u−t} x_u over u = t, t + 1, … up to the episode's end, every sum written out."""
    episode = np.cumsum(ended, axis=0) - ended  # ends before step t
    step = np.arange(len(terms))
    lag = (step - step[:, None])[:, :, None]
    counts = (lag >= 0) & (episode == episode[:, None])
    total: Matrix = np.einsum("tue,ue->te", np.where(counts, factor ** np.maximum(lag, 0), 0.0), terms)
    return total


def _walks(rng: np.random.Generator, discount: float) -> tuple[Matrix, Matrix, Matrix, Matrix, Matrix]:
    """Return twelve steps in three environments along a chain s → s + 1 that ends after its last state.

    V is exact, except at the terminal state, where it is 5, as a critic that was never trained there might
    say. Some walks are cut off on the way; an ended one starts again anywhere.
    """
    n = int(rng.integers(2, 6))
    reward_of = rng.uniform(0.5, 1.5, n)
    value_of = np.append([discount ** np.arange(n - s) @ reward_of[s:] for s in range(n)], 5.0)
    state, steps = np.array([0, n - 1, rng.integers(n)]), []
    for t in range(12):
        terminated = state == n - 1
        truncated = ~terminated & (rng.uniform(size=3) < (0.2 if t else 1.0))  # the first of them for certain
        steps.append((reward_of[state], value_of[state], value_of[state + 1], terminated, truncated))
        state = np.where(terminated | truncated, rng.integers(n, size=3), state + 1)
    rewards, values, next_values, ends, cuts = (np.array(column) for column in zip(*steps, strict=True))
    return rewards, values, next_values, ends, cuts
