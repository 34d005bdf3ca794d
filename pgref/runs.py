"""Training runs as folders, which go on after any interruption as if there had been none.

    config.json                 the plan
    records.csv, records.jsonl  a line for each update, without the time of day
    evaluations.jsonl           a line for each evaluation, if the plan has any
    checkpoint.npz              the agent

An update's lines are on the disk before a checkpoint counts it, and what no checkpoint counts is cut off
before a run goes on. So the files of a run that was killed end up the same, byte for byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from pgref import plans, records, streams
from pgref.agent import Agent, Evaluation, load
from pgref.arrays import count, require_finite
from pgref.envs.resolve import describe
from pgref.errors import ArgumentError, DataFileError
from pgref.files import Location
from pgref.plans import CONFIG, JSONL, Plan, agent_class
from pgref.rollout import Episodes
from pgref.versions import versions

CSV, EVALUATIONS, CHECKPOINT = "records.csv", "evaluations.jsonl", "checkpoint.npz"
EPISODES = 100  # in each evaluation
CHECKPOINT_EVERY = 20_000  # environment steps


class Run(NamedTuple):
    """A folder, its plan, and the agent as far as it has learned."""

    folder: Path
    plan: Plan
    agent: Agent


class Evaluated(NamedTuple):
    """A line of evaluations.jsonl."""

    updates: int
    steps: int
    episodes: Episodes
    std_return: float


def begin(
    folder: Location,
    algorithm: str,
    env: str,
    steps: int,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    eval_every: int | None = None,
) -> Run:
    """Make a run's folder with its plan in it, and return the run before its first update.

    Args:
        folder: a new one, or an empty one.
        algorithm: its name as in `pgref algos`; capitals and underscores do not matter.
        env: a name of `pgref envs`, or a Gymnasium id.
        steps: environment steps in all; the last update may go beyond.
        seed: with the versions in the plan it decides all that is not named here.
        settings: knobs, over the tuned ones of this environment.
        eval_every: evaluate whenever so many more steps are done; None: never.

    Raises:
        ArgumentError: the folder holds something, or an argument is out of its range.
    """
    folder, seed, steps = Path(folder), count("seed", seed, 0), count("steps", steps)
    every = None if eval_every is None else count("eval_every", eval_every)
    agent = agent_class(algorithm)(env, rng=seed, **(settings or {}))
    name = describe(agent.env)
    if name is None:
        raise ArgumentError(f"env must be a name or a Gymnasium id, which {CONFIG} can hold, got {env!r}")
    if not is_new(folder):
        raise ArgumentError(f"{folder} must be a new or empty folder; a run in it can be resumed")
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(agent.algorithm, name, seed, steps, every, _settings(agent), versions())
    plans.write(folder, plan)
    return Run(folder, plan, agent)


def is_new(folder: Location) -> bool:
    """Return whether there is nothing at that place but what a killed `begin` may have left."""
    path = Path(folder)
    return not path.exists() or (path.is_dir() and all(name.startswith(".") for name in os.listdir(path)))


def open_run(folder: Location) -> Run:
    """Return the run in a folder as far as it has been saved.

    Raises:
        FileNotFoundError and other OSErrors: a file cannot be opened.
        DataFileError: a file is damaged, or the checkpoint another run's; the message says which and why.
    """
    folder, plan = Path(folder), plans.read(folder)
    path = folder / CHECKPOINT
    if path.exists():
        agent = load(path)
        held = agent.algorithm, describe(agent.env), _settings(agent)
        if held != (plan.algorithm, plan.env, plan.settings):
            raise DataFileError(f"{path}: must belong to the run of the {CONFIG} beside it")
        return Run(folder, plan, agent)
    try:  # killed before its first checkpoint
        return Run(folder, plan, agent_class(plan.algorithm)(plan.env, rng=plan.seed, **plan.settings))
    except (ArgumentError, TypeError) as error:
        raise DataFileError(f"{folder / CONFIG}: {error}") from error


def resume(folder: Location, steps: int | None = None, expected: Mapping[str, Any] | None = None) -> Run:
    """Return the run in a folder, which goes on to `steps` in all: those of its plan, or more.

    A Gymnasium environment cannot be saved, so that it goes on with new episodes.

    Args:
        folder: where `begin` made it.
        steps: None for those of the plan.
        expected: what the plan and its settings must say, by name.

    Raises:
        ArgumentError: fewer steps than in the plan, or another value than expected.
        As `open_run` does.
    """
    run = open_run(folder)
    plan, settings = run.plan, run.plan.settings
    for name, value in (expected or {}).items():
        if name not in {**settings, **plan._asdict()}:
            raise ArgumentError(f"unknown setting {name!r}; there are {', '.join(sorted(settings))}")
        had = settings[name] if name in settings else getattr(plan, name)
        if had != (list(value) if isinstance(value, tuple) else value):
            raise ArgumentError(f"{name} must be {had!r} as in the run {run.folder}, got {value!r}")
    if steps is None or count("steps", steps, plan.steps) == plan.steps:
        return run
    longer = plan._replace(steps=count("steps", steps))
    plans.write(run.folder, longer)
    return run._replace(plan=longer)


def train(
    run: Run, callbacks: Iterable[Callable[[Any], Any]] = (), *, checkpoint_every: int = CHECKPOINT_EVERY
) -> None:
    """Run updates until the plan's steps are done, or a callback returns True.

    Whatever ends it, Ctrl-C as well: the agent, and the checkpoint, are those after the last update that has
    gone through all the callbacks.

    Args:
        run: from `begin` or `resume`.
        callbacks: functions of each update's evidence.
        checkpoint_every: save whenever so many more steps are done.

    Raises:
        NonFiniteError: an update has made a weight NaN or infinite; the checkpoint is the one before it.
        Whatever an update or a callback raises.
    """
    folder, plan, agent = run
    every, kept, saved = count("checkpoint_every", checkpoint_every), agent.state, agent.state

    def evaluate_in_time(update: Any) -> None:
        if plan.eval_every and update.steps // plan.eval_every > kept.steps // plan.eval_every:
            _, std, *episodes = evaluate(run)
            evaluations(Evaluated(update.updates, update.steps, Episodes(*episodes), std))

    def keep(update: Any) -> None:
        nonlocal kept, saved
        require_finite(f"weights after update {update.updates}", agent.state.weights)
        kept = agent.state
        if kept.steps - saved.steps >= every:
            _save(run)
            saved = kept

    with ExitStack() as files:
        at: dict[str, Any] = {"append": True, "resume_at": kept.updates}
        lines = [
            files.enter_context(kind(folder / name, **at))
            for kind, name in ((records.Csv, CSV), (records.Jsonl, JSONL))
        ]
        if plan.eval_every:
            evaluations = files.enter_context(records.Jsonl(folder / EVALUATIONS, **at))
        try:
            if kept.steps < plan.steps:
                agent.learn(plan.steps - kept.steps, [*lines, evaluate_in_time, *callbacks, keep])
        finally:
            agent.state = kept
            _save(run)


def evaluate(run: Run, episodes: int = EPISODES) -> Evaluation:
    """Return what the likeliest actions earn now; it depends on the seed and the updates alone."""
    return run.agent.evaluate(
        episodes, rng=streams.stream(run.plan.seed, streams.PREDICTIONS, run.agent.state.updates)
    )


def _settings(agent: Agent) -> dict[str, Any]:
    """Return the agent's config as JSON returns it."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(agent.config)))
    return settings


def _save(run: Run) -> None:
    """Bring the lines onto the disk, and then the checkpoint that counts them."""
    for name in (CSV, JSONL, EVALUATIONS):
        with suppress(FileNotFoundError), open(run.folder / name, "r+b") as file:
            os.fsync(file.fileno())
    run.agent.save(run.folder / CHECKPOINT)
