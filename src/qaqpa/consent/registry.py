"""Record consents, find a subject's, withdraw. Each change and its ledger entry share one transaction.

Who gave a consent, the contract and the evidence stand sealed in the ledger entry; the registry's own table
holds terms that tell nothing about the person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import lru_cache

import orjson

from qaqpa.errors import InvalidRequest, NotFound
from qaqpa.ledger import Ledger, entries
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.ledger import Clock
from qaqpa.ledger.read import Entry, entries_of
from qaqpa.model.consent import Consent, ConsentRequest, ConsentStatus, ConsentTerms, Evidence, KdpToken
from qaqpa.model.identifiers import ConsentId, SubjectId, is_our_id, uuid7
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Row

Takes = Callable[[Connection, str, str], None]
"""Told of a consent that is withdrawn, and of its subject, in the transaction in which that takes effect."""
AHEAD = timedelta(minutes=5)
"""How far ahead of ours the clock may be that dated a consent; one given later than that is not given yet."""

COLUMNS = "id, subject, terms, withdrawal_asked_at, withdrawn_at"
_BY_ID = f"SELECT {COLUMNS} FROM consents WHERE id = ?"  # noqa: S608 - constants only
_BY_SUBJECT = f"SELECT {COLUMNS} FROM consents WHERE subject = ?"  # noqa: S608 - constants only
_OF_SUBJECTS = {
    "sqlite": f"SELECT {COLUMNS} FROM consents WHERE subject IN (SELECT value FROM json_each(?))",  # noqa: S608
    "postgresql": f"SELECT {COLUMNS} FROM consents WHERE subject IN (SELECT json_array_elements_text(?::json))",  # noqa: S608
}
_ADD = "INSERT INTO consents (id, subject, terms, expires_at) VALUES (?, ?, ?, ?)"
_ASK = "UPDATE consents SET withdrawal_asked_at = ? WHERE id = ?"
_WITHDRAW = "UPDATE consents SET withdrawal_asked_at = coalesce(withdrawal_asked_at, ?), withdrawn_at = ? WHERE id = ?"


@lru_cache(maxsize=4_096)
def _terms(text: str) -> ConsentTerms:
    """Terms tell nothing about the person, so the same text may be read once for many."""
    return ConsentTerms.model_validate_json(text)


def consent_of(row: Row) -> Consent:
    return Consent(
        id=ConsentId(row[0]),
        subject=SubjectId(row[1]),
        terms=_terms(row[2]),
        withdrawal_asked_at=None if row[3] is None else datetime.fromisoformat(row[3]),
        withdrawn_at=None if row[4] is None else datetime.fromisoformat(row[4]),
    )


def consents_of(connection: Connection, subjects: Iterable[str]) -> dict[str, list[Consent]]:
    """Every consent of some subjects, in force or not, by subject."""
    found: dict[str, list[Consent]] = {}
    asked = orjson.dumps(sorted(set(subjects))).decode()
    for row in connection.execute(_OF_SUBJECTS[connection.dialect], (asked,)).all():
        found.setdefault(row[1], []).append(consent_of(row))
    return found


class Consents:
    """The registry on a store and its ledger."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._store = ledger.store
        self._clock = clock

    async def record(self, request: ConsentRequest, *, caller: str) -> Consent:
        """Record a consent. Raises InvalidRequest for one dated in the future or expired before it began."""
        now = self._clock()
        if request.given_at > now + AHEAD:
            raise InvalidRequest(["given_at: lies in the future; record a consent when it has been given"])
        if request.expires_at is not None and request.expires_at <= request.given_at:
            raise InvalidRequest(["expires_at: lies before given_at"])
        subject = await self._ledger.subjects.ensure(request.subject.iin)
        consent = Consent(ConsentId(uuid7()), subject.id, request.terms)
        terms = consent.terms.model_dump(mode="json", exclude_none=True)
        public = entries.consent(consent.id, terms, request.evidence.method.value, subject.id, at=now)
        public["caller"] = caller
        private = {
            "iin": request.subject.iin,
            "operator": request.operator.name,
            "contract": request.contract,
            "evidence": request.evidence.model_dump(mode="json", exclude_none=True),
        }
        ends = None if consent.terms.expires_at is None else timestamp(consent.terms.expires_at)
        draft = self._ledger.draft(Kind.CONSENT, consent.id, public, subject, private)

        def unit(connection: Connection) -> None:
            connection.execute(_ADD, (consent.id, subject.id, orjson.dumps(terms).decode(), ends))
            self._ledger.append(connection, draft)

        await self._store.write(unit)
        return consent

    async def get(self, consent_id: str) -> Consent:
        """The consent with this id. Raises NotFound."""
        row = None
        if is_our_id(consent_id):
            row = await self._store.read(lambda connection: connection.execute(_BY_ID, (consent_id,)).first())
        if row is None:
            raise NotFound("no consent with this id is on record")
        return consent_of(row)

    async def kdp_token(self, consent_id: str) -> KdpToken | None:
        """The КДП token that was recorded with a consent; None where none was, or its month was moved to a file.

        Raises NotFound, and KeyringError when the entry is not what was written.
        """
        consent = await self.get(consent_id)
        subject = await self._ledger.subjects.by_id(consent.subject)

        def found(connection: Connection) -> list[Entry]:
            return list(entries_of(connection, kind=Kind.CONSENT, request=consent.id))

        for entry in await self._store.read(found):
            evidence = subject.open(entry.content).get("evidence", {})
            return Evidence.model_validate(evidence).kdp
        return None

    async def of_subject(self, subject: SubjectId) -> tuple[Consent, ...]:
        """Every consent of a subject, in force or not."""
        rows = await self._store.read(lambda connection: connection.execute(_BY_SUBJECT, (subject,)).all())
        return tuple(consent_of(row) for row in rows)

    async def withdraw(
        self, consent_id: str, *, duties_met: bool, caller: str, also: Takes = lambda _connection, _id, _subject: None
    ) -> Consent:
        """Withdraw a consent, or note that it is asked for while duties under the contract are open (7.1(3)); `also` is
        what follows, in the same transaction, when it takes effect.

        A pending withdrawal takes effect when this is called again with `duties_met`. Saying the same twice
        changes nothing and enters nothing.
        """
        consent = await self.get(consent_id)
        if consent.withdrawn_at is not None or (consent.withdrawal_asked_at is not None and not duties_met):
            return consent
        now = self._clock()
        state = ConsentStatus.WITHDRAWN if duties_met else ConsentStatus.WITHDRAWAL_PENDING
        subject = await self._ledger.subjects.by_id(consent.subject)
        public = entries.withdrawal(consent.id, state.value, caller, subject.id, at=now)
        # The request names the state too: a withdrawal may be pending first and take effect later.
        draft = self._ledger.draft(Kind.WITHDRAWAL, f"{consent.id}:{state.value}", public, subject, {})
        at = timestamp(now)

        def unit(connection: Connection) -> Consent:
            current = consent_of(connection.execute(_BY_ID, (consent.id,)).one())
            if current.withdrawn_at is not None or (current.withdrawal_asked_at is not None and not duties_met):
                return current  # another process was faster
            if duties_met:
                connection.execute(_WITHDRAW, (at, at, consent.id))
                also(connection, consent.id, consent.subject)
            else:
                connection.execute(_ASK, (at, consent.id))
            self._ledger.append(connection, draft)
            return consent_of(connection.execute(_BY_ID, (consent.id,)).one())

        return await self._store.write(unit, alone=True)
