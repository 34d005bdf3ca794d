"""A headless Chromium that opens a page from the disk and records what it asks for and complains of.

A test that uses it skips where Selenium or Chromium is missing, and fails there if PGREF_REQUIRE_EXTRAS=1.
"""

import base64
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from exporting import missing, program

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)
SHAPE = "Emulation.setDeviceMetricsOverride"


@contextmanager
def browser(width=1400, height=900):
    """Yield a Selenium driver whose page is that large; below 500 pixels it is a phone's."""
    webdriver = _module("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    service = webdriver.ChromeService(program("chromedriver"))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1400,900"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=service)
        try:
            resize(driver, width, height)
            yield driver
        finally:
            driver.quit()


def resize(driver, width, height=900):
    """Give the page another size."""
    shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd(SHAPE, shape)


def prefer(driver, **features):
    """Set media features: prefer(driver, prefers_color_scheme="dark")."""
    named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": named})


def open_page(driver, path):
    """Open a file and forget what was recorded before."""
    for log in ("browser", "performance"):
        driver.get_log(log)
    driver.get(Path(path).as_uri())


def complaints(driver):
    """Return the console's warnings and errors since the last call; a script's exceptions are among them."""
    return [line["message"] for line in driver.get_log("browser") if line["level"] in ("WARNING", "SEVERE")]


def requests(driver):
    """Return the addresses asked for since the last call, but not those that hold their own data."""
    events = [json.loads(line["message"])["message"] for line in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    asked += [e["params"]["url"] for e in events if e["method"] == "Network.webSocketCreated"]
    return [address for address in asked if not address.startswith(("data:", "blob:"))]


def overflow(driver, width):
    """Return by how many pixels the page is wider than the window was made."""
    return driver.execute_script("return Math.max(document.scrollingElement.scrollWidth, innerWidth)") - width


def picture(driver, path, whole=False):
    """Save a screenshot, to be looked at."""
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": whole})
    Path(path).write_bytes(base64.b64decode(shot["data"]))


def _module(name):
    try:
        return pytest.importorskip(name)
    except pytest.skip.Exception:
        missing("selenium is not installed")
