"""The engine: a user's callable beside the reference, the known deviations, and the smallest example."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, count
from pgref.errors import ArgumentError, ArgumentTypeError
from pgref.oracle.component import Component, Inputs
from pgref.oracle.deviation import Deviation
from pgref.oracle.inputs import DRAWS, drawn, error, evaluated, in_ulps
from pgref.oracle.likeness import factor, likeness, times
from pgref.oracle.report import Counterexample, Report, Verdict
from pgref.oracle.shrink import shrunk, sizes
from pgref.oracle.trial import Outcome, Trial

LAYOUTS, DTYPES = ("time", "batch"), ("float64", "float32")
SINGLE = 1e-6  # errors up to this look like single precision somewhere in between
VISIBLE = 1e-2  # an example should show a difference of this size, if there is one


class _Run(NamedTuple):
    """All results of a callable that gave usable ones, beside the reference's."""

    trial: Trial
    cases: list[Inputs]
    got: list[Array]
    expected: list[Array]
    errors: list[float]
    single: bool  # one was in single precision

    @property
    def tolerance(self) -> float:
        """What the verdict "equal" allows."""
        return self.trial.component.allowed(self.trial.dtype)

    @property
    def precision(self) -> float:
        """What the precision of the results allows."""
        return self.trial.component.allowed("float32" if self.single else self.trial.dtype)

    def of(self, deviation: Deviation) -> list[Array]:
        """Return what the deviation gives on all inputs."""
        return [evaluated(deviation.function, inputs) for inputs in self.cases]

    def without(self, cases: set[int]) -> _Run:
        """Return the results without those cases."""
        kept = [i for i in range(len(self.cases)) if i not in cases]
        rows, got = [self.cases[i] for i in kept], [self.got[i] for i in kept]
        expected, errors = [self.expected[i] for i in kept], [self.errors[i] for i in kept]
        return self._replace(cases=rows, got=got, expected=expected, errors=errors)

    def equals(self, function: Callable[..., Any]) -> bool:
        """Return whether the function gives the same results on all inputs."""
        pairs = zip(self.got, self.cases, strict=True)
        return all(error(got, evaluated(function, inputs)) <= self.precision for got, inputs in pairs)


def check(
    component: Component,
    function: Callable[..., Any],
    *,
    layout: str = "time",
    dtype: str = "float64",
    draws: int = DRAWS,
    seed: int = 0,
) -> Report:
    """Compare a callable with the reference on random inputs, and say what it computes if that is not equal.

    Args:
        component: what it should compute.
        function: it is called with positional arguments, NumPy arrays that it may keep and not write to.
        layout: of arrays [T, E]: "time" as they stand here, "batch" for [E, T], results included.
        dtype: "float64", or "float32" for arrays and tolerance of single precision.
        draws: how many inputs.
        seed: of the inputs.

    Raises:
        ArgumentError, ArgumentTypeError: other options, or no callable. What the callable itself does wrong,
            exceptions included, is in the report.
    """
    if not callable(function):
        raise ArgumentTypeError(f"function must be callable, got {type(function).__name__}")
    layout, dtype = one_of("layout", layout, LAYOUTS), one_of("dtype", str(np.dtype(dtype)), DTYPES)
    cases = drawn(component, dtype, count("draws", draws), count("seed", seed, 0))
    trial = Trial(component, function, layout, dtype)
    report = _examined(trial, cases)
    unexplained = report.verdict in ("different", "failed")
    return (_in_the_other_layout(trial, cases) if unexplained else None) or report


def one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    """Return an option that is one of the known ones, or raise ArgumentError."""
    if value not in known:
        raise ArgumentError(f"{name} must be {' or '.join(map(repr, known))}, got {value!r}")
    return value


def _examined(trial: Trial, cases: list[Inputs]) -> Report:
    outcomes = []
    for inputs in cases:
        outcome = trial(inputs)
        if outcome.problem:
            return _failed(trial, inputs, outcome, len(cases))
        outcomes.append(outcome)
    got, expected = [o.output for o in outcomes if o.output is not None], [o.expected for o in outcomes]
    errors = [error(g, e) for g, e in zip(got, expected, strict=True)]
    run = _Run(trial, cases, got, expected, errors, any(o.single for o in outcomes))
    if max(errors) <= run.tolerance:
        return _report(run, "equal", f"It computes the reference, on {len(cases)} inputs.")
    return _explained(run) or _with_nan(run) or _unlike(run)


def _explained(run: _Run) -> Report | None:
    return _known(run) or _rounded(run) or _alike(run)


def _known(run: _Run) -> Report | None:
    """Return the report of the deviation that gives the same results, if there is one."""
    for deviation in run.trial.component.deviations:
        if deviation.recognise:
            same = deviation.recognise(_outputs_of(run.trial), run.cases, run.got)
        else:
            same = run.equals(deviation.function)
        if same:
            return _report(run, "deviation", f"It {deviation.summary}.", deviation)
    return None


def _outputs_of(trial: Trial) -> Callable[[Inputs], Array]:
    """Return inputs ↦ what the user's callable gives; NaN in place of what cannot be used."""

    def output(inputs: Inputs) -> Array:
        outcome = trial(inputs)
        return np.full_like(outcome.expected, np.nan) if outcome.output is None else outcome.output

    return output


def _rounded(run: _Run) -> Report | None:
    if run.single and max(run.errors) <= run.precision:
        return _report(
            run, "equal up to", "Equal up to the rounding of float32: check it with dtype='float32'."
        )
    if max(run.errors) <= SINGLE:
        return _report(run, "equal up to", "Equal up to rounding: something inside is in single precision.")
    return None


def _alike(run: _Run) -> Report | None:
    lengths = [sizes(run.trial.component, inputs) for inputs in run.cases]
    words = likeness(run.got, run.expected, lengths, run.precision)
    return _report(run, "equal up to", f"Equal up to {words}.") if words else None


def _with_nan(run: _Run) -> Report | None:
    """Return the report on a callable that gives NaN for some inputs: what else it does, and that."""
    n = len(run.cases)
    bad = [i for i in range(n) if np.isnan(run.got[i]).any() and not np.isnan(run.expected[i]).any()]
    if not bad:
        return None
    outcome = Outcome(run.got[bad[0]], run.expected[bad[0]], False, "it returned nan", "nan")
    failed = _failed(run.trial, run.cases[bad[0]], outcome, n)
    rest = run.without(set(bad))
    if not rest.cases:
        return failed
    often = f"returned nan on {len(bad)} of {n} inputs"
    if max(rest.errors) <= rest.tolerance:
        return failed._replace(message=f"It {often}, and the right result on the others.")
    found = _explained(rest)
    if found is None:
        return failed._replace(message=f"It {often}.")
    return found._replace(message=f"{found.message} And it {often}.", cases=n)


def _unlike(run: _Run) -> Report:
    again = [_outputs_of(run.trial)(inputs) for inputs in run.cases]
    if any(error(a, g) > run.precision for a, g in zip(again, run.got, strict=True)):
        return _report(run, "different", "Its results differ from call to call on the same input.")
    nothing = "It computes something else, and no known deviation."
    return _known_scaled(run) or _two_known(run) or _report(run, "different", nothing)


def _known_scaled(run: _Run) -> Report | None:
    """Return the report of a deviation that gives the same results but for a constant factor."""
    for deviation in run.trial.component.deviations:
        c = None if deviation.recognise else factor(run.got, run.of(deviation), run.precision)
        if c is not None:
            return _report(run, "deviation", f"It {deviation.summary}, up to {times(c)}.", deviation)
    return None


def _two_known(run: _Run) -> Report | None:
    """Return the report of two deviations that together give the same results."""
    compose = run.trial.component.compose
    changes = [(d, d.change) for d in run.trial.component.deviations if d.change]
    for (first, change), (second, another) in permutations(changes, 2):
        if compose and run.equals(compose(partial(_in_turn, change, another))):
            message = f"It {first.summary}; and it {second.summary}."
            return _report(run, "deviation", message, first)._replace(also=second)
    return None


def _in_turn(first: Callable[[Any], Any], second: Callable[[Any], Any], parts: Any) -> Any:
    return second(first(parts))


def _in_the_other_layout(trial: Trial, cases: list[Inputs]) -> Report | None:
    """Return the report on the callable as one of the other layout, if that explains what it does."""
    if not any(axes.startswith("TE") for axes in trial.component.axes.values()):
        return None
    other = "batch" if trial.layout == "time" else "time"
    report = _examined(trial._replace(layout=other), cases)
    if report.verdict not in ("equal", "deviation"):
        return None
    advice = f"it is {other}-major, check it with layout={other!r}."
    if report.ok:
        return report._replace(verdict="equal up to", message=f"Equal up to the layout: {advice}")
    return report._replace(message=f"{report.message} And {advice}")


def _report(run: _Run, verdict: Verdict, message: str, deviation: Deviation | None = None) -> Report:
    ulps = [e * in_ulps(x, run.trial.dtype) for e, x in zip(run.errors, run.expected, strict=True)]
    example = None if verdict == "equal" else _example(run)
    report = _blank(run.trial, len(run.cases), verdict, message, example)
    return report._replace(relative_error=max(run.errors), ulp_error=max(ulps), deviation=deviation)


def _blank(
    trial: Trial, cases: int, verdict: Verdict, message: str, example: Counterexample | None
) -> Report:
    """Return a report without errors."""
    c = trial.component
    about = c.name, c.formula, c.equation, verdict, message
    return Report(*about, np.nan, np.nan, c.allowed(trial.dtype), cases, counterexample=example)


def _example(run: _Run) -> Counterexample:
    """Return the smallest inputs found that show the difference."""
    worst = max(run.errors)
    least = max(run.tolerance, min(VISIBLE, worst / 10))
    trial, nan = run.trial, any(np.isnan(got).any() for got in run.got)

    def differs(inputs: Inputs) -> bool:
        outcome = trial(inputs)
        got, expected = outcome.output, outcome.expected
        if got is None or not np.isfinite(expected).all() or (np.isnan(got).any() and not nan):
            return False
        return error(got, expected) > least

    shown = [inputs for inputs, e in zip(run.cases, run.errors, strict=True) if e > least]
    return _shown(trial, shrunk(trial.component, shown[0], differs))


def _failed(trial: Trial, inputs: Inputs, outcome: Outcome, cases: int) -> Report:
    def fails(candidate: Inputs) -> bool:
        found = trial(candidate)
        return found.kind == outcome.kind or (
            outcome.kind == "nan" and found.output is not None and bool(np.isnan(found.output).any())
        )

    example = _shown(trial, shrunk(trial.component, inputs, fails))
    return _blank(trial, cases, "failed", f"{outcome.problem[0].upper()}{outcome.problem[1:]}.", example)


def _shown(trial: Trial, inputs: Inputs) -> Counterexample:
    outcome = trial(inputs)
    return Counterexample(inputs, outcome.expected, outcome.output)
