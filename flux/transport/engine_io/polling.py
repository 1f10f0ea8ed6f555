"""Long-polling's sending side: packets wait here until a GET fetches them."""

from flux.transport.engine_io.codec import NOOP_PACKET, SEPARATOR, Outgoing
from flux.transport.http import Headers, Response
from flux.transport.http_mount import Exchange

TEXT = (b"content-type", b"text/plain; charset=UTF-8")
NO_STORE = (b"cache-control", b"no-store")


class Polling:
    """The packets of one session that wait, and the GET that waits for packets; at most one of both.

    Args:
        limit: bytes that may wait.

    Attributes:
        posting: whether a POST is being worked on.
        overflowed: a packet did not fit and is lost; the session must end.
        ping_waits: set before a ping is written; true until it is fetched.
    """

    __slots__ = (
        "_headers",
        "_latest",
        "_limit",
        "_packets",
        "_size",
        "exchange",
        "overflowed",
        "ping_waits",
        "posting",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._packets: list[Outgoing] = []
        self._latest: dict[str, Outgoing] | None = None
        self._size = 0
        self._headers: Headers = ()
        self.exchange: Exchange | None = None
        self.posting = False
        self.overflowed = False
        self.ping_waits = False

    @property
    def writable(self) -> bool:
        """Whether a GET waits."""
        return self.exchange is not None

    def write(self, packet: Outgoing) -> None:
        """Answer the waiting GET with the packet, or queue it."""
        if self.exchange is not None:  # then nothing waits
            self.ping_waits = False
            self._respond([packet])
        elif self._fits(len(packet.payload)):
            self._packets.append(packet)

    def write_latest(self, key: str, packet: Outgoing) -> None:
        """As `write`, but of the packets that wait under one key only the latest is kept."""
        if self.exchange is not None:
            self.write(packet)
            return
        latest = self._latest
        if latest is None:
            latest = self._latest = {}
        old = latest.get(key)
        if self._fits(len(packet.payload) - (len(old.payload) if old is not None else 0)):
            latest[key] = packet

    def wait(self, exchange: Exchange, headers: Headers) -> None:
        """Have a GET wait; it is answered at once if packets wait."""
        self.exchange = exchange
        self._headers = headers
        self.flush()

    def flush(self) -> None:
        """Answer the waiting GET if there is one and something to send."""
        if self.exchange is not None and (self._packets or self._latest):
            self._respond(self.take())

    def release(self, packet: Outgoing = NOOP_PACKET) -> None:
        """Answer the waiting GET with what waits and this packet."""
        if self.exchange is not None:
            self._respond([*self.take(), packet])

    def take(self) -> list[Outgoing]:
        """Hand over all packets that wait, in order; the conflated ones last."""
        packets = self._packets
        if self._latest:
            packets += self._latest.values()
            self._latest = None
        self._packets = []
        self._size = 0
        self.ping_waits = False
        return packets

    def _fits(self, size: int) -> bool:
        # One packet of any size is taken while none waits, as on a wire.
        if self._size and self._size + size > self._limit:
            self.overflowed = True
            return False
        self._size += size
        return True

    def _respond(self, packets: list[Outgoing]) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            body = SEPARATOR.join([packet.payload for packet in packets])
            exchange.respond(Response(200, body, (TEXT, NO_STORE, *self._headers)))
