"""The crypto domain: movers, top coins, and the live ticker.

* ``contract``: topics and payload types.
* ``views``: rooms, socket events, keys (pure).
* ``provider``: what the service needs of a source. ``simulated``, ``market``, ``coins``: the simulated one.
* ``coingecko``, ``coingecko_shape``: movers and top coins for real. ``real``: all real sources.
* ``coinbase``: the real ticks; ``products``: which ones.
* ``ticker``, ``pace``: the simulated ticks; ``standin``: when they stand in for real ones.
* ``relay``, ``outlet``: ticks -> topic. ``service``: command -> provider -> event, and the ticks beside.
"""

from flux.domains.crypto.contract import NAME, REJECTED
from flux.domains.crypto.service import crypto_service
from flux.domains.crypto.views import COINS, COINS_REFRESH, MOVERS, MOVERS_REFRESH, REQUESTS, TICKER
from flux.domains.domain import Domain

CRYPTO = Domain(
    name=NAME,
    commands=(MOVERS_REFRESH, COINS_REFRESH),
    feeds=(MOVERS, COINS, TICKER),
    rejected=REJECTED,
    requests=REQUESTS,
    service=crypto_service,
)

__all__ = ["CRYPTO"]
