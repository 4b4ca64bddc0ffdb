"""Values outside the configuration: read when the gateway opens, never logged.

`env:NAME` from the environment, `file:PATH` from a file, `credential:NAME` from the folder of credentials that systemd
hands to a service (LoadCredential=, LoadCredentialEncrypted=).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from qaqpa.errors import NotConfigured


def is_reference(value: str) -> bool:
    """Whether `value` refers to something outside the file."""
    scheme, _, target = value.partition(":")
    return scheme in {"env", "file", "credential"} and bool(target)


def resolve(value: str, *, what: str, home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """A literal as it is; what a reference refers to (`file:` relative to `home`).

    Raises NotConfigured, which names `what` needs it and where it was looked for.
    """
    scheme, _, target = value.partition(":")
    if scheme == "env" and is_reference(value):
        found = environ.get(target, "")
        if not found:
            raise NotConfigured(f"{what}: set the environment variable {target}")
        return found
    if scheme == "credential" and is_reference(value):
        folder = environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            raise NotConfigured(f"{what}: systemd gave no credentials; name {target} in LoadCredential= of the unit")
        return _text(Path(folder) / target, target, what)
    if scheme == "file" and is_reference(value):
        return _text(home / target, target, what)
    return value


def _text(path: Path, target: str, what: str) -> str:
    try:
        return path.read_text().rstrip("\r\n")
    except OSError as error:
        raise NotConfigured(f"{what}: the file {target} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotConfigured(f"{what}: the file {target} is not text in UTF-8") from None


def missing(value: str, *, home: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """Where a value that is not set yet was looked for; None when it is there."""
    try:
        resolve(value, what="", home=home, environ=environ)
    except NotConfigured as error:
        return str(error).removeprefix(": ")
    return None
