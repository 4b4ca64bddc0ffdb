"""Rows of a register, decided: each one by the policy alone, as if it had come alone.

Pure but for what is handed in: consents and the facts of the system of record are looked up for a chunk at once by
whoever calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from qaqpa.anonymity import Settled
from qaqpa.errors import InvalidRequest
from qaqpa.minimise import Context, Cut, RowMinimiser, RowShape
from qaqpa.model.consent import Consent
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import DecidedRow, Finding, RowResult
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import VOCABULARY, FieldPath
from qaqpa.policy import BulkDecider, Checked, Policy, Route, compared
from qaqpa.tables import Duplicates, Row

IIN = "identity.iin"
NUMBER = "contract.number"
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

    recorded: Mapping[str, ContractFacts] | None = None
    """What the system of record says of their contracts; None where it cannot be asked now."""
    consents: Mapping[str, Sequence[Consent]] = field(default_factory=dict, repr=False)
    """By IIN."""


def asked_of(rows: Sequence[Row], screened: Mapping[int, Finding]) -> tuple[list[str], list[str]]:
    """IINs and contracts' numbers that must be looked up to decide `rows`, of which `screened` need no decision."""
    asked = [row.values for row in rows if row.number not in screened]
    numbers = (values.get(f"{_FACT}number") or values.get(NUMBER) for values in asked)
    return [str(values[IIN]) for values in asked], [str(number) for number in numbers if number is not None]


class _Plan(NamedTuple):
    """What rows share that have values in the same columns."""

    shape: RowShape
    facts: Mapping[str, str]
    """Columns of the facts that they state, by name."""
    counting: tuple[str, ...]
    """Facts that they are decided on."""
    columns: tuple[str, ...]
    """The column of each."""


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
        tries: Callable[[int, Cut], object] | None = None,
    ) -> None:
        """`pseudonyms` is the random key of this handover's pseudonyms. With `checks_facts` what rows state is held
        against the system of record. `settled` says what becomes of rows that go de-identified. `tries` raises
        InvalidRequest for a row that cannot be written in the recipient's format.
        """
        self._tries = tries
        self._checks_facts = checks_facts and route.asks_of_contract
        self._settled = settled
        self.route = route
        self._decider = BulkDecider(policy, route, asked, now=now, suspended=suspended)
        self._minimiser = RowMinimiser(route.fields, Context(policy.day(now), pseudonyms))
        # A person may stand once for each contract; one row twice would be sent twice.
        self._duplicates = Duplicates((IIN, "contract.number"))
        named = {name for guard in route.guards for name in guard.needs}
        self._numbers_count = self._checks_facts or "contract.number" in named
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._known: dict[int, tuple[tuple[GuardResult, ...], bool]] = {}
        self._decisions: dict[tuple[int, str | None], Decision] = {}
        """Of the chunk at hand, by guards and consent: equal ones are one object."""

    def at(self, now: datetime, *, suspended: bool) -> None:
        """Go on at a later moment."""
        self._decider = self._decider.at(now, suspended=suspended)

    def screen_all(self, rows: Sequence[Row]) -> dict[int, Finding]:
        """By line, what forbids that a row is decided at all."""
        found = ((row.number, self.screen(row)) for row in rows)
        return {number: finding for number, finding in found if finding is not None}

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
        self._decisions.clear()
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
        going = [row for row, result in zip(rows, results, strict=True) if result == RowResult.PERMIT]
        return [
            (row.number, self._plan(row.values).shape.cut(row.values, self._instead(row.values) or _NOTHING))
            for row in going
        ]

    def _instead(self, row: Mapping[str, Json]) -> Mapping[FieldPath, Json] | None:
        """What the quasi-identifiers of a de-identified row are to be made; None where it is left out."""
        if self._settled is None:
            return _NOTHING
        try:
            values = self._settled.values(row)
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

    def _plan(self, values: Mapping[str, Json]) -> _Plan:
        """What all rows share that have values in the same columns."""
        columns = tuple(values)
        found = self._plans.get(columns)
        if found is None:
            if len(self._plans) > _SHAPES:
                self._plans.clear()
            data = {path: value for path, value in values.items() if not path.startswith(_FACT)}
            facts = {path[len(_FACT) :]: path for path in columns if path.startswith(_FACT)}
            for name in _ALSO_DATA:
                if f"contract.{name}" in data:
                    facts.setdefault(name, f"contract.{name}")
            # Facts of many rows are alike but for the number, which hardly ever counts.
            counting = tuple(name for name in facts if name != "number" or self._numbers_count)
            found = self._plans[columns] = _Plan(
                self._minimiser.shape(data), facts, counting, tuple(facts[name] for name in counting)
            )
        return found

    def _one(self, row: Row, known: Known, judged: Judged) -> None:
        values = row.values
        plan = self._plan(values)
        shape = plan.shape
        stated = {name: values[path] for name, path in plan.facts.items()}
        contract = _contract(plan.counting, tuple([values[path] for path in plan.columns]))
        iin = str(values[IIN])
        consents = known.consents.get(iin, ()) if known.consents else ()
        checked: Checked | None = None
        if self._checks_facts:
            contract, checked = compared(contract, _text(values.get(NUMBER)), known.recorded)
            stated = contract.model_dump(mode="json", exclude_none=True)
        decision = self._decider.decide(shape.present, contract, tuple(consents), checked)
        if decision.shadow is None:
            decision = self._decisions.setdefault((id(decision.guards), decision.consent), decision)
        facts: dict[str, Json] = {"contract": stated, "consent": None}
        if not self._permits(decision):
            facts["handed_in"] = sorted(shape.present)
            judged.decided.append(DecidedRow(row.number, iin, decision, orjson.dumps(facts, option=_SORTED)))
            judged.findings.append(_blocked(row.number, decision))
            judged.results.append(judged.findings[-1].result)
            return
        instead = _NOTHING if self._settled is None else self._instead(values)
        if instead is None:
            judged.findings.append(Finding(row.number, RowResult.SUPPRESSED, ({"code": "too_few_alike"},)))
            judged.results.append(RowResult.SUPPRESSED)
            return
        cut = shape.cut(values, instead)
        if self._tries is not None:
            try:
                self._tries(row.number, cut)
            except InvalidRequest as error:
                reasons = tuple({"code": "cannot_be_written", "column": "", "message": each} for each in error.problems)
                judged.findings.append(Finding(row.number, RowResult.MALFORMED, reasons))
                judged.results.append(RowResult.MALFORMED)
                return
        said, record = orjson.dumps(facts, option=_SORTED), orjson.dumps(cut.values, option=_SORTED)
        judged.decided.append(DecidedRow(row.number, iin, decision, said, cut.fields, cut.withheld, record))
        judged.results.append(_PERMIT)
        judged.going.append((row.number, cut))


_NOTHING: Mapping[FieldPath, Json] = {}
_SORTED = orjson.OPT_SORT_KEYS
_PERMIT = int(RowResult.PERMIT)


@lru_cache(maxsize=4_096)
def _contract(names: tuple[str, ...], said: tuple[Json, ...]) -> ContractFacts:
    """The facts that a row states, as they are decided on. Its values were read and checked by their types already."""
    facts = dict(zip(names, said, strict=True))
    decided: dict[str, Any] = {
        name: date.fromisoformat(value) if name in _DAYS else value for name, value in facts.items()
    }
    return ContractFacts.model_construct(**decided)


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


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
