"""What docs/socketio-library.md shows works as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest
import trio
from transport_peers import served

from flux.transport.socket_io.client import ConnectError, connect

PAGE = Path(__file__).parents[2] / "docs" / "socketio-library.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def example() -> dict[str, Any]:
    """Run the page's code, block after block, as one program."""
    names: dict[str, Any] = {"__name__": "example"}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"block {number}", "exec"), names)  # noqa: S102 - it is our own page
    return names


def test_the_quick_start_is_short() -> None:
    """Under 25 lines."""
    assert len(BLOCKS[0].splitlines()) < 25


async def test_the_pages_own_test_passes(example: dict[str, Any]) -> None:
    """Server, door and two clients."""
    with trio.fail_after(5):
        await example["test_greeting"]()


async def test_handlers_rooms_acks_and_batches_do_what_the_page_says(
    example: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of its functions is called."""
    async with served(example["server"]) as (host, port):
        url = f"http://{host}:{port}"
        with pytest.raises(ConnectError, match="no such user") as refusal:
            async with connect(url, auth={"token": "bad"}):
                pytest.fail("let in")
        assert refusal.value.data == {"code": 7}
        async with connect(url, namespaces=["/", "/log"]) as client:
            sid = client.sid or ""
            assert await client.call("report", 0.001) == {"user": "ann"}
            await client.call("follow", "BTC")
            prices = client.events("price")
            example["publish"]("BTC", 1.5)
            example["publish_all"]({"BTC": 2.5, "ETH": 3.5})
            assert [(await anext(prices)).args for _ in range(2)] == [("BTC", 1.5), ("BTC", 2.5)]
            client.on("question", lambda text: text + " yes")
            client.on("news", lambda _text: "thanks")
            assert await example["ask"](sid) == "tea? yes"
            example["tell"](sid)
            client.emit("noise", 1, namespace="/log")
            await trio.sleep(0.05)
    output = capsys.readouterr().out
    assert "got it ('thanks',)" in output
    assert "noise (1,)" in output
    assert "ann left: client disconnect" in output
