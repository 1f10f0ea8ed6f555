"""Finnhub's quotes: what is taken from them, and what is not believed."""

import json
from typing import Any

import pytest

from flux.domains.sources import SourceError
from flux.domains.sources.http import Answer
from flux.domains.stock.contract import Stock
from flux.domains.stock.finnhub_shape import read_quote, strongest

QUOTE = {"c": 261.74, "d": 1.31, "dp": 0.503, "h": 263.31, "l": 260.68, "o": 261.07, "pc": 260.43}
TRADED = 1_582_641_000  # 2020-02-25T14:30:00Z


def read(status: int = 200, symbol: str = "AAPL", **fields: Any) -> tuple[Stock, ...]:
    """Read the documented example with those fields instead of its own."""
    body = json.dumps({**QUOTE, "t": TRADED, **fields}).encode()
    return read_quote(Answer(status, body), symbol)


def test_every_field_of_the_documented_example_is_taken() -> None:
    """A quote has no volume and no name; the name of a well-known company is Flux's own."""
    assert read() == (
        Stock(
            symbol="AAPL",
            name="Apple",
            price=261.74,
            change=1.31,
            changePercent=0.503,
            open=261.07,
            high=263.31,
            low=260.68,
            previousClose=260.43,
            volume=None,
            currency="USD",
            asOf="2020-02-25T14:30:00.000Z",
        ),
    )


def test_unknown_fields_are_ignored_and_a_strangers_company_has_no_name() -> None:
    """Finnhub may add what it likes."""
    (stock,) = read(symbol="BRK.B", vw=1.0, more={"x": [1]})
    assert (stock.symbol, stock.name, stock.price) == ("BRK.B", None, 261.74)


@pytest.mark.parametrize("price", [0, 0.0, None, -3.5, 1e12])
def test_a_share_without_a_price_is_left_out(price: float | None) -> None:
    """Zeros and nulls are how Finnhub answers an unknown symbol."""
    assert read(c=price, d=None, dp=None, h=0, l=0, o=0, pc=0, t=0) == ()


def test_figures_that_are_missing_are_left_out_or_reckoned() -> None:
    """Zero is no price; the changes follow from the previous close where it is known."""
    (stock,) = read(d=None, dp=None, h=0, l=None, o=-1, t=0)
    assert (stock.open, stock.high, stock.low, stock.asOf) == (None, None, None, None)
    assert (stock.change, stock.changePercent) == (1.31, 0.503)
    (stock,) = read(d=None, dp=None, pc=0)
    assert (stock.change, stock.changePercent, stock.previousClose) == (None, None, None)


@pytest.mark.parametrize("time", [-1, 1e300, 253_402_300_800, None])
def test_a_time_that_cannot_be_is_left_out(time: float | None) -> None:
    """Whatever number stands there."""
    (stock,) = read(t=time)
    assert stock.asOf is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{}", "missing required field `c`"),
        (b'{"c": "261.74"}', r"Expected `float \| null`, got `str` - at `\$.c`"),
        (b'{"c": 1.0, "dp": [1]}', r"`\$.dp`"),
        (b"[]", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b'{"c": 1.0', "not JSON"),
        (b'{"c": 1e999}', "Finnhub answered"),
        (b'{"c": NaN}', "not JSON"),
        (b"<html>", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_another_shape_is_named(body: bytes, text: str) -> None:
    """The error is fit for people: it names Finnhub and the field."""
    with pytest.raises(SourceError, match=text) as caught:
        read_quote(Answer(200, body), "AAPL")
    assert str(caught.value).startswith("Finnhub ")


def test_a_symbol_beyond_the_keys_plan_is_left_out() -> None:
    """403 with that text says nothing against the key; any other 403 does."""
    beyond = json.dumps({"error": "You don't have access to this resource."}).encode()
    assert read_quote(Answer(403, beyond), "VOD.L") == ()
    with pytest.raises(SourceError, match=r"the key in the setting providers\.finnhub_key"):
        read_quote(Answer(403, b'{"error": "Key is suspended"}'), "AAPL")
    with pytest.raises(SourceError, match="missing required field `error`"):
        read_quote(Answer(403, b"{}"), "AAPL")


def test_the_strongest_come_first_and_ten_are_enough() -> None:
    """Whose change is not known comes last."""
    stocks = [Stock(symbol=str(number), changePercent=float(number)) for number in range(-6, 6)]
    unknown = Stock(symbol="?")
    top = strongest([unknown, *stocks])
    assert [stock.changePercent for stock in top] == [5, 4, 3, 2, 1, 0, -1, -2, -3, -4]
    assert strongest([unknown, stocks[0]]) == (stocks[0], unknown)
