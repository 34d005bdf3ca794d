"""The checks of the A2C worker pass on the code as it is and fail on each of a set of plausible mistakes."""

import numpy as np
import pytest
from checking import checks_of, rejected

from pgref import critic, exact, mdp, objectives, worker
from pgref.checks import workers
from pgref.checks.derivatives import complex_step_gradient, complex_step_jacobian, relative_error
from pgref.checks.draws import cases, small_mdp, trajectories
from pgref.critic import Critic
from pgref.mdp import TabularMDP
from pgref.policy import Policy

# --- mistakes --------------------------------------------------------------------------------------------

td_advantages, semi_gradient, residual_gradient = (
    critic.td_advantages,
    critic.semi_gradient,
    critic.residual_gradient,
)
state_values, value_sum_grad = mdp.state_values, Critic.value_sum_grad
worker_gradients, score_objective_grad = worker.worker_gradients, objectives.score_objective_grad
policy_gradient = exact.policy_gradient


def scaled(f, factor):
    return lambda *args, **kwargs: factor * f(*args, **kwargs)


def ending(batch, terminated):
    return batch._replace(terminated=np.full_like(batch.terminated, terminated))


def score_objective_grad_with_gamma(policy, theta, batch, work=None):
    return policy.score_sum(
        theta, batch.obs, batch.actions, batch.advantages * 0.5 ** np.arange(len(batch.actions))
    )


def mean_score_objective(policy, theta, batch, work=None):
    return (policy.log_prob(theta, batch.obs, batch.actions) @ batch.advantages).item() / len(batch.actions)


def first_step(segment):
    return segment._replace(**{name: column[:1] for name, column in segment._asdict().items()})


def td_where(terminated):
    return lambda c, psi, batch, discount: td_advantages(c, psi, ending(batch, terminated), discount)


def td_without_discount(c, psi, batch, discount):
    return td_advantages(c, psi, batch, 1.0)


def td_with_the_value_of_the_next_state_twice(c, psi, batch, discount):
    return batch.rewards + (discount - 1) * np.where(batch.terminated, 0, c.values(psi, batch.next_obs))


def residual_with_the_wrong_sign(c, psi, batch, discount):
    return 2 * semi_gradient(c, psi, batch, discount) - residual_gradient(c, psi, batch, discount)


def plain_residual_gradient(c, psi, batch, discount):
    a = 2 * td_advantages(c, psi, batch, discount)
    ahead = c.value_sum_grad(psi, batch.next_obs, a * np.where(batch.terminated, 0, discount))
    return ahead - c.value_sum_grad(psi, batch.obs, a)


def residual_where_the_end_counts(c, psi, batch, discount):
    advantages = td_advantages(c, psi, batch, discount)
    return c.value_sum_grad(psi, batch.next_obs, 2 * discount * advantages) + semi_gradient(
        c, psi, batch, discount
    )


def gradients(change):
    """Return a worker that changes the gradients that it should return."""

    def worker_gradients_changed(policy, c, theta, psi, segment, discount):
        return change(worker_gradients(policy, c, theta, psi, segment, discount), len(segment.rewards))

    return worker_gradients_changed


def worker_on(change):
    """Return a worker that changes the segment it has stored."""

    def worker_gradients_changed(policy, c, theta, psi, segment, discount):
        return worker_gradients(policy, c, theta, psi, change(segment), discount)

    return worker_gradients_changed


def worker_with_the_residual_gradient(policy, c, theta, psi, segment, discount):
    batch = critic.Transitions(segment.obs, segment.rewards, segment.next_obs, segment.terminated)
    g = worker_gradients(policy, c, theta, psi, segment, discount)
    return g._replace(g_psi=residual_gradient(c, psi, batch, discount))


def worker_with_normalised_advantages(policy, c, theta, psi, segment, discount):
    batch = critic.Transitions(segment.obs, segment.rewards, segment.next_obs, segment.terminated)
    a = td_advantages(c, psi, batch, discount)
    g = worker_gradients(policy, c, theta, psi, segment, discount)
    return g._replace(g_theta=policy.score_sum(theta, segment.obs, segment.actions, (a - a.mean()) / a.std()))


def worker_without_gamma(policy, c, theta, psi, segment, discount):
    return worker_gradients(policy, c, theta, psi, segment, 1.0)


def discount_in_the_sum(mdp_, policy, theta, obs=None, *, discounted=True, horizon=None):
    return policy_gradient(mdp_, policy, theta, obs, discounted=True, horizon=horizon)


def one_term_more(mdp_, policy, theta, obs=None, *, discounted=True, horizon=None):
    return policy_gradient(mdp_, policy, theta, obs, discounted=discounted, horizon=horizon + 1)


NAN = np.nan

MISTAKES = {
    workers.worker_objective: {
        "a mean for a sum": (objectives, "score_objective_grad", scaled(score_objective_grad, 1 / 3)),
        "the sign": (objectives, "score_objective_grad", scaled(score_objective_grad, -1)),
        "γ^t in the sum": (objectives, "score_objective_grad", score_objective_grad_with_gamma),
        "a mean objective": (objectives, "score_objective", mean_score_objective),
        "NaN": (objectives, "score_objective_grad", scaled(score_objective_grad, NAN)),
        "γ^t in (5.15)": (exact, "policy_gradient", discount_in_the_sum),
        "a term too many in (5.15)": (exact, "policy_gradient", one_term_more),
    },
    workers.td_advantage: {
        "γ missing": (critic, "td_advantages", td_without_discount),
        "the sign": (critic, "td_advantages", scaled(td_advantages, -1)),
        "the end ignored": (critic, "td_advantages", td_where(terminated=False)),
        "no bootstrap": (critic, "td_advantages", td_where(terminated=True)),
        "V(S′) for V(S)": (critic, "td_advantages", td_with_the_value_of_the_next_state_twice),
        "Q for A": (mdp, "advantages", mdp.action_values),
        "the sign of V": (mdp, "state_values", scaled(state_values, -1)),
        "NaN": (critic, "td_advantages", scaled(td_advantages, NAN)),
    },
    workers.critic_gradients: {
        "a ½ in the semi-gradient": (critic, "semi_gradient", scaled(semi_gradient, 0.5)),
        "the sign of the semi-gradient": (critic, "semi_gradient", scaled(semi_gradient, -1)),
        "residual for semi": (critic, "semi_gradient", plain_residual_gradient),
        "semi for residual": (critic, "residual_gradient", semi_gradient),
        "a ½ in the residual gradient": (critic, "residual_gradient", scaled(residual_gradient, 0.5)),
        "another γ": (critic, "residual_gradient", lambda c, p, b, g: residual_gradient(c, p, b, 0.9 * g)),
        "the target's sign": (critic, "residual_gradient", residual_with_the_wrong_sign),
        "the end ignored": (critic, "residual_gradient", residual_where_the_end_counts),
        "a mean loss": (critic, "td_loss", lambda c, p, b, g: (td_advantages(c, p, b, g) ** 2).mean()),
        "a ½ in the loss": (critic, "td_loss", lambda c, p, b, g: (td_advantages(c, p, b, g) ** 2).sum() / 2),
        "NaN in one": (critic, "semi_gradient", scaled(semi_gradient, NAN)),
        "NaN in the other": (critic, "residual_gradient", scaled(residual_gradient, NAN)),
    },
    workers.worker_returns: {
        "swapped": (worker, "worker_gradients", gradients(lambda g, n: g[::-1])),
        "the critic climbs": (worker, "worker_gradients", gradients(lambda g, n: (-g[0], g[1]))),
        "the actor descends": (worker, "worker_gradients", gradients(lambda g, n: (g[0], -g[1]))),
        "a ½ in the loss": (worker, "worker_gradients", gradients(lambda g, n: (g[0] / 2, g[1]))),
        "means": (worker, "worker_gradients", gradients(lambda g, n: (g[0] / n, g[1] / n))),
        "the residual gradient": (worker, "worker_gradients", worker_with_the_residual_gradient),
        "normalised advantages": (worker, "worker_gradients", worker_with_normalised_advantages),
        "γ missing": (worker, "worker_gradients", worker_without_gamma),
        "the end ignored": (worker, "worker_gradients", worker_on(lambda s: ending(s, False))),
        "a cut taken for an end": (worker, "worker_gradients", worker_on(lambda s: ending(s, True))),
        "NaN": (worker, "worker_gradients", gradients(lambda g, n: (g[0] * NAN, g[1] * NAN))),
    },
    workers.worker_sums: {
        "means": (worker, "worker_gradients", gradients(lambda g, n: (g[0] / n, g[1] / n))),
        "normalised advantages": (worker, "worker_gradients", worker_with_normalised_advantages),
        "the first step only": (worker, "worker_gradients", worker_on(first_step)),
        "NaN": (worker, "worker_gradients", gradients(lambda g, n: (g[0], g[1] * NAN))),
    },
}  # fmt: skip


@pytest.mark.parametrize(("check", "mistake"), [(c, m) for c, table in MISTAKES.items() for m in table])
def test_the_check_rejects(check, mistake, rng, monkeypatch):
    home, name, wrong = MISTAKES[check][mistake]
    monkeypatch.setattr(home, name, wrong)
    if mistake == "swapped":  # two vectors of other lengths cannot even be compared
        with pytest.raises(ValueError, match="broadcast"):
            check(rng, 20)
    else:
        assert rejected(check, rng)


def test_every_check_has_mistakes_to_reject():
    assert set(MISTAKES) == checks_of(workers)


def test_a_policy_that_mixes_up_states_is_rejected(rng, monkeypatch):
    score_sum = Policy.score_sum
    monkeypatch.setattr(
        Policy, "score_sum", lambda self, t, obs, a, w, work=None: score_sum(self, t, obs[::-1], a, w)
    )
    assert rejected(workers.worker_objective, rng)
    assert rejected(workers.worker_returns, rng)


def test_a_value_gradient_off_by_one_in_a_thousand_is_rejected(rng, monkeypatch):
    monkeypatch.setattr(Critic, "value_sum_grad", scaled(value_sum_grad, 1.001))
    assert rejected(workers.critic_gradients, rng)


# --- the oracles that all checks of parametrised policies share ------------------------------------------


def test_complex_steps_are_exact_derivatives(rng):
    theta, m = rng.standard_normal(4), rng.standard_normal((3, 4))
    assert relative_error(complex_step_gradient(lambda t: (t**3).sum(), theta), 3 * theta**2) < 1e-15
    assert (
        relative_error(complex_step_jacobian(lambda t: np.sin(m @ t), theta), np.cos(m @ theta)[:, None] * m)
        < 1e-15
    )
    # and see what is off by one in a thousand
    assert relative_error(complex_step_gradient(lambda t: (t**3).sum(), theta), 3.003 * theta**2) > 5e-4


def test_a_relative_error_is_plain_where_the_reference_is_0_and_nan_where_anything_is():
    assert relative_error(np.array([0.5, 0.0]), np.zeros(2)) == 0.5
    assert relative_error(np.array([3.0, 5.0]), np.array([3.0, 4.0])) == 0.25
    assert np.isnan(relative_error(np.array([np.nan, 0.0]), np.ones(2)))
    assert np.isnan(relative_error(np.ones(2), np.array([np.nan, 0.0])))


@pytest.mark.parametrize("ends", [0.0, 0.3])
def test_paths_carry_all_the_probability_and_meet_every_state_as_often_as_they_should(ends, rng):
    m = small_mdp(rng, 0.9, states=3, actions=2, ending=ends)
    m = TabularMDP(m.transitions, m.rewards, [0.4, 0.0, 0.6], 0.9)
    pi = rng.dirichlet(np.ones(2), 3)
    visits, total = np.zeros(3), 0.0
    for probability, s, a, following in trajectories(m, pi, 3):
        assert len(s) == len(a) == len(following) <= 3
        assert (s[1:] == following[:-1]).all()
        assert following[-1] == -1 or len(s) == 3
        visits += probability * np.bincount(s, minlength=3)
        total += probability
    assert total == pytest.approx(1.0, rel=1e-14)
    np.testing.assert_allclose(visits, exact.state_weights(m, pi, discounted=False, horizon=3), rtol=1e-13)


def test_the_cases_are_tables_and_networks_some_of_which_end(rng):
    drawn = list(cases(rng, 12, (0.5, 0.9)))
    assert {case.obs.ndim for case in drawn} == {1, 2}
    assert {case.mdp.discount for case in drawn} == {0.5, 0.9}
    masses = {case.mdp.transitions.sum(2).round(12).min() for case in drawn}
    assert masses == {0.8, 1.0}
    for case in drawn:
        assert case.arguments == (case.mdp, case.policy, case.theta, case.obs)
