"""The concordance is complete, resolves, and agrees with the docstrings."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import pgref
from pgref import book, checks
from pgref.checks.finding import at_least, at_most
from pgref.chinese import FINDINGS
from pgref.errors import ArgumentError

ITEMS = book.items()
OWN = "|g·v − dJ| / Σ|g v|, softmax logits, random v"  # measured on a user's own MDP
NUMBER = re.compile(r"\((5\.\d+)\)|(?<!TRPO )(Algorithm 5\.\d+|Lemma 5\.\d+|Theorem 5\.\d+|Note 5\.\d+)")


def test_every_item_of_the_text_has_a_row():
    assert [item.id for item in ITEMS if item.id.startswith("I-")] == [f"I-{i}" for i in range(1, 27)]
    assert {"A-1", "A-2"} < {item.id for item in ITEMS}
    assert [item.id for item in ITEMS if item.id.startswith("B-")] == [f"B-{i}" for i in range(1, 11)]
    assert len({item.id for item in ITEMS}) == len(ITEMS) == 38


def test_every_number_of_the_excerpt_is_found():
    for number in [f"5.{n}" for n in range(14, 30)] + [
        "Lemma 5.1",
        "Theorem 5.1",
        "Note 5.2",
        "Algorithm 5.21",
    ]:
        assert book.find(number), number


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_rows_resolve_and_are_bilingual(item):
    assert item.code
    assert item.checks
    for name in item.code:
        assert inspect.getdoc(book.resolve(name)), name
    for name in item.checks:
        assert inspect.getdoc(book.check_function(name)), name
    assert re.search("[一-鿿]", item.title_zh)
    assert bool(item.note) == bool(item.note_zh)
    assert bool(item.printed) >= (item.verdict == "erratum")


def test_every_check_is_in_a_row():
    named = {name for item in ITEMS for name in item.checks}
    for module in pkgutil.iter_modules(checks.__path__):
        if module.name in ("finding", "derivatives", "draws"):
            continue
        functions = vars(importlib.import_module(f"pgref.checks.{module.name}"))
        for name, function in functions.items():
            local = inspect.isfunction(function) and function.__module__.endswith(module.name)
            if local and not name.startswith("_"):
                assert f"{module.name}:{name}" in named


def test_numbers_in_docstrings_are_numbers_of_the_book():
    known = {key for item in ITEMS for key in (*item.numbers, item.id)}
    stray = []
    for module in pkgutil.walk_packages(pgref.__path__, "pgref."):
        path = importlib.util.find_spec(module.name).origin
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
                for match in NUMBER.finditer(ast.get_docstring(node) or ""):
                    if (match[1] or match[2]) not in known:
                        stray.append((module.name, getattr(node, "name", ""), match[0]))
    assert not stray


def test_code_cites_the_number_of_its_row():
    """Someone who opens the implementing function finds the book's number in it or in its module."""
    for item in ITEMS:
        if not re.match(r"5\.|Lemma|Theorem|Note|Algorithm 5.21", item.numbers[0]):
            continue
        texts = []
        for name in item.code:
            texts += [
                inspect.getdoc(book.resolve(name)) or "",
                book.resolve(f"{name.split(':')[0]}:__doc__") or "",
            ]
        assert any(number in " ".join(texts) for number in item.numbers), item.id


@pytest.mark.parametrize(
    ("key", "ids"),
    [
        ("5.18", ["I-15"]),
        ("(5.18)", ["I-15"]),
        (" lemma 5.1 ", ["I-15"]),
        ("I-21", ["I-21"]),
        ("i-21", ["I-21"]),
        ("5.1", ["I-15", "I-21"]),
        ("5.21", ["I-7", "I-8", "I-17", "I-18"]),
        ("GAE", ["B-2"]),
    ],
)
def test_find(key, ids):
    assert [item.id for item in book.find(key)] == ids


def test_unknown_key():
    with pytest.raises(ArgumentError, match=r"see `pgref list`\), got '5.99'"):
        book.find("5.99")


def test_runs_are_reproducible_in_any_selection():
    item = book.find("5.17")[0]
    assert book.run(item, mdps=4, seed=3) == book.run(item, mdps=4, seed=3)
    assert book.run(item, mdps=4, seed=3) != book.run(item, mdps=4, seed=4)


def test_an_outcome_needs_findings_that_keep_their_limits():
    item = ITEMS[0]
    assert not book.Outcome(item, ()).ok
    assert book.Outcome(item, (at_most("a", 0, 0), at_least("b", 1, 1))).ok
    for bad in (at_most("a", 1, 0), at_least("b", 0, 1), at_most("c", np.nan, 1), at_least("d", np.nan, 0)):
        assert not book.Outcome(item, (at_most("a", 0, 0), bad)).ok


def test_the_location_of_a_decorated_function_is_its_own():
    assert "ppo.py" in book.location("algorithms.ppo:update")


def test_location_names_file_and_line():
    path, line = book.location("special:softmax").rsplit(":", 1)
    source = Path(path).read_text(encoding="utf-8").splitlines()
    assert source[int(line) - 1].startswith("def softmax")


@pytest.fixture(scope="module")
def outcomes():
    return {item.id: book.run(item, mdps=20, seed=1) for item in ITEMS}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_every_item_holds(item, outcomes):
    assert outcomes[item.id].ok, [f for f in outcomes[item.id].findings if not f.ok]


def test_what_is_measured_is_said_in_chinese_too(outcomes):
    symbols = r"log|max|min|TV|KL|GAE|MLP|SGD|KKT|dJ|dL|nats|argmax|mean_a|softmax|logits|Fisher"
    measured = {finding.what for outcome in outcomes.values() for finding in outcome.findings}
    in_words = {what for what in measured if re.search("[A-Za-z]{3,}", re.sub(symbols, "", what))}
    assert in_words <= set(FINDINGS)
    assert {what for what in FINDINGS if "bound" not in what and "scale" not in what} <= measured | {OWN}


def test_public_names_are_those_of_the_type_checker():
    """The lazy table and the imports that type checkers see list the same names."""
    tree = ast.parse(inspect.getsource(pgref))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {(node.module, alias.name) for node in block.body for alias in node.names}
    assert typed == {(f"pgref.{home}", name) for home, names in pgref.HOMES.items() for name in names.split()}
    for name in pgref.__all__:
        assert getattr(pgref, name) is not None
    assert set(pgref.__all__) <= set(dir(pgref))
    with pytest.raises(AttributeError, match="no attribute 'TRPPO'"):
        _ = pgref.TRPPO
