"""The page without a browser: structure, both languages, escaping; LaTeX and figures are stood in for."""

import base64
import hashlib
import inspect
import os
import re
import subprocess
import sys
import types
import zipfile
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pgref import book, cli, figures
from pgref.book import Outcome
from pgref.checks import vanilla
from pgref.checks.finding import at_least, at_most
from pgref.errors import ArgumentError, MissingExtraError
from pgref.report import page as pages
from pgref.report import source, words
from pgref.report.formulas import FORMULAS
from pgref.report.mathml import converter

ITEMS = book.items()
VOID = {"meta", "link", "input"}
STATED = {"date": "2001-02-03", "mdps": 7, "seed": 9}
STAND_IN = """
from html import escape
def convert(latex, display):
    return f"<math>{escape(latex)}</math>"
"""
GREEK = dict(zip("αβγδεηθλμνπρτφψΔΠΣ", [
    r"\alpha", r"\beta", r"\gamma", r"\delta", r"\varepsilon", r"\eta", r"\theta", r"\lambda", r"\mu",
    r"\nu", r"\pi", r"\rho", r"\tau", r"\varphi", r"\psi", r"\Delta", r"\Pi", r"\sum",
], strict=True))  # fmt: skip


class Reader(HTMLParser):
    """Checks that tags are balanced; collects elements (tag, attributes, text), and the text by language."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text = [], [], {"en": "", "zh-Hans": ""}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        element = (tag, dict(attributes), [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for element in self.open:
            element[2].append(data)
        tags = [tag for tag, _, _ in self.open]
        inside = [a["lang"] for _, a, _ in self.open if "lang" in a][1:]
        if "body" in tags and "script" not in tags:
            for lang in inside or self.text:
                self.text[lang] += data

    def all(self, tag, **wanted):
        return [
            (attributes, "".join(text))
            for name, attributes, text in self.elements
            if name == tag and wanted.items() <= attributes.items()
        ]


def stand_ins(patch):
    """Replace latex2mathml, and the figures; return the list of what will have been drawn."""
    module, calls = types.ModuleType("latex2mathml.converter"), []
    exec(STAND_IN, vars(module))
    patch.setitem(sys.modules, "latex2mathml", types.ModuleType("latex2mathml"))
    patch.setitem(sys.modules, "latex2mathml.converter", module)

    def svg(draw, *, prefix="", lang):
        calls.append((draw, lang))
        width = 800 if draw == "two" else 400
        return f'<svg width="{width}pt"><g id="{prefix}a"></g><use href="#{prefix}a"></use></svg>'

    patch.setattr(figures, "for_item", {"I-9": "one", "I-12": "one", "I-21": "two"}.get)
    patch.setattr(figures, "as_svg", svg)
    return calls


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """The list of what was drawn."""
    return stand_ins(monkeypatch)


def outcomes(items=ITEMS):
    found = at_most("|a − b| < c & d", 2e-15, 1e-12), at_least("gap <b>", 0.5, 0.25)
    return [Outcome(item, found) for item in items]


def made(items=ITEMS, lang="en", **changed):
    return pages.page(outcomes(items), lang=lang, **{**STATED, **changed})


@pytest.fixture(scope="module")
def full():
    """Return the page on all items; without the stand-ins of a single test."""
    with pytest.MonkeyPatch.context() as patch:
        stand_ins(patch)
        return made()


def test_every_item_is_there_with_all_that_is_known_of_it(full):
    found = dict((a["id"], text) for a, text in Reader(full).all("article"))
    assert list(found) == [item.id for item in ITEMS]
    for item in ITEMS:
        text = found[item.id]
        lines = [*FORMULAS[item.id].right, *FORMULAS[item.id].printed]
        for part in (item.title, item.title_zh, item.verdict, item.note, item.note_zh, *lines):
            assert part in text, (item.id, part)
        for number in item.numbers:
            assert (f"({number})" if number[0].isdigit() else number) in text
        for name in [*item.code, *(f"checks.{name}" for name in item.checks)]:
            assert f"pgref.{name.replace(':', '.')}" in text
            assert inspect.getsource(book.resolve(name)).splitlines()[-1].strip() in text
        assert "2e-15≤\xa01e-12" in text
        assert "0.5≥\xa00.25" in text
        assert ("as printed书中写法" in text, "as it is right" in text) == (bool(item.printed),) * 2


def test_the_formulas_are_those_of_the_concordance():
    assert list(FORMULAS) == [item.id for item in ITEMS]
    for item in ITEMS:
        formula = FORMULAS[item.id]
        assert bool(formula.printed) == bool(item.printed)
        assert formula.right != formula.printed
        latex = " ".join(formula.right)
        letters = set(item.formula) & set(GREEK)
        assert [c for c in letters if not re.search(rf"{re.escape(GREEK[c])}(?![a-z])", latex)] == [], item.id
        for line in (*formula.right, *formula.printed):
            assert line.count("{") == line.count("}")
            assert len(re.findall(r"\\left\b", line)) == len(re.findall(r"\\right\b", line))


def test_names_of_elements_are_unique_and_every_link_has_its_target(full):
    elements = Reader(full).elements
    ids = [attributes["id"] for _, attributes, _ in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a[key].removeprefix("#") for _, a, _ in elements for key in ("href", "for") if key in a}
    assert links - {"data:,"} <= set(ids)
    assert {item.id for item in ITEMS} <= links
    labels = {a[key] for _, a, _ in elements for key in ("aria-labelledby", "for") if key in a}
    assert labels <= set(ids)


def test_nothing_is_asked_of_a_network(full):
    for tag, attributes, _ in Reader(full).elements:
        for name, value in attributes.items():
            if name.partition(":")[0] != "xmlns":
                assert "//" not in (value or ""), (tag, name)
            assert name not in ("src", "srcset", "action", "style")
            assert not name.startswith("on")
    style = "".join(text for _, text in Reader(full).all("style"))
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_of_the_page_allows_its_script_alone(full):
    ((_, script),) = Reader(full).all("script")
    ((policy, _),) = Reader(full).all("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.split(None, 1) for rule in policy["content"].split("; "))
    assert rules["default-src"] == "'none'"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert not re.search(r"\beval\b|innerHTML|fetch|XMLHttp|import\(|\bopen\(", script)


def test_what_is_said_is_said_in_both_languages(full):
    spans = [(a["lang"], t) for a, t in Reader(full).all("span") if "lang" in a]
    assert [lang for lang, _ in spans] == ["en", "zh-Hans"] * (len(spans) // 2)
    assert all(text.strip() for _, text in spans)
    text = Reader(full).text
    for english, chinese in words.CHINESE.items():
        attribute = english == pages.PLACEHOLDER
        only_at_fault = re.search("missed|matplotlib|installation", english)
        for lang, said in (("en", english), ("zh-Hans", chinese)):
            assert attribute or only_at_fault or said in text[lang], said
    (search,) = Reader(full).all("input")
    assert search[0]["data-placeholder-zh-hans"] == words.CHINESE[search[0]["data-placeholder-en"]]
    named = {name for item in ITEMS for name in item.numbers}
    assert {name.split()[0] for name in named if re.match(r"[a-z]|.* 5\.", name)} <= set(words.KINDS)


@pytest.mark.parametrize(
    ("lang", "code", "title"),
    [("en", "en", "The policy-gradient chapter, verified"), ("zh", "zh-Hans", "策略梯度一章：逐条验证")],
)
def test_the_language_asked_for_is_the_first_shown(lang, code, title):
    found = Reader(made(ITEMS[:1], lang))
    assert found.all("html")[0][0]["lang"] == code
    assert found.all("title")[0][1] == title
    (search,) = found.all("input")
    assert search[0]["placeholder"] == search[0][f"data-placeholder-{code.lower()}"]


def test_another_language_is_refused():
    with pytest.raises(ArgumentError, match="lang must be en or zh, got 'fr'"):
        made(lang="fr")


def test_the_head_says_which_run_it_was(full):
    ((_, head),) = Reader(full).all("header")
    for part in (
        "38/38 items hold个条目成立,， 76 findings项测量",
        "date日期2001-02-03",
        "seed随机种子9",
        "每项检查的随机实例7",
        "pgref0.",
        "numpy",
    ):
        assert part in head
    assert "&lt;today&gt;" in made(ITEMS[:1], date="<today>")


def test_the_same_run_gives_the_same_page(full):
    assert made() == full
    assert made(seed=8) != full


def test_contents_and_parts_follow_the_items(full):
    found = Reader(full)
    ((_, contents),) = found.all("nav")
    assert [a["href"] for a, _ in found.all("a") if a["href"] != "#items"] == [
        *(f"#{item.id}" for item in ITEMS),
    ] * 2
    for name, section in pages.PARTS.values():
        assert name in contents
        assert section in contents
    assert len(found.all("section", **{"class": "part"})) == len(pages.PARTS)


def test_a_selection_keeps_its_parts():
    found = Reader(made([item for item in ITEMS if item.id in ("I-10", "A-1")]))
    assert [a["id"] for a, _ in found.all("article")] == ["A-1", "I-10"]
    assert [text for _, text in found.all("h2")] == [
        "The Worker of A2CA2C 的 Worker §\xa05.5",
        "Vanilla policy gradient初版策略梯度 §\xa05.7",
    ]


def test_a_miss_is_seen_in_the_head_the_contents_and_the_item():
    bad = Outcome(ITEMS[1], (at_most("a", float("nan"), 1), at_most("b", 0, 1)))
    found = Reader(pages.page([outcomes()[0], bad, Outcome(ITEMS[2], ())], **STATED))
    assert found.all("p", **{"class": "total missed"})[0][1].startswith("✗")
    assert "1/3" in found.all("header")[0][1]
    assert [text[0] for a, text in found.all("span") if a.get("class") in ("kept", "missed")] == list(
        "✓✗✗✓✗✗"
    )
    assert [a["class"] for a, _ in found.all("tr") if a] == ["kept", "kept", "missed", "kept"]
    assert "nothing measured" in found.all("article")[2][1]


def test_every_word_that_finds_an_item_is_in_it(full):
    found = {a["id"]: a["data-find"] for a, _ in Reader(full).all("article")}
    for query, ids in {
        "5.18": {"I-15"},
        "i-26": {"I-26"},
        "lemma 5.1": {"I-15", "I-11"},
        "策略性能差": {"I-15"},
        "natural:natural_step": {"I-26"},
        "勘误": {item.id for item in ITEMS if item.verdict == "erratum"},
    }.items():
        assert {i for i, text in found.items() if all(w in text for w in query.split())} >= ids, query
    assert "5.18" not in " ".join(text for i, text in found.items() if i != "I-15")


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_a_listing_without_its_tags_is_the_source(item):
    for name in [*item.code, *(f"checks.{name}" for name in item.checks)]:
        box = source.listing(name)
        shown = unescape(re.sub("</?[bi]>", "", box[box.index("<code>", box.index("<pre>")) + 6 :]))
        text = shown.removesuffix("</code></pre></details>")
        assert text == inspect.cleandoc("\n" + inspect.getsource(book.resolve(name))) + "\n"
        path, line = re.search(r"<small>(.*):(.*)</small>", box).groups()
        lines = (Path(book.__file__).parent.parent / path).read_text(encoding="utf-8").splitlines()
        assert lines[int(line) - 1].strip() == text.splitlines()[0]
        Reader(box)


def test_sources_are_escaped_and_told_apart():
    text = 'if a < b and "<i>" & c:  # a > b\n    pass\n'
    assert source.highlighted(text) == (
        "<b>if</b> a &lt; b <b>and</b> <i>&quot;&lt;i&gt;&quot;</i> &amp; c:  <i># a &gt; b</i>\n"
        "    <b>pass</b>\n"
    )


@pytest.mark.parametrize("fault", [OSError("could not get source code"), TypeError("built-in")])
def test_without_sources_the_page_says_so(monkeypatch, fault):
    def none(target):
        raise fault

    monkeypatch.setattr(inspect, "getsourcelines", none)
    text = made(ITEMS[:1])
    Reader(text)
    assert text.count("The source is not available in this installation.") == 3
    assert text.count("此安装中没有源代码。") == 3
    assert "pgref.objectives.score_objective" in text


def test_figures_are_drawn_once_a_language_and_stand_where_they_belong(drawn):
    found = Reader(made())
    assert sorted(drawn) == [("one", "en"), ("one", "zh"), ("two", "en"), ("two", "zh")]
    assert [a["id"] for a, _ in found.all("g")] == [
        f"{item}-{lang}-a" for item in ("I-9", "I-12", "I-21") for lang in ("en", "zh")
    ]
    assert [(a["lang"], a.get("class")) for a, _ in found.all("figure")] == [
        ("en", None),
        ("zh-Hans", None),
        ("en", None),
        ("zh-Hans", None),
        ("en", "wide"),
        ("zh-Hans", "wide"),
    ]
    assert {"One step size in θ is unsafe", "参数空间的单一步长不可靠"} < {
        a["aria-label"] for a, _ in found.all("svg", role="img")
    }


def test_without_matplotlib_the_place_of_the_figure_says_what_to_install(monkeypatch):
    def missing(*arguments, **options):
        raise MissingExtraError("no matplotlib")

    monkeypatch.setattr(figures, "as_svg", missing)
    found = Reader(made())
    assert [text for _, text in found.all("figure", **{"class": "missing"})] == [
        'The figure needs matplotlib:此图需要 matplotlib： pip install "pgref[plot]"'
    ] * 3
    assert len(found.all("article")) == len(ITEMS)


def test_without_latex2mathml_the_error_names_the_extra(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    with pytest.raises(MissingExtraError, match=r'pip install "pgref\[report\]"'):
        converter()
    monkeypatch.setattr(book, "run", lambda item, **options: pytest.fail("measured first"))
    for command in ("report", "verify"):
        assert cli.main([command, "--html", str(tmp_path / "a.html")]) == 2
        assert capsys.readouterr().err == 'pgref: the page needs latex2mathml: pip install "pgref[report]"\n'
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def one(monkeypatch):
    """Only one item, so that the commands are quick."""
    monkeypatch.setattr(book, "items", lambda: tuple(book.find("I-13")))
    monkeypatch.setattr(book, "find", lambda key: [item for item in ITEMS if item.id == key])


def test_report_writes_what_it_measured(one, tmp_path, capsys):
    path = tmp_path / "chapter.html"
    assert cli.main(["report", "--html", str(path), "--mdps", "4", "--rng", "3", "--lang", "zh"]) == 0
    text = path.read_text(encoding="utf-8")
    assert capsys.readouterr().out == f"{path}: 1/1 个条目成立, {len(text.encode())} bytes\n"
    findings = book.run(ITEMS[[item.id for item in ITEMS].index("I-13")], mdps=4, seed=3).findings
    for finding in findings:
        assert escape(finding.what) in text
        assert f"<td>{finding.value:.3g}</td>" in text
    assert 'lang="zh-Hans"' in text
    assert re.search(r"<dd>20\d\d-\d\d-\d\d</dd>", text)


def test_report_of_a_miss_exits_1(one, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(vanilla, "policy_space", lambda rng, mdps: [at_most("off", 2, 1)])
    assert cli.main(["report", "--html", str(tmp_path / "a.html")]) == 1
    assert "0/1 items hold" in capsys.readouterr().out
    assert "✗" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_verify_writes_the_same_page_of_its_own_run(one, tmp_path, capsys):
    a, b = tmp_path / "a.html", tmp_path / "b.html"
    assert cli.main(["report", "--html", str(a), "--mdps", "4", "--rng", "3"]) == 0
    assert cli.main(["verify", "--html", str(b), "--mdps", "4", "--rng", "3"]) == 0
    assert a.read_text(encoding="utf-8") == b.read_text(encoding="utf-8")
    assert "1/1 items hold" in capsys.readouterr().out


def test_verify_writes_the_items_chosen(tmp_path):
    path = tmp_path / "a.html"
    assert cli.main(["verify", "--only", "5.17,5.14", "--mdps", "2", "--html", str(path)]) == 0
    assert re.findall('<article class="item" id="(.*?)"', path.read_text(encoding="utf-8")) == ["I-9", "I-13"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "--html", "/nowhere/a.html", "--mdps", "1"], "/nowhere/a.html"),
        (["verify", "--html", "/nowhere/a.html", "--mdps", "1"], "/nowhere/a.html"),
        (["report", "--html", "a.html", "--mdps", "0"], "--mdps must be a whole number of at least 1, got 0"),
        (["report", "--html", "a.html", "--rng", "-1"], "--rng must be a whole number of at least 0, got -1"),
        (
            ["verify", "--html", "a.html", "--mdp", "m.json", "--policy", "p.json"],
            "--html do not go with --mdp",
        ),
    ],
)
def test_unusable_arguments_exit_2_and_leave_no_file(one, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("pgref: ")
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_fails_leaves_the_old_one(one, tmp_path, monkeypatch):
    path = tmp_path / "a.html"
    path.write_text("old")
    monkeypatch.setattr(figures, "for_item", lambda item_id: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["report", "--html", str(path), "--mdps", "1"])
    assert path.read_text() == "old"


def test_report_says_on_a_terminal_what_it_is_at(one, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["report", "--html", str(tmp_path / "a.html"), "--mdps", "1"]) == 0
    said = capsys.readouterr().err
    assert "[1/1] I-13 Policy space" in said
    assert f"{tmp_path / 'a.html'}: I-13" in said
    assert said.endswith("\r\033[K")


def test_the_page_is_made_from_a_zip(tmp_path):
    root = Path(book.__file__).parent
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        for path in root.rglob("*"):
            if path.suffix in (".py", ".css", ".js", ".html"):
                packed.write(path, Path("pgref") / path.relative_to(root))
        packed.writestr("latex2mathml/__init__.py", "")
        packed.writestr("latex2mathml/converter.py", STAND_IN)
    script = (
        "import pgref, pgref.book as b; from pgref.report.page import page; assert '.zip' in pgref.__file__\n"
        "text = page([b.Outcome(b.find('I-15')[0], ())], date='', mdps=1, seed=0)\n"
        "assert '<b>def</b> performance_difference' in text; assert '--paper' in text and 'keydown' in text"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "packed.zip")}
    subprocess.run([sys.executable, "-c", script], check=True, env=env, cwd=tmp_path)
