"""What the Socket.IO server sends: rooms, batches, and what becomes of it for clients that lag."""

import json

import pytest
import trio
from transport_peers import Polling, heard, open_ws, served

from flux.errors import LocalError
from flux.transport.socket_io import (
    Server,
)


async def test_broadcasts_go_to_rooms_over_both_transports() -> None:
    """Each member once, without those skipped."""
    server = Server()
    sids: list[str] = []
    server.on("connect", lambda sid, _environ, _auth: sids.append(sid))
    async with served(server) as address:
        a, b = await open_ws(address), await open_ws(address)
        poll = await Polling.open(address)
        await poll.post(b"40")
        await poll.get()
        for sid in sids:
            server.enter_room(sid, "red")
        server.enter_room(sids[0], "blue")
        server.emit("n", 1, room="red")
        server.emit("n", 2, to=["red", "blue", sids[0]], skip_sid=sids[1])
        server.emit("n", 3, to=sids[1])
        server.emit("n", 4, skip_sid="blue")
        server.emit("n", 5, room="nobody")
        server.emit("n", (6, "x"))
        assert [(await heard(a))[1:] for _ in range(3)] == [[1], [2], [6, "x"]]
        assert [(await heard(b))[1:] for _ in range(4)] == [[1], [3], [4], [6, "x"]]
        assert (await poll.get()).split(b"\x1e") == [
            b'42["n",1]',
            b'42["n",2]',
            b'42["n",4]',
            b'42["n",6,"x"]',
        ]
        assert server.rooms(sids[0]) == [sids[0], "red", "blue"]
        assert set(server.members("red")) == set(sids)
        assert set(server.occupied_rooms()) == {"red", "blue"}
        server.close_room("red")
        assert not server.members("red")


@pytest.mark.parametrize("event", ["connect", "disconnect", "connect_error", "disconnecting", "newListener"])
def test_reserved_events_are_refused(event: str) -> None:
    """They belong to the protocol."""
    with pytest.raises(LocalError):
        Server().emit(event)


async def test_a_batch_is_one_write_for_each_client_in_order() -> None:
    """Whatever rooms it went to; a poll gets it as one payload."""
    server = Server()
    sids: list[str] = []
    server.on("connect", lambda sid, _environ: sids.append(sid))
    async with served(server) as address:
        a, b = await open_ws(address), await open_ws(address)
        poll = await Polling.open(address)
        await poll.post(b"40")
        await poll.get()
        server.enter_room(sids[0], "red")
        got: list[bytes] = []

        async def get() -> None:
            got.append(await poll.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await trio.sleep(0.02)
            with server.batch():
                server.emit("n", 1)
                server.emit("n", 2, room="red")
                with server.batch():
                    server.emit("n", b"3")
                server.emit("n", 4, to=sids[1])
                server.emit("n", 5, callback=print)
            with server.batch():
                server.emit("n", 6)
                server.emit("n", 7)
        text = '42["n",%s]'
        binary = ['451-["n",{"_placeholder":true,"num":0}]', b"3"]
        assert [await a.receive() for _ in range(7)] == [
            text % 1, text % 2, *binary, '421["n",5]', text % 6, text % 7,
        ]  # fmt: skip
        assert [await b.receive() for _ in range(7)] == [
            text % 1, *binary, text % 4, '421["n",5]', text % 6, text % 7,
        ]  # fmt: skip
        assert got[0].split(b"\x1e")[0] == b'42["n",1]'
        assert len(got[0].split(b"\x1e")) == 4


async def test_lagging_clients_get_the_latest_of_each_key_and_no_volatile_events() -> None:
    """Regular events are all delivered, in order; a client that keeps up gets everything."""
    server = Server(outbox_limit=100_000_000)
    sids: list[str] = []
    server.on("connect", lambda sid, _environ: sids.append(sid))
    server.on("read", lambda _sid: True)
    async with served(server) as address:
        lagging = await open_ws(address)
        poll = await Polling.open(address)
        await poll.post(b"40")
        await poll.get()
        for sid in sids:
            server.enter_room(sid, "red")
        server.emit("big", "x" * 20_000_000, to=sids[0])
        for number in range(100):
            server.emit("volatile", number, room="red", volatile=True)
            server.emit("price", number, room="red", conflate=f"BTC{number % 2}")
            server.emit("regular", number, room="red")
            with server.batch():
                server.emit("price", number, room="red", conflate="ETH")
                server.emit("volatile", number, room="red", volatile=True)
        regular = [["regular", n] for n in range(100)]
        latest = [["price", 98], ["price", 99], ["price", 99]]
        assert (await heard(lagging))[0] == "big"
        assert [await heard(lagging) for _ in range(103)] == regular + latest
        payload = (await poll.get()).split(b"\x1e")
        assert [json.loads(part[2:]) for part in payload] == regular + latest


async def test_a_client_that_does_not_read_does_not_hold_up_the_others() -> None:
    """It is disconnected at its bound, and its memory is free."""
    server = Server(outbox_limit=200_000)
    reasons: list[str] = []
    server.on("disconnect", lambda _sid, reason: reasons.append(reason))
    async with served(server) as address:
        await open_ws(address)
        good = await open_ws(address)
        for number in range(400):
            server.emit("n", (number, "x" * 50_000))
            assert (await heard(good))[1] == number
        assert reasons == ["slow client"]


async def test_emitting_needs_no_running_door() -> None:
    """Nobody is there to hear it."""
    server = Server()
    server.emit("n", 1, room="red")
    with server.batch():
        server.emit("n", 1)
    assert not server.connected("x")
