"""Identity: the connection's own UUID, and what a client may claim."""

import random
from uuid import UUID

import pytest

from flux.bff.identity import Identities

KEPT = "0b1f3d5e-7a9c-4e2b-8d6f-1a3c5e7f9b2d"


@pytest.fixture
def identities() -> Identities:
    """Identities with a seed."""
    return Identities(random.Random(1))


def test_own_id_is_a_uuid_and_stays(identities: Identities) -> None:
    """The id is made when first needed and never changes while the connection lives."""
    first = identities.of("a")
    assert UUID(first).version == 4
    assert identities.of("a") == first
    assert identities.of("b") != first


def test_well_formed_claim_is_taken(identities: Identities) -> None:
    """A returning client's UUID becomes the connection's identity, in canonical lower case."""
    assert identities.claim("a", KEPT.upper()) is None
    assert identities.of("a") == KEPT
    assert identities.claim("a", KEPT) is None


def test_claim_after_own_id_is_ignored(identities: Identities) -> None:
    """A connection that has an identity keeps it."""
    own = identities.of("a")
    assert identities.claim("a", KEPT) == "has another"
    assert identities.of("a") == own


@pytest.mark.parametrize(
    "candidate",
    ["", "x", KEPT[:-1], KEPT + "0", "{" + KEPT + "}", KEPT.replace("-", ""), f"urn:uuid:{KEPT}", KEPT + "\n",
     KEPT.replace("0", "\u0660"), 7, True, [KEPT], {"id": KEPT}],
)  # fmt: skip
def test_malformed_claim_is_ignored(identities: Identities, candidate: object) -> None:
    """Only the text form of RFC 9562 is an id."""
    assert identities.claim("a", candidate) == "malformed"
    assert identities.of("a") != candidate


def test_missing_claim_is_ignored(identities: Identities) -> None:
    """No id is no error."""
    assert identities.claim("a", None) == "missing"


def test_release_forgets(identities: Identities) -> None:
    """A later connection under the same sid is another user."""
    first = identities.of("a")
    identities.release("a")
    identities.release("never seen")
    assert identities.of("a") != first
