"""A small ledger in which everything stands that a page can show; wherever others' words are kept, they are hostile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from books import decided
from harness import (
    DEBTOR_FACTS,
    PEOPLE,
    House,
    consent_document,
    erase_as_two,
    give_consent,
    handover_document,
    kdp_consent,
    pension_document,
    request,
    request_document,
)
from qaqpa.alerts.findings import Finding, Rule
from qaqpa.errors import QaqpaError
from qaqpa.gateway import Gateway
from qaqpa.ledger.agreed import Act
from qaqpa.ledger.read import entries_of
from qaqpa.model.actors import LINK, called
from qaqpa.model.consent import ConsentRequest
from qaqpa.model.decision import Asked, Result
from qaqpa.model.disclosure import Extract, Intent, Message, Outcome
from qaqpa.model.handover import HandoverState, row_id
from qaqpa.model.identifiers import CallerId, DisclosureId, HandoverId, RecipientId, uuid7
from qaqpa.model.recall import RecallReason, RecallState
from qaqpa.model.request import parse
from qaqpa.model.words import OutcomeResult, SealKind
from qaqpa.recall.asking import Asking
from qaqpa.testing.faults import Fault
from qaqpa.testing.sftp_recipient import SftpRecipient
from recalls import reached
from registers import agency, as_csv, order, pieces, rows, until

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 }}%(x)s javascript:alert(3)"
"""What must never become more than a text, wherever it is shown."""
NAME = "Hostile <script>alert(4)</script><b onclick=alert(5)>'\""
"""A person's name, as a provider may say it."""
ASKED = Asked(CallerId("loan-scoring"), RecipientId("first-credit-bureau"), "credit_report", "application_review")
REUSED = 'operation = "debt_burden"\npurpose = "application_review"'
SAID = {"person": NAME, "reason": HOSTILE}


@dataclass
class Scene:
    """What was played."""

    house: House
    agency: SftpRecipient
    ids: dict[str, str] = field(default_factory=dict)
    """By the names that stand in the addresses of pages: subject, handover, recall, consent, recipient, ..."""
    entries: dict[str, int] = field(default_factory=dict)
    """The number of an entry of each kind, with its result where it has one."""
    iins: frozenset[str] = frozenset()
    """Of everybody in it."""


@asynccontextmanager
async def played(house: House, folder: Path) -> AsyncIterator[Scene]:
    """The ledger, with nobody at work on it; its third parties go on."""
    house.edit("recipients/first-credit-bureau.toml", (REUSED, f'{REUSED}\nreuse_for = "24h"'))
    async with agency(house, folder) as recipient:
        scene = Scene(house, recipient)
        async with house.gateway() as gateway:
            await _asked_online(scene, gateway)
            await _handed_over(scene, gateway)
            await _of_every_result(scene, gateway)
            await _acted(scene, gateway)
            with gateway.store.snapshot() as connection:
                for entry in entries_of(connection):
                    said = entry.content
                    scene.entries["-".join(filter(None, (said["kind"], said.get("result"), said.get("act"))))] = (
                        entry.index
                    )
        scene.ids |= {"recipient": "demo-cession-buyer", "field": "identity.iin", "version": "2025-01"}
        scene.ids |= {"guard": "borrower_notified"}
        yield scene


async def asked(gateway: Gateway, document: dict[str, Any], caller: str = "loan-scoring") -> None:
    """A request, whatever comes of it."""
    with suppress(QaqpaError):
        await gateway.disclose(caller, request(document))


async def _asked_online(scene: Scene, gateway: Gateway) -> None:
    """Consents, reports, one that serves again, refusals of both kinds, a bureau that fails."""
    house, ids = scene.house, scene.ids
    evidence = {"evidence": {"method": "offer", "reference": HOSTILE[:60], "sha256": "ab" * 32}, "contract": HOSTILE}
    with suppress(QaqpaError):
        parse(ConsentRequest, consent_document(PEOPLE[0], house.clock(), **evidence))
        ids["consent"] = (await give_consent(house, gateway, PEOPLE[0], **evidence)).id
    ids.setdefault("consent", (await give_consent(house, gateway, PEOPLE[0])).id)
    await give_consent(house, gateway, PEOPLE[0], **kdp_consent())
    for document in (
        request_document(PEOPLE[0]),
        request_document(PEOPLE[0], operation="debt_burden"),
        request_document(PEOPLE[0], operation="debt_burden"),
        pension_document(PEOPLE[0]),
        request_document(PEOPLE[4]),
    ):
        await asked(gateway, document)
    kept = await give_consent(house, gateway, PEOPLE[1])
    house.fcb.fault = Fault.SERVER_ERROR
    await asked(gateway, request_document(PEOPLE[1]))
    house.fcb.fault = Fault.NONE
    await gateway.withdraw_consent("loan-scoring", kept.id, duties_met=False)
    over = await give_consent(house, gateway, PEOPLE[2])
    await asked(gateway, request_document(PEOPLE[2]))
    await gateway.withdraw_consent("loan-scoring", over.id, duties_met=True)
    await asked(gateway, handover_document(PEOPLE[3]), "collections")
    unsaid = {name: value for name, value in DEBTOR_FACTS.items() if name != "breach_notified_on"}
    await asked(gateway, handover_document(PEOPLE[3], unsaid), "collections")
    await give_consent(house, gateway, PEOPLE[5])
    await asked(gateway, request_document(PEOPLE[5]))
    scene.iins |= {person.iin for person in PEOPLE}
    subject = await gateway.ledger.subjects.find(PEOPLE[0].iin)
    assert subject is not None
    ids["subject"] = str(subject.id)


async def _handed_over(scene: Scene, gateway: Gateway) -> None:
    """A register of which rows stay behind and are rejected, acknowledged; one row and another register recalled."""
    lines = rows(6)
    scene.iins |= {str(line["identity.iin"]) for line in lines}
    lines[1]["facts.contract.settlement_steps_done"] = False
    lines[2]["identity.birth_date"] = HOSTILE
    taken = await gateway.handovers.order(order(), pieces(as_csv(lines)))
    sent = await until(gateway, taken.id, HandoverState.SENT)
    scene.ids["handover"] = taken.id
    package = gateway.handovers.package_name(sent)
    assert package is not None
    receipt = scene.agency.acknowledge(package, reject={2: "unknown_debtor"})
    await gateway.handovers.receipt("collections", "demo-collector", await asyncio.to_thread(receipt.read_bytes))
    await until(gateway, taken.id, HandoverState.ACKNOWLEDGED)
    asking = Asking(caller=None, person=NAME)
    row = row_id(HandoverId(taken.id), 2)
    recall = await gateway.recalls.start("compliance", row, RecallReason.REPAYMENT, asking)
    await reached(gateway, recall.id, RecallState.SENT)
    scene.ids["recall"] = recall.id


async def intended(gateway: Gateway, iin: str, *results: Result) -> Intent:
    """The intent of a request to the bureau that never comes to it."""
    person = await gateway.ledger.subjects.person(iin)
    return await gateway.ledger.intend(
        DisclosureId(uuid7()), decided(*results or (Result.PERMIT,), asked=ASKED),
        Extract({}, (), (), consent_confirmed=True), Message(b"body", "text/xml", "report"), person,
        seal=SealKind.TLS_ONLY, stated={}, still_holds=lambda _connection: True,
    )  # fmt: skip


async def _of_every_result(scene: Scene, gateway: Gateway) -> None:
    """Outcomes with what a recipient may say, and two whose end nobody knows."""
    ledger, iin = gateway.ledger, PEOPLE[0].iin
    for result in (OutcomeResult.REJECTED, OutcomeResult.NOT_SENT, OutcomeResult.UNKNOWN):
        intent = await intended(gateway, iin)
        await ledger.conclude(intent, Outcome(result, HOSTILE, reference=HOSTILE, their_code=HOSTILE))
        scene.ids["disclosure"] = intent.id


async def _acted(scene: Scene, gateway: Gateway) -> None:
    """Acts of people: a suspension, an erasure, what takes two."""
    await gateway.suspend("compliance", "demo-cession-buyer", **SAID)
    await give_consent(scene.house, gateway, PEOPLE[6])
    await asked(gateway, request_document(PEOPLE[6]))
    erased = await gateway.ledger.subjects.find(PEOPLE[6].iin)
    assert erased is not None
    scene.ids["erased"] = str(erased.id)
    await erase_as_two(gateway, "compliance", PEOPLE[6].iin, duties_met=True, **SAID)
    figures = {"count": 999, "limit": 600.0}
    [alert] = await gateway.alerts.raise_now(
        Finding(Rule.VOLUME, f"looks:person:{NAME}", "2026-11-23T07:00:00.000Z", figures)
    )
    scene.ids["alert"] = alert.id
    approvals, hostile = gateway.approvals, called(NAME, LINK)
    settled = await gateway.ledger.subjects.find(PEOPLE[5].iin)  # of the first it is not known what came of everything
    assert settled is not None
    asked_for: list[tuple[Act, dict[str, str]]] = [
        (Act.FORCE_ERASURE, {"subject": str(settled.id), "instrument": HOSTILE}),
        (Act.SETTLE, {"disclosure": scene.ids["disclosure"], "result": "delivered"}),
        (Act.RECALL_HANDOVER, {"handover": scene.ids["handover"], "reason": "error"}),
    ]
    for act, what in asked_for:
        scene.ids["approval"] = (await approvals.ask("compliance", hostile, act, what, HOSTILE)).id
    await approvals.refuse("compliance", called("Another", LINK), scene.ids["approval"], reason=HOSTILE)
