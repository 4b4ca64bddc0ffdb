"""What callers see of handovers: where one stands, how fast it goes, which rows stayed behind and why.

The command line and the service say the same. Nothing here holds a value of a person.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from qaqpa.config.models import GuardConfig
from qaqpa.handover.handovers import Standing
from qaqpa.handover.pulse import Done, Stretch
from qaqpa.handover.records import Handover
from qaqpa.model.consent import UNCOVERED_WORDS, Uncovered
from qaqpa.model.handover import Finding, HandoverState, RowResult
from qaqpa.model.words import Language, Words, joined, timestamp
from qaqpa.policy import sentences as say
from qaqpa.tables import HEADINGS, MESSAGES

Answer = dict[str, Any]

RESULTS: Mapping[RowResult, Words] = {
    RowResult.PERMIT: Words(ru="передаётся", kk="беріледі", en="goes"),
    RowResult.DENY: Words(ru="запрещено", kk="тыйым салынған", en="denied"),
    RowResult.GAP: Words(ru="не хватает сведений", kk="мәлімет жетіспейді", en="something is missing"),
    RowResult.MALFORMED: Words(ru="ошибка в данных", kk="деректерде қате", en="wrong data"),
    RowResult.DUPLICATE: Words(ru="повтор", kk="қайталану", en="duplicate"),
    RowResult.SUPPRESSED: Words(ru="скрыто", kk="жасырылған", en="left out as recognisable"),
    RowResult.REJECTED: Words(ru="отклонено получателем", kk="алушы қабылдамады", en="rejected by the recipient"),
}
"""What became of a row, for people."""
_TOO_FEW_ALIKE = Words(
    ru="Слишком мало похожих строк: по этой можно узнать человека.",
    kk="Ұқсас жолдар тым аз: осы жол бойынша адамды тануға болады.",
    en="Too few rows look like this one: it would tell whom it is about.",
)
_REPEATS = Words(
    ru="Этот человек уже есть в более ранней строке",
    kk="Бұл адам бұдан бұрынғы жолда бар",
    en="This person stands already in an earlier row",
)
_THEIR_CODE = Words(ru="Код получателя: {code}", kk="Алушының коды: {code}", en="The recipient's code: {code}")
_LAW = {
    "route_known": say.NO_ROUTE,
    "policy_in_force": say.NO_POLICY,
    "recipient_active": say.SUSPENDED,
    "agreement_in_force": say.NO_AGREEMENT,
    "jurisdiction": UNCOVERED_WORDS[Uncovered.NO_CROSS_BORDER],
    "breach_on_record": say.NO_BREACH,
    "service_named": say.NO_SERVICE,
    "token_on_record": say.NO_TOKEN,
}
_ON_RECORD = {"contract_unreachable": say.RECORD_UNREACHABLE, "contract_unknown": say.RECORD_UNKNOWN}
_WORKED_ON = {HandoverState.QUEUED, HandoverState.DECIDING, HandoverState.PACKAGED, HandoverState.SENDING}

NEXT: Mapping[HandoverState, tuple[HandoverState, ...]] = {
    HandoverState.QUEUED: (HandoverState.DECIDING, HandoverState.CANCELLED),
    HandoverState.DECIDING: (HandoverState.PACKAGED, HandoverState.CANCELLED),
    HandoverState.PACKAGED: (HandoverState.SENDING, HandoverState.CANCELLED),
    HandoverState.SENDING: (HandoverState.SENT, HandoverState.UNKNOWN, HandoverState.CANCELLED),
    HandoverState.SENT: (HandoverState.ACKNOWLEDGED, HandoverState.REJECTED),
    HandoverState.UNKNOWN: (HandoverState.SENT, HandoverState.REJECTED, HandoverState.CANCELLED),
    HandoverState.ACKNOWLEDGED: (),
    HandoverState.REJECTED: (),
    HandoverState.CANCELLED: (),
}
"""What may follow a state."""


# --- why -------------------------------------------------------------------------------------------


def _columns(paths: Iterable[str], language: Language) -> tuple[str, ...]:
    """Fields and facts by the headings under which a register has them."""
    words = ((path, HEADINGS.get(f"facts.{path}", HEADINGS.get(path))) for path in paths)
    return tuple(path if known is None else known.in_language(language) for path, known in words)


def _words(reason: Mapping[str, Any], guards: Mapping[str, GuardConfig], language: Language) -> Words | None:
    code, findings = reason["code"], tuple(reason.get("findings", ()))
    missing = _columns(reason.get("missing", ()), language)
    if findings and findings[0] in _ON_RECORD:
        return _ON_RECORD[findings[0]]
    if code == "consent_covers" and findings:
        return joined(tuple(UNCOVERED_WORDS[Uncovered(each)] for each in findings))
    if code == "facts_agree" and findings and not missing:
        return say.record_differs(_columns(findings, language))
    if missing:
        return say.lacking_fields(missing) if code == "fields_present" else say.lacking(missing)
    if code in guards:
        return say.UNDECIDABLE if reason.get("result") == "gap" else guards[code].otherwise
    return _LAW.get(code)


def sentence(finding: Finding, reason: Mapping[str, Any], guards: Mapping[str, GuardConfig], language: Language) -> str:
    """One reason of a finding in `language`; its code, where nobody knows it any more."""
    code = str(reason["code"])
    if finding.result is RowResult.REJECTED:
        return _THEIR_CODE.in_language(language).format(code=code)
    if code == "too_few_alike":
        return _TOO_FEW_ALIKE.in_language(language)
    if "column" in reason:
        told = MESSAGES[code].in_language(language) if code in MESSAGES else code
        earlier = re.search(r"\d+", str(reason.get("message", "")))  # of the row that a duplicate repeats
        return told.format(row=earlier[0] if earlier else "?") if "{row}" in told else told
    words = _words(reason, guards, language)
    return code if words is None else words.in_language(language)


def finding_answer(finding: Finding, guards: Mapping[str, GuardConfig], language: Language) -> Answer:
    """A row that did not go, or was rejected, and why."""
    reasons = []
    for each in finding.reasons:
        reason: Answer = {"code": each["code"], "message": sentence(finding, each, guards, language)}
        reason |= {name: each[name] for name in ("clause", "column", "missing") if each.get(name)}
        reasons.append(reason)
    return {"row": finding.number, "result": finding.result.name.lower(), "reasons": reasons}


def reason_lines(finding: Finding, guards: Mapping[str, GuardConfig], language: Language) -> list[str]:
    """Its reasons, a line each, with the column or the clause that they are about."""
    lines = []
    for each in finding_answer(finding, guards, language)["reasons"]:
        about = each.get("column") or each.get("clause")
        lines.append(f"{about}: {each['message']}" if about else each["message"])
    return lines


@dataclass(slots=True)
class Tally:
    """Rows by result, and by result and reason."""

    language: Language
    results: Counter[RowResult] = field(default_factory=Counter)
    reasons: Counter[tuple[RowResult, str]] = field(default_factory=Counter)

    def add(self, finding: Finding, lines: Sequence[str], rows: int = 1) -> Sequence[str]:
        """One row that does not go, or several alike, with their reasons in words; under which words they count."""
        self.results[finding.result] += rows
        if finding.result is RowResult.DUPLICATE:  # which row it repeats says nothing of how many there are
            about = finding.reasons[0].get("column")
            said = _REPEATS.in_language(self.language)
            lines = [f"{about}: {said}" if about else said]
        self.reasons.update({(finding.result, line): rows for line in lines})
        return lines

    @property
    def held(self) -> int:
        """Rows that do not go."""
        return sum(self.results.values()) - self.results[RowResult.PERMIT]

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "rows": {result.name.lower(): self.results[result] for result in RowResult if self.results[result]},
            "reasons": [
                {"result": result.name.lower(), "reason": reason, "rows": count}
                for (result, reason), count in self.sorted
            ],
        }

    @property
    def sorted(self) -> list[tuple[tuple[RowResult, str], int]]:
        """The most frequent reason first."""
        return sorted(self.reasons.items(), key=lambda each: (-each[1], each[0]))


def tally_of(findings: Iterable[Finding], guards: Mapping[str, GuardConfig], language: Language) -> Tally:
    """Of rows that are decided."""
    tally = Tally(language)
    for finding in findings:
        tally.add(finding, reason_lines(finding, guards, language))
    return tally


# --- how far ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pace:
    """How far a handover has come in what it does now. Bytes are of the register, or of the package once it is sent."""

    rows: int
    bytes: int
    of_bytes: int
    rows_per_s: float | None = None
    """In this stretch of work; None while no row is decided in it, or nobody works on it."""
    bytes_per_s: float | None = None
    eta_s: float | None = None
    """Until this state is over; None where that cannot be told."""


def pace(standing: Standing, now: datetime) -> Pace:
    """How fast a handover goes."""
    handover, progress = standing.handover, standing.progress
    if handover.state is HandoverState.DECIDING:
        done, whole = min(progress.read, handover.order.bytes), handover.order.bytes
    elif handover.state is HandoverState.SENDING:
        done, whole = int(handover.figures.get("uploaded", 0)), int(handover.figures["package"]["bytes"])
    else:
        whole = int(handover.figures.get("package", {}).get("bytes", 0))
        return Pace(progress.rows, whole if handover.state not in _WORKED_ON else 0, whole or handover.order.bytes)
    rows, rate = _rates(handover, Done(progress.rows, done), now)
    # A spreadsheet is read whole before its first row.
    eta = None if rate is None or done >= whole else round((whole - done) / rate, 1)
    return Pace(progress.rows, done, whole, rows and round(rows, 1), rate and round(rate, 1), eta)


def _rates(handover: Handover, done: Done, now: datetime) -> tuple[float | None, float | None]:
    """Rows and bytes a second of the time in which it was worked on in this run; None where that cannot be told."""
    run = Stretch.of(handover.figures)
    seconds = None if run is None or run.state is not handover.state else run.seconds(now)
    if run is None or seconds is None:
        return None, None
    rows, size = done.rows - run.begun.rows, done.bytes - run.begun.bytes
    deciding = handover.state is HandoverState.DECIDING
    return rows / seconds if deciding and rows > 0 else None, size / seconds if size > 0 else None


# --- all of it -------------------------------------------------------------------------------------


def brief_answer(handover: Handover) -> Answer:
    """A handover in a list."""
    order = handover.order
    return {
        "handover": handover.id,
        "state": handover.state.value,
        "caller": order.caller,
        "recipient": order.recipient,
        "operation": order.operation,
        "purpose": order.purpose,
        "since": timestamp(handover.since),
        "changed": timestamp(handover.changed),
    }


def handover_answer(standing: Standing, package: str | None, now: datetime) -> Answer:
    """A handover as it stands; `package` is the name of its file at the recipient."""
    handover, figures = standing.handover, standing.handover.figures
    order = handover.order
    answer = brief_answer(handover) | {
        "strict": order.strict,
        "priority": order.priority,
        "code": figures.get("code"),
        "progress": asdict(pace(standing, now)),
        "rows": {result.name.lower(): count for result, count in standing.counts.items() if count},
        "documents": [{"kind": each.kind, "type": each.type, "bytes": each.bytes} for each in order.documents],
        "package": None,
        "batch": figures.get("batch"),
        "alike": figures.get("alike"),
        "receipt": None,
        "waits": figures.get("waits") if handover.state in _WORKED_ON | {HandoverState.SENT} else None,
        "held_up_by": figures.get("held_up_by"),
        "problems": list(figures.get("problems", ())),
        "follows": order.follows,
        "reports": [
            {"recipient": each.recipient, "handover": each.upload, "state": each.state and each.state.value,
             "contracts": each.contracts}
            for each in standing.reports
        ],
    }  # fmt: skip
    if (made := figures.get("package")) is not None and package is not None:
        answer["package"] = {
            "name": package, "rows": figures["rows"], "bytes": made["bytes"], "sha256": made["sha256"],
            "key": made["kid"], "manifest_sha256": made["manifest"],
        }  # fmt: skip
    if (receipt := figures.get("receipt")) is not None:
        # What a bureau says of a batch is its receipt, and it promises no day.
        answer["receipt"] = {name: receipt.get(name) for name in ("result", "rejected", "signed", "destruction_due")}
    return answer
