"""The rules of the house that a reader relies on, held by the machine."""

import ast
import base64
import csv
import hashlib
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from fer_tasks.scoring_settings import ScoringSettings
from fer_tasks.settings import RunSettings, markdown_table
from fer_tasks.tuning_settings import TuningSettings
from service.limits import ServiceLimits

PROJECT = Path(__file__).resolve().parent.parent
FER_TASKS = sorted((PROJECT / "fer_tasks").glob("*.py"))
SPARK_JOBS = sorted((PROJECT / "spark_jobs").glob("*.py"))
PLUGINS = sorted((PROJECT / "plugins").glob("*.py"))
SERVICE = sorted((PROJECT / "service").glob("*.py"))
WEB = {"fastapi", "starlette", "uvicorn", "prometheus_client"}


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", [*FER_TASKS, *SPARK_JOBS], ids=lambda path: path.name)
def test_imports_point_one_way(path):
    forbidden = {"airflow", "dags", "plugins", "launcher", "service", *WEB} | (
        {"spark_jobs"} if path in FER_TASKS else set()
    )
    assert not imported_modules(path) & forbidden


@pytest.mark.parametrize("path", SERVICE, ids=lambda path: path.name)
def test_the_service_imports_the_steps_and_what_a_server_is_made_of(path):
    allowed = {"fer_tasks", "service", "pydantic", "numpy", "cv2", *WEB}
    assert imported_modules(path) <= allowed | sys.stdlib_module_names


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_the_project_and_airflow_with_what_its_api_is_made_of(path):
    allowed = {"fer_tasks", "airflow", "fastapi", "starlette", "sqlalchemy"}
    assert imported_modules(path) <= allowed | sys.stdlib_module_names


def test_loading_a_plugin_imports_nothing_but_airflow_s_base_classes():
    """Airflow loads it in every process: scheduler, workers and DAG processor do not need what serves pages."""
    script = (
        "import sys\n"
        "from airflow.plugins_manager import AirflowPlugin\n"
        "from airflow.sdk import BaseOperatorLink\n"
        "before = set(sys.modules)\n"
        "import plugins.fer_report_plugin\n"
        "print(sorted(set(sys.modules) - before - set(sys.stdlib_module_names)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "['plugins', 'plugins.fer_report_plugin']"


def test_what_the_api_server_imports_for_the_reports_stays_light():
    script = (
        "import sys, pathlib\n"
        "from fer_tasks.report_index import render_index\n"
        "from fer_tasks.report_notice import tell_progress\n"
        "from fer_tasks.run_directory import RunDirectory\n"
        "render_index(pathlib.Path('runs'))\n"
        "tell_progress(RunDirectory('runs/x'), 'running')\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'pyspark', 'tensorflow', 'great_expectations', 'mlflow', 'cv2'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_what_the_dag_processor_imports_stays_light():
    script = (
        "import sys\n"
        "import fer_tasks.tuning_settings, fer_tasks.run_directory, fer_tasks.spark_runtime, fer_tasks.emotions\n"
        "import fer_tasks.ingestion, fer_tasks.preprocessing, fer_tasks.reuse, fer_tasks.notification\n"
        "import fer_tasks.scoring_settings, fer_tasks.scoring_directory\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'pyspark', 'tensorflow', 'great_expectations', 'mlflow', 'cv2'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_importing_the_steps_loads_no_heavy_library():
    modules = ", ".join(f"fer_tasks.{path.stem}" for path in FER_TASKS if path.stem != "__init__")
    script = (
        f"import sys, {modules}\n"
        "heavy = {'tensorflow', 'great_expectations', 'mlflow', 'lime', 'pyspark', 'optuna'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_pyspark_is_the_locked_one_and_no_other_package_wrote_over_it():
    """pyspark-client, which the Spark provider asks for, carries other versions of PySpark's own files."""
    with pytest.raises(PackageNotFoundError):
        distribution("pyspark-client")
    pyspark = distribution("pyspark")
    assert f"pyspark=={pyspark.version}" in (PROJECT / "requirements.txt").read_text()
    record = pyspark.read_text("RECORD")
    checked = 0
    for name, digest, _ in csv.reader((record or "").splitlines()):
        if digest and name.startswith("pyspark/") and name.endswith(".py"):
            content = Path(str(pyspark.locate_file(name))).read_bytes()
            actual = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert digest == f"sha256={actual}", name
            checked += 1
    assert checked > 300


def test_every_chosen_requirement_is_pinned_and_has_its_reason():
    lock = (PROJECT / "requirements.txt").read_text()
    for line in (PROJECT / "requirements.in").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement, reason = line.split("#", 1)
            name = re.split(r"[\[<>= ]", requirement)[0]
            assert reason.strip(), name
            assert re.search(rf"^{name}==\d", lock, re.MULTILINE | re.IGNORECASE), name
    assert not re.findall(r"^(?:pyspark-client|opencv-python|imageio-ffmpeg|onnxruntime)==", lock, re.MULTILINE)


@pytest.mark.parametrize(
    ("form_fields", "module"),
    [
        (RunSettings.form_fields(), "fer_tasks.settings"),
        (TuningSettings.study_fields(), "fer_tasks.tuning_settings"),
        (ScoringSettings.form_fields(), "fer_tasks.scoring_settings"),
        (ServiceLimits.form_fields(), "service.limits"),
    ],
)
def test_the_readme_holds_the_tables_of_settings(form_fields, module):
    readme = (PROJECT / "README.md").read_text()
    assert markdown_table(form_fields) in readme, f"renew it with python -m {module}"
