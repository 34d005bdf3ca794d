"""The engine: what it says of callables that are right but for something, and of those that do not work."""

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import COMPONENTS, as_user

from pgref import estimates, oracle
from pgref.errors import ArgumentError, ArgumentTypeError
from pgref.oracle import families, likeness, shrink
from pgref.oracle.compare import check
from pgref.oracle.component import Component
from pgref.oracle.deviation import NOBODY, Deviation, Source
from pgref.oracle.inputs import drawn, error, evaluated, in_ulps, joined, unseparated
from pgref.oracle.report import shown
from pgref.oracle.returns import GAE

ROOT = Path(__file__).parent.parent
right = as_user(GAE, estimates.gae)


def of_gae(function):
    """Return a callable that changes the right result."""
    return lambda *arguments: function(right(*arguments))


def verdict(function, **options):
    report = oracle.gae(function, **options)
    assert report.ok == (report.verdict == "equal")
    assert (report.counterexample is None) == report.ok
    return report.verdict, report.message


# ---- the registry


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_every_deviation_has_a_source_a_version_a_cost_and_a_test_that_exists(component):
    names = [d.name for d in component.deviations]
    assert len(set(names)) == len(names)
    for d in component.deviations:
        assert d.name.isidentifier()
        assert d.component == component.name
        assert d.summary
        assert d.cost
        assert d.sources
        assert all(who and version and where for who, version, where in d.sources)
        assert d.summary[0].islower()
        assert not d.summary.endswith(".")
        path, _, test = d.test.partition("::")
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)


def test_every_check_has_a_component_of_its_name_and_a_docstring_that_gives_the_signature():
    names = families.check_names()
    assert sorted(c.name for c in COMPONENTS) == sorted(names)
    assert set(names) <= set(oracle.__all__) <= set(dir(oracle))
    for name in names:
        function = families.check_named(name)
        assert function is getattr(oracle, name)
        assert "function(" in function.__doc__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = oracle.nonsense


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_the_axes_are_those_of_the_inputs_and_of_the_result(component):
    for inputs in drawn(component, "float64", 12, 3):
        lengths = shrink.sizes(component, inputs)
        for name, axes in component.axes.items():
            assert inputs[name].shape == tuple(lengths[letter] for letter in axes)
        result = evaluated(component.reference, inputs)
        assert result.ndim == len(component.result)
        sizes = zip(component.result, result.shape, strict=True)
        assert all(lengths.get(letter, size) == size for letter, size in sizes)
        assert np.isfinite(result).all()


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_the_same_seed_draws_the_same_inputs_and_float32_holds_them(component):
    once, again = (drawn(component, "float32", 6, 1) for _ in range(2))
    for inputs, others in zip(once, again, strict=True):
        assert inputs.keys() == others.keys()
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, others[name])
                if value.dtype.kind == "f":
                    assert value.dtype == np.float64
                    np.testing.assert_array_equal(value, value.astype(np.float32))


def test_variants_that_no_input_tells_apart_are_reported():
    twin = replace(GAE.deviations[0], name="twin")
    same = replace(GAE, deviations=(GAE.deviations[0], twin))
    assert unseparated(same) == ["gae: done_one_step_late = twin"]
    assert unseparated(replace(same, deviations=(replace(twin, recognise=lambda *_: False),))) == []


# ---- verdicts


def test_what_equals_the_reference_is_equal():
    assert verdict(right) == ("equal", "It computes the reference, on 32 inputs.")
    assert verdict(of_gae(lambda x: x + 1e-12))[0] == "equal"
    assert verdict(of_gae(lambda x: x.tolist()))[0] == "equal"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: -x, "Equal up to the sign."),
        (lambda x: x / 4, "Equal up to the factor 0.25."),
        (lambda x: 3 * x, "Equal up to the factor 3."),
        (lambda x: x * len(x), "Equal up to the factor T (a sum where a mean is due)."),
        (lambda x: x / x.shape[1], "Equal up to the factor 1/E (a mean where a sum is due)."),
        (lambda x: x / x.size, "Equal up to the factor 1/(E·T) (a mean where a sum is due)."),
        (
            lambda x: -2 * x * x.size,
            "Equal up to the factor E·T (a sum where a mean is due) and the factor -2.",
        ),
        (lambda x: x + 2, "Equal up to the constant +2."),
        (lambda x: x - x.mean(), "Equal up to an offset that differs from input to input."),
        (lambda x: x / (1 + abs(x).max()), "Equal up to a factor that differs from input to input."),
        (
            lambda x: x.astype(np.float32),
            "Equal up to the rounding of float32: check it with dtype='float32'.",
        ),
    ],
)
def test_what_is_right_but_for_one_simple_thing_is_equal_up_to_it(change, message):
    assert verdict(of_gae(change)) == ("equal up to", message)


@pytest.mark.parametrize(
    "change",
    [lambda x: x**2, lambda x: np.zeros_like(x), lambda x: x + (abs(x) > 1), lambda x: x * 1e-9, np.sort],
)
def test_what_is_something_else_is_different(change):
    got, message = verdict(of_gae(change))
    assert got in ("different", "equal up to")
    assert message == "It computes something else, and no known deviation." or "…" in message


def test_single_precision_inside_is_told_from_a_single_precision_result():
    got = verdict(of_gae(lambda x: x.astype(np.float32).astype(np.float64)))
    assert got == ("equal up to", "Equal up to rounding: something inside is in single precision.")


@pytest.mark.parametrize("size", [1e30, 1e160, 1e300, -1e308])
def test_results_beyond_every_scale_are_compared_all_the_same(size):
    assert verdict(of_gae(lambda x: size * np.sign(x)))[0] in ("different", "equal up to")
    assert verdict(of_gae(lambda x: np.where(x > 1, size, x)))[0] in ("different", "equal up to")


def test_results_that_change_from_call_to_call_are_said_to():
    rng = np.random.default_rng(0)
    got = verdict(of_gae(lambda x: x + rng.normal(size=x.shape)))
    assert got == ("different", "Its results differ from call to call on the same input.")


def test_a_deviation_times_a_constant_is_named_with_the_constant():
    late = as_user(GAE, GAE.deviations[0].function)
    report = oracle.gae(lambda *a: -2 * late(*a))
    assert report.deviation is GAE.deviations[0]
    assert report.message.endswith("up to the factor -2.")


def test_a_deviation_that_its_outputs_do_not_show_is_recognised_by_its_own_function():
    seen = {}

    def recognise(call, cases, outputs):
        seen["same"] = all(np.array_equal(call(i), o) for i, o in zip(cases, outputs, strict=True))
        seen["bad"] = np.isnan(call({**cases[0], "trace": 0.125})).all()
        return bool(outputs[0].ravel()[0] == 5)

    def five(*arguments):
        if arguments[-1] == 0.125:
            raise ValueError
        return np.full_like(arguments[0], 5)

    shy = replace(GAE.deviations[0], name="five", recognise=recognise)
    report = check(replace(GAE, deviations=(shy,)), five)
    assert report.deviation is shy
    assert seen == {"same": True, "bad": True}
    assert check(replace(GAE, deviations=(shy,)), of_gae(lambda x: x**2)).deviation is None


def test_double_precision_is_asked_for_and_single_is_on_request():
    as_single = of_gae(lambda x: x.astype(np.float32))
    assert not oracle.gae(as_single).ok
    assert oracle.gae(as_single, dtype=np.float32).ok
    seen = []
    oracle.gae(lambda *a: seen.append(a[0].dtype) or right(*a), dtype="float32")
    assert set(seen) == {np.dtype("float32")}
    late = as_user(GAE, GAE.deviations[0].function)
    assert oracle.gae(lambda *a: late(*a).astype(np.float32)).deviation is GAE.deviations[0]


# ---- callables that do not work


def raises(*arguments):
    raise ValueError("no such\nthing")


def exits(*arguments):
    sys.exit(3)


def writes(rewards, *others):
    rewards += 1
    return right(rewards, *others)


class Odd:
    def __array__(self, *arguments, **options):
        raise RuntimeError("call detach() first")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raises, "It raised ValueError: no such."),
        (exits, "It raised SystemExit: 3."),
        (lambda: 0, r"It raised TypeError: .*"),
        (lambda *a: a[0] / a[1].shape, r"It raised ValueError: .*|It returned shape .*"),
        (lambda *a: 1 / 0, "It raised ZeroDivisionError: division by zero."),
        (lambda *a: [].pop(), "It raised IndexError: pop from empty list."),
        (lambda *a: (_ for _ in ()).throw(KeyError), "It raised KeyError."),
        (lambda *a: None, "It returned None, not numbers."),
        (lambda *a: "text", "It returned <U4, not numbers."),
        (lambda *a: [object()], "It returned object, not numbers."),
        (lambda *a: a[3], "It returned bool, not numbers."),
        (lambda *a: right(*a) * 1j, "It returned complex128, not numbers."),
        (lambda *a: [[1.0], [1.0, 2.0]], r"It raised .*|It returned object, not numbers."),
        (lambda *a: Odd(), r"It raised RuntimeError: call detach\(\) first."),
        (lambda *a: right(*a)[0], r"It returned shape \(1,\), not \(1, 1\)."),
        (lambda *a: right(*a).sum(), r"It returned shape \(\), not \(1, 1\)."),
        (lambda *a: right(*a) * np.nan, "It returned nan."),
        (
            lambda *a: np.where(a[4], np.nan, right(*a)),
            r"It returned nan on \d+ of 32 inputs, and the right result on the others\.",
        ),
        (
            lambda *a: np.where(a[4], np.nan, right(*a) ** 2 + 0.3),
            r"It returned nan on \d+ of 32 inputs\.",
        ),
        (writes, "It wrote to its arguments: rewards."),
    ],
)
def test_a_callable_that_does_not_work_gets_a_report_that_says_so(function, message):
    report = oracle.gae(function)
    assert re.fullmatch(message, report.message), report.message
    assert (report.verdict, report.ok, report.deviation) == ("failed", False, None)
    assert math.isnan(report.relative_error)
    inputs = report.counterexample.inputs
    assert inputs["rewards"].size == 1  # the smallest there is
    assert "smallest example" in str(report)
    json.dumps(report.as_json(), allow_nan=False)


def test_nan_on_some_inputs_does_not_hide_what_is_computed_on_the_others(recwarn):
    def reversed_kl(z_old, z_new):
        p, q = (np.exp(z) / np.exp(z).sum(-1, keepdims=True) for z in (z_old, z_new))
        return (q * np.log(q / p)).sum(-1)

    report = oracle.categorical_kl(reversed_kl)
    assert (report.verdict, report.deviation.name) == ("deviation", "reversed_infinite_on_underflow")
    assert re.search(r" And it returned nan on \d+ of 32 inputs\.$", report.message)
    assert report.cases == 32
    assert not np.isnan(report.counterexample.got).any()
    assert not recwarn.list  # of the overflow in it

    report = oracle.natural_step(lambda product, x, kl_limit: np.sqrt(kl_limit / (x @ product(x))) * x)
    assert report.verdict == "deviation"
    assert "½" in report.message
    assert "returned nan on 1 of 32 inputs" in report.message


def test_an_infinity_is_no_failure_to_work():
    report = oracle.gae(lambda *a: np.where(right(*a) > 0, np.inf, right(*a)))
    assert (report.verdict, report.relative_error) == ("different", math.inf)
    assert report.as_json()["relative_error"] == "inf"


def test_ctrl_c_comes_through():
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        oracle.gae(interrupted)


@pytest.mark.parametrize(
    ("options", "error_class", "message"),
    [
        ({"layout": "rows"}, ArgumentError, "layout must be 'time' or 'batch', got 'rows'"),
        ({"dtype": "int64"}, ArgumentError, "dtype must be 'float64' or 'float32', got 'int64'"),
        ({"draws": 0}, ArgumentError, "draws must be a whole number of at least 1, got 0"),
        ({"seed": -1}, ArgumentError, "seed must be a whole number of at least 0, got -1"),
    ],
)
def test_other_options_are_refused(options, error_class, message):
    with pytest.raises(error_class, match=f"^{re.escape(message)}$"):
        oracle.gae(right, **options)


def test_only_callables_are_checked():
    with pytest.raises(ArgumentTypeError, match=r"^function must be callable, got ndarray$"):
        oracle.gae(np.zeros(3))


# ---- counterexamples


def test_the_example_is_small_round_and_shows_the_difference():
    report = oracle.gae(of_gae(lambda x: np.where(abs(x) > 1.5, 0, x)))
    inputs, expected, got = report.counterexample
    assert inputs["rewards"].shape == (1, 1)
    entries = np.concatenate([v.ravel() for v in inputs.values() if isinstance(v, np.ndarray)])
    assert set(entries) <= {-2, -1, 0, 1, 2}
    assert (inputs["discount"], inputs["trace"]) in {(0.0, 0.0), (1.0, 0.0)}
    assert error(got, expected) > 0.01
    np.testing.assert_array_equal(expected, estimates.gae(**inputs))


def test_the_example_has_as_many_steps_as_the_mistake_needs():
    def forgets(*arguments):
        out = right(*arguments)
        out[:-2] = 0
        return out

    report = oracle.gae(forgets)
    assert report.counterexample.inputs["rewards"].shape == (3, 1)


def test_examples_stay_possible_episodes():
    def wrong(*arguments):
        ends = arguments[3] | arguments[4]
        return right(*arguments) + (ends.sum(0) > 1)

    inputs = oracle.gae(wrong).counterexample.inputs
    assert joined(inputs)["next_values"].tolist() == inputs["next_values"].tolist()
    assert (inputs["terminated"] | inputs["truncated"]).sum() == 2


def toy(**changes):
    """Return a component with every kind of argument."""
    base = Component(
        name="toy",
        formula="x·k",
        equation="-",
        axes={"x": "NK"},
        result="N",
        reference=lambda x, k, word, f: f(x[:, 0]) * k,
        draw=lambda rng, case: {"x": rng.normal(size=(5, 30)), "k": 7, "word": "a", "f": np.sin},
    )
    return replace(base, **changes)


def test_whole_numbers_words_and_functions_are_not_shrunk():
    report = check(toy(), lambda x, k, word, f: np.where(np.arange(len(x)) == 0, 5.0, f(x[:, 0]) * k))
    inputs = report.counterexample.inputs
    assert (inputs["k"], inputs["word"], inputs["f"]) == (7, "a", np.sin)
    assert inputs["x"].shape == (1, 1)
    assert "f        = <ufunc 'sin'>" in str(report)


def test_what_is_no_array_goes_into_json_as_well():
    def draw(rng, case):
        return {"x": np.ones((2, 2)), "k": np.int64(7), "word": "a", "f": np.sin}

    report = check(toy(draw=draw), lambda x, k, word, f: x[:, 0])
    inputs = json.loads(json.dumps(report.as_json()))["counterexample"]["inputs"]
    assert inputs == {"x": [[1.0]], "k": 7, "word": "a", "f": "<ufunc 'sin'>"}


def test_a_numpy_scalar_is_shrunk_like_a_number():
    def draw(rng, case):
        return {"x": np.ones((2, 2)), "k": np.float64(7.3), "word": "a", "f": np.sin}

    report = check(toy(draw=draw), lambda x, k, word, f: 2 * f(x[:, 0]) * k)
    assert report.counterexample.inputs["k"] == 1.0


def test_inputs_that_cannot_be_are_not_tried():
    def even(inputs):
        return inputs if len(inputs["x"]) % 2 else None

    seen = set()

    def wrong(x, k, word, f):
        seen.add(len(x))
        return np.where(np.arange(len(x)) == 2, 9.0, np.sin(x[:, 0]) * k)

    check(toy(repaired=even), wrong)
    assert seen == {3, 5}


def test_inputs_that_the_reference_refuses_are_not_tried():
    def fussy(x, k, word, f):
        if len(x) < 5:
            raise ArgumentError("five at least")
        return x[:, 0]

    report = check(toy(reference=fussy), lambda x, k, word, f: x[:, 0] ** 2)
    assert report.counterexample.inputs["x"].shape == (5, 1)


def test_shrinking_ends_when_its_budget_is_spent(monkeypatch):
    monkeypatch.setattr(shrink, "BUDGET", 3)
    tried = []
    inputs = drawn(GAE, "float64", 9, 0)[8]
    shrink.shrunk(GAE, inputs, lambda candidate: bool(tried.append(candidate)))
    assert len(tried) == 3


def test_the_callable_gets_what_the_component_makes_of_the_inputs():
    matrix = Component(
        name="product",
        formula="Hv",
        equation="-",
        axes={"h": "PP", "v": "P"},
        result="P",
        reference=lambda h, v: h @ v,
        draw=lambda rng, case: {"h": np.eye(3) * rng.normal(), "v": rng.normal(size=3)},
        arguments=lambda inputs: (lambda v: inputs["h"] @ v, inputs["v"]),
    )
    assert check(matrix, lambda product, v: product(v)).ok


# ---- numbers in reports


@given(st.integers(0, 10**6), st.integers(1, 5), st.floats(0.1, 10))
def test_the_error_is_relative_to_the_largest_entry_or_to_1(seed, n, size):
    x = size * np.random.default_rng(seed).normal(size=n)
    shift = 1e-3
    assert error(x + shift, x) == pytest.approx(shift / max(1, abs(x).max()))
    assert error(x, x) == 0
    assert error(x[:0], x) == math.inf


def test_infinities_and_nan_equal_only_themselves():
    special = np.array([1.0, np.inf, -np.inf, np.nan])
    assert error(special, special) == 0
    assert error(np.ones(4), special) == math.inf
    assert error(special, np.ones(4)) == math.inf


@given(st.floats(1, 1e10), st.sampled_from(["float64", "float32"]))
def test_an_ulp_is_the_spacing_of_the_largest_entry(size, dtype):
    expected = np.array([0.5, -float(np.dtype(dtype).type(size))])
    spacing = float(np.spacing(np.abs(expected).max().astype(dtype)))
    assert in_ulps(expected, dtype) == pytest.approx(np.abs(expected).max() / spacing)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([[1.0, -0.25], [1 / 3, 1e-9]]), "[[1, -0.25], [0.333333, 1e-09]]"),
        (np.array([True, False]), "[True, False]"),
        (np.arange(20), "[0, 1, 2, 3, 4, 5, 6, 7, …]"),
        (np.array(2.5), "2.5"),
        (3, "3"),
        (True, "True"),
        ("word", "word"),
    ],
)
def test_numbers_are_shown_in_the_same_way_everywhere(value, text):
    assert shown(value) == text


def test_a_report_prints_what_is_known():
    source = Source("somebody", "1.2", "file.py, function")
    d = replace(GAE.deviations[0], sources=(source,))
    report = check(replace(GAE, deviations=(d,)), as_user(GAE, d.function))
    lines = str(report).splitlines()
    assert lines[0] == "gae: DEVIATION. It masks step t with the flags of step t + 1."
    assert lines[1] == "  formula   Â_t = Σ_l (γλ)^l δ_{t+l}   [Schulman et al. (2016), eq. 16]"
    assert lines[2:5] == [
        "  known as  done_one_step_late",
        f"  costs     {d.cost}",
        f"  done by   {d.known_from()[0]}",
    ]
    assert d.known_from() == ["somebody 1.2: file.py, function"]
    assert lines[5].endswith("on 32 inputs (tolerance 1e-10)")
    assert repr(report) == f"<{lines[0].replace('DEVIATION', 'deviation')}>"
    record = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert record["deviation"]["sources"] == [source._asdict()]
    assert (record["ok"], record["counterexample"]["inputs"]["discount"]) == (False, 1.0)


def test_a_slip_names_nobody():
    d = Deviation("x", "gae", "does", estimates.gae, (Source(NOBODY, "0.1.0", "-"),), "-", "-")
    assert d.known_from() == ["nobody in particular: a common slip"]


def test_a_report_of_something_right_is_short():
    assert len(str(oracle.gae(right)).splitlines()) == 3


def test_a_likeness_needs_numbers_and_several_inputs():
    one, many = [np.ones(3)], [np.ones(3) * k for k in (1, 2, 3)]
    sizes = [{"N": 3}] * 3
    assert likeness.likeness([np.full(3, np.inf)] * 3, many, sizes, 1e-10) == ""
    assert likeness.likeness([np.ones(2)] * 3, many, sizes, 1e-10) == ""
    assert likeness.factor([np.zeros(3)], one, 1e-10) is None
    assert likeness.factor(one, [np.zeros(3)], 1e-10) is None
    assert likeness.likeness([np.arange(3.0)], [np.arange(3.0) ** 2 + 1], [{"N": 3}], 1e-10) == ""
