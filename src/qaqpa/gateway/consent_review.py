"""Consents for people who review: found by state or by person, and one of them with all that rests on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from qaqpa.config.models import Role
from qaqpa.consent import Consents
from qaqpa.consent.search import Found, count_ending, ending, in_state
from qaqpa.errors import NotFound
from qaqpa.ledger import Ledger
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import Entry, Wanted, entries_of, latest
from qaqpa.ledger.span import Span
from qaqpa.model.consent import Consent, ConsentStatus, Evidence, Uncovered, uncovered
from qaqpa.model.open_text import check_open_text
from qaqpa.model.words import Ground
from qaqpa.policy import Policy, Route
from qaqpa.policy.decide import need_of
from qaqpa.policy.matrix import in_order
from qaqpa.store import Connection

PAGE = 50
LAST_ENTRIES = 500
"""Of a person, among which those are looked for that rest on a consent."""


@dataclass(frozen=True, slots=True)
class Told:
    """A consent, and what is known of its life."""

    consent: Consent
    entries: tuple[Entry, ...]
    """Of its recording and its withdrawal, in order; empty where they were moved to a file."""
    used: tuple[Entry, ...]
    """Disclosures that rest on it, the latest first, among the person's last entries."""
    routes: tuple[tuple[Route, tuple[Uncovered, ...]], ...]
    """Every route on the ground of consent, and why the consent does not cover it today; nothing where it does."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What stands sealed with a consent."""

    evidence: Evidence
    operator: str
    contract: str | None


class ConsentReview:
    """Looks at consents, each of which is entered where a person looks."""

    def __init__(
        self,
        consents: Consents,
        ledger: Ledger,
        policy: Policy,
        require: Callable[..., None],
        enter_look: Callable[[str, str, dict[str, str | int]], Awaitable[None]],
    ) -> None:
        self._consents = consents
        self._ledger = ledger
        self._policy = policy
        self._require = require
        self._enter_look = enter_look

    async def listed(self, caller: str, state: ConsentStatus | None, before: str | None = None) -> Found:
        """One page of the consents in a state, or of all, the newest first."""
        self._require(caller, Role.REVIEW)
        said: dict[str, str | int] = {"state": "any" if state is None else state.value}
        await self._enter_look(caller, "consents", said)
        now = self._ledger.clock()
        return await self._ledger.store.read(lambda c: in_state(c, state, now, before=before, count=PAGE))

    async def ending(self, caller: str, by: date, after: str | None = None) -> Found:
        """One page of the consents in force that end by a legal day, it included, soonest first. Raises NotFound."""
        self._require(caller, Role.REVIEW)
        await self._enter_look(caller, "consents", {"ends_by": by.isoformat()})
        now, end = self._ledger.clock(), self._end_of(by)
        return await self._ledger.store.read(lambda c: ending(c, now, end, after=after, count=PAGE))

    async def count_ending(self, caller: str, by: date) -> int:
        """How many consents in force end by a legal day, it included: a number alone, so no look."""
        self._require(caller, Role.REVIEW)
        now, end = self._ledger.clock(), self._end_of(by)
        return await self._ledger.store.read(lambda c: count_ending(c, now, end))

    def _end_of(self, day: date) -> str:
        return Span(until=day).times(self._policy.operator.time_zone)[1]

    async def subject_of(self, caller: str, iin: str) -> str | None:
        """The random id of a person, found through the blind index; None for somebody whom the ledger does not know.

        That somebody looked is entered without saying for whom: what they are shown then says it.
        """
        self._require(caller, Role.REVIEW)
        subject = await self._ledger.subjects.find(iin)
        if subject is None:
            await self._enter_look(caller, "consents", {"subject": "unknown"})
        return None if subject is None else subject.id

    async def of_subject(self, caller: str, subject: str) -> tuple[Consent, ...]:
        """Every consent of a person, the newest first."""
        self._require(caller, Role.REVIEW)
        found = await self._consents.of_subject(subject)  # type: ignore[arg-type]
        # Only an id of somebody is entered: anything may have been typed as one.
        await self._enter_look(caller, "consents", {"subject": subject if found else "unknown"})
        return tuple(sorted(found, key=lambda consent: consent.id, reverse=True))

    async def told(self, caller: str, consent_id: str) -> Told:
        """One consent. Raises NotFound."""
        self._require(caller, Role.REVIEW)
        consent = await self._consents.get(consent_id)
        await self._enter_look(caller, "consent", {"consent": consent.id})
        entries, used = await self._ledger.store.read(lambda connection: _entries(connection, consent))
        return Told(consent, entries, used, self._covers(consent))

    async def proof(self, caller: str, consent_id: str, *, reason: str) -> Proof:
        """What stands sealed with a consent; the look is entered with its reason. Raises NotFound, KeyringError."""
        self._require(caller, Role.REVIEW)
        check_open_text(reason=reason)
        consent = await self._consents.get(consent_id)
        subject = await self._ledger.subjects.by_id(consent.subject)
        await self._enter_look(caller, "consent_evidence", {"consent": consent.id, "reason": reason})
        entries, _ = await self._ledger.store.read(lambda connection: _entries(connection, consent))
        for entry in entries:
            if entry.content["kind"] == Kind.CONSENT:
                said: dict[str, Any] = subject.open(entry.content)
                return Proof(Evidence.model_validate(said["evidence"]), said["operator"], said.get("contract"))
        raise NotFound("the entry of this consent was moved to a file")

    def _covers(self, consent: Consent) -> tuple[tuple[Route, tuple[Uncovered, ...]], ...]:
        now = self._ledger.clock()
        return tuple(
            (route, uncovered(consent, need_of(self._policy, route), now, duties_met=None))
            for _, route in in_order(self._policy)
            if route.ground is Ground.CONSENT
        )


def _entries(connection: Connection, consent: Consent) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Entries of the consent's own life, and those that rest on it."""
    requests = (
        (Kind.CONSENT, consent.id),
        (Kind.WITHDRAWAL, f"{consent.id}:{ConsentStatus.WITHDRAWAL_PENDING.value}"),
        (Kind.WITHDRAWAL, f"{consent.id}:{ConsentStatus.WITHDRAWN.value}"),
    )
    own = [
        entry for kind, request in requests for entry in entries_of(connection, kind=kind.value, request=request)
    ]  # fmt: skip
    last = latest(connection, LAST_ENTRIES, Wanted(subject=consent.subject))
    resting = [
        entry
        for entry in reversed(last)
        if entry.content["kind"] in {Kind.INTENT, Kind.REUSED} and entry.content.get("consent") == consent.id
    ]
    return tuple(own), tuple(resting)
