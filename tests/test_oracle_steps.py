"""The oracle on products, solvers, steps and searches: deviations named, mutants rejected, no false alarm."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from oracles import as_user, components, deviations, mutants, named

from pgref import oracle
from pgref.oracle.compare import check
from pgref.oracle.inputs import unseparated

FAMILIES = ("products", "steps")
ALL = [c for family in FAMILIES for c in components(family)]


def of_inputs(component):
    """Return the component for callables that get the inputs themselves, as the deviations do."""
    return replace(component, arguments=lambda inputs: list(inputs.values()))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("component", ALL, ids=lambda c: c.name)
def test_some_input_tells_every_two_variants_apart(component, dtype):
    assert unseparated(component, dtype) == []


@pytest.mark.parametrize(("component", "deviation"), deviations("steps"), ids=lambda x: x.name)
def test_every_deviation_is_named(component, deviation):
    for options in ({}, {"dtype": "float32", "seed": 1}):
        report = named(of_inputs(component), deviation, **options)
        assert (report.verdict, report.deviation) == ("deviation", deviation), report


@pytest.mark.parametrize(("component", "deviation"), deviations("products"), ids=lambda x: x.name)
def test_every_product_deviation_is_named(component, deviation):
    for options in ({}, {"dtype": "float32", "seed": 1}):
        report = named(component, deviation, **options)
        assert (report.verdict, report.deviation) == ("deviation", deviation), report


@pytest.mark.parametrize("component", ALL, ids=lambda c: c.name)
def test_the_reference_is_accepted(component):
    for dtype in ("float64", "float32"):
        report = check(of_inputs(component), as_user(component, component.reference), dtype=dtype)
        assert report.ok, report


# Correct implementations in several styles.
def fisher_vjp(theta, obs, v):
    seen = np.append(obs, np.ones((len(obs), 1)), axis=1)
    z = seen @ theta
    p = np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)
    u = seen @ v
    return seen.T @ (p * (u - np.sum(p * u, axis=1, keepdims=True))) / len(obs)


def fisher_of_scores(theta, obs, v):
    """Return the expected outer product of the scores with themselves, times v."""
    out = np.zeros_like(theta)
    for s in np.append(obs, np.ones((len(obs), 1)), axis=1):
        p = np.exp(s @ theta - np.log(np.sum(np.exp(s @ theta))))
        for action, chance in enumerate(p):
            score = np.outer(s, (np.arange(len(p)) == action) - p)
            out += chance * np.sum(score * v) * score / len(obs)
    return out


def fisher_gaussian(theta, obs, v):
    seen = np.append(obs, np.ones((len(obs), 1)), axis=1)
    means = seen.T @ (seen @ v[:-1] * np.exp(-2 * theta[-1])) / len(obs)
    return np.append(means, 2 * v[-1:], axis=0)


def fisher_by_differences(theta, obs, v):
    """Return the directional derivative of ∇KL, whose two directions have the same Hessian there."""

    def gradient(x):
        seen = np.append(obs, np.ones((len(obs), 1)), axis=1)
        z, new = seen @ theta, seen @ x
        p, q = (np.exp(y) / np.exp(y).sum(1, keepdims=True) for y in (z, new))
        return seen.T @ (q - p) / len(obs)

    step = 1e-20j  # complex: nothing is subtracted
    return (gradient(theta + step * v) / step).real


def cg_textbook(product, b, iterations):
    x, r, p = np.zeros_like(b), b.copy(), b.copy()
    rr = r @ r
    stop = 1e-24 * rr
    for _ in range(iterations):
        if rr <= stop:
            break
        hp = product(p)
        alpha = rr / (p @ hp)
        x = x + alpha * p
        r = r - alpha * hp
        rr, before = r @ r, rr
        p = r + rr / before * p
    return x


def cg_by_krylov(product, b, iterations):
    """Minimise ½x·Hx − b·x over the span of b, Hb, H²b, …"""
    if not b.any():
        return b
    basis = []
    for _ in range(min(iterations, len(b))):
        new = product(basis[-1]) if basis else b / np.linalg.norm(b)
        for _ in range(2):
            for old in basis:
                new = new - old * (old @ new)
        size = np.linalg.norm(new)
        if size < 1e-5 * np.linalg.norm(product(b)) / np.linalg.norm(b):
            break
        basis.append(new / size)
    k = np.array(basis)
    return k.T @ np.linalg.solve(k @ np.array([product(row) for row in k]).T, k @ b)


def scaled(product, x, kl_limit):
    curvature = x @ product(x)
    return x * np.sqrt(2 * kl_limit / curvature) if curvature > 0 else np.zeros_like(x)


def scaled_by_multiplier(product, x, kl_limit):
    """As modular_rl does: λ = √(½x·Hx/δ)."""
    multiplier = np.sqrt(0.5 * x.dot(product(x)) / kl_limit)
    return x / multiplier if multiplier else x


def step_of_parts(product, g, kl_limit, damping, iterations):
    def damped(v):
        return product(v) + damping * v

    return scaled(damped, cg_textbook(damped, g, iterations), kl_limit)


def step_by_dense_solve(product, g, kl_limit, damping, iterations):
    hessian = np.array([product(e) for e in np.eye(len(g), dtype=g.dtype)]) + damping * np.eye(len(g))
    x = np.linalg.solve(hessian, g)
    return np.sqrt(2 * kl_limit) * x / np.sqrt(x @ g) if g.any() else x


def step_of_x_times_g(product, g, kl_limit, damping, iterations):
    """Take x·g for x·Hx: the same for a solver that starts from 0, whose residual is orthogonal to x."""
    x = cg_textbook(lambda v: product(v) + damping * v, g, iterations)
    return x * np.sqrt(2 * kl_limit / (x @ g)) if x.any() else x


def search(evaluate, theta, step, kl_limit, shrink, tries, expected):
    for j in range(tries):
        candidate = theta + shrink**j * step
        improvement, kl = evaluate(candidate)
        if improvement > 0 and kl <= kl_limit:
            return candidate
    return theta


def search_with_while(evaluate, theta, step, kl_limit, shrink, tries, expected):
    fraction = 1.0
    while tries:
        gained, kl = evaluate(theta + fraction * step)
        if kl < kl_limit and gained > 0:
            return theta + fraction * step
        fraction, tries = fraction * shrink, tries - 1
    return theta


RIGHT = [
    ("categorical_fisher_product", fisher_vjp),
    ("categorical_fisher_product", fisher_of_scores),
    ("gaussian_fisher_product", fisher_gaussian),
    ("conjugate_gradient", cg_textbook),
    ("conjugate_gradient", cg_by_krylov),
    ("natural_step", scaled),
    ("natural_step", scaled_by_multiplier),
    ("trust_region_step", step_of_parts),
    ("trust_region_step", step_by_dense_solve),
    ("trust_region_step", step_of_x_times_g),
    ("line_search", search),
    ("line_search", search_with_while),
]


@pytest.mark.parametrize(("name", "function"), RIGHT)
def test_an_implementation_in_another_style_is_accepted(name, function):
    for dtype in ("float64", "float32"):
        report = getattr(oracle, name)(function, dtype=dtype)
        assert report.ok, report


def test_a_complex_step_of_the_gradient_is_accepted():
    assert oracle.categorical_fisher_product(fisher_by_differences).ok


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_random_start_is_named(dtype):
    rng = np.random.default_rng(3)

    def cg(product, b, iterations):
        """As sb3-contrib 2.9.2 does."""
        x = (1e-4 * rng.normal(size=b.size)).astype(b.dtype)
        r = b - product(x)
        rr = r @ r
        if rr < 1e-10:
            return x
        p = r.copy()
        for _ in range(iterations):
            hp = product(p)
            alpha = rr / (p @ hp)
            x, r = x + alpha * p, r - alpha * hp
            rr, before = r @ r, rr
            if rr < 1e-10:
                return x
            p = r + rr / before * p
        return x

    def step(product, g, kl_limit, damping, iterations):
        def damped(v):
            return product(v) + damping * v

        x = cg(damped, g, iterations)
        return np.sqrt(2 * kl_limit / (x @ damped(x))) * x

    assert oracle.conjugate_gradient(cg, dtype=dtype).deviation.name == "random_start"
    assert oracle.trust_region_step(step, dtype=dtype).deviation.name == "random_start"


@pytest.mark.parametrize("limit", [1e-6, 1e-8, 1e-10, 1e-12])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_tolerance_of_any_size_is_named(limit, dtype):
    def cg(product, b, iterations, at_start):
        x, r, p = np.zeros_like(b), b.copy(), b.copy()
        if at_start and r @ r < limit:
            return x
        for _ in range(iterations):
            hp = product(p)
            alpha = r @ r / (p @ hp)
            x, before = x + alpha * p, r @ r
            r = r - alpha * hp
            if r @ r < limit:
                break
            p = r + r @ r / before * p
        return x

    for at_start, name in ((False, "absolute_tolerance"), (True, "absolute_tolerance_at_start")):
        with np.errstate(all="ignore"):
            report = oracle.conjugate_gradient(lambda *a, start=at_start: cg(*a, start), dtype=dtype)
        assert report.deviation.name == name, report


@pytest.mark.parametrize("damping", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_damping_of_any_size_is_named(damping, dtype):
    def cg(product, b, iterations):
        return cg_textbook(lambda v: product(v) + damping * v, b, iterations)

    assert oracle.conjugate_gradient(cg, dtype=dtype).deviation.name == "damped_again"
    assert (
        oracle.categorical_fisher_product(
            lambda theta, obs, v: fisher_vjp(theta, obs, v) + damping * v, dtype=dtype
        ).deviation.name
        == "damped"
    )


def test_no_damping_is_named_where_nothing_is_solved():
    assert oracle.conjugate_gradient(lambda product, b, iterations: 0 * b).verdict == "different"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_properties_of_a_product_are_reported(dtype):
    def reported(change, checked, right):
        report = checked(lambda theta, obs, v: change(right(theta, obs, v), v), dtype=dtype)
        return report.deviation.name if report.deviation else report.verdict

    ramp = lambda v: np.arange(1, 1 + len(v))[:, None]  # noqa: E731
    for pair in (
        (oracle.categorical_fisher_product, fisher_vjp),
        (oracle.gaussian_fisher_product, fisher_gaussian),
    ):
        assert reported(lambda hv, v: hv + 3 * v, *pair) == "damped"
        assert reported(lambda hv, v: ramp(v) * hv, *pair) == "asymmetric"
        assert reported(lambda hv, v: hv - 0.1 * v, *pair) == "indefinite"
        assert reported(lambda hv, v: hv + 1, *pair) == "not_linear"
        assert reported(lambda hv, v: -hv, *pair) == "equal up to"
        assert reported(lambda hv, v: 0.5 * hv, *pair) == "equal up to"
        assert reported(lambda hv, v: hv + ramp(v) * v, *pair) == "different"
        assert reported(lambda hv, v: hv + np.nan * v, *pair) == "failed"


MUTANTS = [
    (name, label, function)
    for name, source in (
        ("categorical_fisher_product", fisher_vjp),
        ("gaussian_fisher_product", fisher_gaussian),
        ("conjugate_gradient", cg_textbook),
        ("natural_step", scaled),
        ("line_search", search),
    )
    for label, function in mutants(inspect.getsource(source)).items()
]


@pytest.mark.parametrize(
    ("name", "label", "function"), MUTANTS, ids=lambda x: x if isinstance(x, str) else ""
)
def test_every_mutant_is_rejected(name, label, function):
    with np.errstate(all="ignore"):
        report = getattr(oracle, name)(function, draws=12)
    assert not report.ok
    assert report.counterexample is not None
    assert str(report)


def test_there_are_enough_mutants():
    assert len(MUTANTS) + len(deviations("steps")) + len(deviations("products")) >= 90
