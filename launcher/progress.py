"""What a person sees while a run goes on: each step's start and end, and its own progress lines between them."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fer_tasks.run_directory import RunDirectory
from fer_tasks.spark_runtime import PROGRESS_PREFIX

_LINES_OF = "fer_tasks."
_SPARK_HOOK = "SparkSubmitHook"


class Progress:
    """Follows one run's folder and task logs. `news()` returns what is new since the last call, as lines."""

    def __init__(self, run_dir: RunDirectory, logs: Path) -> None:
        self._run_dir = run_dir
        self._logs = logs
        self._told: set[tuple[str, int, str]] = set()
        self._offsets: dict[Path, int] = {}

    def news(self) -> list[str]:
        return [*self._starts(), *self._log_lines(), *self._ends()]

    def _starts(self) -> Iterator[str]:
        for step, number, _ in self._attempts():
            if self._tell(step, number, "started"):
                yield f"{step}" + (f" (try {number})" if number > 1 else "")

    def _ends(self) -> Iterator[str]:
        for step, number, attempt in self._attempts():
            if attempt["status"] != "running" and self._tell(step, number, "ended"):
                yield f"{step}: {attempt['status']} after {attempt['seconds']:.1f} s"

    def _tell(self, step: str, number: int, event: str) -> bool:
        new = (step, number, event) not in self._told
        self._told.add((step, number, event))
        return new

    def _attempts(self) -> list[tuple[str, int, dict]]:  # type: ignore[type-arg]
        records = (self._run_dir.root / "steps").glob("[!.]*.json")
        found = [
            (path.stem, number, attempt)
            for path in records
            for number, attempt in enumerate(json.loads(path.read_text()), start=1)
        ]
        return sorted(found, key=lambda item: item[2]["started_at"])

    def _log_lines(self) -> Iterator[str]:
        for path in sorted(self._logs.glob("task_id=*/**/attempt=*.log"), key=lambda path: path.stat().st_mtime):
            with path.open("rb") as log:
                log.seek(self._offsets.get(path, 0))
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self._offsets[path] = self._offsets.get(path, 0) + len(line)
                    if text := _progress_text(line):
                        yield f"    {text}"


def _progress_text(line: bytes) -> str | None:
    """The message of a JSON log line when one of our own modules wrote it, else None."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    event, logger = str(record.get("event", "")), str(record.get("logger", ""))
    if logger.startswith(_LINES_OF):
        return event
    if logger.endswith(_SPARK_HOOK) and event.startswith(PROGRESS_PREFIX):
        return event.removeprefix(PROGRESS_PREFIX)
    return None


def error_in(logs: Path, step: str = "*") -> str | None:
    """`<step> failed: <error>`, as Airflow logged it: of the last try of `step`, or of the first task that had one."""
    tries = sorted(logs.glob(f"task_id={step}/**/attempt=*.log"), key=lambda path: path.stat().st_mtime)
    for path in tries if step == "*" else tries[-1:]:
        for line in path.read_bytes().splitlines():
            with suppress(ValueError, KeyError, IndexError, TypeError, AttributeError):
                error = json.loads(line)["error_detail"][0]
                task = path.relative_to(logs).parts[0].removeprefix("task_id=")
                return f"{task} failed: {error['exc_type']}: {' '.join(error['exc_value'].split())}"
    return None
