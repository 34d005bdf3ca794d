"""What is done in place of the line search of a trust-region step, by whom, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pgref.arrays import Array, Vector
from pgref.oracle.component import Inputs
from pgref.oracle.deviation import SLIP, Deviation, Source

TEST = "tests/test_oracle_steps.py::test_every_deviation_is_named"
RLZOO = Source("RLzoo", "commit 5b1d7f6", "trpo/trpo.py: eval returns (loss, kl), a_train unpacks (kl, loss)")
SKRL = Source("skrl", "2.1.1", "agents/torch/trpo/trpo.py: expected_improvement *= alpha; accept_ratio 0.5")
PYTORCH_TRPO = Source("ikostrikov/pytorch-trpo", "commit 20c1759", "trpo.py, linesearch: accept_ratio 0.1")
MODULAR_RL = Source("modular_rl", "commit 48456f9", "trpo.py: theta = thprev + fullstep after linesearch")
SPINNING_UP = Source("Spinning Up", "commit 03c57d9", "algos/tf1/trpo/trpo.py: pi_l_new <= pi_l_old")
BASELINES = Source("OpenAI baselines", "commit 4b8bdcc", "trpo_mpi.py: kl > max_kl * 1.5, improve < 0")

Evaluate: TypeAlias = Callable[[Vector], tuple[float, float]]


class Try(NamedTuple):
    """What a line search knows of one try."""

    improvement: float  # L
    kl: float
    limit: float  # δ
    expected: float  # g·s times the fraction of the step
    piled_up: float  # g·s times all fractions so far


Accept: TypeAlias = Callable[[Try], bool]


def arguments(inputs: Inputs) -> Sequence[Any]:
    """Return what a user's line search is called with."""
    theta, step, gradient = (np.array(inputs[name]) for name in ("theta", "step", "gradient"))

    def evaluate(candidate: Any) -> tuple[float, float]:
        moved = np.asarray(candidate, np.float64) - theta
        square = float(moved @ moved)
        if square > inputs["edge"] ** 2:
            return np.nan, np.nan
        return gradient @ moved - inputs["bend"] * square, np.float64(inputs["curvature"] * square / 2)

    limits = inputs["kl_limit"], inputs["shrink"], inputs["tries"]
    return [evaluate, inputs["theta"], inputs["step"], *limits, gradient @ step]  # NumPy's: 0/0 is NaN


def searching(
    accept: Accept,
    first: int = 0,
    more: int = 0,
    refused: Callable[[Vector, Vector], Vector] = lambda theta, last: theta,
) -> Callable[..., Array]:
    """Return a line search that accepts as said.

    Args:
        accept: whether a try is taken.
        first: the power of the first fraction.
        more: tries beyond those asked for.
        refused: θ and the last try ↦ the result where none is taken.
    """

    def searched(**inputs: Any) -> Array:
        evaluate, theta, step, kl_limit, shrink, tries, expected = arguments(inputs)
        candidate, piled_up = theta, expected
        for j in range(first, first + tries + more):
            candidate = theta + shrink**j * step
            piled_up *= shrink**j
            improvement, kl = evaluate(candidate)
            if accept(Try(improvement, kl, kl_limit, shrink**j * expected, piled_up)):
                return np.asarray(candidate)
        return np.asarray(refused(theta, candidate))

    return searched


def _right(t: Try) -> bool:
    return t.improvement > 0 and t.kl <= t.limit


def _accumulated(**inputs: Any) -> Array:
    """Return the result of a search that starts each try from the one before."""
    evaluate, theta, step, kl_limit, shrink, tries, _ = arguments(inputs)
    candidate = theta
    for j in range(tries):
        candidate = candidate + shrink**j * step
        improvement, kl = evaluate(candidate)
        if improvement > 0 and kl <= kl_limit:
            return np.asarray(candidate)
    return np.asarray(theta)


def _row(name: str, summary: str, function: Callable[..., Array], cost: str, *sources: Source) -> Deviation:
    return Deviation(name, "line_search", summary, function, sources or SLIP, cost, TEST)


# fmt: off
LINE_SEARCH = (
    _row("swapped", "takes L for the KL and the KL for L",
         searching(lambda t: t.kl > 0 and t.improvement <= t.limit),
         "steps are taken because they gain little: no trust region, and none refused for gaining nothing"),
    _row("swapped_losses", "takes the loss −L for the KL and the KL for the loss: it hardly ever moves",
         searching(lambda t: -t.improvement <= t.limit and t.kl <= 0),
         "no learning, in silence: with advantages of mean 0 the KL would have to be 0", RLZOO),
    _row("no_kl_test", "does not test the KL", searching(lambda t: t.improvement > 0),
         "no trust region: only the quadratic model limits a step, and it can be off by orders of magnitude"),
    _row("no_kl_test_with_ratio", "does not test the KL, and asks for a tenth of the expected improvement",
         searching(lambda t: t.improvement > 0 and t.improvement / t.expected > 0.1),
         "no trust region: the quadratic model alone limits a step", PYTORCH_TRPO),
    _row("no_improvement_test", "does not test L", searching(lambda t: t.kl <= t.limit),
         "steps that make the surrogate worse"),
    _row("accepts_equal", "accepts L = 0", searching(lambda t: t.improvement >= 0 and t.kl <= t.limit),
         "moves where nothing is to be gained, as after a batch of equal advantages", SPINNING_UP),
    _row("half_more_kl", "accepts L = 0 and a KL up to 1.5 δ",
         searching(lambda t: t.improvement >= 0 and t.kl <= 1.5 * t.limit),
         "an effective trust-region factor of 1.5", BASELINES),
    _row("piled_up_expectation",
         "asks for half the expected improvement, multiplied by each try's fraction again and again",
         searching(lambda t: t.kl <= t.limit and t.improvement / t.piled_up > 0.5),
         "the third try asks for k times what it should, the tenth for k³⁶ times: next to nothing", SKRL),
    _row("half_of_expected", "asks for half the expected improvement",
         searching(lambda t: t.kl <= t.limit and t.improvement > 0 and t.improvement / t.expected > 0.5),
         "shorter steps where the surrogate bends: Armijo's rule, not the book's"),
    _row("tenth_of_expected", "asks for a tenth of the expected improvement",
         searching(lambda t: t.kl <= t.limit and t.improvement > 0 and t.improvement / t.expected > 0.1),
         "hardly any: Armijo's rule, not the book's"),
    _row("full_step", "takes the full step, whatever L and the KL are", searching(lambda t: True),
         "no trust region but that of the quadratic model", MODULAR_RL),
    _row("last_try_kept", "keeps the last try where none was acceptable",
         searching(_right, refused=lambda theta, last: last), "a step that the search has refused"),
    _row("one_try_fewer", "tries once less", searching(_right, more=-1),
         "refuses where one more try would do"),
    _row("one_try_more", "tries once more", searching(_right, more=1), "none but one evaluation"),
    _row("starts_shrunk", "starts with the shrunk step", searching(_right, first=1),
         "an effective trust-region factor of k² where the full step would do"),
    _row("accumulated", "starts each try from the one before, not from θ", _accumulated,
         "tries grow longer, not shorter"),
    _row("accepts_nan", "accepts NaN, which is neither above δ nor below 0",
         searching(lambda t: not t.improvement <= 0 and not t.kl > t.limit), "NaN parameters"),
)
