"""The report in a real browser, as the plugin serves it: light, dark, narrow and on paper."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from real_browser import NARROW, accessibility_issues, show
from reported_run import complete_run

from fer_tasks import report
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from plugins.fer_report_plugin import content_security_policy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(address of a complete report behind the plugin's policy, the paths asked for so far, its address on disk)"""
    run_dir = RunDirectory(tmp_path_factory.mktemp("runs") / "run")
    run_dir.save_json(run_dir.settings_json, RunSettings.from_params({"dataset": "/data/faces"}).to_params())
    report.write(complete_run(run_dir))
    html, asked = run_dir.report_html.read_bytes(), []

    class Plugin(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Security-Policy", content_security_policy(html))
            self.end_headers()
            self.wfile.write(html)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Plugin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/report.html", asked, run_dir.report_html.as_uri()
    server.shutdown()


def test_it_shows_under_the_plugins_policy_and_asks_for_nothing(browser, served):
    address, asked, _ = served
    browser.get_log("browser")
    show(browser, address)
    assert asked == ["/report.html"]
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    sizes = "return [...document.images].map(image => image.complete && image.naturalWidth > 0)"
    pictures = browser.execute_script(sizes)
    assert len(pictures) > 4
    assert all(pictures)
    bar = "return document.querySelector('.pairs .ours').getBoundingClientRect().height"
    assert browser.execute_script(bar.replace(".ours", "i.ours")) == 7  # the style sheet is in force


@pytest.mark.parametrize(("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(21, 23, 27)")])
def test_it_follows_the_readers_theme(browser, served, scheme, background):
    show(browser, served[0], scheme=scheme)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == background


@pytest.mark.parametrize("medium", ["", "print"])
def test_nothing_sticks_out_of_a_narrow_page(browser, served, medium):
    width = {"": NARROW, "print": 688}[medium]  # 688 px: A4 less its margins of 14 mm
    show(browser, served[0], width=width, medium=medium)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_paper_is_light_also_for_a_reader_of_dark_pages(browser, served):
    show(browser, served[0], scheme="dark", medium="print")
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", NARROW)])
def test_an_automated_accessibility_check_finds_nothing(browser, served, scheme, width):
    show(browser, served[2], scheme=scheme, width=width)  # the plugin's policy lets no script run, axe neither
    assert accessibility_issues(browser) == []
