"""`flux doctor` and real sources: what they had, or why not, and whether that is a failure."""

import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fake_site import Reply, answer, answer_json, status
from fake_world import PATHS, FakeWorld, nowhere
from weather_answers import weatherapi_error  # from tests/sources

from flux.doctor import doctor as examine

Doctor = Callable[..., Awaitable[tuple[int, dict[str, dict[str, Any]]]]]
CHOSEN = {"weather: open-meteo", "crypto: coingecko", "crypto: coinbase", "news: rss", "stock: finnhub"}
PAUSE = "it wants to be left alone for 120 s; if that comes often, ask less often"


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs the examination; returns the exit code, and the findings about sources by their check."""
    monkeypatch.setattr(
        "flux.doctor.examination.configure_logs", lambda **_: None
    )  # it is the whole process's

    async def run(mode: str = "simulated", *, live: bool = False, **settings: str) -> Any:
        ours = {"RUNTIME_DIR": str(tmp_path), "HTTP__PORT": "0", "PROVIDERS__MODE": mode, **settings}
        for name, value in ours.items():
            monkeypatch.setenv(f"FLUX_{name}", value)
        out = io.StringIO()
        code = await examine(None, {}, live=live, as_json=True, out=out)
        rows = map(json.loads, out.getvalue().splitlines()[5:])
        return code, {row["check"]: row for row in rows}

    return run


async def test_each_source_that_answers_tells_what_it_had(world: FakeWorld, doctor: Doctor) -> None:
    """One ordinary fetch of each source that has its key, with its time; no key is in what is said."""
    keys = {"PROVIDERS__WEATHERAPI_KEY": "a-key", "PROVIDERS__NEWSDATA_KEY": "a-key"}
    code, found = await doctor(live=True, **world.settings, **keys)
    assert code == 0, found
    assert {name: row["found"] for name, row in found.items()} == {
        "weather: open-meteo": "21.4 °C, partly cloudy in London",
        "weather: weatherapi": "18.4 °C, moderate rain in London",
        "crypto: coingecko": "1 coins; BTC at 70,187.5 USD",
        "crypto: coinbase": "a tick of BTC-USD",
        "news: rss": "5 articles, the newest of 2026-01-31T10:15:00.000Z",
        "news: gdelt": "1 articles, the newest of 2026-01-31T10:15:00.000Z",
        "news: newsdata": "1 articles, the newest of 2026-01-31T10:15:00.000Z",
        "stock: finnhub": "1 shares; AAPL at 261.74 USD",
    }
    assert all(0 < row["seconds"] < 10 for row in found.values())


async def test_what_the_modes_do_not_use_is_not_asked(world: FakeWorld, doctor: Doctor) -> None:
    """Without --live nobody is asked for a simulated domain; a domain's own mode counts."""
    code, found = await doctor(PROVIDERS__STOCK="real", **world.settings)
    assert (code, found["stock: finnhub"]["verdict"]) == (0, "ok")
    assert set(found) == {"weather", "crypto", "news", "stock: finnhub"}
    assert {request.path for request in world.site.requests} == {PATHS["finnhub"]}


async def test_where_nothing_can_be_reached_auto_goes_on(doctor: Doctor) -> None:
    """Each source is named, with what to check; for Flux none of it is a failure."""
    code, found = await doctor("auto", **nowhere())
    assert code == 0
    assert found.keys() == CHOSEN
    for row in found.values():
        assert row["verdict"] == "warning"
        assert "cannot be reached" in row["found"]
        assert row["found"].endswith("simulated data stands in")
        assert "network" in row["advice"]
    assert "HTTPS_PROXY" in found["crypto: coingecko"]["advice"]
    assert "HTTPS_PROXY" not in found["crypto: coinbase"]["advice"]  # the feed connects directly
    assert "directly" in found["crypto: coinbase"]["advice"]


@pytest.mark.parametrize(
    ("check", "trouble"),
    [
        ("stock: finnhub", status(401)),
        ("stock: finnhub", answer_json({"error": "Invalid API key"}, 403)),
        ("crypto: coingecko", status(401)),
        ("news: newsdata", status(403)),
        ("news: newsdata", answer_json({"status": "error", "results": {"code": "ApiKeyDisabled"}}, 401)),
        ("weather: weatherapi", answer_json(weatherapi_error(2006), 401)),
        ("weather: weatherapi", answer_json(weatherapi_error(2008), 403)),
        ("weather: weatherapi", status(401)),
    ],
    ids=str,
)
async def test_a_refused_key_is_what_to_check(
    world: FakeWorld, doctor: Doctor, check: str, trouble: Reply
) -> None:
    """The advice names its setting, and neither the network nor a pause."""
    domain, source = check.split(": ")
    world.site.script(PATHS[source], trouble)
    setting = f"{source}_key"
    chosen = {f"PROVIDERS__{domain.upper()}": "real"}
    if domain in ("weather", "news"):
        chosen[f"PROVIDERS__{domain.upper()}_SOURCE"] = source
    settings = {**world.settings, f"PROVIDERS__{setting.upper()}": "a-key", **chosen}
    code, found = await doctor(**settings)
    advice = found[check]["advice"]
    assert (code, found[check]["verdict"]) == (1, "failed")
    assert advice.startswith(f"check the key providers.{setting};")
    assert "network" not in advice
    assert "ask less often" not in advice


@pytest.mark.parametrize(
    ("trouble", "advice"),
    [
        (status(404), "see docs/providers.md"),
        (status(401), "see docs/providers.md"),
        (answer_json({"coins": []}), "see docs/providers.md"),
        (answer("<p>", "text/html"), "see docs/providers.md"),
        (
            status(429, **{"retry-after": "120"}),
            f"{PAUSE}, or set providers.coingecko_key",
        ),
    ],
)
async def test_a_source_that_was_reached_is_no_matter_of_the_network(
    world: FakeWorld, doctor: Doctor, trouble: Reply, advice: str
) -> None:
    """Without a key there is none to check; a pause is told with its length."""
    world.site.script(PATHS["coingecko"], trouble)
    _, found = await doctor(PROVIDERS__CRYPTO="real", **world.settings)
    assert found["crypto: coingecko"]["advice"] == advice


async def test_an_exchange_that_refuses_is_no_matter_of_the_network(world: FakeWorld, doctor: Doctor) -> None:
    """It was reached."""
    world.exchange.status = 503
    _, found = await doctor(PROVIDERS__CRYPTO="real", **world.settings)
    assert "status 503" in found["crypto: coinbase"]["found"]
    assert found["crypto: coinbase"]["advice"] == "see docs/providers.md"


@pytest.mark.parametrize(("mode", "live"), [("real", False), ("simulated", True)])
async def test_a_source_that_fails_is_a_failure_where_it_was_asked_for(
    world: FakeWorld, doctor: Doctor, mode: str, live: bool
) -> None:
    """By the mode, or by a live check, whatever the mode."""
    world.ill(status(404))
    code, found = await doctor(mode, live=live, **world.settings)
    assert code == 1
    for name in CHOSEN - {"crypto: coinbase"}:
        assert found[name]["verdict"] == "failed", name
        assert "404" in found[name]["found"]


async def test_one_feed_that_fails_is_named_beside_what_the_others_had(
    world: FakeWorld, doctor: Doctor
) -> None:
    """News as a whole works: a warning."""
    world.site.script(PATHS["rss-dw"], status(404))
    code, found = await doctor("real", **world.settings)
    assert code == 0
    assert found["news: rss"]["verdict"] == "warning"
    assert "4 articles" in found["news: rss"]["found"]
    assert "rss-dw: " in found["news: rss"]["found"]


async def test_a_missing_key_is_told_with_its_setting(world: FakeWorld, doctor: Doctor) -> None:
    """A failure where real was wanted, a warning with auto; never in the way of the other sources."""
    settings = {name: value for name, value in world.settings.items() if "KEY" not in name}
    for mode, verdict, code in (("real", "failed", 1), ("auto", "warning", 0)):
        ended, found = await doctor(PROVIDERS__STOCK=mode, PROVIDERS__CRYPTO=mode, **settings)
        assert (ended, found["stock: finnhub"]["verdict"]) == (code, verdict)
        assert "providers.finnhub_key" in found["stock: finnhub"]["found"]
        assert found["crypto: coingecko"]["verdict"] == "ok"


async def test_what_a_source_says_does_no_harm_to_a_terminal(world: FakeWorld, doctor: Doctor) -> None:
    """A strange content type comes into the finding as one plain line."""
    world.site.script(PATHS["coingecko"], answer("x", "text/\x1b[31mred"))
    _, found = await doctor("real", **world.settings)
    assert found["crypto: coingecko"]["verdict"] == "failed"
    assert found["crypto: coingecko"]["found"].isprintable()
