"""What is computed in place of a categorical distribution's log π, entropy and KL, by whom, at what cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from pgref.arrays import Array, Matrix, Vector
from pgref.categorical import Categorical
from pgref.oracle.component import Inputs
from pgref.oracle.deviation import SLIP, Deviation, Source
from pgref.oracle.inputs import error
from pgref.special import log_softmax, softmax

Call: TypeAlias = Callable[[Inputs], Array]
Law: TypeAlias = Callable[[Array, float], Array]

TEST = "tests/test_oracle_distributions.py::test_every_deviation_is_named"
TORCH_KL = Source("torch", "2.13.0", "distributions/kl.py, _kl_categorical_categorical")
SCIPY_KL = Source("SciPy", "1.17.1", "special.rel_entr, of probabilities; stats.entropy too")
TORCH_PROBS = Source("torch", "2.13.0", "distributions/utils.py, clamp_probs: Categorical(probs=…)")
TORCH_MEAN = Source("torch", "2.13.0", "nn.functional.kl_div with its default reduction, as it documents")
DISTRAX = Source("distrax", "0.1.9", "Categorical(probs=…): log of the probabilities")
CONTRIB = Source(
    "sb3-contrib", "2.9.2", "trpo/trpo.py, TRPO.train: kl_divergence(distribution, old_distribution)"
)
EPSILON = 1e-8
CHOICE = Categorical()


def _chosen(table: Matrix, actions: Vector) -> Array:
    return np.asarray(table[np.arange(len(actions)), actions])


def _picked(function: Callable[[Matrix], Array]) -> Callable[..., Array]:
    """Return the entries of f(z) at the actions."""
    return lambda logits, actions: _chosen(function(logits), actions)


def _over_samples(z: Matrix) -> Array:
    return log_softmax(np.ascontiguousarray(z.T)).T


def _clamped(p: Array, floor: float) -> Array:
    return np.asarray(np.log(np.clip(p, floor, 1 - floor)))


def _raised(p: Array, floor: float) -> Array:
    return np.log(p + floor)


def _with_floor(law: Law, call: Call, cases: list[Inputs], outputs: list[Array]) -> bool:
    """Return whether log π is the law's for the floor that shows where π(a) is 0; floors differ by dtype."""

    def at(low: float) -> float:
        probe = {"logits": np.array([[0.0, low]]), "actions": np.array([1])}
        return float(np.exp(call(probe)[0]))

    floor = at(-900.0)
    if not 0 < floor < 0.01:
        return False
    lowest = np.array([floor / (1 + floor)])
    same = abs(at(float(np.log(floor))) / float(np.exp(law(lowest, floor)[0])) - 1) < 0.1
    wanted = [_chosen(law(softmax(case["logits"]), floor), case["actions"]) for case in cases]
    return same and all(error(o, w) < 1e-4 for o, w in zip(outputs, wanted, strict=True))


def _p_log_p(z: Matrix) -> Array:
    return np.asarray(softmax(z) * log_softmax(z))


def _kl_terms(z_old: Matrix, z_new: Matrix) -> Array:
    return np.asarray(softmax(z_old) * (log_softmax(z_old) - log_softmax(z_new)))


def _torch_kl(z_old: Matrix, z_new: Matrix) -> Array:
    terms = np.where(softmax(z_new) == 0, np.inf, _kl_terms(z_old, z_new))
    return np.asarray(np.where(softmax(z_old) == 0, 0, terms).sum(-1))


def _torch_kl_grad(z_old: Matrix, z_new: Matrix) -> Array:
    """Return what is left of π_new − π_old once the terms that were set to ∞ have no derivative."""
    q = softmax(z_new)
    p = np.where(q == 0, 0, softmax(z_old))
    return np.asarray(p.sum(-1, keepdims=True) * q - p)


def _torch_reversed_grad(z_old: Matrix, z_new: Matrix) -> Array:
    """Return ∇D(new ‖ old) in z_new without the terms of the actions that the old policy never takes."""
    p, q = softmax(z_old), softmax(z_new)
    terms = np.where((p == 0) | (q == 0), 0, log_softmax(z_new) - log_softmax(z_old))
    slope = q * np.where((p == 0) | (q == 0), 0, terms + 1)
    return np.asarray(slope - q * slope.sum(-1, keepdims=True))


def _naive_kl(z_old: Matrix, z_new: Matrix) -> Array:
    p, q = softmax(z_old), softmax(z_new)
    return np.asarray((p * (np.log(p) - np.log(q))).sum(-1))


def _epsilon_kl(z_old: Matrix, z_new: Matrix) -> Array:
    p, q = softmax(z_old), softmax(z_new)
    return np.asarray((p * np.log((p + EPSILON) / (q + EPSILON))).sum(-1))


def _reversed(function: Callable[[Matrix, Matrix], Array]) -> Callable[..., Array]:
    return lambda z_old, z_new: function(z_new, z_old)


def _deviation(
    component: str, name: str, summary: str, function: Callable[..., Any], cost: str, *sources: Source
) -> Deviation:
    return Deviation(name, component, summary, function, sources or SLIP, cost, TEST)


_lp, _h = partial(_deviation, "categorical_log_prob"), partial(_deviation, "categorical_entropy")
_kl, _grad = partial(_deviation, "categorical_kl"), partial(_deviation, "categorical_kl_grad")


def _floored(name: str, summary: str, law: Law, cost: str, *sources: Source) -> Deviation:
    return Deviation(
        name,
        "categorical_log_prob",
        summary,
        _picked(lambda z: law(softmax(z), EPSILON)),
        sources or SLIP,
        cost,
        "tests/test_oracle_distributions.py::test_a_floor_of_any_height_is_named",
        partial(_with_floor, law),
    )


BITS = "is in bits: the logarithm has base 2"
BITS_COST = "every limit and coefficient in nats counts 1.44 times"
BACKWARDS = "is D(π_new ‖ π_old): the arguments are the wrong way round"
BACKWARDS_COST = "another trust region: the same to second order, cheap where the new policy drops an action"
UNSCORED_COST = "no policy gradient through the normalisation: its mean is no longer 0"

# fmt: off
LOG_PROB = (
    _lp("not_normalised", "returns the logit: log Σ exp(z) is missing", _picked(lambda z: z), UNSCORED_COST),
    _lp("probability", "returns π(a), not its logarithm", _picked(softmax),
        "each gradient is multiplied by π(a)"),
    _lp("softmax_twice", "takes the probabilities for logits", _picked(lambda z: log_softmax(softmax(z))),
        "a policy that can never be decided: ratios of at most e"),
    _lp("over_samples", "normalises over the samples, not over the actions", _picked(_over_samples),
        "the samples of a batch compete with each other"),
    _lp("log_of_softmax", "is −∞ where π(a) underflows", _picked(lambda z: np.log(softmax(z))),
        "a NaN gradient at the first action that has become impossible", DISTRAX),
    _lp("overflows", "divides exp(z) by its sum without subtracting the maximum",
        _picked(lambda z: np.log(np.exp(z) / np.exp(z).sum(-1, keepdims=True))),
        "NaN from logits of 89 on in float32, 710 in float64"),
    _lp("log_sum_overflows", "subtracts log Σ exp(z) without subtracting the maximum before",
        _picked(lambda z: z - np.log(np.exp(z).sum(-1, keepdims=True))),
        "−∞ from logits of 89 on in float32, 710 in float64"),
    _lp("bits", BITS, _picked(lambda z: log_softmax(z) / np.log(2)), BITS_COST),
    _floored("clamped_probability", "clips π to [ε, 1 − ε] before the logarithm", _clamped,
             "no gradient for actions rarer than ε", TORCH_PROBS),
    _floored("epsilon_added", "adds ε to π before the logarithm", _raised,
             "the gradient of rare actions is too small by π/(π + ε)"),
)
ENTROPY = (
    _h("mean_over_actions", "averages over the actions", lambda logits: -_p_log_p(logits).mean(-1),
       "an entropy bonus 1/K of what its coefficient says"),
    _h("not_normalised", "is −Σ π z: log Σ exp(z) is missing",
       lambda logits: -(softmax(logits) * logits).sum(-1), "a bonus that depends on a constant added to z"),
    _h("nan_at_zero", "is NaN where π underflows: 0·log 0",
       lambda logits: -(softmax(logits) * np.log(softmax(logits))).sum(-1),
       "NaN parameters once the policy is sure"),
    _h("relative", "is divided by log K", lambda logits: -_p_log_p(logits).sum(-1) / np.log(logits.shape[1]),
       "an entropy bonus 1/log K of what its coefficient says"),
    _h("over_samples", "normalises over the samples, not over the actions",
       lambda logits: -(np.exp(_over_samples(logits)) * _over_samples(logits)).sum(-1),
       "rewards that the samples of a batch differ"),
    _h("bits", BITS, lambda logits: -_p_log_p(logits).sum(-1) / np.log(2), BITS_COST),
)
KL = (
    _kl("reversed", BACKWARDS, _reversed(CHOICE.kl), BACKWARDS_COST),
    _kl("infinite_on_underflow", "is ∞ where a probability of the new policy underflows, which is not 0",
        _torch_kl, "a finite step counts as infinitely far: refused, or NaN", TORCH_KL, SCIPY_KL),
    _kl("reversed_infinite_on_underflow",
        "is D(π_new ‖ π_old), and ∞ where a probability of the old policy underflows", _reversed(_torch_kl),
        BACKWARDS_COST, CONTRIB),
    _kl("nan_on_underflow", "is NaN where a probability underflows: 0·log 0", _naive_kl,
        "NaN parameters once the policy is sure"),
    _kl("epsilon", "adds 1e-8 to both probabilities", _epsilon_kl,
        "a divergence that cannot exceed 18.4: giving up an action costs next to nothing"),
    _kl("not_normalised", "takes logits for log-probabilities",
        lambda z_old, z_new: (np.exp(z_old) * (z_old - z_new)).sum(-1), "no divergence: it can be negative"),
    _kl("cross_entropy", "is −Σ π_old log π_new: the entropy of π_old is missing",
        lambda z_old, z_new: -(softmax(z_old) * log_softmax(z_new)).sum(-1),
        "the right gradient; but a limit δ is exceeded by standing still"),
    _kl("mean_over_actions", "averages over the actions",
        lambda z_old, z_new: _kl_terms(z_old, z_new).mean(-1), "a trust region K times as large", TORCH_MEAN),
    _kl("bits", BITS, lambda z_old, z_new: CHOICE.kl(z_old, z_new) / np.log(2), BITS_COST),
)
KL_GRAD = (
    _grad("reversed", "is the gradient of D(π_new ‖ π_old)", _reversed(CHOICE.kl_grad_old), BACKWARDS_COST),
    _grad("in_old", "is the gradient in the old logits", CHOICE.kl_grad_old,
          "the wrong policy was held fixed: a penalty that moves nothing as it should"),
    _grad("not_normalised", "is −π_old: log π_new was taken for z_new", lambda z_old, z_new: -softmax(z_old),
          "all logits drift upwards"),
    _grad("no_gradient_on_underflow", "has no gradient from actions whose new probability underflows",
          _torch_kl_grad, "what has been given up by mistake is never given back", TORCH_KL),
    _grad("reversed_no_gradient_on_underflow",
          "is the gradient of D(π_new ‖ π_old) without the actions whose old probability underflows",
          _torch_reversed_grad, BACKWARDS_COST, CONTRIB),
    _grad("mean_over_actions", "averages over the actions",
          lambda z_old, z_new: CHOICE.kl_grad_new(z_old, z_new) / z_old.shape[1],
          "a penalty 1/K of what its coefficient says", TORCH_MEAN),
)
