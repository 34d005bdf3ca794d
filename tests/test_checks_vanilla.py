"""The checks of the vanilla policy gradient pass on the code and fail on a set of plausible mistakes."""

import numpy as np
import pytest
from checking import checks_of, rejected

from pgref import exact, instances, mdp, natural
from pgref.checks import vanilla
from pgref.distributions import Categorical
from pgref.errors import NonFiniteError
from pgref.mdp import TabularMDP
from pgref.policy import Policy

# --- mistakes --------------------------------------------------------------------------------------------

policy_gradient, policy_matrix, trpo_step = exact.policy_gradient, exact.policy_matrix, exact.trpo_step
parametrised_return, aliased_mdp = exact.parametrised_return, instances.aliased_mdp
action_values, visitation, line_search = mdp.action_values, mdp.visitation, natural.line_search
probabilities, kl, log_prob_grad = Policy.probabilities, Categorical.kl, Categorical.log_prob_grad


def scaled(f, factor):
    return lambda *args, **kwargs: factor * f(*args, **kwargs)


def weighted(weights=None, values=mdp.advantages):
    """Return Σ_s w(s) Σ_a π ∇log π(a|s) x(s, a) with other weights w, or other values x, than (5.28) has."""

    def policy_gradient_changed(m, policy, theta, obs=None, *, discounted=True, horizon=None):
        obs = np.arange(m.n_states) if obs is None else obs
        pi = probabilities(policy, theta, obs)
        w = weights(m, pi) if weights else exact.state_weights(m, pi, discounted=discounted, horizon=horizon)
        states, actions = np.divmod(np.arange(pi.size), m.n_actions)
        return policy.score_sum(theta, obs[states], actions, (w[:, None] * pi * values(m, pi)).ravel())

    return policy_gradient_changed


def without_gamma(m, pi):
    return exact.state_weights(m, pi, discounted=False, horizon=60)


def normalised(m, pi):
    rho = visitation(m, pi)
    return rho / rho.sum()


def flagged(choose):
    """Return a gradient that takes its flag for another."""

    def policy_gradient_changed(*args, discounted=True, horizon=None):
        return policy_gradient(*args, discounted=choose(discounted), horizon=horizon if horizon else 60)

    return policy_gradient_changed


def swapped_rewards():
    m = aliased_mdp()
    return TabularMDP(m.transitions, m.rewards[:, ::-1], m.start, m.discount)


def unnormalised(m, policy, theta, obs=None):
    return np.exp(policy.network.linearize(theta, np.arange(m.n_states) if obs is None else obs).value)


def normalised_over_all_states(m, policy, theta, obs=None):
    weights = unnormalised(m, policy, theta, obs)
    return weights / weights.sum()


def rounded(self, theta, obs):
    pi = probabilities(self, theta, obs)
    return np.where(pi < 1e-200, 0, pi)


def with_a_step(change):
    """Return `trpo_step` with another step."""

    def trpo_step_changed(*args, **kwargs):
        found = trpo_step(*args, **kwargs)
        return found._replace(step=change(found.step))

    return trpo_step_changed


def softmax_of_squares(self, theta, obs):
    weights = np.exp(-(self.network.linearize(theta, obs).value ** 2) / 1e4)
    return weights / weights.sum(1, keepdims=True)


def swapped_actions(self, theta, obs):
    return probabilities(self, theta, obs)[:, ::-1]


def a_long_step(evaluate, theta, step, *, kl_limit):
    return natural.LineSearchResult(theta + 1e4 * step, True, 1, 0.0, 0.0, "accepted")


def no_step(evaluate, theta, step, *, kl_limit):
    return natural.LineSearchResult(theta, False, 10, 0.0, 0.0, "refused")


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
    vanilla.ascent: {name: mistake for name, mistake in GRADIENTS.items() if name != "NaN"},
    vanilla.baseline: {
        **GRADIENTS,
        "ρ without γ^t": (mdp, "visitation", without_gamma),
        "a score without −π": (
            Categorical, "log_prob_grad", lambda self, z, a: log_prob_grad(self, z, a) + 1 / z.shape[1],
        ),
    },
    vanilla.printed_gradient: {
        **{name: GRADIENTS[name] for name in ("the sign", "a factor ½", "a factor 2", "NaN")},
        "γ^t kept": (exact, "policy_gradient", flagged(lambda discounted: True)),
        "γ^t never there": (exact, "policy_gradient", flagged(lambda discounted: False)),
        "the flag inverted": (exact, "policy_gradient", flagged(lambda discounted: not discounted)),
        "another J": (exact, "parametrised_return", scaled(parametrised_return, 1.001)),
    },
    vanilla.aliased_states: {
        "the sign": GRADIENTS["the sign"],
        "a factor 2": GRADIENTS["a factor 2"],
        "γ^t kept": (exact, "policy_gradient", flagged(lambda discounted: True)),
        "γ^t never there": (exact, "policy_gradient", flagged(lambda discounted: False)),
        "the flag inverted": (exact, "policy_gradient", flagged(lambda discounted: not discounted)),
        "the actions swapped": (instances, "aliased_mdp", swapped_rewards),
    },
    vanilla.step_sizes: {
        "the gradient's sign": GRADIENTS["the sign"],
        "a gradient 1000 times too long": (exact, "policy_gradient", scaled(policy_gradient, 1e3)),
        "a gradient 1000 times too short": (exact, "policy_gradient", scaled(policy_gradient, 1e-3)),
        "the step's sign": (exact, "trpo_step", with_a_step(lambda step: -step)),
        "no step": (exact, "trpo_step", with_a_step(lambda step: 0 * step)),
        "a step too small": (exact, "trpo_step", with_a_step(lambda step: step / 100)),
        "no line search, steps too large": (natural, "line_search", a_long_step),
        "a line search that never moves": (natural, "line_search", no_step),
        "NaN": (exact, "parametrised_return", scaled(parametrised_return, np.nan)),
    },
    vanilla.policy_space: {
        "no normalisation": (exact, "policy_matrix", unnormalised),
        "one normalisation for all states": (exact, "policy_matrix", normalised_over_all_states),
        "small probabilities cut off": (Policy, "probabilities", rounded),
        "no softmax": (Policy, "probabilities", softmax_of_squares),
        "the order of θ": (Policy, "probabilities", lambda self, t, obs: (
            probabilities(self, t * np.linspace(1, 2, len(t)), obs))),
        "NaN": (exact, "policy_matrix", scaled(policy_matrix, np.nan)),
    },
    vanilla.sigmoid_example: {
        "KL reversed": (Categorical, "kl", lambda self, old, new: kl(self, new, old)),
        "KL in bits": (Categorical, "kl", scaled(kl, 1 / np.log(2))),
        "KL symmetric": (Categorical, "kl", lambda self, a, b: (kl(self, a, b) + kl(self, b, a)) / 2),
        "the actions swapped": (Policy, "probabilities", swapped_actions),
        "twice the logit": (Policy, "probabilities", lambda self, t, obs: probabilities(self, 2 * t, obs)),
        "NaN": (Categorical, "kl", scaled(kl, np.nan)),
        "NaN in π": (Policy, "probabilities", scaled(probabilities, np.nan)),
    },
}  # fmt: skip


@pytest.mark.parametrize(("check", "mistake"), [(c, m) for c, table in MISTAKES.items() for m in table])
def test_the_check_rejects(check, mistake, rng, monkeypatch):
    home, name, wrong = MISTAKES[check][mistake]
    monkeypatch.setattr(home, name, wrong)
    assert rejected(check, rng)


@pytest.mark.parametrize("check", [vanilla.ascent, vanilla.aliased_states])
def test_a_gradient_that_is_nan_does_not_get_past_the_next_parameters(check, rng, monkeypatch):
    monkeypatch.setattr(*GRADIENTS["NaN"])
    with pytest.raises(NonFiniteError, match="theta must be finite"):
        check(rng, 20)


def test_every_check_has_mistakes_to_reject():
    assert set(MISTAKES) == checks_of(vanilla)


@pytest.mark.parametrize("check", [vanilla.ascent, vanilla.baseline])
def test_q_in_place_of_a_is_no_mistake(check, rng, monkeypatch):
    monkeypatch.setattr(exact, "policy_gradient", weighted(values=action_values))
    assert not rejected(check, rng)


def test_the_two_step_mdp_has_the_return_p_times_1_minus_p():
    m = instances.two_step_mdp()
    for p in (0.0, 0.3, 1.0):
        assert mdp.expected_return(m, [[p, 1 - p]] * 2) == pytest.approx(p * (1 - p), rel=1e-15)
