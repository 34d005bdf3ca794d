"""The oracle on losses: every deviation named, its gradient that of its loss, every mutant rejected."""

import inspect

import numpy as np
import pytest
from oracles import as_user, components, deviations, mutants, named

from pgref import oracle
from pgref.errors import ArgumentError
from pgref.oracle.compare import check
from pgref.oracle.inputs import drawn, evaluated, unseparated

COMPONENTS = [*components("losses"), *components("value_losses")]
DEVIATIONS = [*deviations("losses"), *deviations("value_losses")]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_some_input_tells_every_two_variants_apart(component, dtype):
    assert unseparated(component, dtype) == []


@pytest.mark.parametrize(("component", "deviation"), DEVIATIONS, ids=lambda x: x.name)
def test_every_deviation_is_named(component, deviation):
    for options in ({}, {"seed": 1, "dtype": "float32"}):
        report = named(component, deviation, **options)
        assert (report.verdict, report.deviation, report.also) == ("deviation", deviation, None), report


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_the_reference_is_accepted(component):
    for dtype in ("float64", "float32"):
        assert check(component, as_user(component, component.reference), dtype=dtype).ok


def slope(function, inputs, name):
    """Return the gradient of a loss in one of its inputs, by central differences."""
    grad, step = np.zeros_like(inputs[name]), 1e-6
    for index in np.ndindex(grad.shape):
        shifted = []
        for sign in (1, -1):
            moved = inputs[name].copy()
            moved[index] += sign * step
            shifted.append(evaluated(function, {**inputs, name: moved}))
        grad[index] = (shifted[0] - shifted[1]) / (2 * step)
    return grad


PAIRS = [
    ("ppo_loss", "ppo_loss_grad", "log_probs"),
    ("value_loss", "value_loss_grad", "values"),
    ("clipped_value_loss", "clipped_value_loss_grad", "values"),
]


@pytest.mark.parametrize(("loss", "grad", "of"), PAIRS, ids=lambda x: x)
def test_gradients_are_those_of_the_losses_deviation_by_deviation(loss, grad, of):
    """Where a loss and a gradient have a deviation of the same name, it is the same mistake."""
    by_name = {c.name: c for c in COMPONENTS}
    losses = {"reference": by_name[loss].reference}
    losses |= {d.name: d.function for d in by_name[loss].deviations}
    grads = {"reference": by_name[grad].reference}
    grads |= {d.name: d.function for d in by_name[grad].deviations}
    common = losses.keys() & grads.keys()
    assert len(common) >= 5
    for name in common:
        for inputs in drawn(by_name[loss], "float64", 12, 7)[2:]:  # after the edge cases, some at a kink
            expected = slope(losses[name], inputs, of)
            np.testing.assert_allclose(evaluated(grads[name], inputs), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["policy_gradient_loss", "policy_gradient_loss_grad"])
def test_the_mean_is_checked_on_request_and_the_sum_then_named(name):
    component = next(c for c in COMPONENTS if c.name == name)
    total = as_user(component, component.reference)

    def mean(*arguments):
        return total(*arguments) / len(arguments[-1])

    check_it = getattr(oracle, name)
    assert check_it(mean, reduction="mean").ok
    assert "(1/N)" in check_it(mean, reduction="mean").formula
    assert check_it(mean).deviation.name == "mean"
    assert check_it(total, reduction="mean").deviation.name == "sum"
    with pytest.raises(ArgumentError, match=r"^reduction must be 'sum' or 'mean', got 'none'$"):
        check_it(total, reduction="none")


@pytest.mark.parametrize("deviation", ["probability_for_log", "mean_of_each"])
def test_deviations_of_the_sum_are_those_of_the_mean_too(deviation):
    component = next(c for c in COMPONENTS if c.name == "policy_gradient_loss")
    wrong = as_user(component, next(d for d in component.deviations if d.name == deviation).function)
    report = oracle.policy_gradient_loss(lambda *a: wrong(*a) / len(a[0]), reduction="mean")
    assert report.deviation.name == deviation


# Correct implementations in other styles than the package's.
def policy_gradient_loss(log_probs, advantages):
    return -sum(p * a for p, a in zip(log_probs, advantages, strict=True))


def policy_gradient_loss_grad(logits, actions, advantages):
    out = np.zeros_like(logits)
    for n, z in enumerate(logits):
        p = np.exp(z)
        p = p / np.sum(p)
        out[n] = p * advantages[n]
        out[n, actions[n]] -= advantages[n]
    return out


def ppo_loss(log_probs, old_log_probs, advantages, clip):
    ratio = np.exp(log_probs - old_log_probs)
    edge = np.where(advantages > 0, 1 + clip, 1 - clip)
    return -np.mean(np.minimum(ratio * advantages, edge * advantages))


def ppo_loss_grad(log_probs, old_log_probs, advantages, clip):
    ratio = np.exp(log_probs - old_log_probs)
    active = np.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    return -np.where(active, 0, ratio * advantages) / len(ratio)


def value_loss(values, targets):
    return np.dot(values - targets, values - targets) / values.size


def value_loss_grad(values, targets):
    return (values - targets) * 2 / values.size


def clipped_value_loss(values, targets, old_values, clip):
    near = np.minimum(np.maximum(values, old_values - clip), old_values + clip)
    return np.mean(np.maximum((values - targets) ** 2, (near - targets) ** 2))


def clipped_value_loss_grad(values, targets, old_values, clip):
    near = np.minimum(np.maximum(values, old_values - clip), old_values + clip)
    frozen = np.abs(near - targets) > np.abs(values - targets)
    return np.where(frozen, 0, (values - targets) * 2 / values.size)


def td_loss_grad(table, states, rewards, next_states, terminated, discount):
    out = np.zeros_like(table)
    for s, r, then, end in zip(states, rewards, next_states, terminated, strict=True):
        target = r if end else r + discount * table[then]
        out[s] += (table[s] - target) * 2
    return out


def actor_critic_loss_grad(values, log_probs, targets):
    return values + values - targets - targets


STYLES = [
    policy_gradient_loss,
    policy_gradient_loss_grad,
    ppo_loss,
    ppo_loss_grad,
    value_loss,
    value_loss_grad,
    clipped_value_loss,
    clipped_value_loss_grad,
    td_loss_grad,
    actor_critic_loss_grad,
]


@pytest.mark.parametrize("function", STYLES, ids=lambda f: f.__name__)
def test_other_implementations_are_accepted(function):
    for options in ({}, {"dtype": "float32"}, {"seed": 5, "draws": 100}):
        assert getattr(oracle, function.__name__)(function, **options).ok


MUTANTS = [
    (function.__name__, label, mutant)
    for function in STYLES
    for label, mutant in mutants(inspect.getsource(function)).items()
]


@pytest.mark.parametrize(
    ("name", "label", "function"), MUTANTS, ids=lambda x: x if isinstance(x, str) else ""
)
def test_every_mutant_is_rejected(name, label, function):
    report = getattr(oracle, name)(function)
    assert not report.ok
    assert report.counterexample is not None
    assert str(report)


def test_there_are_enough_mutants():
    assert len(MUTANTS) + len(DEVIATIONS) >= 100
