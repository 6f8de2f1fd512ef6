"""The service's page in a real browser: a picture chosen, dropped and refused, by mouse and by keyboard."""

import base64
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from drawn_scene import scene
from finished_run import finish
from real_browser import NARROW, accessibility_issues, find, picture
from real_browser import show as show_page
from real_browser import wait_for as wait_for_up_to
from running_service import flat, png, serving

from fer_tasks import registry
from fer_tasks.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

wait_for = partial(wait_for_up_to, seconds=240)  # an explanation takes the processor that others may want, too


@pytest.fixture(scope="module")
def service(registry_home, tmp_path_factory):
    registry.run(finish(RunDirectory(tmp_path_factory.mktemp("runs") / "first"), "shown"))
    with serving(model="shown") as running:
        yield running


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """{name: path} of files to choose."""
    folder = tmp_path_factory.mktemp("pictures")
    crop = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    made = {"scene": png(scene()), "wall": flat(), "crop": png(crop), "text": b"<b>no picture</b>"}
    for name, content in made.items():
        (folder / f"{name}.png").write_bytes(content)
    return {name: str(folder / f"{name}.png") for name in made}


def show(browser, service, **how):
    show_page(browser, f"http://127.0.0.1:{service.engine.limits.port}/", **how)
    wait_for(browser, lambda _: "version" in text(browser, "model"))


def text(browser, identity):
    return browser.find_element("id", identity).text


def choose(browser, path, title):
    browser.find_element("id", "file").send_keys(path)
    wait_for(browser, lambda _: text(browser, "result-title") == title)


def test_faces_bars_and_maps_are_shown_under_the_strict_policy(browser, service, pictures):
    browser.get_log("browser")
    show(browser, service)
    assert text(browser, "model") == "shown, version 1, is the champion, right for 50% of its test images. " + (
        "It was trained on drawn faces: do not rely on what it says of photographs."
    )
    choose(browser, pictures["scene"], "3 faces")
    told = service.post("/v1/predict", png(scene())).json()["faces"]
    cards = browser.find_elements("css selector", "#faces > li")
    assert len(cards) == 3
    width = "getBoundingClientRect().width"
    shares = f"return [...arguments[0].querySelectorAll('.bar i')].map(bar => bar.{width} / bar.parentElement.{width})"
    for number, (card, face) in enumerate(zip(cards, told, strict=True), start=1):
        assert card.find_element("css selector", "h3").text.startswith(f"Face {number}: {face['emotion']}, ")
        names = [row.text for row in card.find_elements("css selector", "tbody th")]
        assert names == list(face["probabilities"])
        drawn = browser.execute_script(shares, card)
        assert drawn == pytest.approx(list(face["probabilities"].values()), abs=0.01)
    first = browser.find_element("css selector", "#boxes rect").rect
    image = browser.find_element("id", "picture").rect
    scale, box = image["width"] / 640, told[0]["box"]
    assert first["x"] - image["x"] == pytest.approx(box["left"] * scale, abs=3)
    assert first["width"] == pytest.approx(box["width"] * scale, abs=6)
    explain_first(browser, cards[0])
    picture(browser, "service-page")
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def explain_first(browser, card):
    card.find_element("css selector", "button").click()
    figure = card.find_element("css selector", ".map")
    wait_for(browser, lambda _: figure.is_displayed())
    assert browser.execute_script("return arguments[0].naturalWidth", figure.find_element("css selector", "img")) == 768
    assert figure.find_element("css selector", "img").get_attribute("alt").startswith("LIME map of face 1")
    told = figure.find_element("css selector", "figcaption").text
    assert "speak for" in told or "do not rely on it" in told


def test_a_picture_can_be_dropped(browser, service, pictures):
    show(browser, service)
    script = """
      const bytes = Uint8Array.from(atob(arguments[0]), letter => letter.charCodeAt(0));
      const carried = new DataTransfer();
      carried.items.add(new File([bytes], "crop.png", { type: "image/png" }));
      document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: carried, cancelable: true }));
    """
    browser.execute_script(script, base64.b64encode(Path(pictures["crop"]).read_bytes()).decode())
    wait_for(browser, lambda _: text(browser, "result-title") == "One face")
    assert browser.find_elements("css selector", "#boxes rect") == []


def test_what_is_refused_is_told_in_words_and_taken_as_text(browser, service, pictures):
    show(browser, service)
    choose(browser, pictures["wall"], "No face was found")
    browser.find_element("id", "file").send_keys(pictures["text"])
    wait_for(browser, lambda _: text(browser, "problem"))
    told = text(browser, "problem")
    assert told.startswith("Refused: the file is no JPEG, PNG, BMP, WebP or GIF image; it begins with b'<b>no pi'")
    assert "Send the bytes of such a file" in told
    assert not browser.find_element("id", "result").is_displayed()


def test_the_keyboard_is_enough(browser, service, pictures):
    from selenium.webdriver.common.keys import Keys

    show(browser, service)
    focused = "return document.activeElement.id || document.activeElement.textContent"
    browser.find_element("tag name", "body").send_keys(Keys.TAB)
    assert browser.execute_script(focused) == "file"
    ring = "return getComputedStyle(document.getElementById('drop')).outlineStyle"
    assert browser.execute_script(ring) == "solid"
    choose(browser, pictures["scene"], "3 faces")
    assert browser.execute_script(focused) == "result-title"
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.execute_script(focused) == "Explain face 1"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    wait_for(browser, lambda _: text(browser, "status") == "Face 1 is explained.")
    assert browser.execute_script(focused) == "Explain face 1"


@pytest.mark.parametrize(("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(21, 23, 27)")])
def test_it_follows_the_readers_theme(browser, service, scheme, background):
    show(browser, service, scheme=scheme)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == background


def test_nothing_sticks_out_of_a_narrow_page(browser, service, pictures):
    show(browser, service, width=NARROW)
    choose(browser, pictures["scene"], "3 faces")
    explain_first(browser, find(browser, "//ol[@id='faces']/li"))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= NARROW


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", NARROW)])
def test_an_automated_accessibility_check_finds_nothing(browser, service, pictures, scheme, width):
    """axe, which the page's policy would not let run: it is let in by the browser, as an extension would be."""
    show(browser, service, scheme=scheme, width=width)
    choose(browser, pictures["scene"], "3 faces")
    explain_first(browser, find(browser, "//ol[@id='faces']/li"))
    assert accessibility_issues(browser) == []
