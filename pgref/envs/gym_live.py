"""Running Gymnasium environments, single ones or a vector of them, and what happens where episodes end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pgref.arrays import Array
from pgref.envs import gym_border as border
from pgref.envs.protocol import Step
from pgref.errors import EnvApiError

MODES = "NextStep", "SameStep", "Disabled"  # the values of gymnasium.vector.AutoresetMode


class Singles:
    """Single environments; one whose episode ends is reset within the step."""

    def __init__(self, envs: list[Any]) -> None:
        self.envs = envs
        self.space = envs[0].observation_space
        self.generation = 0  # of the newest state, the only one that can be stepped

    def __len__(self) -> int:
        return len(self.envs)

    def reset(self, seeds: list[int]) -> Array:
        return self._first(range(len(self)), seeds, "reset")

    def step(self, after: Any, actions: Array, where: str) -> Step:
        results: list[Any] = []
        with border.noted(lambda: f"env {len(results)}, {where}"):
            for env, action in zip(self.envs, actions, strict=True):
                results.append(env.step(action))
        raw, reward, over, cut, _ = zip(*map(border.five, results), strict=True)
        obs = final_obs = border.observations(self.space, raw, range(len(self)), where)
        rewards = border.rewards(reward, where)
        terminated, truncated = border.flags("terminated", over, where), border.flags("truncated", cut, where)
        ended = (terminated | truncated).nonzero()[0].tolist()
        if ended:
            obs = final_obs.copy()
            obs[ended] = self._first(ended, [None] * len(ended), where)
        return Step(after, obs, final_obs, rewards, terminated, truncated)

    def _first(self, which: Sequence[int], seeds: Sequence[int | None], where: str) -> Array:
        results: list[Any] = []
        with border.noted(lambda: f"env {which[len(results)]}, {where}"):
            for env, seed in zip(which, seeds, strict=True):
                results.append(self.envs[env].reset(seed=seed))
        return border.observations(self.space, [border.first_obs(result) for result in results], which, where)


class Vectorised:
    """A vector environment, which says in its metadata what it does where an episode ends."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.space = env.single_observation_space
        self.mode = autoreset_mode(env)
        self.over = np.zeros(len(self), np.bool_)  # [E] whose episode the last step ended
        self.generation = 0

    def __len__(self) -> int:
        return int(self.env.num_envs)

    def reset(self, seeds: list[int]) -> Array:
        vector = border.gymnasium().vector
        each = isinstance(self.env.unwrapped, (vector.SyncVectorEnv, vector.AsyncVectorEnv))
        self.over = np.zeros(len(self), np.bool_)
        return self._first("reset", seed=seeds if each else seeds[0])

    def step(self, after: Any, actions: Array, where: str) -> Step:
        n, valid = len(self), None
        with border.noted(lambda: where):
            result = self.env.step(actions)
        raw, reward, over, cut, info = border.five(result)
        obs = final_obs = border.batch(self.space, raw, n, where)
        rewards = border.reward_batch(reward, n, where)
        terminated = border.flag_batch("terminated", over, n, where)
        truncated = border.flag_batch("truncated", cut, n, where)
        ended = terminated | truncated
        if self.mode == "NextStep":
            valid = ~self.over
        elif ended.any() and self.mode == "SameStep":
            rows = ended.nonzero()[0].tolist()
            final_obs = obs.copy()
            final_obs[rows] = border.observations(self.space, _kept(info, rows, where), rows, where)
        elif ended.any():
            obs = final_obs.copy()
            obs[ended] = self._first(where, options={"reset_mask": ended.copy()})[ended]
        self.over = ended
        return Step(after, obs, final_obs, rewards, terminated, truncated, valid)

    def _first(self, where: str, **how: Any) -> Array:
        with border.noted(lambda: where):
            result = self.env.reset(**how)
        return border.batch(self.space, border.first_obs(result), len(self), where)


def autoreset_mode(env: Any) -> str:
    """Return which of MODES a vector environment has, or raise EnvApiError."""
    mode = env.metadata.get("autoreset_mode")
    if mode is None and not hasattr(border.gymnasium().vector, "AutoresetMode"):
        return MODES[0]  # the only one that Gymnasium 1.0 has
    mode = getattr(mode, "value", mode)
    if mode not in MODES:
        raise EnvApiError(f"env.metadata['autoreset_mode'] must be one of {', '.join(MODES)}, got {mode!r}")
    return str(mode)


def _kept(info: dict[str, Any], rows: list[int], where: str) -> list[Any]:
    """Return the last observations of episodes that ended, which SameStep keeps in `info`."""
    kept = info.get("final_obs", {})
    missing = [row for row in rows if row >= len(kept) or kept[row] is None]
    if missing:
        raise EnvApiError(f"env {missing[0]} ended at {where} without its final_obs in info")
    return [kept[row] for row in rows]
