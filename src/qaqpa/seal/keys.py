"""What a recipient's public key can do, whatever its format; and what reading its file has in common."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from qaqpa.errors import NotConfigured
from qaqpa.model.words import SealKind

SMALLEST_RSA = 2048
"""Bits."""
LARGEST_KEY_FILE = 2**20
"""Bytes. A public key is a few kilobytes; whatever is longer is another file."""


class RecipientKey(Protocol):
    """A recipient's public key with the algorithm that its configuration pins. It was tried when it was loaded."""

    @property
    def kind(self) -> SealKind:
        """Of the seals that it makes."""

    @property
    def kid(self) -> str:
        """What names the key: the JWK's id or thumbprint, the age recipient, a fingerprint in hex."""

    @property
    def media_type(self) -> str:
        """Of what `encrypt` returns."""

    @property
    def expires_at(self) -> datetime | None:
        """When it ends, in UTC; None for a key without an end."""

    def encrypt(self, content: bytes, content_type: str) -> bytes:
        """`content`, sealed. Formats without a place for `content_type` (all but JWE) leave it out."""


class Sink(Protocol):
    """Where sealed bytes go."""

    def write(self, block: bytes) -> int:
        """All of `block`, at once. Raises OSError."""


class Sealing(Protocol):
    """Content on its way into a sealed file, block by block. Nothing but `finish` makes the file whole."""

    def write(self, block: bytes) -> None:
        """The next bytes of the content. Raises OSError, after which only `cancel` is left."""

    def finish(self) -> None:
        """The content ends here. Raises OSError."""

    def cancel(self) -> None:
        """Stop; what the file holds is of no use to anyone. Never raises."""


@runtime_checkable
class PackageKey(RecipientKey, Protocol):
    """A key whose format can be written as a stream: `age`, `cms`, `openpgp`."""

    def into(self, file: Sink) -> Sealing:
        """Seal content of any length into `file`, in bounded memory. Raises OSError, NotConfigured."""


def require_valid(key: RecipientKey | None, now: datetime) -> None:
    """Returns while `key` is in force; asked before a disclosure is entered, because afterwards is too late.

    Raises NotConfigured.
    """
    if key is not None and key.expires_at is not None and key.expires_at <= now:
        raise NotConfigured(f"the recipient's key ended on {key.expires_at:%Y-%m-%d}: get its new one for seal.key")


def read_key(path: str) -> bytes:
    """The file at `path`. Raises NotConfigured."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_KEY_FILE + 1)
    except OSError as error:
        raise NotConfigured(f"seal.key: {path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_KEY_FILE:
        raise NotConfigured(f"seal.key: {path} is too long for a public key")
    return content
