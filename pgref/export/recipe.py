"""What acts, said in numbers that need no pgref: the description that every export is written from."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, Vector, as_array, count, in_precision, positive
from pgref.errors import ArgumentError, ArgumentTypeError, ShapeError
from pgref.export.reference import TOLERANCE, Acting, answers, draw, parts, reference, tolerated
from pgref.moments import LIMIT, deviation
from pgref.networks import MLP, Table, WithFreeOutputs
from pgref.spaces import Box, Discrete, Space
from pgref.versions import versions

RECORDED, CANDIDATES = 4, 64  # test vectors in a file, and the observations that they are taken from
ACTIVATIONS = ("tanh", "relu")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Normaliser(NamedTuple):
    """x ↦ (x − mean)/scale within ± limit, in float64 whatever the policy's precision."""

    mean: Vector  # [D]
    scale: Vector  # [D]
    limit: float


class Recorded(NamedTuple):
    """Recorded answers of the NumPy policy."""

    obs: Array  # [n, D] or [n]
    chance: Matrix  # [n, m] uniforms in [0, 1), or standard normals for a Box
    outputs: Matrix  # [n, K]
    modes: Matrix  # [n, m]
    samples: Matrix  # [n, m]


@dataclass(frozen=True, eq=False)
class Recipe:
    """z = [network(normalised observation), free], and an action from z.

    A Discrete space takes the largest z, or the first a with u < π(0) + … + π(a); a MultiDiscrete does so
    part by part; a Box takes the mean, the first half of z, or mean + exp(second half)·ε, clipped.

    Raises:
        ArgumentError, ArgumentTypeError, ShapeError, NonFiniteError: parts that are none, or do not fit.
    """

    name: str  # an identifier, which the names in C begin with
    about: dict[str, Any]  # algorithm, env, steps, versions
    dtype: str  # float32 or float64: of layers and free
    obs_space: Space
    action_space: Space
    normaliser: Normaliser | None
    layers: tuple[Matrix, ...]  # [in + 1, out], the last row the bias; for a Discrete space a table [S, K]
    activation: str | None  # of all layers but the last; None for a table
    free: Vector  # [F] outputs that no observation moves
    recorded: Recorded

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ArgumentError(f"name must be an identifier, got {self.name!r}")
        if not isinstance(self.dtype, str) or self.dtype not in TOLERANCE:
            raise ArgumentError(f"dtype must be one of {', '.join(TOLERANCE)}, got {self.dtype!r}")
        dtype = np.dtype(self.dtype)
        numbers = [in_precision("layers", as_array("layers", w, (None, None)), dtype) for w in self.layers]
        object.__setattr__(self, "layers", tuple(numbers))
        free = in_precision("free", as_array("free", self.free, (None,)), dtype)
        object.__setattr__(self, "free", free)
        self._check_network()
        if self.normaliser is not None:
            object.__setattr__(self, "normaliser", self._checked(*self.normaliser))
        object.__setattr__(self, "recorded", self._answers())

    @property
    def tabular(self) -> bool:
        """Whether the observation is the number of a state."""
        return isinstance(self.obs_space, Discrete)

    @property
    def width(self) -> int:
        """D, how many numbers an observation has; a state is one."""
        return self.obs_space.d if isinstance(self.obs_space, Box) else 1

    @property
    def parts(self) -> tuple[int, ...]:
        """The number of choices of each action; none for a Box."""
        return parts(self.action_space)

    @property
    def n_outputs(self) -> int:
        """K, the length of z."""
        return int(self.layers[-1].shape[1]) + len(self.free)

    @property
    def n_actions(self) -> int:
        """m, how many numbers an action has, and how many of chance it takes to draw it."""
        return self.action_space.d if isinstance(self.action_space, Box) else len(self.parts)

    @property
    def tolerance(self) -> float:
        """How far an output may be off, relative to max(1, |z|)."""
        return TOLERANCE[self.dtype]

    @property
    def hidden(self) -> int:
        """The numbers of the widest vector between observation and outputs."""
        return 0 if self.tabular else max(len(w) - 1 for w in self.layers)

    def constant_bytes(self) -> int:
        """Return what the constants take, of flash say; the recorded tests are left out."""
        arrays = [*self.layers, self.free, *(self.normaliser or ())[:2]]
        return sum(np.asarray(a).nbytes for a in arrays)

    def stack_bytes(self) -> int:
        """Return what the vectors take while an action is computed."""
        return (2 * self.hidden + self.n_outputs) * np.dtype(self.dtype).itemsize

    def _check_network(self) -> None:
        first = self.obs_space.n if isinstance(self.obs_space, Discrete) else self.width + 1
        known = (None,) if self.tabular else ACTIVATIONS
        if self.activation not in known:
            raise ArgumentError(f"activation must be one of {known}, got {self.activation!r}")
        if not self.layers or (self.tabular and len(self.layers) > 1):
            raise ArgumentError(f"layers must be one table, or at least one layer, got {len(self.layers)}")
        rows = [first, *(w.shape[1] + 1 for w in self.layers)]
        for w, n in zip(self.layers, rows, strict=False):
            if len(w) != n or not w.size:
                raise ShapeError(f"layers must follow on each other, [{n}, any] here, got {w.shape}")
        wanted = sum(self.parts) or 2 * self.n_actions
        if self.n_outputs != wanted:
            raise ShapeError(f"layers and free must give {wanted} outputs, got {self.n_outputs}")

    def _checked(self, mean: Any, scale: Any, limit: Any) -> Normaliser:
        if self.tabular:
            raise ArgumentError("normaliser must be None for states, which are numbers without a size")
        mean, scale = (as_array(n, a, (self.width,)) for n, a in (("mean", mean), ("scale", scale)))
        if not scale.min() > 0:
            raise ArgumentError(f"scale must be positive, got {scale.min()}")
        return Normaliser(mean.astype(float), scale.astype(float), positive("limit", limit))

    def _answers(self) -> Recorded:
        obs, *others = self.recorded
        if self.tabular:
            obs = as_array("recorded", obs, (None,), "i")
        else:
            obs = as_array("recorded", obs, (None, self.width)).astype(self.dtype)
        widths = (self.n_actions, self.n_outputs, self.n_actions, self.n_actions)
        return Recorded(
            obs, *(as_array("recorded", a, (len(obs), n)) for a, n in zip(others, widths, strict=True))
        )


def described(agent: Acting, dtype: str | None = None, name: str = "policy") -> Recipe:
    """Return the recipe of an agent's policy, in float32 or float64; None: in its own precision.

    Raises:
        ArgumentTypeError: a kind of policy that cannot be exported.
        NonFiniteError: a parameter is NaN or infinite, too large for float32, or makes the outputs overflow.
        ArgumentError: another dtype, or a name that is no identifier.
    """
    ref = reference(agent, dtype)
    network: Any = ref.policy.network
    inner = network.network if isinstance(network, WithFreeOutputs) else network
    if isinstance(inner, MLP):
        layers, activation = tuple(inner.layers(ref.theta[: inner.n_params])), inner.activation
    elif isinstance(inner, Table):
        layers, activation = (ref.theta[: inner.n_params].reshape(-1, inner.n_outputs),), None
    else:
        raise ArgumentTypeError(f"policy must be an MLP or a Table to be exported, got {inner}")
    seen, normaliser = ref.seen, None
    if seen.n:
        normaliser = Normaliser(seen.mean, deviation(seen), LIMIT)
    obs, chance = draw(ref, np.random.default_rng(0), CANDIDATES)
    found = answers(ref, obs, chance)
    unsafe = (found.output_limits > tolerated(ref, found.outputs)).any(-1)
    unsafe |= np.isinf(found.mode_limits).any(-1) | np.isinf(found.sample_limits).any(-1)
    rows = np.argsort(unsafe, kind="stable")[:RECORDED]
    about = {
        "algorithm": agent.algorithm,
        "env": agent.env.name,
        "steps": count("steps", agent.state.steps, 0),
        "versions": versions(),
    }
    return Recipe(
        name,
        about,
        ref.theta.dtype.name,
        ref.obs_space,
        ref.action_space,
        normaliser,
        layers,
        activation,
        ref.theta[inner.n_params :],
        Recorded(*(array[rows] for array in (obs, chance, *found[:3]))),
    )


def as_dict(space: Space) -> dict[str, Any]:
    """Return a space as {"kind": …} and its numbers, bounds that are infinite included."""
    return {"kind": type(space).__name__, **asdict(space)}
