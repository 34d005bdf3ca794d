"""The commands that train and look at what was trained: `pgref train`, `eval`, `plot`, `envs`, `algos`."""

from __future__ import annotations

import argparse
import inspect
import io
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from shlex import quote
from typing import Any

STEPS = 100_000  # of a run that names none
FORMATS = (".png", ".svg", ".pdf")
WORDS = {"True": True, "False": False, "None": None}  # Python's, besides JSON's


def add(commands: Any) -> None:
    """Add the commands to a parser's subparsers."""
    run = commands.add_parser("train", help="learn an environment, into a folder")
    run.set_defaults(run=train)
    run.add_argument("algorithm", metavar="ALGO", help="a name of `pgref algos`")
    run.add_argument("env", metavar="ENV", help="a name of `pgref envs`, or a Gymnasium id")
    run.add_argument("--steps", type=int, metavar="N", help=f"environment steps in all ({STEPS})")
    run.add_argument("--seed", type=int, metavar="S", help="decides all but how A3C's threads interleave (0)")
    run.add_argument("--n-envs", type=int, metavar="E", help="environments side by side, as -p n_envs=E")
    run.add_argument("--out", metavar="FOLDER", help="a new folder (runs/ALGO-ENV-SEED)")
    run.add_argument(
        "--resume", action="store_true", help="go on with the run in the folder, if there is one"
    )
    run.add_argument("--eval-every", type=int, metavar="N", help="evaluate every N steps as well")
    run.add_argument("--checkpoint-every", type=int, metavar="N", help="save every N steps as well")
    run.add_argument("--tensorboard", action="store_true", help="also write FOLDER/tensorboard")
    run.add_argument(
        "--preset", metavar="NAME", help="settings and steps for a purpose: fast, to be solved soon"
    )
    run.add_argument("--config", metavar="FILE.json", help="an object of settings, over the tuned ones")
    run.add_argument(
        "-p",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, over --config's; JSON or a word",
    )
    run.add_argument("--quiet", action="store_true", help="print nothing")

    judge = commands.add_parser("eval", help="what whole episodes of a trained policy earn")
    judge.set_defaults(run=evaluate)
    judge.add_argument("path", metavar="RUN", help="a run's folder, or the file of an agent")
    judge.add_argument("--episodes", type=int, default=100, metavar="N", help="how many (100)")
    judge.add_argument("--seed", type=int, default=0, metavar="S", help="of the episodes (0)")
    how = judge.add_mutually_exclusive_group()
    how.add_argument("--deterministic", action="store_true", default=True, help="likeliest actions (default)")
    how.add_argument("--stochastic", action="store_false", dest="deterministic", help="sampled actions")

    draw = commands.add_parser("plot", help="learning curves, averaged over seeds")
    draw.set_defaults(run=plot)
    draw.add_argument(
        "paths", nargs="+", metavar="RUN", help="folders; those that differ in seeds are one line"
    )
    draw.add_argument("--out", default="curves.png", metavar="FILE", help=".png, .svg or .pdf (curves.png)")

    commands.add_parser("envs", help="the environments, a line each").set_defaults(run=list_envs)

    knobs = commands.add_parser("algos", help="the algorithms, or every setting of one")
    knobs.set_defaults(run=list_algorithms)
    knobs.add_argument("algorithm", nargs="?", metavar="ALGO", help="show its settings")
    knobs.add_argument(
        "--env", default="*", metavar="ENV", help='tuned for which environment ("*": any other)'
    )


def train(arguments: argparse.Namespace) -> int:
    """Begin a run or go on with one, and say how it went."""
    from pgref import runs
    from pgref.progress import Progress
    from pgref.records import TensorBoard

    run = _run(arguments)
    agent, before, started = run.agent, run.agent.state.steps, time.perf_counter()
    every = {} if arguments.checkpoint_every is None else {"checkpoint_every": arguments.checkpoint_every}
    try:
        with ExitStack() as stack:
            callbacks: list[Any] = []
            if arguments.tensorboard:
                callbacks.append(stack.enter_context(TensorBoard(run.folder / "tensorboard")))
            if not arguments.quiet:
                callbacks.append(stack.enter_context(Progress(run.plan.steps, start=before)))
            runs.train(run, callbacks, **every)
    except KeyboardInterrupt:
        command = f"pgref train {agent.algorithm} {run.plan.env} --out {quote(str(run.folder))} --resume"
        raise KeyboardInterrupt(f"stopped after {agent.state.steps} steps; to go on: {command}") from None
    if not arguments.quiet:
        print(_summary(run, agent.state.steps - before, time.perf_counter() - started))
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Print what whole episodes of a saved agent earn."""
    from pgref import runs
    from pgref.agent import load

    path = arguments.path
    agent = load(path) if os.path.isfile(path) else runs.open_run(path).agent
    n, deterministic, seed = arguments.episodes, arguments.deterministic, arguments.seed
    done = agent.evaluate(n, deterministic=deterministic, rng=seed)
    returns, lengths = done.returns, done.lengths
    print(
        f"{agent.algorithm} on {agent.env.name} after {agent.state.steps} steps, "
        f"{'likeliest' if deterministic else 'sampled'} actions, {n} episodes of seed {seed}: "
        f"return {done.mean:.6g} ± {done.std:.4g}, from {returns.min():.6g} to {returns.max():.6g}; "
        f"length {lengths.mean():.6g}, from {lengths.min()} to {lengths.max()}"
    )
    return 0


def plot(arguments: argparse.Namespace) -> int:
    """Draw the learning curves of runs into a file."""
    from pgref import figures, plans
    from pgref.errors import ArgumentError
    from pgref.files import write_atomically

    kind = Path(arguments.out).suffix
    if kind not in FORMATS:
        raise ArgumentError(f"--out must end in one of {', '.join(FORMATS)}, got {arguments.out!r}")
    os.environ.setdefault("MPLBACKEND", "Agg")  # no window: the machine may have no screen
    groups = plans.grouped(arguments.paths)
    image = io.BytesIO()
    figures.learning_curves(groups).figure.savefig(image, format=kind[1:], bbox_inches="tight", dpi=150)
    write_atomically(arguments.out, image.getvalue())
    seeds = ", ".join(f"{label} ({len(rows)})" for label, rows in groups.items())
    print(f"{arguments.out}: {seeds}")
    return 0


def list_envs(arguments: argparse.Namespace) -> int:
    """Print the environments by name."""
    from pgref.envs import names

    rows = [("name", "observations", "actions", "time limit", "")]
    for name, (place, _) in names.TABLE.items():
        module, maker = place.split(":")
        made = getattr(import_module(f"pgref.envs.{module}"), maker)
        text = (inspect.getdoc(made) or "") if __doc__ else ""  # python -OO leaves a dataclass its signature
        env: Any = names.make(name)
        spaces = _space(env.obs_space), _space(env.action_space)
        rows.append((name, *spaces, str(env.time_limit), text.partition("\n")[0].removeprefix("Return ")))
    print(_table(rows))
    return 0


def list_algorithms(arguments: argparse.Namespace) -> int:
    """Print the algorithms, or the settings of one."""
    from pgref import knobs, presets
    from pgref.agent import AGENTS
    from pgref.plans import agent_class

    if arguments.algorithm is None:
        print(_table([(name, inspect.getdoc(kind) or "") for name, kind in AGENTS.items()]))
        return 0
    kind = agent_class(arguments.algorithm)
    tuned = presets.settings(kind.algorithm, arguments.env)
    rows = [("setting", "default", f"tuned for {arguments.env}", "unit", "meaning", "source")]
    for knob in knobs.describe(import_module(f"pgref.algorithms.{kind.algorithm}").Config):
        best = _word(tuned[knob.name]) if knob.name in tuned else ""
        rows.append((knob.name, _word(knob.default), best, knob.unit, knob.meaning, knob.source))
    print(_table(rows))
    return 0


def _run(arguments: argparse.Namespace) -> Any:
    """Return the run that is asked for, begun or to be gone on with."""
    from pgref import presets, runs
    from pgref.plans import agent_class

    algorithm, env, seed = agent_class(arguments.algorithm).algorithm, arguments.env, arguments.seed or 0
    folder = Path(arguments.out or f"runs/{algorithm}-{re.sub('[^A-Za-z0-9_.-]', '_', env)}-{seed}")
    settings, every, budget = _settings(arguments), arguments.eval_every, STEPS
    if arguments.preset is not None:
        preset = presets.named(arguments.preset, algorithm, env)
        settings, budget = {**preset.settings, **settings}, preset.steps
    if not arguments.resume or runs.is_new(folder):
        steps = budget if arguments.steps is None else arguments.steps
        return runs.begin(folder, algorithm, env, steps, seed, settings, every)
    given = {"seed": arguments.seed, "eval_every": every}
    named = {name: value for name, value in given.items() if value is not None}
    run = runs.resume(folder, arguments.steps, {"algorithm": algorithm, "env": env, **named, **settings})
    if not (run.agent.resumable or arguments.quiet):
        print(f"pgref: {env} cannot be saved, it goes on with new episodes", file=sys.stderr)
    return run


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    from pgref.errors import ArgumentError, DataFileError

    settings: dict[str, Any] = {}
    if arguments.config is not None:
        try:
            settings = {**json.loads(Path(arguments.config).read_bytes())}
        except (ValueError, TypeError, RecursionError) as error:
            raise DataFileError(f"{arguments.config}: must hold an object of settings: {error}") from error
    for pair in arguments.p:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ArgumentError(f"-p must be given KEY=VALUE, got {pair!r}")
        try:
            settings[name] = WORDS[text] if text in WORDS else json.loads(text)
        except ValueError:
            settings[name] = text
    return settings if arguments.n_envs is None else {**settings, "n_envs": arguments.n_envs}


def _summary(run: Any, steps: int, seconds: float) -> str:
    """Return the line that says what a run has done just now, and how good it is."""
    from pgref import curves, records, runs
    from pgref.plans import JSONL

    state, rate = run.agent.state, steps / seconds
    rows = records.read(run.folder / JSONL)
    latest, status = curves.learning_curve(rows, [state.steps])[0], str(rows[-1]["status"])
    how = f" ({status})" if status.startswith("scheduled") else ""  # not as A3C was told to run
    return (
        f"{run.plan.algorithm} on {run.plan.env}: {state.steps} steps, {state.updates} updates{how}, "
        f"{seconds:.1f} s, {rate:.0f} steps/s; mean return {latest:.4g} of the last 100 episodes, "
        f"{runs.evaluate(run).mean:.4g} of {runs.EPISODES} in evaluation; {run.folder}"
    )


def _space(space: Any) -> str:
    size = getattr(space, "d", None) or getattr(space, "n", None) or space.sizes
    return f"{type(space).__name__}({size})"


def _word(value: Any) -> str:
    """Return a setting as -p takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
