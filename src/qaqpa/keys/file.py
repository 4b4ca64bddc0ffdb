"""The keyring's file: read and replaced as a whole, locked while it changes; and the keys that are kept in it,
open or sealed with a passphrase."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from qaqpa import files
from qaqpa.errors import KeyringError
from qaqpa.model.canonical import canonical

KEY_SIZE = 32
NONCE_SIZE = 12
_LARGEST_FILE = 2**20
_LARGEST_COST = 2**20
"""scrypt takes 1 KiB of memory for each unit; a file that asks for more than 1 GiB is not ours."""
_LOCK_S = 30.0

FORMAT = 2
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Every way in which a file can be no keyring."""

Identity = tuple[int, int, int, int, int]
"""Which version of a file it is."""


def text_of(key: bytes) -> str:
    """Bytes as they stand in the file."""
    return base64.b64encode(key).decode()


def bytes_of(text: str, size: int = KEY_SIZE) -> bytes:
    """The reverse. Raises ValueError or TypeError."""
    key = base64.b64decode(text, validate=True)
    if len(key) != size:
        raise ValueError(f"{size} bytes are expected")
    return key


# --- the file --------------------------------------------------------------------------------------


def identity(status: os.stat_result) -> Identity:
    """What changes whenever the file is replaced or edited."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read(path: Path) -> tuple[bytes, os.stat_result]:
    """The whole file and its status at that time. Raises KeyringError."""
    try:
        while True:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                text = file.read(_LARGEST_FILE + 1)
            # One that was replaced meanwhile may have been overwritten while it was read: then read the new one.
            if identity(path.stat()) == identity(status):
                break
    except FileNotFoundError:
        raise KeyringError(f"there is no keyring at {path}: make one with `qaqpa keys init`") from None
    except OSError as error:
        raise KeyringError(f"{path} cannot be read: {error.strerror}") from None
    if len(text) > _LARGEST_FILE:
        raise KeyringError(f"{path} is far larger than any keyring; restore it from a back-up")
    return text, status


def refuse_shared(path: Path, status: os.stat_result) -> None:
    """Raises KeyringError when others than the owner may touch the file."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise KeyringError(f"{path} may be read by others (mode {mode:04o}): run chmod 600 on it")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process or thread changes the keyring at `path` at a time."""
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeyringError(f"{path}.lock cannot be written: {error.strerror}") from None
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    until = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise KeyringError(f"another process is changing {path}: try again when it is done") from None
            time.sleep(0.01)
        except OSError as error:
            raise KeyringError(f"{path}.lock cannot be locked: {error.strerror}") from None
        else:
            return


def write(path: Path, text: bytes) -> Identity:
    """Put `text` in the file's place; at every instant a whole old or a whole new version stands there.

    The bytes of the old version are overwritten, as far as the file system writes in place at all.
    """
    target = Path(os.path.realpath(path))  # a link to the keyring stays one
    fresh = target.with_name(f".{target.name}.new")
    old = -1
    try:
        with suppress(FileNotFoundError):
            old = os.open(target, os.O_RDWR | os.O_CLOEXEC)
        with suppress(FileNotFoundError):  # left by a crash
            fresh.unlink()
        try:
            files.write_new(fresh, text)
            fresh.replace(target)
        except OSError:
            with suppress(OSError):
                fresh.unlink()
            raise
        files.sync_folder(target.parent)
        if old >= 0:
            _zero(old)
        return identity(target.stat())
    except OSError as error:
        raise KeyringError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        if old >= 0:
            os.close(old)


def _zero(descriptor: int) -> None:
    with suppress(OSError):  # the new version stands; the old one's name is gone in any case
        os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)


# --- its header ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """What is public of a keyring."""

    id: str
    epoch: int
    epochs: tuple[int, ...]
    public: str
    kdf: dict[str, Any] | None
    store: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Header:
        """Raises one of `UNREADABLE`."""
        epochs = document["epochs"]
        header = cls(
            document["id"], document["epoch"], tuple(epochs), document["public"], document["kdf"], document["store"]
        )
        whole = all(type(epoch) is int and epoch > 0 for epoch in epochs)
        if not whole or sorted(set(epochs)) != list(epochs) or header.epoch != max(epochs):
            raise ValueError("epochs ascend, and the last one is the current one")
        if not re.fullmatch(r"[0-9a-f]{16}", header.id) or header.store not in {"file", "pkcs11"}:
            raise ValueError("an id or a store that is not ours")
        if not (header.kdf is None or (type(header.kdf) is dict and header.store == "file")):
            raise ValueError("a key derivation without keys in the file")
        bytes_of(header.public)
        return header

    def document(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {"format": FORMAT, **asdict(self)}


def parse(path: Path, text: bytes) -> dict[str, Any]:
    """A document of a format that we know. Raises KeyringError."""
    try:
        document = json.loads(text)
        if type(document) is not dict or type(document["format"]) is not int or document["format"] not in {1, FORMAT}:
            raise ValueError
    except UNREADABLE:
        raise not_ours(path) from None
    return document


def signed(document: Mapping[str, Any]) -> bytes:
    """What the keyring's own signature is over."""
    # No checkpoint holds a nought, so no signature of one is a signature of the other.
    return b"qaqpa/keyring/1\0" + canonical(document)


def verified(path: Path, document: Mapping[str, Any]) -> Header:
    """The header, when the signature beside it is right. Raises KeyringError."""
    try:
        header = Header.of(document)
        content = signed({name: value for name, value in document.items() if name != "signature"})
        signature = bytes_of(document["signature"], 64)
        Ed25519PublicKey.from_public_bytes(bytes_of(header.public)).verify(signature, content)
    except InvalidSignature:
        raise KeyringError(f"{path} was edited or damaged since it was written; restore it from a back-up") from None
    except UNREADABLE:
        raise not_ours(path) from None
    return header


def not_ours(path: Path) -> KeyringError:
    """The refusal of everything else."""
    return KeyringError(f"{path} is not a keyring of this version; restore it from a back-up")


# --- a passphrase ----------------------------------------------------------------------------------


class Seal:
    """What a passphrase makes: the key under which the file's keys stand. The passphrase itself is not kept."""

    __slots__ = ("_aead", "check", "kdf")

    def __init__(self, passphrase: str, kdf: Mapping[str, Any]) -> None:
        """Raises ValueError, KeyError or TypeError for parameters that are not ours."""
        cost = kdf["n"]
        if kdf["name"] != "scrypt" or (kdf["r"], kdf["p"]) != (8, 1) or type(cost) is not int:
            raise ValueError("an unknown way to derive keys")
        if not 2 <= cost <= _LARGEST_COST or cost & (cost - 1):
            raise ValueError("a cost that is no power of two, or out of bounds")
        salt = bytes_of(kdf["salt"])
        try:
            derived = Scrypt(salt, 2 * KEY_SIZE, cost, 8, 1).derive(passphrase.encode())
        except MemoryError:
            raise KeyringError(f"the passphrase's key takes {cost // 1024} MiB of memory: make room for it") from None
        self._aead = AESGCM(derived[:KEY_SIZE])
        # An independent half of what was derived: it tells a wrong passphrase from an edited file.
        self.check = text_of(derived[KEY_SIZE:])
        self.kdf = {"name": "scrypt", "n": cost, "r": 8, "p": 1, "salt": text_of(salt), "check": self.check}

    @classmethod
    def new(cls, passphrase: str, cost: int) -> Seal:
        """With a random salt."""
        salt = text_of(secrets.token_bytes(KEY_SIZE))
        return cls(passphrase, {"name": "scrypt", "n": cost, "r": 8, "p": 1, "salt": salt})

    def seal(self, text: bytes, header: bytes) -> str:
        """`text` encrypted; it opens only beside the same header."""
        nonce = os.urandom(NONCE_SIZE)
        return text_of(nonce + self._aead.encrypt(nonce, text, header))

    def open(self, sealed: str, header: bytes) -> bytes | None:
        """The text, or None when it was sealed beside another header or is damaged."""
        packed = base64.b64decode(sealed, validate=True)
        try:
            return self._aead.decrypt(packed[:NONCE_SIZE], packed[NONCE_SIZE:], header)
        except InvalidTag:
            return None


# --- the keys --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Secrets:
    """The keys themselves."""

    wrapping: Mapping[int, bytes] = field(repr=False)
    index: Mapping[int, bytes] = field(repr=False)
    requests: bytes = field(repr=False)
    log: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Secrets:
        """Random ones, for epoch 1."""
        one, two, three, four = (secrets.token_bytes(KEY_SIZE) for _ in range(4))
        return cls({1: one}, {1: two}, three, four)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Secrets:
        """Raises ValueError, KeyError, TypeError or AttributeError."""
        wrapping, index = (
            {int(epoch): bytes_of(key) for epoch, key in document[name].items()} for name in ("wrapping", "index")
        )
        return cls(wrapping, index, bytes_of(document["requests"]), bytes_of(document["log"]))

    def document(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "wrapping": {str(epoch): text_of(key) for epoch, key in self.wrapping.items()},
            "index": {str(epoch): text_of(key) for epoch, key in self.index.items()},
            "requests": text_of(self.requests),
            "log": text_of(self.log),
        }


class FileKeys:
    """Keys in memory, kept in the keyring's file."""

    __slots__ = ("_index", "_log", "_requests", "_secrets", "_wrapping", "public", "seal")

    def __init__(self, keys: Secrets, seal: Seal | None) -> None:
        self._secrets = keys
        self.seal = seal
        # Made once: setting up a cipher costs more than using it.
        self._wrapping = {epoch: AESGCM(key) for epoch, key in keys.wrapping.items()}
        self._index = {epoch: HMAC(key, SHA256()) for epoch, key in keys.index.items()}
        self._requests = HMAC(keys.requests, SHA256())
        self._log = Ed25519PrivateKey.from_private_bytes(keys.log)
        self.public = self._log.public_key().public_bytes_raw()

    @property
    def epochs(self) -> tuple[int, ...]:
        """Those of which both keys are here."""
        return tuple(sorted(self._wrapping.keys() & self._index.keys()))

    def wrap(self, epoch: int, bound: bytes, key: bytes) -> bytes:
        nonce = os.urandom(NONCE_SIZE)
        return nonce + self._wrapping[epoch].encrypt(nonce, key, bound)

    def unwrap(self, epoch: int, bound: bytes, wrapped: bytes) -> bytes | None:
        try:
            return self._wrapping[epoch].decrypt(wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:], bound)
        except (InvalidTag, ValueError):  # ValueError: too short to be a ciphertext
            return None

    def index(self, epoch: int, message: bytes) -> bytes:
        return _digest(self._index[epoch], message)

    def request(self, message: bytes) -> bytes:
        return _digest(self._requests, message)

    def sign(self, message: bytes) -> bytes:
        return self._log.sign(message)

    def with_epoch(self, epoch: int) -> FileKeys:
        """These and new ones for `epoch`."""
        old = self._secrets
        wrapping = {**old.wrapping, epoch: secrets.token_bytes(KEY_SIZE)}
        index = {**old.index, epoch: secrets.token_bytes(KEY_SIZE)}
        return FileKeys(replace(old, wrapping=wrapping, index=index), self.seal)

    def without(self, before: int) -> FileKeys:
        """These but for the epochs older than `before`."""
        wrapping = {epoch: key for epoch, key in self._secrets.wrapping.items() if epoch >= before}
        index = {epoch: key for epoch, key in self._secrets.index.items() if epoch >= before}
        return FileKeys(replace(self._secrets, wrapping=wrapping, index=index), self.seal)

    def destroy(self, before: int) -> tuple[int, ...]:
        return ()  # nothing is kept elsewhere: what the file no longer holds is gone

    def abandon(self) -> None:
        """Nothing was made outside the file."""

    def close(self) -> None:
        """Nothing is held open."""

    def body(self, header: Mapping[str, Any]) -> dict[str, Any]:
        if self.seal is None:
            return {"keys": self._secrets.document()}
        return {"sealed": self.seal.seal(json.dumps(self._secrets.document()).encode(), canonical(header))}


def _digest(ready: HMAC, message: bytes) -> bytes:
    digest = ready.copy()
    digest.update(message)
    return digest.finalize()


def public_header(path: Path) -> tuple[str, bytes]:
    """Id and public key of the keyring at `path`; takes nothing secret. Raises KeyringError."""
    document = parse(path, read(path)[0])
    if document["format"] == 1:
        raise KeyringError(f"{path} is of an older version and has no public key yet: open the gateway once")
    header = verified(path, document)
    return header.id, bytes_of(header.public)
