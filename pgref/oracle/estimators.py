"""Checks of estimators of the policy gradient: the mean, exactly or of many samples, beside ∇J(θ).

The policy is a softmax table, π_θ(a|s) ∝ exp θ[s, a], on a small random MDP whose episodes all end. Two
unbiased estimators need not agree on any episode, so only their means are compared; the variance is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pgref import exact
from pgref.arrays import Array, Matrix, Vector, count
from pgref.errors import ArgumentTypeError
from pgref.oracle import estimators_deviations as wrong
from pgref.oracle.compare import check
from pgref.oracle.component import Component, Inputs
from pgref.oracle.estimators_deviations import episodes, policy_of
from pgref.oracle.inputs import drawn, error, in_ulps, scale
from pgref.oracle.likeness import times
from pgref.oracle.report import Counterexample, Report, Verdict
from pgref.oracle.trial import Trial, Unusable, numbers

GRID = 64  # probabilities are whole multiples of 1/64, which float32 holds and which add up exactly
LIMIT = 5.0  # z: a right entry is that far off once in two million times
PLAIN = "Σ_t γ^t G_t ∇log π(A_t|S_t)"


def policy_gradient_estimator(function: Callable[..., Any], **options: Any) -> Report:
    """Check E_τ[ĝ(τ)] = ∇J(θ), exactly, over all episodes of a small MDP; the report tells the variance too.

    function(states, actions, rewards, theta, values, discount) ↦ ĝ [S, A] from one whole episode: states,
    actions, rewards [T], theta [S, A], and values [S] a critic's V(s), which is not the policy's: a baseline
    may use it, or any other function of the state. Options: see `check`; `draws` counts MDPs.
    """
    if not callable(function):
        raise ArgumentTypeError(f"function must be callable, got {type(function).__name__}")
    spreads: list[tuple[float, float]] = []  # variances of the callable's and of the plain estimate
    report = check(POLICY_GRADIENT_ESTIMATOR, partial(_mean, function, spreads), **options)
    if report.verdict == "failed":
        return report
    ours, plain = np.sum(spreads[: report.cases], axis=0)
    biased = f"Its bias is up to {report.relative_error:.2g} of the largest entry; its"
    begin = f"Its mean is ∇J(θ), on {report.cases} MDPs. Its" if report.ok else f"{report.message} {biased}"
    return report._replace(message=f"{begin} variance is {ours / plain:.3g} times that of {PLAIN}.")


def sampled_policy_gradient(
    function: Callable[..., Any], *, samples: int = 2000, draws: int = 4, seed: int = 0
) -> Report:
    """Check that estimates which are drawn have the mean ∇J(θ): every z-score is at most 5.

    function(transitions, rewards, start, theta, values, discount, rng) ↦ ĝ [S, A], whose randomness is all
    from `rng`, a numpy Generator. transitions [S, A, S] are P(s′|s, a), and what a row lacks of 1 is the
    probability that the episode ends; rewards [S, A] are R(s, a), start [S] is the law of S_0, theta [S, A],
    values [S] as in `policy_gradient_estimator`. A right one is refused about once in ten thousand times, a
    deviation only named where that many samples tell it from the right one.

    Args:
        function: the callable.
        samples: how often it is called on each MDP.
        draws: how many MDPs.
        seed: of the MDPs, and of rng.

    Raises:
        ArgumentError, ArgumentTypeError: other options, or no callable.
    """
    if not callable(function):
        raise ArgumentTypeError(f"function must be callable, got {type(function).__name__}")
    n = count("samples", samples, 2)
    cases = drawn(SAMPLED, "float64", count("draws", draws), count("seed", seed, 0))
    rng = np.random.default_rng([seed, n])
    means, errors = [], []
    for inputs in cases:
        gradient = SAMPLED.reference(**inputs)
        known = replace(SAMPLED, reference=lambda gradient=gradient, **_: gradient)
        trial = Trial(known, lambda *arguments: function(*arguments, rng), "time", "float64")
        estimates = []
        for _ in range(n):
            outcome = trial(inputs)
            if outcome.output is None or not np.isfinite(outcome.output).all():
                problem = outcome.problem or "it returned nan or an infinity"
                return _sampled(
                    "failed", f"{problem[0].upper()}{problem[1:]}.", [inputs], [], [gradient], np.inf
                )
            estimates.append(outcome.output)
        means.append(np.mean(estimates, axis=0))
        errors.append(np.std(estimates, axis=0, ddof=1) / np.sqrt(n))
    return _judged(cases, means, errors, n)


def _mean(
    function: Callable[..., Any],
    spreads: list[tuple[float, float]],
    transitions: Array,
    rewards: Matrix,
    start: Vector,
    theta: Matrix,
    values: Vector,
    discount: float,
) -> Array:
    """Return Σ_τ P(τ) ĝ(τ) [S, A], and note the variances, summed over the entries."""
    found, plain = [], []
    chances, paths = episodes(transitions, start, theta)
    score_sum = partial(policy_of(theta).score_sum, theta.ravel())
    for states, actions in paths:
        episode = states, actions, rewards[states, actions]
        given = [array.copy() for array in episode]
        found.append(numbers(function(*given, theta, values, discount), theta.shape))
        changed = zip(("states", "actions", "rewards"), episode, given, strict=True)
        if names := [name for name, before, after in changed if not np.array_equal(before, after)]:
            raise Unusable(f"it wrote to its arguments: {', '.join(names)}")
        weights = wrong.right(wrong.Episode(*episode, values, discount))
        plain.append(score_sum(states, actions, weights).reshape(theta.shape))
    mean = np.tensordot(chances, found, 1)
    spreads.append((_variance(chances, found), _variance(chances, plain)))
    return np.asarray(mean)


def _variance(chances: Vector, found: list[Array]) -> float:
    centred = np.array(found) - np.tensordot(chances, found, 1)
    return float(np.tensordot(chances, centred**2, 1).sum())


def _judged(cases: list[Inputs], means: list[Array], errors: list[Array], n: int) -> Report:
    """Return what the means say, the reference first, then the deviations, then multiples of ∇J."""

    def furthest(expected: list[Array]) -> float:
        """Return the largest |z|; an estimate that never varies must be right to rounding."""
        return float(np.max([_scores(*row).max() for row in zip(means, errors, expected, strict=True)]))

    def report(verdict: Verdict, message: str) -> Report:
        about = f"The largest |z| is {furthest(right):.3g}, of {n} samples on each of {len(cases)} MDPs."
        allowed = LIMIT * float(max(e.max() for e in errors))
        return _sampled(verdict, f"{message} {about}", cases, means, right, allowed)

    right = [SAMPLED.reference(**inputs) for inputs in cases]
    if furthest(right) <= LIMIT:
        return report("equal", "Its mean is ∇J(θ), as far as samples tell.")
    variants = [[d.function(**inputs) for inputs in cases] for d in SAMPLED.deviations]
    distances = np.nan_to_num([furthest(variant) for variant in variants], nan=np.inf)
    nearest = int(np.argmin(distances))
    if distances[nearest] <= LIMIT:
        deviation = SAMPLED.deviations[nearest]
        rest = [
            f"it {d.summary}"
            for d, z in zip(SAMPLED.deviations, distances, strict=True)
            if z <= LIMIT and d is not deviation
        ]
        doubt = f" More samples could tell that from: {'; '.join(rest)}." if rest else ""
        return report("deviation", f"It {deviation.summary}.{doubt}")._replace(deviation=deviation)
    x, y = (np.concatenate([array.ravel() for array in arrays]) for arrays in (right, means))
    c = float(x @ y / (x @ x))
    c = float(np.rint(c)) if furthest([np.rint(c) * e for e in right]) <= LIMIT else c
    if c and furthest([c * e for e in right]) <= LIMIT:
        return report("equal up to", f"Equal up to {times(c)}, about.")
    return report("different", "Its mean is something else, and no known deviation.")


def _scores(mean: Array, standard_error: Array, expected: Array) -> Array:
    return np.asarray(abs(mean - expected) / np.maximum(standard_error, SAMPLED.tolerance * scale(expected)))


def _sampled(
    verdict: Verdict,
    message: str,
    cases: list[Inputs],
    means: list[Array],
    right: list[Array],
    allowed: float,
) -> Report:
    """Return a report whose example is the case that is furthest off."""
    c, worst, relative, ulp, got = SAMPLED, 0, np.nan, np.nan, None
    if means:
        off = [error(m, e) for m, e in zip(means, right, strict=True)]
        worst = int(np.argmax(off))
        relative, ulp, got = off[worst], off[worst] * in_ulps(right[worst], "float64"), means[worst]
    example = Counterexample(cases[worst], right[worst], got)
    report = Report(c.name, c.formula, c.equation, verdict, message, relative, ulp, allowed, len(cases))
    return report if verdict == "equal" else report._replace(counterexample=example)


def _gradient(
    transitions: Array, rewards: Matrix, start: Vector, theta: Matrix, values: Vector, discount: float
) -> Array:
    mdp = wrong.mdp_of(transitions, rewards, start, discount)
    return exact.policy_gradient(mdp, policy_of(theta), theta.ravel()).reshape(theta.shape)


def _inputs(rng: np.random.Generator, case: int) -> Inputs:
    """Draw an MDP that only leads from states to later ones, so that no episode is longer than S steps."""
    n_states, n_actions = (1, 2) if case == 0 else (int(rng.integers(2, 4)), int(rng.integers(2, 4)))
    rows = rng.dirichlet(np.ones(n_states + 1), (n_states, n_actions))[..., :n_states]
    start = rng.dirichlet(np.ones(n_states))
    inputs = {
        "transitions": rows * (1 if case % 3 else 1.5),
        "rewards": rng.normal(size=(n_states, n_actions)).round(2),
        "start": start,
        "theta": rng.normal(size=(n_states, n_actions)).round(2),
        "values": rng.normal(size=n_states).round(2),
        "discount": {4: 0.0, 5: 1.0}.get(case, round(float(rng.uniform(0.5, 1)), 2)),
    }
    return _possible(inputs) or _inputs(rng, case)  # 1.5 times a row may be too much


def _likely_inputs(rng: np.random.Generator, case: int) -> Inputs:
    """Draw an MDP without rare steps, so that means are soon normal, and with much to gain in late states."""
    goes_on = rng.permuted(np.tile([0.1, 1.0], (3, 1)), axis=1)[:, :, None]
    onward = np.array([[0.0, 0.7, 0.3], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])[:, None, :]
    rewards = rng.permuted(np.tile([-1.0, 1.5], (3, 1)), axis=1) * np.array([[0.5], [4.0], [4.0]])
    inputs = {
        "transitions": onward * goes_on,
        "rewards": rewards,
        "start": np.array([0.75, 0.125, 0.125]),
        "theta": rng.uniform(-0.5, 0.5, (3, 2)).round(2),
        "values": rng.choice([-5.0, 5.0], 3),
        "discount": 0.5,
    }
    return {**inputs, **(_possible(inputs) or {})}


def _possible(inputs: Inputs) -> Inputs | None:
    """Return the MDP on the grid, without the ways back, or None where a row exceeds 1."""
    n_states = len(inputs["start"])
    later = np.arange(n_states)[:, None, None] < np.arange(n_states)
    transitions = np.floor(inputs["transitions"] * later * GRID) / GRID
    start = np.floor(inputs["start"] * GRID) / GRID
    start[0] += 1 - start.sum()
    if transitions.sum(-1).max() > 1 or start[0] < 0:
        return None
    return {**inputs, "transitions": transitions, "start": start}


POLICY_GRADIENT_ESTIMATOR = Component(
    name="policy_gradient_estimator",
    formula="E_τ[ĝ(τ)] = E_τ[Σ_t γ^t ∇log π_θ(A_t|S_t) A(S_t, A_t)] = ∇J(θ)",
    equation="(5.28)",
    axes={"transitions": "SAS", "rewards": "SA", "start": "S", "theta": "SA", "values": "S"},
    result="SA",
    reference=_gradient,
    draw=_inputs,
    repaired=_possible,
    deviations=wrong.ESTIMATORS,
)
SAMPLED = replace(
    POLICY_GRADIENT_ESTIMATOR,
    name="sampled_policy_gradient",
    draw=_likely_inputs,
    deviations=tuple(replace(d, component="sampled_policy_gradient") for d in wrong.ESTIMATORS),
)
COMPONENTS = (POLICY_GRADIENT_ESTIMATOR, SAMPLED)
