"""Signing in and out: by a one-time link, or at the OpenID provider."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from qaqpa.console.account import LANGUAGE, keep_language
from qaqpa.console.openid import Flight, OpenId
from qaqpa.console.security import require_same_origin
from qaqpa.console.visit import ROOT, link, own_address, read_form
from qaqpa.errors import NotAuthenticated
from qaqpa.translation import LANGUAGES

if TYPE_CHECKING:
    from qaqpa.console.app import Console

_FLIGHT = "qaqpa_signin"
_TOKENS = "{secret:str}"
_LONGEST_BACK = 2_000
"""Of an address that a cookie takes along."""


def ask_in_passing(console: Console, request: Request) -> Response:
    """Send a browser to the provider, which asks nobody anything, and back to the page that it wanted."""
    if console.openid is None:
        return RedirectResponse(link("/signin"), 303)
    query = request.url.query
    back = f"{request.url.path}?{query}" if query else request.url.path
    return _away(console, console.openid, Flight(back=back if len(back) <= _LONGEST_BACK else link("/")))


def _away(console: Console, openid: OpenId, flight: Flight) -> Response:
    response = RedirectResponse(openid.ask(flight), 303)
    response.set_cookie(
        _FLIGHT, flight.cookie(), max_age=600, path=f"{ROOT}/signin", secure=console.secure, httponly=True,
        samesite="lax",
    )  # fmt: skip
    return response


def routes(console: Console) -> list[Route]:
    """The pages of whoever is not signed in yet."""

    def begin(response: Response, secret: str) -> Response:
        # Lax: who follows a link to a page of the console, from a mail say, is still signed in there. Nothing is
        # changed by a link, and forms carry a token.
        response.set_cookie(
            console.cookie, secret, path="/" if console.secure else ROOT, secure=console.secure, httponly=True,
            samesite="lax",
        )  # fmt: skip
        return response

    def shown(request: Request, template: str, **more: Any) -> Response:
        """A page of these, in the language that was chosen on it, which the browser keeps."""
        response = console.plain(request, template, here=request.url.path, **more)
        if (chosen := request.query_params.get(LANGUAGE)) in LANGUAGES:
            keep_language(response, chosen, secure=console.secure)
        return response

    async def signin(request: Request) -> Response:
        return shown(request, "signin.html", openid=console.openid is not None, links=console.house.config.takes_links)

    async def show_link(request: Request) -> Response:
        # Only a click uses the link up: previews of links do not.
        return shown(request, "link.html", secret=request.path_params["secret"])

    async def use_link(request: Request) -> Response:
        require_same_origin(request, console.house.config.url)
        await read_form(request)
        secret = await console.house.sessions.use_link(request.path_params["secret"])
        return begin(RedirectResponse(link("/"), 303), secret)

    async def go_out(request: Request) -> Response:
        if console.openid is None:
            raise NotAuthenticated("people sign in by a link here: ask an administrator for one")
        return _away(console, console.openid, Flight())

    async def come_back(request: Request) -> Response:
        flight = Flight.from_cookie(request.cookies.get(_FLIGHT, ""))
        state, code = (request.query_params.get(name, "")[:4_096] for name in ("state", "code"))
        had, sessions = request.cookies.get(console.cookie, ""), console.house.sessions
        if console.openid is None or "error" in request.query_params:
            if flight is not None and flight.back and hmac.compare_digest(flight.state.encode(), state.encode()):
                await sessions.drop(had)  # it was asked in passing, and does not answer for this person any more
            raise NotAuthenticated("the provider did not sign you in: begin anew")
        found = await console.openid.came_back(flight, state, code)
        secret = await sessions.begin(found.name, console.openid.config.issuer, found.sub, found.groups, had)
        assert flight is not None  # noqa: S101 - nobody comes back without
        response = begin(RedirectResponse(own_address(flight.back) or link("/"), 303), secret)
        response.delete_cookie(_FLIGHT, path=f"{ROOT}/signin")
        return response

    return [
        Route("/signin", console.unbroken(signin)),
        Route(f"/signin/link/{_TOKENS}", console.unbroken(show_link)),
        Route(f"/signin/link/{_TOKENS}", console.unbroken(use_link), methods=["POST"]),
        Route("/signin/openid", console.unbroken(go_out)),
        Route("/signin/openid/back", console.unbroken(come_back)),
    ]
