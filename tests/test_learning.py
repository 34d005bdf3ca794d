"""Schedules, clipping, steps and the critic's fit: each against two plain steps, sums or a closed form."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import assert_same, frozen

from pgref.arrays import Workspace
from pgref.critic import Critic
from pgref.errors import ArgumentError, NonFiniteError
from pgref.learning import (
    FLOOR,
    OPTIMIZERS,
    Acting,
    CriticFit,
    Stepping,
    Working,
    fit_critic,
    limited,
    minibatches,
    remaining,
    step_both,
    step_init,
)
from pgref.networks import MLP, Table
from pgref.optimizers import AdamState, RMSPropState, SGDState, adam, adam_init, rmsprop, sgd

seeds = st.integers(0, 2**32 - 1)
CRITIC = Critic(MLP((2, 8, 1)))


# --- schedules ----------------------------------------------------------------------------------------------


@given(st.integers(1, 10**9), st.integers(0, 2 * 10**9))
@example(100, 0)
@example(100, 99)
@example(100, 100)
@example(2**53, 2**53 - 1)
def test_a_step_size_falls_linearly_to_a_hundredth_and_stays_there(over, steps):
    wanted = max(1 - Fraction(steps, over), Fraction(1, 100))
    assert abs(remaining(Acting(anneal_over=over), steps) - wanted) <= 2.0**-53
    assert remaining(Acting(), steps) == 1.0
    assert FLOOR == 0.01


def test_what_a_rollout_takes_are_the_settings_that_it_has():
    config = Acting(normalise_obs=True, discount=0.5)
    assert config.seen_as() == {"normalise_obs": True, "scale_rewards": False, "discount": 0.5}


def test_as_they_stand_the_knobs_are_the_text():
    config = Working()
    assert (config.optimizer, config.entropy, config.critic_weight) == ("sgd", 0.0, 1.0)
    assert (config.trace, config.mean, config.max_norm) == (0.0, False, None)
    assert not config.normalise_obs
    assert not config.scale_rewards
    assert config.anneal_over is None


# --- clipping -----------------------------------------------------------------------------------------------


@given(
    seeds, st.integers(1, 200), st.sampled_from([np.float32, np.float64]), st.sampled_from([0.01, 1.0, 1e3])
)
def test_a_gradient_is_as_long_as_allowed_and_points_where_it_did(seed, n, dtype, most):
    g = np.random.default_rng(seed).standard_normal(n).astype(dtype)
    length = math.sqrt(sum(Fraction(x) ** 2 for x in g.tolist()))
    kept, norm = limited(frozen(g), most)
    assert abs(norm - length) <= n * 2.0**-52 * length
    assert kept.dtype == dtype
    if length <= most:
        np.testing.assert_array_equal(kept, g)
    else:
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(kept, g.astype(float) * (most / length), rtol=2 * eps + n * 2.0**-52)
        np.testing.assert_allclose(np.linalg.norm(kept.astype(float)), most, rtol=2 * eps + n * 2.0**-52)


def test_without_a_limit_the_gradient_is_left_alone():
    g = np.array([3e30, -4e30])
    kept, norm = limited(g, None)
    assert kept is g
    assert norm == 5e30
    assert limited(np.zeros(3), 1.0)[1] == 0.0


def test_a_length_is_one_in_float64_where_a_square_overflows_float32():
    kept, norm = limited(np.array([3e30, -4e30], np.float32), 0.5)
    np.testing.assert_allclose(norm, 5e30, rtol=1e-7)
    np.testing.assert_allclose(kept, [0.3, -0.4], rtol=1e-6)
    assert limited(np.array([3e-30, 4e-30], np.float32), None)[1] == pytest.approx(5e-30, rel=1e-7)


@pytest.mark.parametrize("worst", [math.nan, math.inf, -math.inf, 1e200])
@pytest.mark.parametrize("most", [None, 1.0])
def test_a_length_that_is_no_number_is_refused(worst, most):
    with pytest.raises(NonFiniteError, match=r"gradient's length must be finite, got (nan|inf)"):
        limited(np.array([1.0, worst]), most)


# --- one optimiser, two step sizes --------------------------------------------------------------------------


STEPS = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("max_norm", [None, 0.7])
@pytest.mark.parametrize("sizes", [(0.3, 1e-4), (1e-4, 0.3), (0.25, 0.25)])
def test_one_step_of_both_is_a_step_of_each_with_its_own_size(optimizer, dtype, max_norm, sizes):
    n_theta, n = 5, 12
    config = Stepping(optimizer=optimizer, step=sizes[0], critic_step=sizes[1], max_norm=max_norm)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(n).astype(dtype)
    slots, parts = step_init(config, weights), [weights[:n_theta], weights[n_theta:]]
    apart = [OPTIMIZERS[optimizer][0](part) for part in parts]
    for k in range(6):
        gradient, factor = rng.standard_normal(n).astype(dtype), 1.0 - 0.1 * k
        before = frozen(weights)
        slots, weights, norm = step_both(config, slots, before, frozen(gradient), n_theta, factor)
        assert norm == limited(gradient, None)[1]
        kept = limited(gradient, max_norm)[0]
        for i, part in enumerate((kept[:n_theta], kept[n_theta:])):
            apart[i], update = STEPS[optimizer](apart[i], part, factor * sizes[i])
            parts[i] = parts[i] + update
        assert weights.dtype == dtype
        wanted = np.concatenate(parts)
        np.testing.assert_array_equal(weights[:n_theta], wanted[:n_theta])
        # ψ: η_θ and then η_ψ/η_θ round twice more in the update, and at each step once in the sum
        slip = 2 * np.finfo(dtype).eps * (k + 1) * (1 + np.abs(wanted))
        np.testing.assert_array_less(np.abs(weights - wanted), slip)
    if sizes[0] == sizes[1]:
        np.testing.assert_array_equal(weights, wanted)
    if optimizer != "sgd":  # which remembers nothing
        for got, part in zip(slots, zip(*apart, strict=True), strict=True):
            wanted = part[0] if isinstance(got, int) else np.concatenate(part)
            assert_same(got, wanted)


def test_before_the_first_gradient_nothing_is_remembered():
    zeros = np.zeros(3, np.float32)
    kinds = {"sgd": SGDState(zeros), "rmsprop": RMSPropState(zeros), "adam": AdamState(zeros, zeros, 0)}
    for optimizer, wanted in kinds.items():
        state = step_init(Stepping(optimizer=optimizer), np.ones(3, np.float32))
        assert type(state) is type(wanted)
        assert_same(state, wanted)


def test_plain_sgd_is_the_printed_update():
    # θ ← θ + η_θ g_θ and ψ ← ψ − η_ψ g_ψ, in numbers that binary has
    config = Stepping(step=0.5, critic_step=0.25)
    weights, g_theta, g_psi = np.array([1.0, 2.0, 8.0]), np.array([3.0, -4.0]), np.array([16.0])
    gradient = np.concatenate([g_theta, -g_psi])
    _, after, _ = step_both(config, step_init(config, weights), weights, gradient, 2, 1.0)
    np.testing.assert_array_equal(after, [1 + 1.5, 2 - 2, 8 - 4])
    _, half, _ = step_both(config, step_init(config, weights), weights, gradient, 2, 0.5)
    np.testing.assert_array_equal(half, [1 + 0.75, 2 - 1, 8 - 2])


def test_weights_that_leave_the_numbers_are_refused():
    config = Stepping(step=1e38, critic_step=1e-3)
    weights, gradient = np.zeros(3, np.float32), np.array([1e5, 0, 0], np.float32)
    with pytest.raises(NonFiniteError, match=r"velocity must be finite, got inf at index \(0,\)"):
        step_both(config, step_init(config, weights), weights, gradient, 2, 1.0)
    with pytest.raises(NonFiniteError, match=r"weights must be finite, got inf at index \(0,\)"):
        step_both(config, step_init(config, weights), weights + np.float32(3e38), gradient / 1e5, 2, 1.0)
    adaptive, large = Stepping(optimizer="adam"), np.array([1e20, 0, 0], np.float32)
    with pytest.raises(NonFiniteError, match="mean_square must be finite, got inf"):
        step_both(adaptive, step_init(adaptive, weights), weights, large, 2, 1.0)
    with pytest.raises(NonFiniteError, match="gradient's length must be finite, got nan"):
        step_both(config, step_init(config, weights), weights, gradient * np.float32(np.nan), 2, 1.0)


# --- minibatches and the critic -----------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 70), seeds)
@example(1, 1, 0)
def test_minibatches_are_a_partition_into_parts_of_one_size(n, size, seed):
    parts = list(minibatches(n, size, np.random.default_rng(seed)))
    assert sorted(row for part in parts for row in part.tolist()) == list(range(n))
    assert [len(part) for part in parts] == [size] * (n // size) + [n % size] * (n % size > 0)


def test_minibatches_are_another_partition_each_time():
    rng = np.random.default_rng(0)
    a, b = (np.concatenate(list(minibatches(50, 8, rng))) for _ in range(2))
    assert (a != b).any()
    assert (a != np.arange(50)).any()


def data(seed=0, n=40, dtype=np.float64):
    rng = np.random.default_rng(seed)
    obs = rng.standard_normal((n, 2)).astype(dtype)
    return CRITIC.init(rng, dtype), obs, np.sin(2 * obs[:, 0]) + obs[:, 1]


def loss_of(psi, obs, targets):
    """Return (1/N) Σ (V − G)² of a tanh network with one hidden layer, in plain NumPy."""
    w1, b1, w2, b2 = psi[:16].reshape(2, 8), psi[16:24], psi[24:32], psi[32]
    return np.mean((np.tanh(obs @ w1 + b1) @ w2 + b2 - targets) ** 2)


@pytest.mark.parametrize("minibatch", [40, 41, 10**6])
def test_where_a_minibatch_holds_everything_it_is_adam_on_the_whole_batch(minibatch):
    psi, obs, targets = data()
    config = CriticFit(critic_epochs=7, critic_minibatch=minibatch, critic_step=0.02)
    fitted, slots, loss = fit_critic(
        CRITIC, psi, adam_init(psi), obs, targets, config, np.random.default_rng(1), 0.5
    )
    # Kingma and Ba's algorithm, with complex steps for the gradient
    m, v, wanted = np.zeros_like(psi), np.zeros_like(psi), psi.copy()
    for t in range(1, 8):
        before = loss_of(wanted, obs, targets)
        g = np.array([loss_of(wanted + 1e-30j * e, obs, targets).imag / 1e-30 for e in np.eye(len(psi))])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        wanted -= 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(fitted, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose([loss, slots.steps], [before, 7], rtol=1e-12)
    np.testing.assert_allclose(slots.mean, m, rtol=0, atol=1e-12)
    np.testing.assert_allclose(slots.mean_square, v, rtol=0, atol=1e-12)


def test_minibatches_are_drawn_anew_in_each_pass_and_each_takes_a_step():
    psi, obs, targets = data()
    config = CriticFit(critic_epochs=3, critic_minibatch=16, critic_step=0.02)
    fitted, slots, loss = fit_critic(
        CRITIC, psi, adam_init(psi), obs, targets, config, np.random.default_rng(1), 1.0
    )
    rng, state, wanted = np.random.default_rng(1), adam_init(psi), psi
    for _ in range(3):
        order, errors = rng.permutation(40), []
        for rows in (order[:16], order[16:32], order[32:]):
            steps = [loss_of(wanted + 1e-30j * e, obs[rows], targets[rows]) for e in np.eye(len(psi))]
            errors += [loss_of(wanted, obs[rows], targets[rows])] * len(rows)
            state, update = adam(state, np.imag(steps) / 1e-30, 0.02)
            wanted = wanted - update
    np.testing.assert_allclose(fitted, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(loss, np.mean(errors), rtol=1e-12)  # over samples, not over minibatches
    assert slots.steps == 9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fit_lowers_the_loss_in_its_own_dtype(dtype):
    psi, obs, targets = data(dtype=dtype)
    config = CriticFit(critic_epochs=200, critic_minibatch=10, critic_step=0.02)
    fitted, slots, loss = fit_critic(
        CRITIC, psi, adam_init(psi), obs, targets, config, np.random.default_rng(2), 1.0
    )
    assert fitted.dtype == slots.mean.dtype == dtype
    assert loss_of(fitted, obs, targets) < 0.02 * loss_of(psi, obs, targets)
    assert loss < 0.02 * loss_of(psi, obs, targets)
    assert isinstance(loss, float)


def test_a_table_is_fitted_to_the_mean_of_its_targets():
    critic, obs = Critic(Table(3, 1)), np.array([0, 0, 1, 1, 1])
    targets = np.array([1.0, 3.0, -1.0, 0.0, 4.0])
    config = CriticFit(critic_epochs=4000, critic_minibatch=5, critic_step=0.01)
    fitted, _, _ = fit_critic(
        critic, np.zeros(3), adam_init(np.zeros(3)), obs, targets, config, np.random.default_rng(0), 1.0
    )
    np.testing.assert_allclose(fitted, [2, 1, 0], rtol=0, atol=1e-6)


def test_a_workspace_changes_no_bit_and_arguments_stay_as_they_are():
    psi, obs, targets = frozen(data())
    config = CriticFit(critic_epochs=3, critic_minibatch=16)
    slots = frozen(adam_init(psi))
    plain, reused = (
        fit_critic(CRITIC, psi, slots, obs, targets, config, np.random.default_rng(1), 1.0, work)
        for work in (None, Workspace())
    )
    assert_same(reused, plain)


def test_a_fit_that_leaves_the_numbers_is_refused():
    # after the first step of 3.4e38, momentum takes the first value beyond every float32
    table, zeros = Critic(Table(2, 1)), np.zeros(2, np.float32)
    config = CriticFit(critic_epochs=1, critic_minibatch=1, critic_step=3.4e38)
    with pytest.raises(NonFiniteError, match="psi must be finite, got inf"):
        fit_critic(
            table, zeros, adam_init(zeros), np.arange(2), np.ones(2), config, np.random.default_rng(1), 1.0
        )
    # 2e19 squared is more than a float32 holds, and a second moment of ∞ would stop ψ for ever
    with pytest.raises(NonFiniteError, match="mean_square must be finite, got inf"):
        fit_critic(
            table, zeros, adam_init(zeros), np.arange(1), np.full(1, 1e19), CriticFit(critic_epochs=1),
            np.random.default_rng(1), 1.0,
        )  # fmt: skip
    psi, obs, targets = data(dtype=np.float32)
    bad = targets.copy()
    bad[3] = math.nan
    with pytest.raises(NonFiniteError, match="targets must be finite"):
        fit_critic(CRITIC, psi, adam_init(psi), obs, bad, CriticFit(), np.random.default_rng(1), 1.0)


def test_bases_of_the_configs_check_their_values_too():
    for kind in (Acting, CriticFit, Stepping, Working):
        with pytest.raises(ArgumentError, match=r"discount must be in \[0, 1\], got -0.5"):
            kind(discount=-0.5)
