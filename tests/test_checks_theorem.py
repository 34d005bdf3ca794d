"""The checks of Theorem 5.1 pass, and each rejects a bound or a distance that is nearly right."""

import numpy as np
import pytest
from checking import checks_of

from pgref import bounds, instances, mdp
from pgref.checks import theorem


def scaled(name, factor):
    """Gap bounds of which one is too small by a factor."""
    return lambda f: lambda *a: f(*a)._replace(**{name: factor * getattr(f(*a), name)})


def without_discount(f):
    def wrong(m, new, old):
        return bounds.GapBounds(*(b * (1 - m.discount) for b in f(m, new, old)))

    return wrong


def reachable_only(f):
    """All maxima over the states that π reaches."""

    def wrong(m, new, old):
        visited = mdp.visitation(m, old) > 0
        return f(m, np.where(visited[:, None], new, old), old)

    return wrong


MUTANTS = [  # check, function, a wrong one in its place, given the right one
    (theorem.bounds_hold, "gap_bounds", scaled("printed", 0.45)),
    (theorem.bounds_hold, "gap_bounds", scaled("pinsker", 0.9)),
    (theorem.bounds_hold, "gap_bounds", scaled("total_variation", 0.99)),
    (theorem.bounds_hold, "gap_bounds", scaled("chain", 0.9)),
    (theorem.bounds_hold, "gap_bounds", scaled("cpo_tv", 0.9)),
    (theorem.bounds_hold, "gap_bounds", scaled("cpo_kl", 0.9)),
    (theorem.bounds_hold, "gap_bounds", scaled("chain", np.nan)),
    (theorem.bounds_hold, "gap_bounds", without_discount),
    (theorem.bounds_hold, "gap_bounds", reachable_only),
    (theorem.bounds_hold, "surrogate_gap", lambda f: lambda m, new, old: f(m, new, old) / (1 - m.discount)),
    (theorem.bounds_hold, "surrogate_gap", lambda f: lambda *a: np.nan),
    (theorem.bounds_hold, "max_kl", lambda f: lambda p, q: 0.4 * f(p, q)),
    (theorem.bounds_hold, "kl", lambda f: lambda p, q: 0.1 * f(p, q)),
    (theorem.bounds_are_used, "surrogate_gap", lambda f: lambda *a: 0.0),
    (theorem.bounds_are_used, "gap_bounds", scaled("total_variation", 1.001)),
    (theorem.bounds_are_used, "gap_bounds", scaled("printed", 2.0)),
    (theorem.bounds_are_used, "gap_bounds", scaled("printed", np.nan)),
    (theorem.bounds_are_used, "tv", lambda f: lambda p, q: np.maximum(f(p, q), f(p, q).max())),
    (theorem.mean_is_not_max, "kl", lambda f: lambda p, q: np.maximum(f(p, q), f(p, q).max())),
    (theorem.mean_is_not_max, "surrogate_gap", lambda f: lambda *a: 0.5 * f(*a)),
    (theorem.mean_is_not_max, "gap_bounds", scaled("printed", 1e-9)),
    (theorem.pinsker, "kl", lambda f: lambda p, q: 0.99 * f(p, q)),
    (theorem.pinsker, "tv", lambda f: lambda p, q: 2.0 * f(p, q)),
    (theorem.pinsker, "max_kl", lambda f: lambda p, q: 1.01 * f(p, q)),
]


@pytest.mark.parametrize(("check", "name", "wrong"), MUTANTS)
def test_check_rejects_a_wrong_formula(monkeypatch, check, name, wrong):
    names = {k: staticmethod(v) if callable(v) else v for k, v in vars(bounds).items()}
    names[name] = staticmethod(wrong(getattr(bounds, name)))
    monkeypatch.setattr(theorem, "bounds", type("Wrong", (), names))
    assert not all(f.ok for f in check(np.random.default_rng(0), 10))


def test_every_check_has_a_mutant():
    assert {check for check, _, _ in MUTANTS} == checks_of(theorem)


def test_families_that_no_longer_reach_the_bounds_are_noticed(monkeypatch):
    monkeypatch.setattr(theorem.instances, "random_walk", lambda n, d, g: instances.kl_tight(d, g))
    assert not all(f.ok for f in theorem.bounds_are_used(np.random.default_rng(0), 4))


@pytest.mark.parametrize(
    ("value", "limit", "share"), [(0.0, 0.0, 0.0), (1.0, 2.0, 0.5), (1.0, 0.0, np.inf), (1.0, np.inf, 0.0)]
)
def test_share_of_a_bound(value, limit, share):
    assert theorem._share(value, limit) == share
