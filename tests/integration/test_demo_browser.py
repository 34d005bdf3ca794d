"""The page in which a policy plays, in headless Chromium."""

import numpy as np
import pytest
from browser import browser, complaints, open_page, overflow, prefer, requests, resize
from exporting import balancing

from pgref.agent import AGENTS, PPO
from pgref.demo import actors, page
from pgref.moments import normalised

pytestmark = pytest.mark.integration

ENVIRONMENTS = ("CartPole", "Pendulum", "Acrobot", "MountainCarContinuous")
COLOURS = """
return [...document.querySelectorAll("canvas")].map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) colours.add(`${data.slice(i, i + 3)}`);
  return colours.size;
});
"""


@pytest.fixture(scope="module")
def driver():
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def trained():
    """A CartPole policy that has learned enough."""
    return balancing()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, trained):
    """A folder with a page for each environment; all but CartPole's have hardly learned."""
    path = tmp_path_factory.mktemp("pages")
    page.write(trained, path / "CartPole.html")
    for name in ENVIRONMENTS[1:]:
        page.write(PPO(name, rng=0, hidden=(8,), normalise_obs=True).learn(1), path / f"{name}.html", "zh")
    return path


@pytest.fixture
def cartpole(driver, folder):
    """The driver, at the start of CartPole's page, which is paused."""
    resize(driver, 1400)
    open_page(driver, folder / "CartPole.html")
    driver.execute_script("play.pause(true); play.reset(1)")
    yield driver
    assert complaints(driver) == []


def state(driver):
    return driver.execute_script("return play.state")


def run(driver, steps, **settings):
    """Return the state so many steps after a reset, under those settings."""
    driver.execute_script("play.set(arguments[0]); play.reset(1); play.run(arguments[1])", settings, steps)
    return state(driver)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_page_asks_nothing_complains_of_nothing_and_fits(driver, folder, name):
    path = folder / f"{name}.html"
    for width in (1400, 390):
        resize(driver, width)
        open_page(driver, path)
        driver.execute_script("play.pause(true); play.set({shoves: 1, noise: 1}); play.run(120)")
        assert overflow(driver, width) == 0
        assert driver.execute_script(COLOURS) == [pytest.approx(100, abs=98)] * 6  # 2 at least
        assert driver.execute_script("return play.failed") == 0  # of the recorded answers
        assert complaints(driver) == []
        assert requests(driver) == [path.as_uri()]


def test_a_blank_canvas_would_be_found(cartpole):
    cartpole.execute_script('for (const c of document.querySelectorAll("canvas")) c.width = c.width')
    assert cartpole.execute_script(COLOURS) == [0] * 6


@pytest.mark.parametrize("how", ["fetch('https://example.org/')", "import('data:text/javascript,1')"])
def test_the_page_itself_can_reach_nothing(driver, folder, how):
    open_page(driver, folder / "CartPole.html")
    script = f"const done = arguments[0]; {how}.then(() => done('reached'), (e) => done(e.name));"
    assert driver.execute_async_script(script) == "TypeError"
    assert "Content Security Policy" in complaints(driver)[0]
    requests(driver)


def test_the_trained_policy_keeps_the_pole_up_and_the_untrained_one_does_not(cartpole):
    for start in range(1, 6):
        cartpole.execute_script("play.reset(arguments[0]); play.run(500)", start)
        now = state(cartpole)
        assert now["trained"]["ended"] == [{"steps": 500, "total": 500, "over": "limit"}]
        assert max(e["steps"] for e in now["untrained"]["ended"]) < 100
        assert {e["over"] for e in now["untrained"]["ended"]} == {"lost"}


def test_it_plays_by_itself_as_far_as_the_limit(cartpole):
    cartpole.execute_script("play.set({speed: 6}); play.pause(false)")
    wait = "const done = arguments[0]; const look = () => play.state.trained.ended.length ? done(play.state) "
    ended = cartpole.execute_async_script(wait + ": setTimeout(look, 20); look();")["trained"]["ended"]
    assert ended[0] == {"steps": 500, "total": 500, "over": "limit"}


def test_the_networks_of_the_page_are_those_of_the_agent(cartpole, trained):
    now = run(cartpole, 40)
    for name, pair in {"trained": actors.trained(trained), "untrained": actors.untrained(trained)}.items():
        obs = np.array([now[name]["x"]], np.float32)
        z, v = (a.policy.network.forward(a.theta)(normalised(a.seen, obs))[0] for a in pair)
        np.testing.assert_allclose(now[name]["z"], z, rtol=0, atol=1e-5 * np.abs(z).clip(1).max())
        assert abs(now[name]["value"] - v[0]) <= 1e-5 * max(1, abs(v[0]))


def test_both_policies_meet_the_same_starts_and_the_same_episodes_again(cartpole):
    now = run(cartpole, 0)
    assert now["trained"]["x"] == now["untrained"]["x"]
    disturbed = {"noise": 0.5, "shoves": 0.5, "sample": True}
    first = run(cartpole, 150, **disturbed)
    assert first == run(cartpole, 150, **disturbed)
    assert first["trained"]["x"] != run(cartpole, 150, noise=0, shoves=0, sample=False)["trained"]["x"]


@pytest.mark.parametrize("slider", ["gravity", "shoves", "noise"])
def test_a_slider_moved_by_keys_changes_what_happens(cartpole, slider):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    before, element = run(cartpole, 60), cartpole.find_element(By.ID, slider)
    said = element.get_attribute("aria-valuetext")
    element.send_keys(Keys.END)
    assert cartpole.execute_script("return play.settings[arguments[0]]", slider) == float(
        element.get_attribute("max")
    )
    assert element.get_attribute("aria-valuetext") != said
    cartpole.execute_script("play.reset(1); play.run(60)")
    assert state(cartpole)["trained"]["x"] != before["trained"]["x"]


def test_what_is_too_much_for_the_trained_policy_makes_it_fall(cartpole):
    for name in ("shoves", "noise"):
        ended = run(cartpole, 3000, **{"shoves": 0, "noise": 0, name: 1})["trained"]["ended"]
        assert "lost" in {e["over"] for e in ended}


def test_keys_pause_step_reset_and_shove(cartpole):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    body, start = cartpole.find_element(By.TAG_NAME, "body"), state(cartpole)
    body.send_keys("s")
    stepped = state(cartpole)
    assert (start["trained"]["steps"], stepped["trained"]["steps"]) == (0, 1)
    body.send_keys(Keys.ARROW_RIGHT)
    assert state(cartpole)["trained"]["x"][1] > stepped["trained"]["x"][1]
    body.send_keys("r")
    again = state(cartpole)["trained"]
    assert again["steps"] == 0
    assert again["x"] != start["trained"]["x"]
    body.send_keys(" ")
    assert cartpole.execute_script("return play.paused") is False
    button = cartpole.find_element(By.ID, "pause")
    assert button.text == "Pause"
    button.send_keys(" ")  # a button's own key presses it once
    assert cartpole.execute_script("return play.paused") is True
    assert button.text == "Play"


def test_the_language_switches(cartpole):
    from selenium.webdriver.common.by import By

    seen = []
    for lang in ("zh", "en"):
        cartpole.find_element(By.CSS_SELECTOR, f"[data-lang={lang}]").click()
        text = cartpole.find_element(By.TAG_NAME, "body").text.replace("中文", "")
        assert cartpole.execute_script("return document.documentElement.lang") == lang
        assert ("训练后" in text) == (lang == "zh")
        assert ("Untrained" in text) == (lang == "en")
        assert cartpole.title == {"zh": "TRPO 控制 CartPole", "en": "TRPO plays CartPole"}[lang]
        seen.append(text)
    assert not any("一" <= letter <= "鿿" for letter in seen[1])
    words = "const w = play.words; return [Object.keys(w.en), Object.keys(w.zh)]"
    english, chinese = cartpole.execute_script(words)
    assert english == chinese


def test_light_and_dark_and_no_motion_are_as_the_reader_prefers(driver, folder):
    resize(driver, 1400)
    shades = []
    for scheme in ("light", "dark"):
        prefer(driver, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        open_page(driver, folder / "CartPole.html")
        assert driver.execute_script("return play.paused") is True
        look = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        back, text = (
            sum(int(n) for n in rgb.strip("rgba()").split(",")[:3]) for rgb in driver.execute_script(look)
        )
        shades.append(back > text)
    prefer(driver, prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    assert shades == [True, False]


def test_a_phone_has_large_buttons_in_reach_and_folds_the_settings(driver, folder):
    resize(driver, 390, 844)
    open_page(driver, folder / "CartPole.html")
    box = "const b = document.querySelector('#pause').getBoundingClientRect(); return [b.height, b.bottom]"
    height, bottom = driver.execute_script(box)
    assert height >= 44
    assert bottom <= 844
    assert driver.execute_script("return document.querySelector('details').open") is False
    resize(driver, 1400)
    wait = (
        "const look = () => (document.querySelector('details').open ? done('open') : setTimeout(look, 20));"
    )
    assert driver.execute_async_script(f"const done = arguments[0]; {wait} look();") == "open"


def test_every_algorithm_of_the_package_can_be_watched(driver, tmp_path):
    for name in ("a3c", "actor_critic"):
        page.write(AGENTS[name]("CartPole", rng=0, hidden=(4,)), tmp_path / "one.html")
        open_page(driver, tmp_path / "one.html")
        assert driver.execute_script("return play.failed") == 0
        assert complaints(driver) == []
