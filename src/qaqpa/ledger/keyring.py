"""The keyring: the key that wraps subjects' keys, and the key of the blind index. Without it the ledger
still verifies, but nobody can tell whom it is about.

A file that only its owner may read. Keys of subjects are random and stand wrapped in the database; the
key-encryption key carries the number of its epoch.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qaqpa.errors import KeyringError

KEY_SIZE = 32
_NONCE_SIZE = 12
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys in memory; never printed."""

    id: str
    """Random; the database remembers to which keyring it belongs."""
    epoch: int
    wrapping: dict[int, bytes] = field(repr=False)
    """Key-encryption keys by epoch."""
    index: bytes = field(repr=False)
    """Key of the blind index and of idempotency keys."""

    @classmethod
    def create(cls, path: Path) -> Keyring:
        """Make a new keyring at `path` (mode 0600); never overwrites. Raises KeyringError."""
        keyring = cls(secrets.token_hex(8), 1, {1: secrets.token_bytes(KEY_SIZE)}, secrets.token_bytes(KEY_SIZE))
        document = {
            "format": _FORMAT,
            "id": keyring.id,
            "epoch": keyring.epoch,
            "wrapping": {str(epoch): _text(key) for epoch, key in keyring.wrapping.items()},
            "index": _text(keyring.index),
        }
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(document, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except FileExistsError:
            raise KeyringError(f"{path} exists: a keyring is never overwritten") from None
        except OSError as error:
            raise KeyringError(f"{path} cannot be written: {error.strerror}") from None
        return keyring

    @classmethod
    def load(cls, path: Path) -> Keyring:
        """Read the keyring at `path`. Raises KeyringError that says what to do."""
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            text = path.read_bytes()
        except FileNotFoundError:
            raise KeyringError(f"there is no keyring at {path}: make one with `qaqpa keys init`") from None
        except OSError as error:
            raise KeyringError(f"{path} cannot be read: {error.strerror}") from None
        if mode & 0o077:
            raise KeyringError(f"{path} may be read by others (mode {mode:04o}): run chmod 600 on it")
        try:
            document = json.loads(text)
            if document["format"] != _FORMAT:
                raise ValueError  # noqa: TRY301 - every way of being unreadable is said once, below
            wrapping = {int(epoch): _key(value) for epoch, value in document["wrapping"].items()}
            if type(document["epoch"]) is not int or type(document["id"]) is not str:
                raise TypeError  # noqa: TRY301 - as above
            keyring = cls(document["id"], document["epoch"], wrapping, _key(document["index"]))
            keyring.wrapping[keyring.epoch]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise KeyringError(f"{path} is not a keyring of this version; restore it from a back-up") from None
        return keyring

    def blind(self, iin: str) -> bytes:
        """The blind index of a person: found by those who hold the keyring, guessed by nobody else."""
        return hmac.new(self.index, b"qaqpa/iin/1\0" + iin.encode(), hashlib.sha256).digest()

    def blind_request(self, caller: str, key: str) -> bytes:
        """The same for an Idempotency-Key, which callers may have made from personal data."""
        return hmac.new(self.index, b"qaqpa/request/1\0" + f"{caller}\0{key}".encode(), hashlib.sha256).digest()

    def wrap(self, subject: str, key: bytes) -> bytes:
        """A subject's key under the current epoch's key (AES-256-GCM, bound to the subject's id and the epoch)."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + AESGCM(self.wrapping[self.epoch]).encrypt(nonce, key, f"{subject}:{self.epoch}".encode())

    def unwrap(self, subject: str, epoch: int, wrapped: bytes) -> bytes:
        """The subject's key. Raises KeyringError when this keyring did not wrap it."""
        key = self.wrapping.get(epoch)
        if key is not None:
            try:
                sealed = wrapped[_NONCE_SIZE:]
                return AESGCM(key).decrypt(wrapped[:_NONCE_SIZE], sealed, f"{subject}:{epoch}".encode())
            except (InvalidTag, ValueError):  # ValueError: too short to be a ciphertext
                pass
        raise KeyringError(
            "a subject's key cannot be unwrapped: the keyring is not the one this database was kept with"
        )


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != KEY_SIZE:
        raise ValueError("a key has 32 bytes")
    return key
