"""What training.py and cold_start.py let learn CartPole: pgref and its peers, with the same settings.

A case names them in pgref's words; `ours`, `sb3` and `rejax` return a run: a function of a seed that makes a
new agent and lets it learn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import harness  # noqa: F401  before NumPy: one thread

SB3, SB3_CONTRIB, REJAX = "stable_baselines3", "sb3_contrib", "rejax"
SOLVED, EPISODES = 475, 100
Run = Callable[..., None]  # seed, watch=None


class Case(NamedTuple):
    """What is trained, and how much faster than the peer it is to be and must be."""

    algorithm: str
    peer: str  # package
    budget: int  # environment steps, as rl-baselines3-zoo or rejax have it
    target: float
    floor: float
    settings: dict[str, Any]

    def rounded(self, steps: int) -> int:
        """Return the steps up to the next whole update, where all of them stop."""
        batch = self.settings["n_envs"] * self.settings["n_steps"]
        return -(-steps // batch) * batch


# fmt: off
ZOO_PPO = {
    "n_envs": 8, "n_steps": 32, "minibatch": 256, "epochs": 20, "discount": 0.98, "trace": 0.8, "step": 1e-3,
    "critic_step": 1e-3, "clip": 0.2, "anneal_clip": True, "entropy": 0.0, "critic_weight": 0.5,
    "max_norm": 0.5, "normalise_advantages": True,
}
ZOO_A2C = {
    "n_workers": 1, "n_envs": 8, "n_steps": 5, "discount": 0.99, "trace": 1.0, "step": 7e-4,
    "critic_step": 7e-4, "anneal_over": None, "optimizer": "rmsprop", "entropy": 0.0, "critic_weight": 0.5,
    "max_norm": 0.5, "mean": True,
}
ZOO_TRPO = {
    "n_envs": 2, "n_steps": 512, "discount": 0.99, "trace": 0.98, "normalise_advantages": True,
    "kl_limit": 0.01, "damping": 1e-3, "products": 15, "shrink": 0.8, "tries": 10, "critic_step": 1e-3,
    "critic_epochs": 20, "critic_minibatch": 512, "anneal_over": None,
}
REJAX_PPO = {  # its loss of the critic has a ½ besides vf_coef
    "n_envs": 5, "n_steps": 100, "minibatch": 100, "epochs": 5, "discount": 0.99, "trace": 0.95,
    "step": 7.5e-4, "critic_step": 7.5e-4, "clip": 0.2, "anneal_clip": False, "anneal_over": None,
    "entropy": 0.01, "critic_weight": 0.25, "max_norm": 0.5, "normalise_advantages": True,
}
MANY = {**REJAX_PPO, "n_envs": 512, "n_steps": 32, "minibatch": 2048, "epochs": 4}
MORE = {**MANY, "n_envs": 2048, "minibatch": 16384}
CASES = {
    "PPO 8 × 32": Case("ppo", SB3, 100_000, 10, 7, ZOO_PPO),
    "A2C 8 × 5": Case("a2c", SB3, 500_000, 14, 8, ZOO_A2C),
    "TRPO 2 × 512": Case("trpo", SB3_CONTRIB, 100_000, 12, 7, ZOO_TRPO),
    "PPO 5 × 100": Case("ppo", REJAX, 100_000, 0.6, 0.4, REJAX_PPO),
    "PPO 512 × 32": Case("ppo", REJAX, 2_000_000, 1.6, 1.3, MANY),
    "PPO 2048 × 32": Case("ppo", REJAX, 8_000_000, 1.6, 1.3, MORE),
}
# fmt: on


class Taken(NamedTuple):
    """Seconds of the wall clock and of the processor."""

    wall: float = 0.0
    cpu: float = 0.0


class Watch:
    """Evaluates at fixed numbers of steps and says when CartPole is solved; tells learning and judging apart.

    The same 100 episodes of pgref's CartPole for everyone, with the likeliest actions.
    """

    def __init__(self, every: int) -> None:
        self.every = self.due = every
        self.steps, self.solved = 0, False
        self.learning = self.judging = Taken()
        self._since = Taken(time.perf_counter(), time.process_time())

    def __call__(self, steps: int, choose: Callable[[Any], Any]) -> bool:
        """Return whether to stop, `choose` being obs [E, 4] ↦ actions [E] after so many steps."""
        if steps < self.due or self.solved:
            return self.solved
        self.learning = self._plus(self.learning)
        from pgref import rollout
        from pgref.envs.resolve import resolve

        done = rollout.run_episodes(resolve("CartPole"), choose, EPISODES, EPISODES, seed=0)
        self.solved = bool(done.returns.mean() >= SOLVED)
        self.steps, self.due = steps, (steps // self.every + 1) * self.every
        self.judging = self._plus(self.judging)
        return self.solved

    def _plus(self, so_far: Taken) -> Taken:
        since, self._since = self._since, Taken(time.perf_counter(), time.process_time())
        return Taken(*(s + b - a for s, a, b in zip(so_far, since, self._since, strict=True)))


def ours(case: Case, steps: int, dtype: str = "float32", env: str = "CartPole") -> Run:
    """Return a run of pgref."""
    from pgref.agent import AGENTS

    settings = {**case.settings, "dtype": dtype}
    if settings.get("anneal_clip"):
        settings["anneal_over"] = steps

    def run(seed: int, watch: Watch | None = None) -> None:
        agent = AGENTS[case.algorithm](env, rng=seed, **settings)
        choose = lambda obs: agent.policy.mode(agent.theta, obs)  # noqa: E731
        agent.learn(steps, [lambda update: watch(update.steps, choose)] if watch else [])

    return run


def sb3(case: Case, steps: int) -> Run:
    """Return a run of Stable-Baselines3 or sb3-contrib."""
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    make = MODELS[case.algorithm](case.settings)
    s = case.settings
    shared = {"n_steps": s["n_steps"], "gamma": s["discount"], "gae_lambda": s["trace"], "device": "cpu"}

    class Stop(BaseCallback):
        """Asks the watch after every update."""

        def __init__(self, watch: Watch, choose: Callable[[Any], Any]) -> None:
            super().__init__()
            self.asked = lambda: watch(self.num_timesteps, choose)

        def _on_rollout_start(self) -> None:
            self.stop = self.asked()

        def _on_step(self) -> bool:
            return not self.stop

    def run(seed: int, watch: Watch | None = None) -> None:
        env = make_vec_env("CartPole-v1", s["n_envs"], seed=seed)
        model = make("MlpPolicy", env, seed=seed, **shared)
        callback = Stop(watch, lambda obs: model.predict(obs, deterministic=True)[0]) if watch else None
        model.learn(steps, callback)
        if callback:
            callback.asked()

    return run


def _ppo(s: dict[str, Any]) -> Any:
    from stable_baselines3 import PPO

    return partial(
        PPO, learning_rate=lambda left: left * s["step"], clip_range=lambda left: left * s["clip"],
        batch_size=s["minibatch"], n_epochs=s["epochs"], ent_coef=s["entropy"], vf_coef=s["critic_weight"],
        max_grad_norm=s["max_norm"], normalize_advantage=s["normalise_advantages"],
    )  # fmt: skip


def _a2c(s: dict[str, Any]) -> Any:
    from stable_baselines3 import A2C

    return partial(
        A2C, learning_rate=s["step"], ent_coef=s["entropy"], vf_coef=s["critic_weight"],
        max_grad_norm=s["max_norm"],
    )  # fmt: skip


def _trpo(s: dict[str, Any]) -> Any:
    from sb3_contrib import TRPO

    return partial(
        TRPO, learning_rate=s["critic_step"], batch_size=s["critic_minibatch"],
        n_critic_updates=s["critic_epochs"], cg_max_steps=s["products"], cg_damping=s["damping"],
        target_kl=s["kl_limit"], line_search_shrinking_factor=s["shrink"], line_search_max_iter=s["tries"],
        normalize_advantage=s["normalise_advantages"],
    )  # fmt: skip


MODELS = {"ppo": _ppo, "a2c": _a2c, "trpo": _trpo}


def rejax(case: Case, steps: int, every: int | None = None) -> Run:
    """Return a run of rejax, compiled; the run knows what that took. It pauses every so many steps."""
    import jax
    import rejax as peer

    s, chunk = case.settings, every or steps
    algorithm = peer.get_algo(case.algorithm).create(
        env="CartPole-v1", total_timesteps=chunk, eval_freq=chunk, skip_initial_evaluation=True,
        num_envs=s["n_envs"], num_steps=s["n_steps"],
        num_minibatches=s["n_envs"] * s["n_steps"] // s["minibatch"], num_epochs=s["epochs"],
        learning_rate=s["step"], gamma=s["discount"], gae_lambda=s["trace"], clip_eps=s["clip"],
        ent_coef=s["entropy"], vf_coef=2 * s["critic_weight"], max_grad_norm=s["max_norm"],
        agent_kwargs={"activation": "tanh"},
    ).replace(eval_callback=lambda algorithm, state, rng: ())  # fmt: skip

    def likeliest(params: Any, obs: Any) -> Any:
        actor = algorithm.actor
        return actor.apply(params, obs, method=lambda a, o: a.action_logits(a.features(o))).argmax(-1)

    judged = jax.jit(likeliest)  # compiled when the first evaluation asks, outside the time of learning
    started = time.perf_counter()
    begin = jax.jit(algorithm.init_state).lower(jax.random.key(0)).compile()
    go_on = jax.jit(lambda state: algorithm.train(train_state=state)[0])
    go_on = go_on.lower(begin(jax.random.key(0))).compile()
    took = time.perf_counter() - started

    def run(seed: int, watch: Watch | None = None) -> None:
        import numpy as np

        state, stop = begin(jax.random.key(seed)), False
        choose = lambda obs: np.asarray(judged(state.actor_ts.params, obs))  # noqa: E731
        while not stop and int(state.global_step) < steps:  # int waits for what is computed
            state = go_on(state)
            stop = bool(watch) and watch(int(jax.block_until_ready(state).global_step), choose)

    run.compile_s = took  # type: ignore[attr-defined]
    return run


def obstacle(package: str) -> str:
    """Return why a package cannot be used, or nothing."""
    try:
        __import__(package)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    return ""


def alone(what: str, name: str, dtype: str) -> None:
    """Spend a case's whole budget: what a process of its own does, from its start on."""
    case = CASES[name]
    run = rejax(case, case.budget) if what == REJAX else ours(case, case.rounded(case.budget), dtype)
    run(0)


if __name__ == "__main__":
    alone(*sys.argv[1:])
