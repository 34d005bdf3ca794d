"""The critic's losses against loops over samples, and its two gradients against complex steps."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref.arrays import Workspace
from pgref.checks.derivatives import complex_step_gradient, complex_step_jacobian, relative_error
from pgref.critic import (
    Critic,
    Transitions,
    clipped_value_loss,
    clipped_value_loss_grad,
    residual_gradient,
    semi_gradient,
    td_advantages,
    td_loss,
    value_loss,
    value_loss_grad,
    value_step,
)
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError
from pgref.networks import MLP, Table, WithFreeOutputs

CRITICS = {
    "table": Critic(Table(4, 1)),
    "tanh": Critic(MLP((2, 5, 1))),
    "relu": Critic(MLP((2, 5, 1), "relu")),
    "linear": Critic(MLP((2, 1))),
}
names, seeds, sizes = st.sampled_from(sorted(CRITICS)), st.integers(0, 2**32 - 1), st.integers(1, 8)
discounts = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))


def draw(name, seed, n, dtype=np.float64):
    """Return the critic, ψ and a batch in which about one transition in three terminates."""
    critic, rng = CRITICS[name], np.random.default_rng(seed)
    psi = rng.standard_normal(critic.n_params).astype(dtype)
    obs, following = rng.integers(0, 4, (2, n)) if name == "table" else rng.standard_normal((2, n, 2))
    return critic, psi, Transitions(obs, rng.standard_normal(n), following, rng.random(n) < 1 / 3)


# --- TD errors and their two gradients -------------------------------------------------------------------


@given(names, seeds, sizes, discounts)
def test_advantages_and_loss_are_those_of_a_loop(name, seed, n, discount):
    critic, psi, batch = draw(name, seed, n)
    wanted = []
    for s, r, s_next, ended in zip(*batch, strict=True):
        target = float(r) if ended else float(r) + discount * float(critic.values(psi, s_next[None])[0])
        wanted.append(target - float(critic.values(psi, s[None])[0]))
    np.testing.assert_allclose(td_advantages(critic, psi, batch, discount), wanted, rtol=1e-13, atol=1e-13)
    loss = td_loss(critic, psi, batch, discount)
    assert type(loss) is float
    assert loss == pytest.approx(sum(x * x for x in wanted), rel=1e-12)  # a sum, without a ½


@given(names, seeds, sizes, discounts)
@example("table", 0, 1, 1.0)
def test_the_residual_gradient_is_the_complex_step_of_the_loss(name, seed, n, discount):
    critic, psi, batch = draw(name, seed, n)
    by_steps = complex_step_gradient(lambda p: td_loss(critic, p, batch, discount), psi)
    assert np.abs(residual_gradient(critic, psi, batch, discount) - by_steps).max() <= 1e-13 * scale(by_steps)


@given(names, seeds, sizes, discounts)
def test_the_semi_gradient_is_the_complex_step_with_the_target_frozen(name, seed, n, discount):
    critic, psi, batch = draw(name, seed, n)
    targets = td_advantages(critic, psi, batch, discount) + critic.values(psi, batch.obs)

    def frozen(p):
        errors = targets - critic.values(p, batch.obs)
        return errors @ errors

    by_steps = complex_step_gradient(frozen, psi)
    assert np.abs(semi_gradient(critic, psi, batch, discount) - by_steps).max() <= 1e-13 * scale(by_steps)


def scale(gradient):
    return max(1.0, np.abs(gradient).max())


@given(names, seeds, sizes, discounts)
def test_the_two_gradients_differ_by_what_the_target_contributes(name, seed, n, discount):
    critic, psi, batch = draw(name, seed, n)
    factor = 2 * discount * td_advantages(critic, psi, batch, discount) * ~batch.terminated
    ahead = complex_step_jacobian(lambda p: critic.values(p, batch.next_obs), psi)
    semi, residual = (f(critic, psi, batch, discount) for f in (semi_gradient, residual_gradient))
    assert np.abs(residual - semi - factor @ ahead).max() <= 1e-13 * scale(residual) * scale(semi)
    if discount == 0 or batch.terminated.all():
        np.testing.assert_array_equal(residual, semi)


def test_only_the_semi_gradient_has_the_true_values_as_fixed_point():
    # s₀ goes to s₁ or s₂ with probability ½ each; these end with reward ±1, so V = (0, 1, −1)
    batch = Transitions([0, 0, 1, 2], [0.0, 0.0, 1.0, -1.0], [1, 2, 3, 3], [False, False, True, True])
    critic, values = Critic(Table(4, 1)), np.array([0.0, 1.0, -1.0, 9.0])
    assert not semi_gradient(critic, values, batch, 1.0).any()
    np.testing.assert_array_equal(residual_gradient(critic, values, batch, 1.0), [0, 2, -2, 0])
    assert td_loss(critic, values, batch, 1.0) == 2.0  # the variance that no V can remove


@given(names, seeds, sizes, discounts)
def test_what_follows_a_terminal_transition_does_not_matter(name, seed, n, discount):
    critic, psi, batch = draw(name, seed, n)
    other = np.where(batch.terminated.reshape(-1, *[1] * (batch.obs.ndim - 1)), batch.obs, batch.next_obs)
    changed = batch._replace(next_obs=other)
    for f in (td_advantages, semi_gradient, residual_gradient):
        np.testing.assert_array_equal(f(critic, psi, batch, discount), f(critic, psi, changed, discount))


@given(names, seeds, sizes, sizes, discounts)
def test_the_gradients_of_two_batches_add_up_to_that_of_both(name, seed, n, m, discount):
    critic, psi, first = draw(name, seed, n)
    _, _, second = draw(name, seed + 1, m)
    both = Transitions(*map(np.concatenate, zip(first, second, strict=True)))
    for f in (semi_gradient, residual_gradient):
        total = f(critic, psi, first, discount) + f(critic, psi, second, discount)
        assert np.abs(f(critic, psi, both, discount) - total).max() <= 1e-12 * scale(total)


# --- regression on targets -------------------------------------------------------------------------------


def regression(name, seed, n):
    critic, psi, batch = draw(name, seed, n)
    rng = np.random.default_rng(seed + 2)
    return critic, psi, batch.obs, *rng.standard_normal((2, n))


@given(names, seeds, sizes)
def test_value_loss_is_a_mean_and_its_gradient_the_complex_step(name, seed, n):
    critic, psi, obs, targets, _ = regression(name, seed, n)
    values = critic.values(psi, obs)
    wanted = sum((float(v) - float(g)) ** 2 for v, g in zip(values, targets, strict=True)) / n
    assert value_loss(critic, psi, obs, targets) == pytest.approx(wanted, rel=1e-12)
    by_steps = complex_step_gradient(lambda p: value_loss(critic, p, obs, targets), psi)
    assert np.abs(value_loss_grad(critic, psi, obs, targets) - by_steps).max() <= 1e-13 * scale(by_steps)
    assert relative_error(value_loss_grad(critic, psi, obs, values), np.zeros(critic.n_params)) == 0


@given(names, seeds, sizes, st.floats(0.01, 3))
def test_clipped_value_loss_is_the_larger_error_and_its_gradient_the_complex_step(name, seed, n, clip):
    critic, psi, obs, targets, old = regression(name, seed, n)
    total = 0.0
    for v, g, v_old in zip(critic.values(psi, obs), targets, old, strict=True):
        v_clip = v_old + min(max(v - v_old, -clip), clip)
        total += max((v - g) ** 2, (v_clip - g) ** 2)
    assert clipped_value_loss(critic, psi, obs, targets, old, clip) == pytest.approx(total / n, rel=1e-12)
    by_steps = complex_step_gradient(lambda p: clipped_value_loss(critic, p, obs, targets, old, clip), psi)
    gradient = clipped_value_loss_grad(critic, psi, obs, targets, old, clip)
    assert np.abs(gradient - by_steps).max() <= 1e-13 * scale(by_steps)


@given(names, seeds, sizes, st.floats(0.01, 1))
def test_away_from_its_kinks_the_clipped_gradient_is_the_central_difference(name, seed, n, clip):
    critic, psi, obs, targets, old = regression(name, seed, n)
    v, direction, h = (
        critic.values(psi, obs),
        np.random.default_rng(seed).standard_normal(critic.n_params),
        1e-6,
    )
    middle = old + np.clip(v - old, -clip, clip) + v - 2 * targets  # both errors are equally large at 0
    smooth = (np.abs(np.abs(v - old) - clip) > 1e-3) & ((np.abs(middle) > 1e-3) | (np.abs(v - old) < clip))
    obs, targets, old = obs[smooth], targets[smooth], old[smooth]
    if not smooth.any():
        return
    ahead, behind = (
        clipped_value_loss(critic, psi + s * h * direction, obs, targets, old, clip) for s in (1, -1)
    )
    gradient = clipped_value_loss_grad(critic, psi, obs, targets, old, clip)
    if name != "relu":  # whose own kinks may lie between
        assert gradient @ direction == pytest.approx((ahead - behind) / (2 * h), rel=1e-5, abs=1e-6)


def test_a_sample_whose_clipped_error_is_larger_adds_nothing_to_the_gradient():
    critic, psi, obs = Critic(Table(3, 1)), np.array([2.0, 2.0, 0.1]), [0, 1, 2]
    # s₀ moved beyond the clip towards its target, s₁ away from it, s₂ stayed within
    targets, old = np.array([3.0, -1.0, 1.0]), np.array([0.0, 0.0, 0.0])
    gradient = clipped_value_loss_grad(critic, psi, obs, targets, old, 0.5)
    np.testing.assert_allclose(gradient, [0, 2 * 3 / 3, 2 * (0.1 - 1) / 3], rtol=1e-15)
    assert clipped_value_loss(critic, psi, obs, targets, old, 0.5) == pytest.approx((2.5**2 + 9 + 0.81) / 3)


@given(names, seeds, sizes)
def test_a_wide_clip_is_none(name, seed, n):
    critic, psi, obs, targets, old = regression(name, seed, n)
    assert clipped_value_loss(critic, psi, obs, targets, old, 1e9) == value_loss(critic, psi, obs, targets)
    np.testing.assert_allclose(
        clipped_value_loss_grad(critic, psi, obs, targets, old, 1e9),
        value_loss_grad(critic, psi, obs, targets),
    )


# --- values, dtypes, borders -----------------------------------------------------------------------------


@given(names, seeds, sizes, sizes)
def test_values_and_their_gradients_are_the_same_bits_with_a_workspace(name, seed, n, m):
    work = Workspace()
    for size in (n, n, m):
        critic, psi, batch = draw(name, seed, size)
        w = batch.rewards
        assert critic.values(psi, batch.obs, work).tobytes() == critic.values(psi, batch.obs).tobytes()
        plain = critic.value_sum_grad(psi, batch.obs, w)
        assert critic.value_sum_grad(psi, batch.obs, w, work).tobytes() == plain.tobytes()
        jacobian = complex_step_jacobian(lambda p: critic.values(p, batch.obs), psi)  # noqa: B023
        assert np.abs(plain - w @ jacobian).max() <= 1e-13 * scale(plain)


@given(names, seeds, sizes)
def test_values_and_their_gradients_come_from_one_pass_and_agree(name, seed, n):
    critic, psi, batch = draw(name, seed, n)
    here = critic.linearize(psi, batch.obs)
    assert here.values.tobytes() == critic.values(psi, batch.obs).tobytes()
    wanted = critic.value_sum_grad(psi, batch.obs, batch.rewards)
    assert here.value_sum_grad(batch.rewards).tobytes() == wanted.tobytes()


@given(names, seeds, sizes, st.sampled_from([np.float32, np.float64]))
def test_a_step_is_the_loss_and_its_gradient(name, seed, n, dtype):
    critic, psi, batch = draw(name, seed, n, dtype)
    step = value_step(critic, psi, batch.obs, batch.rewards)
    assert type(step.loss) is float
    assert step.loss == value_loss(critic, psi, batch.obs, batch.rewards)
    assert step.gradient.dtype == dtype
    assert step.gradient.tobytes() == value_loss_grad(critic, psi, batch.obs, batch.rewards).tobytes()


@given(names, seeds, sizes, sizes, st.sampled_from([np.float32, np.float64]))
def test_a_workspace_changes_no_bit_however_often_it_is_used(name, seed, n, m, dtype):
    work = Workspace()
    for size in (n, n, m):
        critic, psi, batch = draw(name, seed, size, dtype)
        targets, old = batch.rewards, np.cos(batch.rewards)
        for f, arguments in (
            (td_advantages, (batch, 0.9)),
            (td_loss, (batch, 0.9)),
            (semi_gradient, (batch, 0.9)),
            (residual_gradient, (batch, 0.9)),
            (value_loss, (batch.obs, targets)),
            (value_loss_grad, (batch.obs, targets)),
            (clipped_value_loss, (batch.obs, targets, old, 0.3)),
            (clipped_value_loss_grad, (batch.obs, targets, old, 0.3)),
            (lambda *a, **k: value_step(*a, **k).gradient, (batch.obs, targets)),
        ):
            plain = np.asarray(f(critic, psi, *arguments)).tobytes()
            for _ in range(2):
                assert np.asarray(f(critic, psi, *arguments, work=work)).tobytes() == plain


@given(names, seeds, sizes)
def test_gradients_follow_psi_in_float32(name, seed, n):
    critic, psi, batch = draw(name, seed, n, np.float32)
    targets = batch.rewards
    for f in (
        lambda p: semi_gradient(critic, p, batch, 0.9),
        lambda p: residual_gradient(critic, p, batch, 0.9),
        lambda p: value_loss_grad(critic, p, batch.obs, targets),
        lambda p: clipped_value_loss_grad(critic, p, batch.obs, targets, targets, 0.3),
        lambda p: critic.values(p, batch.obs),
        lambda p: critic.value_sum_grad(p, batch.obs, targets),
    ):
        single, double = f(psi), f(psi.astype(np.float64))
        assert single.dtype == np.float32
        assert np.abs(single - double).max() <= 1e-4 * scale(double)


@given(names, seeds, sizes)
def test_arguments_are_untouched_in_any_layout(name, seed, n):
    critic, psi, batch = draw(name, seed, n)
    odd = []
    for array in (psi, *batch):
        wide = np.repeat(array[::-1].astype(array.dtype.newbyteorder("S")), 2, 0)[::-2]
        wide.setflags(write=False)  # a write would raise
        odd.append(wide)
    for f in (td_advantages, semi_gradient, residual_gradient):
        assert f(critic, odd[0], Transitions(*odd[1:]), 0.9).tobytes() == f(critic, psi, batch, 0.9).tobytes()
    one, other = value_step(critic, *odd[:3]), value_step(critic, psi, batch.obs, batch.rewards)
    assert (one.gradient.tobytes(), one.loss) == (other.gradient.tobytes(), other.loss)


def test_init_is_the_network_s(rng):
    critic = CRITICS["tanh"]
    assert critic.init(rng, np.float32).shape == (critic.n_params,)
    assert not Critic(Table(2, 1)).init(rng).any()


@pytest.mark.parametrize("network", [MLP((2, 2)), Table(3, 4), WithFreeOutputs(Table(2, 1), 1)])
def test_a_critic_has_one_output(network):
    with pytest.raises(ShapeError, match=rf"^a critic has 1 output, got {network.n_outputs}$"):
        Critic(network)


GOOD = Transitions(np.ones((3, 2)), np.ones(3), np.ones((3, 2)), np.zeros(3, bool))
CRITIC = CRITICS["tanh"]
PSI = np.ones(CRITIC.n_params)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rewards": np.ones(1)}, ShapeError, "rewards must have shape (3), got (1,)"),
        ({"rewards": [1, np.nan, 1]}, NonFiniteError, "rewards must be finite, got nan at index (1,)"),
        (
            {"rewards": [None] * 3},
            ArgumentTypeError,
            "rewards must hold real numbers, got list of dtype object",
        ),
        (
            {"terminated": np.zeros(3)},
            ArgumentTypeError,
            "terminated must hold booleans, got ndarray of dtype float64",
        ),
        ({"terminated": np.zeros((3, 1), bool)}, ShapeError, "terminated must have shape (3), got (3, 1)"),
        ({"next_obs": np.ones((1, 2))}, ShapeError, "next_obs must be 3 observations like obs, got 1"),
        ({"next_obs": np.ones((4, 2))}, ShapeError, "next_obs must be 3 observations like obs, got 4"),
        (
            {"next_obs": np.full((3, 2), np.inf)},
            NonFiniteError,
            "observations must be finite, got inf at index (0, 0)",
        ),
        ({"obs": np.ones((0, 2))}, ArgumentError, "empty batch (0 samples)"),
        ({"obs": None}, ArgumentTypeError, "observations must hold real numbers, got NoneType None"),
    ],
)
@pytest.mark.parametrize("f", [td_advantages, td_loss, semi_gradient, residual_gradient])
def test_transitions_that_do_not_fit_are_refused(f, change, error, message):
    with pytest.raises(error) as caught:
        f(CRITIC, PSI, GOOD._replace(**change), 0.9)
    assert str(caught.value) == message


@pytest.mark.parametrize("discount", [-0.5, 1.5, np.nan, True, None, "0.9"])
@pytest.mark.parametrize("f", [td_advantages, td_loss, semi_gradient, residual_gradient])
def test_a_discount_outside_0_to_1_is_refused(f, discount):
    with pytest.raises(ArgumentError, match=r"^discount must be in \[0, 1\], got "):
        f(CRITIC, PSI, GOOD, discount)


@pytest.mark.parametrize("f", [clipped_value_loss, clipped_value_loss_grad])
def test_a_clip_that_is_not_positive_is_refused(f):
    for clip in (0, -0.1, np.inf, np.nan, True):
        with pytest.raises(ArgumentError, match=r"^clip must be positive and finite, got "):
            f(CRITIC, PSI, GOOD.obs, np.ones(3), np.ones(3), clip)


@pytest.mark.parametrize(
    "f", [value_loss, value_loss_grad, value_step, clipped_value_loss, clipped_value_loss_grad]
)
def test_targets_that_do_not_fit_are_refused(f):
    clipped = f in (clipped_value_loss, clipped_value_loss_grad)
    more = (np.ones(3), 0.2) if clipped else ()
    for targets, error in (
        (np.ones(1), ShapeError),
        ([1, np.inf, 1], NonFiniteError),
        ([1j] * 3, ArgumentTypeError),
    ):
        with pytest.raises(error, match=r"^targets must "):
            f(CRITIC, PSI, GOOD.obs, targets, *more)
    if clipped:
        with pytest.raises(ShapeError, match=r"^old_values must have shape \(3\), got \(2,\)$"):
            f(CRITIC, PSI, GOOD.obs, np.ones(3), np.ones(2), 0.2)
    with pytest.raises(NonFiniteError, match=r"^targets must be finite, got inf at index \(0,\)$"):
        f(CRITIC, PSI.astype("f"), GOOD.obs, np.full(3, 1e39), *more)
    with pytest.raises(ArgumentTypeError, match=r"^observations must hold real numbers, got NoneType None$"):
        f(CRITIC, PSI, None, np.ones(3), *more)


def test_complex_weights_need_a_complex_psi():
    with pytest.raises(ArgumentTypeError, match=r"^weights must hold real numbers"):
        CRITIC.value_sum_grad(PSI, GOOD.obs, np.ones(3) * 1j)
    gradient = CRITIC.value_sum_grad(PSI + 0j, GOOD.obs, np.ones(3) * 1j)
    np.testing.assert_allclose(gradient, 1j * CRITIC.value_sum_grad(PSI, GOOD.obs, np.ones(3)), rtol=1e-13)
