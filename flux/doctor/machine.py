"""What stands on this machine: the settings, the port, the built page."""

import errno
import re
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs
import httpx
import trio

import flux
from flux.doctor.finding import Finding, Verdict
from flux.runtime import Running
from flux.services import port_problem
from flux.settings import Settings
from flux.web import BUILD_COMMAND, StaticFile

OTHER_HOST = "choose another with --host, FLUX_HTTP__HOST or http.host"

ANSWER_SECONDS = 2.0
"""How long whoever has the port may take to say who it is."""


def check_settings(settings: Settings, origins: Mapping[str, str]) -> Finding:
    """Return which settings are not the defaults and where they came from; no value is shown.

    Args:
        settings: as loaded.
        origins: where each given setting came from, by dotted name.
    """
    python = ".".join(map(str, sys.version_info[:3]))
    given = ", ".join(f"{name} (from {origin})" for name, origin in sorted(origins.items()))
    found = f"Flux {flux.__version__}, Python {python}; {given or 'all at their defaults'}"
    secrets = _secrets(settings)
    for words, wanted in (("secrets set", True), ("not set", False)):
        found += f"; {words}: {', '.join(n for n, is_set in secrets.items() if is_set is wanted) or 'none'}"
    return Finding(check="settings", verdict=Verdict.OK, found=found)


def _secrets(settings: Settings) -> dict[str, bool]:
    """Return which secrets are set, by dotted name."""
    return {
        f"{section.name}.{setting.name}": bool(getattr(getattr(settings, section.name), setting.name))
        for section in attrs.fields(Settings)
        if section.type is not None and attrs.has(section.type)
        for setting in attrs.fields(section.type)
        if setting.metadata.get("secret")
    }


async def check_port(settings: Settings, running: Running | None) -> Finding:
    """Return whether the door could open: the port is free, or Flux itself has it.

    Args:
        settings: host and port.
        running: what the runtime file says.
    """
    host, port = settings.http.host, settings.http.port
    if port == 0:
        return Finding(check="port", verdict=Verdict.OK, found="0: Flux takes any that is free")
    try:
        await _try_port(host, port)
    except UnicodeError:
        found = f"{host!r} is no host name"
        return Finding(check="port", verdict=Verdict.FAILED, found=found, advice=OTHER_HOST)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return await _taken(host, port, running)
        problem, _, advice = port_problem(host, port, error).partition("; ")
        return Finding(check="port", verdict=Verdict.FAILED, found=problem, advice=advice)
    return Finding(check="port", verdict=Verdict.OK, found=f"{port} on {host} is free")


async def _try_port(host: str, port: int) -> None:
    """Bind every address of the host, as the door does, and let go again.

    Raises:
        OSError: one of them cannot be had.
    """
    kind, flags = trio.socket.SOCK_STREAM, trio.socket.AI_PASSIVE
    for family, type_, protocol, _, address in await trio.socket.getaddrinfo(
        host or None, port, type=kind, flags=flags
    ):
        with trio.socket.socket(family, type_, protocol) as sock:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            if family == trio.socket.AF_INET6:
                sock.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 1)
            await sock.bind(address)


async def _taken(host: str, port: int, running: Running | None) -> Finding:
    where = f"{port} on {host}"
    if running is not None and urlsplit(running.url).port == port:
        return Finding(
            check="port",
            verdict=Verdict.OK,
            found=f"{where} is in use by Flux itself, process {running.pid}",
        )
    if await _is_flux(host, port):
        return Finding(
            check="port",
            verdict=Verdict.WARNING,
            found=f"{where} is in use by another Flux, which this user's runtime file does not name",
            advice="stop it, or choose another port with --port, FLUX_HTTP__PORT or http.port",
        )
    return Finding(
        check="port",
        verdict=Verdict.FAILED,
        found=f"{where} is in use by another program",
        advice="stop that program, or choose another port with --port, FLUX_HTTP__PORT or http.port",
    )


async def _is_flux(host: str, port: int) -> bool:
    """Return whether what listens there answers as Flux's door does."""
    named = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
    url = f"http://{f'[{named}]' if ':' in named else named}:{port}/livez"
    try:
        with trio.fail_after(ANSWER_SECONDS):
            async with (
                httpx.AsyncClient(trust_env=False) as client,
                client.stream("GET", url) as answer,
            ):
                return (await anext(answer.aiter_bytes(100), b"")).startswith(b'{"status":"alive"}')
    except (trio.TooSlowError, httpx.HTTPError, httpx.InvalidURL):
        return False


def check_page(page: Mapping[str, StaticFile]) -> Finding:
    """Return whether the page is built, with every file that it names.

    Args:
        page: as `flux.web.load_page` gives it.
    """
    index = page["/"]
    if index.status != 200:
        return Finding(
            check="page",
            verdict=Verdict.FAILED,
            found="the page is not built; Socket.IO clients can connect all the same",
            advice=f"run `{BUILD_COMMAND}` in the project's folder",
        )
    named = set(re.findall(r'(?:src|href)="(/[^"#?]+)"', index.body.decode("utf-8", "replace")))
    if absent := sorted(named - page.keys()):
        return Finding(
            check="page",
            verdict=Verdict.FAILED,
            found=f"the page names files that are not there: {', '.join(absent)}",
            advice=f"build it anew: `{BUILD_COMMAND}` in the project's folder, or install Flux again",
        )
    size = sum(len(file.body) for file in page.values()) / 1024
    return Finding(check="page", verdict=Verdict.OK, found=f"built: {len(page)} files, {size:.0f} KiB")
