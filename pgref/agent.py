"""Agents: an algorithm, a task and a state in one object, for people who want to learn, predict and evaluate.

    TRPO("CartPole", rng=0).learn(50_000).evaluate(100).mean

The functional layer is one attribute away: `agent.task`, `.config`, `.state`, `.policy`, `.theta`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, TypeVar

import numpy as np

from pgref import checkpoint, presets, rollout, streams
from pgref.arrays import Array, Vector, Workspace, count
from pgref.critic import Critic
from pgref.envs.resolve import describe, fixed_settings, resolve
from pgref.errors import ArgumentError, ArgumentTypeError, CheckpointError
from pgref.evaluation import LARGEST_EVALUATION as LARGEST_EVALUATION
from pgref.evaluation import Evaluation as Evaluation
from pgref.evaluation import evaluated, place
from pgref.knobs import make_config
from pgref.moments import Moments, normalised
from pgref.policy import Policy
from pgref.spaces import as_observations
from pgref.task import Task, make_task
from pgref.versions import versions

A = TypeVar("A", bound="Agent")


class Agent:
    """An algorithm learning an environment; the classes below name the algorithm.

    Args:
        env: a name of `pgref envs`, a Gymnasium id, a Gymnasium environment, a TabularMDP, or an environment
            that follows `pgref.envs.protocol`.
        rng: a Generator or a seed; None draws one. Everything that follows depends on it alone.
        settings: knobs of the algorithm (`pgref algos`), over the tuned ones of this environment.

    Raises:
        ArgumentError, ArgumentTypeError: an unknown name or setting, or a value out of range.
        Whatever the environment raises when it is reset.
    """

    algorithm: ClassVar[str]

    def __init__(self, env: Any, *, rng: Any = None, **settings: Any) -> None:
        self.env = resolve(env)
        kind, tuned = self._module().Config, presets.settings(self.algorithm, self.env.name)
        fixed = {name: value for name, value in fixed_settings(self.env).items() if hasattr(kind, name)}
        self.config = make_config(kind, {**tuned, **fixed, **settings})
        for name, value in fixed.items():
            if getattr(self.config, name) != value:
                raise ArgumentError(f"{name} must be {value} with this environment, got {settings[name]!r}")
        self.task: Task = make_task(self.env, self.config)
        self._adopt(self._module().init(self.task, self.config, rng))

    @classmethod
    def _module(cls) -> Any:
        return import_module(f"pgref.algorithms.{cls.algorithm}")

    def _adopt(self, state: Any) -> None:
        self.state = state
        self._work = Workspace()
        self._rng = streams.stream(state.seed, streams.PREDICTIONS)  # they are no part of learning

    @property
    def policy(self) -> Policy:
        """The policy as a function of θ."""
        return self.task.policy

    @property
    def critic(self) -> Critic:
        """The critic as a function of ψ."""
        return self.task.critic

    @property
    def theta(self) -> Vector:
        """θ [P], the policy's parameters as they are now."""
        return self.task.split(self.state.weights)[0]

    @property
    def psi(self) -> Vector:
        """ψ [Q], the critic's parameters as they are now."""
        return self.task.split(self.state.weights)[1]

    @property
    def seen(self) -> Moments:
        """The moments by which observations are normalised; of nothing if they are not."""
        return self.runners()[0].seen

    @property
    def resumable(self) -> bool:
        """Whether a file can hold where the environment stands; if not, a loaded agent begins anew there."""
        return getattr(self.runners()[0].env, "resumable", True) is not False

    def learn(
        self: A,
        steps: int,
        callbacks: Iterable[Callable[[Any], Any]] = (),
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        **options: Any,
    ) -> A:
        """Run updates until `steps` more environment steps are done; return the agent itself.

        Args:
            steps: environment steps, all environments together; the last update may go beyond.
            callbacks: functions of each update's evidence, called in turn; one that returns True ends it.
            checkpoint: where to save at once, and at the end, also after an interrupt or an error.
            checkpoint_every: save after every so many steps as well.
            options: what the algorithm's `update` takes besides: `executor` for A2C, `schedule` for A3C.

        Raises:
            ArgumentError, ArgumentTypeError: an argument that is none; nothing has been done.
            Whatever an update raises; the agent is then as it was before that update.
        """
        last = self.state.steps + count("steps", steps)
        every = math.inf if checkpoint_every is None else count("checkpoint_every", checkpoint_every)
        if checkpoint is None and every < math.inf:
            raise ArgumentError("checkpoint must be given with checkpoint_every, got None")
        if not isinstance(callbacks, Iterable) or not all(map(callable, callbacks := tuple(callbacks))):
            raise ArgumentTypeError(f"callbacks must be functions, got {callbacks!r}")
        save: Callable[[], None] = partial(self.save, checkpoint) if checkpoint is not None else lambda: None
        save()
        update, saved, stop = self._module().update, self.state.steps, False
        try:
            while self.state.steps < last and not stop:
                self.state, evidence = update(self.task, self.config, self.state, self._work, **options)
                stop = any([callback(evidence) is True for callback in callbacks])
                if self.state.steps - saved >= every:
                    save()
                    saved = self.state.steps
        finally:
            save()
        return self

    def predict(self, obs: Any, deterministic: bool = False) -> Array:
        """Return an action for one observation, or actions for a batch of them [N, …].

        The likeliest action if `deterministic`, else a sample; a Gaussian's may leave the Box.

        Raises:
            ArgumentError, ArgumentTypeError, ShapeError, NonFiniteError: no observation of its space.
        """
        batch, single = as_observations(self.env.obs_space, obs)
        actions = self._choose(batch, deterministic, self._rng)
        chosen: Array = actions[0] if single else actions
        return chosen

    def evaluate(
        self, episodes: int = 100, *, deterministic: bool = True, rng: Any = 0, env: Any = None
    ) -> Evaluation:
        """Return what whole episodes of the policy earn, in environments of their own.

        Args:
            episodes: how many.
            deterministic: the likeliest action, or samples.
            rng: a Generator or a seed; the same one starts the same episodes.
            env: where to run them, in place of the environment that is learned.

        Raises:
            ArgumentError: the environment cannot be made anew and no other is given, or not one that fits.
        """
        episodes, seed = count("episodes", episodes), streams.new_seed(rng)
        where = place(self.task, self.config, env)
        generator = streams.stream(seed, streams.PREDICTIONS)
        return evaluated(where, lambda obs: self._choose(obs, deterministic, generator), episodes, seed)

    def restart(self) -> None:
        """Begin new episodes in the environment, as after it has failed; nothing that was learned changes."""
        fresh, path = [], (self.config.n_envs, self.state.seed, 1, self.state.updates)
        for i, runner in enumerate(self.runners()):
            new = rollout.start(self.env, *path, i)
            fresh.append(new._replace(clock=runner.clock, seen=runner.seen, gained=runner.gained))
        many = hasattr(self.state, "runners")
        self.state = self.state._replace(**{"runners": tuple(fresh)} if many else {"runner": fresh[0]})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that the next update needs, so that a loaded agent goes on bit for bit.

        The old file stays whole until the new one is. A Gymnasium environment cannot be saved: there,
        learning goes on with new episodes.

        Raises:
            CheckpointError: a parameter is NaN or infinite. OSError: the file cannot be written.
        """
        header = {"algorithm": self.algorithm, "env": describe(self.env), "config": asdict(self.config)}
        checkpoint.save(path, {**header, "versions": versions()}, self.state)

    def export(self, path: str | os.PathLike[str], dtype: str | None = None) -> None:
        """Write the policy as a file without pgref, .py, .h, .mjs, .onnx or .json: `export.targets.write`."""
        import_module("pgref.export.targets").write(self, path, dtype=dtype)

    def runners(self) -> tuple[rollout.Runner, ...]:
        """Return where acting stands, of each Worker."""
        return getattr(self.state, "runners", None) or (self.state.runner,)

    def _choose(self, obs: Array, deterministic: bool, rng: np.random.Generator) -> Array:
        seen = normalised(self.seen, obs)
        if deterministic:
            return self.policy.mode(self.theta, seen)
        return self.policy.sample(self.theta, seen, rng)


class VPG(Agent):
    """Vanilla policy gradient, (5.14) and (5.15)."""

    algorithm = "vpg"


class ActorCritic(Agent):
    """Actor-critic: one Worker of Algorithm 5.20."""

    algorithm = "actor_critic"


class A2C(Agent):
    """A2C: Master, Coordinator and Workers (Algorithm 5.20)."""

    algorithm = "a2c"


class A3C(Agent):
    """A3C: Workers that share θ and ψ without a lock (Algorithm 5.21)."""

    algorithm = "a3c"

    def learn(self: A, steps: int, callbacks: Iterable[Callable[[Any], Any]] = (), **options: Any) -> A:
        """Learn as every agent does; with processes, the same ones for all updates."""
        if self.config.backend != "process" or "pool" in options:
            return super().learn(steps, callbacks, **options)
        with self._module().workers(self.task, self.config) as pool:
            return super().learn(steps, callbacks, pool=pool, **options)


class NPG(Agent):
    """Natural policy gradient: (5.29) without a line search."""

    algorithm = "npg"


class TRPO(Agent):
    """Trust-region policy optimisation, (5.26) to (5.29), with a line search."""

    algorithm = "trpo"


class PPO(Agent):
    """Proximal policy optimisation, clipped or penalised."""

    algorithm = "ppo"


AGENTS: dict[str, type[Agent]] = {a.algorithm: a for a in (VPG, ActorCritic, A2C, A3C, NPG, TRPO, PPO)}


def load(path: str | os.PathLike[str], env: Any = None) -> Agent:
    """Return the agent that a file holds; `env` is needed where it was an object of the user's own.

    Raises:
        FileNotFoundError and other OSErrors: the file cannot be opened.
        CheckpointError: it holds no agent, or none for this environment; the message names the path.
        ArgumentError, ArgumentTypeError: `env` is needed, or is no environment.
    """
    header, arrays = checkpoint.load(path)
    kind, settings, name = _held(header, os.fspath(path))
    if env is None and name is None:
        raise ArgumentError(f"env must be given to load {os.fspath(path)}: it was the user's own object")
    where = name if env is None else resolve(env)
    try:
        agent = kind(where, rng=0, **settings)
        state = checkpoint.restore(agent.state, arrays, path)
        for counter in ("seed", "updates", "steps"):
            count(counter, getattr(state, counter), 0)
        agent._adopt(state)
    except (ArgumentError, TypeError) as error:
        raise CheckpointError(f"{os.fspath(path)}: {error}") from error
    if not agent.resumable:
        agent.restart()
    return agent


def _held(header: dict[str, Any], path: Any) -> tuple[type[Agent], dict[str, Any], Any]:
    """Return the class, every setting and the environment's name that a header holds."""
    algorithm, config = header.get("algorithm"), header.get("config")
    if not isinstance(algorithm, str) or algorithm not in AGENTS:
        raise CheckpointError(f"{path}: algorithm must be one of {', '.join(AGENTS)}, got {algorithm!r}")
    settings = config if isinstance(config, dict) else {}
    if missing := {f.name for f in fields(AGENTS[algorithm]._module().Config)} - set(settings):
        raise CheckpointError(f"{path}: config lacks {', '.join(sorted(missing))}")
    return AGENTS[algorithm], settings, header.get("env")
