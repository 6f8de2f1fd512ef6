"""`make check`: known vulnerabilities of the locked packages, by pip-audit, where its index answers.

    python -m launcher.audit [--seconds 20]

Without an answer in time it says so and fails nothing. A finding fails, unless ACCEPTED says why it is accepted, and
for how long.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.txt", "requirements-dev.txt")
_PROBE = "pillow=="
"""An index that knows nothing of this is none, whatever it answers."""


@dataclass(frozen=True)
class Accepted:
    """A finding that no pin mends. id: as pip-audit prints it. until: from that day on it fails the check again."""

    id: str
    reason: str
    until: date


ACCEPTED: tuple[Accepted, ...] = ()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="give up after so many")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    lines = [line for lock in LOCKS for line in pinned((PROJECT / lock).read_text())]
    answer = ask([line for line in lines if line.startswith(_PROBE)], options.seconds / 2)
    if answer is not None and audited(answer):
        answer = ask(lines, deadline - time.monotonic())
    if answer is None or not audited(answer):
        print("pip-audit: skipped, as its index did not answer in time. Known vulnerabilities were not looked for.")
        return 0
    findings = open_findings(answer, datetime.now(UTC).date())
    for finding in findings:
        print(f"pip-audit: {finding}", file=sys.stderr)
    skipped = len(answer["dependencies"]) - audited(answer)
    print(f"pip-audit: {audited(answer)} packages looked up, {skipped} unknown to the index, {len(findings)} findings.")
    return 1 if findings else 0


def pinned(lock: str) -> list[str]:
    """`name==version` of each package of a lock file, without markers; of several for one name, the last."""
    pins = [line.split(";")[0].split(" ")[0] for line in lock.splitlines() if line and line[0].isalnum()]
    return list({pin.partition("==")[0].partition("[")[0]: pin for pin in pins if "==" in pin}.values())


def ask(lines: list[str], seconds: float) -> dict[str, Any] | None:
    """pip-audit's answer; None where it has none in time."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "lock.txt").write_text("\n".join(lines))
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            f"{folder}/lock.txt",
            "--no-deps",
            "--disable-pip",
        ]
        command += ["--format", "json", "--progress-spinner", "off", "--timeout", "5"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds)
            answer = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, ValueError):
            return None
    return answer if isinstance(answer, dict) else None


def audited(answer: dict[str, Any]) -> int:
    """Of how many packages the index knew."""
    return sum("skip_reason" not in package for package in answer["dependencies"])


def open_findings(answer: dict[str, Any], today: date) -> list[str]:
    """In words, what is neither mended nor accepted."""
    accepted = {entry.id for entry in ACCEPTED if today < entry.until}
    return [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for package in answer["dependencies"]
        for found in package.get("vulns", ())
        if found["id"] not in accepted
    ]


if __name__ == "__main__":
    sys.exit(main())
