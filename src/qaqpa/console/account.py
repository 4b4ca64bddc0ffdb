"""A person's own session, and the sessions of others for an administrator."""

from __future__ import annotations

from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.console.page import EVERYBODY, Page
from qaqpa.console.visit import ROOT, Visit, link, own_address
from qaqpa.errors import InvalidRequest
from qaqpa.translation import LANGUAGES

LANGUAGE = "language"
"""In the address of a page for whoever is not signed in, and so has no form's token: the language to be read in."""
LANGUAGE_COOKIE = "qaqpa_language"
_A_YEAR_S = 365 * 86_400


async def choose_language(visit: Visit) -> Response:
    """Remember in which language this browser reads."""
    chosen, back = visit.posted("language"), visit.form.get("back", "")
    if chosen not in LANGUAGES:
        raise InvalidRequest([f"language: is one of {', '.join(LANGUAGES)}"])
    response = visit.to((own_address(back) or link("/")).removeprefix(ROOT))
    keep_language(response, chosen, secure=visit.house.config.url.startswith("https:"))
    return response


def keep_language(response: Response, chosen: str, *, secure: bool) -> None:
    """Let this browser remember the language."""
    response.set_cookie(
        LANGUAGE_COOKIE, chosen, max_age=_A_YEAR_S, path=ROOT, secure=secure, httponly=True, samesite="lax"
    )


async def sign_out(visit: Visit) -> Response:
    """End this session."""
    await visit.house.sessions.end(visit.person.session)
    return visit.to("/signin")


async def list_sessions(visit: Visit) -> Response:
    """Who is signed in."""
    return visit.page("sessions.html", sessions=await visit.house.sessions.open_ones())


async def end_session(visit: Visit) -> Response:
    """End somebody's session, with a reason; an entry says so."""
    await visit.house.sessions.revoke(
        visit.in_path("session"), caller=visit.caller, person=visit.person.entered, reason=visit.posted("reason")
    )
    return visit.to("/sessions")


PAGES = (
    Page("POST", "/language", choose_language, EVERYBODY),
    Page("POST", "/signout", sign_out, EVERYBODY),
    Page("GET", "/sessions", list_sessions, (ConsoleRole.ADMINISTRATOR,)),
    Page("POST", "/sessions/{session}/end", end_session, (ConsoleRole.ADMINISTRATOR,)),
)
