"""Pictures on matplotlib's Agg canvas: what is drawn is what was computed."""

import argparse
import itertools
import re
import sys
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest

from pgref import bounds, cli_figures, concordance, curves, exact, figures, instances, mdp
from pgref.errors import ArgumentError, ArgumentTypeError, MissingExtraError, NotAbsorbingError
from pgref.figures import labels, step_size, style, surrogate, trust

pytestmark = pytest.mark.integration


@pytest.fixture
def plt(peer):
    """Return pyplot without a screen; the figures are closed afterwards."""
    peer("matplotlib").use("Agg")
    pyplot = peer("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


@pytest.fixture
def no_chinese_font(monkeypatch):
    monkeypatch.setattr(style, "chinese_fonts", lambda: [])


# each figure in a second or less
QUICK = {
    "sigmoid_steps": figures.sigmoid_steps,
    "step_size_cliff": partial(figures.step_size_cliff, step_sizes=[1.0, 10.0], kl_limits=[0.01, 0.1]),
    "discounting_bias": partial(figures.discounting_bias, updates=4),
    "theorem_bounds": partial(figures.theorem_bounds, discounts=[0.1, 0.5, 0.9], mdps=3, half_width=5),
    "trust_region": partial(figures.trust_region, points=8),
    "staleness": partial(figures.staleness, updates=300, measured=[0, 1]),
}
PANELS = {name: 1 if name == "trust_region" else 2 for name in QUICK}


@pytest.fixture(params=QUICK)
def name(request):
    return request.param


@pytest.fixture
def draw(name):
    return QUICK[name]


def texts(axes):
    """Return every text that is drawn."""
    from matplotlib.text import Text

    return [t for ax in np.ravel(axes) for t in ax.findobj(Text) if t.get_text()]


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def binary_kl(p, q):
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


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


def test_the_sigmoid_steps_are_of_one_length_and_the_policies_are_not(plt):
    left, right = figures.sigmoid_steps(steps=[(6.0, 3.0), (1.5, -1.5)])
    curve, *steps = left.get_lines()
    assert curve.get_ydata() == pytest.approx(sigmoid(curve.get_xdata()), abs=1e-15)
    segment, *policies = right.get_lines()
    assert np.column_stack(segment.get_data()).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    for step, policy, (old, new) in zip(steps, policies, [(6.0, 3.0), (1.5, -1.5)], strict=True):
        p, q = sigmoid(old), sigmoid(new)
        assert list(step.get_xdata()) == [old, new]
        assert step.get_ydata() == pytest.approx([p, q], abs=1e-15)
        assert np.array(policy.get_data()) == pytest.approx(np.array([[p, q], [1 - p, 1 - q]]), abs=1e-15)
        assert f"D = {binary_kl(p, q):.4f}" in policy.get_label()
    along, across = ([np.subtract(a.xy, a.xyann) for a in ax.texts] for ax in (left, right))
    assert [tuple(a) for a in along] == [(-3.0, 0.0), (-3.0, 0.0)]
    assert np.linalg.norm(across[1]) > 10 * np.linalg.norm(across[0])
    assert [t.get_text() for t in right.get_legend().get_texts()] == [p.get_label() for p in policies]


def test_a_gradient_step_crawls_or_collapses_and_a_trusted_one_does_neither(plt):
    """By hand: J = p(1 − p), dJ/dθ = (1 − 2p)p(1 − p), H = (1 + p)p(1 − p), L = (p′ − p)(1 − 2p)."""
    starts = (-6.0, -2.0)
    left, right = figures.step_size_cliff(starts=starts)
    assert left.get_ylim() == right.get_ylim()
    lines = [[line for line in ax.get_lines() if len(line.get_xdata()) > 2] for ax in (left, right)]
    for x, by_gradient, by_trust in zip(starts, *lines, strict=True):
        p = sigmoid(x)
        etas, after = by_gradient.get_data()
        q = sigmoid(x + etas * (1 - 2 * p) * p * (1 - p))
        assert after == pytest.approx(q * (1 - q), rel=1e-9, abs=1e-15)
        assert after[0] < 1.02 * p * (1 - p)
        assert after[-1] < 1e-3 * p * (1 - p)
        deltas, after = by_trust.get_data()
        for delta, j in zip(deltas, after, strict=True):
            step = np.sqrt(2 * delta / ((1 + p) * p * (1 - p)))
            while (1 + p) * binary_kl(p, q := sigmoid(x + step)) > delta:
                step /= 2
            assert j == pytest.approx(q * (1 - q), rel=1e-8)
            assert j > 1.005 * p * (1 - p)


def test_the_printed_gradient_points_down_and_ends_at_the_worst_policy(plt):
    """By hand: J = ¾ + p/4, and without γ^t the slope is (1 − 1.5)p(1 − p)."""
    left, right = figures.discounting_bias(updates=30, step=16.0)
    slopes, climbs = left.get_lines()[:2], right.get_lines()
    for slope, climb, factor, label in zip(slopes, climbs, (0.25, -0.5), ("5.28", "5.15"), strict=True):
        p = np.array(slope.get_xdata())
        assert slope.get_ydata() == pytest.approx(factor * p * (1 - p), abs=1e-14)
        x, returns = 0.0, []
        for _ in range(31):
            q = sigmoid(x)
            returns.append(0.75 + q / 4)
            x += 16.0 * factor * q * (1 - q)
        assert climb.get_ydata() == pytest.approx(returns, abs=1e-12)
        assert label in slope.get_label()
    assert climbs[0].get_ydata()[-1] > 0.99
    assert climbs[1].get_ydata()[-1] < 0.76


def test_the_error_is_below_every_bound_at_every_discount(plt):
    axes = figures.theorem_bounds(mdps=5, divergence=1e-2, half_width=60)
    for ax in axes:
        *limits, gap = (np.array(line.get_ydata()) for line in ax.get_lines())
        assert len(limits) == len(bounds.GapBounds._fields) == len(surrogate.LINES)
        assert all((gap <= limit * (1 + 1e-12)).all() for limit in limits)
    (band,) = axes[0].collections
    low, high = band.get_paths()[0].get_extents().intervaly
    gap = axes[0].get_lines()[-1].get_ydata()
    assert low < min(gap)
    assert high > max(gap)


def test_each_line_is_the_bound_that_its_label_says(plt):
    assert tuple(surrogate.LINES) == bounds.GapBounds._fields
    gammas = np.array([0.1, 0.5, 0.9])
    for ax in figures.theorem_bounds(discounts=gammas, mdps=3, divergence=1e-2, half_width=30):
        lines = [line.get_ydata() for line in ax.get_lines()]
        t = np.arange(1, 2000)[:, None]
        assert lines[0] == pytest.approx(4 * gammas / (1 - gammas) ** 2, rel=1e-12)
        assert lines[1] == pytest.approx(2 * gammas / (1 - gammas) ** 2, rel=1e-12)
        assert lines[3] == pytest.approx(2 * (np.sqrt(t) * gammas**t).sum(axis=0), rel=1e-12)
    d, widest = 1e-2, np.sqrt(-np.expm1(-2e-2)) / 2  # α: π′ = (½ + x, ½ − x), D = −½ log(1 − 4x²)
    assert lines[2] == pytest.approx(
        4 * widest**2 * gammas / ((1 - gammas) * (1 - gammas * (1 - widest))) / d
    )
    for gamma, drawn in zip(gammas, lines[-1], strict=True):
        m, old, new = instances.random_walk(30, d, gamma)
        change = mdp.expected_return(m, new) - mdp.expected_return(m, old)
        assert drawn == pytest.approx(abs(change - bounds.local_surrogate(m, new, old)) / d, rel=1e-9)


def plane(ax):
    """Return what the trust region shows, by label, relative to the start, and the start."""
    found = {line.get_label(): np.column_stack(line.get_data()) for line in ax.get_lines()}
    start = found["closed-form step Δ"][0]
    return {label: points - start for label, points in found.items()}, start


def test_the_ellipses_are_those_of_the_hessian_and_the_step_solves_the_problem(plt):
    m, delta = instances.random_mdp(np.random.default_rng(4), 3, 2, 0.8), 0.3
    seen = np.linspace(-1, 1, 3)[:, None]
    shown, start = plane(figures.trust_region(mdp=m, theta=(1.0, 0.5), kl_limit=delta, points=5))
    assert start.tolist() == [1.0, 0.5]
    theta = trust.PLANE @ start
    rho = mdp.visitation(m, exact.policy_matrix(m, trust.POLICY, theta, seen))
    h = trust.PLANE.T @ trust.POLICY.mean_kl_hessian(theta, theta, seen, rho) @ trust.PLANE
    g = [
        exact.parametrised_return(m, trust.POLICY, theta + 1e-20j * e, seen).imag / 1e-20
        for e in trust.PLANE.T
    ]
    for label, value in (("½ΔᵀHΔ = δ", 2 * delta), ("ΔᵀHΔ = δ, as printed", delta)):
        assert np.einsum("ni,ij,nj->n", shown[label], h, shown[label]) == pytest.approx(value, rel=1e-10)
    x = np.linalg.solve(h, g)
    step = np.sqrt(2 * delta / (g @ x)) * x
    assert shown["closed-form step Δ"][1] == pytest.approx(step, rel=1e-9)
    origin, first, last = shown["conjugate gradients"]
    assert origin.tolist() == [0.0, 0.0]
    assert last == pytest.approx(step, rel=1e-9)
    assert first / np.linalg.norm(first) == pytest.approx(g / np.linalg.norm(g), rel=1e-9)


@pytest.mark.parametrize(("theta", "limit", "tries"), [((-2.0, 1.0), 1.0, 2), ((0.0, 0.0), 0.1, 1)])
def test_the_line_search_halves_the_step_until_the_true_kl_allows_it(plt, theta, limit, tries):
    shown, start = plane(ax := figures.trust_region(theta=theta, kl_limit=limit))
    m = instances.random_mdp(np.random.default_rng(9), 4, 2, 0.9)
    seen = np.linspace(-1, 1, 4)[:, None]
    rho = mdp.visitation(m, exact.policy_matrix(m, trust.POLICY, trust.PLANE @ start, seen))

    def kl(points):
        p, q = (sigmoid(seen[:, 0] * w + b) for w, b in (start, start + points))
        return rho @ binary_kl(p, q)

    step = shown["closed-form step Δ"][1]
    tried = [*shown["line search: refused"], *shown["line search: accepted"]]
    assert len(tried) == tries
    assert len(shown["line search: accepted"]) == 1
    assert np.array(tried) == pytest.approx(np.array([step / 2**j for j in range(tries)]), abs=1e-12)
    assert [kl(point) <= limit for point in tried] == [False] * (tries - 1) + [True]
    contour = ax.collections[-1].get_paths()[0].vertices
    assert len(contour) > 50
    assert np.array([kl(point - start) for point in contour]) == pytest.approx(limit, rel=0.01)


def test_a_refused_search_is_shown_without_an_accepted_step(plt, monkeypatch):
    def never(evaluate, theta, step, *, kl_limit):
        return real(lambda t: (-evaluate(t)[0], 0.0), theta, step, kl_limit=kl_limit)

    real = trust.natural.line_search
    monkeypatch.setattr(trust.natural, "line_search", never)
    shown, _ = plane(figures.trust_region(points=5))
    assert [len(shown[f"line search: {kind}"]) for kind in ("refused", "accepted")] == [10, 0]


def test_the_bars_are_shares_and_the_law_is_geometric(plt):
    left, _ = figures.staleness(workers=3, measured=[0, 0, 1, 5], updates=40_000)
    simulated, measured = ([bar.get_height() for bar in bars] for bars in left.containers)
    law = [(1 / 3) * (2 / 3) ** k for k in range(15)]
    assert left.get_lines()[0].get_ydata() == pytest.approx(law, rel=1e-13)
    assert measured == [0.5, 0.25, 0.0, 0.0, 0.0, 0.25] + [0.0] * 9
    assert simulated == pytest.approx(law, abs=5 * np.sqrt(3 * 0.25 / 40_000))  # events depend on few others
    assert [t.get_text() for t in left.get_legend().get_texts()][1:] == ["simulated", "measured"]


def test_expected_iterates_are_means_over_all_orders_of_finishing_and_a_heavy_ball(plt):
    _, right = figures.staleness(workers=2, step=0.4, curvature=1.5, w0=2.0, n=6, updates=10)
    *single, expected, ball = (line.get_ydata() for line in right.get_lines())
    assert len(single) == 5
    paths = []
    for order in itertools.product(range(2), repeat=6):
        path, read = [2.0], [2.0, 2.0]
        for worker in order:
            path.append(path[-1] - 0.6 * read[worker])
            read[worker] = path[-1]
        paths.append(path)
    assert expected == pytest.approx(np.mean(paths, axis=0), rel=1e-13)
    moves = [2.0, 2.0 - 0.6 * 2.0]
    for _ in range(5):
        moves.append(moves[-1] + 0.5 * (moves[-1] - moves[-2]) - 0.3 * moves[-1])
    assert ball == pytest.approx(moves, rel=1e-12)
    assert all(min(np.abs(np.array(paths) - path).max(axis=1)) < 1e-12 for path in single)


def test_random_figures_are_drawn_with_the_generator_given(plt):
    def first(draw, seed):
        ax = draw(rng=None if seed is None else np.random.default_rng(seed))[0]
        bars = [bar.get_height() for bar in ax.patches]
        return bars or ax.get_lines()[-1].get_ydata().tolist()

    for draw in (QUICK["staleness"], QUICK["theorem_bounds"]):
        assert first(draw, None) == first(draw, None)
        assert first(draw, 7) == first(draw, 7) != first(draw, None)


def test_the_axes_given_are_drawn_on_also_twice_and_nothing_else_is_made(plt, name, draw):
    figure, axes = plt.subplots(1, PANELS[name])
    for _ in range(2):
        assert list(np.ravel(np.array(draw(axes)))) == list(np.ravel(np.array(axes)))
    assert plt.get_fignums() == [figure.number]


def test_a_figure_given_gets_the_panels_and_without_one_pyplot_makes_it(plt, name, draw):
    figure = plt.matplotlib.figure.Figure()
    assert list(np.ravel(np.array(draw(figure)))) == figure.axes
    assert len(figure.axes) == PANELS[name]
    assert plt.get_fignums() == []
    drawn = np.ravel(np.array(draw()))
    assert len(drawn) == PANELS[name]
    assert plt.get_fignums() == [drawn[0].figure.number]


def test_each_panel_says_what_it_shows_and_one_explains_the_lines(plt, draw):
    axes = np.ravel(np.array(draw()))
    for ax in axes:
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert ax.get_title()
    assert axes[-1].get_legend()
    for ax in axes:
        handles, names = ax.get_legend_handles_labels()
        assert len(handles) == len(set(names))


def test_chinese_labels_get_a_chinese_font_after_the_usual_ones(plt, draw, monkeypatch):
    import matplotlib

    monkeypatch.setattr(style, "chinese_fonts", lambda: ["Some CJK", "Another"])
    axes = draw(lang="zh")
    chinese = [t for t in texts(axes) if re.search("[\u4e00-\u9fff]", t.get_text())]
    assert len(chinese) >= 2
    assert all(t.get_fontfamily() == [*matplotlib.rcParams["font.family"], "Some CJK"] for t in chinese)
    english = {t.get_text() for t in texts(draw())}
    left = {t.get_text() for t in texts(axes)} & english
    assert not [text for text in left if re.search("[a-z]{4}", text)], "a label without its Chinese"


def test_the_chinese_fonts_are_those_installed_the_best_first(plt, monkeypatch):
    from matplotlib import font_manager

    names = [*reversed(style.CHINESE_FONTS), "DejaVu Sans"]
    entries = [font_manager.FontEntry(name=name) for name in names]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    assert style.chinese_fonts() == list(style.CHINESE_FONTS)


def test_every_translation_is_of_a_label_that_is_drawn(plt):
    drawn = {t.get_text() for function in QUICK.values() for t in texts(function())}
    drawn |= {t.get_text() for t in texts(figures.learning_curves({"a": [run(0)]}))}
    for key in labels.CHINESE:
        key = key.format(window=100, level=0.95)
        assert any(key in text for text in drawn), key


def test_without_a_chinese_font_a_picture_is_lettered_in_english(plt, draw, no_chinese_font, tmp_path):
    axes = draw(lang="zh")
    assert [t.get_text() for t in texts(axes)] == [t.get_text() for t in texts(draw())]
    np.ravel(np.array(axes))[0].figure.savefig(tmp_path / "picture.png", dpi=20)  # a warning would fail


def test_learning_curves_speak_chinese(plt, monkeypatch):
    monkeypatch.setattr(style, "chinese_fonts", lambda: ["Some CJK"])
    ax = figures.learning_curves({"a": [run(0)]}, lang="zh", window=7, level=0.9)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("环境步数", "7 个回合的平均回报（IQM，90% 区间）")


def test_an_svg_is_chinese_without_a_font_for_it(plt, no_chinese_font):
    assert "参数空间" in figures.as_svg(figures.sigmoid_steps, lang="zh")


def test_an_svg_stands_by_itself_and_its_ids_carry_the_prefix(plt, name):
    text = figures.as_svg(getattr(figures, name), prefix="I-9.")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(set(ids)) == len(ids) > 10
    assert all(i.startswith("I-9.") for i in ids)
    uses = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert {a or b for a, b in uses} <= set(ids)
    addresses = set(re.findall(r'https?://[^"\s<]+', text))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert root.findall(".//{http://www.w3.org/2000/svg}text")
    assert len(text.encode()) < 60_000
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", ["discounting_bias", "trust_region", "staleness"])
def test_an_svg_is_the_same_every_time_and_settings_neither_count_nor_change(plt, draw):
    import matplotlib

    plain = figures.as_svg(draw)
    with matplotlib.rc_context({"svg.hashsalt": "other", "font.size": 20, "axes.facecolor": "black"}):
        before = matplotlib.rcParams.copy()
        assert figures.as_svg(draw) == plain
        draw(lang="zh")
        assert matplotlib.rcParams == before


def test_an_svg_of_learning_curves(plt):
    assert ">ppo<" in figures.as_svg(partial(figures.learning_curves, {"ppo": [run(0)]}))


def test_items_of_the_concordance_have_their_figures():
    known = [item.id for item in concordance.ITEMS]
    assert list(figures.ITEMS) == [i for i in known if i in figures.ITEMS]
    assert figures.for_item("I-12") is figures.step_size_cliff
    assert figures.for_item("I-1") is None
    assert figures.for_item("none such") is None


def test_the_command_writes_each_figure_and_names_its_items(plt, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "ITEMS", {"I-13": figures.sigmoid_steps, "I-14": figures.sigmoid_steps})
    parser = argparse.ArgumentParser()
    cli_figures.add(parser.add_subparsers())
    folder = tmp_path / "new" / "folder"
    arguments = parser.parse_args(["figures", str(folder), "--lang", "zh"])
    assert arguments.run(arguments) == 0
    assert capsys.readouterr().out == f"{folder / 'sigmoid_steps.svg'}: I-13, I-14\n"
    written = (folder / "sigmoid_steps.svg").read_text(encoding="utf-8")
    assert written == figures.as_svg(figures.sigmoid_steps, lang="zh")


FAULTS = [
    (figures.sigmoid_steps, {"lang": "fr"}, "lang must be en or zh, got 'fr'"),
    (figures.sigmoid_steps, {"axes": "here"}, "must be 2 of matplotlib's, or a Figure, got 'here'"),
    (figures.sigmoid_steps, {"steps": []}, "steps must have shape"),
    (figures.sigmoid_steps, {"steps": np.zeros((0, 2))}, "empty batch"),
    (figures.sigmoid_steps, {"steps": [(1.0, np.nan)]}, "steps must be finite"),
    (figures.step_size_cliff, {"starts": []}, "empty batch"),
    (figures.step_size_cliff, {"step_sizes": [0.0, 1.0]}, r"step_sizes must rise and lie in \(0, inf\)"),
    (figures.step_size_cliff, {"kl_limits": [1.0, 1.0]}, r"kl_limits must rise and lie in \(0, inf\)"),
    (figures.step_size_cliff, {"kl_limits": []}, r"kl_limits must rise and lie in \(0, inf\)"),
    (figures.step_size_cliff, {"mdp": instances.random_mdp(np.random.default_rng(0))}, "must have shape"),
    (figures.discounting_bias, {"updates": 0}, "updates must be a whole number of at least 1, got 0"),
    (figures.discounting_bias, {"step": 0.0}, "step must be positive and finite, got 0.0"),
    (figures.discounting_bias, {"theta": np.inf}, "theta must be finite, got inf"),
    (figures.theorem_bounds, {"discounts": [0.5, 1.0]}, r"discounts must rise and lie in \(0, 1\)"),
    (figures.theorem_bounds, {"mdps": 0}, "mdps must be a whole number of at least 1, got 0"),
    (figures.theorem_bounds, {"divergence": -1.0}, "divergence must be positive and finite, got -1.0"),
    (figures.theorem_bounds, {"half_width": 0}, "half_width must be a whole number of at least 1, got 0"),
    (figures.trust_region, {"theta": (1.0,)}, "theta must have shape"),
    (figures.trust_region, {"kl_limit": 0.0}, "kl_limit must be positive and finite, got 0.0"),
    (figures.trust_region, {"points": 1}, "points must be a whole number of at least 2, got 1"),
    (
        figures.trust_region,
        {"mdp": mdp.TabularMDP(np.full((2, 2, 2), 0.5), np.zeros((2, 2)), np.full(2, 0.5), 0.5)},
        "mdp must have a gradient and two states that differ, got H of rank 2, g = ",
    ),
    (
        figures.trust_region,
        {"mdp": mdp.TabularMDP(np.ones((1, 2, 1)), np.eye(2)[:1], np.ones(1), 0.5)},
        "got H of rank 1",
    ),
    (figures.staleness, {"workers": 0}, "workers must be a whole number of at least 1, got 0"),
    (figures.staleness, {"step": 0.0}, "step must be positive and finite, got 0.0"),
    (figures.staleness, {"curvature": np.nan}, "curvature must be finite, got nan"),
    (figures.staleness, {"w0": np.inf}, "w0 must be finite, got inf"),
    (figures.staleness, {"n": -1}, "n must be a whole number of at least 0, got -1"),
    (figures.staleness, {"updates": 0}, "updates must be a whole number of at least 1, got 0"),
    (figures.staleness, {"measured": np.zeros(0, int)}, "measured must hold whole numbers of at least 0"),
    (figures.staleness, {"measured": [-1]}, r"measured must hold whole numbers of at least 0, got \[-1\]"),
]


@pytest.mark.parametrize(("function", "arguments", "message"), FAULTS)
def test_a_faulty_argument_is_named_before_a_figure_is_made(plt, function, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        function(**arguments)
    assert plt.get_fignums() == []


def test_shares_are_no_counts_of_staleness(plt):
    with pytest.raises(ArgumentTypeError, match="measured must hold integers"):
        figures.staleness(measured=[0.5])


def test_two_panels_do_not_fit_on_one(plt):
    with pytest.raises(ArgumentError, match="must be 2 of matplotlib's"):
        figures.staleness(plt.subplots()[1], updates=10)


def test_the_printed_gradient_diverges_where_the_policy_never_ends(plt):
    with pytest.raises(NotAbsorbingError, match="closed class"):
        figures.discounting_bias(mdp=instances.random_mdp(np.random.default_rng(0), 3, 2))


def test_an_mdp_of_ones_own_is_drawn(plt):
    m = instances.random_mdp(np.random.default_rng(0), 3, 2, 0.5, ending=0.5)
    for draw in ("step_size_cliff", "discounting_bias", "trust_region"):
        QUICK[draw](mdp=m)
    assert step_size.expected_return(m, 800.0) == pytest.approx(
        mdp.expected_return(m, np.tile([1.0, 0.0], (3, 1)))
    )


def test_without_matplotlib_an_svg_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r'pip install "pgref\[plot\]"'):
        figures.as_svg(figures.sigmoid_steps)
