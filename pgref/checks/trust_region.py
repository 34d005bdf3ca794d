"""The claims on TRPO's problem, its gradient, its Hessian and its step: (5.26) to (5.29)."""

from __future__ import annotations

from functools import partial

import numpy as np

from pgref import bounds, exact, mdp, natural
from pgref.arrays import Matrix, Vector
from pgref.checks.derivatives import complex_step_gradient, complex_step_jacobian, relative_error
from pgref.checks.draws import Case, cases, gradient_of_j, mlp_case, small_mdp, table_case
from pgref.checks.finding import Finding, at_least, at_most, larger, smaller
from pgref.special import kl_terms


def exact_problem(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """(5.26) is solved exactly by π′ = λπ/(ν − A); its δ means more or less as ρ is normalised or not."""
    used = better = step_error = 0.0
    kkt = 0.0
    for i in range(max(2, mdps // 10)):
        m = small_mdp(rng, (0.5, 0.9)[i % 2])
        pi, delta = rng.dirichlet(np.ones(3), 4), 10.0 ** rng.uniform(-6, -1)
        rho, advantages = mdp.visitation(m, pi), mdp.advantages(m, pi)
        new = exact.trpo_exact_tabular(m, pi, delta)
        used = larger(used, abs(rho @ kl_terms(pi, new).sum(1) / delta - 1))
        kkt = larger(kkt, _kkt_error(pi, new, advantages))
        for _ in range(10):  # other policies at the same distance gain less
            other = _at_distance(pi, rho, rng.dirichlet(np.ones(3), 4), delta)
            better = larger(better, float(rho @ ((other - new) * advantages).sum(1)))
        table = table_case(rng, m)._replace(theta=np.log(pi).ravel())
        sizes = [np.linalg.norm(_closed_form(table, normalised=normalised)) for normalised in (False, True)]
        step_error = larger(step_error, abs(sizes[1] / sizes[0] * (1 - m.discount) ** 0.5 - 1))
    return [
        at_most("|Σ_s ρ D(π ‖ π′) / δ − 1| of the exact solution", used, 1e-10),
        at_most("|A + λπ/π′ − ν_s| / λ, one λ for all states (KKT)", kkt, 1e-10),
        at_most("gain of any of 10 other policies at the same δ", better, 1e-12),
        at_most("|step(ρ normalised) / step(ρ) · √(1−γ) − 1|", step_error, 1e-10),
    ]


def surrogate_gradient(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """g = ∇_θ′ L_π(π_θ′) at θ′ = θ, the gradient of the ratio's numerator alone (5.27)."""
    error = 0.0
    for case in cases(rng, max(4, mdps // 4), (0.5, 0.9)):
        pi = exact.policy_matrix(*case.arguments)
        rho, advantages = mdp.visitation(case.mdp, pi), mdp.advantages(case.mdp, pi)

        def surrogate(t: Vector, case: Case = case, weights: Matrix = rho[:, None] * advantages) -> complex:
            new = exact.policy_matrix(case.mdp, case.policy, t, case.obs)
            return complex((weights * new).sum())

        g = exact.policy_gradient(*case.arguments)
        error = larger(error, relative_error(g, complex_step_gradient(surrogate, case.theta)))
    return [
        at_most("|g − ∇L(θ′)| / |g| at θ′ = θ", error, 1e-12),
    ]


def return_gradient(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """(5.28) is ∇J(θ); that of Actor-Critic as printed, (5.15), is not the same."""
    error, other = 0.0, []
    for case in cases(rng, max(4, mdps // 4), (0.0, 0.5, 0.9)):
        j_gradient = gradient_of_j(case)
        error = larger(error, relative_error(exact.policy_gradient(*case.arguments), j_gradient))
        printed = exact.policy_gradient(*case.arguments, discounted=False, horizon=20)
        other.append(relative_error(printed, j_gradient))
    return [
        at_most("|(5.28) − ∇J| / |∇J|, complex step", error, 1e-11),
        at_least("|(5.15) − ∇J| / |∇J|, median, 20 steps", np.median(other), 0.1),
    ]


def hessian(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """At θ′ = θ the Hessian of the mean KL is the Fisher matrix JᵀFJ, in either order (I-25)."""
    true = order = fisher = flat = table_away = product = 0.0
    mlp_away = negative = 0.0
    for case in cases(rng, max(4, mdps // 10), (0.5, 0.9)):
        policy, theta, obs = case.policy, case.theta, case.obs
        rho = mdp.visitation(case.mdp, exact.policy_matrix(*case.arguments))
        h = exact.kl_hessian(*case.arguments)
        true = larger(true, relative_error(policy.mean_kl_hessian(theta, theta, obs, rho), h))
        flat = larger(flat, np.abs(policy.mean_kl_grad(theta, theta, obs, rho)).max())
        old_grad = partial(policy.mean_kl_grad_old, theta_new=theta, obs=obs, weights=rho)
        other_order = complex_step_jacobian(old_grad, theta)
        order = larger(order, relative_error(other_order, h))
        fisher = larger(fisher, relative_error(_fisher_by_scores(case, rho), h))
        v = rng.standard_normal(len(theta))
        product = larger(product, relative_error(policy.fisher_product(theta, obs, rho)(v), h @ v))
        new = theta + rng.standard_normal(len(theta))
        away = policy.mean_kl_hessian(theta, new, obs, rho)
        off = relative_error(away, policy.kl_hessian(new, obs, rho))
        if obs.ndim == 1:
            table_away = larger(table_away, off)
        else:
            values = np.linalg.eigvalsh(away)
            mlp_away, negative = larger(mlp_away, off), larger(negative, -values[0] / values[-1])
    return [
        at_most("|JᵀFJ − ∇²KL| / |·| at θ′ = θ, complex step", true, 1e-12),
        at_most("|∇KL| at θ′ = θ", flat, 0.0),
        at_most("|∇²KL(new ‖ old) − JᵀFJ| / |·|", order, 1e-12),
        at_most("|E ∇log π ∇log πᵀ − JᵀFJ| / |·|", fisher, 1e-12),
        at_most("|v ↦ Hv − H·v| / |·|", product, 1e-12),
        at_most("|∇²KL − Fisher(θ′)| / |·| at another θ′, softmax table", table_away, 1e-12),
        at_least("|∇²KL − Fisher(θ′)| / |·| at another θ′, MLP", mlp_away, 0.1),
        at_least("−λ_min / λ_max of ∇²KL at another θ′, MLP: indefinite", negative, 0.01),
    ]


def closed_form_step(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """The solution of (5.29) belongs to ½ΔᵀHΔ ≤ δ, not to the printed constraint; H can be singular."""
    half = whole = stationary = closed_form = better = gauge = 0.0
    printed = np.inf
    for i in range(max(4, mdps // 10)):
        m = small_mdp(rng, (0.5, 0.9)[i % 2])
        case = table_case(rng, m)
        step = exact.trpo_step(m, case.policy, case.theta, 0.01).step
        h, g = exact.kl_hessian(*case.arguments), exact.policy_gradient(*case.arguments)
        length = float(step @ h @ step)
        half, printed = larger(half, abs(length / 0.02 - 1)), smaller(printed, length / 0.01)
        at_printed = exact.trpo_step(m, case.policy, case.theta, 0.01, half=False).step
        whole = larger(whole, abs(float(at_printed @ h @ at_printed) / 0.01 - 1))
        for best in (step, at_printed):
            stationary = larger(stationary, relative_error((g @ best) / (best @ h @ best) * (h @ best), g))
        for _ in range(10):
            other = rng.standard_normal(len(g))
            for best, limit in ((step, 0.02), (at_printed, 0.01)):
                scaled = other * (limit / (other @ h @ other)) ** 0.5
                better = larger(better, float(g @ (scaled - best)))
        closed = exact.natural_gradient_tabular(m, exact.policy_matrix(*case.arguments)).ravel()
        closed_form = larger(closed_form, relative_error(exact.natural_gradient(*case.arguments), closed))
        shift = np.repeat(rng.standard_normal(m.n_states), m.n_actions)  # the same for all actions of a state
        gauge = larger(gauge, np.abs(h @ shift).max())
    return [
        at_most("|½ΔᵀHΔ/δ − 1| of the printed solution", half, 1e-10),
        at_least("ΔᵀHΔ/δ of the printed solution; its constraint allows 1", printed, 2 - 1e-9),
        at_most("|ΔᵀHΔ/δ − 1| of the solution that belongs to the printed constraint", whole, 1e-10),
        at_most("|νHΔ − g| / |g| with ν = g·Δ / ΔᵀHΔ (KKT), either constraint", stationary, 1e-10),
        at_most("g·Δ gained by any of 10 other steps, either constraint", better, 1e-12),
        at_most("|H·(one constant for each state)|: H is singular", gauge, 1e-13),
        at_most("|H⁺∇J − (A − mean_a A)| / |·|", closed_form, 1e-9),
    ]


def full_step(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """On an MLP the full step of (5.29) can overshoot δ by orders: it takes damping and line search."""
    undamped, damped, searched = [], [], []
    for _ in range(max(100, mdps)):
        m = small_mdp(rng, 0.9)
        case = mlp_case(rng, m, width=3)
        case = case._replace(theta=4 * case.theta)  # nearly deterministic: every sixth damped step tops 2δ
        pi = exact.policy_matrix(*case.arguments)
        rho = mdp.visitation(m, pi)
        rho = rho / rho.sum()
        h, g = case.policy.kl_hessian(case.theta, case.obs, rho), exact.policy_gradient(*case.arguments)
        steps = [_full_step(h, g, damping) for damping in (0.0, 0.1)]
        kl = [case.policy.mean_kl(case.theta, case.theta + step, case.obs, rho) / 0.01 for step in steps]
        undamped.append(kl[0])
        damped.append(kl[1])
        evaluate = partial(_evaluate, case, pi, rho)
        found = natural.line_search(evaluate, case.theta, steps[1], kl_limit=0.01)
        searched.append(found.kl / 0.01 if found.accepted else 0.0)
    return [
        at_least("KL/δ of the full step, undamped, worst", np.max(undamped), 1e3),
        at_most("KL/δ of the full step, damping 0.1, median", np.median(damped), 2.0),
        at_least("KL/δ of the full step, damping 0.1, worst", np.max(damped), 2.0),
        at_most("KL/δ of a step with damping and line search, worst", np.max(searched), 1.0),
        at_least("KL/δ of a step with damping and line search, median", np.median(searched), 0.1),
    ]


def _kkt_error(pi: Matrix, new: Matrix, advantages: Matrix) -> float:
    """Return how far A + λπ/π′ is from one number ν_s in each state, for the best common λ, relative to λ."""
    ratio = pi / new
    centred = [x - x.mean(1, keepdims=True) for x in (advantages, ratio)]
    price = -(centred[0] * centred[1]).sum() / (centred[1] ** 2).sum()
    return float(np.abs(centred[0] + price * centred[1]).max() / price)


def _at_distance(pi: Matrix, rho: Vector, towards: Matrix, delta: float) -> Matrix:
    """Return the policy between π and another at mean KL δ at most, by halving."""
    share = 1.0
    while rho @ kl_terms(pi, pi + share * (towards - pi)).sum(1) > delta:
        share /= 2
    return pi + share * (towards - pi)


def _closed_form(case: Case, *, normalised: bool) -> Vector:
    """Return √(2δ / g·H⁺g) H⁺g, δ = .01, under either ρ, by NumPy's own pseudo-inverse."""
    g = exact.policy_gradient(*case.arguments)
    direction = np.linalg.pinv(exact.kl_hessian(*case.arguments, normalised=normalised), 1e-10) @ g
    return np.asarray(np.sqrt(0.02 / (g @ direction)) * direction)


def _fisher_by_scores(case: Case, rho: Vector) -> Matrix:
    """Return Σ_s ρ(s) Σ_a π(a|s) ∇log π ∇log πᵀ, one score at a time."""
    pi, total = exact.policy_matrix(*case.arguments), 0.0
    for s, a in np.ndindex(*pi.shape):
        score = case.policy.score_sum(case.theta, case.obs[[s]], np.array([a]), np.ones(1))
        total = total + rho[s] * pi[s, a] * np.outer(score, score)
    return np.asarray(total)


def _full_step(h: Matrix, g: Vector, damping: float) -> Vector:
    """Return the full step √(2δ / x·Hx) x, x = (H + damping·I)⁺g, δ = .01."""
    x = natural.dense_solve(h + damping * np.eye(len(g)), g).x
    return np.asarray(np.sqrt(0.02 / (x @ h @ x)) * x)


def _evaluate(case: Case, pi: Matrix, rho: Vector, theta: Vector) -> tuple[float, float]:
    """Return the surrogate L and the mean KL of a candidate θ."""
    new = exact.policy_matrix(case.mdp, case.policy, theta, case.obs)
    gain = bounds.local_surrogate(case.mdp, new, pi)
    return gain, case.policy.mean_kl(case.theta, theta, case.obs, rho)
