"""PPO and TRPO on MuJoCo next to Stable-Baselines3 and sb3-contrib with the same settings.

One process and one line of results/mujoco.jsonl for each run: an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import harness  # before NumPy
import numpy as np

PACKAGES = ("pgref", "numpy", "scipy", "gymnasium", "mujoco", "stable_baselines3", "sb3_contrib", "torch")
ENVS = ("HalfCheetah-v5", "Hopper-v5")
ALGORITHMS = ("trpo", "ppo")
FRAMEWORKS = ("pgref", "sb3")
EPISODES = 20  # of the evaluation, with the likeliest action
LAST = 0.9  # episodes that end after this part of the steps count as the last ones

# The defaults of Stable-Baselines3 and sb3-contrib, with observations and rewards normalised.
SHARED: dict[str, Any] = {
    "n_envs": 1, "n_steps": 2048, "discount": 0.99, "trace": 0.95, "normalise_advantages": True,
    "normalise_obs": True, "scale_rewards": True, "hidden": (64, 64), "orthogonal": True,
    "hidden_layers": 2**0.5, "last_layer": 0.01, "log_std": 0.0,
}  # fmt: skip
PPO = {
    "step": 3e-4, "critic_step": 3e-4, "minibatch": 64, "epochs": 10, "clip": 0.2, "critic_weight": 0.5,
    "max_norm": 0.5, "entropy": 0.0,
}  # fmt: skip
TRPO = {
    "critic_step": 1e-3, "critic_minibatch": 128, "critic_epochs": 10, "products": 15, "shrink": 0.8,
    "tries": 10,
}  # fmt: skip
# The KL of sb3-contrib is a mean over the dimensions of an action, so that these are per dimension.
KL_LIMIT, DAMPING = 0.01, 0.1


class Run(NamedTuple):
    """One training run."""

    env: str
    algorithm: str
    framework: str
    seed: int
    steps: int


class Learned(NamedTuple):
    """What a run gives."""

    wall_s: float  # of learning alone
    cpu_s: float
    returns: list[float]  # of the evaluation
    last: list[float]  # returns of the last training episodes


def pgref_run(run: Run) -> Learned:
    """Learn and evaluate with pgref."""
    from pgref.agent import AGENTS

    settings = PPO
    if run.algorithm == "trpo":
        d = _dimensions(run.env)
        settings = {**TRPO, "kl_limit": KL_LIMIT * d, "damping": DAMPING * d}
    agent = AGENTS[run.algorithm](run.env, rng=run.seed, **SHARED, **settings)
    last: list[float] = []

    def remember(update: Any) -> None:
        if update.steps > LAST * run.steps:
            last.extend(update.episodes.returns.tolist())

    seconds = _timed(lambda: agent.learn(run.steps, [remember]))
    returns = agent.evaluate(EPISODES, rng=1000 + run.seed).returns.tolist()
    return Learned(*seconds, returns, last)


def sb3_run(run: Run) -> Learned:
    """Learn and evaluate with Stable-Baselines3 or sb3-contrib."""
    import sb3_contrib
    import stable_baselines3
    import torch
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecNormalize

    torch.set_num_threads(1)
    unchecked = {"disable_env_checker": True}  # as pgref makes them
    env = VecNormalize(make_vec_env(run.env, SHARED["n_envs"], run.seed, env_kwargs=unchecked))
    settings = {
        "n_steps": SHARED["n_steps"], "gamma": SHARED["discount"], "gae_lambda": SHARED["trace"],
        "normalize_advantage": True, "seed": run.seed, "device": "cpu",
        "policy_kwargs": {"net_arch": list(SHARED["hidden"]), "optimizer_kwargs": {"eps": 1e-8}},
    }  # fmt: skip
    if run.algorithm == "ppo":
        model: Any = stable_baselines3.PPO(
            "MlpPolicy", env, learning_rate=PPO["step"], batch_size=PPO["minibatch"], n_epochs=PPO["epochs"],
            clip_range=PPO["clip"], vf_coef=PPO["critic_weight"], max_grad_norm=PPO["max_norm"],
            ent_coef=PPO["entropy"], **settings,
        )  # fmt: skip
    else:
        model = sb3_contrib.TRPO(
            "MlpPolicy", env, learning_rate=TRPO["critic_step"], batch_size=TRPO["critic_minibatch"],
            n_critic_updates=TRPO["critic_epochs"], cg_max_steps=TRPO["products"], cg_damping=DAMPING,
            target_kl=KL_LIMIT, line_search_shrinking_factor=TRPO["shrink"],
            line_search_max_iter=TRPO["tries"], **settings,
        )  # fmt: skip
    last: list[float] = []

    def remember(local: dict[str, Any], _: Any) -> bool:
        if local["self"].num_timesteps > LAST * run.steps:
            last.extend(float(info["episode"]["r"]) for info in local["infos"] if "episode" in info)
        return True

    seconds = _timed(lambda: model.learn(run.steps, remember))
    test = VecNormalize(
        make_vec_env(run.env, 1, 1000 + run.seed, env_kwargs=unchecked), training=False, norm_reward=False
    )
    test.obs_rms = env.obs_rms
    returns, _ = evaluate_policy(model, test, EPISODES, deterministic=True, return_episode_rewards=True)
    return Learned(*seconds, [float(x) for x in returns], last)


def _dimensions(env: str) -> int:
    import gymnasium

    made = gymnasium.make(env)
    (d,) = made.action_space.shape or ()
    made.close()
    return int(d)


def _timed(call: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def record(run: Run) -> dict[str, Any]:
    """Return one line of the results."""
    learned = {"pgref": pgref_run, "sb3": sb3_run}[run.framework](run)
    return {
        **run._asdict(),
        "score": float(np.mean(learned.returns)),
        "score_std": float(np.std(learned.returns)),
        "training": float(np.mean(learned.last)) if learned.last else None,
        "training_episodes": len(learned.last),
        "wall_s": learned.wall_s,
        "cpu_s": learned.cpu_s,
        "machine": harness.machine(PACKAGES),
    }


def wanted(args: argparse.Namespace) -> Iterator[Run]:
    """Yield the runs in the order in which they are made: seed by seed, so that a part is a comparison."""
    for seed, framework, algorithm, env in itertools.product(range(args.seeds), FRAMEWORKS, ALGORITHMS, ENVS):
        run = Run(env, algorithm, framework, seed, args.steps)
        if all(part in run for part in args.only):
            yield run


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines that there are so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def in_a_process(run: Run, path: Path) -> None:
    """Make one run in a process of its own, and append its line."""
    command = [sys.executable, str(Path(__file__).resolve()), "--run", json.dumps(run)]
    paths = [str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    with tempfile.TemporaryDirectory() as folder:  # MuJoCo writes a log where it is
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, check=False,
        )  # fmt: skip
    if done.returncode:
        print(f"{' '.join(map(str, run))}: FAILED\n{done.stderr[-800:]}", flush=True)
        return
    line = done.stdout.splitlines()[-1]
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    row = json.loads(line)
    print(f"{' '.join(map(str, run))}: {row['score']:.0f}, {row['wall_s']:.0f} s", flush=True)


def summary(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the Markdown table: mean over the seeds, and the range."""
    yield (
        "| environment | algorithm | steps | seeds | pgref score | SB3 score | pgref, last tenth of training "
        "| SB3, last tenth | SB3 / pgref, wall | CPU |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    cases = sorted({(row["env"], row["algorithm"], row["steps"]) for row in rows})
    for env, algorithm, steps in cases:
        key = (env, algorithm, steps)
        case = [row for row in rows if (row["env"], row["algorithm"], row["steps"]) == key]
        ours, theirs = ([row for row in case if row["framework"] == name] for name in FRAMEWORKS)
        cells = [spread(part, what) for what in ("score", "training") for part in (ours, theirs)]
        cells += [ratio(ours, theirs, what) for what in ("wall_s", "cpu_s")]
        seeds = f"{len(ours)} and {len(theirs)}"
        yield f"| {env} | {algorithm.upper()} | {steps} | {seeds} | " + " | ".join(cells) + " |"


def spread(rows: list[dict[str, Any]], key: str) -> str:
    """Return the mean and the range of one figure."""
    values = [row[key] for row in rows if row[key] is not None]
    if not values:
        return "–"
    return f"{statistics.mean(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], key: str) -> str:
    """Return the ratio of the medians."""
    if not ours or not theirs:
        return "–"
    return f"{statistics.median(r[key] for r in theirs) / statistics.median(r[key] for r in ours):.1f}"


def main() -> None:
    """Make the runs that are missing, one after another; or print what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    choices = (*FRAMEWORKS, *ALGORITHMS, *ENVS)
    parser.add_argument("--only", nargs="*", default=[], choices=choices, help="only runs with all of these")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, … of each (default 3)")
    parser.add_argument("--steps", type=int, default=300_000, help="of each run (default 300000)")
    parser.add_argument("--summary", action="store_true", help="print the table, run nothing")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for mujoco.jsonl")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(record(Run(*json.loads(args.run)))))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "mujoco.jsonl"
    if not args.summary:
        harness.describe({"machine": harness.machine(PACKAGES)})
        done = {tuple(row[key] for key in Run._fields) for row in read(path)}
        for run in wanted(args):
            if run not in done:
                in_a_process(run, path)
    print("\n".join(summary(read(path))))


if __name__ == "__main__":
    main()
