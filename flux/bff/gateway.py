"""The gateway: what a client sends, and what it is answered at once."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import structlog
import trio
from prometheus_client import Counter

from flux.bff.commands import Commands, Report, unreachable
from flux.bff.dedupe import Dedupe
from flux.bff.delivery import Delivery
from flux.bff.identity import Identities
from flux.bff.ports import SocketServer
from flux.bff.seats import Move, Seats
from flux.bff.single_flight import SingleFlight
from flux.bff.views import error_state, loading_state, people_text
from flux.domains.domain import ClientRequest, CommandTopic, Domain, SnapshotFeed
from flux.domains.location import Location, LocationError, parse_location
from flux.metrics import REGISTRY

UNKNOWN_EVENTS = Counter("flux_bff_unknown_events", "Client events that have no handler.", registry=REGISTRY)
BAD_REQUESTS = Counter(
    "flux_bff_bad_requests", "Client events that were malformed.", ["event"], registry=REGISTRY
)
IDENTITY_IGNORED = Counter(
    "flux_bff_identity_ignored", "User ids that a client sent in vain.", ["reason"], registry=REGISTRY
)
DEDUPED = Counter(
    "flux_bff_commands_deduped", "Commands spared by an equal recent one.", ["topic"], registry=REGISTRY
)

log = structlog.get_logger("flux.bff")

_UNKNOWN_CITY = "unknown"
_UNKNOWN_EVENTS_LOGGED = 100  # distinct names; a stranger chooses them, so the log must have an end
_ACCEPTED = {"status": "accepted"}


class Gateway:
    """The handlers of every client event.

    Joins and hydration happen in a handler's first step, before anything waits, so a client is seated in the
    order in which its events arrived.

    Args:
        server: the Socket.IO server; the handlers are registered by `register`.
        domains: what can be asked for.
        seats, identities, dedupe, flights: the clients' state.
        delivery: hydrates.
        commands: publishes.
    """

    def __init__(
        self,
        server: SocketServer,
        domains: Iterable[Domain],
        *,
        seats: Seats,
        identities: Identities,
        dedupe: Dedupe[Report],
        flights: SingleFlight,
        delivery: Delivery,
        commands: Commands,
    ) -> None:
        self._server = server
        self._domains = tuple(domains)
        self._seats = seats
        self._identities = identities
        self._dedupe = dedupe
        self._flights = flights
        self._delivery = delivery
        self._commands = commands
        self._located = tuple(c for domain in self._domains for c in domain.commands if c.located)
        self._snapshot_feeds = tuple(
            f for domain in self._domains for f in domain.feeds if isinstance(f, SnapshotFeed)
        )
        self._unknown: set[str] = set()

    def register(self) -> None:
        """Register the handlers on the server."""
        on = self._server.on
        on("connect", self.connect)
        on("disconnect", self.disconnect)
        on("getUserId", self.get_user_id)
        on("userLocationUpdate", self.location_update)
        for domain in self._domains:
            for request in domain.requests:
                on(request.event, partial(self.request, request))
        on("*", self.unknown)

    def connect(self, sid: str, environ: Mapping[str, Any], auth: object = None) -> None:
        """Let a client in; ``auth.userId`` is taken as its identity if it is well formed."""
        self._seats.open(sid)
        if isinstance(auth, Mapping) and auth.get("userId") is not None:
            self._identify(sid, auth["userId"])
        log.info(
            "client connected",
            sid=sid,
            address=environ.get("REMOTE_ADDR"),
            transport=_transport(environ),
        )

    def disconnect(self, sid: str, reason: str = "") -> None:
        """Forget a client; the server has released its rooms."""
        self._seats.release(sid)
        self._identities.release(sid)
        log.info("client disconnected", sid=sid, reason=reason)

    def get_user_id(self, sid: str, *args: object) -> object:
        """Emit ``userUniqueId`` with the connection's user id, and ack the same."""
        if args:
            return self._refuse(sid, "getUserId", ["userUniqueId"], "getUserId takes no argument")
        user = self._identities.of(sid)
        self._server.emit("userUniqueId", user, sid)
        return user

    async def location_update(self, sid: str, *args: object) -> object:
        """Seat a client at its city and everywhere else, hydrate it, and publish the located commands.

        Args:
            sid: the client.
            args: the location, and the user id if it has one.

        Returns:
            The ack, after Kafka's delivery report: accepted, or the error, which is emitted as well. A
            duplicate shares the outcome of the command that spared it its own.
        """
        if sid not in self._seats:
            return None  # it left before this task took its first step
        try:
            location = _read_location(args)
        except LocationError as refusal:
            return self._refuse_location(sid, refusal)
        self._identify(sid, args[1] if len(args) > 1 and args[1] is not None else _user_id(args[0]))
        user = self._identities.of(sid)
        self._move(sid, self._seats.watch(sid, location))
        for feed in self._snapshot_feeds:
            # A client too slow for this is disconnected on the spot: from here on it may be gone.
            self._delivery.hydrate(sid, feed.seat(location.city), feed)
        reports = [(command, self._publish_once(command, location, user)) for command in self._located]
        failure = ""
        for command, report in reports:
            message = await report.wait(unreachable(command))
            if message:
                failure = message
                self._server.emit(command.answer.seat(location.city).event, error_state(message), sid)
        return error_state(failure) if failure else _ACCEPTED

    def request(self, request: ClientRequest, sid: str, *args: object) -> object:
        """Seat a client in a feed's room, and answer with the cached state, or that it is loading.

        Returns:
            The ack: the same as was emitted.
        """
        feed = request.feed
        seat = feed.seat("")
        if args:
            return self._refuse(sid, request.event, [seat.event], f"{request.event} takes no argument")
        self._move(sid, self._seats.join(sid, feed))
        cached = self._delivery.hydrate(sid, seat, feed)
        if cached is not None:
            return cached
        answer = loading_state(f"{feed.domain} data is on its way")
        self._server.emit(seat.event, answer, sid)
        if request.refresh is not None and self._flights.begin((feed, seat.key), trio.current_time()):
            failed = partial(self._refresh_failed, feed, seat.key)
            self._commands.submit(request.refresh, reason="client request", failed=failed)
        return answer

    def unknown(self, event: str, sid: str, *args: object) -> object:  # noqa: ARG002 - the catch-all's signature
        """Tell a client that nobody listens to that event, if it wants an ack."""
        UNKNOWN_EVENTS.inc()
        name = people_text(event, 64)
        if name not in self._unknown and len(self._unknown) < _UNKNOWN_EVENTS_LOGGED:
            self._unknown.add(name)
            log.warning("unknown client event", client_event=name, sid=sid)
        return error_state(f"unknown event {name!r}")

    def _publish_once(self, command: CommandTopic, location: Location, user: str) -> Report:
        """Return the report of the user's command for the location: a recent one, else of a new one."""
        now = trio.current_time()
        key = (command, user, location)
        recent = self._dedupe.recent(key, now)
        if recent is not None:
            DEDUPED.labels(command.topic.name).inc()
            return recent
        report = self._commands.submit(command, location=location, user=user)
        if not report.settled:  # it may have been refused at once
            self._dedupe.remember(key, report, now)
            report.failed = lambda _: self._dedupe.forget(key, report)
        return report

    def _refresh_failed(self, feed: SnapshotFeed, key: str, message: str) -> None:
        self._flights.end((feed, key))
        self._delivery.refuse(feed, key, message)

    def _move(self, sid: str, move: Move) -> None:
        for room in move.left:
            self._server.leave_room(sid, room)
        for room in move.entered:
            self._server.enter_room(sid, room)

    def _identify(self, sid: str, candidate: object) -> None:
        ignored = self._identities.claim(sid, candidate)
        if ignored is not None:
            IDENTITY_IGNORED.labels(ignored).inc()

    def _refuse(self, sid: str, event: str, answers: Iterable[str], message: str) -> dict[str, str]:
        """Tell a client that its event was malformed, on the events that it awaits and in the ack."""
        BAD_REQUESTS.labels(event).inc()
        log.info("bad client event", client_event=event, sid=sid, reason=message)
        refusal = error_state(message)
        for answer in answers:
            self._server.emit(answer, refusal, sid)
        return refusal

    def _refuse_location(self, sid: str, refusal: LocationError) -> dict[str, str]:
        city = refusal.city or _UNKNOWN_CITY
        answers = [command.answer.seat(city).event for command in self._located]
        return self._refuse(sid, "userLocationUpdate", answers, str(refusal))


def _read_location(args: tuple[object, ...]) -> Location:
    """Return the location of a ``userLocationUpdate``.

    Raises:
        LocationError: it is malformed, or there are not one or two arguments.
    """
    location = parse_location(args[0] if args else None)
    if len(args) > 2:
        raise LocationError("userLocationUpdate takes a location and a user id", location.city)
    return location


def _user_id(payload: object) -> object:
    return payload.get("userId") if isinstance(payload, Mapping) else None


def _transport(environ: Mapping[str, Any]) -> str:
    for pair in str(environ.get("QUERY_STRING", "")).split("&"):
        name, _, value = pair.partition("=")
        if name == "transport":
            return value[:16]
    return "unknown"
