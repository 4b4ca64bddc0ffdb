"""Keys in a hardware security module (PKCS#11): they are made there, never leave it, and work there."""

from __future__ import annotations

import hmac
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from qaqpa.errors import KeyringError
from qaqpa.keys.file import KEY_SIZE, NONCE_SIZE

if TYPE_CHECKING:
    from pkcs11 import Session

_ED25519 = bytes.fromhex("06032b6570")
"""EC_PARAMS of the log's key: the OID in DER. Tokens disagree about the curve's name, all know its OID."""
_POINT = bytes((0x04, KEY_SIZE))
"""DER's OCTET STRING, in which most tokens put a public key."""


@dataclass(frozen=True, slots=True)
class Hsm:
    """Which token of which manufacturer's library, and its user's PIN."""

    module: str
    token: str
    pin: str = field(repr=False)


def _pkcs11() -> ModuleType:
    try:
        import pkcs11  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise KeyringError("keys in an HSM need python-pkcs11: run pip install qaqpa[pkcs11]") from None
    return pkcs11


# --- the session -----------------------------------------------------------------------------------

# PKCS#11 logs in processes, not sessions, and its modules need not bear several threads. So everything in this
# process that uses a token shares one session, and one lock guards every call.
_GATE = threading.RLock()
_SESSIONS: dict[tuple[str, str], _Shared] = {}


class _Shared:
    """The session of this process on one token; opened anew after it broke."""

    def __init__(self, hsm: Hsm) -> None:
        self.hsm = hsm
        self.users = 0
        self.p11 = _pkcs11()
        self.session: Session | None = None
        self._answered = False
        self._refused: KeyringError | None = None
        self._found: dict[tuple[str, Any], Any] = {}

    @staticmethod
    def join(hsm: Hsm) -> _Shared:
        with _GATE:
            shared = _SESSIONS.get((hsm.module, hsm.token))
            if shared is None:
                shared = _SESSIONS[hsm.module, hsm.token] = _Shared(hsm)
            elif not hmac.compare_digest(shared.hsm.pin.encode(), hsm.pin.encode()):
                raise _wrong_pin(hsm)
            shared.users += 1
            return shared

    def leave(self) -> None:
        with _GATE:
            self.users -= 1
            if self.users == 0:
                del _SESSIONS[self.hsm.module, self.hsm.token]
                self._drop()

    @contextmanager
    def use(self) -> Iterator[Session]:
        """The session, for one call. Raises KeyringError when the token does not answer; then the next call tries
        to open a new one."""
        with _GATE:
            try:
                if self.session is None:
                    self.session = self._open()
                    self._answered = True
                yield self.session
            except self.p11.PKCS11Error as error:
                self._drop()
                raise KeyringError(
                    f"the HSM does not answer ({type(error).__name__}): check that token {self.hsm.token!r} is "
                    "connected and its service runs; nothing is sent"
                ) from None

    def _open(self) -> Session:
        if self._refused is not None:  # each try with a wrong PIN brings the token nearer to locking itself
            raise self._refused
        p11 = self.p11
        try:
            library = p11.lib(self.hsm.module)
        except p11.PKCS11Error as error:
            if self._answered:
                raise
            name = type(error).__name__
            raise KeyringError(
                f"the PKCS#11 module {self.hsm.module} cannot be loaded ({name}): check keys.pkcs11.module"
            ) from None
        try:
            return self._log_in(library)
        except p11.PKCS11Error:
            # Some modules look for tokens only when they start, and a lost session may still be logged in.
            with suppress(p11.PKCS11Error):
                library.finalize()
            library.initialize()
        try:
            return self._log_in(library)
        except p11.NoSuchToken:
            if self._answered:  # it was there: it does not answer
                raise
            raise KeyringError(
                f"no token is called {self.hsm.token!r}: check keys.pkcs11.token, and that the HSM is connected"
            ) from None

    def _log_in(self, library: Any) -> Session:
        p11, token = self.p11, self.hsm.token
        try:
            session: Session = library.get_token(token_label=token).open(rw=True, user_pin=self.hsm.pin)
        except (p11.PinIncorrect, p11.PinInvalid, p11.PinLenRange):
            self._refused = _wrong_pin(self.hsm)
            raise self._refused from None
        except p11.PinLocked:
            self._refused = KeyringError(f"token {token!r} is locked: its security officer must set a new PIN")
            raise self._refused from None
        except p11.MultipleTokensReturned:
            raise KeyringError(f"several tokens are called {token!r}: give the keyring's one its own label") from None
        return session

    def _drop(self) -> None:
        session, self.session = self.session, None
        self._found.clear()
        if session is not None:
            with suppress(self.p11.PKCS11Error):
                session.close()

    def find(self, session: Session, label: str, kind: Any) -> Any:
        """The key on the token, or None."""
        found = self._found.get((label, kind))
        if found is None:
            try:
                found = session.get_key(object_class=kind, label=label)
            except self.p11.NoSuchKey:
                return None
            except self.p11.MultipleObjectsReturned:
                raise KeyringError(
                    f"token {self.hsm.token!r} has several keys {label}: remove the one that does not belong there"
                ) from None
            self._found[label, kind] = found
        return found

    def forget(self) -> None:
        """Look for keys anew."""
        self._found.clear()


def _wrong_pin(hsm: Hsm) -> KeyringError:
    return KeyringError(f"the PIN is not that of token {hsm.token!r}: check keys.pkcs11.pin before the token locks")


# --- the keys --------------------------------------------------------------------------------------


class Pkcs11Keys:
    """Keys on a token."""

    __slots__ = ("_id", "_shared", "public")

    def __init__(self, hsm: Hsm, ring: str) -> None:
        self._id = ring
        self._shared: _Shared | None = _Shared.join(hsm)
        self.public = b""

    @classmethod
    def create(cls, hsm: Hsm, ring: str) -> Pkcs11Keys:
        """Make the keys of a new ring with its first epoch."""
        keys = cls(hsm, ring)
        try:
            with keys._token.use() as session:
                p11 = keys._token.p11
                keys._make_secret(session, keys._label("requests"), p11.KeyType.GENERIC_SECRET, p11.MechanismFlag.SIGN)
                keys._make_log(session)
            keys.with_epoch(1)
            keys.public = keys._read_public()
        except KeyringError:
            with suppress(KeyringError):
                keys.abandon()
            keys.close()
            raise
        return keys

    @classmethod
    def open(cls, hsm: Hsm, ring: str, epochs: tuple[int, ...]) -> Pkcs11Keys:
        """Find the keys of a ring. Raises KeyringError when one is not there."""
        keys = cls(hsm, ring)
        try:
            keys.check(epochs)
            keys.public = keys._read_public()
        except KeyringError:
            keys.close()
            raise
        return keys

    def check(self, epochs: tuple[int, ...]) -> None:
        """Raises KeyringError when a key is not on the token."""
        with self._token.use() as session:
            for epoch in epochs:
                self._secret(session, f"wrapping-{epoch}")
                self._secret(session, f"index-{epoch}")
            self._secret(session, "requests")
            self._key(session, "log", self._token.p11.ObjectClass.PRIVATE_KEY)

    def wrap(self, epoch: int, bound: bytes, key: bytes) -> bytes:
        with self._token.use() as session:
            return self._encrypt(self._secret(session, f"wrapping-{epoch}"), bound, key)

    def unwrap(self, epoch: int, bound: bytes, wrapped: bytes) -> bytes | None:
        if len(wrapped) < NONCE_SIZE:
            return None
        with self._token.use() as session:
            key = self._secret(session, f"wrapping-{epoch}")
            with suppress(self._token.p11.PKCS11Error):
                return self._decrypt(key, bound, wrapped)
            # Tokens call a wrong tag what they call their own failures (SoftHSM: GeneralError). One that still
            # opens what it just closed has understood; one that does not raises here.
            self._decrypt(key, bound, self._encrypt(key, bound, bytes(KEY_SIZE)))
            with suppress(self._token.p11.PKCS11Error):
                return self._decrypt(key, bound, wrapped)
        return None

    def index(self, epoch: int, message: bytes) -> bytes:
        return self._hmac(f"index-{epoch}", message)

    def request(self, message: bytes) -> bytes:
        return self._hmac("requests", message)

    def sign(self, message: bytes) -> bytes:
        with self._token.use() as session:
            p11 = self._token.p11
            key = self._key(session, "log", p11.ObjectClass.PRIVATE_KEY)
            return bytes(key.sign(message, mechanism=p11.Mechanism.EDDSA))

    def with_epoch(self, epoch: int) -> Pkcs11Keys:
        """Make the keys of `epoch`. One left there by a run that ended before the header named it is taken over."""
        with self._token.use() as session:
            p11 = self._token.p11
            crypt = p11.MechanismFlag.ENCRYPT | p11.MechanismFlag.DECRYPT
            for label, kind, capabilities in (
                (self._label(f"wrapping-{epoch}"), p11.KeyType.AES, crypt),
                (self._label(f"index-{epoch}"), p11.KeyType.GENERIC_SECRET, p11.MechanismFlag.SIGN),
            ):
                if self._token.find(session, label, p11.ObjectClass.SECRET_KEY) is None:
                    self._make_secret(session, label, kind, capabilities)
        return self

    def without(self, before: int) -> Pkcs11Keys:
        return self  # they go with `destroy`, after the header no longer names them

    def destroy(self, before: int) -> tuple[int, ...]:
        """Destroy the keys of all epochs older than `before`; also those that an interrupted run left."""
        mine = re.compile(re.escape(self._label("")) + r"(?:wrapping|index)-([0-9]+)")
        gone = set()
        with self._token.use() as session:
            p11 = self._token.p11
            for key in list(session.get_objects({p11.Attribute.CLASS: p11.ObjectClass.SECRET_KEY})):
                with suppress(p11.ObjectHandleInvalid):  # another process was faster
                    match = mine.fullmatch(key[p11.Attribute.LABEL] or "")
                    if match is not None and int(match[1]) < before:
                        key.destroy()
                        gone.add(int(match[1]))
            self._token.forget()
        return tuple(sorted(gone))

    def abandon(self) -> None:
        """Destroy every key of this ring, which no file names yet."""
        mine = self._label("")
        with self._token.use() as session:
            for key in list(session.get_objects()):
                if (key[self._token.p11.Attribute.LABEL] or "").startswith(mine):
                    key.destroy()
            self._token.forget()

    def close(self) -> None:
        """Log out, when nothing else in this process uses the token."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.leave()

    def body(self, header: Mapping[str, Any]) -> dict[str, Any]:
        return {}  # nothing of them stands in the file

    @property
    def _token(self) -> _Shared:
        if self._shared is None:
            raise KeyringError("the keyring is closed: load it again")
        return self._shared

    def _label(self, name: str) -> str:
        return f"qaqpa-{self._id}-{name}"

    def _key(self, session: Session, name: str, kind: Any) -> Any:
        found = self._token.find(session, self._label(name), kind)
        if found is None:
            raise KeyringError(
                f"token {self._token.hsm.token!r} has no key {self._label(name)}: another process destroyed it, or "
                "the token must be restored from its back-up"
            )
        return found

    def _secret(self, session: Session, name: str) -> Any:
        return self._key(session, name, self._token.p11.ObjectClass.SECRET_KEY)

    def _hmac(self, name: str, message: bytes) -> bytes:
        with self._token.use() as session:
            key = self._secret(session, name)
            return bytes(key.sign(message, mechanism=self._token.p11.Mechanism.SHA256_HMAC))

    def _encrypt(self, key: Any, bound: bytes, text: bytes) -> bytes:
        p11, nonce = self._token.p11, os.urandom(NONCE_SIZE)
        parameters = p11.GCMParams(nonce, bound)
        return nonce + bytes(key.encrypt(text, mechanism=p11.Mechanism.AES_GCM, mechanism_param=parameters))

    def _decrypt(self, key: Any, bound: bytes, wrapped: bytes) -> bytes:
        p11 = self._token.p11
        parameters = p11.GCMParams(wrapped[:NONCE_SIZE], bound)
        sealed = wrapped[NONCE_SIZE:]
        return bytes(key.decrypt(sealed, mechanism=p11.Mechanism.AES_GCM, mechanism_param=parameters))

    def _make_secret(self, session: Session, label: str, kind: Any, capabilities: Any) -> None:
        session.generate_key(
            kind, 8 * KEY_SIZE, label=label, store=True, capabilities=capabilities, template=self._guarded()
        )

    def _make_log(self, session: Session) -> None:
        p11 = self._token.p11
        curve = {p11.Attribute.EC_PARAMS: _ED25519}
        parameters = session.create_domain_parameters(p11.KeyType.EC_EDWARDS, curve, local=True)
        parameters.generate_keypair(label=self._label("log"), store=True, private_template=self._guarded())

    def _guarded(self) -> dict[Any, bool]:
        attribute = self._token.p11.Attribute
        return {attribute.PRIVATE: True, attribute.SENSITIVE: True, attribute.EXTRACTABLE: False}

    def _read_public(self) -> bytes:
        with self._token.use() as session:
            p11 = self._token.p11
            key = self._key(session, "log", p11.ObjectClass.PUBLIC_KEY)
            point = bytes(key[p11.Attribute.EC_POINT])
        raw = point.removeprefix(_POINT) if len(point) == len(_POINT) + KEY_SIZE else point
        if len(raw) != KEY_SIZE:
            raise KeyringError(f"token {self._token.hsm.token!r} holds no Ed25519 key: use one that does EdDSA")
        return raw
