"""Recalls: recipients asked to stop and destroy; what is due, and what a person has to confirm or to see to."""

from __future__ import annotations

from datetime import date

from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.console.names import RECALL_CODES, RECALL_MARKS, RECALL_SCOPES, RECALL_WAYS, RECEIPTS
from qaqpa.console.overview import name_of
from qaqpa.console.page import READERS, Page
from qaqpa.console.telling import Teller, purpose_of
from qaqpa.console.visit import Visit, link
from qaqpa.errors import InvalidRequest, NotPossible
from qaqpa.gateway.recalls import LISTED
from qaqpa.model.recall import WAITING, RecallReason, RecallState
from qaqpa.recall.asking import Asking
from qaqpa.store import Connection

_COUNT = 100
_APPROVERS = (ConsoleRole.APPROVER,)
_CANCELLABLE = WAITING | {RecallState.ASKED}
_ANSWERABLE = frozenset({RecallState.SENT, RecallState.LATE, RecallState.REFUSED})


async def list_recalls(visit: Visit) -> Response:
    """The most urgent first: those in one state, or all that somebody may have to see to."""
    state, after = _state_asked(visit), visit.asked("after") or None
    states = LISTED if state is None else (state,)
    found = await visit.gateway.recalls.listed(visit.caller, states, _COUNT + 1, after)
    counts = await visit.gateway.reviewing.recalls(visit.caller, *RecallState)
    shown, teller = found[:_COUNT], Teller(visit)
    return visit.page(
        "recalls.html",
        recalls=[
            (each, name_of(visit, "recipient", each.recipient), teller.say.reason(each.reason),
             teller.say.state(each.state))
            for each in shown
        ],
        state=state,
        states=[(each, teller.say.state(each), counts[each]) for each in RecallState],
        today=visit.gateway.policy.day(visit.gateway.ledger.clock()),
        further=link("/recalls", state=state, after=shown[-1].id) if len(found) > _COUNT else None,
        first=link("/recalls", state=state) if after else None,
        MARKS=RECALL_MARKS,
        SCOPES=RECALL_SCOPES,
    )  # fmt: skip


def _state_asked(visit: Visit) -> RecallState | None:
    text = visit.asked("state")
    if text and text not in set(RecallState):
        raise InvalidRequest([f"state: is one of {', '.join(RecallState)}"])
    return RecallState(text) if text else None


async def show(visit: Visit) -> Response:
    """One of them with its story."""
    story = await visit.gateway.reviewing.recall(visit.caller, visit.in_path("recall"))
    recall, teller = story.recall, Teller(visit)
    today = visit.gateway.policy.day(visit.gateway.ledger.clock())
    return visit.page(
        "recall.html",
        story=story,
        recall=recall,
        figures=recall.figures,
        recipient=name_of(visit, "recipient", recall.recipient),
        caller=name_of(visit, "caller", recall.caller),
        reason=teller.say.reason(recall.reason),
        state=teller.say.state(recall.state),
        purpose=purpose_of(visit, recall.purpose),
        way=visit.gateway.recalls.way(recall),
        late_by=(today - recall.due_on).days,
        entries=[(each, teller.what(each.content)) for each in story.entries],
        may_confirm=recall.state in WAITING,
        may_cancel=recall.state in _CANCELLABLE,
        may_acknowledge=recall.state in _ANSWERABLE,
        MARKS=RECALL_MARKS,
        SCOPES=RECALL_SCOPES,
        WAYS=RECALL_WAYS,
        RECEIPTS=RECEIPTS,
        CODES=RECALL_CODES,
    )


# --- acting ----------------------------------------------------------------------------------------


async def ask(visit: Visit) -> Response:
    """Ask for the recall of what left about one person."""
    of, reason = visit.posted("of"), visit.posted("recall_reason")
    if reason not in set(RecallReason):
        raise InvalidRequest([f"recall_reason: is one of {', '.join(RecallReason)}"])
    asked = await visit.gateway.recalls.start(visit.caller, of, RecallReason(reason), _asking(visit))
    return visit.to(f"/recalls/{asked.id}")


async def confirm(visit: Visit) -> Response:
    """Let a proposed one go; that of a whole handover takes two persons."""
    found = await visit.gateway.recalls.confirm(visit.caller, visit.in_path("recall"), _asking(visit))
    return visit.to(f"/recalls/{found.id}")


def _asking(visit: Visit) -> Asking:
    """Who asks, and what the form says of the notice. Raises InvalidRequest."""
    return Asking(
        caller=None, person=visit.person.entered, due_on=_day_posted(visit, "due_on"),
        contract=visit.form.get("contract", "").strip() or None, by_letter="by_letter" in visit.form,
    )  # fmt: skip


def _day_posted(visit: Visit, name: str) -> date | None:
    text = visit.form.get(name, "").strip()
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidRequest([f"{name}: write the day as 2026-01-31"]) from None


async def cancel(visit: Visit) -> Response:
    """Ask no more, where nothing left; that somebody wanted it, and why, is entered first."""
    name, reason = visit.in_path("recall"), visit.posted("reason")
    found = await visit.gateway.recalls.find(visit.caller, name)
    if found.state not in _CANCELLABLE:
        raise NotPossible([f"recall: is {found.state.value}, so it cannot be taken back: tell the recipient"])

    def nothing_else(_connection: Connection) -> None:
        """The recall itself is moved afterwards."""

    await visit.gateway.control(
        "cancel_recall", caller=visit.caller, person=visit.person.entered, reason=reason, also=nothing_else,
        recall=found.id,
    )  # fmt: skip
    await visit.gateway.recalls.cancel(visit.caller, found.id, person=visit.person.entered)
    return visit.to(f"/recalls/{found.id}")


async def acknowledge(visit: Visit) -> Response:
    """A person has seen the act of destruction, or that the recipient refuses."""
    answer = visit.posted("answer")
    if answer not in {"destroyed", "refused"}:
        raise InvalidRequest(["answer: is destroyed or refused"])
    found = await visit.gateway.recalls.acknowledge(
        visit.caller, visit.in_path("recall"), destroyed=answer == "destroyed", act=visit.posted("act"),
        person=visit.person.entered,
    )  # fmt: skip
    return visit.to(f"/recalls/{found.id}")


PAGES = (
    Page("GET", "/recalls", list_recalls, READERS),
    Page("GET", "/recalls/{recall}", show, READERS),
    Page("POST", "/recalls", ask, _APPROVERS),
    Page("POST", "/recalls/{recall}/confirm", confirm, _APPROVERS),
    Page("POST", "/recalls/{recall}/cancel", cancel, _APPROVERS),
    Page("POST", "/recalls/{recall}/acknowledge", acknowledge, _APPROVERS),
)
