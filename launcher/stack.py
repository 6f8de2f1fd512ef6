"""`make up` and `make down`: the pipeline in containers. Standard library only, as it runs outside of them.

python -m launcher.stack up|down
"""

import argparse
import base64
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

SECRETS: dict[str, Callable[[], str]] = {
    "AIRFLOW_FERNET_KEY": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
    "AIRFLOW_SECRET_KEY": lambda: secrets.token_hex(32),
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_hex(32),
    "AIRFLOW_DB_PASSWORD": lambda: secrets.token_hex(16),  # letters and digits: it is part of a URL
    "MLFLOW_DB_PASSWORD": lambda: secrets.token_hex(16),
    "FER_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(12),
}

_START_SECONDS = 900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["up", "down"])
    action = parser.parse_args().action
    env_file = PROJECT / ".env"
    compose = [*compose_command(), "--env-file", str(env_file)]
    if action == "down":
        sys.exit(subprocess.run([*compose, "down"], cwd=PROJECT).returncode)
    values = {**write_secrets(env_file), **os.environ}
    start(compose)
    address = f"http://{values.get('FER_BIND_ADDRESS', '127.0.0.1')}:{values.get('FER_UI_PORT', '8080')}"
    print(f"Airflow: {address}  login admin, password {values['FER_ADMIN_PASSWORD']}")


def compose_command() -> list[str]:
    """Compose 2, where Docker has it, else the older program. Exits where there is neither."""
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            if subprocess.run([*command, "version"], capture_output=True).returncode == 0:
                return command
        except FileNotFoundError:
            continue
    sys.exit("Neither `docker compose` nor `docker-compose` is there. Install Docker with Compose 1.29 or later.")


def write_secrets(env_file: Path) -> dict[str, str]:
    """Add a random value for each secret that the file lacks; return all that it then holds. Mode 0600."""
    text = env_file.read_text() if env_file.exists() else ""
    values = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    missing = {name: make() for name, make in SECRETS.items() if not values.get(name)}
    if missing:
        lines = [line for line in text.splitlines() if line.partition("=")[0] not in missing]
        with os.fdopen(os.open(env_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(f"{line}\n" for line in (*lines, *(f"{name}={value}" for name, value in missing.items())))
        env_file.chmod(0o600)
    return {**values, **missing}


def start(compose: list[str]) -> None:
    """Build the images, start the containers, and return when each is healthy. Exits, naming those that are not."""
    (PROJECT / "data").mkdir(exist_ok=True)  # else the engine makes it, as root's
    for command in (["build"], ["up", "--detach"]):
        if status := subprocess.run([*compose, *command], cwd=PROJECT).returncode:
            sys.exit(status)
    deadline = time.monotonic() + _START_SECONDS
    while unhealthy := {name: state for name, state in states(compose).items() if state != "healthy"}:
        broken = [name for name, state in unhealthy.items() if state in ("exited", "dead", "unhealthy")]
        if broken or time.monotonic() > deadline:
            sys.exit(f"Not healthy: {unhealthy}. See: {' '.join(compose)} logs {' '.join(broken or unhealthy)}")
        time.sleep(3)


def states(compose: list[str]) -> dict[str, str]:
    """Service -> its container's health, or status where it has no health check; one that ended well is healthy."""
    listed = _output([*compose, "ps", "--all", "--quiet"])
    found = {}
    for container in json.loads(_output(["docker", "inspect", *listed.split()])):
        state = container["State"]
        ended_well = state["Status"] == "exited" and state["ExitCode"] == 0
        health = "healthy" if ended_well else state.get("Health", {}).get("Status", state["Status"])
        found[container["Config"]["Labels"]["com.docker.compose.service"]] = health
    return found


def _output(command: list[str]) -> str:
    return subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
