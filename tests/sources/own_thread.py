"""A fake's own thread, for tests that start a program and wait for it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio


@contextmanager
def serving_in_thread(run: Callable[..., Any], name: str) -> Iterator[None]:
    """Run a service in a thread and a trio loop of its own, ready, until the block ends."""
    ready, stop = threading.Event(), threading.Event()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            ready.set()
            while not stop.is_set():  # noqa: ASYNC110 - set by another thread
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(main,), name=name, daemon=True)
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        stop.set()
        thread.join(10)
