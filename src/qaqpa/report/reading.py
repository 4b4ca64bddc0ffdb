"""Read what the ledger knows about one person, in the order of its entries and in memory that the number of
disclosures does not fill: of each kind of disclosure the latest are listed, and the others counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from qaqpa.consent.registry import consents_of
from qaqpa.ledger.entries import SETTLE, Kind
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.subjects import Subject
from qaqpa.model.consent import Consent
from qaqpa.model.decision import Result
from qaqpa.report import beside
from qaqpa.report.named import Drawn, Names
from qaqpa.report.subject import (
    Came,
    ConsentTold,
    Disclosures,
    ErasureTold,
    FactsFrom,
    Form,
    Refusals,
    Reuses,
    Single,
    SubjectReport,
    Why,
)
from qaqpa.store import Connection

LISTED = 10_000
"""Disclosures of one kind that are listed one by one; of ten thousand the report is a few megabytes."""
Key = tuple[str, str, str]
"""Recipient, operation, purpose."""


@dataclass(slots=True)
class _Group:
    """Disclosures of one kind, while they are read."""

    first: datetime
    last: datetime
    count: int = 0
    results: Counter[Came] = field(default_factory=Counter)
    forms: dict[Form, int] = field(default_factory=dict)
    singles: deque[str] = field(default_factory=deque)

    def see(self, at: datetime) -> None:
        self.first, self.last = min(self.first, at), max(self.last, at)
        self.count += 1


@dataclass(slots=True)
class _Counted:
    """Refusals or reuses of one kind, while they are read."""

    first: datetime
    last: datetime
    count: int = 0
    ids: deque[str] = field(default_factory=lambda: deque(maxlen=LISTED))

    def see(self, at: datetime, named: str) -> None:
        self.first, self.last = min(self.first, at), max(self.last, at)
        self.count += 1
        self.ids.append(named)


def read_report(
    connection: Connection, names: Names, drawn: Drawn, subject: str, *, key: Subject | None, about: str | None = None
) -> SubjectReport:
    """The report about the subject with this random id. Without their `key`, as after an erasure, nothing sealed is
    read. `connection` must be one unchanging view. Raises KeyringError, VerificationFailed.
    """
    reader = _Reader(connection, names, subject, key)
    reader.read()
    return SubjectReport(
        operator=names.operator,
        drawn=drawn,
        about=about,
        subject=subject,
        consents=reader.consents(drawn.at),
        disclosures=reader.disclosures(),
        refusals=reader.refusals(),
        reuses=reader.reuses(),
        recalls=beside.recalls(connection, names, subject, reader.handovers),
        held=beside.held(connection, subject),
        erasure=reader.erasure,
        moved=beside.moved(connection, subject),
        rights=names.rights(),
    )


class _Reader:
    """One reading."""

    def __init__(self, connection: Connection, names: Names, subject: str, key: Subject | None) -> None:
        self._connection = connection
        self._names = names
        self._subject = subject
        self._key = key
        self._groups: dict[Key, _Group] = {}
        self._singles: dict[str, tuple[Single, Key]] = {}
        """What is listed, or waits for its outcome."""
        self._terms: dict[Key, tuple[timedelta | None, timedelta | None]] = {}
        self._unknown: set[str] = set()
        self._refusals: dict[tuple[Any, ...], _Counted] = {}
        self._reuses: dict[tuple[Any, ...], _Counted] = {}
        self._sealed: dict[str, Mapping[str, Any]] = {}
        """What was sealed with each consent."""
        self._forms: dict[tuple[Any, ...], Form] = {}
        self._shared: dict[Any, Any] = {}
        self.handovers: dict[str, beside.Handed] = {}
        self.erasure: ErasureTold | None = None

    # --- the entries -----------------------------------------------------------------------------

    def read(self) -> None:
        """Go through the entries, and then find out what came of packages and of what was unknown."""
        take = {
            Kind.INTENT: self._intent, Kind.OUTCOME: self._outcome, Kind.REFUSAL: self._refusal,
            Kind.REUSED: self._reused, Kind.CONSENT: self._consent, Kind.ERASURE: self._erased,
        }  # fmt: skip
        for entry in entries_of(self._connection, subject=self._subject):
            content = entry.content
            found = take.get(content["kind"])
            if found is not None:
                found(entry.index, content)
        for handover in self.handovers:
            self.handovers[handover] = beside.handed(self._connection, self._names.policy, handover)
        self._settle()

    def _same(self, value: Any) -> Any:
        """One object for equal values: thousands of disclosures name the same fields."""
        return self._shared.setdefault(value, value)

    def _intent(self, index: int, content: Mapping[str, Any]) -> None:
        at = datetime.fromisoformat(content["time"])
        asked: Key = (content["recipient"], content["operation"], content["purpose"])
        group = self._groups.setdefault(asked, _Group(at, at))
        group.see(at)
        handover = content.get("handover")
        form = self._form(content)
        single = Single(
            id=content["id"], index=index, at=at, form=group.forms.setdefault(form, len(group.forms)),
            result=Came.UNDER_WAY, code=None, returned=(), policy=self._same(content.get("policy")),
            consent=self._same(content.get("consent")), handover=self._same(handover), turned_back=False,
            kept_until=None if handover else self._term(asked, at),
        )  # fmt: skip
        if handover is not None:
            self.handovers.setdefault(handover, beside.Handed())
            turned_back = beside.turned_back(self._connection, handover, content["row"])
            single = replace(single, turned_back=turned_back)
        self._singles[single.id] = (single, asked)
        group.results[Came.UNDER_WAY] += 1
        group.singles.append(single.id)
        if len(group.singles) > LISTED:
            self._let_go(group.singles.popleft())

    def _let_go(self, single: str) -> None:
        """It is not listed any more; kept only while its outcome is not known."""
        known = self._singles.get(single)
        if known is not None and known[0].result is not Came.UNDER_WAY and single not in self._unknown:
            del self._singles[single]

    def _form(self, content: Mapping[str, Any]) -> Form:
        facts = self._facts(content)
        said = (
            content["caller"], content.get("ground"), tuple(content["clauses"]), tuple(content["fields"]),
            tuple(content.get("withheld", ())), facts,
        )  # fmt: skip
        known = self._forms.get(said)
        if known is None:
            caller, ground, clauses, fields, withheld, _ = said
            why, clause = self._names.ground(ground)
            known = self._forms[said] = Form(
                self._names.asker(caller), why, clause, self._names.clauses(clauses), fields, withheld, facts
            )
        return known

    def _facts(self, content: Mapping[str, Any]) -> FactsFrom | None:
        if self._key is None:
            return None
        stated = self._key.open(content).get("stated") or {}
        if "checked" in stated:
            return FactsFrom.RECORD
        return FactsFrom.STATED if stated.get("contract") else None

    def _term(self, asked: Key, at: datetime) -> date | None:
        """Until when the recipient may keep what left alone; `recall.keep_for` of its agreement."""
        known = self._names.policy.recipients.get(asked[0])
        keep_for = None if known is None else known.recall.keep_for
        return None if keep_for is None else self._same(self._names.policy.day(at + keep_for))

    def _outcome(self, _index: int, content: Mapping[str, Any]) -> None:
        returned = self._same(tuple(content.get("returned", ())))
        self._conclude(content["intent"], Came(content["result"]), content.get("code"), returned)

    def _conclude(self, single: str, result: Came, code: str | None, returned: tuple[str, ...] = ()) -> None:
        known = self._singles.get(single)
        if known is None:
            return  # its intent lies in a file
        before, asked = known
        group = self._groups[asked]
        group.results[before.result] -= 1
        group.results[result] += 1
        until = None if result is Came.NOT_SENT else before.kept_until
        code, returned = self._same(code), returned or before.returned
        self._singles[single] = (
            replace(before, result=result, code=code, returned=returned, kept_until=until), asked,
        )  # fmt: skip
        (self._unknown.add if result is Came.UNKNOWN else self._unknown.discard)(single)

    def _settle(self) -> None:
        """What came of packages concludes their rows; a person may have found out what nobody knew."""
        for single, (told, _) in list(self._singles.items()):
            if told.handover is not None:
                handed = self.handovers[told.handover]
                self._singles[single] = (replace(told, kept_until=handed.kept_until), self._singles[single][1])
                if handed.result is not None:
                    self._conclude(single, Came(handed.result), handed.code)
        self._settled()
        known = beside.unsettled(self._connection, self._subject)
        for single, (told, _) in list(self._singles.items()):
            # What came of it stands in an entry, which is not here.
            if told.result in beside.UNSETTLED and (told.handover or single) not in known:
                self._conclude(single, Came.IN_FILE, None)

    def _settled(self) -> None:
        unknown: dict[str, list[str]] = {}
        for single in self._unknown:
            unknown.setdefault(self._singles[single][0].handover or single, []).append(single)
        for entry in entries_of(self._connection, kind=Kind.CONTROL) if unknown else ():
            content = entry.content
            if content.get("act") == SETTLE:
                for single in unknown.get(content["intent"], ()):
                    self._conclude(single, Came(content["result"]), "settled")

    # --- what did not leave ----------------------------------------------------------------------

    def _refusal(self, _index: int, content: Mapping[str, Any]) -> None:
        why = tuple((each["guard"], each["clause"], each["result"]) for each in content["reasons"])
        said = (content["recipient"], content["operation"], content["purpose"], content["caller"], why)
        at = datetime.fromisoformat(content["time"])
        self._refusals.setdefault(said, _Counted(at, at)).see(at, content["id"])

    def _reused(self, _index: int, content: Mapping[str, Any]) -> None:
        said = (content["recipient"], content["operation"], content["purpose"], content["caller"])
        at = datetime.fromisoformat(content["time"])
        self._reuses.setdefault(said, _Counted(at, at)).see(at, content["disclosure"])

    def _consent(self, _index: int, content: Mapping[str, Any]) -> None:
        if self._key is not None:
            self._sealed[content["consent"]] = self._key.open(content)

    def _erased(self, index: int, content: Mapping[str, Any]) -> None:
        self.erasure = ErasureTold(
            at=datetime.fromisoformat(content["time"]), index=index, instrument=content.get("instrument"),
            in_effect=beside.epoch(self._connection) > int(content["epoch"]),
        )  # fmt: skip

    # --- what is told ----------------------------------------------------------------------------

    def disclosures(self) -> tuple[Disclosures, ...]:
        """By recipient, operation and purpose, in the order of the first."""
        return tuple(
            Disclosures(
                recipient=self._names.party(recipient),
                operation=operation,
                purpose=self._names.purpose(purpose),
                count=group.count,
                first=group.first,
                last=group.last,
                results=tuple((result, count) for result, count in group.results.items() if count),
                forms=tuple(group.forms),
                singles=tuple(self._singles[each][0] for each in reversed(group.singles)),
            )
            for (recipient, operation, purpose), group in self._groups.items()
        )

    def refusals(self) -> tuple[Refusals, ...]:
        """By what was asked and why it was refused."""
        names = self._names
        return tuple(
            Refusals(
                names.party(recipient), operation, names.purpose(purpose), names.asker(caller),
                tuple(self._why(*each) for each in why), counted.count, counted.first, counted.last,
            )
            for (recipient, operation, purpose, caller, why), counted in self._refusals.items()
        )  # fmt: skip

    def _why(self, guard: str, clause: str, result: str) -> Why:
        for route in self._names.policy.routes.values():
            for each in route.guards:
                if each.name == guard:
                    is_gap = result == Result.GAP
                    found = self._names.clause(clause)
                    return Why(guard, found, is_gap, each.config.expect, each.config.instrument)
        return Why(guard, self._names.clause(clause), result == Result.GAP, None, None)

    def reuses(self) -> tuple[Reuses, ...]:
        """By what was asked."""
        names = self._names
        return tuple(
            Reuses(
                names.party(recipient), operation, names.purpose(purpose), names.asker(caller), counted.count,
                counted.first, counted.last, tuple(dict.fromkeys(reversed(counted.ids))),
            )
            for (recipient, operation, purpose, caller), counted in self._reuses.items()
        )  # fmt: skip

    def consents(self, now: datetime) -> tuple[ConsentTold, ...]:
        """In the order in which they were given."""
        found = consents_of(self._connection, [self._subject]).get(self._subject, [])
        return tuple(self._told(each, now) for each in sorted(found, key=lambda one: (one.terms.given_at, one.id)))

    def _told(self, consent: Consent, now: datetime) -> ConsentTold:
        names, terms = self._names, consent.terms
        sealed = self._sealed.get(consent.id, {})
        return ConsentTold(
            id=consent.id,
            status=consent.status(now),
            given_at=terms.given_at,
            expires_at=terms.expires_at,
            withdrawal_asked_at=consent.withdrawal_asked_at,
            withdrawn_at=consent.withdrawn_at,
            purposes=tuple(names.purpose(each) for each in terms.purposes),
            third_parties=tuple(
                names.party(each) if each in names.policy.recipients else each for each in terms.third_parties
            ),
            fields=terms.fields,
            cross_border=terms.cross_border,
            publication=terms.publication,
            policy=terms.policy,
            method=terms.evidence,
            reference=(sealed.get("evidence") or {}).get("reference"),
            contract=sealed.get("contract"),
        )
