"""Seats: which client hears which rooms, so which rooms a state goes to, and which cities anyone watches."""

from collections.abc import Iterable

from attrs import define, frozen

from flux.domains.domain import Feed, Seat
from flux.domains.location import Location, city_key


@frozen
class Move:
    """What a change of seats means for the server's rooms.

    Args:
        entered: rooms the client is to enter.
        left: rooms it is to leave.
    """

    entered: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@define
class _Client:
    """Where one client sits: the rooms of the domains it hears, and the one place it watches."""

    rooms: frozenset[str] = frozenset()
    location: Location | None = None


@define
class _City:
    """Who watches a city: how many under each spelling, and the location that was given last."""

    latest: Location
    spellings: dict[str, int]


class Seats:
    """The seating plan.

    A feed that is not located has one room, shared by the domain's feeds. A located feed has a room for
    each spelling of a city; a client watches one city at a time.

    Args:
        feeds: every feed of every domain.
    """

    def __init__(self, feeds: Iterable[Feed]) -> None:
        feeds = tuple(feeds)
        self._located = tuple(feed for feed in feeds if feed.located)
        self._common = {feed: feed.seat("") for feed in feeds if not feed.located}
        self._all_rooms = frozenset(seat.room for seat in self._common.values())
        self._single = {room: frozenset((room,)) for room in self._all_rooms}
        self._clients: dict[str, _Client] = {}
        self._heard: dict[str, int] = dict.fromkeys(self._all_rooms, 0)
        self._cities: dict[str, _City] = {}

    def __contains__(self, sid: object) -> bool:
        return sid in self._clients

    def open(self, sid: str) -> None:
        """Let a client in; it sits nowhere yet."""
        self._clients.setdefault(sid, _Client())

    def release(self, sid: str) -> None:
        """Free every seat of a client that went (the server has freed its rooms)."""
        client = self._clients.pop(sid, None)
        if client is None:
            return
        for room in client.rooms:
            self._heard[room] -= 1
        self._unwatch(client.location)

    def join(self, sid: str, feed: Feed) -> Move:
        """Seat a client in the room of a feed that is not located.

        Args:
            sid: a client that was let in; for one that is gone nothing happens.
            feed: the feed it asked for.
        """
        return self._enter(sid, self._single[feed.room])

    def watch(self, sid: str, location: Location) -> Move:
        """Seat a client at every feed: in the common rooms, and in those of its city in its own spelling.

        The rooms of the city that it watched before are left, also where only the spelling differs.

        Args:
            sid: a client that was let in; for one that is gone nothing happens.
            location: what it watches from now on.
        """
        client = self._clients.get(sid)
        if client is None:
            return Move()
        entered = self._enter(sid, self._all_rooms).entered
        before = client.location
        client.location = location
        city = self._cities.setdefault(city_key(location.city), _City(location, {}))
        city.latest = location
        city.spellings[location.city] = city.spellings.get(location.city, 0) + 1
        self._unwatch(before)
        if before is not None and before.city == location.city:
            return Move(entered)
        left = () if before is None else tuple(feed.seat(before.city).room for feed in self._located)
        return Move((*entered, *(feed.seat(location.city).room for feed in self._located)), left)

    def seats(self, feed: Feed, key: str) -> list[Seat]:
        """Return the seats that someone sits on and that hear this key of the feed."""
        if feed.located:
            city = self._cities.get(key)
            return [] if city is None else [feed.seat(spelling) for spelling in city.spellings]
        seat = self._common[feed]
        return [seat] if self._heard[seat.room] else []

    def watched(self) -> list[Location]:
        """Return the latest location of every city that someone watches."""
        return [city.latest for city in self._cities.values()]

    def watches(self, location: Location) -> bool:
        """Return whether someone still watches that city."""
        return city_key(location.city) in self._cities

    def _enter(self, sid: str, rooms: frozenset[str]) -> Move:
        client = self._clients.get(sid)
        if client is None:
            return Move()
        new = rooms - client.rooms
        if new:
            # The shared set where it is complete: a set of its own is 216 bytes for each client.
            together = client.rooms | new
            client.rooms = self._all_rooms if together == self._all_rooms else together
            for room in new:
                self._heard[room] += 1
        return Move(tuple(sorted(new)))

    def _unwatch(self, location: Location | None) -> None:
        if location is None:
            return
        key = city_key(location.city)
        spellings = self._cities[key].spellings
        spellings[location.city] -= 1
        if not spellings[location.city]:
            del spellings[location.city]
        if not spellings:
            del self._cities[key]
