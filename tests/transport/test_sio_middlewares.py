"""Middlewares for CONNECT and for events, and the listeners to everything that comes and goes."""

import re
from typing import Any

import pytest
import trio
from transport_peers import Ws, open_ws, served, until

from flux.errors import LocalError
from flux.transport.socket_io import ConnectionRefusedError, Server  # noqa: A004 - ours


async def joining(ws: Ws, namespace: str = "/", auth: str = "") -> str:
    """Send CONNECT and receive the answer."""
    await ws.send("40" + (f"{namespace}," if namespace != "/" else "") + auth)
    return str(await ws.receive())


async def fresh(address: Any) -> Ws:
    """Open a session that has joined nothing."""
    ws = await Ws.connect(address)
    await ws.receive()
    return ws


@pytest.mark.parametrize("later", [False, True])
async def test_connect_middlewares_run_in_order_before_the_handler(later: bool) -> None:
    """Those of all namespaces first; plain and async mixed; each sees environ and auth."""
    server = Server()
    order: list[Any] = []

    @server.use
    def first(sid: str, environ: dict[str, Any], auth: Any) -> None:
        order.append(("first", environ["HTTP_HOST"], auth))

    if later:

        @server.use
        async def second(sid: str, environ: dict[str, Any]) -> None:
            await trio.sleep(0.01)
            order.append("second")

    @server.use(namespace="*")
    def everywhere(namespace: str, sid: str, environ: dict[str, Any], auth: Any) -> None:
        order.append(("everywhere", namespace))

    @server.on("connect")
    def connect(sid: str, environ: dict[str, Any]) -> None:
        order.append("connect")

    async with served(server) as address:
        ws = await fresh(address)
        assert (await joining(ws, auth='{"a":1}')).startswith("40{")
        assert order == [
            ("everywhere", "/"),
            ("first", "localhost", {"a": 1}),
            *(["second"] if later else []),
            "connect",
        ]


@pytest.mark.parametrize("later", [False, True])
async def test_a_middleware_refuses_with_data_and_those_behind_it_are_not_asked(later: bool) -> None:
    """The client may try again; a fault's text is not told."""
    server = Server()
    asked: list[str] = []

    def judge(sid: str, environ: dict[str, Any], auth: Any) -> Any:
        match (auth or {}).get("do"):
            case "explain":
                raise ConnectionRefusedError("not you", {"code": 7})
            case "false":
                return False
            case "fail":
                raise ValueError("secret")
            case "go":
                server.disconnect(sid)
        return None

    async def judge_later(sid: str, environ: dict[str, Any], auth: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return judge(sid, environ, auth)

    server.use(judge_later if later else judge)
    server.use(lambda sid, _environ: asked.append(sid))
    async with served(server) as address:
        ws = await fresh(address)
        assert await joining(ws, auth='{"do":"explain"}') == '44{"message":"not you","data":{"code":7}}'
        assert await joining(ws, auth='{"do":"false"}') == '44{"message":"Connection rejected by server"}'
        assert await joining(ws, auth='{"do":"fail"}') == '44{"message":"Internal server error"}'
        assert await joining(ws, auth='{"do":"go"}') == '44{"message":"Connection rejected by server"}'
        assert asked == []
        assert (await joining(ws)).startswith("40{")
        assert len(asked) == 1


async def test_middlewares_belong_to_their_namespace_or_family() -> None:
    """Others are not asked."""
    server = Server(namespaces=("/", "/open"))
    family = server.of(re.compile("/f.*"))

    @family.use
    def no_f2(namespace: str, sid: str, environ: dict[str, Any], auth: Any) -> bool:
        return namespace != "/f2"

    async with served(server) as address:
        ws = await fresh(address)
        assert (await joining(ws, "/f1")).startswith("40/f1,{")
        assert (await joining(ws, "/f2")).startswith("44/f2,")
        assert (await joining(ws, "/open")).startswith("40/open,{")


async def test_an_async_middleware_ends_with_its_client() -> None:
    """It is cancelled, and its client never was connected."""
    server = Server()
    ended: list[str] = []
    gone: list[str] = []
    server.on("disconnect", gone.append)

    @server.use
    async def slow(sid: str, environ: dict[str, Any]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    async with served(server) as address:
        ws = await fresh(address)
        await ws.send("40")
        await trio.sleep(0.05)
        await ws.stream.aclose()
        await until(lambda: ended)
        assert gone == []


@pytest.mark.parametrize("later", [False, True])
async def test_event_middlewares_may_change_or_stop_an_event(later: bool) -> None:
    """A stopped one has neither handler nor ack; the next goes through."""
    server = Server()
    handled: list[Any] = []
    server.on("n", lambda _sid, *args: handled.append(args) or list(args))

    def judge(event: str, sid: str, args: list[Any]) -> None:
        if args == ["bad"]:
            raise ConnectionRefusedError("no")
        if args == ["fault"]:
            raise ValueError
        args.append(event)

    async def judge_later(event: str, sid: str, args: list[Any]) -> None:
        await trio.lowlevel.checkpoint()
        judge(event, sid, args)

    server.use_event(judge_later if later else judge)
    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send('421["n","bad"]', '422["n","fault"]')
        await ws.send('423["n",5]')
        assert await ws.receive() == '433[[5,"n"]]'
        assert handled == [(5, "n")]


async def test_event_middlewares_run_in_order_and_the_first_error_counts() -> None:
    """Outermost first."""
    server = Server()
    order: list[Any] = []
    server.on("n", lambda _sid: order.append("handler"))
    server.use_event(lambda event, namespace, _sid, _args: order.append((event, namespace)), namespace="*")
    server.use_event(lambda _event, _sid, _args: order.append("second"))

    @server.use_event
    async def third(event: str, sid: str, args: list[Any]) -> None:
        order.append("third")

    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send('421["n"]')
        assert await ws.receive() == "431[]"
        assert order == [("n", "/"), "second", "third", "handler"]


async def test_listeners_hear_every_event_before_its_middlewares() -> None:
    """Handled or not; plain and async; a fault in one ends nothing; it can be taken back."""
    server = Server()
    heard: list[Any] = []

    @server.on_any
    def hear(event: str, sid: str, *args: Any) -> None:
        heard.append((event, *args))

    @server.on_any
    def bad(event: str, sid: str, *args: Any) -> None:
        raise ValueError

    @server.on_any(namespace="*")
    async def hear_later(event: str, namespace: str, sid: str, *args: Any) -> None:
        heard.append(("later", event, namespace, *args))

    server.on("echo", lambda _sid, value: value)
    server.use_event(lambda _event, _sid, args: args.clear() if args == [1] else None)
    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send('42["unknown",1]')
        await ws.send('421["echo",2]')
        assert await ws.receive() == "431[2]"
        await until(lambda: len(heard) == 4)
        assert sorted(heard, key=str) == [
            ("echo", 2),
            ("later", "echo", "/", 2),
            ("later", "unknown", "/", 1),
            ("unknown", 1),
        ]
        server.off_any(hear)
        await ws.send('422["echo",3]')
        assert await ws.receive() == "432[3]"
        assert ("echo", 3) not in heard


async def test_slow_listeners_press_back_on_the_client() -> None:
    """What waits for tasks is bounded; the rest stays in the client's socket."""
    server = Server()
    release = trio.Event()
    started: list[int] = []

    @server.on_any
    async def slow(event: str, sid: str, number: int) -> None:
        started.append(number)
        await release.wait()

    async with served(server) as address:
        ws = await open_ws(address)
        for start in range(0, 1200, 100):
            await ws.send(*(f'42["n",{n}]' for n in range(start, start + 100)))
            await trio.sleep(0.005)
        await trio.sleep(0.05)
        [socket] = server._router.namespace("/").sockets.values()
        assert socket.calls is not None
        assert len(socket.calls._waiting) < 500
        release.set()
        await until(lambda: len(started) == 1200)


async def test_outgoing_listeners_hear_emits_with_their_audience() -> None:
    """Once each, also of calls; a fault in one ends nothing."""
    server = Server()
    heard: list[Any] = []
    sids: list[str] = []
    server.on("connect", lambda sid, _environ: sids.append(sid))

    @server.on_any_outgoing
    def hear(event: str, to: tuple[str, ...], *args: Any) -> None:
        heard.append((event, to, *args))
        raise ValueError

    async with served(server) as address:
        one, two = await open_ws(address), await open_ws(address)
        server.emit("a", (1, 2))
        server.emit("b", to=sids[1])
        assert [await two.receive() for _ in range(2)] == ['42["a",1,2]', '42["b"]']
        assert await one.receive() == '42["a",1,2]'
        assert heard == [("a", tuple(sids), 1, 2), ("b", (sids[1],))]


def test_what_cannot_wait_must_not_be_async() -> None:
    """Listeners to emits, and the handler that sees the rooms before they go."""
    server = Server()

    async def later(*args: Any) -> None:
        """Do nothing."""

    with pytest.raises(LocalError):
        server.on_any_outgoing(later)
    with pytest.raises(LocalError):
        server.on("disconnecting", later)
