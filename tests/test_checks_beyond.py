"""The checks beyond the excerpt pass on the code as it is and fail on each of a set of plausible mistakes."""

import numpy as np
import pytest
from checking import checks_of, rejected

from pgref import bounds, exact, mdp, natural, objectives
from pgref.checks import beyond
from pgref.distributions import Categorical
from pgref.errors import NonFiniteError
from pgref.mdp import TabularMDP
from pgref.policy import Policy
from pgref.tabular import penalised_policy

# --- mistakes --------------------------------------------------------------------------------------------

clipped, clipped_grad = objectives.clipped, objectives.clipped_grad
kl_penalised, kl_penalised_grad = objectives.kl_penalised, objectives.kl_penalised_grad
surrogate, surrogate_grad, adapted_penalty = (
    objectives.surrogate,
    objectives.surrogate_grad,
    objectives.adapted_penalty,
)
policy_gradient, kl_hessian, state_weights = exact.policy_gradient, exact.kl_hessian, exact.state_weights
npg_iterates, penalty_step, natural_gradient = exact.npg_iterates, exact.penalty_step, exact.natural_gradient
visitation, dense_solve, local_surrogate = mdp.visitation, natural.dense_solve, bounds.local_surrogate
kl, log_prob_grad = Categorical.kl, Categorical.log_prob_grad
mean_kl, mean_kl_grad = Policy.mean_kl, Policy.mean_kl_grad


def scaled(f, factor):
    return lambda *args, **kwargs: factor * f(*args, **kwargs)


def terms(policy, theta, batch):
    ratio = np.exp(policy.log_prob(theta, batch.obs, batch.actions) - batch.old_log_probs)
    return ratio, ratio * batch.advantages


def clipped_where(active):
    """Return the gradient of an objective that is flat where active(r, Â, ε) says so."""

    def clipped_grad_changed(policy, theta, batch, *, clip):
        ratio, term = terms(policy, theta, batch)
        weights = np.where(active(ratio, batch.advantages, clip), 0, term) / len(term)
        return policy.score_sum(theta, batch.obs, batch.actions, weights)

    return clipped_grad_changed


def clipped_without_minimum(policy, theta, batch, *, clip):
    ratio, _ = terms(policy, theta, batch)
    edge = np.where(ratio.real > 1, 1 + clip, 1 - clip)
    return (np.where(abs(ratio.real - 1) > clip, edge, ratio) * batch.advantages).mean().item()


def clipped_with_maximum(policy, theta, batch, *, clip):
    return 2 * surrogate(policy, theta, batch) - clipped(policy, theta, batch, clip=clip)


def with_another_clip(f):
    return lambda *args, clip, **kwargs: f(*args, clip=2 * clip, **kwargs)


def with_another_penalty(f, factor):
    return lambda *args, penalty, **kwargs: f(*args, penalty=factor * penalty, **kwargs)


def adapted(low, high, factor=2.0):
    return lambda beta, d, target: (
        beta * (1 / factor if d < target * low else factor if d > target * high else 1)
    )


def natural_gradient_with(solve):
    return lambda m, p, t, obs=None: solve(kl_hessian(m, p, t, obs), policy_gradient(m, p, t, obs))


def without_gamma(m, pi):
    return state_weights(m, pi, discounted=False, horizon=60)


def npg(exponent):
    """Return iterates π ∝ π exp(η x(m, π)); for x = A/(1 − γ) they would be right."""

    def npg_iterates_changed(m, pi, step, n):
        policies = [pi]
        for _ in range(n):
            weights = policies[-1] * np.exp(step * exponent(m, policies[-1]))
            policies.append(weights / weights.sum(1, keepdims=True))
        return np.stack(policies)

    return npg_iterates_changed


def by_a_gradient_step(m, pi, step, n):
    """Return iterates of θ + η∇J."""
    policies = [pi]
    for _ in range(n):
        pi = policies[-1]
        g = visitation(m, pi)[:, None] * pi * mdp.advantages(m, pi)
        weights = pi * np.exp(step * g)
        policies.append(weights / weights.sum(1, keepdims=True))
    return np.stack(policies)


def penalised_by(factor):
    def penalty_step_changed(m, pi):
        constant = 4 * abs(mdp.advantages(m, pi)).max() * m.discount / (1 - m.discount) ** 2
        return penalty_step(m, pi, factor * constant)

    return penalty_step_changed


def beyond_the_step(factor):
    def penalty_step_changed(m, pi):
        return pi + factor * (penalty_step(m, pi) - pi)

    return penalty_step_changed


def greedy(m, pi):
    return np.eye(m.n_actions)[mdp.advantages(m, pi).argmax(1)]


def penalised_in_the_mean(m, pi):
    """Return the maximum of L − C·(mean KL): one price for all states."""
    constant = 4 * abs(mdp.advantages(m, pi)).max() * m.discount / (1 - m.discount) ** 2
    prices = np.full(len(pi), constant * (1 - m.discount))
    return penalised_policy(pi, mdp.advantages(m, pi), prices)


def never_discounted(m, pi, *, discounted=True, horizon=None):
    return state_weights(m, pi, discounted=False, horizon=horizon)


def always_discounted(*args, discounted=True, horizon=None):
    return policy_gradient(*args, horizon=horizon)


def weighted(weights):
    def policy_gradient_changed(m, policy, theta, obs=None, *, discounted=True, horizon=None):
        obs = np.arange(m.n_states) if obs is None else obs
        pi = policy.probabilities(theta, obs)
        states, actions = np.divmod(np.arange(pi.size), m.n_actions)
        values = weights(m, pi)[:, None] * pi * mdp.advantages(m, pi)
        return policy.score_sum(theta, obs[states], actions, values.ravel())

    return policy_gradient_changed


MISTAKES = {
    beyond.ppo_objectives: {
        "a maximum": (objectives, "clipped", clipped_with_maximum),
        "no minimum": (objectives, "clipped", clipped_without_minimum),
        "2ε": (objectives, "clipped", with_another_clip(clipped)),
        "2ε in the gradient": (objectives, "clipped_grad", with_another_clip(clipped_grad)),
        "a sum": (objectives, "clipped_grad", scaled(clipped_grad, 20)),
        "the gradient's sign": (objectives, "clipped_grad", scaled(clipped_grad, -1)),
        "the bonus KL": (objectives, "kl_penalised", with_another_penalty(kl_penalised, 0)),
        "2β": (objectives, "kl_penalised_grad", with_another_penalty(kl_penalised_grad, 2)),
        "KL reversed": (Categorical, "kl", lambda self, old, new: kl(self, new, old)),
        "KL reversed in value": (Policy, "mean_kl", lambda self, old, new, *args, **kwargs: (
            mean_kl(self, new, old, *args, **kwargs))),
        "KL doubled in the gradient": (Policy, "mean_kl_grad", scaled(mean_kl_grad, 2)),
        "doubled too early": (objectives, "adapted_penalty", adapted(1 / 1.5, 0.5)),
        "never halved": (objectives, "adapted_penalty", adapted(0, 1.5)),
        "halved for doubled": (objectives, "adapted_penalty", adapted(1 / 1.5, 1.5, 0.5)),
        "NaN": (objectives, "clipped", scaled(clipped, np.nan)),
        "NaN in the gradient": (objectives, "kl_penalised_grad", scaled(kl_penalised_grad, np.nan)),
    },
    beyond.clip_is_flat: {
        "flat outside 1 ± ε whatever Â": (
            objectives, "clipped_grad", clipped_where(lambda r, a, clip: abs(r - 1) > clip)),
        "flat on the other side": (
            objectives, "clipped_grad", clipped_where(lambda r, a, clip: (r - 1) * np.sign(a) < -clip)),
        "flat above only": (
            objectives, "clipped_grad", clipped_where(lambda r, a, clip: (r > 1 + clip) & (a > 0))),
        "never flat": (objectives, "clipped_grad", clipped_where(lambda r, a, clip: r < 0)),
        "always flat": (objectives, "clipped_grad", clipped_where(lambda r, a, clip: r > 0)),
        "2ε": (objectives, "clipped_grad", with_another_clip(clipped_grad)),
        "ε for log r": (
            objectives, "clipped_grad", clipped_where(lambda r, a, clip: np.log(r) * np.sign(a) > clip)),
        "not the surrogate's": (objectives, "surrogate_grad", scaled(surrogate_grad, 1.001)),
        "NaN": (objectives, "clipped_grad", scaled(clipped_grad, np.nan)),
    },
    beyond.covariance: {
        "the plain gradient": (exact, "natural_gradient", natural_gradient_with(lambda h, g: g)),
        "damping": (exact, "natural_gradient", natural_gradient_with(
            lambda h, g: np.linalg.solve(h + 0.01 * np.eye(len(g)), g))),
        "only the diagonal of H": (exact, "natural_gradient", natural_gradient_with(
            lambda h, g: g / (np.diag(h) + 1e-9))),
        "a factor 2": (exact, "natural_gradient", scaled(natural_gradient, 2)),
        "damping in φ": (natural, "dense_solve", lambda h, g: dense_solve(h + 0.01 * np.eye(len(g)), g)),
        "NaN": (exact, "natural_gradient", scaled(natural_gradient, np.nan)),
    },
    beyond.npg_rate: {
        "1/(1−γ) missing": (exact, "npg_iterates", npg(lambda m, pi: mdp.advantages(m, pi))),
        "γ for 1−γ": (exact, "npg_iterates", npg(lambda m, pi: mdp.advantages(m, pi) / m.discount)),
        "the sign": (exact, "npg_iterates", npg(lambda m, pi: -10 * mdp.advantages(m, pi))),
        "weighted by π": (exact, "npg_iterates", npg(lambda m, pi: 10 * pi * mdp.advantages(m, pi))),
        "the plain gradient": (exact, "npg_iterates", by_a_gradient_step),
        "ρ not normalised": (exact, "kl_hessian", lambda *args, normalised=False: kl_hessian(*args)),
        "the policy as it was": (exact, "npg_iterates", lambda m, pi, step, n: np.stack([pi] * (n + 1))),
    },
    beyond.monotone_penalty: {
        "half of C": (exact, "penalty_step", penalised_by(0.5)),
        "a hundredth of C": (exact, "penalty_step", penalised_by(0.01)),
        "2C": (exact, "penalty_step", penalised_by(2)),
        "downhill": (exact, "penalty_step", beyond_the_step(-1)),
        "half the step": (exact, "penalty_step", beyond_the_step(0.5)),
        "the greedy policy": (exact, "penalty_step", greedy),
        "the mean for the maximum": (exact, "penalty_step", penalised_in_the_mean),
        "KL reversed": (bounds, "max_kl", lambda old, new: 2 * bounds.kl(new, old).max()),
        "L doubled": (bounds, "local_surrogate", scaled(local_surrogate, 2)),
        "NaN": (bounds, "local_surrogate", scaled(local_surrogate, np.nan)),
    },
    beyond.compatible_features: {
        "the plain gradient": (exact, "natural_gradient", natural_gradient_with(lambda h, g: g)),
        "a factor ½": (exact, "natural_gradient", scaled(natural_gradient, 0.5)),
        "H under ρ normalised": (exact, "natural_gradient", lambda m, p, t, obs=None: dense_solve(
            kl_hessian(m, p, t, obs, normalised=True), policy_gradient(m, p, t, obs)).x),
        "a score without −π": (Categorical, "log_prob_grad", lambda *args: log_prob_grad(*args) + 1 / 3),
        "γ^t missing": (mdp, "visitation", without_gamma),
        "R for A": (mdp, "advantages", lambda m, pi: m.rewards),
        "NaN": (exact, "natural_gradient", scaled(natural_gradient, np.nan)),
    },
    beyond.state_weighting: {
        "ρ normalised": (mdp, "visitation", lambda m, pi: visitation(m, pi) / visitation(m, pi).sum()),
        "ρ without γ^t": (mdp, "visitation", without_gamma),
        "weights without γ^t": (exact, "state_weights", never_discounted),
        "(5.15) with γ^t": (exact, "policy_gradient", always_discounted),
        "(5.15) under ρ normalised": (exact, "policy_gradient", weighted(
            lambda m, pi: visitation(m, pi) / visitation(m, pi).sum())),
        "the gradient's sign": (exact, "policy_gradient", scaled(policy_gradient, -1)),
        "NaN": (exact, "policy_gradient", scaled(policy_gradient, np.nan)),
    },
}  # fmt: skip


@pytest.mark.parametrize(("check", "mistake"), [(c, m) for c, table in MISTAKES.items() for m in table])
def test_the_check_rejects(check, mistake, rng, monkeypatch):
    home, name, wrong = MISTAKES[check][mistake]
    monkeypatch.setattr(home, name, wrong)
    assert rejected(check, rng)


def test_iterates_that_are_nan_do_not_get_past_the_next_function(rng, monkeypatch):
    monkeypatch.setattr(exact, "npg_iterates", scaled(npg_iterates, np.nan))
    with pytest.raises(NonFiniteError, match="pi must be finite"):
        beyond.npg_rate(rng, 20)


@pytest.mark.parametrize("check", [beyond.covariance, beyond.compatible_features])
def test_q_in_place_of_a_is_no_mistake(check, rng, monkeypatch):
    monkeypatch.setattr(mdp, "advantages", mdp.action_values)
    assert not rejected(check, rng)


def test_every_check_has_mistakes_to_reject():
    assert set(MISTAKES) == checks_of(beyond)


@pytest.mark.parametrize("check", [beyond.covariance, beyond.compatible_features])
def test_nothing_compared_is_no_pass(check, rng, monkeypatch):
    monkeypatch.setattr(beyond, "_gap_of", lambda h: 0.0)
    assert "policies compared" in rejected(check, rng)


def test_no_clip_ever_active_is_no_pass(rng, monkeypatch):
    sample = beyond._ppo_batch

    def at_the_old_policy(rng):
        policy, _, old, batch = sample(rng)
        return policy, old, old, batch

    monkeypatch.setattr(beyond, "_ppo_batch", at_the_old_policy)
    assert rejected(beyond.clip_is_flat, rng) == ["such samples"]


def test_a_wrong_objective_with_its_own_gradient_is_rejected(rng, monkeypatch):
    # KL reversed in both, so that they agree with each other
    monkeypatch.setattr(
        Policy, "mean_kl", lambda self, a, b, *args, **kwargs: mean_kl(self, b, a, *args, **kwargs)
    )
    monkeypatch.setattr(
        Policy,
        "mean_kl_grad",
        lambda self, a, b, *args, **kwargs: self.mean_kl_grad_old(b, a, *args, **kwargs),
    )
    assert rejected(beyond.ppo_objectives, rng) == ["|either objective − its terms summed from π itself|"]


def test_all_deterministic_policies_are_tried(rng):
    m = TabularMDP(np.zeros((3, 2, 3)), np.zeros((3, 2)), [1.0, 0.0, 0.0], 0.9)
    assert len({policy.tobytes() for policy in beyond._deterministic(m)}) == 8
