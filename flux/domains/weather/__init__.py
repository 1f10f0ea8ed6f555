"""The weather domain: the weather at the cities that clients watch.

* ``contract``: topics and payload types.
* ``views``: rooms, socket events, keys (pure).
* ``provider``: what the service needs of a source; ``simulated``, ``open_meteo``, ``weatherapi``: sources;
  ``real``: the real one that is set up.
* ``service``: command -> provider -> event.
"""

from flux.domains.domain import Domain
from flux.domains.weather.contract import NAME, REJECTED
from flux.domains.weather.service import weather_service
from flux.domains.weather.views import FETCHES, UPDATES

WEATHER = Domain(
    name=NAME,
    commands=(FETCHES,),
    feeds=(UPDATES,),
    rejected=REJECTED,
    requests=(),
    service=weather_service,
)

__all__ = ["WEATHER"]
