"""The oracle on estimators of ∇J: deviations named, mutants rejected, unbiased ones accepted in any style."""

import inspect
import math
import re

import numpy as np
import pytest
from oracles import as_user, components, mutants, named

from pgref import oracle
from pgref.errors import ArgumentError, ArgumentTypeError
from pgref.oracle import estimators, shrink
from pgref.oracle.compare import check
from pgref.oracle.inputs import drawn, unseparated

EXACT, SAMPLED = components("estimators")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_some_input_tells_every_two_variants_apart(dtype):
    assert unseparated(EXACT, dtype, draws=16) == []
    assert unseparated(SAMPLED, dtype, draws=2) == []


@pytest.fixture
def hasty(monkeypatch):
    """Let counterexamples be less small."""
    monkeypatch.setattr(shrink, "BUDGET", 30)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("deviation", EXACT.deviations, ids=lambda d: d.name)
def test_every_deviation_is_named(deviation):
    report = named(EXACT, deviation, draws=12)
    assert (report.verdict, report.deviation) == ("deviation", deviation), report


def test_the_deviations_of_sampled_estimates_are_the_same():
    assert [d.function for d in SAMPLED.deviations] == [d.function for d in EXACT.deviations]


@pytest.mark.parametrize("component", [EXACT, SAMPLED], ids=lambda c: c.name)
def test_the_reference_is_accepted(component):
    for dtype in ("float64", "float32"):
        assert check(component, as_user(component, component.reference), dtype=dtype).ok


# Unbiased estimators in several styles; no two of them agree on one episode.
def softmax(theta):
    e = np.exp(theta - np.max(theta, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def loops(states, actions, rewards, theta, values, discount):
    estimate, pi = np.zeros(theta.shape), softmax(theta)
    for t in range(len(states)):
        total = 0.0
        for k in range(t, len(states)):
            total += discount ** (k - t) * rewards[k]
        for b in range(theta.shape[1]):
            score = (b == actions[t]) * 1.0 - pi[states[t], b]
            estimate[states[t], b] += discount**t * total * score
    return estimate


def scores(states, actions, theta):
    """Return ∇log π(A_t|S_t), [T, S, A]."""
    n_states, n_actions = theta.shape
    rows = np.eye(n_actions)[actions] - softmax(theta)[states]
    return np.eye(n_states)[states][:, :, None] * rows[:, None, :]


def vectorised(states, actions, rewards, theta, values, discount):
    powers = discount ** np.arange(len(rewards))
    to_go = np.cumsum((powers * rewards)[::-1])[::-1]  # γ^t G_t already
    return np.einsum("t,tsa->sa", to_go, scores(states, actions, theta))


def whole_return(states, actions, rewards, theta, values, discount):
    powers = discount ** np.arange(len(rewards))
    return np.sum(powers * rewards) * np.sum(scores(states, actions, theta), axis=0)


def critic_baseline(states, actions, rewards, theta, values, discount):
    powers = discount ** np.arange(len(rewards))
    to_go = np.cumsum((powers * rewards)[::-1])[::-1] - powers * values[states]
    return np.tensordot(to_go, scores(states, actions, theta), 1)


def wild_baseline(states, actions, rewards, theta, values, discount):
    constant = np.sum(scores(states, actions, theta) * np.sin(7 * states + 1)[:, None, None], axis=0)
    return vectorised(states, actions, rewards, theta, values, discount) - 5 * constant


def time_baseline(states, actions, rewards, theta, values, discount):
    late = np.arange(len(states))[:, None, None]
    return vectorised(states, actions, rewards, theta, values, discount) + np.sum(
        scores(states, actions, theta) * late, axis=0
    )


def likelihood_ratio(states, actions, rewards, theta, values, discount):
    """Return R(τ)∇log P(τ) by complex steps of Σ log π in θ."""
    powers, h, estimate = discount ** np.arange(len(rewards)), 1e-20, np.zeros(theta.shape)
    for index in np.ndindex(theta.shape):
        stepped = theta.astype(complex)
        stepped[index] += 1j * h
        pi = np.exp(stepped) / np.sum(np.exp(stepped), axis=1, keepdims=True)
        estimate[index] = (powers @ rewards) * np.log(pi[states, actions]).sum().imag / h
    return estimate


STYLES = [loops, vectorised, whole_return, critic_baseline, wild_baseline, time_baseline, likelihood_ratio]


@pytest.mark.parametrize("function", STYLES)
def test_an_unbiased_estimator_in_any_style_is_accepted(function):
    for dtype in ("float64", "float32"):
        report = oracle.policy_gradient_estimator(function, dtype=dtype)
        assert report.ok, report


def test_single_precision_is_asked_for():
    single = oracle.policy_gradient_estimator(lambda *a: vectorised(*a).astype(np.float32))
    assert (single.verdict, "single precision" in single.message) == ("equal up to", True)


def ratio(report):
    return float(re.search(r"variance is (\S+) times", report.message)[1])


@pytest.mark.usefixtures("hasty")
def test_the_variance_beside_that_of_the_plain_estimate_is_told():
    assert ratio(oracle.policy_gradient_estimator(vectorised)) == 1
    assert ratio(oracle.policy_gradient_estimator(whole_return)) > 1.1
    assert ratio(oracle.policy_gradient_estimator(wild_baseline)) > 3
    report = oracle.policy_gradient_estimator(lambda *a: -2 * vectorised(*a))
    assert ratio(report) == 4
    assert report.message.startswith("Equal up to the factor -2. Its bias is up to ")


def test_bias_and_variance_on_one_mdp_are_the_sums_by_hand():
    """One state, two actions, one step: π = (½, ½), rewards 0 and 1, so that ĝ = (0, 0) or (−½, ½)."""
    noted = []
    inputs = [np.zeros((1, 2, 1)), np.array([[0.0, 1.0]]), np.ones(1), np.zeros((1, 2)), np.zeros(1), 0.5]
    mean = estimators._mean(lambda *a: 2 * vectorised(*a), noted, *inputs)
    np.testing.assert_allclose(mean, [[-0.5, 0.5]], atol=1e-15)
    np.testing.assert_allclose(noted, [(0.5, 0.125)], atol=1e-15)


def test_missing_discount_is_the_printed_formula():
    report = oracle.policy_gradient_estimator(
        lambda s, a, r, theta, v, g: np.tensordot(
            [sum(g ** (k - t) * r[k] for k in range(t, len(r))) for t in range(len(r))],
            scores(s, a, theta),
            1,
        )
    )
    assert report.deviation.name == "missing_discount"
    assert "(5.15)" in str(report)
    assert report.counterexample.inputs["transitions"].shape == (2, 2, 2)  # one state shows nothing


MUTANTS = mutants(inspect.getsource(loops))
UNBIASED = next(label for label in MUTANTS if label.endswith("0.0 to 1.0"))  # total = 1.0: a baseline of −1


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("label", sorted({*MUTANTS} - {UNBIASED}))
def test_every_mutant_is_rejected(label):
    function = MUTANTS[label]
    function.__globals__["softmax"] = softmax
    report = oracle.policy_gradient_estimator(function, draws=8)
    assert not report.ok, report
    assert report.counterexample is not None


def test_a_mutant_that_has_a_constant_baseline_is_none():
    function = MUTANTS[UNBIASED]
    function.__globals__["softmax"] = softmax
    assert oracle.policy_gradient_estimator(function, draws=8).ok


def test_there_are_enough_mutants():
    assert len(MUTANTS) + len(EXACT.deviations) >= 30


# ---- estimators that do not work


def writes(states, actions, rewards, theta, values, discount):
    rewards *= discount
    return np.zeros(theta.shape)


def writes_theta(states, actions, rewards, theta, values, discount):
    theta += 1
    return np.zeros(theta.shape)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda *a: 1 / 0, "It raised ZeroDivisionError: division by zero."),
        (lambda *a: None, "It returned None, not numbers."),
        (lambda *a: a[2], r"It returned shape \(1,\), not \(1, [12]\)."),
        (lambda *a: 0.0, r"It returned shape \(\), not \(1, [12]\)."),
        (lambda *a: np.full(a[3].shape, np.nan), "It returned nan."),
        (lambda states: states, "It raised TypeError: .*"),
        (writes, "It wrote to its arguments: rewards."),
        (writes_theta, "It wrote to its arguments: theta."),
    ],
)
def test_an_estimator_that_does_not_work_gets_a_report_that_says_so(function, message):
    report = oracle.policy_gradient_estimator(function)
    assert (report.verdict, report.ok) == ("failed", False)
    assert re.fullmatch(message, report.message), report.message


def test_an_estimator_that_draws_is_told_from_one_that_does_not():
    rng = np.random.default_rng(0)
    report = oracle.policy_gradient_estimator(
        lambda *a: vectorised(*a) + rng.normal(size=a[3].shape), draws=8
    )
    assert report.message.startswith("Its results differ from call to call on the same input.")


def test_only_callables_are_checked():
    for name in ("policy_gradient_estimator", "sampled_policy_gradient"):
        with pytest.raises(ArgumentTypeError, match=r"^function must be callable, got int$"):
            getattr(oracle, name)(3)


def test_examples_are_mdps():
    inputs = {
        "transitions": np.full((2, 1, 2), 0.71),
        "start": np.array([0.3, 0.6]),
        "rewards": np.zeros((2, 1)),
    }
    possible = EXACT.repaired(inputs)
    np.testing.assert_array_equal(possible["transitions"], [[[0, 45 / 64]], [[0, 0]]])
    np.testing.assert_array_equal(possible["start"], [26 / 64, 38 / 64])
    assert (
        EXACT.repaired({**inputs, "transitions": np.full((3, 1, 3), 0.71), "start": np.ones(3) / 3}) is None
    )
    assert EXACT.repaired({**inputs, "start": np.array([1.0, 1.0])}) is not None  # 1 − 1 is left
    assert EXACT.repaired({**inputs, "start": np.array([0.0, 2.0])}) is None


# ---- estimates that are drawn


def sampled(estimate):
    """Return a callable that draws one episode."""

    def draw(transitions, rewards, start, theta, values, discount, rng):
        pi, path = softmax(theta), []
        s = rng.choice(len(start), p=start)
        while s < len(start):
            a = rng.choice(len(pi[s]), p=pi[s])
            path.append((s, a, rewards[s, a]))
            s = rng.choice(len(start) + 1, p=np.append(transitions[s, a], 1 - transitions[s, a].sum()))
        states, actions, paid = map(np.array, zip(*path, strict=True))
        return estimate(states, actions, paid, theta, values, discount)

    return draw


def drawn_from(deviation):
    """Return a callable whose mean is the deviation's, with noise."""

    def draw(*inputs):
        *inputs, rng = inputs
        names = list(drawn(SAMPLED, "float64", 1, 0)[0])
        return deviation.function(**dict(zip(names, inputs, strict=True))) + 0.1 * rng.normal()

    return draw


@pytest.mark.parametrize("function", [vectorised, critic_baseline])
def test_a_sampled_estimate_is_accepted(function):
    report = oracle.sampled_policy_gradient(sampled(function), samples=400)
    assert report.ok, report
    assert 0 < report.relative_error < report.tolerance
    assert "400 samples on each of 4 MDPs" in str(report)
    assert report.counterexample is None


def test_sampled_mistakes_are_named():
    def plain(states, actions, rewards, theta, values, discount):
        to_go = [rewards[t:] @ discount ** np.arange(len(rewards) - t) for t in range(len(rewards))]
        return np.tensordot(to_go, scores(states, actions, theta), 1)

    report = oracle.sampled_policy_gradient(sampled(plain), samples=1000, draws=2)
    assert report.deviation.name == "missing_discount", report
    assert report.deviation.component == "sampled_policy_gradient"
    assert report.counterexample.got.shape == report.counterexample.expected.shape
    for deviation in SAMPLED.deviations[::7]:
        found = oracle.sampled_policy_gradient(drawn_from(deviation), samples=30, draws=2).deviation
        assert (
            found is deviation
            or not np.isfinite(deviation.function(**drawn(SAMPLED, "float64", 1, 0)[0])).all()
        )


def test_where_samples_cannot_tell_two_deviations_apart_both_are_said():
    late, _ = (d for d in SAMPLED.deviations if d.name in ("reward_one_step_late", "no_discount"))

    def noisy(*inputs):
        return drawn_from(late)(*inputs) + 1.5 * inputs[-1].normal()

    report = oracle.sampled_policy_gradient(noisy, samples=100)
    assert (report.verdict, "More samples could tell that from: it " in report.message) == ("deviation", True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: -x, "Equal up to the sign, about."),
        (lambda x: 0.1 * x, "Equal up to the factor 0.1, about."),
        (lambda x: x**2 + 3, "Its mean is something else, and no known deviation."),
        (lambda x: 0 * x, "Its mean is something else, and no known deviation."),
    ],
)
def test_other_means_are_told(change, words):
    def estimate(*inputs):
        *inputs, _ = inputs
        names = list(drawn(SAMPLED, "float64", 1, 0)[0])
        return change(SAMPLED.reference(**dict(zip(names, inputs, strict=True))))

    report = oracle.sampled_policy_gradient(estimate, samples=2, draws=2)
    assert report.message.startswith(words), report
    assert not report.ok


def test_an_exact_gradient_has_no_noise_and_is_accepted():
    names = list(drawn(SAMPLED, "float64", 1, 0)[0])
    right = oracle.sampled_policy_gradient(
        lambda *a: SAMPLED.reference(**dict(zip(names, a, strict=False))), samples=2
    )
    assert right.ok


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda *a: [].pop(), "It raised IndexError: pop from empty list."),
        (lambda *a: 1.0, "It returned shape (), not (3, 2)."),
        (lambda *a: np.full((3, 2), np.inf), "It returned nan or an infinity."),
    ],
)
def test_a_sampler_that_does_not_work_gets_a_report_that_says_so(function, message):
    report = oracle.sampled_policy_gradient(function)
    assert (report.verdict, report.message) == ("failed", message)
    assert math.isnan(report.relative_error)
    assert "smallest example" in str(report)


@pytest.mark.parametrize("option", [{"samples": 1}, {"draws": 0}, {"seed": -1}])
def test_other_options_are_refused(option):
    with pytest.raises(ArgumentError, match=rf"^{next(iter(option))} must be a whole number"):
        oracle.sampled_policy_gradient(loops, **option)
