"""The reports in Airflow's UI, asked of a real API server: who sees one, who does not, and by which address."""

import base64
import hashlib
import re
import time
from typing import Any
from urllib.parse import quote, urljoin

import jwt
import pytest
from published_runs import REPORT
from report_server import (
    FINISHED,
    FOLDER,
    GOING_ON,
    LINKED_FOLDER,
    LINKED_INSIDE,
    LINKED_REPORT,
    RESULT,
    SCORING,
    SCORING_FOLDER,
    SCORING_GOING_ON,
    TUNING,
    Answer,
    Server,
    serving,
    set_up,
)

pytestmark = pytest.mark.timeout(900)  # of the first test, which starts the servers

RUN = f"/fer/dags/fer_training/runs/{quote(FINISHED, safe='')}"
REPORTS = "/fer/dags/fer_training/reports"
LINK = "dags/fer_training/runs/manual__2026-01-02T03%3A04%3A05%2B00%3A00/plugin/evaluation-report"
SCORING_LINK = "dags/fer_scoring/runs/manual__2026-01-06T03%3A04%3A05%2B00%3A00/plugin/evaluation-report"
REPORT_PAGE = f"{REPORTS}/{FOLDER}/report.html"
DOCS = f"{REPORTS}/{FOLDER}/data_docs"
SCORING_RUN = f"/fer/dags/fer_scoring/runs/{quote(SCORING, safe='')}"
SCORING_PAGE = f"/fer/dags/fer_scoring/reports/{SCORING_FOLDER}/scoring.html"
SCORING_PAGES = [SCORING_RUN, SCORING_PAGE]
PAGES = [RUN, f"{REPORTS}/index.html", REPORT_PAGE, f"{DOCS}/index.html", f"{DOCS}/{RESULT}", *SCORING_PAGES]
LEADING_ON = [RUN, f"{DOCS}/index.html", SCORING_RUN]

HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "sandbox allow-same-origin; default-src 'none'; img-src data:; "
    "style-src-elem 'sha256-yGlZ2COO0fMfg35ueFMkXeTwfxqsIlQtrdC226cyFEQ='; style-src-attr 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with serving(set_up(tmp_path_factory.mktemp("plugin"))) as both:
        yield both


@pytest.fixture(scope="module", params=["at the root", "below a prefix"])
def server(servers, request):
    return servers[request.param_index]


@pytest.fixture(scope="module")
def root_server(servers):
    return servers[0]


@pytest.fixture(scope="module")
def prefixed_server(servers):
    return servers[1]


def assert_refused(answer: Answer, *statuses: int) -> None:
    assert answer.status in statuses, answer
    assert "THE-REPORT-OF" not in answer.body
    assert FOLDER not in answer.body


@pytest.mark.parametrize("user", ["admin", "vic"])
@pytest.mark.parametrize(
    ("path", "page", "folder"),
    [
        (RUN, REPORT_PAGE, FOLDER),
        (REPORT_PAGE, REPORT_PAGE, FOLDER),
        (SCORING_RUN, SCORING_PAGE, SCORING_FOLDER),
        (SCORING_PAGE, SCORING_PAGE, SCORING_FOLDER),
    ],
)
def test_who_may_read_the_dag_sees_the_report(server, path, page, folder, user):
    answer = server.see(path, user)
    if path != page:  # its links hold where the report is
        assert (answer.status, answer.body) == (307, "")
        path = urljoin(path, answer.headers["location"])
        assert path == page
        answer = server.see(path, user)
    assert answer.status == 200
    assert answer.body == REPORT + folder
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    bearer = server.ask(path, headers={"Authorization": f"Bearer {server.tokens[user]}"})
    assert (bearer.status, bearer.body) == (200, answer.body)


def test_the_index_links_to_reports_that_open(server):
    answer = server.see(f"{REPORTS}/index.html")
    assert answer.status == 200
    assert f'<a href="{FOLDER}/report.html">{FOLDER}</a><span class="tag">champion</span>' in answer.body
    assert not any(name in answer.body for name in (LINKED_FOLDER, LINKED_REPORT, LINKED_INSIDE))
    assert "style-src-elem 'sha256-" in answer.headers["content-security-policy"]
    assert {name: answer.headers.get(name) for name in list(HEADERS)[2:]} == dict(list(HEADERS.items())[2:])
    report = server.see(urljoin(f"{REPORTS}/index.html", f"{FOLDER}/report.html"))
    assert report.body == REPORT + FOLDER


def test_the_data_docs_of_a_run_show_the_result_without_scripts_and_foreign_addresses(server):
    answer = server.see(urljoin(REPORT_PAGE, "data_docs/index.html"))
    assert (answer.status, answer.headers["location"]) == (307, RESULT)
    assert answer.headers["content-security-policy"].startswith("sandbox allow-same-origin; default-src 'none';")
    for page in (RESULT, "expectations/fer_faces.html"):
        answer = server.see(f"{DOCS}/{page}")
        assert answer.status == 200
        assert f"THE-REPORT-OF {page}<script>" in answer.body
        sheet = answer.body.partition("<head><style>")[2].partition("</style>")[0]
        assert "GX's pages" in sheet
        digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
        policy = HEADERS["content-security-policy"]
        allowed = policy.replace(re.findall("sha256-[^']+", policy)[0], f"sha256-{digest}")
        assert answer.headers["content-security-policy"] == allowed
        assert {name: answer.headers.get(name) for name in list(HEADERS)[2:]} == dict(list(HEADERS.items())[2:])


@pytest.mark.parametrize(
    "address",
    [
        f"{DOCS}/static/styles/default.css",
        f"{DOCS}/linked.html",
        f"{DOCS}/linked/expectations/fer_faces.html",
        f"{DOCS}/missing.html",
        f"{DOCS}/",
        f"{DOCS}/../report.html",
        f"{DOCS}/%2e%2e/report.html",
        f"{DOCS}/..%2freport.html",
        f"{DOCS}//expectations/fer_faces.html",
        f"{DOCS}/expectations/../../report.html",
        f"{DOCS}/expectations%2f..%2f..%2f..%2freport.html",
        f"{DOCS}/%2e/expectations/fer_faces.html",
        f"{DOCS}/expectations/fer_faces.html%00",
        f"{DOCS}/expectations/fer_faces.html%0a",
        f"{REPORTS}/linked-docs/data_docs/index.html",
        f"{REPORTS}/linked-docs/data_docs/expectations/fer_faces.html",
        f"{REPORTS}/../data_docs/index.html",
        f"{REPORTS}/%2e%2e/data_docs/index.html",
        f"/fer/dags/fer_tuning/reports/{FOLDER}/data_docs/{RESULT}",
    ],
)
def test_no_way_leads_out_of_the_data_docs(root_server, address):
    assert_refused(root_server.see(address, "admin"), 404)


def test_a_run_without_a_report_tells_how_far_it_is(server):
    answer = server.see(f"/fer/dags/fer_training/runs/{quote(GOING_ON, safe='')}")
    assert answer.status == 200
    assert "No report yet" in answer.body
    assert "The run waits for its turn." in answer.body
    assert "ingest_dataset<span" in answer.body
    assert "style-src-elem 'sha256-" in answer.headers["content-security-policy"]


def test_a_scoring_without_a_report_tells_how_far_it_is(root_server):
    answer = root_server.see(f"/fer/dags/fer_scoring/runs/{quote(SCORING_GOING_ON, safe='')}")
    assert answer.status == 200
    assert "No report yet" in answer.body
    assert "score_faces<span" in answer.body
    assert "ingest_dataset" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        f"/fer/dags/fer_scoring/runs/{quote(FINISHED, safe='')}",
        f"/fer/dags/fer_training/runs/{quote(SCORING, safe='')}",
        f"/fer/dags/fer_training/reports/{SCORING_FOLDER}/scoring.html",
        f"/fer/dags/fer_training/reports/{SCORING_FOLDER}/report.html",
        f"/fer/dags/fer_scoring/reports/{FOLDER}/report.html",
        f"/fer/dags/fer_scoring/reports/{FOLDER}/scoring.html",
        f"/fer/dags/fer_scoring/reports/{FOLDER}/data_docs/index.html",
        f"/fer/dags/fer_scoring/reports/{LINKED_FOLDER}/scoring.html",
        "/fer/dags/fer_scoring/reports/index.html",
        "/fer/dags/fer_training/runs/manual__2026-01-02T03%3A04%3A06%2B00%3A00",
        "/fer/dags/fer_training/runs/scheduled__of_nobody",
        f"/fer/dags/fer_training/runs/{FOLDER}",
        f"/fer/dags/fer_training/runs/{quote(TUNING, safe='')}",
        f"/fer/dags/fer_tuning/runs/{quote(TUNING, safe='')}",
        f"/fer/dags/fer_tuning/runs/{quote(FINISHED, safe='')}",
        f"/fer/dags/fer_tuning/reports/{FOLDER}/report.html",
        "/fer/dags/fer_tuning/reports/index.html",
        f"{REPORTS}/missing/report.html",
        f"{REPORTS}/{FOLDER}/gate.json",
        f"{REPORTS}/",
        "/fer/docs",
        "/fer/openapi.json",
        "/fer/",
    ],
)
def test_what_is_no_run_of_the_dag_is_said_not_to_be_there(root_server, path):
    answer = root_server.see(path, "admin")
    assert answer.status == 404
    assert "THE-REPORT-OF" not in answer.body
    assert "Only runs of the DAG fer_training have evaluation reports" in answer.body
    assert "frame-ancestors" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "way",
    [
        "..",
        "../..",
        "%2e%2e",
        "%2e%2e%2f%2e%2e",
        "..%2f",
        "..%5c..",
        "%252e%252e%252f",
        "%252e%252e",
        f"{FOLDER}/..",
        f"{FOLDER}%2f..",
        f"{FOLDER}%2f..%2f{FOLDER}",
        "%2f",
        ".",
        "%00",
        f"{FOLDER}%00",
        f"{FOLDER}%0a",
        "%c0%ae%c0%ae",
        "%ff",
    ],
)
@pytest.mark.parametrize(
    "pattern",
    [
        f"{REPORTS}/@/report.html",
        "/fer/dags/fer_training/runs/@",
        "/fer/@/report.html",
        "/fer/dags/fer_scoring/reports/@/scoring.html",
        "/fer/dags/fer_scoring/runs/@",
    ],
)
def test_no_way_leads_out_of_the_runs_folder(root_server, pattern, way):
    assert_refused(root_server.see(pattern.replace("@", way), "admin"), 404)


@pytest.mark.parametrize("name", [LINKED_FOLDER, LINKED_REPORT, LINKED_INSIDE])
def test_symbolic_links_are_not_followed(root_server, name):
    assert_refused(root_server.see(f"{REPORTS}/{name}/report.html", "admin"), 404)
    run = root_server.see(f"/fer/dags/fer_training/runs/{name}", "admin")
    assert_refused(run, 200)
    assert "No report yet" in run.body


def token(secret: str, *, seconds: int = 600, algorithm: str = "HS512", **claims: Any) -> str:
    """What Airflow would sign for its admin, but for what is changed."""
    now = int(time.time())
    valid = {
        "sub": "admin",
        "role": "admin",
        "teams": None,
        "aud": "apache-airflow",
        "iat": now - 900,
        "nbf": now - 900,
    }
    return jwt.encode({**valid, "exp": now + seconds, **claims}, secret, algorithm=algorithm)


def credentials(server: Server) -> dict[str, tuple[str | None, int]]:
    """{what is wrong with it: (the token, the status it gets)}; the first is right."""
    secret = server.jwt_secret
    header, _, signature = server.tokens["ned"].split(".")
    return {
        "right": (token(secret), 200),
        "none": (None, 401),
        "expired": (token(secret, seconds=-60), 401),
        "of another key": (token("another key" * 8), 403),
        "without a signature": (token("", algorithm="none"), 403),
        "with its signature cut off": (f"{token(secret).rpartition('.')[0]}.", 403),
        "with another payload": (f"{header}.{token(secret).split('.')[1]}.{signature}", 403),
        "for another service": (token(secret, aud="urn:airflow.apache.org:task"), 403),
        "not yet valid": (token(secret, nbf=int(time.time()) + 600), 403),
        "garbage": ("garbage", 403),
    }


@pytest.mark.parametrize("carrier", ["cookie", "header"])
@pytest.mark.parametrize("path", [*PAGES, "/fer/anything", f"{REPORTS}/..%2f/report.html"])
def test_only_a_valid_session_sees_anything(server, path, carrier):
    for kind, (value, status) in credentials(server).items():
        header = {"cookie": {"Cookie": f"_token={value}"}, "header": {"Authorization": f"Bearer {value}"}}[carrier]
        answer = server.ask(path, headers=header if value else {})
        if kind == "right":
            assert answer.status == (307 if path in LEADING_ON else 200 if path in PAGES else 404)
            continue
        assert_refused(answer, status)
        assert "Not shown" in answer.body, kind
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_a_user_without_a_role_sees_nothing(root_server, path):
    assert_refused(root_server.see(path, "ned"), 403)


@pytest.mark.parametrize("path", [*PAGES, "/fer/dags/fer_tuning/reports/index.html", "/fer/dags/~/reports/index.html"])
@pytest.mark.parametrize("query", ["", "?dag_id=fer_tuning"])
def test_a_user_who_may_read_only_another_dag_sees_nothing(prefixed_server, path, query):
    assert prefixed_server.see("/api/v2/dags/fer_tuning", "tess").status == 200
    assert_refused(prefixed_server.see(path + query, "tess"), 403)


def test_a_user_who_may_read_only_the_scoring_sees_its_reports_and_no_others(prefixed_server):
    for path in SCORING_PAGES:
        assert prefixed_server.see(path, "sam").status in (200, 307)
    assert prefixed_server.see(SCORING_PAGE, "sam").body == REPORT + SCORING_FOLDER
    for path in [*PAGES, f"/fer/dags/fer_scoring/reports/{FOLDER}/report.html"]:
        if path not in SCORING_PAGES:
            assert_refused(prefixed_server.see(path, "sam"), 403)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_reports_can_only_be_read(root_server, method):
    cookie = {"Cookie": f"_token={root_server.tokens['admin']}"}
    assert_refused(root_server.ask(PAGES[2], headers=cookie, method=method), 405)


def test_airflow_shows_the_views_and_found_no_fault_with_the_plugin(server):
    assert server.call("/api/v2/plugins/importErrors")["import_errors"] == []
    [plugin] = [plugin for plugin in server.call("/api/v2/plugins")["plugins"] if plugin["name"] == "fer_report"]
    views = [(view["name"], view["destination"], view["href"], view["url_route"]) for view in plugin["external_views"]]
    assert views == [
        ("Evaluation report", "dag_run", "fer/dags/{DAG_ID}/runs/{RUN_ID}", "evaluation-report"),
        ("Evaluation reports", "dag", "fer/dags/{DAG_ID}/reports/index.html", "evaluation-reports"),
    ]


@pytest.mark.parametrize(
    ("dag_id", "run_id", "task_id", "link"),
    [
        ("fer_training", FINISHED, "publish_report", LINK),
        ("fer_training", FINISHED, "accuracy_gate", LINK),
        ("fer_training", FINISHED, "train_model", None),
        ("fer_training", FINISHED, "ingest_dataset", None),
        ("fer_tuning", TUNING, "publish_study", None),
        ("fer_scoring", SCORING, "publish_scoring", SCORING_LINK),
        ("fer_scoring", SCORING, "store_scores", None),
    ],
)
def test_some_tasks_link_to_the_report(server, dag_id, run_id, task_id, link):
    task = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}"
    assert server.call(f"{task}/links")["extra_links"] == {"Evaluation report": link}
