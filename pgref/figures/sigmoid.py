"""One step length in θ, and how different the policies are that it leads between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pgref.arrays import as_batch
from pgref.figures.one_parameter import ALONE, POLICY, logits, probabilities
from pgref.figures.style import COLOURS, GREY, finish, panels


def sigmoid_steps(
    axes: Any = None, *, steps: Sequence[tuple[float, float]] = ((6.0, 3.0), (1.5, -1.5)), lang: str = "en"
) -> tuple[Any, Any]:
    """Draw steps θ → θ′ of one length in parameter space, and in policy space (5.17), with D(π ‖ π′).

    On the left the arrows along the axis are as long as the steps; on the right a policy is a point of the
    segment π(a₀|s) + π(a₁|s) = 1, and an arrow is as long as the policies are far apart.

    Args:
        axes: where to draw two panels, see `pgref.figures`.
        steps: pairs (θ, θ′), at least one.
        lang: of the labels, "en" or "zh".

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: no such pairs, or an argument out of its range.
    """
    pairs = as_batch("steps", steps, (None, 2))
    (left, right), lang = panels(axes, 2, lang)
    reach = max(6.0, abs(pairs).max()) + 1.0
    grid = np.linspace(-reach, reach, 201)
    left.plot(grid, [probabilities(theta)[0] for theta in grid], color=GREY, zorder=1)
    right.plot([0.0, 1.0], [1.0, 0.0], color=GREY, zorder=1)
    for i, (old, new) in enumerate(pairs):
        kl, ends = (
            POLICY.mean_kl(logits(old), logits(new), ALONE),
            np.array([probabilities(old), probabilities(new)]),
        )
        look = {"color": COLOURS[i % len(COLOURS)], "marker": "os^Dv"[i % 5], "linestyle": "none"}
        label = f"θ: {old:g} → {new:g},  D = {kl:.4f}".replace("-", "−")
        left.plot([old, new], ends[:, 0], **look)
        right.plot(*ends.T, label=label, **look)
        low = -0.08 * (i + 1)  # beside the axis
        for ax, tail, head in (left, (old, low), (new, low)), (right, *ends):
            ax.annotate(
                "", head, tail, arrowprops={"arrowstyle": "-|>", "color": look["color"], "linewidth": 1.6}
            )
    left.set_ylim(-0.08 * (len(pairs) + 1), 1.08)
    finish(left, lang, "θ", "π(a₀|s) = σ(θ)", "parameter space", legend=None)
    finish(right, lang, "π(a₀|s)", "π(a₁|s)", "policy space", legend="upper right")
    right.set_aspect("equal")
    return left, right
