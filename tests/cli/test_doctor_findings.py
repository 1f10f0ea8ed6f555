"""The doctor's checks one by one, without a process of their own."""

import io
import socket
from typing import Any

import pytest
import trio

from flux.doctor.finding import LONGEST, Finding, Verdict, plain
from flux.doctor.kafka import check_kafka, topics_finding
from flux.doctor.machine import check_page, check_port
from flux.doctor.report import writer
from flux.doctor.sources import FETCH_SECONDS, Probe, check_sources
from flux.domains.providers import ProviderOptions
from flux.domains.registry import ALL_TOPICS
from flux.domains.sources import Board, Real
from flux.runtime import Running
from flux.services import DoorService, PortError
from flux.settings import Settings, load_settings
from flux.transport.door import Door
from flux.transport.kafka.admin import PartitionInfo, TopicInfo
from flux.web import StaticFile, load_page

HTML = {"content-type": "text/html; charset=utf-8"}
REAL = ProviderOptions(mode="real")


def info(name: str, partitions: int) -> TopicInfo:
    """A topic with so many partitions, of five records each."""
    return TopicInfo(name, tuple(PartitionInfo(number, 0, 5) for number in range(partitions)))


def test_missing_topics_are_named_with_the_command_that_makes_them() -> None:
    """A warning, for Flux creates them when it starts."""
    infos = {topic.name: info(topic.name, topic.partitions) for topic in ALL_TOPICS}
    assert topics_finding(infos).verdict is Verdict.OK
    infos["news.service.event.updated"] = info("news.service.event.updated", 0)
    found = topics_finding(infos)
    assert found.verdict is Verdict.WARNING
    assert found.found == f"1 of {len(ALL_TOPICS)} are missing: news.service.event.updated"
    assert "flux topics create" in found.advice


def test_fewer_partitions_than_declared_are_a_warning_more_are_none() -> None:
    """Flux runs on them, but the load is spread over fewer services."""
    infos = {topic.name: info(topic.name, topic.partitions) for topic in ALL_TOPICS}
    infos["news.service.event.updated"] = info("news.service.event.updated", 3)
    assert topics_finding(infos).verdict is Verdict.OK
    infos["crypto.ticker.event.updated"] = info("crypto.ticker.event.updated", 2)
    found = topics_finding(infos)
    assert (found.verdict, found.found) == (
        Verdict.WARNING,
        "fewer partitions than declared: crypto.ticker.event.updated has 2, not 4",
    )


def test_a_page_that_is_not_built_is_a_failure_with_the_command_that_builds_it(tmp_path: Any) -> None:
    """An empty folder."""
    found = check_page(load_page(tmp_path))
    assert found.verdict is Verdict.FAILED
    assert "hatch_build.py" in found.advice


def test_a_file_that_the_page_names_and_is_not_there_is_a_failure() -> None:
    """As after half an installation."""
    index = b'<link href="/icon.svg"><script src="/assets/index-12345678.js"></script>'
    page = {"/": StaticFile(index, HTML), "/icon.svg": StaticFile(b"", HTML)}
    found = check_page(page)
    assert found.verdict is Verdict.FAILED
    assert "/assets/index-12345678.js" in found.found
    assert "/icon.svg" not in found.found


async def test_what_accepts_connections_and_is_no_kafka_is_told_from_one_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits for an answer within its bound, then points to TLS, SASL and the port."""
    monkeypatch.setattr("flux.doctor.kafka.ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as stranger:
        server = f"127.0.0.1:{stranger.getsockname()[1]}"
        settings = load_settings(None, {"kafka.bootstrap_servers": server}, environ={})
        kafka, topics = await check_kafka(settings, None)
    assert kafka.verdict is Verdict.FAILED
    assert "does not answer as Kafka does: not within 0.3 s" in kafka.found
    assert "security.protocol" in kafka.advice
    assert topics.verdict is Verdict.WARNING


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".org"])
async def test_what_cannot_be_a_host_name_is_a_finding(host: str) -> None:
    """Also where it did not come through the settings' own checks."""
    running = Running(1, "http://127.0.0.1:1", f"{host}:9092", embedded=False)
    kafka, _ = await check_kafka(Settings(), running)
    assert kafka.verdict is Verdict.FAILED
    assert "that is no host name" in kafka.found
    settings = Settings()
    object.__setattr__(settings.http, "host", host)
    port = await check_port(settings, None)
    assert port.verdict is Verdict.FAILED
    assert "is no host name" in port.found
    assert "--host" in port.advice
    with pytest.raises(PortError, match="is no host name"):
        await DoorService(host, 1, lambda: Door(app=lambda _: None)).listen()


class Fake:
    """A provider that does as it is told."""

    source = "fake"

    async def hang(self) -> str:
        """Never answer."""
        await trio.sleep_forever()
        return ""

    async def crash(self) -> str:
        """Raise what nobody expects."""
        raise ZeroDivisionError("with a secret in it")

    async def answer(self) -> str:
        """Answer after a while."""
        await trio.sleep(2)
        return "all well"


def probe(method: str) -> Probe:
    """A probe that calls that method."""

    def real(_options: ProviderOptions, _board: Board, _now: Any) -> Real[Fake]:
        return Real(provider=Fake())

    return Probe(domain="news", source=method, real=real, ask=lambda fake: getattr(fake, method)())


async def test_one_source_that_hangs_or_breaks_its_check_hides_nothing_of_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Side by side, within the bound, each with its time, in the order of the probes."""
    began = trio.current_time()
    findings = await check_sources(REAL, [probe("hang"), probe("crash"), probe("answer")], live=False)
    assert trio.current_time() - began == pytest.approx(FETCH_SECONDS)
    assert [(f.check, f.verdict.value, f.found) for f in findings] == [
        ("news: hang", "failed", "no answer within 20 s"),
        ("news: crash", "failed", "the check itself broke (ZeroDivisionError)"),
        ("news: answer", "ok", "all well"),
    ]
    assert [f.seconds for f in findings] == [FETCH_SECONDS, 0, 2]


async def test_a_source_that_the_settings_do_not_choose_is_asked_only_live() -> None:
    """And one that cannot be asked, for want of a key, not even then."""
    asked: list[str] = []

    def named(source: str, *, set_up: bool = True) -> Probe:
        def real(options: ProviderOptions, _board: Board, _now: Any) -> Real[Fake]:
            return Real(provider=Fake() if set_up else None, missing="no key")

        async def ask(_fake: Fake) -> str:
            asked.append(source)
            return "well"

        options = {"news_source": source}
        return Probe(domain="news", source=source, real=real, ask=ask, options=options)

    probes = [named("rss"), named("gdelt"), named("newsdata", set_up=False)]
    await check_sources(REAL, probes, live=False)
    assert asked == ["rss"]
    asked.clear()
    findings = await check_sources(ProviderOptions(), probes, live=True)
    assert sorted(asked) == ["gdelt", "rss"]
    assert [finding.check for finding in findings] == ["news: rss", "news: gdelt"]


def test_a_strangers_text_is_one_plain_bounded_line() -> None:
    """No control characters, no new lines, no more than the bound."""
    assert plain("a\x1b[31m\nb\u2028c") == "a [31m b c"
    assert len(plain("x" * 10_000)) == LONGEST


def test_in_a_terminal_findings_are_coloured_and_advice_has_a_line_of_its_own() -> None:
    """A text with square brackets is shown as it is, and is no markup."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    finding = Finding(
        check="port", verdict=Verdict.FAILED, found="[bold]taken[/bold]", advice="use another", seconds=1.25
    )
    writer(out, as_json=False)(finding)
    first, second = out.getvalue().splitlines()
    assert "[bold]taken[/bold]" in first
    assert "(1.2 s)" in first
    assert "use another" in second
