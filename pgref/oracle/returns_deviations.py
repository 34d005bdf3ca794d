"""What is computed in place of returns and advantages, by whom, and at what cost.

Most change one part of a sum or two; `sums` has the parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from pgref import estimates
from pgref.arrays import Array, Matrix, Vector
from pgref.oracle.deviation import SLIP, Deviation, Source
from pgref.oracle.sums import Change, Parts, changed_gae, changed_n_step, changed_returns, changed_td

TEST = "tests/test_oracle_returns.py::test_every_deviation_is_named"
SB3_OLD = Source(
    "stable-baselines3", "commit 3cf6e97", "issue 105: collects the current dones, GAE reads dones[t + 1]"
)
ROBOVERSE = Source("RoboVerse", "before pull request 814", "PPO: dones written again after the step")
TENSORLAYER = Source("TensorLayer", "commit 00fec54", "tutorial_TRPO.py: r is stored before env.step")
CLEANRL = Source("CleanRL", "commit 2f4172e", "ppo.py: dones, one flag for both ends")
REJAX = Source(
    "rejax", "0.1.3", "algos/ppo.py, PPO.calculate_gae: one flag; gymnax 0.0.9 sets it at a time limit"
)
GYMNASIUM = Source(
    "Gymnasium's A2C tutorial", "commit 3173a85", "vector_a2c.py, A2C.get_losses: range(T - 1)"
)
SIMPLE_PG = Source("Spinning Up", "commit 2092113", "1_simple_pg.py, with γ = 1: ep_ret for every step")


def _before(rows: Matrix) -> Array:
    """Return the rows, each in place of the next one, after a first row of zeros."""
    return np.append(np.zeros_like(rows[:1]), rows[:-1], axis=0)


def _after(rows: Matrix) -> Array:
    """Return the rows, each in place of the one before; the last one stays as well."""
    return np.append(rows[1:], rows[-1:], axis=0)


def _late_rewards(p: Parts) -> Parts:
    return p._replace(rewards=_before(p.rewards))


def _stored_before_the_step(p: Parts) -> Parts:
    """Give each step the reward before, an episode's first 0, and its last one as V of the terminal state."""
    ahead = np.where(p.alive, p.ahead, p.rewards)
    return p._replace(rewards=_before(p.rewards * p.on), ahead=ahead, alive=np.ones_like(p.alive))


def _cut_as_end(p: Parts) -> Parts:
    return p._replace(alive=p.alive & p.on)


def _across(p: Parts) -> Parts:
    return p._replace(on=np.ones_like(p.on))


def _from_reset(p: Parts) -> Parts:
    return p._replace(ahead=np.append(p.values[1:], p.ahead[-1:], axis=0))


def _cut_ignored(p: Parts) -> Parts:
    return _from_reset(p)._replace(on=p.alive)


def _done_of_next(p: Parts) -> Parts:
    return p._replace(alive=_after(p.alive), on=_after(p.on))


def _done_of_next_one_flag(p: Parts) -> Parts:
    return _done_of_next(_from_reset(_cut_as_end(p)))


def _done_of_last(p: Parts) -> Parts:
    return p._replace(alive=~_before(~p.alive), on=~_before(~p.on))


def _end_bootstrapped(p: Parts) -> Parts:
    return p._replace(alive=np.ones_like(p.alive))


def _last_unbootstrapped(p: Parts) -> Parts:
    return p._replace(ahead=np.append(p.ahead[:-1], 0 * p.ahead[-1:], axis=0))


def _no_bootstrap(p: Parts) -> Parts:
    return p._replace(alive=np.zeros_like(p.alive))


def _undiscounted(p: Parts) -> Parts:
    return p._replace(discount=1.0, carry=1.0)


def _added_values(function: Callable[..., Array]) -> Callable[..., Array]:
    def added(**inputs: Any) -> Array:
        return np.asarray(function(**inputs) + inputs["values"])

    return added


def _gae_without_last(**inputs: Any) -> Array:
    """Leave the last row at 0, take V(S_{t+1}) from the next row, and stop only at terminated steps."""
    shorter: dict[str, Any] = {k: v[:-1] if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    if not len(shorter["rewards"]):
        return np.zeros_like(inputs["rewards"])
    shorter["next_values"] = inputs["values"][1:]
    shorter["truncated"] = np.zeros_like(shorter["truncated"])
    return np.append(estimates.gae(**shorter), np.zeros_like(inputs["rewards"][:1]), axis=0)


def _whole_episode(
    rewards: Matrix, next_values: Matrix, terminated: Matrix, truncated: Matrix, discount: float
) -> Array:
    """Return the return of the episode's first step in the segment, for all of its steps."""
    total = estimates.returns_to_go(rewards, next_values, terminated, truncated, discount)
    ends = terminated | truncated
    for t in range(1, len(total)):
        total[t] = np.where(ends[t - 1], total[t], total[t - 1])
    return total


def _discounted_from_start(
    rewards: Matrix, next_values: Matrix, terminated: Matrix, truncated: Matrix, discount: float
) -> Array:
    """Return γᵗ G_t with t counted from the first row of the segment."""
    total = estimates.returns_to_go(rewards, next_values, terminated, truncated, discount)
    return np.asarray(discount ** np.arange(len(total))[:, None] * total)


def _full_power(
    rewards: Matrix, next_values: Matrix, terminated: Matrix, truncated: Matrix, discount: float, n: int
) -> Array:
    """Return n-step returns that discount V by γⁿ where fewer steps were left."""
    zeros = np.zeros_like(rewards)
    no_values = estimates.n_step_returns(rewards, zeros, terminated, truncated, discount, n)
    steps = estimates.n_step_returns(np.ones_like(rewards), zeros, terminated, truncated, 1.0, n)
    plain = estimates.n_step_returns(rewards, next_values, terminated, truncated, discount, n)
    return np.asarray(no_values + (plain - no_values) * discount ** (n - steps))


def _standardised(ddof: int, epsilon: float) -> Callable[..., Array]:
    def standardised(advantages: Vector) -> Array:
        return np.asarray((advantages - advantages.mean()) / (advantages.std(ddof=ddof) + epsilon))

    return standardised


def _divided_by_variance(advantages: Vector) -> Array:
    return np.asarray((advantages - advantages.mean()) / (advantages.var() + 1e-8))


def _not_centred(advantages: Vector) -> Array:
    return np.asarray(advantages / (advantages.std() + 1e-8))


def _mean_over_std(advantages: Vector) -> Array:
    return np.asarray(advantages - advantages.mean() / (advantages.std(ddof=1) + 1e-5))


Row: TypeAlias = Callable[..., Deviation]


def _changing(component: str, compose: Callable[[Change], Callable[..., Array]]) -> Row:
    """Return what makes a deviation of a changed sum: name, summary, change, cost, sources."""

    def row(name: str, summary: str, change: Change, cost: str, *sources: Source) -> Deviation:
        function = compose(change)
        return Deviation(name, component, summary, function, sources or SLIP, cost, TEST, change=change)

    return row


def _other(component: str) -> Row:
    """Return what makes any other deviation: name, summary, function, cost, sources."""

    def row(
        name: str, summary: str, function: Callable[..., Array], cost: str, *sources: Source
    ) -> Deviation:
        return Deviation(name, component, summary, function, sources or SLIP, cost, TEST)

    return row


_td, _td_other = _changing("td_errors", changed_td), _other("td_errors")
_gae, _gae_other = _changing("gae", changed_gae), _other("gae")
_go, _go_other = _changing("returns_to_go", changed_returns), _other("returns_to_go")
_n, _n_other = _changing("n_step_returns", changed_n_step), _other("n_step_returns")
_norm = _other("normalise_advantages")


# summaries and costs that several components share
LATE = "gives step t the reward of step t − 1"
LATE_COST = "every action is credited with what the one before it earned; the last reward is lost"
STORED = "gives step t the reward of step t − 1, an episode's first step 0 and V(terminal) its last reward"
STORED_COST = "every action is credited with what the one before it earned"
AS_END = "treats a truncated episode as terminated"
AS_END_COST = "a bias of −γV(S′) at every time limit: states near it look worthless"
UNMASKED = "bootstraps from V of a terminal state"
UNMASKED_COST = "ending an episode pays γ times a value that nobody will ever earn"
LEAKS = "lets the sum run on into the next episode"
LEAKS_COST = "the rewards of the next episode are credited to this one"
NO_V = "never bootstraps"
NO_V_COST = "what follows a cut counts as 0: a bias that grows as γ → 1"

# fmt: off
TD_ERRORS = (
    _td("reward_one_step_late", LATE, _late_rewards, LATE_COST),
    _td("end_bootstrapped", UNMASKED, _end_bootstrapped, UNMASKED_COST),
    _td("next_value_after_reset", "takes V(S_{t+1}) from the next row even where an episode ended",
        lambda p: _from_reset(_end_bootstrapped(p)), UNMASKED_COST),
    _td("discount_forgotten", "leaves γ out", lambda p: p._replace(discount=1.0),
        "a bias of (1 − γ)V(S′), and no contraction"),
    _td_other("value_forgotten", "returns the target, without −V(S_t)", _added_values(estimates.td_errors),
        "no bias of a policy gradient, and a larger variance"),
    _td("done_one_step_late", "masks step t with the flag of step t + 1", _done_of_next,
        "the last step of an episode bootstraps, the one before it does not"),
)
GAE = (
    _gae("done_one_step_late", "masks step t with the flags of step t + 1", _done_of_next,
         "the last step of an episode bootstraps and is joined to the next one, the step before it does not"),
    _gae("done_one_step_late_one_flag",
         "masks step t with the done flag of step t + 1, and takes V(S_{t+1}) from the next row",
         _done_of_next_one_flag,
         "the last step of an episode earns γV of a new episode's start, the one before it is cut off",
         SB3_OLD, ROBOVERSE),
    _gae("done_one_step_early", "masks step t with the flags of step t − 1", _done_of_last,
         "the last step of an episode is joined to the next episode, whose first step is cut off"),
    _gae("truncation_as_termination", AS_END, _cut_as_end, AS_END_COST, CLEANRL, REJAX),
    _gae("next_value_after_reset", "bootstraps a truncated step from V of the next row, after the reset",
         _from_reset, "a bias of γ(V(start) − V(S′)) at every time limit"),
    _gae("truncation_ignored", "goes on through a truncated step, into the next episode",
         _cut_ignored, LEAKS_COST, Source("skrl", "2.1.1", "compute_gae without time_limit_bootstrap")),
    _gae_other("last_step_left_out", "leaves the last step at 0 and goes on through truncated steps",
         _gae_without_last, "nothing is learnt from a segment's last step; all sums are shorter", GYMNASIUM),
    _gae("end_bootstrapped", UNMASKED, _end_bootstrapped, UNMASKED_COST),
    _gae("across_episodes", LEAKS, _across, LEAKS_COST),
    _gae("last_not_bootstrapped", "counts what follows the last step as 0", _last_unbootstrapped,
         NO_V_COST),
    _gae("reward_one_step_late", LATE, _late_rewards, LATE_COST),
    _gae("reward_stored_before_step", STORED, _stored_before_the_step, STORED_COST, TENSORLAYER),
    _gae("trace_forgotten", "leaves λ out", lambda p: p._replace(carry=p.discount),
         "the variance of λ = 1"),
    _gae("discount_forgotten_in_sum", "decays by λ alone, not by γλ",
         lambda p: p._replace(carry=p.trace),
         "a bias: the TD errors no longer telescope"),
    _gae_other("value_added", "returns Â + V, the λ-returns", _added_values(estimates.gae),
         "as an advantage: a baseline of 0 and its variance"),
)
RETURNS_TO_GO = (
    _go("truncation_as_termination", AS_END, _cut_as_end, AS_END_COST, CLEANRL),
    _go("no_bootstrap", NO_V, _no_bootstrap, NO_V_COST,
        Source("tianshou", "2.0.1", "reinforce.py, DiscountedReturnComputation")),
    _go("end_bootstrapped", UNMASKED, _end_bootstrapped, UNMASKED_COST),
    _go("across_episodes", LEAKS, _across, LEAKS_COST),
    _go("reward_one_step_late", LATE, _late_rewards, LATE_COST),
    _go("reward_stored_before_step", STORED, _stored_before_the_step, STORED_COST,
        TENSORLAYER),
    _go("discount_forgotten", "leaves γ out", _undiscounted, "another objective: γ = 1"),
    _go_other("whole_episode", "gives every step the return of its whole episode", _whole_episode,
        "no bias of an undiscounted policy gradient, and the variance of all earlier rewards", SIMPLE_PG),
    _go_other("discounted_from_start", "multiplies G_t by γᵗ", _discounted_from_start,
        "as a weight of ∇log π this is (5.28); as a target of V it is wrong"),
)
N_STEP_RETURNS = (
    _n_other("one_step_more", "runs over n + 1 steps", changed_n_step(lambda p: p, 1), "none but another n"),
    _n("truncation_as_termination", AS_END, _cut_as_end, AS_END_COST),
    _n("no_bootstrap", NO_V, _no_bootstrap, NO_V_COST),
    _n("end_bootstrapped", UNMASKED, _end_bootstrapped, UNMASKED_COST),
    _n("across_episodes", LEAKS, _across, LEAKS_COST),
    _n("reward_one_step_late", LATE, _late_rewards, LATE_COST),
    _n_other("discounted_by_n", "discounts V by γⁿ where fewer steps were left", _full_power,
       "V counts too little at the end of episodes and segments"),
)
NORMALISE_ADVANTAGES = (
    _norm("ddof_1_epsilon", "divides by the standard deviation with N − 1, plus 1e-8", _standardised(1, 1e-8),
          "a step √((N − 1)/N) as long, 0.8 % shorter at N = 64",
          Source("stable-baselines3", "2.9.2", "ppo/ppo.py, PPO.train; torch's std has ddof 1"),
          Source("sb3-contrib", "2.9.2", "trpo/trpo.py, TRPO.train"),
          Source("CleanRL", "commit 2f4172e", "ppo.py"), Source("tianshou", "2.0.1", "ppo.py"),
          Source("skrl", "2.1.1", "ppo.py, compute_gae")),
    _norm("ddof_1", "divides by the standard deviation with N − 1", _standardised(1, 0.0),
          "a step √((N − 1)/N) as long; NaN for equal advantages"),
    _norm("epsilon", "adds 1e-8 to the standard deviation", _standardised(0, 1e-8),
          "smaller steps where advantages differ by little more than 1e-8",
          Source("rejax", "0.1.3", "algos/ppo.py, PPO.update_actor; jax.numpy's std has ddof 0")),
    _norm("unguarded", "divides by a standard deviation that may be 0", _standardised(0, 0.0),
          "NaN parameters after a batch of equal advantages",
          Source("Spinning Up", "commit 2092113", "ppo.py, PPOBuffer.get")),
    _norm("variance", "divides by the variance", _divided_by_variance,
          "the step depends on the reward's scale"),
    _norm("not_centred", "does not subtract the mean", _not_centred, "a larger variance"),
    _norm("mean_over_std", "subtracts mean/std: the division comes first", _mean_over_std,
          "neither mean 0 nor standard deviation 1",
          Source("pytorch-cpp-rl", "issue 14", "ppo.cpp: advantages - advantages.mean() / (std + 1e-5)")),
)
