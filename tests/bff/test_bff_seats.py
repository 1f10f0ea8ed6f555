"""Seats: rooms entered and left, spellings, and the watched cities."""

from hypothesis import given
from hypothesis import strategies as st

from flux.bff.seats import Move, Seats
from flux.domains.location import Location
from flux.domains.registry import DOMAINS, domain_named

FEEDS = [feed for domain in DOMAINS for feed in domain.feeds]
WEATHER = domain_named("weather").feeds[0]
MOVERS, COINS, TICKER = domain_named("crypto").feeds
NEWS = domain_named("news").feeds[0]
COMMON = {"crypto.global", "news.global", "stock.global"}


def seated(*sids: str) -> Seats:
    """Seats with these clients let in."""
    seats = Seats(FEEDS)
    for sid in sids:
        seats.open(sid)
    return seats


def places(seats: Seats, key: str = "delhi") -> list[tuple[str, str]]:
    """Rooms and events that hear a city."""
    return sorted((seat.room, seat.event) for seat in seats.seats(WEATHER, key))


def test_location_enters_every_room() -> None:
    """One location seats a client in all rooms; the second time there is nothing to enter."""
    seats = seated("a")
    assert set(seats.watch("a", Location("Delhi")).entered) == {*COMMON, "weather.Delhi"}
    assert seats.watch("a", Location("Delhi", lat="1", lon="2")) == Move()


def test_new_city_leaves_the_old_room() -> None:
    """Only one city is watched at a time, also when just the spelling changes."""
    seats = seated("a")
    seats.watch("a", Location("Delhi"))
    assert seats.watch("a", Location("Paris")) == Move(("weather.Paris",), ("weather.Delhi",))
    assert places(seats) == []
    assert seats.watch("a", Location("PARIS")) == Move(("weather.PARIS",), ("weather.Paris",))
    assert places(seats, "paris") == [("weather.PARIS", "weather.PARIS.update")]


def test_each_spelling_has_its_room() -> None:
    """One key, a room and an event for each spelling in use."""
    seats = seated("a", "b", "c")
    for sid, city in {"a": "Delhi", "b": " DELHI", "c": "Delhi"}.items():
        seats.watch(sid, Location(city))
    assert places(seats) == [
        ("weather. DELHI", "weather. DELHI.update"),
        ("weather.Delhi", "weather.Delhi.update"),
    ]
    seats.release("a")
    assert len(places(seats)) == 2
    seats.release("c")
    assert places(seats) == [("weather. DELHI", "weather. DELHI.update")]


def test_request_enters_its_room_alone() -> None:
    """The room of a feed is that of its domain: its other feeds are heard there, too."""
    seats = seated("a")
    assert seats.join("a", MOVERS) == Move(("crypto.global",))
    assert seats.join("a", COINS) == Move()
    assert [seat.event for seat in seats.seats(TICKER, "crypto")] == ["cryptoTickerResponse"]
    assert seats.seats(NEWS, "news") == []
    assert set(seats.watch("a", Location("Delhi")).entered) == {
        "news.global",
        "stock.global",
        "weather.Delhi",
    }


def test_release_frees_everything() -> None:
    """After the last client went nobody is emitted to and nothing is watched."""
    seats = seated("a")
    seats.watch("a", Location("Delhi"))
    seats.release("a")
    seats.release("a")
    assert [seats.seats(feed, key) for feed, key in ((WEATHER, "delhi"), (MOVERS, "crypto"))] == [[], []]
    assert seats.watched() == []


def test_gone_client_is_not_seated() -> None:
    """A handler that runs after the disconnect leaves nothing behind."""
    seats = seated("a")
    seats.release("a")
    assert seats.watch("a", Location("Delhi")) == Move()
    assert seats.join("a", MOVERS) == Move()
    assert seats.watched() == []
    assert seats.seats(MOVERS, "crypto") == []


def test_watched_cities_have_their_latest_location() -> None:
    """The scheduler asks once per city, with what was said last about it."""
    seats = seated("a", "b")
    seats.watch("a", Location("Delhi"))
    seats.watch("b", Location("DELHI", lat="28.6", lon="77.2"))
    assert seats.watched() == [Location("DELHI", lat="28.6", lon="77.2")]
    assert seats.watches(Location("delhi"))
    seats.watch("a", Location("Paris"))
    seats.release("b")
    assert seats.watched() == [Location("Paris")]
    assert not seats.watches(Location("Delhi"))


steps = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["open", "release", "Delhi", "DELHI", "Paris", "movers", "news"]),
    ),
    max_size=40,
)


@given(steps)
def test_agrees_with_plain_bookkeeping(history: list[tuple[str, str]]) -> None:
    """The plan always equals the rooms that the moves add up to."""
    seats = Seats(FEEDS)
    rooms: dict[str, set[str]] = {}
    for sid, step in history:
        if step == "open":
            seats.open(sid)
            rooms.setdefault(sid, set())
        elif step == "release":
            seats.release(sid)
            rooms.pop(sid, None)
        else:
            feed = {"movers": MOVERS, "news": NEWS}.get(step)
            move = seats.join(sid, feed) if feed else seats.watch(sid, Location(step))
            assert not set(move.entered) & rooms.get(sid, set())
            assert set(move.left) <= rooms.get(sid, set())
            if sid in rooms:
                rooms[sid] = rooms[sid] - set(move.left) | set(move.entered)
    heard = set().union(*rooms.values()) if rooms else set()
    planned = {seat.room for key in ("delhi", "paris") for seat in seats.seats(WEATHER, key)}
    planned |= {
        seat.room for feed in (MOVERS, COINS, TICKER, NEWS) for seat in seats.seats(feed, feed.domain)
    }
    assert planned == heard - {"stock.global"}
