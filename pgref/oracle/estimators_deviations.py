"""What is estimated in place of the policy gradient, its exact mean, by whom, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from pgref.arrays import Array, Matrix, Vector
from pgref.categorical import Categorical
from pgref.checks.draws import trajectories
from pgref.exact import policy_matrix
from pgref.mdp import TabularMDP
from pgref.networks import Table
from pgref.oracle.deviation import SLIP, Deviation, Source
from pgref.policy import Policy

TEST = "tests/test_oracle_estimators.py::test_every_deviation_is_named"
BOOK = Source("the book", "printed", "(5.15), without the γ^t of (5.28) (I-10)")
SB3 = Source("stable-baselines3", "2.9.2", "a2c/a2c.py, A2C.train: -(advantages * log_prob).mean()")
PYTORCH = Source(
    "PyTorch's examples", "commit 19f8d5a", "reinforcement_learning/reinforce.py, finish_episode"
)
TINY = float(np.finfo(np.float32).eps)


class Episode(NamedTuple):
    """What an estimator is given of one episode."""

    states: Vector  # [T] int64
    actions: Vector  # [T] int64
    rewards: Vector  # [T]
    values: Vector  # [S] a critic's
    discount: float

    @property
    def powers(self) -> Vector:
        """γ^t, [T]."""
        return np.asarray(self.discount ** np.arange(len(self.rewards)))

    @property
    def returns(self) -> Vector:
        """G_t, [T]."""
        return to_go(self.rewards, self.discount)

    @property
    def baseline(self) -> Vector:
        """V(S_t), [T]."""
        return np.asarray(self.values[self.states])


Weights: TypeAlias = Callable[[Episode], Array]


def mdp_of(transitions: Array, rewards: Matrix, start: Vector, discount: float) -> TabularMDP:
    """Return the MDP of a check's inputs."""
    return TabularMDP(transitions, rewards, start, discount)


def policy_of(theta: Matrix) -> Policy:
    """Return the softmax policy whose table θ [S, A] is."""
    return Policy(Table(*theta.shape), Categorical())


def episodes(transitions: Array, start: Vector, theta: Matrix) -> tuple[Vector, list[tuple[Vector, Vector]]]:
    """Return the probabilities [N] and the states and actions [T] of all N episodes, of S steps at most."""
    mdp = mdp_of(transitions, np.zeros(theta.shape), start, 1.0)
    pi = policy_matrix(mdp, policy_of(theta), theta.ravel())
    found = list(trajectories(mdp, pi, mdp.n_states))
    return np.array([chance for chance, *_ in found]), [(states, actions) for _, states, actions, _ in found]


def to_go(rewards: Vector, discount: float) -> Vector:
    """Return G_t = Σ_{k≥t} γ^{k−t} R_k, [T]."""
    total, after = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        after = total[t] = rewards[t] + discount * after
    return total


def right(e: Episode) -> Array:
    """Return γ^t G_t, the weights of an unbiased estimate."""
    return np.asarray(e.powers * e.returns)


def _before(x: Vector) -> Array:
    return np.append(0.0, x[:-1])


def _after(x: Vector) -> Array:
    return np.append(x[1:], 0.0)


def _advantage(e: Episode) -> Array:
    return np.asarray(e.returns - e.baseline)


def _td_error(e: Episode) -> Array:
    return np.asarray(e.rewards + e.discount * _after(e.baseline) - e.baseline)


def _last_dropped(e: Episode) -> Array:
    kept = np.append(e.rewards[:-1], 0.0)
    return np.asarray(e.powers * to_go(kept, e.discount))


def _standardised(ddof: int, epsilon: float) -> Weights:
    def weights(e: Episode) -> Array:
        g = e.returns
        spread = g.std(ddof=ddof) if len(g) > ddof else np.nan
        return np.asarray((g - g.mean()) / (spread + epsilon))

    return weights


def _log_prob_gradient(pi: Matrix, actions: Vector) -> Array:
    return np.asarray(np.eye(pi.shape[1])[actions] - pi)


def _logit_gradient(pi: Matrix, actions: Vector) -> Array:
    return np.eye(pi.shape[1])[actions]


def _probability_gradient(pi: Matrix, actions: Vector) -> Array:
    return np.asarray(pi[np.arange(len(pi)), actions, None] * _log_prob_gradient(pi, actions))


def mean_of(
    weights: Weights, gradient: Callable[[Matrix, Vector], Array] = _log_prob_gradient
) -> Callable[..., Array]:
    """Return the inputs ↦ E_τ[Σ_t w_t ∇log π(A_t|S_t)], [S, A]; `gradient` may stand in place of ∇log π."""

    def mean(
        transitions: Array, rewards: Matrix, start: Vector, theta: Matrix, values: Vector, discount: float
    ) -> Array:
        mdp = mdp_of(transitions, rewards, start, discount)
        pi, total = policy_matrix(mdp, policy_of(theta), theta.ravel()), np.zeros(theta.shape)
        for chance, (s, a) in zip(*episodes(transitions, start, theta), strict=True):
            w = weights(Episode(s, a, rewards[s, a], values, discount))
            np.add.at(total, s, chance * w[:, None] * gradient(pi[s], a))
        return total

    return mean


def _row(
    name: str,
    summary: str,
    weights: Weights,
    cost: str,
    *sources: Source,
    gradient: Callable[[Matrix, Vector], Array] = _log_prob_gradient,
) -> Deviation:
    function = mean_of(weights, gradient)
    return Deviation(name, "policy_gradient_estimator", summary, function, sources or SLIP, cost, TEST)


OTHER_OBJECTIVE = "late states count in full: the gradient of no objective unless γ = 1"
DEPENDS = "a bias: what is subtracted depends on the action, so that its mean with the score is not 0"
CREDIT = "a bias: an action is not credited with what it caused"

# fmt: off
ESTIMATORS = (
    _row("missing_discount", "leaves out the factor γ^t", lambda e: e.returns, OTHER_OBJECTIVE, BOOK),
    _row("missing_discount_mean", "leaves out the factor γ^t and averages over the steps in place of adding",
         lambda e: e.returns / len(e.rewards), OTHER_OBJECTIVE + "; short episodes count more", SB3),
    _row("mean_over_time", "averages over the steps of an episode in place of adding",
         lambda e: right(e) / len(e.rewards), "a bias towards short episodes"),
    _row("discounted_twice", "discounts from the start of the episode twice: γ^2t G_t, or γ^t G_0",
         lambda e: e.powers * right(e), "a bias: late states hardly count"),
    _row("no_discount", "leaves γ out everywhere", lambda e: to_go(e.rewards, 1.0),
         "the gradient of the undiscounted return"),
    _row("returns_not_discounted", "leaves γ out of the returns, not of the factor γ^t",
         lambda e: e.powers * to_go(e.rewards, 1.0), "a bias towards late rewards"),
    _row("immediate_reward", "credits an action with its own reward only",
         lambda e: e.powers * e.rewards, CREDIT),
    _row("own_reward_left_out", "credits an action with the rewards after its own only: γ^t(G_t − R_t)",
         lambda e: e.powers * (e.returns - e.rewards), DEPENDS),
    _row("return_of_next_step", "weighs step t by γ^t times the return from step t + 1",
         lambda e: e.powers * _after(e.returns), CREDIT),
    _row("reward_one_step_late", "gives step t the reward of step t − 1, and the first step 0",
         lambda e: e.powers * to_go(_before(e.rewards), e.discount),
         "every action is credited with what the one before it earned; the last reward is lost"),
    _row("last_reward_dropped", "drops the reward of the last step", _last_dropped,
         "nothing is learnt from what ends an episode: there may be no other reward"),
    _row("advantage_of_next_step", "weighs step t by the advantage G − V of step t + 1",
         lambda e: e.powers * _after(_advantage(e)), DEPENDS),
    _row("advantage_of_last_step", "weighs step t by the advantage G − V of step t − 1",
         lambda e: e.powers * _before(_advantage(e)), "a bias: the first action learns nothing"),
    _row("baseline_of_next_state", "subtracts V(S_{t+1}), which depends on the action, in place of V(S_t)",
         lambda e: e.powers * (e.returns - _after(e.baseline)), DEPENDS),
    _row("baseline_of_episode",
         "subtracts the mean of the returns of the episode, which depends on its actions",
         lambda e: e.powers * (e.returns - e.returns.mean()), DEPENDS),
    _row("baseline_of_episode_missing_discount",
         "leaves out the factor γ^t and subtracts the mean of the episode's own returns",
         lambda e: e.returns - e.returns.mean(), DEPENDS),
    _row("standardised_in_episode", "standardises the returns of each episode, and leaves out the factor γ^t",
         _standardised(1, TINY), DEPENDS + "; NaN for an episode of one step", PYTORCH),
    _row("standardised_in_episode_ddof_0",
         "standardises the returns of each episode with the divisor T, and leaves out the factor γ^t",
         _standardised(0, 1e-8), DEPENDS + "; an episode of one step counts 0"),
    _row("bootstrapped", "weighs by the TD error of a critic that is not V of this policy",
         lambda e: e.powers * _td_error(e), "a bias as large as the critic's error"),
    _row("bootstrapped_missing_discount",
         "leaves out γ^t and weighs by the TD error of a critic that is not V",
         _td_error, OTHER_OBJECTIVE + ", and a bias as large as the critic's error"),
    _row("logit_gradient", "takes the gradient of the logit θ[s, a] in place of log π", right,
         "a bias: without −π(a|s) nothing is subtracted from other actions", gradient=_logit_gradient),
    _row("probability_gradient", "takes the gradient of π in place of log π", right,
         "a bias: rare actions learn π times as fast", gradient=_probability_gradient),
)
