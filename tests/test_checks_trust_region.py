"""The checks of TRPO's problem, gradient, Hessian and step pass on the code and fail on many mistakes."""

import numpy as np
import pytest
from checking import checks_of, rejected

from pgref import exact, mdp, natural
from pgref.checks import trust_region
from pgref.distributions import Categorical
from pgref.policy import Policy
from pgref.special import kl_terms

# --- mistakes --------------------------------------------------------------------------------------------

policy_gradient, kl_hessian, trpo_step = exact.policy_gradient, exact.kl_hessian, exact.trpo_step
trpo_exact_tabular, natural_gradient = exact.trpo_exact_tabular, exact.natural_gradient
natural_gradient_tabular, parametrised_return = exact.natural_gradient_tabular, exact.parametrised_return
visitation, line_search, dense_solve = mdp.visitation, natural.line_search, natural.dense_solve
natural_step, hessian_of_policy, mean_kl = exact.natural_step, Policy.kl_hessian, Policy.mean_kl
mean_kl_grad, mean_kl_grad_old, fisher_product = (
    Policy.mean_kl_grad,
    Policy.mean_kl_grad_old,
    Policy.fisher_product,
)
fisher_matrix, kl = Categorical.fisher_matrix, Categorical.kl


def scaled(f, factor):
    return lambda *args, **kwargs: factor * f(*args, **kwargs)


def weighted(weights=None, values=mdp.advantages):
    """Return Σ_s w(s) Σ_a π ∇log π(a|s) x(s, a) with other weights w, or other values x, than (5.28) has."""

    def policy_gradient_changed(m, policy, theta, obs=None, *, discounted=True, horizon=None):
        obs = np.arange(m.n_states) if obs is None else obs
        pi = policy.probabilities(theta, obs)
        w = weights(m, pi) if weights else exact.state_weights(m, pi, discounted=discounted, horizon=horizon)
        states, actions = np.divmod(np.arange(pi.size), m.n_actions)
        return policy.score_sum(theta, obs[states], actions, (w[:, None] * pi * values(m, pi)).ravel())

    return policy_gradient_changed


def without_gamma(m, pi):
    return exact.state_weights(m, pi, discounted=False, horizon=60)


def normalised(m, pi):
    rho = visitation(m, pi)
    return rho / rho.sum()


def always_discounted(*args, discounted=True, horizon=None):
    return policy_gradient(*args, horizon=horizon)


def other_delta(factor):
    return lambda m, pi, delta: trpo_exact_tabular(m, pi, factor(m, pi) * delta)


def to_the_edge(direction, m, pi, delta):
    """Return direction(x) for the x at which Σ ρ D(π ‖ π′) = δ, by bisection in log x."""
    rho, low, high = visitation(m, pi), 1e-12, 1e6
    for _ in range(200):
        middle = (low * high) ** 0.5
        within = rho @ kl_terms(pi, direction(middle)).sum(1) <= delta
        low, high = (middle, high) if within else (low, middle)
    return direction(low)


def exponential_tilt(m, pi, delta):
    """Return π′ ∝ π exp(xA), which solves the problem with the KL divergence reversed."""
    a = mdp.advantages(m, pi)

    def tilted(x):
        new = pi * np.exp(x * (a - a.max(1, keepdims=True)))
        return new / new.sum(1, keepdims=True)

    return to_the_edge(tilted, m, pi, delta)


def towards_greedy(m, pi, delta):
    greedy = np.eye(m.n_actions)[mdp.advantages(m, pi).argmax(1)]
    return to_the_edge(lambda x: pi + min(x, 1.0) * (greedy - pi), m, pi, delta)


def the_same_delta_in_every_state(m, pi, delta):
    rho, rows = visitation(m, pi), []
    for s in range(m.n_states):
        one = mdp.TabularMDP(np.zeros((1, m.n_actions, 1)), mdp.advantages(m, pi)[[s]], [1.0], 0.0)
        rows.append(trpo_exact_tabular(one, pi[[s]], delta / rho.sum())[0])
    return np.array(rows)


def hessian_that_ignores_its_flag(*args, normalised=False):
    return kl_hessian(*args)


def hessian_times_1_less_gamma_squared(m, *args, normalised=False):
    return kl_hessian(m, *args) * ((1 - m.discount) ** 2 if normalised else 1)


def hessian_without_rho(self, theta, obs, weights=None):
    return hessian_of_policy(self, theta, obs)


def hessian_without_outer_product(self, z):
    return fisher_matrix(self, z) * np.eye(z.shape[1])


def product_without_rho(self, theta, obs, weights=None, work=None):
    return fisher_product(self, theta, obs)


def product_with_the_gradient_of_the_kl_reversed(self, old, new, obs, weights=None, work=None):
    return mean_kl_grad_old(self, new, old, obs, weights)


def with_a_step(change):
    """Return `trpo_step` with another step."""

    def trpo_step_changed(m, policy, theta, kl_limit, obs=None, *, half=True):
        found = trpo_step(m, policy, theta, kl_limit, obs, half=half)
        return found._replace(step=change(found.step, half))

    return trpo_step_changed


def plain_gradient_step(m, policy, theta, kl_limit, obs=None, *, half=True):
    found, g = trpo_step(m, policy, theta, kl_limit, obs, half=half), policy_gradient(m, policy, theta, obs)
    h = kl_hessian(m, policy, theta, obs)
    return found._replace(step=g * ((2 if half else 1) * kl_limit / (g @ h @ g)) ** 0.5)


def centred_by_pi(m, pi):
    return mdp.advantages(m, pi)


def searched(evaluate, theta, step, *, kl_limit):
    """Return the full step, whatever it costs."""
    improvement, divergence = evaluate(theta + step)
    return natural.LineSearchResult(theta + step, True, 1, improvement, divergence, "accepted")


def never_accepted(evaluate, theta, step, *, kl_limit):
    return natural.LineSearchResult(theta, False, 10, 0.0, 0.0, "refused")


def solve_with_more_damping(h, g):
    return dense_solve(h + np.eye(len(g)), g)


GRADIENTS = {
    "the sign": (exact, "policy_gradient", scaled(policy_gradient, -1)),
    "a factor ½": (exact, "policy_gradient", scaled(policy_gradient, 0.5)),
    "a factor 2": (exact, "policy_gradient", scaled(policy_gradient, 2)),
    "γ^t missing": (exact, "policy_gradient", weighted(without_gamma)),
    "ρ normalised": (exact, "policy_gradient", weighted(normalised)),
    "the first step only": (exact, "policy_gradient", weighted(lambda m, pi: m.start)),
    "R for A": (exact, "policy_gradient", weighted(values=lambda m, pi: m.rewards)),
    "NaN": (exact, "policy_gradient", scaled(policy_gradient, np.nan)),
}

MISTAKES = {
    trust_region.exact_problem: {
        "δ doubled": (exact, "trpo_exact_tabular", other_delta(lambda m, pi: 2)),
        "δ for ρ normalised": (exact, "trpo_exact_tabular", other_delta(lambda m, pi: 1 / (1 - m.discount))),
        "KL reversed": (exact, "trpo_exact_tabular", exponential_tilt),
        "towards the greedy policy": (exact, "trpo_exact_tabular", towards_greedy),
        "one δ for each state": (exact, "trpo_exact_tabular", the_same_delta_in_every_state),
        "the policy as it was": (exact, "trpo_exact_tabular", lambda m, pi, delta: pi),
        "the sign of A": (exact, "trpo_exact_tabular", lambda m, pi, delta: trpo_exact_tabular(
            mdp.TabularMDP(m.transitions, -m.rewards, m.start, m.discount), pi, delta)),
        "NaN": (exact, "trpo_exact_tabular", scaled(trpo_exact_tabular, np.nan)),
        "ρ never normalised": (exact, "kl_hessian", hessian_that_ignores_its_flag),
        "(1−γ)² for 1−γ": (exact, "kl_hessian", hessian_times_1_less_gamma_squared),
    },
    trust_region.surrogate_gradient: GRADIENTS,
    trust_region.return_gradient: {
        **GRADIENTS,
        "γ^t kept in (5.15)": (exact, "policy_gradient", always_discounted),
        "another J": (exact, "parametrised_return", scaled(parametrised_return, 1.001)),
    },
    trust_region.hessian: {
        "a ½": (exact, "kl_hessian", scaled(kl_hessian, 0.5)),
        "the sign": (exact, "kl_hessian", scaled(kl_hessian, -1)),
        "ρ normalised": (exact, "kl_hessian", lambda *args: kl_hessian(*args, normalised=True)),
        "ρ missing": (Policy, "kl_hessian", hessian_without_rho),
        "−ππᵀ missing": (Categorical, "fisher_matrix", hessian_without_outer_product),
        "ρ missing in the product": (Policy, "fisher_product", product_without_rho),
        "the product of another vector": (Policy, "fisher_product", lambda self, *args: (
            lambda v: fisher_product(self, *args)(v[::-1]))),
        "KL reversed": (Policy, "mean_kl_grad", product_with_the_gradient_of_the_kl_reversed),
        "KL doubled": (Policy, "mean_kl_grad", scaled(mean_kl_grad, 2)),
        "the other KL halved": (Policy, "mean_kl_grad_old", scaled(mean_kl_grad_old, 0.5)),
        "the sign of the other KL": (Policy, "mean_kl_grad_old", scaled(mean_kl_grad_old, -1)),
        "a gradient at θ′ = θ": (Policy, "mean_kl_grad", lambda *args: mean_kl_grad(*args) + 1e-12),
        "the Fisher matrix everywhere": (Policy, "mean_kl_hessian", lambda self, old, new, *args: (
            hessian_of_policy(self, new, *args))),
        "NaN": (exact, "kl_hessian", scaled(kl_hessian, np.nan)),
        "NaN in the other KL": (Policy, "mean_kl_grad_old", scaled(mean_kl_grad_old, np.nan)),
    },
    trust_region.closed_form_step: {
        "√2 missing": (exact, "trpo_step", with_a_step(lambda step, half: step / 2**0.5)),
        "the root missing": (exact, "trpo_step", with_a_step(lambda step, half: step * np.linalg.norm(step))),
        "half ignored": (exact, "trpo_step", lambda *args, half=True: trpo_step(*args)),
        "half never": (exact, "trpo_step", lambda *args, half=True: trpo_step(*args, half=False)),
        "half inverted": (exact, "trpo_step", lambda *args, half=True: trpo_step(*args, half=not half)),
        "too short for the printed constraint": (
            exact, "trpo_step", with_a_step(lambda step, half: step if half else 0.9 * step)),
        "the sign": (exact, "trpo_step", with_a_step(lambda step, half: -step)),
        "the plain gradient": (exact, "trpo_step", plain_gradient_step),
        "δ doubled in the natural step": (exact, "natural_step", lambda f, x, kl_limit: (
            natural_step(f, x, kl_limit=2 * kl_limit))),
        "π-weighted mean": (exact, "natural_gradient_tabular", centred_by_pi),
        "a factor (1−γ)": (exact, "natural_gradient", lambda m, *args: (
            (1 - m.discount) * natural_gradient(m, *args))),
        "H under ρ normalised": (exact, "natural_gradient", lambda m, p, t, o=None: (
            dense_solve(kl_hessian(m, p, t, o, normalised=True), policy_gradient(m, p, t, o)).x)),
        "damping": (exact, "dense_solve", solve_with_more_damping),
        "−ππᵀ missing": (Categorical, "fisher_matrix", hessian_without_outer_product),
        "NaN": (exact, "natural_gradient", scaled(natural_gradient, np.nan)),
        "NaN in the step": (exact, "trpo_step", with_a_step(lambda step, half: np.nan * step)),
    },
    trust_region.full_step: {
        "no line search": (natural, "line_search", searched),
        "a line search that never accepts": (natural, "line_search", never_accepted),
        "a line search up to 2δ": (natural, "line_search", lambda *args, kl_limit: (
            line_search(*args, kl_limit=2 * kl_limit))),
        "a line search for the sake of KL only": (natural, "line_search", lambda f, theta, s, kl_limit: (
            line_search(lambda t: (1.0, f(t)[1]), theta, -1e-9 * s, kl_limit=kl_limit))),
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:invalid value")  # of the mistakes
@pytest.mark.parametrize(("check", "mistake"), [(c, m) for c, table in MISTAKES.items() for m in table])
def test_the_check_rejects(check, mistake, rng, monkeypatch):
    home, name, wrong = MISTAKES[check][mistake]
    monkeypatch.setattr(home, name, wrong)
    assert rejected(check, rng)


def test_every_check_has_mistakes_to_reject():
    assert set(MISTAKES) == checks_of(trust_region)


@pytest.mark.parametrize("check", [trust_region.surrogate_gradient, trust_region.return_gradient])
def test_q_in_place_of_a_is_no_mistake(check, rng, monkeypatch):
    monkeypatch.setattr(exact, "policy_gradient", weighted(values=mdp.action_values))
    assert not rejected(check, rng)
