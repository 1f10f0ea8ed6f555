"""From an answer's bytes to its documented shape; what does not fit is named (pure)."""

from typing import TypeVar

import msgspec

from flux.domains.sources.failures import SourceError

T = TypeVar("T")

SHOWN = 200
"""Characters of what does not fit that are told."""


def decode(decoder: msgspec.json.Decoder[T], body: bytes, title: str) -> T:
    """Decode and check a JSON answer; fields that the shape does not have are ignored.

    Args:
        decoder: of the source's documented shape.
        body: UTF-8 JSON.
        title: the source's name for people.

    Raises:
        SourceError: not JSON, nested too deep, or not of that shape: the text names the field.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        why = str(error)[:SHOWN]  # it may repeat a text of the source
        raise SourceError(f"{title} answered in another shape than it documents: {why}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SourceError(f"{title} answered something that is not JSON", passing=True) from None
