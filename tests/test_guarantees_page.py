"""docs/guarantees.md names tests that exist."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "guarantees.md"


def test_each_line_of_the_page_names_tests_that_exist() -> None:
    """A renamed or deleted test is missed here, as is a line without one."""
    known = {
        f"{file.relative_to(HERE).as_posix()}::{name}"
        for file in HERE.rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| ---") and not row.endswith("Shown by |")]
    assert len(rows) > 30
    for row in rows:
        named = re.findall(r"`([\w/]*test_\w+\.py::test_\w+)`", row)
        assert named, row
        assert set(named) <= known, row
