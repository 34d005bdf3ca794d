"""Pictures on matplotlib's Agg canvas: what is drawn is what was computed."""

import sys

import numpy as np
import pytest

from pgref import curves, figures
from pgref.errors import ArgumentError, MissingExtraError

pytestmark = pytest.mark.integration


@pytest.fixture
def plt(peer):
    """Return pyplot without a screen; the figures are closed afterwards."""
    peer("matplotlib").use("Agg")
    pyplot = peer("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


def run(seed, updates=30):
    rng = np.random.default_rng(seed)
    return [
        {"updates": n, "steps": 64 * n, "episodes": n % 3, "mean_return": rng.normal(n) if n % 3 else None}
        for n in range(1, updates + 1)
    ]


def test_the_line_is_the_interquartile_mean_inside_its_band(plt):
    seeds = [run(seed, 20 + seed) for seed in range(5)]
    ax = figures.learning_curves({"ppo": seeds}, window=4, points=17)
    (line,), (band,) = ax.get_lines(), ax.collections
    grid, middle = line.get_data()
    assert (grid[0], grid[-1], len(grid)) == (64.0, 20 * 64.0, 17)
    values = np.array([curves.learning_curve(rows, grid, 4) for rows in seeds])
    assert np.array_equal(middle, curves.iqm(values))
    low, high = curves.bootstrap_interval(values, curves.iqm, np.random.default_rng(0))
    edges = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert edges >= set(zip(grid, low, strict=True)) | set(zip(grid, high, strict=True))
    assert ax.get_legend().get_texts()[0].get_text() == "ppo"
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "environment steps",
        "mean return of 4 episodes (IQM, 95% band)",
    )


def test_the_given_axes_are_drawn_on_and_the_canvas_can_be_saved(plt, tmp_path):
    figure, ax = plt.subplots()
    assert figures.learning_curves({"a": [run(0)], "b": [run(1), run(2)]}, ax) is ax
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_band_is_drawn_with_the_generator_given(plt):
    def corners(rng):
        ax = figures.learning_curves({"a": [run(seed) for seed in range(8)]}, rng=rng)
        return ax.collections[0].get_paths()[0].vertices

    assert np.array_equal(corners(None), corners(None))
    assert np.array_equal(corners(np.random.default_rng(7)), corners(np.random.default_rng(7)))
    assert not np.array_equal(corners(None), corners(np.random.default_rng(7)))


def test_lines_differ_in_colour_or_dashes(plt):
    many = len(figures.COLOURS) + 2
    lines = figures.learning_curves({str(i): [run(i)] for i in range(many)}, points=3).get_lines()
    styles = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(lines) == len(styles) == many


def test_the_colours_are_those_of_okabe_and_ito():
    published = (
        (0, 0, 0),
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    )
    assert {tuple(bytes.fromhex(colour[1:])) for colour in figures.COLOURS} == set(published)
    assert len(figures.COLOURS) == len(published)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({}, "runs must have at least one label"),
        ({"a": []}, r"runs\['a'\] must have a finished episode in each run, and at least one run"),
        ({"a": [run(0), run(0)[2:3]]}, r"runs\['a'\] must have a finished episode in each run"),
        ({"a": [run(0)[:2], run(0)[6:]]}, r"runs\['a'\] must share some steps, got one that ends at 128"),
        ({"a": [[{"steps": 1}]]}, "got row 0 without episodes"),
    ],
)
def test_nothing_to_draw_is_said_before_a_figure_is_made(plt, runs, message):
    with pytest.raises(ArgumentError, match=message):
        figures.learning_curves(runs)
    assert plt.get_fignums() == []


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r'pip install "pgref\[plot\]"'):
        figures.learning_curves({"a": [run(0)]})
