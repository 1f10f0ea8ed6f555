"""If-None-Match: one tag, lists, weak tags, anything."""

import pytest

from flux.transport.conditional import names_tag
from flux.transport.http import Request


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (['"a"'], True),
        (['W/"a"'], True),
        (['"b", "a"'], True),
        (['"b" ,W/"a",'], True),
        (['"b"', '"a"'], True),
        (["*"], True),
        ([], False),
        (['"b"'], False),
        (["a"], False),
        (['"b, \\"a\\""'], False),
        (['"x"a"'], False),
        ([""], False),
        (['"b" "a"'], False),
        (["," * 30_000], False),
    ],
)
def test_a_tag_is_found_in_what_the_client_has(values: list[str], named: bool) -> None:
    """Compared weakly, as RFC 9110 wants it for this header."""
    request = Request("GET", "/", tuple((b"if-none-match", v.encode()) for v in values))
    assert names_tag(request, b'"a"') is named
    assert names_tag(request, b'W/"a"') is named
