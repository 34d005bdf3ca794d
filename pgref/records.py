"""Records of a training run: each update a row of plain values, each row a line of a file.

A line is flushed as soon as it is written, so that a run that is killed leaves whole lines, the last one at
most torn, and a run that goes on from a checkpoint continues the file as if it had never stopped. A row
holds no time of day: give a recorder a clock to have the seconds beside it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

from pgref.arrays import Array, count
from pgref.errors import ArgumentError, ArgumentTypeError, DataFileError, MissingExtraError
from pgref.files import Location
from pgref.rowfile import Row, Value, contents, csv_line, json_line

Clock: TypeAlias = Callable[[], float]  # seconds since whenever: time.perf_counter
Lines = TypeVar("Lines", bound="_Lines")
NOT_RECORDED = ("schedule",)  # who did what when: an order has no mean


def row(update: Any) -> Row:
    """Return the update as one row: plain values under the names of its fields.

    Episodes become how many they are, mean_return and mean_length (None where none ended); another array
    its mean and largest entry, name_mean and name_max; what is inside a NamedTuple gets a dotted name. A3C's
    schedule is left out.

    Raises:
        ArgumentTypeError: not a NamedTuple, or a field that is none of these, a number, a word or None.
        ArgumentError: two fields that would share a column.
    """
    if not hasattr(update, "_fields"):
        raise ArgumentTypeError(f"update must be a NamedTuple, got {type(update).__name__}")
    columns = list(_columns("", update))
    values = dict(columns)
    if len(values) < len(columns):
        names = ", ".join(name for name, _ in columns)
        raise ArgumentError(f"the update's columns must have different names, got {names}")
    return values


def read(path: Location) -> list[Row]:
    """Return the rows that `Csv` or `Jsonl` wrote, with their types; a torn last line is left out.

    In JSON the words nan, inf and -inf are read as numbers.

    Raises:
        FileNotFoundError and other OSErrors: the file cannot be opened.
        DataFileError: a line holds no row; the message names the path, the line and the reason.
    """
    return contents(path)[1]


class _Lines:
    """A file that takes a line for each update: call it; close it, or use it in `with`."""

    _heading: int  # how many lines come before the rows
    _head: Callable[[list[str]], str]
    _line: Callable[[Row], str]

    def __init__(
        self,
        path: Location,
        *,
        append: bool = False,
        resume_at: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        if resume_at is not None and not append:
            raise ArgumentError(f"resume_at must come with append=True, got {resume_at!r} alone")
        most = math.inf if resume_at is None else count("resume_at", resume_at, 0)
        old = append and Path(path).exists()
        size, last = self._kept(path, most) if old else (0, {})
        self._path, self._names = os.fspath(path), list(last)
        self._seconds = _stopwatch(clock, last.get("seconds"))
        self._file = open(path, "ab" if old else "wb")
        if old:
            self._file.truncate(size)

    def __call__(self, update: Any) -> None:
        values = row(update) | self._seconds()
        names = list(values)
        if self._names and names != self._names:
            wanted, got = ", ".join(self._names), ", ".join(names)
            raise ArgumentError(f"{self._path}: columns must be {wanted}, got {got}")
        head = "" if self._names else self._head(names)
        self._file.write((head + self._line(values)).encode())
        self._file.flush()
        self._names = names

    def __enter__(self: Lines) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _kept(self, path: Location, most: float) -> tuple[int, Row]:
        """Return how many bytes of the file stay, and the last row in them."""
        lines, rows = contents(path)
        updates: list[Any] = [values.get("updates") for values in rows]
        if rows and len(lines) - len(rows) != self._heading:
            raise DataFileError(f"{os.fspath(path)}: must be a file of {type(self).__name__}")
        if not all(type(n) is int for n in updates):
            raise DataFileError(f"{os.fspath(path)}: every row must have a whole number of updates")
        n = len(list(takewhile(lambda n: n <= most, updates)))
        size = sum(len(line) + 1 for line in lines[: self._heading + n])
        return (size, rows[n - 1]) if n else (0, {})


class Csv(_Lines):
    """Write each update as a line of comma-separated values, under a line with the columns' names.

    The columns are those of the first row. With `append` the rows in the file stay, except those after
    `resume_at` updates and a torn last line. With a clock, `seconds` is how long the recorder has been open,
    added to the seconds in the last row that it continues. None is an empty cell.

    Raises:
        ArgumentError: resume_at is no whole number or comes without append; in a call, other columns.
        DataFileError: the file to append to holds something else.
        OSError: the file cannot be written.
    """

    _heading = 1
    _head = staticmethod(csv_line)
    _line = staticmethod(lambda values: csv_line(values.values()))


class Jsonl(_Lines):
    """Write each update as a line that is a JSON object, NaN and infinities as words; otherwise as `Csv`."""

    _heading = 0
    _head = staticmethod(lambda names: "")
    _line = staticmethod(json_line)


class TensorBoard:
    """Write each update's numbers for TensorBoard, against the environment's steps.

    Raises:
        MissingExtraError: tensorboardX is not installed.
        ArgumentError: in a call, an update without its steps.
    """

    def __init__(self, folder: Location, *, clock: Clock | None = None) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as missing:
            raise MissingExtraError('TensorBoard needs tensorboardX: pip install "pgref[tb]"') from missing
        self._writer = SummaryWriter(os.fspath(folder), flush_secs=5)
        self._seconds = _stopwatch(clock, None)

    def __call__(self, update: Any) -> None:
        values = row(update) | self._seconds()
        if "steps" not in values:
            raise ArgumentError(f"update must have steps, got {', '.join(values)}")
        steps = values.pop("steps")
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(name, float(value), steps)

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._writer.close()


def _columns(prefix: str, fields: Any) -> Iterator[tuple[str, Value]]:
    for field, value in fields._asdict().items():
        if field in NOT_RECORDED:
            continue
        name = prefix + field
        if field == "episodes" and hasattr(value, "returns"):
            yield name, len(value.returns)
            yield f"{prefix}mean_return", _mean(value.returns)
            yield f"{prefix}mean_length", _mean(value.lengths)
        elif hasattr(value, "_fields"):
            yield from _columns(f"{name}.", value)
        elif isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "biuf":
            yield f"{name}_mean", _mean(value)
            yield f"{name}_max", value.max().item() if value.size else None
        else:
            yield name, _scalar(name, value)


def _mean(array: Array) -> float | None:
    with np.errstate(invalid="ignore", over="ignore"):  # ∞ − ∞, and a sum beyond every float
        return float(array.mean(dtype=np.float64)) if array.size else None


def _scalar(name: str, value: Any) -> Value:
    plain = value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value
    if not (plain is None or isinstance(plain, (bool, int, float, str))):
        raise ArgumentTypeError(
            f"{name} must be a number, a word, None, an array of numbers or a NamedTuple, got {value!r}"
        )
    return plain


def _stopwatch(clock: Clock | None, before: Value) -> Callable[[], Row]:
    """Return the function that reads the column `seconds`; without a clock there is none."""
    if clock is None:
        return dict
    started = clock() - (before if isinstance(before, (int, float)) else 0.0)
    return lambda: {"seconds": clock() - started}
