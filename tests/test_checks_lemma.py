"""The checks of Lemma 5.1 and L pass, and each rejects formulas that are nearly right."""

import dataclasses

import numpy as np
import pytest
from checking import checks_of

from pgref import bounds, mdp
from pgref.checks import lemma


def original(name):
    module, function = name.split(".")
    return getattr({"bounds": bounds, "mdp": mdp}[module], function)


def negative(f):
    return lambda *arguments: -f(*arguments)


def exchanged(f):
    return lambda m, new, old: f(m, old, new)


def normalised(f):
    return lambda m, *arguments: f(m, *arguments) * (1 - m.discount)


def with_return(f):
    return lambda m, new, old: f(m, new, old) + mdp.expected_return(m, old)


def discounted_by(discount):
    return lambda f: lambda m, *arguments: f(dataclasses.replace(m, discount=discount), *arguments)


def scaled(factor):
    return lambda f: lambda *arguments: factor * f(*arguments)


def instead(function):
    return lambda f: function


MUTANTS = [  # check, function, what makes a wrong one of it
    (lemma.performance_difference, "bounds.performance_difference", negative),
    (lemma.performance_difference, "bounds.performance_difference", instead(bounds.local_surrogate)),
    (lemma.performance_difference, "bounds.performance_difference", exchanged),
    (lemma.performance_difference, "bounds.performance_difference", scaled(np.nan)),
    (lemma.performance_difference, "mdp.expected_return", normalised),
    (lemma.same_maximiser, "bounds.performance_difference", negative),
    (lemma.same_maximiser, "bounds.performance_difference", instead(bounds.local_surrogate)),
    (lemma.paths_and_states, "bounds.trajectory_sum", discounted_by(0.8)),
    (lemma.paths_and_states, "mdp.visitation", normalised),
    (lemma.paths_and_states, "mdp.advantages", instead(mdp.action_values)),
    (lemma.state_approximation, "bounds.local_surrogate", instead(bounds.performance_difference)),
    (lemma.state_approximation, "bounds.local_surrogate", with_return),
    (lemma.state_approximation, "bounds.surrogate_gap", lambda f: lambda *a: f(*a) ** 0.5),
    (lemma.state_approximation, "bounds.surrogate_gap", scaled(0.9)),
    (lemma.importance_weights, "bounds.importance_surrogate", instead(bounds.local_surrogate)),
    (lemma.importance_weights, "bounds.importance_surrogate", exchanged),
    (lemma.importance_weights, "bounds.trajectory_sum", discounted_by(0.8)),
    (lemma.importance_weights, "mdp.visitation", normalised),
    (lemma.surrogate_excludes_return, "bounds.importance_surrogate", with_return),
    (lemma.surrogate_excludes_return, "bounds.importance_surrogate", normalised),
    (lemma.surrogate_excludes_return, "mdp.expected_return", scaled(0.0)),
    (lemma.learned_baseline, "mdp.expected_next", lambda f: lambda m, v: np.zeros_like(m.rewards)),
    (lemma.learned_baseline, "mdp.state_values", scaled(0.0)),
    (lemma.learned_baseline, "mdp.visitation", normalised),
    (lemma.finite_horizon, "bounds.trajectory_sum", discounted_by(1.0)),
    (lemma.finite_horizon, "bounds.performance_difference", instead(bounds.local_surrogate)),
    (lemma.finite_horizon, "mdp.arrivals", scaled(0.99)),
]


@pytest.mark.parametrize(("check", "name", "wrong"), MUTANTS)
def test_check_rejects_a_wrong_formula(monkeypatch, check, name, wrong):
    module, function = name.split(".")
    monkeypatch.setattr(lemma, "bounds", _copy(bounds))
    monkeypatch.setattr(lemma, "mdp", _copy(mdp))
    monkeypatch.setattr(getattr(lemma, module), function, wrong(original(name)))
    assert not all(f.ok for f in check(np.random.default_rng(0), 20))


def test_every_check_has_a_mutant():
    assert {check for check, _, _ in MUTANTS} == checks_of(lemma)


def _copy(module):
    """The module's names in a fresh namespace, so that only the check sees the wrong function."""
    return type("Copy", (), {k: staticmethod(v) if callable(v) else v for k, v in vars(module).items()})
