"""The concordance: each item of the chapter with its code, the checks that can refute it, and a verdict.

`pgref.concordance` holds the rows. Here are the look-up by number and the running of checks.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from pgref.checks.finding import Finding
from pgref.concordance import ITEMS, Item
from pgref.errors import ArgumentError


class Outcome(NamedTuple):
    """What the checks of an item measured."""

    item: Item
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether something was measured, and every finding keeps its limit."""
        return bool(self.findings) and all(finding.ok for finding in self.findings)


def items() -> tuple[Item, ...]:
    """Return all rows in the book's order."""
    return ITEMS


def find(key: str) -> list[Item]:
    """Return the items with that id or number: "I-21", "5.18", "(5.18)", "Lemma 5.1", "Algorithm 5.21".

    Raises:
        ArgumentError: no item has it.
    """
    wanted = key.strip().strip("()").lower()
    found = [item for item in items() if wanted in _keys(item)]
    if not found:
        raise ArgumentError(f"key must be the id or number of an item (see `pgref list`), got {key!r}")
    return found


def run(item: Item, *, mdps: int = 200, seed: int = 0) -> Outcome:
    """Run an item's checks, each with a generator of its own: the same numbers in any order and selection."""
    findings: list[Finding] = []
    for name in item.checks:
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        findings += check_function(name)(rng, mdps)
    return Outcome(item, tuple(findings))


def run_errata() -> list[Outcome]:
    """Return all items, only the errata measured: what the README shows."""
    return [run(item) if item.verdict == "erratum" else Outcome(item, ()) for item in items()]


def check_function(name: str) -> Callable[[np.random.Generator, int], list[Finding]]:
    """Return the check "module:name" of pgref.checks."""
    check: Callable[[np.random.Generator, int], list[Finding]] = resolve(f"checks.{name}")
    return check


def resolve(name: str) -> Any:
    """Return the object "module:name" (or "module:Class.method") of the package."""
    module, _, path = name.partition(":")
    return reduce(getattr, path.split("."), import_module(f"pgref.{module}"))


def location(name: str) -> str:
    """Return file:line of "module:name"."""
    target = inspect.unwrap(resolve(name))  # a decorated function has two files
    return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"


def _keys(item: Item) -> set[str]:
    """Return what an item answers to; a number also without its word: 5.21 for Algorithm 5.21."""
    names = [item.id, *item.numbers]
    return {name.lower() for name in names} | {name.lower().split()[-1] for name in names}
