"""The live page: the built files by their exact URL path, each with its type and cache headers.

The page is built from this folder's sources into ``dist`` by ``hatch_build.py``; wheels contain only the
built files. Everything is read once, at start: whatever path a request names, no file is opened for it,
so there is no path to traverse.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

from attrs import frozen

BUILD_COMMAND = "python hatch_build.py"

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Named here and not asked of `mimetypes`, whose answers depend on the machine's own tables."""

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"

POLICY = (
    "default-src 'self'; "
    "img-src 'self' https:; "  # pictures of coins come from wherever the provider keeps them
    "object-src 'none'; "
    "base-uri 'none'; "
    "form-action 'self'; "
    "frame-ancestors 'none'"
)
"""The page loads code and style from its own origin alone, and nobody frames it (CSP Level 3)."""

MISSING = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Flux: the page is not built</title></head>
<body><h1>The page is not built</h1>
<p>Flux runs, and Socket.IO clients can connect. To build the page, run
<code>{BUILD_COMMAND}</code> in the project's folder, then start Flux again.</p></body></html>
"""


@frozen
class StaticFile:
    """A file as it is served.

    Args:
        body: the whole content.
        headers: the response headers, names in lower case: ``content-type``, ``cache-control``, ``etag``
            (strong; answer 304 to an ``If-None-Match`` that names it) and what keeps a browser safe.
        status: 200, or 503 for the text that stands in for a page that is not built.
    """

    body: bytes
    headers: Mapping[str, str]
    status: int = 200

    @property
    def content_type(self) -> str:
        """The value of the ``Content-Type`` header."""
        return self.headers["content-type"]


def load_page(root: Traversable | None = None) -> Mapping[str, StaticFile]:
    """Read the built page.

    Args:
        root: the folder of the built files; by default the one that came with the package.

    Returns:
        What to serve under which exact URL path: ``/`` (the page), ``/icon.svg``, ``/assets/...``. Where the
        build is missing, ``/`` alone, with status 503 and a text that says what to run.

    Raises:
        OSError: a file that is there cannot be read.
    """
    root = files(__name__).joinpath("dist") if root is None else root
    page = {_url(name): _served(name, body) for name, body in _walk(root)}
    if "/" not in page:
        return {"/": _missing()}
    return page


def _url(name: str) -> str:
    return "/" if name == "index.html" else f"/{name}"


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in CONTENT_TYPES:
            yield prefix + entry.name, entry.read_bytes()


def _served(name: str, body: bytes) -> StaticFile:
    # Vite puts a hash of the content into the names under assets/, so such a name never changes its content.
    hashed = re.search(r"^assets/.+-[\w-]{8}\.\w+$", name) is not None
    headers = {
        "cache-control": IMMUTABLE if hashed else REVALIDATE,
        "etag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    }
    return StaticFile(body, _headers(_suffix(name)) | headers)


def _missing() -> StaticFile:
    return StaticFile(MISSING.encode(), _headers(".html") | {"cache-control": "no-store"}, status=503)


def _headers(suffix: str) -> dict[str, str]:
    return {
        "content-type": CONTENT_TYPES[suffix],
        "content-security-policy": POLICY,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""
