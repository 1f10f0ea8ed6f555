"""A WebSocket client of another make, trio-websocket, gets on with the server."""

import pytest
import trio
from transport_peers import served
from trio_websocket import ConnectionClosed, open_websocket_url, wrap_client_stream

from flux.transport.socket_io import Server


async def test_trio_websocket_talks_to_the_server_and_closes_in_order() -> None:
    """Text, bytes, pings and the closing handshake from either side."""
    server = Server()
    reasons: list[str] = []
    server.on("echo", lambda _sid, *args: args)
    server.on("disconnect", lambda _sid, reason: reasons.append(reason))
    async with served(server) as (host, port):
        url = f"ws://{host}:{port}/socket.io/?EIO=4&transport=websocket"
        async with open_websocket_url(url) as ws:
            assert (await ws.get_message())[0] == "0"
            await ws.send_message("40")
            assert str(await ws.get_message()).startswith("40{")
            await ws.ping(b"x")
            await ws.send_message('451-1["echo",{"_placeholder":true,"num":0}]')
            await ws.send_message(b"\1" * 70_000)
            assert await ws.get_message() == '461-1[{"_placeholder":true,"num":0}]'
            assert await ws.get_message() == b"\1" * 70_000
        with trio.fail_after(5):
            while not reasons:  # noqa: ASYNC110 - it turns true on the other side of a socket
                await trio.sleep(0.01)
        assert reasons == ["transport close"]
        # The stream is ours: trio-websocket does not close a client's when the server closed first.
        async with await trio.open_tcp_stream(host, port) as stream, trio.open_nursery() as nursery:
            target = "/socket.io/?EIO=4&transport=websocket"
            ws = await wrap_client_stream(nursery, stream, "localhost", target)
            await ws.get_message()
            await server.close()
            with pytest.raises(ConnectionClosed) as closed:
                await ws.get_message()
            assert closed.value.reason is not None
            assert closed.value.reason.code == 1001
