"""The ledger: what may be sent, what came of it, what was refused. The only maker of an `Intent`.

Every method returns when its entry is durable. If it cannot be, it raises StoreError, and nothing leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

from qaqpa.errors import (
    ClockSetBack,
    DecisionOutdated,
    DuplicateRequest,
    KeyringError,
    StoreError,
    StoreUnavailable,
)
from qaqpa.keys.keyring import Keyring
from qaqpa.ledger import entries
from qaqpa.ledger.entries import ACCEPT_CLOCK, AUTHORISING, DATING, SETTLE, Draft, Kind, Public, latest_time
from qaqpa.ledger.subjects import Subject, Subjects
from qaqpa.model.canonical import canonical
from qaqpa.model.decision import Asked, Decision
from qaqpa.model.disclosure import Extract, Intent, Json, Message, Outcome
from qaqpa.model.identifiers import DisclosureId
from qaqpa.model.words import OutcomeResult, SealKind
from qaqpa.store import Connection, Store
from qaqpa.store.connection import Claim

Clock = Callable[[], datetime]
"""Says the time, aware."""
StillHolds = Callable[[Connection], bool]
"""Asked in the transaction of an intent: is what the decision rested on as it was?"""

_LAST_TIME = "SELECT last_time FROM tree WHERE id = 1"
_FIND_KEY = "SELECT disclosure FROM idempotency WHERE key = ?"
_FREE_KEY = "DELETE FROM idempotency WHERE disclosure = ?"
_ADD_KEY = "INSERT INTO idempotency (key, disclosure) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
_ADD_UNSETTLED = (
    "INSERT INTO unsettled (disclosure, subject, recipient, gateway, state, since) VALUES (?, ?, ?, ?, 'open', ?)"
)
_UNKNOWN = "UPDATE unsettled SET state = 'unknown' WHERE disclosure = ? AND state = 'open'"
_CONCLUDED = "DELETE FROM unsettled WHERE disclosure = ? AND state = 'open'"
_SETTLED = "DELETE FROM unsettled WHERE disclosure = ? AND state = 'unknown'"
_KNOWN = {
    "sqlite": "SELECT subject FROM subject_keys WHERE subject IN (SELECT value FROM json_each(?))",
    "postgresql": "SELECT subject FROM subject_keys WHERE subject IN (SELECT json_array_elements_text(?::json))",
}
_KEEP = "INSERT INTO evidence (disclosure, subject, sealed) VALUES (?, ?, ?)"
_META = "SELECT value FROM meta WHERE name = ?"
_SET_META = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

LARGEST_ENTRY = 65_535
"""Bytes of a body: bundles of entries give its length in two bytes (C2SP tlog-tiles)."""


@dataclass(slots=True)
class Appended:
    """An entry of a transaction that is not over; its index is known when `write` returns."""

    draft: Draft
    index: int = -1


class _Appending:
    """What one transaction of the writer appends. It lives in the writer's thread only."""

    def __init__(self) -> None:
        self.entries: list[Appended] = []
        self.last_time = ""
        """Of what this transaction appends."""
        self.moved_back = False
        self._before: str | None = None
        """Of what stands before it; read once, and only where a date of law hangs on it."""

    def last_moment(self, connection: Connection) -> datetime:
        """Of the last authorising entry, of this transaction's or before it."""
        try:
            if self._before is None:
                self._before = str(connection.execute(_LAST_TIME).one()[0])
            last = max(self.last_time, self._before)
            return datetime.fromisoformat(last) if last else datetime.min.replace(tzinfo=UTC)
        except (LookupError, ValueError):
            raise StoreUnavailable("the ledger's tree is damaged: run `qaqpa ledger verify`; nothing is sent") from None

    def add(self, draft: Draft) -> Appended:
        appended = Appended(draft)
        self.entries.append(appended)
        if draft.kind in DATING:
            self.last_time = latest_time(self.last_time, draft.public)
            self.moved_back = self.moved_back or draft.public.get("act") == ACCEPT_CLOCK
        return appended

    def flush(self, connection: Connection, gateway: int) -> None:
        drafts = [each.draft for each in self.entries]
        self._require_keys(connection, drafts)
        self._follow(connection, drafts, gateway)
        rows = [draft.row() for draft in drafts]
        first = connection.append(rows, self.last_time, moved_back=self.moved_back)
        for index, each in enumerate(self.entries, first):
            each.index = index

    @staticmethod
    def _require_keys(connection: Connection, drafts: list[Draft]) -> None:
        """Nothing is entered about somebody who was erased meanwhile: nobody could read it, or conclude it."""
        about = {draft.subject for draft in drafts if draft.subject is not None and draft.kind is not Kind.ERASURE}
        if about:
            rows = connection.execute(_KNOWN[connection.dialect], (orjson.dumps(sorted(about)).decode(),)).all()
            if len(rows) < len(about):
                raise DecisionOutdated("this person was erased while the request was worked on; ask again")

    @staticmethod
    def _follow(connection: Connection, drafts: list[Draft], gateway: int) -> None:
        """Which disclosures nobody knows the end of. Each has one outcome: the first that is entered stands."""
        changes: dict[str, list[tuple[object, ...]]] = {}
        for draft in drafts:
            public = draft.public
            if draft.kind is Kind.INTENT:
                row = (draft.request, draft.subject, public["recipient"], gateway, public["time"])
                changes.setdefault(_ADD_UNSETTLED, []).append(row)
            elif draft.kind is Kind.OUTCOME:
                sql = _UNKNOWN if public["result"] == OutcomeResult.UNKNOWN else _CONCLUDED
                changes.setdefault(sql, []).append((draft.request,))
            elif draft.kind is Kind.CONTROL and public["act"] == SETTLE:
                changes.setdefault(_SETTLED, []).append((public["intent"],))
        for sql, rows in changes.items():
            if connection.execute_many(sql, rows) != len(rows):
                raise StoreUnavailable("this disclosure has an outcome already, and the first one stands")


class Ledger:
    """The append-only disclosure log on a store."""

    def __init__(self, store: Store, keyring: Keyring, clock: Clock, *, clock_tolerance_s: float) -> None:
        self.store = store
        self.keyring = keyring
        self.subjects = Subjects(store, keyring)
        self.clock = clock
        self._tolerance = timedelta(seconds=clock_tolerance_s)
        self._appending: _Appending | None = None
        self._claim: Claim | None = None
        self.under_way: dict[str, Subject] = {}
        """Disclosures of this process that have no outcome yet."""
        self.unrecorded: dict[str, tuple[Intent, Outcome]] = {}
        """Outcomes that could not be entered; they are tried again while this process lives."""
        self.unconfirmed: dict[str, Subject] = {}
        """Intents whose commit failed, so that nothing was sent; whether they are in the ledger nobody knows."""
        self.closed_by: StoreError | None = None
        """Why this ledger takes no intent any more."""

    @property
    def has_unfinished(self) -> bool:
        """Whether something of this process's own waits to be entered."""
        return bool(self.unrecorded or self.unconfirmed)

    # --- around the writer's transactions --------------------------------------------------------

    def begin(self, connection: Connection) -> None:
        """Forget what a rolled-back transaction had appended."""
        self._appending = None

    def flush(self, connection: Connection) -> None:
        """Write the entries of this transaction."""
        if self._appending is not None:
            if self._claim is not None:
                self._claim.keep()
            self._appending.flush(connection, self.gateway)
            self._appending = None

    def append(self, connection: Connection, draft: Draft) -> Appended:
        """Add an entry to the transaction of `connection`. Raises ClockSetBack."""
        if self._appending is None:
            self._appending = _Appending()
        if draft.kind in AUTHORISING:
            behind = self._appending.last_moment(connection) - datetime.fromisoformat(draft.public["time"])
            if behind > self._tolerance:
                raise ClockSetBack(
                    f"the clock is {behind.total_seconds():.0f} s behind the ledger's last entry: set the clock right "
                    "(or, if it is right and had run ahead before, `qaqpa ledger accept-clock`); until then nothing is "
                    "sent, because no date can be trusted"
                )
        return self._appending.add(draft)

    # --- opening ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Bind keyring and database to each other, and show that this gateway lives.

        Raises KeyringError when they do not belong together.
        """
        with self.store.snapshot() as connection:
            keyring = connection.execute(_META, ("keyring",)).scalar()
            used = connection.execute("SELECT 1 FROM subject_keys LIMIT 1").first()
        if keyring is not None and keyring != self.keyring.id:
            raise KeyringError(
                "the keyring belongs to another database: restore the one that this database was kept with"
            )
        if keyring is None and used is not None:
            raise KeyringError("the database holds subjects but does not say whose keyring wrapped their keys")
        self._claim = self.store.engine.claim()

    @property
    def gateway(self) -> int:
        """The number by which others know that this gateway lives; 0 before it opens."""
        return 0 if self._claim is None else self._claim.number

    def close(self) -> None:
        """This gateway is over."""
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _bind(self, connection: Connection) -> None:
        connection.execute(
            "INSERT INTO meta (name, value) VALUES ('keyring', ?) ON CONFLICT (name) DO NOTHING", (self.keyring.id,)
        )
        if connection.execute(_META, ("keyring",)).scalar() != self.keyring.id:
            raise KeyringError("another keyring was bound to this database meanwhile")

    # --- the flow --------------------------------------------------------------------------------

    async def intend(
        self,
        disclosure: DisclosureId,
        decision: Decision,
        extract: Extract,
        message: Message,
        iin: str,
        *,
        seal: SealKind,
        stated: Mapping[str, Json],
        still_holds: StillHolds,
        idempotency_key: str | None = None,
    ) -> Intent:
        """Make the intent durable. `stated` are the caller's facts, kept sealed; `still_holds` asks, in the intent's
        own transaction, whether what the decision rested on is as it was.

        Raises DecisionOutdated when it is not, DuplicateRequest for an Idempotency-Key of this caller's that was used
        before, StoreError otherwise. In each case nothing was entered and nothing may be sent.
        """
        if not decision.permits:
            raise TypeError("an intent is made only from a permitting decision")
        if self.closed_by is not None:
            raise self.closed_by
        subject = await self.subjects.ensure(iin)
        public = entries.intent(disclosure, decision, extract, message, subject.id, seal=seal, at=self.clock())
        private = {"iin": iin, "sent": subject.digest(message.body), "stated": stated}
        draft = self.draft(Kind.INTENT, disclosure, public, subject, private)
        key = None if idempotency_key is None else self.keyring.blind_request(decision.asked.caller, idempotency_key)

        def unit(connection: Connection) -> Appended:
            if not still_holds(connection):
                raise DecisionOutdated("a consent or a recipient's state changed while this was decided; ask again")
            if key is not None:
                connection.execute(_ADD_KEY, (key, disclosure))
                used = connection.execute(_FIND_KEY, (key,)).scalar()
                if used != disclosure:
                    error = DuplicateRequest(
                        f"this Idempotency-Key was used for disclosure {used}; nothing was sent again"
                    )
                    error.disclosure = used
                    raise error
            return self.append(connection, draft)

        self.under_way[disclosure] = subject
        try:
            appended = await self.store.write(unit)
        except BaseException as error:
            del self.under_way[disclosure]
            if isinstance(error, StoreUnavailable):  # the answer to the commit may have been lost, not the commit
                self.unconfirmed[disclosure] = subject
            raise
        return Intent(disclosure, appended.index, subject.id, decision, message)

    async def conclude(self, intended: Intent, ended: Outcome) -> int:
        """Record what came of an intent; returns the entry's index. Raises StoreError: then the intent stays open."""
        try:
            return await self.enter_outcome(intended, ended)
        except StoreError as error:
            self.unrecorded[intended.id] = (intended, ended)
            # What the store says of writing is said before sending; here it would not be true.
            unrecorded = StoreUnavailable(
                f"the outcome ({ended.result.value}) of this disclosure could not be entered: its intent stays open. "
                "It is entered as soon as the database can be written; if this process ends before, a person must "
                "settle it. Mend the database before asking again"
            )
            unrecorded.disclosure = intended.id
            raise unrecorded from error
        except (TypeError, ValueError):  # an adapter's reference that no entry can hold
            return await self.enter_outcome(intended, replace(ended, reference=None, their_code=None))
        finally:
            if intended.id not in self.unrecorded:
                self.under_way.pop(intended.id, None)

    async def enter_outcome(self, intended: Intent, ended: Outcome) -> int:
        """One try of `conclude`."""
        subject = self.under_way.get(intended.id) or await self.subjects.by_id(intended.subject)
        public = entries.outcome(intended, ended, at=self.clock())
        private = {
            "received": subject.digest(ended.reply.body) if ended.reply is not None else None,
            "reference": ended.reference,
            "their_code": ended.their_code,
        }
        draft = self.draft(Kind.OUTCOME, intended.id, public, subject, private)
        kept: bytes | None = None
        if ended.keeps_answer and ended.reply is not None:
            kept = subject.seal_evidence(intended.id, ended.reply.body)

        def unit(connection: Connection) -> Appended:
            if kept is not None:
                connection.execute(_KEEP, (intended.id, subject.id, kept))
            if ended.result is OutcomeResult.NOT_SENT:  # nothing was disclosed, so the key may be used again
                connection.execute(_FREE_KEY, (intended.id,))
            return self.append(connection, draft)

        return (await self.store.write(unit)).index

    async def refuse(self, decision: Decision, known: Asked, iin: str, *, stated: Mapping[str, Json]) -> str:
        """Record a refusal; returns the entry's id. `known` is what was asked, in names of the configuration."""
        if decision.permits:
            raise TypeError("a decision that permits is not refused")
        subject = await self.subjects.ensure(iin)
        public = entries.refusal(decision, known, subject.id, at=self.clock())
        draft = self.draft(Kind.REFUSAL, public["id"], public, subject, {"iin": iin, "stated": stated})
        await self.store.write(lambda connection: self.append(connection, draft))
        return str(public["id"])

    # --- everything else that is entered ---------------------------------------------------------

    async def record(self, kind: Kind, public: Public, *, also: Callable[[Connection], None] | None = None) -> int:
        """Enter something about no person; `also` changes other tables in the same transaction, alone."""
        draft = self.draft(kind, str(public["id"]), public)

        def unit(connection: Connection) -> Appended:
            if also is not None:
                also(connection)
            return self.append(connection, draft)

        return (await self.store.write(unit, alone=also is not None)).index

    async def record_policy(self, versions: list[dict[str, str]], config: str) -> None:
        """Enter the policy in use, unless the latest such entry says the same; binds the keyring on first use."""
        if await self.store.read(lambda connection: self._knows(connection, config)):
            return
        public = entries.policy(versions, config, at=self.clock())
        draft = self.draft(Kind.POLICY, str(public["id"]), public)

        def unit(connection: Connection) -> None:
            self._bind(connection)
            if connection.execute(_META, ("config",)).scalar() != config:
                connection.execute(_SET_META, ("config", config))
                self.append(connection, draft)

        await self.store.write(unit, alone=True)
        await self.subjects.follow_keyring()

    def _knows(self, connection: Connection, config: str) -> bool:
        known = connection.execute(_META, ("keyring",)).scalar(), connection.execute(_META, ("config",)).scalar()
        return known == (self.keyring.id, config)

    def draft(
        self,
        kind: Kind,
        request: str,
        public: Public,
        subject: Subject | None = None,
        private: Mapping[str, Json] | None = None,
    ) -> Draft:
        """An entry to be appended; `private` is sealed under the subject's key. Raises TypeError for one too large."""
        body = dict(public)
        if subject is not None and private is not None:
            body["sealed"] = subject.seal(public, private)
        text = canonical(body)
        if len(text) > LARGEST_ENTRY:
            raise TypeError(f"an entry has at most {LARGEST_ENTRY} bytes")
        return Draft(kind, request, None if subject is None else subject.id, public, text)
