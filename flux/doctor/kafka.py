"""Kafka and its topics, as this process would reach them."""

import os
import socket

import trio

from flux.app import bus_of_this_machine
from flux.doctor.finding import Finding, Stopwatch, Verdict
from flux.domains.registry import ALL_TOPICS, TOPICS
from flux.errors import FluxError
from flux.runtime import Running
from flux.settings import Settings
from flux.transport.kafka.admin import TopicInfo

CONNECT_SECONDS = 3.0
"""How long a server may take to accept a connection; side by side, so once for all."""

ANSWER_SECONDS = 6.0
"""How long Kafka may take to tell of its topics, once a server has accepted a connection."""


async def check_kafka(settings: Settings, running: Running | None) -> list[Finding]:
    """Return how Kafka is, then how the topics are.

    Args:
        settings: say which Kafka, and how it is reached.
        running: what the runtime file says.
    """
    servers = settings.kafka.bootstrap_servers
    if servers is None and running is None:
        return [
            Finding(
                check="kafka",
                verdict=Verdict.OK,
                found="no address is set and no Flux runs here: `flux run` starts its own broker, in memory",
            ),
            Finding(check="topics", verdict=Verdict.OK, found=f"`flux run` creates all {len(ALL_TOPICS)}"),
        ]
    if servers is not None:
        where, told = servers, "check --bootstrap-servers (kafka.bootstrap_servers)"
    else:
        assert running is not None  # noqa: S101 - checked above
        kind = "embedded broker" if running.embedded else "Kafka"
        where = f"{running.bootstrap_servers}, the {kind} of the Flux that runs here (process {running.pid})"
        told = "end that Flux and start it again; its log says why"
        servers = running.bootstrap_servers
    watch = Stopwatch()
    silent = await _unreachable(servers)
    if silent is not None:
        failed = Finding(
            check="kafka",
            verdict=Verdict.FAILED,
            found=f"nothing answers at {where}: {silent}",
            advice=f"start Kafka there, or {told}",
        )
        return [watch.stamp(failed), _unknown_topics()]
    try:
        with trio.fail_after(ANSWER_SECONDS):
            infos = await bus_of_this_machine(settings).list_topics()
    except (FluxError, trio.TooSlowError) as error:
        reason = str(error) if isinstance(error, FluxError) else f"not within {ANSWER_SECONDS:g} s"
        failed = Finding(
            check="kafka",
            verdict=Verdict.FAILED,
            found=f"{where} accepts connections, but does not answer as Kafka does: {reason}",
            advice="check TLS and SASL in kafka.config (security.protocol, sasl.*), and the port",
        )
        return [watch.stamp(failed), _unknown_topics()]
    answered = Finding(check="kafka", verdict=Verdict.OK, found=f"{where} answers")
    return [watch.stamp(answered), topics_finding(infos)]


def _unknown_topics() -> Finding:
    return Finding(check="topics", verdict=Verdict.WARNING, found="not known, as Kafka does not answer")


def topics_finding(infos: dict[str, TopicInfo]) -> Finding:
    """Return whether all declared topics are there, with the partitions that they should have.

    Args:
        infos: what Kafka has, by the topic's name.
    """
    missing = [name for name, info in infos.items() if not info.exists]
    if missing:
        return Finding(
            check="topics",
            verdict=Verdict.WARNING,
            found=f"{len(missing)} of {len(infos)} are missing: {', '.join(missing)}",
            advice="run `flux topics create`; `flux run` and `flux bff` also do it when they start",
        )
    other = [
        f"{name} has {len(info.partitions)}, not {TOPICS[name].partitions}"
        for name, info in infos.items()
        if len(info.partitions) < TOPICS[name].partitions
    ]
    if other:
        return Finding(
            check="topics",
            verdict=Verdict.WARNING,
            found=f"fewer partitions than declared: {', '.join(other)}",
            advice="Flux works with them; to spread the load, add partitions with kafka-topics.sh --alter",
        )
    partitions = sum(len(info.partitions) for info in infos.values())
    records = sum(info.records for info in infos.values())
    return Finding(
        check="topics",
        verdict=Verdict.OK,
        found=f"all {len(infos)} are there, {partitions} partitions, {records} records",
    )


async def _unreachable(servers: str) -> str | None:
    """Return why no server accepts a connection, or None where one does."""
    reasons: dict[str, str] = {}
    accepted = False

    async def knock(server: str) -> None:
        nonlocal accepted
        host, _, port = server.rpartition(":")
        try:
            with trio.fail_after(CONNECT_SECONDS):
                stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
        except trio.TooSlowError:
            reasons[server] = f"no answer within {CONNECT_SECONDS:g} s"
        except UnicodeError:
            reasons[server] = "that is no host name"
        except OSError as error:
            reasons[server] = _words(error)
        else:
            accepted = True
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        for server in servers.split(","):
            nursery.start_soon(knock, server.strip())
    if accepted:
        return None
    if len(reasons) == 1:
        return next(iter(reasons.values()))
    return ", ".join(f"{server}: {reason}" for server, reason in reasons.items())


def _words(error: OSError) -> str:
    # trio tries every address of a name, and wraps what each of them said.
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    number = getattr(cause or error, "errno", None)
    if isinstance(error, socket.gaierror):
        return "there is no such host name"
    return os.strerror(number).lower() if number else str(error)
