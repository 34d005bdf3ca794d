"""Checks of the functions of a file, by their names or annotations, and reports as a file."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pgref.errors import ArgumentError, DataFileError
from pgref.files import Location, write_atomically
from pgref.oracle.families import check_named, check_names
from pgref.oracle.report import Report
from pgref.versions import versions

RUN_NAME = "pgref_oracle_file"  # the file's __name__: no "__main__", so that it does not start to train


class Checked(NamedTuple):
    """One function of a file and what the oracle says of it."""

    name: str
    report: Report


def check_file(path: Location) -> list[Checked]:
    """Check every function of a Python file that has the name of a check, or is annotated with one.

    `def gae(…)` is checked as "gae". A function of another name says what it is by what it returns:
    `def advantages(…) -> "gae"`. Options follow: `-> "gae, layout=batch, dtype=float32"`.

    Raises:
        DataFileError: the file cannot be run, or has no such function.
        ArgumentError: an option that its check does not have.
        OSError: no such file.
    """
    functions = [(name, value, _wanted(name, value)) for name, value in _globals(path).items()]
    found = [(name, value, *wanted) for name, value, wanted in functions if wanted]
    if not found:
        raise DataFileError(f"{path}: no function has the name of a check: {', '.join(check_names())}")
    return [Checked(name, _checked(name, value, check, options)) for name, value, check, options in found]


def write_reports(path: Location, reports: Iterable[dict[str, Any]]) -> None:
    """Write reports, as `Report.as_json` gives them, with the versions that made them."""
    rows = list(reports)
    record = {"ok": all(row["ok"] for row in rows), "versions": versions(), "reports": rows}
    write_atomically(path, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())


def _globals(path: Location) -> dict[str, Any]:
    folder = str(Path(path).resolve().parent)
    open(path, "rb").close()  # raises where there is no file
    sys.path.insert(0, folder)  # as `python FILE.py` does, for what stands beside it
    try:
        return runpy.run_path(str(path), run_name=RUN_NAME)
    except (Exception, SystemExit) as error:
        raise DataFileError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)


def _wanted(name: str, value: Any) -> tuple[str, list[str]] | None:
    """Return the name of the check that a global of a file asks for, and its options, or None."""
    if not callable(value):
        return None
    annotation = getattr(value, "__annotations__", {}).get("return")
    known = check_names()
    if isinstance(annotation, str):
        check, *options = (part.strip() for part in annotation.strip("'\"").split(","))
        if check in known:
            return check, options
    return (name, []) if name in known else None


def _checked(name: str, function: Callable[..., Any], check: str, options: list[str]) -> Report:
    pairs = dict(option.partition("=")[::2] for option in options)
    values = {key: int(value) if value.isdecimal() else value for key, value in pairs.items()}
    try:
        report: Report = check_named(check)(function, **values)
    except TypeError as error:
        raise ArgumentError(f"{name}: {error}") from error
    return report
