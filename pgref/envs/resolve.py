"""From whatever a user calls an environment to one that rollouts can use, and back to its name."""

from __future__ import annotations

from typing import Any

from pgref.envs import names
from pgref.envs.gym import GymEnvironment, from_gymnasium
from pgref.envs.gym_border import gymnasium
from pgref.envs.protocol import Environment, Episodic
from pgref.envs.tabular import Tabular
from pgref.errors import ArgumentError, ArgumentTypeError, MissingExtraError
from pgref.mdp import TabularMDP
from pgref.spaces import Box, Discrete, MultiDiscrete

TABULAR_LIMIT = 1000  # steps of an MDP's episode: it may never end by itself
PARTS = {  # of an Environment, and what its descriptions must be
    "name": (str,),
    "obs_space": (Box, Discrete),
    "action_space": (Box, Discrete, MultiDiscrete),
    "reset": (object,),
    "step": (object,),
}


def resolve(env: Any) -> Environment:
    """Return the environment that a name, a Gymnasium id or environment, or a TabularMDP stands for.

    A name of `names()` is pgref's own, any other string a Gymnasium id.

    Raises:
        ArgumentError: an unknown name. ArgumentTypeError: none of these, or a class in place of an object.
        EnvApiError, MissingExtraError: as `from_gymnasium`.
    """
    if isinstance(env, str):
        return _named(env)
    if isinstance(env, TabularMDP):
        return Episodic("TabularMDP", Tabular(env), TABULAR_LIMIT)
    if not isinstance(env, type) and all(hasattr(env, part) for part in PARTS):
        return _own(env)
    if hasattr(env, "observation_space") or hasattr(env, "single_observation_space"):
        return from_gymnasium(env)
    parts = ", ".join(PARTS)
    raise ArgumentTypeError(
        "env must be a name, a Gymnasium id or environment, a TabularMDP or an Environment "
        f"(an object with {parts}), got {env!r}"
    )


def describe(env: Environment) -> str | None:
    """Return the string that `resolve` makes the environment of again, or None if there is none."""
    if isinstance(env, GymEnvironment):
        return env.source if isinstance(env.source, str) and not env.settings else None
    return env.name if env.name in names.TABLE and env == names.make(env.name) else None


def n_envs(env: Environment) -> int | None:
    """Return how many environments there must be side by side, or None for any number."""
    live = env.live if isinstance(env, GymEnvironment) else None
    return None if live is None else len(live)


def fixed_settings(env: Environment) -> dict[str, int]:
    """Return the settings that an environment leaves no choice of: an object has one Worker, and its size."""
    n = n_envs(env)
    return {} if n is None else {"n_envs": n, "n_workers": 1}


def _named(name: str) -> Environment:
    if name in names.TABLE:
        return names.make(name)
    known = f"env must be one of {', '.join(names.TABLE)}, or an id of Gymnasium, got {name!r}"
    try:
        return from_gymnasium(name)
    except MissingExtraError as error:
        raise MissingExtraError(f"{known}: {error}") from error
    except gymnasium().error.Error as error:  # it knows no such id, or cannot make it here
        raise ArgumentError(f"{known}: {error}") from error


def _own(env: Any) -> Environment:
    """Return an environment of the user's own once its descriptions are what they must be."""
    for part, kinds in PARTS.items():
        value = getattr(env, part)
        if not isinstance(value, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise ArgumentTypeError(f"env.{part} must be a {wanted}, got {value!r}")
    own: Environment = env
    return own
