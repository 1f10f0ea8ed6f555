"""A running Flux and a headless Chromium for the tests of the page."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_visit import Flux, complaints_of
from playwright.sync_api import Browser, Page, sync_playwright

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium; without one the tests are skipped, in CI they fail."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), str(MAC) if MAC.exists() else None)
    if found is None:
        (pytest.fail if IN_CI else pytest.skip)(f"no Chromium: none of {', '.join(PROGRAMS)} is installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def flux_url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Flux that all tests share."""
    flux = Flux(tmp_path_factory.mktemp("flux"))
    flux.start()
    yield flux.url
    flux.stop()


@pytest.fixture
def own_flux(browser: Browser, tmp_path: Path) -> Iterator[Flux]:
    """A Flux that the test may stop."""
    flux = Flux(tmp_path)
    flux.start()
    yield flux
    flux.stop()


@pytest.fixture
def quiet_flux(browser: Browser, tmp_path: Path) -> Iterator[Flux]:
    """A Flux whose ticks and, after the first round, snapshots are the test's own."""
    flux = Flux(tmp_path, settings={"SIMULATION__TICKER_RATE": "0.001"})
    flux.start()
    yield flux
    flux.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page of a desktop's size, with a profile of its own."""
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(15_000)
        yield page


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser complained of so far."""
    return complaints_of(page)
