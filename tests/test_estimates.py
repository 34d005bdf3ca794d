"""Returns and advantages against their defining double sums in exact fractions, and by their identities."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, PgrefError, ShapeError
from pgref.estimates import gae, n_step_returns, normalise_advantages, returns_to_go, td_errors

EPS = float(np.finfo(float).eps)
seeds = st.integers(0, 2**32 - 1)
unit = st.floats(0.0, 1.0) | st.sampled_from([0.0, 1.0, 0.99])
segments = st.builds(
    lambda seed, n_steps, n_envs, end_rate: draw(np.random.default_rng(seed), n_steps, n_envs, end_rate),
    seeds,
    st.integers(1, 12),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.2, 1.0]),
)


def draw(rng, n_steps, n_envs, end_rate):
    """Return R, V, V(next), terminated, truncated [T, E]; within an episode V(next) is the next row's V."""
    rewards, values, next_values = rng.normal(size=(3, n_steps, n_envs))
    terminated, truncated = rng.uniform(size=(2, n_steps, n_envs)) < end_rate
    inside = ~(terminated | truncated)[:-1]
    next_values[:-1][inside] = values[1:][inside]
    return rewards, values, next_values, terminated, truncated


def exact(array):
    return [[Fraction(float(x)) for x in row] for row in array]


def exact_deltas(rewards, values, next_values, terminated, discount):
    """Return δ and the sum of the sizes of its terms."""
    r, v, w, g = exact(rewards), exact(values), exact(next_values), Fraction(discount)
    each = [(t, e) for t in range(len(r)) for e in range(len(r[0]))]
    after = {(t, e): 0 if terminated[t, e] else g * w[t][e] for t, e in each}
    delta = {(t, e): r[t][e] + after[t, e] - v[t][e] for t, e in each}
    size = {(t, e): abs(r[t][e]) + abs(after[t, e]) + abs(v[t][e]) for t, e in each}
    return delta, size


def horizon(ended, t, e):
    """Return the steps counted from t on: up to the first end, itself included."""
    steps = [t]
    while not ended[steps[-1], e] and steps[-1] + 1 < len(ended):
        steps.append(steps[-1] + 1)
    return steps


def assert_within_rounding(found, wanted, size):
    """Every entry makes at most 4 roundings a step: the product, the sum and its terms, each of ε/2."""
    n_steps, n_envs = found.shape
    for t in range(n_steps):
        for e in range(n_envs):
            error = abs(Fraction(float(found[t, e])) - wanted[t, e])
            assert error <= Fraction(2 * (n_steps + 2) * EPS) * size[t, e]


@given(segment=segments, discount=unit, trace=unit)
def test_gae_is_its_double_sum(segment, discount, trace):
    rewards, values, next_values, terminated, truncated = segment
    delta, size = exact_deltas(rewards, values, next_values, terminated, discount)
    factor, ended = Fraction(discount) * Fraction(trace), terminated | truncated
    wanted = {(t, e): sum(factor ** (u - t) * delta[u, e] for u in horizon(ended, t, e)) for t, e in delta}
    total = {(t, e): sum(factor ** (u - t) * size[u, e] for u in horizon(ended, t, e)) for t, e in delta}
    assert_within_rounding(gae(*segment, discount, trace), wanted, total)
    assert_within_rounding(td_errors(rewards, values, next_values, terminated, discount), delta, size)


def exact_return(segment, discount, n, t, e):
    """Return Σ_{k<m} γᵏ R_{t+k} + γᵐ V, m ≤ n, and the sum of the sizes of its terms."""
    rewards, _, next_values, terminated, truncated = segment
    g, steps = Fraction(discount), horizon(terminated | truncated, t, e)[:n]
    terms = [g**k * Fraction(float(rewards[u, e])) for k, u in enumerate(steps)]
    if not terminated[steps[-1], e]:
        terms.append(g ** len(steps) * Fraction(float(next_values[steps[-1], e])))
    return sum(terms), sum(abs(term) for term in terms)


@given(segment=segments, discount=unit, n=st.integers(1, 14))
def test_returns_are_their_sums(segment, discount, n):
    rewards, _, *rest = segment
    n_steps, n_envs = rewards.shape
    each = [(t, e) for t in range(n_steps) for e in range(n_envs)]
    for found, reach in [
        (returns_to_go(rewards, *rest, discount), n_steps),
        (n_step_returns(rewards, *rest, discount, n), n),
    ]:
        pairs = {(t, e): exact_return(segment, discount, reach, t, e) for t, e in each}
        wanted, size = ({key: pair[i] for key, pair in pairs.items()} for i in (0, 1))
        assert_within_rounding(found, wanted, size)


@given(segment=segments, discount=unit)
def test_gae_with_trace_one_is_the_return_less_the_value(segment, discount):
    rewards, values, *rest = segment
    found = gae(*segment, discount, 1.0)
    # each side is within 2(T+2)ε of the same sum, whose terms are at most 3 for each of T steps
    limit = 4 * (len(rewards) + 2) * EPS * 3 * len(rewards) * np.abs(segment[:3]).max()
    np.testing.assert_allclose(found, returns_to_go(rewards, *rest, discount) - values, rtol=0, atol=limit)


@given(segment=segments, discount=unit)
def test_gae_with_trace_zero_is_the_td_error_to_the_bit(segment, discount):
    rewards, values, next_values, terminated, _ = segment
    found = gae(*segment, discount, 0.0)
    np.testing.assert_array_equal(found, td_errors(rewards, values, next_values, terminated, discount))


@given(segment=segments, discount=unit, more=st.integers(0, 3))
def test_n_steps_beyond_the_segment_are_the_returns_to_go_to_the_bit(segment, discount, more):
    rewards, _, *rest = segment
    found = n_step_returns(rewards, *rest, discount, len(rewards) + more)
    np.testing.assert_array_equal(found, returns_to_go(rewards, *rest, discount))


@given(segment=segments, discount=unit)
def test_the_one_step_return_is_the_td_error_plus_the_value(segment, discount):
    rewards, values, *rest = segment
    target = td_errors(rewards, np.zeros_like(values), *rest[:2], discount)
    np.testing.assert_array_equal(n_step_returns(rewards, *rest, discount, 1), target)
    delta = td_errors(rewards, values, *rest[:2], discount)
    np.testing.assert_allclose(delta + values, target, rtol=0, atol=4 * EPS * np.abs(segment[:3]).max())


def everything(segment, discount=0.9, trace=0.8, n=3):
    rewards, values, next_values, terminated, truncated = segment
    rest = next_values, terminated, truncated, discount
    return [
        td_errors(rewards, values, next_values, terminated, discount),
        gae(rewards, values, *rest, trace),
        returns_to_go(rewards, *rest),
        n_step_returns(rewards, *rest, n),
    ]


@given(segment=segments, discount=unit, trace=unit, n=st.integers(1, 5))
def test_many_environments_are_so_many_single_ones_to_the_bit(segment, discount, trace, n):
    together = everything(segment, discount, trace, n)
    for e in range(segment[0].shape[1]):
        alone = everything([array[:, e : e + 1] for array in segment], discount, trace, n)
        for found, wanted in zip(together, alone, strict=True):
            assert np.ascontiguousarray(found[:, e]).tobytes() == wanted.tobytes()


@given(segment=segments, discount=unit, trace=unit, n=st.integers(1, 5))
def test_a_segment_is_its_episodes_one_by_one(segment, discount, trace, n):
    together = everything(segment, discount, trace, n)
    ended = segment[3] | segment[4]
    for e in range(ended.shape[1]):
        stops = [int(t) + 1 for t in np.flatnonzero(ended[:-1, e])]
        for start, stop in zip([0, *stops], [*stops, len(ended)], strict=True):
            episode = [array[start:stop, e : e + 1] for array in segment]
            for found, wanted in zip(together, everything(episode, discount, trace, n), strict=True):
                np.testing.assert_array_equal(found[start:stop, e : e + 1], wanted)


@given(segment=segments, discount=unit, trace=unit, n=st.integers(1, 5), seed=seeds)
def test_estimates_are_linear_in_rewards_and_values_together(segment, discount, trace, n, seed):
    rng = np.random.default_rng(seed)
    real, flags, a = segment[:3], segment[3:], rng.normal()
    other = [rng.normal(size=array.shape) for array in real]
    mixed = [x + a * y for x, y in zip(real, other, strict=True)]
    size = np.abs([*real, *other, *mixed]).max() * (2 + abs(a))
    for found, x, y in zip(
        *(everything((*three, *flags), discount, trace, n) for three in (mixed, real, other)), strict=True
    ):
        np.testing.assert_allclose(found, x + a * y, rtol=0, atol=20 * len(x) ** 2 * EPS * size)


@given(segment=segments, discount=unit, trace=unit, seed=seeds)
def test_potential_shaping_moves_no_advantage_and_every_return_by_the_potential(
    segment, discount, trace, seed
):
    rewards, values, next_values, terminated, truncated = segment
    # Φ of a state, and of what its step led to: the next row's inside an episode, 0 at a terminal state
    potential, following, *_ = np.random.default_rng(seed).normal(size=(3, *rewards.shape))
    inside = ~(terminated | truncated)[:-1]
    following[:-1][inside] = potential[1:][inside]
    shaping = discount * np.where(terminated, 0.0, following) - potential
    shaped = rewards + shaping, values - potential, next_values - following, terminated, truncated
    before, after = everything(segment, discount, trace), everything(shaped, discount, trace)
    size = np.abs([rewards, values, next_values, potential, following]).max()
    expected = [0.0, 0.0, -potential, -potential]
    for x, y, shift in zip(before, after, expected, strict=True):
        np.testing.assert_allclose(y, x + shift, rtol=0, atol=40 * len(rewards) ** 2 * EPS * size)


@given(segment=segments, garbage=st.floats(-1e300, 1e300))
def test_nothing_is_read_beyond_an_episode(segment, garbage):
    rewards, values, next_values, terminated, truncated = segment
    other = rewards, values, np.where(terminated, garbage, next_values), terminated, truncated
    for found, wanted in zip(everything(other), everything(segment), strict=True):
        np.testing.assert_array_equal(found, wanted)
    both = (
        rewards,
        values,
        next_values,
        terminated,
        terminated | truncated,
    )  # terminated goes before truncated
    for found, wanted in zip(everything(both), everything(segment), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_one_step_that_is_cut_off_bootstraps_and_one_that_terminates_does_not():
    yes, no = np.array([[True]]), np.array([[False]])
    r, v, w = np.array([[1.0]]), np.array([[2.0]]), np.array([[4.0]])
    assert td_errors(r, v, w, no, 0.5) == [[1.0]]
    assert td_errors(r, v, w, yes, 0.5) == [[-1.0]]
    for truncated in (yes, no):
        assert gae(r, v, w, no, truncated, 0.5, 0.9) == [[1.0]]
        assert gae(r, v, w, yes, truncated, 0.5, 0.9) == [[-1.0]]
        assert (
            returns_to_go(r, w, no, truncated, 0.5) == n_step_returns(r, w, no, truncated, 0.5, 1) == [[3.0]]
        )
        assert (
            returns_to_go(r, w, yes, truncated, 0.5)
            == n_step_returns(r, w, yes, truncated, 0.5, 9)
            == [[1.0]]
        )


# --- dtypes and memory -----------------------------------------------------------------------------------


def reversed_twice(array):
    return array[::-1].copy()[::-1]


def every_other(array):
    return np.repeat(array, 2, axis=1)[:, ::2]


def swapped(array):
    return array.astype(array.dtype.newbyteorder())


def frozen(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize(
    "memory", [np.asfortranarray, reversed_twice, every_other, swapped, frozen, np.ndarray.tolist]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_depend_on_numbers_not_on_memory_and_arguments_stay_as_they_are(rng, memory, dtype):
    plain = [array.astype(dtype if array.dtype != bool else bool) for array in draw(rng, 9, 3, 0.2)]
    before = [array.tobytes() for array in plain]
    wanted = everything(plain)
    given = [memory(array) for array in plain]
    for found, same in zip(everything(given), wanted, strict=True):
        assert found.dtype == (np.float64 if memory is np.ndarray.tolist else dtype)
        assert found.astype(dtype).tobytes() == same.tobytes()
    advantages = normalise_advantages(given[0]).values.astype(dtype)
    assert (
        memory is np.ndarray.tolist or advantages.tobytes() == normalise_advantages(plain[0]).values.tobytes()
    )
    assert [array.tobytes() for array in plain] == before
    assert not any(np.shares_memory(result, array) for result in wanted for array in plain)


def test_float32_is_summed_in_float64_and_rounded_once(rng):
    segment = draw(rng, 200, 2, 0.02)
    single = [array.astype(np.float32) if array.dtype != bool else array for array in segment]
    double = [array.astype(np.float64) if array.dtype != bool else array for array in single]
    for found, wanted in zip(everything(single), everything(double), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_mixed_dtypes_give_the_common_one(rng):
    rewards, values, next_values, *flags = draw(rng, 5, 2, 0.2)
    mixed = everything((rewards.astype(np.float32), values, next_values, *flags))
    whole = everything(
        (np.ones((5, 2), int), values.astype(np.float32), next_values.astype(np.float32), *flags)
    )
    assert {array.dtype for array in [*mixed, *whole]} == {np.dtype(np.float64)}


# --- what is refused -------------------------------------------------------------------------------------

NAMES = ["rewards", "values", "next_values", "terminated", "truncated"]
FUNCTIONS = {
    td_errors: NAMES[:4],
    gae: NAMES,
    returns_to_go: [NAMES[0], *NAMES[2:]],
    n_step_returns: [NAMES[0], *NAMES[2:]],
}
cases = pytest.mark.parametrize(
    ("function", "name"), [(f, name) for f, names in FUNCTIONS.items() for name in names]
)
functions = pytest.mark.parametrize("function", FUNCTIONS)


def call(function, segment, **changes):
    arguments = {**dict(zip(NAMES, segment, strict=True)), "discount": 0.9, "trace": 0.8, "n": 3, **changes}
    extra = {gae: ["trace"], n_step_returns: ["n"]}.get(function, [])
    return function(**{name: arguments[name] for name in [*FUNCTIONS[function], "discount", *extra]})


def refusal(error, function, segment, **changes):
    """Return the message of the error, raised with all arguments untouched."""
    before = [array.tobytes() for array in segment]
    with pytest.raises(error) as caught:
        call(function, segment, **changes)
    assert isinstance(caught.value, PgrefError)
    assert [array.tobytes() for array in segment] == before
    return str(caught.value)


@cases
@pytest.mark.parametrize("shape", [(30, 1), (30, 3), (29, 2), (2,), (30,), (30, 2, 1), ()])
def test_shapes_are_compared_and_never_broadcast(rng, function, name, shape):
    segment = draw(rng, 30, 2, 0.1)
    dtype = segment[NAMES.index(name)].dtype
    refusal(ShapeError, function, segment, **{name: np.zeros(shape, dtype)})


def test_the_message_about_a_shape_names_the_array(rng):
    message = refusal(ShapeError, gae, draw(rng, 30, 2, 0.1), values=np.zeros((30, 1)))
    assert message == "values must have shape (30, 2), got (30, 1)"


@cases
def test_flags_must_be_booleans_and_the_rest_real_numbers(rng, function, name):
    segment = draw(rng, 4, 2, 0.1)
    wrong = np.zeros((4, 2), int) if name in NAMES[3:] else np.zeros((4, 2), bool)
    words = "booleans" if name in NAMES[3:] else "real numbers"
    message = refusal(ArgumentTypeError, function, segment, **{name: wrong})
    assert message.startswith(f"{name} must hold {words}, got ndarray of dtype")


@cases
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_with_its_environment_and_step(rng, function, name, value):
    segment = draw(rng, 30, 2, 0.1)
    if name in NAMES[3:]:
        return
    bad = segment[NAMES.index(name)].copy()
    bad[25, 0] = bad[26, 1] = value
    message = refusal(NonFiniteError, function, segment, **{name: bad})
    assert message == f"{name} from env 0 at step 25 is {value}"


@functions
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_batch_is_refused(function, shape):
    segment = [np.zeros(shape)] * 3 + [np.zeros(shape, bool)] * 2
    assert refusal(ArgumentError, function, segment) == "empty batch (0 samples)"


@functions
@pytest.mark.parametrize("value", [-0.5, 1.0 + 1e-9, np.nan, np.inf, True, "0.9", None])
def test_the_discount_must_lie_in_the_unit_interval(rng, function, value):
    message = refusal(ArgumentError, function, draw(rng, 3, 1, 0.0), discount=value)
    assert message == f"discount must be in [0, 1], got {value!r}"


@pytest.mark.parametrize("value", [-0.5, 2, np.nan, False])
def test_the_trace_must_lie_in_the_unit_interval(rng, value):
    message = refusal(ArgumentError, gae, draw(rng, 3, 1, 0.0), trace=value)
    assert message == f"trace must be in [0, 1], got {value!r}"


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_n_must_count_steps(rng, value):
    message = refusal(ArgumentError, n_step_returns, draw(rng, 3, 1, 0.0), n=value)
    assert message == f"n must be a whole number of at least 1, got {value!r}"


@pytest.mark.parametrize(
    ("function", "what"),
    [(td_errors, "TD error"), (gae, "advantage"), (returns_to_go, "return"), (n_step_returns, "return")],
)
@pytest.mark.parametrize(("dtype", "big", "words"), [("f8", 1e308, "1e308"), ("f4", 2e38, "2e38")])
def test_an_overflow_is_named_with_its_step_and_warns_of_nothing(function, what, dtype, big, words):
    # each number fits, and the last steps' sums too; the first sum of two of them is that of t = 7
    shape = (10, 2)
    rewards, values, next_values = (np.zeros(shape, dtype) for _ in range(3))
    rewards[7, 1] = rewards[8, 1] = big
    values[7, 1] = -big * (function is td_errors)
    terminated, truncated = np.zeros((2, *shape), bool)
    for end in (None, 4):  # an overflow does not vanish behind the end of an earlier episode
        terminated[4] = end == 4
        segment = rewards, values, next_values, terminated, truncated
        message = refusal(NonFiniteError, function, segment, discount=1.0, trace=1.0)
        assert message == f"{what} overflowed at t=7 (max abs reward {words})"


def test_huge_numbers_that_are_not_part_of_a_sum_do_no_harm():
    rewards, next_values, flags = np.full((3, 1), 1e308), np.full((3, 1), 1e308), np.ones((3, 1), bool)
    np.testing.assert_array_equal(returns_to_go(rewards, next_values, flags, flags, 1.0), rewards)
    np.testing.assert_array_equal(n_step_returns(rewards, next_values, flags, flags, 1.0, 3), rewards)


# --- normalised advantages -------------------------------------------------------------------------------


@given(seed=seeds, n=st.integers(2, 200), offset=st.floats(-1e3, 1e3), axes=st.integers(1, 3))
def test_normalised_advantages_have_mean_zero_and_standard_deviation_one(seed, n, offset, axes):
    advantages = np.random.default_rng(seed).normal(offset, size=(n, 1, 1)[:axes])
    values, status = normalise_advantages(advantages)
    assert status == "normalised"
    assert values.shape == advantages.shape
    assert abs(values.mean()) <= 4 * n * EPS
    assert abs(np.mean(values**2) - 1.0) <= 4 * n * EPS
    np.testing.assert_array_equal(np.argsort(values, axis=0), np.argsort(advantages, axis=0))


@given(seed=seeds, n=st.integers(2, 50), shift=st.floats(-10.0, 10.0), scale=st.floats(0.01, 100.0))
def test_normalised_advantages_forget_scale_and_offset(seed, n, shift, scale):
    advantages = np.random.default_rng(seed).normal(size=n)
    values = normalise_advantages(advantages).values
    moved = normalise_advantages(scale * advantages + shift).values
    # moving rounds each entry by ε of its size, normalising divides that by the spread
    limit = 20 * n * EPS * (1.0 + (np.abs(advantages).max() + abs(shift) / scale) / advantages.std())
    np.testing.assert_allclose(moved, values, rtol=0, atol=limit * np.abs(values).max())


@given(seed=seeds, n=st.integers(2, 50), power=st.integers(-1000, 1000))
def test_normalised_advantages_are_the_same_bits_over_the_whole_range_of_floats(seed, n, power):
    advantages = np.random.default_rng(seed).normal(size=n) + 8.0
    scaled = normalise_advantages(np.ldexp(advantages, power))
    assert scaled.values.tobytes() == normalise_advantages(advantages).values.tobytes()


@given(seed=seeds, shape=st.sampled_from([(7,), (3, 5), (200, 2)]), dtype=st.sampled_from(["f4", "f8"]))
@example(seed=0, shape=(1,), dtype="f8")
@example(seed=0, shape=(1, 1), dtype="f4")
def test_constant_advantages_with_any_rounding_in_them_become_exact_zeros(seed, shape, dtype):
    rng = np.random.default_rng(seed)
    constant = np.dtype(dtype).type(rng.normal() * 10.0 ** rng.integers(-30, 30))
    noisy = constant * (1 + np.finfo(dtype).eps * rng.integers(-20, 21, size=shape).astype(dtype))
    for advantages in (np.full(shape, constant), noisy.astype(dtype), np.zeros(shape, dtype)):
        values, status = normalise_advantages(advantages)
        assert status == "degenerate_advantages"
        assert values.tobytes() == np.zeros(shape, dtype).tobytes()


def test_sums_that_differ_by_rounding_count_as_constant_and_real_differences_do_not():
    assert normalise_advantages(np.array([0.1 + 0.2, 0.3])).status == "degenerate_advantages"
    np.testing.assert_array_equal(normalise_advantages(np.array([1.0, 1.0 + 1e-12])).values, [-1.0, 1.0])
    np.testing.assert_array_equal(normalise_advantages(np.array([5e-324, 1e-323])).values, [-1.0, 1.0])
    np.testing.assert_array_equal(normalise_advantages(np.array([-1.7e308, 1.7e308])).values, [-1.0, 1.0])
    np.testing.assert_array_equal(normalise_advantages([3, 1]).values, [1.0, -1.0])
    assert normalise_advantages(np.float64(3.0)).status == "degenerate_advantages"


@pytest.mark.parametrize(
    ("advantages", "error", "message"),
    [
        (np.empty(0), ArgumentError, "empty batch (0 samples)"),
        (np.empty((3, 0)), ArgumentError, "empty batch (0 samples)"),
        (np.array([1.0, np.nan]), NonFiniteError, "advantages must be finite, got nan at index (1,)"),
        (np.array([[1.0], [np.inf]]), NonFiniteError, "advantages must be finite, got inf at index (1, 0)"),
        (
            np.array([True, False]),
            ArgumentTypeError,
            "advantages must hold real numbers, got ndarray of dtype bool",
        ),
        (
            np.array([1j, 2.0]),
            ArgumentTypeError,
            "advantages must hold real numbers, got ndarray of dtype complex128",
        ),
        (None, ArgumentTypeError, "advantages must hold real numbers, got NoneType None"),
    ],
)
def test_advantages_that_cannot_be_normalised_are_refused(advantages, error, message):
    with pytest.raises(error, match=re.escape(message)):
        normalise_advantages(advantages)
