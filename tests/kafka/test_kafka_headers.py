"""A consumed record's headers: read late, once, and equal to the tuple that they stand for."""

from typing import Any

import pytest
from confluent_kafka import Message

from flux.messages import Received
from flux.transport.kafka.headers import MessageHeaders

HEADERS = (("ce_id", b"1"), ("odd", b"\xff"), ("ce_id", b"2"))


class CountingMessage(Message):
    """A message that counts how often its headers are read."""

    asked = 0

    def headers(self) -> Any:
        """Return them, one with no value."""
        self.asked += 1
        return [*HEADERS, ("null", None)]


@pytest.fixture
def message() -> CountingMessage:
    """A message with four headers."""
    return CountingMessage(topic="t", value=b"{}", key=b"k", partition=0, offset=1)


def test_headers_are_read_when_they_are_asked_for_and_once(message: CountingMessage) -> None:
    """A record that nobody asks for its headers costs nothing for them."""
    record = Received("t", 0, 1, 2, b"{}", b"k", MessageHeaders(message))
    assert message.asked == 0
    assert record.header("ce_id") == "2"
    assert record.header("null") == ""
    assert list(record.headers) == [*HEADERS, ("null", b"")]
    assert message.asked == 1


def test_headers_equal_the_tuple(message: CountingMessage) -> None:
    """Also within a record, whichever side it stands on."""
    lazy, plain = MessageHeaders(message), (*HEADERS, ("null", b""))
    assert lazy == plain
    assert plain == lazy
    assert lazy != HEADERS
    assert (len(lazy), lazy[0], lazy[1:]) == (4, plain[0], plain[1:])
    assert hash(lazy) == hash(plain)
    assert repr(lazy) == repr(plain)
    assert Received("t", 0, 1, 2, b"", None, lazy) == Received("t", 0, 1, 2, b"", None, plain)
    assert Received("t", 0, 1, 2, b"", None, lazy) != Received("t", 0, 1, 2, b"", None, HEADERS)
