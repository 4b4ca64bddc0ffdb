"""Pages of what takes two persons: ask, see what is asked, agree or refuse."""

from __future__ import annotations

from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.console.names import APPROVAL_STATES, APPROVALS, APPROVED, LAPSED, RECALL_WAYS
from qaqpa.console.page import READERS, Page
from qaqpa.console.telling import saying
from qaqpa.console.visit import Visit, link
from qaqpa.errors import InvalidRequest
from qaqpa.gateway.approvals import WHAT
from qaqpa.ledger.agreed import Act
from qaqpa.model.recall import RecallReason

_APPROVERS = (ConsoleRole.APPROVER,)
_ON_A_PAGE = 50
_WAITING = "waiting"


async def list_approvals(visit: Visit) -> Response:
    """What was asked for, the latest first: all, or what waits for somebody."""
    show, before = visit.asked("show"), visit.asked("before") or None
    if show not in {"", _WAITING}:
        raise InvalidRequest([f"show: is {_WAITING}, or left out"])
    found = await visit.gateway.approvals.listed(visit.caller, _ON_A_PAGE + 1, before, waiting=show == _WAITING)
    shown, now = found[:_ON_A_PAGE], visit.gateway.ledger.clock()
    return visit.page(
        "approvals.html",
        approvals=[(each, each.has_lapsed(now)) for each in shown],
        waiting=show == _WAITING,
        newest=link("/approvals", show=show) if before else None,
        further=link("/approvals", show=show, before=shown[-1].id) if len(found) > _ON_A_PAGE else None,
        ACTS=APPROVALS,
        STATES=APPROVAL_STATES,
        WHAT=APPROVED,
        LAPSED=LAPSED,
        WAYS=RECALL_WAYS,
        RECALL_REASONS={each.value: saying(visit).reason(each) for each in RecallReason},
    )


async def ask(visit: Visit) -> Response:
    """Ask for something that takes another person."""
    act = visit.in_path("act")
    if act not in set(Act):
        raise InvalidRequest([f"act: is one of {', '.join(Act)}"])
    what = {name: visit.posted(name if name != "reason" else "recall_reason") for name in WHAT[Act(act)]}
    await visit.gateway.approvals.ask(visit.caller, visit.person, Act(act), what, visit.posted("reason"))
    return visit.to("/approvals")


async def agree(visit: Visit) -> Response:
    """Agree to it, and have it done."""
    approval, reason = visit.in_path("approval"), visit.posted("reason")
    await visit.gateway.approvals.agree(visit.caller, visit.person, approval, reason=reason)
    return visit.to("/approvals")


async def refuse(visit: Visit) -> Response:
    """Refuse it; the person who asked may take it back so."""
    approval, reason = visit.in_path("approval"), visit.posted("reason")
    await visit.gateway.approvals.refuse(visit.caller, visit.person, approval, reason=reason)
    return visit.to("/approvals")


async def carry_out(visit: Visit) -> Response:
    """Do what was agreed to and cut off."""
    await visit.gateway.approvals.carry_out(visit.caller, visit.in_path("approval"))
    return visit.to("/approvals")


PAGES = (
    Page("GET", "/approvals", list_approvals, READERS),
    Page("POST", "/approvals/ask/{act}", ask, _APPROVERS),
    Page("POST", "/approvals/{approval}/agree", agree, _APPROVERS),
    Page("POST", "/approvals/{approval}/refuse", refuse, _APPROVERS),
    Page("POST", "/approvals/{approval}/carry-out", carry_out, _APPROVERS),
)
