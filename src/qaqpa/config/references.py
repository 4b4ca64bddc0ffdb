"""Values outside the configuration, `env:NAME` and `file:PATH`: read when the gateway opens, never logged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from qaqpa.errors import NotConfigured


def is_reference(value: str) -> bool:
    """Whether `value` refers to something outside the file."""
    scheme, _, target = value.partition(":")
    return scheme in {"env", "file"} and bool(target)


def resolve(value: str, *, what: str, home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """A literal as it is, `env:NAME` from the environment, `file:PATH` from a file (relative to `home`).

    Raises NotConfigured, which names `what` needs it and where it was looked for.
    """
    scheme, _, target = value.partition(":")
    if scheme == "env" and is_reference(value):
        found = environ.get(target, "")
        if not found:
            raise NotConfigured(f"{what}: set the environment variable {target}")
        return found
    if scheme == "file" and is_reference(value):
        try:
            return (home / target).read_text().rstrip("\r\n")
        except OSError as error:
            raise NotConfigured(f"{what}: the file {target} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise NotConfigured(f"{what}: the file {target} is not text in UTF-8") from None
    return value


def missing(value: str, *, home: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """Where a value that is not set yet was looked for; None when it is there."""
    try:
        resolve(value, what="", home=home, environ=environ)
    except NotConfigured as error:
        return str(error).removeprefix(": ")
    return None
