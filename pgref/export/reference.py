"""What the NumPy policy answers: the outputs and the actions that every export must give, and how exactly."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from pgref.arrays import Array, Matrix, Vector, as_parameters, in_precision
from pgref.distributions import Categorical, DiagonalGaussian, MultiCategorical
from pgref.errors import ArgumentError, ArgumentTypeError
from pgref.moments import LIMIT, Moments, deviation, normalised
from pgref.policy import Policy
from pgref.spaces import Box, Discrete, MultiDiscrete, Space, clipped
from pgref.special import softmax

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # of an output z, relative to max(1, |z|)
FAR = 1e6  # an observation that no training has seen
DRAWS, ROUNDINGS = 4, 4  # how often the parameters are rounded anew, and by how many half ulps
SAFETY = 4  # how many times as far as that moves an output another correct program may be off
KINDS: dict[type, type] = {Discrete: Categorical, MultiDiscrete: MultiCategorical, Box: DiagonalGaussian}


class Acting(Protocol):
    """What an export needs of an agent."""

    @property
    def algorithm(self) -> str: ...
    @property
    def env(self) -> Any: ...
    @property
    def state(self) -> Any: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def theta(self) -> Vector: ...
    @property
    def seen(self) -> Moments: ...


class Reference(NamedTuple):
    """The NumPy policy in one precision."""

    policy: Policy
    theta: Vector  # [P]
    seen: Moments  # of observations; of nothing where they are not normalised
    obs_space: Space
    action_space: Space


class Answers(NamedTuple):
    """What it answers to observations and chance [N, m], and by how much another one may differ."""

    outputs: Matrix  # [N, K] z
    modes: Matrix  # [N, m] the likeliest actions, as they go through the environment's door
    samples: Matrix  # [N, m] those that chance picks
    output_limits: Matrix  # [N, K]
    mode_limits: Matrix  # [N, m] ∞ where rounding may decide between two choices, 0 where it cannot
    sample_limits: Matrix  # [N, m]


def reference(agent: Acting, dtype: str | None = None) -> Reference:
    """Return the agent's policy in that precision; None for its own.

    Raises:
        ArgumentError: another dtype than float32 and float64.
        ArgumentTypeError: a distribution that does not belong to the space of actions.
        NonFiniteError: a parameter is NaN or infinite, or too large for float32.
    """
    theta = as_parameters("theta", agent.theta, agent.policy.n_params)
    dtype = theta.dtype.name if dtype is None else dtype
    if not isinstance(dtype, str) or dtype not in TOLERANCE:
        raise ArgumentError(f"dtype must be one of {', '.join(TOLERANCE)}, got {dtype!r}")
    space, distribution = agent.env.action_space, agent.policy.distribution
    if KINDS.get(type(space)) is not type(distribution):
        raise ArgumentTypeError(f"policy must be a known kind for its space, got {distribution} on {space}")
    theta = in_precision("theta", theta, np.dtype(dtype))
    return Reference(agent.policy, theta, agent.seen, agent.env.obs_space, space)


def parts(space: Space) -> tuple[int, ...]:
    """Return the number of choices of each action; none for a Box."""
    if isinstance(space, Box):
        return ()
    return (space.n,) if isinstance(space, Discrete) else space.sizes


def answers(ref: Reference, obs: Array, chance: Matrix) -> Answers:
    """Return what the policy answers to observations [N, …] and chance [N, m], uniforms or standard normals.

    An output may differ by the tolerance. Where rounding the parameters moves it further, at 10⁶ say, where
    two large numbers cancel before a tanh, by a few times as much as that. No fewer times: with 256 relu
    units NumPy's own float32 is off the same in float64 by up to 0.7 of such a limit.

    Raises:
        NonFiniteError: the outputs overflow.
    """
    seen = normalised(ref.seen, obs)
    z = ref.policy.network.linearize(ref.theta, seen).value
    limits = np.maximum(tolerated(ref, z), SAFETY * _moved_by_rounding(ref, seen, z))
    if isinstance(ref.action_space, Box):
        return _real(ref.action_space, z, chance, limits)
    return _chosen(parts(ref.action_space), z, chance, limits)


def tolerated(ref: Reference, z: Matrix) -> Matrix:
    """Return the tolerance of each output [N, K]."""
    return np.asarray(TOLERANCE[ref.theta.dtype.name] * np.maximum(1, np.abs(z)), np.float64)


def draw(ref: Reference, rng: np.random.Generator, n: int) -> tuple[Array, Matrix]:
    """Draw n observations, ordinary ones, far ones and some at the normaliser's clip, and chance [n, m]."""
    dtype, m = ref.theta.dtype, len(parts(ref.action_space)) or ref.policy.network.n_outputs // 2
    real = isinstance(ref.action_space, Box)
    chance = rng.standard_normal((n, m), dtype) if real else rng.random((n, m), dtype)
    if isinstance(ref.obs_space, Discrete):
        return rng.integers(ref.obs_space.n, size=n), chance
    seen, shape = ref.seen, (n, len(ref.seen.mean))
    scale = deviation(seen) if seen.n else np.ones(shape[1])
    deviations = rng.standard_normal(shape) * 10 ** rng.uniform(-2, 1, (n, 1))
    deviations[2::8] = (
        LIMIT * rng.choice([-1, 1], shape)[2::8] * (1 + 1e-6 * rng.integers(-1, 2, shape)[2::8])
    )
    obs, far = seen.mean + scale * deviations, FAR * rng.choice([-1, 1], shape)
    obs[1::8] = far[1::8]
    rows = np.arange(0, n, 8)
    columns = rng.integers(shape[1], size=len(rows))
    obs[rows, columns] = far[rows, columns]
    return obs.astype(dtype), chance


def _moved_by_rounding(ref: Reference, seen: Array, z: Matrix) -> Matrix:
    """Return how far the outputs [N, K] move when every parameter is rounded up or down at random."""
    rng, size, moved = np.random.default_rng(0), ROUNDINGS * np.finfo(z.dtype).eps / 2, np.zeros(z.shape)
    for _ in range(DRAWS):
        signs = rng.choice([-1, 1], len(ref.theta))
        theta = (ref.theta * (1 + size * signs)).astype(z.dtype)
        moved = np.maximum(moved, np.abs(ref.policy.network.linearize(theta, seen).value - z))
    return moved


def _real(space: Box, z: Matrix, noise: Matrix, limits: Matrix) -> Answers:
    gaussian, d = DiagonalGaussian(), space.d
    modes, samples = gaussian.mode(z), gaussian.draw(z, noise)
    most = limits.max(-1, keepdims=True)
    spread = np.exp(z[:, d:]) * np.abs(noise)
    return Answers(
        z,
        clipped(space, modes),
        clipped(space, samples),
        limits,
        np.broadcast_to(most, modes.shape),
        most * (1 + spread),
    )


def _chosen(sizes: tuple[int, ...], z: Matrix, uniforms: Matrix, limits: Matrix) -> Answers:
    modes, samples, mode_limits, sample_limits = (np.zeros(uniforms.shape) for _ in range(4))
    most, stops = 2 * limits.max(-1), np.cumsum(sizes)
    for i, (stop, n) in enumerate(zip(stops, sizes, strict=True)):
        part, u = z[:, stop - n : stop].astype(float), uniforms[:, i].astype(float)
        steps = softmax(part).cumsum(-1)[:, :-1]  # where the next choice begins
        modes[:, i], samples[:, i] = part.argmax(-1), (u[:, None] >= steps).sum(-1)
        if n > 1:
            second, first = np.sort(part)[:, -2:].T
            mode_limits[first - second <= most, i] = np.inf
            sample_limits[np.abs(u[:, None] - steps).min(-1) <= most, i] = np.inf
    return Answers(z, modes, samples, limits, mode_limits, sample_limits)
