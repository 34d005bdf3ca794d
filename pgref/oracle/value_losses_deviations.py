"""What is computed in place of the critic's losses, by whom, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, Vector
from pgref.oracle.deviation import SLIP, Deviation, Source

TEST = "tests/test_oracle_losses.py::test_every_deviation_is_named"
SB3 = Source("stable-baselines3", "2.9.2", "ppo/ppo.py, PPO.train, with clip_range_vf")
SKRL = Source("skrl", "2.1.1", "ppo.py, PPO.update, with clip_predicted_values")
CLEANRL = Source("CleanRL", "commit 2f4172e", "ppo.py: 0.5 * v_loss_max.mean(), then vf_coef 0.5")
REJAX = Source("rejax", "0.1.3", "algos/ppo.py, PPO.update_critic: 0.5 * …mean(), then vf_coef 0.5")
RLLIB = Source("Ray RLlib", "commit 04bef2a", "ppo_torch_learner.py: vf_loss clamped to [0, vf_clip_param]")
BOOK = Source("the book", "printed", "Algorithm 5.20, g_ψ = ∇_ψ Σ Â² (I-3)")
KERAS = Source(
    "Keras' example", "commit 0df30d7", "actor_critic_cartpole.py, issue 194; Huber's loss, summed"
)


class Clipped(NamedTuple):
    """The parts of a clipped value loss, [N] each."""

    plain: Array  # V − G
    clipped: Array  # V_clip − G
    within: Array  # whether V_clip moves with V
    clip: float


def _parts(values: Vector, targets: Vector, old_values: Vector, clip: float) -> Clipped:
    change = values - old_values
    clipped = old_values + np.clip(change, -clip, clip) - targets
    return Clipped(values - targets, clipped, np.abs(change) <= clip, clip)


def _loss(terms: Callable[[Clipped], Array]) -> Callable[..., Any]:
    return lambda **inputs: terms(_parts(**inputs)).mean()


def _grad(slopes: Callable[[Clipped], Array]) -> Callable[..., Any]:
    return lambda **inputs: 2 * slopes(_parts(**inputs)) / len(inputs["values"])


def _larger(p: Clipped) -> Array:
    return np.asarray(np.maximum(p.plain**2, p.clipped**2))


def _larger_slope(p: Clipped) -> Array:
    return np.where(p.plain**2 >= p.clipped**2, p.plain, p.within * p.clipped)


def _huber_slope(errors: Array) -> Array:
    return np.asarray(np.clip(errors, -1, 1))


def _huber(values: Vector, targets: Vector) -> float:
    errors = np.abs(values - targets)
    return float(np.where(errors <= 1, errors**2 / 2, errors - 0.5).mean())


def _all_pairs(values: Vector, targets: Vector) -> float:
    return float(((values[:, None] - targets) ** 2).mean())


def _all_pairs_grad(values: Vector, targets: Vector) -> Array:
    return np.asarray(2 * (values - targets.mean()) / len(values))


class Td(NamedTuple):
    """The parts of a TD loss."""

    errors: Vector  # Â [N]
    here: Array  # [N, S] ∇V(S)
    ahead: Array  # [N, S] γ∇V(S′), 0 where the episode terminated


def _td(
    table: Vector, states: Array, rewards: Vector, next_states: Array, terminated: Array, discount: float
) -> Td:
    every = np.eye(len(table))
    ahead = discount * every[next_states] * ~terminated[:, None]
    return Td(rewards + ahead @ table - table[states], every[states], ahead)


def _td_grad(gradient: Callable[[Td], Array]) -> Callable[..., Any]:
    return lambda **inputs: gradient(_td(**inputs))


def _bootstrapped(**inputs: Any) -> Array:
    never = np.zeros_like(inputs["terminated"])
    errors, here, _ = _td(**{**inputs, "terminated": never})
    return np.asarray(-2 * errors @ here)


def _deviation(
    component: str, name: str, summary: str, function: Callable[..., Any], cost: str, *sources: Source
) -> Deviation:
    return Deviation(name, component, summary, function, sources or SLIP, cost, TEST)


def _v(*row: Any) -> Deviation:
    return _deviation("value_loss", *row)


def _vg(*row: Any) -> Deviation:
    return _deviation("value_loss_grad", *row)


def _c(*row: Any) -> Deviation:
    return _deviation("clipped_value_loss", *row)


def _cg(*row: Any) -> Deviation:
    return _deviation("clipped_value_loss_grad", *row)


def _t(*row: Any) -> Deviation:
    return _deviation("td_loss_grad", *row)


def _ac(*row: Any) -> Deviation:
    return _deviation("actor_critic_loss_grad", *row)


# summaries and costs that several components share
HALF, HALF_COST = "has a factor ½", "half the value coefficient that is written down"
TWICE = "has the factor ½ twice, in the loss and as its coefficient"
TWICE_COST = "a quarter of the mean square: a coefficient of 0.5 acts as 0.25"
SUM, SUM_COST = "adds up where the mean is due", "a step N times as long"
PAIRS = "subtracts [N] from [N, 1] and averages over all N² pairs"
PAIRS_COST = "every value is drawn to the mean of all targets"
HUBER, HUBER_COST = "is Huber's loss", "a median in place of a mean where errors exceed 1: V is not E[G]"
ONLY = "leaves the maximum out and uses the clipped value alone"
ONLY_COST = "a value that has moved by more than ε has gradient 0, even if it moved away from its target"
LEAST, LEAST_COST = "takes the minimum where the maximum is due", "no gradient once a value has moved by ε"
CAPPED = "clips the squared error at ε"
CAPPED_COST = "gradient 0 for every error above √ε: a critic far from its targets never learns"
FREE, FREE_COST = "does not clip", "none but larger steps of the critic"

# fmt: off
VALUE_LOSS = (
    _v("half", HALF, lambda values, targets: ((values - targets) ** 2).mean() / 2, HALF_COST),
    _v("half_twice", TWICE, lambda values, targets: ((values - targets) ** 2).mean() / 4, TWICE_COST,
       CLEANRL, REJAX),
    _v("sum", SUM, lambda values, targets: ((values - targets) ** 2).sum(), SUM_COST),
    _v("all_pairs", PAIRS, _all_pairs, PAIRS_COST),
    _v("huber", HUBER, _huber, HUBER_COST),
    _v("absolute", "averages |V − G|", lambda values, targets: np.abs(values - targets).mean(),
       "the fixed point is a median, not E[G]"),
)
VALUE_LOSS_GRAD = (
    _vg("half", HALF, lambda values, targets: (values - targets) / len(values), HALF_COST),
    _vg("half_twice", TWICE, lambda values, targets: (values - targets) / len(values) / 2, TWICE_COST,
        CLEANRL, REJAX),
    _vg("sum", SUM, lambda values, targets: 2 * (values - targets), SUM_COST),
    _vg("all_pairs", PAIRS, _all_pairs_grad, PAIRS_COST),
    _vg("huber", HUBER, lambda values, targets: _huber_slope(values - targets) / len(values), HUBER_COST),
    _vg("absolute", "differentiates |V − G|", lambda values, targets: np.sign(values - targets) / len(values),
        "the fixed point is a median, not E[G]"),
)
CLIPPED_VALUE_LOSS = (
    _c("clipped_only", ONLY, _loss(lambda p: p.clipped**2), ONLY_COST, SB3, SKRL),
    _c("minimum", LEAST, _loss(lambda p: np.minimum(p.plain**2, p.clipped**2)), LEAST_COST),
    _c("half", HALF, _loss(lambda p: _larger(p) / 2), HALF_COST),
    _c("half_twice", TWICE, _loss(lambda p: _larger(p) / 4), TWICE_COST, CLEANRL, REJAX),
    _c("unclipped", FREE, _loss(lambda p: p.plain**2), FREE_COST),
    _c("squared_error_clipped", CAPPED, _loss(lambda p: np.minimum(p.plain**2, p.clip)), CAPPED_COST, RLLIB),
)
CLIPPED_VALUE_LOSS_GRAD = (
    _cg("clipped_only", ONLY, _grad(lambda p: p.within * p.clipped), ONLY_COST, SB3, SKRL),
    _cg("minimum", LEAST,
        _grad(lambda p: np.where(p.plain**2 <= p.clipped**2, p.plain, p.within * p.clipped)), LEAST_COST),
    _cg("half", HALF, _grad(lambda p: _larger_slope(p) / 2), HALF_COST),
    _cg("half_twice", TWICE, _grad(lambda p: _larger_slope(p) / 4), TWICE_COST, CLEANRL, REJAX),
    _cg("unclipped", FREE, _grad(lambda p: p.plain), FREE_COST),
    _cg("squared_error_clipped", CAPPED, _grad(lambda p: (p.plain**2 < p.clip) * p.plain), CAPPED_COST,
        RLLIB),
)
TD_LOSS_GRAD = (
    _t("through_the_target", "differentiates the target R + γV(S′) as well: the residual gradient",
       _td_grad(lambda p: 2 * p.errors @ (p.ahead - p.here)),
       "another fixed point: not V^π unless the environment is deterministic", BOOK),
    _t("half", "has no factor 2", _td_grad(lambda p: -p.errors @ p.here), "half the step"),
    _t("mean", "averages over the samples where the book adds up",
       _td_grad(lambda p: -2 * p.errors @ p.here / len(p.errors)), "a step 1/N times as long"),
    _t("target_only", "differentiates the target and not V(S)", _td_grad(lambda p: 2 * p.errors @ p.ahead),
       "values run away from their targets"),
    _t("end_bootstrapped", "bootstraps from V of a terminal state", _bootstrapped,
       "the value of a terminal state, which nothing trains, leaks into all others"),
)
ACTOR_CRITIC_LOSS_GRAD = (
    _ac("advantage_not_detached", "lets the actor's loss reach V through the advantage",
        lambda values, log_probs, targets: 2 * (values - targets) + log_probs,
        "V is shifted by −log π/2: by ln(K)/2 above its target for K equally likely actions"),
    _ac("advantage_not_detached_huber", "lets the actor's loss reach V, and is Huber's loss",
        lambda values, log_probs, targets: _huber_slope(values - targets) + log_probs,
        "where −log π > 1 no value balances it: V grows without limit", KERAS),
    _ac("huber", HUBER, lambda values, log_probs, targets: _huber_slope(values - targets), HUBER_COST),
    _ac("half", HALF, lambda values, log_probs, targets: values - targets, HALF_COST),
    _ac("mean", "averages over the samples where the book adds up",
        lambda values, log_probs, targets: 2 * (values - targets) / len(values), "a step 1/N times as long"),
)
