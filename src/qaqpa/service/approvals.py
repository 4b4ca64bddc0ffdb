"""The paths of `/v1/approvals`: what takes two persons. One asks by the act's own path, another agrees here."""

from __future__ import annotations

from fastapi import Request, Response

from qaqpa.gateway.answers import Answer, approval_answer, done_answer
from qaqpa.gateway.approvals import Approval, Done
from qaqpa.model.actors import API, Actor, called
from qaqpa.model.identifiers import OUR_ID
from qaqpa.recall.records import Recalled
from qaqpa.service.approval_schemas import ApprovalDecision, ApprovalsQuery
from qaqpa.service.desk import Desk, desk
from qaqpa.service.exchange import json_answer
from qaqpa.service.handovers import query_parameter, read_query

PAGE = (
    query_parameter("waiting", {"type": "boolean"}, "Only those that wait for somebody"),
    query_parameter("count", {"type": "integer", "minimum": 1, "maximum": 1_000}, "At most so many"),
    query_parameter("before", {"type": "string", "pattern": f"^{OUR_ID}$"}, "Only those asked for before this one"),
)
_MAY: dict[str, tuple[str, ...]] = {"asked": ("agree", "refuse"), "agreed": ("carry_out", "refuse")}
"""What can be done with one, by how it stands."""


def named_by_program(person: str) -> Actor:
    """A person whom a caller's program names."""
    return called(person, API)


def _told(at: Desk, approval: Approval) -> Answer:
    answer, here = approval_answer(approval, at.gateway.ledger.clock()), f"/v1/approvals/{approval.id}"
    may = {name: f"{here}/{name.replace('_', '-')}" for name in _MAY.get(answer["state"], ())}
    return answer | {"links": {"self": here} | may}


def asked_for(at: Desk, approval: Approval) -> Response:
    """Somebody asked; nothing is done before another person agrees."""
    return json_answer(_told(at, approval), 202, {"location": f"/v1/approvals/{approval.id}"})


async def list_approvals(request: Request) -> Response:
    """What was asked for, the latest first: all, or what waits for somebody."""
    at = desk(request)
    caller = await at.caller(request)
    at.gateway.approvals.require_looker(caller)
    asked = read_query(request, ApprovalsQuery)
    waiting = asked.waiting == "true"
    found = await at.gateway.approvals.listed(caller, asked.count + 1, asked.before, waiting=waiting)
    shown = found[: asked.count]
    further = shown[-1].id if len(found) > asked.count else None
    return json_answer({"approvals": [_told(at, each) for each in shown], "next_before": further})


async def show_approval(request: Request) -> Response:
    """One of them."""
    at = desk(request)
    caller = await at.caller(request)
    return json_answer(_told(at, await at.gateway.approvals.find(caller, request.path_params["approval"])))


async def agree(request: Request) -> Response:
    """Agree to what another person asked for, and have it done."""
    at = desk(request)
    caller = await at.caller(request)
    said = await at.body(request, ApprovalDecision)
    person, approval = named_by_program(said.person), request.path_params["approval"]
    return _carried_out(at, *await at.gateway.approvals.agree(caller, person, approval, reason=said.reason))


async def refuse(request: Request) -> Response:
    """Refuse it; whoever asked takes it back so."""
    at = desk(request)
    caller = await at.caller(request)
    said = await at.body(request, ApprovalDecision)
    person, approval = named_by_program(said.person), request.path_params["approval"]
    return json_answer(_told(at, await at.gateway.approvals.refuse(caller, person, approval, reason=said.reason)))


async def carry_out(request: Request) -> Response:
    """Do what was agreed to and cut off; it names the two who wanted it."""
    at = desk(request)
    caller = await at.caller(request)
    return _carried_out(at, *await at.gateway.approvals.carry_out(caller, request.path_params["approval"]))


def _carried_out(at: Desk, approval: Approval, done: Done) -> Response:
    way = at.gateway.recalls.way(done) if isinstance(done, Recalled) else ""
    return json_answer(_told(at, approval) | {"done": done_answer(done, way)})
