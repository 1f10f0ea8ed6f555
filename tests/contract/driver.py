"""One Socket.IO client process, official JavaScript or Python, as the tests see it.

The process reads one JSON object a line (``{"id", "op", ...}``), answers each with ``{"reply", "result" |
"error"}``, and tells what its clients see as ``{"client", "kind", "at", ...}``. It lives for the whole
session; a test attaches to it, and leaves it without clients.
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field, frozen

HERE = Path(__file__).parent
JS_PACKAGES = HERE.parents[1] / "flux" / "web"
JS, PYTHON = "js", "python"
WAIT = 15.0
"""Seconds until a wait counts as failed; nothing here needs more than two on an idle machine."""

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")


def need_node() -> None:
    """Skip without Node.js or the official client; in CI that is a failure."""
    missing = (
        "Node.js is not installed"
        if shutil.which("node") is None
        else "npm ci has not been run in flux/web"
        if not (JS_PACKAGES / "node_modules" / "socket.io-client").is_dir()
        else None
    )
    if missing and IN_CI:
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@frozen
class Arrival:
    """Something that a client saw.

    Args:
        kind: ``event``, ``connect``, ``connect_error``, ``disconnect``, ``upgrade`` or ``raw``.
        name: the event's name, the reason, or the transport.
        args: an event's arguments.
        at: monotonic nanoseconds, comparable with `time.monotonic_ns` on the same machine.
        data: raw: the Engine.IO message as text.
    """

    kind: str
    name: str = ""
    args: tuple[Any, ...] = ()
    at: int = 0
    sid: str = ""
    data: str = ""

    @property
    def payload(self) -> Any:
        """The first argument of an event."""
        return self.args[0]


class DriverError(AssertionError):
    """The driver could not do what a test asked; its text is the client library's."""


@define
class ClientProcess:
    """The process itself, made anew when a test has left it in a doubtful state."""

    kind: str
    process: subprocess.Popen[bytes] | None = None
    doubtful: bool = False

    def start(self) -> subprocess.Popen[bytes]:
        """Return the running process; start it if there is none."""
        if self.doubtful or (self.process is not None and self.process.poll() is not None):
            self.stop()
        if self.process is None:
            command = (
                ["node", str(HERE / "drivers" / "client.mjs"), str(JS_PACKAGES)]
                if self.kind == JS
                else [sys.executable, str(HERE / "drivers" / "client.py")]
            )
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            self.doubtful = False
        return self.process

    def send_signal(self, number: signal.Signals) -> None:
        """Send the process a signal: stop it, let it go on, kill it."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Kill the process and wait for its end."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process = None
        self.doubtful = False


@define(eq=False)
class Driver:
    """What a test holds of a client process: opens clients, routes what they see."""

    process: ClientProcess
    _stdin: trio.lowlevel.FdStream
    _stdout: trio.lowlevel.FdStream
    clients: dict[str, "Client"] = field(factory=dict)
    _replies: dict[int, tuple[trio.Event, dict[str, Any]]] = field(factory=dict)
    _ids: Any = field(factory=lambda: itertools.count(1))
    _lock: trio.Lock = field(factory=trio.Lock)

    async def open(
        self,
        url: str,
        *,
        transports: list[str] | None = None,
        auth: dict[str, Any] | None = None,
        raw: bool = False,
        wait: bool = True,
        **options: Any,
    ) -> "Client":
        """Open a client, and wait until it is connected.

        Args:
            url: of the door.
            transports: None is the library's default: polling, then an upgrade.
            auth: what CONNECT carries.
            raw: also log each message as the text that came in.
            wait: False returns at once.
            options: further options of the official client.
        """
        name = f"c{next(self._ids)}"
        client = Client(self, name)
        self.clients[name] = client
        if transports is not None:
            options["transports"] = transports
        if auth is not None:
            options["auth"] = auth
        await self.ask("open", client=name, url=url, options=options, raw=raw)
        if wait:
            await client.wait("connect")
        return client

    async def ask(self, op: str, **arguments: Any) -> Any:
        """Have the process do something, and return its result.

        Raises:
            DriverError: it failed; the text is the client library's.
        """
        number = next(self._ids)
        answered, reply = trio.Event(), {}
        self._replies[number] = (answered, reply)
        line = json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n"
        try:
            async with self._lock:
                await self._stdin.send_all(line)
            with trio.move_on_after(arguments.get("timeout", 0) + WAIT):
                await answered.wait()
        finally:
            del self._replies[number]
        if not reply:
            raise DriverError(f"the {self.process.kind} client did not answer {op}")
        if "error" in reply:
            raise DriverError(f"{op} in the {self.process.kind} client: {reply['error']}")
        return reply["result"]

    async def read(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Route lines until cancelled, or until the process ends."""
        task_status.started()
        buffer = b""
        while chunk := await self._stdout.receive_some(1 << 16):
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                self._route(json.loads(line))

    def _route(self, line: dict[str, Any]) -> None:
        if "reply" in line:
            if line["reply"] in self._replies:
                answered, reply = self._replies[line["reply"]]
                reply.update(line)
                answered.set()
        elif line["client"] in self.clients:
            name = line.pop("client")
            line["args"] = tuple(line.get("args", ()))
            self.clients[name].saw(Arrival(**line))


@define(eq=False)
class Client:
    """One Socket.IO client.

    Attributes:
        log: everything it saw, in order of arrival.
    """

    driver: Driver
    name: str
    log: list[Arrival] = field(factory=list)
    _changed: trio.Event = field(factory=trio.Event)

    def saw(self, arrival: Arrival) -> None:
        """Take up an arrival."""
        self.log.append(arrival)
        self._changed.set()
        self._changed = trio.Event()

    @property
    def sid(self) -> str:
        """The Socket.IO session id of the latest connection."""
        return next(a.sid for a in reversed(self.log) if a.kind == "connect")

    def mark(self) -> int:
        """Return a place in the log, for `after`."""
        return len(self.log)

    def events(self, name: str, *, after: int = 0) -> list[Arrival]:
        """Return the events of that name so far."""
        return [a for a in self.log[after:] if a.kind == "event" and a.name == name]

    def payloads(self, name: str, *, after: int = 0) -> list[Any]:
        """Return the first arguments of the events of that name so far."""
        return [a.payload for a in self.events(name, after=after)]

    async def wait(
        self,
        kind: str,
        name: str | None = None,
        matches: Callable[[Arrival], bool] = lambda _: True,
        *,
        after: int = 0,
        timeout: float = WAIT,  # noqa: ASYNC109 - a failed wait tells what was seen instead
    ) -> Arrival:
        """Return the first arrival that matches, also one that is already there.

        Raises:
            AssertionError: none came in time.
        """
        with trio.move_on_after(timeout):
            place = after
            while True:
                while place < len(self.log):
                    arrival = self.log[place]
                    place += 1
                    if arrival.kind == kind and name in (None, arrival.name) and matches(arrival):
                        return arrival
                await self._changed.wait()
        seen = [
            f"{a.kind} {a.name} {str(a.args)[:300]}"
            for a in self.log[after:]
            if a.name != "cryptoTickerResponse"
        ]
        raise AssertionError(f"no {kind} {name or ''} within {timeout:g} s; seen: {seen[-12:]}")

    async def event(
        self,
        name: str,
        matches: Callable[[Any], bool] = lambda _: True,
        *,
        after: int = 0,
        timeout: float = WAIT,  # noqa: ASYNC109 - see wait
    ) -> Any:
        """Return the payload of the first event of that name whose payload matches."""
        found = await self.wait("event", name, lambda a: matches(a.payload), after=after, timeout=timeout)
        return found.payload

    async def emit(self, event: str, *args: Any) -> None:
        """Emit without asking for an acknowledgement."""
        await self.driver.ask("emit", client=self.name, event=event, args=args, ack=False)

    async def call(self, event: str, *args: Any, timeout: float = WAIT) -> list[Any]:  # noqa: ASYNC109 - the client's own
        """Emit, and return what the acknowledgement carries."""
        answer = await self.driver.ask(
            "emit", client=self.name, event=event, args=args, ack=True, timeout=timeout
        )
        assert isinstance(answer, list)
        return answer

    async def close(self) -> None:
        """Disconnect as the client wishes."""
        await self.driver.ask("close", client=self.name)

    async def drop(self) -> None:
        """Lose the connection, as by an accident; the library reconnects by itself."""
        await self.driver.ask("drop", client=self.name)


@asynccontextmanager
async def attached(process: ClientProcess) -> AsyncIterator[Driver]:
    """Attach to a client process for one test; every client is gone afterwards."""
    running = process.start()
    assert running.stdin is not None
    assert running.stdout is not None
    stdin = trio.lowlevel.FdStream(os.dup(running.stdin.fileno()))
    stdout = trio.lowlevel.FdStream(os.dup(running.stdout.fileno()))
    driver = Driver(process, stdin, stdout)
    process.doubtful = True
    async with stdin, stdout, trio.open_nursery() as nursery:
        await nursery.start(driver.read)
        yield driver
        with trio.move_on_after(5), suppress(trio.BrokenResourceError):  # the test may have killed it
            await driver.ask("reset")
            process.doubtful = False
        nursery.cancel_scope.cancel()
