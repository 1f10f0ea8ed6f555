"""The cookie that carries the session's id, for load balancers that keep a client on one server by it."""

import re
from typing import Literal

from attrs import field, frozen

from flux.errors import LocalError
from flux.transport.http import Headers

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-:<-~]*")


@frozen
class Cookie:
    """What is set at the handshake, over both transports (RFC 6265).

    The session's id is no secret of the page's, but who has it has the session: keep it from scripts.

    Args:
        name: of the cookie.
        path: where the browser sends it.
        http_only: hidden from scripts.
        same_site: whether other sites' requests carry it; ``None`` needs `secure`.
        secure: sent over TLS alone.
        max_age: seconds; None: until the browser closes.

    Raises:
        LocalError: a name or path that no cookie can have.
    """

    name: str = field(default="io")
    path: str = field(default="/")
    http_only: bool = True
    same_site: Literal["Strict", "Lax", "None"] = "Lax"
    secure: bool = False
    max_age: int | None = None

    @name.validator
    def _check_name(self, _attribute: object, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise LocalError(f"no cookie can be named {name!r}")

    @path.validator
    def _check_path(self, _attribute: object, path: str) -> None:
        if not path.startswith("/") or not _VALUE.fullmatch(path):
            raise LocalError(f"no cookie can have the path {path!r}")

    @classmethod
    def of(cls, given: "Cookie | str | None") -> "Cookie | None":
        """Return the cookie of a setting: a name stands for the cookie with all defaults."""
        return cls(given) if isinstance(given, str) else given

    def header(self, sid: str) -> Headers:
        """Return the ``Set-Cookie`` header of a session."""
        parts = [f"{self.name}={sid}", f"Path={self.path}"]
        if self.max_age is not None:
            parts.append(f"Max-Age={self.max_age}")
        if self.http_only:
            parts.append("HttpOnly")
        if self.secure:
            parts.append("Secure")
        parts.append(f"SameSite={self.same_site}")
        return ((b"set-cookie", "; ".join(parts).encode("ascii")),)
