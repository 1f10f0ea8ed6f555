"""Strangers' markup to plain text, and strangers' links to links that may be followed (pure).

What comes out is text, not HTML: markup is dropped, character references become the characters. So a title
that speaks of ``&lt;script&gt;`` says ``<script>``, and whoever puts it into a page escapes it, as any text.
"""

import unicodedata
from contextlib import suppress
from html.parser import HTMLParser
from urllib.parse import urlsplit

from flux.domains.sources.text import one_line

MARKUP = 16
"""Characters of markup that are read for one of text."""

LINK_LIMIT = 2_048
"""Characters of a link; longer ones are no use in a browser's address bar either."""

DROPPED = frozenset((
    "head", "iframe", "math", "noembed", "noframes", "noscript", "object", "option", "plaintext", "script",
    "style", "svg", "template", "textarea", "title", "xmp"
))  # fmt: skip
"""Elements whose content is not text for readers."""

INLINE = frozenset((
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i",
    "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time",
    "tt", "u", "var", "wbr"
))  # fmt: skip
"""Elements that stand inside a word; every other one ends it."""


class _Text(HTMLParser):
    """Gathers the text of markup."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._dropping: str | None = None
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - HTMLParser's
        if self._dropping is None:
            if tag in DROPPED:
                self._dropping = tag
            elif tag not in INLINE:
                self.pieces.append(" ")
        if tag == self._dropping:
            self._depth += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == self._dropping:
            self._depth -= 1
            if not self._depth:
                self._dropping = None
        if tag not in INLINE:
            self.pieces.append(" ")

    def handle_data(self, data: str) -> None:
        if self._dropping is None:
            self.pieces.append(data)


def plain_text(markup: str, limit: int) -> str | None:
    """Return the text of a piece of HTML, or of text, on one line.

    Args:
        markup: as a stranger wrote it; of more than 16 times the limit the rest is not read.
        limit: characters of the result; a longer text is cut at a word and ends with an ellipsis.

    Returns:
        None where there is no text.
    """
    parser = _Text()
    # A malformed declaration is an AssertionError in some versions of Python: the text before it stands.
    with suppress(AssertionError):
        # The tag behind it makes the parser give what it holds back. close() would do so too, but would give
        # an unfinished tag as text, and takes quadratic time for some markup (CVE-2025-6069).
        parser.feed(markup[: MARKUP * limit] + "<wbr>")
    return one_line("".join(parser.pieces), limit)


def web_link(link: str | None) -> str | None:
    """Return a link that may be followed, or None.

    It is absolute, http or https, names a host and no user, and has no character that a browser drops or
    turns into another.
    """
    link = (link or "").strip()
    if len(link) > LINK_LIMIT or any(char in '\\"<>^`{|}' or not _in_a_link(char) for char in link):
        return None
    try:
        parts = urlsplit(link)
        host, port = parts.hostname, parts.port
    except ValueError:  # of a port or an IPv6 address
        return None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or port == 0:
        return None
    return link


def _in_a_link(char: str) -> bool:
    return unicodedata.category(char)[0] not in "CZ"
