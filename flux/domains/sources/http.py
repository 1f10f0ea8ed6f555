"""HTTP to one source within bounds: time, size, redirects, content type; every failure is told in words."""

import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx
from attrs import frozen

import flux
from flux.domains.sources.failures import SourceError
from flux.domains.sources.policy import SourcePolicy

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes after which the same request may succeed (RFC 9110, RFC 6585, RFC 8470)."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@frozen
class Answer:
    """An answer that was taken.

    Args:
        status: of HTTP.
        body: decompressed.
    """

    status: int
    body: bytes


class HttpClient:
    """A client for one source; use it as an asynchronous context manager.

    Args:
        policy: the bounds.
        headers: sent to the source with every request, and nowhere else: a key, say.
    """

    def __init__(self, policy: SourcePolicy, headers: Mapping[str, str]) -> None:
        self._policy = policy
        self._headers = dict(headers)
        self._client = httpx.AsyncClient(
            headers={
                "user-agent": f"flux/{flux.__version__}",
                "accept": ", ".join(policy.media_types),
                "accept-encoding": "gzip",
            },
            limits=httpx.Limits(max_connections=policy.connections, keepalive_expiry=30.0),
            timeout=policy.deadline,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def get(self, url: str, params: Mapping[str, str], statuses: frozenset[int]) -> Answer:
        """Ask for a resource.

        Args:
            url: absolute.
            params: of the query.
            statuses: those whose answers are wanted; any other is a failure.

        Cancellation: the connection is closed.

        Raises:
            SourceError: no such answer came.
        """
        title = self._policy.title
        try:
            target = httpx.URL(url, params=params) if params else httpx.URL(url)
            for _ in range(self._policy.redirects + 1):
                headers = self._headers if _same_origin(str(target), url) else {}
                async with self._client.stream("GET", target, headers=headers) as response:
                    if response.status_code not in REDIRECTS:
                        return await self._take(response, statuses)
                    target = self._redirected(target, response.headers.get("location", ""), secret=params)
        except httpx.TimeoutException:
            raise SourceError(f"{title} did not answer in time", passing=True) from None
        except httpx.ConnectError as error:
            raise self._unreachable(error) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            name = type(error).__name__
            raise SourceError(f"the connection to {title} broke off ({name})", passing=True) from None
        raise SourceError(f"{title} redirects in a circle, or more than {self._policy.redirects} times")

    def _redirected(self, target: httpx.URL, location: str, *, secret: Mapping[str, str]) -> httpx.URL:
        """Return where a redirect leads; a key goes to no other host, and nothing from TLS to none."""
        title = self._policy.title
        url = urljoin(str(target), location)
        there = urlsplit(url)
        if not location or there.scheme not in ("http", "https") or not there.netloc:
            raise SourceError(f"{title} redirects to nowhere")
        if target.scheme == "https" and there.scheme != "https":
            raise SourceError(f"{title} redirects to an address without TLS")
        if (secret or self._headers) and not _same_origin(url, str(target)):
            raise SourceError(f"{title} redirects to another host")
        return httpx.URL(url)

    def _unreachable(self, error: httpx.ConnectError) -> SourceError:
        title = self._policy.title
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return SourceError(f"the certificate of {title} is not valid: {cause.verify_message}")
            if isinstance(cause, ssl.SSLError):
                return SourceError(f"no TLS connection to {title}: {cause.reason}", passing=True)
            cause = cause.__cause__ or cause.__context__
        return SourceError(f"{title} cannot be reached", passing=True)

    async def _take(self, response: httpx.Response, statuses: frozenset[int]) -> Answer:
        policy, status = self._policy, response.status_code
        if status not in statuses:
            raise self._refused(status, response.headers)
        media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in policy.media_types:
            raise SourceError(f"{policy.title} answered {media or 'without a content type'}, "
                              f"not {policy.media_types[0]}", passing=True)  # fmt: skip
        body = bytearray()
        async for piece in self._pieces(response):
            body += piece
            if len(body) > policy.body_limit:
                raise SourceError(f"{policy.title} answered more than {policy.body_limit} bytes")
        return Answer(status, bytes(body))

    async def _pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """Yield the decompressed body, in pieces at most one byte longer than the bound."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        most = self._policy.body_limit + 1
        if encoding == "identity":
            async for piece in response.aiter_raw():
                yield piece
            return
        if encoding not in ("gzip", "x-gzip"):
            raise SourceError(f"{self._policy.title} answered in an encoding that was not asked for")
        unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            async for piece in response.aiter_raw():
                yield unpack.decompress(piece, most)
                if unpack.unconsumed_tail:
                    yield bytes(most)  # more than the bound in one piece
        except zlib.error:
            raise SourceError(f"{self._policy.title} answered with broken gzip", passing=True) from None
        if not unpack.eof:
            raise SourceError(f"the answer of {self._policy.title} was cut off", passing=True)

    def _refused(self, status: int, headers: Mapping[str, str]) -> SourceError:
        title = self._policy.title
        retry_after = _seconds(headers.get("retry-after", ""))
        if status == httpx.codes.TOO_MANY_REQUESTS:
            message = f"{title} wants fewer requests (429)"
        elif status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            message = f"{title} refuses the request ({status}); check its key"
        else:
            message = f"{title} answered with status {status}"
        return SourceError(message, passing=status in PASSING, retry_after=retry_after)


def _same_origin(one: str, other: str) -> bool:
    return httpx.URL(one).copy_with(path="/", query=None, fragment=None) == httpx.URL(other).copy_with(
        path="/", query=None, fragment=None
    )


def _seconds(text: str) -> float | None:
    """Return a Retry-After of seconds (RFC 9110, section 10.2.3)."""
    text = text.strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
