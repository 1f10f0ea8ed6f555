"""What one client may ask for: the bounds of the Socket.IO server."""

from typing import Final

from attrs import field, frozen
from attrs.validators import and_, ge, gt, le

from flux.transport.socket_io.calls import MAX_TASKS, MAX_WAITING
from flux.transport.socket_io.codec import MAX_ATTACHMENTS, MAX_DEPTH
from flux.transport.socket_io.connection import MAX_NAMESPACES

DEEPEST: Final = 500
"""Recursive code of Python and of its C parts stands this depth of nested data."""


@frozen
class ClientLimits:
    """Bounds for one client.

    Args:
        events_per_second: messages, on average: events, acks, CONNECTs, DISCONNECTs, and each attachment; a
            client that sends more is read no faster. `math.inf` is no bound.
        event_burst: messages that may come at once after a silence.
        concurrent_handlers: async handlers of one socket that run at a time.
        waiting_events: events of one socket that wait for those before the connection is not read any more.
        attachments: binary parts of a packet, 999 at most; past it the connection closes with
            ``parse error``. What the server sends has 10 at most: the reference's clients take no more.
        depth: nested arrays and objects of a packet, 500 at most; past it ``parse error``. What
            the server sends has 100 at most.
        namespaces: that a client may be in at a time; past it ``parse error``.

    Raises:
        ValueError: a value out of range.
    """

    events_per_second: float = field(default=2000.0, validator=gt(0))
    event_burst: int = field(default=4000, validator=ge(1))
    concurrent_handlers: int = field(default=MAX_TASKS, validator=ge(1))
    waiting_events: int = field(default=MAX_WAITING, validator=ge(1))
    attachments: int = field(default=MAX_ATTACHMENTS, validator=and_(ge(0), le(999)))
    depth: int = field(default=MAX_DEPTH, validator=and_(ge(1), le(DEEPEST)))
    namespaces: int = field(default=MAX_NAMESPACES, validator=ge(1))
