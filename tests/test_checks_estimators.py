"""The checks of the estimators pass on the code as it is and fail on each of a set of plausible mistakes."""

import math

import numpy as np
import pytest
from checking import rejected

from pgref import estimates, natural
from pgref.checks import estimators

# --- mistakes in the line search -------------------------------------------------------------------------


def searching(accept, *, keep=False):
    """Return a line search that accepts by another rule, or that keeps the last step tried when refused."""

    def line_search(evaluate, theta, step, *, kl_limit):
        for tries in range(10):
            candidate = theta + 0.5**tries * step
            improvement, kl = evaluate(candidate)
            if accept(improvement, kl, kl_limit):
                return natural.LineSearchResult(candidate, True, tries + 1, improvement, kl, "accepted")
        return natural.LineSearchResult(candidate if keep else theta, False, 10, 0.0, 0.0, "refused")

    return line_search


LINE_SEARCHES = {
    "correct": (searching(lambda improvement, kl, limit: improvement > 0 and kl <= limit), ""),
    "the full step": (searching(lambda improvement, kl, limit: math.isfinite(improvement)), "KL/δ"),
    "no look at the KL": (searching(lambda improvement, kl, limit: improvement > 0), "KL/δ"),
    "no look at the surrogate": (searching(lambda improvement, kl, limit: kl <= limit), "changed a bit"),
    "surrogate and KL swapped": (
        searching(lambda improvement, kl, limit: kl > 0 and improvement <= limit),
        "changed a bit",
    ),
    "refused but moved": (
        searching(lambda improvement, kl, limit: improvement > 0 and kl <= limit, keep=True),
        "changed a bit",
    ),
    "NaN accepted": (
        searching(lambda improvement, kl, limit: not (improvement <= 0 or kl > limit)),
        "changed a bit",
    ),
    "never accepts": (searching(lambda improvement, kl, limit: False), "L of an accepted step"),
}


@pytest.mark.parametrize("mistake", LINE_SEARCHES)
def test_the_check_of_the_line_search_rejects(mistake, rng, monkeypatch):
    line_search, what = LINE_SEARCHES[mistake]
    monkeypatch.setattr(natural, "line_search", line_search)
    found = rejected(estimators.line_search_guards, rng, 50)
    assert any(what in name for name in found) if what else not found


def test_the_check_of_the_line_search_rejects_a_step_without_its_root(rng, monkeypatch):
    def natural_step(product, x, *, kl_limit):
        return 2.0 * kl_limit / float(x @ product(x)) * x * 0.01

    monkeypatch.setattr(natural, "natural_step", natural_step)
    assert "KL/δ of the full step where π = (1−1e−4, 1e−4)" in rejected(
        estimators.line_search_guards, rng, 50
    )


# --- mistakes in the estimates ---------------------------------------------------------------------------


def td_errors(rewards, values, next_values, terminated, discount):
    return rewards + discount * ~terminated * next_values - values


def summed(terms, factor, ended):
    terms = terms.copy()
    for t in range(len(terms) - 2, -1, -1):
        terms[t] += factor * ~ended[t] * terms[t + 1]
    return terms


def gae(rewards, values, next_values, terminated, truncated, discount, trace):
    return summed(
        td_errors(rewards, values, next_values, terminated, discount),
        discount * trace,
        terminated | truncated,
    )


def gae_without_discount(r, v, w, terminated, truncated, discount, trace):
    return summed(td_errors(r, v, w, terminated, discount), trace, terminated | truncated)


def gae_that_sums_across_cuts(r, v, w, terminated, truncated, discount, trace):
    return summed(td_errors(r, v, w, terminated, discount), discount * trace, terminated)


def gae_where_a_cut_ends(r, v, w, terminated, truncated, discount, trace):
    return gae(r, v, w, terminated | truncated, truncated, discount, trace)


def gae_with_the_next_row_for_the_final_observation(r, v, w, terminated, truncated, discount, trace):
    return gae(r, v, np.vstack([v[1:], w[-1:]]), terminated, truncated, discount, trace)


def gae_whose_last_row_ends(r, v, w, terminated, truncated, discount, trace):
    last = np.zeros_like(terminated)
    last[-1] = True
    return gae(r, v, w, terminated | last, truncated, discount, trace)


GAES = {
    "correct": gae,
    "γλ is λ": gae_without_discount,
    "sums across cuts": gae_that_sums_across_cuts,
    "a cut taken for an end": gae_where_a_cut_ends,
    "V of the reset": gae_with_the_next_row_for_the_final_observation,
    "no bootstrap at the end of the segment": gae_whose_last_row_ends,
}


@pytest.mark.parametrize("mistake", GAES)
def test_the_check_of_gae_rejects(mistake, rng, monkeypatch):
    monkeypatch.setattr(estimates, "gae", GAES[mistake])
    assert bool(rejected(estimators.generalised_advantage, rng, 50)) == (mistake != "correct")


@pytest.mark.parametrize("mistake", ["correct", "a cut taken for an end", "V of the reset"])
def test_the_check_of_cut_offs_rejects_a_gae_with(mistake, rng, monkeypatch):
    monkeypatch.setattr(estimates, "gae", GAES[mistake])
    found = rejected(estimators.bootstrap_at_cut_off, rng, 50)
    assert found == ([] if mistake == "correct" else ["|GAE(λ)|, V exact"])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda r, v, w, terminated, discount: r + discount * w - v,  # as if nothing ever ended
        lambda r, v, w, terminated, discount: r + ~terminated * w - v,  # without γ
        lambda r, v, w, terminated, discount: r + discount * terminated * w - v,  # the mask inverted
        lambda r, v, w, terminated, discount: v - r - discount * ~terminated * w,  # the sign
    ],
)
def test_the_check_of_cut_offs_rejects_wrong_td_errors(wrong, rng, monkeypatch):
    monkeypatch.setattr(estimates, "td_errors", wrong)
    assert rejected(estimators.bootstrap_at_cut_off, rng, 50)


@pytest.mark.parametrize("check", [estimators.generalised_advantage, estimators.bootstrap_at_cut_off])
def test_the_checks_reject_returns_that_are_0_after_a_cut(check, rng, monkeypatch):
    def returns_to_go(rewards, next_values, terminated, truncated, discount):
        return summed(rewards, discount, terminated | truncated)

    monkeypatch.setattr(estimates, "returns_to_go", returns_to_go)
    assert any("|G − " in what for what in rejected(check, rng, 50))


def test_a_nan_is_never_a_pass(rng, monkeypatch):
    monkeypatch.setattr(estimates, "gae", lambda r, *rest: np.full_like(r, np.nan))
    assert "|GAE(λ) − Σ(γλ)^l δ|" in rejected(estimators.generalised_advantage, rng, 50)
    assert rejected(estimators.bootstrap_at_cut_off, rng, 50) == ["|GAE(λ)|, V exact"]
