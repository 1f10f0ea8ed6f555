"""The pages that say what is promised name the tests that show it, and those exist."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"


@pytest.mark.parametrize(
    ("page", "folder", "least"),
    [(DOCS / "guarantees.md", HERE, 30), (DOCS / "survival.md", HERE / "transport", 50)],
    ids=["guarantees", "survival"],
)
def test_each_line_of_the_page_names_tests_that_exist(page: Path, folder: Path, least: int) -> None:
    """A renamed or deleted test is missed here, as is a line without one."""
    known = {
        f"{file.relative_to(folder).as_posix()}::{name}"
        for file in folder.rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| ---") and not row.endswith("Shown by |")]
    assert len(rows) > least
    for row in rows:
        named = re.findall(r"`([\w/]*test_\w+\.py::test_\w+)`", row)
        assert named, row
        assert set(named) <= known, row
