"""A broker that speaks so little of Kafka's protocol that a test can have it forget itself.

Sources: the protocol's `ApiVersions` version 0, `InitProducerId` version 0 and `Metadata` version 4, as on
kafka.apache.org/protocol.
"""

import socketserver
import struct
import threading
from types import TracebackType
from typing import Any, Self

from attrs import define, field
from ports import free_port

API_VERSIONS, INIT_PRODUCER_ID, METADATA = 18, 22, 3
UNSUPPORTED_VERSION, LEADER_NOT_AVAILABLE = 35, 5
HERE, NOBODY = 1, -1
"""Node ids."""


@define(eq=False)
class FencedBroker:
    """Answers for metadata, and lets idempotent producers begin; use it as a context manager.

    Args:
        topic: the one that it says it has, with one partition.

    Attributes:
        fenced: name no broker any more, as a broker does that its controller has fenced.
    """

    topic: str
    fenced: bool = False
    port: int = field(factory=free_port, init=False)
    _server: socketserver.ThreadingTCPServer = field(init=False)

    @property
    def bootstrap_servers(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        broker = self

        class Conversation(socketserver.StreamRequestHandler):
            """One client's connection."""

            def handle(self) -> None:
                """Answer until the client goes."""
                while size := self.rfile.read(4):
                    request = self.rfile.read(struct.unpack(">i", size)[0])
                    answer = request[4:8] + broker.answer(request)  # the correlation id comes first
                    self.wfile.write(struct.pack(">i", len(answer)) + answer)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Conversation)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: bytes) -> bytes:
        """Return the body of the answer."""
        api, version = struct.unpack_from(">hh", request)
        if api == API_VERSIONS:
            # Asked in a newer version, a broker says in version 0 which ones it has.
            error = UNSUPPORTED_VERSION if version else 0
            offered = [(METADATA, 4, 4), (API_VERSIONS, 0, 0), (INIT_PRODUCER_ID, 0, 0)]
            return struct.pack(">h", error) + _array(struct.pack(">hhh", *api) for api in offered)
        if api == INIT_PRODUCER_ID:
            return struct.pack(">ihqh", 0, 0, 1, 0)
        assert (api, version) == (METADATA, 4), (api, version)
        leader, error = (NOBODY, LEADER_NOT_AVAILABLE) if self.fenced else (HERE, 0)
        brokers = [] if self.fenced else [struct.pack(">i", HERE) + _text("127.0.0.1") +
                                          struct.pack(">i", self.port) + struct.pack(">h", -1)]  # fmt: skip
        replicas = _array([struct.pack(">i", HERE)])
        partition = struct.pack(">hii", error, 0, leader) + replicas + replicas
        topic = struct.pack(">h", 0) + _text(self.topic) + b"\0" + _array([partition])
        unthrottled, no_cluster_id = struct.pack(">i", 0), struct.pack(">h", -1)
        return unthrottled + _array(brokers) + no_cluster_id + struct.pack(">i", leader) + _array([topic])


def _array(items: Any) -> bytes:
    parts = list(items)
    return struct.pack(">i", len(parts)) + b"".join(parts)


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
