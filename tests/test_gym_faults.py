"""What the border to Gymnasium refuses; none of this needs Gymnasium itself."""

import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from pgref.envs import gym_border as border
from pgref.envs.gym import from_gymnasium
from pgref.envs.gymnasium_export import register, to_gymnasium
from pgref.envs.names import make
from pgref.errors import (
    ArgumentError,
    ArgumentTypeError,
    EnvApiError,
    MissingExtraError,
    NonFiniteError,
    ShapeError,
)

AT = "step 25"


def box(dtype, *shape):
    return SimpleNamespace(shape=shape, dtype=np.dtype(dtype))


def discrete(n, start=0):
    return SimpleNamespace(shape=(), dtype=np.dtype(np.int64), n=n, start=start)


def seen(space, *values):
    return border.observations(space, values, range(len(values)), AT)


@pytest.mark.parametrize(
    "call",
    [lambda: from_gymnasium("CartPole-v1"), register, lambda: to_gymnasium(make("LQR"))],
    ids=["from_gymnasium", "register", "to_gymnasium"],
)
def test_without_gymnasium_the_message_says_what_to_install(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    from pgref.envs import gymnasium_export

    gymnasium_export._env_class.cache_clear()
    with pytest.raises(MissingExtraError, match=r'pip install "pgref\[gym\]"'):
        call()


# --- observations ---


@pytest.mark.parametrize(
    ("declared", "returned", "expected"),
    [
        ("f4", np.float32([1.5, 2]), np.float32),
        ("f4", np.array([1, 2], ">f4"), np.float32),
        ("f4", np.array([1, 2], np.float16), np.float32),
        ("f4", [1, 2], np.float32),
        ("f4", (True, False), np.float32),
        ("f4", np.array([2**24, 1]), np.float32),
        ("f8", np.array([0.1, 2]), np.float64),
        ("f8", np.float32([0.1, 2]), np.float64),
        ("f8", np.array([2**53, 1]), np.float64),
        ("u1", np.array([255, 0], np.uint8), np.float32),
        ("i2", np.array([-5, 0], np.int16), np.float32),
        ("i4", np.array([2**31 - 1, 0], np.int32), np.float64),
        ("i8", np.array([2**40, 0]), np.float64),
    ],
)
def test_observations_are_cast_where_nothing_is_lost(declared, returned, expected):
    obs = seen(box(declared, 2), returned, returned)
    assert obs.dtype == expected
    assert obs.dtype.isnative
    assert obs.shape == (2, 2)
    assert obs.tolist() == [np.asarray(returned).tolist()] * 2


@pytest.mark.parametrize(
    ("declared", "returned", "got"),
    [
        ("f4", np.array([0.0, 1.0]), "float64"),
        ("f4", np.array([2**24 + 1, 0]), "int64"),
        ("f8", np.array([2**53 + 1, 0]), "int64"),
        ("f8", np.array([2**64 - 1, 0], np.uint64), "uint64"),
        ("f8", np.array([1j, 0]), "complex128"),
        ("f4", np.array([None, 0]), "object"),
        ("f4", np.array(["a", "b"]), "<U1"),
    ],
)
def test_observations_are_not_cast_where_digits_would_go(declared, returned, got):
    message = f"observation from env 1 at step 25 has dtype {got}, space says {np.dtype(declared)}"
    with pytest.raises(ArgumentTypeError, match=message):
        seen(box(declared, 2), np.zeros(2, declared), returned)


@pytest.mark.parametrize(
    "returned", [np.zeros(1, "f4"), np.float32(0), np.zeros((1, 3), "f4"), [0, 0], {"a": 1}]
)
def test_observations_of_another_shape_are_refused_even_where_they_would_broadcast(returned):
    shape = np.shape(returned)
    with pytest.raises(ShapeError) as caught:
        seen(box("f4", 3), np.zeros(3, "f4"), returned)
    assert str(caught.value) == f"observation from env 1 at step 25 has shape {shape}, space says (3,)"


def test_ragged_observations_are_refused():
    with pytest.raises(ShapeError, match="observation from env 0 at step 25 is not a rectangular array"):
        seen(box("f4", 2, 2), [[1, 2], [3]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("shape", "index"), [((3,), (1,)), ((2, 2), (1, 0)), ((), ())])
def test_non_finite_observations_are_refused_with_their_place_in_the_original_shape(value, shape, index):
    good, bad = np.zeros(shape), np.zeros(shape)
    bad[index] = value
    message = f"observation from env 2 at step 25 has {value} at index {index}"
    with pytest.raises(NonFiniteError) as caught:
        seen(box("f8", *shape), good, good, bad)
    assert str(caught.value) == message
    with pytest.raises(NonFiniteError) as caught:
        border.batch(box("f8", *shape), np.array([good, good, bad]), 3, AT)
    assert str(caught.value) == message


def test_a_cast_does_not_hide_what_is_not_finite():
    with pytest.raises(NonFiniteError, match="observation from env 0 at step 25 has nan at index"):
        seen(box("f4", 2), np.array([0, np.nan], np.float16))


@pytest.mark.parametrize(("space", "value"), [(box("f4"), np.float32(np.nan)), (discrete(3), 3)])
def test_messages_name_the_environment_and_not_the_row(space, value):
    with pytest.raises(ArgumentError, match="observation from env 7 at step 25"):
        border.observations(space, [0, value], [4, 7], AT)


def test_discrete_observations_count_from_zero():
    assert seen(discrete(3, 5), 5, np.int32(7), np.uint8(6)).tolist() == [0, 2, 1]
    assert seen(discrete(2), True, False).tolist() == [1, 0]


@pytest.mark.parametrize("value", [4, 8, -1, np.uint64(2**64 - 1)])
def test_discrete_observations_outside_the_space_are_refused(value):
    with pytest.raises(ArgumentError, match=r"observation from env 1 at step 25 is .*, not in"):
        seen(discrete(3, 5), 5, value)


@pytest.mark.parametrize("value", [5.0, np.float32(5), "5", None])
def test_discrete_observations_that_are_no_whole_numbers_are_refused(value):
    with pytest.raises(ArgumentTypeError, match="observation from env 0 at step 25 has dtype"):
        seen(discrete(3, 5), value)


def test_observations_are_copies():
    buffer = np.zeros((2, 3), "f4")
    space = box("f4", 3)
    copies = seen(space, *buffer), seen(space, buffer[0]), border.batch(space, buffer, 2, AT)
    buffer[:] = 1
    assert not any(copy.any() for copy in copies)


@pytest.mark.parametrize("shape", [(2, 1), (1, 3), (3,), (2, 3, 1)])
def test_a_batch_of_another_shape_is_refused(shape):
    with pytest.raises(ShapeError) as caught:
        border.batch(box("f4", 3), np.zeros(shape, "f4"), 2, AT)
    assert str(caught.value) == f"observation at step 25 has shape {shape}, space says (2, 3)"


# --- rewards and flags ---


def test_rewards_of_every_real_type_are_float64():
    reward = border.rewards([1, np.float32(0.5), np.int8(-3), Fraction(1, 4), 2.0], AT)
    assert reward.dtype == np.float64
    assert reward.tolist() == [1.0, 0.5, -3.0, 0.25, 2.0]
    for dtype in ("f4", "f8", "i4", "u1"):
        assert border.reward_batch(np.ones(3, dtype), 3, AT).dtype == np.float64


@pytest.mark.parametrize("value", [None, "1.0", 1j, True, np.array([1.0]), np.array(1.0), [1.0]])
def test_rewards_that_are_no_real_scalars_are_refused(value):
    with pytest.raises(ArgumentTypeError) as caught:
        border.rewards([0.0, value], AT)
    got = f"{type(value).__name__} {value!r} from env 1 at step 25"
    assert str(caught.value) == f"reward must be a real scalar, got {got}"


@pytest.mark.parametrize(
    "value",
    [None, np.zeros(3), np.zeros((2, 1)), np.array(["1", "2"]), np.zeros(2, bool), np.array([None, 1])],
)
def test_batches_of_rewards_that_are_no_real_numbers_are_refused(value):
    with pytest.raises(ArgumentTypeError, match=r"rewards at step 25 must be real numbers \[2\], got dtype"):
        border.reward_batch(value, 2, AT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_rewards_are_refused(value):
    for call in (lambda: border.rewards([0, value], AT), lambda: border.reward_batch([0, value], 2, AT)):
        with pytest.raises(NonFiniteError) as caught:
            call()
        assert str(caught.value) == f"reward from env 1 at step 25 is {value}"


@pytest.mark.parametrize("value", [None, 0, 1.0, "False", np.array([True])])
def test_flags_that_are_no_bools_are_refused(value):
    with pytest.raises(EnvApiError) as caught:
        border.flags("terminated", [True, value], AT)
    got = f"{type(value).__name__} {value!r} from env 1 at step 25"
    assert str(caught.value) == f"terminated must be a bool, got {got}"


@pytest.mark.parametrize("value", [None, [0, 1], [True], [[True, False]]])
def test_batches_of_flags_that_are_no_bools_are_refused(value):
    with pytest.raises(EnvApiError, match=r"truncated at step 25 must be bools \[2\], got dtype"):
        border.flag_batch("truncated", value, 2, AT)


def test_flags_are_arrays_of_bools():
    assert border.flags("terminated", (True, np.False_), AT).tolist() == [True, False]
    assert border.flag_batch("terminated", [True, False], 2, AT).tolist() == [True, False]


# --- the API ---


@pytest.mark.parametrize(
    ("result", "got"),
    [((0, 0.0, False, {}), "4 items"), ((0,) * 6, "6 items"), (None, "NoneType"), ([0] * 5, "list")],
)
def test_steps_that_do_not_return_five_items_are_refused(result, got):
    with pytest.raises(EnvApiError) as caught:
        border.five(result)
    assert str(caught.value) == f"step() returned {got}, Gymnasium's API has 5"


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (np.zeros(2), "ndarray"),
        ((0.0, 1.0), "2 items"),
        ((0, {}, 0), "3 items"),
        ([0, {}], "list"),
    ],
)
def test_resets_without_info_are_refused(result, got):
    with pytest.raises(EnvApiError) as caught:
        border.first_obs(result)
    assert str(caught.value) == f"reset() returned {got}, Gymnasium's API has (observation, info)"


def test_an_exception_gets_a_note_beside_those_it_has_and_stays_itself():
    raised = KeyError("key")
    for where in ("env 2, step 25", "again"):
        with pytest.raises(KeyError) as caught, border.noted(lambda where=where: where):
            raise raised
        assert caught.value is raised
    assert raised.__notes__ == ["env 2, step 25", "again"]


def test_an_interrupt_gets_no_note():
    with pytest.raises(KeyboardInterrupt) as caught, border.noted(lambda: "env 2, step 25"):
        raise KeyboardInterrupt
    assert not hasattr(caught.value, "__notes__")
