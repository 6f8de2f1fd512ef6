"""Airflow's own web UI in a real browser: log in, change a setting in the form, trigger, see the run end green and
read its report; approve another one."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from real_browser import find, picture, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROJECT = Path(__file__).resolve().parent.parent
OVERRIDES = [
    ("Data", "sample_images", "700"),
    ("Training", "epochs", "5"),
    ("Gate", "min_accuracy", "0"),
    ("Explanation", "lime_samples", "50"),
]


class Airflow(NamedTuple):
    address: str
    user: str
    password: str
    runs: Path


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """An Airflow started as `make ui` starts it."""
    home = tmp_path_factory.mktemp("ui")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    environment |= {"AIRFLOW_HOME": str(home / "airflow"), "FER_HOME": str(home / "airflow")}
    environment |= {"FER_RUNS_FOLDER": str(home / "runs"), "FER_SCHEDULE": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher.ui", "--port", str(port)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stdout:
            if login := re.search(r"(http://\S+)\s+login (\S+), password (\S+)", line):
                yield Airflow(*login.groups(), home / "runs")
                break
    finally:
        process.terminate()
        process.wait(timeout=60)


def log_in(browser, airflow):
    find(browser, "//input[@name='username']").send_keys(airflow.user)
    find(browser, "//input[@name='password']").send_keys(airflow.password)
    find(browser, "//button[@type='submit']").click()
    wait_for(browser, lambda driver: "login" not in driver.current_url)


def open_form(browser, airflow):
    """The trigger form; the DAG takes a while to appear in a new Airflow."""
    deadline = time.monotonic() + 150
    while "ingest_dataset" not in browser.page_source and time.monotonic() < deadline:
        browser.get(f"{airflow.address}/dags/fer_training")
        time.sleep(5)
    find(browser, "//button[contains(., 'Trigger')]").click()
    find(browser, "//button[@data-testid='trigger-dag-submit']")


def override(browser, section, setting, value):
    from selenium.webdriver.common.keys import Keys

    header = find(browser, f"//button[substring-after(@id, ':trigger:') = '{section}']")
    if header.get_attribute("aria-expanded") != "true":
        header.click()
    step = find(browser, f"//button[@id='number-input:element_{setting}:inc']")
    field = find(browser, f"//input[@id='{step.get_attribute('aria-controls')}']")
    wait_for(browser, lambda _: field.is_displayed())
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(value, Keys.TAB)
    return field


def call(airflow, path, data=None):
    """Airflow's REST API: the answer as JSON."""
    request = partial(urllib.request.Request, headers={"Content-Type": "application/json"})
    login = json.dumps({"username": airflow.user, "password": airflow.password}).encode()
    with urllib.request.urlopen(request(f"{airflow.address}/auth/token", data=login)) as answer:
        token = json.load(answer)["access_token"]
    query = request(f"{airflow.address}/api/v2/{path}", data=None if data is None else json.dumps(data).encode())
    query.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(query) as answer:
        return json.load(answer)


def latest_run(airflow):
    """The newest run of the DAG as the REST API tells it."""
    runs = call(airflow, "dags/fer_training/dagRuns?order_by=-run_after")["dag_runs"]
    return next(iter(runs), {"state": None})


def wait_for_state(airflow, path, states, seconds):
    """The run or task at `path` of the REST API, once it has one of the states; as it is when the time is over."""
    deadline = time.monotonic() + seconds
    while (found := call(airflow, path))["state"] not in states and time.monotonic() < deadline:
        time.sleep(3)
    return found


def open_tab(browser, view):
    """Open the tab of one of the plugin's views on the page at hand, and go into its frame."""
    find(browser, f"//a[contains(@href, '/plugin/{view}')]").click()
    browser.switch_to.frame(find(browser, "//iframe[starts-with(@title, 'Evaluation report')]"))


def read_reports(browser, dag_page, run_page):
    """See the verdict on the run's page, through the list on the DAG's page, and by the button of a task."""
    browser.get(run_page)
    open_tab(browser, "evaluation-report")
    assert find(browser, "//h1[@id='verdict']").text == "Accepted"
    assert find(browser, "//h2[@id='evaluation-title']").is_displayed()
    steps = find(browser, "//ol[@class='steps']").get_attribute("textContent")
    assert "promote_model: succeeded" in steps
    browser.switch_to.default_content()
    picture(browser, "report-tab")
    browser.get(dag_page)
    open_tab(browser, "evaluation-reports")
    assert "1 run has a report." in find(browser, "//main").text
    find(browser, "//tbody//a").click()
    assert find(browser, "//h1[@id='verdict']").text == "Accepted"
    browser.switch_to.default_content()
    browser.get(f"{run_page}/tasks/publish_report/details")
    find(browser, "//a[normalize-space() = 'Evaluation report']").click()
    wait_for(browser, lambda driver: driver.current_url.endswith("/plugin/evaluation-report"))
    browser.switch_to.frame(find(browser, "//iframe[@title='Evaluation report']"))
    assert find(browser, "//h1[@id='verdict']").text == "Accepted"


def test_a_run_triggered_from_the_form_with_overrides_ends_green(airflow, browser):
    browser.get(airflow.address)
    log_in(browser, airflow)
    open_form(browser, airflow)
    submit = find(browser, "//button[@data-testid='trigger-dag-submit']")
    assert submit.is_enabled(), "the form finds fault with the defaults"
    epochs = override(browser, "Training", "epochs", "5000")
    wait_for(browser, lambda _: epochs.get_attribute("value") == "1000")  # the form keeps to the bounds
    for section, setting, value in OVERRIDES:
        override(browser, section, setting, value)
    wait_for(browser, lambda _: submit.is_enabled())
    picture(browser, "form")
    submit.click()
    wait_for(browser, lambda _: latest_run(airflow)["state"])
    path = f"dags/fer_training/dagRuns/{quote(latest_run(airflow)['dag_run_id'], safe='')}"
    run = wait_for_state(airflow, path, ("success", "failed"), 700)
    dag_page = f"{airflow.address}/dags/fer_training"
    run_page = f"{dag_page}/runs/{quote(run['dag_run_id'], safe='')}"
    browser.get(run_page)
    find(browser, "//*[contains(text(), 'publish_report')]")
    picture(browser, "graph")
    assert run["state"] == "success"
    [settings] = airflow.runs.glob("*/settings.json")
    chosen = json.loads(settings.read_text())
    assert (chosen["epochs"], chosen["sample_images"], chosen["min_accuracy"]) == (5, 700, 0.0)
    assert (settings.parent / "report.html").exists()
    read_reports(browser, dag_page, run_page)


def test_a_model_is_promoted_after_a_person_read_the_report_and_approved_it_in_the_browser(airflow, browser):
    conf = {setting: json.loads(value) for _, setting, value in OVERRIDES}
    conf |= {"require_approval": True, "must_beat_majority_class": False, "max_regression": 1, "seed": 8}
    run_id = call(airflow, "dags/fer_training/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]
    run = f"dags/fer_training/dagRuns/{quote(run_id, safe='')}"
    waits = wait_for_state(airflow, f"{run}/taskInstances/approve_promotion", ("awaiting_input", "failed"), 700)
    assert waits["state"] == "awaiting_input"
    run_page = f"{airflow.address}/dags/fer_training/runs/{quote(run_id, safe='')}"
    browser.get(f"{run_page}/tasks/approve_promotion/required_actions")
    if browser.find_elements("xpath", "//input[@name='username']"):
        log_in(browser, airflow)
        browser.get(f"{run_page}/tasks/approve_promotion/required_actions")
    link = find(browser, "//a[normalize-space() = 'Open the report']")
    picture(browser, "approval")
    link.click()
    asking, read = browser.window_handles
    browser.switch_to.window(read)
    assert find(browser, "//h1[@id='verdict']").text == "Accepted, waiting for approval"
    assert browser.current_url.startswith(f"{airflow.address}/fer/dags/fer_training/reports/manual__")
    browser.close()
    browser.switch_to.window(asking)
    find(browser, "//button[@data-testid='hitl-option-Approve']").click()
    assert wait_for_state(airflow, run, ("success", "failed"), 300)["state"] == "success"
    browser.get(run_page)
    picture(browser, "graph-approved")
    open_tab(browser, "evaluation-report")
    assert find(browser, "//h1[@id='verdict']").text == "Accepted"
    assert f"{airflow.user} approved it." in find(browser, "//main").text
    [promotion] = [path for path in airflow.runs.glob("*/promotion.json") if '"version": 2' in path.read_text()]
    assert promotion.with_name("approval.json").exists()
