"""Rows of plain values as lines of text, CSV or JSON, from which the same values are read back."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from pgref.errors import DataFileError
from pgref.files import Location

Value: TypeAlias = "int | float | str | bool | None"
Row: TypeAlias = "dict[str, Value]"

WORDS: Row = {"": None, "True": True, "False": False}  # cells of a CSV that are neither numbers nor words
NON_FINITE = ("nan", "inf", "-inf")  # what JSON has no number for


def csv_line(values: Iterable[Value]) -> str:
    """Return the values, or the columns' names, as a line of comma-separated cells; None is an empty one."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_cell(value) for value in values])
    return text.getvalue()


def json_line(row: Row) -> str:
    """Return the row as a line that is a JSON object, with NaN and infinities as words."""
    return json.dumps({name: _word(value) for name, value in row.items()}) + "\n"


def contents(path: Location) -> tuple[list[bytes], list[Row]]:
    """Return the whole lines of a file, and its rows: in a CSV one less, the first line has the names.

    What follows the last line's end is a torn line, and left out.

    Raises:
        DataFileError: a line holds no row; the message names the path, the line and the reason.
    """
    content, names, rows = Path(path).read_bytes(), list[str](), list[Row]()
    lines = content.split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            if content[:1] == b"{":
                rows.append(_object(line))
            elif names:
                rows.append(dict(zip(names, map(_parsed, _cells(line)), strict=True)))
            else:
                names = [str(_parsed(cell)) for cell in _cells(line)]
        except (ValueError, csv.Error) as error:
            raise DataFileError(f"{os.fspath(path)}, line {number}: {error}") from error
    return lines, rows


def _cell(value: Value) -> str:
    """Return the text of a CSV's cell, in quotation marks if it would be read as something else."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    safe = value.isprintable() and value[:1] != '"' and _parsed(value) is value
    return value if safe else json.dumps(value)


def _parsed(cell: str) -> Value:
    if cell in WORDS:
        return WORDS[cell]
    if cell[0] == '"':
        return str(json.loads(cell))
    for number in (int, float):
        try:
            return number(cell)
        except ValueError:
            pass
    return cell


def _word(value: Value) -> Value:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _cells(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8")], strict=True), [])


def _object(line: bytes) -> Row:
    values = json.loads(line.decode("utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"must be an object, got {type(values).__name__}")
    return {name: float(value) if value in NON_FINITE else value for name, value in values.items()}
