"""Strangers' text as one line of bounded length, fit for people and their terminals (pure)."""

import unicodedata

JOINERS = "\u200c\u200d"
"""Format characters that belong to words (Persian, Hindi) and to emoji."""


def one_line(text: str, limit: int) -> str | None:
    """Return text without control characters, bidirectional overrides and superfluous white space.

    Args:
        text: not markup.
        limit: characters; a longer text is cut at a word and ends with an ellipsis.

    Returns:
        None where nothing is left.
    """
    seen = text if text.isprintable() else "".join(filter(None, map(_shown, text)))
    line = " ".join(seen.split())
    if len(line) > limit:
        head = line[: limit - 1]
        cut, _, _ = head.rpartition(" ")
        line = (cut if len(cut) > limit // 2 else head).rstrip() + "…"
    return line if line.strip(JOINERS + " ") else None


def _shown(char: str) -> str:
    """Return what stands for a character in a line: itself, a space, or nothing."""
    kind = unicodedata.category(char)
    if kind in ("Cc", "Zl", "Zp"):
        return " "
    return char if kind[0] != "C" or char in JOINERS else ""
