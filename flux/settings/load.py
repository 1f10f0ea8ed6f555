"""Reading the settings: files, environment and options into the tree; every mistake is one clear line."""

import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

import attrs
import msgspec
from attrs import frozen

from flux.errors import SettingsError
from flux.settings.checks import suggestion
from flux.settings.secrets import DIRECTORY_VARIABLE, read_secret, secrets_directory
from flux.settings.tree import Settings

PREFIX = "FLUX_"
FILE_VARIABLE = "FLUX_SETTINGS"
DEFAULT_FILE = Path("flux.toml")
FILE_LIMIT = 1_000_000  # bytes; far above any real settings file


def load_settings(
    config_file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings from all their sources.

    Args:
        config_file: the settings file; None: ``FLUX_SETTINGS``, else ``./flux.toml`` if it is there.
        overrides: options of the command line, by dotted name (``http.port``), of the setting's type.
        environ: instead of the process's environment.

    Raises:
        SettingsError: one line that names the setting, its value, where it came from, and what is allowed.
    """
    given = _given(config_file, overrides or {}, os.environ if environ is None else environ)
    return _build(given.values())


def setting_origins(
    config_file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return where each setting that is given comes from: a file, a variable, the command line.

    Args:
        config_file: as for `load_settings`.
        overrides: likewise.
        environ: likewise.

    Raises:
        SettingsError: a source cannot be read.
    """
    given = _given(config_file, overrides or {}, os.environ if environ is None else environ)
    return {path: entry.origin for path, entry in given.items()}


def _given(
    config_file: Path | None, overrides: Mapping[str, Any], environment: Mapping[str, str]
) -> "dict[str, _Given]":
    given: dict[str, _Given] = {}
    for source in (
        _from_file(config_file, environment),
        _from_secret_files(environment),
        _from_environment(environment),
        _from_options(overrides),
    ):
        for entry in source:
            given[entry.path] = entry
    return given


@frozen
class _Setting:
    path: str
    attribute: Any  # attrs.Attribute
    section: str | None
    section_class: type[Any] | None

    @property
    def kind(self) -> Any:
        """The setting's type."""
        return self.attribute.type

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.path.upper().replace(".", "__")

    @property
    def secret_file(self) -> str | None:
        """What its file in the directory of secrets is called; None where it is no secret."""
        name = self.attribute.metadata.get("secret")
        return None if not name else f"flux_{name if isinstance(name, str) else self.attribute.name}"

    @property
    def file_variable(self) -> str:
        """The environment variable that names its file."""
        return self.variable + "_FILE"

    @property
    def is_table(self) -> bool:
        """Whether its value is a table of free names."""
        return get_origin(self.kind) is Mapping


def _all_settings() -> Iterator[_Setting]:
    for outer in attrs.fields(Settings):
        if outer.type is not None and attrs.has(outer.type):
            for inner in attrs.fields(outer.type):
                yield _Setting(f"{outer.name}.{inner.name}", inner, outer.name, outer.type)
        else:
            yield _Setting(outer.name, outer, None, None)


_SETTINGS = {setting.path: setting for setting in _all_settings()}
_SECTIONS = {setting.section for setting in _SETTINGS.values() if setting.section}
_BY_VARIABLE = {setting.variable: setting for setting in _SETTINGS.values()}
_SECRETS = [setting for setting in _SETTINGS.values() if setting.secret_file]
_OTHER_VARIABLES = {FILE_VARIABLE, DIRECTORY_VARIABLE, *(setting.file_variable for setting in _SECRETS)}


@frozen
class _Given:
    """A value as it was given.

    Args:
        path: the setting's dotted name.
        value: not checked yet.
        origin: where it came from, for people.
        is_text: whether the value is text that stands for a value of the setting's type.
    """

    path: str
    value: Any
    origin: str
    is_text: bool = False


def _from_file(config_file: Path | None, environment: Mapping[str, str]) -> Iterator[_Given]:
    named = config_file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    if named is None and not DEFAULT_FILE.exists():
        return
    path = named or DEFAULT_FILE
    for name, value in _read_toml(path).items():
        if name not in _SECTIONS:
            yield _entry(name, value, str(path), [*_SECTIONS, *_SETTINGS])
        elif not isinstance(value, dict):
            raise SettingsError(f"{name} = {value!r:.80} (from {path}): must be a table, [{name}]")
        else:
            for inner, inner_value in value.items():
                yield _entry(f"{name}.{inner}", inner_value, str(path), _SETTINGS)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_LIMIT + 1)
        if len(raw) > FILE_LIMIT:
            raise SettingsError(f"settings file {path}: larger than {FILE_LIMIT} bytes")
        return tomllib.loads(raw.decode())
    except OSError as error:
        raise SettingsError(f"settings file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"settings file {path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings file {path}: not TOML: {error}") from None


def _entry(path: str, value: Any, origin: str, candidates: Iterable[str]) -> _Given:
    if path not in _SETTINGS:
        raise SettingsError(f"{path} (from {origin}): no such setting{suggestion(path, candidates)}")
    return _Given(path, value, origin)


def _from_secret_files(environment: Mapping[str, str]) -> Iterator[_Given]:
    directory = secrets_directory(environment)
    for setting in _SECRETS:
        variable = setting.file_variable
        named = environment.get(variable)
        if named and environment.get(setting.variable):
            raise SettingsError(f"{setting.path}: {setting.variable} and {variable} are both set; take one")
        if named:
            path = Path(named).expanduser()
        elif directory:
            path = directory / str(setting.secret_file)
        else:
            continue
        origin = f"{setting.path} (from {variable})" if named else setting.path
        text = read_secret(path, origin, needed=bool(named))
        if text is not None:
            yield _Given(setting.path, text, str(path), is_text=True)


def _from_environment(environment: Mapping[str, str]) -> Iterator[_Given]:
    sections = tuple(f"{PREFIX}{section.upper()}_" for section in _SECTIONS)
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or name in _OTHER_VARIABLES:
            continue
        if setting := _BY_VARIABLE.get(name):
            if text:
                yield _Given(setting.path, text, name, is_text=True)
            continue
        # Other names with the prefix may be another program's; a near miss is a mistake.
        near = suggestion(name, [*_BY_VARIABLE, *_OTHER_VARIABLES], cutoff=0.85)
        if name.startswith(sections) or near:
            raise SettingsError(
                f"{name} (from the environment): no such setting{near or suggestion(name, _BY_VARIABLE)}"
            )


def _from_options(overrides: Mapping[str, Any]) -> Iterator[_Given]:
    for path, value in overrides.items():
        yield _entry(path, value, "the command line", _SETTINGS)


def _build(given: Iterable[_Given]) -> Settings:
    top: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for entry in given:
        setting = _SETTINGS[entry.path]
        value = _convert(setting, entry)
        if setting.section is None or setting.section_class is None:
            top[setting.attribute.name] = value
            continue
        try:
            setting.section_class(**{setting.attribute.name: value})  # alone, so that an error is this one's
        except ValueError as error:
            raise _refusal(setting, entry, _allowed(error)) from None
        sections.setdefault(setting.section, {})[setting.attribute.name] = value
    for outer in attrs.fields(Settings):
        if outer.name in sections:
            top[outer.name] = outer.type(**sections[outer.name])  # type: ignore[misc] # sections are classes
    return Settings(**top)


def _allowed(error: ValueError) -> str:
    """Return what an attrs validator wants: its message without the name and the value around it."""
    text = str(error.args[0]) if error.args else "is refused"
    if found := re.match(r"'\w+' (must be .*?)(?:: | \(got )", text):
        text = found[1]
    if found := re.match(r"must be in \((.*)\)$", text):
        text = f"must be one of {found[1]}".replace("'", "")
    return text


def _refusal(setting: _Setting, entry: _Given, allowed: str) -> SettingsError:
    value = "" if setting.attribute.metadata.get("secret") else f" = {_shown(entry)}"
    return SettingsError(f"{setting.path}{value} (from {entry.origin}): {allowed}")


def _shown(entry: _Given) -> str:
    plain = entry.is_text and str(entry.value).isprintable()
    text = str(entry.value) if plain else repr(entry.value)
    text = re.sub(r"//[^/@\s]*@", "//***@", text)  # a URL's user and password
    return text if len(text) <= 80 else f"{text[:79]}…"


def _convert(setting: _Setting, entry: _Given) -> Any:
    try:
        value = _parse(entry.value, setting) if entry.is_text else entry.value
        if setting.is_table:
            value = _table(value, text=get_args(setting.kind)[1] is str)
        value = msgspec.convert(value, setting.kind, strict=not entry.is_text, dec_hook=_decode_path)
    except (ValueError, TypeError, RecursionError):  # msgspec's errors are ValueErrors
        raise _refusal(setting, entry, f"must be {_expected(setting, text=entry.is_text)}") from None
    if not all(math.isfinite(number) for number in _floats(value)):
        raise _refusal(setting, entry, "must be finite")
    return value


def _parse(text: str, setting: _Setting) -> Any:
    """Give text of the environment the shape of the setting's type; msgspec reads numbers and booleans."""
    if setting.is_table:
        return json.loads(text)
    if get_origin(setting.kind) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _table(value: Any, *, text: bool) -> dict[str, Any]:
    """Return a table with dotted names; in TOML ``a.b = 1`` is a table in a table.

    Args:
        value: from TOML or JSON.
        text: the values are wanted as text, as librdkafka takes them.
    """
    if not isinstance(value, dict):
        raise TypeError("not a table")
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            flat.update({f"{name}.{rest}": each for rest, each in _table(inner, text=text).items()})
        elif isinstance(inner, bool) and text:
            flat[name] = str(inner).lower()
        elif isinstance(inner, int | float) and text:
            flat[name] = str(inner)
        else:
            flat[name] = inner
    return flat


def _decode_path(kind: type[Any], value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value).expanduser()
    raise TypeError("not a path")


def _floats(value: Any) -> list[float]:
    values = value.values() if isinstance(value, Mapping) else [value]
    return [each for each in values if isinstance(each, float)]


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


def _expected(setting: _Setting, *, text: bool) -> str:
    if setting.is_table:
        return "a JSON object of plain values" if text else "a table of plain values"
    if get_origin(setting.kind) is tuple:
        return "a list of texts"
    kinds = [kind for kind in get_args(setting.kind) or (setting.kind,) if kind is not NoneType]
    return " or ".join(_NAMES.get(kind, str(kind)) for kind in kinds)
