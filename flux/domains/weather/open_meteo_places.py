"""What Open-Meteo's geocoding API answers, and which of the places of one name is meant (pure).

Source: the documentation of ``/v1/search``: `results` in the order of relevance; empty fields are left out,
and so is `results` itself where nothing matches.
"""

import unicodedata
from datetime import datetime
from typing import Annotated

import msgspec
from attrs import frozen
from msgspec import Meta

from flux.domains.location import Location
from flux.domains.providers import UnknownPlaceError
from flux.domains.sources import decode
from flux.domains.sources.http import Answer
from flux.domains.weather.open_meteo_shape import REFUSED, refusal
from flux.domains.weather.report import Latitude, Longitude, Name

TITLE = "Open-Meteo's geocoding"
COUNT = 50
"""Places of one name that are asked for; there are more than thirty Springfields."""

_ALIASES = {"usa": "us", "united states of america": "us", "uk": "gb", "great britain": "gb"}


@frozen
class Candidate:
    """A place that has the name."""

    name: Name
    latitude: Latitude
    longitude: Longitude
    country_code: Name | None = None
    country: Name | None = None
    admin1: Name | None = None
    admin2: Name | None = None
    admin3: Name | None = None
    admin4: Name | None = None


@frozen
class Found:
    """The whole answer."""

    results: Annotated[tuple[Candidate, ...], Meta(max_length=100)] = ()


_FOUND = msgspec.json.Decoder(Found)


def read_places(answer: Answer, now: datetime) -> tuple[Candidate, ...]:
    """Return the places that have the name, the likeliest first.

    Args:
        answer: of the geocoding API.
        now: aware; decides how long a refusal holds.

    Raises:
        SourceError: refused, or not of the documented shape.
    """
    if answer.status in REFUSED:
        raise refusal(answer, TITLE, now)
    return decode(_FOUND, answer.body, TITLE).results


def name_and_hints(location: Location) -> tuple[str, tuple[str, ...]]:
    """Return the name to look for, and what else is said of where it lies: ``Paris, Texas`` says both.

    Raises:
        UnknownPlaceError: there is neither a letter nor a digit in it.
    """
    parts = [part.strip() for part in unicodedata.normalize("NFC", location.city).split(",")]
    named = [part for part in parts if any(letter.isalnum() for letter in part)]
    if not named:
        raise unknown(location)
    return named[0], tuple(hint for hint in (*named[1:], location.region, location.country) if hint)


def choose(candidates: tuple[Candidate, ...], name: str, hints: tuple[str, ...]) -> Candidate | None:
    """Return the place that fits most of what was said, then one called exactly so, then the likeliest."""
    wanted = {_folded(hint) for hint in hints}

    def fit(candidate: Candidate) -> tuple[int, bool]:
        regions = (candidate.admin1, candidate.admin2, candidate.admin3, candidate.admin4)
        known = {_folded(text) for text in (candidate.country_code, candidate.country, *regions) if text}
        return len(wanted & known), _folded(candidate.name) == _folded(name)

    return max(candidates, key=fit, default=None)


def unknown(location: Location) -> UnknownPlaceError:
    """Return the failure that nothing is called so."""
    return UnknownPlaceError(f"no place is known by the name {location.city!r}")


def _folded(text: str) -> str:
    """Return a name's form for comparing: without case, accents and punctuation; one of several aliases."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(letter for letter in letters if letter.isalnum() or letter.isspace())
    key = " ".join(kept.split())
    return _ALIASES.get(key, key)
