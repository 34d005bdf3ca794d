"""An environment that plays back given numbers, whatever is done in it, and a distribution of given noise."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pgref.distributions import Categorical, DiagonalGaussian, MultiCategorical
from pgref.envs.protocol import Step
from pgref.spaces import Box, Discrete

PLANE, THREE = Box((-np.inf,) * 2, (np.inf,) * 2), Discrete(3)


@dataclass(frozen=True, eq=False)
class Scripted:
    """A segment of T steps in E environments, known in advance; its state is the number of steps taken."""

    first: Any  # [E, …]
    obs: Any  # [T, E, …]
    final_obs: Any  # [T, E, …]
    reward: Any  # [T, E]
    terminated: Any  # [T, E] bool
    truncated: Any  # [T, E] bool
    valid: Any = None  # [T, E] bool, or a list of [E] bool and None
    obs_space: Any = PLANE
    action_space: Any = THREE
    name: str = "script"
    done: list[Any] = field(default_factory=list)  # the actions that came through the door

    def reset(self, keys):
        return 0, self.first[: len(keys)]

    def step(self, t, actions):
        self.done.append(actions)
        rows = (getattr(self, name)[t] for name in ("obs", "final_obs", "reward", "terminated", "truncated"))
        return Step(t + 1, *rows, None if self.valid is None else self.valid[t])

    def column(self, e):
        """Return the script of one environment."""
        names = ("obs", "final_obs", "reward", "terminated", "truncated", "valid")
        arrays = {name: getattr(self, name) for name in names}
        parts = {name: array if array is None else array[:, e : e + 1] for name, array in arrays.items()}
        return replace(self, first=self.first[e : e + 1], done=[], **parts)


def script(seed, n_steps, n_envs, ends=0.3, later=False, draw=None, **spaces):
    """Draw a script; `ends` is how often episodes end, half of them cut off.

    With `later` an episode restarts in a step of its own, which is no transition and pays nothing.
    """
    rng = np.random.default_rng(seed)
    draw = draw or (lambda *shape: rng.standard_normal((*shape, 2)))
    final, starts, first = draw(n_steps, n_envs), draw(n_steps, n_envs), draw(n_envs)
    reward = rng.standard_normal((n_steps, n_envs))
    over, cut = rng.random((n_steps, n_envs)) < ends, rng.random((n_steps, n_envs)) < 0.5
    valid = np.ones_like(over)
    if later:
        for t in range(1, n_steps):
            valid[t] = ~(over[t - 1] & valid[t - 1])
    over &= valid
    final[~valid], reward[~valid] = starts[~valid], 0
    obs = final.copy()
    if not later:
        obs[over] = starts[over]
    made = Scripted(
        first, obs, final, reward, over & ~cut, over & cut, valid if later else None, **spaces
    )  # fmt: skip
    for array in (made.first, made.obs, made.final_obs, made.reward, made.terminated, made.truncated):
        array.flags.writeable = False
    return made


class Given:
    """A distribution whose noise is the array that stands in the generator's place."""

    def noise(self, rng, shape, n_outputs, dtype):
        assert rng.shape[:2] == shape
        return rng.astype(dtype)


class GivenCategorical(Given, Categorical):
    pass


class GivenMultiCategorical(Given, MultiCategorical):
    pass


class GivenGaussian(Given, DiagonalGaussian):
    pass


def assert_same(got, wanted):
    """Compare nested tuples of arrays and plain values, bit for bit."""
    if isinstance(wanted, tuple):
        assert len(got) == len(wanted)
        for x, y in zip(got, wanted, strict=True):
            assert_same(x, y)
    elif isinstance(wanted, np.ndarray):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    else:
        assert got == wanted


def frozen(state):
    """Return the nested tuples with copies of their arrays that cannot be written to."""
    if isinstance(state, np.ndarray):
        state = state.copy()
        state.flags.writeable = False
        return state
    if isinstance(state, tuple):
        parts = map(frozen, state)
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state
