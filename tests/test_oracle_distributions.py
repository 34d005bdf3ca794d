"""The oracle on distributions: every deviation named, every mutant rejected, no false alarm."""

import inspect
import math

import numpy as np
import pytest
from oracles import as_user, components, deviations, mutants, named

from pgref import oracle
from pgref.oracle.compare import check
from pgref.oracle.inputs import unseparated

FAMILY = "distributions"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("component", components(FAMILY), ids=lambda c: c.name)
def test_some_input_tells_every_two_variants_apart(component, dtype):
    assert unseparated(component, dtype) == []


@pytest.mark.parametrize(("component", "deviation"), deviations(FAMILY), ids=lambda x: x.name)
def test_every_deviation_is_named(component, deviation):
    for options in ({}, {"dtype": "float32", "seed": 1}):
        report = named(component, deviation, **options)
        assert (report.verdict, report.deviation) == ("deviation", deviation), report


@pytest.mark.parametrize("component", components(FAMILY), ids=lambda c: c.name)
def test_the_reference_is_accepted(component):
    for dtype in ("float64", "float32"):
        assert check(component, as_user(component, component.reference), dtype=dtype).ok


@pytest.mark.parametrize("floor", [1e-3, 1e-6, 1e-10, 1e-30, float(np.finfo(np.float32).eps)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_floor_of_any_height_is_named(floor, dtype):
    def clamped(logits, actions):
        return np.log(np.clip(softmax(logits)[np.arange(len(actions)), actions], floor, 1 - floor))

    def added(logits, actions):
        return np.log(softmax(logits)[np.arange(len(actions)), actions] + floor)

    for function, name in ((clamped, "clamped_probability"), (added, "epsilon_added")):
        report = oracle.categorical_log_prob(function, dtype=dtype)
        assert report.deviation.name == name, report


@pytest.mark.parametrize("bounds", [(-1, 1), (-2, 2), (-0.4, 1.5)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_clipping_to_any_bounds_is_named(bounds, dtype):
    report = oracle.gaussian_log_prob(lambda m, s, a: normal_log_prob(m, s, np.clip(a, *bounds)), dtype=dtype)
    assert report.deviation.name == "clipped_action"


def test_what_only_looks_like_clipping_is_not_named_so():
    report = oracle.gaussian_log_prob(
        lambda m, s, a: normal_log_prob(m, s, np.clip(a, -1, 1)) + 0.1 * m.sum(1)
    )
    assert report.verdict == "different"
    report = oracle.gaussian_log_prob(lambda m, s, a: np.where(abs(a).max(1) > 99, np.inf, m.sum(1)))
    assert report.verdict == "different"
    odd = lambda z, a: np.log(np.clip(softmax(z)[np.arange(len(a)), a] ** 2, 1e-6, 1))  # noqa: E731
    assert oracle.categorical_log_prob(odd).verdict == "different"


# Correct implementations in several styles.
def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def log_prob_shifted(logits, actions):
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    rows = np.arange(len(actions))
    return shifted[rows, actions] - np.log(np.sum(np.exp(shifted), axis=1))


def log_prob_one_hot(logits, actions):
    from scipy.special import log_softmax

    hot = np.arange(logits.shape[1]) == actions[:, None]
    return np.where(hot, log_softmax(logits, axis=1), 0).sum(axis=1)


def log_prob_loop(logits, actions):
    out = []
    for row, action in zip(logits, actions, strict=True):
        out.append(-np.logaddexp.reduce(row - row[action]))
    return np.array(out)


def entropy_shifted(logits):
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    weights = np.exp(shifted)
    total = np.sum(weights, axis=1)
    return np.log(total) - np.sum(weights * shifted, axis=1) / total


def entropy_entr(logits):
    from scipy.special import entr

    return entr(softmax(logits)).sum(1)


def log_softmax(z):
    shifted = z - np.max(z, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def kl_shifted(z_old, z_new):
    a0 = z_old - np.max(z_old, axis=1, keepdims=True)
    a1 = z_new - np.max(z_new, axis=1, keepdims=True)
    s0 = np.sum(np.exp(a0), axis=1, keepdims=True)
    s1 = np.sum(np.exp(a1), axis=1, keepdims=True)
    return np.sum(np.exp(a0) / s0 * (a0 - np.log(s0) - a1 + np.log(s1)), axis=1)


def kl_cross(z_old, z_new):
    """Return the cross entropy less the entropy."""
    return -(softmax(z_old) * log_softmax(z_new)).sum(1) - entropy_shifted(z_old)


def kl_grad_shifted(z_old, z_new):
    e0 = np.exp(z_old - z_old.max(1, keepdims=True))
    e1 = np.exp(z_new - z_new.max(1, keepdims=True))
    return e1 / np.sum(e1, axis=1, keepdims=True) - e0 / np.sum(e0, axis=1, keepdims=True)


def normal_log_prob(mean, log_std, actions):
    scaled = (actions - mean) / np.exp(log_std)
    return -0.5 * np.sum(scaled**2 + 2 * log_std + np.log(2 * np.pi), axis=1)


def normal_log_prob_loop(mean, log_std, actions):
    out = [0.0] * len(mean)
    for n, d in np.ndindex(mean.shape):
        scaled = (actions[n, d] - mean[n, d]) / math.exp(log_std[n, d])
        out[n] += math.log(math.exp(-scaled * scaled / 2) / math.sqrt(2 * math.pi)) - log_std[n, d]
    return np.array(out)


def normal_entropy(log_std):
    return np.sum(0.5 * np.log(2 * np.pi * np.e * np.exp(2 * log_std)), axis=1)


def normal_kl(mean_old, log_std_old, mean_new, log_std_new):
    var_old, var_new = np.exp(2 * log_std_old), np.exp(2 * log_std_new)
    squares = (var_old + (mean_old - mean_new) ** 2) / (2 * var_new)
    return np.sum(log_std_new - log_std_old + squares - 0.5, axis=1)


def normal_kl_ratio(mean_old, log_std_old, mean_new, log_std_new):
    """As torch.distributions does."""
    s_old, s_new = np.exp(log_std_old), np.exp(log_std_new)
    ratio = (s_old / s_new) ** 2
    return (0.5 * (ratio + ((mean_old - mean_new) / s_new) ** 2 - 1 - np.log(ratio))).sum(1)


def normal_kl_loop(mean_old, log_std_old, mean_new, log_std_new):
    out = np.zeros(len(mean_old), mean_old.dtype)
    for n, d in np.ndindex(mean_old.shape):
        apart = (mean_old[n, d] - mean_new[n, d]) * np.exp(-log_std_new[n, d])
        change = log_std_old[n, d] - log_std_new[n, d]
        out[n] += 0.5 * (np.expm1(2 * change) + apart**2) - change
    return out


def normal_kl_grad(mean_old, log_std_old, mean_new, log_std_new):
    var_old, var_new = np.exp(2 * log_std_old), np.exp(2 * log_std_new)
    apart = mean_new - mean_old
    return apart / var_new, 1 - (var_old + apart**2) / var_new


RIGHT = [
    ("categorical_log_prob", log_prob_shifted),
    ("categorical_log_prob", log_prob_one_hot),
    ("categorical_log_prob", log_prob_loop),
    ("categorical_entropy", entropy_shifted),
    ("categorical_entropy", entropy_entr),
    ("categorical_kl", kl_shifted),
    ("categorical_kl", kl_cross),
    ("categorical_mean_kl", lambda z_old, z_new: kl_shifted(z_old, z_new).mean()),
    ("categorical_kl_grad", kl_grad_shifted),
    ("gaussian_log_prob", normal_log_prob),
    ("gaussian_log_prob", normal_log_prob_loop),
    ("gaussian_entropy", normal_entropy),
    ("gaussian_kl", normal_kl),
    ("gaussian_kl", normal_kl_ratio),
    ("gaussian_kl", normal_kl_loop),
    ("gaussian_mean_kl", lambda *a: normal_kl(*a).mean()),
    ("gaussian_kl_grad", normal_kl_grad),
]


@pytest.mark.parametrize(("name", "function"), RIGHT)
def test_an_implementation_in_another_style_is_accepted(name, function):
    for dtype in ("float64", "float32"):
        report = getattr(oracle, name)(function, dtype=dtype)
        assert report.ok, report


def test_the_kl_of_scipy_is_infinite_on_underflow():
    from scipy.special import rel_entr

    report = oracle.categorical_kl(lambda old, new: rel_entr(softmax(old), softmax(new)).sum(1))
    assert report.deviation.name == "infinite_on_underflow"


MUTANTS = [
    (name, label, function)
    for name, source in (
        ("categorical_log_prob", log_prob_shifted),
        ("categorical_entropy", entropy_shifted),
        ("categorical_kl", kl_shifted),
        ("gaussian_log_prob", normal_log_prob),
        ("gaussian_entropy", normal_entropy),
        ("gaussian_kl", normal_kl),
        ("gaussian_kl_grad", normal_kl_grad),
    )
    for label, function in mutants(inspect.getsource(source)).items()
]


@pytest.mark.parametrize(
    ("name", "label", "function"), MUTANTS, ids=lambda x: x if isinstance(x, str) else ""
)
def test_every_mutant_is_rejected(name, label, function):
    report = getattr(oracle, name)(function, draws=8)
    assert not report.ok
    assert report.counterexample is not None
    assert str(report)


def test_there_are_enough_mutants():
    assert len(MUTANTS) + len(deviations(FAMILY)) >= 120
