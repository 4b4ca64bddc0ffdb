"""Consents: found by person or by state, one with its terms in words, withdrawals that are pending (7.1(3)).

Consents are recorded and withdrawn by the services that hold the person's contract, never from here.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.console.overview import day_asked
from qaqpa.console.page import READERS, Page
from qaqpa.console.policy import anchor, by_group, today
from qaqpa.console.visit import Visit, require_subject_id
from qaqpa.errors import InvalidRequest
from qaqpa.model.consent import UNCOVERED_WORDS, ConsentStatus
from qaqpa.model.identifiers import check_iin
from qaqpa.model.words import joined

_INVESTIGATORS = (ConsoleRole.INVESTIGATOR,)
_ID = re.compile(r"[0-9a-f-]{36}")


async def list_consents(visit: Visit) -> Response:
    """By state, those that end soon, or of one person by the random id that stands for them."""
    review, subject = visit.gateway.consent_review, visit.asked("subject")
    if subject:
        require_subject_id(subject)
        found = await review.of_subject(visit.caller, subject)
        return _page(visit, consents=found, subject=subject)
    state, ends_by, before = _state(visit.asked("state")), day_asked(visit, "ends_by"), visit.asked("before")
    if before and not _ID.fullmatch(before):
        raise InvalidRequest(["before: must be the id of a consent"])
    if ends_by is not None and state is not None:
        raise InvalidRequest(["ends_by: is of consents in force, and goes without a state"])
    if ends_by is not None:
        page = await review.ending(visit.caller, ends_by, before or None)
    else:
        page = await review.listed(visit.caller, state, before or None)
    return _page(visit, consents=page.consents, state=state, ends_by=ends_by, next_page=page.before)


def _state(text: str) -> ConsentStatus | None:
    if text and text not in set(ConsentStatus):
        raise InvalidRequest([f"state: is one of {', '.join(ConsentStatus)}"])
    return ConsentStatus(text) if text else None


def _page(visit: Visit, **more: Any) -> Response:
    nothing = {"consents": (), "state": None, "ends_by": None, "subject": None, "next_page": None, "unknown": False}
    return visit.page(
        "consents.html",
        **(nothing | more),
        states=tuple(ConsentStatus),
        now=visit.gateway.ledger.clock(),
        policy=visit.gateway.policy,
        today=today(visit),
    )


async def search(visit: Visit) -> Response:
    """A person's consents; the IIN is posted, and what stands in the address after that is the person's random id."""
    iin = "".join(visit.posted("iin").split())
    try:
        check_iin(iin)
    except ValueError as error:
        raise InvalidRequest([f"iin: {error}"]) from None
    subject = await visit.gateway.consent_review.subject_of(visit.caller, iin)
    return _page(visit, unknown=True) if subject is None else visit.to(f"/consents?subject={subject}")


async def show_consent(visit: Visit) -> Response:
    """One of them."""
    return await _shown(visit)


async def show_proof(visit: Visit) -> Response:
    """One of them with what stands sealed in its entry; the reason is entered."""
    consent, reason = visit.in_path("consent"), visit.posted("reason")
    proof = await visit.gateway.consent_review.proof(visit.caller, consent, reason=reason)
    return await _shown(visit, proof=proof)


async def _shown(visit: Visit, **more: Any) -> Response:
    gateway = visit.gateway
    told = await gateway.consent_review.told(visit.caller, visit.in_path("consent"))
    now = gateway.ledger.clock()
    return visit.page(
        "consent.html",
        **({"proof": None} | more),
        consent=told.consent,
        state=told.consent.status(now),
        given_later=told.consent.terms.given_at > now,
        paths=by_group(sorted(told.consent.terms.paths)),
        entries=[entry.content | {"index": entry.index} for entry in told.entries],
        used=[entry.content | {"index": entry.index} for entry in told.used],
        routes=[
            (route, joined(tuple(UNCOVERED_WORDS[reason] for reason in why)) if why else None)
            for route, why in told.routes
        ],
        policy=gateway.policy,
        operator_bin=gateway.policy.operator.bin,
        anchor=anchor,
        today=today(visit),
    )


PAGES = (
    Page("GET", "/consents", list_consents, READERS),
    Page("POST", "/consents/search", search, READERS),
    Page("GET", "/consents/{consent}", show_consent, READERS),
    Page("POST", "/consents/{consent}/evidence", show_proof, _INVESTIGATORS),
)
