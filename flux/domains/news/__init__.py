"""The news domain: the latest global articles.

* ``contract``: topics and payload types.
* ``views``: rooms, socket events, keys (pure).
* ``provider``, ``simulated`` (``newsroom``): where the data comes from.
* ``real``: which real source the settings choose: ``rss``, ``gdelt`` or ``newsdata``, each with its shape
  (``feed_text`` guards the feeds' parser).
* ``articles``, ``plain_text``: what strangers wrote made fit for people.
* ``service``: command -> provider -> event.
"""

from flux.domains.domain import Domain
from flux.domains.news.contract import NAME, REJECTED
from flux.domains.news.service import news_service
from flux.domains.news.views import NEWS_REFRESH, REQUESTS, UPDATES

NEWS = Domain(
    name=NAME,
    commands=(NEWS_REFRESH,),
    feeds=(UPDATES,),
    rejected=REJECTED,
    requests=REQUESTS,
    service=news_service,
)

__all__ = ["NEWS"]
