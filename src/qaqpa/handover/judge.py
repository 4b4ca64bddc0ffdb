"""Rows of a register, decided: each one by the policy alone, as if it had come alone.

Pure but for what is handed in: the persons, their consents and the facts of the system of record are looked up for a
chunk at once by whoever calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import orjson

from qaqpa.anonymity import Settled
from qaqpa.ledger.handovers import DecidedRow, Finding
from qaqpa.ledger.subjects import Person
from qaqpa.minimise import Context, Cut, RowMinimiser
from qaqpa.model.consent import Consent
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import RowResult
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import VOCABULARY, FieldPath
from qaqpa.policy import BulkDecider, Checked, Policy, Route, compared
from qaqpa.tables import Duplicates, Row

IIN = "identity.iin"
_FACT = "facts.contract."
_ALSO_DATA = tuple(name for name in ContractFacts.model_fields if f"contract.{name}" in VOCABULARY)
"""Facts that are fields of the data too: a register need not give them twice."""
_SHAPES = 4_096
_DAYS = frozenset(name for name in ContractFacts.model_fields if name.endswith("_on"))


@dataclass(slots=True)
class Judged:
    """A chunk of rows, decided. Nothing of it is entered yet."""

    decided: list[DecidedRow] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    results: bytearray = field(default_factory=bytearray)
    """A `RowResult` for each row, in order."""
    going: list[tuple[int, Cut]] = field(default_factory=list)
    """Line and data of the rows that go."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was looked up for a chunk."""

    people: Mapping[str, Person]
    recorded: Mapping[str, ContractFacts] | None = None
    """What the system of record says of their contracts; None where it cannot be asked now."""
    consents: Mapping[str, Sequence[Consent]] = field(default_factory=dict)
    """By subject."""


class Judge:
    """Decides the rows of one register, in their order. Not safe for several threads."""

    def __init__(
        self,
        policy: Policy,
        route: Route,
        asked: Asked,
        *,
        now: datetime,
        suspended: bool,
        pseudonyms: bytes,
        checks_facts: bool = False,
        settled: Settled | None = None,
    ) -> None:
        """`pseudonyms` is the random key of this handover's pseudonyms. With `checks_facts` what rows state is held
        against the system of record. `settled` says what becomes of rows that go de-identified.
        """
        self._checks_facts = checks_facts and route.asks_of_contract
        self._settled = settled
        self.route = route
        self._decider = BulkDecider(policy, route, asked, now=now, suspended=suspended)
        self._minimiser = RowMinimiser(route.fields, Context(policy.day(now), pseudonyms))
        # A person may stand once for each contract; one row twice would be sent twice.
        self._duplicates = Duplicates((IIN, "contract.number"))
        self._known: dict[int, tuple[tuple[GuardResult, ...], bool]] = {}

    def at(self, now: datetime, *, suspended: bool) -> None:
        """Go on at a later moment."""
        self._decider = self._decider.at(now, suspended=suspended)

    def screen(self, row: Row) -> Finding | None:
        """What forbids that this row is decided at all: it cannot be read, or stands twice."""
        problems = row.problems
        if not problems:
            twice = self._duplicates.problem(row)
            if twice is None:
                return None
            problems = (twice,)
            result = RowResult.DUPLICATE
        else:
            result = RowResult.MALFORMED
        reasons = tuple({"code": each.code, "column": each.column, "message": each.message} for each in problems)
        return Finding(row.number, result, reasons)

    def judge(self, rows: Sequence[Row], screened: Mapping[int, Finding], known: Known) -> Judged:
        """Decide `rows`, of which `screened` need no decision."""
        judged = Judged()
        for row in rows:
            finding = screened.get(row.number)
            if finding is None:
                self._one(row, known, judged)
            else:
                judged.findings.append(finding)
                judged.results.append(finding.result)
        return judged

    def going(self, rows: Sequence[Row], results: bytes) -> list[tuple[int, Cut]]:
        """What leaves of rows that were decided and entered before, by their `results`."""
        for row in rows:
            self.screen(row)  # so that later rows are told of these
        going = [row for row, result in zip(rows, results, strict=True) if result == RowResult.PERMIT]
        cut = []
        for row in going:
            data = _data(row)
            cut.append((row.number, self._minimiser.shape(data).cut(data, self._instead(data) or _NOTHING)))
        return cut

    def _instead(self, data: Mapping[str, Json]) -> Mapping[FieldPath, Json] | None:
        """What the quasi-identifiers of a de-identified row are to be made; None where it is left out."""
        if self._settled is None:
            return _NOTHING
        try:
            values = self._settled.values(data)
        except KeyError:  # what is on record of it has changed since the rows were counted
            return None
        return None if values is None else dict(zip(self.route.quasi, values, strict=True))

    def _permits(self, decision: Decision) -> bool:
        """`decision.permits`, asked once for all rows that share their guards."""
        guards = decision.guards
        known = self._known.get(id(guards))
        if known is None or known[0] is not guards:
            if len(self._known) > _SHAPES:
                self._known.clear()
            known = self._known[id(guards)] = (guards, decision.permits)
        return known[1]

    def _one(self, row: Row, known: Known, judged: Judged) -> None:
        data = _data(row)
        stated, contract = _facts(row.values)
        person = known.people[str(data[IIN])]
        consents: Sequence[Consent] = ()
        if person.known is not None and known.consents:
            consents = known.consents.get(person.known.id, ())
        shape = self._minimiser.shape(data)
        checked: Checked | None = None
        if self._checks_facts:
            contract, checked = compared(contract, data.get("contract.number"), known.recorded)
            stated = contract.model_dump(mode="json", exclude_none=True)
        decision = self._decider.decide(shape.present, contract, tuple(consents), checked)
        facts: dict[str, Json] = {"contract": stated, "consent": None}
        if not self._permits(decision):
            facts["handed_in"] = sorted(shape.present)
            judged.decided.append(DecidedRow(row.number, person, decision, facts))
            judged.findings.append(_blocked(row.number, decision))
            judged.results.append(judged.findings[-1].result)
            return
        instead = self._instead(data)
        if instead is None:
            judged.findings.append(Finding(row.number, RowResult.SUPPRESSED, ({"code": "too_few_alike"},)))
            judged.results.append(RowResult.SUPPRESSED)
            return
        cut = shape.cut(data, instead)
        record = orjson.dumps(cut.values, option=orjson.OPT_SORT_KEYS)
        judged.decided.append(DecidedRow(row.number, person, decision, facts, cut.fields, cut.withheld, record))
        judged.results.append(_PERMIT)
        judged.going.append((row.number, cut))


_NOTHING: Mapping[FieldPath, Json] = {}
_PERMIT = int(RowResult.PERMIT)


def _data(row: Row) -> dict[str, Json]:
    """The data of a row, without the facts."""
    return {path: value for path, value in row.values.items() if not path.startswith(_FACT)}


@lru_cache(maxsize=20_000)
def _day(text: str) -> date:
    return date.fromisoformat(text)


def _facts(values: Mapping[str, Json]) -> tuple[dict[str, Json], ContractFacts]:
    """The facts of a row, as stated and as they are decided on."""
    stated = {path[len(_FACT) :]: value for path, value in values.items() if path.startswith(_FACT)}
    for name in _ALSO_DATA:
        if name not in stated and (value := values.get(f"contract.{name}")) is not None:
            stated[name] = value
    # The values were read and checked by their types already.
    decided: dict[str, Any] = {name: _day(value) if name in _DAYS else value for name, value in stated.items()}
    return stated, ContractFacts.model_construct(**decided)


def _blocked(row: int, decision: Decision) -> Finding:
    result = RowResult.GAP if decision.result is Result.GAP else RowResult.DENY
    return Finding(
        row,
        result,
        tuple(
            {
                "code": reason.guard,
                "clause": reason.clause,
                "result": reason.result.value,
                **({"findings": list(reason.findings)} if reason.findings else {}),
                **({"missing": list(reason.missing)} if reason.missing else {}),
            }
            for reason in decision.reasons
        ),
    )
