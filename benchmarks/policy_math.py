"""Samples, policy gradients, Fisher products and conjugate gradients next to torch and JAX, on one core.

Two policies with two hidden layers of 64 tanh units: categorical over 2 actions, and Gaussian in 2 dimensions
with a log σ that no state moves. Before it is timed, what a peer computes is compared with what pgref does.
"""

from __future__ import annotations

import argparse
import math
import time
import timeit
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import harness  # before NumPy
import numpy as np
from policy_peers import (
    CG,
    DAMPING,
    FISHER,
    GRADIENT,
    SAMPLE,
    SIZES,
    STEPS,
    Call,
    jax_jit,
    torch_eager,
    torch_functional,
)

from pgref.arrays import Workspace
from pgref.distributions import Categorical, DiagonalGaussian
from pgref.natural import conjugate_gradient
from pgref.networks import MLP, WithFreeOutputs
from pgref.policy import Policy

PACKAGES = ("pgref", "numpy", "torch", "jax", "jaxlib")
BATCHES, QUICK = (1, 64, 512, 4096, 32768), (64, 4096)
POLICIES = {
    "categorical": Policy(MLP(SIZES), Categorical()),
    "Gaussian": Policy(WithFreeOutputs(MLP(SIZES), 2), DiagonalGaussian()),
}
OURS, EAGER, JAX = "pgref", "torch eager", "JAX jit"
PEERS: dict[str, Callable[..., dict[str, Call]]] = {
    EAGER: torch_eager,
    "torch.func": torch_functional,
    "torch.compile": partial(torch_functional, compiled=True),
    JAX: jax_jit,
}
TARGETS = {EAGER: (1, 4.0, 3.0), JAX: (512, 1.1, 0.9)}  # from which batch on; as many times as fast; floor
LIMITS = {GRADIENT: 1e3, FISHER: 1e3, CG: 1e4}  # of differences that rounding makes, in machine epsilons
WEIGHTS = sum(n_in * n_out for n_in, n_out in pairwise(SIZES))
HIDDEN = sum(SIZES[1:-1])  # tanh for each sample


class Case(NamedTuple):
    """What is computed: one policy at one batch."""

    policy: Policy
    gaussian: bool
    products: int  # that conjugate gradients spend: fewer than STEPS once they have converged
    theta: Any  # [P]
    obs: Any  # [N, 4]
    actions: Any  # [N] or [N, 2]
    weights: Any  # [N] of the gradient
    v: Any  # [P] for the Fisher product and, as g, for conjugate gradients

    @property
    def arrays(self) -> tuple[Any, ...]:
        """What the peers need on their device."""
        return self[3:]


def make_case(name: str, batch: int, dtype: str) -> Case:
    """Draw a case."""
    rng, policy = np.random.default_rng(0), POLICIES[name]
    theta, v = policy.init(rng, dtype), rng.standard_normal(policy.n_params).astype(dtype)
    obs = rng.standard_normal((batch, SIZES[0])).astype(dtype)
    weights = (rng.standard_normal(batch) / batch).astype(dtype)
    actions = policy.sample(theta, obs, rng)
    case = Case(policy, name == "Gaussian", STEPS, theta, obs, actions, weights, v)
    return case._replace(products=solved(case, None).products)


def solved(case: Case, work: Workspace | None) -> Any:
    """Return what pgref's conjugate gradients find for (H + damping)x = v."""
    product = case.policy.fisher_product(case.theta, case.obs, None, work)
    return conjugate_gradient(lambda p: product(p) + DAMPING * p, case.v, max_products=STEPS)


def ours(case: Case) -> dict[str, Call]:
    """Return what pgref computes, by its public functions and with a workspace for each."""
    policy, (theta, obs, actions, weights, v) = case.policy, case.arrays
    rng, works = np.random.default_rng(1), [Workspace() for _ in range(4)]
    return {
        SAMPLE: lambda: policy.sample(theta, obs, rng, works[0]),
        GRADIENT: lambda: policy.score_sum(theta, obs, actions, weights, works[1]),
        FISHER: lambda: policy.fisher_product(theta, obs, None, works[2])(v),
        CG: lambda: solved(case, works[3]).x,
    }


def agreement(case: Case, work: str, result: Any) -> tuple[float, str]:
    """Return how far a peer's first result is from pgref's, as a share of what is allowed, and in words."""
    if work != SAMPLE:
        reference = ours(case)[work]()
        difference = float(np.abs(result - reference).max() / np.abs(reference).max())
        limit = LIMITS[work] * float(np.finfo(case.theta.dtype).eps)
        return difference / limit, f"{difference:.0e}" if difference else "0"
    mean, deviation = case.policy.mode(case.theta, case.obs), 1.0
    if case.gaussian:
        deviation = np.exp(case.theta[-2:])
    else:
        mean = case.policy.probabilities(case.theta, case.obs)[:, 1]
        deviation = np.sqrt(mean * (1 - mean))
    errors = ((result.reshape(mean.shape) - mean) / deviation).sum() / math.sqrt(mean.size)
    return abs(errors) / 5, f"{errors:.1f} σ"  # a mean of samples, in standard errors


def first(call: Call) -> tuple[Any, float]:
    """Return what a call computes the first time, as an array, and the wall seconds that it takes."""
    started = time.perf_counter()
    result = call()
    return np.asarray(result.cpu() if hasattr(result, "cpu") else result), time.perf_counter() - started


def rates(dtype: str, repeats: int) -> tuple[float, float]:
    """Return seconds of a multiplication or addition in a product of 1024³, and of a tanh in the cache."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1024, 1024)).astype(dtype)
    x, c = rng.standard_normal(32768).astype(dtype), np.empty_like(a)
    calls = {"product": partial(np.matmul, a, b, out=c), "tanh": partial(np.tanh, x, out=np.empty_like(x))}
    timed = harness.interleaved(calls, repeats)
    return timed["product"].median_s / (2 * 1024**3), timed["tanh"].median_s / x.size


def hard_limit(case: Case, work: str, flop_s: float, tanh_s: float) -> float:
    """Return the seconds of the products of matrices and the tanh alone, at the measured rates."""
    passes = {SAMPLE: (0, 0), GRADIENT: (1, 0), FISHER: (1, 1), CG: (case.products, case.products)}
    back, ahead = passes[work]  # each two products a layer, but one for the first layer
    flop = 2 * WEIGHTS + (back + ahead) * (4 * WEIGHTS - 2 * SIZES[0] * SIZES[1])
    return len(case.obs) * (flop * flop_s + HIDDEN * tanh_s)


def ppo_limit(flop_s: float, tanh_s: float) -> float:
    """Return PPO's most steps a second on CartPole: both towers, seen once and learned from 4 times."""
    actor, critic = WEIGHTS, WEIGHTS - SIZES[-2]
    once = 2 * (actor + critic)
    flop = once + 4 * (3 * once - 4 * SIZES[0] * SIZES[1])
    return 1 / (flop * flop_s + 5 * 2 * HIDDEN * tanh_s)


def measure(
    name: str, batch: int, args: argparse.Namespace, speed: tuple[float, float]
) -> list[dict[str, Any]]:
    """Time a policy at a batch, pgref and every peer in turns; a peer that cannot is a row that says so."""
    case = make_case(name, batch, args.dtype)
    calls = {OURS: ours(case)}
    reasons, rows = {}, []
    for peer in args.peers:
        try:
            calls[peer] = PEERS[peer](case, args.device)
        except ModuleNotFoundError as error:
            reasons[peer] = f"{error.name} is not installed"
    for work in calls[OURS]:
        works, checks, failures = {}, {}, dict(reasons)
        for peer in calls:
            try:
                result, first_s = first(calls[peer][work])
            except Exception as error:  # a compiler that is missing or fails
                failures[peer] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                continue
            works[peer], checks[peer] = calls[peer][work], (first_s, *agreement(case, work, result))
        timed = turns(works, args.repeats, args.device)
        limit = hard_limit(case, work, *speed)
        for peer in (OURS, *args.peers):
            start = {"policy": name, "work": work, "batch": batch, "products": case.products, "what": peer}
            goal = TARGETS.get(peer) if work != SAMPLE else None
            goal = goal[1:] if goal and batch >= goal[0] else (None, None)
            rows.append(start | row(peer, goal, timed, checks, failures, limit))
    return rows


def turns(calls: dict[str, Call], repeats: int, device: str) -> dict[str, harness.Spread]:
    """Return CPU seconds; of peers on another device wall seconds, since there the CPU only waits."""
    if device == "cpu":
        return harness.interleaved(calls, repeats)
    timed = harness.interleaved({OURS: calls[OURS]}, repeats)
    for name in calls.keys() - {OURS}:
        timed[name] = harness.spread([s / 20 for s in timeit.repeat(calls[name], number=20, repeat=repeats)])
    return timed


def row(
    peer: str, goal: tuple[Any, ...], timed: Any, checks: Any, failures: Any, limit: float
) -> dict[str, Any]:
    """Return the measurement of one peer, or why there is none."""
    if peer not in timed:
        seconds, ratio, of_limit = dict.fromkeys(harness.Spread._fields), None, None
        (first_s, words), status = (None, ""), failures[peer]
    else:
        seconds, ratio = timed[peer]._asdict(), timed[peer].median_s / timed[OURS].median_s
        first_s, share, words = checks[peer]
        of_limit, status = limit / timed[peer].median_s, "measured" if share <= 1 else "DIFFERS from pgref"
    return {
        **seconds, "first_call_s": first_s, "ours_is_faster_by": ratio, "target": goal[0], "floor": goal[1],
        "of_hard_limit": of_limit, "difference": words, "status": status,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """Return a measurement as a line of the table."""
    start = f"{row['policy']:<12}{row['work']:<17}{row['batch']:>6} {row['what']:<14}"
    if row["median_s"] is None:
        return f"{start} {row['status']}"
    micro = "{median_s:.1f} ({low_s:.1f}–{high_s:.1f})".format(
        **{key: 1e6 * row[key] for key in harness.Spread._fields}
    )
    target = "" if row["target"] is None else f"{row['target']} ({row['floor']})"
    figures = f"{micro:>30} {row['first_call_s']:>8.3f} {row['ours_is_faster_by']:>7.2f} {target:>10}"
    status = "" if row["status"] == "measured" else row["status"]
    return f"{start} {figures} {row['of_hard_limit']:>6.0%} {row['difference']:>7} {status}".rstrip()


def main() -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"three turns, batches {QUICK}")
    parser.add_argument("--repeats", type=int, default=11, help="turns of each call (default 11)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the peers")
    parser.add_argument("--peers", choices=PEERS, nargs="*", default=list(PEERS), help="all by default")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for the JSON and CSV files")
    args = parser.parse_args()
    args.repeats = 3 if args.quick else args.repeats
    harness.one_core()
    speed = rates(args.dtype, args.repeats)
    record = {"machine": harness.machine(PACKAGES), "settings": {**vars(args), "out": str(args.out)}}
    record["rates"] = {
        "product of 1024³, GFLOP/s": 1e-9 / speed[0],
        "tanh, ns": 1e9 * speed[1],
        "PPO on CartPole, 4 epochs, hard limit, steps/s": ppo_limit(*speed),
    }
    harness.describe(record)
    print(
        f"\n{args.dtype}, CPU microseconds with one thread: median (quartiles) of {args.repeats} turns; wall"
    )
    print("seconds of the first call, which compiles; time / time of pgref; its target (floor); share of the")
    print("hard limit; how far the first result is from pgref's\n")
    rows = []
    for name in POLICIES:
        for batch in QUICK if args.quick else BATCHES:
            for row in measure(name, batch, args, speed):
                rows.append(row)
                print(line(row), flush=True)
    harness.write(args.out, f"policy_math_{args.dtype}_{args.device}", record, rows)


if __name__ == "__main__":
    main()
