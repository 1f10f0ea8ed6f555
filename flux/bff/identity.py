"""Identity: a server-issued UUID for each connection, or the one that a returning client brings."""

import random
import re
from typing import Literal
from uuid import UUID

# RFC 9562 section 4: the text form; uuid.UUID() would also take braces, URNs and missing hyphens.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

Ignored = Literal["missing", "malformed", "has another"]


class Identities:
    """Who each connection is: told apart for deduplication and tracking, nothing more.

    Args:
        rng: where new UUIDs come from.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._users: dict[str, str] = {}

    def of(self, sid: str) -> str:
        """Return the connection's user id; made when first needed, and the same until `release`."""
        user = self._users.get(sid)
        if user is None:
            user = self._users[sid] = str(UUID(int=self._rng.getrandbits(128), version=4))
        return user

    def claim(self, sid: str, candidate: object) -> Ignored | None:
        """Take the id that a client says it has, if the connection has none yet and the id is well formed.

        Args:
            sid: the connection.
            candidate: whatever the client sent; None if it sent nothing.

        Returns:
            None, or why the claim was ignored; the connection's own id then stands.
        """
        if candidate is None:
            return "missing"
        if not isinstance(candidate, str) or not _UUID.fullmatch(candidate):
            return "malformed"
        user = self._users.setdefault(sid, candidate.lower())
        return None if user == candidate.lower() else "has another"

    def release(self, sid: str) -> None:
        """Forget a connection that ended."""
        self._users.pop(sid, None)
