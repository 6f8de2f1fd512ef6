"""docs/security.md names tests; each must be there."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "security.md"


def test_every_test_that_the_page_names_is_there():
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", PAGE.read_text())
    assert len(named) > 50
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (TESTS / file).is_file() or (name and f"def {name}(" not in (TESTS / file).read_text())
    ]
    assert missing == []


def test_every_threat_has_a_proof():
    threats = PAGE.read_text().partition("## Fuzz")[0]
    rows = [line for line in threats.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    assert len(rows) > 25
    assert [row for row in rows if "Threat" not in row and "`test_" not in row.split("|")[3]] == []


def test_every_hostile_test_is_named():
    page = PAGE.read_text()
    for path in TESTS.glob("test_hostile_*.py"):
        assert f"{path.name}::" in page
