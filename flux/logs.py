"""Logs: structlog and the standard library's logging through one handler, as text or JSON lines.

Flux logs through ``structlog.get_logger("flux.<part>")``; libraries log through ``logging``. Both come out
the same: coloured lines in a terminal, one JSON object a line elsewhere.
"""

import json as stdlib_json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = ("debug", "info", "warning", "error", "critical")

_QUIET = ("hpack", "asyncio", "trio-websocket")
"""Libraries that say at level info what is detail here; they log from warning on, or from debug if asked."""

_DISCREET = ("httpx", "httpcore")
"""Libraries that log addresses and headers, which hold keys: from warning on, whatever is asked."""

_STYLES = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_RESET, _DIM, _BOLD = "\x1b[0m", "\x1b[2m", "\x1b[1m"


def configure_logs(*, level: str = "info", json: bool | None = None, stream: TextIO | None = None) -> None:
    """Send all logs of this process to a stream; a second call replaces the first.

    Never raises, and nor does logging afterwards: a closed stream or a value whose text cannot be made loses
    that line, not the work that logs it.

    Args:
        level: the lowest that is shown, of `LEVELS`; anything else counts as ``info``.
        json: True: JSON lines; False: text; None: text if the stream is a terminal.
        stream: default is standard error as it is now.
    """
    target = sys.stderr if stream is None else stream
    terminal = _is_terminal(target)
    as_json = not terminal if json is None else json
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)

    handler = _Handler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=_json_processors() if as_json else [_Lines(colours=terminal)],
            foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder(), _formatted],
            keep_exc_info=True,  # _Lines and _exception_text render it themselves
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(number if number == logging.DEBUG else max(number, logging.WARNING))
    for name in _DISCREET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Not cached: a cached logger would keep this configuration when a later call changes it.
        cache_logger_on_first_use=False,
    )


def leaf_errors(error: BaseException) -> Iterator[str]:
    """Yield the errors within nested exception groups, or the error itself, each as ``Type: message``."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaf_errors(inner)
    else:
        message = _text(error, repr_of_text=False)
        yield f"{type(error).__name__}: {message}" if message else type(error).__name__


class _Handler(logging.StreamHandler[TextIO]):
    """A stream handler that loses a line rather than complain on the same stream."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing."""


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # not quite a file; closed
        return False


def _stamp(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001 - structlog's shape
    event["timestamp"] = datetime.now().astimezone()
    return event


def _formatted(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001 - structlog's shape
    """Drop what another handler's formatter left in the record (logging forbids both names to callers)."""
    event.pop("message", None)
    event.pop("asctime", None)
    return event


def _exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001 - structlog's shape
    """Turn whatever `exc_info` is into the exception itself."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    if isinstance(given, tuple):
        given = given[1]
    if isinstance(given, BaseException):
        event["exc_info"] = given
    return event


_SHARED: list[Processor] = [
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    _stamp,
    structlog.processors.StackInfoRenderer(),
    _exception,
]


def _json_processors() -> list[Processor]:
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _json_fields,
        _json_line,
    ]


def _json_line(logger: WrappedLogger, method: str, event: EventDict) -> str:  # noqa: ARG001 - structlog's shape
    try:
        return msgspec.json.encode(event, enc_hook=_text).decode()
    except Exception:  # noqa: BLE001 - odd keys, lone surrogates: json takes them, or leaves them out
        return stdlib_json.dumps(event, default=_text, skipkeys=True)


def _json_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001 - structlog's shape
    """Put the fields that every line has first, and exceptions into text."""
    error = event.pop("exc_info", None)
    stamp: datetime = event.pop("timestamp")
    line: EventDict = {
        "timestamp": stamp.isoformat(timespec="milliseconds"),
        "level": event.pop("level", ""),
        "logger": event.pop("logger", ""),
        "event": event.pop("event", ""),
        **event,
    }
    if isinstance(error, BaseException):
        if isinstance(error, BaseExceptionGroup):
            line["errors"] = list(leaf_errors(error))
        line["exception"] = _traceback(error)
    return line


class _Lines:
    """Renders a line for people: time, level, event, facts, the logger's short name.

    Args:
        colours: whether to use ANSI escape sequences.
    """

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:  # noqa: ARG002 - structlog's shape
        """Return the line, with a traceback below it where there is an error."""
        for meta in ("_record", "_from_structlog"):
            event.pop(meta, None)
        stamp: datetime = event.pop("timestamp")
        level = str(event.pop("level", ""))
        name = str(event.pop("logger", "") or "").removeprefix("flux.")
        text = _one_line(event.pop("event", ""))
        error = event.pop("exc_info", None)
        stack = event.pop("stack", None)
        facts = " ".join(f"{self._paint(_DIM, key + '=')}{_value(value)}" for key, value in event.items())
        parts = [
            self._paint(_DIM, f"{stamp:%H:%M:%S}"),
            self._paint(_STYLES.get(level, ""), f"{level:<8}"),
            self._paint(_BOLD, f"{text:<32}"),
            facts,
            self._paint(_DIM, f"[{name}]") if name else "",
        ]
        line = " ".join(part for part in parts if part).rstrip()
        if isinstance(error, BaseExceptionGroup):
            line += "".join(f"\n  - {_one_line(leaf)}" for leaf in leaf_errors(error))
        if isinstance(error, BaseException):
            line += "\n" + _traceback(error)
        return f"{line}\n{stack}" if stack else line

    def _paint(self, style: str, text: str) -> str:
        return f"{style}{text}{_RESET}" if self._colours and style else text


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception:  # noqa: BLE001 - an error that cannot be shown must not become a second one
        return f"{type(error).__name__} (its traceback cannot be shown)"


def _text(value: object, *, repr_of_text: bool = True) -> str:
    try:
        return repr(value) if repr_of_text else str(value)
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(value).__name__} that cannot be shown>"


def _one_line(text: object) -> str:
    # Text of strangers (a city, an error's message) may hold line breaks and terminal escapes.
    shown = text if isinstance(text, str) else _text(text, repr_of_text=False)
    return shown if shown.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else _text(value)
    text = _one_line(text)
    if text and " " not in text and "=" not in text:
        return text
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"
