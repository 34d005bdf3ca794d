"""What spaces refuse, and what they leave alone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError
from pgref.spaces import Box, Discrete, MultiDiscrete, as_actions, clipped

BOX = Box((-1.0, 0.0), (1.0, np.inf))
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "3", None, np.nan])
def test_a_discrete_space_has_a_whole_number_of_choices(n):
    with pytest.raises(ArgumentError, match="n must be a whole number of at least 1"):
        Discrete(n)
    with pytest.raises(ArgumentError, match="sizes must be a whole number of at least 1"):
        MultiDiscrete((2, n))


def test_several_choices_are_at_least_one():
    with pytest.raises(ArgumentError, match=r"sizes must hold at least one number of choices, got \(\)"):
        MultiDiscrete(())


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ((), ()),
        ((0.0,), (1.0, 2.0)),
        ((1.0,), (1.0,)),
        ((2.0,), (1.0,)),
        ((np.nan,), (1.0,)),
        ((0,), (np.nan,)),
    ],
)
def test_the_bounds_of_a_box_are_ordered(low, high):
    with pytest.raises(ArgumentError, match="low must be below high, entry by entry, got"):
        Box(low, high)


def test_spaces_are_values():
    assert Discrete(np.int32(3)) == Discrete(3)
    assert MultiDiscrete([np.int64(2), 3]) == MultiDiscrete((2, 3))
    assert Box(np.array([0]), [1]) == Box((0.0,), (1.0,))
    assert (
        len({Discrete(3), Discrete(3), MultiDiscrete((3,)), MultiDiscrete([3]), BOX, Box(BOX.low, BOX.high)})
        == 3
    )
    for space, name in ((Discrete(2), "n"), (MultiDiscrete((2,)), "sizes"), (BOX, "low")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(space, name, 1)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 6), seeds)
@example([1], 1, 0)
def test_every_choice_of_a_space_passes_unchanged(sizes, n, seed):
    several = np.random.default_rng(seed).integers(0, sizes, (n, len(sizes)))
    for dtype in (np.int64, np.uint8, ">i4"):
        actions = as_actions(MultiDiscrete(tuple(sizes)), several.astype(dtype), n)
        assert actions.dtype == np.int64
        np.testing.assert_array_equal(actions, several)
        np.testing.assert_array_equal(
            as_actions(Discrete(sizes[0]), several[:, 0].astype(dtype), n), several[:, 0]
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_keep_their_precision_and_may_leave_the_box(dtype):
    vectors = np.array([[5.0, -5.0]], dtype)
    actions = as_actions(BOX, vectors, 1)
    assert actions.dtype == dtype
    np.testing.assert_array_equal(actions, vectors)


@pytest.mark.parametrize(
    ("space", "actions", "error", "message"),
    [
        (Discrete(3), [0, 3], ArgumentError, r"action 3 not in Discrete\(3\)"),
        (Discrete(3), [-1, 0], ArgumentError, r"action -1 not in Discrete\(3\)"),
        (Discrete(3), [0.0, 1.0], ArgumentTypeError, "actions must hold integers"),
        (Discrete(3), [True, False], ArgumentTypeError, "actions must hold integers"),
        (Discrete(3), [0], ShapeError, r"actions must have shape \(2\), got \(1,\)"),
        (Discrete(3), [[0], [1]], ShapeError, r"actions must have shape \(2\), got \(2, 1\)"),
        (Discrete(3), 1, ShapeError, r"actions must have shape \(2\), got \(\)"),
        (MultiDiscrete((2, 4)), [[1, 3], [0, 4]], ArgumentError, r"action 4 not in Discrete\(4\)"),
        (MultiDiscrete((2, 4)), [[1, 3], [2, 0]], ArgumentError, r"action 2 not in Discrete\(2\)"),
        (MultiDiscrete((2, 4)), [1, 3], ShapeError, r"actions must have shape \(2, 2\), got \(2,\)"),
        (
            BOX,
            [[0.0, 1.0], [np.nan, 0.0]],
            NonFiniteError,
            r"actions must be finite, got nan at index \(1, 0\)",
        ),
        (BOX, [[0.0, np.inf], [0.0, 0.0]], NonFiniteError, r"got inf at index \(0, 1\)"),
        (BOX, [[0.0], [1.0]], ShapeError, r"actions must have shape \(2, 2\), got \(2, 1\)"),
        (BOX, [["a", "b"], ["c", "d"]], ArgumentTypeError, "actions must hold real numbers"),
    ],
)
def test_actions_that_the_space_does_not_have_are_refused(space, actions, error, message):
    with pytest.raises(error, match=message):
        as_actions(space, actions, 2)


@given(st.integers(1, 4), st.integers(1, 6), seeds)
def test_clipping_gives_the_nearest_point_of_the_box(d, n, seed):
    rng = np.random.default_rng(seed)
    low = rng.normal(size=d)
    box, actions = Box(low, low + rng.uniform(0.1, 2, d)), rng.normal(size=(n, d)) * 3
    kept = actions.copy()
    median = np.sort(np.broadcast_arrays(actions, box.low, box.high), axis=0)[1]
    np.testing.assert_array_equal(clipped(box, actions), median)
    np.testing.assert_array_equal(actions, kept)


def test_choices_are_not_clipped():
    actions = np.array([0, 1])
    for space, some in ((Discrete(2), actions), (MultiDiscrete((2,)), actions[:, None])):
        np.testing.assert_array_equal(clipped(space, some), some)
        assert not np.shares_memory(clipped(space, some), some)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiDiscrete(3), "sizes must be a tuple of numbers of choices, got 3"),
        (lambda: Box(1.0, 2.0), "low and high must be vectors of real numbers, got 1.0 and 2.0"),
        (lambda: Box(("a",), (1.0,)), "low and high must be vectors of real numbers, got"),
    ],
)
def test_bounds_and_sizes_of_another_type_are_refused(make, message):
    with pytest.raises(ArgumentTypeError, match=message):
        make()
