"""The table of docs/contract-tests.md: every row of the contract has tests, and every test has a row."""

import ast
import re
from pathlib import Path

import pytest
from kafka_watch import TOPICS

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "contract-tests.md"

CLIENT_EVENTS = (
    "getUserId",
    "userLocationUpdate",
    "cryptoTopMoversRequest",
    "cryptoTopCoinsRequest",
    "stockTopPerformersRequest",
    "topNewsRequest",
)
SERVER_EVENTS = (
    "userUniqueId",
    "weather.{city}.update",
    "cryptoTopMoversResponse",
    "cryptoTopCoinsResponse",
    "cryptoTickerResponse",
    "newsUpdate",
    "stockTopPerformersResponse",
)
ROOMS = ("weather.{city}", "crypto.global", "news.global", "stock.global")
REASONS = ("transport close", "client disconnect", "ping timeout")


def rows() -> list[tuple[str, list[str]]]:
    """Return the table's rows: what the contract says, and the tests that show it."""
    found = []
    for line in TABLE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        if line.startswith("|") and len(cells) == 2 and set(cells[0]) != {"-"} and cells[1] != "Tests":
            found.append((cells[0], re.findall(r"`(\w+)::(\w+)`", cells[1])))
    return [(said, [f"{file}::{test}" for file, test in tests]) for said, tests in found]


def written() -> set[str]:
    """Return the tests that there are, but for those of this file."""
    return {
        f"{path.stem.removeprefix('test_contract_')}::{node.name}"
        for path in HERE.glob("test_contract_*.py")
        if path != Path(__file__)
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_row_has_tests_that_exist() -> None:
    """A row without a test, or with one that is gone, is a hole in the contract."""
    known = written()
    for said, tests in rows():
        assert tests, f"no test shows: {said}"
        assert not set(tests) - known, f"{said}: no such test {set(tests) - known}"


def test_every_test_has_a_row() -> None:
    """A test that no row names shows nothing of the contract."""
    assert not written() - {test for _, tests in rows() for test in tests}


@pytest.mark.parametrize("name", [*TOPICS, *CLIENT_EVENTS, *SERVER_EVENTS, *ROOMS, *REASONS])
def test_every_name_of_the_contract_has_a_row(name: str) -> None:
    """Each topic, event, room and disconnect reason of the documents begins a row of the table."""
    assert [said for said, _ in rows() if said.startswith(f"`{name}`")], f"no row for {name}"
