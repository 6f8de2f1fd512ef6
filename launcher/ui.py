"""`make ui`: Airflow with its web UI, on loopback only, until Ctrl-C. The address and the login are printed.

    python -m launcher.ui [--port 8080]

The four parts of `airflow standalone`, started one by one: standalone opens its log server on every interface and
leaves its children behind when it is stopped by a signal.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from fer_tasks.errors import PipelineError
from launcher.environment import AIRFLOW, PROJECT, airflow_environment, migrate_database
from launcher.processes import exit_on_sigterm, stop

_PARTS = (
    ["api-server", "--host", "127.0.0.1"],
    ["scheduler", "--skip-serve-logs"],
    ["dag-processor"],
    ["triggerer", "--skip-serve-logs"],
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=int(os.environ.get("FER_UI_PORT", "8080")))
    options = parser.parse_args()
    exit_on_sigterm()
    os.umask(0o077)  # Airflow writes the login it makes into a file
    try:
        environment = airflow_environment(options.port)
    except PipelineError as error:
        sys.exit(str(error))
    print("Preparing Airflow", flush=True)
    migrate_database(environment)
    subprocess.run([sys.executable, "-m", "launcher.abandoned_runs"], env=environment, cwd=PROJECT, check=False)
    logs = Path(environment["AIRFLOW_HOME"]) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    processes = {}
    try:
        for part in _PARTS:
            with (logs / f"{part[0]}.log").open("ab") as output:
                processes[part[0]] = subprocess.Popen(
                    [AIRFLOW, *part], env=environment, cwd=PROJECT, stdout=output, stderr=output, start_new_session=True
                )
        return _watch(processes, environment, logs)
    except KeyboardInterrupt:
        return 0
    finally:
        stop(*processes.values())


def _watch(processes: "dict[str, subprocess.Popen[bytes]]", environment: dict[str, str], logs: Path) -> int:
    """Print the login once the UI answers; return 1 as soon as one part has ended."""
    told = False
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                print(f"airflow {name} ended with status {process.returncode}; see {logs / name}.log", file=sys.stderr)
                return 1
        if not told and _answers(environment["AIRFLOW__API__BASE_URL"]):
            told = True
            print(f"Airflow: {environment['AIRFLOW__API__BASE_URL']}  {_login(environment)}", flush=True)
            print("Ctrl-C stops it. The DAGs may take half a minute to appear.", flush=True)
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5).close()  # noqa: S310 - our own address
    except (urllib.error.URLError, TimeoutError):
        return False
    return True


def _login(environment: dict[str, str]) -> str:
    passwords = Path(environment["AIRFLOW_HOME"]) / "simple_auth_manager_passwords.json.generated"
    if not passwords.exists():
        return "(login: as your auth manager has it)"
    logins = json.loads(passwords.read_text())
    return "  ".join(f"login {user}, password {password}" for user, password in logins.items())


if __name__ == "__main__":
    sys.exit(main())
