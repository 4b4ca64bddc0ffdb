"""The paths of `/v1/recalls`: asking recipients to stop and destroy."""

from __future__ import annotations

from fastapi import Request, Response

from qaqpa.errors import InvalidRequest
from qaqpa.gateway.answers import recall_answer
from qaqpa.model.recall import RecallReason, RecallScope
from qaqpa.recall.asking import Asking
from qaqpa.recall.records import Recalled
from qaqpa.service.approvals import asked_for, named_by_program
from qaqpa.service.desk import Desk, desk
from qaqpa.service.exchange import json_answer
from qaqpa.service.schemas import RecallConfirmation, RecallRequest


def _recall(at: Desk, recall: Recalled, status: int = 200) -> Response:
    headers = {"location": f"/v1/recalls/{recall.id}"} if status == 202 else None
    return json_answer(recall_answer(recall, at.gateway.recalls.way(recall)), status, headers)


def _asking(asked: RecallConfirmation) -> Asking:
    return Asking(
        caller=None, person=asked.person, due_on=asked.due_on, contract=asked.contract, by_letter=asked.by_letter
    )


async def start_recall(request: Request) -> Response:
    """Ask a recipient to stop and destroy; the notice is sent by a job. Of a whole handover it takes two persons."""
    at = desk(request)
    caller = await at.caller(request)
    asked = await at.body(request, RecallRequest)
    if await at.gateway.recalls.takes_two(caller, asked.of):
        return await _whole(at, caller, asked.of, asked.reason, asked)
    return _recall(at, await at.gateway.recalls.start(caller, asked.of, asked.reason, _asking(asked)), 202)


async def _whole(at: Desk, caller: str, handover: str, reason: RecallReason, asked: RecallConfirmation) -> Response:
    """The recall of a whole handover, which takes two persons: one asks."""
    if asked.contract is not None:
        raise InvalidRequest(["contract: is told of one person alone, and this is a whole handover"])
    approval = await at.gateway.approvals.ask_recall(
        caller, named_by_program(asked.person), handover, reason, due_on=asked.due_on, by_letter=asked.by_letter
    )
    return asked_for(at, approval)


async def confirm_recall(request: Request) -> Response:
    """Let a proposed recall go, or one that was blocked anew. Of a whole handover it takes two persons."""
    at = desk(request)
    caller = await at.caller(request)
    asked = await at.body(request, RecallConfirmation)
    found = await at.gateway.recalls.waiting(caller, request.path_params["recall"])
    if found.scope is RecallScope.HANDOVER:
        return await _whole(at, caller, found.target, found.reason, asked)
    return _recall(at, await at.gateway.recalls.confirm(caller, found.id, _asking(asked)), 202)


async def list_recalls(request: Request) -> Response:
    """Recalls that somebody may have to see to. A person's look is itself an entry."""
    at = desk(request)
    found = await at.gateway.recalls.listed(await at.caller(request))
    return json_answer({"recalls": [recall_answer(each, at.gateway.recalls.way(each)) for each in found]})


async def show_recall(request: Request) -> Response:
    """One recall. A person's look is itself an entry."""
    at = desk(request)
    return _recall(at, await at.gateway.recalls.find(await at.caller(request), request.path_params["recall"]))
