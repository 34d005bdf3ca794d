"""The page in headless Chromium: silent, alone, complete, searchable, in two languages, at two widths."""

import pytest
from browser import browser, complaints, open_page, overflow, picture, prefer, requests, resize

from pgref import book, cli, figures

pytestmark = pytest.mark.integration

SHOWN = "return [...document.querySelectorAll('.item')].filter(e => e.checkVisibility()).map(e => e.id)"
TEXT = "return document.body.innerText"
FOUND = {
    "5.18": ["I-15"],
    "(5.18)": ["I-15"],
    "I-26": ["I-26"],
    "trpo erratum": ["I-26"],
    "策略性能差": ["I-15"],
    "PINSKER": ["B-8"],
    "no such thing": [],
}
OUTSIDE = """
return [...document.querySelectorAll("main :not(svg *, math *)")].filter((e) => e.checkVisibility()
  && !e.closest(".aloud") && !e.parentElement.closest(".scroll, pre")
  && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 99));
"""


@pytest.fixture(scope="module")
def driver():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def chapter(driver, peer, tmp_path_factory):
    """Return the whole page, measured and drawn."""
    for name in ("latex2mathml", "matplotlib"):
        peer(name)
    path = tmp_path_factory.mktemp("report") / "chapter.html"
    assert cli.main(["verify", "--html", str(path), "--mdps", "2"]) == 0
    return path


@pytest.fixture
def page(driver, chapter):
    """Return the driver with the page just opened; at the end nothing was complained of or asked for."""
    prefer(driver, prefers_color_scheme="light")
    resize(driver, 1400)
    open_page(driver, chapter)
    yield driver
    assert complaints(driver) == []
    assert {address.partition("#")[0] for address in requests(driver)} == {chapter.as_uri()}


def find(page, selector):
    return page.find_element("css selector", selector)


def press(page, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).send_keys(*keys).perform()


def ids():
    return [item.id for item in book.items()]


def test_every_item_formula_and_figure_is_shown(page):
    assert page.execute_script(SHOWN) == ids()
    sizes = page.execute_script(
        "return [...document.querySelectorAll('.item')].map(item => [item.id,"
        " [...item.querySelectorAll('.formula math')].map(m => m.getBoundingClientRect().height),"
        " [...item.querySelectorAll('figure:not(.missing) svg')].filter(s => s.checkVisibility())"
        ".map(s => [s.getBoundingClientRect().width, s.querySelectorAll('path, text').length])])"
    )
    for item, formulas, drawn in sizes:
        assert min(formulas) > 10
        assert len(drawn) == (figures.for_item(item) is not None), item
        assert all(width > 300 and parts > 20 for width, parts in drawn)


def test_no_two_elements_share_a_name(page):
    assert page.execute_script(
        "const all = [...document.querySelectorAll('[id]')].map(e => e.id);"
        "return all.length - new Set(all).size"
    ) == 0  # fmt: skip


def test_the_search_shows_what_it_finds(page):
    from selenium.webdriver.common.keys import Keys

    links = "return [...document.querySelectorAll('nav a')].filter(e => e.checkVisibility()).map(e => e.hash)"
    for query, expected in FOUND.items():
        find(page, "#search").send_keys(query)
        assert page.execute_script(SHOWN) == expected
        assert page.execute_script(links) == [f"#{item}" for item in expected]
        assert find(page, "#shown").text == f"{len(expected)} / {len(ids())}"
        assert find(page, "#none").is_displayed() == (not expected)
        find(page, "#search").send_keys(Keys.ESCAPE)
        assert page.execute_script(SHOWN) == ids()


def test_a_link_to_an_item_ends_a_search_that_hides_it(page):
    find(page, "#search").send_keys("5.18")
    page.execute_script("location.hash = '#I-26'")
    page.execute_async_script("setTimeout(arguments[0], 100)")
    assert page.execute_script(SHOWN) == ids()
    assert (
        abs(page.execute_script("return document.getElementById('I-26').getBoundingClientRect().top")) < 200
    )


def test_the_language_changes_everywhere(page):
    texts = {}
    for button, code in (("中文", "zh-Hans"), ("English", "en")):
        (pressed,) = [b for b in page.find_elements("css selector", "#language button") if b.text == button]
        pressed.click()
        assert page.execute_script("return document.documentElement.lang") == code
        assert pressed.get_attribute("aria-pressed") == "true"
        assert len(page.find_elements("css selector", "#language [aria-pressed=true]")) == 1
        texts[code] = (
            page.execute_script(TEXT),
            page.title,
            find(page, "#search").get_attribute("placeholder"),
        )
    assert page.execute_script(SHOWN) == ids()
    for item in book.items():
        assert item.title in texts["en"][0]
        assert item.title_zh in texts["zh-Hans"][0]
        assert item.title == item.title_zh or item.title not in texts["zh-Hans"][0] or len(item.title) < 10
        assert item.title_zh not in texts["en"][0]
    assert texts["en"][1:] == (
        "The policy-gradient chapter, verified",
        "Search: 5.18, I-21, advantage, erratum … (press /)",
    )
    assert texts["zh-Hans"][1].startswith("策略梯度")
    assert texts["zh-Hans"][2].startswith("搜索")


def test_the_keyboard_is_enough(page):
    from selenium.webdriver.common.keys import Keys

    press(page, Keys.TAB)
    assert page.switch_to.active_element.get_attribute("class") == "skip"
    assert page.switch_to.active_element.is_displayed()
    press(page, Keys.ENTER)
    assert page.execute_script("return document.activeElement.id") == "items"
    press(page, "/")
    assert page.execute_script("return document.activeElement.id") == "search"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.execute_script(outline) != "none"
    press(page, "5.18/")
    assert find(page, "#search").get_attribute("value") == "5.18/"
    press(page, Keys.BACKSPACE, Keys.TAB, Keys.TAB, Keys.SPACE)  # past English, on to the other language
    assert page.execute_script("return document.documentElement.lang") == "zh-Hans"
    page.execute_script("document.querySelector('#I-15 summary').focus()")
    assert page.execute_script(outline) != "none"
    press(page, Keys.ENTER)
    assert "def performance_difference" in find(page, "#I-15 details[open] pre").text
    press(page, "/", Keys.ESCAPE)
    assert page.execute_script(SHOWN) == ids()


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_is_as_wide_as_the_window(page, tmp_path, width):
    resize(page, width)
    page.execute_script("for (const box of document.querySelectorAll('details')) box.open = true")
    for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 23, 27)")):
        prefer(page, prefers_color_scheme=scheme)
        assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == paper
        for lang in "en", "zh-Hans":
            find(page, f"#language [value={lang}]").click()
            assert overflow(page, width) == 0
            assert page.execute_script(OUTSIDE) == []
    picture(page, tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_contents_are_closed_on_a_phone_and_beside_the_items_on_a_desk(page):
    assert find(page, "nav").rect["x"] + find(page, "nav").rect["width"] <= find(page, "main").rect["x"]
    resize(page, 390)
    page.refresh()
    assert not find(page, "nav a").is_displayed()
    find(page, "#contents").click()
    assert find(page, "nav a").is_displayed()


def test_print_opens_the_sources_and_leaves_out_what_cannot_be_clicked(page):
    closed = "return document.querySelectorAll('details:not([open])').length"
    before = page.execute_script(closed)
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert page.execute_script(closed) == 0 < before
    page.execute_script("dispatchEvent(new Event('afterprint'))")
    assert page.execute_script(closed) == before
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not find(page, ".bar").is_displayed()
    assert not find(page, "nav").is_displayed()
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
