"""The queue model of Note 5.2, and the Master and the Worker of Algorithm 5.21 without their threads.

M workers each read w, take a random service time over the gradient λw of ½λw², apply w ← w − αλ·(what they
read) and read again. What a worker applies is therefore stale. With exponential service every worker is
equally likely to finish next, whatever happened before: that makes expectations exact. Imports NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pgref.arrays import Array, Matrix, Vector, as_array, count, finite, non_negative, positive
from pgref.errors import ArgumentError

# (rng, size) ↦ i.i.d. times above 0;  (θ, ψ, environment) ↦ (g_θ, g_ψ, environment) after L steps
Service: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], Array]
Collect: TypeAlias = Callable[[Vector, Vector, Any], tuple[Vector, Vector, Any]]


class Simulation(NamedTuple):
    """What `simulate` saw, one column a run."""

    iterates: Array  # [n+1, runs] w before the first and after each update
    staleness: Array  # [n, runs] updates that others made between a gradient's read and its update
    times: Array  # [n, runs] when each update came, in units of the service times


class Weights(NamedTuple):
    """What the Master keeps and hands out, in the order in which the Worker unpacks it."""

    theta: Vector  # [P] the actor's parameters
    psi: Vector  # [Q] the critic's parameters


def expected_iterates(workers: int, step: float, curvature: float, w0: float, n: int) -> Vector:
    """Return E w₀ … E wₙ, [n+1], for M workers with exponential service (Note 5.2).

    The finisher is uniform among the workers, so E w and the mean r of what the workers have read obey
    E w′ = E w − αλ·E r and E r′ = E r + (E w′ − E r)/M, exactly. Iterates that diverge end as ∞, then NaN.

    Raises:
        ArgumentError: M < 1, n < 0, α ≤ 0, or λ or w₀ not finite.

    >>> expected_iterates(workers=2, step=0.5, curvature=1.0, w0=1.0, n=3)
    array([ 1.     ,  0.5    ,  0.125  , -0.09375])
    """
    m, rate = count("workers", workers), positive("step", step) * finite("curvature", curvature)
    w = read = finite("w0", w0)
    iterates = [w]
    for _ in range(count("n", n, 0)):
        w -= rate * read
        read += (w - read) / m
        iterates.append(w)
    return np.array(iterates)


def momentum_iterates(workers: int, step: float, curvature: float, w0: float, n: int) -> Vector:
    """Return the same E w as the heavy ball w′ = w + μ(w − w₋₁) − (α/M)λw with μ = 1 − 1/M (Note 5.2).

    The first step is the full one, w₁ = w₀ − αλw₀, since all gradients are fresh then. So asynchrony acts
    like momentum in expectation, with exponential service, on a quadratic; see `mean_square_limit`.

    Raises:
        ArgumentError: as for `expected_iterates`.

    Source: Mitliagkas, Zhang, Hadjis & Ré (2016), for the momentum; the first step follows from the model.
    """
    m, rate = count("workers", workers), positive("step", step) * finite("curvature", curvature)
    w = finite("w0", w0)
    iterates = [w]
    move = -rate * w
    for _ in range(count("n", n, 0)):
        w += move
        iterates.append(w)
        move = (1.0 - 1.0 / m) * move - rate / m * w
    return np.array(iterates)


def second_moment_matrix(workers: int, rate: float) -> Matrix:
    """Return the [4, 4] matrix that takes (E w², E wrᵢ, E rᵢ², E rᵢrⱼ) to the next update, rate = αλ, i ≠ j.

    One worker i finishes, w′ = w − αλrᵢ = rᵢ′, and the others keep what they read; by symmetry all share
    the same moments. One worker forms no pair: its last row is zero.

    Raises:
        ArgumentError: M < 1, or a rate that is not finite.
    """
    m, a = 1.0 / count("workers", workers), finite("rate", rate)
    ww = np.array([1.0, -2.0 * a, a * a, 0.0])  # E w′²
    wr = np.array([0.0, 1.0, 0.0, -a])  # E w′rⱼ with a worker that did not finish
    _, _, rr, pair = np.eye(4)
    moved = 2.0 * m * wr + (1.0 - 2.0 * m) * pair if workers > 1 else np.zeros(4)
    return np.array([ww, m * ww + (1.0 - m) * wr, m * ww + (1.0 - m) * rr, moved])


def expected_squares(
    workers: int, step: float, curvature: float, w0: float, n: int, noise: float = 0.0
) -> Vector:
    """Return E w₀² … E wₙ², [n+1], for the gradient λw + σξ with ξ ∼ N(0, 1), σ = noise.

    With `expected_iterates` this is the spread of single runs, which the mean does not show (Note 5.2).

    Raises:
        ArgumentError: σ < 0, or as for `expected_iterates`.
    """
    rate = positive("step", step) * finite("curvature", curvature)
    matrix = second_moment_matrix(workers, rate)
    spread, m = step * non_negative("noise", noise), 1.0 / workers
    fresh = spread * spread * np.array([1.0, m, m, 0.0])
    moments = np.full(4, finite("w0", w0) * w0)
    squares = [moments[0]]
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the limit they end as ∞, then NaN
        for _ in range(count("n", n, 0)):
            moments = matrix @ moments + fresh
            squares.append(moments[0])
    return np.array(squares)


def mean_limit(workers: int) -> float:
    """Return 4M − 2: from w₀ ≠ 0, E wₜ → 0 if and only if 0 < αλ < 4M − 2.

    The heavy ball's z² − (1 + μ − αλ/M)z + μ has both roots inside the unit circle when 0 < αλ/M < 2(1 + μ).
    """
    return 4.0 * count("workers", workers) - 2.0


def mean_square_limit(workers: int) -> float:
    """Return (1 + √(1 + 8M))/(2M): from w₀ ≠ 0, E wₜ² → 0 if and only if αλ is above 0 and below it.

    2, 1.28, 1, .843 for M = 1, 2, 3, 4, while `mean_limit` grows: single runs blow up long before the mean,
    rare ones just above this limit, almost every one at twice the limit (sampled for M ≤ 8).

    `second_moment_matrix` maps moments to moments, a cone, so its largest eigenvalue is real and the limit is
    where that is 1. The fixed point there has E rᵢ² = E w², E wrᵢ = (αλ/2)E w² and E rᵢrⱼ = E wrᵢ/(1 + αλ);
    the equation of E wrᵢ then leaves M(αλ)² − αλ − 2 = 0.
    """
    m = count("workers", workers)
    return (1.0 + math.sqrt(1.0 + 8.0 * m)) / (2.0 * m)


def staleness_law(workers: int, n: int) -> Vector:
    """Return P(τ = k) = (1/M)(1 − 1/M)ᵏ for k < n, [n], with exponential service (Note 5.2).

    τ counts the updates of others between a gradient's read and its own update; its mean is M − 1. Update t,
    from 0, cannot be staler than t: there τ = t holds the rest of the law.

    >>> staleness_law(workers=2, n=3)
    array([0.5  , 0.25 , 0.125])
    """
    m = count("workers", workers)
    return np.array((1.0 - 1.0 / m) ** np.arange(count("n", n, 0)) / m)


def throughput_ratio(workers: int) -> float:
    """Return H_M = 1 + ½ + … + 1/M, asynchronous over synchronous gradients per time (Section 5.6).

    With exponential service, where waiting for the slowest of M takes H_M mean service times.
    """
    return math.fsum(1.0 / k for k in range(1, count("workers", workers) + 1))


def synchronous_times(workers: int, rounds: int, service: Service, rng: np.random.Generator) -> Vector:
    """Return when each synchronous round of M gradients ends, [rounds], in units of the service times.

    Raises:
        ArgumentError: a count below 1, or service times of another shape or not positive.
    """
    size = (count("rounds", rounds), count("workers", workers))
    return np.array(np.cumsum(service_times(service, rng, size).max(axis=1)))


def simulate(
    workers: int,
    step: float,
    curvature: float,
    w0: float,
    n: int,
    service: Service,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    runs: int = 1,
) -> Simulation:
    """Run n updates of M workers, from event to event, under any law of i.i.d. service times (Note 5.2).

    `service(rng, size)` returns positive times. The gradient at what was read is λr + σξ, with σ = `noise`
    and ξ ∼ N(0, 1). Of workers that finish together the one with the lowest index goes first.

    Raises:
        ArgumentError: a count, α, σ out of range, or service times of another shape or not positive.

    >>> simulate(2, 0.5, 1.0, 1.0, 4, lambda rng, size: np.ones(size), np.random.default_rng(0)).staleness.T
    array([[0, 1, 1, 1]])
    """
    m, n, runs = count("workers", workers), count("n", n, 0), count("runs", runs)
    alpha, lam, sigma = positive("step", step), finite("curvature", curvature), non_negative("noise", noise)
    served = service_times(service, rng, (m + n, runs))
    xi = rng.standard_normal((n, runs))
    iterates = np.full((n + 1, runs), finite("w0", w0))
    staleness, times = np.zeros((n, runs), np.int64), np.zeros((n, runs))
    finish, read, read_at = served[:m].copy(), np.full((m, runs), iterates[0]), np.zeros((m, runs), np.int64)
    run = np.arange(runs)
    with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges ends as ±∞, then NaN
        for t in range(n):
            first = finish.argmin(axis=0), run
            times[t], staleness[t] = finish[first], t - read_at[first]
            iterates[t + 1] = iterates[t] - alpha * (lam * read[first] + sigma * xi[t])
            read[first], read_at[first], finish[first] = iterates[t + 1], t + 1, times[t] + served[m + t]
    return Simulation(iterates, staleness, times)


def master_step(
    theta: Any, psi: Any, g_theta: Any, g_psi: Any, step_theta: float, step_psi: float
) -> Weights:
    """Return θ + η_θ g_θ and ψ − η_ψ g_ψ, which the Worker unpacks as (θ, ψ) (Algorithm 5.21, Master).

    Up the surrogate and down the critic's loss. The printed Master returns (V_ψ, π_θ) instead; `worker_loop`
    shows what becomes of a Worker that takes it at its word.

    Raises:
        ArgumentError: a step size ≤ 0, arrays that are not finite, or a gradient of another length.
    """
    theta, psi = as_array("theta", theta, (None,)), as_array("psi", psi, (None,))
    g_theta, g_psi = as_array("g_theta", g_theta, theta.shape), as_array("g_psi", g_psi, psi.shape)
    return Weights(
        theta + positive("step_theta", step_theta) * g_theta, psi - positive("step_psi", step_psi) * g_psi
    )


def worker_loop(
    theta: Any,
    psi: Any,
    collect: Collect,
    step_theta: float,
    step_psi: float,
    rounds: int,
    *,
    environment: Any = None,
    push_last: bool = True,
    carry_over: bool = True,
    printed_reply: bool = False,
) -> Weights:
    """Return the Master's θ and ψ after one Worker's k = 1 … `rounds`, in sequence (Algorithm 5.21, Worker).

    `collect(theta, psi, environment)` stands for the L steps, Â and both gradients; it returns g_θ, g_ψ and
    the environment as those steps left it. Three switches give back what the book prints or leaves unsaid:
    push_last=False loses the last gradients, which only the next fetch would hand over; carry_over=False
    starts every round afresh; printed_reply=True hands (ψ, θ) to a Worker that unpacks (θ, ψ).

    Raises:
        ArgumentError: as for `master_step`; rounds < 1.
    """
    master = Weights(as_array("theta", theta, (None,)), as_array("psi", psi, (None,)))
    g_theta, g_psi = np.zeros_like(master.theta), np.zeros_like(master.psi)
    start = environment
    for _ in range(count("rounds", rounds)):
        master = master_step(*master, g_theta, g_psi, step_theta, step_psi)
        theta, psi = reversed(master) if printed_reply else master
        g_theta, g_psi, environment = collect(theta, psi, environment if carry_over else start)
    return master_step(*master, g_theta, g_psi, step_theta, step_psi) if push_last else master


def service_times(service: Service, rng: np.random.Generator, size: tuple[int, int]) -> Matrix:
    """Return times drawn from the law, in that shape, or raise ArgumentError unless all are positive."""
    times = as_array("service times", service(rng, size), size)
    if not (times > 0.0).all():
        raise ArgumentError(f"service times must be positive, got {times.min()}")
    return times
