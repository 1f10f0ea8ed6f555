"""Reading a WebSocket that carries a session, or probes for one."""

from collections.abc import Callable, Sequence
from functools import partial

import structlog
import trio
from websockets.extensions import Extension

from flux.errors import BrokenError, ClosedError
from flux.transport.engine_io.client import PARSE_ERROR, TRANSPORT_CLOSE, TRANSPORT_ERROR
from flux.transport.engine_io.codec import PacketError
from flux.transport.websocket import MAX_FRAGMENTS, Messages
from flux.transport.wire import Wire

log = structlog.get_logger("flux.engine_io")

LINGER_SECONDS = 1.0
PROTOCOL_ERROR = 1002
_END = trio.Event()

Take = Callable[[str | bytes], trio.Event | None]
"""Takes a message; an event in return stops the reading until it is set; `PacketError` ends it."""


async def read_messages(
    wire: Wire,
    data: bytes,
    take: Take,
    max_size: int,
    max_fragments: int = MAX_FRAGMENTS,
    extensions: Sequence[Extension] | None = None,
) -> str:
    """Read messages until the connection's end. Cancellation leaves it unread.

    Args:
        wire: the connection; pongs and close frames are written to it.
        data: what was received already.
        take: called with each message.
        max_size: bytes of the largest message.
        max_fragments: frames of one message.
        extensions: negotiated ones.

    Returns:
        Why it ended, a disconnect reason.
    """
    messages = Messages(wire, max_size, max_fragments, extensions)
    step = partial(_step, messages, take)
    try:
        stop = step(data) if data else None
        del data  # a connection may live for hours
        while stop is not _END:
            if stop is not None:
                await stop.wait()
                if messages.ended:
                    break
            stop = await wire.receive_until(step)
    except PacketError as error:
        log.info("client broke the protocol", reason=str(error))
        messages.fail(PROTOCOL_ERROR)
        return PARSE_ERROR
    except ClosedError:
        return wire.failure or TRANSPORT_CLOSE
    except BrokenError:
        return TRANSPORT_ERROR
    return PARSE_ERROR if messages.failed else TRANSPORT_CLOSE


async def linger(wire: Wire) -> None:
    """Read to the peer's end for a while, so that no reset overtakes our last frames."""
    with trio.move_on_after(LINGER_SECONDS):
        try:
            while await wire.receive():
                pass
        except (BrokenError, ClosedError):
            pass


def _step(messages: Messages, take: Take, data: bytes) -> trio.Event | None:
    """Take one read; an event in return stops the reading, for good if it is `_END`."""
    single = messages.single(data)
    if single is not None:
        return take(single)
    if not data:
        return _END
    pressure = None
    for message in messages.feed(data):
        event = take(message)
        if event is not None:
            pressure = event
    return _END if pressure is None and messages.ended else pressure
