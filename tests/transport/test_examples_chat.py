"""The chat among the examples works, and stays short."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import trio
from transport_peers import Address

from flux.transport.socket_io.client import connect

CHAT = Path(__file__).parents[2] / "examples" / "chat.py"


@pytest.fixture
def chat() -> ModuleType:
    """Load the example anew."""
    spec = importlib.util.spec_from_file_location("chat", CHAT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def address(chat: ModuleType, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Address]:
    """Run the example's own main on a free port."""
    doors: list[Any] = []
    make = chat.Door
    monkeypatch.setattr(chat, "Door", lambda **options: doors.append(make(**options)) or doors[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat.main, 0)
        with trio.fail_after(5):
            while not (doors and doors[0].addresses):  # noqa: ASYNC110 - main tells nobody when it is ready
                await trio.sleep(0.01)
        yield doors[0].addresses[0]
        nursery.cancel_scope.cancel()


async def test_two_people_talk_in_a_room_and_a_third_elsewhere_hears_nothing(address: Address) -> None:
    """Rooms, sessions and emits, as the page uses them."""
    url = f"http://{address[0]}:{address[1]}"
    async with connect(url) as ann, connect(url) as bob, connect(url) as eve:
        for client, room, name in ((ann, "#kitchen", "Ann"), (bob, "#kitchen", "Bob"), (eve, "#hall", "Eve")):
            client.emit("join", (room, name))
            client.emit("say", "hello")
            await client.drained()
            event = await anext(client.events("said"))
            assert event.args == (name, "hello")
        heard = bob.events("said")
        ann.emit("say", "tea?")
        assert (await anext(heard)).args == ("Ann", "tea?")
        eve.emit("say", "bye")
        overheard = eve.events("said")
        assert (await anext(overheard)).args == ("Eve", "bye")


async def test_the_page_is_html(address: Address) -> None:
    """Any path gives it."""
    async with httpx.AsyncClient() as http:
        page = await http.get(f"http://{address[0]}:{address[1]}/")
    assert page.headers["content-type"].startswith("text/html")
    assert "/socket.io/?EIO=4" in page.text


def test_the_chat_has_less_than_40_lines() -> None:
    """That is what it shows."""
    assert len(CHAT.read_text().splitlines()) < 40
