"""The oracle on returns and advantages: every deviation named, every mutant rejected, no false alarm."""

import inspect

import numpy as np
import pytest
from oracles import as_user, components, deviations, mutants, named

from pgref import oracle
from pgref.oracle import returns, sums
from pgref.oracle.compare import check
from pgref.oracle.inputs import unseparated

FAMILY = "returns"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("component", components(FAMILY), ids=lambda c: c.name)
def test_some_input_tells_every_two_variants_apart(component, dtype):
    assert unseparated(component, dtype) == []


@pytest.mark.parametrize(("component", "deviation"), deviations(FAMILY), ids=lambda x: x.name)
def test_every_deviation_is_named(component, deviation):
    for options in ({}, {"seed": 1, "dtype": "float32"}):
        report = named(component, deviation, **options)
        assert (report.verdict, report.deviation, report.also) == ("deviation", deviation, None), report


@pytest.mark.parametrize("component", components(FAMILY), ids=lambda c: c.name)
def test_the_reference_is_accepted(component):
    for dtype in ("float64", "float32"):
        assert check(component, as_user(component, component.reference), dtype=dtype).ok


@pytest.mark.parametrize(
    "component", [c for c in components(FAMILY) if c.compose], ids=lambda component: component.name
)
def test_the_sums_with_nothing_changed_are_the_references(component):
    assert check(component, as_user(component, component.compose(lambda parts: parts))).ok


def test_two_deviations_at_once_are_both_named():
    both = sums.changed_gae(lambda p: p._replace(alive=p.alive & p.on, carry=p.discount))
    report = check(returns.GAE, as_user(returns.GAE, both))
    assert {report.deviation.name, report.also.name} == {"truncation_as_termination", "trace_forgotten"}
    assert report.also.name in str(report)
    assert report.as_json()["also"]["name"] == report.also.name


# Correct implementations in several styles: loops over steps and environments, vectorised, double sums.
def gae_loops(rewards, values, next_values, terminated, truncated, discount, trace):
    out = np.zeros_like(rewards)
    for e in range(rewards.shape[1]):
        last = 0.0
        for t in range(len(rewards) - 1, -1, -1):
            going = 1.0 - (terminated[t, e] or truncated[t, e])
            delta = rewards[t, e] + discount * next_values[t, e] * (1 - terminated[t, e]) - values[t, e]
            last = delta + discount * trace * going * last
            out[t, e] = last
    return out


def gae_double_sum(rewards, values, next_values, terminated, truncated, discount, trace):
    delta = rewards + discount * np.where(terminated, 0, next_values) - values
    going = np.logical_not(terminated | truncated)
    out = delta.copy()
    for start in range(len(delta)):
        weight = np.ones_like(delta[0])
        for t in range(start + 1, len(delta)):
            weight = weight * discount * trace * going[t - 1]
            out[start] += weight * delta[t]
    return out


def gae_one_flag(rewards, values, next_values, terminated, truncated, discount, trace):
    """As stable-baselines3 does: V of a cut goes into the reward, V of the next row is used elsewhere."""
    dones = terminated | truncated
    rewards = rewards + discount * next_values * truncated
    ahead = np.append(values[1:], next_values[-1:], axis=0)
    out, last = np.zeros_like(rewards), 0
    for t in reversed(range(len(rewards))):
        last = rewards[t] + (1 - dones[t]) * (discount * ahead[t] + discount * trace * last) - values[t]
        out[t] = last
    return out


def gae_matrix(rewards, values, next_values, terminated, truncated, discount, trace):
    """Solve (I − γλ·shift) Â = δ for every environment."""
    delta = rewards + discount * ~terminated * next_values - values
    out = []
    for d, ends in zip(delta.T, (terminated | truncated).T, strict=True):
        shift = np.diag(np.where(ends[:-1], 0, 1.0), 1)
        out.append(np.linalg.solve(np.eye(len(d)) - discount * trace * shift, d))
    return np.array(out).T


def gae_batch(rewards, values, next_values, terminated, truncated, discount, trace):
    columns = (x.T for x in (rewards, values, next_values, terminated, truncated))
    return gae_loops(*columns, discount, trace).T


@pytest.mark.parametrize("function", [gae_loops, gae_double_sum, gae_one_flag, gae_matrix])
def test_gae_in_any_style_is_accepted(function):
    assert oracle.gae(function).ok
    assert oracle.gae(function, dtype="float32").ok


def test_gae_batch_major_is_accepted_as_such_and_recognised_otherwise():
    assert oracle.gae(gae_batch, layout="batch").ok
    report = oracle.gae(gae_batch)
    assert (report.verdict, report.ok) == ("equal up to", False)
    assert "layout='batch'" in report.message
    wrong = oracle.gae(lambda *a: gae_batch(*a[:-1], 1.0))
    assert wrong.deviation.name == "trace_forgotten"
    assert "layout='batch'" in wrong.message


def returns_loop(rewards, next_values, terminated, truncated, discount):
    out = np.zeros_like(rewards)
    after = next_values[-1]
    for t in reversed(range(len(rewards))):
        after = np.where(terminated[t], 0, np.where(truncated[t], next_values[t], after))
        after = out[t] = rewards[t] + discount * after
    return out


def n_step_loop(rewards, next_values, terminated, truncated, discount, n):
    out = np.zeros_like(rewards)
    for start, e in np.ndindex(rewards.shape):
        for k in range(n):
            t = start + k
            out[start, e] += discount**k * rewards[t, e]
            last = terminated[t, e] or truncated[t, e] or t == len(rewards) - 1 or k == n - 1
            if last:
                out[start, e] += discount ** (k + 1) * next_values[t, e] * (not terminated[t, e])
                break
    return out


def td_where(rewards, values, next_values, terminated, discount):
    return np.where(terminated, rewards, rewards + discount * next_values) - values


def normalise(advantages):
    centred = advantages - np.mean(advantages)
    return centred / np.sqrt(np.mean(centred**2)) if np.any(centred) else centred


def test_other_implementations_are_accepted():
    for dtype in ("float64", "float32"):
        assert oracle.returns_to_go(returns_loop, dtype=dtype).ok
        assert oracle.n_step_returns(n_step_loop, dtype=dtype).ok
        assert oracle.td_errors(td_where, dtype=dtype).ok
        assert oracle.normalise_advantages(normalise, dtype=dtype).ok


MUTANTS = [
    (name, label, function)
    for name, source in (
        ("gae", gae_loops),
        ("returns_to_go", returns_loop),
        ("n_step_returns", n_step_loop),
        ("td_errors", td_where),
        ("normalise_advantages", normalise),
    )
    for label, function in mutants(inspect.getsource(source)).items()
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
    assert len(MUTANTS) + len(deviations(FAMILY)) >= 80
