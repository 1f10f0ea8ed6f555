"""Strict JSON: the checks that a value must pass before its bytes may be put into a socket frame as they are.

One bad byte in a frame would disconnect every client of the room, and deep nesting overflows a parser's
stack; the decoder checks no UTF-8 in the parts that it skips.
"""

import re

from flux.errors import RemoteError

DEPTH_LIMIT = 64
"""Nested arrays and objects; the contract's deepest payload has 4."""

# Possessive, and an unterminated string runs to the end: every byte is looked at once, whatever comes.
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


class PoisonError(RemoteError):
    """A record that no reading makes sense of; the text says why."""


def check_json(value: bytes | None) -> bytes:
    """Return the value, if it is there, is UTF-8 and not nested too deep; syntax is the decoder's to check.

    Raises:
        PoisonError: it is none of that.
    """
    if value is None:
        raise PoisonError("tombstone")
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PoisonError(f"not UTF-8 at byte {error.start}") from None
    if _too_deep(value):
        raise PoisonError(f"nested deeper than {DEPTH_LIMIT}")
    return value


def _too_deep(value: bytes) -> bool:
    if value.count(b"{") + value.count(b"[") <= DEPTH_LIMIT:
        return False  # the usual case, without a look at any token
    depth = 0
    for token in _TOKENS.finditer(value):
        first = value[token.start()]
        if first in b"[{":
            depth += 1
            if depth > DEPTH_LIMIT:
                return True
        elif first in b"]}":
            depth -= 1
    return False
