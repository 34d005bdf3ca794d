"""What the oracle reports: equal or not, what it computes instead, and the smallest example."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from pgref.arrays import Array
from pgref.oracle.deviation import Deviation

Verdict: TypeAlias = Literal["equal", "equal up to", "deviation", "different", "failed"]
WIDEST = 8  # entries of an axis that are printed


class Counterexample(NamedTuple):
    """The smallest inputs that were found to show it."""

    inputs: dict[str, Any]  # by name, time-major
    expected: Array  # the reference's result
    got: Array | None  # the user's; None where nothing usable came back


class Report(NamedTuple):
    """What one check found.

    Errors are the largest over all inputs, relative to the largest entry of each result (or to 1, if that is
    larger), and in units in the last place of that entry.
    """

    component: str
    formula: str
    equation: str
    verdict: Verdict
    message: str  # a sentence: what was found
    relative_error: float  # NaN where nothing could be compared
    ulp_error: float
    tolerance: float  # of the relative error
    cases: int  # inputs drawn
    deviation: Deviation | None = None  # the known deviation that gives the same results
    also: Deviation | None = None  # a second one, where only both together do
    counterexample: Counterexample | None = None

    @property
    def ok(self) -> bool:
        """Whether the callable computes what the reference does."""
        return self.verdict == "equal"

    def __str__(self) -> str:
        lines = [f"{self.component}: {self.verdict.upper()}. {self.message}", f"  formula   {self.formula}"]
        lines[-1] += f"   [{self.equation}]"
        for deviation in filter(None, (self.deviation, self.also)):
            lines += [f"  known as  {deviation.name}", f"  costs     {deviation.cost}"]
            lines += [f"  done by   {source}" for source in deviation.known_from()]
        if self.relative_error >= 0:
            lines.append(
                f"  error     {self.relative_error:.2g} relative, {self.ulp_error:.2g} ulp, "
                f"on {self.cases} inputs (tolerance {self.tolerance:.0e})"
            )
        return "\n".join(lines + self._example())

    def __repr__(self) -> str:
        return f"<{self.component}: {self.verdict}. {self.message}>"

    def _example(self) -> list[str]:
        if self.counterexample is None:
            return []
        inputs, expected, got = self.counterexample
        rows = [*inputs.items(), ("expected", expected)] + ([] if got is None else [("got", got)])
        width = max(len(name) for name, _ in rows)
        return ["  smallest example", *(f"    {name:{width}} = {shown(value)}" for name, value in rows)]

    def as_json(self) -> dict[str, Any]:
        """Return the report as what JSON can hold; NaN and infinities become words."""
        record = self._asdict()
        for key in ("deviation", "also"):
            if d := record[key]:
                sources = [source._asdict() for source in d.sources]
                record[key] = {"name": d.name, "summary": d.summary, "cost": d.cost, "sources": sources}
        if self.counterexample:
            record["counterexample"] = self.counterexample._asdict()
        plain: dict[str, Any] = _plain({**record, "ok": self.ok})
        return plain


def shown(value: Any) -> str:
    """Return a short text of numbers, arrays as nested lists with six digits, the same in every NumPy."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, float, np.number)):
        return f"{value:.6g}"
    if not isinstance(value, np.ndarray):
        return str(value)
    if not value.ndim:
        return shown(value.item())
    rows = [shown(row) for row in value[:WIDEST]] + ["…"] * (len(value) > WIDEST)
    return f"[{', '.join(rows)}]"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
