"""What the algorithms maximise: values against loops over samples, gradients against complex steps."""

import inspect
import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import objectives
from pgref.arrays import Workspace
from pgref.checks.derivatives import complex_step_gradient, relative_error
from pgref.distributions import Categorical, DiagonalGaussian, MultiCategorical
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError
from pgref.networks import MLP, Table, WithFreeOutputs
from pgref.objectives import (
    Batch,
    adapted_penalty,
    clipped,
    clipped_grad,
    clipped_step,
    entropy_bonus,
    entropy_bonus_grad,
    kl_penalised,
    kl_penalised_grad,
    kl_penalised_grad_at,
    score_objective,
    score_objective_grad,
    score_step,
    surrogate,
    surrogate_grad,
)
from pgref.policy import Policy

POLICIES = {
    "table": Policy(Table(3, 4), Categorical()),
    "tanh": Policy(MLP((2, 4, 3)), Categorical()),
    "relu": Policy(MLP((2, 5, 3), "relu"), Categorical()),
    "gaussian": Policy(WithFreeOutputs(MLP((2, 4, 2)), 2), DiagonalGaussian()),
    "multi-categorical": Policy(MLP((2, 4, 5)), MultiCategorical((2, 3))),
}
names, seeds, sizes = st.sampled_from(sorted(POLICIES)), st.integers(0, 2**32 - 1), st.integers(1, 9)
clips, penalties = st.floats(0.01, 0.9), st.floats(0, 5)


def draw(name, seed, n, dtype=np.float64):
    """Return the policy, θ_old, a θ not far from it, and a batch drawn at θ_old."""
    policy, rng = POLICIES[name], np.random.default_rng(seed)
    old = (0.7 * rng.standard_normal(policy.n_params)).astype(dtype)
    theta = old + (0.3 * rng.standard_normal(policy.n_params)).astype(dtype)
    obs = rng.integers(0, 3, n) if name == "table" else rng.standard_normal((n, 2))
    actions = policy.sample(old, obs, rng)
    return policy, old, theta, Batch(obs, actions, rng.standard_normal(n), policy.log_prob(old, obs, actions))


def samples(policy, theta, batch):
    """Yield (r, Â) of each sample as Python floats."""
    log_prob = policy.log_prob(theta, batch.obs, batch.actions)
    for new, old, advantage in zip(log_prob, batch.old_log_probs, batch.advantages, strict=True):
        yield math.exp(float(new) - float(old)), float(advantage)


def all_of(old, clip, penalty):
    """Return each objective with its gradient, as functions of (policy, θ, batch, work)."""
    return {
        "score": (score_objective, score_objective_grad),
        "surrogate": (surrogate, surrogate_grad),
        "clipped": tuple(
            lambda p, t, b, work=None, f=f: f(p, t, b, clip=clip, work=work) for f in (clipped, clipped_grad)
        ),
        "penalised": tuple(
            lambda p, t, b, work=None, f=f: f(p, t, b, old + 0 * t, penalty=penalty, work=work)
            for f in (kl_penalised, kl_penalised_grad)
        ),
        "entropy": tuple(
            lambda p, t, b, work=None, f=f: f(p, t, b.obs, work) for f in (entropy_bonus, entropy_bonus_grad)
        ),
    }


# --- values ----------------------------------------------------------------------------------------------


@given(names, seeds, sizes, clips, penalties)
def test_values_are_those_of_a_loop_over_the_samples(name, seed, n, clip, penalty):
    policy, old, theta, batch = draw(name, seed, n)
    log_prob = policy.log_prob(theta, batch.obs, batch.actions)
    pairs = list(samples(policy, theta, batch))
    plain = math.fsum(r * a for r, a in pairs) / n
    kl = sum(policy.mean_kl(old, theta, batch.obs[i : i + 1]) for i in range(n)) / n
    for value, wanted in (
        (score_objective(policy, theta, batch), math.fsum(map(float, log_prob * batch.advantages))),  # a sum
        (surrogate(policy, theta, batch), plain),
        (
            clipped(policy, theta, batch, clip=clip),
            math.fsum(min(r * a, min(max(r, 1 - clip), 1 + clip) * a) for r, a in pairs) / n,
        ),
        (kl_penalised(policy, theta, batch, old, penalty=penalty), plain - penalty * kl),
        (entropy_bonus(policy, theta, batch.obs), math.fsum(policy.entropy(theta, batch.obs)) / n),
    ):
        assert type(value) is float
        assert value == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@given(names, seeds, sizes, clips)
def test_the_clipped_surrogate_is_never_above_the_plain_one(name, seed, n, clip):
    policy, _, theta, batch = draw(name, seed, n)
    plain = surrogate(policy, theta, batch)
    assert clipped(policy, theta, batch, clip=clip) <= plain + 1e-14 * max(1, abs(plain))
    assert clipped(policy, theta, batch, clip=1e9) == plain


@given(names, seeds, sizes, clips, penalties)
def test_at_old_every_surrogate_is_the_mean_advantage(name, seed, n, clip, penalty):
    policy, old, _, batch = draw(name, seed, n)
    mean = batch.advantages.mean()
    assert surrogate(policy, old, batch) == mean
    assert clipped(policy, old, batch, clip=clip) == mean
    assert kl_penalised(policy, old, batch, old, penalty=penalty) == mean


# --- gradients -------------------------------------------------------------------------------------------


@given(names, seeds, sizes, clips, penalties)
def test_every_gradient_is_the_complex_step_to_1e_13(name, seed, n, clip, penalty):
    policy, old, theta, batch = draw(name, seed, n)
    for f, f_grad in all_of(old, clip, penalty).values():
        by_steps = complex_step_gradient(lambda t: f(policy, t, batch), theta)  # noqa: B023
        assert relative_error(f_grad(policy, theta, batch), by_steps) <= 1e-13


@given(names, seeds, sizes, clips)
def test_away_from_its_kinks_the_clipped_gradient_is_the_central_difference(name, seed, n, clip):
    policy, _, theta, batch = draw(name, seed, n)
    r = np.exp(policy.log_prob(theta, batch.obs, batch.actions) - batch.old_log_probs)
    smooth = np.abs(np.abs(r - 1) - clip) > 1e-3
    if name == "relu" or not smooth.any():
        return
    batch = Batch(*(x[smooth] for x in batch))
    v, h = np.random.default_rng(seed).standard_normal(len(theta)), 1e-6
    ahead, behind = (clipped(policy, theta + s * h * v, batch, clip=clip) for s in (1, -1))
    slope = clipped_grad(policy, theta, batch, clip=clip) @ v
    assert slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-5, abs=1e-6)


@given(names, seeds, sizes, clips, penalties)
def test_at_old_every_surrogate_has_the_policy_gradient(name, seed, n, clip, penalty):
    policy, old, _, batch = draw(name, seed, n)
    wanted = policy.score_sum(old, batch.obs, batch.actions, batch.advantages / n)
    np.testing.assert_array_equal(surrogate_grad(policy, old, batch), wanted)
    np.testing.assert_array_equal(clipped_grad(policy, old, batch, clip=clip), wanted)
    np.testing.assert_array_equal(kl_penalised_grad(policy, old, batch, old, penalty=penalty), wanted)
    mean = score_objective_grad(policy, old, batch) / n
    assert np.abs(mean - wanted).max() <= 1e-14 * max(1, np.abs(wanted).max()) * n


@given(names, seeds, sizes, clips)
def test_an_active_clip_gives_exactly_zero_and_an_inactive_one_the_plain_gradient(name, seed, n, clip):
    policy, _, theta, batch = draw(name, seed, n)
    active = [(r > 1 + clip and a > 0) or (r < 1 - clip and a < 0) for r, a in samples(policy, theta, batch)]
    for i, is_active in enumerate(active):
        one = Batch(*(x[i : i + 1] for x in batch))
        gradient = clipped_grad(policy, theta, one, clip=clip)
        wanted = np.zeros(policy.n_params) if is_active else surrogate_grad(policy, theta, one)
        np.testing.assert_array_equal(gradient, wanted)
    silenced = batch._replace(advantages=np.where(active, 0.0, batch.advantages))
    np.testing.assert_array_equal(
        clipped_grad(policy, theta, batch, clip=clip), surrogate_grad(policy, theta, silenced)
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "active"),
    [
        (1.3, 1.0, True),
        (1.3, -1.0, False),
        (0.7, 1.0, False),
        (0.7, -1.0, True),
        (1.1, 1.0, False),
        (1.5, 0.0, False),
    ],
)
def test_the_clip_holds_only_what_would_gain_from_going_further(ratio, advantage, active):
    policy = Policy(Table(1, 2), Categorical())
    batch = Batch([0], [1], [advantage], [math.log(0.5 / ratio)])  # π_θ(a) = ½, so r is the ratio
    gradient = clipped_grad(policy, np.zeros(2), batch, clip=0.2)
    r = ratio * advantage
    np.testing.assert_allclose(gradient, [0, 0] if active else [-r / 2, r / 2], rtol=1e-14)
    edge = (1.2 if ratio > 1 else 0.8) * advantage
    assert clipped(policy, np.zeros(2), batch, clip=0.2) == pytest.approx(edge if active else r, rel=1e-14)


# --- one pass for a gradient and its evidence ------------------------------------------------------------


def evidence_of(step):
    return step.evidence() if hasattr(step, "evidence") else step.entropy


@given(names, seeds, sizes, clips, st.floats(0, 2), st.sampled_from([np.float32, np.float64]))
@example("tanh", 0, 3, 0.2, 0.0, np.float32)
def test_a_clipped_step_is_the_two_objectives_and_their_gradients(name, seed, n, clip, c, dtype):
    policy, _, theta, batch = draw(name, seed, n, dtype)
    step = clipped_step(policy, theta, batch, clip=clip, entropy=c)
    evidence = step.evidence()
    assert evidence.value == clipped(policy, theta, batch, clip=clip)
    assert evidence.entropy == entropy_bonus(policy, theta, batch.obs)
    surrogate, bonus = (
        clipped_grad(policy, theta, batch, clip=clip),
        entropy_bonus_grad(policy, theta, batch.obs),
    )
    assert step.gradient.dtype == dtype
    size = np.abs(surrogate).max() + c * np.abs(bonus).max()
    assert np.abs(step.gradient - (surrogate + c * bonus)).max() <= 32 * n * np.finfo(dtype).eps * size
    plain = clipped_step(policy, theta, batch, clip=clip)
    assert plain.gradient.tobytes() == surrogate.tobytes()
    assert plain.evidence() == evidence
    assert all(type(x) is float for x in evidence)


@given(names, seeds, sizes, clips)
def test_the_evidence_of_a_clipped_step_is_that_of_a_loop(name, seed, n, clip):
    policy, _, theta, batch = draw(name, seed, n)
    step = clipped_step(policy, theta, batch, clip=clip).evidence()
    ratios = [r for r, _ in samples(policy, theta, batch)]
    wanted = math.fsum((r - 1) - math.log(r) for r in ratios) / n
    # r − 1 and log r are off by 1e-16 of their size, log π by that of its own
    log_prob = policy.log_prob(theta, batch.obs, batch.actions)
    assert step.kl == pytest.approx(wanted, rel=1e-12, abs=1e-14 * max(1, np.abs(log_prob).max()))
    assert step.clip_fraction == sum(abs(r - 1) > clip for r in ratios) / n


@given(st.sampled_from(["table", "tanh", "relu"]), seeds, sizes)
def test_the_estimate_of_the_kl_is_unbiased(name, seed, n):
    # its sum over all actions, as likely as they were under the old policy, is the divergence itself
    policy, old, theta, batch = draw(name, seed, n)
    pi, expected = policy.probabilities(old, batch.obs), 0.0
    for i in range(n):
        for action in range(pi.shape[1]):
            obs, actions = batch.obs[i : i + 1], [action]
            one = Batch(obs, actions, [0.0], policy.log_prob(old, obs, actions))
            expected += pi[i, action] * clipped_step(policy, theta, one, clip=0.2).evidence().kl / n
    assert expected == pytest.approx(policy.mean_kl(old, theta, batch.obs), rel=1e-12, abs=1e-15)


@given(names, seeds, sizes, st.sampled_from([np.float32, np.float64]))
def test_at_old_there_is_no_divergence_and_no_clip(name, seed, n, dtype):
    policy, old, _, batch = draw(name, seed, n, dtype)
    step = clipped_step(policy, old, batch, clip=1e-9).evidence()
    assert (step.kl, step.clip_fraction) == (0, 0)


@given(names, seeds, sizes, st.floats(-9, -1), st.sampled_from([np.float32, np.float64]))
def test_the_estimate_of_the_kl_is_not_negative_however_near(name, seed, n, exponent, dtype):
    policy, _, theta, batch = draw(name, seed, n, dtype)
    near = policy.log_prob(theta, batch.obs, batch.actions) + 10.0**exponent * np.sin(np.arange(n))
    kl = clipped_step(policy, theta, batch._replace(old_log_probs=near), clip=0.2).evidence().kl
    # each term may be off by one unit of e^x − 1
    assert kl >= -np.finfo(dtype).eps * 10.0**exponent


@given(names, seeds, sizes, st.floats(0, 2), st.sampled_from([np.float32, np.float64]))
@example("tanh", 0, 3, 0.0, np.float64)
def test_a_score_step_is_the_score_sum_and_the_entropy_s_gradient(name, seed, n, c, dtype):
    policy, _, theta, (obs, actions, weights, _) = draw(name, seed, n, dtype)
    step = score_step(policy, theta, obs, actions, weights, entropy=c)
    assert step.entropy == entropy_bonus(policy, theta, obs)
    score, bonus = (
        policy.score_sum(theta, obs, actions, weights),
        policy.entropy_grad(theta, obs, np.full(n, c)),
    )
    assert step.gradient.dtype == dtype
    limit = 32 * n * np.finfo(dtype).eps * (np.abs(score).max() + np.abs(bonus).max())
    assert np.abs(step.gradient - (score + bonus)).max() <= limit
    plain = score_step(policy, theta, obs, actions, weights)
    assert plain.gradient.tobytes() == score.tobytes()


@given(names, seeds, sizes, sizes, st.floats(0, 1), st.sampled_from([np.float32, np.float64]))
def test_a_workspace_changes_no_bit_of_a_step(name, seed, n, m, c, dtype):
    work = Workspace()
    for size in (n, n, m):
        policy, _, theta, batch = draw(name, seed, size, dtype)
        for f in (
            lambda work: clipped_step(policy, theta, batch, clip=0.2, entropy=c, work=work),  # noqa: B023
            lambda work: score_step(policy, theta, *batch[:3], entropy=c, work=work),  # noqa: B023
        ):
            plain = f(None)
            for _ in range(2):
                again = f(work)
                assert again.gradient.tobytes() == plain.gradient.tobytes()
                assert evidence_of(again) == evidence_of(plain)


# --- invariances -----------------------------------------------------------------------------------------


@given(names, seeds, sizes, clips, st.integers(-8, 8))
def test_advantages_times_a_power_of_two_scale_everything_exactly(name, seed, n, clip, power):
    policy, old, theta, batch = draw(name, seed, n)
    scaled = batch._replace(advantages=batch.advantages * 2.0**power)
    chosen = [v for k, v in all_of(old, clip, 0.0).items() if k in ("score", "surrogate", "clipped")]
    for f in (f for pair in chosen for f in pair):
        assert np.array_equal(f(policy, theta, scaled), 2.0**power * np.asarray(f(policy, theta, batch)))


@given(names, seeds, sizes, clips, penalties)
def test_permuting_or_doubling_the_batch_leaves_means_and_doubles_the_sum(name, seed, n, clip, penalty):
    policy, old, theta, batch = draw(name, seed, n)
    order = np.random.default_rng(seed).permutation(np.repeat(np.arange(n), 2))
    twice = Batch(*(x[order] for x in batch))
    for key, pair in all_of(old, clip, penalty).items():
        for f in pair:
            once = np.asarray(f(policy, theta, batch)) * (2 if key == "score" else 1)
            assert np.abs(f(policy, theta, twice) - once).max() <= 1e-13 * n * max(1, np.abs(once).max())


@given(names, seeds, sizes, sizes)
def test_the_score_objective_of_two_batches_adds_up(name, seed, n, m):
    policy, _, theta, first = draw(name, seed, n)
    _, _, _, second = draw(name, seed + 1, m)
    both = Batch(*map(np.concatenate, zip(first, second, strict=True)))
    for f in (score_objective, score_objective_grad):
        total = np.asarray(f(policy, theta, first)) + f(policy, theta, second)
        assert np.abs(f(policy, theta, both) - total).max() <= 1e-12 * max(1, np.abs(total).max())


@given(names, seeds, sizes, penalties)
def test_the_penalty_is_beta_times_the_kl_from_old_to_new(name, seed, n, penalty):
    policy, old, theta, batch = draw(name, seed, n)
    none, some = (kl_penalised(policy, theta, batch, old, penalty=b) for b in (0.0, penalty))
    assert none == surrogate(policy, theta, batch)
    assert some == none - penalty * policy.mean_kl(old, theta, batch.obs)
    gradient = kl_penalised_grad(policy, theta, batch, old, penalty=penalty)
    kl_grad = policy.mean_kl_grad(old, theta, batch.obs)
    np.testing.assert_array_equal(gradient, surrogate_grad(policy, theta, batch) - penalty * kl_grad)


@given(names, seeds, sizes, penalties, st.floats(0, 1))
def test_the_penalised_rows_in_z_lead_to_the_gradient_in_theta(name, seed, n, penalty, c):
    policy, old, theta, batch = draw(name, seed, n)
    z_old = policy.network.linearize(old, batch.obs).value
    z, _, vjp = policy.network.linearize(theta, batch.obs)
    rows = kl_penalised_grad_at(policy, z, z_old, batch, penalty=penalty, entropy=c)
    parts = (
        surrogate_grad(policy, theta, batch),
        -penalty * policy.mean_kl_grad(old, theta, batch.obs),
        c * entropy_bonus_grad(policy, theta, batch.obs),
    )
    size = sum(np.abs(part).max() for part in parts)
    np.testing.assert_allclose(vjp(rows), sum(parts), rtol=0, atol=1e-13 * n * max(1.0, size))


@given(st.floats(0, 1e6), st.floats(0, 10), st.floats(1e-6, 1))
@example(1.0, 0.015, 0.01)
@example(1.0, 0.01, 0.015)
@example(1.0, math.inf, 0.01)
def test_the_penalty_doubles_above_one_and_a_half_targets_and_halves_below_two_thirds(penalty, kl, target):
    factor = {-1: 0.5, 0: 1.0, 1: 2.0}[int(kl > 1.5 * target) - int(kl < target / 1.5)]
    assert adapted_penalty(penalty, kl, target) == factor * penalty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 0.1, 0.1), "penalty must be at least 0 and finite, got -1.0"),
        ((1.0, math.nan, 0.1), "kl must be at least 0, got nan"),
        ((1.0, -0.1, 0.1), "kl must be at least 0, got -0.1"),
        ((1.0, 0.1, 0.0), "kl_target must be positive and finite, got 0.0"),
    ],
)
def test_the_penalty_s_arguments_are_checked(arguments, message):
    with pytest.raises(ArgumentError) as caught:
        adapted_penalty(*arguments)
    assert str(caught.value) == message


# --- workspaces, dtypes, extremes ------------------------------------------------------------------------


@given(names, seeds, sizes, sizes, st.sampled_from([np.float32, np.float64]))
def test_a_workspace_changes_no_bit_however_often_it_is_used(name, seed, n, m, dtype):
    work = Workspace()
    for size in (n, n, m):
        policy, old, theta, batch = draw(name, seed, size, dtype)
        for f, f_grad in all_of(old, 0.2, 0.5).values():
            for _ in range(2):
                assert f(policy, theta, batch, work=work) == f(policy, theta, batch)
                again = f_grad(policy, theta, batch, work=work)
                assert again.tobytes() == f_grad(policy, theta, batch).tobytes()


@given(names, seeds, sizes)
@example("tanh", 0, 1)
def test_gradients_follow_theta_in_float32(name, seed, n):
    policy, old, theta, batch = draw(name, seed, n, np.float32)
    for f, f_grad in all_of(old, 10.0, 0.5).values():
        assert type(f(policy, theta, batch)) is float
        gradient, double = f_grad(policy, theta, batch), f_grad(policy, theta.astype(float), batch)
        assert gradient.dtype == np.float32
        assert np.abs(gradient - double).max() <= 1e-4 * max(1, np.abs(double).max()) * n


@given(names, seeds, sizes)
def test_arguments_are_untouched_in_any_layout(name, seed, n):
    policy, old, theta, batch = draw(name, seed, n)
    odd = []
    for array in (theta, *batch):
        wide = np.repeat(array[::-1].astype(array.dtype.newbyteorder("S")), 2, 0)[::-2]
        wide.setflags(write=False)  # a write would raise
        odd.append(wide)
    for f, f_grad in all_of(old, 0.2, 0.5).values():
        assert f(policy, odd[0], Batch(*odd[1:])) == f(policy, theta, batch)
        assert f_grad(policy, odd[0], Batch(*odd[1:])).tobytes() == f_grad(policy, theta, batch).tobytes()
    for step in (
        lambda t, *b: clipped_step(policy, t, Batch(*b), clip=0.2, entropy=0.1),
        lambda t, *b: score_step(policy, t, *b[:3], entropy=0.1),
    ):
        one, other = step(*odd), step(theta, *batch)
        assert one.gradient.tobytes() == other.gradient.tobytes()
        assert evidence_of(one) == evidence_of(other)


def test_a_ratio_beyond_every_float_is_a_value_and_no_gradient():
    policy, theta = Policy(Table(1, 2), Categorical()), np.zeros(2)
    batch = Batch([0, 0], [0, 1], [-1.0, 1.0], [-800.0, -0.7])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert surrogate(policy, theta, batch) == -np.inf
        assert np.isnan(surrogate(policy, theta, batch._replace(advantages=[0.0, 1.0])))
        with pytest.raises(NonFiniteError, match=r"^weights must be finite, got -inf at index \(0,\)$"):
            surrogate_grad(policy, theta, batch)
        gaining = batch._replace(advantages=[1.0, 1.0])  # then the clip holds it
        wanted = (1.2 + 0.5 * math.exp(0.7)) / 2
        assert clipped(policy, theta, gaining, clip=0.2) == pytest.approx(wanted, rel=1e-14)
        assert np.isfinite(clipped_grad(policy, theta, gaining, clip=0.2)).all()


# --- what is refused -------------------------------------------------------------------------------------

POLICY, OLD, THETA, GOOD = draw("tanh", 0, 3)
ON_BATCHES = {
    "score_objective": lambda b: score_objective(POLICY, THETA, b),
    "score_objective_grad": lambda b: score_objective_grad(POLICY, THETA, b),
    "surrogate": lambda b: surrogate(POLICY, THETA, b),
    "surrogate_grad": lambda b: surrogate_grad(POLICY, THETA, b),
    "clipped": lambda b: clipped(POLICY, THETA, b, clip=0.2),
    "clipped_grad": lambda b: clipped_grad(POLICY, THETA, b, clip=0.2),
    "clipped_step": lambda b: clipped_step(POLICY, THETA, b, clip=0.2),
    "kl_penalised": lambda b: kl_penalised(POLICY, THETA, b, OLD, penalty=1.0),
    "kl_penalised_grad": lambda b: kl_penalised_grad(POLICY, THETA, b, OLD, penalty=1.0),
}


@pytest.mark.parametrize("name", ON_BATCHES)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"advantages": [1, np.nan, 1]}, NonFiniteError, r"must be finite, got nan at index \(1,\)"),
        ({"advantages": [1.0, 2.0]}, ShapeError, r"must have shape \(3\), got \(2,\)"),
        ({"advantages": 1.0}, ShapeError, r"must have shape \(3\), got \(\)"),
        ({"advantages": [True] * 3}, ArgumentTypeError, "must hold real numbers, got list of dtype bool"),
        ({"advantages": ["1"] * 3}, ArgumentTypeError, "must hold real numbers, got list of dtype <U1"),
        ({"actions": [0, 1]}, ShapeError, r"actions must have shape \(3\), got \(2,\)"),
        ({"actions": [0, 1, 5]}, ArgumentError, r"action 5 not in Discrete\(3\)"),
        ({"actions": [0.0, 1.0, 2.0]}, ArgumentTypeError, "actions must hold integers"),
        ({"obs": np.ones((3, 1))}, ShapeError, r"observations must have shape \(any, 2\), got \(3, 1\)"),
        ({"obs": np.full((3, 2), np.inf)}, NonFiniteError, "observations must be finite, got inf"),
        ({"obs": np.ones((0, 2))}, ArgumentError, r"empty batch \(0 samples\)"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(name, change, error, message):
    with pytest.raises(error, match=message):
        ON_BATCHES[name](GOOD._replace(**change))


@pytest.mark.parametrize("name", [name for name in ON_BATCHES if not name.startswith("score")])
def test_old_log_probabilities_that_do_not_fit_are_refused(name):
    for bad, error in (
        ([0, np.nan, 0], NonFiniteError),
        ([0.0], ShapeError),
        ([None] * 3, ArgumentTypeError),
    ):
        with pytest.raises(error, match=r"^old_log_probs must "):
            ON_BATCHES[name](GOOD._replace(old_log_probs=bad))


@pytest.mark.parametrize("f", [clipped, clipped_grad, clipped_step])
@pytest.mark.parametrize("clip", [0, -0.2, np.inf, np.nan, True, None, "0.2"])
def test_a_clip_that_is_not_positive_is_refused(f, clip):
    with pytest.raises(ArgumentError, match=r"^clip must be positive and finite, got "):
        f(POLICY, THETA, GOOD, clip=clip)


@pytest.mark.parametrize("entropy", [-1e-9, np.inf, np.nan, False, None])
def test_a_negative_weight_of_the_entropy_is_refused(entropy):
    for f in (
        lambda: clipped_step(POLICY, THETA, GOOD, clip=0.2, entropy=entropy),
        lambda: score_step(POLICY, THETA, *GOOD[:3], entropy=entropy),
    ):
        with pytest.raises(ArgumentError, match=r"^entropy must be at least 0 and finite, got "):
            f()


def test_a_score_step_refuses_weights_that_do_not_fit():
    for weights, error in (([1, np.nan, 1], NonFiniteError), ([1.0], ShapeError), ("abc", ShapeError)):
        with pytest.raises((error, ArgumentTypeError), match=r"^weights must "):
            score_step(POLICY, THETA, GOOD.obs, GOOD.actions, weights)


@pytest.mark.parametrize("f", [kl_penalised, kl_penalised_grad])
@pytest.mark.parametrize("penalty", [-1e-9, np.inf, np.nan, False, None])
def test_a_negative_penalty_is_refused(f, penalty):
    with pytest.raises(ArgumentError, match=r"^penalty must be at least 0 and finite, got "):
        f(POLICY, THETA, GOOD, OLD, penalty=penalty)


def test_every_objective_has_its_gradient_beside_it():
    own = {
        name
        for name, f in vars(objectives).items()
        if inspect.isfunction(f) and f.__module__ == "pgref.objectives"
    }
    own = {name for name in own if not name.startswith("_") and not name.endswith(("_step", "_at"))}
    own -= {"adapted_penalty"}
    values = {name for name in own if not name.endswith("_grad")}
    assert own == values | {f"{name}_grad" for name in values}
    assert len(values) == 5
