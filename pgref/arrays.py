"""Array aliases, the checks at the border, and the optional workspace.

Every public function checks what it is given here, once per batch, before anything changes; the code
behind the border trusts its arrays. An array comes out contiguous, aligned and in native byte order, so that
a strided or big-endian input gives the same bits as its plain copy. Inputs are never written to.
"""

from __future__ import annotations

import cmath
import math
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError

Array: TypeAlias = npt.NDArray[Any]
Vector: TypeAlias = npt.NDArray[Any]  # one axis: θ, a gradient, one number per state
Matrix: TypeAlias = npt.NDArray[Any]  # two axes: a policy [S, A], a Hessian [P, P]
Kept = TypeVar("Kept")
Scratch: TypeAlias = Callable[[str, tuple[int, ...], Any], Array]  # name, shape, dtype ↦ array to overwrite

# for each kind asked for: the dtype kinds that convert without loss, the dtype they get, the name in messages
KINDS = {
    "f": ("iuf", np.float64, "real numbers"),
    "c": ("iufc", np.float64, "numbers"),
    "i": ("iu", np.int64, "integers"),
    "b": ("b", np.bool_, "booleans"),
}
KEPT = (np.float32, np.float64, np.complex64, np.complex128)  # dtypes that stay as they are
READY = {  # for each kind: the dtypes in native byte order that need no conversion
    kind: tuple(map(np.dtype, dtypes))
    for kind, dtypes in {"f": KEPT[:2], "c": KEPT, "i": (np.int64,), "b": (np.bool_,)}.items()
}


class Workspace:
    """Named scratch arrays, allocated once for each name, shape and dtype and then used again.

    A hot function called with `work=Workspace()` returns arrays that live until its next call with the
    same workspace. Two uses that overlap in time take two parts: `work.part("old")`.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._parts: dict[str, Workspace] = {}
        self._kept: dict[str, list[tuple[Any, Any]]] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        array = self._arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            array = self._arrays[name] = np.empty(shape, dtype)
        return array

    def kept(self, name: str, key: Any, make: Callable[[], Kept], most: int = 1) -> Kept:
        """Return what was made under that name with that key, or make it; the last `most` are kept."""
        entries = self._kept.setdefault(name, [])
        for known, value in entries:
            if known == key:
                return cast("Kept", value)
        entries[:] = [(key, make()), *entries[: most - 1]]
        return cast("Kept", entries[0][1])

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()  # a copy begins empty: views of one array would come back as arrays apart

    def part(self, name: str) -> Workspace:
        """Return the workspace of that name inside this one."""
        return self._parts.setdefault(name, Workspace())


def scratch(work: Workspace | None) -> Scratch:
    """Return where scratch arrays come from: the workspace, or fresh memory for None."""
    return work or (lambda name, shape, dtype: np.empty(shape, dtype))


def as_array(name: str, value: Any, shape: tuple[int | None, ...], kind: str = "f") -> Array:
    """Return `value` as a contiguous native aligned array of that shape, None standing for any length.

    `kind` is "f" for float64 (float32 is kept), "c" for the same or complex, "i" for int64, "b" for bool.

    Raises:
        ArgumentTypeError: the dtype, or a whole number too large for it, cannot be converted without loss.
        ShapeError: another number of axes, or another length where one is given.
        NonFiniteError: a NaN or an infinity; the message says where.
    """
    ready = type(value) is np.ndarray and value.dtype in READY[kind] and value.flags.carray
    array = value if ready else _converted(name, value, _rectangular(name, value), kind)
    if array.shape != shape and not _fits(array.shape, shape):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ShapeError(f"{name} must have shape ({wanted}), got {array.shape}")
    return require_finite(name, array) if kind in "fc" else array


def as_batch(name: str, value: Any, shape: tuple[int | None, ...], kind: str = "f") -> Array:
    """Return a batch through `as_array`, refusing an empty one."""
    array = as_array(name, value, shape, kind)
    if not len(array):
        raise ArgumentError("empty batch (0 samples)")
    return array


def in_precision(name: str, array: Array, dtype: Any) -> Array:
    """Return a finite array in that dtype, or raise NonFiniteError for a number that float32 cannot hold."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        return require_finite(name, array.astype(dtype))


def require_finite(name: str, array: Array) -> Array:
    """Return the array itself once every entry is known to be finite, else raise NonFiniteError."""
    # one pass without an array of flags; ∞ or NaN if an entry is, or if a square overflows
    if not cmath.isfinite(np.vdot(array, array)):
        finite = np.isfinite(array)
        if not finite.all():
            index = tuple(int(i) for i in np.argwhere(~finite)[0])
            where = f" at index {index}" if index else ""
            raise NonFiniteError(f"{name} must be finite, got {array[index]}{where}")
    return array


def require_choices(choices: Array, n: int) -> Array:
    """Return int64 choices [N] once all are known to lie in 0 … n − 1, else raise ArgumentError."""
    unsigned = choices.view(np.uint64)  # as which a negative number is a large one
    if unsigned.item(unsigned.argmax()) >= n:
        raise ArgumentError(f"action {choices[(unsigned >= n).argmax()]} not in Discrete({n})")
    return choices


def as_parameters(name: str, theta: Any, n_params: int) -> Vector:
    """Return θ as a flat vector [P] of float32, float64 or, for complex steps, complex numbers.

    Raises:
        ArgumentTypeError: integers and other dtypes, since θ decides the arithmetic.
        ShapeError: not one-dimensional, or another number of parameters.
        NonFiniteError: a NaN or an infinity.
    """
    array = _rectangular(name, theta)
    if array.dtype not in READY["c"] and array.dtype.newbyteorder("=") not in KEPT:
        raise ArgumentTypeError(f"{name} must be float32 or float64, got {_described(theta, array)}")
    return as_array(name, array, (n_params,), "c")


def in_unit_interval(name: str, value: Any) -> float:
    """Return a number in [0, 1]: a discount, a trace, a probability."""
    return _number(name, value, lambda x: 0.0 <= x <= 1.0, "in [0, 1]")


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0: a step size, a trust-region radius, a clip range."""
    return _number(name, value, lambda x: 0.0 < x < math.inf, "positive and finite")


def non_negative(name: str, value: Any) -> float:
    """Return a finite number that is 0 or more: a damping, a penalty."""
    return _number(name, value, lambda x: 0.0 <= x < math.inf, "at least 0 and finite")


def finite(name: str, value: Any) -> float:
    """Return a finite number."""
    return _number(name, value, math.isfinite, "finite")


def count(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of at least `least`: workers, steps, states."""
    if type(value) is int and value >= least:
        return value
    value = _scalar(value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral) or value < least:
        raise ArgumentError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def _number(name: str, value: Any, holds: Callable[[float], bool], wanted: str) -> float:
    if type(value) is float and holds(value):
        return value
    value, number = _scalar(value), math.nan
    if isinstance(value, Real) and not isinstance(value, (bool, np.bool_)):
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond every float
            number = math.inf
    if not holds(number):
        raise ArgumentError(f"{name} must be {wanted}, got {value!r}")
    return number


def _scalar(value: Any) -> Any:
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _rectangular(name: str, value: Any) -> Array:
    if isinstance(value, np.ndarray):
        return value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy before 1.24 only warns
            return np.asarray(value)
    except (ValueError, Warning) as error:  # rows of different lengths
        raise ShapeError(f"{name} must be a rectangular array, got {type(value).__name__}") from error


def _converted(name: str, value: Any, array: Array, kind: str) -> Array:
    accepted, dtype, words = KINDS[kind]
    if array.dtype.kind not in accepted or array.dtype.char in "gG":  # long double would lose digits
        raise ArgumentTypeError(f"{name} must hold {words}, got {_described(value, array)}")
    native = array.dtype.newbyteorder("=")
    if array.dtype.kind in "iu" and array.dtype != dtype:
        _require_exact(name, array, dtype)
    array = np.asarray(array, native if native in KEPT else dtype, order="C")
    return array if array.flags.aligned else array.copy()  # unaligned, matmul would round in another way


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    for n, m in zip(wanted, shape, strict=True):  # a generator would take thrice as long, in every pass
        if n is not None and n != m:
            return False
    return True


def _require_exact(name: str, array: Array, dtype: Any) -> None:
    most = 2**53 if dtype is np.float64 else 2**63 - 1
    least, largest = int(array.min(initial=0)), int(array.max(initial=0))
    if least < -most or largest > most:
        got = largest if largest > most else least
        raise ArgumentTypeError(f"{name} must hold whole numbers up to {most} in size, got {got}")


def _described(value: Any, array: Array) -> str:
    name = type(value).__name__
    return f"{name} of dtype {array.dtype}" if array.ndim else f"{name} {value!r}"
