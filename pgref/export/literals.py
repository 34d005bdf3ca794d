"""What the writers share: numbers that come back to the bit, and names that cannot leave their comment."""

from __future__ import annotations

import re
from typing import Any

from pgref.export.recipe import Recipe


def comment(recipe: Recipe) -> str:
    """Return a line that says what a file holds, of characters that are harmless in every comment."""
    about, n = recipe.about, sum(w.size for w in recipe.layers) + len(recipe.free)
    line = (
        f"A {recipe.dtype} policy of pgref {about['versions']['pgref']}: {about['algorithm']} on "
        f"{about['env']} after {about['steps']} steps, {n} parameters."
    )
    return re.sub(r"[^A-Za-z0-9_ .,:-]", "_", line)


def vector(numbers: Any) -> str:
    """Return a list of floats, each as the shortest decimal that is the same float64."""
    return repr([float(x) for x in numbers])


def rows(recipe: Recipe) -> list[list[Any]]:
    """Return the recorded answers as lists: obs, chance, outputs, mode, sample."""
    whole = bool(recipe.parts)
    obs, chance, outputs, *actions = (array.tolist() for array in recipe.recorded)
    modes, samples = ([[int(a) if whole else a for a in row] for row in taken] for taken in actions)
    return [list(row) for row in zip(obs, chance, outputs, modes, samples, strict=True)]
