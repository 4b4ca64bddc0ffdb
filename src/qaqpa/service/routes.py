"""The paths of `/v1`: who asks, what, and which of the gateway's methods answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from qaqpa import metrics
from qaqpa.errors import AnswerAwaited, NotFound
from qaqpa.gateway.answers import awaiting_answer, consent_answer, decision_answer, disclosure_answer
from qaqpa.model.consent import Consent, ConsentRequest
from qaqpa.model.identifiers import OUR_ID
from qaqpa.model.request import DisclosureRequest
from qaqpa.service import approvals, handovers, recalls, reports
from qaqpa.service.approval_schemas import ApprovalAnswer, ApprovalDecision, ApprovalsAnswer, CarriedOutAnswer
from qaqpa.service.desk import Desk, desk
from qaqpa.service.examples import EXAMPLES
from qaqpa.service.exchange import JSON, KEPT_APART, PROBLEM, json_answer
from qaqpa.service.health import OK
from qaqpa.service.report_schemas import SubjectReportAnswer, SubjectReportRequest
from qaqpa.service.schemas import (
    AliveAnswer,
    AwaitingAnswer,
    ConsentAnswer,
    DecisionAnswer,
    DisclosureAnswer,
    ErasureRequest,
    HandoverAnswer,
    HandoversAnswer,
    Problem,
    ReadyAnswer,
    RecallAnswer,
    RecallConfirmation,
    RecallRequest,
    RecallsAnswer,
    ReceiptTaken,
    RowsAnswer,
    WithdrawalRequest,
)
from qaqpa.service.searching import EntriesAnswer, EntryAnswer, ListedAnswer, SearchRequest, entry_answer, search

Model = TypeVar("Model", bound=BaseModel)
REQUESTS = (
    DisclosureRequest, ConsentRequest, WithdrawalRequest, SearchRequest, ErasureRequest, RecallRequest,
    RecallConfirmation, SubjectReportRequest, ApprovalDecision,
)  # fmt: skip
ANSWERS = (
    DecisionAnswer, DisclosureAnswer, AwaitingAnswer, ConsentAnswer, EntryAnswer, ListedAnswer, EntriesAnswer,
    Problem,
    ReadyAnswer, AliveAnswer, HandoverAnswer, HandoversAnswer, RowsAnswer, ReceiptTaken, RecallAnswer, RecallsAnswer,
    SubjectReportAnswer, ApprovalAnswer, ApprovalsAnswer, CarriedOutAnswer,
)  # fmt: skip
_TEXT = "text/plain; charset=utf-8"
NOTHING_HERE = "nothing stands at this address"


# --- disclosures -----------------------------------------------------------------------------------


async def disclose(request: Request) -> Response:
    """One person's data to one recipient for one purpose, if the policy permits."""
    at = desk(request)
    caller = await at.caller(request)
    asked = await at.body(request, DisclosureRequest)
    try:
        done = await at.gateway.disclose(caller, asked, idempotency_key=at.idempotency_key(request))
    except AnswerAwaited as waits:
        return _awaiting(waits)
    return json_answer(disclosure_answer(done, at.language(request)))


async def show_disclosure(request: Request) -> Response:
    """What a disclosure of the caller's own was answered; nothing is sent."""
    at = desk(request)
    caller = await at.caller(request)
    try:
        done = await at.gateway.answer(caller, request.path_params["disclosure"])
    except AnswerAwaited as waits:
        return _awaiting(waits)
    return json_answer(disclosure_answer(done, at.language(request)))


def _awaiting(waits: AnswerAwaited) -> Response:
    headers = {"location": f"/v1/disclosures/{waits.disclosure}", "retry-after": "1"}
    return json_answer(awaiting_answer(waits), 202, headers)


async def decide(request: Request) -> Response:
    """What would be decided; nothing is sent and nothing is entered."""
    at = desk(request)
    caller = await at.caller(request)
    decision = await at.gateway.decide(caller, await at.body(request, DisclosureRequest))
    return json_answer(decision_answer(decision, at.language(request)))


# --- consents --------------------------------------------------------------------------------------


def _consent(at: Desk, consent: Consent, status: int = 200) -> Response:
    headers = {"location": f"/v1/consents/{consent.id}"} if status == 201 else None
    return json_answer(consent_answer(consent, consent.status(at.gateway.ledger.clock()).value), status, headers)


async def record_consent(request: Request) -> Response:
    """Record a consent (94-V art. 8(4))."""
    at = desk(request)
    caller = await at.caller(request)
    consent = await at.gateway.record_consent(caller, await at.body(request, ConsentRequest))
    return _consent(at, consent, 201)


async def show_consent(request: Request) -> Response:
    """A consent's terms and status; who gave it is not said."""
    at = desk(request)
    caller = await at.caller(request)
    return _consent(at, await at.gateway.consent(caller, request.path_params["consent"]))


async def withdraw_consent(request: Request) -> Response:
    """Withdraw; pending while duties under the contract are open (7.1(3))."""
    at = desk(request)
    caller = await at.caller(request)
    asked = await at.body(request, WithdrawalRequest)
    consent = request.path_params["consent"]
    return _consent(at, await at.gateway.withdraw_consent(caller, consent, duties_met=asked.duties_met))


# --- the ledger ------------------------------------------------------------------------------------


async def show_entry(request: Request) -> Response:
    """One entry."""
    at = desk(request)
    caller = await at.reader(request)
    return json_answer(entry_answer(await at.gateway.compliance.entry(caller, _index(request))))


async def prove_entry(request: Request) -> Response:
    """Proof that an entry stands in the ledger (C2SP tlog-proof); it holds nothing of the entry."""
    at = desk(request)
    caller = await at.reader(request)
    proof = await at.gateway.compliance.proof(caller, _index(request))
    return Response(proof, headers=KEPT_APART, media_type=_TEXT)


def _index(request: Request) -> int:
    text = request.path_params["index"]
    if not re.fullmatch(r"0|[1-9][0-9]{0,15}", text):
        raise NotFound(NOTHING_HERE)
    return int(text)


async def checkpoint(request: Request) -> Response:
    """The last checkpoint: a signed note over every entry so far (C2SP tlog-checkpoint)."""
    at = desk(request)
    caller = await at.reader(request)
    return Response(await at.gateway.compliance.checkpoint(caller), headers=KEPT_APART, media_type=_TEXT)


async def tile(request: Request) -> Response:
    """A tile of the tree (C2SP tlog-tiles): hashes only."""
    at = desk(request)
    caller = await at.reader(request)
    content = await at.gateway.compliance.tile(caller, request.path_params["path"])
    return Response(content, headers=KEPT_APART, media_type="application/octet-stream")


async def erase(request: Request) -> Response:
    """Ask for a person's key to be deleted, to which another person agrees; pending until the keys are rotated."""
    at = desk(request)
    caller = await at.caller(request)
    asked = await at.body(request, ErasureRequest)
    approval = await at.gateway.approvals.ask_erasure(
        caller, approvals.named_by_program(asked.person), asked.iin, duties_met=asked.duties_met,
        instrument=asked.instrument, reason=asked.reason,
    )  # fmt: skip
    return approvals.asked_for(at, approval)


# --- operation -------------------------------------------------------------------------------------


async def alive(_request: Request) -> Response:
    """This process answers."""
    return json_answer({"alive": True})


async def ready(request: Request) -> Response:
    """Whether it can serve: ledger writable, clock sane, keys loaded, checkpoint fresh."""
    checks = await desk(request).health.checks()
    good = all(found == OK for found in checks.values())
    return json_answer({"ready": good, "checks": checks}, 200 if good else 503)


async def show_metrics(request: Request) -> Response:
    """For Prometheus."""
    await desk(request).health.measure()
    return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


# --- the table -------------------------------------------------------------------------------------

_KEY = {
    "name": "Idempotency-Key", "in": "header", "required": True,
    "description": "The same key is never done twice: asked again, the first answer comes again.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}  # fmt: skip
_UUID = {"type": "string", "pattern": f"^{OUR_ID}$"}
_NUMBER = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,15})$"}


def _header(name: str, description: str, pattern: str) -> dict[str, Any]:
    return {name: {"description": description, "required": True, "schema": {"type": "string", "pattern": pattern}}}


_WAIT = _header("Retry-After", "Seconds", "^[0-9]+$")
_PLACE = _header("Location", "Where it can be looked at", "^/v1/")
_REFUSALS: dict[int, dict[str, Any]] = {
    401: _header("WWW-Authenticate", "`error` where a token was shown and was wrong (RFC 6750)", "^Bearer realm="),
    429: _WAIT,
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    shape = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": "Not done", "content": {PROBLEM: shape}, "headers": _REFUSALS.get(status, {})}
        for status in statuses
    }


def _answered(
    status: int,
    model: type[BaseModel] | None,
    media_type: str = JSON,
    *,
    headers: Mapping[str, Any] | None = None,
    other: type[BaseModel] | None = None,
) -> dict[int | str, dict[str, Any]]:
    shape: dict[str, Any] = {"type": "string"} if model is None else {"$ref": _ref(model)}
    if other is not None:
        shape = {"oneOf": [shape, {"$ref": _ref(other)}]}
    if model is None and media_type == JSON:
        shape = {"type": "object"}
    return {status: {"description": "Done", "content": {media_type: {"schema": shape}}, "headers": dict(headers or {})}}


def _ref(model: type[BaseModel]) -> str:
    return f"#/components/schemas/{model.__name__}"


def _path_parameter(path: str) -> list[dict[str, Any]]:
    found = re.findall(r"{(\w+)(?::path)?}", path)
    shapes = {
        "approval": _UUID, "consent": _UUID, "disclosure": _UUID, "handover": _UUID, "recall": _UUID, "index": _NUMBER,
        "path": {"type": "string"},
    }  # fmt: skip
    return [{"name": name, "in": "path", "required": True, "schema": shapes[name]} for name in found]


def add(app: FastAPI) -> None:
    """Every path, with what it takes and answers."""
    Answered = dict[int | str, dict[str, Any]]  # noqa: N806 - a type

    def path(
        method: str,
        where: str,
        handler: Callable[[Request], Awaitable[Response]],
        answers: Answered,
        *,
        takes: type[BaseModel] | None = None,
        parameters: tuple[dict[str, Any], ...] = (),
        body: dict[str, Any] | None = None,
        is_open: bool = False,
    ) -> None:
        extra: dict[str, Any] = {"parameters": [*_path_parameter(where), *parameters]}
        if takes is not None:
            shape = {"schema": {"$ref": _ref(takes)}, "example": EXAMPLES[takes.__name__]}
            extra["requestBody"] = {"required": True, "content": {JSON: shape}}
        if body is not None:
            extra["requestBody"] = {"required": True, "content": body}
        refusals = {} if is_open else _problems(401, 403, 429, 500, 503)
        if takes is not None or body is not None:
            refusals |= _problems(400, 408, 413, 415)
        if not is_open:
            extra["security"] = [{"bearer": []}]
        app.add_api_route(
            where, handler, methods=[method], responses={**refusals, **answers}, openapi_extra=extra,
            response_class=Response, status_code=next(int(status) for status in answers if int(status) < 300),
        )  # fmt: skip

    sending = _problems(404, 409, 422, 502, 504)
    done = _answered(200, DisclosureAnswer) | _answered(202, AwaitingAnswer, headers=_PLACE | _WAIT)
    path("POST", "/v1/disclosures", disclose, done | sending, takes=DisclosureRequest, parameters=(_KEY,))
    path("GET", "/v1/disclosures/{disclosure}", show_disclosure, done | _problems(404, 409, 502, 504))
    path("POST", "/v1/decisions", decide, _answered(200, DecisionAnswer), takes=DisclosureRequest)
    path("POST", "/v1/consents", record_consent, _answered(201, ConsentAnswer, headers=_PLACE), takes=ConsentRequest)
    path("GET", "/v1/consents/{consent}", show_consent, _answered(200, ConsentAnswer) | _problems(404))
    path("POST", "/v1/consents/{consent}/withdrawal", withdraw_consent, _answered(200, ConsentAnswer) | _problems(404),
         takes=WithdrawalRequest)  # fmt: skip
    path("POST", "/v1/disclosures/search", search, _answered(200, EntriesAnswer), takes=SearchRequest)
    told = _answered(200, SubjectReportAnswer)
    told[200]["content"][reports.PDF] = {"schema": {"type": "string", "format": "binary"}}
    path("POST", "/v1/subject-reports", reports.subject_report, told, takes=SubjectReportRequest)
    begun = _answered(202, ApprovalAnswer, headers=_PLACE) | _problems(404, 409)
    path("POST", "/v1/erasures", erase, begun, takes=ErasureRequest)
    path("GET", "/v1/approvals", approvals.list_approvals, _answered(200, ApprovalsAnswer) | _problems(400),
         parameters=approvals.PAGE)  # fmt: skip
    path("GET", "/v1/approvals/{approval}", approvals.show_approval, _answered(200, ApprovalAnswer) | _problems(404))
    carried = _answered(200, CarriedOutAnswer) | _problems(404, 409)
    path("POST", "/v1/approvals/{approval}/agree", approvals.agree, carried, takes=ApprovalDecision)
    path("POST", "/v1/approvals/{approval}/refuse", approvals.refuse,
         _answered(200, ApprovalAnswer) | _problems(404, 409), takes=ApprovalDecision)  # fmt: skip
    path("POST", "/v1/approvals/{approval}/carry-out", approvals.carry_out, carried | _problems(400))
    shown = _answered(200, HandoverAnswer) | _problems(400, 404)
    taken = _answered(202, HandoverAnswer, headers=_PLACE) | _problems(404, 409, 422)
    path("POST", "/v1/handovers", handovers.order, taken,
         parameters=(_KEY, *handovers.ORDER), body=handovers.REGISTERS)  # fmt: skip
    path("GET", "/v1/handovers", handovers.latest, _answered(200, HandoversAnswer) | _problems(400),
         parameters=(handovers.COUNT,))  # fmt: skip
    path("GET", "/v1/handovers/{handover}", handovers.show, shown)
    path("GET", "/v1/handovers/{handover}/rows", handovers.rows, _answered(200, RowsAnswer) | _problems(400, 404),
         parameters=(handovers.COUNT, handovers.AFTER))  # fmt: skip
    path("GET", "/v1/handovers/{handover}/manifest", handovers.manifest, _answered(200, None) | _problems(404))
    path("GET", "/v1/handovers/{handover}/signature", handovers.signature,
         _answered(200, None, "text/plain") | _problems(404))  # fmt: skip
    path("POST", "/v1/handovers/{handover}/cancel", handovers.cancel,
         shown | _answered(202, HandoverAnswer) | _problems(409))  # fmt: skip
    path("POST", "/v1/handovers/{handover}/receipt", handovers.receipt,
         _answered(200, ReceiptTaken) | _problems(404, 409, 422), body=handovers.RECEIPTS)  # fmt: skip
    known = _problems(404)
    asked = _answered(202, RecallAnswer, headers=_PLACE, other=ApprovalAnswer) | _problems(404, 409)
    path("POST", "/v1/recalls", recalls.start_recall, asked, takes=RecallRequest)
    path("POST", "/v1/recalls/{recall}/confirmation", recalls.confirm_recall, asked, takes=RecallConfirmation)
    path("GET", "/v1/recalls", recalls.list_recalls, _answered(200, RecallsAnswer))
    path("GET", "/v1/recalls/{recall}", recalls.show_recall, _answered(200, RecallAnswer) | known)
    path("GET", "/v1/ledger/checkpoint", checkpoint, _answered(200, None, "text/plain") | _problems(404))
    path("GET", "/v1/ledger/entries/{index}", show_entry, _answered(200, EntryAnswer) | _problems(404))
    path("GET", "/v1/ledger/entries/{index}/proof", prove_entry, _answered(200, None, "text/plain") | _problems(404))
    path("GET", "/v1/ledger/tile/{path:path}", tile, _answered(200, None, "application/octet-stream") | _problems(404))
    path("GET", "/healthz", alive, _answered(200, AliveAnswer), is_open=True)
    path("GET", "/readyz", ready, _answered(200, ReadyAnswer) | _answered(503, ReadyAnswer), is_open=True)
    path("GET", "/metrics", show_metrics, _answered(200, None, "text/plain"), is_open=True)
    # Load balancers ask so; not in the document, where HEAD is GET without its body.
    for where, handler in (("/healthz", alive), ("/readyz", ready)):
        app.add_api_route(where, handler, methods=["HEAD"], include_in_schema=False)
