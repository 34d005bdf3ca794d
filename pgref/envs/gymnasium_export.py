"""pgref's environments as Gymnasium's: `to_gymnasium(environment)`, or by id after `register()`.

Then `gymnasium.make("pgref/CartPole-v0")` makes the environment that `pgref.envs.names` calls CartPole.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from pgref.arrays import in_precision
from pgref.envs import names
from pgref.envs.gym_border import gymnasium
from pgref.envs.protocol import Environment
from pgref.errors import ArgumentError
from pgref.spaces import Box, Discrete, Space


def to_gymnasium(environment: Environment) -> Any:
    """Return one environment as a gymnasium.Env; vectors become float32, and after an episode comes a reset.

    Raises:
        MissingExtraError: Gymnasium is not installed.
    """
    return _env_class()(environment)


def make(name: str) -> Any:
    """Return the environment of `pgref.envs.names` as a gymnasium.Env: the entry point that is registered."""
    return to_gymnasium(names.make(name))


def register() -> list[str]:
    """Tell Gymnasium of every environment in `pgref.envs.names`, and return the ids; again does no harm.

    Raises:
        MissingExtraError: Gymnasium is not installed.
    """
    gym = gymnasium()
    ids = {f"pgref/{name}-v0": name for name in names.names()}
    for id, name in ids.items():
        if id not in gym.registry:
            gym.register(id, f"{__name__}:make", kwargs={"name": name})
    return list(ids)


def their_space(space: Space) -> Any:
    """Return a space as Gymnasium has it, a Box in float32."""
    spaces = gymnasium().spaces
    if isinstance(space, Discrete):
        return spaces.Discrete(space.n)
    if isinstance(space, Box):
        with np.errstate(over="ignore"):  # a bound beyond float32 is none
            return spaces.Box(*(np.array(bound).astype(np.float32) for bound in (space.low, space.high)))
    return spaces.MultiDiscrete(space.sizes)


@cache
def _env_class() -> Any:
    gym = gymnasium()

    class ExportedEnvironment(gym.Env):  # type: ignore[misc, name-defined]
        """One environment of pgref. Its own randomness is keyed by one draw of `np_random` at each reset."""

        metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's own attribute)

        def __init__(self, environment: Environment) -> None:
            self.environment = environment
            self.observation_space = their_space(environment.obs_space)
            self.action_space = their_space(environment.action_space)
            self._state: Any = None  # between episodes

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            super().reset(seed=seed)
            if options:
                raise ArgumentError(
                    f"options must be empty, since no environment of pgref has any, got {options!r}"
                )
            key = self.np_random.integers(2**64, size=1, dtype=np.uint64)
            self._state, obs = self.environment.reset(key)
            return self._theirs(obs), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            if self._state is None:
                raise gym.error.ResetNeeded("call reset() first: no episode is under way")
            step = self.environment.step(self._state, np.asarray(action)[None])
            terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
            self._state = None if terminated or truncated else step.state
            return self._theirs(step.final_obs), float(step.reward[0]), terminated, truncated, {}

        def _theirs(self, obs: Any) -> Any:
            if isinstance(self.environment.obs_space, Discrete):
                return int(obs[0])
            return np.array(in_precision("observation", obs[0], self.observation_space.dtype))

    return ExportedEnvironment
