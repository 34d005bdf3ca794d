"""What is computed in place of a diagonal Gaussian's log π, entropy and KL, by whom, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from pgref.arrays import Array, Matrix
from pgref.gaussian import DiagonalGaussian
from pgref.oracle.component import Inputs
from pgref.oracle.deviation import SLIP, Deviation, Source
from pgref.oracle.inputs import error

Four: TypeAlias = Callable[[Matrix, Matrix, Matrix, Matrix], Array]

TEST = "tests/test_oracle_distributions.py::test_every_deviation_is_named"
SPINNING_UP = Source("Spinning Up", "commit 2092113", "algos/tf1/trpo/core.py")
TENSORLAYER = Source("TensorLayer", "commit 00fec54", "examples/reinforcement_learning/tutorial_TRPO.py")
CLIPS = Source("TensorLayer", "commit a6fe0d0", "tutorial_TRPO.py, TRPO.get_action: np.clip, then log_prob")
TENSORLAYER_KL = Source(
    "TensorLayer", "commit a6fe0d0", "tutorial_TRPO.py, TRPO.kl: kl_divergence(pi, old_pi)"
)
CONTRIB = Source(
    "sb3-contrib", "2.9.2", "trpo/trpo.py, TRPO.train: kl_divergence(distribution, old_distribution).mean()"
)
SKRL = Source("skrl", "commit 04c1f4d, mended by 2.1.1", "agents/torch/trpo/trpo.py, kl_divergence")
EPSILON = 1e-8
FAR = 1e3
HALF_LOG_2PI = math.log(2 * math.pi) / 2


def _log_density(mean: Matrix, log_std: Matrix, actions: Matrix) -> Array:
    """Return the terms of log π(a), one for each dimension, [N, d]."""
    return -(((actions - mean) * np.exp(-log_std)) ** 2) / 2 - log_std - HALF_LOG_2PI


def _clipped(mean: Matrix, log_std: Matrix, actions: Matrix) -> Array:
    return np.asarray(_log_density(mean, log_std, np.clip(actions, -1, 1)).sum(-1))


def _clips(call: Callable[[Inputs], Array], cases: list[Inputs], outputs: list[Array]) -> bool:
    """Return whether log π is that of the action clipped to bounds around 0, which far actions show."""

    def bound(far: float) -> float:
        zero = np.zeros((1, 1))
        square = -2 * (float(call({"mean": zero, "log_std": zero, "actions": zero + far})[0]) + HALF_LOG_2PI)
        return math.copysign(math.sqrt(max(square, 0.0)), far) if math.isfinite(square) else far

    low, high = bound(-FAR), bound(FAR)
    if not (-FAR / 2 < low <= high < FAR / 2):
        return False
    clipped = [_log_density(c["mean"], c["log_std"], np.clip(c["actions"], low, high)).sum(-1) for c in cases]
    return all(error(o, w) < 1e-4 for o, w in zip(outputs, clipped, strict=True))


def _epsilon_log_prob(mean: Matrix, log_std: Matrix, actions: Matrix) -> Array:
    squares = ((actions - mean) / (np.exp(log_std) + EPSILON)) ** 2
    return np.asarray(-(squares / 2 + log_std + HALF_LOG_2PI).sum(-1))


def _kl_terms(mean_old: Matrix, log_std_old: Matrix, mean_new: Matrix, log_std_new: Matrix) -> Array:
    """Return the terms of D(π_old ‖ π_new), one for each dimension, [N, d]."""
    squares = ((mean_old - mean_new) * np.exp(-log_std_new)) ** 2
    log_ratio = log_std_new - log_std_old
    return np.asarray(log_ratio + (np.exp(-2 * log_ratio) + squares) / 2 - 0.5)


def _plus_epsilon(mean_old: Matrix, log_std_old: Matrix, mean_new: Matrix, log_std_new: Matrix) -> Array:
    variance_old, variance_new = np.exp(2 * log_std_old), np.exp(2 * log_std_new)
    squares = ((mean_new - mean_old) ** 2 + variance_old) / (variance_new + EPSILON)
    return np.asarray((squares - 1) / 2 + log_std_new - log_std_old)


def _total(function: Four) -> Four:
    return lambda mean_old, log_std_old, mean_new, log_std_new: np.asarray(
        function(mean_old, log_std_old, mean_new, log_std_new).sum(-1)
    )


def _average(function: Four) -> Four:
    return lambda mean_old, log_std_old, mean_new, log_std_new: np.asarray(
        function(mean_old, log_std_old, mean_new, log_std_new).mean(-1)
    )


def _reversed(function: Four) -> Four:
    return lambda mean_old, log_std_old, mean_new, log_std_new: function(
        mean_new, log_std_new, mean_old, log_std_old
    )


def _log_variances(function: Four) -> Four:
    return lambda mean_old, log_std_old, mean_new, log_std_new: function(
        mean_old, log_std_old / 2, mean_new, log_std_new / 2
    )


def _added(extra: Callable[[Matrix, Matrix, Matrix, Matrix], Array]) -> Four:
    """Return the divergence with something added to the terms of each dimension."""
    return lambda mean_old, log_std_old, mean_new, log_std_new: np.asarray(
        (
            _kl_terms(mean_old, log_std_old, mean_new, log_std_new)
            + extra(mean_old, log_std_old, mean_new, log_std_new)
        ).sum(-1)
    )


def _old_variance(mean_old: Matrix, log_std_old: Matrix, mean_new: Matrix, log_std_new: Matrix) -> Array:
    """Return what dividing (Δμ)² by σ_old² in place of σ_new² adds."""
    return np.asarray((mean_old - mean_new) ** 2 * (np.exp(-2 * log_std_old) - np.exp(-2 * log_std_new)) / 2)


def _grads(which: str) -> Four:
    """Return a gradient of `DiagonalGaussian` as [2, N, d]."""

    def gradient(mean_old: Matrix, log_std_old: Matrix, mean_new: Matrix, log_std_new: Matrix) -> Array:
        z_old, z_new = np.hstack([mean_old, log_std_old]), np.hstack([mean_new, log_std_new])
        return np.stack(np.split(getattr(DiagonalGaussian(), which)(z_old, z_new), 2, axis=1))

    return gradient


def _scaled(gradient: Four, by: Callable[[Matrix], Any]) -> Four:
    """Return a gradient divided by a function of log σ_new."""
    return lambda mean_old, log_std_old, mean_new, log_std_new: np.asarray(
        gradient(mean_old, log_std_old, mean_new, log_std_new) / by(log_std_new)
    )


def _in_std(mean_old: Matrix, log_std_old: Matrix, mean_new: Matrix, log_std_new: Matrix) -> Array:
    in_mean, in_log_std = _grads("kl_grad_new")(mean_old, log_std_old, mean_new, log_std_new)
    return np.stack([in_mean, in_log_std * np.exp(-log_std_new)])


def _sign_of_log(mean_old: Matrix, log_std_old: Matrix, mean_new: Matrix, log_std_new: Matrix) -> Array:
    in_mean, in_log_std = _grads("kl_grad_new")(mean_old, log_std_old, mean_new, log_std_new)
    return np.stack([in_mean, in_log_std - 2])


def _deviation(
    component: str, name: str, summary: str, function: Callable[..., Any], cost: str, *sources: Source
) -> Deviation:
    return Deviation(name, component, summary, function, sources or SLIP, cost, TEST)


_lp, _h = partial(_deviation, "gaussian_log_prob"), partial(_deviation, "gaussian_entropy")
_kl, _grad = partial(_deviation, "gaussian_kl"), partial(_deviation, "gaussian_kl_grad")

MEAN = "averages over the action dimensions"
LOG_VARIANCE = "takes log σ for log σ²"
LOG_VARIANCE_COST = "the policy samples with σ and is trained as if with √σ"
BACKWARDS = "is D(π_new ‖ π_old): the arguments are the wrong way round"
BACKWARDS_COST = "another trust region: the same to second order, and wider for a σ that shrinks"
REGION_COST = "a trust region d times as large: δ limits the mean over d dimensions"
GRAD = _grads("kl_grad_new")

# fmt: off
LOG_PROB = (
    Deviation("clipped_action", "gaussian_log_prob", "is that of the action clipped to the bounds", _clipped,
              (CLIPS,), "a bias: no density of what was drawn; means beyond a bound are drawn on",
              "tests/test_oracle_distributions.py::test_clipping_to_any_bounds_is_named", _clips),
    _lp("mean_over_dimensions", MEAN,
        lambda mean, log_std, actions: _log_density(mean, log_std, actions).mean(-1),
        "ratios π/π_old to the power 1/d, gradients 1/d as long"),
    _lp("log_variance", LOG_VARIANCE,
        lambda mean, log_std, actions: _log_density(mean, log_std / 2, actions).sum(-1), LOG_VARIANCE_COST),
    _lp("std_for_log", "takes log σ for σ",
        lambda mean, log_std, actions: _log_density(mean, np.log(log_std), actions).sum(-1),
        "NaN where log σ is negative"),
    _lp("no_constant", "leaves log(2π)/2 out",
        lambda mean, log_std, actions: (_log_density(mean, log_std, actions) + HALF_LOG_2PI).sum(-1),
        "none for gradients and ratios; log-likelihoods are d·0.919 too high"),
    _lp("one_constant", "subtracts log(2π)/2 once, not once for each dimension",
        lambda mean, log_std, actions: (_log_density(mean, log_std, actions) + HALF_LOG_2PI).sum(-1)
        - HALF_LOG_2PI, "none for gradients and ratios"),
    _lp("no_log_std", "leaves −log σ out",
        lambda mean, log_std, actions: (_log_density(mean, log_std, actions) + log_std).sum(-1),
        "σ grows without end: nothing is lost by widening"),
    _lp("no_half", "does not halve the square",
        lambda mean, log_std, actions: 2 * _log_density(mean, log_std, actions).sum(-1)
        + (log_std + HALF_LOG_2PI).sum(-1),
        "the density of another σ, √½ of the one that is sampled"),
    _lp("density", "returns π(a), not its logarithm",
        lambda mean, log_std, actions: np.exp(_log_density(mean, log_std, actions).sum(-1)),
        "each gradient is multiplied by π(a)"),
    _lp("epsilon", "adds 1e-8 to σ", _epsilon_log_prob, "none until σ is near 1e-8: then no gradient there",
        SPINNING_UP, TENSORLAYER),
)
ENTROPY = (
    _h("no_constant", "is Σ log σ: log(2πe)/2 is missing", lambda log_std: log_std.sum(-1),
       "none for gradients; reported entropies are d·1.419 too low"),
    _h("no_e", "adds log(2π)/2 in place of log(2πe)/2", lambda log_std: (log_std + HALF_LOG_2PI).sum(-1),
       "none for gradients; reported entropies are d/2 too low"),
    _h("one_constant", "adds log(2πe)/2 once, not once for each dimension",
       lambda log_std: log_std.sum(-1) + HALF_LOG_2PI + 0.5, "none for gradients"),
    _h("mean_over_dimensions", MEAN, lambda log_std: (log_std + HALF_LOG_2PI + 0.5).mean(-1),
       "an entropy bonus 1/d of what its coefficient says"),
    _h("log_variance", LOG_VARIANCE, lambda log_std: (log_std / 2 + HALF_LOG_2PI + 0.5).sum(-1),
       "half the entropy bonus"),
    _h("std_for_log", "takes log σ for σ", lambda log_std: (np.log(log_std) + HALF_LOG_2PI + 0.5).sum(-1),
       "NaN where log σ is negative"),
    _h("bits", "is in bits: the logarithm has base 2",
       lambda log_std: (log_std + HALF_LOG_2PI + 0.5).sum(-1) / math.log(2), "a bonus 1.44 times as large"),
)
KL = (
    _kl("reversed", BACKWARDS, _total(_reversed(_kl_terms)), BACKWARDS_COST, TENSORLAYER_KL),
    _kl("mean_over_dimensions", MEAN, _average(_kl_terms), REGION_COST),
    _kl("reversed_mean_over_dimensions", "is D(π_new ‖ π_old), averaged over the action dimensions",
        _average(_reversed(_kl_terms)), REGION_COST, CONTRIB),
    _kl("reversed_epsilon", "is D(π_new ‖ π_old) with 1e-8 added to σ_old²", _total(_reversed(_plus_epsilon)),
        BACKWARDS_COST, SPINNING_UP, TENSORLAYER),
    _kl("epsilon", "adds 1e-8 to σ_new²", _total(_plus_epsilon), "none until σ_new is near 1e-4"),
    _kl("log_ratio_sign", "adds log(σ_old/σ_new), with the wrong sign",
        _added(lambda mean_old, log_std_old, mean_new, log_std_new: 2 * (log_std_old - log_std_new)),
        "no divergence: negative for a σ that grows, so that any growth passes the limit", SKRL),
    _kl("log_variance", LOG_VARIANCE, _total(_log_variances(_kl_terms)), LOG_VARIANCE_COST),
    _kl("no_log_ratio", "leaves log(σ_new/σ_old) out",
        _added(lambda mean_old, log_std_old, mean_new, log_std_new: log_std_old - log_std_new),
        "negative for a σ that grows, which then never ends"),
    _kl("no_minus_half", "leaves −½ out",
        _added(lambda mean_old, log_std_old, mean_new, log_std_new: np.full_like(mean_old, 0.5)),
        "the right gradient; but a limit δ is exceeded by standing still"),
    _kl("old_variance", "divides (μ_old − μ_new)² by σ_old², not by σ_new²", _added(_old_variance),
        "narrowing and moving at once passes the limit"),
    _kl("no_half", "does not halve the squares",
        _added(lambda mean_old, log_std_old, mean_new, log_std_new: _kl_terms(
            mean_old, log_std_old, mean_new, log_std_new) - log_std_new + log_std_old + 0.5),
        "not even 0 for equal policies"),
)
KL_GRAD = (
    _grad("reversed", "is the gradient of D(π_new ‖ π_old)", _reversed(_grads("kl_grad_old")),
          BACKWARDS_COST),
    _grad("in_old", "is the gradient in the old parameters", _grads("kl_grad_old"),
          "the wrong policy was held fixed"),
    _grad("mean_over_dimensions", MEAN, _scaled(GRAD, lambda x: x.shape[1]), REGION_COST),
    _grad("reversed_mean_over_dimensions",
          "is the gradient of D(π_new ‖ π_old), averaged over the action dimensions",
          _scaled(_reversed(_grads("kl_grad_old")), lambda x: x.shape[1]), REGION_COST, CONTRIB),
    _grad("in_std", "is the gradient in σ, not in log σ", _in_std,
          "steps in log σ that are 1/σ times too long"),
    _grad("log_ratio_sign", "is that of a divergence with the wrong sign of log(σ_new/σ_old)", _sign_of_log,
          "not 0 where the policies are equal: σ grows without end", SKRL),
    _grad("log_variance", LOG_VARIANCE, _log_variances(GRAD), LOG_VARIANCE_COST),
)
