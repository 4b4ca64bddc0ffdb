"""Handovers over HTTP: a register streams in as the body, and is encrypted on disk from its first byte on.

What is ordered stands in the query: names of the configuration and choices, never anything of a person.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from qaqpa.errors import InvalidRequest, MediaTypeRefused, RequestTooLarge, RequestTooSlow
from qaqpa.gateway.handover_answers import brief_answer, finding_answer, handover_answer
from qaqpa.handover.handovers import LARGEST_REGISTER
from qaqpa.handover.orders import Order
from qaqpa.model.handover import HandoverState
from qaqpa.model.identifiers import OUR_ID
from qaqpa.receipts import LARGEST as LARGEST_RECEIPT
from qaqpa.service.desk import Desk, desk
from qaqpa.service.exchange import JSON, KEPT_APART, json_answer
from qaqpa.service.schemas import CountQuery, HandoverQuery, PageQuery

Query = TypeVar("Query", bound=BaseModel)

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_FORMATS = {"text/csv": "csv", "application/jsonl": "jsonl", "application/x-ndjson": "jsonl", XLSX: "xlsx"}
"""By media type, which says what the body claims to be."""
_ENCODINGS = ("utf-8", "windows-1251", "kz-1048")
_RECEIPT_TYPES = (JSON, "application/jose", "application/zip")
_LONGEST_S = 3_600.0
"""In which a register must have come whole; between two pieces of it at most `service.request_timeout_s` pass."""
_PAGE = 1_000


# --- what the document says ------------------------------------------------------------------------


def query_parameter(name: str, schema: dict[str, Any], description: str, **more: Any) -> dict[str, Any]:
    """One of an address's query, as OpenAPI tells it."""
    return {"name": name, "in": "query", "schema": schema, "description": description, **more}


_SLUG = {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,63}$"}
ORDER = (
    query_parameter("recipient", _SLUG, "Whom the register goes to", required=True, example="demo-collector"),
    query_parameter("operation", _SLUG, "As in a route of the recipient's", required=True, example="handover"),
    query_parameter("purpose", _SLUG, "As in the route", required=True, example="debt_collection"),
    query_parameter("strict", {"type": "boolean"}, "One row that may not go holds up all"),
    query_parameter("follows", {"type": "string", "pattern": f"^{OUR_ID}$"},
           "With contract_upload: the assignment whose change of creditor it reports"),
    query_parameter("priority", {"type": "integer", "minimum": -100, "maximum": 100},
           "Of two that wait for one recipient the higher goes first"),
)  # fmt: skip
COUNT = query_parameter("count", {"type": "integer", "minimum": 1, "maximum": _PAGE}, "At most so many")
AFTER = query_parameter("after", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, "Only rows beyond this one")
_TEXT: dict[str, Any] = {"schema": {"type": "string", "minLength": 1}}
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
REGISTERS: dict[str, Any] = {kind: _BYTES if kind == XLSX else _TEXT for kind in _FORMATS}
RECEIPTS: dict[str, Any] = {kind: {"schema": {}} if kind == JSON else _BYTES for kind in _RECEIPT_TYPES}


# --- reading ---------------------------------------------------------------------------------------


def read_query(request: Request, model: type[Query]) -> Query:
    """The query. Raises InvalidRequest, naming no value: somebody may have put a person's number there."""
    pairs = request.query_params.multi_items()
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1} & model.model_fields.keys():
        raise InvalidRequest([f"{name}: give it once" for name in sorted(twice)])
    try:
        return model.model_validate(dict(pairs))
    except ValidationError as error:
        known = model.model_fields.keys()
        raise InvalidRequest(
            [
                f"{each['loc'][0]}: {each['msg'].lower()}" if each["loc"] and each["loc"][0] in known
                else f"the query holds an unknown name (known: {', '.join(known)})"
                for each in error.errors(include_url=False, include_input=False, include_context=False)
            ]
        ) from None  # fmt: skip


def _media_type(request: Request) -> tuple[str, dict[str, str]]:
    kind, *parts = request.headers.get("content-type", "").split(";")
    named = (part.partition("=") for part in parts)
    parameters = {name.strip().lower(): value.strip().strip('"').lower() for name, _, value in named}
    if request.headers.get("content-encoding", "identity") != "identity":
        raise MediaTypeRefused(["Content-Encoding: bodies are taken as they are, not compressed"])
    return kind.strip().lower(), parameters


def _register(request: Request) -> tuple[str, str | None]:
    """Format and encoding of a register, from its media type. Raises MediaTypeRefused."""
    kind, parameters = _media_type(request)
    if kind not in _FORMATS:
        raise MediaTypeRefused([f"Content-Type: must be one of {', '.join(_FORMATS)}"])
    encoding = parameters.get("charset")
    if encoding is not None and encoding not in _ENCODINGS:
        raise MediaTypeRefused([f"Content-Type: charset must be one of {', '.join(_ENCODINGS)}"])
    return _FORMATS[kind], None if kind == XLSX else encoding


async def _pieces(request: Request, largest: int, silence_s: float) -> AsyncIterator[bytes]:
    """The body as it comes, never whole. Raises a kind of InvalidRequest where it breaks off, stalls or is too long."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > largest:
        raise RequestTooLarge([f"request: is longer than {largest} bytes"])
    ends, size, stream = time.monotonic() + _LONGEST_S, 0, request.stream()
    while True:
        try:
            async with asyncio.timeout(min(silence_s, ends - time.monotonic())):
                piece = await anext(stream, None)
        except ClientDisconnect:
            raise InvalidRequest(["request: the connection ended before it came whole; nothing is kept"]) from None
        except TimeoutError:
            raise RequestTooSlow(["request: stalled, or did not come whole in time; nothing is kept"]) from None
        if piece is None:
            return
        size += len(piece)
        if size > largest:
            raise RequestTooLarge([f"request: is longer than {largest} bytes"])
        if piece:
            yield piece


def _silence(at: Desk) -> float:
    return at.gateway.setup.config.gateway.service.request_timeout_s


# --- the paths -------------------------------------------------------------------------------------


async def _standing(at: Desk, caller: str, handover: str) -> dict[str, Any]:
    standing = await at.gateway.handovers.find(caller, handover)
    package = at.gateway.handovers.package_name(standing.handover)
    return handover_answer(standing, package, at.gateway.ledger.clock())


async def order(request: Request) -> Response:
    """Take a register in; what comes of it is told at its address."""
    at = desk(request)
    caller = await at.caller(request)
    at.gateway.handovers.require_orderer(caller)
    asked, key = read_query(request, HandoverQuery), at.idempotency_key(request)
    kind, encoding = _register(request)
    taken = await at.gateway.handovers.order(
        Order(
            caller=caller, recipient=asked.recipient, operation=asked.operation, purpose=asked.purpose,
            format=kind, encoding=encoding, strict=asked.strict == "true", priority=asked.priority,
            follows=asked.follows,
        ),
        _pieces(request, LARGEST_REGISTER, _silence(at)),
        key=key,
    )  # fmt: skip
    headers = {"location": f"/v1/handovers/{taken.id}"}
    return json_answer(await _standing(at, caller, taken.id), 202, headers)


async def latest(request: Request) -> Response:
    """Handovers, the newest first: the caller's own, or everybody's for who reviews or operates."""
    at = desk(request)
    caller = await at.caller(request)
    at.gateway.handovers.require_looker(caller)
    asked = read_query(request, CountQuery)
    found = await at.gateway.handovers.latest(caller, asked.count or 50)
    return json_answer({"handovers": [brief_answer(each) for each in found]})


async def show(request: Request) -> Response:
    """Where a handover stands, and how fast it goes."""
    at = desk(request)
    caller = await at.caller(request)
    return json_answer(await _standing(at, caller, request.path_params["handover"]))


async def rows(request: Request) -> Response:
    """Rows that did not go or were rejected, by their numbers in the register, a page at a time."""
    at = desk(request)
    caller = await at.caller(request)
    at.gateway.handovers.require_looker(caller)
    asked = read_query(request, PageQuery)
    count = asked.count or _PAGE
    found = await at.gateway.handovers.findings(caller, request.path_params["handover"], after=asked.after, limit=count)
    guards, language = at.gateway.setup.config.guards, at.language(request)
    more = found[-1].number if len(found) == count else None
    return json_answer({"rows": [finding_answer(each, guards, language) for each in found], "next_after": more})


async def manifest(request: Request) -> Response:
    """The manifest of its package, byte for byte as it is signed."""
    at = desk(request)
    content = await at.gateway.handovers.manifest(await at.caller(request), request.path_params["handover"])
    return Response(content, headers=KEPT_APART, media_type=JSON)


async def signature(request: Request) -> Response:
    """The signed note over the manifest (C2SP signed-note)."""
    at = desk(request)
    content = await at.gateway.handovers.signature(await at.caller(request), request.path_params["handover"])
    return Response(content, headers=KEPT_APART, media_type="text/plain; charset=utf-8")


async def cancel(request: Request) -> Response:
    """Cancel one that is not sent; 202 where it is being sent and is stopped if it still can be."""
    at = desk(request)
    caller, handover = await at.caller(request), request.path_params["handover"]
    cancelled = await at.gateway.handovers.cancel(caller, handover)
    status = 202 if cancelled.state is HandoverState.SENDING else 200
    headers: Mapping[str, str] = {"location": f"/v1/handovers/{handover}"} if status == 202 else {}
    return json_answer(await _standing(at, caller, handover), status, headers)


async def receipt(request: Request) -> Response:
    """A recipient's receipt: for itself with the role acknowledge, or by who ordered the handover or operates."""
    at = desk(request)
    caller = await at.caller(request)
    at.gateway.handovers.require_acknowledger(caller)
    kind, _ = _media_type(request)
    if kind not in _RECEIPT_TYPES:
        raise MediaTypeRefused([f"Content-Type: must be one of {', '.join(_RECEIPT_TYPES)}"])
    body = b"".join([piece async for piece in _pieces(request, LARGEST_RECEIPT, _silence(at))])
    if not body:
        raise InvalidRequest(["request: is empty"])
    taken = await at.gateway.handovers.receipt_for(caller, request.path_params["handover"], body)
    said = taken.figures["receipt"]
    return json_answer(
        {"handover": taken.id, "state": taken.state.value, "result": said["result"], "rejected": said["rejected"]}
    )
