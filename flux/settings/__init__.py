"""The settings: one tree with default and unit beside each, read from TOML, environment and options.

Precedence, lowest first: the defaults below; the settings file (``--config``, else ``FLUX_SETTINGS``, else
``flux.toml`` in the working directory if it is there); secret files; the environment (``FLUX_`` + section +
``__`` + name: ``FLUX_HTTP__PORT=9000``; an empty variable counts as not set); options of the command line.

Secret files are for keys and passwords: ``flux_<name>`` in ``FLUX_SECRETS_DIR``, by default ``/run/secrets``
(``flux_finnhub_key`` is ``providers.finnhub_key``, ``flux_kafka_config`` is ``kafka.config`` as JSON), or the
file that ``FLUX_PROVIDERS__FINNHUB_KEY_FILE`` names, which goes before the one in the directory. To give both
that variable and ``FLUX_PROVIDERS__FINNHUB_KEY`` is an error.

In the file every section is a table (``[http]``), with the names below. Tables of free names
(``kafka.config``, ``bff.intervals``) are JSON objects in the environment; lists are separated by commas.

* ``checks``: what a setting may be. ``tree``: the settings. ``load``: from their sources into the tree.
  ``secrets``: files that hold one secret each.

msgspec converts the values (the types are the tree's own), not typed-settings: an error must name the
setting, its value and its source in one line, and a name that nothing reads must be refused.
"""

from flux.settings.load import load_settings, setting_origins
from flux.settings.tree import (
    BffSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    ProviderSettings,
    Settings,
    SimulationSettings,
    SupervisorSettings,
)

__all__ = [
    "BffSettings",
    "HttpSettings",
    "KafkaSettings",
    "LogSettings",
    "ProviderSettings",
    "Settings",
    "SimulationSettings",
    "SupervisorSettings",
    "load_settings",
    "setting_origins",
]
