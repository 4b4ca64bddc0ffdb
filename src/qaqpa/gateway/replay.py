"""Recorded decisions under a draft of the policy: read the decisions in the ledger, and make each once more.

Reads one snapshot in bounded memory, opens sealed parts with the subjects' keys, and enters nothing.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import Any

import orjson

from qaqpa.consent import consents_of
from qaqpa.errors import ConfigError, KeyringError, StoreUnavailable, VerificationFailed
from qaqpa.gateway.setup import Drafted, Setup
from qaqpa.ledger import Ledger
from qaqpa.ledger.archive import Archived, Bodies, archives, leaf_in
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.integrate import read_tile
from qaqpa.ledger.read import entries_of, size_of
from qaqpa.ledger.rotation import Progress
from qaqpa.ledger.span import NEVER, Span
from qaqpa.ledger.subjects import Subject
from qaqpa.model.consent import Consent
from qaqpa.model.decision import Asked, Reason, Result
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import FieldPath
from qaqpa.policy import Checked, Facts, OnRecord, Policy
from qaqpa.policy.replay import Recorded, Replayed, replay
from qaqpa.store import Connection, Row
from qaqpa.tlog.merkle import leaf_hash

BATCH = 1024
_MOMENT = len("01980000-0000-7fff")
"""Of an id: its time, to a quarter of a microsecond."""
_FIRST_MONTH, _LAST_MONTH = 0, 999912
_DECISIONS = (
    "SELECT idx, subject, time, body FROM entries WHERE kind IN ('intent', 'reused', 'refusal') "
    "AND month >= ? AND month <= ? ORDER BY idx"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A recorded decision whose outcome changes."""

    index: int
    entry: Mapping[str, Any]
    """What stands in the open."""
    replayed: Replayed


@dataclass(slots=True)
class Tally:
    """What came of a replay."""

    decisions: int = 0
    same: int = 0
    changed: int = 0
    untold: Counter[str] = field(default_factory=Counter)
    """Decisions of which it cannot be told whether they change, by what would have to be known."""
    erased: int = 0
    """Decisions about people who were erased: what they rested on cannot be read any more."""
    unreadable: int = 0
    """Decisions whose sealed part does not open, though its subject has a key."""
    in_files: int = 0
    """Entries of these months that lie in files that were not given, and were not looked at."""


def replay_ledger(
    ledger: Ledger,
    setup: Setup,
    drafted: Drafted,
    span: Span,
    progress: Progress,
    tell: Callable[[Found], None],
    archived: Bodies | None = None,
) -> Tally:
    """Decide every decision of `span` under the draft; those of months in files too, where `archived` reads them.

    Raises ConfigError for a draft with problems, VerificationFailed for a file that does not hold what the tree says.
    """
    if drafted.policy is None:
        raise ConfigError(drafted.problems)
    with ledger.store.snapshot() as connection:
        work = _Replay(ledger, setup, drafted.policy, connection, archived)
        begin, end = span.times(setup.policy.operator.time_zone)
        months = _month(begin, _FIRST_MONTH), _month(end, _LAST_MONTH)
        size = size_of(connection)
        apart = [each for each in archives(connection) if months[0] <= each.month <= months[1]]
        rows = iter(connection.stream(_DECISIONS, months))
        if archived is not None:
            kinds = {Kind.INTENT.value, Kind.REUSED.value, Kind.REFUSAL.value}
            files = (_of_file(connection, archived, each, kinds) for each in apart)
            rows = heapq.merge(rows, *files, key=itemgetter(0))
        while batch := list(islice(rows, BATCH)):
            for found in work.decide([row for row in batch if begin <= row[2] < end]):
                tell(found)
            progress(batch[-1][0] + 1, size)
        work.tally.in_files = sum(each.entries for each in apart) if archived is None else 0
        return work.tally


def _of_file(connection: Connection, archived: Bodies, month: Archived, kinds: set[str]) -> Iterator[Row]:
    """Entries of a month that was moved to a file, as `_DECISIONS` gives them. Raises VerificationFailed."""
    tile, found = read_tile(connection), 0
    for index, body in archived(month.month):
        # Whoever keeps the file could write anything into it; what is replayed is what was entered.
        if not month.first <= index <= month.last or leaf_hash(body) != leaf_in(tile, index):
            raise VerificationFailed(f"{month.file} does not hold entry {index} as it was", index=index)
        found += 1
        entry = orjson.loads(body)
        if entry["kind"] in kinds:
            yield index, entry.get("subject"), entry["time"], body
    if found != month.entries:
        raise VerificationFailed(f"{month.file} holds {found} entries and not {month.entries}")


def _month(moment: str, otherwise: int) -> int:
    return int(moment[:4] + moment[5:7]) if moment and moment != NEVER else otherwise


class _Replay:
    """One replay over one snapshot."""

    def __init__(
        self, ledger: Ledger, setup: Setup, draft: Policy, connection: Connection, archived: Bodies | None
    ) -> None:
        self.tally = Tally()
        self._subjects = ledger.subjects
        self._connection = connection
        self._draft = draft
        self._in_force, self._digest = setup.policy, setup.config.digest
        policies = [(entry.index, entry.content) for entry in entries_of(connection, kind=Kind.POLICY.value)]
        apart = archives(connection)
        if archived is not None:
            for month in apart:
                rows = _of_file(connection, archived, month, {Kind.POLICY.value})
                policies.extend((row[0], orjson.loads(row[3])) for row in rows)
            policies.sort(key=itemgetter(0))
        self._begins = [index for index, _ in policies]
        self._configs = [content["config"] for _, content in policies]
        self._unread = [] if archived is not None else apart

    def decide(self, rows: list[Row]) -> Iterator[Found]:
        """Those of `rows` whose outcome changes."""
        # A package was decided by its rows, and a notice of recall about nobody alone without anybody's facts.
        rows = [row for row in rows if row[1] is not None]
        people = {row[1] for row in rows}
        subjects = self._subjects.with_keys(self._connection, people)
        consents = consents_of(self._connection, people)
        for index, subject, _, body in rows:
            self.tally.decisions += 1
            entry = orjson.loads(bytes(body))
            if subject not in subjects:
                self.tally.erased += 1
                continue
            if entry["kind"] == Kind.REUSED and "sealed" not in entry:  # by a version that entered less of these
                self.tally.untold["facts as stated"] += 1
                continue
            try:
                recorded = self._recorded(index, entry, subjects[subject], consents.get(subject, []))
            except KeyringError:
                self.tally.unreadable += 1
                continue
            except (LookupError, ValueError, TypeError):
                raise StoreUnavailable(f"entry {index} is not an entry of ours: run `qaqpa ledger verify`") from None
            replayed = replay(self._draft, recorded)
            if replayed.differs:
                self.tally.changed += 1
                yield Found(index, entry, replayed)
            elif replayed.cannot_be_told:
                self.tally.untold[", ".join(replayed.untold)] += 1
            else:
                self.tally.same += 1

    def _recorded(self, index: int, entry: dict[str, Any], subject: Subject, consents: list[Consent]) -> Recorded:
        stated = subject.open(entry)["stated"]
        permitted = entry["kind"] != Kind.REFUSAL
        reasons = frozenset(
            Reason(each["guard"], each["clause"], Result(each["result"])) for each in entry.get("reasons", [])
        )
        left = frozenset(FieldPath(path) for path in entry.get("fields", []))
        handed_in = [*left, *entry["withheld"]] if permitted else stated.get("handed_in", [])
        moment = datetime.fromisoformat(entry["time"])
        on_record = tuple(_as_it_stood(consents, entry, moment))
        if (named := stated.get("consent")) is not None:
            on_record = tuple(consent for consent in on_record if consent.id == named)
        facts = Facts(
            now=moment,
            asked=Asked(
                CallerId(entry["caller"]), RecipientId(entry["recipient"]), entry["operation"], entry["purpose"]
            ),
            present=frozenset(FieldPath(path) for path in handed_in),
            contract=ContractFacts.model_validate(stated.get("contract", {})),
            consents=on_record,
            # Not decided anew: who was suspended is a matter of that day, not of a policy.
            suspended=any(reason.guard == "recipient_active" for reason in reasons),
            checked=_checked(stated),
        )
        return Recorded(
            result=Result.PERMIT if permitted else Result(entry["result"]),
            reasons=reasons,
            facts=facts,
            fields=left,
            names_kept=permitted or "handed_in" in stated,
            consents_told="consent" in stated or not on_record,
            in_force=self._policy_at(index),
        )

    def _policy_at(self, index: int) -> Policy | None:
        """The policy in force now, if the entry at `index` was made under it: of others only a digest is kept."""
        place = bisect_left(self._begins, index)
        since = self._begins[place - 1] if place > 0 else 0
        if any(each.first < index and since < each.last for each in self._unread):
            return None  # another policy may have come in between
        return self._in_force if place > 0 and self._configs[place - 1] == self._digest else None


def _as_it_stood(consents: list[Consent], entry: Mapping[str, Any], moment: datetime) -> Iterator[Consent]:
    """The consents that were on record when the decision was made, in the state of that moment.

    Ids begin with the time at which they were given out, consents' and decisions' by the same clock.
    """
    for consent in consents:
        used = consent.id == entry.get("consent")
        if consent.id[:_MOMENT] > entry["id"][:_MOMENT] and not used:
            continue
        asked, withdrawn = consent.withdrawal_asked_at, consent.withdrawn_at
        yield replace(
            consent,
            withdrawal_asked_at=asked if asked is not None and asked <= moment else None,
            # An intent is entered only while its consent stands, whatever two clocks say of the order.
            withdrawn_at=withdrawn if withdrawn is not None and withdrawn <= moment and not used else None,
        )


def _checked(stated: dict[str, Any]) -> Checked | None:
    """What the system of record said then; None where it was not asked."""
    checked = stated.get("checked")
    return None if checked is None else Checked(OnRecord(checked["found"]), tuple(checked["differing"]))
