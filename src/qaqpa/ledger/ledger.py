"""The ledger: what may be sent, what came of it, what was refused. The only maker of an `Intent`.

Every method returns when its entry is durable. If it cannot be, it raises StoreError, and nothing leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from qaqpa.errors import (
    ClockSetBack,
    DecisionOutdated,
    DuplicateRequest,
    KeyringError,
    StoreError,
    StoreUnavailable,
)
from qaqpa.ledger import entries
from qaqpa.ledger.canonical import canonical
from qaqpa.ledger.entries import AUTHORISING, Draft, Kind, Public, latest_time
from qaqpa.ledger.keyring import Keyring
from qaqpa.ledger.merkle import Frontier, leaf_hash
from qaqpa.ledger.subjects import Subject, Subjects
from qaqpa.model.decision import Asked, Decision
from qaqpa.model.disclosure import Extract, Intent, Json, Message, Outcome
from qaqpa.model.identifiers import DisclosureId, SubjectId, uuid7
from qaqpa.model.words import OutcomeResult, SealKind
from qaqpa.store import Store

Clock = Callable[[], datetime]
"""Says the time, aware."""
StillHolds = Callable[[Connection], bool]
"""Asked in the transaction of an intent: is what the decision rested on as it was?"""

_READ_TREE = "SELECT size, frontier, last_time FROM tree WHERE id = 1"
_ADD_TREE = "INSERT INTO tree (id, size, frontier, root, last_time) VALUES (1, ?, ?, ?, ?)"
_SET_TREE = "UPDATE tree SET size = ?, frontier = ?, root = ?, last_time = ? WHERE id = 1"
_ADD_ENTRY = "INSERT INTO entries (idx, request, kind, subject, body, leaf) VALUES (?, ?, ?, ?, ?, ?)"
_FIND_KEY = "SELECT disclosure FROM idempotency WHERE key = ?"
_FREE_KEY = "DELETE FROM idempotency WHERE disclosure = ?"
_ADD_KEY = "INSERT INTO idempotency (key, disclosure) VALUES (?, ?)"


class _Appending:
    """What one transaction of the writer appends. It lives in the writer's thread only."""

    def __init__(self, connection: Connection) -> None:
        row = connection.exec_driver_sql(_READ_TREE).first()
        self.is_new = row is None
        try:
            self.frontier = Frontier() if row is None else Frontier.from_bytes(row[0], row[1])
            self.last_time = "" if row is None else str(row[2])
            self.last_moment()
        except (ValueError, TypeError, AttributeError):
            raise StoreUnavailable("the ledger's tree is damaged: run `qaqpa ledger verify`; nothing is sent") from None
        self.rows: list[tuple[int, str, str, str | None, bytes, bytes]] = []

    def last_moment(self) -> datetime:
        return datetime.fromisoformat(self.last_time) if self.last_time else datetime.min.replace(tzinfo=UTC)

    def add(self, draft: Draft) -> int:
        index = self.frontier.size
        leaf = leaf_hash(draft.body)
        self.frontier.append(leaf)
        self.rows.append((index, draft.request, draft.kind.value, draft.subject, draft.body, leaf))
        self.last_time = latest_time(self.last_time, draft.public)
        return index

    def flush(self, connection: Connection) -> None:
        connection.exec_driver_sql(_ADD_ENTRY, self.rows)
        frontier = self.frontier
        state = (frontier.size, frontier.to_bytes(), frontier.root(), self.last_time)
        connection.exec_driver_sql(_ADD_TREE if self.is_new else _SET_TREE, state)


class Ledger:
    """The append-only disclosure log on a store."""

    def __init__(self, store: Store, keyring: Keyring, clock: Clock, *, clock_tolerance_s: float) -> None:
        self.store = store
        self.subjects = Subjects(store, keyring)
        self._keyring = keyring
        self._clock = clock
        self._tolerance = timedelta(seconds=clock_tolerance_s)
        self._appending: _Appending | None = None

    # --- around the writer's transactions --------------------------------------------------------

    def begin(self, connection: Connection) -> None:
        """Forget what a rolled-back transaction had appended; the tree is read again when needed."""
        self._appending = None

    def flush(self, connection: Connection) -> None:
        """Write the entries of this transaction, and the tree that they make."""
        if self._appending is not None:
            self._appending.flush(connection)
            self._appending = None

    def append(self, connection: Connection, draft: Draft) -> int:
        """Add an entry to the transaction of `connection` and return its index. Raises ClockSetBack."""
        if self._appending is None:
            self._appending = _Appending(connection)
        if draft.kind in AUTHORISING and self._appending.last_time:
            behind = self._appending.last_moment() - datetime.fromisoformat(draft.public["time"])
            if behind > self._tolerance:
                raise ClockSetBack(
                    f"the clock is {behind.total_seconds():.0f} s behind the ledger's last entry: set the clock right "
                    "(or, if it is right and had run ahead before, `qaqpa ledger accept-clock`); until then nothing is "
                    "sent, because no date can be trusted"
                )
        return self._appending.add(draft)

    def open(self) -> None:
        """Bind keyring and database to each other. Raises KeyringError when they do not belong together."""
        with self.store.snapshot() as connection:
            row = connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'keyring'").first()
            used = connection.exec_driver_sql("SELECT 1 FROM subject_keys LIMIT 1").first()
        if row is not None and row[0] != self._keyring.id:
            raise KeyringError(
                "the keyring belongs to another database: restore the one that this database was kept with"
            )
        if row is None and used is not None:
            raise KeyringError("the database holds subjects but does not say whose keyring wrapped their keys")

    def _bind(self, connection: Connection) -> None:
        connection.exec_driver_sql(
            "INSERT INTO meta (name, value) VALUES ('keyring', ?) ON CONFLICT (name) DO NOTHING", (self._keyring.id,)
        )
        row = connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'keyring'").one()
        if row[0] != self._keyring.id:
            raise KeyringError("another keyring was bound to this database meanwhile")

    # --- the flow --------------------------------------------------------------------------------

    async def intend(
        self,
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
        subject = await self.subjects.ensure(iin)
        disclosure = DisclosureId(uuid7())
        public = entries.intent(disclosure, decision, extract, message, subject.id, seal=seal, at=self._clock())
        private = {"iin": iin, "sent": subject.digest(message.body), "stated": stated}
        draft = self._draft(Kind.INTENT, disclosure, public, subject, private)
        key = None if idempotency_key is None else self._keyring.blind_request(decision.asked.caller, idempotency_key)

        def unit(connection: Connection) -> int:
            if not still_holds(connection):
                raise DecisionOutdated("a consent or a recipient's state changed while this was decided; ask again")
            if key is not None:
                used = connection.exec_driver_sql(_FIND_KEY, (key,)).first()
                if used is not None:
                    error = DuplicateRequest(
                        f"this Idempotency-Key was used for disclosure {used[0]}; nothing was sent again"
                    )
                    error.disclosure = used[0]
                    raise error
                connection.exec_driver_sql(_ADD_KEY, (key, disclosure))
            return self.append(connection, draft)

        index = await self.store.write(unit)
        return Intent(disclosure, index, subject.id, decision, message)

    async def conclude(self, intended: Intent, ended: Outcome) -> int:
        """Record what came of an intent; returns the entry's index. Raises StoreError: then the intent stays open."""
        try:
            return await self._conclude(intended, ended)
        except StoreError as error:
            # What the store says of writing is said before sending; here it would not be true.
            unrecorded = StoreUnavailable(
                f"the outcome ({ended.result.value}) of this disclosure could not be entered: its intent stays open "
                "and must be settled by a person; mend the database before asking again"
            )
            unrecorded.disclosure = intended.id
            raise unrecorded from error
        except (TypeError, ValueError):  # an adapter's reference that no entry can hold
            return await self._conclude(intended, replace(ended, reference=None, their_code=None))

    async def _conclude(self, intended: Intent, ended: Outcome) -> int:
        subject = await self.subjects.by_id(intended.subject)
        public = entries.outcome(intended, ended, at=self._clock())
        private = {
            "received": subject.digest(ended.reply.body) if ended.reply is not None else None,
            "reference": ended.reference,
            "their_code": ended.their_code,
        }
        draft = self._draft(Kind.OUTCOME, intended.id, public, subject, private)

        def unit(connection: Connection) -> int:
            if ended.result is OutcomeResult.NOT_SENT:  # nothing was disclosed, so the key may be used again
                connection.exec_driver_sql(_FREE_KEY, (intended.id,))
            return self.append(connection, draft)

        return await self.store.write(unit)

    async def refuse(self, decision: Decision, known: Asked, iin: str, *, stated: Mapping[str, Json]) -> str:
        """Record a refusal; returns the entry's id. `known` is what was asked, in names of the configuration."""
        if decision.permits:
            raise TypeError("a decision that permits is not refused")
        subject = await self.subjects.ensure(iin)
        public = entries.refusal(decision, known, subject.id, at=self._clock())
        draft = self._draft(Kind.REFUSAL, public["id"], public, subject, {"iin": iin, "stated": stated})
        await self.store.write(lambda connection: self.append(connection, draft))
        return str(public["id"])

    # --- everything else that is entered ---------------------------------------------------------

    def draft_about(
        self, kind: Kind, request: str, public: Public, subject: Subject, private: Mapping[str, Json]
    ) -> Draft:
        """An entry about a person, for a transaction that changes more than the ledger."""
        return self._draft(kind, request, public, subject, private)

    async def record(
        self, kind: Kind, public: Public, *, also: Callable[[Connection], None] | None = None
    ) -> int | None:
        """Enter something about no person; `also` changes other tables in the same transaction."""
        draft = self._draft(kind, str(public["id"]), public, None, None)

        def unit(connection: Connection) -> int:
            if also is not None:
                also(connection)
            return self.append(connection, draft)

        return await self.store.write(unit)

    async def record_policy(self, versions: list[dict[str, str]], config: str) -> None:
        """Enter the policy in use, unless the latest such entry says the same; binds the keyring on first use."""
        public = entries.policy(versions, config, at=self._clock())
        draft = self._draft(Kind.POLICY, str(public["id"]), public, None, None)

        def unit(connection: Connection) -> None:
            self._bind(connection)
            row = connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'config'").first()
            if row is None or row[0] != config:
                connection.exec_driver_sql(
                    "INSERT INTO meta (name, value) VALUES ('config', ?) "
                    "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (config,),
                )
                self.append(connection, draft)

        await self.store.write(unit)

    def _draft(
        self, kind: Kind, request: str, public: Public, subject: Subject | None, private: Mapping[str, Json] | None
    ) -> Draft:
        body = dict(public)
        if subject is not None and private is not None:
            body["sealed"] = subject.seal(public, private)
        owner = None if subject is None else SubjectId(subject.id)
        return Draft(kind, request, owner, public, canonical(body))
