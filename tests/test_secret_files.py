"""Secrets: keys from files, variables and the settings file; what wins, what is refused, none is shown."""

import os
from pathlib import Path

import pytest

from flux.errors import SettingsError
from flux.settings import Settings, load_settings, secrets

CANARY = "canary-4f1c9e"
KEYS = ["coingecko_key", "weatherapi_key", "newsdata_key", "finnhub_key"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory of secrets, which stands for /run/secrets."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "secrets"
    directory.mkdir()
    monkeypatch.setattr(secrets, "DEFAULT_DIRECTORY", directory)
    return directory


def load(**environ: str) -> Settings:
    """Load settings with these variables alone."""
    return load_settings(environ=environ)


def error(**environ: str) -> str:
    """Return the one line that loading ends with; it never holds the secret."""
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    text = str(caught.value)
    assert "\n" not in text
    assert CANARY not in text
    assert CANARY not in repr(caught.value.__context__)
    return text


@pytest.mark.parametrize("name", KEYS)
def test_a_key_lies_in_the_directory_of_secrets(folder: Path, name: str) -> None:
    """As `flux_<name>`; the line end that editors and `echo` leave does not count."""
    (folder / f"flux_{name}").write_text(CANARY + "\n")
    settings = load()
    assert getattr(settings.providers, name) == CANARY
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_directory_may_be_another(tmp_path: Path, folder: Path, ending: str) -> None:
    """`FLUX_SECRETS_DIR` names it; the default one is then not looked into. Links are followed."""
    (folder / "flux_finnhub_key").write_text("of-the-default-directory")
    other = tmp_path / "other"
    other.mkdir()
    (other / "..data").write_text(CANARY + ending, newline="")
    (other / "flux_newsdata_key").symlink_to("..data")
    providers = load(FLUX_SECRETS_DIR=str(other)).providers
    assert (providers.newsdata_key, providers.finnhub_key) == (CANARY, None)


def test_the_table_for_librdkafka_is_a_secret_too(folder: Path) -> None:
    """A password of SASL, say; as JSON, as in the environment."""
    (folder / "flux_kafka_config").write_text(f'{{"sasl.password": "{CANARY}", "retries": 5}}\n')
    settings = load()
    assert settings.kafka.config == {"sasl.password": CANARY, "retries": "5"}
    assert CANARY not in repr(settings)
    (folder / "flux_kafka_config").write_text(f'{{"sasl.password": "{CANARY}"')
    assert error().endswith("must be a JSON object of plain values")


def test_what_is_nearer_to_the_process_wins(tmp_path: Path, folder: Path) -> None:
    """Settings file, directory of secrets, named file, variable: each goes before the one ahead of it."""
    (tmp_path / "flux.toml").write_text("[providers]\nfinnhub_key = 'of-the-settings-file'")
    assert load().providers.finnhub_key == "of-the-settings-file"
    (folder / "flux_finnhub_key").write_text("of-the-directory")
    assert load().providers.finnhub_key == "of-the-directory"
    (tmp_path / "mine").write_text("of-the-named-file\n")
    assert load(FLUX_PROVIDERS__FINNHUB_KEY_FILE="mine").providers.finnhub_key == "of-the-named-file"
    assert load(FLUX_PROVIDERS__FINNHUB_KEY="of-the-variable").providers.finnhub_key == "of-the-variable"


def test_a_variable_and_its_file_together_are_an_error(tmp_path: Path) -> None:
    """Nobody can tell which was meant; an empty one counts as not set."""
    (tmp_path / "mine").write_text(CANARY)
    both = {"FLUX_PROVIDERS__FINNHUB_KEY": CANARY, "FLUX_PROVIDERS__FINNHUB_KEY_FILE": "mine"}
    assert error(**both).startswith("providers.finnhub_key: FLUX_PROVIDERS__FINNHUB_KEY and FLUX_PROV")
    assert error(**both).endswith("_KEY_FILE are both set; take one")
    assert load(**both | {"FLUX_PROVIDERS__FINNHUB_KEY": ""}).providers.finnhub_key == CANARY
    assert load(**both | {"FLUX_PROVIDERS__FINNHUB_KEY_FILE": ""}).providers.finnhub_key == CANARY


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b" \n", "is empty"),
        (b"x" * 65_537, "is larger than 65536 bytes"),
        (b"\xff" + CANARY.encode(), "is not UTF-8 text"),
        (CANARY.encode() + b" \n", "must be 1 to 256 printable ASCII characters without spaces"),
        (CANARY.encode() + b"\n\n", "must be 1 to 256 printable ASCII characters without spaces"),
        (CANARY.encode() + "é".encode(), "must be 1 to 256 printable ASCII characters without spaces"),
        (CANARY.encode() * 20, "must be 1 to 256 printable ASCII characters without spaces"),
    ],
)
def test_a_file_that_holds_no_key_is_named_without_its_content(
    folder: Path, content: bytes, text: str
) -> None:
    """In the directory and by name alike: the setting, the file, what is wrong."""
    file = folder / "flux_finnhub_key"
    file.write_bytes(content)
    for environ in ({}, {"FLUX_PROVIDERS__FINNHUB_KEY_FILE": str(file)}):
        said = error(**environ)
        assert said.startswith("providers.finnhub_key")
        assert str(file) in said
        assert said.endswith(text)


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    """Missing, a directory, a pipe (which would be waited for), a name that is none: each says so."""
    os.mkfifo(tmp_path / "pipe")
    for name, text in (
        ("missing", "missing: No such file or directory"),
        (str(tmp_path), "is not a file"),
        ("pipe", "pipe is not a file"),
        ("x" * 5_000, "File name too long"),
    ):
        said = error(FLUX_PROVIDERS__FINNHUB_KEY_FILE=name)
        assert said.startswith("providers.finnhub_key (from FLUX_PROVIDERS__FINNHUB_KEY_FILE): ")
        assert said.endswith(text)


def test_a_file_that_cannot_be_read_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was put there to be used."""

    def refuse(self: Path, *args: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    (folder / "flux_finnhub_key").write_text(CANARY)
    monkeypatch.setattr(Path, "open", refuse)
    assert error() == f"providers.finnhub_key: {folder / 'flux_finnhub_key'}: Permission denied"


def test_only_a_directory_that_is_named_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most machines have no /run/secrets."""
    monkeypatch.setattr(secrets, "DEFAULT_DIRECTORY", tmp_path / "none")
    assert load() == Settings()
    assert (
        error(FLUX_SECRETS_DIR="none") == "FLUX_SECRETS_DIR = none: not a directory that can be looked into"
    )


@pytest.mark.parametrize("name", KEYS)
def test_a_wrong_key_is_refused_without_being_shown(tmp_path: Path, name: str) -> None:
    """From the environment and from the settings file, where it may also be of another type."""
    variable = f"FLUX_PROVIDERS__{name.upper()}"
    allowed = "must be 1 to 256 printable ASCII characters without spaces"
    assert error(**{variable: f"{CANARY} x"}) == f"providers.{name} (from {variable}): {allowed}"
    (tmp_path / "flux.toml").write_text(f"[providers]\n{name} = ['{CANARY}']")
    assert error() == f"providers.{name} (from flux.toml): must be text"
    (tmp_path / "flux.toml").write_text(f"[providers]\n{name}s = '{CANARY}'")
    assert "no such setting; did you mean" in error()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("FLUX_SECRET_DIR", "FLUX_SECRETS_DIR"),
        ("FLUX_PROVIDERS__FINHUB_KEY_FILE", "FLUX_PROVIDERS__FINNHUB_KEY_FILE"),
        ("FLUX_PROVIDERS__FINHUB_KEY", "FLUX_PROVIDERS__FINNHUB_KEY"),
        ("FLUX_HTTP__PORT_FILE", "FLUX_HTTP__PORT"),
    ],
)
def test_a_misspelt_variable_is_an_error_with_the_nearest_name(name: str, near: str) -> None:
    """What is no secret has no file."""
    assert error(**{name: CANARY}).endswith(f"no such setting; did you mean {near}?")


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    """A URL with a user is no place for a secret: errors show addresses."""
    said = error(FLUX_PROVIDERS__FEEDS=f"https://me:{CANARY}@news.example/rss")
    assert said.startswith(
        "providers.feeds = https://***@news.example/rss (from FLUX_PROVIDERS__FEEDS): must be"
    )
    assert "must be a URL" in error(FLUX_PROVIDERS__URLS=f'{{"finnhub": "https://{CANARY}@x.example"}}')
