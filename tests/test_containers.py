"""What can be known of the containers without an engine: every name in their files leads somewhere.

`make compose-test` starts them.
"""

import http.server
import json
import re
import shutil
import stat
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pyspark
import pytest
import yaml

from launcher.stack import SECRETS, write_secrets

PROJECT = Path(__file__).resolve().parent.parent
COMPOSE_TEXT = (PROJECT / "docker-compose.yaml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
OVERRIDE_TEXT = (PROJECT / "docker-compose.override.example.yaml").read_text()
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
JARS = Path(pyspark.__file__).parent / "jars"


def command(service: str) -> list[str]:
    return SERVICES[service]["command"]


def health_check(service: str) -> list[str]:
    return SERVICES[service]["healthcheck"]["test"][1:]


def variables(service: str) -> dict[str, str]:
    return SERVICES[service].get("environment", {})


def jar_class(jar: str, name: str) -> bytes:
    (path,) = JARS.glob(f"{jar}_*.jar")
    with zipfile.ZipFile(path) as archive:
        return archive.read(name.replace(".", "/") + ".class")


def test_the_stack_is_what_the_readme_says():
    assert sorted(SERVICES) == [
        *("airflow-init", "api-server", "dag-processor", "database", "mlflow", "scheduler"),
        *("spark-master", "spark-worker-1", "spark-worker-2", "triggerer"),
    ]


@pytest.mark.parametrize("text", [COMPOSE_TEXT, OVERRIDE_TEXT], ids=["compose", "override"])
def test_no_secret_has_a_default(text):
    secret = re.compile(r"PASSWORD|SECRET|_KEY|FERNET|JWT")
    used = re.findall(r"\$\{(\w+)([^}]*)\}", text)
    assert {name for name, rest in used if secret.search(name) and not rest.startswith(":?")} == set()
    given = re.findall(r"^\s*(\w*(?:PASSWORD|SECRET|KEY)\w*): (.*)$", text, re.MULTILINE)
    assert [name for name, value in given if not value.startswith("${") and not value.endswith(".json")] == []


def test_every_secret_that_compose_asks_for_is_written_by_make_up():
    asked = set(re.findall(r"\$\{(\w+):\?run make up\}", COMPOSE_TEXT))
    assert asked == set(SECRETS)


def test_one_port_is_published_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api-server": ["${FER_BIND_ADDRESS:-127.0.0.1}:${FER_UI_PORT:-8080}:8080"]}
    assert not any(key in service for service in SERVICES.values() for key in ("network_mode", "privileged", "user"))


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_is_limited_checked_and_restarted(name):
    service = SERVICES[name]
    once = name == "airflow-init"
    assert service["restart"] == ("no" if once else "unless-stopped")
    assert ("healthcheck" in service) is not once
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_compose_1_29_knows_every_key(name):
    """Its schema is that of the Compose specification without what came later; `deploy` it only warns of."""
    known = {"image", "build", "init", "restart", "cap_drop", "security_opt", "command", "environment", "volumes"}
    known |= {"ports", "depends_on", "healthcheck", "mem_limit", "cpus", "stop_grace_period", "stop_signal"}
    assert set(SERVICES[name]) <= known
    assert set(SERVICES[name].get("healthcheck", {})) <= {"test", "interval", "timeout", "retries", "start_period"}
    assert set(SERVICES[name]["build"]) == {"context", "target", "args"}
    assert [key for key in COMPOSE if not key.startswith("x-")] == ["services", "volumes"]


def test_what_waits_for_what():
    waits = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    healthy, ended = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert waits == {
        "database": {},
        "airflow-init": {"database": healthy},
        "api-server": {"airflow-init": ended},
        "scheduler": dict.fromkeys(["api-server", "mlflow", "spark-worker-1", "spark-worker-2"], healthy),
        "dag-processor": {"api-server": healthy},
        "triggerer": {"api-server": healthy},
        "spark-master": {},
        "spark-worker-1": {"spark-master": healthy},
        "spark-worker-2": {"spark-master": healthy},
        "mlflow": {"database": healthy},
    }


def test_every_airflow_command_is_one_that_airflow_parses():
    from airflow.cli.cli_parser import get_parser

    parts = [command(name)[1:] for name in SERVICES if SERVICES[name].get("command", [""])[0] == "airflow"]
    assert [part[0] for part in parts] == ["api-server", "scheduler", "dag-processor", "triggerer"]
    for part in parts:
        assert get_parser().parse_args(part).subcommand == part[0]


def test_the_mlflow_command_is_one_that_mlflow_parses():
    from mlflow.cli import server

    assert command("mlflow")[:2] == ["mlflow", "server"]
    arguments = server.make_parser(server.context_class(server)).parse_args(command("mlflow")[2:])[0]
    assert arguments["artifacts_destination"] == "/var/lib/fer/mlflow"
    assert arguments["allowed_hosts"].split(",")[0] == variables("scheduler")["MLFLOW_TRACKING_URI"].split("//")[1]


def test_every_other_command_is_a_spark_class_or_a_script_of_the_repository():
    programs = {name: command(name) for name in SERVICES if "command" in SERVICES[name]}
    spark = {name: words[1] for name, words in programs.items() if words[0] == "spark-class"}
    assert sorted(spark) == ["spark-master", "spark-worker-1", "spark-worker-2"]
    for name in spark.values():
        assert jar_class("spark-core", name)
    scripts = [words[1] for words in programs.values() if words[0] == "bash"]
    assert scripts == ["/opt/fer/compose/init.sh"]
    assert {words[0] for words in programs.values()} == {"airflow", "mlflow", "spark-class", "bash"}
    for program in ("airflow", "mlflow", "spark-class", "python"):
        assert Path(sys.executable).with_name(program).exists()


@pytest.mark.parametrize("script", ["database.sh", "init.sh"])
def test_the_scripts_are_bash(script):
    assert subprocess.run(["bash", "-n", PROJECT / "compose" / script]).returncode == 0


def test_the_workers_find_the_master_where_the_connection_looks_for_it():
    connection = json.loads(variables("scheduler")["AIRFLOW_CONN_SPARK_DEFAULT"])
    address = f"{connection['host']}:{connection['port']}"
    assert address == "spark://spark-master:7077"
    assert command("spark-worker-1")[-1] == command("spark-worker-2")[-1] == address
    master = command("spark-master")
    assert master[master.index("--host") + 1] == "spark-master"
    assert master[master.index("--port") + 1] == "7077"


def test_every_variable_is_one_that_something_reads():
    from airflow.configuration import retrieve_configuration_description

    described = {
        f"AIRFLOW__{section.upper()}__{option.upper()}"
        for section, content in retrieve_configuration_description().items()
        for option in content["options"]
    }
    override = yaml.safe_load(OVERRIDE_TEXT)["x-runs-on-s3"]["environment"]
    named = {variable for name in SERVICES for variable in variables(name)} | set(override)
    code = "".join(
        path.read_text()
        for folder in ("fer_tasks", "dags", "launcher", "compose")
        for path in (PROJECT / folder).iterdir()
        if path.suffix in (".py", ".sh")
    )
    for variable in sorted(named):
        if variable.startswith("AIRFLOW__"):
            assert variable in described, variable
        elif variable.startswith("FER_") or variable.endswith("_DB_PASSWORD"):
            assert variable in code, variable
    assert b"SPARK_WORKER_OPTS" in jar_class("spark-launcher", "org.apache.spark.launcher.SparkClassCommandBuilder")
    assert b"SPARK_LOCAL_HOSTNAME" in jar_class("spark-core", "org.apache.spark.util.Utils$")
    foreign = {name for name in named if not name.startswith(("AIRFLOW", "FER_")) and not name.endswith("_DB_PASSWORD")}
    assert foreign == {
        *("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY", "TF_CPP_MIN_LOG_LEVEL", "SPARK_WORKER_OPTS"),
        *("SPARK_LOCAL_HOSTNAME", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"),
        "AWS_SECRET_ACCESS_KEY",
    }


def test_every_mounted_path_is_made_for_the_user_of_the_image():
    made = re.search(r"for folder in ([\w ]+); do install -d -o fer .* /var/lib/fer/\$folder", DOCKERFILE)
    pipeline = {f"/var/lib/fer/{name}" for name in made[1].split()} | {"/data"}
    database = set(re.findall(r"install -d -o postgres .* (/\S+)$", DOCKERFILE, re.MULTILINE))
    used = set()
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source, path, *mode = volume.rsplit(":", 2 if volume.endswith(":ro") else 1)
            assert path in (database if name == "database" else pipeline), path
            assert (mode == ["ro"]) is (path == "/data")
            used |= {source} - {"${FER_DATA_FOLDER:-./data}"}
    assert used == set(COMPOSE["volumes"])


def test_nobody_is_root_and_the_base_image_is_an_argument():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    assert stages[0].rstrip().splitlines()[-1].startswith("ARG BASE_IMAGE=python:3.11")
    assert [stage.splitlines()[0] for stage in stages[1:]] == ["${BASE_IMAGE} AS database", "${BASE_IMAGE} AS pipeline"]
    assert [re.findall(r"^USER (\w+)", stage, re.MULTILINE) for stage in stages[1:]] == [["postgres"], ["fer"]]


def test_what_the_images_copy_is_there_and_not_ignored():
    sources = {line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")}
    let_in = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in sources:
        assert (PROJECT / source).exists(), source
        assert source.split("/")[0] in let_in, source


def test_every_health_check_asks_a_port_that_is_served():
    from airflow.api_fastapi.core_api.datamodels.monitor import HealthInfoResponse

    served = {"api-server": ("8080",), "spark-master": ("8080",), "spark-worker-1": ("8081",), "mlflow": ("5000",)}
    served["spark-worker-2"] = ("8081",)
    for name in SERVICES:
        if name in ("database", "airflow-init"):
            continue
        program, option, module, url, *component = health_check(name)
        assert (program, option, module) == ("python", "-m", "launcher.health")
        host, port = re.match(r"http://([\w.-]+):(\d+)/", url).groups()
        assert host in ("127.0.0.1", "api-server")
        assert port in served[name if host == "127.0.0.1" else host]
        assert set(component) <= set(HealthInfoResponse.model_fields)
    assert health_check("database")[0] == "pg_isready"


@pytest.fixture(scope="module")
def airflow_health():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"scheduler": {"status": "healthy"}, "triggerer": {"status": null}}')

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


@pytest.mark.parametrize(
    ("component", "status", "words"),
    [([], 0, ""), (["scheduler"], 0, ""), (["triggerer"], 1, "triggerer is None")],
)
def test_the_health_check_tells_healthy_from_not(airflow_health, component, status, words):
    check = [sys.executable, "-m", "launcher.health", airflow_health, *component]
    answer = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr.strip()) == (status, words)


def test_the_health_check_of_what_does_not_answer_fails():
    check = [sys.executable, "-m", "launcher.health", "http://127.0.0.1:1/"]
    answer = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True)
    assert answer.returncode == 1
    assert "does not answer" in answer.stderr


def test_secrets_are_random_private_and_kept(tmp_path):
    from cryptography.fernet import Fernet

    first, second = write_secrets(tmp_path / "one"), write_secrets(tmp_path / "two")
    assert all(first[name] != second[name] and len(first[name]) >= 16 for name in SECRETS)
    assert re.fullmatch("[0-9a-f]+", first["AIRFLOW_DB_PASSWORD"] + first["MLFLOW_DB_PASSWORD"])
    Fernet(first["AIRFLOW_FERNET_KEY"])
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    assert write_secrets(tmp_path / "one") == first


def test_a_secret_that_is_missing_is_added_and_the_rest_stays(tmp_path):
    file = tmp_path / "env"
    file.write_text("# mine\nFER_UI_PORT=8090\nFER_ADMIN_PASSWORD=chosen\nMLFLOW_DB_PASSWORD=\n")
    values = write_secrets(file)
    assert (values["FER_UI_PORT"], values["FER_ADMIN_PASSWORD"]) == ("8090", "chosen")
    lines = file.read_text().splitlines()
    assert lines[:3] == ["# mine", "FER_UI_PORT=8090", "FER_ADMIN_PASSWORD=chosen"]
    assert sorted(line.split("=")[0] for line in lines[3:]) == sorted(set(SECRETS) - {"FER_ADMIN_PASSWORD"})
    assert all(values[name] for name in SECRETS)


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="Compose 1.29 is not installed")
def test_compose_refuses_to_start_without_the_secrets(tmp_path):
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    show = ["docker-compose", "--env-file", str(tmp_path / "env"), "config", "--quiet"]
    (tmp_path / "env").write_text("")
    refused = subprocess.run(show, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "run make up" in refused.stderr
    write_secrets(tmp_path / "env")
    assert subprocess.run(show, cwd=PROJECT, env=environment, capture_output=True).returncode == 0
