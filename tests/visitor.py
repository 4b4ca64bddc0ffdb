"""A person with a browser, without a browser: signs in, follows links, fills in forms."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from desk import Desk
from qaqpa.config.models import ConsoleRole
from qaqpa.console.sessions import form_token, make_link

URL = "http://127.0.0.1:8480"
EVERY = tuple(ConsoleRole)
FORM = {"content-type": "application/x-www-form-urlencoded"}
_TOKEN = re.compile(r'name="token" value="([^"]+)"')


@dataclass
class Visitor:
    """One person's session at the console."""

    desk: Desk
    client: httpx.AsyncClient
    token: str
    """What forms carry: the cookie's, and then what the last page gave."""
    language: str | None = None
    """What the browser asks for; None for nothing."""
    seen: list[str] = field(default_factory=list)
    """Every page that was shown."""

    async def get(self, path: str, language: str | None = None, **query: str) -> httpx.Response:
        """A page of the console."""
        asked = language or self.language
        headers = {} if asked is None else {"accept-language": asked}
        answer = await self.client.get(f"/console{path}", params=query or None, headers=headers)
        if answer.headers.get("content-type", "").startswith("text/html"):
            self.seen.append(answer.text)
            if found := _TOKEN.search(answer.text):
                self.token = found[1]
        return answer

    async def text(self, path: str, language: str | None = None, **query: str) -> str:
        """A page that must be there."""
        answer = await self.get(path, language, **query)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def post(self, path: str, *, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
        """Send a form; `headers` say where its page was, in the place of what a browser says of our own pages."""
        sent = FORM | ({"origin": URL} if headers is None else headers)
        asked = {} if self.language is None else {"accept-language": self.language}
        return await self.client.post(f"/console{path}", data={"token": self.token} | form, headers=asked | sent)


SignIn = Callable[..., Awaitable[Visitor]]


@asynccontextmanager
async def visiting(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A browser with no cookie yet."""
    transport = httpx.ASGITransport(desk.app, raise_app_exceptions=False, client=("192.0.2.9", 40_000))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        yield client


async def link_for(desk: Desk, person: str, *roles: ConsoleRole) -> str:
    """A sign-in link's path, as `qaqpa console login` makes it."""
    secret, _ = await make_link(desk.gateway, roles or EVERY, caller="compliance", person=person, reason="tests")
    return f"/console/signin/link/{secret}"


@asynccontextmanager
async def signed_in(
    desk: Desk, person: str, *roles: ConsoleRole, language: str | None = None
) -> AsyncIterator[Visitor]:
    """Somebody with these roles (all of them, where none are named), signed in."""
    async with visiting(desk) as client:
        answer = await client.post(await link_for(desk, person, *roles), headers=FORM)
        assert answer.status_code == 303, answer.text
        yield Visitor(desk, client, form_token(client.cookies["qaqpa_console"]), language)


def said(text: str) -> str:
    """What a reader sees of a page, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())
