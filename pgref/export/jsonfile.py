"""A policy as JSON, for a program of your own; `read` brings it back.

Schema 1 is one object with the keys

    schema              "pgref policy"
    version             1; a reader must refuse a greater one
    name, about         an identifier; algorithm, env, steps and versions, which decide nothing
    dtype               "float32" or "float64": the numbers of layers and free are exact in it
    obs_space           {"kind": "Box", "low": […], "high": […]} with null for no bound, or
                        {"kind": "Discrete", "n": …}
    action_space        the same, or {"kind": "MultiDiscrete", "sizes": […]}
    normaliser          null, or {"mean": […], "scale": […], "limit": …}: x ↦ (x − mean)/scale within ± limit
    layers              matrices [in + 1][out], the last row the bias;
                        with a Discrete obs_space one table [S][K]
    activation          "tanh" or "relu", of all layers but the last; null for a table
    free                more outputs, after the last layer's, that no observation moves
    recorded            {"obs", "chance", "outputs", "modes", "samples"}: answers to test with, a row each

How z = [layers, free] becomes an action is said in `recipe.Recipe`.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from pgref.arrays import count
from pgref.errors import ArgumentTypeError, DataFileError, PgrefError
from pgref.export.recipe import Normaliser, Recipe, Recorded, as_dict
from pgref.files import Location
from pgref.spaces import Box, Discrete, MultiDiscrete, Space

SCHEMA, VERSION = "pgref policy", 1
SPACES: dict[str, Any] = {kind.__name__: kind for kind in (Box, Discrete, MultiDiscrete)}
KEYS = {*Recipe.__dataclass_fields__, "schema", "version"}


def text(recipe: Recipe) -> str:
    """Return the file."""
    normaliser = recipe.normaliser and _lists(recipe.normaliser)
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "name": recipe.name,
        "about": recipe.about,
        "dtype": recipe.dtype,
        "obs_space": as_json(recipe.obs_space),
        "action_space": as_json(recipe.action_space),
        "normaliser": normaliser,
        "layers": [w.tolist() for w in recipe.layers],
        "activation": recipe.activation,
        "free": recipe.free.tolist(),
        "recorded": _lists(recipe.recorded),
    }
    return json.dumps(content, allow_nan=False) + "\n"


def as_json(space: Space) -> dict[str, Any]:
    """Return a space as above, with null for no bound, JSON having no infinities."""
    return _bounds(as_dict(space), _or_none)


def read(path: Location) -> Recipe:
    """Return the recipe that a file holds.

    Raises:
        FileNotFoundError and other OSErrors: the file cannot be opened.
        DataFileError: it holds no policy, or one of a newer schema; the message names the path and says why.
    """
    data = Path(path).read_bytes()
    try:
        return _recipe(json.loads(data))
    except (PgrefError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise DataFileError(f"{os.fspath(path)}: {error}") from error


def _recipe(content: Any) -> Recipe:
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ArgumentTypeError(f"must hold an object of schema {SCHEMA!r}")
    if count("version", content.get("version")) > VERSION:
        newer = f"has version {content['version']}, this pgref reads up to {VERSION}; a newer pgref wrote it"
        raise ArgumentTypeError(newer)
    if content.keys() != KEYS:
        raise ArgumentTypeError(
            f"must have the keys {', '.join(sorted(KEYS))}, got {', '.join(sorted(content))}"
        )
    fields = {key: value for key, value in content.items() if key not in ("schema", "version")}
    normaliser = fields["normaliser"]
    return Recipe(
        **{
            **fields,
            "obs_space": _space(fields["obs_space"]),
            "action_space": _space(fields["action_space"]),
            "normaliser": None if normaliser is None else Normaliser(**normaliser),
            "layers": tuple(fields["layers"]),
            "recorded": Recorded(**fields["recorded"]),
        }
    )


def _space(content: dict[str, Any]) -> Space:
    kind, numbers = SPACES[content["kind"]], {k: v for k, v in content.items() if k != "kind"}
    space: Space = kind(**_bounds(numbers, _or_infinite))
    return space


def _bounds(space: dict[str, Any], change: Any) -> dict[str, Any]:
    """Return a space with every bound changed."""
    sides: dict[str, Any] = {
        side: [change(side, x) for x in space[side]] for side in ("low", "high") if side in space
    }
    return {**space, **sides}


def _or_none(side: str, x: float) -> float | None:
    return x if math.isfinite(x) else None


def _or_infinite(side: str, x: float | None) -> float:
    return {"low": -math.inf, "high": math.inf}[side] if x is None else x


def _lists(part: Any) -> dict[str, Any]:
    return {name: getattr(a, "tolist", lambda a=a: a)() for name, a in part._asdict().items()}
