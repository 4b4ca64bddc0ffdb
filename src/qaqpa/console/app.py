"""The console's ASGI application: each page behind a session, a role and, where it changes anything, a form's token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from datetime import datetime
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qaqpa import log
from qaqpa.console import signin
from qaqpa.console.account import LANGUAGE, LANGUAGE_COOKIE
from qaqpa.console.files import Files
from qaqpa.console.looks import Looks
from qaqpa.console.openid import OpenId
from qaqpa.console.page import Page
from qaqpa.console.pages import PAGES
from qaqpa.console.saved import Saved
from qaqpa.console.sections import SHARED
from qaqpa.console.security import COOKIE, HEADERS, SECURE_COOKIE, SECURE_HEADERS, Headers, require_same_origin
from qaqpa.console.sessions import Sessions, form_token
from qaqpa.console.visit import ROOT, House, Visit, link
from qaqpa.errors import NotAllowed, QaqpaError
from qaqpa.gateway import Gateway
from qaqpa.gateway.answers import error_answer
from qaqpa.gateway.compliance import acting
from qaqpa.model.words import Language
from qaqpa.translation import LANGUAGES

_log = log.get("console")
Serve = Callable[[Request], Awaitable[Response]]
_STATIC = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
_KEPT = "public, max-age=3600"


class Console:
    """The console of one gateway."""

    def __init__(self, gateway: Gateway, clock: Callable[[], datetime], openid: OpenId | None) -> None:
        config = gateway.setup.config.gateway.console
        self.house = House(
            gateway, config, Sessions(gateway, config, clock), Saved(gateway.store), Looks(gateway, SHARED), Files()
        )
        self.openid = openid
        self.secure = config.url.startswith("https:")
        self.cookie = SECURE_COOKIE if self.secure else COOKIE
        pages = Starlette(
            routes=[*signin.routes(self), *map(self._route, PAGES), Route("/static/{name}", _static)],
            exception_handlers={QaqpaError: self._told, HTTPException: self._nothing},
        )
        # Where a slash too many leads would be told with the host that the request names, which may be anybody's.
        pages.router.redirect_slashes = False
        self.app: ASGIApp = _Hardened(pages, HEADERS + SECURE_HEADERS if self.secure else HEADERS)

    async def close(self) -> None:
        """Ask the provider for nothing any more."""
        if self.openid is not None:
            await self.openid.close()

    # --- a page ----------------------------------------------------------------------------------

    def _route(self, page: Page) -> Route:
        async def serve(request: Request) -> Response:
            secret = request.cookies.get(self.cookie, "")
            present = await self.house.sessions.find(secret)
            if present is None:
                # A form that was sent too late is not sent again by itself: who signs in anew looks at it anew.
                return RedirectResponse(link("/signin"), 303)
            if not present.is_fresh and page.method == "GET":
                return signin.ask_in_passing(self, request)
            person = present.person
            visit = Visit(self.house, request, person, self.language(request), form_token(secret))
            request.state.visit = visit
            visit.require(*page.roles)
            if page.method == "POST":
                require_same_origin(request, self.house.config.url)
                await page.read(visit)
                if not hmac.compare_digest(visit.form.get("token", "").encode(), visit.form_token.encode()):
                    raise NotAllowed("this form is of another session: go back, load the page anew and send it again")
            with acting(person.entered):
                return await page.answer(visit)

        return Route(page.path, self.unbroken(serve), methods=[page.method], name=f"{page.method} {page.path}")

    def unbroken(self, serve: Serve) -> Serve:
        """`serve`, whose defects become a page here: the framework would raise them on, through the service as well."""

        async def serving(request: Request) -> Response:
            try:
                return await serve(request)
            except (QaqpaError, HTTPException):
                raise
            except Exception as error:  # noqa: BLE001 - what an unforeseen exception says may hold a person's data
                _log.error("a defect of Qaqpa", error_type=type(error).__name__)
                return self.plain(request, "refused.html", 500, told={"code": "defect", "detail": ""})

        return serving

    def language(self, request: Request) -> Language:
        """Chosen here, else asked for by the browser, else the operator's."""
        asked = request.query_params.get(LANGUAGE) if request.url.path.startswith(f"{ROOT}/signin") else None
        chosen = asked if asked in LANGUAGES else request.cookies.get(LANGUAGE_COOKIE)
        default = self.house.gateway.setup.config.gateway.language
        return self.house.looks.language(chosen, request.headers.get("accept-language", ""), default)

    # --- what went wrong -------------------------------------------------------------------------

    async def _told(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, QaqpaError)  # noqa: S101 - that is what it is registered for
        visit: Visit | None = getattr(request.state, "visit", None)
        _log.info("page refused", code=error.code)
        told = error_answer(error, self.language(request))
        if visit is None:
            return self.plain(request, "refused.html", error.status, told=told)
        return visit.page("error.html", error.status, told=told, back=visit.way_back())

    async def _nothing(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - the same
        return self.plain(request, "refused.html", error.status_code, told={"code": "not_found", "detail": ""})

    def plain(self, request: Request, template: str, status: int = 200, **more: Any) -> Response:
        """A page for whoever is not signed in."""
        return HTMLResponse(self.house.looks.render(template, self.language(request), **more), status)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return PlainTextResponse("nothing stands at this address", 404)
    text = resources.files("qaqpa.console").joinpath("static", name).read_text()
    return Response(text, media_type=_STATIC[name], headers={"cache-control": _KEPT})


class _Hardened:
    """Puts what keeps a browser from doing harm on every answer."""

    def __init__(self, app: ASGIApp, headers: Headers) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in self._headers if name not in there),
                ]
            await send(message)

        await self._app(scope, receive, sending)
