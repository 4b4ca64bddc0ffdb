"""A ledger with everything in it that disclosures are found and counted by, entered at random, and what is to be found
by definition: every body parsed, nothing remembered.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from books import Book
from qaqpa.ledger import entries, recalls
from qaqpa.ledger.agreed import AGREE, ASK_APPROVAL, Act, digest, written
from qaqpa.ledger.entries import Kind, Public
from qaqpa.ledger.integrate import BLOCK
from qaqpa.ledger.subjects import Subject
from qaqpa.model.actors import SHELL, both, called
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.handover import HandoverState, RowResult, row_id
from qaqpa.model.identifiers import CallerId, HandoverId, RecipientId, uuid7
from qaqpa.model.recall import RecallReason, RecallScope
from qaqpa.model.words import Ground, OutcomeResult, SealKind, Words, timestamp
from qaqpa.store import Connection

PEOPLE = [f"{number:012d}" for number in range(900101300001, 900101300013)]
ROUTES = (
    Asked(CallerId("scoring"), RecipientId("bureau"), "credit_report", "application_review"),
    Asked(CallerId("scoring"), RecipientId("pension"), "contributions", "application_review"),
    Asked(CallerId("collections"), RecipientId("collector"), "handover", "debt_collection"),
    Asked(CallerId("collections"), RecipientId("bureau"), "contract_upload", "legal_duty"),
)
GUARDS = ("consent_covers", "breach_notified", "recipient_active")
FIELDS = ("identity.iin", "identity.last_name", "contact.mobile", "contract.number")
WORDS = Words(ru="р", kk="к", en="e")
RESULTS = tuple(OutcomeResult)
_AFTER = {
    OutcomeResult.DELIVERED: HandoverState.SENT, OutcomeResult.REJECTED: HandoverState.REJECTED,
    OutcomeResult.NOT_SENT: HandoverState.CANCELLED, OutcomeResult.UNKNOWN: HandoverState.UNKNOWN,
}  # fmt: skip
_ADD_HANDOVER = (
    "INSERT INTO handovers (id, caller, recipient, state, since, changed, ordered, figures) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ADD_APPROVAL = (
    "INSERT INTO approvals (id, act, what, reason, asked_by, asked_at, expires, state, decided_by, decided_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, 'done', ?, ?)"
)
_ADD_CHUNK = "INSERT INTO handover_chunks (handover, number, results, figures) VALUES (?, 0, ?, ?)"


def decided(rng: random.Random, asked: Asked, result: Result = Result.PERMIT) -> Decision:
    guards = rng.sample(GUARDS, rng.randint(1, 3))
    made = tuple(GuardResult(each, "2.3(1)", WORDS, result) for each in guards)
    ground = rng.choice([Ground.CONSENT, Ground.LEGAL_PROTECTION]) if result is Result.PERMIT else None
    return Decision(
        asked, datetime.now(UTC), made, ground=ground,
        clauses=tuple(rng.sample(["1.1(10)", "2.3(1)", "5.5"], rng.randint(1, 3))), policy="2025-01",
        consent=uuid7() if ground is Ground.CONSENT else None,
    )  # fmt: skip


@dataclass
class History:
    """Enters things into a book."""

    book: Book
    rng: random.Random
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    step: timedelta = timedelta(minutes=7)
    open: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    handovers: list[tuple[str, int]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    async def enter(self, kind: Kind, public: Public, *, request: str | None = None, iin: str | None = None) -> str:
        ledger = self.book.ledger
        self.at += self.step
        public = {**public, "time": timestamp(self.at)}
        about: Subject | None = None
        if iin is not None:
            about = await ledger.subjects.ensure(iin)
            public["subject"] = about.id
        draft = ledger.draft(kind, request or str(public["id"]), public, about, None if about is None else {"iin": iin})
        await ledger.store.write(lambda connection: ledger.append(connection, draft))
        return str(public["id"])

    def intent(self, asked: Asked | None = None) -> Public:
        decision, rng = decided(self.rng, asked or self.rng.choice(ROUTES)), self.rng
        fields = sorted(rng.sample(FIELDS, rng.randint(1, 4)))
        row = entries.row_intent(
            HandoverId("h"), 1, uuid7(), decision, fields, ["withheld"], "", seal=SealKind.JWE, time=""
        )
        del row["handover"], row["row"]
        return row | {"endpoint": "report"} | ({"kdp": True} if rng.random() < 0.1 else {})

    async def single(self) -> str:
        made = await self.enter(Kind.INTENT, self.intent(), iin=self.rng.choice(PEOPLE))
        self.open.append(made)
        return made

    async def conclude(self, disclosure: str, result: OutcomeResult, rows: int | None = None) -> None:
        public = entries.interrupted(disclosure, "", result, at=self.at) | {"code": "ok"}
        if rows is None:
            await self.enter(Kind.OUTCOME, public, request=disclosure, iin=self.rng.choice(PEOPLE))
        else:
            public = entries.package_outcome(HandoverId(disclosure), result, "ok", rows, at=self.at)
            await self.enter(Kind.OUTCOME, public, request=disclosure)
        (self.unknown if result is OutcomeResult.UNKNOWN else self.done).append(disclosure)

    async def some_outcome(self) -> None:
        if self.open:
            at = self.rng.randrange(len(self.open))
            await self.conclude(self.open.pop(at), self.rng.choice(RESULTS))

    async def refuse(self, **more: Any) -> None:
        result = self.rng.choice([Result.DENY, Result.GAP])
        decision = decided(self.rng, self.rng.choice(ROUTES), result)
        public = entries.refusal(decision, decision.asked, None, at=self.at) | more
        await self.enter(Kind.REFUSAL, public, iin=self.rng.choice(PEOPLE))

    async def reuse(self) -> None:
        if not self.done:
            return
        public = self.intent(ROUTES[0]) | {"kind": "reused", "disclosure": self.rng.choice(self.done), "returned": []}
        for name in ("seal", "endpoint", "kdp"):
            public.pop(name, None)
        await self.enter(Kind.REUSED, public, iin=self.rng.choice(PEOPLE))

    async def rows(self, count: int) -> None:
        """Rows of a new handover, some refused; its package comes later, or never."""
        handover = HandoverId(uuid7())
        for row in range(2, count + 2):
            if self.rng.random() < 0.2 and row > 2:
                await self.refuse(handover=handover, row=row)
                continue
            of_row = {"id": row_id(handover, row), "handover": handover, "row": row, "endpoint": "package"}
            public = self.intent(ROUTES[2]) | of_row
            public.pop("kdp", None)
            await self.enter(Kind.INTENT, public, iin=self.rng.choice(PEOPLE))
        permitted = sum(
            entry["kind"] == "intent" for entry in self.book.contents() if entry.get("handover") == handover
        )
        self.handovers.append((handover, permitted))

    async def package(self) -> None:
        if not self.handovers:
            return
        handover, rows = self.handovers.pop()
        policy = {"policy": "2025-01", "ground": "legal_protection", "clauses": ["2.3(3)"]}
        public = entries.package_intent(
            HandoverId(handover), ROUTES[2], policy, seal=SealKind.AGE, rows=rows, package={}, at=self.at
        )
        await self.enter(Kind.INTENT, public)
        result = self.rng.choice(RESULTS)
        await self.conclude(handover, result, rows)
        if result is OutcomeResult.DELIVERED:
            self.sent.append(handover)

    async def stand(self) -> None:
        """Put handovers into their tables as the gate keeps them: as far as the entries say that each has come."""
        lines: dict[str, list[int]] = {}
        states: dict[str, HandoverState] = {}
        for said in self.book.contents():
            handover = str(said.get("handover") or said.get("intent") or said["id"])
            if said["kind"] == Kind.INTENT and "row" in said:
                lines.setdefault(handover, []).append(said["row"])
                states[handover] = HandoverState.DECIDING
            elif handover in lines and said["kind"] == Kind.INTENT:
                states[handover] = HandoverState.SENDING
            elif handover in lines and said["kind"] == Kind.RECEIPT:
                turned_back = said["result"] == "rejected"
                states[handover] = HandoverState.REJECTED if turned_back else HandoverState.ACKNOWLEDGED
            elif handover in lines and said["kind"] in {Kind.OUTCOME, Kind.CONTROL}:
                states[handover] = _AFTER[OutcomeResult(said["result"])]

        def unit(connection: Connection) -> None:
            connection.execute("DELETE FROM handovers")
            connection.execute("DELETE FROM handover_chunks")
            for handover, rows in lines.items():
                row = (handover, "collections", "collector", states[handover].value, "", "", "{}", "{}")
                connection.execute(_ADD_HANDOVER, row)
                figures = orjson.dumps({"lines": rows}).decode()
                connection.execute(_ADD_CHUNK, (handover, bytes([RowResult.PERMIT]) * len(rows), figures))

        await self.book.store.write(unit)

    async def receipt(self) -> None:
        if self.sent:
            result, rejected = self.rng.choice([("accepted", 0), ("partial", 2), ("rejected", 0)])
            public = entries.receipt(
                HandoverId(self.sent.pop()), "collector", result=result, rejected=rejected, sha256="0" * 64,
                signed=True, at=self.at,
            )  # fmt: skip
            await self.enter(Kind.RECEIPT, public)

    async def settle(self) -> None:
        """One person asks for it, another agrees, and it is done."""
        if not self.unknown:
            return
        what = {"disclosure": self.unknown.pop(0), "result": self.rng.choice(["delivered", "rejected", "not_sent"])}
        approval, anna, boris = uuid7(), called("Anna", SHELL), called("Boris", SHELL)
        for act, person, more in (
            (ASK_APPROVAL, anna.name, {"of": Act.SETTLE.value, "what_sha256": digest(what)}),
            (AGREE, boris.name, {}),
            (entries.SETTLE, both(anna, boris), {"intent": what["disclosure"], "result": what["result"]}),
        ):
            to = "bureau" if act == entries.SETTLE else ""
            public = entries.control(act, to, "compliance", person, "r", at=self.at, approval=approval, **more)
            await self.enter(Kind.CONTROL, public)
        row = (
            approval, Act.SETTLE.value, written(what), "r", orjson.dumps(anna.kept).decode(), timestamp(self.at),
            timestamp(self.at), orjson.dumps(boris.kept).decode(), timestamp(self.at),
        )  # fmt: skip
        await self.book.store.write(lambda connection: connection.execute(_ADD_APPROVAL, row))

    async def recall(self) -> None:
        """Somebody asks for a recall; its notice names ids alone."""
        if not self.done:
            return
        recall, of = uuid7(), self.rng.choice(self.done)
        public = recalls.recall_entry(
            recall, of=of, scope=RecallScope.DISCLOSURE, handover=None, recipient="collector",
            reason=next(iter(RecallReason)), due_on=self.at.date(), caller="compliance", person="p", subject=None,
            at=self.at,
        )  # fmt: skip
        await self.enter(Kind.RECALL, public)
        decision = decided(self.rng, ROUTES[2])
        notice = uuid7()
        package = {"sha256": "0" * 64, "bytes": 1}
        intent = recalls.notice_intent(
            notice, recall, decision, seal=SealKind.AGE, disclosures=1, package=package, at=self.at
        )
        await self.enter(Kind.INTENT, intent)
        outcome = recalls.notice_outcome(notice, recall, OutcomeResult.DELIVERED, "ok", at=self.at)
        await self.enter(Kind.OUTCOME, outcome, request=notice)

    async def look(self) -> None:
        await self.enter(Kind.REVIEW, entries.review("compliance", self.rng.choice(["list", "show"]), {}, at=self.at))

    async def go_on(self, steps: int) -> None:
        """So many things, of all kinds."""
        acts = [self.single] * 8 + [self.some_outcome] * 7 + [self.refuse] * 2
        acts += [self.reuse, self.package, self.receipt, self.settle, self.recall, self.look]
        for _ in range(steps):
            if self.rng.random() < 0.04:
                await self.rows(self.rng.randint(1, 30))
            else:
                await self.rng.choice(acts)()


# --- by definition ---------------------------------------------------------------------------------


@dataclass
class Fact:
    """A disclosure, with what came of it."""

    index: int
    content: dict[str, Any]
    day: str
    result: str
    """By outcome and settlement."""
    receipt: str | None = None


def day_of(time: str, zone: int) -> str:
    return (datetime.fromisoformat(time) + timedelta(hours=zone)).date().isoformat()


def facts(contents: list[dict[str, Any]], zone: int) -> list[Fact]:
    """Every disclosure of the ledger whose entries say this."""
    ends: dict[str, str] = {}
    for content in contents:
        if content["kind"] == "outcome" or (content["kind"] == "control" and content["act"] == "settle"):
            ends[content["intent"]] = content["result"]
    receipts = {
        each["handover"]: each["result"] for each in contents if each["kind"] == "receipt" and "handover" in each
    }
    found = []
    for index, content in enumerate(contents):
        if content["kind"] not in {"intent", "refusal", "reused"} or content.get("subject") is None:
            continue
        result = {"refusal": content.get("result"), "reused": "reused"}.get(content["kind"])
        end = ends.get(content.get("handover", content["id"]), "open")
        receipt = receipts.get(content.get("handover")) if content["kind"] == "intent" else None
        found.append(Fact(index, content, day_of(content["time"], zone), str(result or end), receipt))
    return found


def counts(contents: list[dict[str, Any]], zone: int) -> dict[tuple[str, ...], int]:
    """What `counts` must hold."""
    made: Counter[tuple[str, ...]] = Counter()
    for fact in facts(contents, zone):
        said = fact.content
        about = (fact.day, said["caller"], said["recipient"], said["purpose"])
        if said["kind"] == "refusal":
            made["refusal", *about, fact.result] += 1
            made.update(("reason", *about, guard) for guard in {each["guard"] for each in said["reasons"]})
        elif said["kind"] == "reused":
            made["reused", *about, said["ground"]] += 1
        else:
            made["intent", *about, said["ground"]] += 1
            if fact.result != "open":
                made["result", *about, fact.result] += 1
            made["kept" if fact.result == "not_sent" else "route", *about, said["operation"]] += 1
            if fact.result != "not_sent":
                made.update(("field", *about, path) for path in said["fields"])
    named = {
        "consent": "evidence", "withdrawal": "state", "receipt": "result", "recall": "reason", "review": "act",
        "control": "act", "erasure": "-", "policy": "-",
    }  # fmt: skip
    for said in contents:
        if said["kind"] in named:
            about = (day_of(said["time"], zone), said.get("caller") or "", said.get("recipient") or "", "")
            made[said["kind"], *about, said.get(named[said["kind"]], "")] += 1
            if said.get("rejected"):
                made["rejected_row", *about, ""] += said["rejected"]
    return dict(made)


def terms(contents: list[dict[str, Any]], zone: int) -> set[tuple[str, int]]:
    """What of `terms` is the catalogue's."""
    made: set[tuple[str, int]] = set()
    ends: dict[str, set[str]] = {}
    for said in contents:
        if said["kind"] == "outcome" or said.get("act") == "settle":
            ends.setdefault(said["intent"], set()).add(said["result"])
        elif said["kind"] == "receipt" and "handover" in said and (said["rejected"] or said["result"] == "rejected"):
            ends.setdefault(said["handover"], set()).add("rejected")
    for index, said in enumerate(contents):
        made.add((f"day:{day_of(said['time'], zone)}", index // BLOCK))
        kind, about = said["kind"], set[str]()
        if kind in {"recall", "receipt"}:
            about = {f"of:{said.get(name)}" for name in ("of", "handover") if said.get(name)}
        elif kind == "control" and "intent" in said:
            about = {f"of:{said['intent']}"}
        elif kind == "reused":
            about = {f"of:{said['disclosure']}"}
        if "recall" in said and kind != "outcome":
            about.add(f"recall:{said['recall']}")
        made |= {(each, index // BLOCK) for each in about}
    for fact in facts(contents, zone):
        said = fact.content
        named = {f"{name}:{said[name]}" for name in ("operation", "purpose", "ground", "handover") if said.get(name)}
        named |= {f"clause:{each}" for each in said["clauses"]} | {f"field:{each}" for each in said.get("fields", [])}
        named |= {f"reason:{each['guard']}" for each in said.get("reasons", [])}
        named |= {f"result:{each}" for each in ends.get(said.get("handover", said["id"]), set())}
        if said["kind"] != "intent":
            named.add(f"result:{fact.result}")
        made |= {(each, fact.index // BLOCK) for each in named}
    return made


def concluding(contents: list[dict[str, Any]], zone: int) -> dict[tuple[Any, ...], int]:
    """What `concluding` must hold."""
    made: Counter[tuple[Any, ...]] = Counter()
    for fact in facts(contents, zone):
        said = fact.content
        if fact.result in {"open", "unknown"}:
            of_row = "handover" in said
            names = ("caller", "recipient", "purpose", "operation")
            named = (*(said[name] for name in names), orjson.dumps(said["fields"]).decode())
            made[
                said["handover"] if of_row else said["id"], fact.day, *named, None if of_row else fact.index // BLOCK
            ] += 1
    return dict(made)
