"""The parts of the Socket.IO server that need no network: rooms, handlers' tasks, the environ."""

from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from flux.transport.engine_io import PacketError
from flux.transport.http import Request
from flux.transport.socket_io.calls import MAX_TASKS, MAX_WAITING, Calls, Workload
from flux.transport.socket_io.connection import MAX_NAMESPACES, Connection
from flux.transport.socket_io.environ import pack, unpack
from flux.transport.socket_io.handlers import Registered
from flux.transport.socket_io.namespace import Namespace
from flux.transport.socket_io.socket import MAX_ACKS, Socket

NOBODY: Any = None


def space_with(*sids: str) -> Namespace:
    """Return a namespace with sockets of those ids."""
    space = Namespace("/")
    for sid in sids:
        space.add(Socket(sid, "/", NOBODY))
    return space


def sids(space: Namespace, rooms: list[str] | None, skip: tuple[str, ...] = ()) -> list[str]:
    """Return whom `select` chooses."""
    return [socket.sid for socket in space.select(rooms, skip)]


def test_rooms_are_joined_left_and_deleted_when_empty() -> None:
    """Joining and leaving twice are no errors."""
    space = space_with("a", "b")
    a, b = space.sockets["a"], space.sockets["b"]
    for socket in (a, a, b):
        space.enter(socket, "red")
    assert list(space.members("red")) == ["a", "b"]
    space.leave(a, "red")
    space.leave(a, "red")
    assert list(space.members("red")) == ["b"]
    space.enter(a, "blue")
    assert set(space.rooms()) == {"red", "blue"}
    space.close_room("red")
    assert set(space.rooms()) == {"blue"}
    assert list(space.members("red")) == []
    assert space.remove(a)
    assert not space.remove(a)
    assert not space.rooms()
    assert list(a.rooms or ()) == ["blue"]


def test_selection_has_no_duplicates_and_knows_sids_and_exceptions() -> None:
    """A sid is a room of its own."""
    space = space_with("a", "b", "c", "d")
    for sid in "abc":
        space.enter(space.sockets[sid], "red")
    for sid in "bcd":
        space.enter(space.sockets[sid], "blue")
    assert sids(space, None) == ["a", "b", "c", "d"]
    assert sids(space, ["red", "blue"]) == ["a", "b", "c", "d"]
    assert sids(space, ["a"]) == ["a"]
    assert sids(space, ["a", "red", "nobody"]) == ["a", "b", "c"]
    assert sids(space, ["red", "blue"], ("b", "d")) == ["a", "c"]
    assert sids(space, None, ("blue",)) == ["a"]
    assert sids(space, []) == []


def test_a_connection_follows_the_order_of_packets() -> None:
    """CONNECT first and once; behind a DISCONNECT packets are ignored until the next CONNECT."""
    connection = Connection(100, b"")
    for early in ('2["a"]', "31[]"):
        with pytest.raises(PacketError):
            connection.receive(early)
    assert connection.receive("1") is None
    assert connection.receive("0") is not None
    socket = Socket("a", "/", NOBODY)
    connection.enter(socket)
    with pytest.raises(PacketError):
        connection.receive('2["a"]')
    socket.joined = True
    assert connection.receive('2["a"]') is not None
    with pytest.raises(PacketError):
        connection.receive("0")
    connection.leave(socket)
    assert connection.receive('2["a"]') is None
    assert connection.receive("31[]") is None
    assert connection.receive("1") is None
    assert connection.receive("0") is not None


def test_a_refused_client_may_try_again() -> None:
    """But has no packets to send meanwhile."""
    connection = Connection(100, b"")
    socket = Socket("a", "/", NOBODY)
    connection.enter(socket)
    connection.refuse(socket)
    with pytest.raises(PacketError):
        connection.receive('2["a"]')
    assert connection.receive("0") is not None


def test_the_namespaces_of_a_client_are_bounded() -> None:
    """Who names thousands is stopped."""
    connection = Connection(100, b"")
    for number in range(MAX_NAMESPACES):
        connection.enter(Socket("a", f"/{number}", NOBODY))
    with pytest.raises(PacketError):
        connection.receive("0/more,")


def test_acks_are_given_once_bounded_and_given_up_at_the_end() -> None:
    """Late and unknown ones are ignored."""
    socket = Socket("a", "/", NOBODY)
    heard: list[tuple[int, Any]] = []
    numbers = [
        socket.expect_ack(lambda args, n=n: heard.append((n, args)))  # type: ignore[misc]
        for n in range(MAX_ACKS + 1)
    ]
    assert heard == [(0, None)]
    socket.acknowledge(numbers[5], ["x"])
    socket.acknowledge(numbers[5], ["again"])
    socket.acknowledge(10**9, [])
    socket.forget_ack(numbers[6])
    assert heard == [(0, None), (5, ["x"])]
    socket.end(cancel=True)
    assert len(heard) == MAX_ACKS
    assert heard[2:] == [(n, None) for n in range(1, MAX_ACKS + 1) if n not in (5, 6)]


def test_handlers_tell_how_many_arguments_they_take() -> None:
    """Defaults and ``*args`` count; async callables are seen as such."""

    async def coroutine(sid: str, a: int, b: int = 0) -> None:
        """Do nothing."""

    class Callable:
        async def __call__(self, *args: Any) -> None:
            """Do nothing."""

    registered = Registered.of(coroutine)
    assert (registered.is_async, registered.least, registered.most) == (True, 2, 3)
    assert Registered.of(Callable()).is_async
    assert Registered.of(Callable()).most == float("inf")
    assert Registered.of(lambda _sid: None).fitting("a", "b", "c") == ("a",)


def workload(nursery: trio.Nursery) -> Workload:
    """Return a workload that runs in that nursery."""
    load = Workload()
    load.nursery = lambda: nursery
    return load


async def test_calls_start_in_order_however_trio_schedules(nursery: trio.Nursery) -> None:
    """Trio shuffles the tasks of one tick."""
    calls = Calls(workload(nursery))
    order: list[int] = []

    async def call(number: int) -> None:
        order.append(number)
        await trio.lowlevel.checkpoint()

    for number in range(200):
        calls.submit(lambda number=number: call(number))  # type: ignore[misc]
    await trio.testing.wait_all_tasks_blocked()
    assert order == list(range(200))


async def test_calls_are_bounded_and_press_back(nursery: trio.Nursery) -> None:
    """Only so many run; past the bound the reader waits until half have gone."""
    load = workload(nursery)
    calls = Calls(load)
    release = trio.Event()
    running = 0

    async def call() -> None:
        nonlocal running
        running += 1
        await release.wait()

    for _ in range(MAX_TASKS + MAX_WAITING):
        calls.submit(call)
    await trio.testing.wait_all_tasks_blocked()
    assert running == MAX_TASKS
    assert calls.pressure() is None
    calls.submit(call)
    pressure = calls.pressure()
    assert pressure is not None
    release.set()
    await pressure.wait()
    await load.drained()
    assert running == MAX_TASKS + MAX_WAITING + 1


async def test_cancelling_spares_the_call_that_asks_for_it(nursery: trio.Nursery) -> None:
    """A handler that disconnects its own client may finish."""
    calls = Calls(workload(nursery))
    ended: list[str] = []

    async def other() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    async def asks() -> None:
        calls.cancel()
        await trio.lowlevel.checkpoint()
        ended.append("finished")

    for call in (other, asks, other):
        calls.submit(call)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(ended) == ["cancelled", "finished"]  # the third was not begun
    assert not nursery.child_tasks


def test_the_environ_is_a_wsgi_dict() -> None:
    """Headers by their names, repeated ones joined."""
    request = Request(
        "GET",
        "/socket.io/?a=b",
        (
            (b"host", b"h:1"),
            (b"x-forwarded-for", b"1.2.3.4"),
            (b"x-forwarded-for", b"5.6.7.8"),
            (b"content-type", b"t"),
        ),
        peer=("127.0.0.1", 5),
    )
    environ = unpack(pack(request))
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"] == "/socket.io/"
    assert environ["QUERY_STRING"] == "a=b"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["HTTP_HOST"] == "h:1"
    assert environ["HTTP_X_FORWARDED_FOR"] == "1.2.3.4,5.6.7.8"
    assert environ["CONTENT_TYPE"] == "t"
