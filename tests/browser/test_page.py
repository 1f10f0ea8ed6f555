"""The live page in a real browser against a running Flux."""

import re
from urllib.parse import urlsplit

from page_visit import Flux
from playwright.sync_api import Browser, Page, expect

DEGREES = re.compile("^\N{MINUS SIGN}?\\d+°$")

PATIENCE = 20_000
"""Milliseconds for the first data of a Flux that has just started."""


def shows_everything(page: Page) -> None:
    """Wait until every section shows data."""
    expect(page.get_by_test_id("connection")).to_have_text("Live", timeout=PATIENCE)
    expect(page.get_by_test_id("weather-temperature")).to_have_text(DEGREES, timeout=PATIENCE)
    for section in ("ticker", "weather", "movers", "coins", "news", "stocks"):
        expect(page.get_by_test_id(section)).to_have_attribute("data-state", "ready", timeout=PATIENCE)


def test_every_section_shows_live_data(page: Page, flux_url: str, complaints: list[str]) -> None:
    """One visit shows all six sections, from one host, and the browser has nothing to complain of."""
    hosts: set[str | None] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    page.goto(flux_url)
    shows_everything(page)
    expect(page.get_by_test_id("weather-city")).to_have_text(re.compile("^Delhi"))
    for row in ("ticker-row", "mover-row", "coin-row", "news-item", "stock-row"):
        expect(page.get_by_test_id(row).nth(1)).to_be_attached()
    assert page.locator("#weather .line").get_attribute("d")
    assert complaints == []
    assert hosts == {urlsplit(flux_url).hostname}


def test_simulated_data_is_marked(page: Page, flux_url: str) -> None:
    """Whoever looks at made-up figures can see that they are."""
    page.goto(flux_url)
    shows_everything(page)
    for section in ("ticker", "weather", "movers", "coins", "news", "stocks"):
        expect(page.get_by_test_id(section).locator(".badge")).to_have_text("simulated")


def test_prices_move(page: Page, flux_url: str) -> None:
    """The tape follows the stream: a price changes while one looks."""
    page.goto(flux_url)
    prices = page.get_by_test_id("ticker-price")
    expect(prices.first).to_be_visible(timeout=PATIENCE)
    before = prices.first.inner_text()
    expect(prices.first).not_to_have_text(before)


def test_another_city_is_shown_and_remembered(page: Page, flux_url: str) -> None:
    """A city typed in replaces the one shown, and is still there after a reload, as is the user id."""
    page.goto(flux_url)
    shows_everything(page)
    page.get_by_test_id("city-input").fill("tokyo")
    page.get_by_test_id("city-submit").click()
    expect(page.get_by_test_id("weather-city")).to_have_text(re.compile("^Tokyo"))
    expect(page.get_by_test_id("weather")).to_have_attribute("data-state", "ready")
    user = page.evaluate("localStorage.getItem('flux.userId')")
    assert re.fullmatch(r"[0-9a-f-]{36}", user)
    page.reload()
    shows_everything(page)
    expect(page.get_by_test_id("weather-city")).to_have_text(re.compile("^Tokyo"))
    assert page.evaluate("localStorage.getItem('flux.userId')") == user


def test_the_page_survives_a_restart_of_the_server(page: Page, own_flux: Flux) -> None:
    """While the server is away the page says so and keeps its figures; when it is back they move again."""
    page.goto(own_flux.url)
    shows_everything(page)
    own_flux.stop()
    expect(page.get_by_test_id("connection")).to_have_text(re.compile("reconnecting|Cannot reach"))
    assert DEGREES.match(page.get_by_test_id("weather-temperature").inner_text())
    own_flux.start()
    expect(page.get_by_test_id("connection")).to_have_text("Live", timeout=PATIENCE)
    price = page.get_by_test_id("ticker-price").first
    expect(price).not_to_have_text(price.inner_text(), timeout=PATIENCE)


def test_an_outage_of_a_source_is_shown_beside_its_last_good_data(page: Page, quiet_flux: Flux) -> None:
    """Who is there and who comes later see the same: the data, since when it is old, and why."""
    page.goto(quiet_flux.url)
    stocks = page.get_by_test_id("stocks")
    expect(stocks).to_have_attribute("data-state", "ready", timeout=PATIENCE)
    rows = stocks.get_by_test_id("stock-row").all_inner_texts()
    outage = {"status": "error", "source": "finnhub", "message": "Finnhub cannot be reached"}
    quiet_flux.publish("stock.service.event.updated", outage)
    for visit in ("there", "later"):
        if visit == "later":
            page.reload()
        expect(stocks).to_have_attribute("data-state", "stale", timeout=PATIENCE)
        expect(stocks.locator(".note")).to_have_text(
            re.compile(r"^Out of date since .+: Finnhub cannot be reached$")
        )
        assert stocks.get_by_test_id("stock-row").all_inner_texts() == rows
        expect(stocks.locator(".badge")).to_have_text("simulated")
    share = {"symbol": "AAPL", "name": "Apple", "price": 275.5, "changePercent": 1.5, "currency": "USD"}
    quiet_flux.publish(
        "stock.service.event.updated", {"status": "success", "source": "finnhub", "data": [share]}
    )
    expect(stocks).to_have_attribute("data-state", "ready")
    expect(stocks.locator(".note")).to_be_hidden()
    expect(stocks.locator(".source")).to_have_text("finnhub")
    expect(stocks.get_by_test_id("stock-row")).to_have_count(1)


def test_prices_of_one_source_never_stand_under_the_name_of_another(page: Page, quiet_flux: Flux) -> None:
    """When the real feed takes over, what was simulated goes from the tape."""

    def ticks(source: str, *products: str) -> list[dict[str, object]]:
        made = []
        for product in products:
            data = {"type": "ticker", "product_id": product, "price": "100.5", "open_24h": "100"}
            made.append({"status": "success", "source": source, "data": data})
        return made

    page.goto(quiet_flux.url)
    expect(page.get_by_test_id("stocks")).to_have_attribute("data-state", "ready", timeout=PATIENCE)
    tape = page.get_by_test_id("ticker")
    quiet_flux.publish("crypto.ticker.event.updated", *ticks("simulated", "AAA-USD", "BBB-USD"))
    expect(tape.locator("[data-product=BBB-USD]")).to_be_visible()
    expect(tape.locator(".badge")).to_have_text("simulated")
    quiet_flux.publish("crypto.ticker.event.updated", *ticks("coinbase", "AAA-USD"))
    expect(tape.locator(".source")).to_have_text("coinbase")
    expect(tape.locator("[data-product=BBB-USD]")).to_have_count(0)
    expect(tape.get_by_test_id("ticker-row")).to_have_count(1)


def test_a_phone_shows_it_without_sideways_scrolling(browser: Browser, flux_url: str) -> None:
    """At 390 pixels nothing is wider than the screen, in the dark scheme too."""
    with browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark") as context:
        page = context.new_page()
        page.goto(flux_url)
        shows_everything(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(10, 14, 22)"
