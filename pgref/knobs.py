"""Settings of an algorithm: fields of a frozen dataclass that know their range, unit and source.

A knob that is off, at its default, means the text; what is not in the text is a named switch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import count
from pgref.errors import ArgumentError, ArgumentTypeError

Check = Callable[[str, Any], Any]  # name, value ↦ the value as it is kept, or an error


class Knob(NamedTuple):
    """One line of `pgref algos`."""

    name: str
    default: Any
    meaning: str
    unit: str
    source: str


def knob(default: Any, check: Check, meaning: str, *, unit: str = "", source: str = "") -> Any:
    """Return a dataclass field with its check and its line of documentation."""
    return field(
        default=default, metadata={"check": check, "meaning": meaning, "unit": unit, "source": source}
    )


def check_knobs(config: Any) -> None:
    """Apply every field's check, as the last thing a config does when it is made.

    Raises:
        ArgumentError, ArgumentTypeError: a value out of its range or of another type; it names the field.
    """
    for f in fields(config):
        object.__setattr__(config, f.name, f.metadata["check"](f.name, getattr(config, f.name)))


def make_config(kind: type, settings: dict[str, Any]) -> Any:
    """Return the config with these settings, the others at their defaults.

    Raises:
        ArgumentError: a name that the config does not have; the message lists those it has.
    """
    known = [f.name for f in fields(kind)]
    if unknown := sorted(set(settings) - set(known)):
        raise ArgumentError(f"unknown setting {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return kind(**settings)


def describe(kind: type) -> list[Knob]:
    """Return every knob of a config class, in the order of their definition."""
    return [
        Knob(f.name, f.default, *(f.metadata[key] for key in ("meaning", "unit", "source")))
        for f in fields(kind)
    ]


def flag(name: str, value: Any) -> bool:
    """Return a switch, True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def one_of(*choices: Any) -> Check:
    """Return a check that the value is one of these."""

    def check(name: str, value: Any) -> Any:
        if not any(type(value) is type(c) and value == c for c in choices):
            raise ArgumentError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
        return value

    return check


def optional(check: Check) -> Check:
    """Return the check for a value that may also be None, which means off."""
    return lambda name, value: None if value is None else check(name, value)


def widths(name: str, value: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers; there may be none."""
    if not isinstance(value, (tuple, list)):
        raise ArgumentTypeError(f"{name} must be a tuple of widths, got {value!r}")
    return tuple(count(name, n) for n in value)
