"""The simulated newsroom: harmless articles about places that do not exist (pure).

Time is cut into slots of a minute; each slot has one article, made from the seed and the slot's number
alone. So an article keeps its id and its text over fetches and restarts, and new ones appear as time passes.
"""

import hashlib
import random
from datetime import UTC, datetime

from attrs import frozen

from flux.domains.news.contract import Article
from flux.messages import iso_time

SLOT = 60
"""Seconds; each has one article."""

LATEST = 20
"""How many articles are the latest."""

PAPERS = (
    "The Port Ellery Gazette",
    "Larkmoor Daily",
    "The Vellin Observer",
    "Northwick Wire",
    "Tamsin Bay Post",
)
PLACES = (
    "Port Ellery",
    "Larkmoor",
    "Vellin",
    "Northwick",
    "Tamsin Bay",
    "Oakhaven",
    "Quill Harbour",
    "Dunmere",
)


@frozen
class Template:
    """How an article of one kind reads; ``{place}`` and ``{thing}`` stand for what varies.

    Args:
        category: its words.
        title, description: texts with the gaps.
        things: what fills ``{thing}``.
    """

    category: tuple[str, ...]
    title: str
    description: str
    things: tuple[str, ...]


TEMPLATES = (
    Template(
        ("science",),
        "Stargazers in {place} name a small comet after {thing}",
        "The club counted votes from four hundred school classes; {thing} won by a narrow margin.",
        ("a lighthouse cat", "the town's baker", "a garden gnome", "their first telescope"),
    ),
    Template(
        ("technology",),
        "{place} tries street lamps that {thing}",
        "The trial runs for six months on three quiet streets, and the town will publish what it learns.",
        ("dim for hedgehogs", "greet cyclists", "count fireflies", "follow the moon"),
    ),
    Template(
        ("culture", "music"),
        "A concert for {thing} fills the old hall of {place}",
        "Every seat was taken an hour before the first note; a second evening is planned.",
        ("forty cellos", "singing saws", "glass harps", "two hundred whistles"),
    ),
    Template(
        ("sport",),
        "{place} wins the island regatta with {thing}",
        "The crew crossed the line half a boat's length ahead, to the surprise of everyone on the pier.",
        ("a patched sail", "a borrowed boat", "the youngest crew ever", "no wind at all"),
    ),
    Template(
        ("environment",),
        "Volunteers in {place} plant {thing} along the river",
        "The work took one weekend; the first results should be seen next spring.",
        ("a thousand willows", "wild roses", "reeds for the kingfishers", "an orchard"),
    ),
    Template(
        ("business",),
        "A workshop in {place} brings back {thing}",
        "Orders reach into next year, and two apprentices have started this week.",
        ("the wind-up radio", "hand-made atlases", "wooden kites", "the travelling typewriter"),
    ),
    Template(
        ("food", "culture"),
        "{place} celebrates the longest table for {thing}",
        "Neighbours brought chairs, bowls and recipes; the table ran from the harbour to the mill.",
        ("lentil soup", "plum cake", "flatbread", "late breakfast"),
    ),
)


def latest_articles(seed: int, now: datetime, *, count: int = LATEST) -> tuple[Article, ...]:
    """Return the latest articles, newest first.

    Args:
        seed: of the newsroom.
        now: aware; nothing is published later than this.
        count: how many.
    """
    last = int(now.timestamp()) // SLOT
    # One slot more: the article of the running slot may still lie ahead.
    articles = (article(seed, slot) for slot in range(last, last - count - 1, -1))
    published = [item for item, time in articles if time <= now.timestamp()]
    return tuple(published[:count])


def article(seed: int, slot: int) -> tuple[Article, float]:
    """Return the article of a slot, and when it is published (seconds since the Unix epoch)."""
    digest = hashlib.blake2b(f"{seed}:{slot}".encode(), digest_size=8).digest()
    rng = random.Random(int.from_bytes(digest))
    time = slot * SLOT + rng.randrange(SLOT)
    template = rng.choice(TEMPLATES)
    place, thing = rng.choice(PLACES), rng.choice(template.things)
    item = Article(
        id=f"sim-{digest.hex()}",
        title=template.title.format(place=place, thing=thing),
        description=template.description.format(place=place, thing=thing),
        url=f"https://example.com/news/{digest.hex()}",
        source=rng.choice(PAPERS),
        publishedAt=iso_time(datetime.fromtimestamp(time, UTC)),
        category=template.category,
    )
    return item, float(time)
