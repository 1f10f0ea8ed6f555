"""The settings: precedence, every kind of value from every source, and errors of one clear line."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from flux.bff.options import BffOptions
from flux.domains.providers import ProviderOptions, SimulationOptions
from flux.errors import SettingsError
from flux.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(toml: str | None = None, overrides: dict[str, Any] | None = None, **environ: str) -> Settings:
    """Load settings from these sources alone."""
    if toml is not None:
        Path("flux.toml").write_text(toml)
    return load_settings(None, overrides, environ=environ)


def error(toml: str | None = None, overrides: dict[str, Any] | None = None, **environ: str) -> str:
    """Return the text of the error that loading ends with: one line."""
    with pytest.raises(SettingsError) as caught:
        load(toml, overrides, **environ)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_without_any_source_the_defaults_stand():
    """They are the classes' own, and valid."""
    assert load() == Settings()


def test_each_source_overrides_the_one_before():
    """Default, file, environment, option; what a source does not say stays."""
    toml = "[http]\nport = 1\nhost = 'a'\nping_timeout = 5"
    settings = load(toml, {"http.port": 3}, FLUX_HTTP__PORT="2", FLUX_HTTP__HOST="b")
    http = settings.http
    assert (http.port, http.host, http.ping_timeout, http.ping_interval) == (3, "b", 5.0, 25.0)
    assert load(toml, FLUX_HTTP__PORT="2").http.port == 2
    assert load(toml).http.port == 1


def test_the_file_is_the_option_else_the_variable_else_the_working_directorys(here: Path):
    """Only one file is read."""
    for name, port in (("a.toml", 1), ("b.toml", 2), ("flux.toml", 3)):
        (here / name).write_text(f"[http]\nport = {port}")
    environ = {"FLUX_SETTINGS": "b.toml"}
    assert load_settings(Path("a.toml"), environ=environ).http.port == 1
    assert load_settings(environ=environ).http.port == 2
    assert load_settings(environ={}).http.port == 3


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch):
    """As the command line uses it."""
    monkeypatch.setenv("FLUX_LOGS__LEVEL", "DEBUG")
    assert load_settings().logs.level == "debug"


def test_the_environment_gives_every_kind_of_value():
    """Numbers, booleans, optional values, lists, tables, paths."""
    settings = load(
        FLUX_HTTP__CORS_ORIGINS="https://a.example, http://localhost:3000",
        FLUX_KAFKA__BOOTSTRAP_SERVERS="kafka-1:9092,[::1]:9093",
        FLUX_KAFKA__CONFIG='{"security.protocol": "SSL", "enable.ssl.certificate.verification": false}',
        FLUX_SIMULATION__SEED="7",
        FLUX_SIMULATION__TICKER_RATE="0.5",
        FLUX_BFF__SCHEDULER="false",
        FLUX_BFF__INTERVALS='{"weather.service.command.fetch": 30}',
        FLUX_LOGS__JSON="true",
        FLUX_RUNTIME_DIR="~/run",
        FLUX_PROVIDERS__FEEDS="https://news.example/rss, http://127.0.0.1:8080/feed.xml",
        FLUX_PROVIDERS__SYMBOLS="AAPL,BRK.B",
        FLUX_PROVIDERS__URLS='{"rss-news.example": "http://127.0.0.1:1", "coinbase": "ws://[::1]:2/feed"}',
        FLUX_PROVIDERS__MODE="AUTO",
        FLUX_PROVIDERS__STOCK="Real",
    )
    assert settings.http.cors_origins == ("https://a.example", "http://localhost:3000")
    assert settings.kafka.bootstrap_servers == "kafka-1:9092,[::1]:9093"
    assert settings.kafka.config == {
        "security.protocol": "SSL",
        "enable.ssl.certificate.verification": "false",
    }
    assert (settings.simulation.seed, settings.simulation.ticker_rate) == (7, 0.5)
    assert settings.bff.scheduler is False
    assert settings.bff.intervals == {"weather.service.command.fetch": 30.0}
    assert settings.logs.json is True
    assert settings.runtime_dir == Path.home() / "run"
    providers = settings.providers
    assert providers.feeds == ("https://news.example/rss", "http://127.0.0.1:8080/feed.xml")
    assert providers.symbols == ("AAPL", "BRK.B")
    assert providers.urls == {"rss-news.example": "http://127.0.0.1:1", "coinbase": "ws://[::1]:2/feed"}
    assert (providers.mode_of("news"), providers.mode_of("stock")) == ("auto", "real")


def test_the_file_gives_every_kind_of_value():
    """Dotted names in a free table may be quoted or not; numbers become librdkafka's text."""
    settings = load(
        """
        runtime_dir = "/run/flux"
        [http]
        cors_origins = ["*"]
        ping_interval = 10
        [kafka.config]
        security.protocol = "SASL_SSL"
        "sasl.username" = "flux"
        "retries" = 5
        [bff.intervals]
        "news.service.command.refresh" = 60
        """
    )
    assert settings.runtime_dir == Path("/run/flux")
    assert settings.http.cors_origins == ("*",)
    assert settings.http.ping_interval == 10.0
    assert settings.kafka.config == {"security.protocol": "SASL_SSL", "sasl.username": "flux", "retries": "5"}
    assert settings.bff.intervals == {"news.service.command.refresh": 60.0}


def test_options_are_values_of_their_type():
    """A path is a path; a flag is a boolean."""
    settings = load(
        overrides={"runtime_dir": Path("x"), "bff.scheduler": False, "kafka.bootstrap_servers": "k:1"}
    )
    assert (settings.runtime_dir, settings.bff.scheduler) == (Path("x"), False)
    assert settings.kafka.bootstrap_servers == "k:1"


def test_an_empty_variable_counts_as_not_set():
    """Deployment templates often leave variables empty."""
    assert load(FLUX_KAFKA__BOOTSTRAP_SERVERS="", FLUX_HTTP__PORT="", FLUX_SETTINGS="") == Settings()


def test_other_programs_variables_are_left_alone():
    """A name with the prefix that resembles no setting is not an error."""
    assert load(FLUX_CAPACITOR="1.21 GW", FLUXX="1", PATH="/bin") == Settings()


@pytest.mark.parametrize(
    ("origins", "allowed"), [((), None), (("*",), "*"), (("https://a.example",), ("https://a.example",))]
)
def test_the_servers_form_of_the_origins(origins: tuple[str, ...], allowed: object):
    """None is the door's own origin, * is any."""
    assert load(overrides={"http.cors_origins": origins}).http.allowed_origins == allowed


def test_the_sections_are_what_the_parts_take():
    """The BFF's and the providers' own options, so that a default stands in one place."""
    assert isinstance(Settings().bff, BffOptions)
    assert isinstance(Settings().simulation, SimulationOptions)
    assert isinstance(Settings().providers, ProviderOptions)
    for mine, theirs in (
        (Settings().bff, BffOptions()),
        (Settings().simulation, SimulationOptions()),
        (Settings().providers, ProviderOptions()),
    ):
        assert attrs.asdict(mine) == attrs.asdict(theirs)


def test_secrets_are_never_shown():
    """Neither in the repr nor in an error; not even in one about the table's form."""
    settings = load(FLUX_KAFKA__CONFIG='{"sasl.password": "hunter2"}')
    assert settings.kafka.config["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "sasl.password" in repr(settings)
    assert "hunter2" not in error(FLUX_KAFKA__CONFIG='{"sasl.password": "hunter2"')
    assert "hunter2" not in error('[kafka.config]\n"sasl.password" = ["hunter2"]')
    assert "hunter2" not in error('[kafka.config]\n"bootstrap.servers" = "hunter2"')


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("http.port", "65536", "must be from 0 to 65535"),
        ("http.port", "-1", "must be from 0 to 65535"),
        ("http.port", "80.5", "must be a whole number"),
        ("http.port", "http", "must be a whole number"),
        ("http.host", "a b", "must be a host name or an address, such as 0.0.0.0"),
        ("http.max_payload", "0", "must be from 1000 to 100000000"),
        ("http.ping_interval", "0", "must be from 0.1 to 3600"),
        ("http.ping_timeout", "nan", "must be finite"),
        ("http.outbox_limit", "9999999999", "must be from 1000 to 1000000000"),
        ("http.cors_origins", "example.org", "must be origins such as https://example.org"),
        ("http.trusted_proxies", "proxy.test", "must be addresses or networks such as 127.0.0.1"),
        ("http.trusted_proxies", "10.0.0.1/8", "must be addresses or networks such as 127.0.0.1"),
        ("http.connections_per_address", "-1", "must be from 0 to 1000000"),
        ("http.cors_origins", "https://example.org/", "must be origins such as https://example.org"),
        ("kafka.bootstrap_servers", "kafka", "must be host:port, several separated by commas"),
        ("kafka.bootstrap_servers", "kafka:9092,", "must be host:port, several separated by commas"),
        ("kafka.bootstrap_servers", "kafka:0", "must be host:port, several separated by commas"),
        ("kafka.message_timeout", "-1", "must be from 0.1 to 3600"),
        ("simulation.seed", "x", "must be a whole number"),
        ("simulation.ticker_rate", "0", "must be from 0.001 to 100000"),
        ("simulation.ticker_rate", "1e9", "must be from 0.001 to 100000"),
        ("simulation.ticker_rate", "inf", "must be finite"),
        ("simulation.products", "0", "must be from 1 to "),
        ("simulation.fetch_delay", "-0.1", "must be from 0 to 60"),
        ("bff.dedupe_window", "-1", "must be >= 0"),
        ("bff.single_flight", "0", "must be > 0"),
        ("bff.jitter", "1", "must be < 1"),
        ("bff.scheduler", "maybe", "must be true or false"),
        ("bff.replay", "many", "must be a whole number"),
        ("providers.mode", "reel", "must be one of real, simulated, auto"),
        ("providers.crypto", "none", "must be one of real, simulated, auto"),
        ("providers.weather_source", "wttr", "must be one of open-meteo, weatherapi"),
        ("providers.news_source", "twitter", "must be one of rss, gdelt, newsdata"),
        ("providers.feeds", "ftp://news.example/rss", "must be at most 20 http or https URLs"),
        ("providers.feeds", "https:///rss", "must be at most 20 http or https URLs"),
        ("providers.feeds", "https://news.example:99999/rss", "must be at most 20 http or https URLs"),
        ("providers.symbols", "aapl", "must be at most 25 symbols such as AAPL or BRK.B"),
        ("providers.symbols", "AAPL&token=1", "must be at most 25 symbols such as AAPL or BRK.B"),
        ("providers.symbols", "A," * 26, "must be at most 25 symbols such as AAPL or BRK.B"),
        ("providers.urls", '{"finnhub": "file:///etc/passwd"}', "finnhub must be a URL such as https://"),
        ("providers.urls", '{"finnhub": "127.0.0.1:80"}', "finnhub must be a URL such as https://"),
        (
            "providers.urls",
            '{"Finnhub API": "http://a"}',
            "'Finnhub API' is no source; did you mean finnhub?",
        ),
        (
            "providers.urls",
            '{"open-metoe": "http://a"}',
            "'open-metoe' is no source; did you mean open-meteo?",
        ),
        ("providers.urls", '{"rss": "http://a"}', "'rss' is no source"),
        (
            "providers.urls",
            '{"coinbase": "http://a"}',
            "coinbase must be a URL such as wss://example.org (ws",
        ),
        ("providers.urls", '{"coingecko": "wss://a"}', "coingecko must be a URL such as https://example.org"),
        ("http.host", "a..b", "must be a host name or an address, such as 0.0.0.0"),
        ("http.host", "x" * 64 + ".org", "must be a host name or an address, such as 0.0.0.0"),
        (
            "kafka.bootstrap_servers",
            "kafka:1,a..b:9092",
            "must be host:port; a..b cannot be the name of a host",
        ),
        ("kafka.bootstrap_servers", "x" * 64 + ":9092", "must be host:port; xxx"),
        ("providers.urls", '["http://a"]', "must be a JSON object of plain values"),
        ("providers.patience", "0", "must be from 0.1 to 2"),
        ("providers.patience", "2.5", "must be from 0.1 to 2"),
        ("providers.keep", "-1", "must be from 0 to 604800"),
        ("supervisor.drain_deadline", "0", "must be from 0.1 to 600"),
        ("logs.level", "loud", "must be one of debug, info, warning, error, critical"),
        ("logs.json", "2", "must be true or false"),
    ],
)
def test_a_wrong_value_is_named_with_its_source_and_what_is_allowed(path: str, value: str, allowed: str):
    """From the environment, as it was written there."""
    variable = "FLUX_" + path.upper().replace(".", "__")
    assert error(**{variable: value}).startswith(f"{path} = {value} (from {variable}): {allowed}")


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ("[http]\nport = '80'", "http.port = '80' (from flux.toml): must be a whole number"),
        ("[http]\nport = true", "http.port = True (from flux.toml): must be a whole number"),
        ("[http]\nport = 99999", "http.port = 99999 (from flux.toml): must be from 0 to 65535"),
        ("[http]\ncors_origins = '*'", "http.cors_origins = '*' (from flux.toml): must be a list of texts"),
        ("[logs]\njson = 'yes'", "logs.json = 'yes' (from flux.toml): must be true or false"),
        ("runtime_dir = 5", "runtime_dir = 5 (from flux.toml): must be a path"),
        ("[kafka]\nconfig = 5", "kafka.config (from flux.toml): must be a table of plain values"),
        ("http = 5", "http = 5 (from flux.toml): must be a table, [http]"),
        ("[http]\nprot = 5", "http.prot (from flux.toml): no such setting; did you mean http.port?"),
        ("[htpp]\nport = 5", "htpp (from flux.toml): no such setting; did you mean http?"),
        ("runtimedir = 'x'", "runtimedir (from flux.toml): no such setting; did you mean runtime_dir?"),
        ("zzz = 'x'", "zzz (from flux.toml): no such setting"),
        ("[http\n", "settings file flux.toml: not TOML: Expected ']' at the end of a table declaration"),
        ("[bff.intervals]\n'weather.command' = 5", "bff.intervals = "),
    ],
)
def test_a_mistake_in_the_file_names_the_file(toml: str, text: str):
    """Wrong types, wrong names, wrong syntax."""
    assert error(toml).startswith(text)


def test_an_interval_names_a_command_topic_and_stays_below_staleness():
    """A topic that is misspelt or refreshed too seldom is refused; the text helps."""
    near = error('[bff.intervals]\n"weather.service.command.fetsch" = 60')
    assert near.endswith("is no command topic; did you mean weather.service.command.fetch?")
    assert "must be from 1 to 630" in error('[bff.intervals]\n"weather.service.command.fetch" = 5000')


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("FLUX_HTTP__PROT", "FLUX_HTTP__PORT"),
        ("FLUX_HTTP_PORT", "FLUX_HTTP__PORT"),
        ("FLUX_RUNTIMEDIR", "FLUX_RUNTIME_DIR"),
        ("FLUX_SETTING", "FLUX_SETTINGS"),
    ],
)
def test_a_misspelt_variable_is_an_error_with_the_nearest_name(name: str, near: str):
    """With a section's prefix, or almost a setting's name."""
    assert error(**{name: "1"}) == f"{name} (from the environment): no such setting; did you mean {near}?"


def test_a_wrong_option_names_the_command_line():
    """By value and by name."""
    wrong = error(overrides={"http.port": 99999})
    assert wrong == "http.port = 99999 (from the command line): must be from 0 to 65535"
    assert error(overrides={"http.prot": 1}).endswith("did you mean http.port?")


def test_a_file_that_is_asked_for_must_be_there(here: Path):
    """Missing, a directory, no text, too large: each says so."""
    for name, content, text in (
        ("no.toml", None, "No such file or directory"),
        ("binary.toml", b"\xff\xfe", "not UTF-8 text"),
        ("large.toml", b"#" * 1_000_001, "larger than 1000000 bytes"),
    ):
        if content is not None:
            (here / name).write_bytes(content)
        with pytest.raises(SettingsError, match=f"settings file {name}: {text}"):
            load_settings(Path(name), environ={})
        assert error(FLUX_SETTINGS=name) == f"settings file {name}: {text}"
    with pytest.raises(SettingsError, match="settings file"):
        load_settings(here, environ={})


def test_a_long_value_is_cut():
    """The error stays one readable line."""
    assert len(error(FLUX_HTTP__PORT="9" * 10_000)) < 200
    assert "\\n" in error(FLUX_HTTP__PORT="1\n2")


def test_the_settings_are_frozen():
    """Nothing changes them at run time."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Settings().http.port = 1  # type: ignore[misc]
