"""Check of an environment: fixed actions in a small known world, every row beside what it must be.

The world is a finite deterministic MDP; each check of an environment builds some, so that what is wrapped
around the dynamics (time limit, flags, restarts, vectors of copies) shows its mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pgref.arrays import Array, Matrix, Vector
from pgref.envs.gym_live import MODES
from pgref.envs.probes import END
from pgref.errors import ArgumentTypeError
from pgref.oracle import environments_deviations as wrong
from pgref.oracle.compare import check, one_of
from pgref.oracle.component import Component, Inputs
from pgref.oracle.report import Report
from pgref.oracle.trial import Unusable, numbers

AUTORESETS = ("none", *MODES)
WORLDS = 8  # tried, if `draws` does not say otherwise


def environment_step(function: Callable[..., Any], *, autoreset: str = "none", **options: Any) -> Report:
    """Check rewards, both flags and both observations of every step: R(s, a), end, cut, s′, the next seen.

    function(successors, rewards, time_limit) ↦ an environment: from state s the action a pays rewards[s, a]
    and leads to successors[s, a], where −1 means that the episode terminates. Episodes start in state 0 and
    are cut off after `time_limit` steps. What is observed is the number of the state; after a termination
    it may be anything, and so may `truncated`.

    The environment has Gymnasium's `reset()` and `step(action)` ↦ (obs, reward, terminated, truncated, info),
    both with or without info, and is reset by the check where an episode ends. Or it is a pure function
    step(state, action, t) ↦ (next state, reward, terminated, truncated), where t steps of the episode came
    before. With one of Gymnasium's three `autoreset` modes it is a vector environment, all arrays [E]:
    function(successors, rewards, time_limit, envs) ↦ it. "NextStep" answers the step after an end with the
    first observation, reward 0 and no flag; "SameStep" restarts at once and has info["final_obs"]; "Disabled"
    waits for reset(options={"reset_mask": ended}). Other options: see `check`.

    Raises:
        ArgumentError, ArgumentTypeError: other options, or no callable.
    """
    if not callable(function):
        raise ArgumentTypeError(f"function must be callable, got {type(function).__name__}")
    mode = one_of("autoreset", autoreset, AUTORESETS)
    component = replace(ENVIRONMENT, draw=partial(_inputs, modes=(mode,)))
    return check(component, partial(_driven, function), **{"draws": WORLDS, **options})


def _driven(
    function: Callable[..., Any],
    successors: Matrix,
    rewards: Matrix,
    actions: Matrix,
    time_limit: int,
    autoreset: str,
) -> Array:
    """Return the rows [N, E, 5] of the user's environment, as `environments_deviations.played` has them."""
    world = successors, rewards, time_limit
    if autoreset == "none":
        columns = [_single(function(*world), column) for column in actions.T]
        rows = np.stack(columns, 1)
    else:
        rows = _vector(function(*world, actions.shape[1]), actions, autoreset)
    return wrong.comparable(rows, wrong.played(successors, rewards, actions, time_limit, autoreset))


class _Pure:
    """A pure step function as an environment."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.state, self.steps = function, 0, 0

    def reset(self) -> int:
        self.state = self.steps = 0
        return 0

    def step(self, action: int) -> Any:
        result = self.function(self.state, action, self.steps)
        self.steps += 1
        state = _five(result, ())[0]
        self.state = int(state)
        return result


def _single(made: Any, actions: Vector) -> Array:
    """Return the rows [N, 5] of one environment."""
    env, rows = made if hasattr(made, "step") else _Pure(made), []
    _first(env.reset(), ())
    for action in actions.tolist():
        obs, reward, over, cut, _ = _five(env.step(action), ())
        seen = _first(env.reset(), ()) if over or cut else obs
        rows.append([obs, seen, reward, over, cut])
    return np.array(rows, np.float64)


def _vector(env: Any, actions: Matrix, autoreset: str) -> Array:
    """Return the rows [N, E, 5] of a vector environment."""
    shape, rows = actions.shape[1:], []
    _first(env.reset(), shape)
    for row in actions:
        seen, reward, over, cut, info = _five(env.step(row.copy()), shape)
        obs, ended = seen, (over + cut) > 0
        if autoreset == "SameStep":
            obs = _final(seen, ended, info)
        elif autoreset == "Disabled" and ended.any():
            first = _first(env.reset(options={"reset_mask": ended.copy()}), shape)
            seen = np.where(ended, first, obs)
        rows.append(np.stack([obs, seen, reward, over, cut], 1))
    return np.array(rows, np.float64)


def _final(seen: Vector, ended: Vector, info: Any) -> Array:
    """Return what the actions led to: info["final_obs"] of the ended ones; without it, what is seen next."""
    obs = seen.astype(np.float64)
    kept = info.get("final_obs") if isinstance(info, dict) else None
    if kept is None:
        return obs
    for e in ended.nonzero()[0]:
        obs[e] = np.nan if kept[e] is None else _read("final_obs", kept[e], ())
    return obs


def _first(result: Any, shape: tuple[int, ...]) -> Array:
    has_info = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
    return _read("the observation of a reset", result[0] if has_info else result, shape)


def _five(result: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Return obs, reward, terminated, truncated, info of a step."""
    if not isinstance(result, (tuple, list)) or len(result) not in (4, 5):
        got = f"{len(result)} items" if isinstance(result, (tuple, list)) else type(result).__name__
        raise Unusable(f"its step returned {got}, not (obs, reward, terminated, truncated, info)")
    names = "obs", "reward", "terminated", "truncated"
    read = [_read(name, value, shape) for name, value in zip(names, result[:4], strict=True)]
    return (*read, result[4] if len(result) == 5 else None)


def _read(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    raw = np.array(value)
    try:
        return numbers(raw.astype(np.int64) if raw.dtype == np.bool_ else raw, shape)
    except Unusable as error:
        raise Unusable(f"{error}, as {name}") from error


def _inputs(rng: np.random.Generator, case: int, modes: tuple[str, ...] = AUTORESETS) -> Inputs:
    """Draw a world where episodes terminate or are cut off, never in one step; cases 0 and 1 only do one.

    Whoever leaves `truncated` out of a termination is right too, but swapped flags would show it.
    """
    n_states, n_actions = (int(n) for n in rng.integers(2, 5, 2))
    successors = rng.integers(0, n_states, (n_states, n_actions))
    if case != 0:
        successors[rng.random(successors.shape) < 0.3] = END
    inputs: Inputs = {
        "successors": successors,
        "rewards": rng.normal(size=successors.shape).round(2),
        "actions": rng.integers(0, n_actions, (int(rng.integers(9, 14)), int(rng.integers(1, 4)))),
        "time_limit": 100 if case == 1 else int(rng.integers(2, 5)),
        "autoreset": modes[case % len(modes)],
    }
    both = wrong.played(**inputs)[..., wrong.FLAGS].all(-1)
    return _inputs(rng, case, modes) if both.any() else inputs


def _possible(inputs: Inputs) -> Inputs:
    """Return the world with successors and actions that exist."""
    n_states, n_actions = inputs["successors"].shape
    successors = np.where(inputs["successors"] < n_states, inputs["successors"], END)
    return {**inputs, "successors": successors, "actions": np.minimum(inputs["actions"], n_actions - 1)}


def _reference(**inputs: Any) -> Array:
    rows = wrong.played(**inputs)
    return wrong.comparable(rows, rows)


ENVIRONMENT = Component(
    name="environment_step",
    formula="s′, the next observation, r = R(s, a), terminated, truncated",
    equation="what pgref.envs and Gymnasium's API say of a step",
    axes={"successors": "SA", "rewards": "SA", "actions": "NE"},
    result="NEC",
    reference=_reference,
    draw=_inputs,
    repaired=_possible,
    deviations=wrong.ENVIRONMENT,
)
COMPONENTS = (ENVIRONMENT,)
