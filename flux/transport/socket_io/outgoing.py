"""Telling listeners what is emitted."""

from collections.abc import Collection, Sequence
from typing import Any

import structlog

from flux.transport.socket_io.namespace import Namespace
from flux.transport.socket_io.router import HANDLER_ERRORS
from flux.transport.socket_io.socket import Socket

log = structlog.get_logger("flux.socket_io")


def tell(namespace: Namespace, event: str, sockets: Collection[Socket], args: Sequence[Any]) -> None:
    """Call a namespace's listeners; an exception is logged and ends nothing."""
    sids = tuple(socket.sid for socket in sockets)
    for listener in namespace.table.outgoing:
        try:
            listener.call(event, sids, *args)
        except Exception:
            HANDLER_ERRORS.inc()
            log.exception("listener failed", event_name=event, namespace=namespace.name)
