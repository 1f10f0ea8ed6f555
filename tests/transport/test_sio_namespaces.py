"""Namespaces that come into being by pattern or predicate, catch-alls, and class-based ones."""

import re
from typing import Any

import pytest
import trio
from transport_peers import Ws, open_ws, served, until

from flux.errors import LocalError
from flux.transport.socket_io import Namespace, Server


async def answer(ws: Ws, packet: str) -> str:
    """Send a packet and receive one."""
    await ws.send(packet)
    return str(await ws.receive())


async def test_a_pattern_lets_namespaces_in_and_they_go_with_their_last_client() -> None:
    """The whole name must match; handlers get the name before the sid; events reach one child only."""
    server = Server()
    rooms = server.of(re.compile(r"/room-\d+"))
    rooms.on("where", lambda namespace, _sid, *args: [namespace, *args])

    @rooms.on("connect")
    def connect(namespace: str, sid: str, environ: dict[str, Any]) -> None:
        server.emit("hello", namespace, to=sid, namespace=namespace)

    async with served(server) as address:
        one, two = await open_ws(address, "/room-1"), await open_ws(address, "/room-2")
        assert await one.receive() == '42/room-1,["hello","/room-1"]'
        assert await two.receive() == '42/room-2,["hello","/room-2"]'
        assert await answer(one, '42/room-1,7["where",1]') == '43/room-1,7[["/room-1",1]]'
        server.emit("news", namespace="/room-2")
        assert await two.receive() == '42/room-2,["news"]'
        assert await answer(two, "40/room-x,") == '44/room-x,{"message":"Invalid namespace"}'
        assert await answer(two, "40/xroom-1,") == '44/xroom-1,{"message":"Invalid namespace"}'
        await one.send("41/room-1,")
        await two.send("41/room-2,")
        await until(lambda: not {"/room-1", "/room-2"} & set(server._router.namespaces))


async def test_a_namespace_is_gone_with_a_client_that_was_never_let_in() -> None:
    """Whether it was refused or went before the decision."""
    server = Server()
    rooms = server.of(re.compile(r"/room-\d+"))

    @rooms.use
    async def slow(namespace: str, sid: str, environ: dict[str, Any]) -> bool:
        if namespace == "/room-1":
            await trio.sleep_forever()
        return False

    async with served(server) as address:
        ws = await Ws.connect(address)
        await ws.receive()
        assert (await answer(ws, "40/room-2,")).startswith("44/room-2,")
        await ws.send("40/room-1,")
        await until(lambda: set(server._router.namespaces) == {"/room-1"})
        await ws.stream.aclose()
        await until(lambda: not server._router.namespaces)


async def test_emitting_to_a_namespace_that_nobody_is_in_keeps_nothing() -> None:
    """Names are not bounded, so an empty namespace must cost nothing."""
    server = Server(namespaces=[re.compile("/n.*")])
    for number in range(100):
        server.emit("news", namespace=f"/n{number}")
        server.members("red", namespace=f"/n{number}")
    assert not server._router.namespaces


async def test_a_predicate_is_asked_for_each_client_with_its_auth() -> None:
    """Also where the namespace is there already; one that fails keeps everybody out."""
    server = Server()

    def allowed(name: str, auth: Any) -> bool:
        if name == "/bad":
            raise ValueError
        return name == "/vip" and (auth or {}).get("vip") is True

    vip = server.of(allowed)
    vip.on("who", lambda namespace, _sid: namespace)
    async with served(server) as address:
        ws = await open_ws(address, "/vip", '{"vip":true}')
        assert await answer(ws, '42/vip,1["who"]') == '43/vip,1["/vip"]'
        other = await Ws.connect(address)
        await other.receive()
        for name in ("/vip", "/bad"):
            assert await answer(other, f"40{name},") == f'44{name},{{"message":"Invalid namespace"}}'


async def test_handlers_of_a_family_apply_to_children_that_are_there() -> None:
    """Registering late is seen by the namespaces that the family let in before."""
    family = re.compile("/a.*")
    server = Server(namespaces=[family])
    async with served(server) as address:
        ws = await open_ws(address, "/ab")
        server.on("late", lambda namespace, _sid: namespace, namespace=family)
        assert await answer(ws, '42/ab,1["late"]') == '43/ab,1["/ab"]'


async def test_a_named_namespace_has_its_own_handlers_only_and_those_of_all() -> None:
    """A family does not reach into it, ``*`` stands behind it, and lets nobody in."""
    server = Server()
    server.on("own", lambda _sid: "own", namespace="/chat")
    server.on("own", lambda _namespace, _sid: "all", namespace="*")
    server.on("all", lambda namespace, _sid: ["all", namespace], namespace="*")
    server.on("family", lambda _namespace, _sid: "family", namespace=re.compile("/c.*"))
    server.on("*", lambda event, namespace, _sid, *args: [event, namespace, *args], namespace="*")
    async with served(server) as address:
        ws = await open_ws(address, "/chat")
        for event, result in [
            ("own", '["own"]'),
            ("all", '[["all","/chat"]]'),
            ("family", '[["family","/chat"]]'),
            ("other", '[["other","/chat"]]'),
        ]:
            assert await answer(ws, f'42/chat,1["{event}"]') == f"43/chat,1{result}"
        assert await answer(ws, "40/none,") == '44/none,{"message":"Invalid namespace"}'
        assert await answer(ws, "40/*,") == '44/*,{"message":"Invalid namespace"}'
        await ws.send("40/c2,")
        assert str(await ws.receive()).startswith("40/c2,")
        assert await answer(ws, '42/c2,1["family"]') == '43/c2,1["family"]'


@pytest.mark.parametrize("event", ["*", "/", "__class__", "on_connect", ""])
async def test_no_event_name_reaches_a_handler_that_it_was_not_registered_for(event: str) -> None:
    """An event called ``*`` is an unknown event for the catch-all, with its arguments in their places."""
    server = Server()
    server.on("*", lambda name, sid, *args: [name, sid in server.members(sid), *args])
    async with served(server) as address:
        ws = await open_ws(address)
        assert await answer(ws, f'421["{event}",5]') == f'431[["{event}",true,5]]'


async def test_an_event_called_star_is_unknown_without_a_catch_all() -> None:
    """It has no handler, so there is no ack, and nothing else happens."""
    server = Server()
    server.on("echo", lambda _sid, value: value)
    async with served(server) as address:
        ws = await open_ws(address)
        await ws.send('421["*",5]')
        assert await answer(ws, '422["echo",6]') == "432[6]"


@pytest.mark.parametrize("event", ["connect", "disconnect", "disconnecting", "connect_error"])
async def test_lifecycle_names_are_no_events(event: str) -> None:
    """They break the protocol, as in the reference server, and no handler sees them."""
    server = Server()
    calls: list[tuple[Any, ...]] = []
    if event != "connect_error":
        server.on(event, lambda *args: calls.append(args))
    async with served(server) as address:
        ws = await open_ws(address)
        calls.clear()
        await ws.send(f'42["{event}","shifted"]')
        assert await ws.closed() == 1002
        await until(lambda: not server._router.namespace("/").sockets)
        assert all("shifted" not in args for args in calls)


class Chat(Namespace):
    """A namespace as python-socketio's users write them."""

    def __init__(self, namespace: Any = "/") -> None:
        super().__init__(namespace)
        self.seen: list[Any] = []

    def on_connect(self, sid: str) -> None:
        """Put everybody into a room."""
        self.enter_room(sid, "all")

    async def on_message(self, sid: str, data: str) -> str:
        """Tell all others."""
        self.emit("message", data, to="all", skip_sid=sid)
        with self.session(sid) as session:
            session["said"] = data
        return data.upper()

    def on_disconnect(self, sid: str) -> None:
        """Note who went: the short form."""
        self.seen.append((sid, self.get_session(sid), self.rooms(sid)))

    def helper(self) -> None:
        """Not a handler."""


async def test_the_methods_of_a_class_are_handlers() -> None:
    """Its shortcuts are bound to its namespace; other methods are out of reach."""
    server = Server(namespaces=())
    chat = Chat("/chat")
    server.register_namespace(chat)
    async with served(server) as address:
        one, two = await open_ws(address, "/chat"), await open_ws(address, "/chat")
        await one.send('42/chat,["helper"]')
        assert await answer(one, '42/chat,1["message","hi"]') == '43/chat,1["HI"]'
        assert await two.receive() == '42/chat,["message","hi"]'
        await one.send("41/chat,")
        await until(lambda: chat.seen)
        [(sid, session, rooms)] = chat.seen
        assert session == {"said": "hi"}
        assert rooms == [sid, "all"]
        assert len(chat.fetch_sockets()) == 1


async def test_a_class_may_stand_for_a_family() -> None:
    """Its methods get the name first, and its shortcuts must say which one they mean."""

    class Family(Namespace):
        def on_ask(self, namespace: str, sid: str) -> str:
            self.emit("asked", to=sid, namespace=namespace)
            with pytest.raises(LocalError):
                self.emit("asked")
            return namespace

    server = Server()
    server.register_namespace(Family(re.compile("/f.")))
    async with served(server) as address:
        ws = await open_ws(address, "/f1")
        assert await answer(ws, '42/f1,1["ask"]') == '42/f1,["asked"]'
        assert await ws.receive() == '43/f1,1["/f1"]'


def test_a_namespace_without_a_server_says_so() -> None:
    """And a class must not have a method for a reserved name."""

    class Bad(Namespace):
        def on_connect_error(self) -> None:
            """Never called."""

    with pytest.raises(LocalError, match="not registered"):
        Chat("/x").emit("a")
    with pytest.raises(LocalError, match="reserved"):
        Server().register_namespace(Bad())


async def test_a_bound_namespace_registers_and_sends() -> None:
    """`of` gives what `on` and `emit` do with ``namespace=``."""
    server = Server()
    space = server.of("/s")

    @space.event
    def shout(sid: str, text: str) -> None:
        space.send(text.upper(), to=sid)

    async with served(server) as address:
        ws = await open_ws(address, "/s")
        assert await answer(ws, '42/s,["shout","a"]') == '42/s,["message","A"]'
        space.disconnect_sockets()
        assert await ws.receive() == "41/s,"
