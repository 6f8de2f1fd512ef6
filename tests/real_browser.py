"""Chromium, driven by its own chromedriver, and what is asked of a page in it."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
]
NARROW = 400
_AXE = Path(str(distribution("axe-playwright-python").locate_file("axe_playwright_python/axe.min.js")))


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser with its log. Skips the test where there is none."""
    chromedriver = shutil.which("chromedriver")
    if CHROMIUM is None or chromedriver is None:
        pytest.skip("needs Chromium and chromedriver (Debian: chromium, chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


def show(browser: Any, address: str, *, scheme: str = "light", width: int = 1200, medium: str = "") -> None:
    """scheme: light or dark. medium: `print` for paper."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(address)


def accessibility_issues(browser: Any) -> list[tuple[str, str]]:
    """(rule, the place) of each issue that axe finds in the page that is shown, whatever its weight."""
    browser.execute_script(_AXE.read_text())
    found = browser.execute_async_script("const done = arguments[0]; axe.run().then(done)")
    assert len(found["passes"]) > 5  # it has looked
    return [(issue["id"], node["html"]) for issue in found["violations"] for node in issue["nodes"]]


def wait_for(browser: Any, condition: Callable[[Any], Any], seconds: float = 60) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds).until(condition)


def find(browser: Any, xpath: str, seconds: float = 60) -> Any:
    from selenium.webdriver.common.by import By

    return wait_for(browser, lambda driver: next(iter(driver.find_elements(By.XPATH, xpath)), None), seconds)


def picture(browser: Any, name: str) -> None:
    """Keep a screenshot where FER_SCREENSHOTS points, for the documentation."""
    if folder := os.environ.get("FER_SCREENSHOTS"):
        time.sleep(4)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))
