"""The Socket.IO client over TLS, which a proxy before the server speaks."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from transport_peers import served
from trio_client_peers import echoing

from flux.transport.socket_io import Server
from flux.transport.socket_io.client import ConnectError, connect

TRANSPORTS = (["websocket"], ["polling"], ["polling", "websocket"])


@asynccontextmanager
async def proxied(server: Server, certificate: Path) -> AsyncIterator[str]:
    """Serve behind a proxy that ends TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
        try:
            while data := await source.receive_some():
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        both.cancel()

    async with served(server) as address, trio.open_nursery() as nursery:

        async def forward(outside: trio.SSLStream[trio.SocketStream]) -> None:
            async with outside, await trio.open_tcp_stream(*address) as inside, trio.open_nursery() as pair:
                pair.start_soon(copy, outside, inside, pair.cancel_scope)
                pair.start_soon(copy, inside, outside, pair.cancel_scope)

        async def handle(outside: trio.SSLStream[trio.SocketStream]) -> None:
            try:
                await forward(outside)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        serve = partial(trio.serve_ssl_over_tcp, host="127.0.0.1", https_compatible=True)
        listeners = await nursery.start(serve, handle, 0, context)
        yield f"https://127.0.0.1:{listeners[0].transport_listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_it_speaks_tls_with_the_users_own_authority(certificate: Path, transports: list[str]) -> None:
    """By each transport."""
    context = ssl.create_default_context(cafile=certificate)
    server, _ = echoing()
    async with (
        proxied(server, certificate) as url,
        connect(url, transports=transports, ssl_context=context) as client,
    ):
        assert await client.call("echo", (1, b"x" * 100_000)) == (1, b"x" * 100_000)


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_a_certificate_that_is_not_trusted_is_a_connect_error(
    certificate: Path, transports: list[str]
) -> None:
    """It says so."""
    server, _ = echoing()
    async with proxied(server, certificate) as url:
        with pytest.raises(ConnectError, match=r"(?i)certificate.verify.failed"):
            async with connect(url, transports=transports):
                pytest.fail("connected")
