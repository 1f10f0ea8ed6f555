"""HTTP to one source within bounds: time, size, redirects, content type; every failure is told in words."""

import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx
import trio
from attrs import field, frozen

import flux
from flux.domains.sources.authorities import authorities
from flux.domains.sources.body import Body
from flux.domains.sources.failures import SourceError
from flux.domains.sources.policy import SourcePolicy
from flux.domains.sources.retry_after import retry_after

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes after which the same request may succeed (RFC 9110, RFC 6585, RFC 8470)."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

FAREWELL_SECONDS = 2.0
"""What closing the connections may take."""

SHOWN = 60
"""Characters of a source's own text that an error repeats."""


@frozen
class Answer:
    """An answer that was taken.

    Args:
        status: of HTTP.
        body: decompressed.
        retry_after: seconds that the source asks to be left alone, where it said so.
    """

    status: int
    body: bytes
    retry_after: float | None = None


@frozen(kw_only=True)
class Secrets:
    """What proves to a source who asks; sent to no other, and never shown.

    Args:
        headers: of every request.
        params: of every request's query.
        setting: the setting that holds the key, for the one who has to mend it.
    """

    headers: Mapping[str, str] = field(factory=dict, repr=False)
    params: Mapping[str, str] = field(factory=dict, repr=False)
    setting: str = ""


class HttpClient:
    """A client for one source; use it as an asynchronous context manager.

    Args:
        policy: the bounds.
        secrets: sent with every request.
        now: the wall clock, aware.
    """

    def __init__(self, policy: SourcePolicy, secrets: Secrets, now: Callable[[], datetime]) -> None:
        self._policy = policy
        self._secrets = secrets
        self._now = now
        self._client: httpx.AsyncClient | None = None
        self._trouble = "it is not open"

    async def __aenter__(self) -> Self:
        try:
            self._client = _open(self._policy)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold a proxy's password
            what = "the proxy or the certificates that the environment names"
            self._trouble = f"{what} are of no use ({type(error).__name__})"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._client is not None:
            with trio.move_on_after(FAREWELL_SECONDS, shield=True):
                await self._client.aclose()

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
        if self._client is None:
            raise SourceError(f"{title} cannot be asked: {self._trouble}", reached=False)
        try:
            return await self._follow(self._client, url, {**params, **self._secrets.params}, statuses)
        except SourceError:
            raise
        except httpx.PoolTimeout:  # a source takes no more than there are; if it comes, it is our own fault
            raise SourceError(f"no connection to {title} is free", asked=False) from None
        except httpx.ConnectTimeout:
            raise SourceError(f"{title} cannot be reached in time", passing=True, reached=False) from None
        except httpx.TimeoutException:
            raise SourceError(f"{title} did not answer in time", passing=True) from None
        except httpx.ConnectError as error:
            raise self._unreachable(error) from None
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeError) as error:
            name = type(error).__name__
            raise SourceError(
                f"{title} cannot be asked: its address or key in the settings is of no use ({name})"
            ) from None
        except httpx.ProxyError:
            raise SourceError(f"the proxy does not lead to {title}", passing=True, reached=False) from None
        except Exception as error:  # noqa: BLE001 - its text may hold the address, and that a key
            name = type(error).__name__
            raise SourceError(f"the connection to {title} broke off ({name})", passing=True) from None

    async def _follow(
        self, client: httpx.AsyncClient, url: str, params: Mapping[str, str], statuses: frozenset[int]
    ) -> Answer:
        policy = self._policy
        target = httpx.URL(url, params=params) if params else httpx.URL(url)
        for _ in range(policy.redirects + 1):
            async with client.stream("GET", target, headers=self._secrets.headers) as response:
                if response.status_code not in REDIRECTS:
                    return await self._take(response, statuses)
                target = self._redirected(target, response.headers.get("location", ""))
        raise SourceError(f"{policy.title} redirects in a circle, or more than {policy.redirects} times")

    def _redirected(self, target: httpx.URL, location: str) -> httpx.URL:
        """Return where a redirect leads; a key goes to no other host, and nothing from TLS to none."""
        title = self._policy.title
        try:
            url = urljoin(str(target), location)
            there = urlsplit(url)
            following = httpx.URL(url)
        except (ValueError, httpx.InvalidURL):
            raise SourceError(f"{title} redirects to nowhere") from None
        if not location or there.scheme not in ("http", "https") or not there.netloc:
            raise SourceError(f"{title} redirects to nowhere")
        if target.scheme == "https" and there.scheme != "https":
            raise SourceError(f"{title} redirects to an address without TLS")
        if (self._secrets.headers or self._secrets.params) and not _same_origin(url, str(target)):
            raise SourceError(f"{title} redirects to another host")
        return following

    def _unreachable(self, error: httpx.ConnectError) -> SourceError:
        title = self._policy.title
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                why = cause.verify_message.partition(",")[0]  # behind it come names and addresses
                return SourceError(f"the certificate of {title} is not valid: {why}", reached=False)
            if isinstance(cause, ssl.SSLError):
                why = f"no TLS connection to {title}: {cause.reason}"
                return SourceError(why, passing=True, reached=False)
            cause = cause.__cause__ or cause.__context__
        return SourceError(f"{title} cannot be reached", passing=True, reached=False)

    async def _take(self, response: httpx.Response, statuses: frozenset[int]) -> Answer:
        policy, status = self._policy, response.status_code
        if status not in statuses:
            raise self._refused(status, response.headers)
        media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in policy.media_types:
            if status != httpx.codes.OK:  # no refusal of the source's own making: a proxy's, say
                raise self._refused(status, response.headers)
            shown = media[:SHOWN] if media.isprintable() and media else "without a content type"
            raise SourceError(f"{policy.title} answered {shown}, not {policy.media_types[0]}", passing=True)
        body = Body(response.headers.get("content-encoding", ""), policy.body_limit, policy.title)
        refusal: SourceError | None = None
        # A body is broken off by cancellation, for an exception here would leave httpx's iterators open.
        with trio.CancelScope() as scope:
            async for piece in response.aiter_raw():
                if refusal is None:
                    try:
                        body.take(piece)
                    except SourceError as error:
                        refusal = error
                        scope.cancel()
        if refusal is not None:
            raise refusal
        pause = retry_after(response.headers.get("retry-after", ""), self._now())
        return Answer(status, body.end(), pause)

    def _refused(self, status: int, headers: Mapping[str, str]) -> SourceError:
        title, setting, refused_key = self._policy.title, self._secrets.setting, ""
        if status == httpx.codes.TOO_MANY_REQUESTS:
            message = f"{title} wants fewer requests (429)"
        elif status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            advice = f"; check the key in the setting {setting}" if setting else ""
            message, refused_key = f"{title} refuses the request ({status}){advice}", setting
        else:
            message = f"{title} answered with status {status}"
        pause = retry_after(headers.get("retry-after", ""), self._now())
        if pause is None and status == httpx.codes.TOO_MANY_REQUESTS:
            pause = self._policy.too_many_pause
        return SourceError(message, passing=status in PASSING, retry_after=pause, key_setting=refused_key)


def _open(policy: SourcePolicy) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={
            "user-agent": f"flux/{flux.__version__}",
            "accept": ", ".join(policy.media_types),
            "accept-encoding": "gzip",
        },
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # no answer changes the next request
        verify=authorities(),
        limits=httpx.Limits(max_connections=policy.connections, keepalive_expiry=30.0),
        # Not the whole deadline: a connection that hangs is then closed and tried anew.
        timeout=httpx.Timeout(policy.deadline, connect=policy.deadline / 3),
        follow_redirects=False,
    )


def _same_origin(one: str, other: str) -> bool:
    return httpx.URL(one).copy_with(path="/", query=None, fragment=None) == httpx.URL(other).copy_with(
        path="/", query=None, fragment=None
    )
