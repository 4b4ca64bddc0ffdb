"""Who the ledger speaks of: a random id and a random key for each person, and the part of entries sealed with it.

The side table from IIN (blind) to id, and the wrapped key, can be deleted; then no entry tells whom it is about.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qaqpa.errors import DecisionOutdated, KeyringError, NotFound
from qaqpa.keys.keyring import KEY_SIZE, Keyring
from qaqpa.ledger.read import entries_of
from qaqpa.model.canonical import canonical
from qaqpa.model.identifiers import SubjectId, uuid7
from qaqpa.store import Connection, Row, Store

_VERSION = b"\x01"
_COMMITMENT_SIZE = 32
_NONCE_SIZE = 12

# The epoch comes with every look-up: a keyring that is older than the database must be read again first.
_FIND = (
    "SELECT m.value, s.subject, k.epoch, k.wrapped, s.iin FROM meta m "
    "LEFT JOIN subjects s ON s.blind IN ({marks}) LEFT JOIN subject_keys k ON k.subject = s.subject "
    "WHERE m.name = 'epoch'"
)
_FIND_ALL = (
    "SELECT s.blind, s.subject, k.epoch, k.wrapped, s.iin FROM subjects s "
    "LEFT JOIN subject_keys k ON k.subject = s.subject WHERE s.blind IN ({marks})"
)
_ADD_SUBJECT = "INSERT INTO subjects (blind, subject, iin) VALUES (?, ?, ?) ON CONFLICT (blind) DO NOTHING"
_ADD_KEY = "INSERT INTO subject_keys (subject, epoch, wrapped) VALUES (?, ?, ?)"
_KEY_OF = "SELECT epoch, wrapped FROM subject_keys WHERE subject = ?"
_KEYS_OF = {
    "sqlite": "SELECT subject, epoch, wrapped FROM subject_keys WHERE subject IN (SELECT value FROM json_each(?))",
    "postgresql": "SELECT subject, epoch, wrapped FROM subject_keys "
    "WHERE subject IN (SELECT json_array_elements_text(?::json))",
}
_ID_OF = "SELECT subject FROM subjects WHERE blind = ?"
_EPOCH = "SELECT value FROM meta WHERE name = 'epoch'"
_ANYBODY = "SELECT 1 FROM subject_keys LIMIT 1"
_SET_EPOCH = (
    "INSERT INTO meta (name, value) VALUES ('epoch', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A person in the ledger."""

    id: SubjectId
    key: bytes = field(repr=False)

    def _derive(self, info: bytes, length: int) -> bytes:
        # HKDF-Expand (RFC 5869 §2.3) of two blocks at most, in a third of the library's time: a row of a handover needs
        # four. The key is uniformly random, so the extract step may be left out (§3.3).
        first = hmac.digest(self.key, info + b"\x01", "sha256")
        if length <= len(first):
            return first[:length]
        return (first + hmac.digest(self.key, first + info + b"\x02", "sha256"))[:length]

    def _key_for(self, what: bytes) -> tuple[bytes, bytes]:
        """A key of its own for one sealed thing, and the commitment to it."""
        derived = self._derive(what, KEY_SIZE + _COMMITMENT_SIZE)
        return derived[:KEY_SIZE], derived[KEY_SIZE:]

    def _close(self, what: bytes, text: bytes, bound_to: bytes) -> bytes:
        key, commitment = self._key_for(what)
        nonce = os.urandom(_NONCE_SIZE)
        return _VERSION + commitment + nonce + AESGCM(key).encrypt(nonce, text, bound_to)

    def _opened(self, what: bytes, packed: bytes, bound_to: bytes) -> bytes | None:
        """What `_close` closed; None for anything else."""
        key, commitment = self._key_for(what)
        body = packed[len(_VERSION) + _COMMITMENT_SIZE :]
        committed = packed[len(_VERSION) : len(_VERSION) + _COMMITMENT_SIZE]
        if packed[: len(_VERSION)] == _VERSION and hmac.compare_digest(committed, commitment):
            try:
                return AESGCM(key).decrypt(body[:_NONCE_SIZE], body[_NONCE_SIZE:], bound_to)
            except (InvalidTag, ValueError):
                pass
        return None

    def seal(self, public: Mapping[str, Any], private: Mapping[str, Any]) -> str:
        """The sealed part of an entry: AES-256-GCM under the entry's own key, bound to the public part.

        base64(version 1 ‖ commitment to the key 32 ‖ nonce 12 ‖ ciphertext and tag). The commitment makes
        it impossible to craft one ciphertext that opens to two texts under two keys.
        """
        return self.seal_text(str(public["id"]), canonical(private), canonical(public))

    def seal_text(self, entry: str, private: bytes, public: bytes) -> str:
        """The same for parts that are canonical bytes already; `entry` is the entry's id."""
        return base64.b64encode(self._close(b"qaqpa/entry/1\0" + entry.encode(), private, public)).decode()

    def open(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """What the sealed part of `entry` says. Raises KeyringError when it is not this subject's."""
        public = {name: value for name, value in entry.items() if name != "sealed"}
        try:
            packed = base64.b64decode(str(entry["sealed"]), validate=True)
        except ValueError:
            packed = b""
        text = self._opened(_entry(public), packed, canonical(public))
        if text is not None:
            with suppress(ValueError):
                opened: dict[str, Any] = orjson.loads(text)
                return opened
        raise KeyringError("the sealed part does not open with this subject's key")

    def seal_evidence(self, disclosure: str, answer: bytes) -> bytes:
        """An answer as it came, bound to its disclosure; of the form that `seal` describes, without base64."""
        name = disclosure.encode()
        return self._close(b"qaqpa/evidence/1\0" + name, answer, name)

    def open_evidence(self, disclosure: str, sealed: bytes) -> bytes:
        """The answer that `seal_evidence` sealed. Raises KeyringError."""
        name = disclosure.encode()
        answer = self._opened(b"qaqpa/evidence/1\0" + name, sealed, name)
        if answer is None:
            raise KeyringError("the answer kept as evidence does not open with this subject's key")
        return answer

    def seal_iin(self, iin: str) -> bytes:
        """The IIN under a key of the subject's, for the index of the next epoch: nonce 12 ‖ ciphertext and tag."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + AESGCM(self._derive(b"qaqpa/own/1", KEY_SIZE)).encrypt(nonce, iin.encode(), None)

    def open_iin(self, sealed: bytes) -> str:
        """What `seal_iin` sealed. Raises KeyringError."""
        try:
            opened = AESGCM(self._derive(b"qaqpa/own/1", KEY_SIZE)).decrypt(
                sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], None
            )
        except (InvalidTag, ValueError):
            raise KeyringError("a subject's IIN does not open with this subject's key") from None
        return opened.decode()

    def seal_answer(self, disclosure: str, answer: bytes) -> bytes:
        """What a caller was told, under a key of the subject's and bound to the disclosure: nonce 12 ‖ ciphertext."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + AESGCM(self._derive(b"qaqpa/answer/1", KEY_SIZE)).encrypt(nonce, answer, disclosure.encode())

    def open_answer(self, disclosure: str, sealed: bytes) -> bytes:
        """What `seal_answer` sealed. Raises KeyringError."""
        key = self._derive(b"qaqpa/answer/1", KEY_SIZE)
        try:
            return AESGCM(key).decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], disclosure.encode())
        except (InvalidTag, ValueError):
            raise KeyringError("an answer that was kept does not open with this subject's key") from None

    def seal_job(self, disclosure: str, state: bytes) -> bytes:
        """What a job needs, under a key of the subject's and bound to its disclosure: nonce 12 ‖ ciphertext."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + AESGCM(self._derive(b"qaqpa/job/1", KEY_SIZE)).encrypt(nonce, state, disclosure.encode())

    def open_job(self, disclosure: str, sealed: bytes) -> bytes:
        """What `seal_job` sealed. Raises KeyringError."""
        key = self._derive(b"qaqpa/job/1", KEY_SIZE)
        try:
            return AESGCM(key).decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], disclosure.encode())
        except (InvalidTag, ValueError):
            raise KeyringError("what a job needs does not open with this subject's key") from None

    def digest(self, content: bytes) -> str:
        """HMAC-SHA-256 of what left or came back, under a key of the subject's: proof to those who hold both."""
        return hmac.digest(self._derive(b"qaqpa/digest/1", KEY_SIZE), content, "sha256").hex()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is asked about, and the subject that stands for them, if the ledger knew one a moment ago.

    Should they be erased meanwhile, nothing more is entered about them (see `Appending`).
    """

    iin: str = field(repr=False)
    known: Subject | None


@dataclass(frozen=True, slots=True)
class NewSubject:
    """Somebody whom the ledger is about to know."""

    subject: Subject
    blind: bytes
    epoch: int
    wrapped: bytes = field(repr=False)
    iin: bytes = field(repr=False)
    """Sealed under the subject's key."""


def _entry(public: Mapping[str, Any]) -> bytes:
    return b"qaqpa/entry/1\0" + str(public["id"]).encode()


def iin_of(connection: Connection, subject: Subject) -> str:
    """From an entry, for subjects of databases that did not keep it beside the key."""
    for entry in entries_of(connection, subject=subject.id):
        if b'"sealed"' in entry.body:
            iin = subject.open(entry.content).get("iin")
            if iin is not None:
                return str(iin)
    raise KeyringError("no entry tells the IIN of a subject that lacks it beside the key: run `qaqpa ledger verify`")


def _epoch(connection: Connection) -> int | None:
    """The epoch of the subjects' keys, None before the first subject. Raises KeyringError where nothing says it."""
    epoch = connection.execute(_EPOCH).scalar()
    if epoch is None and connection.execute(_ANYBODY).first() is None:
        return None
    return _number(epoch)


def _number(epoch: object) -> int:
    if not isinstance(epoch, str) or not epoch.isdecimal():
        raise KeyringError(
            "the database does not say of which epoch its subjects' keys are (meta.epoch was changed): nobody can be "
            "found in it. Run `qaqpa ledger verify` and restore a back-up; nothing is sent"
        )
    return int(epoch)


class _Outdated(Exception):
    """The database is of a later epoch than the keyring in memory."""


class Subjects:
    """The side tables."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def find(self, iin: str) -> Subject | None:
        """The subject of `iin`, if the ledger knows one."""
        try:
            return await self._store.read(lambda connection: self._lookup(connection, iin))
        except (_Outdated, KeyringError):  # keys were rotated meanwhile
            self._keyring.refresh()
            return await self._store.read(lambda connection: self._lookup(connection, iin, last=True))

    async def person(self, iin: str) -> Person:
        """Who `iin` is, looked up once for all that one request needs."""
        return Person(iin, await self.find(iin))

    async def people(self, iins: Sequence[str]) -> dict[str, Person]:
        """The same for many at once, by IIN."""
        try:
            known = await self._store.read(lambda connection: self._lookup_all(connection, iins))
        except (_Outdated, KeyringError):  # keys were rotated meanwhile
            self._keyring.refresh()
            known = await self._store.read(lambda connection: self._lookup_all(connection, iins, last=True))
        return {iin: Person(iin, known.get(iin)) for iin in iins}

    def made_for(self, people: Iterable[Person]) -> tuple[dict[str, Subject], list[NewSubject]]:
        """The subjects of some people, by IIN, and those among them that the ledger does not know yet."""
        subjects: dict[str, Subject] = {}
        new: list[NewSubject] = []
        for person in people:
            if person.known is not None:
                subjects[person.iin] = person.known
            elif person.iin not in subjects:
                new.append(self._new(person.iin))
                subjects[person.iin] = new[-1].subject
        return subjects, new

    def add_all(self, connection: Connection, new: Sequence[NewSubject]) -> None:
        """Make them known, in the transaction of their first entries. Raises DecisionOutdated where one of them was
        made known meanwhile, or the keys were rotated.
        """
        if not new:
            return
        self._advance(connection)
        if {each.epoch for each in new} != {_epoch(connection)}:
            raise DecisionOutdated("the keys were rotated meanwhile")
        blinds = [(each.blind, each.subject.id, each.iin) for each in new]
        if connection.execute_many(_ADD_SUBJECT, blinds) != len(new):
            raise DecisionOutdated("somebody became known to the ledger meanwhile")
        connection.execute_many(_ADD_KEY, [(each.subject.id, each.epoch, each.wrapped) for each in new])

    async def ensure(self, iin: str) -> Subject:
        """The subject of `iin`, made now if need be."""
        found = await self.find(iin)
        if found is not None:
            return found
        await self.follow_keyring()
        try:
            return await self._store.write(lambda connection: self._make(connection, iin))
        except _Outdated:
            self._keyring.refresh()
            return await self._store.write(lambda connection: self._make(connection, iin, last=True))

    async def by_id(self, subject: str) -> Subject:
        """The subject with this id. Raises NotFound when it was erased, KeyringError when its key cannot be read."""
        try:
            return await self._store.read(lambda connection: self._with_key(connection, subject))
        except KeyringError:  # keys were rotated between the row and the keyring
            self._keyring.refresh()
            return await self._store.read(lambda connection: self._with_key(connection, subject))

    def _with_key(self, connection: Connection, subject: str) -> Subject:
        row = connection.execute(_KEY_OF, (subject,)).first()
        if row is None:
            raise NotFound("this person was erased: nobody can read their entries any more")
        return Subject(SubjectId(subject), self._keyring.unwrap(subject, row[0], row[1]))

    def with_keys(self, connection: Connection, subjects: Iterable[str]) -> dict[str, Subject]:
        """Those of some subjects that were not erased, by id. Raises KeyringError when a key cannot be read."""
        asked = orjson.dumps(sorted(set(subjects))).decode()
        rows = connection.execute(_KEYS_OF[connection.dialect], (asked,)).all()
        try:
            return {row[0]: Subject(SubjectId(row[0]), self._keyring.unwrap(*row)) for row in rows}
        except KeyringError:  # keys were rotated between the rows and the keyring
            self._keyring.refresh()
            return {row[0]: Subject(SubjectId(row[0]), self._keyring.unwrap(*row)) for row in rows}

    async def follow_keyring(self) -> None:
        """Let the database know the keyring's epoch, so that every gateway reads the keyring again."""
        epoch = await self._store.read(_epoch)
        if epoch is None or epoch < self._keyring.epoch:
            await self._store.write(self._advance, alone=True)

    def _advance(self, connection: Connection) -> None:
        known = _epoch(connection)
        if known is None or known < self._keyring.epoch:
            connection.execute(_SET_EPOCH, (str(self._keyring.epoch),))

    def _lookup(self, connection: Connection, iin: str, *, last: bool = False) -> Subject | None:
        blinds = self._keyring.blinds(iin)  # while keys rotate, a person stands under the old index or the new one
        row = connection.execute(_FIND.format(marks=", ".join("?" * len(blinds))), blinds).first()
        if row is None:
            _epoch(connection)
            return None
        if _number(row[0]) > self._keyring.epoch:
            self._refuse_old(_number(row[0]), last=last)
        if row[1] is None:
            return None
        return self._believed(connection, iin, row)

    def _believed(self, connection: Connection, iin: str, row: Row) -> Subject:
        """The subject in a row of `_FIND`, if it is that of `iin`. Raises KeyringError."""
        if row[2] is None:
            raise KeyringError("the index names a person without a key: run `qaqpa ledger verify`; nothing is sent")
        subject = Subject(SubjectId(row[1]), self._keyring.unwrap(row[1], row[2], bytes(row[3])))
        # The index alone is not believed: whoever can write to the database could give somebody another's consents.
        if (subject.open_iin(bytes(row[4])) if row[4] is not None else iin_of(connection, subject)) != iin:
            raise KeyringError("the index of persons was changed: it leads to somebody else; nothing is sent")
        return subject

    def _lookup_all(self, connection: Connection, iins: Sequence[str], *, last: bool = False) -> dict[str, Subject]:
        by_blind = {blind: iin for iin in iins for blind in self._keyring.blinds(iin)}
        marks = ", ".join("?" * len(by_blind))
        rows = connection.execute(_FIND_ALL.format(marks=marks), [*by_blind]).all() if by_blind else []
        known = _epoch(connection)
        if known is not None and known > self._keyring.epoch:
            self._refuse_old(known, last=last)
        found = ((by_blind[bytes(row[0])], row) for row in rows)
        return {iin: self._believed(connection, iin, row) for iin, row in found}

    def _refuse_old(self, epoch: int, *, last: bool) -> NoReturn:
        if last:
            raise KeyringError(
                f"the database is of epoch {epoch} and the keyring of epoch {self._keyring.epoch}: this keyring "
                "is an old copy; put the rotated one in its place"
            )
        raise _Outdated

    def _make(self, connection: Connection, iin: str, *, last: bool = False) -> Subject:
        # Looked up again inside the transaction: another task or process may have made it meanwhile.
        found = self._lookup(connection, iin, last=last)
        if found is not None:
            return found
        made = self._new(iin)
        subject = made.subject
        connection.execute(_ADD_SUBJECT, (made.blind, subject.id, made.iin))
        if connection.execute(_ID_OF, (made.blind,)).scalar() != subject.id:
            # Another process was faster, and has committed meanwhile.
            return self._lookup(connection, iin, last=True) or subject
        connection.execute(_ADD_KEY, (subject.id, made.epoch, made.wrapped))
        return subject

    def _new(self, iin: str) -> NewSubject:
        subject = Subject(SubjectId(uuid7().replace("-", "")), secrets.token_bytes(KEY_SIZE))
        while True:
            epoch, blind = self._keyring.epoch, self._keyring.blind(iin)
            wrapped = self._keyring.wrap(subject.id, subject.key)
            if self._keyring.epoch == epoch:  # else read again meanwhile, by another thread
                break
        return NewSubject(subject, blind, epoch, wrapped, subject.seal_iin(iin))
