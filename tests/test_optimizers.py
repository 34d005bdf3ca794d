"""The steps against exact arithmetic (decimal, fractions), closed forms, and the rules on arguments."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError
from pgref.optimizers import (
    AdamState,
    RMSPropState,
    SGDState,
    adam,
    adam_init,
    rmsprop,
    rmsprop_init,
    sgd,
    sgd_init,
)

ETA, ROOT_EPSILON, EPSILON = 0.01, 1e-5, 1e-8
STEPS = {"sgd": (sgd_init, sgd), "rmsprop": (rmsprop_init, rmsprop), "adam": (adam_init, adam)}
every_optimizer = pytest.mark.parametrize(("init", "step"), STEPS.values(), ids=STEPS)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(0, 6)
lengths = st.integers(1, 8)
decays = st.floats(0.0, 0.9999)


def gradients(seed, length, size):
    """Gradients [length, size] over twelve decades, some exactly zero."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(length, size)) * 10.0 ** rng.uniform(-6, 6, (length, size))
    return np.where(rng.random((length, size)) < 0.1, 0.0, g)


def last_update(init, step, g, **options):
    state = init(np.zeros(g.shape[1]))
    for row in g:
        state, update = step(state, row, ETA, **options)
    return state, update


def assert_close(array, exact, rtol):
    # below 1e-300 floating point has no relative accuracy left
    np.testing.assert_allclose(array, np.array(exact, float), rtol=rtol, atol=1e-300)


@given(seed=seeds, size=sizes, length=lengths, momentum=decays)
@example(seed=0, size=1, length=3, momentum=0.0)
def test_sgd_equals_the_sum_of_decayed_gradients_in_fractions(seed, size, length, momentum):
    g = gradients(seed, length, size)
    state, update = last_update(sgd_init, sgd, g, momentum=momentum)
    weights = [Fraction(ETA) * Fraction(momentum) ** (length - 1 - t) for t in range(length)]
    terms = [[w * Fraction(x) for w, x in zip(weights, column, strict=True)] for column in g.T]
    # the terms may cancel: an error of a few ulp of each
    scale = np.array([float(sum(map(abs, column))) for column in terms])
    error = np.abs(update - np.array([float(sum(column)) for column in terms]))
    assert (error <= 4 * length * np.finfo(float).eps * scale).all()
    assert np.array_equal(state.velocity, update)


@given(seed=seeds, size=sizes, length=lengths, decay=decays)
@example(seed=0, size=1, length=3, decay=0.0)
def test_rmsprop_equals_its_definition_in_decimals(seed, size, length, decay):
    g = gradients(seed, length, size)
    state, update = last_update(rmsprop_init, rmsprop, g, decay=decay, epsilon=ROOT_EPSILON)
    beta = Decimal(decay)
    weights = [1 - beta]
    for _ in range(length - 1):
        weights.insert(0, weights[0] * beta)
    squares = [sum(w * Decimal(x) ** 2 for w, x in zip(weights, column, strict=True)) for column in g.T]
    updates = [
        Decimal(ETA) * Decimal(x) / (s + Decimal(ROOT_EPSILON)).sqrt()
        for x, s in zip(g[-1], squares, strict=True)
    ]
    assert_close(state.mean_square, squares, 1e-13)
    assert_close(update, updates, 1e-13)


@given(seed=seeds, size=sizes, length=lengths, beta1=st.floats(0.0, 0.99), beta2=decays)
@example(seed=0, size=1, length=3, beta1=0.0, beta2=0.0)
def test_adam_equals_the_printed_algorithm_in_decimals(seed, size, length, beta1, beta2):
    g = np.abs(gradients(seed, length, size))  # of one sign, so that the mean cannot cancel
    state, update = last_update(adam_init, adam, g, decay_mean=beta1, decay_square=beta2, epsilon=EPSILON)
    b1, b2 = Decimal(beta1), Decimal(beta2)
    expected = []
    for column in g.T:
        m = v = Decimal(0)
        power1 = power2 = Decimal(1)
        for x in map(Decimal, column):
            m, v = b1 * m + (1 - b1) * x, b2 * v + (1 - b2) * x * x
            power1, power2 = power1 * b1, power2 * b2
            now = Decimal(ETA) * (m / (1 - power1)) / ((v / (1 - power2)).sqrt() + Decimal(EPSILON))
        expected.append(now)
    # rounding β₂ᵗ moves 1 − β₂ᵗ ≥ 1e-4 by up to 1e-12 of it, the root by half of that
    assert_close(update, expected, 1e-12)
    assert state.steps == length


@given(g=st.floats(1e-3, 1e3), negative=st.booleans(), length=lengths)
def test_constant_gradients_give_the_closed_forms(g, negative, length):
    g = -g if negative else g
    rows = np.full((length, 1), g)
    _, heavy = last_update(sgd_init, sgd, rows, momentum=0.9)
    rms, _ = last_update(rmsprop_init, rmsprop, rows, decay=0.9)
    _, step = last_update(adam_init, adam, rows, epsilon=1e-30)
    np.testing.assert_allclose(heavy, 0.01 * g * (1 - 0.9**length) / (1 - 0.9), rtol=1e-13)
    np.testing.assert_allclose(rms.mean_square, g * g * (1 - 0.9**length), rtol=1e-13)
    np.testing.assert_allclose(step, 0.01 * np.sign(g), rtol=1e-13)


@given(seed=seeds, size=sizes, length=lengths, power=st.integers(-20, 20))
def test_adam_does_not_feel_the_scale_of_the_gradient(seed, size, length, power):
    g = gradients(seed, length, size)
    _, update = last_update(adam_init, adam, g, epsilon=1e-100)
    _, scaled = last_update(adam_init, adam, g * 2.0**power, epsilon=1e-100)
    assert np.array_equal(scaled, update)


@given(seed=seeds, length=lengths)
def test_shared_rmsprop_statistics_equal_one_worker_that_sees_every_gradient(seed, length):
    g = gradients(seed, 2 * length, 4)
    shared = np.zeros(4)
    for worker, row in enumerate(g):
        state, update = rmsprop(RMSPropState(shared), row, 0.01)
        assert not np.shares_memory(state.mean_square, shared), worker
        shared[:] = state.mean_square
    alone, expected = last_update(rmsprop_init, rmsprop, g)
    assert np.array_equal(shared, alone.mean_square)
    assert np.array_equal(update, expected)


@every_optimizer
def test_a_zero_gradient_at_the_start_moves_nothing(init, step):
    state, update = step(init(np.ones(3)), np.zeros(3), 0.1)
    assert np.array_equal(update, np.zeros(3))
    assert np.array_equal(state[0], np.zeros(3))


def test_a_zero_gradient_at_the_start_shortens_adams_next_update_only(rng):
    g = rng.normal(size=5)
    for init, step, ratio in (
        (sgd_init, sgd, 1.0),
        (rmsprop_init, rmsprop, 1.0),
        (adam_init, adam, np.sqrt(1.999) / 1.9),
    ):
        after_zero, _ = step(init(g), np.zeros(5), 0.1)
        # Adam's ε = 1e-8 against gradients of about 1
        np.testing.assert_allclose(step(after_zero, g, 0.1)[1], ratio * step(init(g), g, 0.1)[1], rtol=1e-6)


@every_optimizer
def test_arguments_are_never_written_to_and_a_state_may_be_used_twice(init, step, rng):
    g = rng.normal(size=5)
    g.setflags(write=False)
    state, _ = step(init(g), g, 0.1)
    for array in state[:-1] if isinstance(state, AdamState) else state:
        array.setflags(write=False)
    first, second = step(state, g, 0.1), step(state, g, 0.1)
    assert np.array_equal(first[1], second[1])
    assert not np.shares_memory(first[1], g)


@every_optimizer
@pytest.mark.parametrize("steps", [3])
def test_any_layout_in_memory_gives_the_same_bits(init, step, steps, rng):
    g = rng.normal(size=(steps, 6))
    layouts = [g, np.repeat(g, 2, axis=1)[:, ::2], g[:, ::-1].copy()[:, ::-1], g.astype(">f8")]
    updates = [last_update(init, step, layout)[1] for layout in layouts]
    for update in updates[1:]:
        assert update.tobytes() == updates[0].tobytes()


@every_optimizer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gradient_dtype", [np.float32, np.float64])
def test_the_dtype_of_theta_decides_the_arithmetic(init, step, dtype, gradient_dtype):
    state = init(np.zeros(3, dtype))
    for _ in range(2):
        state, update = step(state, np.ones(3, gradient_dtype), 0.1)
        assert update.dtype == dtype
        assert state[0].dtype == dtype


@pytest.mark.parametrize("steps", [2**31, np.int64(2**31), 2**53])
def test_adam_counts_beyond_every_machine_integer_it_meets(steps):
    m = np.ones(1, np.float32)
    state, update = adam(AdamState(m, m, steps), m, 0.5, epsilon=1e-30)
    assert state.steps == int(steps) + 1
    assert type(state.steps) is int
    assert update.dtype == np.float32
    np.testing.assert_allclose(update, 0.5, rtol=1e-6)


@every_optimizer
@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        ([1.0, np.nan], NonFiniteError, r"gradient must be finite, got nan at index \(1,\)"),
        ([[1.0, 2.0]], ShapeError, r"gradient must have shape \(any\), got \(1, 2\)"),
        ([1.0, 2.0, 3.0], ShapeError, r"must have shape \(3\), got \(2,\)"),
        (["a", "b"], ArgumentTypeError, "gradient must hold real numbers"),
        ([1.0, 1j], ArgumentTypeError, "gradient must hold real numbers"),
    ],
)
def test_bad_gradients_are_refused(init, step, gradient, error, message):
    with pytest.raises(error, match=message):
        step(init(np.zeros(2)), gradient, 0.1)


@every_optimizer
@pytest.mark.parametrize("step_size", [0.0, -1.0, np.inf, np.nan, True, "1", None])
def test_bad_step_sizes_are_refused(init, step, step_size):
    with pytest.raises(ArgumentError, match="step_size must be positive and finite, got"):
        step(init(np.zeros(2)), [1.0, 2.0], step_size)


@pytest.mark.parametrize(
    ("init", "step", "name"),
    [
        (sgd_init, sgd, "momentum"),
        (rmsprop_init, rmsprop, "decay"),
        (adam_init, adam, "decay_mean"),
        (adam_init, adam, "decay_square"),
    ],
)
@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, np.nan, False])
def test_bad_decays_are_refused(init, step, name, value):
    with pytest.raises(ArgumentError, match=f"{name} must be (below 1|in \\[0, 1\\]), got"):
        step(init(np.zeros(1)), [1.0], 0.1, **{name: value})


@pytest.mark.parametrize(("init", "step"), [(rmsprop_init, rmsprop), (adam_init, adam)])
def test_a_bad_epsilon_is_refused(init, step):
    with pytest.raises(ArgumentError, match="epsilon must be positive and finite, got 0"):
        step(init(np.zeros(1)), [1.0], 0.1, epsilon=0.0)


@pytest.mark.parametrize(
    ("step", "state", "message"),
    [
        (sgd, SGDState([np.nan]), "velocity must be finite"),
        (rmsprop, RMSPropState(np.zeros((1, 1))), "mean_square must have shape"),
        (adam, AdamState([0.0], [np.inf], 0), "mean_square must be finite"),
        (adam, AdamState(np.zeros(2), np.zeros(1), 0), "mean must have shape"),
        (adam, AdamState(np.zeros(1), np.zeros(1), -1), "steps must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_states_are_refused(step, state, message):
    with pytest.raises(ArgumentError, match=message):
        step(state, [1.0], 0.1)


@pytest.mark.parametrize("init", [sgd_init, rmsprop_init, adam_init])
def test_bad_parameters_are_refused_at_the_start(init):
    with pytest.raises(NonFiniteError, match="theta must be finite"):
        init([np.nan])
