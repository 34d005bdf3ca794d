"""Results that differ from the right ones by a sign, a factor, an offset, a mean in place of a sum."""

from __future__ import annotations

import numpy as np

from pgref.arrays import Array
from pgref.oracle.inputs import error

Outputs = list[Array]  # one result for each input
LEAST = 1e-6  # a smaller factor is no likeness


@np.errstate(all="ignore")
def factor(got: Outputs, expected: Outputs, tolerance: float) -> float | None:
    """Return c with got = c·expected on all inputs, or None."""
    x, y = (np.concatenate([array.ravel() for array in arrays]) for arrays in (expected, got))
    if not (np.isfinite(x).all() and np.isfinite(y).all() and x.any()):
        return None
    c = float(x @ y / (x @ x))  # not finite where it overflows
    c = float(np.rint(c)) if abs(c - np.rint(c)) < tolerance else c
    return c if LEAST < abs(c) < np.inf and _all_near(got, [c * e for e in expected], tolerance) else None


@np.errstate(all="ignore")
def likeness(got: Outputs, expected: Outputs, sizes: list[dict[str, int]], tolerance: float) -> str:
    """Return what got is off by, "the sign", "the factor 2" …, or "" if it is nothing simple."""
    if any(g.shape != e.shape or not np.isfinite([g, e]).all() for g, e in zip(got, expected, strict=True)):
        return ""
    c = factor(got, expected, tolerance)
    if c is not None:
        return times(c)
    return (
        _reduction(got, expected, sizes, tolerance)
        or _offset(got, expected, tolerance)
        or _of_each_input(got, expected, tolerance)
    )


def times(c: float) -> str:
    """Return a factor in words."""
    return "the sign" if c == -1 else f"the factor {c:.6g}"


def _reduction(got: Outputs, expected: Outputs, sizes: list[dict[str, int]], tolerance: float) -> str:
    letters = sorted({letter for lengths in sizes for letter in lengths})
    for axes in [*letters, "".join(letters)]:
        n = [float(np.prod([lengths[letter] for letter in axes])) for lengths in sizes]
        for power, words in ((1, "a sum where a mean is due"), (-1, "a mean where a sum is due")):
            scaled = [e * k**power for e, k in zip(expected, n, strict=True)]
            c = factor(got, scaled, tolerance)
            if c is not None:
                name = "·".join(axes) if power == 1 else f"1/({'·'.join(axes)})" if axes[1:] else f"1/{axes}"
                return f"the factor {name} ({words})" + ("" if c == 1 else f" and {times(c)}")
    return ""


def _offset(got: Outputs, expected: Outputs, tolerance: float) -> str:
    gap = got[0].ravel()[0] - expected[0].ravel()[0]
    shifted = [e + gap for e in expected]
    return f"the constant {gap:+.6g}" if _all_near(got, shifted, tolerance) else ""


def _of_each_input(got: Outputs, expected: Outputs, tolerance: float) -> str:
    """Say whether each result alone is right but for a factor, or an offset; one entry proves nothing."""
    pairs = [(g, e) for g, e in zip(got, expected, strict=True) if g.size > 1 and e.any()]
    if len(pairs) < 3:
        return ""
    if all(factor([g], [e], tolerance) is not None for g, e in pairs):
        return "a factor that differs from input to input"
    if all(error(g - g.mean(), e - e.mean()) <= tolerance for g, e in pairs):
        return "an offset that differs from input to input"
    return ""


def _all_near(got: Outputs, wanted: Outputs, tolerance: float) -> bool:
    return all(error(g, w) <= tolerance for g, w in zip(got, wanted, strict=True))
