"""How costs grow: PPO with environments, minibatch, hidden width and parameters; conjugate gradients with P.

One call is one update of PPO on CartPole, or ten products of conjugate gradients, always from the same state.
The exponent b of cost ≈ a·xᵇ is fitted to the upper half of each range, on a logarithmic scale.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import harness  # before NumPy
import numpy as np

from pgref.algorithms import ppo
from pgref.arrays import Workspace
from pgref.distributions import Categorical
from pgref.envs.resolve import resolve
from pgref.natural import conjugate_gradient
from pgref.networks import MLP
from pgref.policy import Policy
from pgref.task import make_task

PACKAGES = ("pgref", "numpy", "matplotlib")
STEPS, EPOCHS = 32, 4  # of each environment for an update; passes over them
WARM = 3  # updates before the one that is timed, so that episodes are under way
SAMPLES, PRODUCTS, DAMPING = 1024, 10, 0.1  # of conjugate gradients
ENVS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
MINIBATCHES = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
WIDTHS = (16, 32, 64, 128, 256, 512)
# what is varied: the axis, and the exponent that it should have or not exceed
ENVIRONMENTS, MINIBATCH, WIDTH, PARAMETERS, CG = (
    "PPO, environments", "PPO, minibatch of 16384", "PPO, hidden width", "PPO, parameters", "CG, parameters",
)  # fmt: skip
EXPECTED = {
    ENVIRONMENTS: "1: as many updates of 256 as there are samples",
    MINIBATCH: "0: the same samples",
    WIDTH: "at most 2: a hidden layer has width² weights",
    PARAMETERS: "at most 1",
    CG: "at most 1",
}


def ppo_update(n_envs: int, minibatch: int, width: int, dtype: str) -> tuple[Callable[[], Any], int]:
    """Return one update from a state that some updates have led to, and how many parameters it moves."""
    config = ppo.Config(
        n_envs=n_envs, n_steps=STEPS, minibatch=minibatch, epochs=EPOCHS, hidden=(width, width), dtype=dtype,
        normalise_advantages=True,
    )  # fmt: skip
    task, work = make_task(resolve("CartPole"), config), Workspace()
    state = ppo.init(task, config, 0)
    for _ in range(WARM):
        state, _ = ppo.update(task, config, state, work)
    return partial(ppo.update, task, config, state, work), state.weights.size


def cg(width: int, dtype: str) -> tuple[Callable[[], Any], int]:
    """Return conjugate gradients with the products' forward pass, and the number P of parameters."""
    policy, work = Policy(MLP((4, width, width, 2)), Categorical()), Workspace()
    rng = np.random.default_rng(0)
    theta, g = policy.init(rng, dtype), rng.standard_normal(policy.n_params).astype(dtype)
    obs = rng.standard_normal((SAMPLES, 4)).astype(dtype)

    def call() -> Any:
        product = policy.fisher_product(theta, obs, None, work)
        return conjugate_gradient(lambda v: product(v) + DAMPING * v, g, max_products=PRODUCTS)

    return call, policy.n_params


def points(args: argparse.Namespace) -> dict[str, list[tuple[int, Callable[[], Any], int | None]]]:
    """Return for each thing that is varied: x, the call, and the environment steps in it."""
    few = slice(None, None, 2) if args.quick else slice(None)
    largest = MINIBATCHES[-1] // STEPS
    wide = {w: (*ppo_update(64, 512, w, args.dtype), *cg(w, args.dtype)) for w in WIDTHS[few]}
    return {
        ENVIRONMENTS: [(n, ppo_update(n, 256, 64, args.dtype)[0], n * STEPS) for n in ENVS[few]],
        MINIBATCH: [
            (m, ppo_update(largest, m, 64, args.dtype)[0], largest * STEPS) for m in MINIBATCHES[few]
        ],
        WIDTH: [(w, call, 64 * STEPS) for w, (call, *_) in wide.items()],
        PARAMETERS: [(p, call, 64 * STEPS) for call, p, *_ in wide.values()],
        CG: [(p, call, None) for *_, call, p in wide.values()],
    }


def exponent(x: list[float], y: list[float]) -> tuple[float, float]:
    """Return a and b of y ≈ a·xᵇ over the upper half of the range, by least squares of the logarithms."""
    upper = slice((len(x) - 1) // 2, None)
    b, log_a = np.polyfit(np.log(x[upper]), np.log(y[upper]), 1)
    return float(np.exp(log_a)), float(b)


def measure(what: str, series: list[Any], repeats: int) -> list[dict[str, Any]]:
    """Time all the sizes in turns."""
    timed = harness.interleaved({str(x): call for x, call, _ in series}, repeats)
    rows = []
    for x, _, steps in series:
        taken = timed[str(x)]
        rate = steps / taken.median_s if steps else None
        rows.append({"what": what, "x": x, **taken._asdict(), "steps": steps, "steps_per_s": rate})
    return rows


def line(row: dict[str, Any]) -> str:
    """Return a measurement as a line of the table."""
    milli = "{median_s:.3f} ({low_s:.3f}–{high_s:.3f})".format(
        **{key: 1e3 * row[key] for key in harness.Spread._fields}
    )
    rate = "" if row["steps_per_s"] is None else f"{row['steps_per_s']:.0f}"
    return f"{row['what']:<24} {row['x']:>8} {milli:>32} {rate:>10}".rstrip()


def draw(rows: list[dict[str, Any]], fits: dict[str, Any], path: Path) -> str:
    """Plot costs with their fits into a file, and return what became of it."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        return f"not plotted: {error.name} is not installed"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(1, len(fits), figsize=(4 * len(fits), 3.5), layout="constrained")
    for axis, (what, fit) in zip(axes, fits.items(), strict=True):
        mine = [row for row in rows if row["what"] == what]
        x = np.array([row["x"] for row in mine], float)
        median, low, high = (1e3 * np.array([row[key] for row in mine]) for key in harness.Spread._fields)
        axis.errorbar(x, median, [median - low, high - median], fmt="o", capsize=2)
        upper = x[(len(x) - 1) // 2 :]
        axis.plot(upper, 1e3 * fit["a"] * upper ** fit["b"], label=f"exponent {fit['b']:.2f}")
        axis.set(xscale="log", yscale="log", xlabel=what.split(", ")[1], title=what.split(", ")[0])
        axis.minorticks_off()
        axis.legend()
    axes[0].set_ylabel("CPU milliseconds")
    figure.savefig(path, dpi=150)
    return f"plotted: {path}"


def main() -> None:
    """Measure, print the tables, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three turns, every second size")
    parser.add_argument("--repeats", type=int, default=11, help="turns of each call (default 11)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for growth's files")
    args = parser.parse_args()
    harness.one_core()
    record = {"machine": harness.machine(PACKAGES), "settings": {**vars(args), "out": str(args.out)}}
    harness.describe(record)
    print(f"\nCPU milliseconds of an update of {STEPS} steps an environment and {EPOCHS} epochs, or of")
    print(f"CG-{PRODUCTS} at {SAMPLES} samples: median (quartiles); environment steps per CPU second\n")
    rows, fits = [], {}
    for what, series in points(args).items():
        measured = measure(what, series, 3 if args.quick else args.repeats)
        a, b = exponent([row["x"] for row in measured], [row["median_s"] for row in measured])
        fits[what] = {"a": a, "b": b, "expected": EXPECTED[what]}
        print(*map(line, measured), sep="\n")
        print(f"{what:<24} exponent of the upper half {b:.2f}, expected {EXPECTED[what]}\n", flush=True)
        rows += measured
    print(draw(rows, fits, args.out / "growth.png"))
    harness.write(args.out, f"growth_{args.dtype}", {**record, "fits": fits}, rows)


if __name__ == "__main__":
    main()
