"""The crypto domain: movers, top coins, and the live ticker.

* ``contract``: topics and payload types.
* ``views``: rooms, socket events, keys (pure).
* ``provider``, ``simulated``: where the data comes from.
* ``service``: command -> provider -> event.
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
