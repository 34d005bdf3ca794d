"""The border: what comes in, in which layout and dtype, and what is refused by which message."""

import math
import pickle
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import arrays
from pgref.arrays import Workspace, as_array, as_batch, as_parameters, count, in_precision, scratch
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, PgrefError, ShapeError

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 5), max_size=3).map(tuple)


def unaligned(array):
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    view = memory.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


def spread(array):
    """Return the same numbers with gaps between them and the axes running backwards."""
    wide = np.zeros(tuple(3 * n for n in array.shape), array.dtype)
    view = wide[(..., *(slice(None, None, 3),) * array.ndim)][(..., *(slice(None, None, -1),) * array.ndim)]
    view[...] = array
    return view


LAYOUTS = {
    "strided and reversed": spread,
    "columns first": lambda a: np.array(a, order="F"),
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "read-only": read_only,
    "unaligned": unaligned,
}
LAYOUT = st.sampled_from(sorted(LAYOUTS))
GIVEN = ["f2", "f4", "f8", "c8", "c16", "i1", "i8", "u4", "u8", "?"]
KEPT = {"f4": "f4", "f8": "f8", "c8": "c8", "c16": "c16"}
ACCEPTED = {"f": "f2 f4 f8 i1 i8 u4 u8", "c": "f2 f4 f8 c8 c16 i1 i8 u4 u8", "i": "i1 i8 u4 u8", "b": "?"}
PAIRS = [(dtype, kind) for kind, dtypes in ACCEPTED.items() for dtype in dtypes.split()]
WORDS = {"f": "real numbers", "c": "numbers", "i": "integers", "b": "booleans"}


def draw(rng, shape, dtype):
    values = rng.integers(0, 2 if dtype == "?" else 100, shape)
    return values.astype(dtype)


@given(seeds, shapes, st.sampled_from(PAIRS), LAYOUT)
@example(0, (), ("i8", "i"), "other byte order")
@example(0, (0, 3), ("f4", "f"), "columns first")
@example(0, (3,), ("f8", "f"), "unaligned")
def test_every_layout_comes_out_as_the_plain_copy_does(seed, shape, pair, layout):
    dtype, kind = pair
    plain = draw(np.random.default_rng(seed), shape, dtype)
    value = LAYOUTS[layout](plain)
    before = value.tobytes()
    result = as_array("x", value, plain.shape, kind)
    wanted = {"i": "i8", "b": "?"}.get(kind) or KEPT.get(dtype, "f8")
    assert result.dtype == np.dtype(wanted)
    assert result.dtype.isnative
    assert result.flags.c_contiguous
    assert result.flags.aligned
    np.testing.assert_array_equal(result, plain)
    assert value.tobytes() == before


@given(seeds, shapes, st.sampled_from("fcib"))
def test_a_nested_list_is_an_array(seed, shape, kind):
    plain = draw(np.random.default_rng(seed), shape, {"f": "f8", "c": "c16", "i": "i8", "b": "?"}[kind])
    np.testing.assert_array_equal(as_array("x", plain.tolist(), plain.shape, kind), plain)


@given(st.sampled_from(GIVEN), st.sampled_from("fcib"))
def test_a_kind_refuses_what_it_could_not_hold_without_loss(dtype, kind):
    value = np.zeros(2, dtype)
    if dtype in ACCEPTED[kind].split():
        as_array("x", value, (2,), kind)
    else:
        message = f"x must hold {WORDS[kind]}, got ndarray of dtype {value.dtype}"
        with pytest.raises(ArgumentTypeError, match=f"^{message}$"):
            as_array("x", value, (2,), kind)


@given(st.integers(-(2**63), 2**64 - 1), st.sampled_from("fi"))
@example(2**53, "f")
@example(2**53 + 1, "f")
@example(-(2**53) - 1, "f")
@example(2**63 - 1, "i")
@example(2**63, "i")
def test_a_whole_number_keeps_its_value_or_is_refused(value, kind):
    dtype = np.uint64 if value >= 2**63 else np.int64
    if (abs(value) <= 2**53) if kind == "f" else (value < 2**63):
        assert int(as_array("x", np.array([0, value], dtype), (2,), kind)[1]) == value
    else:
        with pytest.raises(
            ArgumentTypeError, match=rf"^x must hold whole numbers up to \d+ in size, got {value}$"
        ):
            as_array("x", np.array([0, value], dtype), (2,), kind)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1.0", "x must hold real numbers, got str '1.0'"),
        (None, "x must hold real numbers, got NoneType None"),
        (True, "x must hold real numbers, got bool True"),
        ([1.0, None], "x must hold real numbers, got list of dtype object"),
        ([10**400], "x must hold real numbers, got list of dtype object"),
        (
            np.zeros(2, np.longdouble),
            f"x must hold real numbers, got ndarray of dtype {np.dtype(np.longdouble)}",
        ),
        (np.zeros(2, "M8[s]"), "x must hold real numbers, got ndarray of dtype datetime64[s]"),
    ],
)
def test_other_types_are_refused_by_name(value, message):
    with pytest.raises(ArgumentTypeError) as caught:
        as_array("x", value, np.shape(value))
    assert str(caught.value) == message
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("kind", "fc")
def test_long_double_is_refused_rather_than_shortened(kind):
    with pytest.raises(ArgumentTypeError, match="x must hold"):
        as_array("x", np.zeros(2, np.longdouble), (2,), kind)
    with pytest.raises(ArgumentTypeError, match="x must hold"):
        as_array("x", np.zeros(2, np.clongdouble), (2,), kind)


@pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged")  # NumPy before 1.24
def test_rows_of_different_lengths_are_refused():
    for check in (lambda x: as_array("x", x, (2, None)), lambda x: as_parameters("x", x, 2)):
        with pytest.raises((ShapeError, ArgumentTypeError), match=r"^x must "):
            check([[1.0], [1.0, 2.0]])


@given(shapes, st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=3).map(tuple))
def test_a_shape_fits_where_every_named_length_does(shape, wanted):
    fits = len(shape) == len(wanted) and all(w in (None, n) for w, n in zip(wanted, shape, strict=True))
    if fits:
        assert as_array("x", np.zeros(shape), wanted).shape == shape
    else:
        words = ", ".join("any" if n is None else str(n) for n in wanted)
        with pytest.raises(ShapeError) as caught:
            as_array("x", np.zeros(shape), wanted)
        assert str(caught.value) == f"x must have shape ({words}), got {shape}"


@given(seeds, shapes, st.sampled_from([np.nan, np.inf, -np.inf]), st.sampled_from(["f4", "f8", "c16"]))
@example(0, (), np.nan, "f8")
def test_the_message_names_the_first_number_that_is_not_finite(seed, shape, bad, dtype):
    array = np.zeros(shape, dtype)
    flat = np.sort(np.random.default_rng(seed).choice(array.size, min(2, array.size), replace=False))
    array.ravel()[flat] = bad  # ravel of a contiguous array is a view
    index = tuple(int(i) for i in np.unravel_index(flat[0], shape)) if shape else ()
    where = f" at index {index}" if index else ""
    with pytest.raises(NonFiniteError) as caught:
        as_array("x", array, shape, "c")
    assert str(caught.value) == f"x must be finite, got {array[index]}{where}"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_numbers_whose_squares_overflow_are_finite(dtype):
    with np.errstate(over="raise", invalid="raise"):
        array = np.array([np.finfo(dtype).max, -np.finfo(dtype).max, 0], dtype)
        assert as_array("x", array, (3,), "c") is array
        array[2] = np.inf
        with pytest.raises(NonFiniteError, match=r"^x must be finite, got .*inf.* at index \(2,\)$"):
            as_array("x", array, (3,), "c")


def test_a_subclass_comes_out_as_an_array():
    class Named(np.ndarray):
        pass

    assert type(as_array("x", np.zeros(2).view(Named), (2,))) is np.ndarray


def test_an_imaginary_part_must_be_finite_too():
    with pytest.raises(NonFiniteError, match=r"at index \(1,\)"):
        as_array("x", np.array([0.0, complex(0, np.nan)]), (2,), "c")


def test_an_array_that_fits_is_not_copied():
    array = np.zeros((2, 3))
    assert np.shares_memory(as_array("x", array, (2, None)), array)


@pytest.mark.parametrize("kind", "fcib")
def test_an_empty_batch_is_refused(kind):
    empty = np.zeros((0, 3), {"f": "f8", "c": "c16", "i": "i8", "b": "?"}[kind])
    with pytest.raises(ArgumentError, match=r"^empty batch \(0 samples\)$"):
        as_batch("x", empty, (None, 3), kind)
    assert as_array("x", empty, (None, 3), kind).shape == (0, 3)
    assert as_batch("x", np.zeros((1, 3), empty.dtype), (None, 3), kind).shape == (1, 3)


# --- parameters ------------------------------------------------------------------------------------------


@given(seeds, st.integers(0, 6), st.sampled_from(sorted(KEPT)), LAYOUT)
def test_parameters_keep_their_dtype_in_every_layout(seed, n, dtype, layout):
    theta = np.random.default_rng(seed).standard_normal(n).astype(dtype)
    result = as_parameters("theta", LAYOUTS[layout](theta), n)
    assert result.dtype == theta.dtype
    assert result.tobytes() == theta.tobytes()


@pytest.mark.parametrize("dtype", ["f2", "i8", "u1", "?", "g", "G", "O", "U3"])
def test_parameters_of_another_dtype_are_refused(dtype):
    theta = np.zeros(2, dtype)
    with pytest.raises(
        ArgumentTypeError, match=f"^theta must be float32 or float64, got ndarray of dtype {theta.dtype}$"
    ):
        as_parameters("theta", theta, 2)


def test_parameters_of_another_number_or_with_nan_are_refused():
    with pytest.raises(ShapeError, match=r"^theta must have shape \(3\), got \(2,\)$"):
        as_parameters("theta", np.zeros(2), 3)
    with pytest.raises(ShapeError, match=r"^theta must have shape \(1\), got \(1, 1\)$"):
        as_parameters("theta", np.zeros((1, 1)), 1)
    with pytest.raises(NonFiniteError, match=r"^theta must be finite, got nan at index \(1,\)$"):
        as_parameters("theta", [0.0, np.nan], 2)


def test_in_precision_casts_and_refuses_what_float32_cannot_hold():
    array = np.array([1.0, 1e38])
    assert in_precision("x", array, np.float64) is array
    assert in_precision("x", array, np.float32).dtype == np.float32
    assert in_precision("x", array, np.complex128).dtype == np.complex128
    with pytest.raises(NonFiniteError, match=r"^x must be finite, got inf at index \(1,\)$"):
        in_precision("x", 10 * array, np.float32)


# --- single numbers --------------------------------------------------------------------------------------

RANGES = {
    arrays.in_unit_interval: (lambda x: 0 <= x <= 1, "in [0, 1]"),
    arrays.positive: (lambda x: 0 < x < math.inf, "positive and finite"),
    arrays.non_negative: (lambda x: 0 <= x < math.inf, "at least 0 and finite"),
    arrays.finite: (math.isfinite, "finite"),
}
checks = st.sampled_from(list(RANGES))
numbers = st.one_of(
    st.floats(),
    st.floats(-2, 2),
    st.integers(-3, 3),
    st.fractions(-2, 2),
    st.floats(width=32).map(np.float32),
    st.integers(-3, 3).map(np.int64),
    st.floats(-2, 2).map(np.array),
)


@given(checks, numbers)
@example(arrays.in_unit_interval, 1)
@example(arrays.in_unit_interval, -0.0)
@example(arrays.in_unit_interval, np.nextafter(1.0, 2.0))
@example(arrays.positive, 5e-324)
@example(arrays.positive, math.nan)
@example(arrays.finite, Fraction(1, 3))
def test_a_number_is_taken_exactly_where_it_is_in_the_range(check, value):
    holds, words = RANGES[check]
    if holds(float(value)):
        result = check("discount", value)
        assert type(result) is float
        assert result == float(value)
    else:
        shown = value[()] if isinstance(value, np.ndarray) else value
        with pytest.raises(ArgumentError) as caught:
            check("discount", value)
        assert str(caught.value) == f"discount must be {words}, got {shown!r}"


@pytest.mark.parametrize("check", RANGES)
@pytest.mark.parametrize(
    "value", [True, np.True_, np.array(True), None, "0.5", 0.5j, [0.5], np.array([0.5]), Decimal("0.5")]
)
def test_what_is_no_number_is_refused_by_every_range(check, value):
    with pytest.raises(ArgumentError, match=r"^step must be .*, got "):
        check("step", value)


@pytest.mark.parametrize("check", RANGES)
def test_a_whole_number_beyond_every_float_is_refused_not_an_overflow(check):
    with pytest.raises(ArgumentError, match=r"^step must be "):
        check("step", 10**400)


@given(st.one_of(st.integers(-3, 2**70), st.integers(-3, 3).map(np.int32)), st.integers(0, 3))
@example(2**53 + 1, 1)
@example(np.array(2), 1)
def test_a_count_is_a_whole_number_of_at_least_the_least(value, least):
    if value >= least:
        result = count("workers", value, least)
        assert type(result) is int
        assert result == value
    else:
        with pytest.raises(ArgumentError) as caught:
            count("workers", value, least)
        assert str(caught.value) == f"workers must be a whole number of at least {least}, got {value!r}"


@pytest.mark.parametrize(
    "value", [True, np.True_, 1.0, np.float64(2), "2", None, math.nan, [1], np.array([1])]
)
def test_what_is_no_whole_number_is_no_count(value):
    with pytest.raises(ArgumentError, match=r"^n must be a whole number of at least 1, got "):
        count("n", value)


def test_every_error_has_the_base_class_and_a_standard_one():
    for error in (ArgumentError, ShapeError, NonFiniteError):
        assert issubclass(error, PgrefError)
        assert issubclass(error, ValueError)
    assert issubclass(ArgumentTypeError, PgrefError)
    assert issubclass(ArgumentTypeError, TypeError)


# --- the workspace ---------------------------------------------------------------------------------------


@given(shapes, shapes, st.sampled_from(["f4", "f8"]), st.sampled_from(["f4", "f8"]))
def test_a_workspace_gives_the_same_memory_for_the_same_name_shape_and_dtype(
    shape, other, dtype, other_dtype
):
    work = Workspace()
    first = work("a", shape, dtype)
    assert first.shape == shape
    assert first.dtype == dtype
    assert work("a", shape, dtype) is first
    assert work("b", shape, dtype) is not first
    same = shape == other and dtype == other_dtype
    again = work("a", other, other_dtype)
    assert (again is first) == same
    assert again.shape == other
    assert again.dtype == other_dtype


def test_the_parts_of_a_workspace_do_not_share_memory():
    work = Workspace()
    arrays_of = [work("a", (2,), "f8"), work.part("old")("a", (2,), "f8"), work.part("new")("a", (2,), "f8")]
    assert len({a.ctypes.data for a in arrays_of}) == 3
    assert work.part("old") is work.part("old")
    assert work.part("old")("a", (2,), "f8") is arrays_of[1]


def test_a_workspace_keeps_what_was_made_last_under_a_name_and_a_copy_of_it_begins_empty():
    work, made = Workspace(), iter("abcd")
    make = partial(next, made)
    assert [work.kept("x", key, make) for key in (1, 1, 2, 2, 1)] == ["a", "a", "b", "b", "c"]
    assert work.kept("y", 1, make) == "d"
    many = iter(range(9))
    assert [work.kept("z", key, partial(next, many), 2) for key in (1, 2, 1, 3, 2, 1)] == [0, 1, 0, 2, 1, 3]
    array = work("a", (2,), "f8")
    for copy in (pickle.loads(pickle.dumps(work)), deepcopy(work)):
        assert copy.kept("x", 1, lambda: "new") == "new"
        assert not np.shares_memory(copy("a", (2,), "f8"), array)


def test_scratch_is_the_workspace_or_fresh_memory():
    work = Workspace()
    assert scratch(work) is work
    new = scratch(None)
    a, b = new("a", (2, 3), np.float32), new("a", (2, 3), np.float32)
    assert a.shape == (2, 3)
    assert a.dtype == np.float32
    assert a is not b
