"""What V, ρ and J cost on finite MDPs, next to quantecon's policy evaluation on the same MDPs."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import harness  # before NumPy
import numpy as np
import scipy.sparse

from pgref import mdp as mdps

PACKAGES = ("pgref", "numpy", "scipy", "quantecon", "numba")
PEER = "quantecon V"
QUANTITIES = {"V": mdps.state_values, "ρ": mdps.visitation, "J": mdps.expected_return}
GIBIBYTE = 2**30


class Case(NamedTuple):
    """An MDP and the deterministic policy to evaluate, the only kind that quantecon knows."""

    kind: str
    mdp: mdps.TabularMDP
    choice: np.ndarray[Any, Any]  # [S] the action taken


def dense(rng: np.random.Generator, n: int, discount: float) -> Case:
    """Draw Dirichlet rows over all states, 4 actions."""
    rows = rng.dirichlet(np.ones(n), (n, 4))
    return _case("dense", rng, rows / rows.sum(axis=-1, keepdims=True), discount)


def graph(rng: np.random.Generator, n: int, discount: float) -> Case:
    """Draw a random graph: each of 4 actions leads to 4 random states."""
    target = rng.integers(n, size=(4 * n, 4))
    return _case("random graph", rng, _csr(target, rng.dirichlet(np.ones(4), 4 * n), n), discount)


def corridor(rng: np.random.Generator, n: int, discount: float) -> Case:
    """A line of states with actions left and right; one step in ten slips the other way."""
    state = np.arange(n)
    left, right = np.maximum(state - 1, 0), np.minimum(state + 1, n - 1)
    target = np.stack([left, right, right, left], axis=1).reshape(2 * n, 2)
    return _case("corridor", rng, _csr(target, np.tile([0.9, 0.1], (2 * n, 1)), n), discount)


def _csr(target: np.ndarray[Any, Any], weight: np.ndarray[Any, Any], n: int) -> Any:
    row = np.repeat(np.arange(len(target)), target.shape[1])
    return scipy.sparse.csr_matrix((weight.ravel(), (row, target.ravel())), (len(target), n))


def _case(kind: str, rng: np.random.Generator, transitions: Any, discount: float) -> Case:
    n = transitions.shape[-1]
    n_actions = transitions.shape[1] if kind == "dense" else transitions.shape[0] // n
    mdp = mdps.TabularMDP(transitions, rng.standard_normal((n, n_actions)), np.full(n, 1 / n), discount)
    return Case(kind, mdp, rng.integers(n_actions, size=n))


def cases(quick: bool, discount: float) -> Iterator[Case]:
    """Yield the MDPs, small ones first."""
    sizes = {
        dense: (10, 30, 100, 300, 1000),
        graph: (100, 1000, 10**4, 10**5),
        corridor: (100, 1000, 10**4, 10**5),
    }
    for build, all_sizes in sizes.items():
        for n in all_sizes[: 3 if quick else None]:
            yield build(np.random.default_rng(n), n, discount)


def peer_evaluation(case: Case, args: argparse.Namespace) -> tuple[Callable[[], Any] | None, str]:
    """Return quantecon's evaluation of the policy, or None and the reason why there is none.

    A sparse MDP is given to quantecon as state-action pairs.
    """
    try:
        from quantecon.markov import DiscreteDP
    except ModuleNotFoundError as error:
        return None, f"no {error.name}"
    rewards, transitions = case.mdp.rewards, case.mdp.transitions
    if case.kind == "dense":
        problem = DiscreteDP(rewards, transitions, case.mdp.discount)
    else:
        state, action = np.divmod(np.arange(rewards.size), case.mdp.n_actions)
        problem = DiscreteDP(rewards.ravel(), transitions.copy(), case.mdp.discount, state, action)
    evaluate = partial(problem.evaluate_policy, case.choice)
    why_not = obstacle(evaluate, args.limit, args.memory)
    return (None, why_not) if why_not else (evaluate, "")


def obstacle(call: Callable[[], Any], seconds: float, gibibytes: int) -> str:
    """Run a call once in a process of its own; return why it cannot be timed, or nothing."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (gibibytes * GIBIBYTE,) * 2)
        call()

    trial = multiprocessing.get_context("fork").Process(target=limited, daemon=True)
    trial.start()
    trial.join(seconds)
    if trial.is_alive():
        trial.kill()
        return f"over {seconds:g} s"
    return f"failed within {gibibytes} GiB" if trial.exitcode else ""


def measure(case: Case, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time V, ρ and J of pgref and V of quantecon in turns, and compare the two V."""
    pi = np.eye(case.mdp.n_actions)[case.choice]
    calls = {f"pgref {name}": partial(f, case.mdp, pi) for name, f in QUANTITIES.items()}
    values = mdps.state_values(case.mdp, pi)
    scale = abs(values).max()
    q = mdps.action_values(case.mdp, pi)[np.arange(len(values)), case.choice]
    errors = {"residual": abs(q - values).max() / scale, "difference": None}
    peer, why_not = peer_evaluation(case, args)
    if peer:
        calls[PEER] = peer
        errors["difference"] = abs(values - peer()).max() / scale
    case_is = {"kind": case.kind, "states": case.mdp.n_states, "actions": case.mdp.n_actions}
    rows = [
        {**case_is, "what": what, **seconds._asdict(), "status": "measured", **errors}
        for what, seconds in harness.interleaved(calls, args.repeats).items()
    ]
    if not peer:
        unknown = dict.fromkeys(harness.Spread._fields)
        rows.append({**case_is, "what": PEER, **unknown, "status": why_not, **errors})
    return rows


def line(rows: list[dict[str, Any]]) -> str:
    """Return one case as a line of the table."""
    cells = [f"{rows[0]['kind']:<12} {rows[0]['states']:>6} × {rows[0]['actions']}"]
    for row in rows:
        low, median, high = (row[key] for key in ("low_s", "median_s", "high_s"))
        timed = f"{1e3 * median:9.3f} ({1e3 * low:.3f}–{1e3 * high:.3f})" if median else row["status"]
        cells.append(f"{timed:>28}")
    theirs, ours = rows[-1]["median_s"], rows[0]["median_s"]
    cells.append(f"{theirs / ours:7.2f}" if theirs else f"{'–':>7}")
    for error in (rows[0]["difference"], rows[0]["residual"]):
        cells.append(f"{'–' if error is None else format(error, '.1e'):>8}")
    return " ".join(cells)


def main() -> None:
    """Measure every case, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the three smallest sizes of each kind only")
    parser.add_argument("--repeats", type=int, default=11, help="turns of each call (default 11)")
    parser.add_argument("--discount", type=float, default=0.99, help="γ (default 0.99)")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds allowed to one call of quantecon")
    parser.add_argument("--memory", type=int, default=8, help="GiB allowed to one call of quantecon")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder for exact.json, exact.csv")
    args = parser.parse_args()
    record = {"machine": harness.machine(PACKAGES), "settings": {**vars(args), "out": str(args.out)}}
    harness.describe(record)
    print(f"\nCPU milliseconds, one thread: median (quartiles) of {args.repeats} turns; γ = {args.discount}")
    print(
        "last columns: V by quantecon / V by pgref; max|ΔV|/max|V|; max|Q(s, σ(s)) − V(s)|/max|V| of pgref\n"
    )
    heads = [f"{head:>28}" for head in (*(f"pgref {name}" for name in QUANTITIES), PEER)]
    print(f"{'MDP':<12} {'S × A':>10}", *heads, f"{'ratio':>7} {'ΔV':>8} {'residual':>8}")
    rows = []
    for case in cases(args.quick, args.discount):
        rows += (measured := measure(case, args))
        print(line(measured), flush=True)
    harness.write(args.out, "exact", record, rows)


if __name__ == "__main__":
    main()
