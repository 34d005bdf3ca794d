"""Every formula of the page becomes sound MathML that shows the letters of the concordance."""

import xml.etree.ElementTree as ElementTree

import pytest

from pgref import book
from pgref.report.formulas import FORMULAS
from pgref.report.mathml import typeset

pytestmark = pytest.mark.integration

SPACE = "{http://www.w3.org/1998/Math/MathML}"
CHILDREN = {"msub": 2, "msup": 2, "msubsup": 3, "mfrac": 2, "munder": 2, "mover": 2, "munderover": 3}
SHOWN = "mi mo mn mtext mspace".split()
INNER = ["math", "mrow", "msqrt", "mtable", "mtr", "mtd", "mpadded", "mphantom", *CHILDREN]
GREEK = set("αβγδεηθλμνπρτφψΔΠ")


@pytest.fixture(autouse=True)
def library(peer):
    peer("latex2mathml")


def elements(lines):
    return ElementTree.fromstring(f"<all>{typeset(lines)}</all>")


@pytest.mark.parametrize("item", book.items(), ids=lambda item: item.id)
def test_a_formula_is_balanced_mathml_with_nothing_left_of_latex(item):
    for lines in FORMULAS[item.id]:
        boxes = elements(lines)
        assert [box.tag for box in boxes] == ["div"] * len(lines)
        assert [[formula.tag for formula in box] for box in boxes] == [[f"{SPACE}math"]] * len(lines)
        for element in boxes.iter():
            name = element.tag.removeprefix(SPACE)
            assert name in ("all", "div", *SHOWN, *INNER)
            assert len(element) == CHILDREN.get(name, len(element))
            assert name in SHOWN or not (element.text or "").strip()
            assert not (element.tail or "").strip()
        shown = "".join(boxes.itertext())
        assert "\\" not in shown
        assert "$" not in shown
    assert set(item.formula) & GREEK <= {
        "Π" if c == "∏" else c for c in "".join(elements(FORMULAS[item.id].right).itertext())
    }
