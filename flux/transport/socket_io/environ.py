"""The handshake request as python-socketio shows it: a WSGI-style dict, kept small while nobody asks."""

from typing import Any

from flux.transport.http import Request


def pack(request: Request) -> bytes:
    """Return a request's head in one piece; it is kept for hours, and a dict would cost kilobytes."""
    lines = [request.method, request.target, request.http_version, request.peer[0], str(request.peer[1])]
    lines.append(request.scheme)
    head = "\n".join(lines).encode("latin-1", "replace")
    return b"\n".join([head, *(name + b":" + value for name, value in request.headers)])


def unpack(packed: bytes) -> dict[str, Any]:
    """Return the dict: REQUEST_METHOD, PATH_INFO, QUERY_STRING, REMOTE_ADDR, HTTP_* and so on (PEP 3333).

    A header that came more than once is joined by commas.
    """
    method, target, version, host, port, scheme, *headers = packed.decode("latin-1").split("\n")
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "RAW_URI": target,
        "SERVER_PROTOCOL": f"HTTP/{version}",
        "REMOTE_ADDR": host,
        "REMOTE_PORT": port,
        "wsgi.url_scheme": scheme,
    }
    for header in headers:
        name, _, value = header.partition(":")
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ
