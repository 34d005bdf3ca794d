"""How far the surrogate L is off, and what bounds that (Theorem 5.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pgref import bounds, instances
from pgref.arrays import Vector, count, positive
from pgref.figures.style import BLACK, COLOURS, GREY, finish, increasing, panels, same_height, word
from pgref.instances import Instance
from pgref.mdp import advantages

DISCOUNTS = 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.997, 0.999
TICKS = 0.01, 0.1, 0.5, 0.9, 0.99, 0.999
GAP = "|J(π′) − J(π) − L|"
LINES = {  # for each bound its label, dashes and marker
    "printed": ("4εγD/(1−γ)², (5.25)", "-", "s"),
    "pinsker": ("half of it", "--", "D"),
    "total_variation": ("4εα²γ/((1−γ)(1−γ(1−α)))", "-.", "^"),
    "chain": ("2εD Σ√t γᵗ", ":", "v"),
    "cpo_tv": ("CPO's with TV", (0, (5, 1, 1, 1, 1, 1)), "<"),
    "cpo_kl": ("CPO's with KL", (0, (1, 1)), ">"),
}


def theorem_bounds(
    axes: Any = None,
    *,
    discounts: Any = DISCOUNTS,
    mdps: int = 40,
    divergence: float = 1e-4,
    half_width: int = 100,
    rng: np.random.Generator | None = None,
    lang: str = "en",
) -> tuple[Any, Any]:
    """Draw |J(π′) − J(π) − L| and its bounds against γ: Theorem 5.1 (5.25) and five sharper ones, over εD.

    On the left medians over random MDPs, and a band that holds all their errors; on the right
    `instances.random_walk`, whose error grows as fast as any known.

    Args:
        axes: where to draw two panels, see `pgref.figures`.
        discounts: γ in (0, 1), rising.
        mdps: how many random MDPs for each γ.
        divergence: D of the random walk, in nats.
        half_width: of the random walk; far above (1−γ)^(−½), or its ends are felt.
        rng: draws the MDPs; None gives the same ones every time.
        lang: of the labels, "en" or "zh".

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: an argument out of its range.
    """
    gammas, mdps = increasing("discounts", discounts, 1.0), count("mdps", mdps)
    divergence, half_width = positive("divergence", divergence), count("half_width", half_width)
    rng = np.random.default_rng(0) if rng is None else rng
    random = np.array([[_sides(_dirichlet(rng, float(g))) for _ in range(mdps)] for g in gammas])
    walk = np.array([_sides(instances.random_walk(half_width, divergence, float(g))) for g in gammas])
    (left, right), lang = panels(axes, 2, lang)
    gaps = random[:, :, 0]
    left.fill_between(gammas, gaps.min(axis=1), gaps.max(axis=1), color=GREY, alpha=0.25, linewidth=0)
    for ax, sides in (left, np.median(random, axis=1)), (right, walk):
        for i, (label, dash, marker) in enumerate(LINES.values()):
            style = {"linestyle": dash, "marker": marker, "markersize": 3.5, "color": COLOURS[i]}
            ax.plot(gammas, sides[:, 1 + i], label=word(label, lang), **style)
        ax.plot(gammas, sides[:, 0], "o-", color=BLACK, linewidth=2.0, markersize=4, label=GAP)
        ax.set_xscale("logit")
        ax.set_yscale("log")
        ticks = [g for g in TICKS if gammas[0] <= g <= gammas[-1]]
        ax.set_xticks(ticks, [f"{g:g}" for g in ticks])
        ax.minorticks_off()
    same_height(left, right)
    finish(left, lang, "γ", "in units of εD", "random MDPs: medians", legend=None)
    finish(right, lang, "γ", "in units of εD", "random walk", legend="upper left")
    return left, right


def _dirichlet(rng: np.random.Generator, discount: float) -> Instance:
    mdp = instances.random_mdp(rng, 6, 3, discount)
    return Instance(mdp, *(instances.random_policy(rng, 6, 3) for _ in range(2)))


def _sides(instance: Instance) -> Vector:
    """Return the left side of (5.25), then each bound, [7], over ε = max |A| and D = max KL."""
    mdp, old, new = instance
    unit = abs(advantages(mdp, old)).max() * bounds.max_kl(old, new)
    limits = bounds.gap_bounds(mdp, new, old)._asdict()
    sides = [bounds.surrogate_gap(mdp, new, old), *(limits[name] for name in LINES)]
    return np.asarray(np.array(sides) / unit)
