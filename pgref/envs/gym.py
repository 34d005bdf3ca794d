"""Gymnasium environments as pgref's: by id, or as an object that holds one environment or a vector of them.

`from_gymnasium("CartPole-v1")` makes as many environments as a rollout asks for. An object is used as it is,
a vector environment in any of the three autoreset modes.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pgref.arrays import Array, Vector
from pgref.envs import gym_border as border
from pgref.envs.gym_live import Singles, Vectorised
from pgref.envs.protocol import Step
from pgref.errors import ArgumentError, EnvApiError
from pgref.spaces import Space


@dataclass(frozen=True, eq=False)
class GymState:
    """Where running environments stand; stepping it uses it up, since they cannot go back."""

    live: Singles | Vectorised
    generation: int
    clock: int  # steps since the reset

    resumable: ClassVar[bool] = False  # what a checkpoint would have to hold is hidden in the environments


@dataclass(frozen=True, eq=False)
class GymEnvironment:
    """A Gymnasium environment as `protocol.Environment`, made by `from_gymnasium`."""

    name: str
    obs_space: Space
    action_space: Space
    source: Any  # an id or EnvSpec, or the environment itself
    single_action_space: Any  # as Gymnasium has it
    settings: dict[str, Any] = field(default_factory=dict)  # for gymnasium.make
    live: Singles | Vectorised | None = None  # the environment itself, running

    def reset(self, keys: Vector) -> tuple[GymState, Array]:
        """Return the state and the observations [E, …]; environment e is seeded with keys[e] mod 2³¹.

        A vector environment of neither of Gymnasium's two classes may have one generator for all, and gets
        the first of these seeds.

        Raises:
            ArgumentError: another number of keys than there are environments.
            EnvApiError, ShapeError, ArgumentTypeError, NonFiniteError, ArgumentError: an environment breaks
                Gymnasium's API or leaves its observation space.
            Whatever an environment raises, with a note that says where.
        """
        keys = np.asarray(keys, np.uint64)
        if keys.ndim != 1 or not keys.size:
            raise ArgumentError(f"keys must be [E] with at least one environment, got shape {keys.shape}")
        with ExitStack() as stack:
            live = self.live or self._made(len(keys), stack)
            if len(live) != len(keys):
                raise ArgumentError(
                    f"keys must be [{len(live)}], one for each environment, got [{len(keys)}]"
                )
            live.generation += 1
            obs = live.reset([int(key) % 2**31 for key in keys])
            stack.pop_all()
        return GymState(live, live.generation, 0), obs

    def step(self, state: GymState, actions: Array) -> Step:
        """Return what the actions [E, …] lead to; the state is used up, even where an environment raises.

        Raises:
            ArgumentError: a state that was stepped or closed, or that a reset has overtaken.
            ArgumentError, ArgumentTypeError, ShapeError, NonFiniteError: actions that the space does not
                have; the state can still be stepped.
            As `reset` does, for what the environment returns.
        """
        live = state.live
        theirs = border.their_actions(self.single_action_space, self.action_space, actions, len(live))
        if state.generation != live.generation:
            raise ArgumentError(
                "this state is past, and Gymnasium environments cannot go back: step the newest, or reset"
            )
        live.generation += 1
        after = GymState(live, live.generation, state.clock + 1)
        return live.step(after, theirs, f"step {state.clock}")

    def close(self, state: GymState) -> None:
        """Close the environments that `reset` made; one given as an object is left to its owner."""
        state.live.generation += 1
        if self.live is None and isinstance(state.live, Singles):
            with ExitStack() as stack:
                for env in state.live.envs:
                    stack.callback(env.close)

    def copy_for_evaluation(self) -> GymEnvironment | None:
        """Return such an environment that shares nothing with this one, or None if no spec says how."""
        if self.live is None:
            return self
        spec = _spec(self.source)
        return spec and from_gymnasium(spec)

    def _made(self, n: int, stack: ExitStack) -> Singles:
        envs = []
        for _ in range(n):
            envs.append(_make(self.source, self.settings))
            stack.callback(envs[-1].close)
        return Singles(envs)


def from_gymnasium(env: Any, **settings: Any) -> GymEnvironment:
    """Return a Gymnasium id, EnvSpec, Env or VectorEnv as an environment of pgref.

    Discrete spaces count from 0 whatever their `start`; a Box of any shape becomes vectors [d], in float32
    where its dtype fits in it and else in float64. `settings` go to `gymnasium.make`.

    Raises:
        EnvApiError: none of these, a space without a counterpart, an unknown autoreset mode.
        ArgumentError: settings for an environment that exists already.
        MissingExtraError: Gymnasium is not installed.
    """
    gym = border.gymnasium()
    if isinstance(env, (str, gym.envs.registration.EnvSpec)):
        with ExitStack() as stack:
            made = _make(env, settings)
            stack.callback(made.close)
            return _described(made, env, (made.observation_space, made.action_space), settings)
    if settings:
        raise ArgumentError(f"settings are for an id, got an environment and {', '.join(settings)}")
    if isinstance(env, gym.vector.VectorEnv):
        spaces = env.single_observation_space, env.single_action_space
        return _described(env, env, spaces, {}, Vectorised(env))
    if isinstance(env, gym.Env):
        return _described(env, env, (env.observation_space, env.action_space), {}, Singles([env]))
    raise EnvApiError(f"env must be a Gymnasium id, Env or VectorEnv, got {type(env).__name__}")


def _described(
    env: Any, source: Any, spaces: tuple[Any, Any], settings: dict[str, Any], live: Any = None
) -> GymEnvironment:
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    seen, done = border.our_space("observation", spaces[0]), border.our_space("action", spaces[1])
    return GymEnvironment(name, seen, done, source, spaces[1], settings, live)


def _make(source: Any, settings: dict[str, Any]) -> Any:
    return border.gymnasium().make(source, disable_env_checker=True, **settings)  # the border checks more


def _spec(env: Any) -> Any:
    """Return what makes a single environment like this one, or None."""
    spec = copy.deepcopy(env.spec)
    vector = isinstance(env, border.gymnasium().vector.VectorEnv)
    if spec is None or (vector and (env is not env.unwrapped or "wrappers" in spec.kwargs)):
        return None  # what wraps a vector environment is in no spec
    if any(wrapper.kwargs is None for wrapper in spec.additional_wrappers):
        return None
    if vector:
        for name in ("num_envs", "vectorization_mode", "vector_kwargs"):
            spec.kwargs.pop(name, None)
        spec.max_episode_steps = spec.kwargs.pop("max_episode_steps", spec.max_episode_steps)
    return spec
