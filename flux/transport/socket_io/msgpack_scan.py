"""A look over msgpack before it is decoded: how deep it nests, and which extensions are JavaScript's; pure.

A hook for extensions sees code and content, and so cannot tell fixext 1 of code 0 (``undefined``) from an
ArrayBuffer of one byte, nor fixext 8 (a ``Date``) from one of eight. Here they get a form of their own.
"""

from typing import Final

from flux.transport.engine_io.codec import PacketError

EXTENSION: Final = 0
"""The code of all extensions that JavaScript's package writes."""
DATE: Final = 1
"""The code that `rewrite` gives dates; nobody else may use it."""

_CONTAINERS: Final = frozenset((*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in _CONTAINERS)
_UNDEFINED: Final = b"\xd4\x00"
_FIXED_DATE: Final = b"\xd7\x00"
_FIXED: Final = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 1),
    **dict.fromkeys((0xCC, 0xD0), 2),
    **dict.fromkeys((0xCD, 0xD1, 0xD4), 3),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), 5),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 9),
    0xD5: 4,
    0xD6: 6,
    0xD7: 10,
    0xD8: 18,
}
"""Bytes of a value, its first one included."""
_PREFIXED: Final = {
    **dict.fromkeys((0xC4, 0xD9), (1, 0)),
    **dict.fromkeys((0xC5, 0xDA), (2, 0)),
    **dict.fromkeys((0xC6, 0xDB), (4, 0)),
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),
}
"""Texts, bytes and extensions: bytes of the length, and of the code behind it."""
_SIZED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Arrays and maps: bytes of the length, and values for each item."""
_CODE_AT: Final = {**dict.fromkeys(range(0xD4, 0xD9), 1), 0xC7: 2, 0xC8: 3, 0xC9: 5}
"""Where an extension's code stands."""


def needs_rewrite(data: bytes, max_depth: int) -> bool:
    """Whether data may nest too deeply or hold what is to be rewritten; much faster than `rewrite`."""
    return len(data.translate(None, _OTHERS)) > max_depth or _UNDEFINED in data or _FIXED_DATE in data


def rewrite(data: bytes, max_depth: int) -> bytes:
    """Return data with nil for each ``undefined``, and each ``Date`` under the code `DATE`.

    Raises:
        PacketError: nested more deeply than `max_depth`, cut off, or an extension uses that code itself.
    """
    pieces: list[bytes] = []
    start = at = 0
    left = 1
    outer: list[int] = []
    while left or outer:
        if not left:
            left = outer.pop()
            continue
        left -= 1
        if at >= len(data):
            raise PacketError("message is cut off")
        first = data[at]
        if first in _CODE_AT:
            form = _own_form(data, at, first)
            if form is not None:
                pieces += (data[start:at], form)
                start = at + len(_UNDEFINED) + (first == _UNDEFINED[0])
        size, values = _measure(data, at, first)
        at += size
        if values is not None:
            outer.append(left)
            left = values
            if len(outer) > max_depth:
                raise PacketError("data is nested too deeply")
    if at > len(data):
        raise PacketError("message is cut off")
    return b"".join((*pieces, data[start:]))


def _own_form(data: bytes, at: int, first: int) -> bytes | None:
    code = data[at + _CODE_AT[first] : at + _CODE_AT[first] + 1]
    if code == b"%c" % DATE:
        raise PacketError("unknown msgpack extension")
    if code == b"%c" % EXTENSION and first == _UNDEFINED[0]:
        return b"\xc0"
    if code == b"%c" % EXTENSION and first == _FIXED_DATE[0]:
        return b"%c%c" % (first, DATE)
    return None


def _measure(data: bytes, at: int, first: int) -> tuple[int, int | None]:
    """Return a value's bytes, or those of a container's head and how many values follow it."""
    if first < 0x80 or first >= 0xE0:
        return 1, None
    if first < 0xA0:
        return 1, (first & 15) * (2 if first < 0x90 else 1)
    if first < 0xC0:
        return 1 + (first & 31), None
    if first in _FIXED:
        return _FIXED[first], None
    if first in _PREFIXED:
        width, code = _PREFIXED[first]
        return 1 + width + code + int.from_bytes(data[at + 1 : at + 1 + width], "big"), None
    if first in _SIZED:
        width, each = _SIZED[first]
        return 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big") * each
    raise PacketError("message is no msgpack packet")
