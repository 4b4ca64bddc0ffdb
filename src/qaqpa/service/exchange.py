"""Requests in, answers out: bodies within limits, JSON and nothing else, problems as RFC 9457 has them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from qaqpa.errors import InvalidRequest, MediaTypeRefused, QaqpaError, RequestTooLarge, RequestTooSlow
from qaqpa.gateway.answers import error_answer
from qaqpa.model.request import parse
from qaqpa.model.words import Language
from qaqpa.translation import accepted_language

Model = TypeVar("Model", bound=BaseModel)

JSON, PROBLEM = "application/json", "application/problem+json"
_RETRY_AFTER_S = {409: 1, 429: 30, 503: 5}
KEPT_APART = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""What is answered about a person stays in no cache."""


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """One JSON document."""
    return Response(orjson.dumps(value), status, headers={**KEPT_APART, **(headers or {})}, media_type=JSON)


def problem(error: QaqpaError, language: Language, *, shown: str | None = None) -> Response:
    """An error with its stable code and every reason; `shown` is what came as Authorization."""
    told = error_answer(error, language)
    document = {"type": f"urn:qaqpa:problem:{error.code}", "title": HTTPStatus(error.status).phrase, **told}
    headers = dict(KEPT_APART)
    if error.status == HTTPStatus.UNAUTHORIZED:
        # RFC 6750 §3.1: why, to whoever showed a token; what to show, to whoever showed none.
        wrong = shown is not None and shown.partition(" ")[0].lower() == "bearer"
        headers["www-authenticate"] = 'Bearer realm="qaqpa"' + (', error="invalid_token"' if wrong else "")
    if error.status in _RETRY_AFTER_S and error.code not in {"request_duplicate", "not_possible", "erasure_refused"}:
        headers["retry-after"] = str(_RETRY_AFTER_S[error.status])
    return Response(orjson.dumps(document), error.status, headers=headers, media_type=PROBLEM)


def plain_problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A problem that no error of ours stands for."""
    document = {
        "type": f"urn:qaqpa:problem:{code}", "title": HTTPStatus(status).phrase, "status": status, "detail": detail,
        "code": code,
    }  # fmt: skip
    return Response(orjson.dumps(document), status, headers={**KEPT_APART, **(headers or {})}, media_type=PROBLEM)


def language_of(request: Request, default: Language) -> Language:
    """The language that the caller reads best, of the three that guards speak."""
    return accepted_language(request.headers.get("accept-language", ""), default)


async def document(request: Request, model: type[Model], *, largest: int, timeout_s: float) -> Model:
    """The request's body as `model`. Raises InvalidRequest or a kind of it."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != JSON or charset not in {"", "utf-8"}:
        raise MediaTypeRefused(["Content-Type: must be application/json in UTF-8"])
    if request.headers.get("content-encoding", "identity") != "identity":
        raise MediaTypeRefused(["Content-Encoding: bodies are taken as they are, not compressed"])
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > largest:
        raise RequestTooLarge([f"request: is longer than {largest} bytes"])
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > largest:
                    raise RequestTooLarge([f"request: is longer than {largest} bytes"])
    except ClientDisconnect:
        raise InvalidRequest(["request: the connection ended before it came whole"]) from None
    except TimeoutError:
        raise RequestTooSlow([f"request: did not come whole within {timeout_s:g} s"]) from None
    return parse(model, bytes(body))
