"""The ledger: what may be sent, what came of it, what was refused. The only maker of an `Intent`.

Every method returns when its entry is durable. If it cannot be, it raises StoreError, and nothing leaves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from qaqpa import log, metrics
from qaqpa.errors import (
    ClockSetBack,
    DecisionOutdated,
    KeyringError,
    StoreError,
    StoreUnavailable,
    Unsettled,
)
from qaqpa.keys.keyring import Keyring
from qaqpa.ledger import answers, awaited, entries
from qaqpa.ledger.answers import Kept, Once, Question
from qaqpa.ledger.appending import Appended, Appending
from qaqpa.ledger.entries import AUTHORISING, Draft, Kind, Public
from qaqpa.ledger.subjects import Person, Subject, Subjects
from qaqpa.model.canonical import canonical
from qaqpa.model.decision import Asked, Decision
from qaqpa.model.disclosure import Extract, Intent, Json, Message, Outcome
from qaqpa.model.identifiers import DisclosureId, SubjectId
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import OutcomeResult, SealKind
from qaqpa.store import Connection, Store
from qaqpa.store.connection import Claim

Clock = Callable[[], datetime]
"""Says the time, aware."""
StillHolds = Callable[[Connection], bool]
"""Asked in the transaction of an intent: is what the decision rested on as it was?"""

_log = log.get("ledger")

_FREE_KEY = "DELETE FROM idempotency WHERE disclosure = ?"
_STATE = "SELECT state FROM unsettled WHERE disclosure = ?"
_KEEP = "INSERT INTO evidence (disclosure, subject, sealed) VALUES (?, ?, ?)"
_META = "SELECT value FROM meta WHERE name = ?"
_SET_META = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

LARGEST_ENTRY = 65_535
"""Bytes of a body: bundles of entries give its length in two bytes (C2SP tlog-tiles)."""


class Ledger:
    """The append-only disclosure log on a store."""

    def __init__(self, store: Store, keyring: Keyring, clock: Clock, *, clock_tolerance_s: float) -> None:
        self.store = store
        self.keyring = keyring
        self.subjects = Subjects(store, keyring)
        self.clock = clock
        self._tolerance = timedelta(seconds=clock_tolerance_s)
        self._appending: Appending | None = None
        self._claim: Claim | None = None
        self.under_way: dict[str, Subject] = {}
        """Disclosures of this process that have no outcome yet."""
        self.unrecorded: dict[str, Callable[[], Awaitable[object]]] = {}
        """Outcomes that could not be entered, and how; they are tried again while this process lives."""
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
            self._appending = Appending()
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

    @metrics.timed_async("intend")
    async def intend(
        self,
        disclosure: DisclosureId,
        decision: Decision,
        extract: Extract,
        message: Message,
        person: Person,
        *,
        seal: SealKind,
        stated: Mapping[str, Json],
        still_holds: StillHolds,
        once: Once | None = None,
        question: Question | None = None,
        later: awaited.Awaited | None = None,
    ) -> Intent:
        """Make the intent durable. `stated` are the caller's facts, kept sealed; `still_holds` asks, in the intent's
        own transaction, whether what the decision rested on is as it was; `question` is what a report answers that may
        serve again; `later` is what it takes to fetch an answer that does not come at once.

        Raises DecisionOutdated when it is not, DuplicateRequest for an Idempotency-Key of this caller's that was used
        before, what `Question.ask` raises, StoreError otherwise: nothing was entered and nothing may be sent.
        """
        if not decision.permits:
            raise TypeError("an intent is made only from a permitting decision")
        if self.closed_by is not None:
            raise self.closed_by
        subject = person.known or await self.subjects.ensure(person.iin)
        public = entries.intent(disclosure, decision, extract, message, subject.id, seal=seal, at=self.clock())
        private = {"iin": person.iin, "sent": subject.digest(message.body), "stated": stated}
        draft = self.draft(Kind.INTENT, disclosure, public, subject, private)

        def unit(connection: Connection) -> Appended:
            if not still_holds(connection):
                raise DecisionOutdated("a consent or a recipient's state changed while this was decided; ask again")
            if once is not None:
                once.bind(connection, disclosure, subject)
            if question is not None:
                beside = set() if self._appending is None else {each.draft.request for each in self._appending.entries}
                question.ask(connection, disclosure, subject, beside=beside)
            if later is not None:
                awaited.add(connection, disclosure, subject, later, public["time"])
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

    def taken_up(self, disclosure: DisclosureId, index: int, subject: SubjectId, decision: Decision) -> Intent:
        """An intent that was entered before and has no outcome, without its message: that left and leaves no more."""
        return Intent(disclosure, index, subject, decision, Message(b"", "", ""))

    @metrics.timed_async("conclude")
    async def conclude(self, intended: Intent, ended: Outcome, kept: Kept | None = None) -> int:
        """Record what came of an intent, and keep what the caller is told; returns the entry's index.

        Raises StoreError: then the intent stays open. Raises Unsettled where another gateway took this one for dead.
        """
        try:
            return await self.enter_outcome(intended, ended, kept)
        except StoreError as error:
            if ended.result is not OutcomeResult.UNKNOWN and await self._given_up(intended.id):
                taken_for_dead = Unsettled(
                    f"the outcome ({ended.result.value}) came after another gateway had taken this one for dead and "
                    "entered that nobody knows it, which stands: a person must settle it (`qaqpa ledger open`)"
                )
                taken_for_dead.disclosure = intended.id
                _log.error("taken for dead", disclosure=intended.id, outcome=ended.result.value, code=ended.code)
                raise taken_for_dead from error
            otherwise = "a person must settle it"
            raise self.not_entered(
                intended, ended, lambda: self.enter_outcome(intended, ended, kept), otherwise
            ) from error
        except (TypeError, ValueError):  # an adapter's reference that no entry can hold
            return await self.enter_outcome(intended, replace(ended, reference=None, their_code=None), kept)
        finally:
            if intended.id not in self.unrecorded:
                self.under_way.pop(intended.id, None)

    def not_entered(
        self, intended: Intent, ended: Outcome, again: Callable[[], Awaitable[object]], otherwise: str
    ) -> StoreUnavailable:
        """What to raise where an outcome cannot be entered; `again` is how that is tried later, `otherwise` what
        happens if this process ends before.
        """
        self.unrecorded[intended.id] = again
        # What the store says of writing is said before sending; here it would not be true.
        unrecorded = StoreUnavailable(
            f"the outcome ({ended.result.value}) of this disclosure could not be entered: its intent stays open. It is "
            f"entered as soon as the database can be written; if this process ends before, {otherwise}. Mend the "
            "database before asking again"
        )
        unrecorded.disclosure = intended.id
        return unrecorded

    async def _given_up(self, disclosure: str) -> bool:
        """Whether somebody has entered that nobody knows the outcome; False where the database does not say."""
        try:
            state = await self.store.read(lambda connection: connection.execute(_STATE, (disclosure,)).scalar())
        except StoreError:
            return False
        return bool(state == "unknown")

    async def enter_outcome(
        self,
        intended: Intent,
        ended: Outcome,
        kept: Kept | None = None,
        *,
        also: Callable[[Connection, Subject], None] | None = None,
    ) -> int:
        """One try of `conclude`; `also` changes other tables in the same transaction."""
        subject = self.under_way.get(intended.id) or await self.subjects.by_id(intended.subject)
        public = entries.outcome(intended, ended, at=self.clock())
        private = {
            "received": subject.digest(ended.reply.body) if ended.reply is not None else None,
            "reference": ended.reference,
            "their_code": ended.their_code,
        }
        draft = self.draft(Kind.OUTCOME, intended.id, public, subject, private)
        evidence: bytes | None = None
        if ended.keeps_answer and ended.reply is not None:
            evidence = subject.seal_evidence(intended.id, ended.reply.body)

        def unit(connection: Connection) -> Appended:
            if also is not None:
                also(connection, subject)
            if evidence is not None:
                connection.execute(_KEEP, (intended.id, subject.id, evidence))
            if ended.result is OutcomeResult.NOT_SENT:  # nothing was disclosed, so the key may be used again
                connection.execute(_FREE_KEY, (intended.id,))
            elif kept is not None:
                kept.add(connection, intended.id, subject, public["time"])
            return self.append(connection, draft)

        return (await self.store.write(unit)).index

    async def first_answer(self, once: Once, iin: str) -> tuple[str, bytes] | None:
        """What this Idempotency-Key was answered before (see `answers.first`)."""
        if not await self.store.read(lambda connection: answers.is_used(connection, once)):
            return None
        subject = await self.subjects.find(iin)
        return await self.store.read(lambda connection: answers.first(connection, once, subject))

    async def reusable_answer(self, question: Question, person: Person) -> tuple[str, bytes] | None:
        """An answer that may serve again (see `answers.reusable`)."""
        subject = person.known
        if subject is None:
            return None
        return await self.store.read(lambda connection: answers.reusable(connection, subject, question))

    async def reuse(
        self,
        decision: Decision,
        extract: Extract,
        disclosure: str,
        returned: tuple[FieldPath, ...],
        person: Person,
        *,
        stated: Mapping[str, Json],
        still_holds: StillHolds,
        once: Once | None,
        kept: Kept | None,
    ) -> int:
        """Record that the report of an earlier `disclosure` serves again, and keep what the caller is told under the
        entry's own id; returns the entry's index. Raises as `intend` does.
        """
        subject = person.known or await self.subjects.ensure(person.iin)
        public = entries.reused(decision, extract, disclosure, returned, subject.id, at=self.clock())
        entry = str(public["id"])
        draft = self.draft(Kind.REUSED, entry, public, subject, {"iin": person.iin, "stated": stated})

        def unit(connection: Connection) -> Appended:
            if not still_holds(connection):
                raise DecisionOutdated("a consent or a recipient's state changed while this was decided; ask again")
            if once is not None:
                once.bind(connection, entry, subject)
            if kept is not None:
                kept.add(connection, entry, subject, public["time"])
            return self.append(connection, draft)

        return (await self.store.write(unit)).index

    async def refuse(self, decision: Decision, known: Asked, person: Person, *, stated: Mapping[str, Json]) -> str:
        """Record a refusal; returns the entry's id. `known` is what was asked, in names of the configuration."""
        if decision.permits:
            raise TypeError("a decision that permits is not refused")
        subject = person.known or await self.subjects.ensure(person.iin)
        public = entries.refusal(decision, known, subject.id, at=self.clock())
        draft = self.draft(Kind.REFUSAL, public["id"], public, subject, {"iin": person.iin, "stated": stated})
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
