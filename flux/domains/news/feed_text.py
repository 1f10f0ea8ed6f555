"""A feed's bytes made safe for feedparser: one encoding, no entities, and nothing that makes it slow (pure).

feedparser and the parsers under it read whatever comes. Some documents of a few hundred kilobytes keep
feedparser 6.0 busy for minutes, without leave for other threads: its patterns for document types (30 kB of
line feeds: 3.4 s) and for the e-mail address of an author (50 kB: 9 s) take quadratic time, as do many
attributes of one element (500 kB: 27 s) and many categories. No feed of news needs any of it.
"""

import re

from flux.domains.sources.failures import SourceError

HEAD_LIMIT = 4_096
"""Characters before the first element: the XML declaration, a document type, style sheets, a comment."""

TAG_LIMIT = 8_192
"""Characters of one tag."""

TAGS_LIMIT = 20_000
"""Tags of a feed; one with 100 items has about 2,000."""

ENCODINGS = frozenset(
    ["utf-8", "us-ascii"]
    + [f"iso-8859-{part}" for part in range(1, 17)]
    + [f"windows-{page}" for page in range(1250, 1259)]
) - {"iso-8859-12"}
"""Those that extend ASCII: in others markup could hide from the checks here."""

MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
"""Byte order marks (RFC 3629, section 6; RFC 2781, section 3.2)."""

_DECLARED = re.compile(rb"\s*<\?xml[^>]{1,100}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_DECLARATION = re.compile(r"<\?xml[^>]{0,200}\?>")
_FIRST = re.compile(r"<\w")
_PEOPLE = re.compile(
    r"(</?)[^\s<>/]*(?:author|contributor|creator|email|managingeditor|name|owner|publisher|webmaster)"
    r"(?![-_.:a-z0-9])",  # what else ends a name depends on which of feedparser's parsers reads it
    re.IGNORECASE,
)


def feed_text(body: bytes, title: str) -> bytes:
    """Return a feed as UTF-8 without an XML declaration, in which no one is named as its author.

    Args:
        body: as it was received.
        title: the source's name for people.

    Raises:
        SourceError: it is not text in an encoding that feeds use, declares entities, or has more markup than
            feeds have.
    """
    text = _decoded(body, title).lstrip()
    if (declaration := _DECLARATION.match(text)) is not None:
        text = text[declaration.end() :]
    # What expands makes a small document a large one, or reads files; the five of XML need no declaration.
    if "<!ENTITY" in text:
        raise SourceError(f"{title} answered a feed that declares entities; such feeds are not read")
    if _FIRST.search(text, 0, HEAD_LIMIT) is None:
        raise SourceError(f"{title} answered something that is not a feed")
    if text.count("<") > TAGS_LIMIT or _longest_tag(text) > TAG_LIMIT:
        raise SourceError(f"{title} answered a feed with more markup than feeds have")
    return _PEOPLE.sub(r"\1flux-ignored", text).encode()


def _decoded(body: bytes, title: str) -> str:
    """Return the text; bytes that do not fit are replaced. The HTTP header is not asked (RFC 7303, 3.2)."""
    encoding = next((name for mark, name in MARKS if body.startswith(mark)), None)
    if encoding is None:
        declared = _DECLARED.match(body[:400])
        encoding = declared.group(1).decode("ascii").lower() if declared else "utf-8"
        if encoding not in ENCODINGS:
            raise SourceError(f"{title} answered a feed in an encoding that is not read")
    # A lone surrogate (of UTF-16) cannot be encoded again; NUL ends a document for some parsers.
    text = body.decode(encoding, "replace").replace("\0", "")
    return text.encode("utf-8", "replace").decode()


def _longest_tag(text: str) -> int:
    """Return the most characters from a ``<`` to the next ``>``, or to the end."""
    pieces = (piece.partition("<")[2] for piece in text.split(">"))
    return max(map(len, pieces))
