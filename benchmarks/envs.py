"""Environment steps per second with random actions, next to gymnasium, envpool and gymnax, on one core.

One call is 200 steps of all N environments, which carry on from call to call and restart by themselves. All
actions are drawn beforehand. gymnax is compiled ahead of time, and what that takes is told apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness  # before NumPy
import numpy as np

from pgref import streams
from pgref.envs.cartpole import CartPole
from pgref.envs.protocol import Episodic
from pgref.envs.resolve import resolve

PACKAGES = ("pgref", "numpy", "gymnasium", "envpool", "gymnax", "jax", "jaxlib")
STEPS = 200  # of each environment in one call: a whole episode of Pendulum
SIZES = (8, 64, 1024, 16384)
LARGEST_SYNC = 64  # one Python object for each environment: more of them only take longer
IDS = {"CartPole": "CartPole-v1", "Pendulum": "Pendulum-v1"}
OURS, SINGLE, SYNC, VECTOR, ENVPOOL, GYMNAX = (
    "pgref", "pgref in single precision", "gymnasium SyncVectorEnv", "gymnasium's vector environment",
    "envpool", "gymnax",
)  # fmt: skip
TARGETS = {  # how many times as fast as the peer pgref is to be, and must be
    **{("CartPole", VECTOR, n): (2.5, 1.5) for n in SIZES[1:]},
    ("CartPole", GYMNAX, 1024): (2.0, 1.5),
    ("CartPole", GYMNAX, 16384): (7.0, 5.0),
}
Call = Callable[[], Any]


class NotToBeHadError(Exception):
    """A peer does not have this environment at this size."""


def ours(name: str, actions: np.ndarray) -> Call:
    """Return 200 steps of pgref's environment, through the protocol that rollouts use."""
    return protocol(resolve(name), actions)


def ours_single(name: str, actions: np.ndarray) -> Call:
    """Return 200 steps of pgref's CartPole in the precision of gymnax."""
    if name != "CartPole":
        raise NotToBeHadError(f"pgref has no {name} in single precision")
    return protocol(Episodic(name, CartPole(dtype="float32"), 500), actions)


def protocol(env: Any, actions: np.ndarray) -> Call:
    """Return 200 steps of an environment of pgref."""
    place = [env.reset(streams.keys(0, actions.shape[1]))[0]]

    def call() -> None:
        state = place[0]
        for chosen in actions:
            state = env.step(state, chosen).state
        place[0] = state

    return call


def stepping(env: Any, actions: np.ndarray) -> Call:
    """Return 200 steps of a vector environment with Gymnasium's interface."""
    env.reset()

    def call() -> None:
        for chosen in actions:
            env.step(chosen)

    return call


def gymnasium_sync(name: str, actions: np.ndarray) -> Call:
    """Return 200 steps of many single environments in one Python loop."""
    import gymnasium

    n = actions.shape[1]
    if n > LARGEST_SYNC:
        raise NotToBeHadError(f"only measured up to {LARGEST_SYNC} environments")
    return stepping(gymnasium.make_vec(IDS[name], n, vectorization_mode="sync"), actions)


def gymnasium_vector(name: str, actions: np.ndarray) -> Call:
    """Return 200 steps of the environment that Gymnasium has written in NumPy."""
    import gymnasium

    if gymnasium.spec(IDS[name]).vector_entry_point is None:
        raise NotToBeHadError(f"gymnasium has no vector environment for {name}")
    env = gymnasium.make_vec(IDS[name], actions.shape[1], vectorization_mode="vector_entry_point")
    return stepping(env, actions)


def envpool(name: str, actions: np.ndarray) -> Call:
    """Return 200 steps of envpool's environments in C++, one thread."""
    import envpool

    env = envpool.make_gymnasium(IDS[name], num_envs=actions.shape[1], num_threads=1)
    return stepping(env, actions.astype(env.action_space.dtype))


def gymnax(name: str, actions: np.ndarray) -> Call:
    """Return 200 steps of gymnax, one compiled scan; the call knows what the compiler took."""
    import gymnax
    import jax

    env, params = gymnax.make(IDS[name])
    step = jax.vmap(env.step, (0, 0, 0, None))

    def advance(carry: Any, chosen: Any) -> Any:
        key, _, state, total = carry
        key, draw = jax.random.split(key)
        # the sum is asked for so that the compiler leaves no reward or restart out
        obs, state, reward, done, _ = step(jax.random.split(draw, len(chosen)), state, chosen, params)
        return (key, obs, state, total + (reward - done).sum()), None

    keys = jax.random.split(jax.random.key(0), actions.shape[1])
    obs, state = jax.jit(jax.vmap(env.reset, (0, None)))(keys, params)
    place, chosen = [(keys[0], obs, state, 0.0 * obs.sum())], jax.numpy.asarray(actions)
    started = time.perf_counter()
    run = jax.jit(lambda carry, chosen: jax.lax.scan(advance, carry, chosen)[0]).lower(place[0], chosen)
    run = run.compile()
    took = time.perf_counter() - started

    def call() -> None:
        place[0] = jax.block_until_ready(run(place[0], chosen))

    call.compile_s = took  # type: ignore[attr-defined]
    return call


MAKERS = {
    OURS: ours, SINGLE: ours_single, SYNC: gymnasium_sync, VECTOR: gymnasium_vector, ENVPOOL: envpool,
    GYMNAX: gymnax,
}  # fmt: skip


def random_actions(name: str, n: int) -> np.ndarray:
    """Draw the actions of 200 steps, [200, N] or [200, N, 1], as the peers take them."""
    rng = np.random.default_rng(0)
    if name == "CartPole":
        return rng.integers(2, size=(STEPS, n))
    return rng.uniform(-2.0, 2.0, (STEPS, n, 1)).astype(np.float32)


def measure(name: str, n: int, repeats: int) -> list[dict[str, Any]]:
    """Time N environments of pgref and of every peer in turns."""
    actions, calls, reasons = random_actions(name, n), {}, {}
    for what, make in MAKERS.items():
        try:
            calls[what] = make(name, actions)
        except ModuleNotFoundError as error:
            reasons[what] = f"{error.name} is not installed"
        except NotToBeHadError as error:
            reasons[what] = str(error)
    timed = harness.interleaved(calls, repeats)
    return [row(name, n, what, timed, calls, reasons) for what in MAKERS]


def row(name: str, n: int, what: str, timed: Any, calls: Any, reasons: Any) -> dict[str, Any]:
    """Return one measurement, or why there is none."""
    target, floor = TARGETS.get((name, what, n), (None, None))
    case = {"environment": name, "n_envs": n, "what": what, "steps": STEPS * n}
    if what in timed:
        seconds, ratio = timed[what]._asdict(), timed[what].median_s / timed[OURS].median_s
        rate, status = STEPS * n / timed[what].median_s, "measured"
    else:
        seconds, ratio = dict.fromkeys(harness.Spread._fields), None
        rate, status = None, reasons[what]
    return {
        **case, **seconds, "compile_s": getattr(calls.get(what), "compile_s", None), "steps_per_s": rate,
        "ours_is_faster_by": ratio, "target": target, "floor": floor, "status": status,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """Return a measurement as a line of the table."""
    start = f"{row['environment']:<9}{row['n_envs']:>6} {row['what']:<31}"
    if row["median_s"] is None:
        return f"{start} {row['status']}"
    slow, fast = (1e-6 * row["steps"] / row[key] for key in ("high_s", "low_s"))
    rate = f"{1e-6 * row['steps_per_s']:.3g} ({slow:.3g}–{fast:.3g})"
    compiled = "" if row["compile_s"] is None else f"{row['compile_s']:.2f}"
    target = "" if row["target"] is None else f"{row['target']} ({row['floor']})"
    return f"{start} {rate:>24} {compiled:>10} {row['ours_is_faster_by']:>8.2f} {target:>12}".rstrip()


def main() -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three turns")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each call (default 15)")
    parser.add_argument("--only", choices=IDS, nargs="*", default=list(IDS), help="environments")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for envs.json and .csv")
    args = parser.parse_args()
    harness.one_core()
    record = {"machine": harness.machine(PACKAGES), "settings": {**vars(args), "out": str(args.out)}}
    harness.describe(record)
    print("\nmillions of environment steps per CPU second, one core: median (quartiles); seconds to compile;")
    print("time / time of pgref; its target (floor)\n")
    rows = []
    for name in args.only:
        for n in SIZES:
            for row in measure(name, n, 3 if args.quick else args.repeats):
                rows.append(row)
                print(line(row), flush=True)
    harness.write(args.out, "envs", record, rows)


if __name__ == "__main__":
    main()
