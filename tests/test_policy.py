"""Policies: every gradient against complex steps, every Hessian against three other ways to write it."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import passes
from pgref.arrays import Workspace
from pgref.checks.derivatives import (
    STEP,
    complex_step_gradient,
    complex_step_jacobian,
    relative_error,
)
from pgref.distributions import Categorical, DiagonalGaussian, MultiCategorical
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError
from pgref.networks import MLP, Table, WithFreeOutputs
from pgref.policy import Policy

POLICIES = {
    "table": Policy(Table(3, 4), Categorical()),
    "tanh": Policy(MLP((2, 4, 3)), Categorical()),
    "relu": Policy(MLP((2, 5, 3), "relu"), Categorical()),
    "linear": Policy(MLP((2, 3)), Categorical()),
    "gaussian, free log σ": Policy(WithFreeOutputs(MLP((2, 4, 2)), 2), DiagonalGaussian()),
    "gaussian, log σ from the net": Policy(MLP((2, 4, 4)), DiagonalGaussian()),
    "gaussian table": Policy(WithFreeOutputs(Table(3, 1), 1), DiagonalGaussian()),
    "multi-categorical": Policy(MLP((2, 4, 5)), MultiCategorical((2, 3))),
}
DISCRETE = [name for name in POLICIES if "gaussian" not in name]
names, seeds, sizes = st.sampled_from(sorted(POLICIES)), st.integers(0, 2**32 - 1), st.integers(1, 7)
weighting = st.booleans()


def draw(name, seed, n, dtype=np.float64):
    """Return the policy, two θ, observations, actions, and positive weights."""
    policy, rng = POLICIES[name], np.random.default_rng(seed)
    old, new = (0.7 * rng.standard_normal((2, policy.n_params))).astype(dtype)
    obs = rng.integers(0, 3, n) if "table" in name else rng.standard_normal((n, 2)).astype(dtype)
    return policy, old, new, obs, policy.sample(old, obs, rng), rng.random(n) + 0.1


def log_prob_jacobian(policy, theta, obs, actions):
    return complex_step_jacobian(lambda t: policy.log_prob(t, obs, actions), theta)


# --- gradients -------------------------------------------------------------------------------------------


@given(names, seeds, sizes, weighting)
def test_every_gradient_is_the_complex_step_to_1e_13(name, seed, n, weighted):
    policy, old, new, obs, actions, weights = draw(name, seed, n)
    w = weights if weighted else None
    scores = policy.score_sum(new, obs, actions, weights)
    assert relative_error(scores, weights @ log_prob_jacobian(policy, new, obs, actions)) <= 1e-13
    mean = weights if weighted else np.full(n, 1 / n)
    for gradient, f in (
        (policy.entropy_grad(new, obs, w), lambda t: mean @ policy.entropy(t, obs)),
        (policy.mean_kl_grad(old, new, obs, w), lambda t: policy.mean_kl(old + 0j, t, obs, w)),
    ):
        assert relative_error(gradient, complex_step_gradient(f, new)) <= 1e-13
    by_steps = complex_step_gradient(lambda t: policy.mean_kl(t, new + 0j, obs, w), old)
    assert relative_error(policy.mean_kl_grad_old(old, new, obs, w), by_steps) <= 1e-13


@given(names, seeds, sizes)
def test_log_prob_and_score_sums_come_from_one_pass_and_agree(name, seed, n):
    policy, theta, _, obs, actions, weights = draw(name, seed, n)
    scores = policy.scores(theta, obs, actions)
    assert scores.log_prob.tobytes() == policy.log_prob(theta, obs, actions).tobytes()
    assert scores.score_sum(weights).tobytes() == policy.score_sum(theta, obs, actions, weights).tobytes()
    one_by_one = np.stack([scores.score_sum(e) for e in np.eye(n)])
    assert relative_error(scores.score_sum(weights), weights @ one_by_one) <= 1e-13


@given(names, seeds, sizes, st.floats(0, 2))
@example("tanh", 0, 3, 0.0)
def test_scores_and_entropies_come_from_one_pass_and_agree(name, seed, n, c):
    policy, theta, _, obs, actions, weights = draw(name, seed, n)
    scores = policy.scores(theta, obs, actions)
    assert scores.entropy().tobytes() == policy.entropy(theta, obs).tobytes()
    score, entropy = scores.score_sum(weights), policy.entropy_grad(theta, obs, np.full(n, c))
    gradient = scores.gradient(weights, c)
    size = max(np.abs(score).max(), np.abs(entropy).max(), 1e-300)
    assert np.abs(gradient - (score + entropy)).max() <= 1e-14 * n * size
    assert scores.gradient(weights, 0.0).tobytes() == score.tobytes()


# --- acting ----------------------------------------------------------------------------------------------


@given(names, seeds, sizes, st.integers(1, 3), st.booleans(), st.sampled_from([np.float32, np.float64]))
def test_acting_with_noise_drawn_beforehand_is_sampling(name, seed, n, steps, shared, dtype):
    policy, theta, _, obs, _, _ = draw(name, seed, n, dtype)
    rng, work = np.random.default_rng(seed), Workspace() if shared else None
    noise = policy.distribution.noise(
        np.random.default_rng(seed), (steps, n), policy.network.n_outputs, dtype
    )
    actor = policy.actor(theta, work)
    for step in noise:
        wanted = policy.sample(theta, obs, rng).tobytes()
        assert policy.act(theta, obs, step, work).tobytes() == wanted
        assert actor(obs, step).tobytes() == wanted


@given(names, seeds, sizes)
def test_acting_writes_to_no_argument_and_to_no_action_already_given(name, seed, n):
    policy, theta, other, obs, _, _ = draw(name, seed, n)
    noise = policy.distribution.noise(
        np.random.default_rng(seed), (2, n), policy.network.n_outputs, np.float64
    )
    for array in (theta, other, obs, noise):
        array.setflags(write=False)  # a write would raise
    work = Workspace()
    first = policy.act(theta, obs, noise[0], work)
    before = first.tobytes()
    policy.act(other, obs, noise[1], work)
    assert first.tobytes() == before


def test_acting_checks_all_and_an_actor_theta_once_and_what_comes_out_each_time():
    policy, theta, _, obs, _, _ = draw("tanh", 0, 3)
    noise, bad = np.zeros((3, 3)), np.full_like(obs, np.nan)
    with pytest.raises(NonFiniteError, match=r"^theta must be finite, got nan"):
        policy.actor(theta * np.nan)
    with pytest.raises(NonFiniteError, match=r"^observations must be finite, got nan at index \(0, 0\)$"):
        policy.act(theta, bad, noise)
    actor = policy.actor(theta)
    with pytest.raises(NonFiniteError, match=r"^network output must be finite, got nan at index \(0, 0\)$"):
        actor(bad, noise)
    for f in (actor, lambda obs, noise: policy.act(theta, obs, noise)):
        with pytest.raises(ShapeError, match=r"^noise must have shape \(3, 3\), got \(2, 3\)$"):
            f(obs, noise[:2])


def test_scores_of_nothing_are_refused():
    policy, *_ = draw("tanh", 0, 3)
    with pytest.raises(ArgumentError, match=r"^empty batch \(0 samples\)$"):
        policy.scored(np.zeros((0, 3)), np.zeros(0, int), lambda rows: rows)


@given(st.sampled_from(DISCRETE), seeds, sizes)
def test_the_score_sums_to_zero_over_the_actions(name, seed, n):
    policy, theta, _, obs, _, weights = draw(name, seed, n)
    total, size = np.zeros(policy.n_params), 0.0
    for actions in every_action(policy, n):
        p = np.exp(policy.log_prob(theta, obs, actions))
        term = policy.score_sum(theta, obs, actions, weights * p)
        total, size = total + term, size + np.abs(term).max()
    assert np.abs(total).max() <= 1e-14 * size


def every_action(policy, n):
    """Yield each action of a discrete policy as a batch of n equal ones."""
    if isinstance(policy.distribution, Categorical):
        yield from (np.full(n, a) for a in range(policy.network.n_outputs))
    else:
        for action in itertools.product(*(range(k) for k in policy.distribution.sizes)):
            yield np.tile(action, (n, 1))


# --- the mean KL divergence ------------------------------------------------------------------------------


@given(names, seeds, sizes, weighting)
def test_mean_kl_is_a_weighted_sum_with_weights_as_given(name, seed, n, weighted):
    policy, old, new, obs, _, weights = draw(name, seed, n)
    single = [policy.mean_kl(old, new, obs[i : i + 1]) for i in range(n)]
    if weighted:
        assert policy.mean_kl(old, new, obs, weights) == pytest.approx(weights @ single, rel=1e-13)
        assert policy.mean_kl(old, new, obs, 3 * weights) == pytest.approx(3 * (weights @ single), rel=1e-13)
    else:
        assert policy.mean_kl(old, new, obs) == pytest.approx(np.mean(single), rel=1e-13)
    assert type(policy.mean_kl(old, new, obs)) is float


@given(names, seeds, sizes)
def test_mean_kl_and_its_gradients_are_zero_at_the_old_policy(name, seed, n):
    policy, theta, _, obs, _, weights = draw(name, seed, n)
    assert policy.mean_kl(theta, theta, obs, weights) == 0
    assert not policy.mean_kl_grad(theta, theta, obs, weights).any()
    assert not policy.mean_kl_grad_old(theta, theta, obs, weights).any()


@given(seeds, sizes)
def test_mean_kl_has_the_old_policy_in_front(seed, n):
    policy, old, new, obs, _, weights = draw("table", seed, n)
    p, q = policy.probabilities(old, obs), policy.probabilities(new, obs)
    forward = weights @ (p * np.log(p / q)).sum(1)
    backward = weights @ (q * np.log(q / p)).sum(1)
    assert policy.mean_kl(old, new, obs, weights) == pytest.approx(forward, rel=1e-12)
    assert policy.mean_kl(new, old, obs, weights) == pytest.approx(backward, rel=1e-12)
    assert abs(forward - backward) > 1e-9


def gauss_newton(policy, theta, obs, weights):
    """Return Σ_n w_n JₙᵀFₙJₙ from complex-step Jacobians and the textbook's F."""
    z = policy.network.linearize(theta, obs).value
    jacobian = complex_step_jacobian(lambda t: policy.network.linearize(t, obs).value, theta)
    rows = zip(weights, jacobian, z, strict=True)
    return sum(w * j.T @ textbook_fisher(policy.distribution, row) @ j for w, j, row in rows)


def textbook_fisher(distribution, z):
    if isinstance(distribution, DiagonalGaussian):
        return np.diag(np.concatenate([np.exp(-2 * z[len(z) // 2 :]), np.full(len(z) // 2, 2.0)]))
    matrix = np.zeros((len(z), len(z)))
    starts = np.cumsum([0, *getattr(distribution, "sizes", (len(z),))])
    for a, b in itertools.pairwise(starts):
        p, unit = np.exp(z[a:b]) / np.exp(z[a:b]).sum(), np.eye(len(z))[a:b]
        for i, j in itertools.combinations(range(b - a), 2):  # diag(p) − ppᵀ as a sum of squares
            matrix += p[i] * p[j] * np.outer(unit[i] - unit[j], unit[i] - unit[j])
    return matrix


@given(names, seeds, st.integers(1, 5), weighting)
def test_the_kl_hessian_is_fisher_is_gauss_newton_for_either_order(name, seed, n, weighted):
    policy, theta, _, obs, _, weights = draw(name, seed, n)
    w = weights if weighted else None
    mean = weights if weighted else np.full(n, 1 / n)
    h = policy.kl_hessian(theta, obs, w)
    eye = np.eye(policy.n_params)
    in_new = [policy.mean_kl_grad(theta + 0j, theta + 1j * STEP * e, obs, w).imag / STEP for e in eye]
    in_old = [policy.mean_kl_grad_old(theta + 1j * STEP * e, theta + 0j, obs, w).imag / STEP for e in eye]
    for other in (
        gauss_newton(policy, theta, obs, mean),
        np.stack(in_new, -1),
        np.stack(in_old, -1),
        policy.mean_kl_hessian(theta, theta, obs, w),
        np.stack([policy.fisher_product(theta, obs, w)(e) for e in eye], -1),
    ):
        assert relative_error(h, other) <= 1e-12


@given(st.sampled_from(DISCRETE), seeds, st.integers(1, 4))
def test_the_kl_hessian_is_the_mean_of_score_times_score(name, seed, n):
    policy, theta, _, obs, _, weights = draw(name, seed, n)
    fisher = np.zeros((policy.n_params, policy.n_params))
    for actions in every_action(policy, n):
        p = np.exp(policy.log_prob(theta, obs, actions))
        jacobian = log_prob_jacobian(policy, theta, obs, actions)
        fisher += jacobian.T @ ((weights * p)[:, None] * jacobian)
    assert relative_error(policy.kl_hessian(theta, obs, weights), fisher) <= 1e-12


@given(names, seeds, sizes)
def test_the_fisher_product_is_linear_symmetric_and_positive(name, seed, n):
    policy, theta, _, obs, _, weights = draw(name, seed, n)
    product, h = policy.fisher_product(theta, obs, weights), policy.kl_hessian(theta, obs, weights)
    rng = np.random.default_rng(seed)
    v, u = rng.standard_normal((2, policy.n_params))
    hv, hu, size = product(v), product(u), np.abs(h).max() * policy.n_params * 10
    assert np.abs(hv - h @ v).max() <= 1e-13 * size
    assert abs(u @ hv - v @ hu) <= 1e-13 * size
    assert np.abs(product(2 * u - 3 * v) - (2 * hu - 3 * hv)).max() <= 1e-13 * size
    assert v @ hv >= 0
    assert np.abs(h - h.T).max() <= 1e-15 * size
    assert np.linalg.eigvalsh((h + h.T) / 2).min() >= -1e-15 * size


@pytest.mark.parametrize("name", sorted(POLICIES))
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("work", [None, Workspace()])
def test_without_kept_activations_the_fisher_product_is_the_same(monkeypatch, name, weighted, work):
    policy, theta, _, obs, _, weights = draw(name, 0, 2 * passes.BLOCK + 7)
    w = weights if weighted else None
    v = np.random.default_rng(0).standard_normal((3, policy.n_params))
    kept = policy.fisher_product(theta, obs, w)
    wanted = [kept(row).copy() for row in v]
    monkeypatch.setattr("pgref.policy.KEPT", passes.BLOCK)
    product = policy.fisher_product(theta, obs, w, work)
    got = [product(row) for row in v]
    if "MLP" in repr(policy) and "free" not in name:
        assert [row.tobytes() for row in got] == [row.tobytes() for row in wanted]
    else:  # a table's sums, and those of a free log σ, run otherwise
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13 * np.abs(wanted).max())


def test_without_kept_activations_errors_say_where_among_all_samples(monkeypatch):
    policy, theta, _, obs, _, weights = draw("tanh", 0, passes.BLOCK + 7)
    monkeypatch.setattr("pgref.policy.KEPT", passes.BLOCK)
    bad = obs.copy()
    bad[passes.BLOCK + 2, 1] = np.nan
    at = passes.BLOCK + 2
    with pytest.raises(NonFiniteError, match=rf"^observations must be finite, got nan at index \({at}, 1\)$"):
        policy.fisher_product(theta, bad)
    with pytest.raises(ShapeError, match=rf"^weights must have shape \({passes.BLOCK + 7}\), got \(3,\)$"):
        policy.fisher_product(theta, obs, weights[:3])
    with pytest.raises(ShapeError, match=r"^v must have shape"):
        policy.fisher_product(theta, obs)(np.ones(3))


@given(seeds, sizes, weighting)
def test_away_from_old_a_table_s_kl_hessian_is_the_fisher_of_the_new(seed, n, weighted):
    policy, old, new, obs, _, weights = draw("table", seed, n)
    w = weights if weighted else None
    assert relative_error(policy.mean_kl_hessian(old, new, obs, w), policy.kl_hessian(new, obs, w)) <= 1e-12


def test_away_from_old_an_mlp_s_kl_hessian_is_another_and_indefinite():
    policy, old, new, obs, _, _ = draw("tanh", 1, 6)
    h = policy.mean_kl_hessian(old, new, obs)
    assert np.abs(h - h.T).max() <= 1e-14
    assert relative_error(policy.kl_hessian(new, obs), h) > 0.1
    assert np.linalg.eigvalsh(h).min() < -1e-3


@given(names, seeds, st.integers(1, 4))
def test_the_quadratic_model_is_the_kl_to_second_order(name, seed, n):
    policy, theta, _, obs, _, _ = draw(name, seed, n)
    v = np.random.default_rng(seed).standard_normal(policy.n_params)
    # the remainder is of third order: a step ten times smaller leaves a hundredth of it, relative to ½v·Hv
    model = 0.5 * v @ policy.fisher_product(theta, obs)(v)
    small, smaller = (policy.mean_kl(theta, theta + t * v, obs) / t**2 for t in (1e-4, 1e-5))
    assert small == pytest.approx(model, rel=0.05, abs=1e-3)
    assert abs(smaller - model) <= 0.2 * abs(small - model) + 1e-9 * max(1, model)


@given(names, seeds, st.integers(1, 4), st.floats(-10, -6))
def test_beside_old_the_gradients_of_the_kl_are_the_hessian_times_the_step(name, seed, n, exponent):
    policy, theta, _, obs, _, weights = draw(name, seed, n)
    step = 10.0**exponent * np.random.default_rng(seed).standard_normal(policy.n_params)
    step = (theta + step) - theta
    wanted = policy.fisher_product(theta, obs, weights)(step)
    # the next order is smaller by the step; rounding of z is what remains, 1e-16 against 1e-10
    limit = 1e-4 * np.abs(wanted).max() + 1e-17
    assert np.abs(policy.mean_kl_grad(theta, theta + step, obs, weights) - wanted).max() <= limit
    assert np.abs(policy.mean_kl_grad_old(theta + step, theta, obs, weights) - wanted).max() <= limit


# --- the batch -------------------------------------------------------------------------------------------


def everything(policy, old, new, obs, actions, weights, w, work=None):
    """Return every result that sums over the batch; copies, since one in a workspace lives until the next."""
    v = np.cos(np.arange(policy.n_params)).astype(new.dtype)
    calls = (
        lambda: policy.score_sum(new, obs, actions, weights, work),
        lambda: policy.entropy_grad(new, obs, w, work),
        lambda: policy.mean_kl(old, new, obs, w, work),
        lambda: policy.mean_kl_grad(old, new, obs, w, work),
        lambda: policy.mean_kl_grad_old(old, new, obs, w, work),
        lambda: policy.fisher_product(new, obs, w, work)(v),
    )
    return [np.array(call()) for call in calls]


@given(names, seeds, sizes, weighting)
def test_the_order_of_the_batch_does_not_matter(name, seed, n, weighted):
    policy, old, new, obs, actions, weights = draw(name, seed, n)
    order = np.random.default_rng(seed).permutation(n)
    w = weights if weighted else None
    for a, b in zip(
        everything(policy, old, new, obs, actions, weights, w),
        everything(
            policy, old, new, obs[order], actions[order], weights[order], None if w is None else w[order]
        ),
        strict=True,
    ):
        assert np.abs(a - b).max() <= 1e-13 * max(1, np.abs(a).max())


@given(names, seeds, sizes)
def test_doubling_the_batch_changes_no_mean_and_doubles_every_sum(name, seed, n):
    policy, old, new, obs, actions, weights = draw(name, seed, n)
    twice = np.repeat(np.arange(n), 2)
    means = everything(policy, old, new, obs, actions, weights, None)
    doubled = everything(policy, old, new, obs[twice], actions[twice], weights[twice], None)
    for i, (a, b) in enumerate(zip(means, doubled, strict=True)):
        assert np.abs((a if i else 2 * a) - b).max() <= 1e-13 * max(1, np.abs(a).max())
    sums = everything(policy, old, new, obs, actions, weights, weights)
    doubled = everything(policy, old, new, obs[twice], actions[twice], weights[twice], weights[twice])
    for a, b in zip(sums, doubled, strict=True):
        assert np.abs(2 * a - b).max() <= 1e-13 * max(1, np.abs(a).max())


# --- workspaces, dtypes, borders -------------------------------------------------------------------------


@given(names, seeds, sizes, sizes, st.sampled_from([np.float32, np.float64]))
def test_a_workspace_changes_no_bit_however_often_it_is_used(name, seed, n, m, dtype):
    work = Workspace()
    for size in (n, n, m):
        policy, old, new, obs, actions, weights = draw(name, seed, size, dtype)
        plain = everything(policy, old, new, obs, actions, weights, weights)
        for _ in range(2):
            again = everything(policy, old, new, obs, actions, weights, weights, work)
            assert [a.tobytes() for a in again] == [a.tobytes() for a in plain]
        for f in (policy.entropy, policy.mode):
            assert f(new, obs, work).tobytes() == f(new, obs).tobytes()
        one, other = (policy.sample(new, obs, np.random.default_rng(seed), w) for w in (None, work))
        assert one.tobytes() == other.tobytes()
        assert (
            policy.log_prob(new, obs, actions, work).tobytes() == policy.log_prob(new, obs, actions).tobytes()
        )


@given(names, seeds, sizes)
def test_float32_stays_float32_and_is_float64_up_to_its_rounding(name, seed, n):
    policy, old, new, obs, actions, weights = draw(name, seed, n, np.float32)
    single = everything(policy, old, new, obs, actions, weights, weights)
    double = everything(policy, old.astype(float), new.astype(float), obs, actions, weights, weights)
    assert all(a.dtype == np.float32 for i, a in enumerate(single) if i != 2)  # mean_kl is a Python float
    for a, b in zip(single, double, strict=True):
        assert np.abs(a - b).max() <= 2e-5 * max(1, np.abs(b).max())
    assert policy.kl_hessian(new, obs, weights).dtype == np.float32
    assert policy.log_prob(new, obs, actions).dtype == policy.entropy(new, obs).dtype == np.float32
    product = policy.fisher_product(new, obs)
    assert product(np.ones(policy.n_params)).dtype == np.float32
    assert policy.mean_kl_hessian(old, new, obs).dtype == np.float64


@given(names, seeds, sizes)
def test_arguments_are_untouched_in_any_layout(name, seed, n):
    policy, old, new, obs, actions, weights = draw(name, seed, n)
    plain = everything(policy, old, new, obs, actions, weights, weights)
    given_arrays = []
    for array in (old, new, obs, actions, weights):
        wide = np.repeat(array[::-1].astype(array.dtype.newbyteorder("S")), 2, 0)[::-2]
        wide.setflags(write=False)
        given_arrays.append(wide)
    before = [a.tobytes() for a in given_arrays]
    other = everything(policy, *given_arrays[:-1], given_arrays[-1], given_arrays[-1])
    assert [a.tobytes() for a in other] == [a.tobytes() for a in plain]
    assert [a.tobytes() for a in given_arrays] == before


@given(names, seeds, sizes, st.sampled_from([np.float32, np.float64]))
def test_init_is_a_theta_and_reproducible(name, seed, n, dtype):
    policy, _, _, obs, _, _ = draw(name, seed, n)
    theta = policy.init(np.random.default_rng(seed), dtype)
    assert theta.dtype == dtype
    assert theta.tobytes() == policy.init(np.random.default_rng(seed), dtype).tobytes()
    assert len(policy.sample(theta, obs, np.random.default_rng(seed))) == n


@given(seeds, sizes)
@example(0, 1)
def test_probabilities_are_those_of_every_action(seed, n):
    for name in ("table", "tanh"):
        policy, theta, _, obs, _, _ = draw(name, seed, n)
        pi = policy.probabilities(theta, obs)
        columns = [np.exp(policy.log_prob(theta, obs, a)) for a in every_action(policy, n)]
        np.testing.assert_allclose(pi, np.stack(columns, 1), rtol=1e-14)
        np.testing.assert_array_equal(policy.mode(theta, obs), pi.argmax(1))


def test_probabilities_need_a_categorical():
    policy, theta, _, obs, _, _ = draw("gaussian table", 0, 1)
    with pytest.raises(
        ArgumentTypeError, match=r"^probabilities need a Categorical policy, got DiagonalGaussian\(\)$"
    ):
        policy.probabilities(theta, obs)


def test_a_distribution_that_does_not_fit_the_network_is_refused():
    with pytest.raises(ShapeError, match="got 3 outputs"):
        Policy(MLP((2, 3)), DiagonalGaussian())
    with pytest.raises(ShapeError, match="need 5 outputs, got 4"):
        Policy(Table(2, 4), MultiCategorical((2, 3)))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(2), ShapeError, "weights must have shape (3), got (2,)"),
        (np.ones((3, 1)), ShapeError, "weights must have shape (3), got (3, 1)"),
        (1.0, ShapeError, "weights must have shape (3), got ()"),
        (np.array([1, np.nan, 1]), NonFiniteError, "weights must be finite, got nan at index (1,)"),
        (
            np.ones(3) * 1j,
            ArgumentTypeError,
            "weights must hold real numbers, got ndarray of dtype complex128",
        ),
        (np.ones(3, bool), ArgumentTypeError, "weights must hold real numbers, got ndarray of dtype bool"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_all(weights, error, message):
    policy, old, new, obs, actions, _ = draw("tanh", 0, 3)
    for f in (
        lambda: policy.score_sum(new, obs, actions, weights),
        lambda: policy.entropy_grad(new, obs, weights),
        lambda: policy.mean_kl(old, new, obs, weights),
        lambda: policy.mean_kl_grad(old, new, obs, weights),
        lambda: policy.mean_kl_grad_old(old, new, obs, weights),
        lambda: policy.fisher_product(new, obs, weights),
        lambda: policy.kl_hessian(new, obs, weights),
    ):
        with pytest.raises(error) as caught:
            f()
        assert str(caught.value) == message


def test_weights_too_large_for_float32_are_refused():
    policy, _, new, obs, actions, weights = draw("tanh", 0, 3, np.float32)
    with pytest.raises(NonFiniteError, match=r"^weights must be finite, got inf at index \(0,\)$"):
        policy.score_sum(new, obs, actions, 1e40 * weights)


def test_complex_weights_go_with_a_complex_theta():
    policy, _, new, obs, actions, weights = draw("tanh", 0, 3)
    real, imaginary = (policy.score_sum(new, obs, actions, w) for w in (weights, weights**2))
    both = policy.score_sum(new + 0j, obs, actions, weights + 1j * weights**2)
    np.testing.assert_allclose(both, real + 1j * imaginary, rtol=1e-13)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_vector_of_another_length_is_no_argument_of_the_fisher_product(name):
    policy, theta, _, obs, _, _ = draw(name, 0, 2)
    product = policy.fisher_product(theta, obs)
    for n in (policy.n_params - 1, policy.n_params + 1):
        with pytest.raises(ShapeError, match=rf"^v must have shape \({policy.n_params}\), got \({n},\)$"):
            product(np.ones(n))
    with pytest.raises(NonFiniteError, match=r"^v must be finite, got nan"):
        product(np.full(policy.n_params, np.nan))
    assert product(np.ones(policy.n_params, int)).dtype == np.float64
    complex_product = policy.fisher_product(theta + 0j, obs)
    np.testing.assert_allclose(complex_product(1j * theta).imag, product(theta), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("bad", [np.zeros(1), np.zeros(18, int), np.zeros((18, 1)), np.full(18, np.nan)])
def test_every_function_refuses_what_is_no_theta(bad):
    policy, theta, _, obs, actions, weights = draw("relu", 0, 3)
    bad = np.resize(bad, (policy.n_params, *bad.shape[1:])) if len(bad) > 1 else bad
    for f in (
        lambda: policy.log_prob(bad, obs, actions),
        lambda: policy.score_sum(bad, obs, actions, weights),
        lambda: policy.mean_kl(theta, bad, obs),
        lambda: policy.mean_kl_grad(bad, theta, obs),
        lambda: policy.mean_kl_hessian(bad, theta, obs),
        lambda: policy.mean_kl_hessian(theta, bad, obs),
        lambda: policy.fisher_product(bad, obs),
        lambda: policy.kl_hessian(bad, obs),
        lambda: policy.sample(bad, obs, np.random.default_rng(0)),
    ):
        with pytest.raises((ArgumentError, ArgumentTypeError), match=r"^theta must "):
            f()


def test_actions_are_checked_wherever_they_are_taken():
    policy, theta, _, obs, _, weights = draw("tanh", 0, 3)
    for actions, message in (
        ([0, 1, 5], r"action 5 not in Discrete\(3\)"),
        ([0.0, 1.0, 2.0], "must hold integers"),
    ):
        with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
            policy.log_prob(theta, obs, actions)
        with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
            policy.score_sum(theta, obs, actions, weights)
