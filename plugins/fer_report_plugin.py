"""What shows in Airflow's UI: a run's evaluation report on its page, all reports on the DAG's page, links on two tasks.

The pages lie below `<base URL>/fer/dags/<DAG>/`, as Airflow's own do below `<base URL>/dags/<DAG>/`:

    runs/<run id>                  leads to the report of a run, or tells how far the run is; also for fer_scoring
    reports/index.html             all reports; its links are those of runs/index.html on disk
    reports/<folder>/report.html
    reports/<folder>/data_docs/*   the pages of Great Expectations that a report links to
    reports/<folder>/scoring.html  of fer_scoring, which has nothing else of these

Airflow loads this file in every one of its processes, so only the API server, when it first serves a page, imports
more than the base classes.
"""

import base64
import hashlib
import re
from typing import Any
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

DAG_ID, SCORING = "fer_training", "fer_scoring"
RUN_VIEW, DAG_VIEW = "evaluation-report", "evaluation-reports"
LINKED_TASKS = {DAG_ID: ("accuracy_gate", "publish_report"), SCORING: ("publish_scoring",)}


def build_app() -> Any:
    """The FastAPI app. Airflow puts no login before a plugin's app, so every route here asks for one, the last too,
    which stands for all other addresses: without a session no address tells what there is."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI
    from starlette.exceptions import HTTPException

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for path, page, read in (
        (f"/dags/{SCORING}/runs/{{run_id}}", scoring_run_page, SCORING),
        (f"/dags/{SCORING}/reports/{{folder}}/scoring.html", scoring_page, SCORING),
        ("/dags/{dag_id}/runs/{run_id}", run_page, DAG_ID),
        ("/dags/{dag_id}/reports/index.html", index_page, DAG_ID),
        ("/dags/{dag_id}/reports/{folder}/report.html", report_page, DAG_ID),
        ("/dags/{dag_id}/reports/{folder}/data_docs/{page:path}", data_docs_page, DAG_ID),
        ("/{rest:path}", no_page, DAG_ID),
    ):
        # The DAG is a constant: were it read from the address, whoever may read any DAG could read these reports.
        may_read = requires_access_dag("GET", DagAccessEntity.RUN, param_dag_id=read)
        app.add_api_route(path, page, response_model=None, dependencies=[Depends(may_read)])
    app.add_exception_handler(HTTPException, refusal)
    return app


def run_page(dag_id: str, run_id: str) -> Any:
    from fer_tasks.report_index import find_report
    from fer_tasks.report_notice import tell_progress

    return _page_of_run(DAG_ID, run_id, find_report, tell_progress) if dag_id == DAG_ID else no_page()


def scoring_run_page(run_id: str) -> Any:
    from fer_tasks.report_index import find_scoring
    from fer_tasks.report_notice import tell_scoring_progress

    return _page_of_run(SCORING, run_id, find_scoring, tell_scoring_progress)


def _page_of_run(dag_id: str, run_id: str, find: Any, tell: Any) -> Any:
    from fer_tasks.run_directory import RunDirectory, runs_folder

    state = _run_state(dag_id, run_id) if run_id.isprintable() else None  # PostgreSQL raises at a NUL
    if state is None:
        return no_page()
    run_dir = RunDirectory.for_run_id(run_id)
    run_dir.pull(folders=False)
    report = find(runs_folder(), run_dir.root.name)
    if report is None:
        return _notice(tell(run_dir, state))
    return _lead_to(f"../reports/{report.parent.name}/{report.name}")  # where the report's own links hold


def scoring_page(folder: str) -> Any:
    from fer_tasks.report_index import find_scoring
    from fer_tasks.run_directory import runs_folder

    page = find_scoring(runs_folder(), folder)
    return _answer(page.read_bytes()) if page else no_page()


def index_page(dag_id: str) -> Any:
    from fer_tasks.report_index import render_index
    from fer_tasks.run_directory import runs_folder

    if dag_id != DAG_ID:
        return no_page()
    return _answer(render_index(runs_folder()).encode(errors="backslashreplace"))


def report_page(dag_id: str, folder: str) -> Any:
    from fer_tasks.report_index import find_report
    from fer_tasks.run_directory import runs_folder

    report = find_report(runs_folder(), folder) if dag_id == DAG_ID else None
    return _answer(report.read_bytes()) if report else no_page()


def data_docs_page(dag_id: str, folder: str, page: str) -> Any:
    """Great Expectations' page without its scripts and what it would load from elsewhere, in a style of ours."""
    from fer_tasks.page_rendering import template_text
    from fer_tasks.report_index import find_data_docs
    from fer_tasks.run_directory import runs_folder

    file = find_data_docs(runs_folder(), folder, page) if dag_id == DAG_ID else None
    if file is None:
        return no_page()
    if page == "index.html" and file.name != page:
        return _lead_to(file.relative_to(runs_folder().resolve() / folder / "data_docs").as_posix())
    sheet = f"<head><style>{template_text('data_docs.css')}</style>".encode()
    return _answer(file.read_bytes().replace(b"<head>", sheet, 1))


def no_page() -> Any:
    from fer_tasks.report_notice import Notice

    text = (
        f"Nothing is at this address. Only runs of the DAG {DAG_ID} have evaluation reports; its page lists them all. "
        f"Runs of {SCORING} have reports of their own."
    )
    return _notice(Notice("No such report", text), status=404)


async def refusal(request: Any, error: Any) -> Any:
    """Any status that Airflow's login or FastAPI answers with, in words."""
    from fer_tasks.report_notice import Notice

    texts = {
        401: f"Log in to Airflow and open this page again. ({error.detail})",
        403: f"Reports are for those who may read the runs of the DAG that made them. ({error.detail})",
    }
    return _notice(Notice("Not shown", texts.get(error.status_code, error.detail)), status=error.status_code)


def _run_state(dag_id: str, run_id: str) -> Any:
    """`queued`, `running`, `success` or `failed`; None where the DAG has no such run."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


def _notice(notice: Any, status: int = 200) -> Any:
    from fer_tasks.page_rendering import render

    return _answer(render(notice, "notice.html.j2").encode(), status)


def _lead_to(address: str) -> Any:
    """Relative to the page asked for, so that it holds below any base URL, as every proxy hands it out."""
    return _answer(b"", 307, {"Location": address})


def _answer(html: bytes, status: int = 200, more: Any = None) -> Any:
    from fastapi.responses import HTMLResponse

    headers = {
        "Content-Security-Policy": content_security_policy(html),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(html, status, {**headers, **(more or {})})


def content_security_policy(html: bytes) -> str:
    """A policy under which the page shows and can do nothing: no script, no request, no form, no foreign frame.

    A report shows texts from outside (file names, errors) and comes from Airflow's own origin, inside a frame that
    allows scripts. Of styles, only the page's first sheet is allowed, which stands before any such text; by its hash,
    as a report keeps the style of the version that wrote it. Bars and cells are sized by style attributes, which no
    hash covers. `allow-same-origin` sends the login along when the index's links are followed; it is of no other use
    where no script runs.
    """
    sheet = re.search(rb"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(sheet[1] if sheet else b"").digest()).decode()
    return (
        "sandbox allow-same-origin; default-src 'none'; img-src data:; "
        f"style-src-elem 'sha256-{digest}'; style-src-attr 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


class LazyApp:
    """The app, built by the first request: FastAPI and Airflow's API stay out of schedulers and workers."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._app = self._app or build_app()
        await self._app(scope, receive, send)


class EvaluationReportLink(BaseOperatorLink):
    """A button on the pages of some tasks, which leads to the report on the page of their run."""

    name = "Evaluation report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Relative to the base URL, as Airflow's pages declare it; "" for other tasks, which shows no button."""
        if ti_key.task_id not in LINKED_TASKS.get(ti_key.dag_id, ()):
            return ""
        return f"dags/{ti_key.dag_id}/runs/{quote(ti_key.run_id, safe='')}/plugin/{RUN_VIEW}"


class FerReportPlugin(AirflowPlugin):
    name = "fer_report"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": "/fer", "name": "Evaluation reports"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Evaluation report",
            "href": "fer/dags/{DAG_ID}/runs/{RUN_ID}",
            "destination": "dag_run",
            "url_route": RUN_VIEW,
        },
        {
            "name": "Evaluation reports",
            "href": "fer/dags/{DAG_ID}/reports/index.html",
            "destination": "dag",
            "url_route": DAG_VIEW,
        },
    ]
    # Airflow attaches a plugin's link to operator classes or to all; those behind @task are private to its provider.
    global_operator_extra_links = [EvaluationReportLink()]  # noqa: RUF012
