"""The choice between real and simulated data, by mode; the first answer of `auto` within two seconds."""

import time
from typing import Any

import pytest
import trio
from attrs import define, field
from fake_site import HANG_UP, SILENCE, FakeSite, Reply, answer, answer_json, late, status, trickling
from ports import free_port  # from tests/machine
from source_doubles import Running
from trio.testing import MockClock

from flux.domains.providers import Fetched, ProviderError, ProviderOptions, UnknownPlaceError
from flux.domains.sources import Choice, Query, Source, SourceError
from flux.metrics import REGISTRY

MISSING = "set providers.example_key"


@define
class Provider:
    """A provider that does as it is told."""

    source: str
    delay: float = 0.0
    error: Exception | None = None
    asked: int = field(default=0, init=False)

    async def data(self) -> str:
        """Return a text, or fail."""
        self.asked += 1
        await trio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        return f"{self.source} data"


def choice_of(mode: str, real: Provider | None, **options: Any) -> Choice[Provider]:
    """Return the weather's choice."""
    providers = ProviderOptions(weather=mode, **options)
    return Choice("weather", providers, real=real, simulated=Provider("simulated"), missing=MISSING)


async def ask(choice: Choice[Provider], key: str = "oslo") -> str:
    """Ask, and return the source of what came."""
    fetched = await choice.fetch(key, lambda provider: provider.data())
    assert fetched.data == f"{fetched.source} data"
    return fetched.source


def fallbacks() -> float:
    """Return how often simulated data stood in."""
    return REGISTRY.get_sample_value("flux_source_fallbacks_total", {"domain": "weather"}) or 0


async def test_simulated_asks_no_real_source(autojump_clock: MockClock) -> None:
    """That is the default."""
    real = Provider("real")
    choice = choice_of("simulated", real)
    assert await ask(choice) == "simulated"
    assert (real.asked, choice.source) == (0, "simulated")


async def test_real_is_real_or_a_failure(autojump_clock: MockClock) -> None:
    """However long it takes."""
    real = Provider("real", delay=7)
    choice = choice_of("real", real)
    assert await ask(choice) == "real"
    real.error = SourceError("it is down")
    with pytest.raises(SourceError, match="it is down"):
        await ask(choice)
    assert choice.source == "real"


async def test_real_without_a_key_says_which_setting_to_set(autojump_clock: MockClock) -> None:
    """And is not logged again for each command."""
    with pytest.raises(ProviderError, match=MISSING) as caught:
        await ask(choice_of("real", None))
    assert caught.value.known


async def test_auto_without_a_key_is_simulated(autojump_clock: MockClock, logged: list[Any]) -> None:
    """One line says why."""
    choice = choice_of("auto", None)
    for _ in range(3):
        assert await ask(choice) == "simulated"
    assert logged == [
        {"log_level": "info", "event": "simulated data stands in", "domain": "weather", "reason": MISSING}
    ]


async def test_auto_is_real_while_there_is_something_real(autojump_clock: MockClock) -> None:
    """A failure is then told: clients keep the last good data. Past its time simulated data stands in."""
    real = Provider("real")
    choice = choice_of("auto", real, keep=3600.0)
    assert await ask(choice) == "real"
    real.error, real.delay = SourceError("it is down"), 5
    for _ in range(3):
        with pytest.raises(SourceError, match="it is down"):
            await ask(choice)
    assert await ask(choice, "bergen") == "simulated"  # of which there is nothing real
    await trio.sleep(3600)
    assert await ask(choice) == "simulated"
    real.error = None
    assert await ask(choice) == "real"


@pytest.mark.parametrize("error", [ProviderError("no"), SourceError("no", asked=False, known=True)])
async def test_auto_shows_simulated_data_at_once_where_the_source_fails(
    autojump_clock: MockClock, error: Exception
) -> None:
    """Nobody waits for the patience to run out."""
    before = fallbacks()
    assert await ask(choice_of("auto", Provider("real", error=error))) == "simulated"
    assert trio.current_time() == 0
    assert fallbacks() == before + 1


async def test_auto_shows_simulated_data_within_its_patience_where_the_source_hangs(
    autojump_clock: MockClock,
) -> None:
    """The first time; the second time the source gets the time that it needs."""
    real = Provider("real", delay=5)
    choice = choice_of("auto", real, patience=1.5)
    assert await ask(choice) == "simulated"
    assert trio.current_time() == 1.5
    assert await ask(choice, "bergen") == "simulated"
    assert trio.current_time() == 3
    assert await ask(choice) == "real"
    assert trio.current_time() == 8


async def test_auto_that_hangs_and_then_fails_is_simulated_all_the_time(autojump_clock: MockClock) -> None:
    """After a failure the patience holds again."""
    choice = choice_of("auto", Provider("real", delay=8, error=SourceError("no")), patience=1.5)
    times = []
    for _ in range(4):
        began = trio.current_time()
        assert await ask(choice) == "simulated"
        times.append(trio.current_time() - began)
    assert times == [1.5, 8, 1.5, 8]


async def test_an_unknown_place_is_unknown_in_every_mode(autojump_clock: MockClock) -> None:
    """Simulated weather of a place that does not exist would be a lie."""
    real = Provider("real", error=UnknownPlaceError("nobody knows Atlantis"))
    for mode in ("real", "auto"):
        with pytest.raises(UnknownPlaceError, match="nobody knows Atlantis"):
            await ask(choice_of(mode, real))


async def test_a_bug_is_not_hidden(autojump_clock: MockClock) -> None:
    """It is not a failure of the source."""
    with pytest.raises(KeyError):
        await ask(choice_of("auto", Provider("real", error=KeyError("x"))))


async def test_each_change_is_one_log_line(autojump_clock: MockClock, logged: list[Any]) -> None:
    """Many keys and many rounds are not; nor is a source that comes and goes each second."""
    real = Provider("real", error=SourceError("it is down"))
    choice = choice_of("auto", real, keep=0.0)

    async def round_() -> None:
        for n in range(20):
            await ask(choice, str(n))
            await trio.sleep(0.1)

    await round_()
    await round_()
    assert [line["event"] for line in logged] == ["simulated data stands in"]
    real.error = None
    await round_()
    assert [line["event"] for line in logged[1:]] == ["real data is shown again"]
    for _ in range(10):
        real.error = SourceError("it is down") if real.error is None else None
        await round_()
    assert len(logged) == 2
    await trio.sleep(60)
    real.error = SourceError("it is down")
    await round_()
    assert [line["event"] for line in logged[2:]] == ["simulated data stands in"]


async def test_many_keys_are_one_change(autojump_clock: MockClock, logged: list[Any]) -> None:
    """While one city of several has simulated data, real data of another is no end of it."""
    real = Provider("real")
    choice = choice_of("auto", real, keep=0.0)

    async def round_(failing: set[str]) -> None:
        for key in ("oslo", "bergen", "tromso"):
            real.error = SourceError("it is down") if key in failing else None
            await ask(choice, key)
            await trio.sleep(100)

    for failing in ({"oslo", "bergen"}, {"bergen"}, {"bergen", "tromso"}, {"tromso"}):
        await round_(failing)
    assert [line["event"] for line in logged] == ["simulated data stands in"]
    await round_(set())
    assert [line["event"] for line in logged[1:]] == ["real data is shown again"]


async def test_a_key_that_nobody_asks_for_any_more_does_not_keep_the_change_open(
    autojump_clock: MockClock, logged: list[Any]
) -> None:
    """After half an hour without it, real data of the others is the end."""
    real = Provider("real", error=SourceError("it is down"))
    choice = choice_of("auto", real, keep=0.0)
    await ask(choice, "bergen")
    real.error = None
    await trio.sleep(600)
    await ask(choice, "oslo")
    assert [line["event"] for line in logged] == ["simulated data stands in"]
    await trio.sleep(1200)
    await ask(choice, "oslo")
    assert [line["event"] for line in logged[1:]] == ["real data is shown again"]


@define
class Site:
    """A provider over a real source."""

    running: Source
    source: str = "example"

    async def data(self) -> str:
        """Ask the site."""
        return await self.running.get(Query("/now"), lambda _: "example data")


class Simulated:
    """A simulated provider beside it."""

    source = "simulated"

    async def data(self) -> str:
        """Return a text."""
        return "simulated data"


@pytest.mark.parametrize(
    "reply",
    [
        SILENCE,
        status(503),
        status(429, retry_after="1"),
        HANG_UP,
        late(answer_json(1), 3),
        trickling(answer_json([1] * 100), 0.05),
        answer("<html>", "text/html"),
        None,
    ],
    ids=["silence", "503", "429", "hung up", "late", "trickle", "html", "nothing listens"],
)
async def test_the_first_fallback_comes_within_two_seconds(
    reply: Reply | None, running: Running, site: FakeSite
) -> None:
    """In real time, over real sockets, also while the source tries again."""
    site.script("/now", reply or SILENCE)
    url = site.url if reply else f"http://127.0.0.1:{free_port()}"
    async with running(name="x", urls={"x": url}) as source:
        choice: Choice[Site | Simulated] = Choice(
            "weather",
            ProviderOptions(mode="auto", patience=0.3),
            real=Site(source),
            simulated=Simulated(),
        )
        began = time.monotonic()
        fetched = await choice.fetch("oslo", lambda provider: provider.data())
        assert time.monotonic() - began < 0.3 + 0.5
        assert fetched == Fetched("simulated data", "simulated")


def test_the_patience_leaves_room_before_two_seconds() -> None:
    """As Flux comes."""
    assert ProviderOptions().patience <= 1.5
