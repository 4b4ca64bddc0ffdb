"""The keyring: by epochs, the key that wraps subjects' keys and the key of the blind index; and for its whole life
the key of idempotency keys and the one that signs checkpoints. Without it the ledger still verifies, but nobody
can tell whom it is about.

The keys stand in a file that only its owner may read, open or sealed with a passphrase, or in an HSM; the file's
header is public in every case. Destroying an epoch's keys makes what was wrapped with them unreadable for good.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from qaqpa.errors import KeyringError
from qaqpa.keys import file
from qaqpa.keys.file import KEY_SIZE, UNREADABLE, FileKeys, Header, Seal, Secrets, bytes_of, public_header, text_of
from qaqpa.keys.pkcs11 import Hsm, Pkcs11Keys
from qaqpa.model.canonical import canonical

__all__ = ["KEY_SIZE", "Hsm", "Keyring", "Unlock", "public_header"]


@dataclass(frozen=True, slots=True)
class Unlock:
    """What it takes to use the keys: nothing, a passphrase, or an HSM."""

    passphrase: str | None = field(default=None, repr=False)
    pkcs11: Hsm | None = None


_NOTHING = Unlock()


class Keys(Protocol):
    """Where the keys live and work."""

    @property
    def public(self) -> bytes:
        """Ed25519 public key of the log, 32 bytes."""

    def wrap(self, epoch: int, bound: bytes, key: bytes) -> bytes:
        """AES-256-GCM: nonce, ciphertext and tag; bound to `bound`."""

    def unwrap(self, epoch: int, bound: bytes, wrapped: bytes) -> bytes | None:
        """The reverse; None when it was not wrapped so."""

    def index(self, epoch: int, message: bytes) -> bytes:
        """HMAC-SHA-256 under the epoch's index key."""

    def request(self, message: bytes) -> bytes:
        """HMAC-SHA-256 under the key of requests."""

    def sign(self, message: bytes) -> bytes:
        """Ed25519."""

    def with_epoch(self, epoch: int) -> Keys:
        """With new keys for `epoch`; called before the header names it."""

    def without(self, before: int) -> Keys:
        """Without the keys older than `before`; called before the header drops them."""

    def destroy(self, before: int) -> tuple[int, ...]:
        """Destroy what is kept outside the file of epochs older than `before`; called after the header dropped them."""

    def abandon(self) -> None:
        """Destroy every key: the file that would have named them was not written."""

    def close(self) -> None:
        """Let go of what is held open."""

    def body(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """What of the keys stands in the file beside `header`."""


@dataclass(frozen=True, slots=True)
class _State:
    """One version of the keyring; replaced as a whole, so that every thread sees one or the other."""

    header: Header
    keys: Keys = field(repr=False)
    identity: file.Identity


class Keyring:
    """The keys in use; never printed."""

    def __init__(self, path: Path, unlock: Unlock, state: _State) -> None:
        """Use `create` or `load`."""
        self.path = path
        self._unlock = unlock
        self._state = state
        self._change = threading.Lock()

    def __repr__(self) -> str:
        return f"Keyring(id={self.id!r}, epoch={self.epoch}, epochs={self.epochs})"

    @classmethod
    def create(cls, path: Path, unlock: Unlock = _NOTHING, *, cost: int = 2**15) -> Keyring:
        """Make a new keyring at `path` (mode 0600); never overwrites. `cost` is scrypt's. Raises KeyringError."""
        _check_unlock(unlock)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KeyringError(f"{path} cannot be written: {error.strerror}") from None
        with file.locked(path):
            if path.exists() or path.is_symlink():
                raise KeyringError(f"{path} exists: a keyring is never overwritten")
            ring = secrets.token_hex(8)
            if unlock.pkcs11 is not None:
                return cls._first(path, unlock, ring, Pkcs11Keys.create(unlock.pkcs11, ring), None)
            try:
                seal = None if unlock.passphrase is None else Seal.new(unlock.passphrase, cost)
            except ValueError:
                raise KeyringError("scrypt's cost is a power of two of at most 2**20: choose another") from None
            return cls._first(path, unlock, ring, FileKeys(Secrets.new(), seal), seal)

    @classmethod
    def _first(cls, path: Path, unlock: Unlock, ring: str, keys: Keys, seal: Seal | None) -> Keyring:
        store = "file" if unlock.pkcs11 is None else "pkcs11"
        header = Header(ring, 1, (1,), text_of(keys.public), None if seal is None else seal.kdf, store)
        try:
            return cls(path, unlock, _written(path, header, keys))
        except KeyringError:
            with suppress(KeyringError):
                keys.abandon()
            keys.close()
            raise

    @classmethod
    def load(cls, path: Path, unlock: Unlock = _NOTHING) -> Keyring:
        """Read the keyring at `path`; one of an older format is upgraded. Raises KeyringError that says what to do."""
        _check_unlock(unlock)
        if file.parse(path, file.read(path)[0])["format"] == 1:
            with file.locked(path):  # two processes that upgrade would make two signing keys
                state = _read(path, unlock)
        else:
            state = _read(path, unlock)
        try:
            keyring = cls(path, unlock, state)
            # What a run left that ended between the header and the HSM: no header names these any more.
            state.keys.destroy(min(state.header.epochs))
        except KeyringError:
            state.keys.close()
            raise
        return keyring

    @classmethod
    def looked_at(cls, path: Path, unlock: Unlock = _NOTHING) -> Keyring:
        """The same for whoever must change nothing: no upgrade, no tidying of an HSM. Raises KeyringError."""
        _check_unlock(unlock)
        if file.parse(path, file.read(path)[0])["format"] == 1:
            raise KeyringError(f"{path} is of an older version: start a gateway once, which upgrades it")
        return cls(path, unlock, _read(path, unlock))

    def refresh(self) -> bool:
        """Read the file again if another process changed it; whether one did. Costs one stat when nothing changed."""
        try:
            current = file.identity(self.path.stat())
        except OSError:
            current = None  # reading says what is wrong
        if current == self._state.identity:
            return False
        with self._change:
            return self._read_again()

    def close(self) -> None:
        """Let go of the HSM's session."""
        self._state.keys.close()

    @property
    def id(self) -> str:
        """Random; the database remembers to which keyring it belongs."""
        return self._state.header.id

    @property
    def epoch(self) -> int:
        """The current epoch: its keys wrap and blind what is new."""
        return self._state.header.epoch

    @property
    def epochs(self) -> tuple[int, ...]:
        """The living epochs, ascending."""
        return self._state.header.epochs

    @property
    def public(self) -> bytes:
        """Ed25519 public key that the log's checkpoints verify with."""
        return self._state.keys.public

    def blind(self, iin: str) -> bytes:
        """The blind index of a person: found by those who hold the keyring, guessed by nobody else."""
        state = self._state
        return state.keys.index(state.header.epoch, _person(iin))

    def blinds(self, iin: str) -> tuple[bytes, ...]:
        """The same under every living epoch, the current one first: where a person may stand while rows are moved."""
        state, message = self._state, _person(iin)
        # An upgraded keyring may have one index key for several epochs.
        return tuple(dict.fromkeys(state.keys.index(epoch, message) for epoch in reversed(state.header.epochs)))

    def blind_request(self, caller: str, key: str) -> bytes:
        """The same for an Idempotency-Key, which callers may have made from personal data; never rotated."""
        return self._state.keys.request(b"qaqpa/request/1\0" + f"{caller}\0{key}".encode())

    def wrap(self, subject: str, key: bytes) -> bytes:
        """A subject's key under the current epoch's key (AES-256-GCM, bound to the subject's id and the epoch)."""
        state = self._state
        epoch = state.header.epoch
        return state.keys.wrap(epoch, f"{subject}:{epoch}".encode(), key)

    def unwrap(self, subject: str, epoch: int, wrapped: bytes) -> bytes:
        """The subject's key. Raises KeyringError when this keyring did not wrap it, or no longer has the key."""
        state = self._state
        if epoch not in state.header.epochs:
            raise _no_such_epoch(epoch, state.header)
        key = state.keys.unwrap(epoch, f"{subject}:{epoch}".encode(), wrapped)
        if key is None:
            raise KeyringError(
                "a subject's key cannot be unwrapped: the keyring is not the one this database was kept with"
            )
        return key

    def sign(self, message: bytes) -> bytes:
        """Ed25519 under the log's key."""
        return self._state.keys.sign(message)

    def begin_epoch(self) -> int:
        """Make a new epoch's keys and make it the current one; durable when this returns. Old ones stay readable."""
        with self._changing():
            header = self._state.header
            epoch = header.epoch + 1
            keys = self._state.keys.with_epoch(epoch)
            self._state = _written(self.path, replace(header, epoch=epoch, epochs=(*header.epochs, epoch)), keys)
            return epoch

    def destroy_before(self, epoch: int) -> tuple[int, ...]:
        """Destroy the keys of all epochs older than `epoch`, for good; durable when this returns. Returns which."""
        with self._changing():
            header = self._state.header
            if epoch > header.epoch:
                raise KeyringError(f"epoch {epoch} has not begun: begin it before the keys of older ones go")
            living = tuple(each for each in header.epochs if each >= epoch)
            if living != header.epochs:
                keys = self._state.keys.without(epoch)
                self._state = _written(self.path, replace(header, epochs=living), keys)
            outside = self._state.keys.destroy(min(living))
            return tuple(sorted({*header.epochs, *outside} - {*living}))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._change, file.locked(self.path):
            self._read_again()
            yield

    def _read_again(self) -> bool:
        old = self._state
        state = _read(self.path, self._unlock, old)
        self._state = state
        return state is not old


# --- the document ----------------------------------------------------------------------------------


def _person(iin: str) -> bytes:
    return b"qaqpa/iin/1\0" + iin.encode()


def _written(path: Path, header: Header, keys: Keys) -> _State:
    document = header.document()
    document.update(keys.body(document))
    document["signature"] = text_of(keys.sign(file.signed(document)))
    return _State(header, keys, file.write(path, json.dumps(document, indent=1).encode()))


def _read(path: Path, unlock: Unlock, known: _State | None = None) -> _State:
    """The keyring as it stands; `known` itself when it is still that. Upgrades format 1: call it under the lock."""
    text, status = file.read(path)
    file.refuse_shared(path, status)
    identity = file.identity(status)
    if known is not None and known.identity == identity:
        return known
    document = file.parse(path, text)
    try:
        if document["format"] == 1:
            if known is not None:
                raise _old_copy(path)
            return _upgraded(path, document, unlock)
        header = file.verified(path, document)
        if known is not None:
            _refuse_another(path, known.header, header)
        keys = _opened(path, document, header, unlock, known)
    except UNREADABLE:
        raise file.not_ours(path) from None
    return _State(header, keys, identity)


def _opened(path: Path, document: Mapping[str, Any], header: Header, unlock: Unlock, known: _State | None) -> Keys:
    if header.store == "pkcs11":
        keys: Keys = _on_token(path, header, unlock, known)
    else:
        keys = _in_file(path, document, header, unlock, known)
    if keys.public != bytes_of(header.public):
        if known is None:
            keys.close()
        raise KeyringError(f"{path} names another signing key than it has; restore it from a back-up")
    return keys


def _on_token(path: Path, header: Header, unlock: Unlock, known: _State | None) -> Pkcs11Keys:
    if unlock.pkcs11 is None:
        raise KeyringError(f"the keys of {path} are in an HSM: say in keys.pkcs11 in which one")
    if known is not None and isinstance(known.keys, Pkcs11Keys):
        known.keys.check(header.epochs)
        return known.keys
    return Pkcs11Keys.open(unlock.pkcs11, header.id, header.epochs)


def _in_file(path: Path, document: Mapping[str, Any], header: Header, unlock: Unlock, known: _State | None) -> FileKeys:
    _refuse_misfit(path, header.kdf is not None, unlock)
    seal = None
    if header.kdf is None:
        content = document["keys"]
    else:
        # Deriving takes a tenth of a second, so a seal that is still the same is not made again.
        before = known.keys.seal if known is not None and isinstance(known.keys, FileKeys) else None
        seal = before if before is not None and before.kdf == header.kdf else Seal(unlock.passphrase or "", header.kdf)
        if seal.check != header.kdf["check"]:
            raise KeyringError(f"the passphrase is not the keyring's ({path}): check keys.passphrase")
        opened = seal.open(document["sealed"], canonical(header.document()))
        if opened is None:
            raise KeyringError(f"the keys in {path} were sealed under another header; restore it from a back-up")
        content = json.loads(opened)
    keys = FileKeys(Secrets.of(content), seal)
    if keys.epochs != header.epochs:
        raise ValueError("the keys are not those of the epochs")
    return keys


def _upgraded(path: Path, document: Mapping[str, Any], unlock: Unlock) -> _State:
    """Format 1 had one index key, which also served requests; what it digested must be found again."""
    _refuse_misfit(path, False, unlock)
    if type(document["epoch"]) is not int:
        raise TypeError("an epoch is a number")
    index = bytes_of(document["index"])
    wrapping = {int(epoch): bytes_of(key) for epoch, key in sorted(document["wrapping"].items())}
    keys = FileKeys(Secrets(wrapping, dict.fromkeys(wrapping, index), index, secrets.token_bytes(KEY_SIZE)), None)
    header = Header(document["id"], document["epoch"], keys.epochs, text_of(keys.public), None, "file")
    return _written(path, Header.of(header.document()), keys)


# --- refusals --------------------------------------------------------------------------------------


def _check_unlock(unlock: Unlock) -> None:
    if unlock.passphrase is not None and unlock.pkcs11 is not None:
        raise KeyringError("keys in an HSM have no passphrase: give keys.passphrase or keys.pkcs11, not both")
    if unlock.passphrase == "":
        raise KeyringError("the passphrase is empty: put one where keys.passphrase points")


def _refuse_misfit(path: Path, sealed: bool, unlock: Unlock) -> None:
    if unlock.pkcs11 is not None:
        raise KeyringError(
            f"the keys of {path} are in that file, not in an HSM: remove keys.pkcs11, or run `qaqpa keys init` anew"
        )
    if sealed and unlock.passphrase is None:
        raise KeyringError(f"{path} is sealed with a passphrase: say in keys.passphrase where it is")
    if not sealed and unlock.passphrase is not None:
        raise KeyringError(
            f"{path} is open, no passphrase seals it: remove keys.passphrase, or run `qaqpa keys init` anew"
        )


def _refuse_another(path: Path, known: Header, header: Header) -> None:
    if (header.id, header.public) != (known.id, known.public):
        raise KeyringError(f"another keyring stands at {path} now: restore the one that was there")
    if header.epoch < known.epoch:  # beginning that epoch again would make other keys of its number
        raise _old_copy(path)


def _old_copy(path: Path) -> KeyringError:
    return KeyringError(f"an old copy of the keyring stands at {path} now: restore the latest")


def _no_such_epoch(epoch: int, header: Header) -> KeyringError:
    if epoch > header.epoch:
        return KeyringError(
            f"epoch {epoch} is newer than this keyring knows ({header.epoch}): it is an old copy, restore the latest"
        )
    return KeyringError(f"the keys of epoch {epoch} were destroyed: what they wrapped is unreadable for good")
