"""What a complete system needs beyond the excerpt: PPO (Section 5.8), and what natural gradients promise."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np

from pgref import bounds, exact, mdp, natural, objectives
from pgref.arrays import Matrix, Vector
from pgref.categorical import Categorical
from pgref.checks.derivatives import complex_step_gradient, relative_error
from pgref.checks.draws import cases, gradient_of_j, small_mdp, table_case
from pgref.checks.finding import Finding, at_least, at_most, larger, smaller
from pgref.mdp import TabularMDP
from pgref.networks import MLP
from pgref.objectives import Batch
from pgref.policy import Policy


def ppo_objectives(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """PPO's clipped and KL-penalised objectives start out along the policy gradient (Section 5.8)."""
    start = above = value = 0.0
    errors = {objectives.clipped: 0.0, objectives.kl_penalised: 0.0}
    for _ in range(max(2, mdps // 20)):
        policy, theta, old, batch = _ppo_batch(rng)
        for f, grad in (
            (partial(objectives.clipped, clip=0.2), partial(objectives.clipped_grad, clip=0.2)),
            (
                partial(objectives.kl_penalised, theta_old=old, penalty=0.7),
                partial(objectives.kl_penalised_grad, theta_old=old, penalty=0.7),
            ),
        ):
            reference = complex_step_gradient(partial(f, policy, batch=batch), theta)
            error = relative_error(grad(policy, theta, batch), reference)
            errors[f.func] = larger(errors[f.func], error)
            g = policy.score_sum(old, batch.obs, batch.actions, batch.advantages / len(batch.advantages))
            start = larger(start, relative_error(grad(policy, old, batch), g))
        clipped = objectives.clipped(policy, theta, batch, clip=0.2)
        penalised = objectives.kl_penalised(policy, theta, batch, old, penalty=0.7)
        above = larger(above, clipped - objectives.surrogate(policy, theta, batch))
        value = larger(
            value, np.abs(np.array([clipped, penalised]) - _ppo_values(policy, theta, old, batch)).max()
        )
    penalties = [objectives.adapted_penalty(1.0, kl, 0.01) for kl in (0.001, 0.01, 0.1)]
    return [
        at_most("|∇ clipped − complex step| / |·|", errors[objectives.clipped], 1e-13),
        at_most("|∇ KL-penalised − complex step| / |·|", errors[objectives.kl_penalised], 1e-13),
        at_most("|either objective − its terms summed from π itself|", value, 1e-13),
        at_most("|either gradient − policy gradient| / |·| at θ = θ_old", start, 1e-13),
        at_most("clipped − surrogate: a lower bound", above, 1e-15),
        at_most(
            "|adapted β − (½, 1, 2)| for KL = d/10, d, 10d",
            np.abs(np.array(penalties) - [0.5, 1, 2]).max(),
            0,
        ),
    ]


def clip_is_flat(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """PPO's gradient is zero exactly where the clip is active, and elsewhere that of the surrogate."""
    active, inactive, n_active = 0.0, 0.0, 0
    for _ in range(max(2, mdps // 20)):
        policy, theta, _, batch = _ppo_batch(rng)
        for i in range(len(batch.actions)):
            one = Batch(*(column[i : i + 1] for column in batch))
            grad = objectives.clipped_grad(policy, theta, one, clip=0.2)
            ratio = math.exp(policy.log_prob(theta, one.obs, one.actions)[0] - one.old_log_probs[0])
            if ratio * np.sign(one.advantages[0]) > np.sign(one.advantages[0]) + 0.2:
                active, n_active = larger(active, np.abs(grad).max()), n_active + 1
            else:
                inactive = larger(
                    inactive, relative_error(grad, objectives.surrogate_grad(policy, theta, one))
                )
    return [
        at_most("|∇| of samples with an active clip", active, 0.0),
        at_least("such samples", n_active, 1),
        at_most("|∇ clipped − ∇ surrogate| of the others / |·|", inactive, 0.0),
    ]


def covariance(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Under θ = Bφ the natural gradient moves the policy as before, the plain gradient does not."""
    natural_error, plain, n = 0.0, 0.0, 0
    for case in cases(rng, max(4, mdps // 10), (0.5, 0.9)):
        rotation = np.linalg.qr(rng.standard_normal((len(case.theta),) * 2))[0]
        basis = rotation * np.exp(rng.uniform(-2, 2, len(case.theta)))  # condition at most e⁴
        h, g = exact.kl_hessian(*case.arguments), exact.policy_gradient(*case.arguments)
        if _gap_of(h) < 1e-4:
            continue  # the pseudo-inverse would have to guess the rank
        n += 1
        _, jvp, _ = case.policy.network.linearize(case.theta, case.obs)
        project = partial(_policy_change, exact.policy_matrix(*case.arguments))
        there = basis @ natural.dense_solve(basis.T @ h @ basis, basis.T @ g).x
        here = exact.natural_gradient(*case.arguments)
        natural_error = larger(natural_error, relative_error(project(jvp(there)), project(jvp(here))))
        plain = larger(plain, relative_error(project(jvp(basis @ (basis.T @ g))), project(jvp(g))))
    return [
        at_most("|dπ by B·(natural gradient in φ) − dπ by that in θ| / |·|", natural_error, 1e-8),
        at_least("|dπ by B·(gradient in φ) − dπ by that in θ| / |·|, most", plain, 0.05),
        at_least("policies compared", n, 1),
    ]


def npg_rate(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """NPG on a softmax table is π ∝ π exp(ηA/(1−γ)), with gap ≤ log|A|/(ηT) + 1/((1−γ)²T)."""
    used, update = 0.0, 0.0
    for _ in range(max(1, mdps // 50)):
        m = _unit_rewards(rng, small_mdp(rng, 0.9))
        step, n = 10.0 ** rng.uniform(-3, 1), 40
        policies = exact.npg_iterates(m, np.full((4, 3), 1 / 3), step, n)
        best = max(mdp.expected_return(m, pi) for pi in _deterministic(m))
        for t in range(1, n + 1):
            bound = math.log(3) / (step * t) + 1 / (0.1**2 * t)
            used = larger(used, (best - mdp.expected_return(m, policies[t])) / bound)
        # the same update through the pseudo-inverse, with H under (1 − γ)ρ
        theta = np.log(policies[0]).ravel()
        case = table_case(rng, m)._replace(theta=theta)
        x = natural.dense_solve(
            exact.kl_hessian(*case.arguments, normalised=True), exact.policy_gradient(*case.arguments)
        ).x
        moved = exact.policy_matrix(m, case.policy, theta + step * x)
        update = larger(update, np.abs(moved - policies[1]).max())
    return [
        at_most("(J* − J(π_T)) / (log|A|/(ηT) + 1/((1−γ)²T)), worst", used, 1.0),
        at_most("|θ + ηH⁺∇J − that update|", update, 1e-10),
    ]


def monotone_penalty(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Schulman's Algorithm 1, max L − C·max KL, never lowers J, and crawls."""
    worst, gained, optimal = math.inf, 0.0, 0.0
    for _ in range(max(1, min(4, mdps // 100))):
        m = small_mdp(rng, 0.9, states=3, actions=2)
        pi = rng.dirichlet(np.ones(2), 3)
        start, best = mdp.expected_return(m, pi), max(mdp.expected_return(m, p) for p in _deterministic(m))
        new = exact.penalty_step(m, pi)
        rise = mdp.expected_return(m, new) - start
        worst, gained = smaller(worst, rise / (best - start)), larger(gained, rise / (best - start))
        constant = 4 * np.abs(mdp.advantages(m, pi)).max() * 0.9 / 0.1**2

        def penalised(p: Matrix, m: TabularMDP = m, pi: Matrix = pi, constant: float = constant) -> float:
            return float(bounds.local_surrogate(m, p, pi) - constant * bounds.max_kl(pi, p))

        for share in (0.5, 0.9, 1.1, 1.5):
            other = np.maximum(pi + share * (new - pi), 0)
            beside = penalised(other / other.sum(1, keepdims=True)) - penalised(new)
            optimal = larger(optimal, beside / abs(penalised(new)))
    return [
        at_least("(J′ − J) / (J* − J) of a step, least: never down", worst, 0.0),
        at_most("(J′ − J) / (J* − J) of a step, most: it crawls", gained, 0.05),
        at_most("gain in the penalised objective beside the step / at the step", optimal, 1e-9),
    ]


def compatible_features(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Regressing A on ∇log π, weighed by ρπ, gives the natural gradient."""
    error, n = 0.0, 0
    for apart in cases(rng, max(4, mdps // 10), (0.5, 0.9)):
        case = apart._replace(obs=apart.obs[[0, 1, 0, 1]])  # states that look alike: no fit is perfect
        pi = exact.policy_matrix(*case.arguments)
        weights = np.sqrt(mdp.visitation(case.mdp, pi)[:, None] * pi).ravel()
        scores = np.stack(
            [
                case.policy.score_sum(case.theta, case.obs[[s]], np.array([a]), np.ones(1))
                for s, a in np.ndindex(*pi.shape)
            ]
        )
        if _gap_of(exact.kl_hessian(*case.arguments)) < 1e-4:
            continue  # the two would cut the rank at different places
        n += 1
        target = weights * mdp.advantages(case.mdp, pi).ravel()
        regression = np.linalg.lstsq(weights[:, None] * scores, target, rcond=1e-7)[0]
        error = larger(error, relative_error(regression, exact.natural_gradient(*case.arguments)))
    return [at_most("|regression − H⁺∇J| / |·|", error, 1e-8), at_least("policies compared", n, 1)]


def state_weighting(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """Weighing states without γ^t is right for γ = 1 alone; ρ sums to 1/(1−γ) where nothing terminates."""
    total = summed = same = 0.0
    off: list[float] = []
    for i in range(max(4, mdps // 4)):
        discount = (0.5, 0.9)[i % 2]
        case = table_case(rng, small_mdp(rng, discount))
        pi = exact.policy_matrix(*case.arguments)
        total = larger(total, abs(mdp.visitation(case.mdp, pi).sum() * (1 - discount) - 1))
        steps = exact.state_weights(case.mdp, pi, horizon=400)
        summed = larger(summed, relative_error(steps, mdp.visitation(case.mdp, pi)))
        ending = table_case(rng, small_mdp(rng, discount, ending=0.1))
        off.append(
            relative_error(exact.policy_gradient(*ending.arguments, discounted=False), gradient_of_j(ending))
        )
        undiscounted = table_case(rng, small_mdp(rng, 1.0, ending=0.1))
        g = exact.policy_gradient(*undiscounted.arguments, discounted=False)
        same = larger(same, relative_error(g, gradient_of_j(undiscounted)))
    return [
        at_most("|(1−γ) Σρ − 1|, nothing terminates", total, 1e-12),
        at_most("|ρ − Σ_t γ^t P(S_t)| / |ρ|, 400 steps", summed, 1e-12),
        at_most("|undiscounted weights: g − ∇J| / |∇J|, γ = 1", same, 1e-10),
        at_least("|undiscounted weights: g − ∇J| / |∇J|, γ < 1, median", float(np.median(off)), 0.05),
    ]


def _ppo_batch(rng: np.random.Generator) -> tuple[Policy, Vector, Vector, Batch]:
    policy = Policy(MLP((2, 4, 3)), Categorical())
    old, obs = policy.init(rng), rng.standard_normal((20, 2))
    actions = policy.sample(old, obs, rng)
    theta = old + 0.3 * rng.standard_normal(len(old))
    return (
        policy,
        theta,
        old,
        Batch(obs, actions, rng.standard_normal(20), policy.log_prob(old, obs, actions)),
    )


def _ppo_values(policy: Policy, theta: Vector, old: Vector, batch: Batch) -> Vector:
    """Return both objectives, ε = 0.2 and β = 0.7, from the probabilities of every action."""
    pi, new = policy.probabilities(old, batch.obs), policy.probabilities(theta, batch.obs)
    ratio = np.take_along_axis(new / pi, batch.actions[:, None], 1)[:, 0]
    clipped = np.minimum(ratio * batch.advantages, np.clip(ratio, 0.8, 1.2) * batch.advantages)
    penalised = ratio * batch.advantages - 0.7 * (pi * np.log(pi / new)).sum(1)
    return np.array([clipped.mean(), penalised.mean()])


def _policy_change(pi: Matrix, dz: Matrix) -> Matrix:
    """Return dπ = π(dz − Σ_a π dz), the change of a softmax policy that a change of its logits makes."""
    return np.asarray(pi * (dz - (pi * dz).sum(1, keepdims=True)))


def _gap_of(h: Matrix) -> float:
    """Return the smallest eigenvalue of H above rounding, relative to the largest."""
    values = np.linalg.eigvalsh(h) / np.linalg.norm(h, 2)
    return float(values[values > 1e-12].min())


def _deterministic(m: TabularMDP) -> list[Matrix]:
    return [np.eye(m.n_actions)[list(a)] for a in itertools.product(range(m.n_actions), repeat=m.n_states)]


def _unit_rewards(rng: np.random.Generator, m: TabularMDP) -> TabularMDP:
    return TabularMDP(m.transitions, rng.random(m.rewards.shape), m.start, m.discount)
