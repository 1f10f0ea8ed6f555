"""Secret files: a setting that is secret may stand in a file of its own, as containers give them.

The file is named by ``FLUX_<SECTION>__<NAME>_FILE``, or lies in the directory ``FLUX_SECRETS_DIR`` (by
default ``/run/secrets``) as ``flux_<name>``. Its content is what the environment variable would be; one line
end behind it does not count. No error holds it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from flux.errors import SettingsError

DIRECTORY_VARIABLE = "FLUX_SECRETS_DIR"
DEFAULT_DIRECTORY = Path("/run/secrets")
SECRET_LIMIT = 65_536  # bytes; a key has some dozens, a table for librdkafka with certificates some thousands


def secrets_directory(environment: Mapping[str, str]) -> Path | None:
    """Return where secret files lie, or None if nowhere.

    Raises:
        SettingsError: the environment names a directory that cannot be looked into. The default one need not
            be there, nor be open to this user.
    """
    named = environment.get(DIRECTORY_VARIABLE)
    directory = Path(named).expanduser() if named else DEFAULT_DIRECTORY
    if os.access(directory, os.X_OK) and directory.is_dir():
        return directory
    if named:
        raise SettingsError(f"{DIRECTORY_VARIABLE} = {named[:200]}: not a directory that can be looked into")
    return None


def read_secret(path: Path, origin: str, *, needed: bool) -> str | None:
    """Return the text of a secret file, or None where it is not there.

    Args:
        path: of the file; links are followed.
        origin: the setting, and what named the file, for people.
        needed: it must be there.

    Raises:
        SettingsError: it is missing though it is needed, is no regular file, cannot be read, is empty, too
            large, or not UTF-8 text.
    """
    try:
        if not needed and not path.exists():
            return None
        if path.exists() and not path.is_file():
            raise SettingsError(f"{origin}: {path} is not a file")  # a pipe would be waited for without end
        with path.open("rb") as file:
            raw = file.read(SECRET_LIMIT + 1)
        if len(raw) > SECRET_LIMIT:
            raise SettingsError(f"{origin}: {path} is larger than {SECRET_LIMIT} bytes")
    except OSError as error:
        raise SettingsError(f"{origin}: {path}: {error.strerror or type(error).__name__}") from None
    text = raw.decode(errors="replace")  # a UnicodeDecodeError would hold the content
    if "\N{REPLACEMENT CHARACTER}" in text:
        raise SettingsError(f"{origin}: {path} is not UTF-8 text")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise SettingsError(f"{origin}: {path} is empty")
    return text
