"""What is computed in place of the losses of policies, by whom, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pgref.arrays import Array, Matrix, Vector
from pgref.oracle.deviation import SLIP, Deviation, Source
from pgref.special import softmax

TEST = "tests/test_oracle_losses.py::test_every_deviation_is_named"
SB3_A2C = Source("stable-baselines3", "2.9.2", "a2c/a2c.py, A2C.train: -(advantages * log_prob).mean()")
TAKUSENO = Source("takuseno/ppo", "before commit a4fbd38", "build_graph.py, reported as issue 3")
DPPO = Source("alexis-jacq/Pytorch-DPPO", "issue 3", "ppo.py clamps surr1, not the ratio")


def mean(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of N samples divided by N."""
    return lambda **inputs: function(**inputs) / len(inputs["advantages"])


def total(component: str, function: Callable[..., Any]) -> Deviation:
    """Return the deviation of a sum where a mean is due."""
    return _deviation(
        component, "sum", "adds up where the mean is due", function, "a step N times as long, or its variance"
    )


def _probability(log_probs: Vector, advantages: Vector) -> float:
    return float(-np.exp(log_probs) @ advantages)


def _mean_of_each(log_probs: Vector, advantages: Vector) -> float:
    return float(-log_probs.mean() * advantages.sum())


def _loss(log_probs: Vector, advantages: Vector) -> float:
    return float(-log_probs @ advantages)


def _score(z: Matrix, actions: Vector) -> Array:
    """Return ∇_z log π(a) [N, K]."""
    return np.asarray(np.eye(z.shape[1])[actions] - softmax(z))


def _grad(logits: Matrix, actions: Vector, advantages: Vector) -> Array:
    return -_score(logits, actions) * advantages[:, None]


def _grad_of_probability(logits: Matrix, actions: Vector, advantages: Vector) -> Array:
    chosen = softmax(logits)[np.arange(len(actions)), actions]
    return _grad(logits, actions, advantages * chosen)


def _probabilities_as_logits(logits: Matrix, actions: Vector, advantages: Vector) -> Array:
    p = softmax(logits)
    outer = _grad(p, actions, advantages)  # the chain rule through p: (diag p − ppᵀ) times it
    return np.asarray(p * (outer - (p * outer).sum(-1, keepdims=True)))


def _chosen_only(logits: Matrix, actions: Vector, advantages: Vector) -> Array:
    return -np.eye(logits.shape[1])[actions] * advantages[:, None]


def _squared(logits: Matrix, actions: Vector, advantages: Vector) -> Array:
    return _grad(logits, actions, np.abs(advantages))


class _Ppo:
    """The parts of PPO's loss."""

    def __init__(self, log_probs: Vector, old_log_probs: Vector, advantages: Vector, clip: float) -> None:
        self.log_ratio, self.advantages, self.clip = log_probs - old_log_probs, advantages, clip
        self.ratio = np.exp(self.log_ratio)
        self.plain, self.edge = self.ratio * advantages, self.clipped(self.ratio) * advantages

    def clipped(self, x: Array) -> Array:
        return np.asarray(np.clip(x, 1 - self.clip, 1 + self.clip))

    def within(self) -> Array:
        return np.asarray(self.clipped(self.ratio) == self.ratio)


def _ppo(terms: Callable[[_Ppo], Array]) -> Callable[..., Any]:
    """Return minus the mean of the terms [N]."""
    return lambda **inputs: -terms(_Ppo(**inputs)).mean()


def _ppo_grad(weights: Callable[[_Ppo], Array]) -> Callable[..., Any]:
    """Return minus the weights [N] of the ∇log π, over N."""
    return lambda **inputs: -weights(_Ppo(**inputs)) / len(inputs["advantages"])


def _inverted(p: _Ppo) -> Array:
    ratio = np.exp(-p.log_ratio)
    return np.asarray(np.minimum(ratio * p.advantages, p.clipped(ratio) * p.advantages))


def _clipped_product(p: _Ppo) -> Array:
    return np.asarray(np.minimum(p.plain, p.clipped(p.plain)))


def _not_exponentiated(p: _Ppo) -> Array:
    return np.asarray(np.minimum(p.log_ratio * p.advantages, p.clipped(p.log_ratio) * p.advantages))


def _around_zero(p: _Ppo) -> Array:
    return np.asarray(np.minimum(p.plain, np.clip(p.ratio, -p.clip, p.clip) * p.advantages))


def _deviation(
    component: str, name: str, summary: str, function: Callable[..., Any], cost: str, *sources: Source
) -> Deviation:
    return Deviation(name, component, summary, function, sources or SLIP, cost, TEST)


def _pg(*row: Any) -> Deviation:
    return _deviation("policy_gradient_loss", *row)


def _pg_grad(*row: Any) -> Deviation:
    return _deviation("policy_gradient_loss_grad", *row)


def _clip(*row: Any) -> Deviation:
    return _deviation("ppo_loss", *row)


def _clip_grad(*row: Any) -> Deviation:
    return _deviation("ppo_loss_grad", *row)


# summaries and costs that several components share
MEAN = "averages over the samples where the book adds up"
MEAN_COST = "a step 1/N times as long, which the step size absorbs"
SUM, SUM_COST = "adds up where the mean is due", "a step N times as long"
NO_MIN = "clips the ratio and leaves the minimum out"
NO_MIN_COST = "a sample that has moved the wrong way beyond the clip has gradient 0 and stays there"
NO_CLIP, NO_CLIP_COST = "does not clip", "nothing keeps the policy near the old one"
FIRST = "takes the minimum of the ratios before it multiplies by Â"
FIRST_COST = "with Â < 0 the ratio may fall without limit, and above 1 + ε its gradient is lost"
MAXIMUM, MAXIMUM_COST = (
    "takes the maximum where the minimum is due",
    "an upper bound: no clip where there should be one",
)

# fmt: off
POLICY_GRADIENT_LOSS = (
    _pg("mean", MEAN, mean(_loss), MEAN_COST, SB3_A2C),
    _pg("probability_for_log", "weights π in place of log π", _probability,
        "its gradient is π times too small: rare actions hardly learn"),
    _pg("mean_of_each", "multiplies the mean of log π by the sum of Â", _mean_of_each,
        "no action is told from another: all get the same credit"),
)
POLICY_GRADIENT_LOSS_GRAD = (
    _pg_grad("mean", MEAN, mean(_grad), MEAN_COST, SB3_A2C),
    _pg_grad("probability_for_log", "differentiates π in place of log π", _grad_of_probability,
             "π times too small: rare actions hardly learn"),
    _pg_grad("probabilities_as_logits", "applies the softmax to probabilities", _probabilities_as_logits,
             "no action can get a probability above e/(e + K − 1), and gradients vanish long before"),
    _pg_grad("chosen_only", "differentiates z_a and forgets the normaliser", _chosen_only,
             "a bias of Σ Â π: logits grow without limit"),
    _pg_grad("absolute_advantage", "weights by |Â|", _squared, "bad actions are reinforced like good ones"),
)
PPO_LOSS = (
    _clip("sum", SUM, _ppo(lambda p: len(p.plain) * np.minimum(p.plain, p.edge)), SUM_COST),
    _clip("clipped_only", NO_MIN, _ppo(lambda p: p.edge), NO_MIN_COST),
    _clip("unclipped", NO_CLIP, _ppo(lambda p: p.plain), NO_CLIP_COST),
    _clip("minimum_before_advantage", FIRST,
          _ppo(lambda p: np.minimum(p.ratio, p.clipped(p.ratio)) * p.advantages), FIRST_COST, TAKUSENO),
    _clip("maximum", MAXIMUM, _ppo(lambda p: np.maximum(p.plain, p.edge)), MAXIMUM_COST),
    _clip("clipped_product", "clips r Â to 1 ± ε in place of r", _ppo(_clipped_product),
          "the size of Â decides what is clipped: r Â > 1 + ε gets no gradient", DPPO),
    _clip("ratio_inverted", "divides π_old by π", _ppo(_inverted), "goes downhill until the clip stops it"),
    _clip("log_ratio", "forgets the exponential of the log-ratio", _ppo(_not_exponentiated),
          "all samples start below the clip: those with Â < 0 get no gradient"),
    _clip("clip_around_zero", "clips to ±ε in place of 1 ± ε", _ppo(_around_zero),
          "samples with Â > 0 get no gradient"),
)
PPO_LOSS_GRAD = (
    _clip_grad("sum", SUM,
               _ppo_grad(lambda p: len(p.plain) * np.where(p.plain > p.edge, 0, p.plain)), SUM_COST),
    _clip_grad("clipped_only", NO_MIN, _ppo_grad(lambda p: p.within() * p.plain), NO_MIN_COST),
    _clip_grad("unclipped", NO_CLIP, _ppo_grad(lambda p: p.plain), NO_CLIP_COST),
    _clip_grad("minimum_before_advantage", FIRST,
               _ppo_grad(lambda p: (p.ratio <= 1 + p.clip) * p.plain), FIRST_COST, TAKUSENO),
    _clip_grad("maximum", MAXIMUM, _ppo_grad(lambda p: np.where(p.plain < p.edge, 0, p.plain)), MAXIMUM_COST),
    _clip_grad("ratio_forgotten", "weights by Â in place of r Â",
               _ppo_grad(lambda p: np.where(p.plain > p.edge, 0, p.advantages)),
               "no importance weight: biased from the second pass over a batch on"),
    _clip_grad("clipped_weight", "passes the gradient through the clip, with the clipped ratio as its weight",
               _ppo_grad(lambda p: np.minimum(p.plain, p.edge)), "the clip only limits the step's length"),
)
