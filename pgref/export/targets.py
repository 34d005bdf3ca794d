"""The languages of exports by name, and writing one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pgref.errors import ArgumentError
from pgref.export import c, javascript, jsonfile, onnxfile, python
from pgref.export.recipe import Recipe, described
from pgref.export.reference import Acting
from pgref.files import Location, write_atomically


class Target(NamedTuple):
    """A language."""

    content: Callable[[Recipe], str | bytes]
    suffixes: tuple[str, ...]  # of its files, the usual one first


TARGETS = {
    "py": Target(python.text, (".py",)),
    "c": Target(c.text, (".h",)),
    "js": Target(javascript.text, (".mjs", ".js")),
    "onnx": Target(onnxfile.content, (".onnx",)),
    "json": Target(jsonfile.text, (".json",)),
}


def write(agent: Acting, path: Location, to: str | None = None, dtype: str | None = None) -> Recipe:
    """Write an agent's policy as one file that needs no pgref, and return what was written.

    Args:
        agent: whose policy.
        path: the file; names in C begin with what stands before its first dot.
        to: one of `TARGETS`; None: by the path's ending.
        dtype: "float32" or "float64"; None: the policy's own.

    Raises:
        ArgumentError, ArgumentTypeError, NonFiniteError: as `recipe.described`; an unknown `to` or ending.
        MissingExtraError: ONNX without the package onnx.
        OSError: the file cannot be written; an older one is intact.
    """
    target, recipe = known(path, to), described(agent, dtype, identifier(path))
    content = TARGETS[target].content(recipe)
    write_atomically(path, content if isinstance(content, bytes) else content.encode())
    return recipe


def known(path: Location, to: str | None = None) -> str:
    """Return the target's name, from the path's ending if there is no other; raises ArgumentError."""
    if to is not None:
        if not isinstance(to, str) or to not in TARGETS:
            raise ArgumentError(f"to must be one of {', '.join(TARGETS)}, got {to!r}")
        return to
    endings = {suffix: name for name, target in TARGETS.items() for suffix in target.suffixes}
    suffix = Path(path).suffix
    if suffix not in endings:
        raise ArgumentError(f"path must end in one of {', '.join(endings)}, got {os.fspath(path)!r}")
    return endings[suffix]


def identifier(path: Location) -> str:
    """Return the file's name as an identifier."""
    name = re.sub("[^A-Za-z0-9]+", "_", Path(path).name.split(".")[0]).strip("_")
    return name if re.match("[A-Za-z]", name) else f"policy_{name}".rstrip("_")
