"""Logs: text for people, JSON lines for machines, and never an exception."""

import io
import json
import logging
import re
from typing import Any

import pytest
import structlog

from flux.logs import configure_logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class Unspeakable:
    """A value without a text."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


pytestmark = pytest.mark.usefixtures("restored_logs")


def json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Parse what was logged."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def raised(error: BaseException) -> BaseException:
    """Return an error with a traceback."""
    try:
        raise error  # noqa: TRY301 - for its traceback
    except BaseException as caught:  # noqa: BLE001 - handed back
        return caught


GROUP = ExceptionGroup("outer", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")])])


def test_a_terminal_gets_coloured_lines():
    """Time, level, event, facts and the logger's short name, in that order."""
    stream = Terminal()
    configure_logs(stream=stream)
    structlog.get_logger("flux.bff").warning("command rejected", topic="a.b", reason="too large")
    line = stream.getvalue()
    assert "\x1b[33mwarning" in line
    plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d warning  command rejected +topic=a\.b reason='too large' \[bff\]\n", plain
    )


def test_text_elsewhere_has_no_colours():
    """Asked for text in a file, it writes plain text."""
    stream = io.StringIO()
    configure_logs(json=False, stream=stream)
    structlog.get_logger("flux.bff").info("hello")
    assert "\x1b" not in stream.getvalue()


def test_a_stream_that_is_no_terminal_gets_json_lines():
    """ISO 8601 time with its offset, level, logger, event and facts."""
    stream = io.StringIO()
    configure_logs(stream=stream)
    structlog.get_logger("flux.bff").info("client connected", clients=3, city="Zürich")
    (line,) = json_lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "logger": "flux.bff",
        "event": "client connected",
        "clients": 3,
        "city": "Zürich",
    }
    assert "Zürich" in stream.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_the_standard_librarys_logging_comes_out_the_same(*, as_json: bool):
    """A library's line has the same shape, its arguments filled in, its extras as facts."""
    stream = io.StringIO()
    configure_logs(json=as_json, stream=stream)
    logging.getLogger("somelib").warning("lost %d of %s", 2, "them", extra={"peer": "x"})
    if as_json:
        (line,) = json_lines(stream)
        assert (line["logger"], line["level"], line["event"], line["peer"]) == (
            "somelib",
            "warning",
            "lost 2 of them",
            "x",
        )
    else:
        assert re.search(r"warning  lost 2 of them +peer=x \[somelib\]\n$", stream.getvalue())


def test_levels_below_the_chosen_one_are_not_shown():
    """For structlog and logging alike; noisy libraries need a warning."""
    stream = io.StringIO()
    configure_logs(level="info", stream=stream)
    structlog.get_logger("flux.x").debug("no")
    logging.getLogger("somelib").debug("no")
    logging.getLogger("hpack").info("no")
    structlog.get_logger("flux.x").info("yes")
    assert [line["event"] for line in json_lines(stream)] == ["yes"]
    configure_logs(level="DEBUG", stream=stream)
    structlog.get_logger("flux.x").debug("now")
    logging.getLogger("hpack").info("too")
    assert [line["event"] for line in json_lines(stream)] == ["yes", "now", "too"]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_libraries_that_log_addresses_do_so_at_no_level(level: str):
    """An address of a source may hold its key."""
    stream = io.StringIO()
    configure_logs(level=level, stream=stream)
    logging.getLogger("httpx").info("GET https://example.org/?key=canary")
    logging.getLogger("httpcore.http11").debug("headers: canary")
    logging.getLogger("httpcore").warning("seen")
    assert [line["event"] for line in json_lines(stream)] == ["seen"]


def test_an_unknown_level_counts_as_info():
    """Settings check the level; here nothing may fail."""
    stream = io.StringIO()
    configure_logs(level="loud", stream=stream)
    structlog.get_logger("flux.x").debug("no")
    structlog.get_logger("flux.x").info("yes")
    assert [line["event"] for line in json_lines(stream)] == ["yes"]


def test_a_second_call_replaces_the_first():
    """No line appears twice, also for a logger that was used before."""
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger("flux.x")
    configure_logs(stream=first)
    log.info("one")
    configure_logs(stream=second)
    log.info("two")
    assert [line["event"] for line in json_lines(first)] == ["one"]
    assert [line["event"] for line in json_lines(second)] == ["two"]


def test_exceptions_in_json_are_text_and_groups_list_their_leaves():
    """The traceback in `exception`, and the errors within nested groups one by one."""
    stream = io.StringIO()
    configure_logs(stream=stream)
    log = structlog.get_logger("flux.x")
    log.error("failed", exc_info=raised(ValueError("alone")))
    log.error("failed", exc_info=raised(GROUP))
    alone, group = json_lines(stream)
    assert alone["exception"].startswith("Traceback")
    assert alone["exception"].endswith("ValueError: alone")
    assert "errors" not in alone
    assert group["errors"] == ["ValueError: one", "KeyError: 'two'"]
    assert "ExceptionGroup: outer" in group["exception"]


def test_exceptions_in_text_stand_below_the_line():
    """For `log.exception`, for a given error, and for groups with their leaves first."""
    stream = io.StringIO()
    configure_logs(json=False, stream=stream)
    log = structlog.get_logger("flux.x")
    try:
        raise ValueError("alone")  # noqa: TRY301 - log.exception needs one in flight
    except ValueError:
        log.exception("failed")
    log.error("failed again", exc_info=raised(GROUP))
    logging.getLogger("somelib").error("failed there", exc_info=raised(OSError("disk")))
    lines = stream.getvalue().splitlines()
    assert lines[1].startswith("Traceback")
    assert "ValueError: alone" in lines
    second = next(i for i, line in enumerate(lines) if "failed again" in line)
    assert lines[second + 1 : second + 3] == ["  - ValueError: one", "  - KeyError: 'two'"]
    assert lines[-1] == "OSError: disk"


def test_strangers_text_cannot_forge_lines_or_colours():
    """Line breaks and escape sequences of a value are shown, not obeyed."""
    stream = Terminal()
    configure_logs(stream=stream)
    structlog.get_logger("flux.x").info("joined", city="a\n12:00:00 error forged\x1b[31m")
    assert stream.getvalue().count("\n") == 1
    assert r"a\n12:00:00 error forged\x1b[31m" in stream.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_nothing_that_is_logged_raises(
    *, as_json: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """A value without text, a wrong format, a closed stream: at worst the line is lost, silently."""
    stream = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own handlers do raise
    configure_logs(json=as_json, stream=stream)
    log = structlog.get_logger("flux.x")
    log.info("odd", value=Unspeakable(), other={1: object()}, raw=b"\xff", nan=float("nan"))
    assert "Unspeakable" in stream.getvalue()
    log.error("odd error", exc_info=raised(ValueError(Unspeakable())))
    log.info(None)
    log.info("surrogate", path="\udcff", keys={(1, 2): 3})
    logging.getLogger("somelib").warning("%d", "not a number")
    log.info("bound", exc_info=(None, None, None))
    assert stream.getvalue().count("surrogate") == 1
    stream.close()
    log.info("lost")
    configure_logs(json=as_json, stream=stream)
    log.info("lost too")
    assert capfd.readouterr().err == ""
