"""A plain JSON form of one claim, of a recall, and of receipts: for recipients that publish no format of their own.

Pure: it opens nothing, and writes no field that it is not told to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from qaqpa.errors import (
    AnswerUnreadable,
    CredentialsRefused,
    InvalidRequest,
    Rejected,
    RequestRefused,
    RightsRefused,
)
from qaqpa.model.disclosure import Exchange, Extract, Reply, Report
from qaqpa.model.vocabulary import Text

CONTENT_TYPE = "application/json"

_GROUP_NAMES = {"identity": "debtor", "contact": "contact", "contract": "contract"}
_ACCEPTED = frozenset({200, 202})
_THEIR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REFUSALS: dict[int, type[Rejected]] = {401: CredentialsRefused, 403: RightsRefused}


class _Receipt(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    receipt: Text
    iin: Text | None = None


def write(extract: Extract, fields: Iterable[str], head: Mapping[str, str]) -> bytes:
    """The claim as JSON, `head` first, then `fields` in their order. Absent ones are left out."""
    groups: dict[str, dict[str, Any]] = {}
    for path in fields:
        value = extract.get(path)
        if value is not None:
            group, _, name = path.partition(".")
            groups.setdefault(_GROUP_NAMES[group], {})[name] = value
    return orjson.dumps({**head, **groups})


def write_recall(extract: Extract, exchange: Exchange, head: Mapping[str, str]) -> bytes:
    """The notice to stop and destroy. Raises InvalidRequest where nothing is said to be recalled."""
    recall = exchange.recall
    if recall is None:
        raise InvalidRequest(["operation: a recall says what is recalled, why and until when; use `qaqpa recall`"])
    said = {"of": recall.of, "reason": recall.reason.value, "due_on": recall.due_on.isoformat()}
    return orjson.dumps({**head, "recall": {**said, "contract": extract.get("contract.number")}})


def read(reply: Reply) -> Report:
    """The receipt in `reply`. Raises Rejected (or a kind of it) or AnswerUnreadable."""
    if reply.status in _ACCEPTED:
        try:
            answer = _Receipt.model_validate(orjson.loads(reply.body))
        except (ValidationError, ValueError):
            raise AnswerUnreadable("the answer holds no receipt; ask the recipient if it has the file") from None
        return Report(data={"receipt": answer.receipt}, about=answer.iin, reference=answer.receipt)
    if 300 <= reply.status < 500:
        refusal = _REFUSALS.get(reply.status, RequestRefused)
        raise refusal("the recipient refused the file", their_code=_their_code(reply))
    raise AnswerUnreadable(f"the recipient answered with HTTP {reply.status}; ask it if it has the file")


def _their_code(reply: Reply) -> str:
    """The recipient's code, else the HTTP status; never its free text, which may repeat the debtor's data."""
    try:
        code = orjson.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError, IndexError):
        code = None
    # A long run of digits may be an IIN, a phone or a contract's number.
    if isinstance(code, str) and _THEIR_CODE.fullmatch(code) and not re.search(r"\d{5}", code):
        return code
    return str(reply.status)
