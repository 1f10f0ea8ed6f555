"""Ports of this machine for programs that must be told theirs before they listen."""

import itertools
import os
import socket

RANGE = range(20_000, 30_000)
"""Below what Linux and macOS give to sockets that ask for any port: nobody gets one of these by chance."""

_candidates = itertools.cycle(RANGE)
for _ in range(os.getpid() * 37 % len(RANGE)):  # two test runs at the same time begin at different places
    next(_candidates)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on, and that stays free until it is listened on.

    A port from ``bind(0)`` does not stay free: once closed, the next outgoing connection may have it.

    Raises:
        OSError: none is free.
    """
    for port in itertools.islice(_candidates, len(RANGE)):
        with socket.socket() as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # TIME_WAIT is no obstacle to a server
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no free port between {RANGE.start} and {RANGE.stop - 1}")
