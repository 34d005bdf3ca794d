"""What is computed in place of a Fisher-vector product, by whom, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pgref.arrays import Array, Matrix
from pgref.categorical import Categorical
from pgref.gaussian import DiagonalGaussian
from pgref.networks import MLP, WithFreeOutputs
from pgref.oracle.component import Inputs
from pgref.oracle.deviation import SLIP, Deviation, Source
from pgref.oracle.inputs import error
from pgref.policy import Policy
from pgref.special import softmax

TEST = "tests/test_oracle_steps.py::test_every_product_deviation_is_named"
PROPERTY_TEST = "tests/test_oracle_steps.py::test_properties_of_a_product_are_reported"
CONTRIB = Source("sb3-contrib", "2.9.2", "trpo/trpo.py, TRPO.train: kl_divergence(…).mean() of a Normal")
TORCH_MEAN = Source("torch", "2.13.0", "nn.functional.kl_div with its default reduction, as it documents")
DAMPED = (
    Source("sb3-contrib", "2.9.2", "trpo/trpo.py, TRPO.hessian_vector_product: cg_damping 0.1"),
    Source("skrl", "2.1.1", "agents/torch/trpo/trpo.py, fisher_vector_product: damping 0.1"),
    Source("Spinning Up", "commit 03c57d9", "algos/tf1/trpo/trpo.py: damping_coeff 0.1"),
)
COARSE = 1e-3  # what counts as a difference between products, in float32 too

Metric: TypeAlias = Callable[[Matrix, Matrix], Array]  # z, u ↦ Fu, row by row
Call: TypeAlias = Callable[[Inputs], Array]


class Pair(NamedTuple):
    """A user's products with the unit vectors, beside the Hessian [P, P]."""

    matrix: Matrix
    hessian: Matrix


def softmax_policy(theta: Matrix) -> Policy:
    """Return the linear softmax policy of θ [D + 1, K]."""
    return Policy(MLP((len(theta) - 1, theta.shape[1])), Categorical())


def normal_policy(theta: Matrix) -> Policy:
    """Return the linear Gaussian policy of θ [D + 2, d]."""
    d = theta.shape[1]
    return Policy(WithFreeOutputs(MLP((len(theta) - 2, d)), d), DiagonalGaussian())


def hessian_times(policy: Callable[[Matrix], Policy]) -> Callable[..., Array]:
    """Return (θ, obs, v) ↦ Hv from the Hessian written out."""

    def product(theta: Matrix, obs: Matrix, v: Matrix) -> Array:
        hessian = policy(theta).kl_hessian(theta.ravel(), obs)
        return np.asarray(hessian @ v.ravel()).reshape(v.shape)

    return product


def _linear(metric: Metric) -> Callable[..., Array]:
    """Return (θ, obs, v) ↦ (1/N) Σ JᵀFJv of z = sW + b."""

    def product(theta: Matrix, obs: Matrix, v: Matrix) -> Array:
        seen = np.hstack([obs, np.ones((len(obs), 1))])
        return np.asarray(seen.T @ metric(seen @ theta, seen @ v) / len(obs))

    return product


def _diagonal(power: float, of_log_std: Callable[[Matrix], Any]) -> Callable[..., Array]:
    """Return the Gaussian's product with F = diag(σ^power, what `of_log_std` makes of log σ)."""

    def product(theta: Matrix, obs: Matrix, v: Matrix) -> Array:
        log_std = theta[-1:]
        means = _linear(lambda z, u: np.asarray(np.exp(power * log_std) * u))(theta[:-1], obs, v[:-1])
        return np.vstack([means, of_log_std(log_std) * v[-1:]])

    return product


def _divided(policy: Callable[[Matrix], Policy]) -> Callable[..., Array]:
    return lambda theta, obs, v: hessian_times(policy)(theta, obs, v) / v.shape[1]


def _judged(
    policy: Callable[[Matrix], Policy],
    judge: Callable[[list[Pair]], bool],
    call: Call,
    cases: list[Inputs],
    outputs: list[Array],
) -> bool:
    """Judge the user's products as matrices, on three inputs."""
    if _is_nonlinear(call, cases, outputs):
        return False
    pairs = []
    for case in cases[:3]:
        theta, shape = case["theta"], case["v"].shape
        units = np.eye(theta.size).reshape(-1, *shape)
        matrix = np.stack([call({**case, "v": unit}).ravel() for unit in units], axis=1)
        pairs.append(Pair(matrix, policy(theta).kl_hessian(theta.ravel(), case["obs"])))
    return all(np.isfinite(m).all() for m, _ in pairs) and judge(pairs)


def _is_nonlinear(call: Call, cases: list[Inputs], outputs: list[Array]) -> bool:
    doubled = [call({**case, "v": 2 * case["v"]}) for case in cases[:3]]
    return not all(error(d, 2 * o) < COARSE for d, o in zip(doubled, outputs, strict=False))


def _is_damped(pairs: list[Pair]) -> bool:
    damping = float(pairs[0].matrix[0, 0] - pairs[0].hessian[0, 0])
    exact = min(1e-4, damping / 10)
    return damping > 1e-9 and all(error(m, h + damping * np.eye(len(h))) < exact for m, h in pairs)


def _is_asymmetric(pairs: list[Pair]) -> bool:
    return any(np.abs(m - m.T).max() > COARSE * np.abs(m).max() for m, _ in pairs)


def _is_indefinite(pairs: list[Pair]) -> bool:
    """Return whether a matrix has eigenvalues of both signs: one of one sign is right but for the sign."""
    spectra = [np.linalg.eigvalsh((m + m.T) / 2) for m, _ in pairs]
    return any(s.min() < -COARSE * np.abs(s).max() and s.max() > COARSE * np.abs(s).max() for s in spectra)


def _product(
    component: str, name: str, summary: str, function: Callable[..., Array], cost: str, *sources: Source
) -> Deviation:
    return Deviation(name, component, summary, function, sources or SLIP, cost, TEST)


_choice = partial(_product, "categorical_fisher_product")
_normal = partial(_product, "gaussian_fisher_product")


def _properties(component: str, policy: Callable[[Matrix], Policy]) -> tuple[Deviation, ...]:
    """Return what is said of a product that is no other deviation: whether it is one with a metric."""
    right = hessian_times(policy)

    def row(
        name: str, summary: str, function: Callable[..., Array], cost: str, judge: Any, *sources: Source
    ) -> Deviation:
        return Deviation(name, component, summary, function, sources or SLIP, cost, PROPERTY_TEST, judge)

    # fmt: off
    return (
        row("damped", "adds a multiple of v: H + cI",
            lambda theta, obs, v: right(theta, obs, v) + 0.1 * v,
            "none if it is wanted: a shorter step, an effective factor x·Hx/x·(H + cI)x of the trust region",
            partial(_judged, policy, _is_damped), *DAMPED),
        row("not_linear", "is not linear in v", lambda theta, obs, v: right(theta, obs, v) * np.abs(v).sum(),
            "no product with a matrix: conjugate gradients solve nothing", _is_nonlinear),
        row("asymmetric", "is linear, but its matrix is not symmetric",
            lambda theta, obs, v: right(theta, obs, v * np.arange(1, len(v) + 1)[:, None]),
            "conjugate gradients need not converge", partial(_judged, policy, _is_asymmetric)),
        row("indefinite", "is linear and symmetric, but some eigenvalues are negative",
            lambda theta, obs, v: right(theta, obs, v) - 0.05 * v,
            "no trust region: along some direction a step has no limit",
            partial(_judged, policy, _is_indefinite)),
    )
    # fmt: on


# fmt: off
CATEGORICAL = (
    _choice("no_outer_product", "takes F = diag π: −ππᵀ is missing",
            _linear(lambda z, u: np.asarray(softmax(z) * u)),
            "counts what changes no probability: steps that are too short"),
    _choice("identity_metric", "takes F = I: JᵀJ, the metric of the logits",
            _linear(lambda z, u: u), "a trust region in logits, however little they matter"),
    _choice("mean_over_actions", "averages the KL divergence over the actions", _divided(softmax_policy),
            "a trust region K times as large", TORCH_MEAN),
    *_properties("categorical_fisher_product", softmax_policy),
)
GAUSSIAN = (
    _normal("mean_over_dimensions", "averages the KL divergence over the action dimensions",
            _divided(normal_policy), "a trust region d times as large", CONTRIB),
    _normal("half_for_log_std", "takes F = diag(1/σ², 1): the 2 of log σ is missing",
            _diagonal(-2, lambda log_std: 1.0), "steps in log σ twice as long, a KL beyond its limit"),
    _normal("log_std_left_out", "takes F = diag(1/σ², 0): log σ does not count",
            _diagonal(-2, lambda log_std: 0.0), "no limit on σ at all, and a singular system"),
    _normal("in_std", "takes F = diag(1/σ², 2/σ²): that of σ, not of log σ",
            _diagonal(-2, lambda log_std: 2 * np.exp(-2 * log_std)),
            "steps in log σ that are σ times as long"),
    _normal("unit_variance", "takes F = diag(1, 2): σ does not count",
            _diagonal(0, lambda log_std: 2.0), "a KL beyond its limit by 1/σ²"),
    _normal("log_variance", "takes F = diag(1/σ, ½): log σ for log σ²", _diagonal(-1, lambda log_std: 0.5),
            "the policy samples with σ and is limited as if with √σ"),
    *_properties("gaussian_fisher_product", normal_policy),
)
