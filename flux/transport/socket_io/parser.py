"""A parser: how a server's Socket.IO packets are written, as text with attachments or as msgpack."""

from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from attrs import frozen

from flux.errors import LocalError
from flux.transport.engine_io.codec import Outgoing
from flux.transport.socket_io import codec, msgpack
from flux.transport.socket_io.codec import Packet

ParserName = Literal["json", "msgpack"]
"""``msgpack`` is for clients with the option ``parser: require("socket.io-msgpack-parser")``."""


class PacketDecoder(Protocol):
    """Messages of one client in, whole packets out."""

    def feed(self, message: str | bytes) -> Packet | None:
        """Take a message; raise `PacketError` for one that is not allowed."""


class _Assemble(Protocol):
    def __call__(
        self,
        kind: int,
        namespace: str,
        body: bytes,
        attachments: tuple[bytes, ...] = (),
        number: int | None = None,
        /,
    ) -> Outgoing: ...


@frozen
class Parser:
    """One way to write packets.

    Args:
        decoder: makes a client's decoder, from bounds: the bytes of all attachments, `attachments`
            and `depth`.
        encode_data: encodes the data of a packet, apart from its head: the body, and the attachments.
        assemble: makes a packet of them: kind, namespace, body, attachments, ack id.
        append: adds one argument, a plain ASCII text or null, to the body of an event.
        ends_in_text: whether the last argument of an event, given its body and its data, is a text.
    """

    decoder: Callable[..., PacketDecoder]
    encode_data: Callable[[Any], tuple[bytes, tuple[bytes, ...]]]
    assemble: _Assemble
    append: Callable[[bytes, str | None], bytes]
    ends_in_text: Callable[[bytes, list[Any]], bool]

    def encode(
        self, kind: int, namespace: str = "/", data: Any = None, number: int | None = None
    ) -> Outgoing:
        """Encode a packet whole; see `flux.transport.socket_io.codec.encode`.

        Raises:
            LocalError: the data cannot be sent.
        """
        body, attachments = self.encode_data(data) if data is not None else (b"", ())
        return self.assemble(kind, namespace, body, attachments, number)


JSON: Final = Parser(codec.Decoder, codec.encode_data, codec.assemble, codec.append, codec.ends_in_text)
MSGPACK: Final = Parser(
    msgpack.Decoder, msgpack.encode_data, msgpack.assemble, msgpack.append, msgpack.ends_in_text
)
_PARSERS: Final = {"json": JSON, "msgpack": MSGPACK}


def parser_of(name: str) -> Parser:
    """Return the parser of that name.

    Raises:
        LocalError: there is none.
    """
    try:
        return _PARSERS[name]
    except KeyError:
        raise LocalError(f"unknown parser {name!r}; there are {', '.join(_PARSERS)}") from None
