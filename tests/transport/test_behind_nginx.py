"""The documented nginx configuration, run: TLS, WebSocket, polling, and the clients' real addresses."""

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from ports import free_port
from transport_peers import KEY, Http, Ws, ask, until

from flux.transport.door import Door
from flux.transport.http import Request, Response
from flux.transport.http_mount import Limits
from flux.transport.socket_io import Server

DOCS = Path(__file__).parents[2] / "docs"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
OPENSSL = shutil.which("openssl")
POLL = "/socket.io/?EIO=4&transport=polling"
CLIENT = "127.0.0.3"


def _missing() -> str:
    if sys.platform != "linux":
        return "needs the many loopback addresses of Linux"
    return "needs nginx and openssl" if NGINX is None or OPENSSL is None else ""


pytestmark = pytest.mark.skipif(bool(_missing()) and os.environ.get("CI") != "true", reason=_missing())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a self-signed certificate for localhost, and its key."""
    assert not _missing(), _missing()
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *(str(OPENSSL), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


class Site:
    """A door behind nginx, and clients of it."""

    def __init__(self, door: Door, port: int, trust: ssl.SSLContext) -> None:
        self.door = door
        self.port = port
        self._trust = trust
        self.sockets: list[trio.socket.SocketType] = []

    async def stream(self, host: str = CLIENT) -> Any:
        """Connect to nginx over TLS, from a loopback address."""
        sock = trio.socket.socket()
        self.sockets.append(sock)
        await sock.bind((host, 0))
        await sock.connect(("127.0.0.1", self.port))
        return trio.SSLStream(
            trio.SocketStream(sock), self._trust, server_hostname="localhost", https_compatible=True
        )

    async def http(self, host: str = CLIENT) -> Http:
        """Open a connection for requests."""
        return Http(await self.stream(host))

    async def ask(self, target: str, host: str = CLIENT, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send one request on a connection of its own."""
        http = await self.http(host)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await http.ask("GET", target, {"Host": f"localhost:{self.port}", **fields})
        await http.stream.aclose()
        return answer

    async def ws(self, query: str = "", headers: str = "", host: str = CLIENT) -> Ws:
        """Open a WebSocket; its status is in the head."""
        stream = await self.stream(host)
        await stream.send_all(
            f"GET /socket.io/?EIO=4&transport=websocket{query} HTTP/1.1\r\nHost: localhost:{self.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\n{headers}\r\n".encode()
        )
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = await stream.receive_some()
            assert chunk, data
            data += chunk
        head, _, rest = data.partition(b"\r\n\r\n")
        return Ws(stream, head.decode(), rest)


def configured(folder: Path, port: int, upstream: int, certificate: tuple[Path, Path]) -> Path:
    """Write the documented configuration with this test's ports and paths in place of the documented ones."""
    text = (DOCS / "nginx.conf").read_text()
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in places)
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server 127.0.0.1:8000": f"server 127.0.0.1:{upstream}",
        "/etc/ssl/flux/cert.pem": str(certificate[0]),
        "/etc/ssl/flux/key.pem": str(certificate[1]),
        "worker_processes auto": "worker_processes 1",
        "http {\n": f"http {{\n    access_log off;\n{temporary}",
        "worker_rlimit_nofile 65536;": "",
        "worker_connections 32768;": "worker_connections 256;",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    if os.geteuid() == 0:  # its workers would be nobody, who may not write into this test's folder
        text = "user root;\n" + text
    file = folder / "nginx.conf"
    file.write_text(text)
    return file


@asynccontextmanager
async def behind_nginx(folder: Path, certificate: tuple[Path, Path], **options: Any) -> AsyncIterator[Site]:
    """Serve with nginx before the door; both end with the block."""
    door = Door(**{"trusted_proxies": ["127.0.0.1"], "limits": Limits(stop_seconds=1), **options})
    await door.listen("127.0.0.1", 0)
    port = free_port()
    config = configured(folder, port, door.addresses[0][1], certificate)
    log = folder / "error.log"
    command = [str(NGINX), "-p", str(folder), "-e", str(log), "-c", str(config)]
    command += ["-g", f"daemon off; pid {folder}/pid; error_log {log};"]
    site = Site(door, port, ssl.create_default_context(cafile=str(certificate[0])))
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        process = await nursery.start(partial(trio.run_process, command, check=False, capture_stderr=True))
        with trio.fail_after(10):
            while True:
                assert process.returncode is None, log.read_text()
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.02)
        try:
            yield site
        finally:
            for sock in site.sockets:
                sock.close()
            nursery.cancel_scope.cancel()


def tell(request: Request) -> Response:
    """Answer with what the door knows of the client."""
    host = (request.header(b"host") or b"").decode()
    return Response.text(200, f"{request.peer[0]} {request.scheme} {host}")


async def test_addresses_are_the_real_ones(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """Whatever a client writes itself, to nginx or past it."""
    lies = {
        "X_Forwarded_For": "6.6.6.6",
        "X_Forwarded_Proto": "gopher",
        "X_Forwarded_Host": "evil.test",
        "Forwarded": "for=6.6.6.6;host=evil.test",
        "X_Real_IP": "6.6.6.6",
    }
    async with behind_nginx(tmp_path, certificate, app=tell) as site:
        for extra in ({}, lies):
            for host in (CLIENT, "127.0.0.4"):
                answer = await site.ask("/", host, **extra)
                assert answer[2].decode() == f"{host} https localhost:{site.port}\n"
        # Who connects past nginx is no proxy, and speaks for itself alone.
        sock = trio.socket.socket()
        await sock.bind((CLIENT, 0))
        await sock.connect(site.door.addresses[0])
        async with trio.SocketStream(sock) as stream:
            headers = {name.replace("_", "-"): value for name, value in lies.items()}
            assert (await Http(stream).ask("GET", "/", headers))[2] == f"{CLIENT} http localhost\n".encode()


async def test_websocket_polling_and_upgrade_pass(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """With the client's address in the environ, and payloads of all sizes both ways."""
    server = Server()
    environs: list[dict[str, Any]] = []
    server.on("connect", lambda _sid, environ: environs.append(environ))
    server.on("echo", lambda _sid, *args: args)
    mounts = {server.path: server.engine}
    big = "x" * 900_000
    async with behind_nginx(tmp_path, certificate, mounts=mounts) as site:
        ws = await site.ws(headers=f"Origin: https://localhost:{site.port}\r\n")
        assert ws.head.startswith("HTTP/1.1 101 ")
        assert str(await ws.receive()).startswith("0{")
        await ws.send("40")
        assert str(await ws.receive()).startswith("40{")
        await ws.send(f'421["echo","{big}"]')
        assert await ws.receive() == f'431["{big}"]'

        http = await site.http("127.0.0.4")
        hello = json.loads((await http.ask("GET", POLL))[2][1:])
        target = f"{POLL}&sid={hello['sid']}"
        assert (await http.ask("POST", target, body=b"40"))[2] == b"ok"
        assert (await http.ask("GET", target))[2].startswith(b"40{")
        assert (await http.ask("POST", target, body=f'421["echo","{big}"]'.encode()))[2] == b"ok"
        assert (await http.ask("GET", target))[2] == f'431["{big}"]'.encode()

        await http.send("GET", target)
        up = await site.ws(f"&sid={hello['sid']}", host="127.0.0.4")
        await up.send("2probe")
        assert await up.receive() == "3probe"
        assert (await http.receive())[2] == b"6"
        await up.send("5", '422["echo",1]')
        assert await up.receive() == "432[1]"
        assert [(e["REMOTE_ADDR"], e["wsgi.url_scheme"]) for e in environs] == [
            (CLIENT, "https"),
            ("127.0.0.4", "https"),
        ]
        for stream in (ws.stream, up.stream, http.stream):
            await stream.aclose()


async def test_a_client_that_goes_is_noticed(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """In a poll and on a WebSocket, through nginx, at once."""
    server = Server()
    async with behind_nginx(tmp_path, certificate, mounts={server.path: server.engine}) as site:
        http = await site.http()
        hello = json.loads((await http.ask("GET", POLL))[2][1:])
        await http.send("GET", f"{POLL}&sid={hello['sid']}")
        ws = await site.ws()
        await ws.receive()
        await until(lambda: len(server.engine.clients) == 2)
        await trio.aclose_forcefully(http.stream)
        await trio.aclose_forcefully(ws.stream)
        await until(lambda: not server.engine.clients)


async def test_foreign_origins_are_refused(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """A page of another site cannot use a visitor's session, over either transport."""
    server = Server()
    async with behind_nginx(tmp_path, certificate, mounts={server.path: server.engine}) as site:
        for origin, status in ((f"https://localhost:{site.port}", 200), ("https://evil.test", 403)):
            assert (await site.ask(POLL, Origin=origin))[0] == status
            ws = await site.ws(headers=f"Origin: {origin}\r\nX-Forwarded-Host: evil.test\r\n")
            assert ws.head.split(" ")[1] == ("101" if status == 200 else "403")
            await ws.stream.aclose()


async def test_bounds_per_address_hold(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """One client's WebSockets over the bound are refused, whatever it says of itself; others come in."""
    server = Server()
    async with behind_nginx(
        tmp_path,
        certificate,
        mounts={server.path: server.engine},
        limits=Limits(connections_per_address=2, stop_seconds=1),
    ) as site:
        opened = [await site.ws(headers=f"X-Forwarded-For: 6.6.6.{n}\r\n") for n in range(4)]
        assert [ws.head.split(" ")[1] for ws in opened] == ["101", "101", "503", "503"]
        other = await site.ws(host="127.0.0.4")
        assert other.head.split(" ")[1] == "101"
        for ws in (*opened, other):
            await ws.stream.aclose()
        await until(lambda: not site.door._clients._held)
        assert (await site.ask(POLL))[0] == 200
        assert (await ask(site.door.addresses[0], "GET", POLL))[0] == 200
