"""What the algorithms maximise over θ, each beside its gradient, on a batch of samples.

All are means over the batch but `score_objective`, which the worker's box writes as a sum. Everything
except θ is a constant: advantages Â, old log-probabilities, θ_old. Gradients end in one vector-Jacobian
product of the network (`Policy.score_sum`).

Imports NumPy only; knows nothing of environments or optimisers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pgref.arrays import (
    Array,
    Vector,
    Workspace,
    as_array,
    in_precision,
    non_negative,
    positive,
    require_finite,
)
from pgref.errors import ArgumentError
from pgref.policy import Policy, Scores, as_weights


class ClippedStep(NamedTuple):
    """What one pass over a batch gives PPO: where to go, and on demand how far it has gone."""

    gradient: Vector  # [P] ∇[clipped + c·entropy_bonus]
    evidence: Callable[[], Evidence]  # to be asked for before the workspace is used again


class Evidence(NamedTuple):
    """How far π_θ is from π_old on a batch."""

    value: float  # `clipped`, without the bonus
    entropy: float  # `entropy_bonus`, in nats
    kl: float  # (1/N) Σ [r − 1 − log r] ≥ 0, in nats: an unbiased estimate of KL(π_old ‖ π_θ)
    clip_fraction: float  # share of samples with |r − 1| > ε


class ScoreStep(NamedTuple):
    """What one pass over a batch gives an actor."""

    gradient: Vector  # [P] Σ_n [w_n ∇log π_θ(a_n|s_n) + c ∇H(π_θ(·|s_n))]
    entropy: float  # `entropy_bonus`, in nats


class Batch(NamedTuple):
    """N samples with what was known of them when they were drawn."""

    obs: Array  # [N, …]
    actions: Array  # [N] or [N, d]
    advantages: Array  # [N] Â
    old_log_probs: Array  # [N] log π_old(a|s), in nats


def score_objective(policy: Policy, theta: Vector, batch: Batch, work: Workspace | None = None) -> float:
    """Return Σ_t log π_θ(A_t|S_t) Â_t, the worker's J(θ) of Algorithms 5.20 and 5.21: a sum, without γ^t."""
    log_prob = policy.log_prob(theta, batch.obs, batch.actions, work)
    total: float = (log_prob @ _like("advantages", batch.advantages, log_prob)).item()
    return total


def score_objective_grad(
    policy: Policy, theta: Vector, batch: Batch, work: Workspace | None = None
) -> Vector:
    """Return g_θ = Σ_t ∇log π_θ(A_t|S_t) Â_t, [P], with Â held fixed."""
    return policy.score_sum(theta, batch.obs, batch.actions, batch.advantages, work)


def score_step(
    policy: Policy,
    theta: Vector,
    obs: Array,
    actions: Array,
    weights: Array,
    *,
    entropy: float = 0.0,
    work: Workspace | None = None,
) -> ScoreStep:
    """Return Σ_n [w_n ∇log π_θ(a_n|s_n) + c ∇H(π_θ(·|s_n))], c = `entropy` ≥ 0, and the mean entropy."""
    return score_step_at(policy.scores(theta, obs, actions, work), weights, entropy=entropy)


def score_step_at(scores: Scores, weights: Array, *, entropy: float = 0.0) -> ScoreStep:
    """Return `score_step` given the scores of the samples; the gradient is as they leave their sums."""
    entropy, weights = non_negative("entropy", entropy), as_weights(weights, scores.log_prob)
    return ScoreStep(scores.gradient(weights, entropy), _mean(scores.entropy()))


def surrogate(policy: Policy, theta: Vector, batch: Batch, work: Workspace | None = None) -> float:
    """Return (1/N) Σ_n r_n Â_n with r = π_θ(a|s)/π_old(a|s): the sample form of (5.24)."""
    return _mean(_ratio_terms(_scores(policy, theta, batch, work), batch).terms)


def surrogate_grad(policy: Policy, theta: Vector, batch: Batch, work: Workspace | None = None) -> Vector:
    """Return the gradient of `surrogate`, (1/N) Σ r Â ∇log π_θ, [P]; (5.27) at θ = θ_old."""
    return surrogate_grad_at(_scores(policy, theta, batch, work), batch)


def surrogate_grad_at(scores: Scores, batch: Batch, *, entropy: float = 0.0) -> Vector:
    """Return `surrogate_grad` + c·`entropy_bonus_grad`, c = `entropy`, as the scores leave their sums."""
    terms = _ratio_terms(scores, batch).terms
    return scores.gradient(as_weights(terms / len(terms), scores.log_prob), entropy / len(terms))


def clipped(
    policy: Policy, theta: Vector, batch: Batch, *, clip: float, work: Workspace | None = None
) -> float:
    """Return PPO's (1/N) Σ min(r Â, clip(r, 1 − ε, 1 + ε) Â), ε = `clip` > 0.

    Source: Schulman et al. 2017, eq. 7.
    """
    clip, r = positive("clip", clip), _ratio_terms(_scores(policy, theta, batch, work), batch)
    return _clipped_mean(r, clip)


def clipped_grad(
    policy: Policy, theta: Vector, batch: Batch, *, clip: float, work: Workspace | None = None
) -> Vector:
    """Return the gradient of `clipped`, [P]: exactly zero from every sample whose clip is active."""
    clip, r = positive("clip", clip), _ratio_terms(_scores(policy, theta, batch, work), batch)
    return r.scores.score_sum(_clipped_weights(r, clip))


def clipped_step(
    policy: Policy,
    theta: Vector,
    batch: Batch,
    *,
    clip: float,
    entropy: float = 0.0,
    work: Workspace | None = None,
) -> ClippedStep:
    """Return `clipped_grad` + c·`entropy_bonus_grad`, c = `entropy` ≥ 0, with the evidence of the same pass.

    Source: Schulman et al. 2017, eq. 9 without its value loss; Schulman (2020), "Approximating KL
    divergence", for the estimator of the KL divergence.
    """
    return clipped_step_at(_scores(policy, theta, batch, work), batch, clip=clip, entropy=entropy)


def clipped_step_at(scores: Scores, batch: Batch, *, clip: float, entropy: float = 0.0) -> ClippedStep:
    """Return `clipped_step` given the scores of the batch; the gradient is as they leave their sums."""
    clip, entropy = positive("clip", clip), non_negative("entropy", entropy)
    r = _ratio_terms(scores, batch)

    def evidence() -> Evidence:
        return Evidence(
            value=_clipped_mean(r, clip),
            entropy=_mean(r.scores.entropy()),
            kl=_mean(np.expm1(r.log_ratios) - r.log_ratios),
            clip_fraction=_mean(np.abs(r.ratios - 1) > clip),
        )

    weights = require_finite("weights", _clipped_weights(r, clip))
    return ClippedStep(r.scores.gradient(weights, entropy / len(weights)), evidence)


def kl_penalised(
    policy: Policy,
    theta: Vector,
    batch: Batch,
    theta_old: Vector,
    *,
    penalty: float,
    work: Workspace | None = None,
) -> float:
    """Return (1/N) Σ [r Â − β D(π_old(·|s) ‖ π_θ(·|s))], β = `penalty` ≥ 0.

    Source: Schulman et al. 2017, eq. 8.
    """
    penalty = non_negative("penalty", penalty)
    kl = policy.mean_kl(theta_old, theta, batch.obs, work=work)
    return surrogate(policy, theta, batch, work) - penalty * kl


def kl_penalised_grad(
    policy: Policy,
    theta: Vector,
    batch: Batch,
    theta_old: Vector,
    *,
    penalty: float,
    work: Workspace | None = None,
) -> Vector:
    """Return the gradient of `kl_penalised` in θ, [P]."""
    penalty = non_negative("penalty", penalty)
    kl_grad = policy.mean_kl_grad(theta_old, theta, batch.obs, work=work)
    grad: Vector = surrogate_grad(policy, theta, batch, work) - penalty * kl_grad
    return grad


def kl_penalised_grad_at(
    policy: Policy, z: Array, z_old: Array, batch: Batch, *, penalty: float, entropy: float = 0.0
) -> Array:
    """Return the derivatives of `kl_penalised` + c·`entropy_bonus`, c = `entropy`, in z [N, K].

    `kl_penalised_grad` is the vjp of these rows; here what follows them can be shared with a critic's.
    """
    penalty, scores = non_negative("penalty", penalty), policy.scored(z, batch.actions, lambda rows: rows)
    kl_rows = policy.distribution.kl_grad_new(z_old, z)
    rows: Array = surrogate_grad_at(scores, batch, entropy=entropy) - penalty / len(z) * kl_rows
    return rows


def adapted_penalty(penalty: float, kl: float, kl_target: float) -> float:
    """Return PPO's next β: halved where KL < d/1.5, doubled where KL > 1.5·d, d = `kl_target` nats.

    Source: Schulman et al. 2017, Section 4.
    """
    penalty, kl_target = non_negative("penalty", penalty), positive("kl_target", kl_target)
    if not kl >= 0:  # ∞ is a divergence too
        raise ArgumentError(f"kl must be at least 0, got {kl!r}")
    return penalty * (0.5 if kl < kl_target / 1.5 else 2.0 if kl > 1.5 * kl_target else 1.0)


def entropy_bonus(policy: Policy, theta: Vector, obs: Array, work: Workspace | None = None) -> float:
    """Return (1/N) Σ_n H(π_θ(·|s_n)) in nats."""
    return _mean(policy.entropy(theta, obs, work))


def entropy_bonus_grad(policy: Policy, theta: Vector, obs: Array, work: Workspace | None = None) -> Vector:
    """Return the gradient of `entropy_bonus`, [P]."""
    return policy.entropy_grad(theta, obs, work=work)


def _scores(policy: Policy, theta: Vector, batch: Batch, work: Workspace | None) -> Scores:
    return policy.scores(theta, batch.obs, batch.actions, work)


class _RatioTerms(NamedTuple):
    log_ratios: Array  # [N] log r
    ratios: Array  # [N] r
    advantages: Array  # [N] Â
    terms: Array  # [N] r Â
    scores: Scores


def _ratio_terms(scores: Scores, batch: Batch) -> _RatioTerms:
    advantages = _like("advantages", batch.advantages, scores.log_prob)
    log_ratios = scores.log_prob - _like("old_log_probs", batch.old_log_probs, scores.log_prob)
    with np.errstate(over="ignore", invalid="ignore"):  # too large a ratio makes the value ∞ or NaN
        ratios = np.exp(log_ratios)
        return _RatioTerms(log_ratios, ratios, advantages, ratios * advantages, scores)


def _like(name: str, array: Array, log_prob: Array) -> Array:
    return in_precision(name, as_array(name, array, log_prob.shape), log_prob.real.dtype)


def _clipped_mean(r: _RatioTerms, clip: float) -> float:
    """Return the mean of min(r Â, clip(r, 1 − ε, 1 + ε) Â), which is min(r Â, Â + ε|Â|)."""
    edge = _edge(r, clip)
    return _mean(np.where(r.terms.real > edge, edge, r.terms))


def _clipped_weights(r: _RatioTerms, clip: float) -> Array:
    """Return what each ∇log π counts in the gradient of that mean [N]: nothing where the clip is active."""
    return np.where(r.terms.real > _edge(r, clip), 0, r.terms) / len(r.terms)


def _edge(r: _RatioTerms, clip: float) -> Array:
    edge: Array = r.advantages + clip * np.abs(r.advantages)
    return edge


def _mean(terms: Array) -> float:
    mean: float = (np.add.reduce(terms) / len(terms)).item()  # complex for a complex θ
    return mean
