"""Theorem 5.1: every bound of the surrogate's error holds, and how much of each is used."""

from __future__ import annotations

import math
from itertools import chain

import numpy as np

from pgref import bounds, instances, mdp
from pgref.checks.finding import Finding, at_least, at_most, larger
from pgref.instances import Instance

SLACK = 1.0 + 1e-12  # rounding
SMALL = (1e-4, 1e-6, 1e-8)  # divergences D → 0
BOUNDS = {
    "printed": "4εγD/(1−γ)²",
    "pinsker": "half of it",
    "total_variation": "4εα²γ/((1−γ)(1−γ(1−α)))",
    "chain": "2εD Σ√t γ^t",
    "cpo_tv": "CPO's with TV",
    "cpo_kl": "CPO's with KL",
    "reversed": "4εγD(π′‖π)/(1−γ)²",
    "reachable": "3εγD/(1−γ)², D over reachable states",
}
WALK = {0.1: 0.452, 0.5: 0.289, 0.9: 0.115, 0.99: 0.035}  # γ: share of the printed bound, to three digits


def bounds_hold(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """|J(π′) − J(π) − L| keeps (5.25) with C = 4εγ/(1−γ)², either order of the KL, and each sharper bound.

    A maximum over the states that π reaches is enough for D(π ‖ π′) with C = 3εγ/(1−γ)².
    """
    worst = dict.fromkeys(BOUNDS, 0.0)
    extremal = [
        instances.tv_tight(0.3, 0.9),
        instances.kl_tight(1e-4, 0.01),
        instances.random_walk(20, 1e-4, 0.1),
        instances.mean_kl_counterexample(),
        instances.unreachable_counterexample(),
    ]
    for instance in chain(extremal, (instances.draw(rng) for _ in range(5 * mdps))):
        m, old, new = instance
        gap, limits = bounds.surrogate_gap(m, new, old), bounds.gap_bounds(m, new, old)
        for name, limit in limits._asdict().items():
            worst[name] = larger(worst[name], _share(gap, limit))
        unit = 4.0 * _epsilon(instance) * m.discount / (1.0 - m.discount) ** 2
        visited = mdp.visitation(m, old) > 0.0
        for name, limit in (
            ("reversed", _times(unit, bounds.max_kl(new, old))),
            ("reachable", _times(0.75 * unit, bounds.kl(old, new)[visited].max())),
        ):
            worst[name] = larger(worst[name], _share(gap, limit))
    return [at_most(f"gap / ({BOUNDS[name]}), largest", share, SLACK) for name, share in worst.items()]


def bounds_are_used(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """The refined TV bound is attained, (5.25) up to .495; as γ → 1 the error grows like (1−γ)^(−3/2) only.

    Random instances stay far below, and in the TV bound the maximum must be over all states.
    """
    tight = [
        _shares(instances.tv_tight(alpha, gamma)).total_variation
        for alpha in (0.01, 0.1, 0.3, 0.5)
        for gamma in (0.01, 0.5, 0.9, 0.99)
    ]
    sharpest = np.max([_shares(instances.kl_tight(d, 0.01)).printed for d in SMALL])
    walks = {g: np.max([_shares(instances.random_walk(150, d, g)).printed for d in SMALL]) for g in WALK}
    d, gamma = 1e-8, 1.0 - 1e-4
    scaled = _gap(instances.random_walk(1200, d, gamma)) * (1.0 - gamma) ** 1.5 / d
    random = [_shares(_dirichlet(rng)).printed for _ in range(max(10, mdps // 2))]
    return [
        at_most(
            "|gap / refined TV bound − 1| on its tight family", np.max([abs(t - 1.0) for t in tight]), 1e-9
        ),
        at_most("|gap / printed − .495| on the KL family, γ = .01, D → 0", abs(sharpest - 0.495), 5e-4),
        *(
            at_most(f"|gap / printed − {s}| on the random walk, γ = {g}", abs(walks[g] - s), 5e-4)
            for g, s in WALK.items()
        ),
        at_most("|gap·(1−γ)^(3/2)/(εD) − √2|, walk, 1−γ = 1e-4", abs(scaled - math.sqrt(2.0)), 1e-3),
        at_most("gap / printed on Dirichlet MDPs, median", np.median(random), 1e-3),
        at_most("gap / printed on Dirichlet MDPs, largest", np.max(random), 0.15),
        at_least("gap / TV bound with α over reachable states only", _reachable_tv_share(), 20.0),
    ]


def mean_is_not_max(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """(5.25) is false with the mean KL of (5.26) for the largest one: by √((1−γ)/γ)/4, 2.49 at γ = .01."""
    instance = instances.mean_kl_counterexample(0.01)
    m, old, new = instance
    unit = 4.0 * _epsilon(instance) * m.discount / (1.0 - m.discount) ** 2
    weighted = float(mdp.visitation(m, old) @ bounds.kl(old, new))
    gap = _gap(instance)
    return [
        at_least("gap / (C Σ_s d(s) KL(s)), d = (1−γ)ρ", gap / (unit * (1.0 - m.discount) * weighted), 2.48),
        at_least("gap / (C Σ_s ρ(s) KL(s)), ρ unnormalised", gap / (unit * weighted), 2.45),
        at_most("gap / (C max_s KL(s))", _shares(instance).printed, SLACK),
    ]


def pinsker(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """TV ≤ √(D/2) in every state, either order of D, and no smaller constant will do."""
    worst = 0.0
    for _ in range(mdps):
        _, old, new = instances.draw(rng)
        tv = bounds.tv(old, new)
        for divergence in (bounds.kl(old, new), bounds.kl(new, old)):
            for variation, limit in zip(tv, np.sqrt(0.5 * divergence), strict=True):
                worst = larger(worst, _share(variation, limit))
    old, new = np.array([[0.5, 0.5]]), np.array([[0.5 + 1e-4, 0.5 - 1e-4]])
    used = bounds.max_tv(old, new) / math.sqrt(0.5 * bounds.max_kl(old, new))
    return [
        at_most("TV / √(D/2), largest", worst, SLACK),
        at_least("TV / √(D/2) at (½, ½) → (½ + x, ½ − x), x = 1e-4", used, 1.0 - 1e-7),
    ]


def _gap(instance: Instance) -> float:
    return bounds.surrogate_gap(instance.mdp, instance.pi_new, instance.pi_old)


def _shares(instance: Instance) -> bounds.GapBounds:
    """Return the gap divided by each bound."""
    gap, limits = _gap(instance), bounds.gap_bounds(instance.mdp, instance.pi_new, instance.pi_old)
    return bounds.GapBounds(*(_share(gap, limit) for limit in limits))


def _share(value: float, limit: float) -> float:
    """Return value/limit, and 0 where both are 0."""
    if value == 0.0:
        return 0.0
    return value / limit if limit else math.inf


def _times(factor: float, divergence: float) -> float:
    return factor * divergence if factor else 0.0


def _epsilon(instance: Instance) -> float:
    return float(abs(mdp.advantages(instance.mdp, instance.pi_old)).max())


def _dirichlet(rng: np.random.Generator) -> Instance:
    m = instances.random_mdp(rng, 6, 3, float(rng.choice([0.5, 0.9, 0.99])))
    old, new = (instances.random_policy(rng, 6, 3) for _ in range(2))
    return Instance(m, old, new)


def _reachable_tv_share() -> float:
    instance = instances.unreachable_counterexample(0.01, 0.9)
    m, old, new = instance
    alpha = bounds.tv(old, new)[mdp.visitation(m, old) > 0.0].max()
    left = 1.0 - m.discount
    bound = 4.0 * _epsilon(instance) * alpha**2 * m.discount / (left * (left + m.discount * alpha))
    return float(_gap(instance) / bound)
