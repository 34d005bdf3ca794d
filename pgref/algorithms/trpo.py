"""Trust-region policy optimisation: max L_π(π′) s.t. mean KL(π ‖ π′) ≤ δ (5.26), solved as in (5.29).

g·Δ in place of L and ½ΔᵀHΔ in place of the KL give Δ = √(2δ / gᵀH⁻¹g) H⁻¹g; the line search then asks the
real L and the real KL, without which a step may overshoot by orders of magnitude.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref import natural, streams
from pgref.arrays import Vector, Workspace, count, non_negative, positive
from pgref.errors import ArgumentError
from pgref.knobs import knob, one_of
from pgref.learning import CriticFit, fit_critic, preferences, remaining
from pgref.objectives import score_step
from pgref.optimizers import AdamState, adam_init
from pgref.rollout import Episodes, Runner, collect, start
from pgref.samples import Samples, estimated
from pgref.task import Task, first_weights


def below_one(name: str, value: Any) -> float:
    """Return a number in (0, 1)."""
    if positive(name, value) >= 1:
        raise ArgumentError(f"{name} must be in (0, 1), got {value!r}")
    return float(value)


@dataclass(frozen=True, kw_only=True)
class Config(CriticFit):
    """Knobs of TRPO; as they stand, the text with the line search of the paper."""

    kl_limit: float = knob(0.01, positive, "δ of (5.26), a mean over the samples", unit="nats")
    solver: str = knob("cg", one_of("cg", "hessian"), "H⁻¹g by products with H, or from H written out")
    damping: float = knob(
        0.0, non_negative, "multiple of the identity added to H", source="Schulman et al. 2015"
    )
    products: int = knob(10, count, "most products with H that cg may spend", source="Schulman et al. 2015")
    shrink: float = knob(0.5, below_one, "factor from one try of the line search to the next")
    tries: int = knob(10, count, "most tries of the line search")


class State(NamedTuple):
    """Everything that the next update needs."""

    weights: Vector  # [P + Q] θ, then ψ
    critic: AdamState
    runner: Runner
    seed: int
    updates: int
    steps: int  # of all environments together


class Update(NamedTuple):
    """What an update did."""

    updates: int
    steps: int
    status: str  # of the line search: accepted, refused, no_step; or "degenerate_advantages": θ stays
    episodes: Episodes
    accepted: bool
    tries: int
    predicted: float  # g·Δ of the full step, in the units of the advantages
    improvement: float  # L of the step taken
    kl: float  # mean KL(old‖new) of the step taken, nats
    residual: float  # ‖g − Hx‖ of the solver
    solver: str  # the solver's own status
    entropy: float  # nats, before the step
    value_loss: float


class Report(NamedTuple):
    """What became of the policy: fields of `Update`."""

    status: str
    accepted: bool
    tries: int
    predicted: float
    improvement: float
    kl: float
    residual: float
    solver: str
    entropy: float


def init(task: Task, config: Config, rng: Any) -> State:
    """Return the state before the first update."""
    seed = streams.new_seed(rng)
    weights = first_weights(task, config, streams.stream(seed))
    critic = adam_init(task.split(weights)[1])
    return State(weights, critic, start(task.env, config.n_envs, seed, 0), seed, 0, 0)


@np.errstate(over="ignore", invalid="ignore")  # what overflows is found, and raised by name
def update(task: Task, config: Config, state: State, work: Workspace | None = None) -> tuple[State, Update]:
    """Act, solve (5.29), search the line, fit the critic; the state given stays as it was."""
    theta, psi = task.split(state.weights)
    rng = streams.stream(state.seed, state.updates)
    rollout, runner = collect(
        task.env, task.policy, theta, state.runner, config.n_steps, rng, **config.seen_as(), work=work
    )
    batch = estimated(task.critic, psi, rollout, config.discount, config.trace, work)
    advantages, degenerate = preferences(config.normalise_advantages, batch.advantages)
    batch = batch._replace(advantages=advantages)
    factor = remaining(config, state.steps)
    theta, report = policy_step(task, config, theta, batch, factor * config.kl_limit, work)
    psi, critic, loss = fit_critic(
        task.critic, psi, state.critic, batch.obs, batch.targets, config, rng, factor, work
    )
    updates, steps = state.updates + 1, state.steps + rollout.rewards.size
    after = State(np.concatenate([theta, psi]), critic, runner, state.seed, updates, steps)
    return after, Update(updates, steps, degenerate or report.status, rollout.episodes, *report[1:], loss)


def policy_step(
    task: Task, config: Config, theta: Vector, batch: Samples, kl_limit: float, work: Workspace | None = None
) -> tuple[Vector, Report]:
    """Return the θ that (5.29) and the line search lead to, or the very θ given, and the report."""
    advantages = batch.advantages / len(batch.advantages)
    apart = work and work.part("score")  # g outlives the Fisher products
    g, entropy = score_step(task.policy, theta, batch.obs, batch.actions, advantages, work=apart)  # (5.28)
    step, residual, how = solved(task, config, theta, batch, g, kl_limit, work)
    found = natural.line_search(
        measured(task, theta, batch, work),
        theta,
        step,
        kl_limit=kl_limit,
        shrink=config.shrink,
        max_tries=config.tries,
    )
    taken, accepted, tries, improvement, kl, status = found
    predicted = float(g @ step)
    return taken, Report(status, accepted, tries, predicted, improvement, kl, residual, how, entropy)


def solved(
    task: Task,
    config: Config,
    theta: Vector,
    batch: Samples,
    g: Vector,
    kl_limit: float,
    work: Workspace | None = None,
) -> tuple[Vector, float, str]:
    """Return Δ = √(2δ / x·Hx) x with Hx = g (5.29), ‖g − Hx‖, and the solver's status."""
    how: str
    if config.solver == "hessian":
        hessian = task.policy.kl_hessian(theta, batch.obs)
        hessian[np.diag_indices_from(hessian)] += config.damping
        x, _, residual, how = natural.dense_solve(hessian, g)

        def product(v: Vector) -> Vector:
            return np.asarray(hessian @ v)
    else:
        fisher = task.policy.fisher_product(theta, batch.obs, work=work)

        def product(v: Vector) -> Vector:
            return np.asarray(fisher(v) + config.damping * v)

        x, residual, _, how = natural.conjugate_gradient(product, g, max_products=config.products)
    return natural.natural_step(product, x, kl_limit=kl_limit), residual, how


def measured(
    task: Task, theta: Vector, batch: Samples, work: Workspace | None
) -> Callable[[Vector], tuple[float, float]]:
    """Return θ′ ↦ (L(θ′) − L(θ), mean KL(π_θ ‖ π_θ′)), what the line search asks: one forward pass each.

    L(θ′) − L(θ) is the mean of (r − 1)Â, with no cancellation where the ratio r is almost 1.
    """
    network, distribution = task.policy.network, task.policy.distribution
    z = network.linearize(theta, batch.obs, work and work.part("old")).value
    old = distribution.log_prob(z, batch.actions)

    def evaluate(candidate: Vector) -> tuple[float, float]:
        z_new = network.linearize(candidate, batch.obs, work and work.part("candidate")).value
        with np.errstate(over="ignore", invalid="ignore"):  # refused by the line search
            gained = np.expm1(distribution.log_prob(z_new, batch.actions) - old) * batch.advantages
            return float(gained.mean()), float(distribution.kl(z, z_new).mean())

    return evaluate
