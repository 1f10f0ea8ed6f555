"""An answer's body: decompressed and counted as it comes, refused as soon as it is too much (pure)."""

import zlib

from flux.domains.sources.failures import SourceError


class Body:
    """Takes a body in pieces.

    Args:
        encoding: its Content-Encoding.
        limit: bytes that it may have, compressed and decompressed alike.
        title: the source's name for people.

    Raises:
        SourceError: it came in an encoding that was not asked for.
    """

    def __init__(self, encoding: str, limit: int, title: str) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise SourceError(f"{title} answered in an encoding that was not asked for")
        self._unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if "gzip" in encoding else None
        self._limit = limit
        self._title = title
        self._received = 0
        self._data = bytearray()

    def take(self, piece: bytes) -> None:
        """Take the next piece; no more than one byte above the limit is ever decompressed.

        Raises:
            SourceError: it is too much, or not gzip.
        """
        self._received += len(piece)
        if self._unpacker is not None:
            try:
                piece = self._unpacker.decompress(piece, self._limit + 1 - len(self._data))
            except zlib.error:
                raise SourceError(f"{self._title} answered with broken gzip", passing=True) from None
        self._data += piece
        # What decompresses to nothing is counted, too: an endless row of empty blocks is valid gzip.
        if max(self._received, len(self._data)) > self._limit:
            raise SourceError(f"{self._title} answered more than {self._limit} bytes")

    def end(self) -> bytes:
        """Return the whole, decompressed.

        Raises:
            SourceError: the end of the gzip data is missing.
        """
        if self._unpacker is not None and not self._unpacker.eof:
            raise SourceError(f"the answer of {self._title} was cut off", passing=True)
        return bytes(self._data)
