"""The claims on A3C: stale gradients, momentum out of asynchrony (Note 5.2), and Algorithm 5.21."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from pgref import asynchrony, optimizers
from pgref.arrays import Array, Vector
from pgref.checks.finding import Finding, at_least, at_most
from pgref.special import log_softmax

Z = 5.0  # standard errors that a sampled share or mean may be off: exceeded once in two million


def stale_gradients(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Without a coordinator gradients are usually stale, and come H_M times as fast (Section 5.6)."""
    workers, runs = int(rng.integers(3, 9)), 1000 + 20 * mdps
    n = 8 * workers
    seen = asynchrony.simulate(workers, 0.1, 1.0, 1.0, n, _exponential, rng, runs=runs)
    fresh = np.mean(seen.staleness[1:] == 0)  # independent events: the last finisher is also the next
    law = asynchrony.staleness_law(workers, 2 * workers)
    shares = np.bincount(seen.staleness[-1], minlength=n)[: 2 * workers] / runs
    rounds = asynchrony.synchronous_times(workers, runs, _exponential, rng)
    ratio = n / seen.times[-1].mean() / (workers * runs / rounds[-1])
    expected = asynchrony.throughput_ratio(workers)
    variance = 1.0 / n + sum(1.0 / k**2 for k in range(1, workers + 1)) / expected**2  # relative, of one run
    return [
        at_least("share of stale gradients, M ≥ 3", 1.0 - fresh, 0.5),
        at_most("|P(fresh) − 1/M| / σ", _share_z(fresh, 1.0 / workers, (n - 1) * runs), Z),
        at_most("|P(τ = k) − (1/M)(1 − 1/M)ᵏ| / σ, k < 2M", np.max(_share_z(shares, law, runs)), Z),
        at_most("|async/sync − H_M| / σ", abs(ratio / expected - 1.0) / math.sqrt(variance / runs), Z),
    ]


def momentum(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """In expectation asynchrony is momentum 1 − 1/M with step α/M after a full first step (Note 5.2)."""
    errors = []
    for _ in range(mdps):
        workers, n = int(rng.integers(1, 5)), 40
        step, curvature, w0 = rng.uniform(0.1, 1.0), rng.uniform(0.1, 1.5), rng.normal()
        expected = asynchrony.expected_iterates(workers, step, curvature, w0, n)
        others = (
            _mean_over_orders(workers, step * curvature, w0, 5),
            asynchrony.momentum_iterates(workers, step, curvature, w0, n),
            _momentum_sgd(workers, step, curvature, w0, n),
        )
        scale = np.abs(expected).max()
        errors.append([np.abs(expected[: other.size] - other).max() / scale for other in others])
    orders, heavy_ball, library = np.max(errors, axis=0)
    return [
        at_most("|E wₜ − mean over all Mᵗ orders of finishing| / max|E w|", orders, 1e-14),
        at_most("|E wₜ − heavy ball, μ = 1 − 1/M, step α/M| / max|E w|", heavy_ball, 1e-13),
        at_most("|E wₜ − optimizers.sgd with that momentum| / max|E w|", library, 1e-13),
        at_most("|mean of runs − E wₜ| / σ", _mean_z(rng, 1000 + 20 * mdps), Z),
    ]


def other_service_laws(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Without exponential service the momentum of Note 5.2 is another, or none."""
    workers, runs = int(rng.integers(2, 4)), 4000 + 20 * mdps
    uniform = asynchrony.simulate(
        workers, 0.1, 1.0, 1.0, 2, lambda rng, size: 1.0 - rng.random(size), rng, runs=runs
    )
    constant = asynchrony.simulate(workers, 0.1, 1.0, 1.0, 50, lambda rng, size: np.ones(size), rng)
    # any law: E w₂ − E w₁ = (1 − p)(E w₁ − E w₀) − pαλE w₁ with p = P(the second gradient is fresh)
    p = np.mean(uniform.staleness[1] == 0)
    off = np.abs(constant.staleness[workers:] - (workers - 1)).max()
    return [
        at_most("|p − 1/(M+1)| / σ, uniform service", _share_z(p, 1.0 / (workers + 1), runs), Z),
        at_least("(1/M − p)·M, uniform service", 1.0 - workers * p, 0.1),
        at_most("|τ − (M − 1)|, constant service: never fresh", off, 0.0),
    ]


def single_runs(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Single runs are unstable long before the mean, which is what Note 5.2 speaks of."""
    printed = np.abs(
        [asynchrony.mean_square_limit(m) for m in (1, 2, 4, 8)] - np.array([2, 1.2808, 0.843, 0.566])
    )
    radii = [_growth(m, asynchrony.mean_square_limit(m)) for m in range(1, 17)]
    rate, n = 3.0 * asynchrony.mean_square_limit(8), 300
    mean = asynchrony.expected_iterates(8, rate, 1.0, 1.0, n)
    squares = asynchrony.expected_squares(8, rate, 1.0, 1.0, n)
    runs = asynchrony.simulate(8, rate, 1.0, 1.0, n, _exponential, rng, runs=min(mdps, 100))
    return [
        at_most("|limit of αλ − (2, 1.2808, .843, .566)|, M = 1, 2, 4, 8", printed.max(), 5e-4),
        at_most(
            "|spectral radius of E w², E wr, E rr at it − 1|", np.abs(np.array(radii) - 1.0).max(), 1e-13
        ),
        at_least("limit of αλ for E w / for E w², M = 8", asynchrony.mean_limit(8) / (rate / 3.0), 50.0),
        at_most("|E wₙ|, M = 8, αλ three times the limit for E w²", abs(mean[-1]), 1e-6),
        at_least("E wₙ², same αλ", squares[-1], 1e6),
        at_least("smallest |wₙ| of all runs, same αλ", np.abs(runs.iterates[-1]).min(), 1e3),
    ]


def master_signs(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """The Master ascends in θ and descends in ψ; its printed reply swaps the two (Algorithm 5.21)."""
    eta, slopes = 1e-4, []
    for _ in range(mdps):
        actions, states = rng.integers(0, 3, 8), rng.integers(0, 4, 8)
        advantages, targets = rng.normal(size=8), rng.normal(size=8)
        theta, psi = rng.normal(size=3), rng.normal(size=4)
        g_theta = np.bincount(actions, advantages, 3) - np.exp(log_softmax(theta)) * advantages.sum()
        g_psi = -2.0 * np.bincount(states, targets - psi[states], 4)
        ends = [asynchrony.master_step(theta, psi, s * g_theta, s * g_psi, eta, eta) for s in (-1.0, 1.0)]
        surrogate = np.diff([advantages @ log_softmax(end.theta)[actions] for end in ends])[0]
        loss = np.diff([np.sum((targets - end.psi[states]) ** 2) for end in ends])[0]
        slopes.append((surrogate / (g_theta @ g_theta), loss / (g_psi @ g_psi)))
    left = [_distances_left(rng) for _ in range(1 + mdps // 5)]
    rise, fall = np.abs(np.array(slopes) / (2.0 * eta) - (1.0, -1.0)).max(axis=0)
    return [
        at_most("|ΔJ/(η‖g_θ‖²) − 1|, the surrogate rises", rise, 1e-5),
        at_most("|Δloss/(η‖g_ψ‖²) + 1|, the critic's loss falls", fall, 1e-5),
        at_most("distance to the optimum, 40 rounds / start, reply (θ, ψ)", np.max(left, axis=0)[0], 1e-8),
        at_least(
            "distance to the optimum, 40 rounds / start, printed reply (V_ψ, π_θ)",
            np.min(left, axis=0)[1],
            1e3,
        ),
    ]


def worker_pushes(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """The Worker first pushes a zero gradient and never its last one (Algorithm 5.21)."""
    off = []
    for _ in range(mdps):
        start, best = (asynchrony.Weights(rng.normal(size=3), rng.normal(size=2)) for _ in range(2))
        rounds = int(rng.integers(2, 9))
        once, printed = (_loop(start, _towards(best), k, push_last=False) for k in (1, rounds))
        off.append((_distance(once, start), _distance(printed, _loop(start, _towards(best), rounds - 1))))
    first, lost = np.max(off, axis=0)
    zero = asynchrony.Weights(np.zeros(1), np.zeros(1))
    pushed = [_loop(zero, _one, 9, 1.0, push_last=push).theta[0] for push in (False, True)]
    goals = [
        _loop(zero, _corridor, 9, 1.0, environment=0, carry_over=carry).theta[0] for carry in (False, True)
    ]
    ratio = _adam_after_zero(rng, mdps)
    return [
        at_most("|θ, ψ after the first fetch − before|, SGD", first, 0.0),
        at_most("|K rounds as printed − K − 1 completed rounds|", lost, 0.0),
        at_least("gradients never pushed, as printed", 9.0 - pushed[0], 1.0),
        at_most("gradients never pushed, completed", abs(9.0 - pushed[1]), 0.0),
        at_most(
            "|Adam's step after a zero push − √(1+β₂)/(1+β₁)|",
            np.abs(ratio - math.sqrt(1.999) / 1.9).max(),
            1e-13,
        ),
        at_least("share of Adam's step that the zero push costs", 1.0 - ratio.max(), 0.25),
        at_most("goals beyond L steps reached, environment reset for each k", goals[0], 0.0),
        at_least("goals beyond L steps reached, environment carried over", goals[1], 1.0),
    ]


def _exponential(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.standard_exponential(size)


def _share_z(share: Any, probability: Any, n: int) -> Any:
    """Return how many standard errors the share of n independent events is off their probability."""
    return np.abs(share - probability) / np.sqrt(probability * (1.0 - probability) / n)


def _mean_z(rng: np.random.Generator, runs: int) -> float:
    """Return how many standard errors the mean of simulated runs is off E wₜ at the worst t."""
    workers, n, noise = int(rng.integers(2, 9)), 30, rng.uniform(0.0, 0.5)
    step = 0.5 * asynchrony.mean_square_limit(workers)
    sample = asynchrony.simulate(workers, step, 1.0, 1.0, n, _exponential, rng, noise=noise, runs=runs)
    mean = asynchrony.expected_iterates(workers, step, 1.0, 1.0, n)
    # from w₂ on: w₀ and, but for noise, w₁ are the same in all runs
    off = np.abs(sample.iterates.mean(axis=1) - mean)[2:]
    return float(np.max(off / (sample.iterates.std(axis=1)[2:] / math.sqrt(runs))))


def _mean_over_orders(workers: int, rate: float, w0: float, n: int) -> Vector:
    """Return E w₀ … E wₙ by going through all Mⁿ equally likely orders of finishing."""
    order = np.array(list(itertools.product(range(workers), repeat=n))).T
    runs = np.arange(workers**n)
    w, read, means = np.full(runs.size, w0), np.full((workers, runs.size), w0), [w0]
    for first in order:
        w = w - rate * read[first, runs]
        read[first, runs] = w
        means.append(w.mean())
    return np.array(means)


def _momentum_sgd(workers: int, step: float, curvature: float, w: float, n: int) -> Vector:
    """Return the iterates of momentum SGD on ½λw²; its velocity αλw₀ makes the first step the full one."""
    state, iterates = optimizers.SGDState(np.array([step * curvature * w])), [w]
    for _ in range(n):
        state, update = optimizers.sgd(state, [curvature * w], step / workers, 1.0 - 1.0 / workers)
        w -= float(update[0])
        iterates.append(w)
    return np.array(iterates)


def _growth(workers: int, rate: float) -> float:
    """Return the largest factor by which one update multiplies second moments in the long run."""
    return float(np.abs(np.linalg.eigvals(asynchrony.second_moment_matrix(workers, rate))).max())


def _towards(best: asynchrony.Weights) -> asynchrony.Collect:
    """Return a worker with surrogate −½‖θ − θ*‖² and critic loss ½‖ψ − ψ*‖²."""
    return lambda theta, psi, environment: (best.theta - theta, psi - best.psi, environment)


def _one(theta: Vector, psi: Vector, environment: Any) -> tuple[Vector, Vector, Any]:
    """Collect a gradient of one, so that θ counts what was pushed."""
    return np.ones(1), np.zeros(1), environment


def _corridor(theta: Vector, psi: Vector, position: int) -> tuple[Vector, Vector, int]:
    """Walk L = 3 steps towards a goal 5 steps away, from which the walk starts again; θ counts the goals."""
    return np.array([float((position + 3) // 5)]), np.zeros(1), (position + 3) % 5


def _loop(
    start: asynchrony.Weights, collect: asynchrony.Collect, rounds: int, step: float = 0.1, **switches: Any
) -> asynchrony.Weights:
    return asynchrony.worker_loop(*start, collect, step, step, rounds, **switches)


def _distance(a: asynchrony.Weights, b: asynchrony.Weights) -> float:
    return float(np.linalg.norm(np.concatenate(a) - np.concatenate(b)))


def _distances_left(rng: np.random.Generator) -> list[float]:
    """Return the distance to an optimum, after 40 rounds over at the start: right and printed reply."""
    start = asynchrony.Weights(np.zeros(3), np.zeros(3))
    best = asynchrony.Weights(rng.normal(size=3), rng.normal(size=3))
    ends = [_loop(start, _towards(best), 40, 0.5, printed_reply=printed) for printed in (False, True)]
    return [_distance(end, best) / _distance(start, best) for end in ends]


def _adam_after_zero(rng: np.random.Generator, n: int) -> Vector:
    """Return Adam's update by a gradient after a zero one over its update by that gradient alone, [n]."""
    gradient = rng.normal(size=n)
    start = optimizers.adam_init(gradient)
    later, _ = optimizers.adam(start, np.zeros(n), 0.1, epsilon=1e-30)
    _, after = optimizers.adam(later, gradient, 0.1, epsilon=1e-30)
    _, alone = optimizers.adam(start, gradient, 0.1, epsilon=1e-30)
    return np.asarray(after / alone)
