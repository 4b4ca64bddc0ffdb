"""Who the ledger speaks of: a random id and a random key for each person, and the part of entries sealed with it.

The side table from IIN (blind) to id, and the wrapped key, can be deleted; then no entry tells whom it is about.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from sqlalchemy import Connection

from qaqpa.errors import KeyringError
from qaqpa.ledger.canonical import canonical
from qaqpa.ledger.keyring import KEY_SIZE, Keyring
from qaqpa.model.identifiers import SubjectId
from qaqpa.store import Store

_VERSION = b"\x01"
_COMMITMENT_SIZE = 32
_NONCE_SIZE = 12

# Named SQL: these run for every disclosure, so they go to the driver as they are.
_FIND = "SELECT subject, epoch, wrapped FROM subjects JOIN subject_keys USING (subject) WHERE blind = ?"
_ADD_SUBJECT = "INSERT INTO subjects (blind, subject) VALUES (?, ?)"
_ADD_KEY = "INSERT INTO subject_keys (subject, epoch, wrapped) VALUES (?, ?, ?)"
_KEY_OF = "SELECT epoch, wrapped FROM subject_keys WHERE subject = ?"


@dataclass(frozen=True, slots=True)
class Subject:
    """A person in the ledger."""

    id: SubjectId
    key: bytes = field(repr=False)

    def _derive(self, info: bytes, length: int) -> bytes:
        # The key is uniformly random, so HKDF's extract step may be left out (RFC 5869 §3.3).
        return HKDFExpand(SHA256(), length, info).derive(self.key)

    def _entry_key(self, entry: str) -> tuple[bytes, bytes]:
        derived = self._derive(b"qaqpa/entry/1\0" + entry.encode(), KEY_SIZE + _COMMITMENT_SIZE)
        return derived[:KEY_SIZE], derived[KEY_SIZE:]

    def seal(self, public: Mapping[str, Any], private: Mapping[str, Any]) -> str:
        """The sealed part of an entry: AES-256-GCM under the entry's own key, bound to the public part.

        base64(version 1 ‖ commitment to the key 32 ‖ nonce 12 ‖ ciphertext and tag). The commitment makes
        it impossible to craft one ciphertext that opens to two texts under two keys.
        """
        key, commitment = self._entry_key(str(public["id"]))
        nonce = os.urandom(_NONCE_SIZE)
        sealed = AESGCM(key).encrypt(nonce, canonical(private), canonical(public))
        return base64.b64encode(_VERSION + commitment + nonce + sealed).decode()

    def open(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """What the sealed part of `entry` says. Raises KeyringError when it is not this subject's."""
        public = {name: value for name, value in entry.items() if name != "sealed"}
        try:
            packed = base64.b64decode(str(entry["sealed"]), validate=True)
        except ValueError:
            packed = b""
        key, commitment = self._entry_key(str(public["id"]))
        body = packed[len(_VERSION) + _COMMITMENT_SIZE :]
        committed = packed[len(_VERSION) : len(_VERSION) + _COMMITMENT_SIZE]
        if packed[: len(_VERSION)] == _VERSION and hmac.compare_digest(committed, commitment):
            try:
                text = AESGCM(key).decrypt(body[:_NONCE_SIZE], body[_NONCE_SIZE:], canonical(public))
                opened: dict[str, Any] = orjson.loads(text)
            except (InvalidTag, ValueError):
                pass
            else:
                return opened
        raise KeyringError("the sealed part does not open with this subject's key")

    def digest(self, content: bytes) -> str:
        """HMAC-SHA-256 of what left or came back, under a key of the subject's: proof to those who hold both."""
        return hmac.new(self._derive(b"qaqpa/digest/1", KEY_SIZE), content, hashlib.sha256).hexdigest()


class Subjects:
    """The side tables."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def find(self, iin: str) -> Subject | None:
        """The subject of `iin`, if the ledger knows one."""
        blind = self._keyring.blind(iin)
        return await self._store.read(lambda connection: self._lookup(connection, blind))

    async def ensure(self, iin: str) -> Subject:
        """The subject of `iin`, made now if need be."""
        blind = self._keyring.blind(iin)
        found = await self._store.read(lambda connection: self._lookup(connection, blind))
        if found is not None:
            return found
        return await self._store.write(lambda connection: self._make(connection, blind))

    async def by_id(self, subject: str) -> Subject:
        """The subject with this id. Raises KeyringError when its key is gone."""
        row = await self._store.read(lambda connection: connection.exec_driver_sql(_KEY_OF, (subject,)).first())
        if row is None:
            raise KeyringError("this subject's key is gone: it was erased")
        return Subject(SubjectId(subject), self._keyring.unwrap(subject, row[0], row[1]))

    def _lookup(self, connection: Connection, blind: bytes) -> Subject | None:
        row = connection.exec_driver_sql(_FIND, (blind,)).first()
        if row is None:
            return None
        return Subject(SubjectId(row[0]), self._keyring.unwrap(row[0], row[1], row[2]))

    def _make(self, connection: Connection, blind: bytes) -> Subject:
        # Looked up again inside the transaction: another task or process may have made it meanwhile.
        found = self._lookup(connection, blind)
        if found is not None:
            return found
        subject = Subject(SubjectId(secrets.token_hex(16)), secrets.token_bytes(KEY_SIZE))
        connection.exec_driver_sql(_ADD_SUBJECT, (blind, subject.id))
        wrapped = self._keyring.wrap(subject.id, subject.key)
        connection.exec_driver_sql(_ADD_KEY, (subject.id, self._keyring.epoch, wrapped))
        return subject
