"""The stock domain: the top performers.

* ``contract``: topics and payload types.
* ``views``: rooms, socket events, keys (pure).
* ``provider``: what a source of the data can do. ``simulated``: the one that needs no network.
* ``finnhub``, ``finnhub_shape``: Finnhub's quotes: the fetch and the parse (pure). ``real``: with its key.
* ``service``: command -> provider -> event.
"""

from flux.domains.domain import Domain
from flux.domains.stock.contract import NAME, REJECTED
from flux.domains.stock.service import stock_service
from flux.domains.stock.views import PERFORMERS_REFRESH, REQUESTS, UPDATES

STOCK = Domain(
    name=NAME,
    commands=(PERFORMERS_REFRESH,),
    feeds=(UPDATES,),
    rejected=REJECTED,
    requests=REQUESTS,
    service=stock_service,
)

__all__ = ["STOCK"]
