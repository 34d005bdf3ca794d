"""What a training run is to do, as the file that its folder is known by."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pgref import records
from pgref.agent import AGENTS, Agent
from pgref.arrays import count
from pgref.errors import ArgumentError, DataFileError
from pgref.files import Location, write_atomically
from pgref.rowfile import Row

CONFIG, JSONL = "config.json", "records.jsonl"


class Plan(NamedTuple):
    """What config.json holds: all that decides the bits of a run."""

    algorithm: str
    env: str
    seed: int
    steps: int  # in all, of all environments together
    eval_every: int | None  # steps; None: never
    settings: dict[str, Any]  # every knob
    versions: dict[str, str]  # of pgref, numpy and python, where the run began


def agent_class(algorithm: str) -> type[Agent]:
    """Return the class of agents by its name or its algorithm's, whatever its capitals and underscores."""
    kinds = {name.replace("_", ""): kind for name, kind in AGENTS.items()}
    kind = kinds.get(str(algorithm).lower().replace("_", "").replace("-", ""))
    if kind is None:
        raise ArgumentError(f"algorithm must be one of {', '.join(AGENTS)}, got {algorithm!r}")
    return kind


def write(folder: Location, plan: Plan) -> None:
    """Write the plan into its folder; raises OSError."""
    write_atomically(Path(folder) / CONFIG, (json.dumps(plan._asdict(), indent=1) + "\n").encode())


def read(folder: Location) -> Plan:
    """Return the plan in a folder.

    Raises:
        FileNotFoundError and other OSErrors: the file cannot be opened.
        DataFileError: it holds no plan; the message names the path and the reason.
    """
    path = Path(folder) / CONFIG
    content = path.read_bytes()
    try:
        plan = Plan(**json.loads(content))
        agent_class(plan.algorithm), count("seed", plan.seed, 0), count("steps", plan.steps)
        if plan.eval_every is not None:
            count("eval_every", plan.eval_every)
        if not isinstance(plan.env, str) or not isinstance(plan.settings, dict):
            raise TypeError("env must be a name, and settings an object")
        return plan
    except (ValueError, TypeError, RecursionError) as error:
        raise DataFileError(f"{path}: {error}") from error


def grouped(folders: Iterable[Location]) -> dict[str, list[list[Row]]]:
    """Return each run's records under its group's label, as `figures.learning_curves` takes them.

    A group holds the runs that differ in nothing but their seeds and steps. Its label is the algorithm, the
    environment, and those settings in which other groups with these two differ.

    Raises:
        As `read` and `records.read` do.
    """
    found: dict[str, tuple[Plan, list[list[Row]]]] = {}
    for folder in dict.fromkeys(Path(folder).resolve() for folder in folders):
        plan = read(folder)
        key = json.dumps([plan.algorithm, plan.env, plan.settings], sort_keys=True)
        found.setdefault(key, (plan, []))[1].append(records.read(folder / JSONL))
    plans = [plan for plan, _ in found.values()]
    return {_label(plan, plans): rows for plan, rows in found.values()}


def _label(plan: Plan, plans: list[Plan]) -> str:
    rivals = [other.settings for other in plans if other[:2] == plan[:2]]
    differing = [
        f"{name}={json.dumps(value)}"
        for name, value in plan.settings.items()
        if any(other.get(name) != value for other in rivals)
    ]
    return " ".join([plan.algorithm, plan.env, *differing])
