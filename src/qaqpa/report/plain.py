"""The report to one person as JSON values: stable names and codes for programs, and beside them, once for each name,
what it says in the reader's language. The shape is described in docs/reports.md; `format` grows when it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any, TypeVar

from qaqpa.model.words import Language, timestamp
from qaqpa.report.named import Asker, Clause, Drawn, Party, Purpose
from qaqpa.report.saying import Saying
from qaqpa.report.subject import ConsentTold, Disclosures, Form, RecallTold, Refusals, Reuses, Single, SubjectReport

FORMAT = 1
Json = dict[str, Any]
Value = TypeVar("Value")


def plain_report(report: SubjectReport, say: Saying) -> Json:
    """The report as JSON values."""
    return _Plain(say).report(report)


def _moment(value: datetime | None) -> str | None:
    return None if value is None else timestamp(value)


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def drawn(told: Drawn) -> Json:
    """When and over how much a report was drawn."""
    checkpoint = told.checkpoint
    return {
        "at": _moment(told.at),
        "entries": told.entries,
        "policy": told.policy,
        "checkpoint": None
        if checkpoint is None
        else {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root,
            "at": _moment(checkpoint.at),
        },
    }


class _Plain:
    """Collects the names that are met, so that each is told once."""

    def __init__(self, say: Saying) -> None:
        self._say = say
        self._language: Language = say.language
        self._recipients: dict[str, Json] = {}
        self._kinds: dict[str, str] = {}
        self._callers: dict[str, Json] = {}
        self._purposes: dict[str, str | None] = {}
        self._clauses: dict[str, str | None] = {}
        self._operations: dict[str, str] = {}
        self._fields: dict[str, str] = {}

    def report(self, report: SubjectReport) -> Json:
        erasure, held = report.erasure, report.held
        told = {
            "consents": [self._consent(each) for each in report.consents],
            "disclosures": [self._group(each) for each in report.disclosures],
            "refusals": [self._refusals(each) for each in report.refusals],
            "reuses": [self._reuses(each) for each in report.reuses],
            "recalls": [self._recall(each) for each in report.recalls],
            "held": {
                "answers": held.answers, "answers_until": _moment(held.answers_until), "evidence": held.evidence,
                "awaited": held.awaited,
            },
            "erasure": None if erasure is None else {
                "at": _moment(erasure.at), "entry": erasure.index, "in_effect": erasure.in_effect,
                "instrument": erasure.instrument,
            },
            "moved": [{"month": f"{each.month:%Y-%m}", "file": each.file} for each in report.moved],
            "rights": self._each(report.rights, self._clause),
        }  # fmt: skip
        return {
            "format": FORMAT,
            "language": self._language,
            "operator": {"name": report.operator.name, "bin": report.operator.bin},
            "drawn": drawn(report.drawn),
            "about": report.about,
            "subject": report.subject,
            "empty": report.is_empty,
            **told,
            "names": {
                "recipients": self._recipients, "kinds": self._kinds, "callers": self._callers,
                "purposes": self._purposes, "clauses": self._clauses, "operations": self._operations,
                "fields": self._fields,
            },
        }  # fmt: skip

    # --- what is told ----------------------------------------------------------------------------

    def _consent(self, consent: ConsentTold) -> Json:
        return {
            "consent": consent.id,
            "status": consent.status.value,
            "given_at": _moment(consent.given_at),
            "expires_at": _moment(consent.expires_at),
            "withdrawal_asked_at": _moment(consent.withdrawal_asked_at),
            "withdrawn_at": _moment(consent.withdrawn_at),
            "purposes": self._each(consent.purposes, self._purpose),
            "third_parties": [
                self._kind(each) if isinstance(each, str) else self._recipient(each) for each in consent.third_parties
            ],
            "fields": self._each(consent.fields, self._field),
            "cross_border": consent.cross_border,
            "publication": consent.publication,
            "policy": consent.policy,
            "evidence": {
                "method": None if consent.method is None else consent.method.value,
                "reference": consent.reference,
            },
            "contract": consent.contract,
        }

    def _asked(self, told: Disclosures | Refusals | Reuses) -> Json:
        return {
            "recipient": self._recipient(told.recipient),
            "operation": self._operation(told.operation),
            "purpose": self._purpose(told.purpose),
            "count": told.count,
            "first": _moment(told.first),
            "last": _moment(told.last),
        }

    def _group(self, group: Disclosures) -> Json:
        return {
            **self._asked(group),
            "results": {result.value: count for result, count in group.results},
            "forms": [self._form(each) for each in group.forms],
            "singles": [self._single(each) for each in group.singles],
            "unlisted": group.unlisted,
        }

    def _form(self, form: Form) -> Json:
        return {
            "caller": self._caller(form.caller),
            "ground": None if form.ground is None else form.ground.value,
            "clauses": self._each(form.clauses, self._clause),
            "fields": self._each(form.fields, self._field),
            "withheld": self._each(form.withheld, self._field),
            "facts": None if form.facts is None else form.facts.value,
        }

    def _single(self, single: Single) -> Json:
        return {
            "disclosure": single.id,
            "entry": single.index,
            "at": _moment(single.at),
            "form": single.form,
            "result": single.result.value,
            "code": single.code,
            "returned": self._each(single.returned, self._field),
            "policy": single.policy,
            "consent": single.consent,
            "handover": single.handover,
            "turned_back": single.turned_back,
            "kept_until": _day(single.kept_until),
        }

    def _refusals(self, refusals: Refusals) -> Json:
        why = [
            {
                "guard": each.guard, "clause": self._clause(each.clause), "result": "gap" if each.is_gap else "deny",
                "expects": None if each.expects is None else each.expects.in_language(self._language),
                "instrument": each.instrument,
            }
            for each in refusals.why
        ]  # fmt: skip
        return {**self._asked(refusals), "caller": self._caller(refusals.caller), "reasons": why}

    def _reuses(self, reuses: Reuses) -> Json:
        return {
            **self._asked(reuses), "caller": self._caller(reuses.caller), "disclosures": list(reuses.disclosures),
        }  # fmt: skip

    def _recall(self, recall: RecallTold) -> Json:
        return {
            "recall": recall.id,
            "of": recall.of,
            "scope": recall.scope.value,
            "recipient": self._recipient(recall.recipient),
            "reason": recall.reason.value,
            "state": recall.state.value,
            "asked_at": _moment(recall.asked_at),
            "changed_at": _moment(recall.changed_at),
            "due_on": _day(recall.due_on),
        }

    # --- names, each told once -------------------------------------------------------------------

    def _each(self, values: Iterable[Value], name: Callable[[Value], str]) -> list[str]:
        return [name(value) for value in values]

    def _recipient(self, party: Party) -> str:
        if party.id not in self._recipients:
            known = None if party.name is None else party.name.in_language(self._language)
            kind = None if party.kind is None else self._kind(party.kind)
            self._recipients[party.id] = {
                "name": known, "kind": kind, "bin": party.bin, "country": party.country, "address": party.address,
            }  # fmt: skip
        return party.id

    def _kind(self, kind: str) -> str:
        self._kinds[kind] = self._say.kind(kind)
        return kind

    def _caller(self, asker: Asker) -> str:
        if asker.id not in self._callers:
            known = None if asker.name is None else asker.name.in_language(self._language)
            self._callers[asker.id] = {"name": known, "kind": asker.kind}
        return asker.id

    def _purpose(self, purpose: Purpose) -> str:
        self._purposes[purpose.name] = None if purpose.clause is None else self._clause(purpose.clause)
        return purpose.name

    def _clause(self, clause: Clause) -> str:
        if clause.id not in self._clauses:
            self._clauses[clause.id] = None if clause.says is None else clause.says.in_language(self._language)
        return clause.id

    def _operation(self, operation: str) -> str:
        self._operations[operation] = self._say.operation(operation)
        return operation

    def _field(self, path: str) -> str:
        if path not in self._fields:
            self._fields[path] = self._say.field(path)
        return path
