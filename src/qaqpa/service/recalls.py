"""The paths of `/v1/recalls`: asking recipients to stop and destroy."""

from __future__ import annotations

from fastapi import Request, Response

from qaqpa.gateway.answers import recall_answer
from qaqpa.recall.recalls import Asking
from qaqpa.recall.records import Recalled
from qaqpa.service.desk import Desk, desk
from qaqpa.service.exchange import json_answer
from qaqpa.service.schemas import RecallConfirmation, RecallRequest


def _recall(at: Desk, recall: Recalled, status: int = 200) -> Response:
    return json_answer(recall_answer(recall, at.gateway.recalls.way(recall)), status)


def _asking(asked: RecallConfirmation) -> Asking:
    return Asking(
        caller=None, person=asked.person, due_on=asked.due_on, contract=asked.contract, by_letter=asked.by_letter
    )


async def start_recall(request: Request) -> Response:
    """Ask a recipient to stop and destroy; the notice is sent by a job."""
    at = desk(request)
    caller = await at.caller(request)
    asked = await at.body(request, RecallRequest)
    return _recall(at, await at.gateway.recalls.start(caller, asked.of, asked.reason, _asking(asked)), 202)


async def confirm_recall(request: Request) -> Response:
    """Let a proposed recall go, or one that was blocked anew."""
    at = desk(request)
    caller = await at.caller(request)
    asked = await at.body(request, RecallConfirmation)
    return _recall(at, await at.gateway.recalls.confirm(caller, request.path_params["recall"], _asking(asked)), 202)


async def list_recalls(request: Request) -> Response:
    """Recalls that somebody may have to see to. A person's look is itself an entry."""
    at = desk(request)
    found = await at.gateway.recalls.listed(await at.caller(request))
    return json_answer({"recalls": [recall_answer(each, at.gateway.recalls.way(each)) for each in found]})


async def show_recall(request: Request) -> Response:
    """One recall. A person's look is itself an entry."""
    at = desk(request)
    return _recall(at, await at.gateway.recalls.find(await at.caller(request), request.path_params["recall"]))
