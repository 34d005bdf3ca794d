"""Whether a written export answers as the NumPy policy does, on observations that it has not seen."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, count
from pgref.errors import ShapeError
from pgref.export import running
from pgref.export.recipe import Recipe
from pgref.export.reference import TOLERANCE, Acting, Answers, answers, draw, reference, tolerated
from pgref.export.targets import known
from pgref.files import Location

OBSERVATIONS = 10_000


class Verification(NamedTuple):
    """What came out."""

    observations: int
    worst: float  # largest |z − z_numpy| / max(1, |z_numpy|), but of outputs that `rounded` counts
    tolerance: float
    rounded: int  # observations with an output beyond the tolerance, no further than rounding moves it
    recorded_off: int  # recorded answers that it does not reproduce
    outputs_off: int  # outputs beyond their limits
    actions_off: int  # actions beyond theirs
    actions_open: int  # choices that rounding may decide, so that either is right
    problem: str  # why the export could not be run to its end, or ""

    @property
    def ok(self) -> bool:
        """Whether it runs, and every output and every action is within its limit."""
        return not (self.problem or self.recorded_off or self.outputs_off or self.actions_off)


def verify(
    agent: Acting,
    path: Location,
    recipe: Recipe,
    to: str | None = None,
    observations: int = OBSERVATIONS,
    seed: int = 1,
) -> Verification:
    """Run the export that `targets.write` has written, and return how it compares; the file is left as it is.

    Raises:
        MissingExtraError: the program that runs it is not installed.
        ArgumentError: observations < 1. OSError: the file cannot be read.
        NonFiniteError: the NumPy policy itself overflows.
    """
    ref = reference(agent, recipe.dtype)
    obs, chance = draw(ref, np.random.default_rng(seed), count("observations", observations))
    wanted = answers(ref, obs, chance)
    open_choices = sum(int(np.isinf(limits).sum()) for limits in wanted[4:])
    tolerance = TOLERANCE[recipe.dtype]
    try:
        with tempfile.TemporaryDirectory() as folder:
            told = running.run(known(path, to), Path(path), recipe, _lines(obs, chance), Path(folder))
        got, recorded_off = _numbers(told, wanted)
    except (subprocess.SubprocessError, ValueError) as error:
        said = str(getattr(error, "stderr", None) or "").strip()
        return Verification(len(obs), np.inf, tolerance, 0, 0, 0, 0, open_choices, f"{error} {said}".strip())
    splits = np.cumsum([a.shape[1] for a in wanted[:3]])[:2]
    off = [np.abs(g - w) for g, w in zip(np.split(got, splits, axis=1), wanted[:3], strict=True)]
    beyond = [int((~(d <= limit)).sum()) for d, limit in zip(off, wanted[3:], strict=True)]
    excused = (off[0] > tolerated(ref, wanted.outputs)) & (off[0] <= wanted.output_limits)
    worst = np.where(excused, 0, off[0] / np.maximum(1, np.abs(wanted.outputs))).max()
    rounded, actions_off = int(excused.any(-1).sum()), beyond[1] + beyond[2]
    return Verification(
        len(obs), float(worst), tolerance, rounded, recorded_off, beyond[0], actions_off, open_choices, ""
    )


def _lines(obs: Array, chance: Matrix) -> str:
    rows = np.column_stack([obs, chance]).astype(float).tolist()
    return "".join(" ".join(map(repr, row)) + "\n" for row in rows)


def _numbers(told: str, wanted: Answers) -> tuple[Matrix, int]:
    """Return the numbers [N, K + 2m] that were told, and the last line's; or raise ShapeError."""
    *rows, last = [line.split() for line in told.splitlines()] or [[]]
    n, width = len(wanted.outputs), sum(a.shape[1] for a in wanted[:3])
    if len(rows) != n or len(last) != 1 or any(len(row) != width for row in rows):
        raise ShapeError(f"the export must answer {n} lines of {width} numbers, and one of the recorded")
    return np.array(rows, float), int(last[0])
