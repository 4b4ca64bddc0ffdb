"""One request of a person's browser: who, in which language, with what; and how it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from qaqpa.config.models import ConsoleConfig, ConsoleRole
from qaqpa.console.files import Files
from qaqpa.console.looks import Looks
from qaqpa.console.people import Person
from qaqpa.console.saved import Saved
from qaqpa.console.security import came_from
from qaqpa.console.sessions import Sessions
from qaqpa.errors import InvalidRequest, NotAllowed, RequestTooLarge
from qaqpa.gateway import Gateway
from qaqpa.model.identifiers import is_subject_id
from qaqpa.model.words import Language

Result = TypeVar("Result")
ROOT = "/console"
_LARGEST_FORM = 64 * 1024
_FIELDS_AT_MOST = 100
_LONGEST_VALUE = 2_000


@dataclass(frozen=True, slots=True)
class House:
    """What every page stands on."""

    gateway: Gateway
    config: ConsoleConfig
    sessions: Sessions
    saved: Saved
    looks: Looks
    files: Files


@dataclass(slots=True)
class Visit:
    """A page that somebody who is signed in asks for."""

    house: House
    request: Request
    person: Person
    language: Language
    form_token: str = field(repr=False)
    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What was posted."""
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    """What was uploaded with it, by the names of its fields."""

    @property
    def gateway(self) -> Gateway:
        """The gate."""
        return self.house.gateway

    @property
    def caller(self) -> str:
        """As whom the gateway is asked."""
        return self.house.config.caller

    def asked(self, name: str, default: str = "") -> str:
        """One of the address's query, without spaces around it. Raises InvalidRequest for what is too long."""
        found = self.request.query_params.get(name, default).strip()
        if len(found) > _LONGEST_VALUE:
            raise InvalidRequest([f"{name}: is too long"])
        return found

    def in_path(self, name: str) -> str:
        """What stands in the address's path."""
        return str(self.request.path_params[name])

    def posted(self, name: str) -> str:
        """One of the form. Raises InvalidRequest where it is empty."""
        found = self.form.get(name, "").strip()
        if not found:
            raise InvalidRequest([f"{name}: fill this in"])
        return found

    def way_back(self) -> str | None:
        """To the form or list that was left for this page."""
        came = own_address(came_from(self.request, self.house.config.url))
        here = self.request.url
        return None if came == f"{here.path}{'?' if here.query else ''}{here.query}" else came

    def require(self, *roles: ConsoleRole) -> None:
        """Raises NotAllowed unless the person has one of the roles."""
        if not self.person.may(*roles):
            raise NotAllowed(f"this takes the role {' or '.join(role.value for role in roles)}")

    def page(self, template: str, status: int = 200, **more: Any) -> Response:
        """A page of the console."""
        text = self.house.looks.render(
            template,
            self.language,
            visit=self,
            person=self.person,
            form_token=self.form_token,
            here=self.request.url.path,
            **more,
        )
        return HTMLResponse(text, status)

    async def in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """What takes long enough that others would wait."""
        return await asyncio.to_thread(work, *arguments)

    def to(self, path: str) -> Response:
        """Send the browser to another page of the console (after a form: RFC 9110 §15.4.4)."""
        return RedirectResponse(f"{ROOT}{path}", 303)


def require_subject_id(text: str) -> None:
    """Raises InvalidRequest for what is no random id of a person. An IIN is none, and must be in no address."""
    if not is_subject_id(text):
        raise InvalidRequest(
            ["subject: is the random id of a person; look for somebody by an IIN under People, where it is posted"]
        )


def own_address(text: str) -> str | None:
    """`text`, if it leads to a page of the console: what a browser sent could lead anywhere (open redirect)."""
    path, _, _ = text.partition("?")
    good = text.isascii() and text.isprintable() and "\\" not in text and "//" not in path
    return text if good and text.startswith(f"{ROOT}/") else None


def link(path: str, **query: Any) -> str:
    """The address of a page of the console; what is None or empty is left out."""
    said = urlencode({name: str(value) for name, value in query.items() if value not in {None, ""}})
    return f"{ROOT}{quote(path)}{'?' + said if said else ''}"


async def read_fields(visit: Visit) -> None:
    """The form of a page that uploads nothing. Raises as `read_form`."""
    visit.form = await read_form(visit.request)


async def read_body(request: Request, largest: int) -> bytes:
    """What was posted, as it came. Raises InvalidRequest, RequestTooLarge."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > largest:
                raise RequestTooLarge([f"form: is longer than {largest} bytes"])
    except ClientDisconnect:
        raise InvalidRequest(["form: the connection ended before it came whole"]) from None
    return bytes(body)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form. Raises InvalidRequest, RequestTooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidRequest(["Content-Type: must be application/x-www-form-urlencoded"])
    body = await read_body(request, _LARGEST_FORM)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_AT_MOST, strict_parsing=True)
    except ValueError:
        if body:
            raise InvalidRequest(["form: cannot be read"]) from None
        pairs = []
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidRequest(["form: names one field twice"])
        if len(value) > _LONGEST_VALUE:
            raise InvalidRequest([f"{name}: is too long"])
        found[name] = value
    return found
